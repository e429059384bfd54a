//! A hub in miniature: journal, committer, side logs, keeper, and a relay to an
//! outlet that only writes down what it is offered.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::sync::mpsc::SyncSender;
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use octroi_journal::{ChunkBuilder, Journal, Options, RealDisk, Recovery};
use octroi_policy::{Input, Level};
use tempfile::TempDir;
use tokio::time::Instant;

use super::super::leave::Leaving;
use super::super::*;
use crate::backlog::{Directory, Lane, Place as BacklogPlace, Source};
use crate::clock::Clock;
use crate::committer::{Append, Committer, Control, JournalView};
use crate::gate::tests::{CAMERA, Edits, Key, at, compiled};
use crate::ledger::{Balance, Ledger, Tally, stored};
use crate::metrics::Metrics;
use crate::outlet::{Bounds, DeliverError, Delivered, Outgoing, Outlet, Progress};
use crate::pipeline::{Relay, RelayView};
use crate::policies::{Active, Bits, Store};
use crate::record::{Origin, What};
use crate::status::OutletState;

pub(crate) const DAY: i64 = 86_400_000_000;

struct Manual(AtomicI64);

impl Clock for Manual {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }
}

/// Where a hub lives, through its restarts.
pub(crate) struct Place {
    directory: TempDir,
    clock: Arc<Manual>,
    entropy: AtomicU64,
}

impl Place {
    pub(crate) fn new(now: &str) -> Self {
        let clock = Arc::new(Manual(AtomicI64::new(at(now).0)));
        Self { directory: TempDir::new().unwrap(), clock, entropy: AtomicU64::new(7) }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn set(&self, micros: i64) {
        self.clock.0.store(micros, Ordering::Relaxed);
    }

    /// A bit rots in the journal, where these bytes stand.
    pub(crate) fn rot(&self, bytes: &str) {
        for file in std::fs::read_dir(self.path("journal")).unwrap() {
            let path = file.unwrap().path();
            let mut content = std::fs::read(&path).unwrap();
            if let Some(found) = content.windows(bytes.len()).position(|window| window == bytes.as_bytes()) {
                content[found] ^= 1;
                // In place: who has the file open reads it so.
                return std::fs::write(path, content).unwrap();
            }
        }
        panic!("{bytes} is not in the journal");
    }

    fn journal(&self, name: &str) -> (Journal, Recovery) {
        let disk = RealDisk::new(self.path(name)).unwrap();
        let (segment_bytes, reserve_bytes) = (4 << 20, 4 << 20);
        let limit_bytes = if name == "journal" { 256 << 20 } else { 64 << 20 };
        let options = Options { hub: "hub-1".into(), segment_bytes, limit_bytes, reserve_bytes };
        Journal::open(Arc::new(disk), options, &mut || self.entropy.fetch_add(1, Ordering::Relaxed)).unwrap()
    }

    /// Starts under this policy.
    pub(crate) fn open(&self, edits: &Edits) -> Hub {
        let (mut journal, recovery) = self.journal("journal");
        let ledger = crate::server::replay(&journal, &recovery).unwrap();
        let metrics = Arc::new(Metrics::new("test").unwrap());
        let (policy, files) = compiled(edits);
        let names: Vec<String> = policy.targets().iter().map(|target| target.id.clone()).collect();
        let head = journal.next_seq();
        let bits = Bits::names(&names).map(|name| journal.register_target(&name, head).unwrap());
        let bits = Bits::from_list(bits.collect()).unwrap();
        journal.seal(&mut |out| ledger.write_snapshot(out)).unwrap();
        let store = Store::open(self.path("policies")).unwrap();
        let active = Active::new(policy, 0, self.now(), bits.clone(), &metrics);
        Policies::keep(&store, &active, &files).unwrap();
        let policies = Arc::new(Policies::new(active, store));
        let clock =
            Arc::new(PolicyClock::new(Arc::clone(&self.clock) as _, Timestamp(ledger.tally.latest.max(0))));
        let (state, _) = State::open(&self.path("state")).unwrap();
        let (state, inbox, watermark) =
            (Arc::new(state), Arc::<Inbox>::default(), Arc::<Watermark>::default());
        let view: Arc<ArcSwap<JournalView>> = Arc::default();
        let feed = |bit: TargetBit| {
            let cursor = journal.targets().iter().find(|target| target.bit == bit).unwrap().cursor;
            Feed::new(bit, journal.reader(cursor), cursor)
        };
        let side_log = |log: Log| {
            let (journal, recovery) = self.journal(log.name());
            SideLog::recover(log, journal, &recovery).unwrap()
        };
        let (keeper, requests) = Keeper::new();
        let (errands, asked) = sync_channel(limits::ERRANDS);
        let on_record = policies.current().epoch(Timestamp(ledger.tally.latest.max(0)).date());
        let keeping = Keeping {
            requests,
            errands: asked,
            quarantine: side_log(Log::Quarantine),
            hold: side_log(Log::Hold),
            feeds: [feed(bits.quarantine), feed(bits.hold)],
            generation: journal.generation(),
            inbox: Arc::clone(&inbox),
            watermark: Arc::clone(&watermark),
            policies: Arc::clone(&policies),
            clock: Arc::clone(&clock),
            state,
            stop: Arc::default(),
            leaving: Leaving::new(ledger.fate.clone(), on_record),
        };
        let reader = journal.reader(0);
        let committer = Committer::new(
            (journal, Box::new(|_| u64::MAX)),
            ledger,
            Arc::clone(&inbox),
            Arc::clone(&watermark),
            Arc::clone(&view),
            Arc::clone(&metrics),
        );
        let began = Instant::now();
        let committer = std::thread::spawn(move || drop(committer.run(|| began.elapsed())));
        let directory = self.path("backlog");
        Hub { keeping, keeper: Arc::new(keeper), errands, view, metrics, clock, reader, committer, directory }
    }
}

/// A hub whose keeper a test drives.
pub(crate) struct Hub {
    pub(crate) keeping: Keeping,
    pub(crate) clock: Arc<PolicyClock>,
    keeper: Arc<Keeper>,
    errands: SyncSender<Errand>,
    pub(crate) view: Arc<ArcSwap<JournalView>>,
    metrics: Arc<Metrics>,
    reader: Reader,
    committer: JoinHandle<()>,
    directory: PathBuf,
}

pub(crate) fn is_idle(hub: &Hub) -> bool {
    hub.keeping.leaving.is_idle()
}

impl Hub {
    /// A message of the camera's, decided, on record and acknowledged. What is refused is not kept.
    pub(crate) fn publish(&self, (topic, payload): (&str, &str)) {
        let active = self.keeping.policies.current();
        let received = self.clock.now();
        let source = active.policy.source(CAMERA).unwrap();
        let input = Input { source, topic, payload: payload.as_bytes(), user_properties: &[], received };
        let decision = active.policy.decide(&input);
        let Some(outcome) = stored(decision.outcome.clone()) else { return };
        let targets = match &outcome {
            StoredOutcome::Routed { .. } => active.targets(&outcome),
            StoredOutcome::Quarantined(_) => active.bits.quarantine.mask(),
            StoredOutcome::Held(..) => active.bits.hold.mask(),
        };
        let mut tally = Tally { received: 1, ..Tally::default() };
        tally.message(&outcome, targets, received);
        let message = Message {
            policy: active.policy64,
            received,
            origin: None,
            time: decision.time,
            outcome,
            label: decision.label,
            domain: decision.domain,
            commune: "35238",
            identity: CAMERA,
            device: decision.device.as_deref().unwrap_or_default(),
            topic,
            retain: false,
            user_properties: Vec::new(),
            payload: payload.as_bytes(),
        };
        let (mut header, mut records) = (Vec::new(), ChunkBuilder::new(1 << 10));
        message.write_header(&mut header);
        records.push(RecordKind::Message as u8, targets, &[&header, payload.as_bytes()]).unwrap();
        let (done, told) = oneshot::channel();
        self.keeping.inbox.append(Append { chunk: records.finish(), tally, by: None, budget: None, done });
        told.blocking_recv().unwrap();
    }

