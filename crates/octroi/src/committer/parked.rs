//! Chunks that wait because their sender's messages take as much of the journal
//! as they may, or sessions as much of its state. They wait here, so that those
//! of others pass them. How much that is, is asked anew each time: the policy in
//! force may say it.
//!
//! INVARIANT: a sender's chunks stay in order: behind one that waits, all do.
//! INVARIANT: what a sender's messages take is at most what they may, and a chunk.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::Append;
use crate::limits;
use crate::usage::Usage;

/// What the messages of the sender with that identity may take of the journal, bytes.
pub type Most = Box<dyn Fn(&str) -> u64 + Send>;

pub(super) struct Parked {
    /// By the sender's identity, oldest first; never empty.
    by: BTreeMap<Arc<str>, VecDeque<Append>>,
    most: Most,
    /// What passed since the last group, by its sender's identity: not counted as taken yet.
    passed: BTreeMap<Arc<str>, u64>,
    /// When the log last spoke of a sender.
    said: BTreeMap<Arc<str>, Duration>,
    now: Duration,
}

impl Parked {
    pub(super) fn new(most: Most) -> Self {
        Self {
            by: BTreeMap::new(),
            most,
            passed: BTreeMap::new(),
            said: BTreeMap::new(),
            now: Duration::ZERO,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by.is_empty()
    }

    /// The senders of what waits.
    pub(super) fn senders(&self) -> impl Iterator<Item = &str> {
        self.by.keys().map(|by| &**by)
    }

    /// Keeps a chunk whose sender's messages take what they may, or whose QoS 2 packet identifiers find no room
    /// (`fits`); gives back any other.
    pub(super) fn keep(&mut self, append: Append, usage: &Usage, fits: bool) -> Option<Append> {
        let Some(by) = append.by.clone() else { return Some(append) };
        if !self.by.contains_key(&by) {
            let most = (self.most)(&by);
            let passed = self.passed.entry(Arc::clone(&by)).or_default();
            let over = usage.is_over(&by, most.saturating_sub(*passed));
            if fits && !over {
                *passed += append.tally.bytes;
                return Some(append);
            }
            if over {
                self.say(&by, most);
            }
        }
        self.by.entry(by).or_default().push_back(append);
        None
    }

    fn say(&mut self, by: &Arc<str>, most: u64) {
        let due = self.said.get(by).is_none_or(|said| self.now >= *said + limits::SAID_AGAIN);
        if due {
            self.said.insert(Arc::clone(by), self.now);
            tracing::warn!(sender = %by, most,
                "this sender's messages take what they may of the journal: no more are taken until its targets \
                 catch up, or the smaller of `journal.source_share` and its `quota.journal_bytes` is raised");
        }
    }

    /// Keeps those alone.
    pub(super) fn retain(&mut self, keeps: impl Fn(&Append) -> bool) {
        self.by.retain(|_, parked| {
            parked.retain(&keeps);
            !parked.is_empty()
        });
    }

    /// A group begins: puts the chunks of senders whose messages take less by now, or may take more, ahead of
    /// what came later. Whoever was told to keep its messages sends them again by itself.
    pub(super) fn give_back(&mut self, usage: &Usage, waiting: &mut VecDeque<Append>, now: Duration) {
        self.now = now;
        self.passed.clear();
        self.by.retain(|by, parked| {
            while parked.pop_front_if(|append| append.done.is_closed()).is_some() {}
            if !usage.is_over(by, (self.most)(by)) {
                parked.retain(|append| !append.done.is_closed());
                while let Some(append) = parked.pop_back() {
                    waiting.push_front(append);
                }
            }
            !parked.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use octroi_journal::ChunkBuilder;
    use tokio::sync::oneshot;

    use super::*;
    use crate::committer::Acked;
    use crate::ledger::Tally;

    /// A chunk told apart by its bytes.
    fn append(by: Option<&str>, bytes: u64) -> (Append, oneshot::Receiver<Acked>) {
        let (done, told) = oneshot::channel();
        let tally = Tally { bytes, ..Tally::default() };
        let chunk = ChunkBuilder::new(0).finish();
        (Append { chunk, tally, by: by.map(Into::into), budget: None, done }, told)
    }

    fn nobody() -> std::iter::Empty<&'static str> {
        std::iter::empty()
    }

    fn bytes(waiting: &VecDeque<Append>) -> Vec<u64> {
        waiting.iter().map(|append| append.tally.bytes).collect()
    }

    #[test]
    fn who_takes_its_share_waits_in_order_and_everybody_else_passes() {
        let (mut usage, mut parked) = (Usage::default(), Parked::new(Box::new(|_| 100)));
        usage.add("loud", 100);
        usage.turn((0, 10), 64, nobody());
        let mut told = Vec::new();
        let mut offer = |parked: &mut Parked, usage: &Usage, by, bytes| {
            let (append, receiver) = append(by, bytes);
            told.push(receiver);
            parked.keep(append, usage, true).is_some()
        };
        assert!(!offer(&mut parked, &usage, Some("loud"), 1) && !offer(&mut parked, &usage, Some("loud"), 2));
        assert!(offer(&mut parked, &usage, Some("quiet"), 3), "another sender");
        assert!(offer(&mut parked, &usage, None, 4), "the hub itself");
        let mut waiting = VecDeque::from([append(Some("quiet"), 5).0]);
        parked.give_back(&usage, &mut waiting, Duration::ZERO);
        assert_eq!(bytes(&waiting), [5], "it still takes its share");
        usage.turn((10, 20), 64, nobody());
        assert!(!offer(&mut parked, &usage, Some("loud"), 6), "behind one that waits, all do");
        parked.give_back(&usage, &mut waiting, Duration::ZERO);
        assert!(bytes(&waiting) == [1, 2, 6, 5] && parked.is_empty(), "{:?}", bytes(&waiting));
        assert!(offer(&mut parked, &usage, Some("loud"), 7));
    }

    #[test]
    fn a_group_takes_no_more_than_a_sender_may_have_and_another_limit_holds_at_once() {
        let most = Arc::new(AtomicU64::new(100));
        let asked = Arc::clone(&most);
        let mut parked = Parked::new(Box::new(move |_| asked.load(Ordering::Relaxed)));
        let (mut usage, mut waiting, mut told) = (Usage::default(), VecDeque::new(), Vec::new());
        let mut offer = |parked: &mut Parked, usage: &Usage, append| {
            let (append, receiver): (Append, _) = append;
            told.push(receiver);
            parked.keep(append, usage, true).is_some()
        };
        usage.add("loud", 30);
        let taken = [60, 60, 60].map(|bytes| offer(&mut parked, &usage, append(Some("loud"), bytes)));
        assert_eq!(taken, [true, true, false], "as many as begin below the limit");
        assert_eq!(parked.senders().collect::<Vec<_>>(), ["loud"]);
        usage.add("loud", 120);
        parked.give_back(&usage, &mut waiting, Duration::ZERO);
        assert_eq!(bytes(&waiting), [0; 0]);
        most.store(151, Ordering::Relaxed);
        parked.give_back(&usage, &mut waiting, Duration::ZERO);
        assert_eq!(bytes(&waiting), [60]);
        assert!(offer(&mut parked, &usage, append(Some("loud"), 1)));
    }

    #[test]
    fn what_its_publisher_was_told_to_keep_is_not_written() {
        let (mut usage, mut parked) = (Usage::default(), Parked::new(Box::new(|_| 100)));
        usage.add("loud", 100);
        usage.turn((0, 10), 64, nobody());
        let [(one, _), (two, told), (three, _)] = [1, 2, 3].map(|bytes| append(Some("loud"), bytes));
        for append in [one, two, three] {
            assert!(parked.keep(append, &usage, true).is_none());
        }
        usage.turn((10, 20), 64, nobody());
        let mut waiting = VecDeque::new();
        parked.give_back(&usage, &mut waiting, Duration::ZERO);
        assert_eq!(bytes(&waiting), [2]);
        drop(told);
    }
}
