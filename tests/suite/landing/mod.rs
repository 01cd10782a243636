//! The journey's name, Landing's publication, and values that the stream leaves out.

mod journey;
mod publication;
mod toast;
