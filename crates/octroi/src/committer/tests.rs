//! The owner's thread, stepped, on a disk that fills up and gives room again.

use octroi_journal::sim::SimDisk;
use octroi_journal::{Batch, Options, Reader};

use super::*;
use crate::record::{Exchanges, Step};

/// A quarter of what a segment takes.
const CHUNK_BYTES: usize = 12 << 10;

struct Rig {
    disk: SimDisk,
    committer: Committer,
    reader: Reader,
}

impl Rig {
    fn new() -> Self {
        let disk = SimDisk::new(1);
        let (segment_bytes, reserve_bytes, limit_bytes) = (64 << 10, 64 << 10, 64 << 20);
        let options = Options { hub: "hub-1".into(), segment_bytes, limit_bytes, reserve_bytes };
        let (journal, _recovery) = Journal::open(Arc::new(disk.clone()), options, &mut || 1).unwrap();
        let (reader, metrics) = (journal.reader(0), Arc::new(Metrics::new("test").unwrap()));
        let (inbox, watermark, view) = Default::default();
        let (ledger, most) = (Ledger::default(), Box::new(|_: &str| u64::MAX));
        let committer = Committer::new((journal, most), ledger, inbox, watermark, view, metrics);
        Self { disk, committer, reader }
    }

    /// Hands over a chunk told apart by its first byte; the answer is its publisher's.
    fn hand_over(&self, name: u8) -> oneshot::Receiver<Acked> {
        let mut records = ChunkBuilder::new(CHUNK_BYTES);
        records.push(RecordKind::Message as u8, 0, &[&[name; CHUNK_BYTES]]).unwrap();
        let (done, told) = oneshot::channel();
        let (chunk, tally) = (records.finish(), Tally::default());
        self.committer.inbox.append(Append { chunk, tally, by: None, budget: None, done });
        told
    }

    fn step(&mut self) {
        let ended = self.committer.step(Patience::Never, &|| Duration::ZERO);
        assert!(ended.is_none(), "{ended:?}");
    }

    /// The disk has no room for another segment, and the one that is written none for a chunk: how many were
    /// written until then, and the answer of the first that was not.
    fn fill(&mut self) -> (usize, oneshot::Receiver<Acked>) {
        self.disk.set_capacity(Some(self.disk.allocated()));
        for written in 0.. {
            let mut told = self.hand_over(b'-');
            self.step();
            if told.try_recv().is_err() {
                return (written, told);
            }
        }
        panic!("it takes everything");
    }

    fn written(&mut self) -> String {
        let mut batch = Batch::default();
        self.reader.seek(0);
        self.reader.next(None, usize::MAX, &mut batch).unwrap();
        let messages = batch.iter().filter(|entry| entry.kind == RecordKind::Message as u8);
        messages.map(|entry| char::from(entry.bytes[0])).collect()
    }
}

#[test]
fn what_came_behind_a_chunk_that_was_let_go_does_not_overtake_what_comes_again() {
    let mut rig = Rig::new();
    let (written, first) = rig.fill();
    let (second, mut other) = (rig.hand_over(b'b'), rig.hand_over(b'o'));
    rig.step();
    assert!(other.try_recv().is_err() && rig.written() == "-".repeat(written), "there is no room");
    // Their publisher was told to keep both.
    drop((first, second));
    rig.disk.set_capacity(None);
    rig.step();
    rig.step();
    assert!(other.try_recv().is_ok(), "another's is written");
    let mut again = [b'a', b'b'].map(|name| rig.hand_over(name));
    rig.step();
    assert!(again.iter_mut().all(|told| told.try_recv().is_ok()), "they come again");
    drop(rig.hand_over(b'c'));
    rig.step();
    assert_eq!(rig.written(), format!("{}oabc", "-".repeat(written)));
}

#[test]
fn what_came_behind_a_chunk_that_waits_is_written_behind_it_whoever_is_left_to_be_told() {
    let mut rig = Rig::new();
    let (written, mut first) = rig.fill();
    drop(rig.hand_over(b'b'));
    rig.step();
    rig.disk.set_capacity(None);
    rig.step();
    rig.step();
    assert!(first.try_recv().is_ok());
    assert_eq!(rig.written(), format!("{}-b", "-".repeat(written)));
}

/// Longer than any wait of a test that works.
const LONG: Duration = Duration::from_secs(60);

