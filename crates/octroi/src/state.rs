//! The index of the side logs, in sled: what is in them by now, for `status`,
//! `quarantine list` and whoever walks them. All of it can be rebuilt: sled's
//! flush is not power-loss safe, so nothing lives only here. A store that is
//! damaged, or of another format, is set aside and made anew from the side
//! logs; one of other side logs is emptied.
//!
//! INVARIANT: entries, counts and the mark up to where a side log is indexed
//! change in one transaction, so what a crash takes back is indexed again.
//! INVARIANT: the mark holds a sum over the entries, and every entry is read
//! when the store is opened: one that lost a part is not relied on, for a
//! message that the index does not know could lose its segment.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::fs;
use std::io::{self, ErrorKind};
use std::panic::catch_unwind;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sled::Transactional;
use sled::transaction::{ConflictableTransactionResult, TransactionResult, TransactionalTree};

use crate::record::Log;
use crate::{durable, fail_point};

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

/// How an index was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Whole.
    Whole,
    /// It was not there.
    Missing,
    /// A part of it was lost or changed.
    Damaged,
    /// Another version of the program wrote it.
    OtherFormat,
}

/// What an index of this format says of itself, in a file of its own: another may be no store of sled's.
const FORMAT: &[u8] = b"octroi-index/1\n";
const FORMAT_FILE: &str = "octroi-format";

/// The index.
#[derive(Debug)]
pub struct State {
    database: sled::Db,
}

