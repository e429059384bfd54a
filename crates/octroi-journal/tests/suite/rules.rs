//! The rules of the journal that have no file of their own here.
//!
//! 1 here; 2 and 3 `faults`; 4 `crash` and `damage`; 5 `crash`; 6 `damage`; 7 here and `model`;
//! 8 `faults`; 9 here.

use crate::support::{SEGMENT, chunk, open, options, put, read, read_all, try_open};
use octroi_journal::format::VERSION;
use octroi_journal::sim::{Fault, SimDisk};
use octroi_journal::{
    AppendRefusal, Batch, ChunkBuilder, Disk, Inspector, Journal, OpenError, Options, PushError, ReadError,
};
use std::io;
use std::sync::Arc;

const FIRST: &str = "00000000000000000000.log";

#[test]
fn a_commit_without_a_sync_is_never_visible_to_a_reader() {
    let disk = SimDisk::new(1);
    let (mut journal, _) = open(&disk);
    put(&mut journal, 0, b"first");
    let mut reader = journal.reader(0);
    let mut batch = Batch::default();
    let mut see = |reader: &mut octroi_journal::Reader| {
        reader.seek(0);
        reader.next(None, 1 << 20, &mut batch).unwrap();
        (batch.len(), batch.end())
    };
    journal.append(chunk(&[(0, b"second".to_vec())])).unwrap();
    assert_eq!(see(&mut reader), (1, 1), "staged");
    disk.fail_at_sync(0, Fault::Io);
    assert!(journal.commit(&mut |_| {}).is_err());
    let file = disk.bytes(FIRST).unwrap();
    assert!(file.windows(6).any(|window| window == b"second"), "it was written, and only the sync failed");
    assert_eq!(see(&mut reader), (1, 1), "written and not synced");
    assert!(!journal.durable().covers(1));
}

/// Rule 1: header and state are synced, and the name is, before the first ack of a new segment.
#[test]
fn a_new_segment_is_synced_with_its_name_before_its_first_ack() {
    for crash in 0..40 {
        let disk = SimDisk::new(crash);
        let (mut journal, _) = open(&disk);
        let mut count: usize = 0;
        while journal.stats().segments < 3 {
            put(&mut journal, 0, &[7; 900]);
            count += 1;
        }
        let (journal, recovery) = open(&disk.after_crash(crash));
        assert_eq!(read_all(&journal).records.len(), count, "crash seed {crash}");
        assert!(!recovery.is_damaged());
    }
}

/// Rule 2.
#[test]
fn a_failed_sync_is_final_even_if_the_disk_recovers() {
    let disk = SimDisk::new(1);
    let (mut journal, _) = open(&disk);
    put(&mut journal, 0, b"kept");
    disk.fail_at_sync(0, Fault::Io);
    journal.append(chunk(&[(0, b"unknown".to_vec())])).unwrap();
    assert!(journal.commit(&mut |_| {}).is_err());
    let syncs = disk.syncs();
    assert!(journal.commit(&mut |_| {}).is_err());
    assert!(journal.seal(&mut |_| {}).is_err());
    assert_eq!(disk.syncs(), syncs, "no second sync on the same descriptor");
    assert_eq!(read_all(&journal).records.len(), 1, "readers keep what was durable");
}

/// Rule 7.
#[test]
fn a_segment_goes_only_when_every_durable_cursor_is_past_it() {
    let disk = SimDisk::new(1);
    let (mut journal, _) = open(&disk);
    let (fast, slow) =
        (journal.register_target("fast", 0).unwrap(), journal.register_target("slow", 0).unwrap());
    for n in 0..40_u8 {
        put(&mut journal, fast.mask() | slow.mask(), &vec![n; 900]);
    }
    let segments = journal.stats().segments;
    let end = journal.durable().end();
    journal.advance(fast, end).unwrap();
    journal.commit(&mut |_| {}).unwrap();
    assert_eq!(journal.trim().unwrap(), 0, "slow is at 0");
    journal.advance(slow, end).unwrap();
    assert_eq!(journal.trim().unwrap(), 0, "slow's cursor is not durable");
    journal.commit(&mut |_| {}).unwrap();
    assert!(journal.trim().unwrap() >= segments - 1);
    assert!(journal.stats().segments <= 2);

    let mut batch = Batch::default();
    let trimmed = journal.reader(0).next(None, 1, &mut batch);
    assert!(matches!(trimmed, Err(ReadError::Trimmed { seq: 0, first_seq }) if first_seq > 0), "{trimmed:?}");
}

