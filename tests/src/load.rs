//! Publishers that behave as real sensors' gateways do: QoS 1 or 2, a window of
//! unacknowledged messages, and after any broken connection a reconnect that
//! sends again, in order and marked DUP, what was not acknowledged. At QoS 2 a
//! message is acknowledged by its PUBREC and leaves the window by its PUBCOMP.
//!
//! Every message carries a number that nothing else in the run has
//! ([`find_id`]); what was published and what was acknowledged is the record
//! that the oracle judges by.

pub mod wire;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use crate::peer::Peer;
use wire::{Answer, Wire};
pub use wire::{Qos, Version};

/// Where message numbers stand in a payload template.
pub const ID: &str = "%ID%";

/// A kind of message, and what must become of it.
#[derive(Clone, Debug)]
pub struct Stream {
    /// Name for reports.
    pub name: &'static str,
    /// The identity that publishes it.
    pub user: &'static str,
    /// The topic; `%N%` is the connection's number (so that each has devices of its own), `%ID%` as below.
    pub topic: &'static str,
    /// The payload; `%ID%` is the message's number (15 digits), `%N%` as above.
    pub payload: &'static str,
    /// Targets that must get it, once each (primary and copies), as `target` ids.
    pub reaches: &'static [&'static str],
    /// Targets that must never see it.
    pub never: &'static [&'static str],
}

/// How to publish.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub version: Version,
    /// Connections per stream.
    pub connections: usize,
    /// Unacknowledged messages per connection.
    pub window: usize,
    /// Messages per connection and second; `None`: as fast as the window lets.
    pub rate: Option<u32>,
    /// Messages per connection; `None`: until stopped.
    pub messages: Option<u64>,
}

/// One published message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    pub id: u64,
    /// Index into the streams.
    pub stream: usize,
    /// How often it was written to a socket, each of which may make a message; at QoS 2 only the first may.
    pub attempts: u32,
    pub acknowledged: bool,
    /// An MQTT 5 refusal (reason code ≥ 0x80).
    pub refused: Option<u8>,
}

/// What was published, per connection in order of publication.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    pub connections: Vec<Vec<Sent>>,
    /// Connections made after the first of each.
    pub reconnects: u64,
    /// Acks that came out of the order of their publishes [MQTT-4.6.0-2], or for nothing that was open.
    pub disordered_acks: u64,
    /// Reconnects whose session the hub no longer had.
    pub sessions_lost: u64,
}

impl Outcome {
    pub fn messages(&self) -> impl Iterator<Item = &Sent> {
        self.connections.iter().flatten()
    }

    pub fn acknowledged(&self) -> u64 {
        self.messages().filter(|sent| sent.acknowledged).count() as u64
    }
}

/// A load under way.
pub struct Load {
    threads: Vec<JoinHandle<Outcome>>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    give_up: AtomicBool,
    acknowledged: AtomicU64,
}

impl Load {
    /// Starts `plan.connections` publishers for each stream. Message numbers begin with `run` (0–99), so that
    /// several loads on one hub stay apart.
    pub fn start(hub: impl Into<Peer>, streams: &[Stream], plan: Plan, run: u64) -> Self {
        Self::start_at(Qos::AtLeastOnce, hub, streams, plan, run)
    }

    /// The same at this QoS.
    pub fn start_at(qos: Qos, hub: impl Into<Peer>, streams: &[Stream], plan: Plan, run: u64) -> Self {
        let (hub, shared) = (hub.into(), Arc::new(Shared::default()));
        let publishers = streams.iter().enumerate().flat_map(|(stream, spec)| {
            (0..plan.connections).map(move |at| (stream, spec.clone(), stream * plan.connections + at))
        });
        let threads = publishers.map(|(stream, spec, number)| {
            let shared = Arc::clone(&shared);
            let publisher = Publisher::new(hub.clone(), (stream, spec), (plan, qos), run, number);
            std::thread::spawn(move || publisher.run(&shared))
        });
        let threads = threads.collect();
        Self { threads, shared }
    }