impl State {
    /// Opens the index; one that cannot be relied on is set aside beside it and made anew. Says how it was.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn open(path: &Path) -> Result<(Self, Found), StateError> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| StateError {
            path: path.display().to_string(),
            source,
        };
        // sled panics on some of the damage that it finds.
        let found = match catch_unwind(|| Self::whole(path)).unwrap_or(Err(Found::Damaged)) {
            Ok(database) => return Ok((Self { database }, Found::Whole)),
            Err(found) => found,
        };
        if found != Found::Missing {
            set_aside(path).map_err(|error| failed(error.into()))?;
        }
        fs::create_dir(path)
            .and_then(|()| durable::replace(&path.join(FORMAT_FILE), FORMAT))
            .map_err(|error| failed(error.into()))?;
        let database = config(path).open().map_err(|error| failed(error.into()))?;
        Ok((Self { database }, found))
    }

    /// The store that is there, if all of it can be relied on; else how it is.
    fn whole(path: &Path) -> Result<sled::Db, Found> {
        if !path.exists() {
            return Err(Found::Missing);
        }
        match fs::read(path.join(FORMAT_FILE)) {
            Ok(format) if format == FORMAT => {}
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(Found::Damaged),
            Ok(_) | Err(_) => return Err(Found::OtherFormat),
        }
        let database = config(path).open().map_err(|_| Found::Damaged)?;
        if is_sound(&database) { Ok(database) } else { Err(Found::Damaged) }
    }

    /// Applies changes: everything below `next` of the side log with that generation is in the index then. A
    /// failure is logged, and `false`: nothing is changed.
    pub fn apply(&self, log: Log, generation: u64, next: u64, changes: &[Change]) -> bool {
        fail_point::reached("state.before_change");
        let applied = (|| -> TransactionResult<(), Infallible> {
            let entries = self.database.open_tree(log.name())?;
            let counts = self.database.open_tree(counts_key(log))?;
            (&entries, &counts, &*self.database).transaction(|(entries, counts, marks)| {
                let mut sum = Mark::read(marks.get(mark_key(log))?.as_deref()).sum;
                for change in changes {
                    sum ^= apply(log, change, entries, counts)?;
                }
                let mark = Mark { generation, next, sum };
                marks.insert(mark_key(log).as_bytes(), mark.to_bytes().as_slice())?;
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
        let mark = Mark::read(self.database.get(mark_key(log)).ok().flatten().as_deref());
        if mark.generation == generation {
            return mark.next;
        }
        self.database.remove(mark_key(log)).ok();
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

    /// For which target, and from where in the journal, everything in it is kept.
    #[must_use]
    pub fn origins(&self, log: Log) -> BTreeSet<(String, u64)> {
        let entries = self.from(log, 0, usize::MAX).into_iter();
        entries.map(|(_, entry)| (entry.target, entry.origin)).collect()
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

/// Up to where a side log is in the index, and what is in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Mark {
    generation: u64,
    next: u64,
    /// Of the hashes of all entries.
    sum: u64,
}

impl Mark {
    /// One that is not there is that of an empty index.
    fn read(bytes: Option<&[u8]>) -> Self {
        let mut numbers = bytes.unwrap_or_default().chunks(8).map(read_count);
        let mut number = || numbers.next().unwrap_or_default();
        Self { generation: number(), next: number(), sum: number() }
    }

    fn to_bytes(self) -> Vec<u8> {
        [self.generation, self.next, self.sum].map(u64::to_be_bytes).concat()
    }
}

fn config(path: &Path) -> sled::Config {
    sled::Config::new().path(path).cache_capacity(8 << 20).flush_every_ms(Some(1_000))
}

fn set_aside(path: &Path) -> io::Result<()> {
    let aside = path.with_extension("aside");
    if aside.exists() {
        fs::remove_dir_all(&aside)?;
    }
    fs::rename(path, &aside)
}

/// Reads all of it: whether the entries are those that marks and counts speak of.
fn is_sound(database: &sled::Db) -> bool {
    let log_is_sound = |log: Log| -> sled::Result<bool> {
        let (mut sum, mut counted) = (0, BTreeMap::<String, u64>::new());
        for read in &database.open_tree(log.name())? {
            let (seq, bytes) = read?;
            let Ok(entry) = serde_json::from_slice::<Entry>(&bytes) else { return Ok(false) };
            *counted.entry(count_key(log, &entry).to_owned()).or_default() += 1;
            sum ^= entry_hash(&seq, &bytes);
        }
        let mut counts = BTreeMap::new();
        for read in &database.open_tree(counts_key(log))? {
            let (name, count) = read?;
            counts.insert(String::from_utf8_lossy(&name).into_owned(), read_count(&count));
        }
        counts.retain(|_, count| *count > 0);
        Ok(Mark::read(database.get(mark_key(log))?.as_deref()).sum == sum && counts == counted)
    };
    Log::ALL.iter().all(|log| log_is_sound(*log).unwrap_or(false))
}

/// What an entry adds to the sum of its log.
fn entry_hash(seq: &[u8], entry: &[u8]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(seq).update(entry);
    hasher.finalize().as_bytes().first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

/// Applies one change; gives what it changes in the sum of the hashes.
fn apply(
    log: Log,
    change: &Change,
    entries: &TransactionalTree,
    counts: &TransactionalTree,
) -> ConflictableTransactionResult<u64, Infallible> {
    let (Change::In(seq, _) | Change::Out(seq) | Change::Reason(seq, _)) = change;
    let key = seq.to_be_bytes();
    let stored = entries.get(key)?;
    let before = stored.as_deref().map_or(0, |bytes| entry_hash(&key, bytes));
    let known = stored.and_then(|bytes| serde_json::from_slice::<Entry>(&bytes).ok());
    let entry = match (change, &known) {
        (Change::In(_, entry), _) => Some(entry.clone()),
        (Change::Reason(_, reason), Some(known)) => Some(Entry { reason: reason.clone(), ..known.clone() }),
        (Change::Out(_), _) | (Change::Reason(..), None) => None,
    };
    if let Some(known) = &known {
        count(counts, count_key(log, known), |count| count.saturating_sub(1))?;
    }
    let Some(entry) = entry else {
        entries.remove(&key)?;
        return Ok(before);
    };
    let bytes = serde_json::to_vec(&entry).unwrap_or_default();
    let after = entry_hash(&key, &bytes);
    entries.insert(&key, bytes)?;
    count(counts, count_key(log, &entry), |count| count + 1)?;
    Ok(before ^ after)
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
        let (state, found) = State::open(&dir.path().join("state")).unwrap();
        assert_eq!(found, Found::Missing);
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
    fn a_store_that_cannot_be_opened_is_set_aside_and_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        fs::create_dir(&path).unwrap();
        fs::write(path.join(FORMAT_FILE), FORMAT).unwrap();
        fs::write(path.join("conf"), b"no configuration of sled").unwrap();
        fs::write(path.join("db"), vec![0xff; 4096]).unwrap();
        let (state, found) = State::open(&path).unwrap();
        assert!(found == Found::Damaged && dir.path().join("state.aside").exists());
        assert_eq!(state.indexed_upto(Log::Hold, 1), 0);
    }

    /// An index with something in it, closed.
    fn filled(path: &Path) {
        let (state, _) = State::open(path).unwrap();
        for seq in 1..40 {
            assert!(state.apply(Log::Hold, 7, seq + 1, &[Change::In(seq, entry("command"))]));
        }
        let changes = [Change::Out(3), Change::Reason(5, "other".into())];
        assert!(state.apply(Log::Hold, 7, 41, &changes));
        state.flush();
    }

    #[test]
    fn an_index_that_was_closed_is_whole_and_is_taken_up_where_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        filled(&path);
        for _ in 0..2 {
            let (state, found) = State::open(&path).unwrap();
            assert_eq!((found, state.indexed_upto(Log::Hold, 7)), (Found::Whole, 41));
            assert_eq!(state.counts(Log::Hold), [("dc".to_owned(), 38)]);
        }
    }

    #[test]
    fn an_index_of_another_format_or_without_one_is_set_aside_and_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        for format in [Some("octroi-index/2\n"), None] {
            filled(&path);
            match format {
                Some(format) => fs::write(path.join(FORMAT_FILE), format).unwrap(),
                None => fs::remove_file(path.join(FORMAT_FILE)).unwrap(),
            }
            let (state, found) = State::open(&path).unwrap();
            assert_eq!((found, state.indexed_upto(Log::Hold, 7)), (Found::OtherFormat, 0));
            drop(state);
            fs::remove_dir_all(&path).unwrap();
        }
    }

    #[test]
    fn an_index_that_lost_or_changed_one_entry_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let alterations: [&dyn Fn(&sled::Db); 4] = [
            &|database| drop(database.open_tree("hold").unwrap().remove(9_u64.to_be_bytes()).unwrap()),
            &|database| {
                let other = serde_json::to_vec(&entry("noise")).unwrap();
                drop(database.open_tree("hold").unwrap().insert(9_u64.to_be_bytes(), other).unwrap());
            },
            &|database| database.open_tree("hold-counts").unwrap().clear().unwrap(),
            &|database| drop(database.remove("hold-indexed").unwrap()),
        ];
        for alter in alterations {
            filled(&path);
            let database = config(&path).open().unwrap();
            alter(&database);
            database.flush().unwrap();
            drop(database);
            assert_eq!(State::open(&path).unwrap().1, Found::Damaged);
            fs::remove_dir_all(&path).unwrap();
        }
    }

    #[test]
    fn any_flipped_byte_of_the_files_leaves_the_index_as_it_was_or_has_it_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        filled(&path);
        let mut files = Vec::new();
        let mut directories = vec![path.clone()];
        while let Some(directory) = directories.pop() {
            for found in fs::read_dir(directory).unwrap() {
                let found = found.unwrap().path();
                if found.is_dir() {
                    directories.push(found)
                } else {
                    files.push((fs::read(&found).unwrap(), found))
                }
            }
        }
        let mut made_anew = 0;
        for (bytes, file) in &files {
            // What is allocated ahead is zeros: there is nothing to damage.
            let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
            for at in (0..end).step_by(end / 40 + 1) {
                for (bytes, file) in &files {
                    fs::create_dir_all(file.parent().unwrap()).unwrap();
                    fs::write(file, bytes).unwrap();
                }
                let mut flipped = bytes.clone();
                flipped[at] ^= 0x10;
                fs::write(file, flipped).unwrap();
                let (state, found) = State::open(&path).unwrap();
                if found == Found::Whole {
                    // As it was, or as it was at an earlier moment: never with a part missing.
                    let upto = state.indexed_upto(Log::Hold, 7);
                    let kept: u64 = state.counts(Log::Hold).iter().map(|(_, count)| count).sum();
                    let as_of = |upto: u64| if upto > 40 { 38 } else { upto.saturating_sub(1) };
                    assert_eq!(kept, as_of(upto), "byte {at} of {}", file.display());
                } else {
                    made_anew += 1;
                }
                drop(state);
                fs::remove_dir_all(&path).unwrap();
            }
        }
        assert!(made_anew > 0, "damage was done");
    }
}