#[test]
fn a_retired_target_holds_segments_until_its_retirement_is_durable() {
    let (mut journal, _) = open(&SimDisk::new(1));
    let (stays, goes) =
        (journal.register_target("stays", 0).unwrap(), journal.register_target("goes", 0).unwrap());
    for n in 0..20_u8 {
        put(&mut journal, stays.mask() | goes.mask(), &vec![n; 900]);
    }
    journal.advance(stays, journal.durable().end()).unwrap();
    journal.commit(&mut |_| {}).unwrap();
    assert!(journal.retire_target(goes));
    assert_eq!(journal.trim().unwrap(), 0);
    journal.commit(&mut |_| {}).unwrap();
    assert!(journal.trim().unwrap() > 0);
    assert_ne!(journal.register_target("goes", 0).unwrap(), goes, "a bit is not used again");
}

#[test]
fn a_journal_without_targets_keeps_everything_until_its_owner_lets_go() {
    let (mut journal, _) = open(&SimDisk::new(1));
    for n in 0..20_u8 {
        put(&mut journal, 0, &vec![n; 900]);
    }
    assert_eq!(journal.trim().unwrap(), 0);
    journal.retain_from(journal.durable().end());
    assert!(journal.trim().unwrap() > 0);
}

#[test]
fn a_look_beside_the_owner_passes_over_what_the_owner_trims_meanwhile() {
    let disk = SimDisk::new(1);
    let (mut journal, _) = open(&disk);
    for n in 0..20_u8 {
        put(&mut journal, 0, &vec![n; 900]);
    }
    let inspector = Inspector::new(Arc::new(disk.clone()));
    let seen = inspector.segments().unwrap();
    journal.retain_from(journal.durable().end());
    assert!(journal.trim().unwrap() > 0);
    let mut findings = 0;
    inspector.walk(&seen[0], Some(seen[1].base_seq), &mut |_| findings += 1).unwrap();
    assert_eq!(findings, 0, "gone is not damaged");
    assert!(inspector.verify().unwrap().is_sound());
    assert!(inspector.segments().unwrap().len() < seen.len());
}

#[test]
fn a_segment_that_goes_while_a_reader_comes_to_it_is_trimmed_and_not_lost() {
    let disk = SimDisk::new(1);
    let (mut journal, _) = open(&disk);
    for n in 0..20_u8 {
        put(&mut journal, 0, &vec![n; 900]);
    }
    let mut reader = journal.reader(0);
    journal.retain_from(journal.durable().end());
    // The file is gone, and there trimming stops.
    disk.fail_at_sync(0, Fault::Io);
    assert!(journal.trim().is_err());
    assert!(disk.open(FIRST).is_err());
    let read = reader.next(None, 1 << 20, &mut Batch::default());
    assert!(matches!(read, Err(ReadError::Trimmed { seq: 0, .. })), "{read:?}");
    assert_eq!(reader.fenced(), []);
}

/// Rule 9.
#[test]
fn the_second_opener_gets_locked() {
    let disk = SimDisk::new(1);
    let (journal, _) = open(&disk);
    assert!(matches!(try_open(&disk, options()), Err(OpenError::Locked)));
    drop(journal);
    assert!(!open(&disk).1.opened_new);

    let directory = tempfile::tempdir().unwrap();
    let real = || Arc::new(octroi_journal::RealDisk::new(directory.path().join("journal")).unwrap());
    let (journal, _) = Journal::open(real(), options(), &mut || 5).unwrap();
    assert!(matches!(Journal::open(real(), options(), &mut || 6), Err(OpenError::Locked)));
    drop(journal);
    assert!(!Journal::open(real(), options(), &mut || 6).unwrap().1.opened_new);
}

