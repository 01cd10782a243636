//! Rows of Landing that become rows of Traffic.

mod absent;
