//! Messages made to order: from the conditions of rules, abstract messages that
//! they match, each written as a `[[test]]` gives one.
//!
//! It only proposes: topics that the source may use, the communes, tags, names
//! and values that the conditions ask for. Whether a proposal does what it
//! should is for the engine to say. Conditions on the payload's size or on user
//! properties are beyond an abstract message: nothing is proposed for them.
//!
//! INVARIANT: no finding carries a proposal that was not decided as the finding
//! says (`check::Report::replayed`, `prove::messages`).

mod fields;

use std::collections::{BTreeMap, BTreeSet};

use crate::ast::{Document, Given, OneOrMany, Source, When};
use crate::{Cog, CommuneSet, Level, topic};

/// A name that no rule should know.
const ANY: &str = "x";
/// How many of the names that a condition lists are tried.
const VARIANTS: usize = 64;
/// How many meetings of topic filters are looked at for one message.
const TOPICS: usize = 64;
/// No topic that the hub takes has more levels.
const LEVELS: usize = 64;

/// The message that is wanted.
#[derive(Clone)]
pub(crate) struct Order<'a> {
    pub(crate) document: &'a Document,
    /// `None`: only a source that says its commune can be asked.
    pub(crate) cog: Option<&'a Cog>,
    pub(crate) source: &'a Source,
    /// The filters of the source under which its topic may lie.
    pub(crate) filters: &'a [String],
    pub(crate) domain: &'a str,
    /// All of which it must meet.
    pub(crate) conditions: Vec<&'a When>,
    /// Fields that it has beside those.
    pub(crate) fields: Vec<&'a str>,
    pub(crate) declared: Option<Level>,
}

impl<'a> Order<'a> {
    pub(crate) fn new(
        document: &'a Document,
        cog: Option<&'a Cog>,
        source: &'a Source,
        domain: &'a str,
        conditions: Vec<&'a When>,
    ) -> Self {
        let filters = &source.topics;
        Self { document, cog, source, filters, domain, conditions, fields: Vec::new(), declared: None }
    }

    /// Messages that should do, the simplest first, from each of the likely communes.
    pub(crate) fn proposals(self) -> impl Iterator<Item = Given> + use<'a> {
        self.communes().into_iter().flat_map(move |commune| self.clone().proposals_in(commune))
    }

    /// Those of one commune (an INSEE code).
    pub(crate) fn proposals_in(self, commune: &'a str) -> impl Iterator<Item = Given> + use<'a> {
        let beyond = |when: &&When| when.payload_larger_than.is_some() || when.user_property.is_some();
        let filters = if self.conditions.iter().any(beyond) { &[] } else { self.filters };
        let variants = self.conditions.iter().map(|when| longest_list(when)).max().unwrap_or(1);
        let each = (0..variants.min(VARIANTS)).flat_map(|n| filters.iter().map(move |filter| (filter, n)));
        each.filter_map(move |(filter, variant)| self.proposal(filter, commune, variant))
    }

    /// The communes that the source and all conditions leave.
    pub(crate) fn reach(&self) -> CommuneSet {
        let Some(cog) = self.cog else { return CommuneSet::new() };
        let mut reach = self.perimeter(cog, &self.source.perimeter);
        for when in &self.conditions {
            if let Some(codes) = &when.commune {
                let listed = codes.as_slice().iter().filter_map(|code| cog.commune(code)).collect();
                reach = reach.intersection(&listed);
            }
            if let Some(ids) = &when.perimeter {
                let listed = ids.as_slice().iter().map(|id| self.perimeter(cog, id));
                reach = reach.intersection(&listed.fold(CommuneSet::new(), |all, one| all.union(&one)));
            }
        }
        reach
    }

    /// Where to look first: what topics and tags say, then where the domain has a space, then anywhere.
    pub(crate) fn communes(&self) -> Vec<&'a str> {
        if let Some(code) = &self.source.commune {
            return vec![code];
        }
        let Some(cog) = self.cog else { return Vec::new() };
        let reach = self.reach();
        let spaces = self.document.space.iter();
        let served = spaces.filter(|space| space.domains.iter().any(|id| id == self.domain));
        let served = served.map(|space| self.perimeter(cog, &space.perimeter));
        let served = served.fold(CommuneSet::new(), |all, one| all.union(&one));
        let said = self.said().into_iter().filter_map(|code| cog.commune(code));
        let said = said.filter(|commune| reach.contains(*commune));
        let first = reach.intersection(&served).first().or_else(|| reach.first());
        said.chain(first).map(|commune| cog.code(commune)).collect()
    }

    /// What conditions ask to stand where the source writes its commune.
    fn said(&self) -> Vec<&'a str> {
        let conditions = self.conditions.iter();
        match self.source.commune_from.as_deref().and_then(|from| from.split_once(':')) {
            Some(("tag", name)) => {
                let values = conditions.filter_map(|when| when.tags.as_ref()?.get(name));
                values.flat_map(OneOrMany::as_slice).map(String::as_str).collect()
            }
            Some((_, level)) => {
                let level = level.parse().unwrap_or(LEVELS);
                let filters = conditions.filter_map(|when| when.topic.as_ref()).flat_map(OneOrMany::as_slice);
                filters.filter_map(|filter| filter.split('/').nth(level)).collect()
            }
            None => Vec::new(),
        }
    }

    fn perimeter(&self, cog: &Cog, id: &str) -> CommuneSet {
        let block = self.document.perimeter.iter().find(|block| block.id == id);
        block.map(|block| cog.perimeter(block)).unwrap_or_default()
    }

    fn proposal(&self, filter: &str, commune: &str, variant: usize) -> Option<Given> {
        let (mut tags, mut levels) = (BTreeMap::new(), BTreeMap::new());
        for (origin, value) in [(&self.source.domain_from, self.domain), (&self.source.commune_from, commune)]
        {
            let known = match origin.as_deref().and_then(|origin| origin.split_once(':')) {
                Some(("tag", name)) => tags.insert(name.to_owned(), value.to_owned()),
                Some((_, level)) => levels.insert(level.parse().ok()?, value).map(str::to_owned),
                None => None,
            };
            known.is_none_or(|known| known == value).then_some(())?;
        }
        self.tag(&mut tags, variant)?;
        let measures = self.names(variant, |when| when.measure_any.as_deref());
        let types = self.names(variant, |when| when.type_any.as_deref());
        let asked = self.conditions.iter().any(|when| when.declared_sensitivity == Some(true));
        let declared = self.declared.or(asked.then_some(Level::Open));
        Some(Given {
            source: self.source.id.clone(),
            topic: self.topic(filter, &levels, variant)?,
            payload: None,
            tags: (!tags.is_empty()).then_some(tags),
            measures: (!measures.is_empty()).then_some(measures),
            fields: fields::given(&self.conditions, &self.fields, variant),
            kind: (!types.is_empty()).then_some(OneOrMany::Many(types)),
            commune: None,
            declared: declared.map(|level| level.name().to_owned()),
        })
    }

    /// A topic under that filter and one of each condition's.
    fn topic(&self, filter: &str, levels: &BTreeMap<usize, &str>, variant: usize) -> Option<String> {
        let asked = self.conditions.iter().filter_map(|when| when.topic.as_ref());
        let met = asked.fold(vec![filter.to_owned()], |met, asked| {
            let others = || turned(asked.as_slice(), variant);
            let pairs = met.iter().flat_map(|one| others().filter_map(|other| topic::common(one, other)));
            pairs.take(TOPICS).collect()
        });
        met.iter().find_map(|filter| topic_under(filter, levels))
    }

    /// Adds a value for each tag that all who ask for it take.
    fn tag(&self, tags: &mut BTreeMap<String, String>, variant: usize) -> Option<()> {
        for (name, values) in self.conditions.iter().flat_map(|when| when.tags.iter().flatten()) {
            let known = tags.get(name);
            let taken = |value: &&String| {
                let mut asked = self.conditions.iter().filter_map(|when| when.tags.as_ref()?.get(name));
                known.is_none_or(|known| known == *value)
                    && asked.all(|others| others.as_slice().contains(value))
            };
            let value = turned(values.as_slice(), variant).find(taken)?.clone();
            tags.insert(name.clone(), value);
        }
        Some(())
    }

    /// A name of each list, unless there is one of it already.
    fn names(&self, variant: usize, list: impl Fn(&When) -> Option<&[String]>) -> Vec<String> {
        let mut names = BTreeSet::new();
        for listed in self.conditions.iter().filter_map(|when| list(when)) {
            if !listed.iter().any(|name| names.contains(name)) {
                names.extend(turned(listed, variant).next().cloned());
            }
        }
        names.into_iter().collect()
    }
}

