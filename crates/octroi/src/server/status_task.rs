//! Takes the hub's status once a second: the one value that the console, the
//! API, `octroi status` and the demo show.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use octroi_journal::Reader;
use octroi_policy::ast::TargetKind;
use octroi_policy::{CopyIx, Label, Level, Timestamp};
use tokio::sync::watch;

use super::{Parts, RelaySeen};
use crate::admission::Admission;
use crate::broker;
use crate::flows::Destination;
use crate::policies::Active;
use crate::record::{Log, What};
use crate::status::{
    Conservation, Flow, JournalStatus, KeptStatus, LeftStatus, OutletState, PolicyStatus, SlowedStatus,
    Status, TargetStatus,
};

/// Rates are over so many samples.
const WINDOW: usize = 10;
const EVERY: Duration = Duration::from_secs(1);

/// Counts at one instant.
struct Sample {
    at: Timestamp,
    received: u64,
    flows: BTreeMap<(usize, Level, Column), u64>,
    delivered: BTreeMap<String, u64>,
    /// How long each source's connections were not read, in microseconds.
    slowed: Vec<u64>,
    policy64: u64,
}

type Column = (u8, usize);

fn column(destination: Destination) -> Column {
    match destination {
        Destination::Target(target) => (0, target),
        Destination::Copy(copy) => (1, copy),
        Destination::Quarantine => (2, 0),
        Destination::Hold => (3, 0),
        Destination::Refused => (4, 0),
    }
}

/// Publishes a status every second until the hub has ended, and a last one.
pub(super) async fn run(
    parts: Arc<Parts>,
    (admission, brokers): (Arc<Admission>, Vec<Arc<broker::Seen>>),
    tell: watch::Sender<Arc<Status>>,
    mut ended: watch::Receiver<bool>,
) {
    let mut samples = VecDeque::new();
    loop {
        let status = take(&parts, (&admission, &brokers), &mut samples);
        tell.send_replace(Arc::new(status));
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            _ = ended.wait_for(|ended| *ended) => break,
        }
    }
    tell.send_replace(Arc::new(take(&parts, (&admission, &brokers), &mut samples)));
}

fn take(
    parts: &Parts,
    (admission, brokers): (&Admission, &[Arc<broker::Seen>]),
    samples: &mut VecDeque<Sample>,
) -> Status {
    let now = parts.clock.now();
    let active = parts.policies.current();
    let journal = parts.journal.load_full();
    let tally = &journal.ledger.tally;
    let mut sample = Sample {
        at: now,
        received: tally.received,
        flows: BTreeMap::new(),
        delivered: parts
            .relays
            .iter()
            .map(|relay| (relay.target.clone(), relay.view.load().delivered))
            .collect(),
        slowed: active.sources.iter().map(|source| source.slowed_micros()).collect(),
        policy64: active.policy64,
    };
    for (source, level, destination, count) in active.flows.iter() {
        sample.flows.insert((source, level, column(destination)), count);
    }
    // Another policy has another table: its rates begin anew.
    samples.retain(|old| old.policy64 == sample.policy64);
    let before = samples.front();
    let seconds = before.map_or(0, |old| now.0 - old.at.0) as f64 / 1e6;
    let rate =
        |count: u64, old: u64| if seconds > 0.0 { count.saturating_sub(old) as f64 / seconds } else { 0.0 };

    let flows = flows(&active, before, rate);
    let held: BTreeMap<String, u64> = parts.state.counts(Log::Hold).into_iter().collect();
    let targets = parts.relays.iter().map(|relay| {
        let old = before.and_then(|old| old.delivered.get(&relay.target)).copied().unwrap_or(0);
        let view = relay.view.load();
        TargetStatus {
            held: held.get(&relay.target).copied().unwrap_or(0),
            per_second: rate(view.delivered, old),
            ..target_status(parts, relay, &journal, now)
        }
    });
    let status = Status {
        hub: parts.config.hub.clone(),
        program: env!("CARGO_PKG_VERSION").to_owned(),
        started: parts.started.to_string(),
        now: now.to_string(),
        ready: true,
        policy: policy_status(&active),
        journal: JournalStatus {
            bytes: journal.bytes,
            limit_bytes: parts.config.journal.limit,
            records: journal.next_seq,
            full: journal.full,
            fenced: fenced(parts),
        },
        connections: admission.count(),
        brokers: brokers.iter().map(|broker| broker.status()).collect(),
        received_per_second: rate(sample.received, before.map_or(sample.received, |old| old.received)),
        flows,
        slowed: slowed(&active, &sample.slowed, before, rate),
        quarantine: quarantine(parts),
        conservation: conservation(&journal),
        left: left(&journal),
        index_rebuilt: parts.index_rebuilt.to_owned(),
        credentials: (**parts.credentials.load()).clone(),
        targets: targets.collect(),
    };
    samples.push_back(sample);
    if samples.len() > WINDOW {
        samples.pop_front();
    }
    status
}

