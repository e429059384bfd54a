//! The journal's speed, as ratios to the bare disk: every bar of its design, in one run on one machine. What
//! is measured is in `benches/README.md`.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;
use std::{env, fs, thread};

use clap::Parser;
use octroi_benches::journal::{
    Backlog, RECORD_BYTES, SEGMENT_BYTES, backlog, ingest, paced_journal, paced_raw, raw,
};
use octroi_benches::report::{median, quantile};
use octroi_benches::{Outcome, disk, ended};

/// Short, so that what else the machine does meets both halves of a pair.
const PAIR_BYTES: usize = 160 << 20;
const GROUPS: [usize; 3] = [64 << 10, 256 << 10, 1 << 20];
const PACE: f64 = 300_000.0;
/// Long enough for new segments to be part of it.
const PACED_FOR: Duration = Duration::from_secs(4);
/// A bare file that waits for so long does not keep the pace.
const BREATHLESS: f64 = 0.1;

#[derive(Parser)]
struct Args {
    /// Where data goes, on a real disk.
    #[arg(long, default_value = "journal-data")]
    dir: PathBuf,
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(5..))]
    pairs: u16,
    /// Size of the backlog.
    #[arg(long, default_value_t = 4)]
    gib: u64,
    /// This process is the one that holds the backlog, there.
    #[arg(long, hide = true)]
    backlog_in: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    ended("journal", args.backlog_in.as_ref().map_or_else(|| run(&args), |dir| child(dir, args.gib)))
}

fn run(args: &Args) -> Outcome<()> {
    let (dir, file_system) = disk::own_directory(&args.dir)?;
    println!(
        "the journal: {RECORD_BYTES}-byte records, segments of {} MiB, {} cores; file system: {file_system}",
        SEGMENT_BYTES >> 20,
        thread::available_parallelism()?
    );
    println!("bare disk: {}", disk::measure(&dir)?);
    println!("medians of {} interleaved pairs, least and most", args.pairs);
    throughput(args, &dir)?;
    latency(args, &dir)?;
    with_backlog(args, &dir)?;
    Ok(fs::remove_dir_all(dir)?)
}

/// One line: a figure, what it must be, and whether it is.
fn print(what: &str, figures: &mut [f64], bar: &str, holds: impl Fn(f64) -> bool) {
    let (least, middle, most) = (quantile(figures, 0.0), quantile(figures, 0.5), quantile(figures, 1.0));
    let verdict = if holds(middle) { "holds" } else { "MISSED" };
    println!("{what:<46} {middle:>8.2} ({least:.2} to {most:.2})   bar {bar}: {verdict}");
}

fn throughput(args: &Args, dir: &Path) -> Outcome<()> {
    for group in GROUPS {
        let (mut alone, mut read, mut rates) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..args.pairs {
            let bare = raw(&dir.join("raw.bin"), PAIR_BYTES, group)?;
            let ours = ingest(&dir.join("journal"), PAIR_BYTES, group, 0)?;
            let followed = ingest(&dir.join("journal"), PAIR_BYTES, group, 2)?;
            alone.push(bare / ours);
            read.push(bare / followed);
            rates.push(PAIR_BYTES as f64 / 1e6 / ours);
        }
        let kib = group >> 10;
        println!("groups of {kib} KiB: {:.0} MB/s", median(rates.into_iter()));
        print("  ingest ÷ bare append + fdatasync", &mut alone, "≥ 0.8", |ratio| ratio >= 0.8);
        print("  the same with two readers that follow", &mut read, "≥ 0.7", |ratio| ratio >= 0.7);
    }
    Ok(())
}

fn latency(args: &Args, dir: &Path) -> Outcome<()> {
    let (mut ratios, mut p99s, mut bares) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..args.pairs {
        let bare = quantile(&mut paced_raw(&dir.join("raw.bin"), PACE, PACED_FOR)?, 0.99);
        let ours = quantile(&mut paced_journal(&dir.join("journal"), PACE, PACED_FOR)?, 0.99);
        ratios.push(ours / bare);
        p99s.push(ours * 1e3);
        bares.push(bare);
    }
    let bare = median(bares.into_iter());
    println!(
        "paced at {PACE:.0} records/s: p99 {:.2} ms, the bare file's {:.2} ms",
        median(p99s.into_iter()),
        bare * 1e3
    );
    if bare > BREATHLESS {
        println!("  the bare disk does not keep this pace: what follows says nothing about the journal");
    }
    print("  p99 ÷ p99 of the bare file", &mut ratios, "≤ 1.5", |ratio| ratio <= 1.5);
    Ok(())
}

/// In a process of its own, so that its memory and its writes are the journal's.
fn with_backlog(args: &Args, dir: &Path) -> Outcome<()> {
    let child = Command::new(env::current_exe()?)
        .arg("--backlog-in")
        .arg(dir.join("backlog"))
        .args(["--gib", &args.gib.to_string()])
        .output()?;
    let said = String::from_utf8_lossy(&child.stdout).into_owned();
    if !child.status.success() {
        return Err(format!("the backlog: {}", String::from_utf8_lossy(&child.stderr)).into());
    }
    print!("{said}");
    Ok(())
}

fn child(dir: &Path, gib: u64) -> Outcome<()> {
    let Backlog { bytes, written, disk_writes, open, bare, cold, warm, peak_mib, pending, on_disk } =
        backlog(dir, gib << 30)?;
    println!("a backlog of {:.2} GiB of records, written in {written:.1} s", bytes as f64 / (1 << 30) as f64);
    let line = |what: &str, figure: f64, bar: &str, holds: &dyn Fn(f64) -> bool| {
        print(what, &mut [figure], bar, holds);
    };
    let beyond = (on_disk as f64 - pending as f64) / SEGMENT_BYTES as f64;
    line("  catch-up reading ÷ ingest", written / warm, "≥ 5", &|ratio| ratio >= 5.0);
    println!(
        "    with nothing in memory: {:.2} of ingest, {:.2} of reading the same files as they are",
        written / cold,
        bare / cold
    );
    line("  peak memory, MiB", peak_mib, "≤ 64", &|mib| mib <= 64.0);
    line("  open, nothing in memory, s", open, "≤ 0.5", &|seconds| seconds <= 0.5);
    line("  bytes written ÷ bytes of records", disk_writes as f64 / bytes as f64, "≤ 1.15", &|ratio| {
        ratio <= 1.15
    });
    line("  half passed: segments beyond what is pending", beyond, "≤ 2", &|segments| segments <= 2.0);
    Ok(())
}
