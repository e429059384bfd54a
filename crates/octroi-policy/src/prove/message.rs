//! A message that a set of rules matches, written as a `[[test]]` gives one:
//! what a proof found on labels, shown on something that a sender could send.
//!
//! It is built from what the conditions name and is a guess: other rules may
//! match it too. Bytes are not written, only facts.
//!
//! INVARIANT: nothing is claimed of a message that was not seen to come out of
//! [`decide`]; a condition that facts without values cannot meet (a size, user
//! properties, a copy's comparison) gives no message.

use std::collections::{BTreeMap, BTreeSet};

use crate::ast::{Given, GivenFields, OneOrMany, Source, When};
use crate::testing::facts_of;
use crate::{CommuneSet, Date, Decision, DomainIx, Input, Level, Policy, SourceIx};

/// So many combinations of topic filters are tried.
const MOST_PATTERNS: usize = 64;

/// What a message is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'w> {
    pub(crate) source: SourceIx,
    pub(crate) domain: DomainIx,
    /// From one of these.
    pub(crate) communes: &'w CommuneSet,
    /// All of these match it.
    pub(crate) rules: &'w [u16],
    /// And this, if it is a copy that should carry it.
    pub(crate) copy: Option<&'w When>,
    /// What the sender declares.
    pub(crate) word: Option<Level>,
    /// Which alternative of each list: the first is 0; where a list is shorter, it begins again.
    pub(crate) nth: usize,
}

/// Decides such a message as of the beginning of a day.
pub(crate) fn decide<'g>(policy: &Policy, given: &'g Given, day: Date) -> Option<Decision<'g>> {
    let source = policy.sources().iter().position(|source| source.id == given.source)?;
    let source = SourceIx::from_index(source)?;
    let received = day.start();
    let input = Input { source, topic: &given.topic, payload: &[], user_properties: &[], received };
    Some(policy.decide_facts(&input, facts_of(policy, source, given)))
}

/// The message; `None` where the conditions exclude each other or ask for more than facts.
pub(crate) fn write(policy: &Policy, wanted: &Wanted<'_>) -> Option<Given> {
    let document = policy.document();
    let source = document.source.get(wanted.source.index())?;
    let domain = &document.domain.get(wanted.domain.index())?.id;
    let rule = |rule: &u16| document.classify.get(usize::from(*rule)).map(|rule| &rule.when);
    let mut whens: Vec<&When> = wanted.rules.iter().map(rule).collect::<Option<_>>()?;
    whens.extend(wanted.copy);
    if whens.iter().any(|when| when.payload_larger_than.is_some() || when.user_property.is_some()) {
        return None;
    }
    let commune = commune(policy, wanted.communes, &whens)?;
    let (mut tags, mut levels) = (tags(&whens, wanted.nth)?, BTreeMap::new());
    for (from, value) in [(&source.domain_from, domain.as_str()), (&source.commune_from, commune)] {
        match from.as_deref().and_then(|from| from.split_once(':')) {
            Some(("tag", name)) => {
                let known = tags.insert(name.to_owned(), value.to_owned());
                known.is_none_or(|known| known == value).then_some(())?;
            }
            Some(("topic", level)) => {
                let known = levels.insert(level.parse().ok()?, value);
                known.is_none_or(|known| known == value).then_some(())?;
            }
            Some(_) | None => {}
        }
    }
    let each = |list: fn(&When) -> Option<&[String]>| names(&whens, wanted.nth, list);
    let measures = each(|when| when.measure_any.as_deref());
    let kind = match each(|when| when.type_any.as_deref()) {
        types if types.is_empty() => None,
        types if types.len() == 1 => types.into_iter().next().map(OneOrMany::One),
        types => Some(OneOrMany::Many(types)),
    };
    let declared = wanted.word.map(|word| word.name().to_owned());
    let asked = whens.iter().any(|when| when.declared_sensitivity == Some(true));
    Some(Given {
        source: source.id.clone(),
        topic: topic(source, &whens, &levels, wanted.nth)?,
        payload: None,
        tags: (!tags.is_empty()).then_some(tags),
        fields: fields(&whens, &measures, wanted.nth).map(GivenFields::Names),
        measures: (!measures.is_empty()).then_some(measures),
        kind,
        commune: None,
        declared: declared.or_else(|| asked.then(|| Level::Open.name().to_owned())),
    })
}

