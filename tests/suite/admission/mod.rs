//! Odd tables: for each variation of a database, replication is exact, or refused by name and nothing has changed.

mod landing;
mod stage;
mod traffic;
