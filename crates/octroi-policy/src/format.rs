//! Adapters: one payload → [`Facts`]. Each format says what is data, what is
//! its own metadata, and where device, time and tags stand. None of them
//! judges, and none reads anything but the topic and the payload.
//!
//! INVARIANT: total. Bytes that two readers could read differently are
//! [`ReadError::Ambiguous`], bytes that are not of the format are
//! [`ReadError::CannotDecode`]; a command is a command whatever it holds.

mod json;
mod lorawan;
mod ngsi_ld;
mod protobuf;
mod senml;
mod shape;
mod shelly;
mod sparkplug;
mod tasmota;
mod zigbee2mqtt;

use std::borrow::Cow;

pub(crate) use json::is_time_key;
use thiserror::Error;

use crate::ast::Format;
use crate::facts::{Ambiguity, Facts, Kind, Leaf, LeafRole, Scalar};
use crate::json::Scratch;
use crate::{Level, Timestamp};
use shape::{Shape, assign, measure_of, shape_of};

/// Every format, for what must hold of each.
#[cfg(any(test, feature = "test-util"))]
pub(crate) const FORMATS: [Format; 10] = [
    Format::Json,
    Format::ChirpstackV4,
    Format::TtsV3,
    Format::Senml,
    Format::NgsiLd,
    Format::SparkplugB,
    Format::Zigbee2mqtt,
    Format::Tasmota,
    Format::Shelly,
    Format::Opaque,
];

/// Why a payload gives no facts.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReadError {
    /// Two readers could read it differently.
    #[error("the payload is ambiguous at byte {}: {}", .0.offset, .0.reason)]
    Ambiguous(Ambiguity),
    /// It is not of the source's format.
    #[error("the payload is not of the source's format, at byte {offset}: {reason}")]
    CannotDecode {
        /// A stable phrase.
        reason: &'static str,
        /// In the payload.
        offset: usize,
    },
}

impl From<Ambiguity> for ReadError {
    fn from(ambiguity: Ambiguity) -> Self {
        Self::Ambiguous(ambiguity)
    }
}

/// Reads one message.
///
/// # Errors
///
/// See [`ReadError`]; both keep the message in the region.
pub fn read<'a>(format: Format, topic: &'a str, payload: &'a [u8]) -> Result<Facts<'a>, ReadError> {
    read_with(format, topic, payload, &mut Scratch::default())
}

/// [`read`], with memory that the caller keeps from one message to the next.
///
/// # Errors
///
/// As [`read`].
pub fn read_with<'a>(
    format: Format,
    topic: &'a str,
    payload: &'a [u8],
    scratch: &mut Scratch,
) -> Result<Facts<'a>, ReadError> {
    scratch.learned.begin();
    let mut facts = read_format(format, topic, payload, scratch)?;
    if !facts.nodes.is_empty() && scratch.odd_keys {
        facts.read_more_names();
    }
    Ok(facts)
}

fn read_format<'a>(
    format: Format,
    topic: &'a str,
    payload: &'a [u8],
    scratch: &mut Scratch,
) -> Result<Facts<'a>, ReadError> {
    match format {
        Format::Json => json::read(topic, payload, scratch),
        Format::ChirpstackV4 => lorawan::chirpstack(topic, payload, scratch),
        Format::TtsV3 => lorawan::tts(topic, payload, scratch),
        Format::Senml => senml::read(topic, payload, scratch),
        Format::NgsiLd => ngsi_ld::read(payload, scratch),
        Format::SparkplugB => sparkplug::read(topic, payload, scratch),
        Format::Zigbee2mqtt => zigbee2mqtt::read(topic, payload, scratch),
        Format::Tasmota => tasmota::read(topic, payload, scratch),
        Format::Shelly => shelly::read(topic, payload, scratch),
        Format::Opaque => Ok(opaque(payload)),
    }
}

/// Bytes that nobody reads. They are a frame, or every closed schema would hold over them.
fn opaque<'a>(payload: &'a [u8]) -> Facts<'a> {
    let frame = Leaf { node: None, value: Scalar::Empty, role: LeafRole::Raw };
    let leaves = if payload.is_empty() { Vec::new() } else { vec![frame] };
    Facts { kind: Kind::Opaque, leaves, ..Facts::default() }
}

/// Reads a payload that must be one JSON object; returns whether it holds an
/// array. A command is one whatever its payload: what cannot be read has no leaf.
fn object_or_command<'a>(
    kind: Kind,
    payload: &'a [u8],
    scratch: &mut Scratch,
) -> Result<(Facts<'a>, bool), ReadError> {
    match json_or_command(kind, payload, scratch) {
        Ok(_) if kind != Kind::Command && first_byte(payload) != Some(b'{') => {
            Err(not_of_the_format("not a JSON object"))
        }
        other => other,
    }
}

