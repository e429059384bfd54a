//! A real disk with fail points at its calls: where a journal can be cut short.
//! It adds nothing but deaths, and one lie, the full disk.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use octroi_journal::{Disk, DiskFile, RealDisk};

use super::armed::{due, end, reached};

/// The disk of a journal or a side log, with fail points.
#[must_use]
pub fn disk(disk: RealDisk) -> Arc<dyn Disk> {
    Arc::new(PointedDisk(disk))
}

struct PointedDisk(RealDisk);

impl Disk for PointedDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }

    fn create(&self, name: &str, size: u64) -> io::Result<Box<dyn DiskFile>> {
        reached("disk.before_create");
        Ok(Box::new(PointedFile { file: self.0.create(name, size)?, is_new: AtomicBool::new(true) }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(PointedFile { file: self.0.open(name)?, is_new: AtomicBool::new(false) }))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        reached("disk.before_remove");
        self.0.remove(name)?;
        reached("disk.after_remove");
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        reached("disk.before_rename");
        self.0.rename(from, to)
    }

    fn sync_dir(&self) -> io::Result<()> {
        reached("disk.before_directory_sync");
        self.0.sync_dir()?;
        reached("disk.after_directory_sync");
        Ok(())
    }

    fn lock(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.0.lock(name)
    }
}

struct PointedFile {
    file: Box<dyn DiskFile>,
    /// Its first sync is the header's.
    is_new: AtomicBool,
}

impl DiskFile for PointedFile {
    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }

    fn write_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        if due("disk.half_a_write") {
            self.write_half(bufs, offset)?;
            end();
        }
        if due("disk.full") {
            self.write_half(bufs, offset)?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.file.write_at(bufs, offset)
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        reached("disk.before_truncate");
        self.file.truncate(size)
    }

    fn sync(&self) -> io::Result<()> {
        if self.is_new.swap(false, Ordering::Relaxed) {
            reached("disk.before_header_sync");
            return self.file.sync();
        }
        reached("disk.before_data_sync");
        self.file.sync()?;
        reached("disk.after_data_sync");
        Ok(())
    }
}

impl PointedFile {
    /// The first half of what was to be written, to the byte.
    fn write_half(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        let all: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).collect();
        let half = all.get(..all.len() / 2).unwrap_or_default();
        let mut done = 0;
        while let Some(rest) = half.get(done..).filter(|rest| !rest.is_empty()) {
            done += self.file.write_at(&[IoSlice::new(rest)], offset + done as u64)?;
        }
        Ok(())
    }
}
