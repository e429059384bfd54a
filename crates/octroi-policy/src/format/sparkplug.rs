//! `sparkplug-b`, version 3.0: `spBv1.0/<group>/<type>/<node>[/<device>]`, a
//! protobuf payload of metrics; `spBv1.0/STATE/<host>` is JSON. Commands are
//! known by their topic.
//!
//! A metric is a key of its full name with its value below it: datasets give
//! their columns, templates their members. A metric that only has an alias has
//! a name in some birth and none here: a nameless frame, and no measure.
//! Metadata is what has no room for words: times, types, numbers of order.
//!
//! INVARIANT: every value of the payload is a leaf. What two readers could take
//! for different values, or what Sparkplug does not define, is refused.

mod message;
mod value;

use std::borrow::Cow;

use super::shape::Shape;
use super::{ReadError, device_of, instant_of, not_of_the_format, shaped};
use crate::facts::{Facts, Kind};
use crate::json::Scratch;

/// Words of a name that a rule can look for over several levels (`vehicle_license_plate`).
const LONGEST_RUN: usize = 3;

static STATE: Shape = Shape::Object(&[("online", Shape::Boolean), ("timestamp", Shape::Time)]);

pub(super) fn read<'a>(
    topic: &'a str,
    payload: &'a [u8],
    scratch: &mut Scratch,
) -> Result<Facts<'a>, ReadError> {
    let levels: Vec<&str> = topic.split('/').collect();
    let from = levels.iter().position(|level| *level == "spBv1.0");
    let levels = from.and_then(|from| levels.get(from + 1..)).unwrap_or_default();
    if let ["STATE", host @ ..] = levels {
        let mut facts = shaped(Kind::Status, &STATE, payload, scratch)?;
        facts.device = device_of(host);
        facts.time = facts.find("timestamp").and_then(|leaf| instant_of(&leaf.value));
        return Ok(facts);
    }
    let (kind, aliases, device) = match levels {
        [_, "NCMD" | "DCMD", device @ ..] => (Kind::Command, true, device),
        [_, "NBIRTH" | "DBIRTH", device @ ..] => (Kind::Birth, false, device),
        [_, "NDATA" | "DDATA", device @ ..] => (Kind::Measure, true, device),
        [_, "NDEATH" | "DDEATH", device @ ..] => (Kind::Status, true, device),
        _ => return Err(not_of_the_format("not a topic of Sparkplug B")),
    };
    // The parts of a metric's name are names too.
    scratch.odd_keys = true;
    let mut facts = match message::read(kind, aliases, payload) {
        // It is refused whatever it holds.
        Err(_) if kind == Kind::Command => Facts { kind, ..Facts::default() },
        read => read?,
    };
    name_runs(&mut facts);
    facts.device = device_of(device);
    Ok(facts)
}

/// Levels of a metric's name that follow each other have a name together, as
/// nested keys of JSON do: `license/plate` is a `license_plate`.
fn name_runs(facts: &mut Facts<'_>) {
    for node in facts.nodes.iter().filter(|node| node.key.contains('/')) {
        let levels: Vec<&str> = node.key.split('/').collect();
        for length in 2..=LONGEST_RUN {
            facts.names.extend(levels.windows(length).map(|run| Cow::Owned(run.concat())));
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
