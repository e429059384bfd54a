//! One life of a hub, put together as the server does it, but for what only
//! the server has: sockets, threads, configuration. Every part is stepped.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use anyhow::{Context as _, Error};
use arc_swap::ArcSwap;
use octroi::aggregator::{Aggregator, Work};
use octroi::backlog::{Backlogs, Home, Lane, Place};
use octroi::clock::{Clock, PolicyClock};
use octroi::committer::{Append, Committer, Control, Ended, Inbox, JournalView, Watermark};
use octroi::intake::Shares;
use octroi::keeper::{Errand, Feed, Keeper, Keeping, Leaving, Pick, Report, Requests, SideLog};
use octroi::ledger::{Ledger, Tally, epoch_record};
use octroi::limits;
use octroi::metrics::Metrics;
use octroi::patience::Patience;
use octroi::pipeline::{Ingress, Relay, RelayView, Relaying};
use octroi::policies::{Active, Bits, Policies, Store};
use octroi::record::{Fate, Kept, Log, Message, RecordKind, What};
use octroi::server::replay;
use octroi::state::State;
use octroi_journal::sim::SimDisk;
use octroi_journal::{Batch, ChunkBuilder, Disk as _, Journal, Options, Reader, Recovery, TargetBit};
use octroi_policy::{KeySource, Policy, PseudonymKey, SourceFile, Timestamp};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;

use crate::target::Target;
use crate::truth::Variant;

/// The wall clock of a simulation.
#[derive(Debug)]
pub(crate) struct Manual(pub(crate) AtomicI64);

impl Clock for Manual {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }
}

struct NoKeys;

impl KeySource for NoKeys {
    fn key(&self, _: &str, _: &str) -> Option<PseudonymKey> {
        None
    }
}

/// What all lives and runs share because it holds nothing that a crash may take: policies as they were stored,
/// counters, an index that can be rebuilt.
pub(crate) struct Stage {
    directory: TempDir,
    /// Time-outs want one, though none of them ever fires.
    pub(crate) runtime: Runtime,
    metrics: Arc<Metrics>,
    state: Arc<State>,
    policies: Arc<Policies>,
}

fn compiled(variant: Variant) -> (Policy, Vec<SourceFile>) {
    let files = variant.files();
    let parsed = octroi_policy::parse(&files);
    (Policy::compile(&parsed.document, octroi_policy::hash(&files)).unwrap(), files)
}

impl Stage {
    pub(crate) fn new() -> Self {
        let in_memory = TempDir::new_in("/dev/shm");
        let directory = in_memory.or_else(|_| TempDir::new()).unwrap();
        let metrics = Arc::new(Metrics::new("simulation").unwrap());
        let store = Store::open(directory.path().join("policies")).unwrap();
        let disk = Arc::new(SimDisk::new(0));
        let (mut journal, _) = Journal::open(disk, options(SEGMENT_BYTES), &mut || 1).unwrap();
        let (policy, files) = compiled(Variant::AsItIs);
        let bits = register(&mut journal, &Ledger::default()).unwrap();
        let active = Active::new(policy, 0, Timestamp(0), bits.clone(), &metrics);
        Policies::keep(&store, &active, &files).unwrap();
        let policies = Arc::new(Policies::new(active, store));
        let (state, _) = State::open(&directory.path().join("state")).unwrap();
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        let stage = Self { directory, runtime, metrics, state: Arc::new(state), policies };
        for variant in Variant::ALL {
            stage.put_in_force(variant, Timestamp(0), bits.clone());
            // Known from here on, whatever becomes of the history.
            stage.policies.version(stage.policies.current().policy64).unwrap();
        }
        stage
    }

    fn put_in_force(&self, variant: Variant, since: Timestamp, bits: Bits) {
        let (policy, files) = compiled(variant);
        let active = Active::new(policy, 0, since, bits, &self.metrics);
        self.policies.put_in_force(active, &files).unwrap();
    }

    /// The index is lost, as a power loss may do: it is of another side log from now on.
    pub(crate) fn lose_index(&self) {
        for log in Log::ALL {
            self.state.apply(log, 0, 0, &[]);
        }
    }

    /// A new run begins: nothing is known of another.
    pub(crate) fn forget(&self) {
        self.lose_index();
        // The history would grow over thousands of runs.
        for name in ["policies/history.jsonl", "aggregates"] {
            std::fs::remove_file(self.directory.path().join(name)).ok();
        }
    }

