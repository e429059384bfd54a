//! What administrators ask of outlets: how they are, that one is paused or
//! resumed, that what a target got already goes there again.
//!
//! A replay goes around nothing: each record is asked the gate's question by the
//! policy in force, becomes a new record of the journal that names its origin,
//! and is asked again when it leaves. The target sees the ids that it knows.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use octroi_journal::{Batch, ChunkBuilder, ReadError, TargetBit};
use octroi_policy::Timestamp;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::{failed, not_found, unprocessable};
use crate::admin::{OutletErrand, OutletVerb, Problem, Span};
use crate::committer::{Append, Control, JournalView};
use crate::ledger::{Paused, Tally};
use crate::limits;
use crate::record::{Aggregate, Kept, Message, Pause, RecordKind};
use crate::release::{self, Going, Verdict};
use crate::server::{Parts, RelaySeen};

/// Every outlet, as it is.
pub(super) fn list(parts: &Parts) -> Result<Value, Problem> {
    let first = first_in_journal(parts)?;
    Ok(parts.relays.iter().map(|relay| shown(parts, relay, first)).collect())
}

fn shown(parts: &Parts, relay: &RelaySeen, first: u64) -> Value {
    let (journal, view) = (parts.journal.load(), relay.view.load());
    let done = journal.ledger.done.get(&relay.bit).copied().unwrap_or_default();
    let paused = journal.ledger.paused.get(&relay.bit);
    json!({
        "target": relay.target, "outlet": relay.kind, "state": view.state, "reason": view.reason,
        "since": view.since.to_string(), "pending": journal.ledger.pending(relay.bit).max(0),
        "oldest": view.oldest.map(|oldest| oldest.to_string()),
        "delivered": done.delivered, "withheld": done.withheld,
        "cursor": done_below(&journal, relay.bit), "journal_first": first, "journal_next": journal.next_seq,
        "paused": paused.map(|Paused { since, why }| json!({ "since": Timestamp(*since).to_string(), "why": why })),
    })
}

/// Below this number a target is done with everything: its cursor, or, where what lies below the cursor waits
/// in its backlog, what it was really served.
fn done_below(journal: &JournalView, bit: u8) -> u64 {
    let cursor = journal.targets.iter().find(|(_, known, _)| known.index() == bit).map_or(0, |t| t.2);
    journal.ledger.served.get(&bit).copied().unwrap_or(cursor).min(cursor)
}

/// The first record that the journal still has.
fn first_in_journal(parts: &Parts) -> Result<u64, Problem> {
    match parts.reader.at(0).next(None, 1, &mut Batch::default()) {
        Ok(()) => Ok(0),
        Err(ReadError::Trimmed { first_seq, .. }) => Ok(first_seq),
        Err(error) => Err(failed(&error)),
    }
}

/// Carries out one errand.
pub(super) fn errand(parts: &Parts, errand: &OutletErrand) -> Result<Value, Problem> {
    let OutletErrand { target, what, because, dry_run } = errand;
    let relay = parts.relays.iter().find(|relay| relay.target == *target).ok_or_else(|| {
        not_found(format!("`{target}` is no target with an outlet on this hub: see `octroi outlet list`"))
    })?;
    if !dry_run {
        tracing::warn!(target = %target, ?what, because = %because, "an operator decides on the way to a target");
    }
    match what {
        OutletVerb::Pause => switch(parts, relay, true, because, *dry_run),
        OutletVerb::Resume => switch(parts, relay, false, because, *dry_run),
        OutletVerb::Replay(span) => replay(parts, target, *span, *dry_run),
    }
}

/// Puts a pause, or its end, on record; from then on it is in force.
fn switch(
    parts: &Parts,
    relay: &RelaySeen,
    paused: bool,
    why: &str,
    dry_run: bool,
) -> Result<Value, Problem> {
    let was = parts.journal.load().ledger.paused.contains_key(&relay.bit);
    if !dry_run && was != paused {
        let note = Pause { target: relay.bit, paused, at: parts.policy_clock.now(), why };
        let (done, told) = oneshot::channel();
        let (kind, bytes) = (RecordKind::Pause, note.to_bytes());
        parts.inbox.control(Control::Note { kind, bytes, done: Some(done) });
        told.blocking_recv().map_err(|_| no_room())?;
        parts.watermark.nudge();
    }
    Ok(json!({ "target": relay.target, "paused": paused, "changes": was != paused, "dry_run": dry_run }))
}

fn no_room() -> Problem {
    let detail = "the journal has no room, or the hub is stopping: nothing was done; make room and ask again";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
}

/// What one request's part of a replay came to.
struct Replayed {
    sent: u64,
    /// Repetitions of records that are in the journal themselves.
    repeated: u64,
    stays: BTreeMap<&'static str, u64>,
    records: ChunkBuilder,
    tally: Tally,
}

