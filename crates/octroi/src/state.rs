//! The index behind `status` and `quarantine list`, in sled. All of it can be
//! rebuilt: sled's flush is not power-loss safe, so nothing lives only here. A
//! store that is damaged, or of another journal, is set aside and made anew
//! from the side logs.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::keeper::Log;

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
    /// Of the payload.
    pub bytes: u64,
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

    /// Adds an entry. A failure is logged: the entry comes back when the index is rebuilt.
    pub fn insert(&self, log: Log, seq: u64, entry: &Entry) {
        let added = (|| -> sled::Result<()> {
            let bytes = serde_json::to_vec(entry).unwrap_or_default();
            let known = self.database.open_tree(log.name())?.insert(seq.to_be_bytes(), bytes)?;
            if known.is_none() {
                let counts = self.database.open_tree(format!("{}-counts", log.name()))?;
                counts.update_and_fetch(count_key(log, entry), |count| Some(next_count(count)))?;
            }
            Ok(())
        })();
        if let Err(error) = added {
            tracing::warn!(%error, log = log.name(), "the index does not take an entry; it is rebuilt at the next start");
        }
    }

    /// Everything below `next` of the side log with that generation is in the index.
    pub fn indexed(&self, log: Log, generation: u64, next: u64) {
        let mark: Vec<u8> = [generation.to_be_bytes(), next.to_be_bytes()].concat();
        if let Err(error) = self.database.insert(mark_key(log), mark) {
            tracing::warn!(%error, log = log.name(), "the index does not take its mark");
        }
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
        for tree in [log.name().to_owned(), format!("{}-counts", log.name())] {
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

    /// How many messages are kept, by reason (quarantine) or by target (hold).
    #[must_use]
    pub fn counts(&self, log: Log) -> Vec<(String, u64)> {
        let Ok(tree) = self.database.open_tree(format!("{}-counts", log.name())) else { return Vec::new() };
        let counts = tree.iter().flatten();
        counts
            .map(|(name, count)| (String::from_utf8_lossy(&name).into_owned(), read_count(&count)))
            .collect()
    }

    /// Writes what is in memory.
    pub fn flush(&self) {
        if let Err(error) = self.database.flush() {
            tracing::warn!(%error, "the index was not flushed; it is rebuilt at the next start");
        }
    }
}

fn count_key(log: Log, entry: &Entry) -> &str {
    match log {
        Log::Quarantine => &entry.reason,
        Log::Hold => &entry.target,
    }
}

fn mark_key(log: Log) -> String {
    format!("{}-indexed", log.name())
}

fn read_count(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(0, u64::from_be_bytes)
}

fn next_count(count: Option<&[u8]>) -> Vec<u8> {
    (count.map_or(0, read_count) + 1).to_be_bytes().to_vec()
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
            bytes: 3,
        }
    }

    #[test]
    fn an_entry_that_comes_again_counts_once() {
        let dir = tempfile::tempdir().unwrap();
        let (state, rebuilt) = State::open(&dir.path().join("state")).unwrap();
        assert!(!rebuilt);
        for seq in [1, 2, 2] {
            state.insert(Log::Quarantine, seq, &entry("command"));
        }
        assert_eq!(state.counts(Log::Quarantine), [("command".to_owned(), 2)]);
        assert_eq!(state.newest(Log::Quarantine, 1).len(), 1);
        state.indexed(Log::Quarantine, 7, 3);
        assert_eq!(state.indexed_upto(Log::Quarantine, 7), 3);
        assert_eq!(state.indexed_upto(Log::Quarantine, 8), 0, "another side log");
        assert!(state.counts(Log::Quarantine).is_empty(), "and nothing of the old one is left");
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
