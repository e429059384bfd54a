//! The message that shows a finding: written as a test gives one, so that it
//! can be fed to `Policy::decide_facts`.
//!
//! It is built from conditions and a source alone, and it is a best effort:
//! what an abstract test cannot say (a user property, a size) gives no message
//! rather than a wrong one. It decides nothing; who shows a message that must
//! end in a certain way asks [`decide`] first.

use std::collections::BTreeMap;

use super::rules;
use crate::ast::{
    Classify, Comparison, Document, Given, GivenFields, LeafType, LeafTypeName, OneOrMany, Source, Value,
    When,
};
use crate::testing::facts_of;
use crate::{Cog, CommuneSet, Date, Decision, Input, Policy, SourceIx, same_name};

/// A name that no rule should know.
const ANY: &str = "x";
/// Pairs of topic filters looked at for one message.
const TOPICS: usize = 64;

/// Who sends a message, and about what.
#[derive(Clone, Copy)]
pub(crate) struct Sender<'d> {
    pub(crate) document: &'d Document,
    pub(crate) cog: Option<&'d Cog>,
    pub(crate) source: &'d Source,
    pub(crate) domain: &'d str,
}

/// A message that the rule matches, from the first source that can send one.
pub(crate) fn of_rule(document: &Document, cog: Option<&Cog>, rule: &Classify) -> Option<Given> {
    senders(document, cog, rule).find_map(|sender| sender.message(&[&rule.when]))
}

/// Every source and domain whose messages the rule can match.
pub(crate) fn senders<'d>(
    document: &'d Document,
    cog: Option<&'d Cog>,
    rule: &'d Classify,
) -> impl Iterator<Item = Sender<'d>> {
    document.source.iter().flat_map(move |source| {
        let sends = move |domain: &&String| {
            source.topics.iter().any(|filter| rules::can_match(rule, source, filter, domain, document, cog))
        };
        let domains = source.domains.iter().filter(sends);
        domains.map(move |domain| Sender { document, cog, source, domain })
    })
}

/// What the policy does with a message on a day; `None`: it does not know the source.
pub(crate) fn decide<'g>(policy: &Policy, given: &'g Given, day: Date) -> Option<Decision<'g>> {
    let source = policy.sources().iter().position(|source| source.id == given.source)?;
    let source = SourceIx::from_index(source)?;
    let input =
        Input { source, topic: &given.topic, payload: &[], user_properties: &[], received: day.start() };
    Some(policy.decide_facts(&input, facts_of(policy, source, given)))
}

impl Sender<'_> {
    /// A message that meets all those conditions, in a commune where the domain has a space if it can be.
    pub(crate) fn message(&self, whens: &[&When]) -> Option<Given> {
        let commune = match self.source.commune {
            Some(_) => None,
            None => Some(self.commune(whens)?),
        };
        self.message_in(whens, commune.as_deref())
    }

    /// The same in that commune (an INSEE code; `None`: the source's own).
    pub(crate) fn message_in(&self, whens: &[&When], commune: Option<&str>) -> Option<Given> {
        let unsayable = |when: &&When| when.user_property.is_some() || when.payload_larger_than.is_some();
        if whens.iter().any(unsayable) {
            return None;
        }
        let source = self.source;
        let mut tags = tags(whens)?;
        let mut levels: BTreeMap<usize, &str> = BTreeMap::new();
        let origins = [(&source.domain_from, Some(self.domain)), (&source.commune_from, commune)];
        for (origin, value) in origins {
            let (Some((kind, name)), Some(value)) = (origin.as_ref().and_then(|o| o.split_once(':')), value)
            else {
                continue;
            };
            if kind == "topic" {
                levels.insert(name.parse().ok()?, value);
            } else if tags.insert(name.to_owned(), value.to_owned()).is_some_and(|old| old != value) {
                return None;
            }
        }
        let first = |list: &Option<Vec<String>>| list.as_ref().and_then(|names| names.first().cloned());
        let measures: Vec<String> = whens.iter().filter_map(|when| first(&when.measure_any)).collect();
        let kinds: Vec<String> = whens.iter().filter_map(|when| first(&when.type_any)).collect();
        let declares = whens.iter().any(|when| when.declared_sensitivity == Some(true));
        Some(Given {
            source: source.id.clone(),
            topic: topics(source, whens).iter().find_map(|filter| concrete(filter, &levels))?,
            payload: None,
            tags: (!tags.is_empty()).then_some(tags),
            measures: (!measures.is_empty()).then_some(measures),
            fields: fields(whens),
            kind: (!kinds.is_empty()).then_some(OneOrMany::Many(kinds)),
            commune: None,
            declared: declares.then(|| "internal".to_owned()),
        })
    }

    /// A commune that source and conditions leave, where a space of the domain is if there is one.
    fn commune(&self, whens: &[&When]) -> Option<String> {
        let cog = self.cog?;
        let set = |id: &str| {
            let block = self.document.perimeter.iter().find(|block| block.id == id);
            block.map(|block| cog.perimeter(block)).unwrap_or_default()
        };
        let union = |ids: &OneOrMany<String>| {
            ids.as_slice().iter().fold(CommuneSet::new(), |all, id| all.union(&set(id)))
        };
        let mut reach = set(&self.source.perimeter);
        for when in whens {
            if let Some(codes) = &when.commune {
                let listed = codes.as_slice().iter().filter_map(|code| cog.commune(code)).collect();
                reach = reach.intersection(&listed);
            }
            if let Some(ids) = &when.perimeter {
                reach = reach.intersection(&union(ids));
            }
        }
        let served =
            self.document.space.iter().filter(|space| space.domains.iter().any(|id| id == self.domain));
        let served = served.fold(CommuneSet::new(), |all, space| all.union(&set(&space.perimeter)));
        let commune = reach.intersection(&served).first().or_else(|| reach.first())?;
        Some(cog.code(commune).to_owned())
    }
}

