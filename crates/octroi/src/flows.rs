//! Where messages go, counted: source × level × destination. One flat table of
//! atomics a policy; a session adds to it once per chunk.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use octroi_policy::{Level, Policy, SourceIx};

/// A place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FlowIx(usize);

/// Where a message goes, as a column of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// The primary space's target, by its index.
    Target(usize),
    /// A copy, by its index.
    Copy(usize),
    /// Kept: a doubt.
    Quarantine,
    /// Kept: no allowed target.
    Hold,
    /// Refused, on record.
    Refused,
}

/// The counts of one policy.
#[derive(Debug)]
pub struct Flows {
    counts: Vec<AtomicU64>,
    targets: usize,
    copies: usize,
}

impl Flows {
    /// A table for this policy, at 0.
    #[must_use]
    pub fn new(policy: &Policy) -> Self {
        let (targets, copies) = (policy.targets().len(), policy.copies().len());
        let cells = policy.sources().len() * Level::ALL.len() * (targets + copies + 3);
        Self { counts: (0..cells).map(|_| AtomicU64::new(0)).collect(), targets, copies }
    }

    fn columns(&self) -> usize {
        self.targets + self.copies + 3
    }

    /// The place of a flow.
    #[must_use]
    pub fn at(&self, source: SourceIx, level: Level, destination: Destination) -> FlowIx {
        let column = match destination {
            Destination::Target(target) => target,
            Destination::Copy(copy) => self.targets + copy,
            Destination::Quarantine => self.targets + self.copies,
            Destination::Hold => self.targets + self.copies + 1,
            Destination::Refused => self.targets + self.copies + 2,
        };
        FlowIx((source.index() * Level::ALL.len() + level as usize) * self.columns() + column)
    }

    /// Counts messages.
    pub fn add(&self, flow: FlowIx, messages: u64) {
        if let Some(count) = self.counts.get(flow.0) {
            count.fetch_add(messages, Ordering::Relaxed);
        }
    }

    /// Every flow that has a message, with its source, level, destination and count.
    pub fn iter(&self) -> impl Iterator<Item = (usize, Level, Destination, u64)> {
        let columns = self.columns();
        self.counts.iter().enumerate().filter_map(move |(place, count)| {
            let count = count.load(Ordering::Relaxed);
            let (row, column) = (place / columns, place % columns);
            let level = *Level::ALL.get(row % Level::ALL.len())?;
            let destination = match column.checked_sub(self.targets) {
                None => Destination::Target(column),
                Some(copy) if copy < self.copies => Destination::Copy(copy),
                Some(rest) => match rest - self.copies {
                    0 => Destination::Quarantine,
                    1 => Destination::Hold,
                    _ => Destination::Refused,
                },
            };
            (count > 0).then_some((row / Level::ALL.len(), level, destination, count))
        })
    }
}

/// What one session counted since its last hand-over; few flows, so a short list.
#[derive(Debug, Default)]
pub struct FlowCounts(BTreeMap<FlowIx, u64>);

impl FlowCounts {
    /// Counts one message.
    pub fn count(&mut self, flow: FlowIx) {
        *self.0.entry(flow).or_default() += 1;
    }

    /// Adds everything to the table.
    pub fn flush(&mut self, flows: &Flows) {
        while let Some((flow, messages)) = self.0.pop_first() {
            flows.add(flow, messages);
        }
    }
}
