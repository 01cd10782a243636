//! Local receivers of alerts: an HTTP server and a mail server, which may be slow, refuse, or be down.

mod front;
mod mail;
mod web;

pub use front::{Front, Way};
pub use mail::MailServer;
pub use web::{Answer, WebServer};
