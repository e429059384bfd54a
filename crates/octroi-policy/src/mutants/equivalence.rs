//! Whether a mutant decides anything otherwise, by comparing everything that
//! can be enumerated: the table, the flows, and for each source and domain what
//! becomes of every label that rules can give together.
//!
//! Dates are left aside, as in `prove.rs`. Rules are taken to match in any
//! combination, which is more than can happen: so two policies called the same
//! are the same, and some that are the same are not called so.

use std::collections::{BTreeMap, BTreeSet};

use super::mutate::{Demand, MUST};
use crate::ast::{Block, Requirement, Source, Step, When};
use crate::engine::Gives;
use crate::place::{CopyRule, Duties, Obstacle, Refusal, Way};
use crate::prove::{LabelKey, can_match, classes, key_of, label_of, possible, reached};
use crate::{CommuneIx, DomainIx, Label, Level, Marking, Markings, Policy, SourceIx, SpaceIx};

/// A policy, with the labels it is compared by.
pub(super) struct Picture<'p> {
    policy: &'p Policy,
    labels: Vec<Label>,
}

/// How much was compared without a difference, and what stands in the way instead.
#[derive(Default)]
pub(super) struct Equal {
    pub(super) cells: usize,
    pub(super) flows: usize,
    pub(super) labels: usize,
    /// The protections that refuse what the one removed refused.
    pub(super) instead: BTreeSet<String>,
}

impl<'p> Picture<'p> {
    pub(super) fn of(policy: &'p Policy) -> Self {
        let document = policy.document();
        Self { policy, labels: possible(policy, document, &reached(policy, document), Markings::EMPTY) }
    }

    /// What was compared; `None`: something is decided otherwise.
    pub(super) fn same(&self, other: &Picture<'_>, demand: Option<&Demand>) -> Option<Equal> {
        let mut labels: Vec<LabelKey> =
            self.labels.iter().chain(&other.labels).copied().map(key_of).collect();
        labels.sort_unstable();
        labels.dedup();
        let labels: Vec<Label> = labels.into_iter().map(label_of).collect();
        let (one, other) = (self.policy, other.policy);
        let mut equal = Equal::default();
        let same = same_table(one, other, &labels, &mut equal)
            && same_flows(one, other, &labels, &mut equal)
            && sources(one).all(|source| same_source(one, other, source, &mut equal));
        if let Some(demand) = demand {
            equal.instead = instead_of(one, &labels, demand);
        }
        same.then_some(equal)
    }
}

fn sources(policy: &Policy) -> impl Iterator<Item = SourceIx> + use<> {
    (0..policy.sources().len()).filter_map(SourceIx::from_index)
}

/// A space's target and the way to it.
fn cells(policy: &Policy) -> impl Iterator<Item = (&Duties, Way)> {
    (0_u16..).map(SpaceIx).zip(policy.spaces()).filter_map(|(n, space)| {
        let way = Way { source: None, space: Some(n), transformed: false };
        Some((policy.duties.get(space.target.index())?, way))
    })
}

/// A copy and what its target demands.
fn flows(policy: &Policy) -> impl Iterator<Item = (&CopyRule, &Duties)> {
    let rules = policy.copy_rules.iter().zip(policy.copies());
    rules.filter_map(|((rule, _), info)| Some((rule, policy.duties.get(info.to.index())?)))
}

fn same_table(one: &Policy, other: &Policy, labels: &[Label], equal: &mut Equal) -> bool {
    cells(one).zip(cells(other)).all(|((before, way), (after, _))| {
        labels.iter().all(|label| {
            equal.cells += 1;
            let was = before.obstacle(*label, way, None, &one.lifted);
            let is = after.obstacle(*label, way, None, &other.lifted);
            if let (Some(was), Some(is)) = (was, is)
                && id(one, was) != id(other, is)
            {
                equal.instead.insert(id(other, is));
            }
            was.is_none() == is.is_none()
        })
    })
}

fn same_flows(one: &Policy, other: &Policy, labels: &[Label], equal: &mut Equal) -> bool {
    flows(one).zip(flows(other)).all(|((before, to), (after, to_after))| {
        let content = steps(one, before) == steps(other, after) && when(one, before) == when(other, after);
        labels.iter().all(|label| {
            equal.flows += 1;
            let was = before.admit(*label, to, None, None, &one.lifted);
            let is = after.admit(*label, to_after, None, None, &other.lifted);
            if let (Err((_, was)), Err((_, is))) = (was, is)
                && name(one, before, was) != name(other, after, is)
            {
                equal.instead.insert(name(other, after, is));
            }
            was.ok() == is.ok() && (content || was.is_err())
        })
    })
}

