//! The data path, both halves, top to bottom. Nothing else moves a message.
//!
//! `Ingress`: admit → decide → append → (synced) → ack
//! `Relay`:   read → gate → transform → deliver → commit
//!
//! INVARIANT: an answer reaches a session only through [`Acked`], which the
//! journal's owner builds after its sync.
//! INVARIANT: a cursor passes a record only once the target has acknowledged
//! it, or a side log holds it.

mod asked;
mod reports;

use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use octroi_journal::{Entry, ReadError, TargetBit};
use octroi_mqtt::Refusal as MqttRefusal;
use octroi_policy::{Input, KeySource, Reason, Text, Timestamp};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;

use crate::backlog::{Reading, Source};
use crate::clock::PolicyClock;
use crate::committer::{Acked, Append, Control, Inbox, JournalView, Watermark};
use crate::fail_point;
use crate::gate::{Gate, Withheld};
use crate::intake::{Answer, Arrived, Decided, Handed, Intake, Refused, Sender, Shares};
use crate::keeper::Keeper;
use crate::ledger::stored;
use crate::limits;
use crate::metrics::TargetMetrics;
use crate::outlet::{DeliverError, Outlet};
use crate::patience::Patience;
use crate::policies::{Active, Policies};
use crate::record::{Aggregate, Message, RecordKind};
use crate::status::OutletState;
use asked::{Asked, Withholding};

// ── In: admit → decide → append → (synced) → ack ────────────────────────────

/// Answers that wait for a sync.
pub struct Pending {
    /// What to tell, in the order received.
    pub answers: Vec<Answer>,
    /// Resolves after the sync; fails when there is none.
    pub done: oneshot::Receiver<Acked>,
    /// When the first of them was read.
    pub since: Instant,
    /// Nobody was handed them: `done` does not resolve, and its session ends.
    pub unsent: Option<oneshot::Sender<Acked>>,
}

/// The way in, shared by all sessions.
pub struct Ingress {
    /// The policy in force.
    pub policies: Arc<Policies>,
    /// The journal's owner.
    pub inbox: Arc<Inbox>,
    /// Bytes that may be between socket and disk.
    pub budget: Arc<Semaphore>,
    /// Policy time.
    pub clock: Arc<PolicyClock>,
    /// What one sender may have of the byte budget, over all of its connections.
    pub shares: Shares,
}

impl Ingress {
    /// Admits and decides one publish, and puts its record into the session's chunk.
    pub fn take(&self, intake: &mut Intake, active: &Active, arrived: &Arrived<'_>) {
        intake.count(arrived);
        let Arrived { message, received, source, .. } = *arrived;
        if !message.payload_format_holds() {
            let refused = Refused::by(Reason::CannotDecode, MqttRefusal::PayloadFormatInvalid);
            return intake.refuse(active, arrived, refused);
        }
        let Some(source) = source else {
            // The policy in force no longer knows the identity that this session began with.
            return intake.keep(active, arrived, Decided::doubt(received, Reason::UnknownSource));
        };
        let properties: Vec<(&str, &str)> =
            message.user_properties().iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let (topic, payload) = (message.topic(), message.payload());
        let input = Input { source, topic, payload, user_properties: &properties, received };
        let decision = active.policy.decide_with(&input, &mut intake.scratch);
        let reason = decision.outcome.reason();
        fail_point::reached("ingress.decided");
        let Some(outcome) = stored(decision.outcome) else {
            let reason = reason.unwrap_or(Reason::TopicNotAllowed);
            return intake.refuse(active, arrived, Refused::by(reason, MqttRefusal::NotAuthorized));
        };
        let decided = Decided {
            received,
            source: Some(source),
            outcome,
            label: decision.label,
            domain: decision.domain,
            commune: decision.commune.map_or("", |commune| active.policy.cog().code(commune)),
            device: decision.device.as_deref().unwrap_or_default(),
            time: decision.time,
        };
        intake.keep(active, arrived, decided);
    }

