//! The parts that every message passes through, each as so many rounds of the
//! same work. Instructions are counted of them, not time: a busy machine moves
//! those by nothing, so what has grown has grown.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use octroi::record::{Message, StoredOutcome};
use octroi_journal::ChunkBuilder;
use octroi_mqtt::client::{self, Connect, Publish};
use octroi_mqtt::{Ack, Event, Grant, Limits, Qos, Session, Version};
use octroi_policy::json::{Scratch, read_into};
use octroi_policy::{
    CopyIx, DomainIx, Facts, Input, Label, Level, Markings, Policy, SourceFile, SpaceIx, Timestamp, parse,
};

use crate::Outcome;
use crate::journal;

const EXAMPLE: &str = include_str!("../../policies/bretagne-exemple.toml");
const SENDER: &str = "cert:CN=mobilite.rennes.example";
const TOPIC: &str = "ville/mobilite/compteur-7/count";
/// 200 bytes, and what the example's `open` rule takes.
const PAYLOAD: &[u8] = br#"{"device":"compteur-0000000000000000000000000000000007","ts":"2026-11-20T06:00:00Z","period":"PT15M","count":128,"speed_avg":43.75,"occupancy_pct":12.25}                                               "#;
/// What a chunk or a read holds in one round.
const TOGETHER: usize = 64;

/// Work that is counted.
#[derive(Clone, Copy, Debug)]
pub struct Counted {
    /// What it is called in the committed file.
    pub name: &'static str,
    /// Messages in one round.
    pub messages: usize,
    /// Does so many rounds; what it needs on disk goes into the directory.
    pub work: fn(usize, &Path) -> Outcome<()>,
}

/// All of it, in the order in which a message meets it.
pub const ALL: [Counted; 6] = [
    Counted { name: "frame", messages: TOGETHER, work: frame },
    Counted { name: "session", messages: TOGETHER, work: session },
    Counted { name: "scan", messages: 1, work: scan },
    Counted { name: "decide", messages: 1, work: decide },
    Counted { name: "record", messages: 1, work: record },
    Counted { name: "append", messages: TOGETHER, work: append },
];

/// Frames and reads publishes of QoS 0.
fn frame(rounds: usize, _: &Path) -> Outcome<()> {
    receive(rounds, Qos::AtMostOnce)
}

/// Frames and reads publishes of QoS 1, and acknowledges each.
fn session(rounds: usize, _: &Path) -> Outcome<()> {
    receive(rounds, Qos::AtLeastOnce)
}

fn receive(rounds: usize, qos: Qos) -> Outcome<()> {
    let now = Instant::now();
    let mut session = Session::new(Arc::new(Limits::default()), now);
    let mut events = Vec::new();
    let mut input = BytesMut::from(&client::connect(Version::V3, &Connect::new("counted"))[..]);
    session.receive(&mut input, now, 1, &mut events);
    session.accept(Grant::default(), now, &mut events);
    let publish = Publish {
        topic: TOPIC,
        payload: PAYLOAD,
        qos,
        packet_id: 7,
        dup: false,
        retain: false,
        properties: &[],
    };
    let packets = publish.encode(Version::V3).bytes.repeat(TOGETHER);
    let mut receipts = Vec::with_capacity(TOGETHER);
    for _ in 0..rounds {
        session.output().clear();
        events.clear();
        input.extend_from_slice(black_box(&packets));
        session.receive(&mut input, now, TOGETHER + 1, &mut events);
        if events.len() != TOGETHER {
            return Err(format!("{} of {TOGETHER} publishes were read", events.len()).into());
        }
        if qos == Qos::AtMostOnce {
            continue;
        }
        receipts.clear();
        receipts.extend(events.drain(..).filter_map(|event| match event {
            Event::Publish(publish) => Some(publish.receipt),
            _ => None,
        }));
        for receipt in &receipts {
            session.acknowledge(*receipt, Ack::Accepted, &mut events)?;
        }
        black_box(session.output());
    }
    Ok(())
}

/// Reads a payload strictly.
fn scan(rounds: usize, _: &Path) -> Outcome<()> {
    let mut scratch = Scratch::default();
    for _ in 0..rounds {
        let mut facts = Facts::default();
        read_into(black_box(PAYLOAD), &mut facts, &mut scratch).map_err(|error| format!("{error:?}"))?;
        black_box(&facts);
    }
    Ok(())
}

/// Reads a payload and decides on it by the example region's policy.
fn decide(rounds: usize, _: &Path) -> Outcome<()> {
    let file = SourceFile { name: "policy.toml".to_owned(), text: EXAMPLE.to_owned() };
    let policy = Policy::compile(&parse(&[file]).document, [0; 32]).map_err(|error| format!("{error:?}"))?;
    let input = Input {
        source: policy.source(SENDER).ok_or("the example has that source")?,
        topic: TOPIC,
        payload: PAYLOAD,
        user_properties: &[],
        received: Timestamp::parse_rfc3339("2026-11-20T06:01:10Z").ok_or("a time")?,
    };
    let mut scratch = Scratch::default();
    let outcome = policy.decide(&input).outcome;
    if outcome.name() != "routed" {
        return Err(format!("the message is {}", outcome.name()).into());
    }
    for _ in 0..rounds {
        black_box(policy.decide_with(black_box(&input), &mut scratch));
    }
    Ok(())
}

/// Writes a record's header, and reads the record.
fn record(rounds: usize, _: &Path) -> Outcome<()> {
    let message = Message {
        policy: 1,
        received: Timestamp(1_795_000_000_000_000),
        origin: None,
        time: Some(Timestamp(1_795_000_000_000_000)),
        outcome: StoredOutcome::Routed {
            space: SpaceIx::from_index(1).ok_or("an index")?,
            copies: vec![CopyIx::from_index(0).ok_or("an index")?],
        },
        label: Label { level: Level::Open, markings: Markings::default() },
        domain: DomainIx::from_index(1),
        commune: "35238",
        identity: "user:ville-mobilite",
        device: "compteur-7",
        topic: TOPIC,
        retain: false,
        user_properties: Vec::new(),
        payload: PAYLOAD,
    };
    let mut bytes = Vec::new();
    for _ in 0..rounds {
        bytes.clear();
        black_box(&message).write_header(&mut bytes);
        bytes.extend_from_slice(message.payload);
        let read = Message::read(black_box(&bytes)).map_err(|error| format!("no `{}`", error.field))?;
        black_box(read);
    }
    Ok(())
}

/// Encodes records into a chunk, appends it to a journal and commits.
fn append(rounds: usize, directory: &Path) -> Outcome<()> {
    let mut opened = journal::open(&directory.join("journal"))?;
    let mut builder = ChunkBuilder::new(TOGETHER * (PAYLOAD.len() + 32));
    for _ in 0..rounds {
        for _ in 0..TOGETHER {
            builder.push(1, opened.target.mask(), &[black_box(PAYLOAD)])?;
        }
        opened.journal.append(builder.finish())?;
        opened.journal.commit(&mut |_| {})?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_it_does_its_work() {
        assert_eq!(PAYLOAD.len(), 200);
        let directory = std::env::temp_dir().join(format!("octroi-counted-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        for Counted { name, work, .. } in ALL {
            work(2, &directory).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        std::fs::remove_dir_all(directory).unwrap();
    }
}
