//! The index of the side logs, in sled: what is in them by now, for `status`,
//! `quarantine list` and whoever walks them. All of it can be rebuilt: sled's
//! flush is not power-loss safe, so nothing lives only here. A store that is
//! damaged, or of another journal, is set aside and made anew from the side
//! logs.
//!
//! INVARIANT: entries, counts and the mark up to where a side log is indexed
//! change in one transaction, so what a crash takes back is indexed again.

use std::convert::Infallible;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sled::Transactional;
use sled::transaction::{ConflictableTransactionResult, TransactionResult, TransactionalTree};

use crate::record::Log;

/// What the index says of a kept message. Never its payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// `generation/seq` in the side log.
    pub id: String,
    /// Its sequence number in the journal.
    pub origin: u64,
    /// The source, as its identity names it.
    pub source: String,
    /// The topic.
    pub topic: String,
    /// Stable name of why.
    pub reason: String,
    /// The target it is held for; empty: none in particular.
    pub target: String,
    /// RFC 3339.
    pub received: String,
    /// Policy time since when it is kept there, microseconds.
    pub since: i64,
    /// Of the payload.
    pub bytes: u64,
}

/// One change of what is in a side log.
#[derive(Clone, Debug)]
pub enum Change {
    /// It is in.
    In(u64, Entry),
    /// It has left.
    Out(u64),
    /// It stays for this reason.
    Reason(u64, String),
}

/// The index cannot be opened, even anew.
#[derive(Debug, thiserror::Error)]
#[error(
    "the index at `{path}` cannot be made; it holds nothing that cannot be rebuilt: remove it, or mend its directory"
)]
pub struct StateError {
    path: String,
    #[source]
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// The index.
#[derive(Debug)]
pub struct State {
    database: sled::Db,
}

impl State {
    /// Opens the index; a damaged one is set aside beside it and made anew. Says whether it was.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn open(path: &Path) -> Result<(Self, bool), StateError> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| StateError {
            path: path.display().to_string(),
            source,
        };
        let open =
            || sled::Config::new().path(path).cache_capacity(8 << 20).flush_every_ms(Some(1_000)).open();
        match open() {
            Ok(database) => Ok((Self { database }, false)),
            Err(_) => {
                let aside = path.with_extension("damaged");
                if aside.exists() {
                    fs::remove_dir_all(&aside).map_err(|error| failed(error.into()))?;
                }
                fs::rename(path, &aside).map_err(|error| failed(error.into()))?;
                let database = open().map_err(|error| failed(error.into()))?;
                Ok((Self { database }, true))
            }
        }
    }

    /// Applies changes: everything below `next` of the side log with that generation is in the index then. A
    /// failure is logged, and `false`: nothing is changed.
    pub fn apply(&self, log: Log, generation: u64, next: u64, changes: &[Change]) -> bool {
        let mark: Vec<u8> = [generation.to_be_bytes(), next.to_be_bytes()].concat();
        let applied = (|| -> TransactionResult<(), Infallible> {
            let entries = self.database.open_tree(log.name())?;
            let counts = self.database.open_tree(counts_key(log))?;
            (&entries, &counts, &*self.database).transaction(|(entries, counts, marks)| {
                for change in changes {
                    apply(log, change, entries, counts)?;
                }
                marks.insert(mark_key(log).as_bytes(), mark.as_slice())?;
                Ok(())
            })
        })();
        if let Err(error) = &applied {
            tracing::warn!(%error, log = log.name(), "the index does not take a change; it is tried again");
        }
        applied.is_ok()
    }

    /// From where on the side log with that generation is not in the index; an index of another one is
    /// emptied first.
    #[must_use]
    pub fn indexed_upto(&self, log: Log, generation: u64) -> u64 {
        let mark = self.database.get(mark_key(log)).ok().flatten();
        let mark = mark.as_deref().and_then(|mark| mark.split_at_checked(8));
        if let Some((of, next)) = mark
            && of == generation.to_be_bytes()
            && let Ok(next) = next.try_into()
        {
            return u64::from_be_bytes(next);
        }
        for tree in [log.name().to_owned(), counts_key(log)] {
            if let Ok(tree) = self.database.open_tree(tree) {
                tree.clear().ok();
            }
        }
        0
    }

    /// The newest entries, at most `limit`.
    #[must_use]
    pub fn newest(&self, log: Log, limit: usize) -> Vec<Entry> {
        let Ok(tree) = self.database.open_tree(log.name()) else { return Vec::new() };
        let entries = tree.iter().rev().flatten().take(limit);
        entries.filter_map(|(_, bytes)| serde_json::from_slice(&bytes).ok()).collect()
    }

    /// The entry with that sequence number in the side log.
    #[must_use]
    pub fn get(&self, log: Log, seq: u64) -> Option<Entry> {
        let bytes = self.database.open_tree(log.name()).ok()?.get(seq.to_be_bytes()).ok()??;
        serde_json::from_slice(&bytes).ok()
    }

    /// Whether a message is in.
    ///
    /// # Errors
    /// It cannot be told.
    pub fn contains(&self, log: Log, seq: u64) -> sled::Result<bool> {
        self.database.open_tree(log.name())?.contains_key(seq.to_be_bytes())
    }

    /// The oldest entries at or after `from`, at most `limit`.
    #[must_use]
    pub fn from(&self, log: Log, from: u64, limit: usize) -> Vec<(u64, Entry)> {
        let Ok(tree) = self.database.open_tree(log.name()) else { return Vec::new() };
        let entries = tree.range(from.to_be_bytes()..).flatten().take(limit);
        entries
            .filter_map(|(seq, bytes)| Some((read_count(&seq), serde_json::from_slice(&bytes).ok()?)))
            .collect()
    }

    /// The lowest sequence number that is in, or `end` if there is none; `None`: it cannot be told.
    #[must_use]
    pub fn lowest(&self, log: Log, end: u64) -> Option<u64> {
        let first = self.database.open_tree(log.name()).and_then(|tree| tree.first()).ok()?;
        Some(first.map_or(end, |(seq, _)| read_count(&seq)))
    }

    /// How many messages are kept, by reason (quarantine) or by target (hold).
    #[must_use]
    pub fn counts(&self, log: Log) -> Vec<(String, u64)> {
        let Ok(tree) = self.database.open_tree(counts_key(log)) else { return Vec::new() };
        let counts = tree.iter().flatten();
        let counts =
            counts.map(|(name, count)| (String::from_utf8_lossy(&name).into_owned(), read_count(&count)));
        counts.filter(|(_, count)| *count > 0).collect()
    }

    /// Writes what is in memory.
    pub fn flush(&self) {
        if let Err(error) = self.database.flush() {
            tracing::warn!(%error, "the index was not flushed; it is rebuilt at the next start");
        }
    }
}

