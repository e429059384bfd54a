//! `senml`: SenML in JSON (RFC 8428). Base fields carry over from record to
//! record; a name is `bn` + `n`, so a rule must find it though no key and no
//! value is spelled so.
//!
//! Times and the version are metadata. Names, units and values are data under
//! their own labels (`n`, `u`, `v`, …): each can carry a word of the sender.

use std::borrow::Cow;

use super::{ReadError, Several};
use crate::Timestamp;
use crate::facts::{Facts, Kind, LeafRole, Node, Position, Scalar};
use crate::json::{self, Scratch};

/// Times below this count from the arrival (RFC 8428 section 4.5.3).
const ABSOLUTE: f64 = (1_u32 << 28) as f64;
/// The version of RFC 8428.
const VERSION: f64 = 10.0;

/// What divides a name.
const SEPARATORS: [char; 2] = [':', '/'];

/// What carries over from one record to the next.
#[derive(Default)]
struct Base<'a> {
    name: Cow<'a, str>,
    unit: Cow<'a, str>,
    time: f64,
    value: f64,
}

/// One record.
#[derive(Default)]
struct Record<'a> {
    name: Cow<'a, str>,
    unit: Option<Cow<'a, str>>,
    time: f64,
    number: Option<f64>,
    has_value: bool,
    /// Which of [`LABELS`] stood in it.
    seen: u16,
}

/// The labels of RFC 8428 (sections 4.1 and 4.2).
const LABELS: [&str; 15] =
    ["bn", "bt", "bu", "bv", "bs", "bver", "n", "u", "v", "vs", "vb", "vd", "s", "t", "ut"];

pub(super) fn read<'a>(
    topic: &'a str,
    payload: &'a [u8],
    scratch: &mut Scratch,
) -> Result<Facts<'a>, ReadError> {
    let mut facts = Facts { kind: Kind::Measure, ..Facts::default() };
    json::read_into(payload, &mut facts, scratch)?;
    let shape = |reason| ReadError::CannotDecode { reason, offset: 0 };
    if super::first_byte(payload) != Some(b'[') || facts.leaves.iter().any(|leaf| leaf.node.is_none()) {
        return Err(shape("SenML is an array of objects"));
    }
    let mut base = Base::default();
    let mut pack = Pack::default();
    let mut leaf_at = 0;
    let ends = scratch.elements.iter().skip(1).copied().chain([u32::MAX]);
    for end in ends {
        let mut record = Record::default();
        while let Some(leaf) = facts.leaves.get_mut(leaf_at)
            && let Some(at) = leaf.node
            && at < end
        {
            leaf_at += 1;
            let Some(node) = usize::try_from(at).ok().and_then(|at| facts.nodes.get(at)) else { break };
            if node.parent.is_none() {
                leaf.role = label(node, &leaf.value, &mut base, &mut record).map_err(shape)?;
            }
        }
        if record.has_value || !record.name.is_empty() {
            pack.add(&base, &record).map_err(shape)?;
        }
    }
    facts.device = Some(pack.device().unwrap_or(Cow::Borrowed(topic)));
    facts.time = pack.time.filter(|_| !pack.relative);
    facts.location = Position::of(pack.latitude.only(), pack.longitude.only());
    (facts.measures, facts.names) = (pack.measures, pack.names);
    facts.measures.sort_unstable();
    facts.measures.dedup();
    facts.names.sort_unstable();
    facts.names.dedup();
    facts.read_declared();
    Ok(facts)
}

