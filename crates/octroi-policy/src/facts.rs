//! Facts: what an adapter reads from one message. They borrow the payload.
//!
//! The shapes live here; who fills them lives in `format/`. Nothing here
//! judges: a fact is what the sender wrote.

use std::borrow::Cow;

use crate::Timestamp;
use crate::ast::{LeafType, LeafTypeName};
use crate::format::instant_of;

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
    /// A finite number, with its text as it stood; empty where it never was text.
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
    /// Bytes that the format does not read, such as the undecoded frame of a LoRaWAN uplink.
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

impl Position {
    /// `None` if a part is missing, or if it is nowhere on Earth.
    #[must_use]
    pub fn of(latitude: Option<f64>, longitude: Option<f64>) -> Option<Self> {
        let (latitude, longitude) = latitude.zip(longitude)?;
        let on_earth = latitude.abs() <= 90.0 && longitude.abs() <= 180.0;
        on_earth.then_some(Self { latitude, longitude })
    }
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
    /// Entity types in short form, of every entity.
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
    /// That node.
    #[must_use]
    pub fn node(&self, node: Option<u32>) -> Option<&Node<'a>> {
        self.nodes.get(usize::try_from(node?).ok()?)
    }

    /// The keys from `node` up to the root, innermost first.
    pub fn path_up(&self, node: Option<u32>) -> impl Iterator<Item = &Node<'a>> {
        let mut next = node;
        std::iter::from_fn(move || {
            let node = self.node(next)?;
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

    /// The only leaf at that dotted path from the root of the payload. `None`
    /// if there is none or several (elements of an array): what identifies a
    /// message must not depend on which one is taken.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<&Leaf<'a>> {
        let mut found = self.leaves.iter().filter(|leaf| self.path_is(leaf.node, 0, path));
        let leaf = found.next()?;
        found.next().is_none().then_some(leaf)
    }

    /// The name that `fields_within` and `keep_only` compare: the dotted path
    /// below the data root (a raw frame: the whole path). `None` for metadata
    /// of the format.
    #[must_use]
    pub fn data_name(&self, leaf: &Leaf<'a>) -> Option<String> {
        leaf.role.root().map(|root| self.dotted(leaf, root))
    }

    /// Whether [`Self::data_name`] is `name`; allocates nothing.
    #[must_use]
    pub fn name_is(&self, leaf: &Leaf<'a>, name: &str) -> bool {
        leaf.role.root().is_some_and(|root| self.path_is(leaf.node, root, name))
    }

    /// How many keys lead to that node, itself included.
    pub(crate) fn depth(&self, node: Option<u32>) -> usize {
        self.path_up(node).count()
    }

    /// Whether the keys from the root to `node`, without the first `skip`, are `name`.
    pub(crate) fn path_is(&self, node: Option<u32>, skip: usize, name: &str) -> bool {
        // Most leaves are told apart by their last key.
        if self.node(node).is_some_and(|last| !name.ends_with(last.key.as_ref())) {
            return name.is_empty() && self.depth(node) <= skip;
        }
        let mut above = self.depth(node).saturating_sub(skip);
        let mut rest = name;
        for node in self.path_up(node) {
            if above == 0 {
                break;
            }
            let Some(before) = rest.strip_suffix(node.key.as_ref()) else { return false };
            above -= 1;
            rest = if above == 0 {
                before
            } else if let Some(before) = before.strip_suffix('.') {
                before
            } else {
                return false;
            };
        }
        rest.is_empty()
    }
}

impl LeafRole {
    /// How many nodes at the head of a path its data name leaves out; `None` for metadata.
    pub(crate) fn root(self) -> Option<usize> {
        match self {
            Self::Metadata => None,
            Self::Data { root } => Some(usize::from(root)),
            Self::Raw => Some(0),
        }
    }
}

