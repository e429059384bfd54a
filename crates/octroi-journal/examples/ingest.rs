//! Ingest of the journal against raw append + `fdatasync`, interleaved, on a directory of a real disk.
//!
//! `cargo run --release --example ingest -- DIRECTORY [pairs]`; refuses tmpfs. Prints, for each group
//! size, the medians of the pairs and their ratio, then reading back.

#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a bench prints and reads the clock")]

use octroi_journal::{Batch, Chunk, ChunkBuilder, Journal, Options, RealDisk};
use std::error::Error;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

const RECORD: [u8; 200] = [0x5A; 200];
const CHUNK_BYTES: usize = 32 << 10;
/// Short, so that what else the machine does meets both halves of a pair; with a segment of 16 MiB each
/// run of the journal pays for a new segment too.
const BYTES_PER_RUN: usize = 24 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let directory = args.next().ok_or("usage: ingest DIRECTORY [pairs]")?;
    let pairs: usize = args.next().map_or(Ok(9), |arg| arg.parse())?;
    let directory = Path::new(&directory);
    std::fs::create_dir_all(directory)?;
    println!("file system: {}", file_system(directory)?);
    println!("raw fdatasync after 4 KiB: {:.0} us (median of 200)", sync_latency(directory)?);
    println!("{:>10} {:>12} {:>12} {:>7} {:>10}", "group", "raw MB/s", "journal MB/s", "ratio", "records/s");
    for group_bytes in [64 << 10, 256 << 10, 1 << 20] {
        let (mut raw, mut ours, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..pairs {
            let a = run_raw(directory, group_bytes)?;
            let b = run_journal(directory, group_bytes)?.0;
            raw.push(a);
            ours.push(b);
            ratios.push(b / a);
        }
        let (a, b, ratio) = (median(&mut raw), median(&mut ours), median(&mut ratios));
        let records = b * 1e6 / (RECORD.len() + 13) as f64;
        println!("{:>6} KiB {a:>12.1} {b:>12.1} {ratio:>7.2} {records:>10.0}", group_bytes >> 10);
    }
    let (ingest, read) = run_journal(directory, 256 << 10)?;
    println!("reading back: {read:.0} MB/s, {:.1} x ingest (page cache warm)", read / ingest);
    Ok(())
}

/// MB/s of appending the same encoded chunks to one file, a group at a time.
fn run_raw(directory: &Path, group_bytes: usize) -> Result<f64, Box<dyn Error>> {
    let path = directory.join("raw.bin");
    let mut file = OpenOptions::new().create(true).write(true).truncate(true).open(&path)?;
    let group = vec![0x5A_u8; group_bytes];
    let started = Instant::now();
    for _ in 0..BYTES_PER_RUN / group_bytes {
        file.write_all(&group)?;
        file.sync_data()?;
    }
    let rate = BYTES_PER_RUN as f64 / 1e6 / started.elapsed().as_secs_f64();
    std::fs::remove_file(path)?;
    Ok(rate)
}

/// MB/s of ingest, encoding and CRC on the one thread included, and of reading back.
fn run_journal(directory: &Path, group_bytes: usize) -> Result<(f64, f64), Box<dyn Error>> {
    let path = directory.join("journal");
    let options = Options {
        hub: "bench".to_owned(),
        segment_bytes: 16 << 20,
        limit_bytes: 4 << 30,
        reserve_bytes: 16 << 20,
    };
    let mut entropy = 1_u64;
    let disk = Arc::new(RealDisk::new(&path)?);
    let (mut journal, recovery) = Journal::open(disk, options, &mut || {
        entropy += 1;
        entropy
    })?;
    if !recovery.opened_new {
        return Err("the bench directory holds a journal already".into());
    }
    let mut builder = ChunkBuilder::new(CHUNK_BYTES);
    let started = Instant::now();
    let mut bytes = 0;
    while bytes < BYTES_PER_RUN {
        let mut group = 0;
        while group < group_bytes {
            let chunk = chunk(&mut builder)?;
            group += usize::try_from(chunk.frame_bytes())?;
            journal.append(chunk)?;
        }
        journal.commit(&mut |_| {})?;
        bytes += group;
    }
    let ingest = bytes as f64 / 1e6 / started.elapsed().as_secs_f64();

    let mut reader = journal.reader(0);
    let mut batch = Batch::default();
    let started = Instant::now();
    let mut records = 0;
    loop {
        reader.next(None, 1 << 20, &mut batch)?;
        if batch.is_empty() {
            break;
        }
        records += batch.iter().filter(|entry| entry.bytes.len() == RECORD.len()).count();
    }
    let read = bytes as f64 / 1e6 / started.elapsed().as_secs_f64();
    if records as u64 != journal.next_seq() {
        return Err("not every record was read back".into());
    }
    drop(journal);
    std::fs::remove_dir_all(path)?;
    Ok((ingest, read))
}

fn chunk(builder: &mut ChunkBuilder) -> Result<Chunk, Box<dyn Error>> {
    while builder.len() + RECORD.len() + 64 < CHUNK_BYTES {
        builder.push(1, 0, &[&RECORD])?;
    }
    Ok(builder.finish())
}

fn sync_latency(directory: &Path) -> Result<f64, Box<dyn Error>> {
    let path = directory.join("latency.bin");
    let mut file = OpenOptions::new().create(true).write(true).truncate(true).open(&path)?;
    let mut took = Vec::new();
    for _ in 0..200 {
        file.write_all(&[1; 4096])?;
        let started = Instant::now();
        file.sync_data()?;
        took.push(started.elapsed().as_secs_f64() * 1e6);
    }
    std::fs::remove_file(path)?;
    Ok(median(&mut took))
}

/// The type of the file system that holds `directory`; an error for one without a disk.
fn file_system(directory: &Path) -> Result<String, Box<dyn Error>> {
    let path = directory.canonicalize()?;
    let mounts = std::fs::read_to_string("/proc/mounts")?;
    let mut best = (0, String::from("unknown"));
    for line in mounts.lines() {
        let mut fields = line.split_whitespace().skip(1);
        let (Some(at), Some(kind)) = (fields.next(), fields.next()) else { continue };
        if path.starts_with(at) && at.len() >= best.0 {
            best = (at.len(), kind.to_owned());
        }
    }
    if best.1 == "tmpfs" || best.1 == "ramfs" {
        return Err("a file system in memory has no sync to measure; name a directory on a disk".into());
    }
    Ok(best.1)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}
