//! The disk under a measurement: which file system it is, and what a sync
//! costs without anybody's program around it. A file system in memory is
//! refused: there a sync costs nothing, and every figure would be a promise
//! that no disk keeps.

use std::fmt::{self, Display, Formatter};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::report::quantile;

const APPENDS: usize = 500;
const APPEND_BYTES: usize = 4 << 10;
const GROUPS: usize = 96;
const GROUP_BYTES: usize = 1 << 20;

/// What the bare disk does.
#[derive(Clone, Copy, Debug)]
pub struct RawDisk {
    /// Median of append 4 KiB + `fdatasync`.
    pub sync_p50: Duration,
    /// Its 99th percentile.
    pub sync_p99: Duration,
    /// MB/s of append + `fdatasync` in groups of 1 MiB.
    pub megabytes_per_second: f64,
}

impl Display for RawDisk {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "append 4 KiB + fdatasync p50 {:.0} µs, p99 {:.0} µs; groups of 1 MiB {:.0} MB/s",
            self.sync_p50.as_secs_f64() * 1e6,
            self.sync_p99.as_secs_f64() * 1e6,
            self.megabytes_per_second
        )
    }
}

/// A directory of this run's own below `parent`, which is made if it is not there, and the file system that holds
/// it: what another run left is neither read nor removed.
///
/// # Errors
/// A file system in memory, or the disk's.
pub fn own_directory(parent: &Path) -> Outcome<(PathBuf, String)> {
    fs::create_dir_all(parent)?;
    let file_system = real_file_system(parent)?;
    let own = parent.canonicalize()?.join(std::process::id().to_string());
    fs::create_dir(&own)?;
    Ok((own, file_system))
}

/// `type on mount point` of the file system that holds `directory`.
fn real_file_system(directory: &Path) -> Outcome<String> {
    let directory = directory.canonicalize()?;
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let (point, kind) = mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            Some((fields.next()?, fields.next()?))
        })
        .filter(|(point, _)| directory.starts_with(point))
        // Of two mounts on one point, the later one hides the earlier.
        .max_by_key(|(point, _)| point.len())
        .ok_or("no mount holds the directory")?;
    if matches!(kind, "tmpfs" | "ramfs" | "devtmpfs") {
        let directory = directory.display();
        return Err(format!("`{directory}` is in memory ({kind}): give `--dir` on a real disk").into());
    }
    Ok(format!("{kind} on {point}"))
}

/// Measures the bare disk in `directory`.
///
/// # Errors
/// The disk's.
pub fn measure(directory: &Path) -> Outcome<RawDisk> {
    let mut latencies = sync_latencies(directory)?;
    let (path, mut file) = scratch(directory)?;
    let group = vec![0x5A; GROUP_BYTES];
    let begun = Instant::now();
    for _ in 0..GROUPS {
        file.write_all(&group)?;
        file.sync_data()?;
    }
    let megabytes_per_second = (GROUPS * GROUP_BYTES) as f64 / 1e6 / begun.elapsed().as_secs_f64();
    fs::remove_file(path)?;
    Ok(RawDisk {
        sync_p50: Duration::from_secs_f64(quantile(&mut latencies, 0.5)),
        sync_p99: Duration::from_secs_f64(quantile(&mut latencies, 0.99)),
        megabytes_per_second,
    })
}

/// Seconds of each append of 4 KiB + `fdatasync`.
fn sync_latencies(directory: &Path) -> Outcome<Vec<f64>> {
    let (path, mut file) = scratch(directory)?;
    let page = vec![0x5A; APPEND_BYTES];
    let mut latencies = Vec::with_capacity(APPENDS);
    for _ in 0..APPENDS {
        let begun = Instant::now();
        file.write_all(&page)?;
        file.sync_data()?;
        latencies.push(begun.elapsed().as_secs_f64());
    }
    fs::remove_file(path)?;
    Ok(latencies)
}

fn scratch(directory: &Path) -> Outcome<(PathBuf, File)> {
    let path = directory.join("raw.bin");
    let file = OpenOptions::new().create(true).write(true).truncate(true).open(&path)?;
    Ok((path, file))
}
