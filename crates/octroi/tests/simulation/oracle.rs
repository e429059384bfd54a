//! An outside oracle: it keeps what was sent, what is true of it and what was
//! acknowledged, sees what arrives on each target, and says which of the five
//! promises is broken.
//!
//! I1 nothing acknowledged is missing; I2 nothing is on a target that its label
//! forbids; I3 order holds per topic and target, apart from whole-tail repeats
//! and releases; I4 duplicates carry the same id, and are no more than what was
//! in flight at a restart or a rewind; I5 the counters balance.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use octroi_policy::Timestamp;

use crate::truth::{Class, Variant};

/// Lines of the trace that are shown.
const RECENT: usize = 60;

/// A message, by its number.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) class: Class,
    pub(crate) device: usize,
    /// The first target refuses it alone.
    pub(crate) is_poison: bool,
    pub(crate) is_acked: bool,
    /// Under which policy, and when, it was taken in: once, or again after it was not acknowledged.
    pub(crate) taken: Vec<(Variant, Timestamp)>,
}

/// One record on a target.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) target: &'static str,
    pub(crate) seq: u64,
    pub(crate) id: String,
    pub(crate) number: usize,
    /// It was in a side log before.
    pub(crate) is_released: bool,
}

/// What is known from outside.
pub(crate) struct Oracle {
    pub(crate) sent: Vec<Sent>,
    pub(crate) arrivals: Vec<Arrival>,
    pub(crate) variant: Variant,
    pub(crate) now: Timestamp,
    /// What is broken, oldest first.
    pub(crate) broken: Vec<String>,
    /// What happened, in order.
    trace: blake3::Hasher,
    /// The end of it, as text.
    recent: VecDeque<String>,
    /// By target and sequence number: the id.
    ids: BTreeMap<(&'static str, u64), String>,
    /// By target: the lowest record that may come next.
    next: BTreeMap<&'static str, u64>,
    /// By target: arrivals that came again, and those that may.
    again: BTreeMap<&'static str, (usize, usize)>,
}

/// Who sees it: targets, publishers and the world, in one thread.
#[derive(Clone)]
pub(crate) struct Watch(Arc<Mutex<Oracle>>);

impl Watch {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self(Arc::new(Mutex::new(Oracle {
            sent: Vec::new(),
            arrivals: Vec::new(),
            variant: Variant::AsItIs,
            now,
            broken: Vec::new(),
            trace: blake3::Hasher::new(),
            recent: VecDeque::new(),
            ids: BTreeMap::new(),
            next: BTreeMap::new(),
            again: BTreeMap::new(),
        })))
    }

    pub(crate) fn see(&self) -> MutexGuard<'_, Oracle> {
        self.0.lock().unwrap()
    }
}

impl Oracle {
    /// A step was made: too many to show.
    pub(crate) fn stepped(&mut self, what: &str) {
        self.trace.update(what.as_bytes());
        self.trace.update(b"\n");
    }

    pub(crate) fn note(&mut self, what: &str) {
        self.stepped(what);
        if self.broken.is_empty() {
            self.recent.truncate(RECENT);
            self.recent.push_front(what.to_owned());
        }
    }

    /// What led to the first thing that broke, latest first.
    pub(crate) fn recent(&self) -> Vec<String> {
        self.recent.iter().cloned().collect()
    }

    /// The hash of all that happened.
    pub(crate) fn trace(&self) -> String {
        self.trace.finalize().to_hex().to_string()
    }

    pub(crate) fn breaks(&mut self, what: String) {
        self.note(&what);
        self.broken.push(what);
    }

    /// Whether a target may have that message now.
    pub(crate) fn may_have(&self, target: &str, number: usize) -> bool {
        self.sent.get(number).is_some_and(|sent| sent.class.may_live_on(target, self.variant, self.now))
    }

    /// A record is on a target.
    pub(crate) fn arrives(&mut self, arrival: Arrival) {
        let Arrival { target, seq, id, number, is_released } = &arrival;
        self.note(&format!("{target} {seq} {id} {number}"));
        let (variant, now) = (self.variant, self.now);
        let Some(sent) = self.sent.get(*number) else {
            return self.breaks(format!("I1 {target} got {number}, which nobody sent"));
        };
        let mut wrong = Vec::new();
        if !sent.class.may_live_on(target, variant, now) {
            wrong.push(format!("I2 {:?} {number} is on {target} under {variant:?}", sent.class));
        }
        let next = self.next.entry(target).or_default();
        if *seq < std::mem::replace(next, seq + 1) {
            wrong.push(format!("I3 {target} got {seq} after what comes after it"));
        }
        let was_allowed = |(then, at): &(Variant, Timestamp)| sent.class.may_live_on(target, *then, *at);
        if !is_released && !sent.taken.iter().any(was_allowed) {
            wrong
                .push(format!("I2 {:?} {number} is on {target}, which it was never decided for", sent.class));
        }
        match self.ids.insert((target, *seq), id.clone()) {
            None => {}
            Some(before) if before == *id => self.again.entry(target).or_default().0 += 1,
            Some(before) => wrong.push(format!("I4 {target} got {seq} as {before} and as {id}")),
        }
        self.arrivals.push(arrival);
        wrong.into_iter().for_each(|what| self.breaks(what));
    }

