//! What a format defines of its own payload, as a tree of constants; and the
//! role that it gives each leaf.
//!
//! INVARIANT: a leaf is metadata only where the format defines a leaf of that
//! type. Whatever is not in the tree is data, and must be listed.

use std::borrow::Cow;

use super::is_time;
use crate::facts::{Facts, Leaf, LeafRole, Scalar};

/// What a format defines at one key.
#[derive(Debug)]
pub(super) enum Shape {
    /// Metadata: a text.
    Text,
    /// Metadata: a number, or a text of digits (64-bit integers in protobuf JSON).
    Number,
    /// Metadata: a boolean.
    Boolean,
    /// Metadata: an instant, or a local time.
    Time,
    /// Metadata: one of these texts, and no other.
    Word(&'static [&'static str]),
    /// Keys that the format defines; arrays of such objects too.
    Object(&'static [(&'static str, Shape)]),
    /// Keys that the format defines among those of the device, which are all of one shape.
    Mixed(&'static [(&'static str, Shape)], &'static Shape),
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
            && !matches!(at(&shapes, node.parent), Shape::Root(_) | Shape::Mixed(..))
        {
            leaf.role = match leaf.value {
                Scalar::Empty => LeafRole::Metadata,
                Scalar::Boolean(_) | Scalar::Number(..) | Scalar::Text(_) => LeafRole::Data { root: 0 },
            };
        }
    }
    shapes
}

/// The name of a leaf as a measure, if it is one.
pub(super) fn measure_of<'a>(
    facts: &Facts<'a>,
    leaf: &Leaf<'a>,
    shape: Option<&Shape>,
) -> Option<Cow<'a, str>> {
    let measures = matches!(shape, Some(Shape::Root(_) | Shape::Value | Shape::Mixed(..)))
        && matches!(leaf.value, Scalar::Number(..) | Scalar::Boolean(_));
    measures.then(|| facts.measure_name(leaf, root_of(facts, leaf)))
}

/// The node below which this leaf's name begins.
fn root_of(facts: &Facts<'_>, leaf: &Leaf<'_>) -> Option<u32> {
    let mut above = facts.depth(leaf.node).checked_sub(leaf.role.root()?)?;
    let mut next = leaf.node;
    while above > 0 {
        next = facts.node(next)?.parent;
        above -= 1;
    }
    next
}

/// What the format defines where a leaf stands; `None` for a scalar at the root.
pub(super) fn shape_of(shapes: &[&'static Shape], leaf: &Leaf<'_>) -> Option<&'static Shape> {
    shapes.get(usize::try_from(leaf.node?).ok()?).copied()
}

impl Shape {
    fn child(&'static self, key: &str) -> &'static Self {
        match self {
            Self::Object(keys) => find(keys, key).unwrap_or(&UNKNOWN),
            Self::Mixed(keys, others) => find(keys, key).unwrap_or(others),
            Self::Root(_) | Self::Free | Self::Value => self,
            Self::Text | Self::Number | Self::Boolean | Self::Time | Self::Word(_) | Self::Raw => &UNKNOWN,
        }
    }

    fn role(&self, value: &Scalar<'_>) -> LeafRole {
        let data = LeafRole::Data { root: 0 };
        let defined = match (self, value) {
            (Self::Root(root), _) => return LeafRole::Data { root: *root },
            (Self::Raw, Scalar::Text(_)) => return LeafRole::Raw,
            // An empty map or object says nothing, wherever the format has one.
            (Self::Value | Self::Mixed(..), Scalar::Empty) => false,
            (_, Scalar::Empty)
            | (Self::Text, Scalar::Text(_))
            | (Self::Number, Scalar::Number(..))
            | (Self::Boolean, Scalar::Boolean(_)) => true,
            (Self::Number, Scalar::Text(text)) => {
                let digits = text.strip_prefix('-').unwrap_or(text);
                (1..=20).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
            }
            (Self::Time, value) => is_time(value),
            (Self::Word(words), Scalar::Text(text)) => words.contains(&text.as_ref()),
            _ => false,
        };
        if defined { LeafRole::Metadata } else { data }
    }
}

fn find(keys: &'static [(&'static str, Shape)], key: &str) -> Option<&'static Shape> {
    keys.iter().find(|(name, _)| *name == key).map(|(_, shape)| shape)
}
