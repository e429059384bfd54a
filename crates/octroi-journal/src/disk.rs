//! The seam to the disk: one directory, and the files in it, as two small objects.
//!
//! It moves bytes and keeps no state of its own: which file means what is `format.rs`, and when to sync
//! is `journal.rs`. INVARIANT: nothing else in this crate touches a file system.

use std::io::{self, IoSlice};

mod real;

pub use real::RealDisk;

/// The directory of one journal. Names are plain file names.
pub trait Disk: Send + Sync {
    /// The names of all files.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Makes an empty file, or empties an old one, and gives it `size` bytes of zeros with blocks
    /// behind them where the file system can. The name is durable after [`Disk::sync_dir`].
    fn create(&self, name: &str, size: u64) -> io::Result<Box<dyn DiskFile>>;
    /// Opens for reading and writing.
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;
    /// Durable after [`Disk::sync_dir`].
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Durable after [`Disk::sync_dir`].
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Makes creations, renames and removals durable.
    fn sync_dir(&self) -> io::Result<()>;
    /// Locks the directory until the file returned is dropped; `WouldBlock` if somebody else has it.
    fn lock(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;
}

/// One open file. Positions are bytes from the start.
pub trait DiskFile: Send + Sync {
    /// Length in bytes.
    fn size(&self) -> io::Result<u64>;
    /// Reads up to `buf.len()` bytes; 0 at the end of the file.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes the slices one after the other; may write less than all.
    fn write_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize>;
    /// Cuts to `size`, or extends with zeros.
    fn truncate(&self, size: u64) -> io::Result<()>;
    /// `fdatasync`: what was written, and the size, are durable when it returns `Ok`.
    fn sync(&self) -> io::Result<()>;
}

/// Fewer slices than IOV_MAX (1024 on Linux), which a call must not exceed.
const MAX_SLICES: usize = 512;

/// Writes all of `bufs` at `offset`, however little each call takes.
pub(crate) fn write_all(file: &dyn DiskFile, bufs: &mut [IoSlice<'_>], mut offset: u64) -> io::Result<()> {
    let mut rest = bufs;
    // Drops leading empty slices, so that an empty write does not look like a full disk.
    IoSlice::advance_slices(&mut rest, 0);
    while !rest.is_empty() {
        let part = rest.get(..MAX_SLICES.min(rest.len())).unwrap_or_default();
        match file.write_at(part, offset) {
            Ok(0) => return Err(io::ErrorKind::StorageFull.into()),
            Ok(written) => {
                offset = offset.saturating_add(written as u64);
                IoSlice::advance_slices(&mut rest, written);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Fills `buf` from `offset`, or up to the end of the file; gives the number of bytes read.
pub(crate) fn read_full(file: &dyn DiskFile, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset.saturating_add(done as u64)) {
            Ok(0) => break,
            Ok(read) => done = done.saturating_add(read),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// No room: a condition that passes, not a failure of the disk.
pub(crate) fn is_full(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::StorageFull || error.kind() == io::ErrorKind::QuotaExceeded
}
