//! Landing's rows become Traffic's rows.

mod absent;
mod derived;
mod passthrough;