#[test]
fn an_owner_that_sleeps_is_woken_by_what_arrives_and_takes_it_once() {
    let inbox = Inbox::default();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for target in 0..2_000 {
                let (done, _) = oneshot::channel();
                inbox.control(Control::Barrier { done });
                // Now and then the owner has gone to sleep by then.
                if target % 100 == 0 {
                    std::thread::yield_now();
                }
            }
        });
        let mut taken = 0;
        while taken < 2_000 {
            let (chunks, controls) = inbox.take(false, LONG);
            assert!(chunks.is_empty() && !controls.is_empty(), "after {taken}");
            taken += controls.len();
        }
    });
}

#[test]
fn a_reader_that_waits_is_woken_when_the_watermark_passes_what_it_has_seen() {
    let watermark = Watermark::default();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for seen in 0..100 {
                    watermark.wait_past(seen, LONG);
                    assert!(watermark.get() > seen, "it was not woken");
                }
            });
        }
        for next in 1..=100 {
            std::thread::yield_now();
            watermark.publish(0, next);
        }
    });
}

#[test]
fn sessions_are_kept_and_not_shown_and_a_storm_of_them_shows_nothing_anew() {
    let mut rig = Rig::new();
    let view = Arc::clone(&rig.committer.view);
    let note = |rig: &mut Rig, kind, bytes| {
        rig.committer.inbox.control(Control::Note { kind, bytes, done: None });
        rig.step();
    };
    // From here on nothing is due to be shown for its age.
    let before = view.load_full();
    for client in 0..100 {
        let session = crate::ledger::session_record(&format!("id:a\0c{client}"), 60);
        note(&mut rig, RecordKind::SessionOpened, session);
    }
    assert_eq!(rig.committer.ledger.sessions.len(), 100);
    assert!(Arc::ptr_eq(&view.load_full(), &before), "each of them would be shown all the others");
    let epoch = crate::ledger::epoch_record("abcd", octroi_policy::Timestamp(5));
    note(&mut rig, RecordKind::Epoch, epoch);
    let after = view.load_full();
    assert_eq!((&*after.ledger.epoch.policy, after.ledger.sessions.len()), ("abcd", 0));
    assert_eq!(rig.committer.ledger.without_sessions(), after.ledger);
}

/// Clients name their sessions and packet identifiers, and all of them stand at the head of each segment.
#[test]
fn sessions_take_their_part_of_the_state_and_the_journal_goes_on() {
    let mut rig = Rig::new();
    let most = rig.committer.sessions_most;
    let session = |number: u64| format!("id:a\0{number:0100}");
    let open = |rig: &mut Rig, number| {
        let bytes = crate::ledger::session_record(&session(number), 60);
        let (done, mut told) = oneshot::channel();
        rig.committer.inbox.control(Control::Note {
            kind: RecordKind::SessionOpened,
            bytes,
            done: Some(done),
        });
        rig.step();
        told.try_recv().is_ok()
    };
    let promised = (0..100).take_while(|number| open(&mut rig, *number)).count();
    assert!((20..40).contains(&promised), "{promised} of some 110 bytes in {most}");
    // Packet identifiers of a session that is on record find no more room than another session.
    let exchange = |rig: &Rig, steps: Vec<Step>| {
        let (done, told) = oneshot::channel();
        let exchanges = Exchanges { session: session(0), steps };
        let tally = Tally { exchanges: Some(exchanges), ..Tally::default() };
        let mut records = ChunkBuilder::new(0);
        records.push(RecordKind::Message as u8, 0, &[b"q"]).unwrap();
        let append = Append { chunk: records.finish(), tally, by: Some("id:a".into()), budget: None, done };
        rig.committer.inbox.append(append);
        told
    };
    let mut opened = exchange(&rig, (0..20).map(Step::Opened).collect());
    // Everything else goes on, over segments that begin with that state.
    let segment = rig.committer.journal.stats().active_seq;
    for _ in 0..20 {
        let mut told = rig.hand_over(b'-');
        rig.step();
        assert!(told.try_recv().is_ok());
        assert!(rig.committer.ledger.session_bytes() <= most);
    }
    assert!(rig.committer.journal.stats().active_seq > segment, "another segment began");
    assert!(opened.try_recv().is_err(), "it waits");
    for number in 1..4 {
        let bytes = crate::ledger::session_ended_record(&session(number));
        rig.committer.inbox.control(Control::Note { kind: RecordKind::SessionEnded, bytes, done: None });
    }
    rig.step();
    rig.step();
    assert!(opened.try_recv().is_ok(), "there is room again");
    assert_eq!(rig.committer.ledger.open_exchanges(&session(0)).len(), 20);
}
