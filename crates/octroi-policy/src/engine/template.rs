//! The shape of a message just decided. Most senders repeat themselves but for
//! their values: what was read and decided once is then decided again by
//! comparing the bytes between the values and looking at the values alone.
//!
//! A message is a template only where that is all there is to it: `json`,
//! routed, without user properties, and with no rule or copy left that asks a
//! value for more than its type. Values that say who, where or how sensitive
//! (type, tags, a declaration) belong to the bytes that must be equal. What
//! does not fit, or is not plainly the same, is read and decided in full.
//!
//! INVARIANT: a payload that fits is one that the strict reader accepts, with
//! the facts of the template but for the values of its slots, and is decided as
//! it would be without the template.

use std::borrow::Cow;

use crate::ast::{Format, LeafType};
use crate::engine::condition::{Op, Program, Span, View, place_in};
use crate::engine::memo::Standing;
use crate::engine::{DeviceFrom, Gate};
use crate::format::{instant_of, is_time_key};
use crate::json::{scan_number, scan_plain};
use crate::{Date, Decision, Facts, Input, Leaf, LeafRole, Outcome, Scalar, leaf_has_type};

/// More values are read in full.
const MAX_SLOTS: usize = 64;

/// See the module.
#[derive(Debug)]
pub(crate) struct Template {
    topic: String,
    today: Date,
    /// The bytes between the values, one piece after the other.
    text: Vec<u8>,
    slots: Vec<Slot>,
    /// What was decided, but for what slots give.
    decision: Decision<'static>,
}

/// Where a value stands.
#[derive(Debug)]
struct Slot {
    /// Where the bytes before it end in the template's text.
    behind: usize,
    kind: SlotKind,
    /// What it must be for the rules that held.
    types: Vec<LeafType>,
    gives: Gives,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SlotKind {
    Number,
    /// Between its quotes.
    Text,
}

/// What the decision takes from a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gives {
    Nothing,
    Device,
    Time,
}

impl Template {
    /// The shape of a message, if it may be one.
    pub(crate) fn learn(
        gate: &Gate,
        program: &Program,
        standing: &Standing,
        input: &Input<'_>,
        facts: &Facts<'_>,
        decision: &Decision<'_>,
    ) -> Option<Self> {
        let routed = matches!(decision.outcome, Outcome::Routed { .. });
        let plain = gate.format == Format::Json && facts.names.is_empty() && input.user_properties.is_empty();
        if !routed || !plain || facts.leaves.len() > MAX_SLOTS {
            return None;
        }
        let schemas = schemas(program, standing, facts, input)?;
        let mut template = Self {
            topic: input.topic.to_owned(),
            today: input.received.date(),
            text: Vec::new(),
            slots: Vec::new(),
            decision: Decision {
                outcome: decision.outcome.clone(),
                device: decision.device.as_ref().map(|device| Cow::Owned(device.clone().into_owned())),
                ..*decision
            },
        };
        let mut at = 0;
        for (leaf, (start, end)) in facts.leaves.iter().zip(values(input.payload, facts.leaves.len())?) {
            let Some((kind, gives)) = slot_of(gate, facts, leaf) else { continue };
            let (start, end) =
                if kind == SlotKind::Text { (start + 1, end.checked_sub(1)?) } else { (start, end) };
            template.text.extend_from_slice(input.payload.get(at..start)?);
            at = end;
            let listed = schemas.iter().map(|schema| {
                let place = place_in(program.schemas.get(*schema)?, facts, leaf.node, leaf.role)?;
                Some(program.schemas.get(*schema)?.get(place)?.kind().clone())
            });
            let types = listed.collect::<Option<_>>()?;
            template.slots.push(Slot { behind: template.text.len(), kind, types, gives });
        }
        template.text.extend_from_slice(input.payload.get(at..)?);
        Some(template)
    }

    /// The decision on a message of this shape; `None`: it is not plainly one.
    pub(crate) fn fill<'a>(&self, input: &Input<'a>) -> Option<Decision<'a>> {
        if input.topic != self.topic
            || input.received.date() != self.today
            || !input.user_properties.is_empty()
        {
            return None;
        }
        let (mut device, mut time) = (None, self.decision.time);
        let (mut rest, mut from) = (input.payload, 0);
        for slot in &self.slots {
            rest = rest.strip_prefix(self.text.get(from..slot.behind)?)?;
            from = slot.behind;
            let value = match slot.kind {
                SlotKind::Number => {
                    let (number, len) = scan_number(rest).ok()?;
                    let (text, after) = rest.split_at_checked(len)?;
                    rest = after;
                    Scalar::Number(number, std::str::from_utf8(text).ok()?)
                }
                SlotKind::Text => {
                    let (text, after) = rest.split_at_checked(scan_plain(rest)?)?;
                    rest = after;
                    Scalar::Text(Cow::Borrowed(std::str::from_utf8(text).ok()?))
                }
            };
            let leaf = Leaf { node: None, value, role: LeafRole::Data { root: 0 } };
            if !slot.types.iter().all(|kind| leaf_has_type(&leaf, kind)) {
                return None;
            }
            match (slot.gives, leaf.value) {
                (Gives::Nothing, _) => {}
                (Gives::Time, value) => time = Some(instant_of(&value)?),
                (Gives::Device, Scalar::Text(text)) if !text.is_empty() => device = Some(text),
                (Gives::Device, _) => return None,
            }
        }
        if rest != self.text.get(from..)? {
            return None;
        }
        let Decision { outcome, label, domain, commune, kind, .. } = &self.decision;
        Some(Decision {
            outcome: outcome.clone(),
            label: *label,
            domain: *domain,
            commune: *commune,
            device: device.or_else(|| {
                self.decision.device.as_ref().map(|device| Cow::Owned(device.clone().into_owned()))
            }),
            time,
            kind: *kind,
        })
    }
}