/// An obstacle by the id of its mutant.
fn id(policy: &Policy, obstacle: Obstacle) -> String {
    match obstacle {
        Obstacle::TargetLevel => policy.named(obstacle),
        Obstacle::Requirement(_) => format!("requirement:{}", policy.named(obstacle)),
    }
}

/// A refusal by the id of the protection that gives it.
fn name(policy: &Policy, copy: &CopyRule, refusal: Refusal) -> String {
    let written = policy.document().copy.get(copy.copy.index());
    match refusal {
        Refusal::Inapplicable | Refusal::Expired(_) => {
            let transform = written.and_then(|copy| copy.transform.as_deref()).unwrap_or_default();
            format!("transform:{transform}:applies_to")
        }
        Refusal::CopyLevel => format!("copy:{}:max_level", written.map_or("", |copy| &copy.id)),
        Refusal::Target(obstacle) => id(policy, obstacle),
    }
}

/// What a copy's transform does to a message, as written.
fn steps<'p>(policy: &'p Policy, copy: &CopyRule) -> Option<&'p [Step]> {
    let document = policy.document();
    let id = document.copy.get(copy.copy.index())?.transform.as_ref()?;
    document
        .transform
        .iter()
        .find(|transform| transform.id == *id)
        .map(|transform| transform.steps.as_slice())
}

fn when<'p>(policy: &'p Policy, copy: &CopyRule) -> Option<&'p When> {
    policy.document().copy.get(copy.copy.index())?.when.as_ref()
}

/// Whether a source may send the same, and the same becomes of it.
fn same_source(one: &Policy, other: &Policy, source: SourceIx, equal: &mut Equal) -> bool {
    let (Some(before), Some(after)) = (written(one, source), written(other, source)) else { return false };
    if before.topics != after.topics || before.domains != after.domains || before.expires != after.expires {
        return false;
    }
    let domains = one.gates.get(source.index()).map(|gate| gate.domains.as_slice()).unwrap_or_default();
    communes(one, source) == communes(other, source)
        && domains.iter().all(|(_, domain)| same_domain(one, other, (source, *domain), equal))
}

fn written(policy: &Policy, source: SourceIx) -> Option<&Source> {
    policy.document().source.get(source.index()).map(|block| &block.value)
}

/// The communes a source's messages can be of.
fn communes(policy: &Policy, source: SourceIx) -> Vec<CommuneIx> {
    let Some(gate) = policy.gates.get(source.index()) else { return Vec::new() };
    gate.perimeter.iter().filter(|commune| gate.commune.is_none_or(|only| only == *commune)).collect()
}

fn same_domain(
    one: &Policy,
    other: &Policy,
    (source, domain): (SourceIx, DomainIx),
    equal: &mut Equal,
) -> bool {
    let Some(pairs) = pairs(one, other, (source, domain)) else { return false };
    let communes: Vec<CommuneIx> =
        classes(one, source, domain).into_values().filter_map(|set| set.first()).collect();
    pairs.into_iter().all(|(was, is)| {
        let (was, is) = (label_of(was), label_of(is));
        communes.iter().all(|commune| {
            equal.labels += 1;
            was.level == is.level
                && decided(one, (source, domain), *commune, was)
                    == decided(other, (source, domain), *commune, is)
        })
    })
}

/// Rules that can match, by id, with what each gives.
fn matching(policy: &Policy, source: SourceIx, domain: DomainIx) -> BTreeMap<&str, (Gives, &When)> {
    let document = policy.document();
    let rules = (0_u16..).zip(policy.rules.iter().zip(&document.classify));
    let matching = rules.filter(|(n, _)| can_match(policy, document, *n, source, domain));
    matching.map(|(_, (rule, block))| (block.id.as_str(), (rule.gives, &block.when))).collect()
}

/// Every pair of labels that the same rules give in both; `None`: not the same rules.
fn pairs(
    one: &Policy,
    other: &Policy,
    (source, domain): (SourceIx, DomainIx),
) -> Option<BTreeSet<(LabelKey, LabelKey)>> {
    let floor = |policy: &Policy| policy.gates.get(source.index()).map(|gate| policy.floor(gate, domain));
    let (floor_before, floor_after) = (floor(one)?, floor(other)?);
    let (before, after) = (matching(one, source, domain), matching(other, source, domain));
    if before.len() != after.len() {
        return None;
    }
    let (mut pairs, mut words) = (BTreeSet::new(), Vec::new());
    for ((id, (was, when)), (other_id, (is, other_when))) in before.into_iter().zip(after) {
        if id != other_id || when != other_when {
            return None;
        }
        match (was, is) {
            (Gives::Label(was), Gives::Label(is)) => {
                join(&mut pairs, (was.join(floor_before), is.join(floor_after)), true)
            }
            (Gives::Declared(was), Gives::Declared(is)) => words.push((was, is)),
            (Gives::Label(_), Gives::Declared(_)) | (Gives::Declared(_), Gives::Label(_)) => return None,
        }
    }
    // The sender's word only raises what rules gave.
    for (was, is) in words {
        for level in Level::ALL {
            let pair = (Label { level, markings: was }, Label { level, markings: is });
            join(&mut pairs, pair, false);
        }
    }
    Some(pairs)
}