    pub(crate) fn activate(&self, edits: &Edits) {
        let (policy, files) = compiled(edits);
        let names: Vec<String> = policy.targets().iter().map(|target| target.id.clone()).collect();
        let (reply, bits) = oneshot::channel();
        self.keeping.inbox.control(Control::Register { names: Bits::names(&names).collect(), reply });
        let bits = Bits::from_list(bits.blocking_recv().unwrap()).unwrap();
        let active = Active::new(policy, 0, self.clock.now(), bits, &self.metrics);
        self.keeping.policies.put_in_force(active, &files).unwrap();
    }

    /// Asks for everything in quarantine.
    pub(crate) fn ask(&self, what: What, dry_run: bool) -> oneshot::Receiver<Report> {
        let (reply, told) = oneshot::channel();
        let pick = Pick { all: true, ..Pick::default() };
        let why = "a test".to_owned();
        self.errands.send(Errand { log: Log::Quarantine, what, why, pick, from: 0, dry_run, reply }).unwrap();
        told
    }

    /// One step of the keeper, and all that it handed to the journal on disk. Says whether it did anything.
    pub(crate) fn step(&mut self) -> bool {
        let mut batch = Batch::default();
        let mut moved = self.keeping.turn(&mut batch).unwrap();
        while let Ok(request) = self.keeping.requests.0.try_recv() {
            self.keeping.serve(request).unwrap();
            moved = true;
        }
        let (done, told) = oneshot::channel();
        self.keeping.inbox.control(Control::Barrier { done });
        told.blocking_recv().unwrap();
        moved
    }

