//! Positions and where they are kept: each may be damaged, another's, or behind.

mod foreign_wal;
mod installations;
mod positions;
mod state_disk;