/// The filters of what the source may send and every condition takes.
fn topics(source: &Source, whens: &[&When]) -> Vec<String> {
    let asked = whens.iter().filter_map(|when| when.topic.as_ref());
    asked.fold(source.topics.clone(), |filters, asked| {
        let pairs = filters.iter().flat_map(|one| asked.as_slice().iter().map(move |other| (one, other)));
        pairs.filter_map(|(one, other)| meet(one, other)).take(TOPICS).collect()
    })
}

/// The filter of the topics that match both.
pub(super) fn meet(one: &str, other: &str) -> Option<String> {
    let (mut left, mut right) = (one.split('/'), other.split('/'));
    let mut levels = Vec::new();
    loop {
        match (left.next(), right.next()) {
            (None, None) => break,
            (Some("#"), level) => {
                levels.extend(level);
                levels.extend(right);
                break;
            }
            (level, Some("#")) => {
                levels.extend(level);
                levels.extend(left);
                break;
            }
            (Some("+"), Some(level)) => levels.push(level),
            (Some(level), Some(other)) if other == "+" || other == level => levels.push(level),
            _ => return None,
        }
    }
    Some(levels.join("/"))
}

/// A topic of the filter, with these words at these levels.
pub(super) fn concrete(filter: &str, at: &BTreeMap<usize, &str>) -> Option<String> {
    let depth = at.keys().next_back().map_or(0, |last| last + 1);
    // Deeper than any topic the hub takes: the origin names no level.
    if depth > 64 {
        return None;
    }
    let mut levels: Vec<&str> = filter.split('/').collect();
    if levels.last() == Some(&"#") {
        levels.pop();
        levels.push("+");
        levels.extend(std::iter::repeat_n("+", depth.saturating_sub(levels.len())));
    }
    for (level, word) in at {
        let place = levels.get_mut(*level).filter(|place| **place == "+" || **place == *word)?;
        *place = *word;
    }
    let named: Vec<&str> = levels.into_iter().map(|level| if level == "+" { ANY } else { level }).collect();
    Some(named.join("/"))
}

/// Tags with which every condition's are met.
fn tags(whens: &[&When]) -> Option<BTreeMap<String, String>> {
    let mut chosen = BTreeMap::new();
    for (name, values) in whens.iter().flat_map(|when| when.tags.iter().flatten()) {
        let asked = whens.iter().filter_map(|when| when.tags.as_ref()?.get(name));
        let asked: Vec<_> = asked.collect();
        let value = values
            .as_slice()
            .iter()
            .find(|value| asked.iter().all(|others| others.as_slice().contains(value)))?;
        chosen.insert(name.clone(), value.clone());
    }
    Some(chosen)
}

