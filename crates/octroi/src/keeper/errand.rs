//! What an operator asks of a side log: release or purge what is picked. One
//! call looks at a bounded number of messages and says where the next goes on.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use tokio::sync::oneshot;

use crate::record::{Log, What};
use crate::state::Entry;

/// Which messages. All that is given must hold; nothing given picks nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pick {
    /// Sequence numbers in the side log.
    pub seqs: BTreeSet<u64>,
    /// Kept for this reason.
    pub reason: Option<String>,
    /// Of this source.
    pub source: Option<String>,
    /// All of them.
    pub all: bool,
}

impl Pick {
    /// Whether it names anything at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.seqs.is_empty() && self.reason.is_none() && self.source.is_none() && !self.all
    }

    /// Whether neither this message nor any after it can be picked.
    #[must_use]
    pub fn is_passed(&self, seq: u64) -> bool {
        self.seqs.last().is_some_and(|last| *last < seq)
    }

    /// Whether a message is picked.
    #[must_use]
    pub fn takes(&self, seq: u64, entry: &Entry) -> bool {
        let named = self.seqs.is_empty() || self.seqs.contains(&seq);
        let given =
            |wanted: &Option<String>, value: &str| wanted.as_ref().is_none_or(|wanted| wanted == value);
        !self.is_empty() && named && given(&self.reason, &entry.reason) && given(&self.source, &entry.source)
    }
}

/// What is asked.
#[derive(Debug)]
pub struct Errand {
    /// Of which side log.
    pub log: Log,
    /// `Released` or `Purged`.
    pub what: What,
    /// Why, for the record.
    pub why: String,
    /// Of which messages.
    pub pick: Pick,
    /// From which sequence number on.
    pub from: u64,
    /// Say what would be done only.
    pub dry_run: bool,
    /// Told what was done, after it is on disk. Dropped: nothing was, or the hub stops.
    pub reply: oneshot::Sender<Report>,
}

/// What came of an errand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Ids of those that went.
    pub done: Vec<String>,
    /// Ids of those that stay, by the reason of now.
    pub stays: BTreeMap<String, Vec<String>>,
    /// Where to go on; `None`: that was all.
    pub next: Option<u64>,
}