    /// A publish that must not become a message (a reserved topic, a sender who is not who it was): on record,
    /// then refused.
    pub fn refuse(&self, intake: &mut Intake, active: &Active, arrived: &Arrived<'_>, refused: Refused) {
        intake.count(arrived);
        intake.refuse(active, arrived, refused);
    }

    /// Hands the chunk to the journal's owner, once the byte budget has room for it. Until then the session
    /// does not read its socket; what finds no room by `until` is never answered, and nothing after it either.
    /// `None`: there is nothing, or the hub stops.
    pub async fn hand_over(
        &self,
        intake: &mut Intake,
        active: &Active,
        sender: &Sender,
        until: Instant,
    ) -> Option<Pending> {
        let Handed { chunk, tally, answers, since } = intake.finish(active, sender)?;
        let (done, told) = oneshot::channel();
        let mut unsent = None;
        match chunk {
            // Answers alone wait for nothing but their turn.
            None => self.inbox.control(Control::Barrier { done }),
            Some(chunk) => {
                let bytes = u32::try_from(chunk.frame_bytes()).unwrap_or(u32::MAX);
                // Its sender's share first: who is over it waits there, and holds nothing that others need.
                let budget = async {
                    let share = Arc::clone(&sender.share.bytes).acquire_many_owned(bytes).await.ok()?;
                    Some([share, Arc::clone(&self.budget).acquire_many_owned(bytes).await.ok()?])
                };
                match tokio::time::timeout_at(until, budget).await {
                    Ok(budget) => {
                        let by = Some(Arc::clone(&sender.identity));
                        fail_point::reached("ingress.hands_over");
                        self.inbox.append(Append { chunk, tally, by, budget: Some(budget?), done });
                        // The journal's owner, woken or back from its sync, may wait for a processor. A kernel
                        // that does not preempt for a wake-up would let it wait for the rest of this thread's
                        // slice, and all publishers with it.
                        if bytes >= limits::YIELD_BYTES {
                            std::thread::yield_now();
                        }
                    }
                    Err(_) => unsent = Some(done),
                }
            }
        }
        Some(Pending { answers, done: told, since, unsent })
    }
}

// ── Out: read → gate → transform → deliver → commit ─────────────────────────

/// What others see of a relay.
#[derive(Clone, Debug, Default)]
pub struct RelayView {
    /// What the outlet is doing.
    pub state: OutletState,
    /// Why it is down, blocked or paused, and what to do.
    pub reason: Text,
    /// Since when, wall clock.
    pub since: Timestamp,
    /// When the oldest record that is not delivered was received.
    pub oldest: Option<Timestamp>,
    /// Delivered since the process began.
    pub delivered: u64,
}

/// One target's way out; a thread of its own.
pub struct Relay {
    /// The target's id.
    pub target: String,
    /// Its bit in the journal.
    pub bit: TargetBit,
    /// The journal's generation.
    pub generation: u64,
    /// Where it reads: its backlog, then the journal.
    pub reader: Source,
    /// Where it delivers.
    pub outlet: Box<dyn Outlet>,
    /// `hub/generation`.
    pub origin: String,
    /// The policies.
    pub policies: Arc<Policies>,
    /// Policy time.
    pub clock: Arc<PolicyClock>,
    /// Pseudonymisation keys.
    pub keys: Arc<dyn KeySource + Send + Sync>,
    /// The journal's owner.
    pub inbox: Arc<Inbox>,
    /// How far the journal is on disk.
    pub watermark: Arc<Watermark>,
    /// What the journal adds up to.
    pub journal: Arc<ArcSwap<JournalView>>,
    /// The side logs.
    pub keeper: Arc<Keeper>,
    /// Counters.
    pub metrics: Arc<TargetMetrics>,
    /// What others see.
    pub view: Arc<ArcSwap<RelayView>>,
    /// Set when the hub stops: deliver what waits, if the target takes it, then end.
    pub stop: Arc<AtomicBool>,
}

