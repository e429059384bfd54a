//! Power loss at every sync, and at every call, of seeded workloads, every other one on a disk that is full
//! once in a while.
//!
//! The oracle keeps, beside the journal, what was appended under which number and what was acknowledged.
//! `OCTROI_SEED` takes other workloads than those from 0 on; what fails says which.

use crate::support::{SEGMENT, chunk, open, options, read, read_all, seed, try_open};
use octroi_journal::sim::{Fault, Random, SimDisk};
use octroi_journal::{CommitError, Journal, Recovery};
use std::collections::BTreeMap;

/// Power losses of the test that counts them: promise D3.
const CRASHES: u64 = 100_000;
/// Of each place that power is lost at, since what survives is a matter of chance.
const CHANCES: u64 = 100;

/// Targets and content of a record.
type Record = (u64, Vec<u8>);

/// What the outside knows.
#[derive(Default)]
struct Oracle {
    /// Every record offered, by its number: targets and content.
    appended: BTreeMap<u64, Record>,
    /// Everything below was acknowledged.
    acked: u64,
    /// Cursor of each target: acknowledged, and asked for.
    cursors: BTreeMap<String, (u64, u64)>,
    /// The owner's state: records of its own so far.
    count: u64,
    generation: u64,
    finished: bool,
    /// Groups that a full disk handed back.
    fulls: u64,
}

/// A disk for the workload of that seed.
fn disk_for(seed: u64) -> SimDisk {
    let disk = SimDisk::new(seed);
    if seed % 2 == 1 {
        let mut random = Random(!seed);
        for _ in 0..16 {
            disk.fail_at_call(20 + random.next() % 120, Fault::ShortThenFull);
        }
    }
    disk
}

/// Runs until the end or until power is lost.
fn run(disk: &SimDisk, seed: u64) -> Oracle {
    let mut oracle = Oracle::default();
    oracle.finished = work(disk, seed, &mut oracle).is_some();
    oracle
}

/// `None`: power was lost on the way.
fn work(disk: &SimDisk, seed: u64, oracle: &mut Oracle) -> Option<()> {
    let mut random = Random(seed);
    let (mut journal, _) = try_open(disk, options()).ok()?;
    oracle.generation = journal.generation();
    for round in 0..22_u64 {
        if round % 11 == 10 {
            drop(journal);
            journal = try_open(disk, options()).ok()?.0;
        }
        if round == 0 || round == 5 {
            let name = format!("target-{round}");
            let start = journal.next_seq();
            journal.register_target(&name, start).unwrap();
            oracle.cursors.insert(name, (0, start));
        }
        let bits = (1_u64 << journal.targets().len()) - 1;
        let before = oracle.count;
        let chunks = random.next() % 4;
        let group: Vec<Vec<Record>> = (0..chunks).map(|_| records(&mut random, bits, oracle)).collect();
        offer(&mut journal, &group, oracle);
        if round % 3 == 2 {
            for target in journal.targets() {
                let upto = (target.cursor + random.next() % 12).min(journal.durable().end());
                journal.advance(target.bit, upto).unwrap();
                let asked = &mut oracle.cursors.get_mut(&target.name).unwrap().1;
                *asked = upto.max(*asked);
            }
        }
        let mut snapshot = |out: &mut Vec<u8>| out.extend_from_slice(&before.to_le_bytes());
        loop {
            let sealing = round % 7 == 6;
            let done = if sealing { journal.seal(&mut snapshot) } else { journal.commit(&mut snapshot) };
            match done {
                Ok(durable) => break oracle.acked = durable.end(),
                // A seal alone that found no room: its group is there.
                Err(CommitError::Full { .. }) if journal.durable().end() > oracle.acked => {
                    oracle.acked = journal.durable().end();
                    oracle.fulls += 1;
                }
                Err(CommitError::Full { chunks, .. }) => {
                    assert_eq!(chunks.len(), group.len(), "all is handed back");
                    oracle.fulls += 1;
                    // Their numbers are void.
                    oracle.appended.split_off(&oracle.acked);
                    offer(&mut journal, &group, oracle);
                }
                Err(CommitError::Failed(_)) => return None,
                Err(other) => panic!("seed {seed}: {other}"),
            }
        }
        for cursor in oracle.cursors.values_mut() {
            cursor.0 = cursor.1;
        }
        if round % 6 == 5 {
            journal.trim().ok()?;
        }
    }
    Some(())
}

fn records(random: &mut Random, bits: u64, oracle: &mut Oracle) -> Vec<Record> {
    let count = 1 + random.next() % 3;
    let record = |_| {
        let mut bytes = vec![random.next() as u8; (random.next() % 420) as usize];
        bytes.extend_from_slice(&oracle.count.to_le_bytes());
        oracle.count += 1;
        (random.next() & bits, bytes)
    };
    (0..count).map(record).collect()
}