/// How many names the longest list of a condition has.
fn longest_list(when: &When) -> usize {
    let names = [&when.type_any, &when.measure_any, &when.field_any];
    let names = names.into_iter().flatten().map(Vec::len);
    let schema = when.fields_within.iter().map(BTreeMap::len);
    let topics = when.topic.iter().map(|topics| topics.as_slice().len());
    let tags = when.tags.iter().flatten().map(|(_, values)| values.as_slice().len());
    names.chain(schema).chain(topics).chain(tags).max().unwrap_or(1)
}

/// The items, beginning with another one for each variant.
fn turned<T>(items: &[T], variant: usize) -> impl Iterator<Item = &T> {
    items.iter().cycle().skip(variant).take(items.len())
}

/// A topic that a filter matches, with those words at those levels.
pub(crate) fn topic_under(filter: &str, words: &BTreeMap<usize, &str>) -> Option<String> {
    let depth = words.last_key_value().map_or(0, |(last, _)| last.saturating_add(1));
    if depth > LEVELS {
        return None;
    }
    let mut levels: Vec<&str> = filter.split('/').collect();
    if levels.last() == Some(&"#") {
        levels.pop();
        // `a/#` matches `a` too, but devices publish below.
        levels.resize(depth.max(levels.len() + 1), "+");
    }
    for (level, word) in words {
        let level = levels.get_mut(*level).filter(|level| **level == "+" || *level == word)?;
        *level = *word;
    }
    let levels: Vec<&str> = levels.into_iter().map(|level| if level == "+" { ANY } else { level }).collect();
    Some(levels.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_lies_under_its_filter_and_says_what_it_must() {
        let check = |filter: &str, words: &[(usize, &str)], expected: Option<&str>| {
            let topic = topic_under(filter, &words.iter().copied().collect());
            assert_eq!(topic.as_deref(), expected, "{filter} {words:?}");
            assert!(topic.is_none_or(|topic| topic::matches(filter, &topic)));
        };
        check("a/+/c", &[], Some("a/x/c"));
        check("a/#", &[], Some("a/x"));
        check("#", &[(2, "water")], Some("x/x/water"));
        check("a/#", &[(1, "35238"), (3, "energy")], Some("a/35238/x/energy"));
        check("a/+/c", &[(1, "35238")], Some("a/35238/c"));
        check("a/+/c", &[(0, "b")], None);
        check("a/+/c", &[(3, "b")], None);
        check("#", &[(usize::MAX, "b")], None);
    }
}