/// Where a relay is.
struct Position {
    /// Every record below was read and offered, withheld, or is not this target's.
    next: u64,
    /// Everything below is delivered or in a side log.
    cursor: u64,
    /// Everything below that was offered is acknowledged: the cursor may be behind it, at what is withheld.
    acked: u64,
    /// Passed by the cursor since it was last handed over.
    delivered: u64,
    /// The same, withheld.
    held: u64,
    /// Offered or withheld and not passed by the cursor: sequence number, whether withheld, when received.
    open: VecDeque<(u64, bool, Timestamp)>,
    /// Withheld and on their way to a side log.
    withheld: Withholding,
    /// When the hold log, which was full, is asked again.
    hold_again: Option<Instant>,
    /// In the hold log, and not passed by the cursor. A rewind does not judge them again: they go from there.
    kept: BTreeSet<u64>,
    /// Whether there is more in the batch that was read, from `next` on.
    in_batch: bool,
    /// Ways of the record at `next` that are done with.
    ways: usize,
    /// What must be answered before anything else.
    asked: Option<Asked>,
    /// Since when publishers press and this relay gives way.
    gave_way: Option<Instant>,
    /// The policy epoch that what is in flight was gated in.
    epoch: (u64, octroi_policy::Date),
    /// The cursor as last handed over, and when.
    handed: u64,
    told: Instant,
}

/// The relay cannot go on; the process stops.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The journal cannot be read.
    #[error("the relay to `{target}` cannot read the journal")]
    Read {
        /// Whose.
        target: String,
        /// Why.
        #[source]
        source: ReadError,
    },
    /// The journal's owner or the keeper ended first.
    #[error("the relay to `{target}` lost the journal's owner")]
    Gone {
        /// Whose.
        target: String,
    },
}

/// How a turn ended.
enum Turn {
    /// Go on with what comes next.
    Done,
    /// The outlet takes no more now: go on with the same.
    Full,
    /// Go on once that is answered.
    Asked,
    /// Read again from here.
    Rewind(u64),
    /// The hub stops, and nothing waits.
    End,
}

/// What became of one record.
enum Offered {
    /// By one of its ways at least.
    Taken,
    /// The batch ends before its end.
    Ended(Turn),
    /// The gate let none of it out.
    Withheld(Withheld),
}

/// A relay at work.
pub struct Relaying {
    relay: Relay,
    at: Position,
    batch: Reading,
    /// When it ends, whatever waits.
    stop_by: Option<Instant>,
}

impl Relaying {
    /// Forwards a batch or what is left of one, drives the outlet, hands over the cursor. Says whether there
    /// is another step.
    ///
    /// # Errors
    /// See [`RelayError`].
    pub fn step(&mut self, patience: Patience, now: Instant) -> Result<bool, RelayError> {
        let Self { relay, at, batch, stop_by } = self;
        let stopping = relay.stop.load(Ordering::Acquire);
        if stopping {
            stop_by.get_or_insert(now + limits::DRAIN);
        }
        let turn = match at.asked.take() {
            Some(asked) => relay.heard(asked, at, (patience, now))?,
            None => relay.turn(batch, at, (stopping, patience, now))?,
        };
        if let Turn::Rewind(to) = turn {
            relay.rewind(at, to);
        }
        relay.commit(at, now, false)?;
        let late = stop_by.is_some_and(|by| now >= by);
        let able = matches!(relay.view.load().state, OutletState::Up | OutletState::Starting);
        let ends = matches!(turn, Turn::End) || late || (stopping && !able);
        if ends {
            relay.commit(at, now, true)?;
        }
        Ok(!ends)
    }
}

