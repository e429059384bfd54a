//! Rule 6: one flipped bit, or a cut, anywhere: found, at most one frame lost to it, no file deleted.
//!
//! Exhaustive over every bit of a sealed segment of 64 KiB and every length of one of 8 KiB; sampled on one
//! of 1 MiB.

use crate::support::{chunk, open, options, put, read_all, seed, try_open};
use octroi_journal::sim::{Random, SimDisk};
use octroi_journal::{Inspector, OpenError, Options};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread;

/// Sequence number, targets, content.
type Records = Vec<(u64, u64, Vec<u8>)>;

/// Records of one frame that [`sealed`] makes: what one flipped bit may take.
const FRAME: usize = 2;

const FIRST: &str = "00000000000000000000.log";

/// A sealed journal of one segment with `frames` frames; gives what it holds.
fn sealed(segment_bytes: u64, frames: usize, size: usize) -> (SimDisk, Options, Records) {
    let options =
        Options { segment_bytes, limit_bytes: 16 * segment_bytes, reserve_bytes: segment_bytes, ..options() };
    let disk = SimDisk::new(1);
    let (mut journal, _) = try_open(&disk, options.clone()).unwrap();
    let kafka = journal.register_target("kafka", 0).unwrap();
    for n in 0..frames {
        let records = [(kafka.mask(), vec![n as u8; size]), (0, vec![!n as u8; 7])];
        journal.append(chunk(&records)).unwrap();
        if n % 2 == 1 {
            journal.commit(&mut |_| {}).unwrap();
            journal.advance(kafka, journal.durable().end() / 2).unwrap();
        }
    }
    journal.seal(&mut |state| state.extend_from_slice(b"state")).unwrap();
    let all = read_all(&journal).records;
    assert_eq!(all.len(), 2 * frames);
    drop(journal);
    (disk.copy(), options, all)
}

/// How damage showed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Seen {
    /// The opening said that something is not as it was written.
    found: bool,
    /// Records that are lost, every one of them named.
    lost: usize,
}

/// Opens what became of a journal; `verify`: asks that too.
fn look(disk: &SimDisk, options: &Options, known: &Records, verify: bool, what: &str) -> Seen {
    let files: BTreeSet<String> = octroi_journal::Disk::list(disk).unwrap().into_iter().collect();
    let inspected = verify.then(|| Inspector::new(Arc::new(disk.copy())).verify().unwrap());
    let (journal, recovery) =
        try_open(disk, options.clone()).unwrap_or_else(|error| panic!("{what}: {error}"));
    let after: BTreeSet<String> = octroi_journal::Disk::list(disk).unwrap().into_iter().collect();
    assert!(after.is_superset(&files), "{what}: a file was deleted");
    let read = read_all(&journal);

    // Both are in order: what is read is what is known, with gaps.
    let mut rest = read.records.iter().peekable();
    let missing: Vec<u64> =
        known.iter().filter(|record| rest.next_if_eq(record).is_none()).map(|record| record.0).collect();
    assert!(rest.next().is_none(), "{what}: a record was invented or changed");
    assert!(missing.len() <= FRAME, "{what}: {} records lost", missing.len());
    for record in &missing {
        let told = recovery.fenced.iter().any(|range| range.contains(record));
        assert!(told, "{what}: record {record} is lost and nobody was told");
        assert!(read.lost.iter().any(|range| range.contains(record)), "{what}: the reader is not told");
    }
    let names: Vec<_> = journal.targets().into_iter().map(|target| target.name).collect();
    assert_eq!(names, ["kafka"], "{what}: the registry is lost");
    let found = recovery.is_damaged() || recovery.torn_bytes > 0;
    if let Some(inspected) = inspected {
        assert_eq!(found, !inspected.is_sound() || inspected.tail_bytes() > 0, "{what}: verify disagrees");
    }
    Seen { found, lost: missing.len() }
}

fn flipped(disk: &SimDisk, bytes: &[u8], bit: usize) -> SimDisk {
    let copy = disk.copy();
    let mut bytes = bytes.to_vec();
    bytes[bit / 8] ^= 1 << (bit % 8);
    copy.put(FIRST, &bytes);
    copy
}

