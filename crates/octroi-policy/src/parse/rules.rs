//! Form beyond types: ids and names given twice (C03), durations, filters,
//! dotted versions, words of closed lists, and keys that must or must not stand
//! together (C01). Each reads one block and looks nowhere else, but for ids.

use std::collections::BTreeMap;

use super::shape::error;
use super::suggestion;
use crate::ast::{Block, Comparison, Document, LeafType, Never, OneOrMany, Step, When};
use crate::time::duration_micros;
use crate::{Code, Finding, Location, topic};

pub(super) fn check(document: &Document, findings: &mut Vec<Finding>) {
    let mut rules = Rules { findings };
    rules.ids(document);
    rules.policy(document);
    rules.territory(document);
    document.source.iter().for_each(|source| rules.source(source));
    for rule in &document.classify {
        rules.when(rule, &rule.when);
    }
    rules.requirements(document);
    rules.copies(document);
    rules.invariants(document);
    rules.tests(document);
}

struct Rules<'a> {
    findings: &'a mut Vec<Finding>,
}

const WHY_FORM: &str = "a value that is not understood protects nothing";
const WHY_EMPTY: &str = "an empty list names nothing, so the block would never act";

impl Rules<'_> {
    fn push(&mut self, at: Location, message: String, why: &str, fix: &str) {
        self.findings.push(error(Code::C01, at, message, why, fix.to_owned()));
    }

    fn form<T>(&mut self, block: &Block<T>, key: &str, holds: bool, message: String, fix: &str) {
        if !holds {
            self.push(block.at_key(key), message, WHY_FORM, fix);
        }
    }

    fn duration<T>(&mut self, block: &Block<T>, key: &str, text: &str) {
        let message = format!("`{text}` in `{key}` is no ISO 8601 duration");
        self.form(
            block,
            key,
            duration_micros(text).is_some(),
            message,
            "write P7D for seven days, PT15M for fifteen minutes",
        );
    }

    fn version<T>(&mut self, block: &Block<T>, key: &str, text: &str) {
        let message = format!("`{text}` in `{key}` is no version");
        self.form(block, key, is_version(text), message, "write integers with dots between, as 3.2");
    }

    fn filter<T>(&mut self, block: &Block<T>, key: &str, filter: &str) {
        if let Err(fault) = topic::validate(filter) {
            let message = format!("`{filter}` is no MQTT filter: {fault}");
            self.push(
                block.at_key(key),
                message,
                WHY_FORM,
                "write levels, `+` for one of them, `#` for the rest",
            );
        }
    }

    fn not_empty<T>(&mut self, block: &Block<T>, key: &str, is_empty: bool) {
        if is_empty {
            let message = format!("`{key}` is an empty list");
            self.push(block.at_key(key), message, WHY_EMPTY, "name at least one, or take the key away");
        }
    }

    fn ids(&mut self, document: &Document) {
        fn all<'a, T>(
            blocks: &'a [Block<T>],
            id: impl Fn(&'a T) -> &'a str,
        ) -> impl Iterator<Item = (&'a str, Location)> {
            blocks.iter().map(move |block| (id(&block.value), block.at_key("id")))
        }
        let meta = std::iter::once((document.policy.id.as_str(), document.policy.at_key("id")));
        let has_policy = document.policy.at.line > 0;
        self.unique("policy", meta.filter(|_| has_policy));
        self.unique("perimeter", all(&document.perimeter, |b| &b.id));
        self.named("domain", all(&document.domain, |b| &b.id));
        self.unique("target", all(&document.target, |b| &b.id));
        self.unique("space", all(&document.space, |b| &b.id));
        self.unique("source", all(&document.source, |b| &b.id));
        self.unique("classify", all(&document.classify, |b| &b.id));
        self.named("requirement", all(&document.requirement, |b| &b.id));
        self.unique("transform", all(&document.transform, |b| &b.id));
        self.unique("copy", all(&document.copy, |b| &b.id));
        self.named("processing", all(&document.processing, |b| &b.id));
        self.named("invariant", all(&document.invariant, |b| &b.id));
        let sirens = document.producer.iter().map(|b| (b.siren.as_str(), b.at_key("siren")));
        self.duplicates("producer", sirens);
        let names = document.test.iter().map(|b| (b.name.as_str(), b.at_key("name")));
        self.duplicates("test", names);
    }

    /// Ids that reach names of metrics, topics and directories.
    fn unique<'a>(&mut self, block: &str, ids: impl Iterator<Item = (&'a str, Location)>) {
        self.spelt(block, ids, is_id, "a-z, 0-9 and `-`");
    }

    /// Names of domains (`air_quality`) and references of the law's side (`E1-contrat`, `T-eau`).
    fn named<'a>(&mut self, block: &str, ids: impl Iterator<Item = (&'a str, Location)>) {
        self.spelt(block, ids, is_name, "letters without accents, 0-9, `-` and `_`");
    }

    fn spelt<'a>(
        &mut self,
        block: &str,
        ids: impl Iterator<Item = (&'a str, Location)>,
        holds: fn(&str) -> bool,
        alphabet: &str,
    ) {
        let ids: Vec<_> = ids.collect();
        for (id, at) in ids.iter().filter(|(id, _)| !holds(id)) {
            let message = format!("`{id}` is no id of a `{block}`");
            let fix = format!("write {alphabet}, at most 64, beginning with a letter or digit");
            self.push(at.clone(), message, "ids become names of metrics, topics and directories", &fix);
        }
        self.duplicates(block, ids.into_iter());
    }

    fn duplicates<'a>(&mut self, block: &str, ids: impl Iterator<Item = (&'a str, Location)>) {
        let mut first: BTreeMap<&str, Location> = BTreeMap::new();
        for (id, at) in ids {
            match first.get(id) {
                Some(first) => self.findings.push(error(
                    Code::C03,
                    at,
                    format!("`{block}` `{id}` stands twice: the first is at {first}"),
                    "a name that means two things refers to neither",
                    "rename one of them".to_owned(),
                )),
                None => {
                    first.insert(id, at);
                }
            }
        }
    }

    fn policy(&mut self, document: &Document) {
        let policy = &document.policy;
        if policy.at.line > 0 {
            self.version(policy, "version", &policy.version);
        }
        let defaults = &document.defaults;
        for (key, value) in [("hold_max", &defaults.hold_max), ("quarantine_keep", &defaults.quarantine_keep)]
        {
            if let Some(value) = value {
                self.duration(defaults, key, value);
            }
        }
        for block in &document.acknowledge {
            let known =
                matches!(block.code.as_bytes(), [b'C', a, b] if a.is_ascii_digit() && b.is_ascii_digit());
            let message = format!("`{}` is no code of a check", block.code);
            self.form(block, "code", known, message, "write the code that the warning carries, as C27");
        }
        for block in &document.processing {
            self.duration(block, "retention", &block.retention);
        }
    }

    fn territory(&mut self, document: &Document) {
        for block in &document.perimeter {
            let lists = [&block.commune, &block.epci, &block.departement, &block.region];
            if lists.iter().all(|list| list.is_empty()) {
                let message = format!("perimeter `{}` covers no commune", block.id);
                self.push(
                    block.at.clone(),
                    message,
                    WHY_EMPTY,
                    "add `commune`, `epci`, `departement` or `region`",
                );
            }
        }
        for block in &document.domain {
            self.not_empty(block, "scales", block.scales.is_empty());
        }
        for block in &document.space {
            self.not_empty(block, "domains", block.domains.is_empty());
        }
        for block in &document.target {
            let message = format!("`{}` is no country code", block.country);
            let fix = "write two capitals (ISO 3166-1), as FR";
            self.form(block, "country", is_country(&block.country), message, fix);
            for (ix, record) in block.qualifications.iter().enumerate() {
                self.version(block, &format!("qualifications.{ix}.version"), &record.version);
            }
        }
    }

    fn source(&mut self, source: &Block<crate::ast::Source>) {
        self.not_empty(source, "topics", source.topics.is_empty());
        self.not_empty(source, "domains", source.domains.is_empty());
        for (ix, filter) in source.topics.iter().enumerate() {
            self.filter(source, &format!("topics.{ix}"), filter);
        }
        let origins = [
            ("domain_from", &source.domain_from, &["tag", "topic"][..]),
            ("commune_from", &source.commune_from, &["tag", "topic"]),
            ("device_from", &source.device_from, &["topic", "field"]),
        ];
        for (key, value, kinds) in origins {
            if let Some(value) = value {
                let message = format!("`{value}` in `{key}` names no place of a message");
                let (a, b) = (example_of(kinds.first()), example_of(kinds.last()));
                self.form(source, key, is_origin(value, kinds), message, &format!("write `{a}` or `{b}`"));
            }
        }
        let at = source.at.clone();
        if source.domains.len() > 1 && source.domain_from.is_none() {
            let message = format!("source `{}` has several domains and no `domain_from`", source.id);
            let why = "a message whose domain is unknown is quarantined";
            self.push(at.clone(), message, why, "add domain_from = \"tag:domain\", or keep one domain");
        }
        match (&source.commune, &source.commune_from) {
            (None, None) => {
                let message = format!("source `{}` has neither `commune` nor `commune_from`", source.id);
                let why = "a message that cannot be located is quarantined";
                self.push(at, message, why, "add commune = \"35238\" or commune_from = \"tag:insee\"");
            }
            (Some(_), Some(_)) => {
                let message = format!("source `{}` has `commune` and `commune_from`", source.id);
                self.push(source.at_key("commune"), message, "they could disagree", "keep one");
            }
            _ => {}
        }
    }

    fn when<T>(&mut self, block: &Block<T>, when: &When) {
        fn is_empty<T>(list: Option<&OneOrMany<T>>) -> bool {
            list.is_some_and(|list| list.as_slice().is_empty())
        }
        let none = |list: &Option<Vec<String>>| list.as_ref().is_some_and(Vec::is_empty);
        for (key, empty) in [
            ("source", is_empty(when.source.as_ref())),
            ("producer", is_empty(when.producer.as_ref())),
            ("domain", is_empty(when.domain.as_ref())),
            ("format", is_empty(when.format.as_ref())),
            ("commune", is_empty(when.commune.as_ref())),
            ("perimeter", is_empty(when.perimeter.as_ref())),
            ("topic", is_empty(when.topic.as_ref())),
            ("type_any", none(&when.type_any)),
            ("measure_any", none(&when.measure_any)),
            ("field_any", none(&when.field_any)),
            ("field_absent", none(&when.field_absent)),
        ] {
            self.not_empty(block, &format!("when.{key}"), empty);
        }
        for maps in [("tags", &when.tags), ("user_property", &when.user_property)] {
            for (name, values) in maps.1.iter().flatten() {
                self.not_empty(block, &format!("when.{}.{name}", maps.0), values.as_slice().is_empty());
            }
        }
        if let Some(filters) = &when.topic {
            for (key, filter) in keyed("when.topic", filters) {
                self.filter(block, &key, filter);
            }
        }
        for (name, kind) in when.fields_within.iter().flatten() {
            let empty = matches!(kind, LeafType::In { one_of } if one_of.is_empty());
            self.not_empty(block, &format!("when.fields_within.{name}.in"), empty);
        }
        for (name, comparison) in when.field.iter().flatten() {
            let key = format!("when.field.{name}");
            let none = *comparison == Comparison::default();
            let message = format!("`{key}` compares with nothing");
            self.form(block, &key, !none, message, "add `exists`, `eq`, `in`, `lt`, `gt`, …");
            self.not_empty(
                block,
                &format!("{key}.in"),
                comparison.one_of.as_ref().is_some_and(Vec::is_empty),
            );
        }
    }

    fn requirements(&mut self, document: &Document) {
        for block in &document.requirement {
            let (when, must) = (&block.when, &block.must);
            if when.min_level.is_none() && when.marking.is_none() {
                let message =
                    format!("requirement `{}` says for which labels by neither of its keys", block.id);
                let why = "a requirement without a label would be read in two ways";
                self.push(block.at_key("when"), message, why, "add `min_level` or `marking` to `when`");
            }
            self.not_empty(block, "when.target_kind", when.target_kind.as_ref().is_some_and(Vec::is_empty));
            if *must == crate::ast::Must::default() {
                let message = format!("requirement `{}` requires nothing", block.id);
                self.push(block.at_key("must"), message, WHY_FORM, "say in `must` what a target has to be");
            }
            for (key, value) in [
                ("processor_contract", must.processor_contract),
                ("homologation_dr", must.homologation_dr),
                ("transformed", must.transformed),
            ] {
                let key = format!("must.{key}");
                let message = format!("`{key} = false` requires nothing");
                self.form(block, &key, value != Some(false), message, "write `true`, or take the key away");
            }
            if let Some(countries) = &must.country_in {
                self.countries(block, "must.country_in", countries);
            }
            self.not_empty(block, "must.one_of", must.one_of.as_ref().is_some_and(Vec::is_empty));
            for (ix, way) in must.one_of.iter().flatten().enumerate() {
                let message = format!("`{way}` in `must.one_of` is not understood");
                let fix = "write `secnumcloud>=3.2`, `hds>=2024` or `operator:public+homologation`";
                self.form(block, &format!("must.one_of.{ix}"), is_way(way), message, fix);
            }
        }
        for block in &document.derogation {
            if block.scope.source.is_none() && block.scope.space.is_none() {
                let message = format!("the derogation from `{}` has no scope", block.requirement);
                let why = "a derogation everywhere is another requirement";
                self.push(block.at_key("scope"), message, why, "add `source` or `space` to `scope`");
            }
        }
    }

    fn countries<T>(&mut self, block: &Block<T>, key: &str, countries: &OneOrMany<String>) {
        self.not_empty(block, key, countries.as_slice().is_empty());
        for (key, country) in keyed(key, countries) {
            let message = format!("`{country}` in `{key}` is no country code");
            let holds = country == "EEA" || is_country(country);
            self.form(block, &key, holds, message, "write \"EEA\" or two capitals (ISO 3166-1), as FR");
        }
    }

    fn copies(&mut self, document: &Document) {
        for block in &document.transform {
            for (ix, step) in block.steps.iter().enumerate() {
                let (key, text) = match step {
                    Step::Pseudonymise { rotate, .. } => ("rotate", rotate),
                    Step::GeneraliseTime { to } => ("to", to),
                    Step::Aggregate { window, .. } => ("window", window),
                    Step::KeepOnly { .. }
                    | Step::Drop { .. }
                    | Step::GeneraliseGeo { .. }
                    | Step::Round { .. }
                    | Step::RewriteTopic { .. } => continue,
                };
                self.duration(block, &format!("steps.{ix}.{key}"), text);
            }
        }
        for block in &document.copy {
            self.not_empty(block, "domains", block.domains.is_empty());
            if let Some(when) = &block.when {
                self.when(block, when);
            }
        }
    }

    fn invariants(&mut self, document: &Document) {
        for block in &document.invariant {
            let Never { min_level, marking, target, target_kind, country_not_in, .. } = &block.never;
            if min_level.is_none() && marking.is_none() {
                let message = format!("invariant `{}` says of which labels by neither of its keys", block.id);
                let why = "a guarantee about no label guarantees nothing";
                self.push(block.at_key("never"), message, why, "add `min_level` or `marking` to `never`");
            }
            self.not_empty(block, "never.target", target.as_ref().is_some_and(|t| t.as_slice().is_empty()));
            self.not_empty(block, "never.target_kind", target_kind.as_ref().is_some_and(Vec::is_empty));
            if let Some(countries) = country_not_in {
                self.countries(block, "never.country_not_in", countries);
            }
        }
    }

    fn tests(&mut self, document: &Document) {
        for block in &document.test {
            let (given, expect) = (&block.given, &block.expect);
            let facts = given.tags.is_some()
                || given.measures.is_some()
                || given.fields.is_some()
                || given.kind.is_some()
                || given.declared.is_some();
            if given.payload.is_some() && facts {
                let message = format!("test `{}` gives a payload and facts", block.name);
                self.push(
                    block.at_key("given.payload"),
                    message,
                    "they could disagree",
                    "keep the payload or the facts",
                );
            }
            for (key, word, words) in
                [("expect.outcome", &expect.outcome, OUTCOMES), ("expect.reason", &expect.reason, REASONS)]
            {
                if let Some(word) = word {
                    let fix = suggestion(word, words.iter().copied());
                    let message = format!("`{word}` is no value of `{key}`");
                    self.form(block, key, words.contains(&word.as_str()), message, &fix);
                }
            }
        }
    }
}