    fn book(&self) -> PathBuf {
        self.directory.path().join("aggregates")
    }
}

fn ids(policy: &Policy) -> Vec<String> {
    policy.targets().iter().map(|target| target.id.clone()).collect()
}

/// The least that takes the chunks of a run: disks are copied at each loss of power.
pub(crate) const SEGMENT_BYTES: u64 = 512 << 10;

/// Of a backlog: what waits in a journal of a simulation fits into a quarter of it.
const BACKLOG_SEGMENT_BYTES: u64 = 2 << 20;
/// A fifth of a segment.
const FILLING: usize = 100 << 10;

fn options(segment_bytes: u64) -> Options {
    let (limit_bytes, reserve_bytes) = (16 * segment_bytes, segment_bytes);
    Options { hub: "hub-1".into(), segment_bytes, limit_bytes, reserve_bytes }
}

/// The disks of the journal, the quarantine, the hold log, and of the targets' backlogs.
#[derive(Clone)]
pub(crate) struct Disks {
    pub(crate) journal: SimDisk,
    pub(crate) quarantine: SimDisk,
    pub(crate) hold: SimDisk,
    pub(crate) backlogs: [SimDisk; 3],
    /// Of a segment of the journal.
    segment_bytes: u64,
}

impl Disks {
    pub(crate) fn new(seed: u64, segment_bytes: u64) -> Self {
        let disk = |n: u64| SimDisk::new(seed.wrapping_add(n));
        let backlogs = [4, 5, 6].map(disk);
        Self { journal: disk(1), quarantine: disk(2), hold: disk(3), backlogs, segment_bytes }
    }

    pub(crate) fn all(&self) -> [&SimDisk; 6] {
        let [first, second, third] = &self.backlogs;
        [&self.journal, &self.quarantine, &self.hold, first, second, third]
    }

    /// Which targets have a backlog.
    pub(crate) fn backlogs_there(&self) -> [bool; 3] {
        self.backlogs.each_ref().map(|disk| disk.allocated() > 0)
    }

    fn each(&self, left: impl Fn(&SimDisk) -> SimDisk) -> Self {
        let [journal, quarantine, hold] = [&self.journal, &self.quarantine, &self.hold].map(&left);
        let backlogs = self.backlogs.each_ref().map(&left);
        Self { journal, quarantine, hold, backlogs, segment_bytes: self.segment_bytes }
    }

    /// As a loss of power leaves them.
    pub(crate) fn after_crash(&self, seed: u64) -> Self {
        self.each(|disk| disk.after_crash(seed))
    }

    /// As a killed process leaves them.
    pub(crate) fn after_kill(&self) -> Self {
        self.each(SimDisk::copy)
    }
}

/// A backlog on a simulated disk.
struct Simulated(SimDisk);

impl Home for Simulated {
    fn is_there(&self) -> io::Result<bool> {
        Ok(!self.0.list()?.is_empty())
    }

    fn open(&self) -> anyhow::Result<(Journal, Recovery)> {
        let (journal, recovery) =
            Journal::open(Arc::new(self.0.clone()), options(BACKLOG_SEGMENT_BYTES), &mut || 5)?;
        anyhow::ensure!(!recovery.is_damaged(), "I1 what was synced is damaged: {recovery:?}");
        Ok((journal, recovery))
    }

    fn remove(&self) -> io::Result<()> {
        self.0.list()?.iter().try_for_each(|name| self.0.remove(name))
    }
}

/// A part that can be stepped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Journal,
    SideLogs,
    Aggregates,
    Backlogs,
    Relay(usize),
}

/// A hub that runs.
pub(crate) struct Hub {
    committer: Committer,
    keeping: Keeping,
    aggregates: Work,
    backlogs: Backlogs,
    relays: Vec<Relaying>,
    batch: Batch,
    pub(crate) ingress: Ingress,
    errands: SyncSender<Errand>,
    shared: Shared,
    began: Instant,
}

/// What the parts share.
struct Shared {
    inbox: Arc<Inbox>,
    watermark: Arc<Watermark>,
    view: Arc<ArcSwap<JournalView>>,
    clock: Arc<PolicyClock>,
    policies: Arc<Policies>,
    metrics: Arc<Metrics>,
    generation: u64,
    reader: Reader,
    bits: Bits,
}

