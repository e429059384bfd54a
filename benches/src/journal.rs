//! The journal by itself against the bare disk: the same bytes, in the same groups, appended to a file and
//! synced. Every record is pushed, summed and read by the crate's own interface.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use octroi_journal::{Batch, ChunkBuilder, Journal, Options, Reader, RealDisk, TargetBit};

use crate::Outcome;

/// Content of one record.
pub const RECORD_BYTES: usize = 200;
/// Segments as the hub makes them from a limit of 2 GiB on.
pub const SEGMENT_BYTES: u64 = 128 << 20;
const RECORD: [u8; RECORD_BYTES] = [0x5A; RECORD_BYTES];
/// What a session hands over at once.
const CHUNK_BYTES: usize = 32 << 10;
/// What a relay reads at once.
const READ_BYTES: usize = 1 << 20;
/// Before each record's content: length, kind, targets.
const RECORD_HEAD: usize = 13;

/// A journal that was opened in a directory, with one target.
pub struct Opened {
    /// The journal.
    pub journal: Journal,
    /// Its target.
    pub target: TargetBit,
    /// How long the opening took.
    pub took: Duration,
}

/// Opens the journal in `directory`, or makes one.
///
/// # Errors
/// The journal's.
pub fn open(directory: &Path) -> Outcome<Opened> {
    let options = Options {
        hub: "bench".to_owned(),
        segment_bytes: SEGMENT_BYTES,
        limit_bytes: 64 << 30,
        reserve_bytes: SEGMENT_BYTES,
    };
    let mut entropy = 1_u64;
    let disk = Arc::new(RealDisk::new(directory)?);
    let begun = Instant::now();
    let (mut journal, recovery) = Journal::open(disk, options, &mut || {
        entropy += 1;
        entropy
    })?;
    let took = begun.elapsed();
    if recovery.is_damaged() {
        return Err("the journal is damaged".into());
    }
    let target = journal.register_target("target", 0)?;
    Ok(Opened { journal, target, took })
}

/// Appends and commits records of at least `bytes`, as one group; gives their number.
fn group(opened: &mut Opened, builder: &mut ChunkBuilder, bytes: usize) -> Outcome<u64> {
    let (mut staged, mut records) = (0, 0);
    while staged < bytes {
        while builder.len() < CHUNK_BYTES.min(bytes - staged) {
            builder.push(1, opened.target.mask(), &[&RECORD])?;
            records += 1;
        }
        let chunk = builder.finish();
        staged += usize::try_from(chunk.frame_bytes())?;
        opened.journal.append(chunk)?;
    }
    opened.journal.commit(&mut |_| {})?;
    Ok(records)
}

/// Seconds to commit `total` bytes of records in groups of `group_bytes`, while `readers` follow.
///
/// # Errors
/// The journal's, and a reader that did not see every record.
pub fn ingest(directory: &Path, total: usize, group_bytes: usize, readers: usize) -> Outcome<f64> {
    let mut opened = open(directory)?;
    let mut builder = ChunkBuilder::new(CHUNK_BYTES);
    let done = &AtomicBool::new(false);
    let seconds = thread::scope(|scope| -> Outcome<f64> {
        let following: Vec<_> = (0..readers)
            .map(|_| {
                let (reader, target) = (opened.journal.reader(0), opened.target);
                scope.spawn(move || follow(reader, target, done).map_err(|error| error.to_string()))
            })
            .collect();
        let begun = Instant::now();
        let (mut bytes, mut records) = (0, 0);
        let written = (|| -> Outcome<f64> {
            while bytes < total {
                records += group(&mut opened, &mut builder, group_bytes)?;
                bytes += group_bytes;
            }
            Ok(begun.elapsed().as_secs_f64())
        })();
        done.store(true, Ordering::Release);
        for reader in following {
            let read = reader.join().map_err(|_| "a reader panicked")??;
            if read != records {
                return Err(format!("a reader saw {read} records of {records}").into());
            }
        }
        written
    });
    drop(opened);
    fs::remove_dir_all(directory)?;
    seconds
}

