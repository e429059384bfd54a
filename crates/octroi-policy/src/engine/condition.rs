//! A `when` as a flat list of operations over what was seen in a message.
//! All must hold; the cheap ones come first.
//!
//! Three-valued in one place: a value that cannot be known (an abstract test's
//! field without value, a name that the format resolved away from its leaf)
//! satisfies a comparison of a rule, which can only raise, and none of a
//! copy's, which could only widen.

use std::collections::BTreeMap;

use crate::ast::{Comparison, Format, LeafType};
use crate::cog::{CommuneIx, CommuneSet};
use crate::engine::keys::Seen;
use crate::engine::topics::head;
use crate::{Facts, Leaf, LeafRole, Scalar, leaf_has_type};

/// A piece of a pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) len: u32,
}

impl Span {
    pub(crate) fn of<T>(self, pool: &[T]) -> &[T] {
        let start = self.start as usize;
        pool.get(start..start.saturating_add(self.len as usize)).unwrap_or_default()
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Op {
    /// The source is one of these.
    Source(Span),
    /// The domain is one of these.
    Domain(Span),
    /// The format's bit is set.
    Format(u16),
    /// Whether the sender declares a sensitivity.
    Declared(bool),
    /// More bytes than that.
    Larger(u64),
    /// One of these keys is seen: topics, communes, types, measures, fields, tags, user properties.
    Any(Span),
    /// None of these keys is seen.
    None(Span),
    /// The commune lies in one of these perimeters.
    Perimeter(Span),
    /// That comparison with a field.
    Field(u32),
    /// That closed schema.
    Within(u32),
}

impl Op {
    /// Cheap before dear.
    pub(crate) const fn cost(self) -> u8 {
        match self {
            Self::Source(_) | Self::Domain(_) | Self::Format(_) | Self::Declared(_) => 0,
            Self::Any(_) | Self::None(_) => 1,
            Self::Perimeter(_) => 2,
            Self::Larger(_) => 3,
            Self::Field(_) => 4,
            Self::Within(_) => 5,
        }
    }

    /// Whether it looks at more than a message's [`Sight`]. In a condition these stand last.
    const fn reads_values(self) -> bool {
        matches!(self, Self::Larger(_) | Self::Field(_) | Self::Within(_))
    }
}

/// What conditions refer to.
#[derive(Debug, Default)]
pub(crate) struct Program {
    pub(crate) ops: Vec<Op>,
    pub(crate) pool: Vec<u32>,
    pub(crate) perimeters: Vec<CommuneSet>,
    pub(crate) fields: Vec<FieldTest>,
    pub(crate) schemas: Vec<Vec<Listed>>,
}

#[derive(Debug)]
pub(crate) struct FieldTest {
    pub(crate) key: u32,
    pub(crate) comparison: Comparison,
}

/// One message as conditions see it.
pub(crate) struct View<'v, 'a> {
    pub(crate) facts: &'v Facts<'a>,
    pub(crate) payload: u64,
    pub(crate) sight: &'v Sight,
}

/// One message but for its values: the same for all that look alike.
#[derive(Debug)]
pub(crate) struct Sight {
    pub(crate) source: u32,
    pub(crate) domain: u32,
    pub(crate) format: Format,
    pub(crate) commune: CommuneIx,
    pub(crate) declared: bool,
    pub(crate) seen: Seen,
    /// Where the names stand that comparisons ask for: node, key.
    pub(crate) places: Vec<(u32, u32)>,
    /// Names of comparisons whose leaf is unknown.
    pub(crate) placeless: Vec<u32>,
    /// Of schemas looked up before: where each node, taken as data of the root, is listed.
    pub(crate) listings: Vec<(u32, Vec<Option<usize>>)>,
}

pub(crate) const fn format_bit(format: Format) -> u16 {
    1 << format as u16
}

/// The value of a field whose value is unknown: it has any type. No payload
/// holds it, for numbers in payloads are finite.
pub(crate) const UNKNOWN: Scalar<'static> = Scalar::Number(f64::NAN, "");

pub(crate) fn is_unknown(value: &Scalar<'_>) -> bool {
    matches!(value, Scalar::Number(number, "") if number.is_nan())
}

impl Program {
    /// Whether a condition holds; `unknown`: what a comparison with an unknown value gives.
    pub(crate) fn holds(&self, condition: Span, view: &View<'_, '_>, unknown: bool) -> bool {
        condition.of(&self.ops).iter().all(|op| self.op(*op, view, unknown))
    }

    /// What is left of a condition when all but values is known; `None`: it cannot hold.
    pub(crate) fn settle(&self, condition: Span, view: &View<'_, '_>) -> Option<Span> {
        let mut rest = condition;
        for op in condition.of(&self.ops) {
            if op.reads_values() {
                break;
            }
            if !self.op(*op, view, true) {
                return None;
            }
            rest = Span { start: rest.start + 1, len: rest.len - 1 };
        }
        Some(rest)
    }

    /// Where the nodes of a message are listed in the schemas that a condition names.
    pub(crate) fn listings(&self, condition: Span, facts: &Facts<'_>) -> Vec<(u32, Vec<Option<usize>>)> {
        let within = |op: &Op| if let Op::Within(schema) = *op { Some(schema) } else { None };
        let schemas = condition.of(&self.ops).iter().filter_map(within);
        let schemas = schemas.filter_map(|schema| Some((schema, self.schemas.get(schema as usize)?)));
        let nodes = || (0_u32..).zip(&facts.nodes).map(|(node, _)| Some(node));
        let listing = |listed: &[Listed]| nodes().map(|node| place_in(listed, facts, node, DATA)).collect();
        schemas.map(|(schema, listed)| (schema, listing(listed))).collect()
    }

    pub(crate) fn op(&self, op: Op, view: &View<'_, '_>, unknown: bool) -> bool {
        match op {
            Op::Source(span) => span.of(&self.pool).contains(&view.sight.source),
            Op::Domain(span) => span.of(&self.pool).contains(&view.sight.domain),
            Op::Format(formats) => formats & format_bit(view.sight.format) != 0,
            Op::Declared(declared) => view.sight.declared == declared,
            Op::Larger(bytes) => view.payload > bytes,
            Op::Any(span) => span.of(&self.pool).iter().any(|key| view.sight.seen.contains(*key)),
            Op::None(span) => !span.of(&self.pool).iter().any(|key| view.sight.seen.contains(*key)),
            Op::Perimeter(span) => span.of(&self.pool).iter().any(|perimeter| {
                self.perimeters.get(*perimeter as usize).is_some_and(|set| set.contains(view.sight.commune))
            }),
            Op::Field(test) => self.fields.get(test as usize).is_some_and(|test| test.holds(view, unknown)),
            Op::Within(schema) => {
                self.schemas.get(schema as usize).is_some_and(|listed| within(listed, view, schema))
            }
        }
    }
}

impl FieldTest {
    fn holds(&self, view: &View<'_, '_>, unknown: bool) -> bool {
        let present = view.sight.seen.contains(self.key);
        let compares =
            self.comparison != Comparison { exists: self.comparison.exists, ..Comparison::default() };
        if self.comparison.exists == Some(false) {
            return !present && !compares;
        }
        if !present || !compares {
            return present;
        }
        unknown && view.sight.placeless.contains(&self.key)
            || view.facts.leaves.iter().any(|leaf| {
                self.is_on_path(view, leaf)
                    && if is_unknown(&leaf.value) { unknown } else { self.comparison.holds(&leaf.value) }
            })
    }

    fn is_on_path(&self, view: &View<'_, '_>, leaf: &Leaf<'_>) -> bool {
        let mut at = leaf.node;
        while let Some(node) = at {
            if view.sight.places.iter().any(|(place, key)| *place == node && *key == self.key) {
                return true;
            }
            at = view.facts.nodes.get(node as usize).and_then(|node| node.parent);
        }
        false
    }
}

/// A leaf that stands below the root of the payload.
const DATA: LeafRole = LeafRole::Data { root: 0 };

/// Every leaf is metadata or listed with its type.
fn within(listed: &[Listed], view: &View<'_, '_>, schema: u32) -> bool {
    let facts = view.facts;
    let known = view.sight.listings.iter().find(|(of, _)| *of == schema).map(|(_, places)| places);
    // The elements of an array stand at one node: one look-up for all of them.
    let mut before = None;
    facts.leaves.iter().all(|leaf| {
        if matches!(leaf.role, LeafRole::Metadata) {
            return true;
        }
        let place = match (known, leaf.node, before) {
            (Some(known), Some(node), _) if leaf.role == DATA => known.get(node as usize).copied().flatten(),
            (_, _, Some((node, role, place))) if (node, role) == (leaf.node, leaf.role) => place,
            _ => place_in(listed, facts, leaf.node, leaf.role),
        };
        before = Some((leaf.node, leaf.role, place));
        let listed = place.and_then(|place| listed.get(place));
        listed.is_some_and(|listed| is_unknown(&leaf.value) || leaf_has_type(leaf, &listed.kind))
    })
}

/// Where a schema lists the leaves of a node.
pub(crate) fn place_in(
    schema: &[Listed],
    facts: &Facts<'_>,
    node: Option<u32>,
    role: LeafRole,
) -> Option<usize> {
    let key = node.and_then(|node| facts.nodes.get(node as usize));
    let root = role.root()?;
    match key {
        Some(key) if root == 0 && key.parent.is_none() => {
            let head = head(&key.key);
            let by_name =
                |listed: &Listed| listed.head.cmp(&head).then_with(|| (*listed.name).cmp(&*key.key));
            schema.binary_search_by(by_name).ok()
        }
        Some(_) | None => schema.iter().position(|listed| facts.path_is(node, root, &listed.name)),
    }
}

/// A name of a `fields_within`.
#[derive(Debug)]
pub(crate) struct Listed {
    head: u64,
    name: Box<str>,
    kind: LeafType,
}

impl Listed {
    /// What its leaf must be.
    pub(crate) fn kind(&self) -> &LeafType {
        &self.kind
    }
}

/// The schema of a `fields_within`, sorted as it is looked up.
pub(crate) fn schema_of(listed: &BTreeMap<String, LeafType>) -> Vec<Listed> {
    let entry = |(name, kind): (&String, &LeafType)| Listed {
        head: head(name),
        name: name.as_str().into(),
        kind: kind.clone(),
    };
    let mut schema: Vec<Listed> = listed.iter().map(entry).collect();
    schema.sort_by(|one, other| (one.head, &one.name).cmp(&(other.head, &other.name)));
    schema
}