/// Whether a leaf is of a type that a closed schema lists for it. An undecoded
/// frame is `raw` and nothing else; `null`, `{}` and `[]` are of no type.
#[must_use]
pub fn leaf_has_type(leaf: &Leaf<'_>, expected: &LeafType) -> bool {
    let name = match expected {
        LeafType::Named(name) => *name,
        LeafType::In { one_of } => {
            return leaf.role != LeafRole::Raw
                && matches!(&leaf.value, Scalar::Text(text) if one_of.iter().any(|word| word == text));
        }
    };
    if leaf.role == LeafRole::Raw || name == LeafTypeName::Raw {
        return leaf.role == LeafRole::Raw && name == LeafTypeName::Raw;
    }
    match (name, &leaf.value) {
        (LeafTypeName::Number, Scalar::Number(..))
        | (LeafTypeName::Boolean, Scalar::Boolean(_))
        | (LeafTypeName::Text, Scalar::Text(_)) => true,
        (LeafTypeName::Token, Scalar::Text(text)) => is_token(text),
        // As many decimals as one likes are an instant; here they would be a place to hide words.
        (LeafTypeName::Time, Scalar::Text(text)) => text.len() <= 35 && instant_of(&leaf.value).is_some(),
        (LeafTypeName::Time, Scalar::Number(..)) => instant_of(&leaf.value).is_some(),
        _ => false,
    }
}

/// 1 to 64 of `A-Za-z0-9._:+/-`.
fn is_token(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:+/-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ast::Format;
    use crate::read;

    #[test]
    fn a_leaf_has_the_types_that_its_value_allows_and_no_other() {
        let types = [
            LeafType::Named(LeafTypeName::Number),
            LeafType::Named(LeafTypeName::Boolean),
            LeafType::Named(LeafTypeName::Time),
            LeafType::Named(LeafTypeName::Token),
            LeafType::Named(LeafTypeName::Raw),
            LeafType::Named(LeafTypeName::Text),
            LeafType::In { one_of: vec!["PT15M".into(), "PT1H".into()] },
        ];
        let long = format!("\"{}\"", "a".repeat(65));
        for (value, expected) in [
            ("1795154400", "number time"),
            ("-1", "number"),
            ("true", "boolean"),
            ("null", ""),
            ("{}", ""),
            ("[]", ""),
            ("\"\"", "text"),
            ("\"PT15M\"", "token text in"),
            ("\"PT15m\"", "token text"),
            ("\"2026-11-20T06:00:00Z\"", "time token text"),
            ("\"2026-11-20T06:00:00.12345678901234567890Z\"", "token text"),
            ("\"AB 123 CD\"", "text"),
            ("\"{\\\"plate\\\":1}\"", "text"),
            ("\"é\"", "text"),
            (&long, "text"),
        ] {
            let payload = format!("{{\"a\":{value}}}");
            let facts = read(Format::Json, "t", payload.as_bytes()).unwrap();
            let names = ["number", "boolean", "time", "token", "raw", "text", "in"];
            let has: Vec<&str> = names
                .into_iter()
                .zip(&types)
                .filter(|(_, expected)| leaf_has_type(&facts.leaves[0], expected))
                .map(|(name, _)| name)
                .collect();
            assert_eq!(has.join(" "), expected, "{value}");
        }
    }

    #[test]
    fn a_frame_is_raw_and_nothing_else() {
        let payload = br#"{"data":"AQE","object":{"data":"AQE"}}"#;
        let facts = read(Format::ChirpstackV4, "application/a/device/d/event/up", payload).unwrap();
        let of = |leaf: &Leaf<'_>, name| leaf_has_type(leaf, &LeafType::Named(name));
        let [raw, decoded] = facts.leaves.as_slice() else { panic!() };
        assert!(of(raw, LeafTypeName::Raw) && !of(raw, LeafTypeName::Token) && !of(raw, LeafTypeName::Text));
        assert!(!of(decoded, LeafTypeName::Raw) && of(decoded, LeafTypeName::Token));
        assert!(facts.name_is(raw, "data") && facts.name_is(decoded, "data"));
    }

    #[test]
    fn names_compare_as_their_dotted_text() {
        let payload = br#"{"a":{"b":{"c":1}},"a.b":2,"":{"":3},"x":[{"y":4},{"y":5}]}"#;
        let facts = read(Format::Json, "t", payload).unwrap();
        let all = ["a.b.c", "a.b", ".", "x.y", "x.y"];
        for (leaf, name) in facts.leaves.iter().zip(all) {
            assert_eq!(facts.data_name(leaf).as_deref(), Some(name));
            for other in ["a.b.c", "a.b", ".", "x.y", "", "b.c", "c", ".c", "aa.b.c", "a.b.c.", "xx.y"] {
                assert_eq!(facts.name_is(leaf, other), name == other, "{name} {other}");
            }
        }
        assert!(facts.find("a.b.c").is_some());
        assert!(facts.find("x.y").is_none(), "two of them");
        assert!(facts.find("b.c").is_none());
    }
}
