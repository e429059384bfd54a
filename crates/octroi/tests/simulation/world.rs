//! One run: a hub, its publishers and its targets, driven by one seeded
//! thread through losses of power, faults of disks and targets, and policies
//! that change; then everything heals, drains, and is judged.
//!
//! INVARIANT: the same seed gives the same trace.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use octroi_journal::sim::{Fault, Random};
use octroi_policy::Timestamp;
use tokio::runtime::EnterGuard;
use tokio::time::Instant;

use crate::hub::{Disks, Hub, Manual, Part, SEGMENT_BYTES, Stage, later};
use crate::oracle::Watch;
use crate::publisher::Publisher;
use crate::target::{Lie, Mood, Target, number_of};
use crate::truth::{Class, Variant};

/// When every run begins: two days before the accreditation lapses.
const START: &str = "2026-11-28T20:00:00Z";
pub(crate) const SECOND: i64 = 1_000_000;
pub(crate) const HOUR: i64 = 3_600 * SECOND;
/// Steps in which a healed hub must come to rest.
const REST: usize = 20_000;

/// What came of a run.
pub(crate) struct Outcome {
    pub(crate) trace: String,
    pub(crate) broken: Vec<String>,
    /// What led to the first of them, latest first.
    pub(crate) recent: Vec<String>,
    pub(crate) messages: usize,
    pub(crate) lives: usize,
    pub(crate) steps: u64,
    pub(crate) backlogs: Backlogs,
}

/// What became of backlogs while hubs ran.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Backlogs {
    pub(crate) made: usize,
    pub(crate) given_back: usize,
    /// Made for a target whose earlier one was given back.
    pub(crate) made_again: usize,
}

impl Backlogs {
    /// A step of the mover; `had`: whose was given back.
    fn see(&mut self, before: [bool; 3], after: [bool; 3], had: &mut [bool; 3]) {
        for ((before, after), had) in before.into_iter().zip(after).zip(had) {
            let (made, given_back) = (!before && after, before && !after);
            self.made += usize::from(made);
            self.given_back += usize::from(given_back);
            self.made_again += usize::from(made && *had);
            *had |= given_back;
        }
    }
}

impl std::ops::AddAssign for Backlogs {
    fn add_assign(&mut self, other: Self) {
        self.made += other.made;
        self.given_back += other.given_back;
        self.made_again += other.made_again;
    }
}

/// A run under way.
pub(crate) struct World<'s> {
    stage: &'s Stage,
    random: Random,
    disks: Disks,
    wall: Arc<Manual>,
    start: i64,
    began: Instant,
    entropy: AtomicU64,
    pub(crate) watch: Watch,
    pub(crate) targets: Vec<Target>,
    publishers: Vec<Publisher>,
    hub: Option<Hub>,
    _entered: EnterGuard<'s>,
    lives: usize,
    steps: u64,
    backlogs: Backlogs,
    /// By target: a backlog of it was given back.
    gave_back: [bool; 3],
    /// From here on nothing may fail any more.
    is_healed: bool,
}

impl<'s> World<'s> {
    pub(crate) fn new(stage: &'s Stage, seed: u64) -> Self {
        Self::with_segments(stage, seed, SEGMENT_BYTES)
    }

