//! Both sides compared, and repaired.

mod first_key;
mod verify;