/// How many alternatives the longest list of a condition has.
pub(crate) fn alternatives(when: &When) -> usize {
    let names = [&when.type_any, &when.measure_any, &when.field_any];
    let names = names.into_iter().flatten().map(Vec::len);
    let topics = when.topic.iter().map(|topics| topics.as_slice().len());
    let tags = when.tags.iter().flatten().map(|(_, values)| values.as_slice().len());
    names.chain(topics).chain(tags).max().unwrap_or(1)
}

fn nth<T>(list: &[T], n: usize) -> Option<&T> {
    list.get(n.checked_rem(list.len())?)
}

fn commune<'p>(policy: &'p Policy, communes: &CommuneSet, whens: &[&When]) -> Option<&'p str> {
    let perimeters = &policy.document().perimeter;
    let lies = |code: &str, commune, when: &When| {
        let listed = |ids: &OneOrMany<String>| {
            let mut named = perimeters.iter().filter(|perimeter| ids.as_slice().contains(&perimeter.id));
            named.any(|perimeter| policy.cog().perimeter(perimeter).contains(commune))
        };
        when.commune.as_ref().is_none_or(|codes| codes.as_slice().iter().any(|listed| listed == code))
            && when.perimeter.as_ref().is_none_or(listed)
    };
    let fits = |commune| whens.iter().all(|when| lies(policy.cog().code(commune), commune, when));
    communes.iter().find(|commune| fits(*commune)).map(|commune| policy.cog().code(commune))
}

/// A value for each tag that all who ask for it take.
fn tags(whens: &[&When], n: usize) -> Option<BTreeMap<String, String>> {
    let asked = || whens.iter().filter_map(|when| when.tags.as_ref());
    let names: BTreeSet<&String> = asked().flat_map(BTreeMap::keys).collect();
    let value_of = |name: &String| {
        let lists: Vec<&[String]> =
            asked().filter_map(|tags| tags.get(name)).map(OneOrMany::as_slice).collect();
        let first = lists.first()?;
        let shared: Vec<&String> =
            first.iter().filter(|value| lists.iter().all(|list| list.contains(value))).collect();
        nth(&shared, n).map(|value| (name.clone(), (*value).clone()))
    };
    names.into_iter().map(value_of).collect()
}

/// One name of each condition's list, each once.
fn names(whens: &[&When], n: usize, list: impl Fn(&When) -> Option<&[String]>) -> Vec<String> {
    let chosen = whens.iter().filter_map(|when| list(when)).filter_map(|names| nth(names, n));
    chosen.cloned().collect::<BTreeSet<String>>().into_iter().collect()
}

/// What conditions ask for, and where only a closed schema speaks of fields, one of its own.
fn fields(whens: &[&When], measures: &[String], n: usize) -> Option<Vec<String>> {
    let mut fields = names(whens, n, |when| when.field_any.as_deref());
    let compared = whens.iter().filter_map(|when| when.field.as_ref()).flatten();
    fields.extend(
        compared.filter(|(_, comparison)| comparison.exists != Some(false)).map(|(name, _)| name.clone()),
    );
    if fields.is_empty() {
        let listed: Vec<&String> =
            whens.iter().filter_map(|when| when.fields_within.as_ref()).flat_map(BTreeMap::keys).collect();
        let measured = listed.iter().find(|name| measures.contains(name));
        fields.extend(measured.or_else(|| nth(&listed, n)).map(|name| (*name).clone()));
    }
    fields.sort();
    fields.dedup();
    (!fields.is_empty()).then_some(fields)
}

