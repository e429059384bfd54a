//! `zigbee2mqtt`: what a Zigbee bridge publishes, `<base>/<friendly name>` and
//! `<base>/bridge/…`. The friendly name, slashes included, is the device; it
//! stands in the topic alone. What is said *to* a device or the bridge is a
//! command, known by its topic.
//!
//! Metadata is what the bridge adds to a device's own words: link quality and
//! when it was last seen. All else is data, the inventory of the bridge too.

use super::shape::Shape;
use super::{ReadError, bare_word, device_of, first_byte, instant_of, not_of_the_format, shaped};
use crate::facts::{Facts, Kind};
use crate::json::Scratch;
use Shape::{Free, Mixed, Number, Time, Value};

static DEVICE: Shape = Mixed(&[("last_seen", Time), ("elapsed", Number), ("linkquality", Number)], &Value);
static BRIDGE: Shape = Free;

/// What is sent bare before version 2, and in legacy mode.
const STATES: [&str; 2] = ["online", "offline"];

pub(super) fn read<'a>(
    topic: &'a str,
    payload: &'a [u8],
    scratch: &mut Scratch,
) -> Result<Facts<'a>, ReadError> {
    let levels: Vec<&str> = topic.split('/').collect();
    let base = levels.iter().position(|level| *level == "zigbee2mqtt").unwrap_or(0);
    let (kind, device) = kind_of(levels.get(base + 1..).unwrap_or_default());
    let bare = if kind == Kind::Status { bare_word(kind, &STATES, payload) } else { None };
    let shape = if kind == Kind::Measure { &DEVICE } else { &BRIDGE };
    let mut facts = bare.map_or_else(|| shaped(kind, shape, payload, scratch), Ok)?;
    if kind == Kind::Measure && first_byte(payload) != Some(b'{') {
        return Err(not_of_the_format("not a JSON object"));
    }
    facts.device = device_of(device);
    facts.time = facts.find("last_seen").and_then(|leaf| instant_of(&leaf.value));
    Ok(facts)
}

/// What kind of message, and the levels that name the device.
fn kind_of<'l, 'a>(levels: &'l [&'a str]) -> (Kind, &'l [&'a str]) {
    // A base topic may have several levels, so these may stand anywhere.
    if let Some(bridge) = levels.iter().position(|level| *level == "bridge") {
        let kind = match levels.get(bridge + 1..).unwrap_or_default() {
            ["state" | "log" | "logging" | "event" | "health"] | ["response", ..] => Kind::Status,
            ["info" | "devices" | "groups" | "definitions" | "extensions" | "converters" | "config"] => {
                Kind::Inventory
            }
            // What the bridge does not publish is said to it.
            _ => Kind::Command,
        };
        return (kind, &[]);
    }
    if let Some(order) = levels.iter().position(|level| matches!(*level, "set" | "get")) {
        return (Kind::Command, levels.get(..order).unwrap_or_default());
    }
    match levels {
        [device @ .., "availability"] => (Kind::Status, device),
        device => (Kind::Measure, device),
    }
}