impl Shared {
    fn keeping(
        &self,
        state: &Arc<State>,
        [quarantine, hold]: [SideLog; 2],
        (requests, errands): (Requests, Receiver<Errand>),
        leaving: Leaving,
    ) -> Keeping {
        let feed = |bit: TargetBit| {
            let position = self.view.load().position(bit);
            Feed::new(bit, self.reader.at(position), position)
        };
        Keeping {
            requests,
            errands,
            quarantine,
            hold,
            feeds: [feed(self.bits.quarantine), feed(self.bits.hold)],
            generation: self.generation,
            inbox: Arc::clone(&self.inbox),
            watermark: Arc::clone(&self.watermark),
            policies: Arc::clone(&self.policies),
            clock: Arc::clone(&self.clock),
            state: Arc::clone(state),
            stop: Arc::default(),
            leaving,
        }
    }

    fn aggregates(&self, path: PathBuf) -> Result<Work, Error> {
        let bit = self.bits.aggregates;
        let aggregator = Aggregator {
            bit,
            reader: self.reader.at(self.view.load().position(bit)),
            path,
            policies: Arc::clone(&self.policies),
            clock: Arc::clone(&self.clock),
            keys: Arc::new(NoKeys),
            inbox: Arc::clone(&self.inbox),
            watermark: Arc::clone(&self.watermark),
            metrics: Arc::clone(&self.metrics),
            stop: Arc::default(),
        };
        Ok(aggregator.start(&self.view.load(), self.generation)?)
    }

    fn relay(
        &self,
        backlog: &SimDisk,
        (target, bit): (&Target, TargetBit),
        keeper: &Arc<Keeper>,
        now: Instant,
    ) -> Result<(Lane, Relaying), Error> {
        let home = Box::new(Simulated(backlog.clone()));
        let place = Place { target: target.name.to_owned(), bit, home };
        let view = Arc::new(ArcSwap::from_pointee(RelayView::default()));
        let (lane, source, cursor) =
            Lane::recover(place, &self.reader, &self.view.load(), Arc::clone(&view), now)?;
        target.meet_hub(cursor);
        let relay = Relay {
            target: target.name.to_owned(),
            bit,
            generation: self.generation,
            reader: source,
            outlet: Box::new(target.clone()),
            origin: format!("hub-1/{:016x}", self.generation),
            policies: Arc::clone(&self.policies),
            clock: Arc::clone(&self.clock),
            keys: Arc::new(NoKeys),
            inbox: Arc::clone(&self.inbox),
            watermark: Arc::clone(&self.watermark),
            journal: Arc::clone(&self.view),
            keeper: Arc::clone(keeper),
            metrics: self.metrics.target(target.name),
            view,
            stop: Arc::default(),
        };
        Ok((lane, relay.start(cursor, now)))
    }
}

