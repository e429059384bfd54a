//! What a format defines of its own payload, as a tree of constants; and the
//! role that it gives each leaf.
//!
//! INVARIANT: a leaf is metadata only where the format defines a leaf of that
//! type. Whatever is not in the tree is data, and must be listed.

use crate::facts::{Facts, LeafRole, Scalar};

/// What a format defines at one key.
#[derive(Debug)]
pub(super) enum Shape {
    /// Metadata: a text.
    Text,
    /// Metadata: a number, or a text of digits (64-bit integers in protobuf JSON).
    Number,
    /// Metadata: a boolean.
    Boolean,
    /// Keys that the format defines; arrays of such objects too.
    Object(&'static [(&'static str, Shape)]),
    /// Where the device's data begins: names start below it. How many keys
    /// lead there.
    Root(u8),
    /// Defined by the format and yet about what is measured: listed by its full name.
    Value,
    /// Free text or a free map: listed by its full name, no measure.
    Free,
    /// An undecoded frame.
    Raw,
}

/// Nowhere in the tree: data, by its full name.
static UNKNOWN: Shape = Shape::Value;

/// Gives each leaf its role; returns what the format defines at each node.
pub(super) fn assign(facts: &mut Facts<'_>, root: &'static Shape) -> Vec<&'static Shape> {
    let mut shapes: Vec<&'static Shape> = Vec::with_capacity(facts.nodes.len());
    let at = |shapes: &[&'static Shape], node: Option<u32>| match node {
        None => root,
        // A parent always comes before its children.
        Some(node) => {
            usize::try_from(node).ok().and_then(|node| shapes.get(node)).copied().unwrap_or(&UNKNOWN)
        }
    };
    for node in &facts.nodes {
        shapes.push(at(&shapes, node.parent).child(&node.key));
    }
    for leaf in &mut facts.leaves {
        leaf.role = at(&shapes, leaf.node).role(&leaf.value);
    }
    // A scalar or an empty value where data should begin has no name below it.
    for leaf in &mut facts.leaves {
        if let Some(Shape::Root(_)) = leaf.node.map(|node| at(&shapes, Some(node)))
            && let Some(node) = leaf.node.and_then(|node| facts.nodes.get(usize::try_from(node).ok()?))
            && !matches!(at(&shapes, node.parent), Shape::Root(_))
        {
            leaf.role = match leaf.value {
                Scalar::Empty => LeafRole::Metadata,
                Scalar::Boolean(_) | Scalar::Number(..) | Scalar::Text(_) => LeafRole::Data { root: 0 },
            };
        }
    }
    shapes
}

impl Shape {
    fn child(&'static self, key: &str) -> &'static Self {
        match self {
            Self::Object(keys) => {
                keys.iter().find(|(name, _)| *name == key).map_or(&UNKNOWN, |(_, shape)| shape)
            }
            Self::Root(_) | Self::Free | Self::Value => self,
            Self::Text | Self::Number | Self::Boolean | Self::Raw => &UNKNOWN,
        }
    }

    fn role(&self, value: &Scalar<'_>) -> LeafRole {
        let data = LeafRole::Data { root: 0 };
        let defined = match (self, value) {
            (Self::Root(root), _) => return LeafRole::Data { root: *root },
            (Self::Raw, Scalar::Text(_)) => return LeafRole::Raw,
            // An empty map or object says nothing, wherever the format has one.
            (
                Self::Free | Self::Object(_) | Self::Text | Self::Number | Self::Boolean | Self::Raw,
                Scalar::Empty,
            )
            | (Self::Text, Scalar::Text(_))
            | (Self::Number, Scalar::Number(..))
            | (Self::Boolean, Scalar::Boolean(_)) => true,
            (Self::Number, Scalar::Text(text)) => {
                let digits = text.strip_prefix('-').unwrap_or(text);
                (1..=20).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
            }
            _ => false,
        };
        if defined { LeafRole::Metadata } else { data }
    }

    /// Whether a number or boolean here is a measure.
    pub(super) fn measures(&self) -> bool {
        matches!(self, Self::Root(_) | Self::Value)
    }
}