/// What is in quarantine, by reason.
fn quarantine(parts: &Parts) -> Vec<KeptStatus> {
    let counts = parts.state.counts(Log::Quarantine).into_iter();
    counts.map(|(reason, messages)| KeptStatus { reason, messages }).collect()
}

/// What opening or reading found damaged, in the journal and in the side logs.
fn fenced(parts: &Parts) -> Vec<String> {
    let ranges = |log: &str, reader: &Reader| -> Vec<String> {
        let ranges = reader.fenced().into_iter();
        ranges.map(|range| format!("{log}{}-{}", range.start, range.end.saturating_sub(1))).collect()
    };
    let mut fenced = ranges("", &parts.reader);
    for (log, (_, reader)) in &parts.side_logs {
        fenced.extend(ranges(&format!("{} ", log.name()), reader));
    }
    fenced
}

fn policy_status(active: &Active) -> PolicyStatus {
    let policy = &active.policy;
    PolicyStatus {
        id: policy.id().to_owned(),
        title: policy.title().to_owned(),
        version: policy.version().to_owned(),
        hash: policy.hash().full(),
        activated: active.since.to_string(),
        tests: active.tests,
        invariants: policy.document().invariant.len() as u64,
    }
}

/// The sources that their quota slowed since `before`.
fn slowed(
    active: &Active,
    now: &[u64],
    before: Option<&Sample>,
    rate: impl Fn(u64, u64) -> f64,
) -> Vec<SlowedStatus> {
    let Some(before) = before else { return Vec::new() };
    let counts = active.policy.sources().iter().zip(now.iter().zip(&before.slowed));
    let slowed = counts.filter(|(_, (now, old))| now > old).map(|(source, (now, old))| SlowedStatus {
        source: source.id.clone(),
        connections: rate(*now, *old) / 1e6,
    });
    slowed.collect()
}

/// Where messages go, with their rates.
fn flows(active: &Active, before: Option<&Sample>, rate: impl Fn(u64, u64) -> f64) -> Vec<Flow> {
    let policy = &active.policy;
    let flows = active.flows.iter().map(|(source, level, destination, messages)| {
        let info = policy.sources().get(source);
        let target_of = |target: usize| policy.targets().get(target).map(|target| target.id.clone());
        let copy = match destination {
            Destination::Copy(copy) => policy.copies().get(copy),
            Destination::Target(_) | Destination::Quarantine | Destination::Hold | Destination::Refused => {
                None
            }
        };
        let target = match destination {
            Destination::Target(target) => target_of(target),
            Destination::Copy(_) => copy.and_then(|copy| match copy.aggregate() {
                Some(_) => Some("aggregated".to_owned()),
                None => target_of(copy.to.index()),
            }),
            Destination::Quarantine => Some("quarantine".to_owned()),
            Destination::Hold => Some("hold".to_owned()),
            Destination::Refused => Some("refused".to_owned()),
        };
        let old =
            before.and_then(|old| old.flows.get(&(source, level, column(destination)))).copied().unwrap_or(0);
        let label = Label { level, ..Label::default() };
        let shown = match destination {
            Destination::Copy(copy) => {
                CopyIx::from_index(copy).map_or(level, |copy| policy.copy_label(copy, label).level)
            }
            Destination::Target(_) | Destination::Quarantine | Destination::Hold | Destination::Refused => {
                level
            }
        };
        Flow {
            source: info.map(|source| source.id.clone()).unwrap_or_default(),
            producer: info.map(|source| source.producer_name.clone()).unwrap_or_default(),
            level: shown.name().to_owned(),
            target: target.unwrap_or_default(),
            copy: copy.map(|copy| copy.id.clone()).unwrap_or_default(),
            messages,
            per_second: rate(messages, old),
        }
    });
    flows.collect()
}