    /// Steps until there is nothing to do.
    pub(crate) fn settle(&mut self) {
        let mut quiet = 0;
        while quiet < 3 {
            quiet = if self.step() || !is_idle(self) { 0 } else { quiet + 1 };
        }
    }

    /// Steps until something holds.
    #[track_caller]
    pub(crate) fn until(&mut self, holds: impl Fn(&Self) -> bool) {
        let began = Instant::now();
        while !holds(self) {
            self.step();
            assert!(began.elapsed().as_secs() < 20, "it does not come to hold");
        }
        self.settle();
    }

    /// Everything ends where it is.
    pub(crate) fn crash(self) {
        self.keeping.inbox.control(Control::Stop);
        self.committer.join().unwrap();
    }

    pub(crate) fn state(&self) -> &State {
        &self.keeping.state
    }

    pub(crate) fn kept(&self, log: Log) -> u64 {
        self.state().from(log, 0, usize::MAX).len() as u64
    }

    pub(crate) fn bytes(&self, log: Log) -> u64 {
        match log {
            Log::Quarantine => self.keeping.quarantine.bytes(),
            Log::Hold => self.keeping.hold.bytes(),
        }
    }

    /// What the journal adds up to, once all that was handed over is shown.
    pub(crate) fn ledger(&self) -> Ledger {
        let (done, told) = oneshot::channel();
        let (kind, bytes) = (RecordKind::Boundary, 0_i64.to_le_bytes().to_vec());
        // A note is shown at once.
        self.keeping.inbox.control(Control::Note { kind, bytes, done: Some(done) });
        told.blocking_recv().unwrap();
        let (done, told) = oneshot::channel();
        self.keeping.inbox.control(Control::Barrier { done });
        told.blocking_recv().unwrap();
        self.view.load().ledger.clone()
    }

    pub(crate) fn balance(&self) -> Balance {
        self.ledger().tally.balance()
    }

    fn messages<R>(&self, mut of: impl FnMut(u64, &Message<'_>) -> Option<R>) -> Vec<R> {
        let (mut reader, mut batch, mut found) = (self.reader.at(0), Batch::default(), Vec::new());
        loop {
            reader.next(None, 1 << 20, &mut batch).unwrap();
            if batch.end() >= self.keeping.watermark.get() && batch.is_empty() {
                return found;
            }
            for entry in batch.iter().filter(|entry| entry.kind == RecordKind::Message as u8) {
                found.extend(of(entry.seq, &Message::read(entry.bytes).unwrap()));
            }
        }
    }

    /// Messages in the journal that come from a side log: origin, topic, when they were received.
    pub(crate) fn released(&self) -> Vec<(Origin, String, Timestamp)> {
        self.messages(|_, message| Some((message.origin?, message.topic.to_owned(), message.received)))
    }

    pub(crate) fn first_message(&self) -> u64 {
        self.messages(|seq, _| Some(seq))[0]
    }

    /// Nearly a megabyte of the journal that is for nobody.
    pub(crate) fn fill(&self) {
        let mut records = ChunkBuilder::new(1 << 20);
        records.push(RecordKind::Boundary as u8, 0, &[&vec![0; 900 << 10]]).unwrap();
        let (done, told) = oneshot::channel();
        let (chunk, tally) = (records.finish(), Tally::default());
        self.keeping.inbox.append(Append { chunk, tally, by: None, budget: None, done });
        told.blocking_recv().unwrap();
    }

    /// A target's backlog, where its relay reads, and from where on.
    pub(crate) fn lane(&self, target: &str, view: &Arc<ArcSwap<RelayView>>) -> (Lane, Source, u64) {
        let bit = self.keeping.policies.current().bit_of(target).unwrap();
        let directory = self.directory.join(target);
        std::fs::create_dir_all(&self.directory).unwrap();
        let path = directory.clone();
        let open = move || {
            let (segment_bytes, reserve_bytes) = (4 << 20, 4 << 20);
            let options =
                Options { hub: "hub-1".into(), segment_bytes, limit_bytes: 64 << 20, reserve_bytes };
            Ok(Journal::open(Arc::new(RealDisk::new(&path)?), options, &mut || 5)?)
        };
        let home = Box::new(Directory { path: directory, open });
        let place = BacklogPlace { target: target.to_owned(), bit, home };
        Lane::recover(place, &self.reader, &self.view.load(), Arc::clone(view), Instant::now()).unwrap()
    }

    /// A relay to this target, in a thread of its own.
    pub(crate) fn relay(&self, target: &str, outbox: &Outbox) -> Relaying {
        let (_, source, start) = self.lane(target, &Arc::default());
        self.relay_from(target, (source, start), outbox)
    }

    pub(crate) fn relay_from(
        &self,
        target: &str,
        (reader, start): (Source, u64),
        outbox: &Outbox,
    ) -> Relaying {
        let active = self.keeping.policies.current();
        let bit = active.bit_of(target).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let relay = Relay {
            target: target.to_owned(),
            bit,
            generation: self.keeping.generation,
            reader,
            outlet: Box::new(outbox.clone()),
            origin: format!("hub-1/{:016x}", self.keeping.generation),
            policies: Arc::clone(&self.keeping.policies),
            clock: Arc::clone(&self.clock),
            keys: Arc::new(Key),
            inbox: Arc::clone(&self.keeping.inbox),
            watermark: Arc::clone(&self.keeping.watermark),
            journal: Arc::clone(&self.view),
            keeper: Arc::clone(&self.keeper),
            metrics: self.metrics.target(target),
            view: Arc::new(ArcSwap::from_pointee(RelayView::default())),
            stop: Arc::clone(&stop),
        };
        let thread = std::thread::spawn(move || relay.run(start, Instant::now).unwrap());
        Relaying { thread, stop }
    }
}

/// A relay that runs.
pub(crate) struct Relaying {
    thread: JoinHandle<()>,
    stop: Arc<AtomicBool>,
}

impl Relaying {
    pub(crate) fn end(self) {
        self.stop.store(true, Ordering::Release);
        self.thread.join().unwrap();
    }
}

/// An outlet that writes down what it is offered, queues it, and acknowledges unless told to take nothing.
#[derive(Clone, Default)]
pub(crate) struct Outbox(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    offered: Vec<u64>,
    queue: Vec<(u64, String)>,
    acknowledged: Vec<(u64, String)>,
    ids: Vec<String>,
    takes_nothing: bool,
    refuses: Option<&'static str>,
    polls: u64,
}

impl Outbox {
    pub(crate) fn take_nothing(&self, nothing: bool) {
        self.0.lock().unwrap().takes_nothing = nothing;
    }