/// Takes one label of a record; says what role its leaf has.
fn label<'a>(
    node: &Node<'a>,
    value: &Scalar<'a>,
    base: &mut Base<'a>,
    record: &mut Record<'a>,
) -> Result<LeafRole, &'static str> {
    let data = LeafRole::Data { root: 0 };
    // In an array of values, or in objects within an array: the last would hide the others.
    if let Some(at) = LABELS.iter().position(|label| *label == node.key) {
        if record.seen & 1 << at != 0 {
            return Err("a SenML label twice in a record");
        }
        record.seen |= 1 << at;
    }
    let wrong = Err("a SenML label with a value of another type");
    match (node.key.as_ref(), value) {
        ("bn", Scalar::Text(text)) => base.name = text.clone(),
        ("n", Scalar::Text(text)) => record.name = text.clone(),
        ("bu", Scalar::Text(text)) => base.unit = text.clone(),
        ("u", Scalar::Text(text)) => record.unit = Some(text.clone()),
        ("bt", Scalar::Number(seconds, _)) => {
            base.time = *seconds;
            return Ok(LeafRole::Metadata);
        }
        ("t", Scalar::Number(seconds, _)) => {
            record.time = *seconds;
            return Ok(LeafRole::Metadata);
        }
        ("ut", Scalar::Number(..)) => return Ok(LeafRole::Metadata),
        ("bver", Scalar::Number(version, _)) if *version <= VERSION => return Ok(LeafRole::Metadata),
        ("bver", _) => return Err("a SenML version after RFC 8428"),
        ("bv", Scalar::Number(number, _)) => base.value = *number,
        ("v", Scalar::Number(number, _)) => (record.number, record.has_value) = (Some(*number), true),
        ("s", Scalar::Number(..)) | ("vs" | "vd", Scalar::Text(_)) | ("vb", Scalar::Boolean(_)) => {
            record.has_value = true;
        }
        ("bs", Scalar::Number(..)) => {}
        ("bn" | "n" | "bu" | "u" | "bt" | "t" | "ut" | "bv" | "v" | "s" | "vs" | "vd" | "vb" | "bs", _) => {
            return wrong;
        }
        // RFC 8428 section 4.4: who does not know it must not read on.
        (key, _) if key.ends_with('_') => return Err("a SenML label that must be understood"),
        _ => {}
    }
    Ok(data)
}

/// What the records say together.
#[derive(Default)]
struct Pack<'a> {
    base: Cow<'a, str>,
    measures: Vec<Cow<'a, str>>,
    names: Vec<Cow<'a, str>>,
    devices: Vec<String>,
    time: Option<Timestamp>,
    relative: bool,
    latitude: Several<f64>,
    longitude: Several<f64>,
}

impl<'a> Pack<'a> {
    fn add(&mut self, base: &Base<'a>, record: &Record<'a>) -> Result<(), &'static str> {
        let name = format!("{}{}", base.name, record.name);
        // RFC 8428 section 4.5.1: nothing in a name can resemble something else.
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-:./_".contains(&byte);
        if !name.starts_with(|first: char| first.is_ascii_alphanumeric()) || !name.bytes().all(plain) {
            return Err("a SenML name outside RFC 8428");
        }
        let device = name.rsplit_once(':').map_or("", |(device, _)| device);
        if !self.devices.iter().any(|other| other == device) {
            self.devices.push(device.to_owned());
        }
        if base.name.is_empty() || base.name.ends_with(SEPARATORS) {
            // The name is not cut within a part.
            if self.base != base.name {
                self.base = base.name.clone();
                parts_of(&base.name, &mut self.names);
            }
            parts_of(&record.name, &mut self.names);
        } else {
            parts_of(&Cow::Owned(name.clone()), &mut self.names);
        }
        let cut = !base.name.is_empty() && !base.name.ends_with(':');
        let measure = match &record.name {
            Cow::Borrowed(last) if !cut || last.contains(':') => Cow::Borrowed(last_part(last)),
            Cow::Borrowed(_) | Cow::Owned(_) => Cow::Owned(last_part(&name).to_owned()),
        };
        self.measures.extend(Some(measure).filter(|measure| !measure.is_empty()));
        let seconds = base.time + record.time;
        if seconds < ABSOLUTE {
            self.relative = true;
        } else {
            self.time = self.time.max(super::seconds_of(seconds));
        }
        let value = record.number.map(|number| number + base.value);
        match record.unit.as_deref().unwrap_or(&base.unit) {
            "lat" => self.latitude.add(value),
            "lon" => self.longitude.add(value),
            _ => {}
        }
        self.names.push(Cow::Owned(name));
        Ok(())
    }

    /// The device, if all names agree on one.
    fn device(&mut self) -> Option<Cow<'a, str>> {
        match self.devices.as_mut_slice() {
            [device] if !device.is_empty() => Some(Cow::Owned(std::mem::take(device))),
            _ => None,
        }
    }
}

/// What follows the last `:`.
fn last_part(name: &str) -> &str {
    name.rsplit(':').next().unwrap_or(name)
}

#[expect(clippy::ptr_arg, reason = "what is borrowed stays borrowed from the payload")]
fn parts_of<'a>(name: &Cow<'a, str>, names: &mut Vec<Cow<'a, str>>) {
    match name {
        Cow::Borrowed(name) => {
            names.extend(name.split(SEPARATORS).filter(|part| !part.is_empty()).map(Cow::Borrowed))
        }
        Cow::Owned(name) => {
            let parts = name.split(SEPARATORS).filter(|part| !part.is_empty());
            names.extend(parts.map(|part| Cow::Owned(part.to_owned())));
        }
    }
}