impl Hub {
    /// Recovers, and starts every part.
    pub(crate) fn open(
        stage: &Stage,
        disks: &Disks,
        wall: &Arc<Manual>,
        (variant, entropy, now): (Variant, &AtomicU64, Instant),
        targets: &[Target],
    ) -> Result<Self, Error> {
        let open = |disk: &SimDisk, segment_bytes: u64| -> Result<(Journal, Recovery), Error> {
            let mut random = || entropy.fetch_add(1, Ordering::Relaxed);
            let disk = Arc::new(disk.clone());
            let (journal, recovery) = Journal::open(disk, options(segment_bytes), &mut random)?;
            anyhow::ensure!(!recovery.is_damaged(), "I1 what was synced is damaged: {recovery:?}");
            Ok((journal, recovery))
        };
        let (mut journal, recovery) = open(&disks.journal, disks.segment_bytes)?;
        let ledger = replay(&journal, &recovery)?;
        let bits = register(&mut journal, &ledger)?;
        stage.put_in_force(variant, wall.now(), bits.clone());
        let latest = Timestamp(ledger.tally.latest.max(0));
        let leaving = Leaving::new(ledger.fate.clone(), stage.policies.current().epoch(latest.date()));
        let shared = Shared {
            inbox: Arc::default(),
            watermark: Arc::default(),
            view: Arc::default(),
            clock: Arc::new(PolicyClock::new(Arc::clone(wall) as _, latest)),
            policies: Arc::clone(&stage.policies),
            metrics: Arc::clone(&stage.metrics),
            generation: journal.generation(),
            reader: journal.reader(0),
            bits,
        };
        let (inbox, watermark) = (Arc::clone(&shared.inbox), Arc::clone(&shared.watermark));
        let (view, metrics) = (Arc::clone(&shared.view), Arc::clone(&shared.metrics));
        let committer =
            Committer::new((journal, Box::new(|_| u64::MAX)), ledger, inbox, watermark, view, metrics);
        let side_log = |log: Log, disk: &SimDisk| -> Result<SideLog, Error> {
            let (journal, recovery) = open(disk, SEGMENT_BYTES)?;
            Ok(SideLog::recover(log, journal, &recovery)?)
        };
        let side_logs = [side_log(Log::Quarantine, &disks.quarantine)?, side_log(Log::Hold, &disks.hold)?];
        let (keeper, requests) = Keeper::new();
        let keeper = Arc::new(keeper);
        let (errands, asked) = sync_channel(limits::ERRANDS);
        let ways = targets.iter().zip(&shared.bits.targets).zip(&disks.backlogs);
        let ways = ways.map(|((target, bit), disk)| shared.relay(disk, (target, *bit), &keeper, now));
        let (lanes, relays) = ways.collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
        Ok(Self {
            committer,
            keeping: shared.keeping(&stage.state, side_logs, (requests, asked), leaving),
            aggregates: shared.aggregates(stage.book())?,
            backlogs: Backlogs {
                lanes,
                inbox: Arc::clone(&shared.inbox),
                watermark: Arc::clone(&shared.watermark),
                journal: Arc::clone(&shared.view),
                // Whoever is behind is moved.
                crowded: 0,
                stop: Arc::default(),
            },
            relays,
            batch: Batch::default(),
            ingress: Ingress {
                shares: Shares::new(limits::IN_FLIGHT_BYTES),
                policies: Arc::clone(&shared.policies),
                inbox: Arc::clone(&shared.inbox),
                budget: Arc::new(Semaphore::new(limits::IN_FLIGHT_BYTES)),
                clock: Arc::clone(&shared.clock),
            },
            errands,
            began: now,
            shared,
        })
    }

    /// One step of one part. An error ends the process.
    pub(crate) fn step(&mut self, part: Part, now: Instant) -> Result<(), Error> {
        let elapsed = now.saturating_duration_since(self.began);
        let goes_on = match part {
            Part::Journal => match self.committer.step(Patience::Never, &move || elapsed) {
                None => true,
                Some(Ended::Stopped) => false,
                Some(Ended::Failed(error)) => return Err(error).context("the journal"),
            },
            Part::SideLogs => self.keeping.step(&mut self.batch, Patience::Never)?,
            Part::Aggregates => self.aggregates.step(&mut self.batch, Patience::Never)?,
            Part::Backlogs => self.backlogs.turn(&mut self.batch, now).map(|_| true)?,
            Part::Relay(n) => match self.relays.get_mut(n) {
                Some(relay) => relay.step(Patience::Never, now)?,
                None => true,
            },
        };
        anyhow::ensure!(goes_on, "{part:?} ended");
        Ok(())
    }

    /// Steps the journal's owner until an answer is there.
    fn commit<T>(&mut self, mut told: oneshot::Receiver<T>, now: Instant) -> Result<T, Error> {
        for _ in 0..64 {
            self.step(Part::Journal, now)?;
            if let Ok(answer) = told.try_recv() {
                return Ok(answer);
            }
        }
        anyhow::bail!("no room")
    }

    /// Puts a policy in force, as the server does: its targets' bits, a note on record, the swap. An error
    /// leaves the one in force.
    pub(crate) fn activate(&mut self, stage: &Stage, variant: Variant, now: Instant) -> Result<(), Error> {
        let since = self.ingress.clock.now();
        let names = ids(&stage.policies.current().policy);
        let (reply, told) = oneshot::channel();
        let names = Bits::names(&names).collect();
        self.ingress.inbox.control(Control::Register { names, reply });
        let bits = Bits::from_list(self.commit(told, now)?).context("bits")?;
        let (done, told) = oneshot::channel();
        let (kind, bytes) = (RecordKind::Epoch, epoch_record(&compiled(variant).0.hash().full(), since));
        self.ingress.inbox.control(Control::Note { kind, bytes, done: Some(done) });
        self.commit(told, now)?;
        stage.put_in_force(variant, since, bits);
        Ok(())
    }

