//! What it costs to read a PUBLISH: the codec alone against the whole session. Std only; run with
//! `cargo run --release -p octroi-mqtt --example parse`.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench measures time and prints"
)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use octroi_mqtt::client::{self, property};
use octroi_mqtt::{Ack, Event, Grant, Limits, Progress, Qos, Session, Version};
use rumqttd::protocol::v4::V4;
use rumqttd::protocol::v5::V5;
use rumqttd::protocol::{Packet, Protocol};

const FRAMES: usize = 256;
const ROUNDS: usize = 2000;
const TOPIC: &str = "rennes/capteurs/air/station-0042/pm25";

fn main() {
    let payload = [b'x'; 200];
    let user = [property::text(0x03, b"application/json"), property::user("unit", "ug/m3")].concat();
    let alias = property::short(0x23, 3);
    for (name, version, topic, properties) in [
        ("3.1.1", Version::V3, TOPIC, &[][..]),
        ("5", Version::V5, TOPIC, &[]),
        ("5, topic alias", Version::V5, "", &alias),
        ("5, content type and user property", Version::V5, TOPIC, &user),
    ] {
        let publish = client::Publish {
            topic,
            payload: &payload,
            qos: Qos::AtLeastOnce,
            packet_id: 7,
            dup: false,
            retain: false,
            properties,
        };
        let chunk = publish.encode(version).bytes.repeat(FRAMES);
        let codec = median(|| codec(version, &chunk));
        let session = median(|| session(version, &chunk));
        println!(
            "{name:>34}: codec {codec:5.1} ns/frame; session {:5.1} receive + {:4.1} acknowledge",
            session.0, session.1
        );
    }
}

trait Sample: Copy {
    fn key(self) -> f64;
}
impl Sample for f64 {
    fn key(self) -> f64 {
        self
    }
}
impl Sample for (f64, f64) {
    fn key(self) -> f64 {
        self.0 + self.1
    }
}

fn median<T: Sample>(mut run: impl FnMut() -> T) -> T {
    let mut samples: Vec<T> = (0..5).map(|_| run()).collect();
    samples.sort_by(|a, b| a.key().total_cmp(&b.key()));
    *samples.get(2).unwrap()
}

fn per_frame(total: Duration) -> f64 {
    total.as_secs_f64() * 1e9 / (ROUNDS * FRAMES) as f64
}

fn fresh(chunk: &[u8]) -> BytesMut {
    let mut input = BytesMut::with_capacity(chunk.len());
    input.extend_from_slice(chunk);
    input
}

fn codec(version: Version, chunk: &[u8]) -> f64 {
    let mut total = Duration::ZERO;
    for _ in 0..ROUNDS {
        let mut input = fresh(chunk);
        let mut out = Vec::with_capacity(FRAMES);
        let start = Instant::now();
        while !input.is_empty() {
            let packet = match version {
                Version::V3 => V4.read_mut(&mut input, usize::MAX),
                Version::V5 => V5.read_mut(&mut input, usize::MAX),
            };
            if let Ok(Packet::Publish(publish, properties)) = packet {
                out.push((publish, properties));
            }
        }
        black_box(&out);
        drop((out, input));
        total += start.elapsed();
    }
    per_frame(total)
}

fn session(version: Version, chunk: &[u8]) -> (f64, f64) {
    let now = Instant::now();
    let limits = Limits { receive_maximum: 1000, ..Limits::default() };
    let mut session = Session::new(Arc::new(limits), now);
    let mut events = Vec::with_capacity(FRAMES);
    let mut input = BytesMut::from(&client::connect(version, &client::Connect::new("bench"))[..]);
    session.receive(&mut input, now, 1, &mut events);
    session.accept(Grant::default(), now, &mut events);
    let alias = property::short(0x23, 3);
    let define = client::Publish {
        topic: TOPIC,
        payload: b"",
        qos: Qos::AtMostOnce,
        packet_id: 0,
        dup: false,
        retain: false,
        properties: &alias,
    };
    let mut input = BytesMut::from(&define.encode(version).bytes[..]);
    session.receive(&mut input, now, 1, &mut events);
    let mut receipts = Vec::with_capacity(FRAMES);
    let (mut received, mut acknowledged) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..ROUNDS {
        session.output().clear();
        events.clear();
        receipts.clear();
        let mut input = fresh(chunk);
        let start = Instant::now();
        let progress = session.receive(&mut input, now, FRAMES + 1, &mut events);
        received += start.elapsed();
        assert_eq!((progress, events.len()), (Progress::NeedInput(2), FRAMES));
        for event in &events {
            if let Event::Publish(publish) = event {
                receipts.push(publish.receipt);
            }
        }
        let start = Instant::now();
        events.clear();
        drop(input);
        received += start.elapsed();
        let start = Instant::now();
        for receipt in &receipts {
            session.acknowledge(*receipt, Ack::Accepted, &mut events).unwrap();
        }
        acknowledged += start.elapsed();
        assert_eq!(black_box(session.output()).len(), 4 * FRAMES);
    }
    (per_frame(received), per_frame(acknowledged))
}
