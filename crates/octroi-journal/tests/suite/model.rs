//! Any sequence of actions equals a `VecDeque`.

use crate::support::{SEGMENT, chunk, open, options, read, try_open};
use octroi_journal::sim::SimDisk;
use octroi_journal::{AppendRefusal, Journal, Options, TargetBit};
use proptest::prelude::*;
use std::collections::VecDeque;

#[derive(Debug, Clone)]
enum Action {
    /// Sizes and targets of the records of one chunk.
    Append(Vec<(u16, u8)>),
    Commit,
    Seal,
    /// Which target (or all), and how many bytes at once.
    Read(Option<u8>, u16),
    /// A seek into the middle.
    Seek(u16),
    /// Which target, and how far beyond its cursor.
    Advance(u8, u16),
    Trim,
    Register,
    Retire(u8),
    Reopen,
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        6 => prop::collection::vec((0..700_u16, any::<u8>()), 0..5).prop_map(Action::Append),
        6 => Just(Action::Commit),
        1 => Just(Action::Seal),
        3 => (prop::option::of(0..4_u8), any::<u16>()).prop_map(|(target, bytes)| Action::Read(target, bytes)),
        1 => any::<u16>().prop_map(Action::Seek),
        3 => (0..4_u8, 0..40_u16).prop_map(|(target, by)| Action::Advance(target, by)),
        2 => Just(Action::Trim),
        1 => Just(Action::Register),
        1 => (0..4_u8).prop_map(Action::Retire),
        2 => Just(Action::Reopen),
    ]
}

/// What a journal is, without a disk.
#[derive(Default)]
struct Model {
    records: VecDeque<(u64, u64, Vec<u8>)>,
    staged: Vec<(u64, u64, Vec<u8>)>,
    /// Live targets: bit, cursor, and cursor asked for.
    targets: Vec<(TargetBit, u64, u64)>,
    /// Registered or retired since the last commit.
    registered: u32,
    names: u32,
    durable: u64,
}

impl Model {
    fn committed(&mut self, end: u64) {
        self.records.extend(self.staged.drain(..));
        self.durable = end;
        for target in &mut self.targets {
            target.1 = target.2;
        }
    }