    /// So many arrivals on a target may come again.
    pub(crate) fn may_come_again(&mut self, target: &'static str, records: usize) {
        self.again.entry(target).or_default().1 += records;
    }

    /// How many records of a target arrived at or after this one.
    pub(crate) fn arrived_from(&self, target: &'static str, seq: u64) -> usize {
        self.ids.range((target, seq)..=(target, u64::MAX)).count()
    }

    /// I1, the end of it: `kept` are the numbers in the side logs. `finished`: everything was drained under
    /// [`Variant::Renewed`].
    pub(crate) fn check_places(&mut self, kept: &BTreeSet<usize>) {
        let on = |target: &str| -> BTreeSet<usize> {
            let arrivals = self.arrivals.iter().filter(|arrival| arrival.target == target);
            arrivals.map(|arrival| arrival.number).collect()
        };
        let (dc, cloud) = (on("dc"), on("cloud"));
        let mut wrong = Vec::new();
        for (number, sent) in self.sent.iter().enumerate().filter(|(_, sent)| sent.is_acked) {
            let home = dc.contains(&number);
            let placed = match sent.class {
                Class::Open | Class::Sensitive if sent.is_poison => kept.contains(&number),
                Class::Open | Class::Sensitive => home,
                Class::Unknown => home || kept.contains(&number),
                Class::Foreign => !home && !kept.contains(&number),
            };
            if !placed {
                let in_side_log = kept.contains(&number);
                wrong.push(format!(
                    "I1 {number} was acknowledged and is missing (in a side log: {in_side_log}): {sent:?}"
                ));
            }
            let to_cloud = sent.class == Class::Open;
            // Taken in under a policy that made no copy, it has none, unless it was decided anew.
            let surely = to_cloud && sent.taken.iter().all(|(then, _)| *then != Variant::Tight);
            if surely && !cloud.contains(&number) {
                let in_side_log = kept.contains(&number);
                wrong.push(format!(
                    "I1 the copy of {number} is missing (in a side log: {in_side_log}): {sent:?}"
                ));
            }
        }
        wrong.into_iter().for_each(|what| self.breaks(what));
    }

    /// From here on a target gets its tail from `to` on, whole.
    pub(crate) fn tail(&mut self, target: &'static str, to: u64) {
        self.next.insert(target, to);
    }

    /// I3: the records of a topic are in the order it was sent in, but for what was sent again. That records
    /// arrive in their order is seen as they do.
    pub(crate) fn check_order(&mut self) {
        let mut wrong = Vec::new();
        let mut last: BTreeMap<(&str, Class, usize), usize> = BTreeMap::new();
        let unreleased = self.arrivals.iter().filter(|arrival| !arrival.is_released);
        let in_order: BTreeMap<(&str, u64), usize> =
            unreleased.map(|arrival| ((arrival.target, arrival.seq), arrival.number)).collect();
        for ((target, seq), number) in in_order {
            let Some(sent) = self.sent.get(number).filter(|sent| sent.taken.len() == 1) else { continue };
            let before = last.insert((target, sent.class, sent.device), number);
            if before.is_some_and(|before| before > number) {
                wrong.push(format!("I3 {target} has {number} as {seq}, after {before:?}: {sent:?}"));
            }
        }
        wrong.into_iter().for_each(|what| self.breaks(what));
    }

    /// I4: how often something came again, and how many ids one message has.
    pub(crate) fn check_duplicates(&mut self) {
        let mut wrong = Vec::new();
        for (target, (came, may)) in &self.again {
            if came > may {
                wrong.push(format!("I4 {came} records came again to {target}, and {may} were in flight"));
            }
        }
        let mut ids: BTreeMap<(&str, usize), BTreeSet<&str>> = BTreeMap::new();
        let mut numbers: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for Arrival { target, id, number, .. } in &self.arrivals {
            ids.entry((target, *number)).or_default().insert(id);
            if *numbers.entry((target, id)).or_insert(*number) != *number {
                wrong.push(format!("I4 {target} got two messages as {id}"));
            }
        }
        for ((target, number), ids) in ids {
            let sent = self.sent.get(number).map_or(0, |sent| sent.taken.len());
            if ids.len() > sent {
                wrong.push(format!("I4 {target} has {number}, taken in {sent} times, as {ids:?}"));
            }
        }
        wrong.into_iter().for_each(|what| self.breaks(what));
    }
}