impl Relay {
    /// Runs until the hub stops.
    ///
    /// # Errors
    /// See [`RelayError`].
    pub fn run(self, cursor: u64, now: impl Fn() -> Instant) -> Result<(), RelayError> {
        let mut relaying = self.start(cursor, now());
        while relaying.step(Patience::Waits, now())? {}
        Ok(())
    }

    /// Takes its place at `cursor`.
    #[must_use]
    pub fn start(mut self, cursor: u64, now: Instant) -> Relaying {
        let mut at = Position {
            next: cursor,
            cursor,
            acked: cursor,
            gave_way: None,
            epoch: self.epoch(),
            handed: cursor,
            delivered: 0,
            held: 0,
            open: VecDeque::new(),
            withheld: Withholding::default(),
            hold_again: None,
            kept: BTreeSet::new(),
            in_batch: false,
            ways: 0,
            asked: None,
            told: now,
        };
        self.rewind(&mut at, cursor);
        Relaying { relay: self, at, batch: Reading::default(), stop_by: None }
    }

    /// Forwards what there is, then drives the outlet.
    fn turn(
        &mut self,
        batch: &mut Reading,
        at: &mut Position,
        (stopping, patience, now): (bool, Patience, Instant),
    ) -> Result<Turn, RelayError> {
        let seen = self.watermark.get();
        let mut turn = Turn::Done;
        // Once much is on its way to the hold log, nothing more is read: the rest is better off in the journal.
        let waits =
            at.withheld.is_full() || (!at.in_batch && at.next < seen && !stopping && self.gives_way(at, now));
        if !waits && (at.in_batch || at.next < seen) {
            if !at.in_batch {
                self.reader
                    .next(limits::RELAY_READ_BYTES, batch)
                    .map_err(|source| RelayError::Read { target: self.target.clone(), source })?;
                at.in_batch = true;
                fail_point::reached("relay.read");
            }
            turn = self.forward(batch, at)?;
        } else if !waits {
            if stopping {
                self.outlet.flush(at.next.saturating_sub(1));
            }
            if at.open.is_empty() {
                if stopping {
                    return Ok(Turn::End);
                }
                self.watermark.wait_past(seen, patience.at_most(limits::RELAY_IDLE));
            }
        }
        let is_full = matches!(turn, Turn::Full);
        if !is_full && !matches!(turn, Turn::Done) {
            return Ok(turn);
        }
        let reads_on = !is_full && !waits && (at.in_batch || at.next < self.watermark.get());
        let wait = if reads_on { Duration::ZERO } else { limits::RELAY_POLL };
        self.poll(at, patience.at_most(wait))
    }

    /// Publishers first: while they keep the journal busy, what waits here waits on, for a while.
    fn gives_way(&self, at: &mut Position, now: Instant) -> bool {
        if !self.watermark.pressed() {
            at.gave_way = None;
            return false;
        }
        now.saturating_duration_since(*at.gave_way.get_or_insert(now)) < limits::GIVE_WAY
    }

    /// The policy epoch of this moment.
    fn epoch(&self) -> (u64, octroi_policy::Date) {
        self.policies.current().epoch(self.clock.now().date())
    }