/// The same for any JSON.
fn json_or_command<'a>(
    kind: Kind,
    payload: &'a [u8],
    scratch: &mut Scratch,
) -> Result<(Facts<'a>, bool), ReadError> {
    let mut facts = Facts { kind, ..Facts::default() };
    match crate::json::read_into(payload, &mut facts, scratch) {
        Ok(arrays) => Ok((facts, arrays)),
        Err(_) if kind == Kind::Command => Ok((Facts { kind, ..Facts::default() }, false)),
        Err(why) => Err(why.into()),
    }
}

/// Reads what a device says in JSON: roles, measures and declaration, by the
/// shape of the format.
fn shaped<'a>(
    kind: Kind,
    shape: &'static Shape,
    payload: &'a [u8],
    scratch: &mut Scratch,
) -> Result<Facts<'a>, ReadError> {
    let (mut facts, _) = json_or_command(kind, payload, scratch)?;
    let shapes = assign(&mut facts, shape);
    let named = facts.leaves.iter().filter_map(|leaf| measure_of(&facts, leaf, shape_of(&shapes, leaf)));
    let mut measures: Vec<_> = named.collect();
    measures.sort_unstable();
    measures.dedup();
    facts.measures = measures;
    facts.read_declared();
    Ok(facts)
}

/// A payload that is one of the words which a format sends bare, beside its
/// JSON: data without a name.
fn bare_word<'a>(kind: Kind, words: &[&'static str], payload: &'a [u8]) -> Option<Facts<'a>> {
    let word = words.iter().find(|word| word.as_bytes() == payload)?;
    let value = Scalar::Text(Cow::Borrowed(*word));
    let leaf = Leaf { node: None, value, role: LeafRole::Data { root: 0 } };
    Some(Facts { kind, leaves: vec![leaf], ..Facts::default() })
}

const fn not_of_the_format(reason: &'static str) -> ReadError {
    ReadError::CannotDecode { reason, offset: 0 }
}

/// The device that levels of a topic name.
fn device_of<'a>(levels: &[&'a str]) -> Option<Cow<'a, str>> {
    match levels {
        [] | [""] => None,
        [one] => Some(Cow::Borrowed(one)),
        levels => Some(Cow::Owned(levels.join("/"))),
    }
}

/// The first byte that is no white space.
fn first_byte(payload: &[u8]) -> Option<u8> {
    payload.iter().copied().find(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r'))
}

impl<'a> Facts<'a> {
    /// What the sender declares in a top-level `sensitivity`. A declaration
    /// can only raise: of several the strictest counts, and what is no word
    /// (a number, an object, `null`) is given as the empty word, which is no
    /// level and so counts as restricted.
    fn read_declared(&mut self) {
        if !self.nodes.iter().any(|node| node.parent.is_none() && node.key == "sensitivity") {
            return;
        }
        let words = self.leaves.iter().filter_map(|leaf| {
            let top = self.path_up(leaf.node).last()?;
            (top.key == "sensitivity").then(|| declaration(leaf, self.is_top(leaf)))
        });
        self.declared = strictest(words);
    }

    fn is_top(&self, leaf: &Leaf<'a>) -> bool {
        self.node(leaf.node).is_some_and(|node| node.parent.is_none())
    }

    /// Names that stand within a key: the parts of one that reads like a path
    /// (`vehicle.plate`), and what its foreign capitals look like (Cyrillic МАС),
    /// which folding takes for their small letters.
    fn read_more_names(&mut self) {
        const SEPARATORS: [char; 4] = ['.', '/', ':', '#'];
        for node in &self.nodes {
            if node.key.bytes().any(|byte| matches!(byte, b'.' | b'/' | b':')) {
                match &node.key {
                    Cow::Borrowed(key) => self.names.extend(key.split(SEPARATORS).map(Cow::Borrowed)),
                    Cow::Owned(key) => {
                        self.names.extend(key.split(SEPARATORS).map(|part| Cow::Owned(part.to_owned())));
                    }
                }
            }
            if !node.key.is_ascii() {
                self.names.extend(crate::names::latin_capitals(&node.key).map(Cow::Owned));
            }
        }
    }

    /// Commune and domain, from the tags of those names; two of one name say nothing.
    fn read_tags(&mut self) {
        let only = |name: &str| {
            let mut values = self.tags.iter().filter(|(key, _)| key == name).map(|(_, value)| value);
            let value = values.next()?;
            values.next().is_none().then(|| value.clone())
        };
        (self.commune, self.domain) = (only("insee"), only("domain"));
    }

    /// The name of a leaf as a measure: dotted, below the node `root`.
    fn measure_name(&self, leaf: &Leaf<'a>, root: Option<u32>) -> Cow<'a, str> {
        let Some(last) = self.node(leaf.node) else { return Cow::Borrowed("") };
        if last.parent == root {
            return last.key.clone();
        }
        let mut keys = [""; crate::json::MAX_DEPTH as usize];
        let (mut first, mut length, mut next) = (keys.len(), 0, leaf.node);
        while next != root
            && let Some(node) = self.node(next)
            && let Some(slot) = first.checked_sub(1).and_then(|at| keys.get_mut(at))
        {
            *slot = node.key.as_ref();
            length += node.key.len() + 1;
            first -= 1;
            next = node.parent;
        }
        let mut name = String::with_capacity(length);
        for key in keys.get(first..).unwrap_or_default() {
            if !name.is_empty() {
                name.push('.');
            }
            name.push_str(key);
        }
        Cow::Owned(name)
    }
}

/// A declaration: the word of a leaf that stands where it should.
fn declaration<'a>(leaf: &Leaf<'a>, in_place: bool) -> Cow<'a, str> {
    match &leaf.value {
        Scalar::Text(word) if in_place => word.clone(),
        Scalar::Text(_) | Scalar::Empty | Scalar::Boolean(_) | Scalar::Number(..) => Cow::Borrowed(""),
    }
}