/// Reads for `target` until `done` and everything that is durable was read; the number of records.
fn follow(mut reader: Reader, target: TargetBit, done: &AtomicBool) -> Outcome<u64> {
    let (mut batch, mut records) = (Batch::default(), 0);
    loop {
        let last = done.load(Ordering::Acquire);
        reader.next(Some(target), READ_BYTES, &mut batch)?;
        records += batch.iter().filter(|entry| entry.bytes.len() == RECORD_BYTES).count() as u64;
        if !reader.durable().covers(batch.end()) {
            if last {
                return Ok(records);
            }
            // As a relay does that has caught up.
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Seconds to append the same bytes to one file, a sync after each group.
///
/// # Errors
/// The disk's.
pub fn raw(path: &Path, total: usize, group_bytes: usize) -> Outcome<f64> {
    let mut file = scratch(path)?;
    let group = vec![0x5A_u8; group_bytes];
    let begun = Instant::now();
    for _ in 0..total.div_ceil(group_bytes) {
        file.write_all(&group)?;
        file.sync_data()?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    fs::remove_file(path)?;
    Ok(seconds)
}

fn scratch(path: &Path) -> Outcome<File> {
    Ok(OpenOptions::new().create(true).write(true).truncate(true).open(path)?)
}

/// Records that come at a steady rate, and wait for the sync that covers them: seconds each waited, of one in
/// a hundred. `commit` is given how many came since the last time.
fn paced(rate: f64, length: Duration, mut commit: impl FnMut(usize) -> Outcome<()>) -> Outcome<Vec<f64>> {
    let begun = Instant::now();
    let (mut committed, mut waits) = (0_usize, Vec::new());
    while begun.elapsed() < length {
        let due = (begun.elapsed().as_secs_f64() * rate) as usize;
        if due == committed {
            thread::sleep(Duration::from_micros(50));
            continue;
        }
        commit(due - committed)?;
        let now = begun.elapsed().as_secs_f64();
        waits.extend((committed..due).step_by(100).map(|record| now - record as f64 / rate));
        committed = due;
    }
    Ok(waits)
}

/// What records wait for in the journal, at `rate` a second.
///
/// # Errors
/// The journal's.
pub fn paced_journal(directory: &Path, rate: f64, length: Duration) -> Outcome<Vec<f64>> {
    let mut opened = open(directory)?;
    let mut builder = ChunkBuilder::new(CHUNK_BYTES);
    let waits = paced(rate, length, |records| {
        group(&mut opened, &mut builder, records * (RECORD_BYTES + RECORD_HEAD)).map(drop)
    })?;
    drop(opened);
    fs::remove_dir_all(directory)?;
    Ok(waits)
}

/// What they wait for at a bare file.
///
/// # Errors
/// The disk's.
pub fn paced_raw(path: &Path, rate: f64, length: Duration) -> Outcome<Vec<f64>> {
    let mut file = scratch(path)?;
    let mut bytes = Vec::new();
    let waits = paced(rate, length, |records| {
        bytes.resize(records * (RECORD_BYTES + RECORD_HEAD), 0x5A);
        file.write_all(&bytes)?;
        Ok(file.sync_data()?)
    })?;
    fs::remove_file(path)?;
    Ok(waits)
}

/// A journal with a backlog, in a process of its own: what it costs to have one.
#[derive(Clone, Copy, Debug)]
pub struct Backlog {
    /// Content of the records, bytes.
    pub bytes: u64,
    /// Seconds to write them, in groups of 1 MiB.
    pub written: f64,
    /// Bytes that the process had the disk write meanwhile.
    pub disk_writes: u64,
    /// Seconds to open the journal again, nothing of it in memory.
    pub open: f64,
    /// Seconds to read its files as they are, nothing of them in memory.
    pub bare: f64,
    /// Seconds to read all records, nothing in memory.
    pub cold: f64,
    /// The same again, with what the page cache has of it by then.
    pub warm: f64,
    /// Peak resident memory, MiB.
    pub peak_mib: f64,
    /// After half of it was passed and trimmed: bytes pending, and bytes on disk without the reserve.
    pub pending: u64,
    /// See `pending`.
    pub on_disk: u64,
}

/// Builds a backlog of `bytes`, opens it, reads it, passes half of it.
///
/// # Errors
/// The journal's.
pub fn backlog(directory: &Path, bytes: u64) -> Outcome<Backlog> {
    let mut opened = open(directory)?;
    let mut builder = ChunkBuilder::new(CHUNK_BYTES);
    let (before, begun, mut records) = (disk_writes()?, Instant::now(), 0);
    while records * (RECORD_BYTES as u64) < bytes {
        records += group(&mut opened, &mut builder, 1 << 20)?;
    }
    // Up to a segment that is nearly full: the most that an opening has to read.
    let segments = opened.journal.stats().segments;
    while opened.journal.stats().segments == segments {
        records += group(&mut opened, &mut builder, 1 << 20)?;
    }
    for _ in 0..(SEGMENT_BYTES / 10 * 9) >> 20 {
        records += group(&mut opened, &mut builder, 1 << 20)?;
    }
    let (written, disk_writes) = (begun.elapsed().as_secs_f64(), disk_writes()? - before);
    drop(opened);
    forget(directory)?;
    let bare = read_files(directory)?;
    forget(directory)?;

    let mut opened = open(directory)?;
    let read_all = || -> Outcome<f64> {
        let begun = Instant::now();
        let read = follow(opened.journal.reader(0), opened.target, &AtomicBool::new(true))?;
        let seconds = begun.elapsed().as_secs_f64();
        if read == records {
            Ok(seconds)
        } else {
            Err(format!("{read} records of {records} were read").into())
        }
    };
    let (cold, warm) = (read_all()?, read_all()?);
    let end = opened.journal.durable().end();
    opened.journal.advance(opened.target, end / 2)?;
    opened.journal.commit(&mut |_| {})?;
    opened.journal.trim()?;
    let open = opened.took.as_secs_f64();
    let on_disk = opened.journal.stats().bytes_on_disk - SEGMENT_BYTES;
    let result = Backlog {
        bytes: records * RECORD_BYTES as u64,
        written,
        disk_writes,
        open,
        bare,
        cold,
        warm,
        peak_mib: peak_mib()?,
        pending: (end - end / 2) * (RECORD_BYTES + RECORD_HEAD) as u64,
        on_disk,
    };
    drop(opened);
    fs::remove_dir_all(directory)?;
    Ok(result)
}

/// Drops what the page cache has of a directory's files.
fn forget(directory: &Path) -> Outcome<()> {
    for entry in fs::read_dir(directory)? {
        let file = File::open(entry?.path())?;
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
    }
    Ok(())
}

/// Seconds to read a directory's segments as they are.
fn read_files(directory: &Path) -> Outcome<f64> {
    let (begun, mut buf) = (Instant::now(), vec![0; READ_BYTES]);
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let mut file = File::open(&path)?;
        while path.extension().is_some_and(|extension| extension == "log") && file.read(&mut buf)? > 0 {}
    }
    Ok(begun.elapsed().as_secs_f64())
}

/// Bytes that this process had its disk write.
fn disk_writes() -> Outcome<u64> {
    let io = fs::read_to_string("/proc/self/io")?;
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    Ok(line.ok_or("`/proc/self/io` has no write_bytes")?.trim().parse()?)
}

fn peak_mib() -> Outcome<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: f64 = line.ok_or("`/proc/self/status` has no VmHWM")?.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1024.0)
}
