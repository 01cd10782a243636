//! leadbridge: Landing's leads arrive on Traffic, and stay there.

pub mod batch;
pub mod change;
pub mod checkpoint;
pub mod cli;
pub mod commands;
pub mod config;
pub mod database;
pub mod doctor;
pub mod error;
pub mod exit;
pub mod landing;
pub mod lsn;
pub mod mapping;
pub mod migrate;
pub mod names;
pub mod pgoutput;
pub mod replicator;
pub mod telemetry;
pub mod throwaway;
pub mod timestamp;
pub mod traffic;
