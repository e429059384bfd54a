//! Generated messages: payloads of each format that is read, with names spelt
//! to hide, and abstract facts that no payload need hold. Some payloads are no
//! JSON, or ambiguous.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::{COMMUNES, DOMAINS, Dice, KEYS, TAGS, WORDS};
use crate::ast::{Document, Format};
use crate::engine::condition::UNKNOWN;
use crate::{Facts, Input, Kind, Leaf, LeafRole, Node, Scalar, SourceIx, Timestamp};

const TOPICS: [&str; 12] = [
    "a",
    "a/b",
    "a/b/c",
    "a/35238/energy",
    "b/44185/water",
    "b",
    "a//c",
    "$a/b",
    "application/a/device/d/event/up",
    "application/a/device/d/event/join",
    "application/a/device/d/command/down",
    "v3/app@t/devices/d/up",
];

/// One message.
#[derive(Clone, Debug)]
pub(in crate::reference) struct Message {
    pub(in crate::reference) source: SourceIx,
    topic: &'static str,
    pub(in crate::reference) payload: Vec<u8>,
    properties: Vec<(&'static str, &'static str)>,
    received: Timestamp,
    /// In place of what the format reads.
    pub(in crate::reference) facts: Option<Facts<'static>>,
}

impl Message {
    pub(in crate::reference) fn input(&self) -> Input<'_> {
        Input {
            source: self.source,
            topic: self.topic,
            payload: &self.payload,
            user_properties: &self.properties,
            received: self.received,
        }
    }
}

/// The next message of some source.
pub(in crate::reference) fn message(dice: &mut Dice<'_>, document: &Document) -> Message {
    let source = dice.below(document.source.len());
    let abstracted = dice.one_in(6);
    let payload = payload(dice, document.source[source].format);
    Message {
        source: SourceIx::from_index(source).unwrap(),
        topic: dice.of(&TOPICS),
        payload: if dice.one_in(24) { spoilt(dice, payload) } else { payload }.into_bytes(),
        properties: properties(dice),
        received: received(dice),
        facts: abstracted.then(|| facts(dice)),
    }
}

/// A message that looks like another: the same keys, often the same sender and
/// topic, with other digits here and there, and other words.
pub(in crate::reference) fn alike(dice: &mut Dice<'_>, other: &Message, document: &Document) -> Message {
    let source = SourceIx::from_index(dice.below(document.source.len())).unwrap();
    let mut message = Message { facts: other.facts.as_ref().map(|_| facts(dice)), ..other.clone() };
    let digit = |dice: &mut Dice<'_>, byte: &mut u8| {
        if byte.is_ascii_digit() && dice.one_in(3) {
            *byte = b'0' + u8::try_from(dice.below(10)).unwrap();
        }
    };
    match dice.below(12) {
        0 => message.source = source,
        1 => message.topic = dice.of(&TOPICS),
        2 => message.properties = properties(dice),
        3 | 4 => message.received = received(dice),
        5 | 6 => message.payload = replaced(dice, &message.payload, &WORDS),
        7 => message.payload = replaced(dice, &message.payload, &COMMUNES),
        8 => message.payload = replaced(dice, &message.payload, &DOMAINS),
        _ => message.payload.iter_mut().for_each(|byte| digit(dice, byte)),
    }
    message
}

/// With one of these words for another, or the same.
fn replaced(dice: &mut Dice<'_>, payload: &[u8], words: &[&str]) -> Vec<u8> {
    let (from, to) = (dice.of(words), dice.of(words));
    String::from_utf8_lossy(payload).replace(from, to).into_bytes()
}

fn received(dice: &mut Dice<'_>) -> Timestamp {
    Timestamp(dice.date().start().0 + 3_600_000_000)
}

fn properties(dice: &mut Dice<'_>) -> Vec<(&'static str, &'static str)> {
    let mut properties = vec![];
    while properties.len() < 3 && dice.one_in(5) {
        properties.push((dice.of(&["sensitivity", "k", "Sensitivity"]), dice.of(&WORDS)));
    }
    properties
}

fn payload(dice: &mut Dice<'_>, format: Format) -> String {
    let mut out = String::new();
    match format {
        Format::ChirpstackV4 => {
            out.push_str("{\"deviceInfo\":{\"devEui\":\"0102\",\"tags\":");
            tags(dice, &mut out);
            out.push_str("},\"fPort\":2,\"data\":\"AQE=\",\"object\":");
            object(dice, 1, &mut out);
            out.push('}');
        }
        Format::TtsV3 => {
            out.push_str(
                "{\"end_device_ids\":{\"device_id\":\"d\"},\"uplink_message\":{\"frm_payload\":\"AQE=\",",
            );
            out.push_str("\"decoded_payload\":");
            object(dice, 1, &mut out);
            out.push_str("}}");
        }
        Format::Senml => senml(dice, &mut out),
        Format::Json
        | Format::NgsiLd
        | Format::SparkplugB
        | Format::Zigbee2mqtt
        | Format::Tasmota
        | Format::Shelly
        | Format::Opaque => object(dice, 0, &mut out),
    }
    out
}

