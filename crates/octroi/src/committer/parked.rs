//! Chunks that wait because their sender's messages take their share of the
//! journal. They wait here, so that those of others pass them.
//!
//! INVARIANT: a sender's chunks stay in order: behind one that waits, all do.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::Append;
use crate::usage::Usage;

pub(super) struct Parked {
    /// By the sender's identity, oldest first; never empty.
    by: BTreeMap<Arc<str>, VecDeque<Append>>,
    /// What one sender's messages may take, bytes.
    share: u64,
}

impl Parked {
    pub(super) fn new(share: u64) -> Self {
        Self { by: BTreeMap::new(), share }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by.is_empty()
    }

    /// Keeps a chunk whose sender's messages take their share; gives back any other.
    pub(super) fn keep(&mut self, append: Append, usage: &Usage) -> Option<Append> {
        let Some(by) = append.by.clone() else { return Some(append) };
        if !self.by.contains_key(&by) {
            if !usage.is_over(&by, self.share) {
                return Some(append);
            }
            tracing::warn!(sender = %by, most = self.share,
                "this sender's messages take their share of the journal: no more are taken until its targets \
                 catch up, or `journal.source_share` is raised");
        }
        self.by.entry(by).or_default().push_back(append);
        None
    }

    /// Keeps those alone.
    pub(super) fn retain(&mut self, keeps: impl Fn(&Append) -> bool) {
        self.by.retain(|_, parked| {
            parked.retain(&keeps);
            !parked.is_empty()
        });
    }

    /// Puts the chunks of senders whose messages take less by now ahead of what came later. Whoever was told to
    /// keep its messages sends them again by itself.
    pub(super) fn give_back(&mut self, usage: &Usage, waiting: &mut VecDeque<Append>) {
        let share = self.share;
        self.by.retain(|by, parked| {
            while parked.pop_front_if(|append| append.done.is_closed()).is_some() {}
            if !usage.is_over(by, share) {
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

    fn bytes(waiting: &VecDeque<Append>) -> Vec<u64> {
        waiting.iter().map(|append| append.tally.bytes).collect()
    }

    #[test]
    fn who_takes_its_share_waits_in_order_and_everybody_else_passes() {
        let (mut usage, mut parked) = (Usage::default(), Parked::new(100));
        usage.add("loud", 100);
        usage.turn(0, 10, 64);
        let mut told = Vec::new();
        let mut offer = |parked: &mut Parked, usage: &Usage, by, bytes| {
            let (append, receiver) = append(by, bytes);
            told.push(receiver);
            parked.keep(append, usage).is_some()
        };
        assert!(!offer(&mut parked, &usage, Some("loud"), 1) && !offer(&mut parked, &usage, Some("loud"), 2));
        assert!(offer(&mut parked, &usage, Some("quiet"), 3), "another sender");
        assert!(offer(&mut parked, &usage, None, 4), "the hub itself");
        let mut waiting = VecDeque::from([append(Some("quiet"), 5).0]);
        parked.give_back(&usage, &mut waiting);
        assert_eq!(bytes(&waiting), [5], "it still takes its share");
        usage.turn(10, 20, 64);
        assert!(!offer(&mut parked, &usage, Some("loud"), 6), "behind one that waits, all do");
        parked.give_back(&usage, &mut waiting);
        assert!(bytes(&waiting) == [1, 2, 6, 5] && parked.is_empty(), "{:?}", bytes(&waiting));
        assert!(offer(&mut parked, &usage, Some("loud"), 7));
    }

    #[test]
    fn what_its_publisher_was_told_to_keep_is_not_written() {
        let (mut usage, mut parked) = (Usage::default(), Parked::new(100));
        usage.add("loud", 100);
        usage.turn(0, 10, 64);
        let [(one, _), (two, told), (three, _)] = [1, 2, 3].map(|bytes| append(Some("loud"), bytes));
        for append in [one, two, three] {
            assert!(parked.keep(append, &usage).is_none());
        }
        usage.turn(10, 20, 64);
        let mut waiting = VecDeque::new();
        parked.give_back(&usage, &mut waiting);
        assert_eq!(bytes(&waiting), [2]);
        drop(told);
    }
}
