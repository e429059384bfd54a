//! Facts: what an adapter reads from one message. They borrow the payload.
//!
//! The shapes live here; who fills them lives in `format/`. Nothing here
//! judges: a fact is what the sender wrote.

use std::borrow::Cow;

use crate::Timestamp;

/// What kind of message the format says it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// Data of a device.
    #[default]
    Measure,
    /// State of a device or gateway.
    Status,
    /// A device joined the network.
    Join,
    /// A position.
    Location,
    /// A Sparkplug birth.
    Birth,
    /// A list of devices.
    Inventory,
    /// Bytes that the format does not read.
    Opaque,
    /// An order to a device: refused whatever it holds.
    Command,
}

/// The value of a leaf.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar<'a> {
    /// `null`, `{}` or `[]`.
    Empty,
    /// `true` or `false`.
    Boolean(bool),
    /// A finite number, with its text as it stood.
    Number(f64, &'a str),
    /// A string, unescaped.
    Text(Cow<'a, str>),
}

/// What the format says a leaf is, for `fields_within`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeafRole {
    /// Defined by the format itself.
    Metadata,
    /// Below the format's data root, or a free map: must be listed. The number
    /// of [`Node`]s of its path that belong to the data root (0 for `json`);
    /// the dotted name that `fields_within` compares starts after them.
    Data {
        /// Nodes to leave out at the head of the path.
        root: u8,
    },
    /// The undecoded frame of a LoRaWAN uplink.
    Raw,
}

/// One key on the way to leaves; arrays add none.
#[derive(Clone, Debug, PartialEq)]
pub struct Node<'a> {
    /// The key, unescaped, not normalised.
    pub key: Cow<'a, str>,
    /// The node of the enclosing object; `None` at the root.
    pub parent: Option<u32>,
}

/// A leaf of the payload.
#[derive(Clone, Debug, PartialEq)]
pub struct Leaf<'a> {
    /// Its last key; `None` for a scalar at the root.
    pub node: Option<u32>,
    /// Its value.
    pub value: Scalar<'a>,
    /// What the format says it is.
    pub role: LeafRole,
}

/// A position, degrees (WGS 84).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Position {
    /// North positive.
    pub latitude: f64,
    /// East positive.
    pub longitude: f64,
}

/// Why a payload is ambiguous: two readers could read it differently. Stable
/// names, for records and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ambiguity {
    /// What rule of I-JSON (RFC 7493) or of the limits it breaks.
    pub reason: &'static str,
    /// Byte offset in the payload.
    pub offset: usize,
}

/// What one message says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts<'a> {
    /// What kind of message.
    pub kind: Kind,
    /// The device's identifier, from the payload or else the topic.
    pub device: Option<Cow<'a, str>>,
    /// When it was measured, if the payload names an instant.
    pub time: Option<Timestamp>,
    /// INSEE code, when a tag `insee` carries one.
    pub commune: Option<Cow<'a, str>>,
    /// Domain id, when a tag `domain` carries one.
    pub domain: Option<Cow<'a, str>>,
    /// Tags, as the payload orders them.
    pub tags: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// Entity types in short form, the strictest first as far as the format knows.
    pub types: Vec<Cow<'a, str>>,
    /// Measure names (SenML: what follows the last `:` of the resolved name).
    pub measures: Vec<Cow<'a, str>>,
    /// Every key that stands on the path of a leaf, once per occurrence.
    pub nodes: Vec<Node<'a>>,
    /// Every leaf.
    pub leaves: Vec<Leaf<'a>>,
    /// More names that rules must find though no key is spelled so (resolved SenML names, …).
    pub names: Vec<Cow<'a, str>>,
    /// Where the device is; a gateway's position is not one.
    pub location: Option<Position>,
    /// The sensitivity the sender declares in the payload (top-level `sensitivity`).
    pub declared: Option<Cow<'a, str>>,
}

impl<'a> Facts<'a> {
    /// The keys from `node` up to the root, innermost first.
    pub fn path_up(&self, node: Option<u32>) -> impl Iterator<Item = &Node<'a>> {
        let mut next = node;
        std::iter::from_fn(move || {
            let node = self.nodes.get(usize::try_from(next?).ok()?)?;
            next = node.parent;
            Some(node)
        })
    }

    /// The dotted path of a leaf, without its first `skip` keys.
    #[must_use]
    pub fn dotted(&self, leaf: &Leaf<'a>, skip: usize) -> String {
        let mut keys: Vec<&str> = self.path_up(leaf.node).map(|node| node.key.as_ref()).collect();
        keys.reverse();
        keys.get(skip..).unwrap_or_default().join(".")
    }
}