    /// Gates and offers the records of a batch, in order, as far as they are taken.
    fn forward(&mut self, batch: &Reading, at: &mut Position) -> Result<Turn, RelayError> {
        let (policies, keys) = (Arc::clone(&self.policies), Arc::clone(&self.keys));
        let (target, origin) = (self.target.clone(), self.origin.clone());
        let active = policies.current();
        let now = self.clock.now();
        if let Some(turn) = again_in(active.epoch(now.date()), at) {
            return Ok(turn);
        }
        let gate = Gate {
            policies: &policies,
            active: &active,
            target: &target,
            origin: &origin,
            now,
            keys: &*keys,
            scratch: RefCell::default(),
        };
        for (turn, entry) in batch.iter().enumerate() {
            if turn % limits::RELAY_TURN == 0 {
                // Whoever takes messages in would wait for the rest of this thread's slice, milliseconds.
                std::thread::yield_now();
            }
            if entry.seq < at.next {
                continue;
            }
            if at.kept.contains(&entry.seq) {
                at.open.push_back((entry.seq, true, now));
                (at.next, at.ways) = (entry.seq + 1, 0);
                continue;
            }
            if fail_point::due("relay.drop_one") {
                continue;
            }
            let offered = match RecordKind::from_number(entry.kind) {
                Some(RecordKind::Message) => self.forward_message(&gate, entry, at)?,
                Some(RecordKind::Aggregate) => self.forward_aggregate(&gate, entry, at)?,
                _ => continue,
            };
            if let Offered::Ended(turn) = offered {
                return Ok(turn);
            }
            if let Offered::Withheld(withheld) = offered {
                self.metrics.gate_blocked(1);
                at.open.push_back((entry.seq, true, now));
                if withheld.waits() {
                    let judged = (active.policy64, now);
                    at.withheld.push(self.withheld(withheld.name(), entry.seq, entry.bytes, judged));
                }
            }
            (at.next, at.ways) = (entry.seq + 1, 0);
            if at.withheld.is_full() {
                return Ok(Turn::Done);
            }
        }
        for lost in batch.lost() {
            tracing::error!(target = %self.target, first = lost.start, end = lost.end,
                "records of the journal are damaged and fenced; their neighbours were delivered");
        }
        at.next = batch.end().max(at.next);
        at.in_batch = false;
        Ok(Turn::Done)
    }

    /// Offers a message by each of its open ways that is not done with.
    fn forward_message(
        &mut self,
        gate: &Gate<'_>,
        entry: Entry<'_>,
        at: &mut Position,
    ) -> Result<Offered, RelayError> {
        let Ok(message) = Message::read(entry.bytes) else {
            return Ok(Offered::Withheld(Withheld::Unreadable));
        };
        let ways = match gate.ways(&message) {
            Ok(ways) => ways,
            Err(withheld) => return Ok(Offered::Withheld(withheld)),
        };
        fail_point::reached("relay.gated");
        // The record counts as delivered once one of its ways was open.
        let mut sent = at.open.back().is_some_and(|(open, _, _)| *open == entry.seq);
        let mut last = Withheld::NotAllowed;
        for way in ways.open.iter().copied().skip(at.ways) {
            match gate.pass(entry.seq, &message, &ways, way, |outgoing| self.offer(outgoing, at)) {
                Ok(turn) => match turn? {
                    Turn::Done if sent => {}
                    Turn::Done => {
                        at.open.push_back((entry.seq, false, message.received));
                        sent = true;
                    }
                    turn @ (Turn::Full | Turn::Asked | Turn::Rewind(_) | Turn::End) => {
                        return Ok(Offered::Ended(turn));
                    }
                },
                Err(withheld) => last = withheld,
            }
            at.ways += 1;
        }
        Ok(if sent { Offered::Taken } else { Offered::Withheld(last) })
    }

    /// Offers an aggregate.
    fn forward_aggregate(
        &mut self,
        gate: &Gate<'_>,
        entry: Entry<'_>,
        at: &mut Position,
    ) -> Result<Offered, RelayError> {
        let Ok(aggregate) = Aggregate::read(entry.bytes) else {
            return Ok(Offered::Withheld(Withheld::Unreadable));
        };
        let offered = gate.pass_aggregate(entry.seq, &aggregate, |outgoing| self.offer(outgoing, at));
        Ok(match offered {
            Ok(turn) => match turn? {
                Turn::Done => {
                    at.open.push_back((entry.seq, false, aggregate.end));
                    Offered::Taken
                }
                turn @ (Turn::Full | Turn::Asked | Turn::Rewind(_) | Turn::End) => Offered::Ended(turn),
            },
            Err(withheld) => Offered::Withheld(withheld),
        })
    }

