//! What changes in meaning from one policy to another: messages that get
//! another label, labels that a target may get or no longer, places, copies.
//! Layout, comments and order of blocks are no change.
//!
//! Cells, places and flows are compared by enumeration, dates left aside, as
//! in the proofs. Labels are compared on messages written from the rules of
//! both policies: each shown change is real, but a change that no such message
//! shows (a value, a name that no rule lists) is seen only as a changed block.
//!
//! INVARIANT: the difference the other way round is the same difference
//! turned. What lowers comes first; what may lower and cannot be judged here
//! (another condition of a copy, other steps of a transform) counts as lowering.

mod blocks;
mod doubt;
mod messages;
mod moves;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

pub use blocks::{Block, BlockChange};
pub use messages::{MessageChange, Verdict};
pub use moves::{Moved, Moves, Recorded, moves};

use crate::place::Way;
use crate::prove::{possible, reached};
use crate::testing::run_tests;
use crate::{CommuneIx, DomainIx, Label, Level, Markings, Policy, SpaceIx, TargetIx};

/// Which way something changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Turn {
    /// Less protected than before: a lower label, a way that was closed.
    Lowered,
    /// A label that is neither above nor below the one before.
    Mixed,
    /// More protected than before.
    Raised,
    /// No rule knew it, now one does.
    Classified,
    /// A rule knew it, now none does.
    Unclassified,
    /// As well protected, elsewhere.
    Moved,
}

impl Turn {
    /// Whether protection is lost by it.
    #[must_use]
    pub const fn lowers(self) -> bool {
        matches!(self, Self::Lowered | Self::Mixed)
    }

    /// The same change the other way round.
    #[must_use]
    pub const fn turned(self) -> Self {
        match self {
            Self::Lowered => Self::Raised,
            Self::Raised => Self::Lowered,
            Self::Classified => Self::Unclassified,
            Self::Unclassified => Self::Classified,
            Self::Mixed | Self::Moved => self,
        }
    }

    fn of(before: Label, after: Label) -> Self {
        match (after.dominates(before), before.dominates(after)) {
            (true, _) => Self::Raised,
            (false, true) => Self::Lowered,
            (false, false) => Self::Mixed,
        }
    }
}

/// Everything that changes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Diff {
    /// Messages with another label.
    pub messages: Vec<MessageChange>,
    /// Labels that a target, or a space of it, may get or no longer.
    pub cells: Vec<CellChange>,
    /// Labels that a copy takes or no longer, or otherwise.
    pub flows: Vec<FlowChange>,
    /// Labels that have another primary space, or have one or none now.
    pub places: Vec<PlaceChange>,
    /// What is defined in one policy only, or otherwise.
    pub blocks: Vec<BlockChange>,
    /// Tests of the old policy that fail by the new one.
    pub tests_failing_after: Vec<String>,
    /// Tests of the new policy that fail by the old one.
    pub tests_failing_before: Vec<String>,
}

/// Some labels, told by the lowest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Labels {
    /// The lowest.
    pub least: Label,
    /// Their levels.
    pub levels: Vec<Level>,
    /// How many.
    pub count: usize,
}

/// A target, or one space of it by a derogation, and labels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CellChange {
    /// Lowered: may get them now.
    pub turn: Turn,
    /// The target.
    pub target: String,
    /// The space, where a derogation tells it apart.
    pub space: Option<String>,
    /// The requirement that was, or is now, in the way.
    pub requirement: String,
    /// Which labels.
    pub labels: Labels,
}

/// A copy of a domain, and labels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FlowChange {
    /// Lowered: takes them now, or they arrive lower.
    pub turn: Turn,
    /// The copy.
    pub copy: String,
    /// The domain.
    pub domain: String,
    /// Where to and as what, for the lowest of the labels.
    pub before: Option<Arriving>,
    /// Where to and as what, for the lowest of the labels.
    pub after: Option<Arriving>,
    /// Which labels.
    pub labels: Labels,
}

