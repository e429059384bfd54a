//! Rules 2 and 3: EIO is final, ENOSPC passes, at every call.

use crate::support::{SEGMENT, chunk, open, options, put, read_all, try_open};
use octroi_journal::sim::{Fault, SimDisk};
use octroi_journal::{AppendRefusal, CommitError, Journal, Options, TrimError};

/// Appends `rounds` records of 700 bytes, offering again what is handed back; gives the contents that
/// were acknowledged, and whether a final failure ended it.
fn work(journal: &mut Journal, rounds: u8, fulls: &mut u32) -> (Vec<Vec<u8>>, bool) {
    let mut acked = Vec::new();
    for n in 0..rounds {
        let mut offer = vec![chunk(&[(0, vec![n; 350])]), chunk(&[(0, vec![n; 351])])];
        loop {
            for chunk in std::mem::take(&mut offer) {
                journal.append(chunk).unwrap();
            }
            match journal.commit(&mut |_| {}) {
                Ok(_) => break,
                Err(CommitError::Full { chunks, .. }) => {
                    *fulls += 1;
                    assert_eq!(chunks.len(), 2, "all is handed back");
                    offer = chunks;
                }
                Err(CommitError::Failed(_)) => {
                    assert!(matches!(journal.commit(&mut |_| {}), Err(CommitError::Poisoned)));
                    let again = journal.append(chunk(&[(0, vec![])])).unwrap_err();
                    assert_eq!(again.reason, AppendRefusal::Poisoned);
                    assert!(matches!(journal.trim(), Err(TrimError::Poisoned)));
                    return (acked, true);
                }
                Err(other) => panic!("{other}"),
            }
        }
        acked.extend([vec![n; 350], vec![n; 351]]);
    }
    (acked, false)
}

fn contents(journal: &Journal) -> Vec<Vec<u8>> {
    let read = read_all(journal);
    assert!(read.lost.is_empty());
    read.records.into_iter().map(|record| record.2).collect()
}

#[test]
fn after_an_eio_at_any_call_nothing_more_is_acknowledged_and_nothing_is_lost() {
    let (mut ended, mut refused) = (0, 0);
    for call in 0.. {
        let disk = SimDisk::new(call);
        disk.fail_at_call(call, Fault::Io);
        let acked = match try_open(&disk, options()) {
            Ok((mut journal, _)) => {
                let (acked, failed) = work(&mut journal, 30, &mut 0);
                ended += u32::from(failed);
                if disk.calls() <= call {
                    break;
                }
                assert_eq!(contents(&journal), acked, "call {call}: readers see what was acknowledged");
                acked
            }
            Err(_) => {
                refused += 1;
                Vec::new()
            }
        };
        for crash in 0..4 {
            let (journal, recovery) = open(&disk.after_crash(crash));
            assert!(!recovery.is_damaged(), "call {call}: {recovery:?}");
            let found = contents(&journal);
            assert!(found.starts_with(&acked), "call {call}, crash seed {crash}: acknowledged and lost");
            assert!(found.len() <= acked.len() + 2, "call {call}: invented");
        }
        let (journal, _) = open(&disk.copy());
        assert!(contents(&journal).starts_with(&acked), "call {call}: lost without a crash");
    }
    assert!(ended >= 60 && refused >= 5, "{ended} runs ended, {refused} did not open");
}

#[test]
fn enospc_at_any_call_hands_the_group_back_and_nothing_is_lost_or_doubled() {
    for fault in [Fault::Full, Fault::ShortThenFull] {
        let mut fulls = 0;
        for call in 0..110 {
            let disk = SimDisk::new(call);
            disk.fail_at_call(call, fault);
            let Ok((mut journal, _)) = try_open(&disk, options()) else { continue };
            let (acked, failed) = work(&mut journal, 30, &mut fulls);
            if disk.calls() <= call {
                break;
            }
            if !failed {
                assert_eq!(contents(&journal), acked, "call {call}");
            }
            drop(journal);
            for crash in 0..4 {
                let (journal, recovery) = open(&disk.after_crash(crash));
                assert!(!recovery.is_damaged(), "call {call}");
                assert!(contents(&journal).starts_with(&acked), "call {call}, crash seed {crash}");
            }
        }
        assert!(fulls >= 20, "{fault:?}: {fulls} groups were handed back");
    }
}

