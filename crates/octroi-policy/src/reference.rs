//! A naive evaluator of the policy, written from its meaning and never made
//! fast: it walks the blocks as written for each message. With the engine it
//! shares types, the geographic code, folding, formats, and what compares two
//! values (a leaf and its type, a number and its bound, two versions, a country
//! and a list), which it therefore does not check; no matching and no choice.
//! Tests and a fuzzer hold the engine equal to it.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "for tests; what compiled resolves")]

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::ast::*;
use crate::engine::condition::{UNKNOWN, is_unknown};
use crate::place::{at_least, country_in};
use crate::{Cog, Date, Facts, Input, Kind, Label, Leaf, Level, Marking, Scalar, topic};
use crate::{fold, leaf_has_type, same_name};

mod agree;
mod generate;
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
    let m = Message { d, source, domain: domain_id, commune, inside, input, facts, declared };
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

    let place = domain.scales.iter().find_map(|scale| {
        let covers = |s: &Space| m.inside.iter().any(|p| p.kind == *scale && p.id == s.perimeter);
        let fits = |s: &&Block<Space>| s.domains.contains(&domain.id) && covers(s);
        let [space] = d.space.iter().filter(fits).collect::<Vec<_>>()[..] else { return None };
        m.allowed(label, &space.target, Some(&space.id), false, None).then_some(space)
    });
    let now = |space: &&Block<Space>| m.allowed(label, &space.target, Some(&space.id), false, Some(today));
    let copies = d.copy.iter().filter(|copy| m.copy(copy, label, today)).map(|copy| copy.id.clone());
    Ok(match (place.filter(now), place.map(|space| space.id.clone())) {
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

struct Message<'m> {
    d: &'m Document,
    source: &'m Source,
    domain: &'m String,
    commune: &'m str,
    inside: Vec<&'m Block<Perimeter>>,
    input: &'m Input<'m>,
    facts: &'m Facts<'m>,
    declared: Option<Level>,
}

fn any<T>(list: &Option<impl AsRef<[T]>>, holds: impl FnMut(&T) -> bool) -> bool {
    list.as_ref().is_none_or(|list| list.as_ref().iter().any(holds))
}

fn pairs(all: &Option<BTreeMap<String, OneOrMany<String>>>, has: impl Fn(&str, &str) -> bool) -> bool {
    all.iter().flatten().all(|(name, ones)| ones.as_slice().iter().any(|one| has(name, one)))
}

impl Message<'_> {
    fn when(&self, w: &When, unknown: bool) -> bool {
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

    fn copy(&self, copy: &Copy, label: Label, today: Date) -> bool {
        let transform = copy.transform.as_ref();
        let transform = transform.map(|id| self.d.transform.iter().find(|block| block.id == *id).unwrap());
        let out = transform.map_or(Some(label), |transform| transformed(transform, label, today));
        let allowed = |out| self.allowed(out, &copy.to, None, transform.is_some(), Some(today));
        copy.domains.contains(self.domain)
            && copy.when.as_ref().is_none_or(|when| self.when(when, false))
            && out.is_some_and(|out| out.level <= copy.max_level && allowed(out))
    }

    /// Whether a target satisfies every requirement; `on = None`: dates left aside.
    fn allowed(&self, out: Label, to: &str, at: Option<&str>, changed: bool, on: Option<Date>) -> bool {
        let target = self.d.target.iter().find(|block| block.id == to).unwrap();
        let valid_from = self.d.policy.valid_from.date();
        let lifts = |derogation: &Derogation| {
            let DerogationScope { source, space } = &derogation.scope;
            (source.is_some() || space.is_some())
                && source.as_ref().is_none_or(|id| *id == self.source.id)
                && space.as_ref().is_none_or(|id| Some(id.as_str()) == at)
                && on.is_none_or(|date| date <= derogation.expires)
        };
        let concerned = |r: &Requirement| {
            r.from.is_none_or(|from| from <= on.unwrap_or(valid_from))
                && r.when.min_level.is_none_or(|min| out.level >= min)
                && r.when.marking.is_none_or(|marking| out.markings.contains(marking))
                && any(&r.when.target_kind, |kind| *kind == target.kind)
        };
        out.level <= target.max_level.unwrap_or(Level::Restricted)
            && self.d.requirement.iter().filter(|r| concerned(r)).all(|r| {
                let mut derogations = self.d.derogation.iter().filter(|block| block.requirement == r.id);
                r.legal_status != LegalStatus::Obligation && derogations.any(|block| lifts(block))
                    || satisfies(&r.must, target, changed, on)
            })
    }
}

/// What a transform makes of a label; `None`: it may not be applied.
fn transformed(t: &Transform, label: Label, today: Date) -> Option<Label> {
    let (scope, result) = (t.applies_to.clone().unwrap_or_default(), &t.result);
    let applies = label.level <= scope.max_level.unwrap_or(Level::Restricted)
        && label.markings.iter().all(|marking| any(&scope.only_markings, |only| *only == marking))
        && t.declassification.as_ref().is_none_or(|on_record| today <= on_record.expires);
    let aggregates = t.steps.iter().any(|step| matches!(step, Step::Aggregate { .. }));
    let lowers = aggregates && t.declassification.is_some();
    let least = if lowers { Level::Open } else { label.level };
    let kept = label.markings.iter().filter(|marking| !lowers || !result.remove.contains(marking));
    let markings = kept.chain(result.add.iter().copied()).collect();
    applies.then(|| Label { level: result.level.unwrap_or(label.level).max(least), markings })
}

fn satisfies(must: &Must, target: &Target, changed: bool, on: Option<Date>) -> bool {
    let valid = |until: Date| on.is_none_or(|date| date <= until);
    let homologated = |dr: bool| target.homologation.as_ref().is_some_and(|h| valid(h.until) && h.dr >= dr);
    let part = |part: &str| match part {
        "operator:public" => target.operator.nature == Nature::Public,
        "operator:private" => target.operator.nature == Nature::Private,
        "homologation" => homologated(false),
        "homologation_dr" => homologated(true),
        part => target.qualifications.iter().any(|q| {
            let (scheme, least) = part.split_once(">=").map_or((part, None), |(s, v)| (s, Some(v)));
            q.scheme == scheme && at_least(&q.version, least) && valid(q.valid_until)
        }),
    };
    (must.processor_contract != Some(true) || target.processor_contract.is_some())
        && must.country_in.as_ref().is_none_or(|list| country_in(&target.country, list))
        && (must.extra_eu_law != Some(ExtraEuLaw::Immune) || target.extra_eu_law == must.extra_eu_law)
        && must.operator.is_none_or(|nature| nature == target.operator.nature)
        && (must.tenancy != Some(Tenancy::Dedicated) || target.tenancy == Tenancy::Dedicated)
        && (must.homologation_dr != Some(true) || homologated(true))
        && (must.transformed != Some(true) || changed)
        && any(&must.one_of, |option| option.split('+').all(part))
}

#[cfg(test)]
mod tests;