/// Flips each of these bits, one at a time, and gives how many flips lost a frame.
fn flip_each(
    sealed: &(SimDisk, Options, Records),
    bytes: &[u8],
    bits: impl Iterator<Item = usize>,
) -> (u64, u64) {
    let (disk, options, known) = sealed;
    let (mut flips, mut losses) = (0, 0);
    let mut bytes = bytes.to_vec();
    for bit in bits {
        let what = format!("bit {bit}");
        bytes[bit / 8] ^= 1 << (bit % 8);
        let copy = disk.copy();
        copy.put(FIRST, &bytes);
        bytes[bit / 8] ^= 1 << (bit % 8);
        // Of each byte, another bit.
        let verify = bit % 8 == bit / 8 % 8;
        let seen = look(&copy, options, known, verify, &what);
        assert!(seen.found, "{what} was not found");
        flips += 1;
        losses += u64::from(seen.lost > 0);
    }
    (flips, losses)
}

#[test]
fn every_flipped_bit_of_a_sealed_segment_is_found_and_takes_one_frame_at_most() {
    let sealed = sealed(64 << 10, 60, 900);
    let bytes = sealed.0.bytes(FIRST).unwrap();
    let threads = thread::available_parallelism().map_or(2, usize::from);
    let (flips, losses) = thread::scope(|scope| {
        let parts: Vec<_> = (0..threads)
            .map(|part| {
                let bits = (part..bytes.len() * 8).step_by(threads);
                scope.spawn(|| flip_each(&sealed, &bytes, bits))
            })
            .collect();
        let done = parts.into_iter().map(|part| part.join().unwrap());
        done.fold((0, 0), |sum, part| (sum.0 + part.0, sum.1 + part.1))
    });
    println!("64 KiB, every bit: {flips} flips found, {losses} cost one frame, none more");
    assert_eq!(flips, 64 * 1024 * 8);
    assert!(losses > flips / 2 && losses < flips, "{losses}: frames and what is there twice were hit");
}

#[test]
fn a_flipped_bit_in_a_sealed_segment_of_1_mib_is_found_and_takes_one_frame_at_most() {
    let sealed = sealed(1 << 20, 80, 12_000);
    let bytes = sealed.0.bytes(FIRST).unwrap();
    let mut random = Random(seed());
    let bits: Vec<usize> = (0..2_000).map(|_| (random.next() % (bytes.len() as u64 * 8)) as usize).collect();
    let (flips, losses) = flip_each(&sealed, &bytes, bits.into_iter());
    println!(
        "OCTROI_SEED={}: 1 MiB, sampled: {flips} flips found, {losses} cost one frame, none more",
        seed()
    );
    assert!(flips == 2_000 && losses > 1_000, "{losses}");
}

#[test]
fn every_cut_of_a_sealed_segment_is_found_and_takes_nothing_before_it() {
    let (disk, options, known) = sealed(8 << 10, 10, 40);
    let bytes = disk.bytes(FIRST).unwrap();
    let mut frame_ends = Vec::new();
    let inspector = Inspector::new(Arc::new(disk.copy()));
    let segment = inspector.segments().unwrap().remove(0);
    let mut visit = |finding: octroi_journal::Finding<'_>| {
        if let octroi_journal::Finding::Frame { offset, bytes, first_seq, count, .. } = finding {
            frame_ends.push((offset + bytes, first_seq + u64::from(count)));
        }
    };
    inspector.walk(&segment, None, &mut visit).unwrap();
    let state_end = frame_ends[0].0 as usize;

    for len in 0..bytes.len() {
        let cut = disk.copy();
        cut.put(FIRST, &bytes[..len]);
        match try_open(&cut, options.clone()) {
            Err(OpenError::Damaged { .. }) => {
                assert!(len < state_end, "cut to {len}: refused, though header and state are there");
                assert_eq!(cut.bytes(FIRST).unwrap(), bytes[..len], "cut to {len}: changed");
            }
            Err(other) => panic!("cut to {len}: {other}"),
            Ok((journal, recovery)) => {
                assert_eq!(recovery.missing_bytes, (bytes.len() - len) as u64, "cut to {len}: not told");
                let end = frame_ends.iter().rev().find(|(end, _)| *end <= len as u64).unwrap().1;
                let whole: Vec<_> = known.iter().filter(|record| record.0 < end).cloned().collect();
                assert_eq!(read_all(&journal).records, whole, "cut to {len}");
                drop(journal);
                assert!(!try_open(&cut, options.clone()).unwrap().1.is_damaged(), "cut to {len}: not mended");
            }
        }
    }
}

