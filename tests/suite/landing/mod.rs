//! Landing's publication, and values that the stream leaves out.

mod publication;
mod toast;