/// Adds a pair joined to every other, and by itself.
fn join(pairs: &mut BTreeSet<(LabelKey, LabelKey)>, (was, is): (Label, Label), alone: bool) {
    let joined = pairs.iter().map(|(a, b)| (key_of(label_of(*a).join(was)), key_of(label_of(*b).join(is))));
    let joined: Vec<_> = joined.chain(alone.then(|| (key_of(was), key_of(is)))).collect();
    pairs.extend(joined);
}

/// Where a label goes: its space, and each copy of the domain with the label it leaves with.
fn decided(
    policy: &Policy,
    (source, domain): (SourceIx, DomainIx),
    commune: CommuneIx,
    label: Label,
) -> (bool, Option<SpaceIx>, Vec<Option<Level>>) {
    let today = policy.document().policy.valid_from.date();
    let refused = label.markings.contains(Marking::Command);
    let space = policy.place(source, domain, commune, label, today).map(|placed| placed.space);
    let copies = policy.copies_of.get(domain.index()).into_iter().flatten();
    let level = |(copy, to): (&CopyRule, &Duties)| {
        copy.admit(label, to, Some(source), None, &policy.lifted).ok().map(|label| label.level)
    };
    (refused, space, copies.map(|n| flows(policy).nth(usize::from(*n)).and_then(level)).collect())
}

/// What refuses wherever the demand alone would: other keys of requirements, and what a copy asks itself.
fn instead_of(policy: &Policy, labels: &[Label], demand: &Demand) -> BTreeSet<String> {
    let document = policy.document();
    let single = single_keys(&document.requirement);
    let (blocks, owners): (Vec<Block<Requirement>>, Vec<Demand>) = single.into_iter().unzip();
    let from = document.policy.valid_from.date();
    let of = |target: usize| document.target.get(target).map(|target| Duties::of(target, &blocks, from));
    let gone = |n: usize| {
        owners.get(n).is_some_and(|owner| {
            owner.requirement == demand.requirement && (demand.key.is_none() || owner.key == demand.key)
        })
    };
    let mut instead = BTreeSet::new();
    let mut look = |duties: &Duties, label: Label, transformed: bool, before: Option<String>| {
        let fails = duties.duties.iter().filter(|duty| {
            duty.concerns(label) && duty.counts(None) && !duty.verdict(transformed).holds(None)
        });
        let (mine, others): (Vec<usize>, Vec<usize>) =
            fails.map(|duty| duty.requirement).partition(|n| gone(*n));
        if !mine.is_empty() {
            let ids = others.iter().filter_map(|n| blocks.get(*n)).map(|block| block.id.clone());
            instead.extend(before.into_iter().chain(ids));
        }
    };
    let mut hosts: Vec<usize> = policy.spaces().iter().map(|space| space.target.index()).collect();
    hosts.sort_unstable();
    hosts.dedup();
    for duties in hosts.into_iter().filter_map(of) {
        labels.iter().for_each(|label| look(&duties, *label, false, None));
    }
    for ((rule, _), info) in policy.copy_rules.iter().zip(policy.copies()) {
        let Some(duties) = of(info.to.index()) else { continue };
        for label in labels {
            let out = match &rule.effect {
                Some(effect) => effect.on(*label, None),
                None => Ok(*label),
            };
            let Ok(out) = out else { continue };
            let before = (out.level > rule.max_level).then(|| name(policy, rule, Refusal::CopyLevel));
            look(&duties, out, rule.effect.is_some(), before);
        }
    }
    instead
}

/// Each key of each `must` as a requirement of its own, named as its mutant is.
fn single_keys(requirements: &[Block<Requirement>]) -> Vec<(Block<Requirement>, Demand)> {
    let mut single = Vec::new();
    for (n, block) in requirements.iter().enumerate() {
        for key in MUST.iter().filter(|key| (key.is_set)(&block.must)) {
            let mut alone = block.clone();
            MUST.iter()
                .filter(|other| other.name != key.name)
                .for_each(|other| (other.clear)(&mut alone.value.must));
            alone.value.id = format!("requirement:{}:must.{}", block.id, key.name);
            single.push((alone, Demand { requirement: n, key: Some(key.name) }));
        }
    }
    single
}
