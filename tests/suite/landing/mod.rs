//! What Landing publishes, and what it leaves out.

mod publication;
mod toast;