    /// An operator releases what is in quarantine, as far as the policy lets it go.
    pub(crate) fn release(&self) -> oneshot::Receiver<Report> {
        let (reply, told) = oneshot::channel();
        let pick = Pick { all: true, ..Pick::default() };
        let (log, what, why) = (Log::Quarantine, What::Released, "a simulation".to_owned());
        // A queue that is full takes it another time.
        self.errands.try_send(Errand { log, what, why, pick, from: 0, dry_run: false, reply }).ok();
        told
    }

    /// A good part of a segment that is for nobody: what waits for a target is soon in an old one.
    pub(crate) fn fill(&self) {
        let mut records = ChunkBuilder::new(FILLING);
        for _ in 0..3 {
            records.push(RecordKind::Boundary as u8, 0, &[&vec![0; FILLING]]).unwrap();
            let (done, _) = oneshot::channel();
            let (chunk, tally) = (records.finish(), Tally::default());
            self.ingress.inbox.append(Append { chunk, tally, by: None, budget: None, done });
        }
    }

    /// One record of the first target is counted that never was.
    pub(crate) fn slip(&self) {
        for target in self.shared.bits.targets.iter().take(1).copied() {
            let (cursor, delivered, withheld) = (0, 1, 0);
            self.ingress.inbox.control(Control::Advance { target, cursor, delivered, withheld });
        }
    }

    /// How far the journal is on disk: what moves while anything does.
    pub(crate) fn durable(&self) -> u64 {
        self.shared.watermark.get()
    }

    /// Asks for the state to be shown, and what it comes to.
    pub(crate) fn ledger(&mut self, now: Instant) -> Result<Ledger, Error> {
        let (done, told) = oneshot::channel();
        let (kind, bytes) = (RecordKind::Boundary, 0_i64.to_le_bytes().to_vec());
        self.ingress.inbox.control(Control::Note { kind, bytes, done: Some(done) });
        self.commit(told, now)?;
        Ok(self.shared.view.load().ledger.clone())
    }

    /// The bits of all that reads the journal.
    pub(crate) fn bits(&self) -> Vec<TargetBit> {
        let Bits { targets, quarantine, hold, aggregates } = &self.shared.bits;
        targets.iter().copied().chain([*quarantine, *hold, *aggregates]).collect()
    }

    /// The payloads of what is in the side logs, read apart from the index.
    pub(crate) fn kept(&self) -> Result<Vec<Vec<u8>>, Error> {
        let quarantine = kept_in(Log::Quarantine, self.keeping.quarantine.reader())?;
        Ok([quarantine, kept_in(Log::Hold, self.keeping.hold.reader())?].concat())
    }
}

fn kept_in(log: Log, mut reader: Reader) -> Result<Vec<Vec<u8>>, Error> {
    let (mut inside, mut batch) = (BTreeMap::new(), Batch::default());
    let mut at = begins(&mut reader);
    loop {
        reader.seek(at);
        reader.next(None, 1 << 20, &mut batch)?;
        for entry in batch.iter() {
            match RecordKind::from_number(entry.kind) {
                Some(RecordKind::Kept) => {
                    let message = Message::read(Kept::read(entry.bytes)?.message)?;
                    inside.insert(entry.seq, message.payload.to_vec());
                }
                Some(RecordKind::Fate) => {
                    let fate = Fate::read(entry.bytes)?;
                    if fate.log == log && fate.what != What::Stays {
                        inside.retain(|seq, _| !fate.seqs.contains(seq));
                    }
                }
                _ => {}
            }
        }
        if batch.end() <= at {
            return Ok(inside.into_values().collect());
        }
        at = batch.end();
    }
}

/// Where a side log begins by now.
fn begins(reader: &mut Reader) -> u64 {
    reader.seek(0);
    match reader.next(None, 1, &mut Batch::default()) {
        Err(octroi_journal::ReadError::Trimmed { first_seq, .. }) => first_seq,
        Ok(()) | Err(_) => 0,
    }
}

fn register(journal: &mut Journal, ledger: &Ledger) -> Result<Bits, Error> {
    let head = journal.next_seq();
    let names: Vec<String> = ["dc", "cloud", "voisin"].map(str::to_owned).into();
    let bits = Bits::names(&names).map(|name| journal.register_target(&name, head));
    let bits = bits.collect::<Result<Vec<_>, _>>()?;
    journal.seal(&mut |out| ledger.write_snapshot(out))?;
    Bits::from_list(bits).context("bits")
}

/// A time that tests move.
pub(crate) fn later(began: Instant, wall: i64, start: i64) -> Instant {
    began + Duration::from_micros(u64::try_from(wall - start).unwrap())
}
