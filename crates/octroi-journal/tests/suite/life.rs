//! Rules 2 and 3 over a whole life: groups, cursors, reading, trimming, a seal, and a second start over a
//! torn tail and what else a crash leaves; with each fault at each call, whatever the call is.

use crate::support::{SEGMENT, chunk, open, options, try_open};
use octroi_journal::sim::{Fault, Op, SimDisk};
use octroi_journal::{Batch, CommitError, Disk, Journal, ReadError, Reader, TargetBit};
use std::collections::{BTreeMap, BTreeSet};
use std::io::IoSlice;

/// What the outside knows.
#[derive(Default)]
struct Life {
    /// Acknowledged, by sequence number.
    acked: BTreeMap<u64, Vec<u8>>,
    /// Of these, what a reader gave, in order.
    read: Vec<u64>,
    /// Everything below was read, and passed by the cursor.
    passed: u64,
    /// Groups that were handed back, and offered again.
    fulls: u32,
}

/// Two starts; `None`: a failure was final.
fn live(disk: &SimDisk, life: &mut Life) -> Option<()> {
    leave_a_segment_in_the_making(disk)?;
    for start in 0..2_u8 {
        let (mut journal, recovery) = try_open(disk, options()).ok()?;
        assert!(!recovery.is_damaged(), "{recovery:?}");
        let kafka = journal.register_target("kafka", 0).unwrap();
        let mut reader = journal.reader(life.passed);
        for n in 0..14_u8 {
            put(&mut journal, kafka, vec![start * 100 + n; 900], life)?;
            read_on(&mut reader, kafka, life);
            journal.advance(kafka, life.passed).unwrap();
            if n % 5 == 4 {
                journal.trim().ok()?;
            }
        }
        match journal.seal(&mut |_| {}) {
            Ok(_) | Err(CommitError::Full { .. }) => {}
            Err(_) => return None,
        }
        drop(journal);
        leave_a_torn_tail(disk);
    }
    Some(())
}

fn put(journal: &mut Journal, kafka: TargetBit, bytes: Vec<u8>, life: &mut Life) -> Option<()> {
    loop {
        let seqs = journal.append(chunk(&[(kafka.mask(), bytes.clone())])).unwrap();
        match journal.commit(&mut |_| {}) {
            Ok(durable) => {
                assert!(durable.covers(seqs.start));
                life.acked.insert(seqs.start, bytes);
                return Some(());
            }
            Err(CommitError::Full { .. }) => life.fulls += 1,
            Err(_) => return None,
        }
    }
}

/// A read that fails is one to try again, from where it was.
fn read_on(reader: &mut Reader, kafka: TargetBit, life: &mut Life) {
    let mut batch = Batch::default();
    match reader.next(Some(kafka), 4 * SEGMENT as usize, &mut batch) {
        Ok(()) => {
            assert!(batch.lost().is_empty(), "{:?}", batch.lost());
            for entry in batch.iter() {
                assert_eq!(life.acked.get(&entry.seq).map(|bytes| &bytes[..]), Some(entry.bytes));
                life.read.push(entry.seq);
            }
            life.passed = batch.end();
        }
        Err(ReadError::Io { .. }) => {}
        Err(trimmed @ ReadError::Trimmed { .. }) => panic!("{trimmed}"),
    }
}

fn leave_a_segment_in_the_making(disk: &SimDisk) -> Option<()> {
    disk.create("00000000000000000099.new", SEGMENT).ok().map(drop)
}

/// As far as the disk does what it is told.
fn leave_a_torn_tail(disk: &SimDisk) {
    let names = disk.list().unwrap_or_default();
    let Some(last) = names.iter().filter(|name| name.ends_with(".log")).max() else { return };
    if let Ok(file) = disk.open(last) {
        file.write_at(&[IoSlice::new(&[0xEE; 100])], SEGMENT - 300).and_then(|_| file.sync()).ok();
    }
}

