//! leadbridge: replicates Landing's leads into Traffic, and makes Traffic the system of record.
//!
//! # The flow
//!
//! ```text
//! slot → decode → collect → plan → map → write → checkpoint → acknowledge
//! ```
//!
//! A single value travels in the opposite direction: the durable position, from Traffic's commit through the
//! local store to the slot. After a cutover the same flow runs from Traffic to Landing.
//!
//! # Rooms
//!
//! A room is a module at the top of the crate. A room imports only rooms above itself, and only the rooms in
//! its last column; `scripts/check-house` reads this table. Every room may also import `error`, `failpoint`,
//! `language` and `model`; `model` imports nothing.
//!
//! | room | holds | imports |
//! |---|---|---|
//! | [`mod@model`] | positions, times, tables, rows, changes, names of objects, byte bounds |  |
//! | [`mod@language`] | messages to people, in English and in Russian | model |
//! | [`mod@error`] | the error type; which error is retried, halts, or asks the operator |  |
//! | [`mod@failpoint`] | the points at which tests kill the process |  |
//! | [`mod@exit`] | exit codes |  |
//! | [`mod@disk`] | files and directories that only this user may read |  |
//! | [`mod@operator`] | person and machine of a command |  |
//! | [`mod@report`] | findings of checks: level, message, remedy |  |
//! | [`mod@pgoutput`] | bytes of the stream become messages |  |
//! | [`mod@postgres`] | one server of either side: URL, TLS, connections, slot, WAL, server identity, stream, triggers | pgoutput |
//! | [`mod@mapping`] | a Landing row becomes a Traffic row, and back; what has no place on Landing |  |
//! | [`mod@config`] | settings: raw, then validated | postgres |
//! | [`mod@batch`] | changes, or keys, are collected into batches; the net effect of a batch | mapping |
//! | [`mod@checkpoint`] | the three positions and their agreement; the lease; whose schema it is | disk, postgres, mapping |
//! | [`mod@capture`] | messages become changes of replicated rows, or keys of changed rows | pgoutput, mapping, checkpoint |
//! | [`mod@admission`] | which tables are safe to replicate | postgres, mapping |
//! | [`mod@access`] | which rights the API's roles have on both sides; what closes Traffic's surplus | postgres, mapping |
//! | [`mod@quarantine`] | refused rows of both directions; conversion notes | postgres, mapping, batch |
//! | [`mod@fence`] | closes a side to writers; who may pass; who holds it up | postgres |
//! | [`mod@landing`] | Landing: catalog, rows, initial snapshot; writing after the switch | pgoutput, postgres, mapping, batch, checkpoint, capture, quarantine, fence |
//! | [`mod@traffic`] | Traffic: upserts, copy, partial updates, changed keys, deletes; retry of quarantined rows | postgres, mapping, batch, checkpoint, quarantine |
//! | [`mod@compare`] | both sides page by page through the mapping; recheck, hashes, repair | postgres, mapping, config, batch, checkpoint, capture, quarantine, landing, traffic |
//! | [`mod@verification`] | background verification: what is compared when, and what was compared | postgres, compare |
//! | [`mod@explain`] | one lead, end to end: both sides, rules, journey, records | postgres, mapping, config, checkpoint, quarantine, landing, traffic, compare |
//! | [`mod@telemetry`] | the live state, its recent past and the metrics, for logs, HTTP and the service manager | report, config |
//! | [`mod@page`] | the status page: the live state as HTML, and its events | telemetry |
//! | [`mod@alert`] | causes of alerts, when they are told, and the channels: Telegram, webhook, mail, ping | disk, report, config, telemetry |
//! | [`mod@doctor`] | checks of both databases before anything is changed | disk, report, postgres, mapping, config, checkpoint, admission, access, fence, landing, traffic, telemetry, alert |
//! | [`mod@files`] | whole tables of either side as files | disk, postgres, access |
//! | [`mod@cutover`] | Traffic becomes the system of record; rollback | disk, operator, report, postgres, config, checkpoint, capture, admission, quarantine, fence, landing, traffic, compare, verification, doctor |
//! | [`mod@replication`] | attempts, initial copy, forward and reverse stream, progress, monitor | disk, report, postgres, mapping, config, batch, checkpoint, capture, admission, access, quarantine, fence, landing, traffic, compare, verification, telemetry, doctor, cutover |
//! | [`mod@import`] | an export of Landing becomes rows of Traffic | operator, postgres, mapping, config, batch, checkpoint, admission, access, quarantine, landing, traffic, files, cutover |
//! | [`mod@finish`] | the end of a settled cutover | disk, operator, postgres, config, checkpoint, admission, quarantine, fence, files, cutover |
//! | [`mod@migrate`] | what leadbridge creates in both databases | postgres, mapping, checkpoint, admission, access, landing, traffic |
//! | [`mod@throwaway`] | servers, leads and writers for demo, tests and benchmarks |  |
//! | [`mod@demo`] | the whole story on one screen | exit, postgres, config, compare, telemetry, cutover, migrate, throwaway |
//! | [`mod@cli`] | the command line | config, files, cutover |
//! | [`mod@commands`] | one file for each command | exit, disk, report, postgres, mapping, config, checkpoint, quarantine, landing, traffic, compare, verification, explain, telemetry, page, alert, doctor, files, cutover, replication, import, finish, migrate, demo, cli |
//!
//! `docs/design.md` has the invariants, the flow, and the behaviour on each failure.

pub mod access;
pub mod admission;
pub mod alert;
pub mod batch;
pub mod capture;
pub mod checkpoint;
pub mod cli;
pub mod commands;
pub mod compare;
pub mod config;
pub mod cutover;
pub mod demo;
pub mod disk;
pub mod doctor;
pub mod error;
pub mod exit;
pub mod explain;
pub mod failpoint;
pub mod fence;
pub mod files;
pub mod finish;

pub mod import;
pub mod landing;
pub mod language;
pub mod mapping;
pub mod migrate;
pub mod model;
pub mod operator;
pub mod page;
pub mod pgoutput;
pub mod postgres;
pub mod quarantine;
pub mod replication;
pub mod report;
pub mod telemetry;
pub mod throwaway;
pub mod traffic;
pub mod verification;
