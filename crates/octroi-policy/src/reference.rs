//! A naive evaluator of the policy, written from its meaning and never made
//! fast: it walks the blocks as written for each message. It shares types, the
//! geographic code, name folding and the formats with the engine, and no
//! matching. Property tests hold the engine equal to it.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "for tests and fuzzers; a policy that compiled resolves"
)]

use crate::ast::{
    Block, Classify, Comparison, Copy, Document, ExtraEuLaw, LegalStatus, Must, Nature, OneOrMany,
    Requirement, RuleLevel, Source, Space, Step, Target, Tenancy, Value, When,
};
use crate::{
    Cog, CommuneIx, Date, Facts, Input, Kind, Label, Leaf, LeafRole, Level, Marking, Scalar, fold,
    leaf_has_type, topic,
};

/// Outcome, reason, label, primary space (or the one waited for), copies; ids as written.
pub type Verdict = (&'static str, &'static str, Option<Label>, Option<String>, Vec<String>);

/// Decides one message with the facts that its format gave.
#[expect(clippy::too_many_lines, reason = "the order of the steps, read from top to bottom")]
pub fn decide(d: &Document, source: &Source, input: &Input<'_>, facts: &Facts<'_>) -> Verdict {
    let stop = |outcome, reason| (outcome, reason, None, None, vec![]);
    let (today, cog) = (input.received.date(), Cog::vintage(d.policy.cog).unwrap());
    if source.expires.is_some_and(|last| today > last) {
        return stop("refused", "unknown_source");
    }
    if !source.topics.iter().any(|filter| topic::matches(filter, input.topic)) {
        return stop("refused", "topic_not_allowed");
    }
    if facts.kind == Kind::Command {
        return stop("refused", "command");
    }
    let code = source.commune.clone().or_else(|| read(source.commune_from.as_ref()?, input.topic, facts));
    let Some(commune) = code.and_then(|code| cog.commune(&code)) else {
        return stop("quarantined", "unknown_territory");
    };
    let covers = |id: &str| d.perimeter.iter().any(|p| p.id == id && cog.perimeter(p).contains(commune));
    if !covers(&source.perimeter) {
        return stop("quarantined", "outside_perimeter");
    }
    let only = source.domains.first().filter(|_| source.domains.len() == 1).cloned();
    let domain = source.domain_from.as_ref().and_then(|from| read(from, input.topic, facts)).or(only);
    let Some(domain) = domain.filter(|id| source.domains.contains(id)) else {
        return stop("quarantined", "domain_not_allowed");
    };
    let domain = d.domain.iter().find(|block| block.id == domain).unwrap();

    let properties =
        input.user_properties.iter().filter(|(name, _)| *name == "sensitivity").map(|(_, word)| *word);
    let declared = properties
        .chain(facts.declared.as_deref())
        .map(|w| Level::from_name(w).unwrap_or(Level::Restricted))
        .max();
    let m = Message { d, source, domain: &domain.id, commune, input, facts, declared, cog };
    let matching: Vec<_> = d.classify.iter().filter(|rule| m.when(&rule.when, true)).collect();
    if matching.iter().all(|rule| rule.level == RuleLevel::Declared) {
        return stop("quarantined", "no_rule_matches");
    }
    let level_of = |rule: &Classify| match rule.level {
        RuleLevel::Open => Some(Level::Open),
        RuleLevel::Internal => Some(Level::Internal),
        RuleLevel::Personal => Some(Level::Personal),
        RuleLevel::Sensitive => Some(Level::Sensitive),
        RuleLevel::Restricted => Some(Level::Restricted),
        RuleLevel::Declared => declared,
    };
    let producer = d.producer.iter().find(|producer| producer.siren == source.producer).unwrap();
    let mut label = Label { level: source.floor.max(producer.floor).unwrap_or_default(), ..Label::default() };
    for rule in matching {
        let Some(level) = level_of(rule) else { continue };
        label = label.join(Label { level, markings: rule.markings.iter().copied().collect() });
    }
    if domain.essential_service {
        label = label
            .join(Label { level: Level::Open, markings: [Marking::EssentialService].into_iter().collect() });
    }
    if label.markings.contains(Marking::Command) {
        return ("refused", "command", Some(label), None, vec![]);
    }
    for scale in &domain.scales {
        let fits = |space: &&Block<Space>| {
            let kind = d.perimeter.iter().find(|p| p.id == space.perimeter).unwrap().kind;
            kind == *scale && space.domains.contains(&domain.id) && covers(&space.perimeter)
        };
        let fitting: Vec<_> = d.space.iter().filter(fits).collect();
        let [space] = fitting.as_slice() else { continue };
        if !m.allowed(label, &space.target, Some(&space.id), false, None) {
            continue;
        }
        if !m.allowed(label, &space.target, Some(&space.id), false, Some(today)) {
            return ("held", "no_allowed_target", Some(label), Some(space.id.clone()), vec![]);
        }
        let copies = d.copy.iter().filter(|copy| m.copy(copy, label, today)).map(|copy| copy.id.clone());
        return ("routed", "", Some(label), Some(space.id.clone()), copies.collect());
    }
    ("held", "no_allowed_target", Some(label), None, vec![])
}

