//! What can go wrong, one enum per operation, told to an operator.
//!
//! A variant exists because its caller treats it differently. INVARIANT: `Failed` and `Poisoned` are
//! final: the process stops (exit 74) and recovers at its next start.

use crate::chunk::Chunk;
use crate::format::VERSION;
use std::io;
use thiserror::Error;

/// Options that cannot work.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum OptionsError {
    /// Not a hub id.
    #[error("hub id `{0}` must be 1 to 32 visible ASCII characters without `/`")]
    Hub(String),
    /// Out of range.
    #[error("segment_bytes is {found}; it must lie between {min} and {max} (a 16th of limit_bytes)")]
    Segment {
        /// As configured.
        found: u64,
        /// Least.
        min: u64,
        /// Most, for this limit.
        max: u64,
    },
    /// Out of range.
    #[error(
        "reserve_bytes is {found}; it must lie between {min} (one segment) and {max} (a quarter of limit_bytes)"
    )]
    Reserve {
        /// As configured.
        found: u64,
        /// Least.
        min: u64,
        /// Most.
        max: u64,
    },
}

/// A journal that was not opened; nothing in it was changed, except by a failure half way, which the
/// next opening mends.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The caller exits with 75.
    #[error(
        "the journal is in use by another process (lock file `lock`); stop that one, or give this one a directory of its own"
    )]
    Locked,
    /// Written by a later release.
    #[error(
        "`{file}` has format version {version} and this program reads up to {VERSION}; nothing was changed; start the release that wrote it, or a later one"
    )]
    NewerFormat {
        /// The segment.
        file: String,
        /// Its version.
        version: u32,
    },
    /// Another hub's directory.
    #[error(
        "`{file}` was written by hub `{found}`, but this hub is `{expected}`; nothing was changed; correct the directory or the hub id"
    )]
    ForeignHub {
        /// The segment.
        file: String,
        /// Hub in the file.
        found: String,
        /// Hub in the options.
        expected: String,
    },
    /// More damage than the format can bear.
    #[error(
        "`{file}` is damaged beyond recovery: {what}; nothing was changed; restore it from a copy, or move the file out of the directory to give up its records (the segment before it is then the last)"
    )]
    Damaged {
        /// The segment.
        file: String,
        /// What is missing.
        what: &'static str,
    },
    /// Options that cannot work.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The disk answered with an error.
    #[error(
        "failed to {what} `{file}` while opening the journal; check the disk and the directory's rights, then start again"
    )]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file (`.` is the directory).
        file: String,
        /// Why it failed.
        source: io::Error,
    },
}

/// A chunk that was not staged, given back.
#[derive(Debug, Error)]
#[error("{reason}")]
pub struct AppendError {
    /// Why.
    pub reason: AppendRefusal,
    /// The chunk, to be offered again.
    pub chunk: Chunk,
}

/// Why a chunk was not staged. Nothing else changed.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum AppendRefusal {
    /// The quota: passes when a target catches up and segments are trimmed.
    #[error(
        "the journal is full: {used} of {limit} bytes; it takes records again when its targets catch up, or with a larger limit"
    )]
    Full {
        /// Bytes on disk.
        used: u64,
        /// Quota.
        limit: u64,
    },
    /// Commit, then offer it again.
    #[error("the commit group is full; commit it first")]
    GroupFull,
    /// Will never fit.
    #[error("a chunk of {bytes} bytes exceeds the limit of {max}; make smaller chunks or larger segments")]
    TooLarge {
        /// Bytes of its frame.
        bytes: u64,
        /// Limit.
        max: u64,
    },
    /// A bit that no target has.
    #[error("the records name targets `{unknown:#x}` that are not registered; register them first")]
    UnknownTarget {
        /// The bits.
        unknown: u64,
    },
    /// An earlier failure was final.
    #[error("an earlier disk failure was final; stop, and recover at the next start")]
    Poisoned,
}

/// A group that was not committed.
#[derive(Debug, Error)]
pub enum CommitError {
    /// No room; passes. The file is as before the group, synced. Cursors stay pending, and a commit of
    /// cursors alone may use the reserve.
    #[error("no room for the journal; it takes records again when space returns")]
    Full {
        /// The group's chunks in order, to be offered again; their sequence numbers are void.
        chunks: Vec<Chunk>,
        /// What the disk, or the quota, said.
        source: io::Error,
    },
    /// The owner's state does not fit in a segment.
    #[error("the state to keep is {bytes} bytes and a segment takes {max}; use larger segments")]
    SnapshotTooLarge {
        /// The group's chunks.
        chunks: Vec<Chunk>,
        /// Bytes of the state frame.
        bytes: u64,
        /// Limit.
        max: u64,
    },
    /// Final: whether the group is on disk is unknown.
    #[error(transparent)]
    Failed(#[from] Failed),
    /// An earlier failure was final.
    #[error("an earlier disk failure was final; stop, and recover at the next start")]
    Poisoned,
}

/// A disk operation failed, and that is final: the journal answers nothing more.
#[derive(Debug, Error)]
#[error("failed to {what} `{file}`; the journal stops, and recovers at the next start; check the disk")]
pub struct Failed {
    /// What was tried.
    pub what: &'static str,
    /// On which file (`.` is the directory).
    pub file: String,
    /// Why it failed.
    pub source: io::Error,
}

/// Segments that were not removed.
#[derive(Debug, Error)]
pub enum TrimError {
    /// Final.
    #[error(transparent)]
    Failed(#[from] Failed),
    /// An earlier failure was final.
    #[error("an earlier disk failure was final; stop, and recover at the next start")]
    Poisoned,
}

/// A target that was not registered.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum RegisterError {
    /// Not a name.
    #[error("target name `{0}` must be 1 to 64 bytes")]
    Name(String),
    /// Bits are never given twice.
    #[error(
        "no room for target `{name}`: {used} of 64 bits were given out in the life of this journal; drain it and start a new one"
    )]
    Exhausted {
        /// The target.
        name: String,
        /// Bits given.
        used: u8,
    },
}

/// A cursor that was not moved.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum AdvanceError {
    /// Never registered, or retired.
    #[error("no live target has bit {bit}")]
    UnknownTarget {
        /// The bit.
        bit: u8,
    },
    /// Beyond what is durable.
    #[error("the cursor cannot move to {upto}: records are durable up to {durable}")]
    PastEnd {
        /// Asked for.
        upto: u64,
        /// End of the journal.
        durable: u64,
    },
}

/// A read that gave nothing.
#[derive(Debug, Error)]
pub enum ReadError {
    /// Seek to `first_seq` to go on.
    #[error("record {seq} was trimmed; the journal starts at {first_seq}")]
    Trimmed {
        /// Asked for.
        seq: u64,
        /// Oldest there is.
        first_seq: u64,
    },
    /// The disk answered with an error; the position is unchanged, so the read can be tried again.
    #[error("failed to read `{file}`; check the disk")]
    Io {
        /// The segment.
        file: String,
        /// Why it failed.
        source: io::Error,
    },
}