fn offer(journal: &mut Journal, group: &[Vec<Record>], oracle: &mut Oracle) {
    for records in group {
        let seqs = journal.append(chunk(records)).unwrap();
        assert_eq!(seqs.end - seqs.start, records.len() as u64);
        oracle.appended.extend(seqs.zip(records.iter().cloned()));
    }
}

/// What the disk gives back against what the outside knows.
fn check(disk: &SimDisk, oracle: &Oracle) -> Result<(), String> {
    let (mut journal, recovery) = try_open(disk, options()).map_err(|error| error.to_string())?;
    if oracle.acked > 0 && (recovery.opened_new || journal.generation() != oracle.generation) {
        return Err("the journal was made anew".to_owned());
    }
    if recovery.is_damaged() {
        return Err(format!("{recovery:?}"));
    }
    let end = journal.next_seq();
    if end < oracle.acked {
        return Err(format!("acknowledged up to {}, recovered up to {end}", oracle.acked));
    }
    let first = journal.stats().first_seq;
    let floor = oracle.cursors.values().map(|cursor| cursor.1).min().unwrap_or(0);
    if first > floor {
        return Err(format!("trimmed up to {first}, but a target is at {floor}"));
    }
    let found = read_all(&journal);
    let known = oracle.appended.range(first..end);
    let known: Vec<_> = known.map(|(seq, (targets, bytes))| (*seq, *targets, bytes.clone())).collect();
    if !recovery.opened_new && (found.records != known || !found.lost.is_empty()) {
        return Err(format!(
            "read {} records of {}, lost {:?}",
            found.records.len(),
            known.len(),
            found.lost
        ));
    }
    for target in journal.targets() {
        let (acked, asked) = oracle.cursors[&target.name];
        if !(acked..=asked).contains(&target.cursor) {
            return Err(format!(
                "cursor of `{}` is {}, not in {acked}..={asked}",
                target.name, target.cursor
            ));
        }
        let its = read(&journal, first, Some(target.bit), 4096).records;
        if its.len() != known.iter().filter(|record| record.1 & target.bit.mask() != 0).count() {
            return Err(format!("`{}` was given other records than its own", target.name));
        }
    }
    replays(&journal, &recovery, oracle, end)?;
    let target = journal.register_target("after", end).unwrap();
    let more = journal.append(chunk(&[(target.mask(), b"after".to_vec())])).unwrap();
    journal.commit(&mut |_| {}).map_err(|error| error.to_string())?;
    if read(&journal, end, Some(target), 4096).records != [(more.start, target.mask(), b"after".to_vec())] {
        return Err("what is written after the crash is not read".to_owned());
    }
    Ok(())
}

/// The snapshot, and the records after it, give the owner's state.
fn replays(journal: &Journal, recovery: &Recovery, oracle: &Oracle, end: u64) -> Result<(), String> {
    let before = recovery.snapshot.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    let after = read(journal, recovery.snapshot_seq, None, 4096).records.len() as u64;
    let all = oracle.appended.range(..end).count() as u64;
    if before + after == all { Ok(()) } else { Err(format!("state is {before} + {after}, not {all}")) }
}

/// Power is lost at `place` of the workload of that seed, and what survives is drawn `chances` times.
fn lose_power(seed: u64, what: &str, place: impl Fn(&SimDisk), chances: u64) {
    let disk = disk_for(seed);
    place(&disk);
    let oracle = run(&disk, seed);
    for chance in 0..chances {
        if let Err(why) = check(&disk.after_crash(chance), &oracle) {
            panic!("OCTROI_SEED={seed}, {what}, chance {chance}: {why}");
        }
    }
}

#[test]
fn nothing_acknowledged_is_lost_by_a_crash_at_any_sync() {
    let first = seed();
    let (mut crashes, mut fulls, mut seed) = (0, 0, first);
    while crashes < CRASHES {
        let whole = disk_for(seed);
        let oracle = run(&whole, seed);
        assert!(oracle.finished, "OCTROI_SEED={seed}");
        fulls += oracle.fulls;
        for sync in 0..whole.syncs() {
            let at = |disk: &SimDisk| disk.fail_at_sync(sync, Fault::Crash);
            lose_power(seed, &format!("crash at sync {sync}"), at, CHANCES);
            crashes += CHANCES;
        }
        seed += 1;
    }
    println!(
        "OCTROI_SEED={first}: {crashes} power losses in {} workloads, 0 lost; {fulls} groups found the disk full",
        seed - first
    );
    assert!(crashes >= CRASHES && fulls >= 20, "{crashes} crashes, {fulls} full disks");
}

