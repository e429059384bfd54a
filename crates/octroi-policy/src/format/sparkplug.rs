//! `sparkplug-b`, by its topic alone: `spBv1.0/<group>/<type>/<node>[/<device>]`.
//! The payload (protobuf) is not read: no measure, no field, no time, so that no
//! rule that needs one matches. Commands are known by their topic.

use std::borrow::Cow;

use crate::facts::{Facts, Kind};

pub(super) fn read(topic: &str) -> Facts<'_> {
    let levels: Vec<&str> = topic.split('/').collect();
    let from = levels.iter().position(|level| *level == "spBv1.0");
    let levels = from.and_then(|from| levels.get(from + 1..)).unwrap_or_default();
    let (kind, device) = match levels {
        ["STATE", host] => (Kind::Status, Some(Cow::Borrowed(*host))),
        [_, kind, rest @ ..] => {
            let kind = match *kind {
                "NCMD" | "DCMD" => Kind::Command,
                "NDEATH" | "DDEATH" => Kind::Status,
                _ => Kind::Opaque,
            };
            let device = match rest {
                [node] => Some(Cow::Borrowed(*node)),
                [node, device @ ..] => Some(Cow::Owned(format!("{node}/{}", device.join("/")))),
                [] => None,
            };
            (kind, device)
        }
        _ => (Kind::Opaque, None),
    };
    Facts { kind, device: device.filter(|device| !device.is_empty()), ..Facts::default() }
}