fn apply(
    log: Log,
    change: &Change,
    entries: &TransactionalTree,
    counts: &TransactionalTree,
) -> ConflictableTransactionResult<(), Infallible> {
    let (Change::In(seq, _) | Change::Out(seq) | Change::Reason(seq, _)) = change;
    let key = seq.to_be_bytes();
    let known = entries.get(key)?.and_then(|bytes| serde_json::from_slice::<Entry>(&bytes).ok());
    let entry = match (change, &known) {
        (Change::In(_, entry), _) => Some(entry.clone()),
        (Change::Reason(_, reason), Some(known)) => Some(Entry { reason: reason.clone(), ..known.clone() }),
        (Change::Out(_), _) | (Change::Reason(..), None) => None,
    };
    if let Some(known) = &known {
        count(counts, count_key(log, known), |count| count.saturating_sub(1))?;
    }
    match entry {
        Some(entry) => {
            entries.insert(&key, serde_json::to_vec(&entry).unwrap_or_default())?;
            count(counts, count_key(log, &entry), |count| count + 1)
        }
        None => entries.remove(&key).map(drop).map_err(Into::into),
    }
}

fn count(
    counts: &TransactionalTree,
    name: &str,
    change: impl Fn(u64) -> u64,
) -> ConflictableTransactionResult<(), Infallible> {
    let before = counts.get(name)?.map_or(0, |count| read_count(&count));
    counts.insert(name.as_bytes(), &change(before).to_be_bytes())?;
    Ok(())
}

fn count_key(log: Log, entry: &Entry) -> &str {
    match log {
        Log::Quarantine => &entry.reason,
        Log::Hold => &entry.target,
    }
}

fn counts_key(log: Log) -> String {
    format!("{}-counts", log.name())
}

fn mark_key(log: Log) -> String {
    format!("{}-indexed", log.name())
}

fn read_count(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(0, u64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(reason: &str) -> Entry {
        Entry {
            id: "1/2".into(),
            origin: 2,
            source: "s".into(),
            topic: "t".into(),
            reason: reason.into(),
            target: "dc".into(),
            received: String::new(),
            since: 5,
            bytes: 3,
        }
    }

    #[test]
    fn an_entry_that_comes_again_counts_once() {
        let dir = tempfile::tempdir().unwrap();
        let (state, rebuilt) = State::open(&dir.path().join("state")).unwrap();
        assert!(!rebuilt);
        let into = |seq, reason| Change::In(seq, entry(reason));
        state.apply(Log::Quarantine, 7, 3, &[into(1, "command"), into(2, "command"), into(2, "command")]);
        assert_eq!(state.counts(Log::Quarantine), [("command".to_owned(), 2)]);
        assert_eq!(state.newest(Log::Quarantine, 1).len(), 1);
        assert_eq!(state.indexed_upto(Log::Quarantine, 7), 3);
        assert_eq!(state.indexed_upto(Log::Quarantine, 8), 0, "another side log");
        assert!(state.counts(Log::Quarantine).is_empty(), "and nothing of the old one is left");
    }

    #[test]
    fn what_leaves_or_stays_for_another_reason_is_counted_so_and_twice_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (state, _) = State::open(&dir.path().join("state")).unwrap();
        let log = Log::Quarantine;
        let entries = [1, 2, 3].map(|seq| Change::In(seq, entry("no_rule_matches")));
        state.apply(log, 7, 4, &entries);
        for _ in 0..2 {
            let changes = [
                Change::Out(1),
                Change::Reason(3, "outside_perimeter".into()),
                Change::Reason(9, "x".into()),
            ];
            state.apply(log, 7, 5, &changes);
            let counts = [("no_rule_matches".to_owned(), 1), ("outside_perimeter".to_owned(), 1)];
            assert_eq!(state.counts(log), counts);
        }
        assert_eq!((state.get(log, 1), state.get(log, 2)), (None, Some(entry("no_rule_matches"))));
        let seqs = |from, limit| state.from(log, from, limit).iter().map(|(seq, _)| *seq).collect::<Vec<_>>();
        assert_eq!((seqs(0, 9), seqs(0, 1), seqs(3, 9), seqs(4, 9)), (vec![2, 3], vec![2], vec![3], vec![]));
    }

    #[test]
    fn a_damaged_store_is_set_aside_and_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("conf"), b"no configuration of sled").unwrap();
        fs::write(path.join("db"), vec![0xff; 4096]).unwrap();
        let (state, rebuilt) = State::open(&path).unwrap();
        assert!(rebuilt && dir.path().join("state.damaged").exists());
        assert_eq!(state.indexed_upto(Log::Hold, 1), 0);
    }
}