/// What stands in a tag or topic level; tags that differ say nothing.
fn read(from: &str, topic: &str, facts: &Facts<'_>) -> Option<String> {
    let Some(name) = from.strip_prefix("tag:") else {
        return topic.split('/').nth(from.strip_prefix("topic:")?.parse().ok()?).map(str::to_owned);
    };
    let values: Vec<_> =
        facts.tags.iter().filter(|(tag, _)| tag == name).map(|(_, value)| value.to_string()).collect();
    values.first().filter(|first| values.iter().all(|value| value == *first)).cloned()
}

struct Message<'m> {
    d: &'m Document,
    source: &'m Source,
    domain: &'m String,
    commune: CommuneIx,
    input: &'m Input<'m>,
    facts: &'m Facts<'m>,
    declared: Option<Level>,
    cog: &'m Cog,
}

fn any<T>(list: &Option<OneOrMany<T>>, holds: impl FnMut(&T) -> bool) -> bool {
    list.as_ref().is_none_or(|list| list.as_slice().iter().any(holds))
}

fn same(names: &[String], found: &[std::borrow::Cow<'_, str>]) -> bool {
    names.iter().any(|name| found.iter().any(|other| fold(name) == fold(other)))
}

impl Message<'_> {
    fn when(&self, w: &When, unknown: bool) -> bool {
        let perimeter = |id: &String| {
            self.d.perimeter.iter().any(|p| p.id == *id && self.cog.perimeter(p).contains(self.commune))
        };
        let tags = |name: &String, one: &String| {
            self.facts.tags.iter().any(|(tag, value)| tag == name && value == one)
        };
        let property =
            |name: &String, one: &String| self.input.user_properties.contains(&(name.as_str(), one.as_str()));
        any(&w.source, |id| *id == self.source.id)
            && any(&w.producer, |siren| *siren == self.source.producer)
            && any(&w.domain, |id| id == self.domain)
            && any(&w.format, |format| *format == self.source.format)
            && any(&w.commune, |code| self.cog.commune(code) == Some(self.commune))
            && any(&w.perimeter, perimeter)
            && any(&w.topic, |filter| topic::matches(filter, self.input.topic))
            && w.type_any.as_ref().is_none_or(|names| same(names, &self.facts.types))
            && w.measure_any.as_ref().is_none_or(|names| same(names, &self.facts.measures))
            && w.field_any.as_ref().is_none_or(|names| names.iter().any(|name| self.present(name)))
            && w.field_absent.as_ref().is_none_or(|names| !names.iter().any(|name| self.present(name)))
            && w.tags.iter().flatten().all(|(name, list)| list.as_slice().iter().any(|one| tags(name, one)))
            && w.user_property
                .iter()
                .flatten()
                .all(|(name, list)| list.as_slice().iter().any(|one| property(name, one)))
            && w.payload_larger_than.is_none_or(|bytes| self.input.payload.len() as u64 > bytes)
            && w.declared_sensitivity.is_none_or(|wanted| wanted == self.declared.is_some())
            && w.field.iter().flatten().all(|(name, comparison)| self.field(name, comparison, unknown))
            && w.fields_within.as_ref().is_none_or(|listed| {
                self.facts.leaves.iter().all(|leaf| {
                    leaf.role == LeafRole::Metadata
                        || self
                            .facts
                            .data_name(leaf)
                            .and_then(|name| listed.get(&name))
                            .is_some_and(|kind| is_unknown(leaf) || leaf_has_type(leaf, kind))
                })
            })
    }

    /// Some run of consecutive keys on the path of a leaf has the name, or the format says it has.
    fn present(&self, name: &str) -> bool {
        self.facts.leaves.iter().any(|leaf| self.on_path(leaf, name)) || self.named(name)
    }

    fn named(&self, name: &str) -> bool {
        self.facts.names.iter().any(|other| fold(other) == fold(name))
    }

    fn on_path(&self, leaf: &Leaf<'_>, name: &str) -> bool {
        let mut keys: Vec<String> =
            self.facts.path_up(leaf.node).map(|node| fold(&node.key).into()).collect();
        keys.reverse();
        let runs = (0..keys.len()).flat_map(|from| (from + 1..=keys.len()).map(move |to| (from, to)));
        runs.into_iter().any(|(from, to)| keys[from..to].concat().replace("rn", "m") == fold(name))
    }

    fn field(&self, name: &str, c: &Comparison, unknown: bool) -> bool {
        let compares = Comparison { exists: None, ..c.clone() } != Comparison::default();
        if c.exists == Some(false) || !compares {
            return self.present(name) != (c.exists == Some(false)) && !(compares && c.exists == Some(false));
        }
        let equal = |one: &Value, value: &Scalar<'_>| match (one, value) {
            (Value::Boolean(one), Scalar::Boolean(value)) => one == value,
            (Value::Integer(one), Scalar::Number(value, _)) => *one as f64 == *value,
            (Value::Number(one), Scalar::Number(value, _)) => one == value,
            (Value::Text(one), Scalar::Text(value)) => one == value,
            _ => false,
        };
        let number = |bound: Option<f64>, value: &Scalar<'_>, holds: fn(&f64, &f64) -> bool| {
            bound.is_none_or(|bound| matches!(value, Scalar::Number(number, _) if holds(number, &bound)))
        };
        let text = |part: &Option<String>, value: &Scalar<'_>, holds: fn(&str, &str) -> bool| {
            part.as_ref().is_none_or(|part| matches!(value, Scalar::Text(text) if holds(text, part)))
        };
        let holds = |v: &Scalar<'_>| {
            c.eq.as_ref().is_none_or(|one| equal(one, v))
                && c.one_of.as_ref().is_none_or(|list| list.iter().any(|one| equal(one, v)))
                && number(c.lt, v, f64::lt)
                && number(c.lte, v, f64::le)
                && number(c.gt, v, f64::gt)
                && number(c.gte, v, f64::ge)
                && text(&c.starts_with, v, |text, part| text.starts_with(part))
                && text(&c.contains, v, |text, part| text.contains(part))
        };
        let leaf = |leaf: &Leaf<'_>| {
            self.on_path(leaf, name) && if is_unknown(leaf) { unknown } else { holds(&leaf.value) }
        };
        unknown && self.named(name) || self.facts.leaves.iter().any(leaf)
    }

    fn copy(&self, copy: &Copy, label: Label, today: Date) -> bool {
        if !copy.domains.contains(self.domain)
            || !copy.when.as_ref().is_none_or(|when| self.when(when, false))
        {
            return false;
        }
        let Some(id) = &copy.transform else {
            return label.level <= copy.max_level && self.allowed(label, &copy.to, None, false, Some(today));
        };
        let transform = self.d.transform.iter().find(|block| block.id == *id).unwrap();
        let scope = transform.applies_to.clone().unwrap_or_default();
        let beyond = |only: Vec<Marking>| label.markings.iter().any(|marking| !only.contains(&marking));
        let expired = transform.declassification.as_ref().is_some_and(|on_record| today > on_record.expires);
        if expired
            || scope.max_level.is_some_and(|max| label.level > max)
            || scope.only_markings.is_some_and(beyond)
        {
            return false;
        }
        let aggregates = transform.steps.iter().any(|step| matches!(step, Step::Aggregate { .. }));
        let lowers = aggregates && transform.declassification.is_some();
        let level = transform.result.level.unwrap_or(label.level);
        let level = if lowers { level } else { level.max(label.level) };
        let kept =
            label.markings.iter().filter(|marking| !lowers || !transform.result.remove.contains(marking));
        let out = Label { level, markings: kept.chain(transform.result.add.iter().copied()).collect() };
        out.level <= copy.max_level && self.allowed(out, &copy.to, None, true, Some(today))
    }

    /// Whether a target satisfies every requirement; `on = None`: dates left aside.
    fn allowed(
        &self,
        label: Label,
        target: &str,
        space: Option<&str>,
        transformed: bool,
        on: Option<Date>,
    ) -> bool {
        let target = self.d.target.iter().find(|block| block.id == target).unwrap();
        let holds = |r: &Requirement| {
            let begun = r.from.is_none_or(|from| from <= on.unwrap_or(self.d.policy.valid_from.date()));
            let concerned = r.when.min_level.is_none_or(|min| label.level >= min)
                && r.when.marking.is_none_or(|marking| label.markings.contains(marking))
                && r.when.target_kind.as_ref().is_none_or(|kinds| kinds.contains(&target.kind));
            let lifted = self.d.derogation.iter().any(|derogation| {
                let (source, at) = (&derogation.scope.source, &derogation.scope.space);
                derogation.requirement == r.id
                    && r.legal_status != LegalStatus::Obligation
                    && (source.is_some() || at.is_some())
                    && source.as_ref().is_none_or(|id| *id == self.source.id)
                    && at.as_ref().is_none_or(|id| Some(id.as_str()) == space)
                    && on.is_none_or(|date| date <= derogation.expires)
            });
            !begun || !concerned || lifted || satisfies(&r.must, target, transformed, on)
        };
        target.max_level.is_none_or(|max| label.level <= max)
            && self.d.requirement.iter().all(|block| holds(block))
    }
}