/// Rule 3: a frame of a group that was handed back never validates, whatever a crash keeps of it. The
/// first chunk is offered again alone, so that a frame left behind it would be next in line.
#[test]
fn nothing_of_a_group_that_was_handed_back_comes_back_after_a_crash() {
    for crash in 0..200 {
        let disk = SimDisk::new(crash);
        let (mut journal, _) = open(&disk);
        put(&mut journal, 0, b"kept");
        for n in 0..6_u8 {
            journal.append(chunk(&[(0, vec![n; 600])])).unwrap();
        }
        disk.fail_at_call(0, Fault::ShortThenFull);
        let Err(CommitError::Full { chunks, .. }) = journal.commit(&mut |_| {}) else { panic!() };
        journal.append(chunks[0].clone()).unwrap();
        let acked = crash % 2 == 0;
        if acked {
            journal.commit(&mut |_| {}).unwrap();
        } else {
            disk.fail_at_sync(0, Fault::Crash);
            assert!(journal.commit(&mut |_| {}).is_err());
        }
        let (journal, _) = open(&disk.after_crash(crash));
        let found = contents(&journal);
        let whole = [b"kept".to_vec(), vec![0; 600]];
        assert!(whole.starts_with(&found), "crash seed {crash}: a group that was handed back came back");
        assert!(found.len() == 2 || !acked && found.len() == 1, "crash seed {crash}: lost");
    }
}

/// What an owner keeps of its cursors is on disk wherever they are, over segments, full disks and losses of
/// power.
#[test]
fn no_cursor_is_found_without_what_was_written_with_it() {
    let (mut passed, mut kept) = (0, 0);
    for seed in 0..400 {
        let disk = SimDisk::new(seed);
        let (mut journal, _) = open(&disk);
        let kafka = journal.register_target("kafka", 0).unwrap();
        journal.commit(&mut |_| {}).unwrap();
        let full = seed % 3 == 0;
        disk.fail_at_call(seed % 150, if full { Fault::ShortThenFull } else { Fault::Crash });
        for _ in 0..40 {
            let upto = journal.durable().end();
            journal.advance(kafka, upto).unwrap();
            journal.append_with_cursors(chunk(&[(0, upto.to_le_bytes().to_vec())])).unwrap();
            if journal.append(chunk(&[(kafka.mask(), vec![7; 900])])).is_err() {
                break;
            }
            match journal.commit(&mut |_| {}) {
                Ok(_) => {}
                Err(CommitError::Full { chunks, .. }) => {
                    let owed = chunks.into_iter().next().unwrap();
                    journal.append_with_cursors(owed).unwrap();
                    journal.commit(&mut |_| {}).unwrap();
                }
                Err(_) => break,
            }
        }
        drop(journal);
        let (journal, _) = open(&disk.after_crash(seed));
        let cursor = journal.targets().first().map_or(0, |target| target.cursor);
        let told = contents(&journal)
            .iter()
            .filter(|record| record.len() == 8)
            .map(|record| u64::from_le_bytes(record.as_slice().try_into().unwrap()))
            .max();
        assert!(cursor == 0 || told >= Some(cursor), "seed {seed}: {cursor} and {told:?}");
        passed += u64::from(cursor > 0);
        kept += u64::from(told > Some(cursor));
    }
    assert!(passed > 200, "{passed} cursors passed something, {kept} came with more");
}