#[test]
fn nothing_acknowledged_is_lost_by_a_crash_at_any_call() {
    let first = seed();
    let mut crashes = 0;
    for seed in first..first + 8 {
        let whole = disk_for(seed);
        run(&whole, seed);
        for call in 0..whole.calls() {
            let at = |disk: &SimDisk| disk.fail_at_call(call, Fault::Crash);
            lose_power(seed, &format!("crash at call {call}"), at, 10);
            crashes += 10;
        }
    }
    println!("OCTROI_SEED={first}: {crashes} power losses, 0 lost");
    assert!(crashes >= 5_000, "{crashes} crashes");
}

/// Rule 5: what recovery serves was synced again first.
#[test]
fn a_second_crash_during_recovery_loses_nothing_more() {
    let whole = SimDisk::new(91);
    run(&whole, 91);
    for sync in 0..whole.syncs() {
        let disk = SimDisk::new(91);
        disk.fail_at_sync(sync, Fault::Crash);
        let oracle = run(&disk, 91);
        for crash in 0..4 {
            let first = disk.after_crash(crash);
            let probe = disk.after_crash(crash);
            drop(open(&probe));
            for call in 0..probe.calls() {
                let again = disk.after_crash(crash);
                again.fail_at_call(call, Fault::Crash);
                drop(try_open(&again, options()));
                if let Err(why) = check(&again.after_crash(crash + 1), &oracle) {
                    panic!("seed 91, sync {sync}, crash seed {crash}, recovery call {call}: {why}");
                }
            }
            check(&first, &oracle).unwrap();
        }
    }
}

/// What a reader was shown after recovery is there after the next crash, whatever that keeps.
#[test]
fn what_recovery_serves_survives_the_next_crash() {
    let whole = SimDisk::new(92);
    run(&whole, 92);
    for sync in 0..whole.syncs() {
        let disk = SimDisk::new(92);
        disk.fail_at_sync(sync, Fault::Crash);
        run(&disk, 92);
        for crash in 0..4 {
            let disk = disk.after_crash(crash);
            let (journal, _) = open(&disk);
            let served = read_all(&journal);
            drop(journal);
            let (journal, _) = open(&disk.after_crash(crash + 1));
            assert_eq!(read_all(&journal), served, "sync {sync}, crash seed {crash}");
        }
    }
}

#[test]
fn the_crash_check_sees_a_disk_whose_sync_lies() {
    let mut seen = 0;
    for crash in 0..40 {
        let disk = SimDisk::new(3);
        run(&disk, 4);
        let lying = disk.copy();
        lying.set_sync_lies(true);
        let (mut journal, _) = open(&lying);
        let mut oracle = Oracle { generation: journal.generation(), ..Oracle::default() };
        for n in 0..8_u8 {
            let seqs = journal.append(chunk(&[(0, vec![n; 600])])).unwrap();
            oracle.acked = journal.commit(&mut |_| {}).unwrap().end();
            oracle.appended.extend(seqs.map(|seq| (seq, (0, vec![n; 600]))));
        }
        drop(journal);
        seen += u32::from(
            check(&lying.after_crash(crash), &oracle).is_err_and(|why| why.contains("acknowledged")),
        );
    }
    assert!(seen >= 10, "the loss was seen in {seen} of 40 crashes");
}

#[test]
fn a_torn_tail_is_set_aside_reported_and_cut() {
    let mut torn = 0;
    for crash in 0..40 {
        let disk = SimDisk::new(5);
        let (mut journal, _) = open(&disk);
        journal.append(chunk(&[(0, vec![1; 100])])).unwrap();
        journal.commit(&mut |_| {}).unwrap();
        journal.append(chunk(&[(0, vec![2; 1800])])).unwrap();
        journal.append(chunk(&[(0, vec![3; 1800])])).unwrap();
        disk.fail_at_sync(0, Fault::Crash);
        assert!(journal.commit(&mut |_| {}).is_err());
        let crashed = disk.after_crash(crash);
        let before = crashed.bytes("00000000000000000000.log").unwrap();
        let (journal, recovery) = open(&crashed);
        assert_eq!(recovery.set_aside.is_some(), recovery.torn_bytes > 0, "crash seed {crash}");
        if let Some(name) = &recovery.set_aside {
            torn += 1;
            let kept = crashed.bytes(name).unwrap();
            assert_eq!(kept.len() as u64, recovery.torn_bytes);
            assert!(before.windows(kept.len()).any(|window| window == kept), "the tail is kept as it was");
            let cut = crashed.bytes("00000000000000000000.log").unwrap();
            assert_eq!(cut.len() as u64, SEGMENT);
        }
        assert!(!recovery.is_damaged());
        assert!(read_all(&journal).lost.is_empty());
        drop(journal);
        assert_eq!(open(&crashed).1.torn_bytes, 0, "the second opening finds nothing to mend");
    }
    assert!(torn >= 10, "{torn}");
}