/// What a copy makes of a label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[expect(missing_docs, reason = "as their names say")]
pub struct Arriving {
    pub target: String,
    pub label: Label,
}

/// A domain in some communes, and labels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlaceChange {
    /// The domain.
    pub domain: String,
    /// How many communes.
    pub communes: usize,
    /// One of them.
    pub example: String,
    /// The primary space before.
    pub before: Option<Place>,
    /// The primary space after.
    pub after: Option<Place>,
    /// Which labels.
    pub labels: Labels,
}

/// A primary space.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[expect(missing_docs, reason = "as in the policy")]
pub struct Place {
    pub space: String,
    pub target: String,
}

impl Diff {
    /// Whether something is less protected than before, or may be.
    #[must_use]
    pub fn lowers(&self) -> bool {
        self.messages.iter().any(|change| change.turn.lowers())
            || self.cells.iter().any(|change| change.turn.lowers())
            || self.flows.iter().any(|change| change.turn.lowers())
            || self.doubts().next().is_some()
    }

    /// Blocks that work otherwise in a way that labels do not show: they may protect less.
    pub fn doubts(&self) -> impl Iterator<Item = &BlockChange> {
        self.blocks.iter().filter(|change| change.may_lower)
    }

    /// Whether the policies mean the same.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Compares two compiled policies.
#[must_use]
pub fn diff(old: &Policy, new: &Policy) -> Diff {
    let labels = labels(old, new);
    let failing = |policy: &Policy, of: &Policy| {
        let failed = run_tests(policy, of.document()).into_iter().filter(|test| !test.passed);
        failed.map(|test| test.name).collect()
    };
    Diff {
        messages: messages::changes(old, new),
        cells: cells(old, new, &labels),
        flows: flows(old, new, &labels),
        places: places(old, new, &labels),
        blocks: blocks::changes(old.document(), new.document()),
        tests_failing_after: failing(new, old),
        tests_failing_before: failing(old, new),
    }
}

/// Every label that there can be in either.
fn labels(old: &Policy, new: &Policy) -> Vec<Label> {
    let used = |policy: &Policy| {
        let labels =
            possible(policy, policy.document(), &reached(policy, policy.document()), Markings::EMPTY);
        labels.into_iter().fold(Markings::EMPTY, |all, label| all.union(label.markings))
    };
    let both = used(old).union(used(new));
    let of = |policy: &Policy| possible(policy, policy.document(), &reached(policy, policy.document()), both);
    of(old).into_iter().chain(of(new)).collect::<BTreeSet<Label>>().into_iter().collect()
}

/// Collects labels by what changes for them.
#[derive(Debug)]
pub(crate) struct Grouped<K>(BTreeMap<K, Vec<Label>>);

impl<K: Ord> Grouped<K> {
    pub(crate) fn new() -> Self {
        Self(BTreeMap::new())
    }

    pub(crate) fn add(&mut self, key: K, label: Label) {
        self.0.entry(key).or_default().push(label);
    }

