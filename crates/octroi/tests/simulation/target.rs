//! A hosting target and the outlet to it: it writes down what arrives, and has
//! moods. What is under way to it outlives the hub's process.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use octroi::outlet::{Bounds, DeliverError, Delivered, Outgoing, Outlet, Progress};
use octroi::status::OutletState;
use octroi_journal::sim::Random;
use octroi_policy::{Level, Text, Timestamp};

use crate::oracle::{Arrival, Watch};

/// Records that may be under way.
const WINDOW: usize = 24;

/// What a target does with what is sent to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// Takes it, some of it sooner than it says so.
    Takes,
    /// Takes nothing, says nothing.
    Hangs,
    /// Says that it does not work.
    Retries,
    /// Refuses the hub.
    Blocks,
}

/// A defect that a check must see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lie {
    /// Acknowledges what never arrives, now and then.
    Loses,
    /// Two records in the wrong order, now and then.
    Swaps,
    /// Sends again what was acknowledged, now and then.
    Repeats,
    /// Lets another target have it, now and then.
    Leaks,
}

struct Queued {
    arrival: Arrival,
    has_arrived: bool,
}

struct Desk {
    mood: Mood,
    lie: Option<Lie>,
    random: Random,
    queue: VecDeque<Queued>,
    /// The lowest sequence number that may be offered next.
    expects: u64,
    /// Everything below was acknowledged in this life of the hub.
    acked: u64,
}

/// A target.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) name: &'static str,
    desk: Arc<Mutex<Desk>>,
    watch: Watch,
}

impl Target {
    pub(crate) fn new(name: &'static str, seed: u64, watch: &Watch) -> Self {
        let desk = Desk {
            mood: Mood::Takes,
            lie: None,
            random: Random(seed),
            queue: VecDeque::new(),
            expects: 0,
            acked: 0,
        };
        Self { name, desk: Arc::new(Mutex::new(desk)), watch: watch.clone() }
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap()
    }

    pub(crate) fn set(&self, mood: Mood) {
        self.desk().mood = mood;
    }

    pub(crate) fn lies(&self, lie: Lie) {
        self.desk().lie = Some(lie);
    }

    /// The hub's process is gone: of what was under way, some arrives all the same; nobody calls back what is on
    /// the wire when a policy changes, so that is left out.
    pub(crate) fn lose_hub(&self) {
        let mut desk = self.desk();
        if desk.mood == Mood::Takes {
            let (some, name) = (desk.some(), self.name);
            let may = |queued: &&Queued| self.watch.see().may_have(name, queued.arrival.number);
            let some = desk.queue.iter().take(some).take_while(may).count();
            desk.arrive(some, &self.watch);
        }
        desk.queue.clear();
    }

    /// A hub that begins at `cursor`.
    pub(crate) fn meet_hub(&self, cursor: u64) {
        let mut desk = self.desk();
        (desk.expects, desk.acked) = (cursor, cursor);
        let mut oracle = self.watch.see();
        let records = oracle.arrived_from(self.name, cursor);
        oracle.may_come_again(self.name, records);
        oracle.tail(self.name, cursor);
    }
}

impl Desk {
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.random.next() % bound.max(1) as u64).unwrap()
    }

    /// Of what is under way.
    fn some(&mut self) -> usize {
        self.below(self.queue.len() + 1)
    }

    fn arrive(&mut self, records: usize, watch: &Watch) {
        let lies = self.lie.filter(|_| self.random.next().is_multiple_of(8));
        let new = self.queue.iter_mut().take(records).filter(|queued| !queued.has_arrived);
        let mut arrivals: Vec<Arrival> = new
            .map(|queued| {
                queued.has_arrived = true;
                queued.arrival.clone()
            })
            .collect();
        match lies {
            Some(Lie::Loses) => drop(arrivals.pop()),
            Some(Lie::Swaps) => arrivals.reverse(),
            Some(Lie::Repeats) => arrivals.extend(arrivals.first().cloned()),
            Some(Lie::Leaks) => arrivals.iter_mut().for_each(|arrival| arrival.target = "voisin"),
            None => {}
        }
        arrivals.into_iter().for_each(|arrival| watch.see().arrives(arrival));
    }
}

