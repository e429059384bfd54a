//! What the messages of each source take in the journal, so that one cannot
//! fill the disk of the others. Part of the ledger: counted by whoever writes a
//! chunk, stored in its snapshot, and counted again from the records behind it.
//!
//! Bytes are counted by stretches of the journal and given back stretch by
//! stretch, once nothing in one is waited for. A stretch is over when it is a
//! sixty-fourth of the journal's limit, or holds something of whoever has to
//! wait, who would otherwise wait for what others write behind it. It remembers
//! only whoever wrote a sixty-fourth of it or more: what the rest took is
//! forgotten, and the snapshot stays small.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

/// Stretches that the journal's limit is counted by; and the least share of one that is remembered.
const PARTS: u64 = 64;

/// What each source's messages take, by its identity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Usage {
    /// Oldest first; the last is the one being written.
    stretches: VecDeque<Stretch>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stretch {
    /// The number of its first record.
    from: u64,
    /// Of everybody.
    bytes: u64,
    by: BTreeMap<String, u64>,
}

impl Usage {
    /// A source wrote so many bytes of records.
    pub fn add(&mut self, source: &str, bytes: u64) {
        if self.stretches.is_empty() {
            self.stretches.push_back(Stretch::default());
        }
        let Some(stretch) = self.stretches.back_mut() else { return };
        stretch.bytes += bytes;
        match stretch.by.get_mut(source) {
            Some(sum) => *sum += bytes,
            None => drop(stretch.by.insert(source.to_owned(), bytes)),
        }
    }

    /// Nothing below `first` is waited for, the journal ends before `next` and may take `limit` bytes, and those
    /// of `waiting` may not go on before their part of it goes.
    pub fn turn<'w>(
        &mut self,
        (first, next): (u64, u64),
        limit: u64,
        mut waiting: impl Iterator<Item = &'w str>,
    ) {
        if first >= next {
            return self.stretches.clear();
        }
        while self.stretches.get(1).is_some_and(|second| second.from <= first) {
            self.stretches.pop_front();
        }
        let is_over = |last: &&mut Stretch| {
            last.bytes >= limit / PARTS || waiting.any(|source| last.by.contains_key(source))
        };
        if let Some(last) = self.stretches.back_mut().filter(is_over) {
            let least = last.bytes / PARTS;
            last.by.retain(|_, bytes| *bytes >= least);
            self.stretches.push_back(Stretch { from: next, ..Stretch::default() });
        }
    }

    /// Whether a source's messages take `most` bytes or more.
    #[must_use]
    pub fn is_over(&self, source: &str, most: u64) -> bool {
        // Nobody takes more than all take together: with room to spare, nothing is looked up.
        self.stretches.iter().map(|stretch| stretch.bytes).sum::<u64>() >= most && self.of(source) >= most
    }

    /// Whether nobody wrote anything yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.stretches.is_empty()
    }

    fn of(&self, source: &str) -> u64 {
        self.stretches.iter().filter_map(|stretch| stretch.by.get(source)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u64 = 64 * 1_000;

    fn nobody() -> std::iter::Empty<&'static str> {
        std::iter::empty()
    }

    #[test]
    fn what_a_source_wrote_is_counted_until_the_journal_begins_behind_it() {
        let mut usage = Usage::default();
        for seq in (0..100).step_by(10) {
            usage.add("loud", 1_500);
            usage.add("quiet", 300);
            usage.turn((0, seq + 10), LIMIT, nobody());
        }
        assert_eq!((usage.of("loud"), usage.of("quiet"), usage.of("mute")), (15_000, 3_000, 0));
        assert!(usage.is_over("loud", 15_000) && !usage.is_over("loud", 15_001));
        assert!(!usage.is_over("quiet", 15_000), "what the other took is not its affair");
        usage.turn((55, 100), LIMIT, nobody());
        assert_eq!(usage.of("loud"), 7_500, "records 50 and following are there, in whole stretches");
        usage.turn((100, 100), LIMIT, nobody());
        assert!(usage.is_empty(), "what is waited for by nobody is nobody's");
    }

    #[test]
    fn who_waits_is_given_back_its_part_before_the_stretch_would_be_full() {
        let mut usage = Usage::default();
        for (seq, source) in [(10, "small"), (20, "other"), (30, "other")] {
            usage.add(source, 10);
            usage.turn((0, seq), LIMIT, ["small", "third"].into_iter());
        }
        assert_eq!(usage.stretches.len(), 2, "of those who write nothing more none is made");
        usage.turn((9, 30), LIMIT, nobody());
        assert_eq!((usage.of("small"), usage.of("other")), (10, 20));
        usage.turn((10, 30), LIMIT, nobody());
        assert_eq!((usage.of("small"), usage.of("other")), (0, 20));
    }

    #[test]
    fn it_is_read_back_and_stays_small_however_many_write() {
        let mut usage = Usage::default();
        for round in 0..64 {
            usage.add("loud", 900);
            for source in 0..1_000 {
                usage.add(&format!("source-{source}"), 1);
            }
            usage.turn((0, round + 1), LIMIT, nobody());
        }
        assert_eq!(usage.of("loud"), 64 * 900, "who takes much is never forgotten");
        let bytes = serde_json::to_vec(&usage).unwrap();
        assert!(bytes.len() < 64 * 1_024, "{}", bytes.len());
        assert_eq!(serde_json::from_slice::<Usage>(&bytes).unwrap(), usage);
    }
}
