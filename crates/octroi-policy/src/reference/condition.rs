//! The naive answer to one question: does a condition hold of a message? Key by
//! key from the block as written; names are folded anew for each comparison.
//! It knows no label and no target.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::any;
use crate::ast::*;
use crate::engine::condition::{UNKNOWN, is_unknown};
use crate::{Facts, Input, Leaf, Level, Scalar, fold, leaf_has_type, same_name, topic};

/// What conditions are about.
pub(super) struct Message<'m> {
    pub(super) source: &'m Source,
    pub(super) domain: &'m String,
    pub(super) commune: &'m str,
    pub(super) inside: Vec<&'m Block<Perimeter>>,
    pub(super) input: &'m Input<'m>,
    pub(super) facts: &'m Facts<'m>,
    pub(super) declared: Option<Level>,
}

fn pairs(all: &Option<BTreeMap<String, OneOrMany<String>>>, has: impl Fn(&str, &str) -> bool) -> bool {
    all.iter().flatten().all(|(name, ones)| ones.as_slice().iter().any(|one| has(name, one)))
}

impl Message<'_> {
    /// Whether every key of a condition holds. `unknown`: what is said of a value that nobody can read.
    pub(super) fn when(&self, w: &When, unknown: bool) -> bool {
        let (facts, properties) = (self.facts, self.input.user_properties);
        let tag = |name: &str, one: &str| facts.tags.iter().any(|(tag, value)| tag == name && value == one);
        let closed = |listed: &BTreeMap<String, LeafType>, leaf: &Leaf<'_>| {
            let kind = facts.data_name(leaf).map(|name| listed.get(&name));
            kind.is_none_or(|kind| {
                kind.is_some_and(|kind| is_unknown(&leaf.value) || leaf_has_type(leaf, kind))
            })
        };
        any(&w.source, |id| *id == self.source.id)
            && any(&w.producer, |siren| *siren == self.source.producer)
            && any(&w.domain, |id| id == self.domain)
            && any(&w.format, |format| *format == self.source.format)
            && any(&w.commune, |code| code == self.commune)
            && any(&w.perimeter, |id| self.inside.iter().any(|p| p.id == *id))
            && any(&w.topic, |filter| topic::matches(filter, self.input.topic))
            && any(&w.type_any, |name| facts.types.iter().any(|other| same_name(name, other)))
            && any(&w.measure_any, |name| facts.measures.iter().any(|other| same_name(name, other)))
            && any(&w.field_any, |name| !self.values(name).is_empty())
            && w.field_absent.iter().flatten().all(|name| self.values(name).is_empty())
            && w.fields_within.iter().all(|listed| facts.leaves.iter().all(|leaf| closed(listed, leaf)))
            && pairs(&w.tags, tag)
            && pairs(&w.user_property, |name, one| properties.contains(&(name, one)))
            && w.field.iter().flatten().all(|(name, comparison)| self.field(name, comparison, unknown))
            && w.payload_larger_than.is_none_or(|bytes| self.input.payload.len() as u64 > bytes)
            && w.declared_sensitivity.is_none_or(|wanted| wanted == self.declared.is_some())
    }

    /// The values of a name: of leaves with a run of keys on their path that has it, and the
    /// unknown one of a name that the format adds.
    fn values(&self, name: &str) -> Vec<&Scalar<'_>> {
        let names = self.facts.names.iter().filter(|other| same_name(name, other)).map(|_| &UNKNOWN);
        let on_path = |leaf: &&Leaf<'_>| {
            let mut keys: Vec<_> = self.facts.path_up(leaf.node).map(|node| fold(&node.key)).collect();
            keys.reverse();
            let is = |run: &[Cow<'_, str>]| run.concat().replace("rn", "m") == fold(name);
            (1..=keys.len()).any(|len| keys.windows(len).any(is))
        };
        names.chain(self.facts.leaves.iter().filter(on_path).map(|leaf| &leaf.value)).collect()
    }

    fn field(&self, name: &str, c: &Comparison, unknown: bool) -> bool {
        let compares = Comparison { exists: None, ..c.clone() } != Comparison::default();
        let holds = |value: &&Scalar<'_>| if is_unknown(value) { unknown } else { c.holds(value) };
        match self.values(name) {
            values if c.exists == Some(false) => values.is_empty() && !compares,
            values => values.iter().any(|value| !compares || holds(value)),
        }
    }
}