fn replay(parts: &Parts, target: &str, span: Span, dry_run: bool) -> Result<Value, Problem> {
    let active = parts.policies.current();
    let bit = active.bit_of(target).ok_or_else(|| {
        unprocessable(format!(
            "the policy in force does not name the target `{target}`: nothing may go there"
        ))
    })?;
    let first = first_in_journal(parts)?;
    let done_with = done_below(&parts.journal.load(), bit.index());
    let until = span.until.unwrap_or(done_with).min(done_with);
    let mut at = span.from.max(first);
    let (mut reader, mut batch) = (parts.reader.at(at), Batch::default());
    let mut done = Replayed {
        sent: 0,
        repeated: 0,
        stays: BTreeMap::new(),
        records: ChunkBuilder::new(limits::CHUNK_BYTES),
        tally: Tally::default(),
    };
    for _ in 0..limits::REPLAY_READS {
        if at >= until {
            break;
        }
        match reader.next(Some(bit), limits::RELAY_READ_BYTES, &mut batch) {
            // Trimmed since: what is left comes all the same.
            Err(ReadError::Trimmed { first_seq, .. }) => reader.seek(first_seq),
            read => read.map_err(|error| failed(&error))?,
        }
        for entry in batch.iter().filter(|entry| (at..until).contains(&entry.seq)) {
            let found = Found { seq: entry.seq, bytes: entry.bytes };
            done.take(parts, target, bit, found, span.since);
            if !dry_run && done.records.len() >= limits::CHUNK_BYTES {
                done.append(parts)?;
            }
        }
        at = batch.end().max(at + 1);
    }
    if !dry_run {
        done.append(parts)?;
    }
    let next = (at < until).then_some(at);
    Ok(json!({
        "target": target, "from": span.from.max(first), "until": until, "first_kept": first, "sent": done.sent,
        "repeated": done.repeated, "stays": done.stays, "next": next, "dry_run": dry_run,
    }))
}

/// A record that the target had a share in.
#[derive(Clone, Copy)]
struct Found<'a> {
    seq: u64,
    bytes: &'a [u8],
}

impl Replayed {
    fn take(
        &mut self,
        parts: &Parts,
        target: &str,
        bit: TargetBit,
        found: Found<'_>,
        since: Option<Timestamp>,
    ) {
        let (message, aggregate) = (Message::read(found.bytes), Aggregate::read(found.bytes));
        let now = parts.policy_clock.now();
        let (received, decided) = match (&message, &aggregate) {
            (Ok(message), _) => (message.received, message.decided()),
            (Err(_), Ok(aggregate)) => (aggregate.end, aggregate.end),
            (Err(_), Err(_)) => (now, now),
        };
        if since.is_some_and(|since| received < since) {
            return;
        }
        let origin = message.ok().and_then(|message| message.origin);
        let is_ours = origin.filter(|origin| origin.generation == parts.generation);
        if is_ours.is_some_and(|origin| stands(parts, origin.seq, bit)) {
            self.repeated += 1;
            return;
        }
        let kept = Kept {
            generation: parts.generation,
            origin: found.seq,
            since: now,
            policy: 0,
            by: "",
            target,
            reason: "",
            message: found.bytes,
        };
        match release::judge(&kept, &parts.policies, &parts.policies.current(), now) {
            Verdict::Goes(Going { kind, header, payload, targets }) => {
                match self.records.push(kind as u8, targets, &[&header, payload]) {
                    Ok(()) => {
                        self.tally.assign(targets, decided);
                        self.sent += 1;
                    }
                    Err(_) => *self.stays.entry("too_large").or_default() += 1,
                }
            }
            Verdict::Stays(reason) => *self.stays.entry(reason).or_default() += 1,
        }
    }

    /// What has gathered, into the journal; on disk when this returns.
    fn append(&mut self, parts: &Parts) -> Result<(), Problem> {
        if self.records.is_empty() {
            return Ok(());
        }
        let (chunk, tally) = (self.records.finish(), std::mem::take(&mut self.tally));
        let (done, told) = oneshot::channel();
        parts.inbox.append(Append { chunk, tally, by: None, budget: None, done });
        // Given up after the grace: a chunk whose sender is gone is not written once there is room.
        let told = Handle::current().block_on(tokio::time::timeout(limits::ACK_GRACE, told));
        told.ok().and_then(Result::ok).map(drop).ok_or_else(no_room)
    }
}

/// Whether a record is still in the journal, with a share for the target.
fn stands(parts: &Parts, seq: u64, bit: TargetBit) -> bool {
    let mut batch = Batch::default();
    let read = parts.reader.at(seq).next(Some(bit), 1, &mut batch);
    read.is_ok() && batch.iter().any(|entry| entry.seq == seq)
}