/// What is there now, or after a power loss, against what the outside knows. `cut`: the file may be short, as
/// where power is lost while a disk is dealt with that has not even room for zeros.
fn nothing_is_lost(disk: &SimDisk, life: &Life, cut: bool, what: &str) {
    let (journal, recovery) = open(disk);
    assert!(recovery.fenced.is_empty() && recovery.lost_copies == 0, "{what}: {recovery:?}");
    assert!(recovery.missing_bytes == 0 || cut, "{what}: {recovery:?}");
    let first = journal.stats().first_seq;
    assert!(first <= life.passed, "{what}: trimmed to {first}, and the target is at {}", life.passed);
    let mut reader = journal.reader(first);
    let (mut batch, mut found, mut at) = (Batch::default(), BTreeMap::new(), first);
    while reader.durable().covers(at) {
        reader.next(None, 1 << 20, &mut batch).unwrap();
        assert!(batch.lost().is_empty(), "{what}: lost {:?}", batch.lost());
        found.extend(batch.iter().map(|entry| (entry.seq, entry.bytes.to_vec())));
        at = batch.end();
    }
    let acked: Vec<_> = life.acked.range(first..).collect();
    assert!(
        found.iter().zip(&acked).all(|(found, acked)| found == *acked),
        "{what}: not what was acknowledged"
    );
    assert!(found.len() >= acked.len(), "{what}: acknowledged and lost");
    assert!(found.len() <= acked.len() + 1, "{what}: invented");
}

/// Lives with these faults, each so many calls after the one before; gives the calls they fell on, and whether
/// a failure was final. `None`: the life was over before them.
fn with_faults(faults: &[(u64, Fault)], what: &str) -> Option<(Vec<Op>, Life, bool)> {
    let disk = SimDisk::new(faults[0].0);
    let mut at = 0;
    for (after, fault) in faults {
        at += after;
        disk.fail_at_call(at, *fault);
    }
    let mut life = Life::default();
    let finished = live(&disk, &mut life).is_some();
    if disk.calls() <= at && finished {
        return None;
    }
    let read: Vec<u64> = life.acked.range(..life.passed).map(|(seq, _)| *seq).collect();
    assert_eq!(life.read, read, "{what}: a reader missed or repeated something");
    let cut = faults.len() > 1;
    nothing_is_lost(&disk.copy(), &life, cut, what);
    for chance in 0..4 {
        nothing_is_lost(&disk.after_crash(chance), &life, cut, &format!("{what}, chance {chance}"));
    }
    Some((disk.hits(), life, !finished))
}

/// The fault at every call in turn; the kinds of call it fell on, and how many failures were final.
fn at_every_call(fault: Fault) -> (BTreeSet<Op>, u32, u32) {
    let (mut ops, mut finals, mut fulls) = (BTreeSet::new(), 0, 0);
    for call in 0.. {
        let Some((hits, life, ended)) = with_faults(&[(call, fault)], &format!("{fault:?} at call {call}"))
        else {
            break;
        };
        ops.extend(hits);
        finals += u32::from(ended);
        fulls += life.fulls;
    }
    (ops, finals, fulls)
}

#[test]
fn an_eio_at_any_call_of_a_whole_life_loses_nothing() {
    let (ops, finals, fulls) = at_every_call(Fault::Io);
    let cut = BTreeSet::from([Op::Truncate]);
    assert_eq!(ops, Op::ALL.into_iter().collect::<BTreeSet<Op>>().difference(&cut).copied().collect());
    assert!(finals > 100 && fulls == 0, "{finals} final failures, {fulls} full disks");
}

#[test]
fn an_enospc_at_any_call_of_a_whole_life_loses_nothing() {
    let (ops, _, fulls) = at_every_call(Fault::Full);
    assert!(ops.is_superset(&BTreeSet::from([Op::Create, Op::Write, Op::Remove, Op::Rename])), "{ops:?}");
    assert!(fulls >= 25, "{fulls}: every group met a full disk once");
}

#[test]
fn short_reads_and_writes_and_interruptions_are_no_failures() {
    for fault in [Fault::Short, Fault::Interrupted] {
        let (ops, finals, fulls) = at_every_call(fault);
        assert!(ops.is_superset(&BTreeSet::from([Op::Read, Op::Write])), "{ops:?}");
        assert_eq!((finals, fulls), (0, 0), "{fault:?}");
    }
}

/// A disk that fails while the journal deals with its being full: in its clearing, its syncing, its cutting.
#[test]
fn an_eio_while_a_full_disk_is_dealt_with_loses_nothing() {
    let mut after = BTreeSet::new();
    for call in 0..400 {
        for later in 1..8 {
            // Full, full again where it clears what it wrote, so that it cuts; then EIO.
            let faults = [(call, Fault::ShortThenFull), (1, Fault::Full), (later, Fault::Io)];
            let what = format!("full at call {call}, EIO {later} calls later");
            if let Some((hits, life, _)) = with_faults(&faults, &what)
                && hits.len() == 3
                && life.fulls + u32::from(hits[0] == Op::Write) > 0
            {
                after.insert(hits[2]);
            }
        }
    }
    assert!(after.is_superset(&BTreeSet::from([Op::Truncate, Op::Sync, Op::Write])), "{after:?}");
}