    /// Offers one record.
    fn offer(&mut self, outgoing: &crate::gate::Outgoing<'_>, at: &mut Position) -> Result<Turn, RelayError> {
        match self.outlet.offer(outgoing) {
            Ok(()) => {
                fail_point::reached("relay.offered");
                Ok(Turn::Done)
            }
            Err(DeliverError::Full | DeliverError::Retry { .. }) => Ok(Turn::Full),
            Err(error) => self.failed(error, at),
        }
    }

    /// Drives the outlet and takes in what it says.
    fn poll(&mut self, at: &mut Position, wait: Duration) -> Result<Turn, RelayError> {
        let now = self.clock.now();
        if let Some(turn) = again_in(self.epoch(), at) {
            return Ok(turn);
        }
        match self.outlet.poll(wait, now) {
            Ok(progress) => self.progressed(progress, at, now),
            Err(error) => self.failed(error, at),
        }
    }

    /// Starts again at `to`: nothing before is in flight.
    fn rewind(&mut self, at: &mut Position, to: u64) {
        let to = to.max(at.cursor);
        at.open.retain(|(seq, _, _)| *seq < to);
        at.withheld.rewind(to);
        (at.next, at.acked, at.in_batch, at.ways) = (to, at.acked.min(to), false, 0);
        self.reader.seek(to);
        let intents = self.journal.load().ledger.intents_from(self.bit.index(), to);
        self.outlet.rewind(to, &intents);
        fail_point::reached("relay.rewound");
    }

    /// The cursor passes everything below `done`, but for what is withheld and in no side log yet.
    fn advance(&self, at: &mut Position, done: u64) {
        let done = at.withheld.first().map_or(done, |first| first.min(done));
        while let Some((_, withheld, _)) = at.open.pop_front_if(|(seq, _, _)| *seq < done) {
            if withheld { at.held += 1 } else { at.delivered += 1 }
        }
        at.cursor = at.cursor.max(done);
        at.kept = at.kept.split_off(&at.cursor);
    }

    /// Hands what is withheld to the hold log, and the cursor to the journal's owner, that at most every
    /// [`limits::CURSOR_EVERY`].
    fn commit(&mut self, at: &mut Position, now: Instant, last: bool) -> Result<(), RelayError> {
        let again = at.hold_again.is_none_or(|again| now >= again);
        if at.asked.is_none() && !at.withheld.is_empty() && again {
            at.asked = Some(self.ask_hold(at)?);
        }
        // A cursor is a record too: one that passed nothing of this target's, and holds back neither a segment
        // nor a backlog, would wake every relay for nothing.
        let held_back = self.watermark.segment().max(self.reader.moved());
        let worth = at.delivered + at.held > 0 || at.handed < held_back;
        let due = now.saturating_duration_since(at.told) >= limits::CURSOR_EVERY;
        if at.cursor > at.handed && (last || (worth && due)) {
            self.inbox.control(Control::Advance {
                target: self.bit,
                cursor: at.cursor,
                delivered: std::mem::take(&mut at.delivered),
                withheld: std::mem::take(&mut at.held),
            });
            fail_point::reached("relay.cursor_is_handed_over");
            (at.handed, at.told) = (at.cursor, now);
        }
        Ok(())
    }
}

/// INVARIANT: what waits was gated in the epoch of now. In another one what the outlet still queues is dropped, and
/// everything that is not acknowledged is gated again.
fn again_in(epoch: (u64, octroi_policy::Date), at: &mut Position) -> Option<Turn> {
    let before = std::mem::replace(&mut at.epoch, epoch);
    (epoch != before).then(|| Turn::Rewind(lowest(at)))
}

/// The lowest record that was offered and is not acknowledged.
fn lowest(at: &Position) -> u64 {
    let in_flight = |(seq, withheld, _): &&(u64, bool, Timestamp)| !withheld && *seq >= at.acked;
    at.open.iter().find(in_flight).map_or(at.next, |(seq, _, _)| *seq)
}