/// Rule 4: the neighbours of a fenced frame are delivered, in old segments too.
#[test]
fn a_reader_reports_what_is_fenced_and_goes_on_with_its_neighbours() {
    let disk = SimDisk::new(1);
    let (mut journal, _) = open(&disk);
    for n in 0..30_u8 {
        put(&mut journal, 0, &vec![n; 700]);
    }
    assert!(journal.stats().segments >= 3);
    let all = read_all(&journal).records;
    drop(journal);
    let bytes = disk.bytes(FIRST).unwrap();
    let mut lost_of = BTreeSet::new();
    for bit in (0..bytes.len() * 8).step_by(97) {
        let (journal, recovery) = open(&flipped(&disk.copy(), &bytes, bit));
        assert!(!recovery.is_damaged(), "recovery reads the last segment only");
        let read = read_all(&journal);
        let lost: Vec<u64> = read.lost.iter().cloned().flatten().collect();
        assert!(lost.len() <= 1, "bit {bit}: {lost:?}");
        assert_eq!(read.records.len() + lost.len(), all.len(), "bit {bit}");
        lost_of.extend(lost);
    }
    assert!(lost_of.len() >= 8, "every frame of the segment was hit: {lost_of:?}");
}

#[test]
fn a_segment_that_is_gone_or_has_no_header_is_lost_whole_and_its_neighbours_are_not() {
    let disk = SimDisk::new(1);
    let (mut journal, _) = open(&disk);
    for n in 0..30_u8 {
        put(&mut journal, 0, &vec![n; 700]);
    }
    let reader_of = |journal: &octroi_journal::Journal| read_all(journal);
    let all = reader_of(&journal).records;
    drop(journal);
    let names: Vec<String> = octroi_journal::Disk::list(&disk)
        .unwrap()
        .into_iter()
        .filter(|name| name.ends_with(".log"))
        .collect();
    let second: u64 = names[1].trim_end_matches(".log").parse().unwrap();
    let third: u64 = names[2].trim_end_matches(".log").parse().unwrap();

    let blank = disk.copy();
    blank.put(&names[1], &[0; 8192]);
    let gone = disk.copy();
    octroi_journal::Disk::remove(&gone, &names[1]).unwrap();
    for disk in [blank, gone] {
        let (journal, _) = open(&disk);
        let read = read_all(&journal);
        assert_eq!(read.records.len() as u64, all.len() as u64 - (third - second));
        let lost: u64 = read.lost.iter().map(|range| range.end - range.start).sum();
        assert_eq!(lost, third - second);
    }
}

/// A bit given again would send the old target's records to the new one.
#[test]
fn a_registration_survives_any_flipped_bit() {
    let disk = SimDisk::new(1);
    let (mut journal, _) = open(&disk);
    let kafka = journal.register_target("kafka", 0).unwrap();
    // No record, no seal: nothing else carries the table.
    journal.commit(&mut |_| {}).unwrap();
    put(&mut journal, kafka.mask(), b"x");
    put(&mut journal, kafka.mask(), b"y");
    drop(journal);
    let bytes = disk.bytes(FIRST).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    for bit in 0..=end * 8 {
        let (mut journal, _) = open(&flipped(&disk.copy(), &bytes, bit));
        assert_eq!(journal.register_target("kafka", 0).unwrap(), kafka, "bit {bit}");
    }
}