/// The closed schemas that rules and copies still ask for, all of which hold; `None`: something else is asked.
fn schemas(
    program: &Program,
    standing: &Standing,
    facts: &Facts<'_>,
    input: &Input<'_>,
) -> Option<Vec<usize>> {
    let view = View { facts, payload: input.payload.len() as u64, sight: &standing.sight };
    let rules = standing.rules.iter().map(|(rest, _)| *rest);
    let copies = standing.way.iter().flat_map(|way| way.copies.iter().map(|(_, rest)| *rest));
    let mut schemas = Vec::new();
    for rest in rules.chain(copies) {
        schemas.extend(schemas_of(program, rest)?);
        if !program.holds(rest, &view, false) {
            return None;
        }
    }
    Some(schemas)
}

fn schemas_of(program: &Program, rest: Span) -> Option<Vec<usize>> {
    let schema = |op: &Op| if let Op::Within(schema) = *op { usize::try_from(schema).ok() } else { None };
    rest.of(&program.ops).iter().map(schema).collect()
}

/// What a leaf is to the template; `None`: its bytes must be equal.
fn slot_of(gate: &Gate, facts: &Facts<'_>, leaf: &Leaf<'_>) -> Option<(SlotKind, Gives)> {
    let kind = match &leaf.value {
        Scalar::Number(..) => SlotKind::Number,
        Scalar::Text(Cow::Borrowed(_)) => SlotKind::Text,
        Scalar::Text(Cow::Owned(_)) | Scalar::Empty | Scalar::Boolean(_) => return None,
    };
    let top = facts.path_up(leaf.node).last()?;
    let is_top = facts.node(leaf.node)?.parent.is_none();
    match top.key.as_ref() {
        "type" | "tags" | "sensitivity" => None,
        "device" if is_top => {
            (gate.device_from.is_none() && kind == SlotKind::Text).then_some((kind, Gives::Device))
        }
        // Of two times one counts, and which one depends on both.
        key if is_top && is_time_key(key) => {
            let is_time = |leaf: &&Leaf<'_>| {
                facts.node(leaf.node).is_some_and(|node| node.parent.is_none() && is_time_key(&node.key))
            };
            let alone = facts.leaves.iter().filter(is_time).count() == 1;
            (alone && instant_of(&leaf.value).is_some()).then_some((kind, Gives::Time))
        }
        _ => match &gate.device_from {
            Some(DeviceFrom::Field(path)) if facts.path_is(leaf.node, 0, path) => None,
            Some(DeviceFrom::Field(_) | DeviceFrom::Topic(_)) | None => Some((kind, Gives::Nothing)),
        },
    }
}

/// Where the values of an accepted payload stand, in the order of its leaves; texts with their quotes.
fn values(payload: &[u8], leaves: usize) -> Option<Vec<(usize, usize)>> {
    let mut values = Vec::with_capacity(leaves);
    let mut at = 0;
    while let Some(byte) = payload.get(at) {
        let rest = payload.get(at..)?;
        let len = match byte {
            b'"' => text_len(rest)?,
            b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => {
                rest.iter().position(|byte| b",]} \t\r\n".contains(byte)).unwrap_or(rest.len())
            }
            b'{' | b'[' => {
                let blank = |byte: &u8| b" \t\r\n".contains(byte);
                let inner = 1 + rest.get(1..)?.iter().take_while(|byte| blank(byte)).count();
                match rest.get(inner) {
                    Some(b'}' | b']') => inner + 1,
                    _ => {
                        at += 1;
                        continue;
                    }
                }
            }
            _ => {
                at += 1;
                continue;
            }
        };
        let after = payload.get(at + len..)?.iter().find(|byte| !b" \t\r\n".contains(byte));
        // A text before a colon is a key.
        if after != Some(&b':') {
            values.push((at, at + len));
        }
        at += len;
    }
    (values.len() == leaves).then_some(values)
}

/// The length of a text with its quotes.
fn text_len(bytes: &[u8]) -> Option<usize> {
    let mut escaped = false;
    let inner = bytes.get(1..)?.iter().position(|byte| {
        let ends = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        ends
    })?;
    Some(inner + 2)
}

#[cfg(test)]
mod tests;
