//! leadbridge: replicates Landing's leads into Traffic, and makes Traffic the system of record.
//!
//! # Modules
//!
//! Data flows in one direction, through the modules in this order:
//!
//! ```text
//! landing → pgoutput → change → mapping → batch → traffic → checkpoint
//! ```
//!
//! | module | purpose | I/O |
//! |---|---|---|
//! | [`landing`] | the source: catalog, slot, snapshot, stream | yes |
//! | [`pgoutput`] | decodes the stream's bytes into messages | no |
//! | [`change`] | the types that capture hands to apply | no |
//! | [`mapping`] | converts a Landing row into the Traffic row of the contract | no |
//! | [`batch`] | batches: bounds, commit boundaries, net effect | no |
//! | [`traffic`] | the target: statements, writer, quarantine, notes | yes |
//! | [`checkpoint`] | the three positions and their agreement | yes |
//!
//! After a cutover [`mod@reverse`] carries Traffic's changes to Landing, by the same kind of stream.
//!
//! [`replicator`] is the only module that knows all the others of the data flow. A single value travels in
//! the opposite direction: the durable position, from Traffic's commit through the local store to the slot.
//!
//! The other modules: [`database`] connects, [`config`] holds the configuration, [`admission`] lists the
//! requirements on a replicated table, [`doctor`] checks both databases before anything is changed,
//! [`migrate`] prepares both databases, [`telemetry`] collects the state for logs, metrics and `status`, and
//! [`commands`] implements the operator's commands. [`throwaway`] starts servers for the [`demo`] and the
//! tests, [`verify`] compares both sides through the mapping, [`cutover`] makes Traffic the system of record
//! and rolls back, [`backup`] writes whole tables to files, [`mod@finish`] ends a settled cutover, and
//! [`failpoint`] names the points at which tests kill the process. [`budget`] bounds collected rows in bytes,
//! and [`reached`] holds positions that only advance. [`operator`] and [`mod@sha256`] give person, machine
//! and checksums for records that outlive a command.
//!
//! `docs/design.md` has the invariants, the flow, and the behaviour on each failure.

pub mod admission;
pub mod backup;
pub mod batch;
pub mod capture;
pub mod checkpoint;
pub mod cli;
pub mod commands;
pub mod compare;
pub mod config;
pub mod cutover;
pub mod demo;
pub mod doctor;
pub mod error;
pub mod exit;
pub mod failpoint;
pub mod fence;
pub mod finish;
pub mod landing;
pub mod mapping;
pub mod migrate;
pub mod model;
pub mod operator;
pub mod pgoutput;
pub mod postgres;
pub mod quarantine;
pub mod replication;
pub mod report;
pub mod telemetry;
pub mod throwaway;
pub mod traffic;