/// A topic that the source may publish to and every filter matches, with the
/// levels that must have a certain value.
fn topic(source: &Source, whens: &[&When], fixed: &BTreeMap<usize, &str>, n: usize) -> Option<String> {
    let mut patterns = split(&source.topics, n);
    for filters in whens.iter().filter_map(|when| when.topic.as_ref()) {
        let filters = split(filters.as_slice(), n);
        let met = patterns.iter().flat_map(|pattern| filters.iter().filter_map(|f| common(pattern, f)));
        patterns = met.take(MOST_PATTERNS).collect();
    }
    patterns.iter().find_map(|pattern| filled(pattern, fixed))
}

/// Filters by their levels, the `n`th of them first.
fn split(filters: &[String], n: usize) -> Vec<Vec<&str>> {
    let first = n.checked_rem(filters.len()).unwrap_or_default();
    let rotated = filters.iter().cycle().skip(first).take(filters.len());
    rotated.map(|filter| filter.split('/').collect()).collect()
}

/// The filter of what both match.
fn common<'t>(a: &[&'t str], b: &[&'t str]) -> Option<Vec<&'t str>> {
    let mut all = Vec::new();
    let (mut left, mut right) = (a.iter().copied(), b.iter().copied());
    loop {
        let (x, y) = (left.next(), right.next());
        match (x, y) {
            (None, None) => return Some(all),
            // `#` takes what is left, the parent level included.
            (Some("#"), _) => {
                all.extend(y.into_iter().chain(right));
                return Some(all);
            }
            (_, Some("#")) => {
                all.extend(x.into_iter().chain(left));
                return Some(all);
            }
            (Some(x), Some(y)) if y == "+" || x == y => all.push(x),
            (Some("+"), Some(y)) => all.push(y),
            _ => return None,
        }
    }
}

/// A topic of that filter: `a` where any level will do.
fn filled(pattern: &[&str], fixed: &BTreeMap<usize, &str>) -> Option<String> {
    let open = pattern.last() == Some(&"#");
    let least = fixed.last_key_value().map_or(0, |(last, _)| last + 1);
    let length = if open { pattern.len().max(least) } else { pattern.len() };
    let level = |n: usize| match (pattern.get(n), fixed.get(&n)) {
        (Some(&"+" | &"#") | None, value) => Some(value.copied().unwrap_or("a")),
        (Some(word), value) => value.is_none_or(|value| value == word).then_some(*word),
    };
    let levels: Vec<&str> = (0..length).map(level).collect::<Option<_>>()?;
    (least <= length).then(|| levels.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic_of(filters: &[&str], fixed: &[(usize, &str)]) -> Option<String> {
        let mut split = filters.iter().map(|filter| filter.split('/').collect::<Vec<_>>());
        let first = split.next()?;
        let pattern = split.try_fold(first, |pattern, filter| common(&pattern, &filter))?;
        filled(&pattern, &fixed.iter().copied().collect())
    }

    type Case<'c> = (&'c [&'c str], &'c [(usize, &'c str)], Option<&'c str>);

    #[test]
    fn a_topic_matches_every_filter_it_was_made_from() {
        let cases: [Case<'_>; 8] = [
            (&["ville/mobilite/#", "ville/mobilite/+/count"], &[], Some("ville/mobilite/a/count")),
            (&["a/#", "a"], &[], Some("a")),
            (&["#", "+/b"], &[(0, "35238")], Some("35238/b")),
            (&["a/#"], &[(3, "56001")], Some("a/a/a/56001")),
            (&["a/+", "b/#"], &[], None),
            (&["a/b"], &[(1, "c")], None),
            (&["a/b"], &[(2, "c")], None),
            (&["+/b/#", "a/+/c"], &[(1, "b")], Some("a/b/c")),
        ];
        for (filters, fixed, expected) in cases {
            let topic = topic_of(filters, fixed);
            assert_eq!(topic.as_deref(), expected, "{filters:?} {fixed:?}");
            let matches = |topic: &str| filters.iter().all(|filter| crate::topic::matches(filter, topic));
            assert!(topic.is_none_or(|topic| matches(&topic)), "{filters:?}");
        }
    }
}
