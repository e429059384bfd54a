//! `repair`: what it says, what it does, and what it leaves alone.

use crate::support::{SEGMENT, chunk, open, options, put, read_all, try_open};
use octroi_journal::sim::{Fault, SimDisk};
use octroi_journal::{Disk, Flaw, Inspector, RepairError, repair};
use std::collections::BTreeMap;
use std::io::IoSlice;
use std::sync::Arc;

const FIRST: &str = "00000000000000000000.log";

fn segments(disk: &SimDisk) -> Vec<String> {
    let mut names = disk.list().unwrap();
    names.retain(|name| name.ends_with(".log"));
    names.sort();
    names
}

fn files(disk: &SimDisk) -> BTreeMap<String, Vec<u8>> {
    let names = disk.list().unwrap().into_iter();
    names.map(|name| (name.clone(), disk.bytes(&name).unwrap())).collect()
}

fn flip(disk: &SimDisk, name: &str, at: usize) {
    let mut bytes = disk.bytes(name).unwrap();
    bytes[at] ^= 1;
    disk.put(name, &bytes);
}

/// Three segments: a bit flipped in the first, a bit flipped in the last behind which more was acknowledged, and
/// a torn tail. Gives how many records were acknowledged.
fn damaged() -> (SimDisk, usize) {
    let disk = SimDisk::new(1);
    let (mut journal, _) = open(&disk);
    let mut records = 0;
    while journal.stats().segments < 3 || records % 2 == 1 {
        put(&mut journal, 0, &[records as u8; 700]);
        records += 1;
    }
    for _ in 0..3 {
        put(&mut journal, 0, b"more of the last segment");
        records += 1;
    }
    journal.seal(&mut |_| {}).unwrap();
    drop(journal);
    let disk = disk.copy();
    let names = segments(&disk);
    flip(&disk, &names[0], 4000);
    let last = disk.bytes(&names[2]).unwrap();
    let place = last.windows(8).position(|window| window == b"more of ").unwrap();
    flip(&disk, &names[2], place);
    let file = disk.open(&names[2]).unwrap();
    file.write_at(&[IoSlice::new(b"torn")], SEGMENT - 100).unwrap();
    file.sync().unwrap();
    drop(file);
    (disk.copy(), records)
}

fn mend(disk: &SimDisk, dry_run: bool) -> Result<Vec<octroi_journal::Mend>, RepairError> {
    repair(&(Arc::new(disk.clone()) as Arc<dyn Disk>), dry_run)
}

#[test]
fn a_dry_run_says_what_the_repair_then_does_and_changes_nothing() {
    let (disk, _) = damaged();
    let before = files(&disk);
    let told = mend(&disk, true).unwrap();
    assert_eq!(files(&disk), before);
    assert_eq!(mend(&disk, false).unwrap(), told);
    let kinds: Vec<_> = told.iter().map(|mend| (mend.what, mend.lost.end - mend.lost.start)).collect();
    assert_eq!(kinds, [(Flaw::Damage, 1), (Flaw::Damage, 1), (Flaw::TornTail, 0)]);
}

#[test]
fn a_repair_keeps_every_byte_and_leaves_a_journal_that_opens_without_a_torn_tail() {
    let (disk, records) = damaged();
    let before = files(&disk);
    let mends = mend(&disk, false).unwrap();
    let after = files(&disk);
    assert!(before.keys().all(|name| after.contains_key(name)), "no file is removed");
    for mend in &mends {
        let range = mend.bytes.start as usize..mend.bytes.end as usize;
        let was = &before[&mend.segment][range.clone()];
        assert_eq!(after[mend.kept_in.as_ref().unwrap()], was, "{mend:?}");
        if mend.what == Flaw::Damage {
            assert_eq!(&after[&mend.segment][range], was, "what is fenced stays");
        }
    }
    let summary = Inspector::new(Arc::new(disk.copy())).verify().unwrap();
    assert!(!summary.is_sound() && summary.tail_bytes() == 0);
    assert!(mend(&disk, false).unwrap().iter().all(|mend| mend.what == Flaw::Damage));
    let (journal, recovery) = open(&disk);
    assert_eq!((recovery.torn_bytes, recovery.fenced.len()), (0, 1));
    let read = read_all(&journal);
    assert_eq!((read.records.len(), read.lost.len()), (records - 2, 2), "all but the two that were hit");
    assert_eq!(journal.reader(0).fenced(), read.lost, "known to every reader by now");
}