const OUTCOMES: &[&str] = &["routed", "quarantined", "held", "refused"];
const REASONS: &[&str] = &[
    "unknown_source",
    "topic_not_allowed",
    "cannot_decode",
    "ambiguous_payload",
    "unknown_territory",
    "outside_perimeter",
    "domain_not_allowed",
    "no_rule_matches",
    "no_allowed_target",
    "command",
    "too_large",
];

/// The items with the dotted key of each.
pub(crate) fn keyed<'a>(
    key: &'a str,
    items: &'a OneOrMany<String>,
) -> impl Iterator<Item = (String, &'a String)> {
    let one = matches!(items, OneOrMany::One(_));
    let name = move |ix| if one { key.to_owned() } else { format!("{key}.{ix}") };
    items.as_slice().iter().enumerate().map(move |(ix, item)| (name(ix), item))
}

fn is_id(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.len() <= 64
        && text.bytes().next().is_some_and(plain)
        && text.bytes().all(|byte| plain(byte) || byte == b'-')
}

fn is_name(text: &str) -> bool {
    is_id(&text.to_ascii_lowercase().replace('_', "-"))
        && text.bytes().next().is_some_and(|byte| byte != b'_')
}

fn is_version(text: &str) -> bool {
    text.split('.')
        .all(|part| !part.is_empty() && part.len() <= 9 && part.bytes().all(|byte| byte.is_ascii_digit()))
}

