//! What can arrive where: for every source, domain, class of communes and label
//! that rules give, the space and the copies. For those who prepare a target:
//! which topics must be there, under which names.
//!
//! It decides nothing of its own: the engine places labels. A copy's `when` is
//! taken to hold, so this is an upper bound, and a message of another shape has
//! no other place.

use std::collections::BTreeSet;

use crate::prove::{classes, label_of, reached};
use crate::{CommuneIx, CopyIx, Date, DomainIx, Label, Level, Marking, Policy, SourceIx};

/// One kind of record that can arrive at a target.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "as in the policy")]
pub struct Arrival {
    pub target: String,
    /// The space, or the copy.
    pub space: String,
    /// The space's namespace; the copy's id.
    pub namespace: String,
    pub domain: String,
    /// As it arrives.
    pub level: Level,
}

/// Everything that can arrive on that day.
#[must_use]
pub fn arrivals(policy: &Policy, on: Date) -> BTreeSet<Arrival> {
    let mut all = BTreeSet::new();
    for ((source, domain), labels) in reached(policy, policy.document()) {
        let labels: Vec<Label> = labels.by_key.keys().map(|key| label_of(*key)).collect();
        for communes in classes(policy, source, domain).values() {
            let Some(commune) = communes.first() else { continue };
            for label in labels.iter().filter(|label| !label.markings.contains(Marking::Command)) {
                of_label(policy, (source, domain, commune), *label, on, &mut all);
            }
        }
    }
    all
}

fn of_label(
    policy: &Policy,
    (source, domain, commune): (SourceIx, DomainIx, CommuneIx),
    label: Label,
    on: Date,
    all: &mut BTreeSet<Arrival>,
) {
    let Some(placed) = policy.place(source, domain, commune, label, on) else { return };
    let domain_id = policy.domains().get(domain.index()).map(|domain| domain.id.clone()).unwrap_or_default();
    if let Some(space) = policy.spaces().get(placed.space.index()) {
        all.insert(Arrival {
            target: policy.target_id(placed.target),
            space: space.id.clone(),
            namespace: space.namespace.clone(),
            domain: domain_id.clone(),
            level: label.level,
        });
    }
    for copy in policy.copies_of.get(domain.index()).into_iter().flatten().map(|copy| CopyIx(*copy)) {
        let rule = policy.copy_rules.get(copy.index()).map(|(rule, _)| rule);
        let (Some(rule), Some(info)) = (rule, policy.copies().get(copy.index())) else { continue };
        if let Ok(arrives) = policy.admit_copy(rule, source, label, on) {
            all.insert(Arrival {
                target: policy.target_id(info.to),
                space: info.id.clone(),
                namespace: info.namespace.clone(),
                domain: domain_id.clone(),
                level: arrives.level,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SourceFile, parse};

    #[test]
    fn what_can_arrive_is_what_the_engine_places_and_nothing_sensitive_in_the_cloud() {
        let text = include_str!("../../../policies/demo/policy.toml").to_owned();
        let parsed = parse(&[SourceFile { name: "policy.toml".to_owned(), text }]);
        let policy = Policy::compile(&parsed.document, [0; 32]).unwrap();
        let all = arrivals(&policy, parsed.document.policy.valid_from.date());
        let topics: BTreeSet<String> = all
            .iter()
            .filter(|arrival| arrival.target == "dc-rennes")
            .map(|a| format!("{}.{}.{}", a.namespace, a.domain, a.level.name()))
            .collect();
        assert!(topics.contains("mobilite-rennes.mobility.open"), "{topics:?}");
        assert!(topics.contains("mobilite-rennes.mobility.sensitive"), "{topics:?}");
        let cloud: BTreeSet<Level> =
            all.iter().filter(|a| a.target == "cloud-confiance").map(|a| a.level).collect();
        assert!(!cloud.is_empty() && cloud.iter().all(|level| *level < Level::Sensitive), "{cloud:?}");
    }
}