    pub(crate) fn into_changes<C>(self, change: impl Fn(K, Labels) -> C) -> Vec<C> {
        let groups = self.0.into_iter();
        groups.filter_map(|(key, labels)| Some(change(key, Labels::of(&labels)?))).collect()
    }
}

impl Labels {
    pub(crate) fn of(labels: &[Label]) -> Option<Self> {
        let levels: BTreeSet<Level> = labels.iter().map(|label| label.level).collect();
        // Few markings before many: the plainest case.
        let plain = |label: &&Label| (label.level, label.markings.iter().count(), label.markings);
        let least = *labels.iter().min_by_key(plain)?;
        Some(Self { least, levels: levels.into_iter().collect(), count: labels.len() })
    }
}

fn target_named(policy: &Policy, id: &str) -> Option<TargetIx> {
    TargetIx::from_index(policy.targets().iter().position(|target| target.id == id)?)
}

/// The targets of both, and spaces of one target in both where a derogation acts.
fn cells(old: &Policy, new: &Policy, labels: &[Label]) -> Vec<CellChange> {
    let mut groups = Grouped::new();
    for (before, target) in (0_u16..).map(TargetIx).zip(old.targets()) {
        let Some(after) = target_named(new, &target.id) else { continue };
        let spaces = spaces_apart(old, new, &target.id);
        for label in labels {
            let at = |space: Option<&(SpaceIx, SpaceIx)>| {
                let was = obstacle(old, before, space.map(|(old, _)| *old), *label);
                let is = obstacle(new, after, space.map(|(_, new)| *new), *label);
                match (was, is) {
                    (Some(was), None) => Some((Turn::Lowered, was)),
                    (None, Some(is)) => Some((Turn::Raised, is)),
                    (Some(_), Some(_)) | (None, None) => None,
                }
            };
            let whole = at(None);
            for (id, pair) in &spaces {
                if let Some((turn, by)) = at(Some(pair)).filter(|change| Some(change) != whole.as_ref()) {
                    groups.add((turn, target.id.clone(), Some(id.clone()), by), *label);
                }
            }
            if let Some((turn, by)) = whole {
                groups.add((turn, target.id.clone(), None, by), *label);
            }
        }
    }
    groups.into_changes(|(turn, target, space, requirement), labels| CellChange {
        turn,
        target,
        space,
        requirement,
        labels,
    })
}

/// Spaces of that target in both policies, where a derogation acts in either.
fn spaces_apart(old: &Policy, new: &Policy, target: &str) -> Vec<(String, (SpaceIx, SpaceIx))> {
    let of = |policy: &Policy, id: &str| {
        let place = |space: &crate::SpaceInfo| space.id == id && policy.target_id(space.target) == target;
        SpaceIx::from_index(policy.spaces().iter().position(place)?)
    };
    let apart = |policy: &Policy, space| policy.lifted.iter().any(|lifted| lifted.space == Some(space));
    let both = old.spaces().iter().filter_map(|space| {
        let pair = (of(old, &space.id)?, of(new, &space.id)?);
        (apart(old, pair.0) || apart(new, pair.1)).then(|| (space.id.clone(), pair))
    });
    both.collect()
}

/// What is in the way of a label to a target, by name.
fn obstacle(policy: &Policy, target: TargetIx, space: Option<SpaceIx>, label: Label) -> Option<String> {
    let way = Way { source: None, space, transformed: false };
    let obstacle = policy.duties.get(target.index())?.obstacle(label, way, None, &policy.lifted);
    obstacle.map(|obstacle| policy.named(obstacle))
}

/// Each copy of either, by domain.
fn flows(old: &Policy, new: &Policy, labels: &[Label]) -> Vec<FlowChange> {
    let mut groups = Grouped::new();
    let of = |policy: &Policy| -> BTreeSet<(String, String)> {
        let copies = policy.document().copy.iter();
        copies.flat_map(|copy| copy.domains.iter().map(|domain| (copy.id.clone(), domain.clone()))).collect()
    };
    for (copy, domain) in of(old).union(&of(new)) {
        for label in labels {
            let arriving = |policy| arriving(policy, copy, domain, *label);
            let (before, after) = (arriving(old), arriving(new));
            let turn = match (&before, &after) {
                (before, after) if before == after => continue,
                (Some(before), Some(after)) if before.label == after.label => Turn::Moved,
                (Some(before), Some(after)) => Turn::of(before.label, after.label),
                (None, _) => Turn::Lowered,
                (_, None) => Turn::Raised,
            };
            let to = |arriving: &Option<Arriving>| arriving.as_ref().map(|arriving| arriving.target.clone());
            groups.add((turn, copy.clone(), domain.clone(), to(&before), to(&after)), *label);
        }
    }
    groups.into_changes(|(turn, copy, domain, ..), labels| FlowChange {
        before: arriving(old, &copy, &domain, labels.least),
        after: arriving(new, &copy, &domain, labels.least),
        turn,
        copy,
        domain,
        labels,
    })
}

/// What becomes of a label by a copy, if it takes that label and domain.
fn arriving(policy: &Policy, copy: &str, domain: &str, label: Label) -> Option<Arriving> {
    let n = policy.copies().iter().position(|known| known.id == copy)?;
    let served = policy.document().copy.get(n)?.domains.iter().any(|served| served == domain);
    let (to, (rule, _)) = (policy.copies().get(n)?.to, policy.copy_rules.get(n)?);
    let duties = policy.duties.get(to.index()).filter(|_| served)?;
    let label = rule.admit(label, duties, None, None, &policy.lifted).ok()?;
    Some(Arriving { target: policy.target_id(to), label })
}

/// Each domain of both, in each class of communes that both see alike.
fn places(old: &Policy, new: &Policy, labels: &[Label]) -> Vec<PlaceChange> {
    let mut changes: BTreeMap<_, (usize, String)> = BTreeMap::new();
    for (before, domain) in (0_u16..).map(DomainIx).zip(old.domains()) {
        let after = new.domains().iter().position(|known| known.id == domain.id);
        let Some(after) = after.and_then(DomainIx::from_index) else { continue };
        for (communes, example, pair) in classes(old, new, (before, after)) {
            let mut groups = Grouped::new();
            for label in labels {
                let was = pair.0.and_then(|commune| place(old, before, commune, *label));
                let is = pair.1.and_then(|commune| place(new, after, commune, *label));
                if was != is {
                    groups.add((was, is), *label);
                }
            }
            for (was, is, labels) in groups.into_changes(|(was, is), labels| (was, is, labels)) {
                let key = (domain.id.clone(), was, is, labels);
                changes.entry(key).or_insert((0, example.clone())).0 += communes;
            }
        }
    }
    let changes = changes.into_iter();
    let change = |((domain, before, after, labels), (communes, example))| PlaceChange {
        domain,
        communes,
        example,
        before,
        after,
        labels,
    };
    changes.map(change).collect()
}

fn place(policy: &Policy, domain: DomainIx, commune: CommuneIx, label: Label) -> Option<Place> {
    let (space, target) = policy.may_place(None, domain, commune, label)?;
    let space = policy.spaces().get(space.index())?.id.clone();
    Some(Place { space, target: policy.target_id(target) })
}

/// One commune as each policy's vintage of the geographic code knows it.
type Pair = (Option<CommuneIx>, Option<CommuneIx>);

/// Communes by the spaces that cover them in both: how many, the name of one, and that one.
fn classes(old: &Policy, new: &Policy, (before, after): (DomainIx, DomainIx)) -> Vec<(usize, String, Pair)> {
    let codes: BTreeSet<&str> = [old, new]
        .into_iter()
        .flat_map(|policy| policy.cog().communes().map(|commune| policy.cog().code(commune)))
        .collect();
    let covering = |policy: &Policy, domain: DomainIx, commune: Option<CommuneIx>| -> Vec<SpaceIx> {
        let scales = policy.places.get(domain.index()).into_iter().flatten();
        let at = |scale: &Vec<_>| policy.at_scale(scale, commune?).map(|(space, _)| space);
        scales.filter_map(at).collect()
    };
    let mut classes: BTreeMap<_, (usize, String, Pair)> = BTreeMap::new();
    for code in codes {
        let pair = (old.cog().commune(code), new.cog().commune(code));
        let key = (covering(old, before, pair.0), covering(new, after, pair.1));
        let name = || pair.0.map(|ix| old.cog().display(ix)).or(pair.1.map(|ix| new.cog().display(ix)));
        classes.entry(key).or_insert_with(|| (0, name().unwrap_or_default(), pair)).0 += 1;
    }
    classes.into_values().collect()
}

#[cfg(test)]
mod tests;