    fn check(&self, journal: &Journal, target: Option<TargetBit>, from: u64, max_bytes: usize) {
        let found = read(journal, from, target, max_bytes);
        let mask = target.map_or(u64::MAX, TargetBit::mask);
        let all = target.is_none();
        let wanted = |record: &&(u64, u64, Vec<u8>)| record.0 >= from && (all || record.1 & mask != 0);
        let known: Vec<_> = self.records.iter().filter(wanted).cloned().collect();
        assert_eq!(found.records, known);
        assert_eq!(found.lost, []);
        assert_eq!(found.end, self.durable.max(from));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_actions_equals_a_queue(actions in prop::collection::vec(action(), 1..120)) {
        let disk = SimDisk::new(1);
        let options = Options { limit_bytes: 20 * SEGMENT, ..options() };
        let (mut journal, _) = try_open(&disk, options.clone()).unwrap();
        let mut model = Model::default();
        for action in actions {
            match action {
                Action::Append(records) => {
                    let live = model.targets.iter().fold(0, |bits, target| bits | target.0.mask());
                    let records: Vec<(u64, Vec<u8>)> = records
                        .into_iter()
                        .map(|(size, targets)| (u64::from(targets) & live, vec![size as u8; usize::from(size)]))
                        .collect();
                    match journal.append(chunk(&records)) {
                        Ok(seqs) => {
                            assert_eq!(seqs.end - seqs.start, records.len() as u64);
                            let numbered = seqs.zip(records).map(|(seq, (targets, bytes))| (seq, targets, bytes));
                            model.staged.extend(numbered);
                        }
                        Err(error) => {
                            let full = matches!(error.reason, AppendRefusal::Full { .. } | AppendRefusal::GroupFull);
                            let large = matches!(error.reason, AppendRefusal::TooLarge { .. });
                            assert!(full || large && error.chunk.frame_bytes() > SEGMENT / 4, "{error}");
                        }
                    }
                }
                Action::Commit => {
                    let durable = journal.commit(&mut |_| {}).unwrap();
                    model.committed(durable.end());
                    model.registered = 0;
                }
                Action::Seal => {
                    let durable = journal.seal(&mut |_| {}).unwrap();
                    assert!(journal.stats().sealed);
                    model.committed(durable.end());
                    model.registered = 0;
                }
                Action::Read(which, max_bytes) => {
                    let target = which.and_then(|which| model.targets.get(usize::from(which))).map(|t| t.0);
                    let from = journal.stats().first_seq;
                    model.check(&journal, target, from, usize::from(max_bytes));
                }
                Action::Seek(to) => {
                    let first = journal.stats().first_seq;
                    let from = first + u64::from(to) % (journal.durable().end() - first + 1);
                    model.check(&journal, None, from, 1000);
                }
                Action::Advance(which, by) => {
                    let end = journal.durable().end();
                    if let Some(target) = model.targets.get_mut(usize::from(which)) {
                        let upto = (target.2 + u64::from(by)).min(end);
                        if journal.advance(target.0, upto).is_ok() {
                            target.2 = target.2.max(upto);
                        }
                    }
                }
                Action::Trim => {
                    journal.trim().unwrap();
                    let first = journal.stats().first_seq;
                    let floor = model.targets.iter().map(|target| target.1).min().unwrap_or(u64::MAX);
                    assert!(first <= floor, "trimmed to {first}, a target is at {floor}");
                    model.records.retain(|record| record.0 >= first);
                }
                Action::Register => {
                    if model.targets.len() < 4 {
                        let start = journal.durable().end();
                        model.names += 1;
                        let name = format!("t{}", model.names);
                        if let Ok(bit) = journal.register_target(&name, start) {
                            assert!(model.targets.iter().all(|target| target.0 < bit), "bits only grow");
                            model.targets.push((bit, start, start));
                            model.registered += 1;
                        }
                    }
                }
                Action::Retire(which) => {
                    if usize::from(which) < model.targets.len() {
                        let target = model.targets.remove(usize::from(which));
                        assert!(journal.retire_target(target.0));
                        assert!(!journal.retire_target(target.0));
                        model.registered += 1;
                    }
                }
                Action::Reopen => {
                    if model.registered > 0 {
                        // What is not committed is not there any more: keep the model simple.
                        let durable = journal.commit(&mut |_| {}).unwrap();
                        model.committed(durable.end());
                        model.registered = 0;
                    }
                    drop(journal);
                    model.staged.clear();
                    let (again, recovery) = try_open(&disk, options.clone()).unwrap();
                    assert!(!recovery.is_damaged() && recovery.torn_bytes == 0 && !recovery.opened_new);
                    journal = again;
                    for target in &mut model.targets {
                        target.2 = target.1;
                    }
                }
            }
            assert!(journal.stats().bytes_on_disk <= journal.stats().limit);
            assert_eq!(journal.durable().end(), model.durable);
            let cursors: Vec<_> = journal.targets().iter().map(|target| (target.bit, target.cursor)).collect();
            let known: Vec<_> = model.targets.iter().map(|target| (target.0, target.1)).collect();
            assert_eq!(cursors, known);
        }
        let from = journal.stats().first_seq;
        model.check(&journal, None, from, 1);
    }
}

#[test]
fn a_batch_is_bounded_and_a_read_goes_on_where_it_stopped() {
    let (mut journal, _) = open(&SimDisk::new(1));
    for n in 0..10_u8 {
        journal.append(chunk(&[(0, vec![n; 100]), (0, vec![n; 100])])).unwrap();
        journal.commit(&mut |_| {}).unwrap();
    }
    let mut reader = journal.reader(0);
    let mut batch = octroi_journal::Batch::default();
    let mut sizes = Vec::new();
    while reader.durable().covers(batch.end()) {
        reader.next(None, 500, &mut batch).unwrap();
        sizes.push(batch.len());
    }
    assert_eq!(sizes, [4, 4, 4, 4, 4], "two frames of 226 bytes each time");
}
