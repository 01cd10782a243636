//! Landing's rows become Traffic's rows.

mod absent;