    /// What has this topic is refused, alone.
    pub(crate) fn refuse(&self, topic: &'static str) {
        self.0.lock().unwrap().refuses = Some(topic);
    }

    pub(crate) fn offered(&self) -> Vec<u64> {
        self.0.lock().unwrap().offered.clone()
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        self.0.lock().unwrap().ids.clone()
    }

    pub(crate) fn queued(&self) -> usize {
        self.0.lock().unwrap().queue.len()
    }

    pub(crate) fn polls(&self) -> u64 {
        self.0.lock().unwrap().polls
    }

    pub(crate) fn acknowledged(&self) -> Vec<u64> {
        self.0.lock().unwrap().acknowledged.iter().map(|(seq, _)| *seq).collect()
    }

    pub(crate) fn topics(&self) -> Vec<String> {
        self.0.lock().unwrap().acknowledged.iter().map(|(_, topic)| topic.clone()).collect()
    }
}

impl Outlet for Outbox {
    fn offer(&mut self, record: &Outgoing<'_>) -> Result<(), DeliverError> {
        let (event, mut seen) = (record.event(), self.0.lock().unwrap());
        seen.offered.push(event.seq);
        seen.ids.push(event.id.to_owned());
        seen.queue.push((event.seq, event.topic.to_owned()));
        Ok(())
    }

    fn poll(&mut self, wait: Duration, _: Timestamp) -> Result<Progress, DeliverError> {
        std::thread::park_timeout(wait);
        let mut seen = self.0.lock().unwrap();
        seen.polls += 1;
        let mut progress = Progress { state: OutletState::Up, ..Progress::default() };
        if let Some((seq, _)) = seen.queue.first().filter(|(_, topic)| Some(topic.as_str()) == seen.refuses) {
            return Err(DeliverError::Reject { seq: *seq, reason: "too_large" });
        }
        if seen.takes_nothing {
            progress.unacked_from = seen.queue.first().map(|(seq, _)| *seq);
        } else {
            // Up to what is refused, which the next poll tells.
            let refused = seen.queue.iter().position(|(_, topic)| Some(topic.as_str()) == seen.refuses);
            let taken = refused.unwrap_or(seen.queue.len());
            let rest = seen.queue.split_off(taken);
            let queue = std::mem::replace(&mut seen.queue, rest);
            progress.unacked_from = seen.queue.first().map(|(seq, _)| *seq);
            if let Some(count) = progress.delivered.get_mut(Level::Open as usize) {
                *count = Delivered { records: queue.len() as u64, bytes: 0 };
            }
            seen.acknowledged.extend(queue);
        }
        Ok(progress)
    }

    fn intended(&mut self, _: Bounds) {}

    fn rewind(&mut self, _: u64, _: &[Bounds]) {
        self.0.lock().unwrap().queue.clear();
    }

    fn flush(&mut self, _: u64) {}
}