/// Fields with which the conditions are met: by name where any value will do.
fn fields(whens: &[&When]) -> Option<GivenFields> {
    let absent = |name: &str| {
        let lists = whens.iter().filter_map(|when| when.field_absent.as_ref()).flatten();
        lists.into_iter().any(|other| same_name(other, name))
    };
    let listed = |name: &str| {
        whens.iter().filter_map(|when| when.fields_within.as_ref()).all(|fields| fields.contains_key(name))
    };
    let mut wanted: BTreeMap<String, Option<Value>> = BTreeMap::new();
    for names in whens.iter().filter_map(|when| when.field_any.as_ref()) {
        let name = names.iter().find(|name| !absent(name) && listed(name)).or_else(|| names.first())?;
        wanted.insert(name.clone(), None);
    }
    for (name, comparison) in whens.iter().flat_map(|when| when.field.iter().flatten()) {
        if comparison.exists != Some(false) {
            wanted.insert(name.clone(), Some(satisfying(comparison)));
        }
    }
    if wanted.is_empty() {
        return None;
    }
    if wanted.values().all(Option::is_none) {
        return Some(GivenFields::Names(wanted.into_keys().collect()));
    }
    let kind = |name: &str| whens.iter().find_map(|when| when.fields_within.as_ref()?.get(name));
    let value = |(name, value): (String, Option<Value>)| {
        let value = value.unwrap_or_else(|| value_of(kind(&name)));
        (name, value)
    };
    Some(GivenFields::Values(wanted.into_iter().map(value).collect()))
}

fn value_of(kind: Option<&LeafType>) -> Value {
    let text = |text: &str| Value::Text(text.to_owned());
    match kind {
        Some(LeafType::In { one_of }) => text(one_of.first().map_or(ANY, String::as_str)),
        Some(LeafType::Named(LeafTypeName::Number)) => Value::Integer(1),
        Some(LeafType::Named(LeafTypeName::Boolean)) => Value::Boolean(true),
        Some(LeafType::Named(LeafTypeName::Time)) => text("2026-01-01T00:00:00Z"),
        Some(LeafType::Named(LeafTypeName::Token | LeafTypeName::Raw | LeafTypeName::Text)) | None => {
            text(ANY)
        }
    }
}

/// A value for which a comparison holds, if one does.
fn satisfying(comparison: &Comparison) -> Value {
    let listed = || comparison.one_of.as_ref().and_then(|values| values.first().cloned());
    if let Some(value) = comparison.eq.clone().or_else(listed) {
        return value;
    }
    let least = comparison.gte.or_else(|| comparison.gt.map(|bound| bound + 1.0));
    let most = comparison.lte.or_else(|| comparison.lt.map(|bound| bound - 1.0));
    match (least, most) {
        (Some(least), Some(most)) if least > most => Value::Number(f64::midpoint(least - 1.0, most + 1.0)),
        (Some(value), _) | (None, Some(value)) => Value::Number(value),
        (None, None) => {
            let text = [&comparison.starts_with, &comparison.contains].into_iter().flatten();
            let text: String = text.map(String::as_str).collect();
            Value::Text(if text.is_empty() { ANY.to_owned() } else { text })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topic::matches;

    #[test]
    fn the_meeting_of_two_filters_is_matched_by_both() {
        for (one, other, met) in [
            ("a/+/c", "a/b/#", Some("a/b/c")),
            ("a/#", "+/b", Some("a/b")),
            ("a/#", "a", Some("a")),
            ("a/b/#", "a/#", Some("a/b/#")),
            ("a/+", "a/b/c", None),
            ("a", "b", None),
            ("#", "x/+/y", Some("x/+/y")),
        ] {
            assert_eq!(meet(one, other).as_deref(), met, "{one} {other}");
            assert_eq!(meet(other, one).as_deref(), met, "{other} {one}");
            if let Some(topic) = met.and_then(|met| concrete(met, &BTreeMap::new())) {
                assert!(matches(one, &topic) && matches(other, &topic), "{topic}");
            }
        }
    }

    #[test]
    fn a_word_stands_at_its_level_of_the_topic_or_there_is_no_topic() {
        let at = BTreeMap::from([(1, "35238"), (3, "energy")]);
        assert_eq!(concrete("a/#", &at).as_deref(), Some("a/35238/x/energy"));
        assert_eq!(concrete("a/+/b/+", &at).as_deref(), Some("a/35238/b/energy"));
        assert_eq!(concrete("a/+/b/water", &at), None);
        assert_eq!(concrete("a/+", &at), None);
        assert_eq!(concrete("#", &BTreeMap::from([(usize::MAX - 1, "x")])), None);
    }
}