#[test]
fn a_repair_that_fails_or_loses_power_at_any_call_loses_nothing() {
    let (disk, records) = damaged();
    let torn = SEGMENT as usize - 100..SEGMENT as usize - 96;
    let mut failed = 0;
    for fault in [Fault::Io, Fault::Full, Fault::Crash] {
        for call in 0..100 {
            let what = format!("{fault:?} at call {call}");
            let copy = disk.copy();
            copy.fail_at_call(call, fault);
            failed += u32::from(mend(&copy, false).is_err());
            let after = copy.after_crash(call);
            let found = files(&after);
            let last = segments(&after).pop().unwrap();
            let kept =
                |(name, bytes): (&String, &Vec<u8>)| name.ends_with(".torn") && bytes.ends_with(b"torn");
            assert!(
                found[&last][torn.clone()] == *b"torn" || found.iter().any(kept),
                "{what}: the tail is gone"
            );
            mend(&after, false).unwrap_or_else(|error| panic!("{what}: {error}"));
            let (journal, recovery) = open(&after);
            assert_eq!((recovery.torn_bytes, recovery.fenced.len()), (0, 1), "{what}");
            assert_eq!(read_all(&journal).records.len(), records - 2, "{what}");
        }
    }
    assert!(failed > 100, "{failed}");
}

#[test]
fn a_last_segment_that_was_cut_gets_its_length_back() {
    let disk = SimDisk::new(1);
    put(&mut open(&disk).0, 0, b"x");
    let bytes = disk.bytes(FIRST).unwrap();
    disk.put(FIRST, &bytes[..4000]);
    let mends = mend(&disk.copy(), true).unwrap();
    assert_eq!((mends.len(), mends[0].what, mends[0].bytes.clone()), (1, Flaw::Short, 4000..SEGMENT));
    let disk = disk.copy();
    mend(&disk, false).unwrap();
    assert_eq!(mend(&disk, false).unwrap(), []);
    assert!(!open(&disk).1.is_damaged());
}

#[test]
fn a_journal_that_is_owned_or_beyond_repair_is_left_alone() {
    let (disk, _) = damaged();
    let (journal, _) = open(&disk);
    assert!(matches!(mend(&disk, true), Err(RepairError::Locked)));
    drop(journal);
    let last = segments(&disk).pop().unwrap();
    for blank in [0..1024, 1024..3000] {
        let copy = disk.copy();
        let mut bytes = copy.bytes(&last).unwrap();
        bytes[blank].fill(0xFF);
        copy.put(&last, &bytes);
        let before = files(&copy);
        let refused = mend(&copy, false).unwrap_err();
        assert!(matches!(&refused, RepairError::Beyond { file, .. } if *file == last), "{refused}");
        assert_eq!(files(&copy), before);
        assert!(try_open(&copy, options()).is_err(), "an opening says no less");
    }
    assert_eq!(mend(&SimDisk::new(1), false).unwrap(), [], "and nothing is nothing to mend");
}

#[test]
fn the_targets_of_a_journal_that_nobody_owns_are_those_of_its_last_table() {
    let disk = SimDisk::new(1);
    let (mut journal, _) = open(&disk);
    let kafka = journal.register_target("kafka", 0).unwrap();
    journal.append(chunk(&[(kafka.mask(), b"x".to_vec())])).unwrap();
    journal.commit(&mut |_| {}).unwrap();
    journal.advance(kafka, 1).unwrap();
    journal.seal(&mut |_| {}).unwrap();
    let targets = Inspector::new(Arc::new(disk.clone())).targets().unwrap();
    assert_eq!(targets, journal.targets());
    assert_eq!((targets[0].name.as_str(), targets[0].cursor), ("kafka", 1));
}
