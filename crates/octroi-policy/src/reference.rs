//! A naive evaluator of the policy, written from its meaning and never made
//! fast: it walks the blocks as written for each message. Here is what is
//! decided; whether a condition holds is in `condition.rs`, whether a target may
//! have a label in `hosting.rs`. With the engine it shares types, the geographic
//! code, folding, formats, and what compares two values (a leaf and its type, a
//! number and its bound, two versions, a country and a list), which it therefore
//! does not check; no matching and no choice. Tests and a fuzzer hold the engine
//! equal to it.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "for tests; what compiled resolves")]

use crate::ast::*;
use crate::{Cog, Facts, Input, Kind, Label, Level, Marking, topic};
use condition::Message;
use hosting::Way;

mod agree;
mod condition;
mod generate;
mod hosting;
pub use agree::{exercise, read_any};

/// Outcome, reason, label, primary space (or the one waited for), copies; ids as written.
pub type Verdict = (&'static str, &'static str, Option<Label>, Option<String>, Vec<String>);

/// Decides one message with the facts that its format gave.
pub fn decide(d: &Document, source: &Source, input: &Input<'_>, facts: &Facts<'_>) -> Verdict {
    steps(d, source, input, facts).unwrap_or_else(|(outcome, reason)| (outcome, reason, None, None, vec![]))
}

type Stop = (&'static str, &'static str);

fn steps(d: &Document, source: &Source, input: &Input<'_>, facts: &Facts<'_>) -> Result<Verdict, Stop> {
    let (today, cog) = (input.received.date(), Cog::vintage(d.policy.cog).unwrap());
    let check = |holds: bool, stop: Stop| if holds { Ok(()) } else { Err(stop) };
    check(source.expires.is_none_or(|last| today <= last), ("refused", "unknown_source"))?;
    let allowed = source.topics.iter().any(|filter| topic::matches(filter, input.topic));
    check(allowed, ("refused", "topic_not_allowed"))?;
    check(facts.kind != Kind::Command, ("refused", "command"))?;

    let written = |from: &Option<String>| from.as_ref().and_then(|from| read(from, input.topic, facts));
    let code = source.commune.clone().or_else(|| written(&source.commune_from));
    let commune = code.and_then(|code| cog.commune(&code)).ok_or(("quarantined", "unknown_territory"))?;
    let inside: Vec<_> = d.perimeter.iter().filter(|p| cog.perimeter(p).contains(commune)).collect();
    check(inside.iter().any(|p| p.id == source.perimeter), ("quarantined", "outside_perimeter"))?;
    let only = source.domains.first().filter(|_| source.domains.len() == 1).cloned();
    let domain = written(&source.domain_from).or(only).filter(|id| source.domains.contains(id));
    let domain = domain.ok_or(("quarantined", "domain_not_allowed"))?;
    let domain = d.domain.iter().find(|block| block.id == domain).unwrap();

    let properties = input.user_properties.iter().filter(|(name, _)| *name == "sensitivity");
    let words = properties.map(|(_, word)| *word).chain(facts.declared.as_deref());
    let declared = words.map(|word| Level::from_name(word).unwrap_or(Level::Restricted)).max();
    let (commune, domain_id) = (cog.code(commune), &domain.id);
    let m = Message { source, domain: domain_id, commune, inside, input, facts, declared };
    let matching = || d.classify.iter().filter(|rule| m.when(&rule.when, true));
    check(matching().any(|rule| rule.level != RuleLevel::Declared), ("quarantined", "no_rule_matches"))?;
    let producer = d.producer.iter().find(|producer| producer.siren == source.producer).unwrap();
    let level = source.floor.max(producer.floor).unwrap_or_default();
    let essential = domain.essential_service.then_some(Marking::EssentialService);
    let mut label = Label { level, markings: essential.into_iter().collect() };
    for rule in matching() {
        let Some(level) = rule.level.fixed().or(declared) else { continue };
        label = label.join(Label { level, markings: rule.markings.iter().copied().collect() });
    }
    if label.markings.contains(Marking::Command) {
        return Ok(("refused", "command", Some(label), None, vec![]));
    }

    let goes = |space: &Block<Space>, on| {
        let way = Way { source: &source.id, space: Some(&space.id), transformed: false };
        hosting::allowed(d, label, &space.target, way, on)
    };
    let place = domain.scales.iter().find_map(|scale| {
        let covers = |s: &Space| m.inside.iter().any(|p| p.kind == *scale && p.id == s.perimeter);
        let fits = |s: &&Block<Space>| s.domains.contains(&domain.id) && covers(s);
        let [space] = d.space.iter().filter(fits).collect::<Vec<_>>()[..] else { return None };
        goes(space, None).then_some(space)
    });
    let copied = |copy: &&Block<Copy>| {
        copy.domains.contains(&domain.id)
            && copy.when.as_ref().is_none_or(|when| m.when(when, false))
            && hosting::copied(d, copy, label, &source.id, Some(today)).is_some()
    };
    let copies = d.copy.iter().filter(copied).map(|copy| copy.id.clone());
    Ok(match (place.filter(|space| goes(space, Some(today))), place.map(|space| space.id.clone())) {
        (Some(_), id) => ("routed", "", Some(label), id, copies.collect()),
        (None, id) => ("held", "no_allowed_target", Some(label), id, vec![]),
    })
}

/// What stands in a tag or topic level; tags that differ say nothing.
fn read(from: &str, topic: &str, facts: &Facts<'_>) -> Option<String> {
    let Some(name) = from.strip_prefix("tag:") else {
        return topic.split('/').nth(from.strip_prefix("topic:")?.parse().ok()?).map(str::to_owned);
    };
    let mut values = facts.tags.iter().filter(|(tag, _)| tag == name).map(|(_, value)| value.to_string());
    values.next().filter(|first| values.all(|value| value == *first))
}

/// Whether one of a list holds; a list that is not there asks for nothing.
fn any<T>(list: &Option<impl AsRef<[T]>>, holds: impl FnMut(&T) -> bool) -> bool {
    list.as_ref().is_none_or(|list| list.as_ref().iter().any(holds))
}

#[cfg(test)]
mod tests;
