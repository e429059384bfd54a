//! `ngsi-ld`: entities of ETSI GS CIM 009, normalized, concise or key-values,
//! alone, in an array, or in a notification (with or without the envelope of
//! its MQTT binding). Types and attributes count by their short form, so that
//! `https://…/AnprFlowObserved` is `AnprFlowObserved`.
//!
//! Metadata is what has no room for words: kinds of attributes and geometries,
//! system times. Identifiers, types and the context are the sender's words and
//! give the others their meaning: they are data, to be listed.

use std::borrow::Cow;

use super::shape::{Shape, assign};
use super::{ReadError, Several, declaration, instant_of, not_of_the_format, strictest, text_of};
use crate::Timestamp;
use crate::facts::{Facts, Kind, Leaf, LeafRole, Position, Scalar};
use crate::json::{self, Scratch};
use Shape::{Free, Mixed, Object, Text, Time, Word};

const ATTRIBUTE_KINDS: &[&str] = &[
    "Property",
    "Relationship",
    "GeoProperty",
    "LanguageProperty",
    "VocabProperty",
    "JsonProperty",
    "ListProperty",
    "ListRelationship",
    "Point",
    "MultiPoint",
    "LineString",
    "MultiLineString",
    "Polygon",
    "MultiPolygon",
];

/// An attribute and what stands within it: attributes of attributes, or the objects of key-values.
static ATTRIBUTE: Shape = Mixed(
    &[
        ("type", Word(ATTRIBUTE_KINDS)),
        ("@type", Word(&["DateTime", "Date", "Time"])),
        ("observedAt", Time),
        ("createdAt", Time),
        ("modifiedAt", Time),
    ],
    &ATTRIBUTE,
);
const ENTITY: Shape = Mixed(
    &[
        ("id", Free),
        ("@id", Free),
        ("type", Free),
        ("@type", Free),
        ("@context", Free),
        ("createdAt", Time),
        ("modifiedAt", Time),
    ],
    &ATTRIBUTE,
);
/// The entities of a notification stand below `data`.
const NOTIFICATION: Shape = Object(&[
    ("id", Text),
    ("type", Word(&["Notification"])),
    ("subscriptionId", Text),
    ("notifiedAt", Time),
    ("data", ENTITY),
    ("@context", Free),
]);
static ENTITIES: Shape = ENTITY;
static BARE: Shape = NOTIFICATION;
/// As sent by MQTT; `metadata` has what would be the headers of HTTP.
static ENVELOPE: Shape = Object(&[("metadata", Free), ("body", NOTIFICATION)]);

/// Keys between an attribute and its value.
const VALUE_KEYS: [&str; 3] = ["value", "@value", "hasValue"];

pub(super) fn read<'a>(payload: &'a [u8], scratch: &mut Scratch) -> Result<Facts<'a>, ReadError> {
    let mut facts = Facts { kind: Kind::Measure, ..Facts::default() };
    json::read_into(payload, &mut facts, scratch)?;
    if facts.leaves.iter().any(|leaf| leaf.node.is_none()) {
        return Err(not_of_the_format("NGSI-LD is an entity or an array of them"));
    }
    let notification = Scalar::Text(Cow::Borrowed("Notification"));
    let notifies = |path| facts.find(path).is_some_and(|leaf| leaf.value == notification);
    let (shape, data, notified) = if notifies("body.type") {
        (&ENVELOPE, &["body", "data"][..], "body.notifiedAt")
    } else if notifies("type") {
        (&BARE, &["data"][..], "notifiedAt")
    } else {
        (&ENTITIES, &[][..], "")
    };
    assign(&mut facts, shape);
    let mut entities = Entities::default();
    let mut below = Vec::with_capacity(facts.leaves.len());
    for leaf in &facts.leaves {
        let mut keys: Vec<&Cow<'a, str>> = facts.path_up(leaf.node).map(|node| &node.key).collect();
        keys.reverse();
        let within = keys.len() > data.len() && keys.iter().zip(data).all(|(key, of)| key == of);
        below.push(within);
        // What stands beside the data of a notification could be an entity to another reader.
        let keys = if within { keys.get(data.len()..) } else { keys.get(..).filter(|keys| keys.len() == 1) };
        entities.add(keys.unwrap_or_default(), leaf);
    }
    let root = u8::try_from(data.len()).unwrap_or(u8::MAX);
    for (leaf, _) in facts.leaves.iter_mut().zip(below).filter(|(_, below)| *below) {
        if let LeafRole::Data { root: begin } = &mut leaf.role {
            *begin = root;
        }
    }
    let notified = facts.find(notified).and_then(|leaf| instant_of(&leaf.value));
    entities.give(&mut facts)?;
    facts.time = notified.or(facts.time);
    Ok(facts)
}

