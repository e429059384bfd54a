//! The entry points for fuzzing, shared by `fuzz/` and tests on stable: any bytes of a client, or of a broker,
//! cut anywhere, must neither panic nor loop, stay within the limits, and mean the same as uncut.

use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;

use crate::{
    Ack, Asks, Event, Grant, Heard, Limits, Progress, Receipt, Refusal, Session, Subscriber, Version, client,
};

/// What a stream came to.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    events: Vec<Event>,
    output: Vec<u8>,
}

/// Byte 0 says how to begin (bit 0: MQTT 5; bit 1: after a CONNECT, else from the first byte), byte 1 seeds
/// the cuts, the rest is the stream. Panics where an invariant does not hold.
pub fn session(data: &[u8], now: Instant) {
    let [mode, seed, stream @ ..] = data else { return };
    let version = if mode & 1 == 0 { Version::V3 } else { Version::V5 };
    let mut bytes = Vec::new();
    if mode & 2 != 0 {
        bytes = client::connect(version, &client::Connect::new("fuzz"));
    }
    bytes.extend_from_slice(stream);
    let whole = run(&bytes, None, now);
    let cut = run(&bytes, Some(u32::from(*seed) + 1), now);
    assert_eq!(whole, cut, "a stream means the same however it is cut");
}

/// The same for what a broker sends to a subscriber: bit 1 of byte 0 puts CONNACK and SUBACK before the stream.
pub fn subscriber(data: &[u8], now: Instant) {
    let [mode, seed, stream @ ..] = data else { return };
    let (version, connack, suback): (_, &[u8], &[u8]) = match mode & 1 {
        0 => (Version::V3, &[0x20, 2, 0, 0], &[0x90, 3, 0, 1, 1]),
        _ => (Version::V5, &[0x20, 3, 0, 0, 0], &[0x90, 4, 0, 1, 0, 1]),
    };
    let bytes = if mode & 2 == 0 { stream.to_vec() } else { [connack, suback, stream].concat() };
    let whole = hear(version, &bytes, None, now);
    let cut = hear(version, &bytes, Some(u32::from(*seed) + 1), now);
    assert_eq!(whole, cut, "a stream means the same however it is cut");
}

fn hear(version: Version, bytes: &[u8], mut seed: Option<u32>, now: Instant) -> (Vec<Heard>, Vec<u8>) {
    let asks = Asks {
        version,
        client_id: "fuzz".to_owned(),
        user_name: None,
        password: None,
        keep_alive: 30,
        session_expiry: 60,
        receive_maximum: 8,
        filters: vec!["$share/fuzz/#".to_owned()],
    };
    let limits = Limits { packet_bytes: 4096, ..Limits::default() };
    let mut mqtt = Subscriber::new(Arc::new(asks), Arc::new(limits), true, now);
    let (mut input, mut heard, mut acknowledged) = (BytesMut::new(), Vec::new(), 0);
    let mut rest = bytes;
    while !rest.is_empty() && mqtt.ended().is_none() {
        let (piece, after) = rest.split_at(step(&mut seed, rest.len()));
        rest = after;
        input.extend_from_slice(piece);
        loop {
            let before = heard.len();
            let progress = mqtt.receive(&mut input, now, 3, &mut heard);
            assert!(heard.len() <= before + 3 + 2 && mqtt.in_flight() <= 8);
            match progress {
                Progress::NeedInput(missing) => {
                    assert!(missing > 0 && input.len() < 4096);
                    break;
                }
                Progress::EventsFull => {}
                Progress::AwaitHub => {
                    let receipts: Vec<Receipt> = heard.iter().filter_map(receipt).collect();
                    for receipt in receipts.iter().skip(acknowledged) {
                        assert!(mqtt.acknowledge(*receipt, &mut heard).is_ok());
                    }
                    acknowledged = receipts.len();
                }
                Progress::OutputFull | Progress::Closed => break,
            }
        }
    }
    mqtt.connection_lost(&mut heard);
    assert!(matches!(heard.last(), Some(Heard::Ended(_))));
    (heard, mqtt.output().to_vec())
}

fn receipt(heard: &Heard) -> Option<Receipt> {
    match heard {
        Heard::Publish(publish) | Heard::Inadmissible(publish, _) => {
            Some(publish.receipt).filter(|receipt| receipt.wants_acknowledgement())
        }
        Heard::Connected { .. } | Heard::Subscribed | Heard::Ended(_) => None,
    }
}

fn run(bytes: &[u8], mut seed: Option<u32>, now: Instant) -> Outcome {
    let limits = Limits {
        packet_bytes: 4096,
        connect_bytes: 512,
        receive_maximum: 8,
        topic_alias_maximum: 4,
        output_bytes: 256,
        ..Limits::default()
    };
    let mut hub = Hub {
        session: Session::new(Arc::new(limits.clone()), now),
        limits,
        input: BytesMut::new(),
        outcome: Outcome { events: Vec::new(), output: Vec::new() },
        acknowledged: 0,
    };
    let mut rest = bytes;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(step(&mut seed, rest.len()));
        rest = after;
        hub.input.extend_from_slice(piece);
        if !hub.turn(now) {
            break;
        }
    }
    let Hub { mut session, mut outcome, .. } = hub;
    session.connection_lost(&mut outcome.events);
    outcome.output.extend_from_slice(session.output());
    check(&outcome, bytes.len());
    outcome
}

/// The next piece's length: all, or a pseudo-random part.
fn step(seed: &mut Option<u32>, most: usize) -> usize {
    let Some(seed) = seed else { return most };
    *seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    usize::try_from(*seed >> 27).unwrap_or(0).clamp(1, most)
}

