//! One way to open, append and read, so that a change of the API touches one file.

use octroi_journal::sim::SimDisk;
use octroi_journal::{Batch, Chunk, ChunkBuilder, Journal, OpenError, Options, Recovery, TargetBit};
use std::ops::Range;
use std::sync::Arc;

pub(crate) const SEGMENT: u64 = 8 << 10;

/// The first workload's number.
#[expect(clippy::disallowed_methods, reason = "the seed of a test")]
pub(crate) fn seed() -> u64 {
    std::env::var("OCTROI_SEED").map_or(0, |seed| seed.parse().expect("OCTROI_SEED is a number"))
}

pub(crate) fn options() -> Options {
    Options {
        hub: "hub-1".to_owned(),
        segment_bytes: SEGMENT,
        limit_bytes: 64 * SEGMENT,
        reserve_bytes: SEGMENT,
    }
}

pub(crate) fn try_open(disk: &SimDisk, options: Options) -> Result<(Journal, Recovery), OpenError> {
    // Calls so far: another number at each opening, and the same in each run.
    let mut entropy = disk.calls().wrapping_mul(0x1234_5677).wrapping_add(7);
    Journal::open(Arc::new(disk.clone()), options, &mut || {
        entropy = entropy.wrapping_add(0x9E37_79B9_7F4A_7C15);
        entropy
    })
}

pub(crate) fn open(disk: &SimDisk) -> (Journal, Recovery) {
    try_open(disk, options()).unwrap()
}

pub(crate) fn chunk(records: &[(u64, Vec<u8>)]) -> Chunk {
    let mut builder = ChunkBuilder::new(1024);
    for (targets, bytes) in records {
        let (head, tail) = bytes.split_at(bytes.len() / 2);
        builder.push(1, *targets, &[head, tail]).unwrap();
    }
    builder.finish()
}

/// Appends one record and commits it.
pub(crate) fn put(journal: &mut Journal, targets: u64, bytes: &[u8]) -> u64 {
    let seqs = journal.append(chunk(&[(targets, bytes.to_vec())])).unwrap();
    assert!(journal.commit(&mut |_| {}).unwrap().covers(seqs.start));
    seqs.start
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) records: Vec<(u64, u64, Vec<u8>)>,
    pub(crate) lost: Vec<Range<u64>>,
    pub(crate) end: u64,
}

/// Everything from `from` to the durable end.
pub(crate) fn read(journal: &Journal, from: u64, target: Option<TargetBit>, max_bytes: usize) -> Read {
    let mut reader = journal.reader(from);
    let mut batch = Batch::default();
    let mut all = Read { end: from, ..Read::default() };
    loop {
        reader.next(target, max_bytes, &mut batch).unwrap();
        all.records.extend(batch.iter().map(|entry| (entry.seq, entry.targets, entry.bytes.to_vec())));
        all.lost.extend(batch.lost().iter().cloned());
        if batch.end() == all.end {
            return all;
        }
        all.end = batch.end();
    }
}

pub(crate) fn read_all(journal: &Journal) -> Read {
    read(journal, journal.stats().first_seq, None, 700)
}
