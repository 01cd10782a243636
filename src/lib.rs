//! leadbridge: Landing's leads arrive on Traffic, and stay there.
//!
//! # The map of the house
//!
//! Data flows one way, and the rooms stand in that order:
//!
//! ```text
//! landing → pgoutput → change → mapping → batch → traffic → checkpoint
//! ```
//!
//! | room | what happens there | I/O |
//! |---|---|---|
//! | [`landing`] | the source: catalog, slot, snapshot, stream | yes |
//! | [`pgoutput`] | the stream's bytes become messages | no |
//! | [`change`] | the vocabulary in which capture and apply meet | no |
//! | [`mapping`] | a Landing row becomes the Traffic row of the contract | no |
//! | [`batch`] | what is applied together: bounds, commit boundaries, net effect | no |
//! | [`traffic`] | the target: statements, writer, quarantine, notes | yes |
//! | [`checkpoint`] | the three positions and their agreement | yes |
//!
//! After a cutover [`mod@reverse`] carries what changes on Traffic back to Landing, by the same kind of stream.
//!
//! [`replicator`] ties them together and is the only room that knows them all. One value travels back: the
//! durable position, from Traffic's commit by way of the local store to the slot.
//!
//! Around them: [`database`] connects, [`config`] says where to, [`admission`] lists what a replicated table may look
//! like, [`doctor`] looks before anything is changed, [`migrate`] prepares both databases, [`telemetry`] is the one place
//! where state is collected, and [`commands`] is what the operator types. [`throwaway`] starts servers for the [`demo`] and the tests, [`verify`] compares both
//! sides through the mapping, [`cutover`] makes Traffic the system of record and goes back, [`backup`] writes whole tables
//! to files, [`mod@finish`] ends a move, and [`failpoint`] names the places where the tests let a process die.
//! [`budget`] counts what is held in bytes, [`reached`] holds positions, which never fall. [`operator`] and [`mod@sha256`] say who, where and exactly what, in the records that outlive a command.
//!
//! `docs/design.md` has the invariants, the flow, and what happens on each failure.

pub mod admission;
pub mod backup;
pub mod batch;
pub mod budget;
pub mod change;
pub mod checkpoint;
pub mod cli;
pub mod commands;
pub mod config;
pub mod cutover;
pub mod database;
pub mod demo;
pub mod doctor;
pub mod error;
pub mod exit;
pub mod failpoint;
pub mod finish;
pub mod landing;
pub mod lsn;
pub mod mapping;
pub mod migrate;
pub mod names;
pub mod operator;
pub mod pgoutput;
pub mod reached;
pub mod replicator;
pub mod reverse;
pub mod sha256;
pub mod telemetry;
pub mod throwaway;
pub mod timestamp;
pub mod traffic;
pub mod verify;
