//! Messages written from the rules of both policies, decided by both.
//!
//! For each source and domain: what each rule alone takes, once for each name
//! that it lists; what the rules of each reachable label take together; and a
//! message that no rule names.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::Turn;
use crate::ast::Given;
use crate::prove::messages::order;
use crate::prove::{Reach, can_match, label_of, reached};
use crate::{Label, Policy, Timestamp};

/// A message with another label.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MessageChange {
    /// Which way.
    pub turn: Turn,
    /// Who sends it.
    pub source: String,
    /// Of what domain.
    pub domain: String,
    /// The rules that such messages were written from, of either policy.
    pub rules: Vec<String>,
    /// By the old policy.
    pub before: Verdict,
    /// By the new one.
    pub after: Verdict,
    /// One of them.
    pub given: Given,
    /// How many.
    pub messages: usize,
}

/// What one policy says of a message.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Verdict {
    /// `routed`, `quarantined`, `held`, `refused`
    pub outcome: &'static str,
    /// Why it is not routed.
    pub reason: Option<&'static str>,
    /// Its label, if a rule gives one.
    pub label: Option<Label>,
}

/// So many messages are written from one rule.
const ALTERNATIVES: usize = 256;

/// Messages by domain and JSON, each with the rules it was written from.
type Written = BTreeMap<(String, String), (Given, BTreeSet<String>)>;

pub(super) fn changes(old: &Policy, new: &Policy) -> Vec<MessageChange> {
    let mut written = Written::new();
    add(old, &mut written);
    add(new, &mut written);
    let day = [old, new].into_iter().map(|policy| policy.document().policy.valid_from.date()).max();
    let received = day.unwrap_or_default().start();
    let mut changes: BTreeMap<_, MessageChange> = BTreeMap::new();
    for ((domain, _), (given, rules)) in written {
        let verdicts = [old, new].map(|policy| verdict(policy, &given, received));
        let [Some(before), Some(after)] = verdicts else { continue };
        let turn = match (before.label, after.label) {
            (before, after) if before == after => continue,
            (Some(before), Some(after)) => Turn::of(before, after),
            (None, _) => Turn::Classified,
            (_, None) => Turn::Unclassified,
        };
        let key = (turn, given.source.clone(), domain.clone(), before.label, after.label);
        let known = changes.entry(key).or_insert_with(|| MessageChange {
            turn,
            source: given.source.clone(),
            domain,
            rules: Vec::new(),
            before,
            after,
            given,
            messages: 0,
        });
        known.messages += 1;
        known.rules.extend(rules);
        known.rules.sort();
        known.rules.dedup();
    }
    changes.into_values().collect()
}

/// `None`: the policy has no such source.
fn verdict(policy: &Policy, given: &Given, received: Timestamp) -> Option<Verdict> {
    let decision = policy.decide_given(given, received)?;
    Some(Verdict {
        outcome: decision.outcome.name(),
        reason: decision.outcome.reason().map(|reason| reason.name()),
        label: decision.is_labelled().then_some(decision.label),
    })
}

fn add(policy: &Policy, written: &mut Written) {
    let document = policy.document();
    for ((source, domain), labels) in reached(policy, document) {
        let mut keep = |label: Label, reach: &Reach, most: usize| {
            keep(policy, (label, reach), most, written);
        };
        let alone = |rules| Reach { source, domain, rules, by_word: false };
        keep(Label::default(), &alone(Vec::new()), 1);
        for (rule, _) in (0_u16..).zip(&document.classify) {
            if can_match(policy, document, rule, source, domain) {
                keep(Label::default(), &alone(vec![rule]), ALTERNATIVES);
            }
        }
        for (key, reach) in &labels.by_key {
            keep(label_of(*key), reach, 1);
        }
    }
}

fn keep(policy: &Policy, (label, reach): (Label, &Reach), most: usize, written: &mut Written) {
    let Some(order) = order(policy, (label, reach)) else { return };
    let domain = order.domain;
    for given in order.proposals().take(most) {
        let Ok(json) = serde_json::to_string(&given) else { continue };
        let (_, known) = written.entry((domain.to_owned(), json)).or_insert((given, BTreeSet::new()));
        let rules = reach.rules.iter().filter_map(|rule| policy.rules().get(usize::from(*rule)));
        known.extend(rules.map(|rule| rule.id.clone()));
    }
}
