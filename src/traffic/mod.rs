//! The target.
mod statements;