fn satisfies(must: &Must, target: &Target, transformed: bool, on: Option<Date>) -> bool {
    let valid = |until: Date| on.is_none_or(|date| date <= until);
    let homologated =
        |dr: bool| target.homologation.as_ref().is_some_and(|h| valid(h.until) && (h.dr || !dr));
    let version =
        |text: &str| text.split('.').map(|part| part.parse().unwrap_or(u64::MAX)).collect::<Vec<_>>();
    let part = |part: &str| match part {
        "operator:public" => target.operator.nature == Nature::Public,
        "operator:private" => target.operator.nature == Nature::Private,
        "homologation" => homologated(false),
        "homologation_dr" => homologated(true),
        part => target.qualifications.iter().any(|q| {
            let (scheme, least) = part.split_once(">=").unwrap_or((part, "0"));
            q.scheme == scheme && version(&q.version) >= version(least) && valid(q.valid_until)
        }),
    };
    let country = |entry: &String| {
        *entry == target.country || entry == "EEA" && crate::place::EEA.contains(&&*target.country)
    };
    (must.processor_contract != Some(true) || target.processor_contract.is_some())
        && any(&must.country_in, country)
        && (must.extra_eu_law != Some(ExtraEuLaw::Immune) || target.extra_eu_law == Some(ExtraEuLaw::Immune))
        && must.operator.is_none_or(|nature| nature == target.operator.nature)
        && (must.tenancy != Some(Tenancy::Dedicated) || target.tenancy == Tenancy::Dedicated)
        && (must.homologation_dr != Some(true) || homologated(true))
        && (must.transformed != Some(true) || transformed)
        && must.one_of.as_ref().is_none_or(|all| all.iter().any(|one| one.split('+').all(part)))
}

fn is_unknown(leaf: &Leaf<'_>) -> bool {
    matches!(leaf.value, Scalar::Number(number, "") if number.is_nan())
}

#[cfg(test)]
mod tests;