/// Rule 3: the disk is full, cursors move and segments go all the same, and ingest resumes.
#[test]
fn a_full_disk_refuses_records_but_not_cursors_and_trimming_makes_room() {
    let disk = SimDisk::new(1);
    let (mut journal, _) = open(&disk);
    let kafka = journal.register_target("kafka", 0).unwrap();
    let full = loop {
        if disk.allocated() > 10 * SEGMENT {
            disk.set_capacity(Some(disk.allocated()));
        }
        journal.append(chunk(&[(kafka.mask(), vec![1; 900])])).unwrap();
        match journal.commit(&mut |_| {}) {
            Ok(_) => {}
            Err(CommitError::Full { chunks, .. }) => break chunks,
            Err(other) => panic!("{other}"),
        }
    };
    assert!(journal.stats().reserve_held);
    let read = read_all(&journal);
    assert!(read.records.len() > 50, "reading goes on");

    // Cursors only, until the last segment is full too and the reserve is needed.
    let end = journal.durable().end();
    let mut upto = 0;
    while journal.stats().reserve_held {
        upto += 1;
        assert!(upto < end, "the reserve was never needed");
        journal.advance(kafka, upto.min(end)).unwrap();
        journal.append_with_cursors(chunk(&[(0, b"totals".to_vec())])).unwrap();
        journal.commit(&mut |_| {}).unwrap();
    }
    for chunk in full {
        journal.append(chunk).unwrap();
    }
    let refused = matches!(journal.commit(&mut |_| {}), Err(CommitError::Full { .. }));
    journal.advance(kafka, end).unwrap();
    journal.commit(&mut |_| {}).unwrap();
    assert!(journal.trim().unwrap() > 5);
    assert!(journal.stats().reserve_held, "the reserve is made again");
    put(&mut journal, kafka.mask(), b"resumed");
    assert!(refused || journal.stats().segments <= 3);
}

/// Rule 8: the quota refuses ingest, and drops nothing.
#[test]
fn the_quota_refuses_records_and_drops_nothing() {
    let disk = SimDisk::new(1);
    let options = Options { limit_bytes: 16 * SEGMENT, ..options() };
    let (mut journal, _) = try_open(&disk, options).unwrap();
    let kafka = journal.register_target("kafka", 0).unwrap();
    let mut count = 0;
    let refused = loop {
        match journal.append(chunk(&[(kafka.mask(), vec![count as u8; 900])])) {
            Ok(_) => count += 1,
            Err(error) => break error,
        }
        journal.commit(&mut |_| {}).unwrap();
    };
    assert!(matches!(refused.reason, AppendRefusal::Full { .. }), "{refused}");
    assert!(journal.stats().bytes_on_disk <= journal.stats().limit && disk.allocated() <= 16 * SEGMENT);
    assert_eq!(read_all(&journal).records.len(), count);

    // Cursors have no quota.
    let end = journal.durable().end();
    for upto in 0..end {
        journal.advance(kafka, upto).unwrap();
        journal.commit(&mut |_| {}).unwrap();
    }
    journal.advance(kafka, end).unwrap();
    journal.commit(&mut |_| {}).unwrap();
    assert!(journal.trim().unwrap() >= 12);
    journal.append(refused.chunk).unwrap();
    journal.commit(&mut |_| {}).unwrap();
}

/// Rule 3: what may wait leaves room for what may not, on a full disk and at the quota.
#[test]
fn what_may_wait_leaves_headroom_in_the_last_segment_for_what_may_not() {
    for at_the_quota in [false, true] {
        let disk = SimDisk::new(1);
        let limit_bytes = if at_the_quota { 16 * SEGMENT } else { 64 * SEGMENT };
        let (mut journal, _) = try_open(&disk, Options { limit_bytes, ..options() }).unwrap();
        let kafka = journal.register_target("kafka", 0).unwrap();
        let headroom = SEGMENT / 8;
        loop {
            if !at_the_quota && disk.allocated() > 10 * SEGMENT {
                disk.set_capacity(Some(disk.allocated()));
            }
            // Small enough to fill a segment to the brim.
            let small = chunk(&[(kafka.mask(), vec![1; 40])]);
            if journal.append_leaving(small, headroom).is_err() || journal.commit(&mut |_| {}).is_err() {
                break;
            }
        }
        let count = read_all(&journal).records.len();
        for own in 0..4 {
            put(&mut journal, 0, &[2; 60]);
            assert_eq!(read_all(&journal).records.len(), count + own + 1, "quota: {at_the_quota}");
        }
        let (reopened, recovery) = {
            drop(journal);
            try_open(&disk, Options { limit_bytes, ..options() }).unwrap()
        };
        assert!(!recovery.is_damaged());
        assert_eq!(read_all(&reopened).records.len(), count + 4);
    }
}