    /// Messages acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(Ordering::Relaxed)
    }

    /// Publishes nothing new, waits for what is open, at most `within`.
    pub fn stop(self, within: Duration) -> Outcome {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.finish(within)
    }

    /// Waits for the plan's number of messages to be published and acknowledged, at most `within`.
    pub fn finish(self, within: Duration) -> Outcome {
        let end = Instant::now() + within;
        while Instant::now() < end && !self.threads.iter().all(JoinHandle::is_finished) {
            sleep(Duration::from_millis(5));
        }
        self.shared.give_up.store(true, Ordering::Relaxed);
        let mut all = Outcome::default();
        for thread in self.threads {
            let one = thread.join().expect("a publisher does not panic");
            all.connections.extend(one.connections);
            all.reconnects += one.reconnects;
            all.disordered_acks += one.disordered_acks;
            all.sessions_lost += one.sessions_lost;
        }
        all
    }
}

/// The publisher that a message's number belongs to: the load and the connection.
pub fn publisher(message: u64) -> u64 {
    message / PER_PUBLISHER
}

/// Numbers that each publisher has.
const PER_PUBLISHER: u64 = 10_000_000;

/// A message in the window.
#[derive(Clone, Copy)]
struct Open {
    packet: u16,
    /// Index into what was sent.
    at: usize,
    /// Its PUBREC has come (QoS 2).
    received: bool,
}

/// One connection's publisher. Ids in flight are kept in order, as a client's store does.
struct Publisher {
    hub: Peer,
    stream: usize,
    spec: Stream,
    plan: Plan,
    qos: Qos,
    first: u64,
    number: usize,
    sent: Vec<Sent>,
    open: VecDeque<Open>,
    next_packet: u16,
    reconnects: u64,
    disordered: u64,
    sessions_lost: u64,
    started: Instant,
}

impl Publisher {
    fn new(
        hub: Peer,
        (stream, spec): (usize, Stream),
        (plan, qos): (Plan, Qos),
        run: u64,
        number: usize,
    ) -> Self {
        assert!(run < 100 && number < 1000, "message numbers have room for 100 loads of 1,000 connections");
        let first = 770_000_000_000_000 + run * 1_000 * PER_PUBLISHER + number as u64 * PER_PUBLISHER;
        Self {
            hub,
            stream,
            spec,
            plan,
            qos,
            first,
            number,
            sent: Vec::new(),
            open: VecDeque::new(),
            next_packet: 0,
            reconnects: 0,
            disordered: 0,
            sessions_lost: 0,
            started: Instant::now(),
        }
    }

    fn run(mut self, shared: &Shared) -> Outcome {
        let mut connections = 0_u64;
        while !shared.give_up.load(Ordering::Relaxed) && !self.done(shared) {
            match self.session(shared, connections > 0) {
                Ok(()) => {}
                Err(_broken) => sleep(Duration::from_millis(50)), // a refused or broken connection: try again
            }
            connections += 1;
        }
        self.reconnects = connections.saturating_sub(1);
        Outcome {
            connections: vec![self.sent],
            reconnects: self.reconnects,
            disordered_acks: self.disordered,
            sessions_lost: self.sessions_lost,
        }
    }

    fn done(&self, shared: &Shared) -> bool {
        let enough = self.plan.messages.is_some_and(|limit| self.sent.len() as u64 >= limit);
        self.open.is_empty() && (enough || shared.stop.load(Ordering::Relaxed))
    }

    /// One connection: resend what is open, then publish within the window until done or broken.
    fn session(&mut self, shared: &Shared, again: bool) -> io::Result<()> {
        let client = format!("load-{}-{}", self.first, self.number);
        let mut wire = Wire::connect(self.hub.clone(), self.plan.version, &client, self.spec.user)?;
        let published = self.sent.iter().any(|sent| sent.attempts > 0);
        self.sessions_lost += u64::from(published && !wire.session_present());
        let mut packets = Vec::new();
        for open in self.open.clone() {
            self.encode(open, again, &mut packets);
        }
        wire.send(&packets)?;
        while !shared.give_up.load(Ordering::Relaxed) && !self.done(shared) {
            packets.clear();
            while self.may_publish(shared) {
                let open = self.open_next();
                self.encode(open, false, &mut packets);
            }
            wire.send(&packets)?;
            if let Some(answer) = wire.answer(Duration::from_millis(20))? {
                packets.clear();
                self.take(&answer, shared, &mut packets)?;
                wire.send(&packets)?;
            }
        }
        wire.disconnect()
    }

    fn may_publish(&self, shared: &Shared) -> bool {
        let published = self.sent.len() as u64;
        let due = self
            .plan
            .rate
            .is_none_or(|rate| published < (self.started.elapsed().as_secs_f64() * f64::from(rate)) as u64);
        due && self.open.len() < self.plan.window
            && !shared.stop.load(Ordering::Relaxed)
            && self.plan.messages.is_none_or(|limit| published < limit)
    }

