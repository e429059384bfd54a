//! `tasmota`: `tele/<device>/<what>`, `stat/<device>/<what>` and, to a device,
//! `cmnd/<device>/<what>`; the prefix may stand at any level (`FullTopic`).
//! A prefix of another name is not read: it could be that of the commands.
//!
//! Metadata is the message's `Time`, its units and the firmware's own counters;
//! network names, addresses and readings are data. `Time` is local unless the
//! device adds its offset, and then it is no instant.

use super::shape::Shape;
use super::{ReadError, bare_word, device_of, instant_of, not_of_the_format, shaped};
use crate::facts::{Facts, Kind};
use crate::json::Scratch;
use Shape::{Mixed, Number, Time, Value, Word};

static MESSAGE: Shape = Mixed(
    &[
        ("Time", Time),
        ("TempUnit", Word(&["C", "F"])),
        ("PressureUnit", Word(&["hPa", "mmHg", "inHg"])),
        ("UptimeSec", Number),
        ("Heap", Number),
        ("Sleep", Number),
        ("LoadAvg", Number),
        ("MqttCount", Number),
    ],
    &Value,
);

/// What `stat/…/POWER` and `tele/…/LWT` say, by design of the format not in JSON.
const WORDS: [&str; 4] = ["ON", "OFF", "Online", "Offline"];

pub(super) fn read<'a>(
    topic: &'a str,
    payload: &'a [u8],
    scratch: &mut Scratch,
) -> Result<Facts<'a>, ReadError> {
    let levels: Vec<&str> = topic.split('/').collect();
    let (kind, device) = kind_of(&levels).ok_or(not_of_the_format("not a topic of Tasmota"))?;
    let bare = if kind == Kind::Status { bare_word(kind, &WORDS, payload) } else { None };
    let mut facts = bare.map_or_else(|| shaped(kind, &MESSAGE, payload, scratch), Ok)?;
    facts.device = device_of(&device);
    facts.time = facts.find("Time").and_then(|leaf| instant_of(&leaf.value));
    Ok(facts)
}

/// What kind of message, and the levels that name the device: all but the
/// prefix and the last.
fn kind_of<'a>(levels: &[&'a str]) -> Option<(Kind, Vec<&'a str>)> {
    if let ["tasmota", "discovery", address, _] = levels {
        return Some((Kind::Inventory, vec![address]));
    }
    let at = |one: &str| levels.iter().position(|level| *level == one);
    let (prefix, kind) = match (at("cmnd"), at("tele"), at("stat")) {
        (Some(prefix), _, _) => (prefix, Kind::Command),
        (None, Some(prefix), _) => (prefix, kind_of_telemetry(levels.last().copied())),
        (None, None, Some(prefix)) => (prefix, Kind::Status),
        (None, None, None) => return None,
    };
    let last = levels.len().checked_sub(1)?;
    let named = levels.iter().enumerate().filter(|(level, _)| *level != prefix && *level != last);
    Some((kind, named.map(|(_, level)| *level).collect()))
}

fn kind_of_telemetry(what: Option<&str>) -> Kind {
    match what {
        Some("STATE" | "LWT" | "UPTIME" | "MARGINS" | "HASS_STATE" | "INFO1" | "INFO2" | "INFO3") => {
            Kind::Status
        }
        _ => Kind::Measure,
    }
}
