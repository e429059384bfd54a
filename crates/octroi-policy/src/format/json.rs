//! `json`: any I-JSON value. Everything in it is data, nothing is metadata.
//!
//! What a plain object commonly says of itself is read from its top level:
//! `device`, `type`, `tags`, a time, a `location`, a declared `sensitivity`.

use std::borrow::Cow;

use super::{ReadError, Several, instant_of, text_of, word_of};
use crate::Timestamp;
use crate::facts::{Facts, Kind, Leaf, Position, Scalar};
use crate::json::{self, Scratch};

/// Where a time may stand: the first of them that is an instant counts.
fn rank_of_time(key: &str) -> Option<u8> {
    Some(match key {
        "ts" => 0,
        "time" => 1,
        "timestamp" => 2,
        "observedAt" => 3,
        "dateObserved" => 4,
        _ => return None,
    })
}

/// Whether a time may stand at that key of the top level.
pub(crate) fn is_time_key(key: &str) -> bool {
    rank_of_time(key).is_some()
}

/// What the top level says.
#[derive(Default)]
struct Head<'a> {
    device: Several<Cow<'a, str>>,
    time: Option<(u8, Timestamp)>,
    latitude: Several<f64>,
    longitude: Several<f64>,
}

pub(super) fn read<'a>(
    topic: &'a str,
    payload: &'a [u8],
    scratch: &mut Scratch,
) -> Result<Facts<'a>, ReadError> {
    let mut facts = Facts { kind: Kind::Measure, ..Facts::default() };
    let arrays = json::read_into(payload, &mut facts, scratch)?;
    let (mut types, mut tags, mut measures) = (Vec::new(), Vec::new(), Vec::new());
    measures.reserve(facts.leaves.len());
    let mut head = Head::default();
    for leaf in &facts.leaves {
        let Some(node) = facts.node(leaf.node) else { continue };
        let parent = facts.node(node.parent);
        let mut measure = matches!(leaf.value, Scalar::Number(..) | Scalar::Boolean(_));
        if parent.is_none() {
            if node.key == "type" {
                types.extend(text_of(&leaf.value));
            }
            measure &= !head.time(&node.key, leaf);
            head.rest(&node.key, leaf);
        } else if parent.is_some_and(|parent| parent.parent.is_none()) {
            let parent = parent.map(|parent| parent.key.as_ref());
            if parent == Some("tags") {
                measure = false;
                tags.extend(word_of(&leaf.value).map(|value| (node.key.clone(), value)));
            } else if parent == Some("location") {
                head.position(&node.key, leaf);
            }
        }
        if measure {
            let name = facts.measure_name(leaf, None);
            if measures.last() != Some(&name) {
                measures.push(name);
            }
        }
    }
    if arrays {
        // The same name can stand in each element.
        measures.sort_unstable();
        measures.dedup();
    }
    (facts.types, facts.tags, facts.measures) = (types, tags, measures);
    facts.time = head.time.map(|(_, instant)| instant);
    facts.location = Position::of(head.latitude.only(), head.longitude.only());
    facts.device = head.device.only().or(Some(Cow::Borrowed(topic)));
    facts.read_tags();
    facts.read_declared();
    Ok(facts)
}

impl<'a> Head<'a> {
    /// Whether this is a time.
    fn time(&mut self, key: &str, leaf: &Leaf<'a>) -> bool {
        let Some(rank) = rank_of_time(key) else { return false };
        let instant = instant_of(&leaf.value);
        if let Some(instant) = instant
            && self.time.is_none_or(|(before, _)| rank < before)
        {
            self.time = Some((rank, instant));
        }
        instant.is_some()
    }

    fn rest(&mut self, key: &str, leaf: &Leaf<'a>) {
        if key == "device" {
            self.device.add(text_of(&leaf.value));
        } else {
            self.position(key, leaf);
        }
    }

    fn position(&mut self, key: &str, leaf: &Leaf<'a>) {
        if let Scalar::Number(degrees, _) = &leaf.value {
            match key {
                "lat" | "latitude" => self.latitude.add(Some(*degrees)),
                "lon" | "lng" | "longitude" => self.longitude.add(Some(*degrees)),
                _ => {}
            }
        }
    }
}
