//! Messages made to order: from the conditions of rules, an abstract message
//! that they match, which then shows a fault when it is decided.
//!
//! It only proposes: topics that the source may use, the tags, names and types
//! that the conditions ask for. Whether a proposal does what it should is for
//! the engine to say, so that a finding carries no message that was not
//! replayed (`check::Report::replayed`, `prove`). Conditions on the payload's
//! size or on user properties are beyond an abstract message: nothing is
//! proposed for them.

use std::collections::BTreeMap;

use crate::ast::{Given, GivenFields, OneOrMany, Source, When};
use crate::{Level, topic};

/// How many of the names that a condition lists are tried.
const VARIANTS: usize = 4;

/// The message that is wanted.
pub(crate) struct Order<'a> {
    pub(crate) source: &'a Source,
    /// The filters of the source under which its topic may lie.
    pub(crate) filters: &'a [String],
    pub(crate) domain: &'a str,
    /// INSEE code.
    pub(crate) commune: &'a str,
    /// All of which it must meet.
    pub(crate) conditions: Vec<&'a When>,
    /// Fields that it has beside those.
    pub(crate) fields: Vec<&'a str>,
    pub(crate) declared: Option<Level>,
}

impl<'a> Order<'a> {
    /// Messages that should do, the simplest first.
    pub(crate) fn proposals(&self) -> impl Iterator<Item = Given> {
        (0..VARIANTS).flat_map(move |variant| {
            self.filters.iter().filter_map(move |filter| self.proposal(filter, variant))
        })
    }

    fn proposal(&self, filter: &'a str, variant: usize) -> Option<Given> {
        let mut filter = filter.to_owned();
        let mut tags: BTreeMap<&str, &str> = BTreeMap::new();
        let mut levels = Vec::new();
        let origins = [(&self.source.domain_from, self.domain), (&self.source.commune_from, self.commune)];
        for (origin, value) in origins {
            match origin.as_deref().and_then(|origin| origin.split_once(':')) {
                Some(("tag", name)) => {
                    tags.insert(name, value);
                }
                Some((_, level)) => levels.push((level.parse().ok()?, value)),
                None => {}
            }
        }
        let (mut measures, mut types, mut fields) = (Vec::new(), Vec::new(), self.fields.clone());
        let mut declared = self.declared;
        for when in &self.conditions {
            if when.payload_larger_than.is_some() || when.user_property.is_some() {
                return None;
            }
            if let Some(filters) = &when.topic {
                filter =
                    turned(filters.as_slice(), variant).find_map(|other| topic::common(&filter, other))?;
            }
            for (name, values) in when.tags.iter().flatten() {
                match tags.get(name.as_str()) {
                    Some(known) => values.as_slice().iter().find(|value| value == known).map(|_| ())?,
                    None => tags.extend(turned(values.as_slice(), variant).next().map(|v| (&**name, &**v))),
                }
            }
            one_of(&mut measures, when.measure_any.as_deref(), variant);
            one_of(&mut types, when.type_any.as_deref(), variant);
            one_of(&mut fields, when.field_any.as_deref(), variant);
            let compared = when.field.iter().flatten().filter(|(_, with)| with.exists != Some(false));
            fields.extend(compared.map(|(name, _)| name.as_str()));
            let listed: Option<Vec<String>> =
                when.fields_within.as_ref().map(|listed| listed.keys().cloned().collect());
            if let Some(name) = listed.and_then(|names| turned(&names, variant).next().cloned()) {
                let key = when.fields_within.as_ref()?.get_key_value(&name)?.0;
                fields.extend(Some(key.as_str()).filter(|key| !fields.contains(key)));
            }
            if when.declared_sensitivity == Some(true) {
                declared = declared.or(Some(Level::Open));
            }
        }
        let owned = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect::<Vec<_>>();
        let some = |names: Vec<&str>| (!names.is_empty()).then(|| owned(names));
        let tags: BTreeMap<String, String> =
            tags.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Some(Given {
            source: self.source.id.clone(),
            topic: topic_under(&filter, &levels)?,
            payload: None,
            tags: (!tags.is_empty()).then_some(tags),
            measures: some(measures),
            fields: some(fields).map(GivenFields::Names),
            kind: some(types).map(OneOrMany::Many),
            commune: None,
            declared: declared.map(|level| level.name().to_owned()),
        })
    }
}

/// The items, beginning with another one for each variant.
fn turned<T>(items: &[T], variant: usize) -> impl Iterator<Item = &T> {
    items.iter().cycle().skip(variant).take(items.len())
}

/// Adds one of the names, unless there is one of them already.
fn one_of<'a>(names: &mut Vec<&'a str>, listed: Option<&'a [String]>, variant: usize) {
    let Some(listed) = listed else { return };
    if !names.iter().any(|name| listed.iter().any(|other| other == name)) {
        names.extend(turned(listed, variant).next().map(String::as_str));
    }
}

/// A topic that a filter matches, with those words at those levels.
fn topic_under(filter: &str, fixed: &[(usize, &str)]) -> Option<String> {
    let mut levels: Vec<&str> = filter.split('/').collect();
    if levels.last() == Some(&"#") {
        let deepest = fixed.iter().map(|(level, _)| level + 1).max().unwrap_or_default();
        levels.pop();
        // `a/#` matches `a` too, but devices publish below.
        let depth = (levels.len() + 1).max(deepest);
        levels.resize(depth, "+");
    }
    for (level, word) in fixed {
        let level = levels.get_mut(*level).filter(|level| **level == "+" || *level == word)?;
        *level = *word;
    }
    let words: Vec<&str> = levels.into_iter().map(|level| if level == "+" { "x" } else { level }).collect();
    Some(words.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_lies_under_its_filter_and_says_what_it_must() {
        let check = |filter: &str, fixed: &[(usize, &str)], expected: Option<&str>| {
            let topic = topic_under(filter, fixed);
            assert_eq!(topic.as_deref(), expected, "{filter} {fixed:?}");
            assert!(topic.is_none_or(|topic| topic::matches(filter, &topic)));
        };
        check("a/+/c", &[], Some("a/x/c"));
        check("a/#", &[], Some("a/x"));
        check("#", &[(2, "water")], Some("x/x/water"));
        check("a/+/c", &[(1, "35238")], Some("a/35238/c"));
        check("a/+/c", &[(0, "b")], None);
        check("a/+/c", &[(3, "b")], None);
    }
}