/// Of several declarations, the strictest; of equals, the first.
fn strictest<'a>(words: impl Iterator<Item = Cow<'a, str>>) -> Option<Cow<'a, str>> {
    let rank = |word: &str| Level::from_name(word).unwrap_or(Level::Restricted);
    words.reduce(|one, other| if rank(&one) < rank(&other) { other } else { one })
}

/// A value that counts only when it stands once: of several, none is the one.
#[derive(Default)]
enum Several<T> {
    #[default]
    None,
    One(T),
    Many,
}

impl<T> Several<T> {
    fn add(&mut self, value: Option<T>) {
        if let Some(value) = value {
            *self = match self {
                Self::None => Self::One(value),
                Self::One(_) | Self::Many => Self::Many,
            };
        }
    }

    fn only(self) -> Option<T> {
        match self {
            Self::One(value) => Some(value),
            Self::None | Self::Many => None,
        }
    }
}

/// A text that is not empty.
fn text_of<'a>(value: &Scalar<'a>) -> Option<Cow<'a, str>> {
    match value {
        Scalar::Text(text) if !text.is_empty() => Some(text.clone()),
        Scalar::Text(_) | Scalar::Empty | Scalar::Boolean(_) | Scalar::Number(..) => None,
    }
}

/// The text of a scalar that can be a tag's value or a name.
fn word_of<'a>(value: &Scalar<'a>) -> Option<Cow<'a, str>> {
    match value {
        Scalar::Text(text) => Some(text.clone()),
        Scalar::Number(_, text) => Some(Cow::Borrowed(text)),
        Scalar::Boolean(true) => Some(Cow::Borrowed("true")),
        Scalar::Boolean(false) => Some(Cow::Borrowed("false")),
        Scalar::Empty => None,
    }
}

/// An instant: RFC 3339 text, or seconds or milliseconds since 1970. Numbers
/// below 10^11 are seconds (until the year 5138).
pub(crate) fn instant_of(value: &Scalar<'_>) -> Option<Timestamp> {
    match value {
        Scalar::Text(text) => Timestamp::parse_rfc3339(text),
        Scalar::Number(number, _) => {
            let seconds = if *number < 1e11 { *number } else { *number / 1e3 };
            seconds_of(seconds)
        }
        Scalar::Empty | Scalar::Boolean(_) => None,
    }
}

/// Whether a value is a time and has no room for anything else: an instant, or
/// a local time without offset, which is none.
fn is_time(value: &Scalar<'_>) -> bool {
    match value {
        Scalar::Text(text) if text.len() <= 35 => {
            instant_of(value).is_some() || Timestamp::parse_rfc3339(&format!("{text}Z")).is_some()
        }
        Scalar::Number(..) => instant_of(value).is_some(),
        Scalar::Text(_) | Scalar::Empty | Scalar::Boolean(_) => false,
    }
}

/// Seconds since 1970, to the microsecond, within the years 1970 to 5138.
fn seconds_of(seconds: f64) -> Option<Timestamp> {
    #[expect(clippy::cast_possible_truncation, reason = "below 10^17 by the range")]
    (0.0..1e11).contains(&seconds).then(|| Timestamp((seconds * 1e6).round() as i64))
}

#[cfg(test)]
mod tests;
