//! The journey's name, notifications, Landing's publication, and values that the stream leaves out.

mod journey;
mod notifications;
mod publication;
mod toast;
