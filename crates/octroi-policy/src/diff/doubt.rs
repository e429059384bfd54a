//! Changes whose effect the comparison of labels and of written messages does
//! not see. Each counts as lowering unless it is plain that it cannot lower.
//!
//! A rule lowers nothing by taking more messages, nor does a rule that gives
//! the lowest label by taking fewer: what it no longer takes keeps its other
//! labels or has none.

use std::collections::BTreeMap;

use super::blocks::{Block, BlockChange};
use crate::ast::{Classify, Document, RuleLevel, Step, When};

pub(super) fn may_lower(change: &BlockChange, old: &Document, new: &Document) -> bool {
    let id = change.id.as_str();
    match (change.kind, change.change) {
        (_, Block::Added) => false,
        ("copy", Block::Changed) => condition(old, id) != condition(new, id),
        ("transform", Block::Changed) => steps(old, id) != steps(new, id),
        // A rule or copy that names it may see fewer communes, or a copy more.
        ("perimeter", _) => names_perimeter(old, id) || names_perimeter(new, id),
        ("classify", _) => {
            let rule = |document| rule(document, id);
            rule(old).is_some_and(|before| gives_something(before) && !seen(before, rule(new)))
        }
        _ => false,
    }
}

fn condition<'d>(document: &'d Document, id: &str) -> Option<(&'d Option<When>, &'d Option<String>)> {
    let copy = document.copy.iter().find(|copy| copy.id == id)?;
    Some((&copy.when, &copy.transform))
}

fn steps<'d>(document: &'d Document, id: &str) -> Option<&'d [Step]> {
    document.transform.iter().find(|transform| transform.id == id).map(|found| found.steps.as_slice())
}

fn rule<'d>(document: &'d Document, id: &str) -> Option<&'d Classify> {
    document.classify.iter().find(|rule| rule.id == id).map(|rule| &rule.value)
}

fn names_perimeter(document: &Document, id: &str) -> bool {
    let rules = document.classify.iter().map(|rule| &rule.when);
    let whens = rules.chain(document.copy.iter().filter_map(|copy| copy.when.as_ref()));
    let mut named = whens.filter_map(|when| when.perimeter.as_ref());
    named.any(|ids| ids.as_slice().iter().any(|named| named == id))
}

fn gives_something(rule: &Classify) -> bool {
    rule.level != RuleLevel::Open || !rule.markings.is_empty()
}

/// Whether a message written from the rule shows what it loses. Alternatives
/// of lists are each written; values, sizes and properties are not.
fn seen(before: &Classify, after: Option<&Classify>) -> bool {
    let when = &before.when;
    let written = when.user_property.is_none() && when.payload_larger_than.is_none();
    let Some(after) = after else { return written };
    let same_label = before.level == after.level && before.markings == after.markings;
    (written || same_label && *when == after.when) && as_wide(when, &after.when)
}

/// Whether the keys that messages do not show ask for no more than before.
fn as_wide(before: &When, after: &When) -> bool {
    let absent = |when: &When| when.field_absent.clone().unwrap_or_default();
    let before_absent = absent(before);
    (after.field.is_none() || after.field == before.field)
        && (after.user_property.is_none() || after.user_property == before.user_property)
        && after
            .payload_larger_than
            .is_none_or(|bytes| before.payload_larger_than.is_some_and(|b| bytes <= b))
        && (after.declared_sensitivity.is_none() || after.declared_sensitivity == before.declared_sensitivity)
        && absent(after).iter().all(|name| before_absent.contains(name))
        && after.fields_within.as_ref().is_none_or(|after| {
            let listed =
                |before: &BTreeMap<_, _>| before.iter().all(|(name, of)| after.get(name) == Some(of));
            before.fields_within.as_ref().is_some_and(listed)
        })
}