#[test]
fn the_journal_works_on_a_real_directory() {
    let directory = tempfile::tempdir().unwrap();
    let disk = || Arc::new(octroi_journal::RealDisk::new(directory.path()).unwrap());
    let (mut journal, recovery) = Journal::open(disk(), options(), &mut || 5).unwrap();
    assert!(recovery.opened_new);
    let kafka = journal.register_target("kafka", 0).unwrap();
    for n in 0..40_u8 {
        put(&mut journal, kafka.mask(), &vec![n; 900]);
    }
    let all = read_all(&journal);
    assert_eq!(all.records.len(), 40);
    let size = std::fs::metadata(directory.path().join(FIRST)).unwrap().len();
    assert_eq!(size, SEGMENT, "preallocated");
    drop(journal);
    let (mut journal, recovery) = Journal::open(disk(), options(), &mut || 6).unwrap();
    assert!(!recovery.opened_new && !recovery.is_damaged() && recovery.torn_bytes == 0);
    assert_eq!(read_all(&journal), all);
    journal.advance(kafka, all.end).unwrap();
    journal.seal(&mut |_| {}).unwrap();
    assert!(journal.trim().unwrap() > 3);
}

/// Both copies of the header, changed and with a CRC that is right.
fn with_header(disk: &SimDisk, change: impl Fn(&mut [u8])) -> SimDisk {
    let copy = disk.copy();
    let mut bytes = copy.bytes(FIRST).unwrap();
    for at in [0, 512] {
        let sector = &mut bytes[at..at + 512];
        change(sector);
        let crc = crc32c::crc32c(&sector[..508]).to_le_bytes();
        sector[508..].copy_from_slice(&crc);
    }
    copy.put(FIRST, &bytes);
    copy
}

#[test]
fn a_newer_format_is_refused_untouched() {
    let disk = SimDisk::new(1);
    put(&mut open(&disk).0, 0, b"x");
    disk.put("00000000000000000009.new", b"left over");
    let newer = with_header(&disk, |sector| sector[8..12].copy_from_slice(&(VERSION + 1).to_le_bytes()));
    let names = newer.list().unwrap();
    let before: Vec<_> = names.iter().map(|name| newer.bytes(name)).collect();
    let refused = try_open(&newer, options()).err().unwrap();
    assert!(matches!(refused, OpenError::NewerFormat { version: 2, .. }), "{refused}");
    let after: Vec<_> = newer.list().unwrap().iter().map(|name| newer.bytes(name)).collect();
    assert_eq!((newer.list().unwrap(), after), (names, before));
}

#[test]
fn another_hubs_journal_is_refused() {
    let disk = SimDisk::new(1);
    put(&mut open(&disk).0, 0, b"x");
    let refused = try_open(&disk, Options { hub: "hub-2".to_owned(), ..options() }).err().unwrap();
    assert!(matches!(&refused, OpenError::ForeignHub { found, .. } if found == "hub-1"), "{refused}");
}

#[test]
fn a_segment_that_bears_anothers_name_is_refused() {
    let disk = SimDisk::new(1);
    put(&mut open(&disk).0, 0, b"x");
    disk.put("00000000000000000005.log", &disk.bytes(FIRST).unwrap());
    assert!(matches!(try_open(&disk, options()), Err(OpenError::Damaged { .. })));
}

#[test]
fn bytes_of_another_segment_at_the_same_place_do_not_validate() {
    let disk = SimDisk::new(1);
    let (mut journal, _) = open(&disk);
    put(&mut journal, 0, b"first");
    drop(journal);
    let recycled = disk.bytes(FIRST).unwrap();
    let fresh = SimDisk::new(2);
    let (journal, _) = Journal::open(Arc::new(fresh.clone()), options(), &mut || 99).unwrap();
    drop(journal);
    let mut bytes = fresh.bytes(FIRST).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[end + 1..].copy_from_slice(&recycled[end + 1..]);
    fresh.put(FIRST, &bytes);
    let (journal, recovery) = open(&fresh);
    assert_eq!(read_all(&journal).records, []);
    assert!(recovery.torn_bytes > 0, "what is there is not ours, and is set aside");
}

