//! What is looked up rather than watched: slots, the lease, certificates, the process.

use jiff::Timestamp;
use maud::{Markup, html};

use super::super::words::Words;
use super::Scene;
use crate::language::written::date;
use crate::language::{Message, message};
use crate::telemetry::{LeaseHolder, Live, ReverseReport, SlotReport, State};

pub fn details(scene: &Scene, words: Words) -> Markup {
    let rows = rows(scene, words);
    html! {
        section aria-labelledby="h-details" {
            h2 id="h-details" { (words.say(message!("page-details"))) }
            dl class="details" {
                @for (label, value) in &rows { div { dt { (words.say(label.clone())) } dd { (value) } } }
            }
        }
    }
}

fn rows(scene: &Scene, words: Words) -> Vec<(Message, String)> {
    let live = &scene.live;
    let mut rows = vec![(message!("page-slot"), slot(live, words))];
    if let Some(reverse) = &live.reverse {
        rows.push((message!("page-reverse"), reverse_slot(reverse, words)));
        rows.extend(
            reverse
                .new_slot_since
                .as_ref()
                .map(|at| (message!("page-new-slot"), words.say(message!("page-new-slot-since", at = at)))),
        );
        let publication = reverse.landing_publication.clone();
        rows.extend(publication.map(|what| (message!("page-publication"), what)));
    }
    let holder = live.lease_holder.as_ref().filter(|_| live.state == State::Standby);
    rows.extend(holder.map(|holder| (message!("page-lease"), lease(holder, words))));
    let lsn = live.applied_lsn.map(|at| at.to_string());
    rows.extend(lsn.map(|at| (message!("page-applied"), at)));
    let ends = live.certificate_ends;
    rows.extend(
        ends.landing.map(|at| (message!("page-certificate-landing"), certificate(at, scene.now, words))),
    );
    rows.extend(
        ends.traffic.map(|at| (message!("page-certificate-traffic"), certificate(at, scene.now, words))),
    );
    rows.extend(live.started_at.map(|at| (message!("page-started"), date(at))));
    rows.push((message!("page-version"), live.version.clone()));
    rows
}

fn slot(live: &Live, words: Words) -> String {
    match &live.slot {
        Some(SlotReport { name, wal_status, .. }) if wal_status.as_deref() == Some("lost") => {
            words.say(message!("page-slot-lost", slot = name))
        }
        Some(SlotReport { name, active: true, .. }) => words.say(message!("page-slot-active", slot = name)),
        Some(SlotReport { name, .. }) => words.say(message!("page-slot-inactive", slot = name)),
        // An answer with Landing's position also contains the slot, if the slot exists.
        None if live.landing_lsn.is_some() => words.say(message!("page-slot-none")),
        None => words.say(message!("figures-not-known")),
    }
}

fn reverse_slot(reverse: &ReverseReport, words: Words) -> String {
    let slot = &reverse.slot;
    words.say(match reverse.wal_status.as_deref() {
        None => message!("commands-slot-reverse-gone", slot = slot),
        Some("lost") => message!("page-reverse-lost", slot = slot),
        Some(_) if reverse.active => message!("page-slot-active", slot = slot),
        Some(_) => message!("page-slot-inactive", slot = slot),
    })
}

fn lease(holder: &LeaseHolder, words: Words) -> String {
    let mut parts = vec![match holder.pid {
        Some(pid) => words.say(message!("page-lease-process", pid = pid.to_string())),
        None => words.say(message!("page-lease-prepared")),
    }];
    let address = holder.client_address.as_ref();
    parts.extend(address.map(|address| words.say(message!("postgres-session-address", address = address))));
    parts.extend(holder.since.as_ref().map(|at| words.say(message!("figures-since", since = at))));
    parts.join(", ")
}

fn certificate(end: Timestamp, now: Timestamp, words: Words) -> String {
    let days = end.duration_since(now).as_hours() / 24;
    words.say(match days {
        1.. => message!("page-certificate-ends", at = date(end), days = days),
        _ => message!("page-certificate-soon", at = date(end)),
    })
}
