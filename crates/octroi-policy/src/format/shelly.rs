//! `shelly`: what a Shelly of generation 2 or later publishes: notifications on
//! `<prefix>/events/rpc`, states on `<prefix>/status/<component>`, and whether it
//! is `online`. Orders (`<prefix>/rpc`, `<prefix>/command/…`) are known by their
//! topic; an answer on somebody's `…/rpc` cannot be told from one.
//!
//! Metadata is the frame of the notification; what stands in `params` is data,
//! addresses and network names too.

use super::shape::Shape;
use super::{ReadError, device_of, instant_of, not_of_the_format, shaped, text_of};
use crate::facts::{Facts, Kind};
use crate::json::Scratch;
use Shape::{Mixed, Object, Root, Text, Time, Value, Word};

static NOTIFICATION: Shape = Object(&[
    ("src", Text),
    ("dst", Text),
    ("method", Word(&["NotifyStatus", "NotifyFullStatus", "NotifyEvent"])),
    ("params", Mixed(&[("ts", Time)], &Root(1))),
]);
static STATE: Shape = Value;

pub(super) fn read<'a>(
    topic: &'a str,
    payload: &'a [u8],
    scratch: &mut Scratch,
) -> Result<Facts<'a>, ReadError> {
    let levels: Vec<&str> = topic.split('/').collect();
    let (kind, shape, prefix) = match levels.as_slice() {
        [prefix @ .., "events", "rpc"] if !levels.contains(&"command") => {
            (Kind::Measure, &NOTIFICATION, prefix)
        }
        [prefix @ .., "rpc"] => (Kind::Command, &STATE, prefix),
        levels if levels.contains(&"command") => {
            let prefix = levels.split(|level| *level == "command").next().unwrap_or_default();
            (Kind::Command, &STATE, prefix)
        }
        [prefix @ .., "status", _] => (Kind::Measure, &STATE, prefix),
        [prefix @ .., "online"] => (Kind::Status, &STATE, prefix),
        _ => return Err(not_of_the_format("not a topic of Shelly, generation 2 or later")),
    };
    let mut facts = shaped(kind, shape, payload, scratch)?;
    facts.device = facts.find("src").and_then(|leaf| text_of(&leaf.value)).or_else(|| device_of(prefix));
    facts.time = facts.find("params.ts").and_then(|leaf| instant_of(&leaf.value));
    Ok(facts)
}