/// The other side of a session: what it was given and what it answered.
struct Hub {
    session: Session,
    limits: Limits,
    input: BytesMut,
    outcome: Outcome,
    /// How many receipts were answered. What came again has a turn in the flight and no receipt, so that
    /// the flight's length does not tell.
    acknowledged: usize,
}

impl Hub {
    /// Until the session wants input; false once it is closed.
    fn turn(&mut self, now: Instant) -> bool {
        for _ in 0..=3 * self.input.len() + 8 {
            let before = self.outcome.events.len();
            let progress = self.session.receive(&mut self.input, now, 3, &mut self.outcome.events);
            assert!(self.outcome.events.len() <= before + 3 + 2);
            assert!(self.session.in_flight() <= 4 * usize::from(self.limits.receive_maximum));
            assert!(self.session.output().len() <= self.limits.output_bytes + 512);
            match progress {
                Progress::NeedInput(missing) => {
                    assert!(missing > 0 && self.input.len() < 4096);
                    return true;
                }
                Progress::Closed => return false,
                Progress::EventsFull => {}
                Progress::OutputFull => {
                    self.outcome.output.extend_from_slice(&self.session.output().split());
                }
                Progress::AwaitHub if self.session.in_flight() == 0 => self.session.accept(
                    Grant { assigned_client_id: Some("assigned".to_owned()), ..Grant::default() },
                    now,
                    &mut self.outcome.events,
                ),
                Progress::AwaitHub => self.acknowledge(),
            }
        }
        assert!(self.session.closed().is_some(), "no progress");
        false
    }

    /// Acknowledges what is in flight, every third publish with a refusal.
    fn acknowledge(&mut self) {
        let receipts: Vec<_> = self
            .outcome
            .events
            .iter()
            .filter_map(|event| match event {
                Event::Publish(publish) | Event::BridgeState(publish) | Event::Inadmissible(publish, _) => {
                    publish.receipt.sequence.map(|_| publish.receipt)
                }
                Event::Release(release) => Some(release.receipt),
                Event::Connect(_) | Event::Will(_) | Event::Closed(_) => None,
            })
            .collect();
        for (at, receipt) in receipts.into_iter().enumerate().skip(self.acknowledged) {
            let ack =
                if at % 3 == 2 { Ack::Refused(Refusal::NotAuthorized, Some("no")) } else { Ack::Accepted };
            assert!(self.session.acknowledge(receipt, ack, &mut self.outcome.events).is_ok());
            self.acknowledged += 1;
        }
    }
}

fn check(outcome: &Outcome, sent: usize) {
    let events = &outcome.events;
    assert!(events.len() <= sent + 2, "no event without bytes");
    assert!(matches!(events.last(), Some(Event::Closed(_))));
    for (at, event) in events.iter().enumerate() {
        match event {
            Event::Connect(_) => assert_eq!(at, 0),
            Event::Publish(publish) | Event::BridgeState(publish) | Event::Inadmissible(publish, _) => {
                let message = &publish.message;
                assert!(at > 0 && !message.topic().is_empty() && !message.topic().contains(['+', '#', '\0']));
                assert_eq!(message.topic().as_bytes(), message.topic_bytes());
                assert!(message.topic_bytes().len() + message.payload().len() <= 4096 + 512);
            }
            Event::Release(release) => assert!(release.packet_id > 0),
            Event::Will(_) => assert_eq!(at + 2, events.len()),
            Event::Closed(_) => assert_eq!(at + 1, events.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, clippy::cast_possible_truncation, reason = "tests")]

    use super::*;
    use std::time::Duration;

    fn seeds(target: &str) -> Vec<Vec<u8>> {
        let folder = format!("{}/../../fuzz/seeds/{target}", env!("CARGO_MANIFEST_DIR"));
        let mut paths: Vec<_> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths.into_iter().map(|path| std::fs::read(path).unwrap()).collect()
    }

    /// A fuzz target on stable: seeded mutations of its seed corpus, for ten seconds at most.
    fn mutate(target: &str, exercise: fn(&[u8], Instant)) {
        let (seeds, start) = (seeds(target), Instant::now());
        assert!(seeds.len() >= 6);
        for seed in &seeds {
            exercise(seed, start);
        }
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let mut random = move |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as usize % below.max(1)
        };
        let mut rounds = 0_u32;
        while rounds < 2_000_000 && start.elapsed() < Duration::from_secs(8) {
            let mut data = seeds[random(seeds.len())].clone();
            for _ in 0..=random(4) {
                let at = random(data.len());
                match random(6) {
                    0 => data[at] = random(256) as u8,
                    1 => data[at] ^= 1 << random(8),
                    2 => data.insert(at, random(256) as u8),
                    3 if data.len() > 3 => drop(data.remove(at)),
                    4 => {
                        let other = &seeds[random(seeds.len())];
                        let piece = other[random(other.len())..].to_vec();
                        data.splice(at..at, piece);
                    }
                    _ => data[at] = [0, 1, 0x7F, 0x80, 0xFF, 0x30, 0x32, 0x10][random(8)],
                }
            }
            exercise(&data, start);
            rounds += 1;
        }
        assert!(rounds > 1000, "only {rounds} mutations in the time");
    }

    #[test]
    fn mutations_of_the_seed_corpus_break_nothing() {
        mutate("session", session);
    }

    #[test]
    fn mutations_of_what_a_broker_sends_break_nothing() {
        mutate("subscriber", subscriber);
    }
}