fn target_status(
    parts: &Parts,
    relay: &RelaySeen,
    journal: &crate::committer::JournalView,
    now: Timestamp,
) -> TargetStatus {
    let active = parts.policies.current();
    let info = active.policy.targets().iter().find(|target| target.id == relay.target);
    let view = relay.view.load();
    let done = journal.ledger.done.get(&relay.bit).copied().unwrap_or_default();
    let pending = u64::try_from(journal.ledger.pending(relay.bit)).unwrap_or(0);
    let oldest = view.oldest.filter(|_| pending > 0).map_or(0, |oldest| now.0.saturating_sub(oldest.0));
    TargetStatus {
        id: relay.target.clone(),
        label: info.map(|target| target.label.clone()).unwrap_or_default(),
        kind: info.map(|target| kind_name(target.kind).to_owned()).unwrap_or_default(),
        outlet: relay.kind.to_owned(),
        state: view.state,
        reason: if view.state == OutletState::Up {
            octroi_policy::Text::default()
        } else {
            view.reason.clone()
        },
        since: view.since.to_string(),
        pending,
        oldest_seconds: oldest as f64 / 1e6,
        backlog_bytes: relay.shelf.bytes(),
        delivered: done.delivered,
        withheld: done.withheld,
        held: 0,
        per_second: 0.0,
    }
}

fn kind_name(kind: TargetKind) -> &'static str {
    match kind {
        TargetKind::LocalRoom => "local_room",
        TargetKind::PublicDc => "public_dc",
        TargetKind::TrustedCloud => "trusted_cloud",
        TargetKind::CommercialCloud => "commercial_cloud",
        TargetKind::OpenDataPortal => "open_data_portal",
    }
}

/// The balance, of the messages and of each target's records.
fn conservation(journal: &crate::committer::JournalView) -> Conservation {
    let tally = &journal.ledger.tally;
    let mut unaccounted = journal.ledger.unaccounted();
    for (_, bit, cursor) in &journal.targets {
        unaccounted += journal.ledger.unaccounted_of(bit.index(), journal.served(*bit, *cursor));
    }
    let balance = tally.balance();
    // Below 0 something left a side log twice; the sum says so.
    let count = |messages: i64| u64::try_from(messages).unwrap_or(0);
    Conservation {
        received: tally.received,
        routed: count(balance.routed),
        quarantined: count(balance.quarantined),
        held: count(balance.held),
        refused: tally.refused,
        purged: count(balance.purged),
        unaccounted,
    }
}

fn left(journal: &crate::committer::JournalView) -> LeftStatus {
    let entries = |log, what| journal.ledger.tally.left(log, what).entries;
    LeftStatus {
        quarantine_released: entries(Log::Quarantine, What::Released),
        quarantine_purged: entries(Log::Quarantine, What::Purged),
        hold_released: entries(Log::Hold, What::Released),
        hold_expired: entries(Log::Hold, What::Expired),
    }
}