/// The head of a plain object holds tags, type and declaration.
fn object(dice: &mut Dice<'_>, depth: usize, out: &mut String) {
    out.push('{');
    let first = dice.below(KEYS.len());
    for n in 0..dice.below(5) {
        let comma = if n == 0 { "" } else { "," };
        // Seldom one of the same name.
        let key = if dice.one_in(24) { dice.of(&KEYS) } else { KEYS[(first + 7 * n) % KEYS.len()] };
        match key.strip_prefix('p') {
            Some(rest) if dice.one_in(4) => write!(out, "{comma}\"\\u0070{rest}\":").unwrap(),
            Some(_) | None => write!(out, "{comma}\"{key}\":").unwrap(),
        }
        value(dice, depth, out);
    }
    if depth == 0 {
        out.push_str(if out.len() > 1 { ",\"tags\":" } else { "\"tags\":" });
        tags(dice, out);
        out.push_str(",\"type\":\"Car\"");
        if dice.one_in(4) {
            write!(out, ",\"sensitivity\":\"{}\"", dice.of(&WORDS)).unwrap();
        }
    }
    out.push('}');
}

fn value(dice: &mut Dice<'_>, depth: usize, out: &mut String) {
    const ODD: [&str; 9] = [
        "null",
        "{}",
        "[]",
        "[1,\"open\",{\"plate\":1}]",
        "-0",
        "1e3",
        "\"2026-11-20T06:00:00Z\"",
        "false",
        "\"{\\\"plate\\\":1}\"",
    ];
    match dice.below(8) {
        0 if depth < 3 => object(dice, depth + 1, out),
        1 => out.push_str(dice.of(&ODD)),
        2 => out.push_str("true"),
        3 | 4 => write!(out, "\"{}\"", dice.of(&WORDS)).unwrap(),
        _ => write!(out, "{}", dice.below(4) as f64 / 2.0).unwrap(),
    }
}

/// Each name once, mostly.
fn tags(dice: &mut Dice<'_>, out: &mut String) {
    let (commune, domain) = (dice.of(&COMMUNES), dice.of(&DOMAINS));
    out.push('{');
    if !dice.one_in(6) {
        write!(out, "\"insee\":\"{commune}\",").unwrap();
    }
    if !dice.one_in(6) {
        write!(out, "\"domain\":\"{domain}\",").unwrap();
    }
    let (name, value) = dice.of(&TAGS);
    let name = if dice.one_in(12) { name } else { "usage" };
    write!(out, "\"{name}\":\"{value}\"}}").unwrap();
}

fn senml(dice: &mut Dice<'_>, out: &mut String) {
    let spelt = |dice: &mut Dice<'_>| dice.of(&["plate", "рlаte", "count", "Mac", "lic", "ense_plate", ""]);
    write!(out, "[{{\"bn\":\"urn:dev:{}\"", spelt(dice)).unwrap();
    for n in 0..=dice.below(3) {
        let head = if n == 0 { "," } else { ",{" };
        write!(out, "{head}\"n\":\"{}\",", spelt(dice)).unwrap();
        match dice.below(4) {
            0 => write!(out, "\"vs\":\"{}\"}}", dice.of(&WORDS)).unwrap(),
            1 => out.push_str("\"vb\":true}"),
            _ => write!(out, "\"u\":\"Cel\",\"v\":{}}}", dice.below(4) as f64 / 2.0).unwrap(),
        }
    }
    out.push(']');
}

/// What no reader may take, or each reads otherwise.
fn spoilt(dice: &mut Dice<'_>, mut payload: String) -> String {
    match dice.below(5) {
        0 => payload.clear(),
        1 => {
            payload.pop();
        }
        2 => payload.push_str("{}"),
        3 => payload.insert(0, '\u{feff}'),
        _ => payload = format!("[{payload}]"),
    }
    payload
}

fn scalar(dice: &mut Dice<'_>) -> Scalar<'static> {
    match dice.below(6) {
        0 => Scalar::Empty,
        1 => Scalar::Boolean(dice.one_in(2)),
        2 => Scalar::Number(dice.below(4) as f64 / 2.0, "1"),
        3 => UNKNOWN,
        _ => Scalar::Text(Cow::Borrowed(dice.of(&WORDS))),
    }
}

fn facts(dice: &mut Dice<'_>) -> Facts<'static> {
    let cows = |dice: &mut Dice<'_>, all: &[&'static str], most| {
        (0..dice.below(most)).map(|_| Cow::Borrowed(dice.of(all))).collect::<Vec<_>>()
    };
    let mut facts =
        Facts { kind: if dice.one_in(60) { Kind::Command } else { Kind::Measure }, ..Facts::default() };
    facts.tags = (0..dice.below(5))
        .map(|_| dice.of(&TAGS))
        .map(|(k, v)| (Cow::Borrowed(k), Cow::Borrowed(v)))
        .collect();
    facts.types = cows(dice, &["Car", "CAR", "meter", "Bike"], 3);
    facts.measures = cows(dice, &KEYS, 3);
    facts.names = if dice.one_in(4) { cows(dice, &KEYS, 3) } else { vec![] };
    facts.declared = dice.maybe(4, |dice| Cow::Borrowed(dice.of(&WORDS)));
    for _ in 0..dice.below(6) {
        let mut parent = None;
        for _ in 0..=dice.below(3) {
            facts.nodes.push(Node { key: Cow::Borrowed(dice.of(&KEYS)), parent });
            parent = Some(u32::try_from(facts.nodes.len() - 1).unwrap());
        }
        let role = match dice.below(6) {
            0 => LeafRole::Metadata,
            1 => LeafRole::Raw,
            2 => LeafRole::Data { root: 1 },
            _ => LeafRole::Data { root: 0 },
        };
        for _ in 0..=dice.below(2) {
            facts.leaves.push(Leaf { node: parent, value: scalar(dice), role });
        }
    }
    facts
}