    /// With a journal of sixteen segments of that size.
    pub(crate) fn with_segments(stage: &'s Stage, seed: u64, segment_bytes: u64) -> Self {
        let mut random = Random(seed);
        let start = Timestamp::parse_rfc3339(START).unwrap();
        let watch = Watch::new(start);
        let targets = ["dc", "cloud", "voisin"].map(|name| Target::new(name, random.next(), &watch)).into();
        let publishers = (0..3).map(|device| Publisher::new(device, &watch)).collect();
        stage.forget();
        let mut world = Self {
            stage,
            disks: Disks::new(random.next(), segment_bytes),
            entropy: AtomicU64::new(random.next()),
            random,
            wall: Arc::new(Manual(AtomicI64::new(start.0))),
            start: start.0,
            began: Instant::now(),
            watch,
            targets,
            publishers,
            hub: None,
            _entered: stage.runtime.enter(),
            lives: 0,
            steps: 0,
            backlogs: Backlogs::default(),
            gave_back: [false; 3],
            is_healed: false,
        };
        world.open();
        world
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.random.next() % bound.max(1) as u64).unwrap()
    }

    fn one_in(&mut self, times: u64) -> bool {
        self.random.next().is_multiple_of(times)
    }

    fn now(&self) -> Instant {
        later(self.began, self.wall.0.load(Ordering::Relaxed), self.start)
    }

    /// Time passes.
    pub(crate) fn pass(&mut self, micros: i64) {
        let now = self.wall.0.fetch_add(micros, Ordering::Relaxed) + micros;
        self.watch.see().now = Timestamp(now);
    }

    fn note(&self, what: &str) {
        self.watch.see().note(what);
    }

    // ── Lives ───────────────────────────────────────────────────────────────

    fn open(&mut self) {
        // Power may go while the hub recovers.
        for is_faulty in [true, false] {
            if is_faulty && self.lives > 0 && !self.is_healed && self.one_in(4) {
                let call = self.random.next() % 40;
                self.disks.journal.fail_at_call(call, Fault::Crash);
            } else if is_faulty {
                continue;
            }
            let variant = self.watch.see().variant;
            let at = (variant, &self.entropy, self.now());
            match Hub::open(self.stage, &self.disks, &self.wall, at, &self.targets) {
                Ok(hub) => {
                    self.hub = Some(hub);
                    break;
                }
                Err(error) if is_faulty => {
                    self.note(&format!("no start: {error:#}"));
                    self.disks = self.disks.after_crash(self.random.next());
                }
                Err(error) => self.watch.see().breaks(format!("the hub does not start: {error:#}")),
            }
        }
        self.lives += 1;
        self.note("a hub starts");
    }

    /// The process ends here and now; `power` too, or what it wrote and did not sync stays.
    pub(crate) fn end_life(&mut self, power: bool) {
        self.note(if power { "power is lost" } else { "killed" });
        self.hub = None;
        self.targets.iter().for_each(Target::lose_hub);
        self.publishers.iter_mut().for_each(Publisher::hang_up);
        let seed = self.random.next();
        self.disks = if power { self.disks.after_crash(seed) } else { self.disks.after_kill() };
        if power && self.one_in(2) {
            self.stage.lose_index();
        }
        self.open();
    }

    /// One step of a part; what it cannot survive ends the process.
    pub(crate) fn step(&mut self, part: Part) {
        self.steps += 1;
        let (now, before) = (self.now(), self.disks.backlogs_there());
        let Some(hub) = &mut self.hub else { return };
        let stepped = hub.step(part, now);
        self.backlogs.see(before, self.disks.backlogs_there(), &mut self.gave_back);
        let durable = hub.durable();
        self.watch.see().stepped(&format!("{part:?} {durable}"));
        if let Err(error) = stepped {
            self.note(&format!("{part:?} fails: {error:#}"));
            if self.is_healed {
                self.hub = None;
                return self.watch.see().breaks(format!("{part:?} of a healed hub fails: {error:#}"));
            }
            let power = self.one_in(2);
            self.end_life(power);
        }
    }

    pub(crate) fn step_all(&mut self) {
        for part in PARTS {
            self.step(part);
        }
        let now = self.now();
        self.publishers.iter_mut().for_each(|publisher| publisher.hear(now));
    }

    // ── What happens ────────────────────────────────────────────────────────

    pub(crate) fn publish(&mut self, publisher: usize, messages: usize) {
        let new: Vec<_> = (0..messages)
            .map(|_| {
                let class = match self.below(16) {
                    0..8 => Class::Open,
                    8..13 => Class::Sensitive,
                    13..15 => Class::Unknown,
                    _ => Class::Foreign,
                };
                (class, matches!(class, Class::Open | Class::Sensitive) && self.one_in(40))
            })
            .collect();
        self.send(publisher, &new);
    }

    /// These, of that publisher.
    pub(crate) fn send(&mut self, publisher: usize, new: &[(Class, bool)]) {
        let now = self.now();
        if let Some(hub) = &self.hub {
            self.publishers[publisher].publish(&hub.ingress, new, now);
        }
    }

    /// Whether publishers have every answer.
    pub(crate) fn is_acknowledged(&self) -> bool {
        self.publishers.iter().all(Publisher::is_done)
    }

    fn change_mood(&mut self) {
        let mood = [Mood::Takes, Mood::Takes, Mood::Hangs, Mood::Retries, Mood::Blocks][self.below(5)];
        let target = self.below(self.targets.len());
        self.note(&format!("target {target} {mood:?}"));
        self.targets[target].set(mood);
    }

    pub(crate) fn activate(&mut self, variant: Variant) {
        let now = self.now();
        let Some(hub) = &mut self.hub else { return };
        match hub.activate(self.stage, variant, now) {
            Ok(()) => {
                self.watch.see().variant = variant;
                self.note(&format!("{variant:?} is in force"));
            }
            Err(error) => {
                self.note(&format!("{variant:?} is not in force: {error:#}"));
                if self.is_healed {
                    return self.watch.see().breaks(format!("{variant:?} is not in force: {error:#}"));
                }
                // Whatever failed, the journal's owner may be gone.
                self.end_life(false);
            }
        }
    }

    fn break_a_disk(&mut self) {
        let disk = self.below(6);
        let (call, sync) = (self.random.next() % 24, self.random.next() % 6);
        let fault = self.below(5);
        self.note(&format!("disk {disk} fails {fault} {call} {sync}"));
        let disk = self.disks.all()[disk];
        match fault {
            0 => disk.fail_at_call(call, Fault::Crash),
            1 => disk.fail_at_sync(sync, Fault::Io),
            2 => disk.fail_at_sync(sync, Fault::Crash),
            3 => disk.fail_at_call(call, Fault::Full),
            _ => disk.fail_at_call(call, Fault::ShortThenFull),
        }
    }

    /// Something happens.
    pub(crate) fn act(&mut self) {
        match self.below(400) {
            0..60 => {
                let (publisher, messages) = (self.below(3), 1 + self.below(6));
                self.publish(publisher, messages);
            }
            60..160 => self.step(Part::Journal),
            160..300 => {
                let relay = self.below(self.targets.len());
                self.step(Part::Relay(relay));
            }
            300..340 => self.step(Part::SideLogs),
            340..343 => self.step(Part::Aggregates),
            343..350 => self.step(Part::Backlogs),
            350..370 => {
                let (publisher, now) = (self.below(3), self.now());
                self.publishers[publisher].hear(now);
            }
            370..382 => {
                let micros = [1_000, 30_000, 300_000, 20 * SECOND][self.below(4)];
                self.pass(micros);
            }
            382..385 => self.pass(8 * HOUR),
            385..391 => self.change_mood(),
            391..394 => {
                let variant = Variant::ALL[self.below(Variant::ALL.len())];
                self.activate(variant);
            }
            394 => drop(self.hub.as_ref().map(Hub::release)),
            395..397 => self.break_a_disk(),
            397..399 => self.end_life(true),
            _ => self.end_life(false),
        }
    }

    /// Seconds in which nothing happens: who lags and is able catches up, and backlogs that are empty are given back.
    fn calm(&mut self) {
        for _ in 0..80 {
            self.step_all();
            self.pass(SECOND / 10);
        }
    }

    // ── The end ─────────────────────────────────────────────────────────────

    /// Everything heals, and a policy lets everything go.
    pub(crate) fn heal(&mut self) {
        for target in &self.targets {
            target.set(Mood::Takes);
        }
        self.is_healed = true;
        self.end_life(false);
        self.activate(Variant::Renewed);
    }

    /// Publishers get their acks, and the hub comes to rest.
    pub(crate) fn rest(&mut self) {
        let (mut quiet, mut last) = (0, None);
        for turn in 0..REST {
            self.step_all();
            let now = self.now();
            let Some(hub) = &self.hub else { return };
            self.publishers.iter_mut().for_each(|publisher| publisher.reach(&hub.ingress, now));
            self.pass(100_000);
            let durable = self.hub.as_ref().map(Hub::durable);
            let arrived = self.watch.see().arrivals.len();
            let seen = Some((durable, arrived));
            quiet = if self.is_acknowledged() && last == seen { quiet + 1 } else { 0 };
            last = seen;
            // Longer than a cursor waits to be handed over, and a target to acknowledge.
            if quiet > 80 {
                return;
            }
            if turn + 1 == REST {
                let acknowledged = self.is_acknowledged();
                self.watch.see().breaks(format!("the hub comes to no rest: {acknowledged} {last:?}"));
            }
        }
    }

    /// All five promises, and that nothing is left of a backlog.
    pub(crate) fn judge(&mut self) {
        let now = self.now();
        if self.disks.backlogs_there().contains(&true) {
            self.watch.see().breaks("a backlog stays, and nothing waits".to_owned());
        }
        let Some(hub) = &mut self.hub else { return };
        let kept = hub.kept().map(|kept| kept.iter().map(|payload| number_of(payload)).collect());
        let kept: BTreeSet<usize> = match kept {
            Ok(kept) => kept,
            Err(error) => return self.watch.see().breaks(format!("I1 a side log cannot be read: {error:#}")),
        };
        let bits = hub.bits();
        let ledger = match hub.ledger(now) {
            Ok(ledger) => ledger,
            Err(error) => return self.watch.see().breaks(format!("I5 there is no ledger: {error:#}")),
        };
        let mut oracle = self.watch.see();
        if ledger.unaccounted() != 0 {
            oracle.breaks(format!(
                "I5 {} messages are unaccounted for: {:?}",
                ledger.unaccounted(),
                ledger.tally
            ));
        }
        for bit in bits {
            let pending = ledger.pending(bit.index());
            if pending != 0 {
                oracle.breaks(format!("I5 {pending} records wait for {bit:?}, and nothing does"));
            }
        }
        oracle.check_places(&kept);
        oracle.check_order();
        oracle.check_duplicates();
    }

    pub(crate) fn outcome(self) -> Outcome {
        let oracle = self.watch.see();
        Outcome {
            trace: oracle.trace(),
            broken: oracle.broken.clone(),
            recent: oracle.recent(),
            messages: oracle.sent.len(),
            lives: self.lives,
            steps: self.steps,
            backlogs: self.backlogs,
        }
    }
}