fn is_country(text: &str) -> bool {
    text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_uppercase())
}

/// `tag:insee`, `topic:2`, `field:a.b`
fn is_origin(text: &str, kinds: &[&str]) -> bool {
    let Some((kind, name)) = text.split_once(':') else { return false };
    kinds.contains(&kind) && !name.is_empty() && (kind != "topic" || name.parse::<u8>().is_ok())
}

fn example_of(kind: Option<&&str>) -> &'static str {
    match kind {
        Some(&"tag") => "tag:insee",
        Some(&"topic") => "topic:1",
        _ => "field:device.id",
    }
}

/// `operator:public`, `operator:public+homologation`, `secnumcloud>=3.2`
fn is_way(text: &str) -> bool {
    text.split('+').all(|part| match (part.split_once(">="), part.split_once(':')) {
        (Some((scheme, version)), _) => is_id(scheme) && is_version(version),
        (None, Some((kind, nature))) => kind == "operator" && matches!(nature, "public" | "private"),
        (None, None) => is_id(part),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_versions_and_origins_have_their_form() {
        assert!(is_id("dc-rennes") && is_id("2rennes") && is_id(&"a".repeat(64)));
        assert!(!is_id("") && !is_id("-a") && !is_id("A") && !is_id("é") && !is_id(&"a".repeat(65)));
        assert!(is_version("2026.11.2") && !is_version("3.") && !is_version("v3"));
        assert!(
            is_origin("topic:2", &["topic"])
                && !is_origin("topic:x", &["topic"])
                && !is_origin("tag:", &["tag"])
        );
        assert!(
            is_way("operator:public+homologation")
                && is_way("secnumcloud>=3.2")
                && !is_way("secnumcloud>3.2")
        );
    }
}
