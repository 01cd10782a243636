//! Positions and their places: each place may be damaged, of another installation, or behind.

mod foreign_wal;
mod installations;
mod locks;
mod own_schema;
mod positions;
mod settings;
mod state_disk;
mod switched;