const PARTS: [Part; 7] = [
    Part::Journal,
    Part::SideLogs,
    Part::Relay(0),
    Part::Relay(1),
    Part::Relay(2),
    Part::Aggregates,
    Part::Backlogs,
];

/// A whole run: `acts` things happen, then it heals and is judged.
pub(crate) fn run(stage: &Stage, seed: u64, acts: usize, plant: impl FnOnce(&mut World<'_>)) -> Outcome {
    let mut world = World::new(stage, seed);
    plant(&mut world);
    for act in 0..acts {
        // In some runs old segments come about, and with them targets that lag for a while: a backlog is a disk more
        // to copy.
        match act % 100 {
            50 if seed.is_multiple_of(8) => world.hub.iter().for_each(Hub::fill),
            99 if seed.is_multiple_of(8) => world.calm(),
            _ => {}
        }
        world.act();
    }
    world.heal();
    world.rest();
    world.judge();
    world.outcome()
}

impl World<'_> {
    /// The journal's disk answers that it has synced, and has not.
    pub(crate) fn let_disk_lie(&self) {
        self.disks.journal.set_sync_lies(true);
    }

    /// A target says that it delivered one record more than it did.
    pub(crate) fn let_counts_slip(&self) {
        self.hub.iter().for_each(Hub::slip);
    }

    pub(crate) fn let_target_lie(&self, target: usize, lie: Lie) {
        self.targets[target].lies(lie);
    }
}