/// Where a time may stand; the first that does counts, and of several such the latest.
fn rank_of_time(name: &str) -> Option<u8> {
    Some(match name {
        "dateObserved" => 0,
        "dateObservedTo" => 1,
        "timeInstant" => 2,
        "observedAt" => 3,
        _ if name.ends_with(".observedAt") => 4,
        _ => return None,
    })
}

/// What the entities say together.
#[derive(Default)]
struct Entities<'a> {
    id: Several<Cow<'a, str>>,
    types: Vec<Cow<'a, str>>,
    measures: Vec<Cow<'a, str>>,
    declared: Vec<Cow<'a, str>>,
    time: Option<(u8, Timestamp)>,
    is_point: bool,
    coordinates: Vec<f64>,
}

impl<'a> Entities<'a> {
    /// A leaf, by the keys that lead to it within its entity.
    fn add(&mut self, keys: &[&Cow<'a, str>], leaf: &Leaf<'a>) {
        let Some((first, rest)) = keys.split_first() else { return };
        match first.as_ref() {
            "id" | "@id" => return self.id.add(text_of(&leaf.value).filter(|_| rest.is_empty())),
            "type" | "@type" => return self.types.extend(text_of(&leaf.value).as_ref().map(short)),
            "@context" => return,
            _ => {}
        }
        let name = name_of(first, rest);
        if let (Some(rank), Some(instant)) = (rank_of_time(&name), instant_or_end(&leaf.value)) {
            let earlier = |(before, time)| rank < before || rank == before && instant > time;
            if self.time.is_none_or(earlier) {
                self.time = Some((rank, instant));
            }
        }
        match (name.as_ref(), &leaf.value) {
            ("location.type", Scalar::Text(kind)) => self.is_point |= kind == "Point",
            ("location.coordinates", Scalar::Number(degrees, _)) => self.coordinates.push(*degrees),
            _ => {}
        }
        if leaf.role == LeafRole::Metadata {
            return;
        }
        if name == "sensitivity" || name.starts_with("sensitivity.") {
            self.declared.push(declaration(leaf, name == "sensitivity"));
        }
        if matches!(leaf.value, Scalar::Number(..) | Scalar::Boolean(_)) {
            self.measures.push(name);
        }
    }

    fn give(mut self, facts: &mut Facts<'a>) -> Result<(), ReadError> {
        if self.types.is_empty() || matches!(self.id, Several::None) {
            return Err(not_of_the_format("an NGSI-LD entity without id or type"));
        }
        self.measures.sort_unstable();
        self.measures.dedup();
        facts.location = match self.coordinates.as_slice() {
            [longitude, latitude] | [longitude, latitude, _] if self.is_point => {
                Position::of(Some(*latitude), Some(*longitude))
            }
            _ => None,
        };
        (facts.device, facts.types, facts.measures) = (self.id.only(), self.types, self.measures);
        facts.time = self.time.map(|(_, instant)| instant);
        facts.declared = strictest(self.declared.into_iter());
        Ok(())
    }
}

/// The dotted name of an attribute or what is within it: short forms, without the keys that only lead to values.
fn name_of<'a>(first: &Cow<'a, str>, rest: &[&Cow<'a, str>]) -> Cow<'a, str> {
    let mut name = short(first);
    for key in rest.iter().map(|key| short(key)).filter(|key| !VALUE_KEYS.contains(&key.as_ref())) {
        let name = name.to_mut();
        name.push('.');
        name.push_str(&key);
    }
    name
}

/// `AnprFlowObserved` of `https://…/AnprFlowObserved`.
fn short<'a>(name: &Cow<'a, str>) -> Cow<'a, str> {
    const ENDS: [char; 3] = ['/', '#', ':'];
    let last = |name: &str| name.rfind(ENDS).map_or(0, |at| at + 1);
    match name {
        Cow::Borrowed(text) => match text.get(last(text)..) {
            Some(short) if !short.is_empty() => Cow::Borrowed(short),
            _ => Cow::Borrowed(text),
        },
        Cow::Owned(text) => match text.get(last(text)..) {
            Some(short) if !short.is_empty() => Cow::Owned(short.to_owned()),
            _ => name.clone(),
        },
    }
}

/// An instant, or the end of an interval.
fn instant_or_end(value: &Scalar<'_>) -> Option<Timestamp> {
    match value {
        Scalar::Text(text) => Timestamp::parse_rfc3339(text.rsplit('/').next()?),
        Scalar::Number(..) | Scalar::Empty | Scalar::Boolean(_) => None,
    }
}