impl Outlet for Target {
    fn offer(&mut self, record: &Outgoing<'_>) -> Result<(), DeliverError> {
        let (event, mut desk) = (record.event(), self.desk());
        let name = self.name;
        if event.seq < desk.acked {
            self.watch.see().breaks(format!("I4 {name} was offered {} again, which it has", event.seq));
        }
        if event.seq < desk.expects {
            self.watch.see().breaks(format!("I3 {name} was offered {} after {}", event.seq, desk.expects));
        }
        match desk.mood {
            Mood::Retries => {
                return Err(DeliverError::Retry { reason: said("no route"), retry_in: Duration::ZERO });
            }
            Mood::Blocks => {
                return Err(DeliverError::Blocked { reason: said("not authorised"), mend: said("grant it") });
            }
            Mood::Takes | Mood::Hangs if desk.queue.len() >= WINDOW => return Err(DeliverError::Full),
            Mood::Takes | Mood::Hangs => {}
        }
        let number = number_of(event.payload);
        let oracle = self.watch.see();
        if name == "dc" && oracle.sent.get(number).is_some_and(|sent| sent.is_poison) {
            // All before it is acknowledged first.
            let alone = desk.queue.is_empty();
            let (seq, reason) = (event.seq, "too_large");
            return Err(if alone { DeliverError::Reject { seq, reason } } else { DeliverError::Full });
        }
        let is_released = event.decision.is_none_or(|decision| !is_of(event.id, decision));
        desk.expects = event.seq + 1;
        let (seq, id) = (event.seq, event.id.to_owned());
        let arrival = Arrival { target: name, seq, id, number, is_released };
        desk.queue.push_back(Queued { arrival, has_arrived: false });
        Ok(())
    }

    fn poll(&mut self, _: Duration, _: Timestamp) -> Result<Progress, DeliverError> {
        let mut desk = self.desk();
        let mut progress = Progress { state: OutletState::Up, ..Progress::default() };
        match desk.mood {
            Mood::Takes => {
                match desk.random.next() % 64 {
                    0 => return Err(DeliverError::Rewind { reason: "a timeout".into() }),
                    1 => return Err(DeliverError::Fatal { reason: "out of sequence".into() }),
                    _ => {}
                }
                let arrived = desk.some();
                desk.arrive(arrived, &self.watch);
                let acked = desk.below(arrived + 1);
                desk.queue.drain(..acked).for_each(drop);
                if let Some(count) = progress.delivered.get_mut(Level::Open as usize) {
                    *count = Delivered { records: acked as u64, bytes: 0 };
                }
            }
            Mood::Hangs | Mood::Retries => progress.state = OutletState::Down,
            Mood::Blocks => progress.state = OutletState::Blocked,
        }
        progress.unacked_from = desk.queue.front().map(|queued| queued.arrival.seq);
        let expects = desk.expects;
        desk.acked = desk.acked.max(progress.unacked_from.unwrap_or(expects));
        Ok(progress)
    }

    fn intended(&mut self, _: Bounds) {}

    fn rewind(&mut self, to: u64, _: &[Bounds]) {
        let mut desk = self.desk();
        if to < desk.acked {
            self.watch.see().breaks(format!("I4 {} was rewound to {to} behind {}", self.name, desk.acked));
        }
        let arrived = desk.queue.iter().filter(|queued| queued.has_arrived).count();
        self.watch.see().may_come_again(self.name, arrived);
        self.watch.see().tail(self.name, to);
        desk.queue.clear();
        desk.expects = to;
    }

    fn flush(&mut self, _: u64) {}
}

fn said(what: &str) -> Text {
    Text { en: what.to_owned(), fr: what.to_owned() }
}

/// Whether an id is that of a decision's record, or of a copy of it.
fn is_of(id: &str, decision: &str) -> bool {
    id.strip_prefix(decision).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The number that a payload bears; one that bears none is nobody's.
pub(crate) fn number_of(payload: &[u8]) -> usize {
    let value: serde_json::Value = serde_json::from_slice(payload).unwrap_or_default();
    let number = value.get("n").and_then(serde_json::Value::as_u64);
    number.and_then(|number| usize::try_from(number).ok()).unwrap_or(usize::MAX)
}
