//! Bytes in, bytes out, after any crash.
//!
//! One directory, one owner, append-only segments, one cursor per target. [`Journal`] writes groups of
//! [`Chunk`]s, syncs once per group and publishes how far the journal is durable; [`Reader`]s on other
//! threads see that much and no more. The owner's records are opaque here, and so is its state, which
//! rides at the start of every segment, so that recovery reads the last segment alone.
//!
//! The crate is synchronous. It knows no policy, protocol, clock or randomness: entropy is an argument,
//! and so is the disk ([`Disk`]). What the files hold is in [`mod@format`], byte by byte.
//!
//! Assumed of the disk: a 512-byte sector is written whole or not at all, and `fdatasync` tells the
//! truth. Not assumed: any order among sectors, or among names, that were not synced.
//!
//! ```
//! # use octroi_journal::{Batch, ChunkBuilder, Journal, Options, sim::SimDisk};
//! # use std::sync::Arc;
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let options = Options {
//!     hub: "hub-1".into(), segment_bytes: 64 << 10, limit_bytes: 1 << 20, reserve_bytes: 64 << 10,
//! };
//! let disk = Arc::new(SimDisk::new(1));
//! let mut state = 0;
//! let (mut journal, recovery) = Journal::open(disk, options, &mut || { state += 1; state })?;
//! assert!(recovery.opened_new);
//! let kafka = journal.register_target("kafka", journal.next_seq())?;
//!
//! let mut builder = ChunkBuilder::new(1024);
//! builder.push(1, kafka.mask(), &[b"head", b"payload"])?;
//! let seqs = journal.append(builder.finish())?;
//! let durable = journal.commit(&mut |_state| {})?;
//! assert!(durable.covers(seqs.start));
//!
//! let mut batch = Batch::default();
//! journal.reader(0).next(Some(kafka), 1 << 20, &mut batch)?;
//! assert_eq!(batch.iter().next().map(|entry| entry.bytes), Some(&b"headpayload"[..]));
//! journal.advance(kafka, batch.end())?;
//! # Ok(())
//! # }
//! ```

mod chunk;
mod disk;
mod error;
pub mod format;
mod inspect;
mod journal;
mod options;
mod reader;
mod recover;
mod repair;
mod scan;
mod shared;
#[cfg(any(test, feature = "test-util"))]
pub mod sim;
mod targets;

pub use chunk::{Chunk, ChunkBuilder, MAX_CHUNK_BYTES, PushError};
pub use disk::{Disk, DiskFile, RealDisk};
pub use error::{
    AdvanceError, AppendError, AppendRefusal, CommitError, Failed, OpenError, OptionsError, ReadError,
    RegisterError, TrimError,
};
pub use format::{FrameKind, SegmentHeader};
pub use inspect::{Damage, Finding, InspectError, Inspector, SegmentFacts, SegmentSummary, Summary};
pub use journal::{Journal, Stats};
pub use options::{MAX_SEGMENT_BYTES, MIN_SEGMENT_BYTES, Options};
pub use reader::{Batch, Entry, Reader};
pub use recover::Recovery;
pub use repair::{Flaw, Mend, RepairError, lock, repair};
pub use shared::Durable;
pub use targets::{MAX_TARGET_NAME, Target, TargetBit};
