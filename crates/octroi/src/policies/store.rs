//! The versions a hub has known, on disk: `<hash>/` with the files as they
//! were, and `history.jsonl`, one line an activation. A version is written
//! aside, synced and renamed before the history names it.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use octroi_policy::{PolicyHash, SourceFile};
use serde::{Deserialize, Serialize};

use crate::fail_point;

/// One line of the history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activation {
    /// Hex of the policy's hash.
    pub hash: String,
    /// The policy's id.
    pub id: String,
    /// Its version.
    pub version: String,
    /// Its title.
    pub title: String,
    /// RFC 3339.
    pub at: String,
}

/// The store cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk.
    #[error("cannot {what} `{}`", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The history is damaged.
    #[error("line {line} of `{}` is no activation: {reason}; restore the file or remove that line", path.display())]
    History {
        /// Where.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
}

/// The versions a hub has known.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> StoreError {
    let path = path.to_path_buf();
    move |source| StoreError::Io { what, path, source }
}

impl Store {
    /// Opens `root`, making it if need be.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn open(root: PathBuf) -> Result<Self, StoreError> {
        fs::create_dir_all(&root).map_err(io("make", &root))?;
        Ok(Self { root })
    }

    /// Every activation, oldest first.
    ///
    /// # Errors
    /// The history cannot be read or is damaged. A last line without its line break was never answered
    /// for (a crash tore it): it does not count.
    pub fn history(&self) -> Result<Vec<Activation>, StoreError> {
        let path = self.root.join("history.jsonl");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(io("read", &path)(error)),
        };
        let whole = text.rfind('\n').and_then(|end| text.get(..end)).unwrap_or_default();
        let lines = whole.lines().enumerate();
        lines
            .map(|(n, line)| {
                serde_json::from_str(line).map_err(|error| StoreError::History {
                    path: path.clone(),
                    line: n + 1,
                    reason: error.to_string(),
                })
            })
            .collect()
    }

    /// Keeps a version's files; a version that is kept already is left alone.
    pub(super) fn keep(&self, hash: PolicyHash, files: &[SourceFile]) -> Result<(), StoreError> {
        let home = self.root.join(hash.full());
        if home.exists() {
            return Ok(());
        }
        let aside = self.root.join(".aside");
        if aside.exists() {
            fs::remove_dir_all(&aside).map_err(io("clear", &aside))?;
        }
        fs::create_dir(&aside).map_err(io("make", &aside))?;
        // Names may hold directories: one JSON file keeps them, and their order, as they were.
        let stored: Vec<(&str, &str)> =
            files.iter().map(|file| (file.name.as_str(), file.text.as_str())).collect();
        let text = serde_json::to_vec(&stored).unwrap_or_default();
        let path = aside.join("files.json");
        let mut file = File::create(&path).map_err(io("make", &path))?;
        file.write_all(&text).and_then(|()| file.sync_all()).map_err(io("write", &path))?;
        sync_directory(&aside)?;
        fail_point::reached("policy.before_rename");
        fs::rename(&aside, &home).map_err(io("rename", &home))?;
        sync_directory(&self.root)
    }

    /// Appends to the history, synced: from here on that policy is the one of the next start.
    pub(super) fn record(&self, activation: &Activation) -> Result<(), StoreError> {
        let path = self.root.join("history.jsonl");
        let mut line = serde_json::to_string(activation).unwrap_or_default();
        line.push('\n');
        // What a crash tore is cut off first, or this line would join it.
        let whole = fs::read(&path).unwrap_or_default();
        let end = whole.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1) as u64;
        let mut file = OpenOptions::new().create(true).append(true).open(&path).map_err(io("open", &path))?;
        file.set_len(end).map_err(io("cut", &path))?;
        file.write_all(line.as_bytes()).and_then(|()| file.sync_all()).map_err(io("write", &path))?;
        sync_directory(&self.root)
    }

    /// The files of a version, by the hex of its hash.
    #[must_use]
    pub fn files(&self, hash: &str) -> Option<Vec<SourceFile>> {
        let legal = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        let text = fs::read(self.root.join(hash).join("files.json")).ok().filter(|_| legal)?;
        let stored: Vec<(String, String)> = serde_json::from_slice(&text).ok()?;
        let files: Vec<_> = stored.into_iter().map(|(name, text)| SourceFile { name, text }).collect();
        // A version is what its hash says, or it is not that version.
        (PolicyHash(octroi_policy::hash(&files)).full() == hash).then_some(files)
    }

    /// The files of the version whose hash begins with these eight bytes.
    pub(super) fn files_of(&self, policy64: u64) -> Option<Vec<SourceFile>> {
        let prefix = format!("{policy64:016x}");
        let history = self.history().ok()?;
        let hash =
            history.into_iter().map(|activation| activation.hash).find(|hash| hash.starts_with(&prefix))?;
        self.files(&hash)
    }
}

fn sync_directory(path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(io("sync", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn activation(version: &str) -> Activation {
        Activation {
            hash: "0".repeat(64),
            id: "p".into(),
            version: version.into(),
            title: "t".into(),
            at: "2026-11-20T00:00:00Z".into(),
        }
    }

    #[test]
    fn a_torn_last_line_is_no_activation_and_does_not_spoil_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().join("policies")).unwrap();
        store.record(&activation("1")).unwrap();
        let path = dir.path().join("policies/history.jsonl");
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"hash\":\"12").unwrap();
        assert_eq!(store.history().unwrap(), [activation("1")]);
        store.record(&activation("2")).unwrap();
        assert_eq!(store.history().unwrap(), [activation("1"), activation("2")]);
    }

    #[test]
    fn a_version_is_read_back_and_a_changed_one_is_not_that_version() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().to_path_buf()).unwrap();
        let files = vec![SourceFile { name: "a/b.toml".into(), text: "x = 1".into() }];
        let hash = PolicyHash(octroi_policy::hash(&files));
        store.keep(hash, &files).unwrap();
        store.keep(hash, &files).unwrap();
        let read = store.files(&hash.full()).unwrap();
        assert_eq!((read[0].name.as_str(), read[0].text.as_str()), ("a/b.toml", "x = 1"));
        let path = dir.path().join(hash.full()).join("files.json");
        fs::write(&path, fs::read_to_string(&path).unwrap().replace("= 1", "= 2")).unwrap();
        assert!(store.files(&hash.full()).is_none());
        assert!(store.files("../etc").is_none());
    }
}
