//! Sessions, driven from outside: bytes in, events and bytes out, time by hand.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::cast_possible_truncation,
    clippy::wildcard_enum_match_arm,
    reason = "tests"
)]

#[path = "session/codec_faults.rs"]
mod codec_faults;
#[path = "session/conformance.rs"]
mod conformance;
#[path = "session/exactly_once.rs"]
mod exactly_once;
#[path = "session/flow.rs"]
mod flow;
#[path = "session/hostile.rs"]
mod hostile;
#[path = "session/streams.rs"]
mod streams;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use octroi_mqtt::{
    Ack, CloseReason, Closed, Event, Grant, Limits, Progress, Publish, Session, Version, client,
};

const BOTH: [Version; 2] = [Version::V3, Version::V5];

/// A hub that accepts every CONNECT and acknowledges when told.
struct Hub {
    session: Session,
    grant: Grant,
    input: BytesMut,
    now: Instant,
    /// All events but `Connect`.
    events: Vec<Event>,
    connects: Vec<octroi_mqtt::Connect>,
}

impl Hub {
    fn with_limits(limits: Limits) -> Self {
        let now = Instant::now();
        Self {
            session: Session::new(Arc::new(limits), now),
            grant: Grant { assigned_client_id: Some("assigned".to_owned()), ..Grant::default() },
            input: BytesMut::new(),
            now,
            events: Vec::new(),
            connects: Vec::new(),
        }
    }

    fn new() -> Self {
        Self::with_limits(Limits::default())
    }

    /// Connected, the CONNACK taken.
    fn connected(version: Version) -> Self {
        Self::connected_with(version, Limits::default(), &client::Connect::new("c"))
    }

    fn connected_with(version: Version, limits: Limits, connect: &client::Connect<'_>) -> Self {
        let mut hub = Self::with_limits(limits);
        hub.feed(&client::connect(version, connect));
        let out = hub.out();
        assert_eq!((out[0], out[3]), (0x20, 0), "accepted: {out:02x?}");
        hub
    }

    fn feed(&mut self, bytes: &[u8]) -> Progress {
        self.input.extend_from_slice(bytes);
        self.turn()
    }

    fn turn(&mut self) -> Progress {
        loop {
            let progress = self.session.receive(&mut self.input, self.now, 1000, &mut self.events);
            if !matches!(self.events.last(), Some(Event::Connect(_))) {
                return progress;
            }
            let Some(Event::Connect(connect)) = self.events.pop() else { panic!() };
            self.connects.push(*connect);
            self.session.accept(self.grant.clone(), self.now, &mut self.events);
        }
    }

    fn out(&mut self) -> Vec<u8> {
        self.session.output().split().to_vec()
    }

    fn publishes(&self) -> Vec<&Publish> {
        self.events
            .iter()
            .filter_map(|event| match event {
                Event::Publish(publish) | Event::BridgeState(publish) | Event::Inadmissible(publish, _) => {
                    Some(publish)
                }
                _ => None,
            })
            .collect()
    }

    fn acknowledge_all(&mut self) {
        let receipts: Vec<_> = self.publishes().iter().map(|publish| publish.receipt).collect();
        for receipt in receipts {
            self.session.acknowledge(receipt, Ack::Accepted, &mut self.events).unwrap();
        }
    }

    fn closed(&self) -> Option<Closed> {
        let closed = self.session.closed();
        assert_eq!(
            closed.is_some(),
            self.events.iter().any(|event| matches!(event, Event::Closed(_))),
            "reported once it is so"
        );
        closed
    }

    fn reason(&self) -> Option<CloseReason> {
        self.closed().map(|closed| closed.reason)
    }

    fn after(&mut self, time: Duration) {
        self.now += time;
        self.session.handle_timeout(self.now, &mut self.events);
    }
}

/// The packets in `out`, each with its first byte and content.
fn packets(out: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let (mut at, mut packets) = (0, Vec::new());
    while at < out.len() {
        let (mut len, mut shift, mut header) = (0, 0, 1);
        loop {
            let byte = out[at + header];
            len |= usize::from(byte & 0x7F) << shift;
            (shift, header) = (shift + 7, header + 1);
            if byte < 0x80 {
                break;
            }
        }
        packets.push((out[at], out[at + header..at + header + len].to_vec()));
        at += header + len;
    }
    packets
}