#[test]
fn a_reader_on_another_thread_sees_every_record_once_and_in_order() {
    let disk = SimDisk::new(1);
    let (mut journal, _) = open(&disk);
    let kafka = journal.register_target("kafka", 0).unwrap();
    let mut reader = journal.reader(0);
    let reading = std::thread::spawn(move || {
        let (mut batch, mut seen) = (Batch::default(), Vec::new());
        while seen.len() < 150 {
            reader.next(Some(kafka), 2000, &mut batch).unwrap();
            assert!(batch.lost().is_empty());
            seen.extend(batch.iter().map(|entry| u32::from_le_bytes(*entry.bytes.first_chunk().unwrap())));
            std::thread::yield_now();
        }
        seen
    });
    for n in 0..300_u32 {
        let mut bytes = n.to_le_bytes().to_vec();
        bytes.resize(300, 0);
        put(&mut journal, if n % 2 == 0 { kafka.mask() } else { 0 }, &bytes);
    }
    assert_eq!(reading.join().unwrap(), (0..300).step_by(2).collect::<Vec<u32>>());
}

#[test]
fn records_for_others_are_passed_over_and_the_end_moves_on() {
    let (mut journal, _) = open(&SimDisk::new(1));
    let (a, b) = (journal.register_target("a", 0).unwrap(), journal.register_target("b", 0).unwrap());
    journal
        .append(chunk(&[(a.mask(), b"a".to_vec()), (b.mask(), b"b".to_vec()), (0, b"none".to_vec())]))
        .unwrap();
    journal.append(chunk(&[(b.mask(), vec![1; 1000])])).unwrap();
    journal.commit(&mut |_| {}).unwrap();
    let its = read(&journal, 0, Some(a), 1 << 20);
    assert_eq!(its.records.iter().map(|record| &record.2[..]).collect::<Vec<_>>(), [b"a"]);
    assert_eq!(its.end, journal.durable().end());
}

#[test]
fn a_read_after_a_seek_has_that_record_however_many_frames_stand_before_it() {
    // One call passes over so many frames, whatever they hold.
    const FRAMES: u64 = 16_384;
    let (segment_bytes, reserve_bytes, limit_bytes) = (4 << 20, 4 << 20, 64 << 20);
    let options = Options { segment_bytes, reserve_bytes, limit_bytes, ..options() };
    let (mut journal, _) = try_open(&SimDisk::new(1), options).unwrap();
    let kafka = journal.register_target("kafka", 0).unwrap();
    for _ in 0..=FRAMES {
        put(&mut journal, 0, b"for nobody");
    }
    let last = put(&mut journal, kafka.mask(), b"for the target");
    let (mut reader, mut batch) = (journal.reader(0), Batch::default());
    reader.next(Some(kafka), 1, &mut batch).unwrap();
    assert!(batch.is_empty() && batch.end() < last, "one call is bounded: {}", batch.end());
    reader.seek(last);
    reader.next(Some(kafka), 1, &mut batch).unwrap();
    assert_eq!((batch.iter().next().map(|entry| entry.seq), batch.end()), (Some(last), last + 1));
}

#[test]
fn the_snapshot_is_the_owners_state_before_the_group_that_starts_the_segment() {
    let disk = SimDisk::new(1);
    let (mut journal, _) = open(&disk);
    let mut count: u64 = 0;
    while journal.stats().segments < 3 {
        journal.append(chunk(&[(0, vec![1; 900])])).unwrap();
        journal.commit(&mut |state| state.extend_from_slice(&count.to_le_bytes())).unwrap();
        count += 1;
    }
    drop(journal);
    let (journal, recovery) = open(&disk);
    let before = u64::from_le_bytes(*recovery.snapshot.first_chunk().unwrap());
    assert_eq!(recovery.snapshot_seq, before, "one record each, no control records here");
    assert_eq!(read(&journal, recovery.snapshot_seq, None, 1).records.len() as u64, count - before);
}

#[test]
fn a_snapshot_that_no_segment_takes_hands_the_group_back() {
    let (mut journal, _) = open(&SimDisk::new(1));
    let mut outcome = Ok(journal.durable());
    while outcome.is_ok() {
        journal.append(chunk(&[(0, vec![1; 900])])).unwrap();
        outcome = journal.commit(&mut |state| state.resize(1 << 20, 1));
    }
    let refused = outcome.unwrap_err();
    assert!(
        matches!(&refused, octroi_journal::CommitError::SnapshotTooLarge { chunks, .. } if chunks.len() == 1),
        "{refused}"
    );
    put(&mut journal, 0, &[2; 900]);
}