    fn open_next(&mut self) -> Open {
        self.next_packet = if self.next_packet == u16::MAX { 1 } else { self.next_packet + 1 };
        let id = self.first + self.sent.len() as u64;
        self.sent.push(Sent { id, stream: self.stream, attempts: 0, acknowledged: false, refused: None });
        let open = Open { packet: self.next_packet, at: self.sent.len() - 1, received: false };
        self.open.push_back(open);
        open
    }

    fn encode(&mut self, Open { packet, at, received }: Open, again: bool, into: &mut Vec<u8>) {
        if received {
            return wire::pubrel(packet, into);
        }
        let sent = &mut self.sent[at];
        sent.attempts = if self.qos == Qos::ExactlyOnce { 1 } else { sent.attempts + 1 };
        let number = self.number.to_string();
        let fill = |template: &str| template.replace("%N%", &number).replace(ID, &sent.id.to_string());
        let (topic, payload) = (fill(self.spec.topic), fill(self.spec.payload));
        wire::publish((self.plan.version, self.qos), packet, again, &topic, payload.as_bytes(), into);
    }

    /// Takes an answer; what has to follow it goes to `into`.
    fn take(&mut self, answer: &Answer, shared: &Shared, into: &mut Vec<u8>) -> io::Result<()> {
        let (answered, reason, received) = match *answer {
            Answer::Ack { packet, reason } | Answer::Received { packet, reason } => (packet, reason, false),
            Answer::Complete { packet } => (packet, 0, true),
            Answer::Disconnect(_) => return Err(io::ErrorKind::ConnectionAborted.into()),
        };
        // PUBACK, PUBREC and PUBCOMP each come in the order of what they answer.
        let mut stage = self.open.iter().enumerate().filter(|(_, open)| open.received == received);
        let first = stage.clone().next().map(|(place, _)| place);
        let Some(place) = stage.find(|(_, open)| open.packet == answered).map(|(place, _)| place) else {
            self.disordered += 1;
            return Ok(());
        };
        self.disordered += u64::from(first != Some(place));
        let open = &mut self.open[place];
        let sent = &mut self.sent[open.at];
        if reason >= 0x80 {
            sent.refused = Some(reason);
        } else if !received {
            sent.acknowledged = true;
            shared.acknowledged.fetch_add(1, Ordering::Relaxed);
        }
        if matches!(answer, Answer::Received { .. }) && reason < 0x80 {
            open.received = true;
            wire::pubrel(answered, into);
        } else {
            self.open.remove(place);
        }
        Ok(())
    }
}

/// Publishes one message as `user` and returns the reason code of its PUBACK (0 in 3.1.1).
pub fn publish_one(
    hub: impl Into<Peer>,
    version: Version,
    user: &str,
    topic: &str,
    payload: &[u8],
) -> io::Result<u8> {
    let mut wire = Wire::connect(hub, version, &format!("one-{user}"), user)?;
    let mut packet = Vec::new();
    wire::publish((version, Qos::AtLeastOnce), 1, false, topic, payload, &mut packet);
    wire.send(&packet)?;
    match wire.answer(Duration::from_secs(10))? {
        Some(Answer::Ack { packet: 1, reason }) => wire.disconnect().map(|()| reason),
        other => Err(io::Error::new(io::ErrorKind::InvalidData, format!("{other:?} in place of a PUBACK"))),
    }
}

/// The number of the message whose payload this is: the first run of exactly 15 digits that begins with 77.
pub fn find_id(payload: &[u8]) -> Option<u64> {
    let runs = payload.split(|byte| !byte.is_ascii_digit());
    let mut numbers = runs.filter(|run| run.len() == 15 && run.starts_with(b"77"));
    numbers.next().and_then(|run| std::str::from_utf8(run).ok()?.parse().ok())
}

/// Streams by name, for reports.
pub fn count_by_stream(outcome: &Outcome, streams: &[Stream]) -> BTreeMap<&'static str, u64> {
    let mut counts = BTreeMap::new();
    for sent in outcome.messages().filter(|sent| sent.acknowledged) {
        *counts.entry(streams[sent.stream].name).or_default() += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_number_is_found_among_other_digits() {
        assert_eq!(find_id(br#"{"a":1234,"b":"T-770010020000007","c":7}"#), Some(770_010_020_000_007));
        assert_eq!(find_id(b"7700100200000071"), None, "sixteen digits are another number");
    }
}
