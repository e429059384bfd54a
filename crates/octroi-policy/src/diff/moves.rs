//! How many messages an hour go elsewhere: labels as they were recorded, sent
//! through both policies, dates left aside.
//!
//! A record is a count by label, not the messages: where its domain, markings,
//! commune or rules leave more than one way, what may move is counted whole and
//! said to be *at most*.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::MessageChange;
use crate::prove::{Reached, classes, key_of, label_of, reached};
use crate::{CommuneIx, DomainIx, Label, Level, Marking, Policy, SourceIx};

/// Messages of one label, as they came: one line of a recording.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recorded {
    /// The source.
    pub source: String,
    /// The domain; absent: any of the source's.
    pub domain: Option<String>,
    /// The level.
    pub level: Level,
    /// The markings; absent: any that rules give with that level.
    pub markings: Option<Vec<Marking>>,
    /// Messages an hour.
    pub per_hour: f64,
}

/// What goes elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Moves {
    /// Messages an hour, all together.
    pub recorded_per_hour: f64,
    /// Of these, what goes elsewhere.
    pub moved_per_hour: f64,
    /// Whether it may be less.
    pub at_most: bool,
    /// Which.
    pub moved: Vec<Moved>,
    /// Records of sources, domains or labels that the old policy does not know.
    pub unknown: Vec<Recorded>,
}

/// Recorded messages that go elsewhere.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Moved {
    /// Which.
    pub recorded: Recorded,
    /// Only some of them, or none, it may be.
    pub at_most: bool,
    /// Targets and copies that got them.
    pub before: Vec<String>,
    /// Targets and copies that will get them.
    pub after: Vec<String>,
}

/// Sends recorded labels through both policies. `changes`: what [`super::diff`] found of these two.
#[must_use]
pub fn moves(old: &Policy, new: &Policy, changes: &[MessageChange], recorded: &[Recorded]) -> Moves {
    let reached = reached(old, old.document());
    let mut moves = Moves::default();
    for record in recorded {
        moves.recorded_per_hour += record.per_hour;
        let cases = cases(old, new, changes, &reached, record);
        if cases.is_empty() {
            moves.unknown.push(record.clone());
            continue;
        }
        let at_most = cases.iter().any(|(before, after)| before == after);
        let changed: Vec<_> = cases.into_iter().filter(|(before, after)| before != after).collect();
        if changed.is_empty() {
            continue;
        }
        moves.moved_per_hour += record.per_hour;
        moves.at_most |= at_most;
        let union = |side: fn(&Case) -> &Ways| -> Vec<String> {
            changed.iter().flat_map(side).cloned().collect::<Ways>().into_iter().collect()
        };
        let (before, after) = (union(|case| &case.0), union(|case| &case.1));
        moves.moved.push(Moved { recorded: record.clone(), at_most, before, after });
    }
    moves
}

type Ways = BTreeSet<String>;
/// Where to, before and after.
type Case = (Ways, Ways);

/// Every case that a record leaves open.
fn cases(
    old: &Policy,
    new: &Policy,
    changes: &[MessageChange],
    reached: &Reached,
    record: &Recorded,
) -> BTreeSet<Case> {
    let mut cases = BTreeSet::new();
    let Some(before) = old.sources().iter().position(|source| source.id == record.source) else {
        return cases;
    };
    let after = new.sources().iter().position(|source| source.id == record.source);
    let after = after.and_then(SourceIx::from_index);
    for ((source, domain), known) in reached {
        let Some(id) = old.domains().get(domain.index()).map(|domain| &domain.id) else { continue };
        let meant = record.domain.as_ref().is_none_or(|domain| domain == id);
        if source.index() != before || !meant {
            continue;
        }
        let there = new.domains().iter().position(|domain| domain.id == *id).and_then(DomainIx::from_index);
        let labels: BTreeSet<Label> = match &record.markings {
            Some(markings) => {
                [Label { level: record.level, markings: markings.iter().copied().collect() }].into()
            }
            None => {
                known.by_key.keys().map(|key| label_of(*key)).filter(|l| l.level == record.level).collect()
            }
        };
        let labels = labels.into_iter().filter(|label| known.by_key.contains_key(&key_of(*label)));
        for (label, (_, communes)) in labels
            .flat_map(|label| classes(old, *source, *domain).into_iter().map(move |class| (label, class)))
        {
            let Some(commune) = communes.first() else { continue };
            let was = ways(old, *source, *domain, commune, label);
            let code = old.cog().code(commune);
            for turned in turned(changes, &record.source, id, label) {
                let is = after.zip(there).zip(new.cog().commune(code)).zip(turned);
                let is =
                    is.map(|(((source, domain), commune), label)| ways(new, source, domain, commune, label));
                cases.insert((was.clone(), is.unwrap_or_default()));
            }
        }
    }
    cases
}

/// What a label may be by the new policy: itself where not every message is known to change; `None`: no label.
fn turned(changes: &[MessageChange], source: &str, domain: &str, label: Label) -> Vec<Option<Label>> {
    let concerned = changes.iter().filter(|change| {
        change.source == source && change.domain == domain && change.before.label == Some(label)
    });
    std::iter::once(Some(label)).chain(concerned.map(|change| change.after.label)).collect()
}

/// The targets and copies that such messages get to.
fn ways(policy: &Policy, source: SourceIx, domain: DomainIx, commune: CommuneIx, label: Label) -> Ways {
    let Some((_, target)) = policy.may_place(Some(source), domain, commune, label) else {
        return Ways::new();
    };
    let concerned = policy.copies_of.get(domain.index()).into_iter().flatten();
    let copies = concerned.filter_map(|copy| {
        let (rule, _) = policy.copy_rules.get(usize::from(*copy))?;
        let copy = policy.copies().get(usize::from(*copy))?;
        let duties = policy.duties.get(copy.to.index())?;
        rule.admit(label, duties, Some(source), None, &policy.lifted).ok()?;
        Some(format!("{} ({})", policy.target_id(copy.to), copy.id))
    });
    copies.chain([policy.target_id(target)]).collect()
}