#[test]
fn what_cannot_be_staged_is_given_back_with_the_reason() {
    let (mut journal, _) = open(&SimDisk::new(1));
    let large = journal.append(chunk(&[(0, vec![1; 3000])])).unwrap_err();
    assert!(matches!(large.reason, AppendRefusal::TooLarge { max: 2048, .. }), "{large}");
    let unknown = journal.append(chunk(&[(0b10, vec![1])])).unwrap_err();
    assert_eq!(unknown.reason, AppendRefusal::UnknownTarget { unknown: 0b10 });
    let full = loop {
        if let Err(error) = journal.append(chunk(&[(0, vec![1; 1000])])) {
            break error;
        }
    };
    assert_eq!((full.reason, full.chunk.count()), (AppendRefusal::GroupFull, 1));
    let mut builder = ChunkBuilder::new(0);
    assert_eq!(builder.push(0xF0, 0, &[]), Err(PushError::ReservedKind(0xF0)));
    assert!(matches!(builder.push(1, 0, &[&vec![0; 17 << 20]]), Err(PushError::TooLarge(_))));
    assert!(builder.is_empty());
}

#[test]
fn a_seal_is_written_once_and_costs_no_sync_when_there_is_one() {
    let disk = SimDisk::new(1);
    let (mut journal, _) = open(&disk);
    put(&mut journal, 0, b"x");
    journal.seal(&mut |_| {}).unwrap();
    let syncs = disk.syncs();
    journal.seal(&mut |_| {}).unwrap();
    journal.commit(&mut |_| {}).unwrap();
    assert_eq!(disk.syncs(), syncs);
    drop(journal);
    let (mut journal, _) = open(&disk);
    let syncs = disk.syncs();
    journal.seal(&mut |_| {}).unwrap();
    assert_eq!(disk.syncs(), syncs, "the seal is recognised after a restart");
}

#[test]
fn one_group_costs_one_write_and_one_sync() {
    let disk = SimDisk::new(1);
    let (mut journal, _) = open(&disk);
    for _ in 0..3 {
        journal.append(chunk(&[(0, vec![1; 300])])).unwrap();
    }
    let (calls, syncs) = (disk.calls(), disk.syncs());
    journal.commit(&mut |_| {}).unwrap();
    assert_eq!((disk.calls() - calls, disk.syncs() - syncs), (2, 1));
}

#[test]
fn of_an_endless_crash_loop_the_newest_eight_torn_tails_are_kept() {
    let mut disk = SimDisk::new(1);
    put(&mut open(&disk).0, 0, b"x");
    for n in 0..12_u8 {
        let mut bytes = disk.bytes(FIRST).unwrap();
        bytes[5000] = n + 1;
        disk = disk.copy();
        disk.put(FIRST, &bytes);
        assert!(open(&disk).1.torn_bytes > 0);
    }
    let mut torn: Vec<String> =
        disk.list().unwrap().into_iter().filter(|name| name.ends_with(".torn")).collect();
    torn.sort();
    assert_eq!(torn.len(), 8);
    assert!(torn[0].starts_with("000005-") && torn[7].starts_with("000012-"), "{torn:?}");
}

#[test]
fn a_journal_that_is_lost_and_made_anew_has_another_generation() {
    let generations: Vec<u64> = [3, 4]
        .iter()
        .map(|seed| {
            Journal::open(Arc::new(SimDisk::new(1)), options(), &mut || *seed).unwrap().0.generation()
        })
        .collect();
    assert_ne!(generations[0], generations[1]);
    let disk = SimDisk::new(1);
    let before = open(&disk).0.generation();
    assert_eq!(open(&disk).0.generation(), before, "and keeps it over a restart");
}

#[test]
fn errors_say_what_where_and_how_to_mend_it() {
    let error = OpenError::Io {
        what: "sync",
        file: "00000000000000000000.log".to_owned(),
        source: io::Error::other("broken"),
    };
    assert_eq!(
        error.to_string(),
        "failed to sync `00000000000000000000.log` while opening the journal; check the disk and the \
         directory's rights, then start again"
    );
}
