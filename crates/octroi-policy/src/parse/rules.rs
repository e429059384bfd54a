//! Form beyond types: ids and names given twice (C03), durations, filters,
//! dotted versions, words of closed lists, and keys that must or must not stand
//! together (C01). Each reads one block and looks nowhere else, but for ids.

use std::collections::BTreeMap;

use super::forms::{example_of, is_country, is_id, is_name, is_origin, is_version, is_way};
use super::shape::{error, why_type};
use super::suggestion;
use crate::ast::{Block, Comparison, Document, LeafType, Never, OneOrMany, Requirement, Step, When};
use crate::text::text;
use crate::time::duration_micros;
use crate::{Code, Finding, Location, Text, topic};

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

fn why_empty() -> Text {
    text!(
        "an empty list names nothing, so the block would never act",
        "une liste vide ne nomme rien : le bloc n'agirait jamais",
    )
}

fn why_disagree() -> Text {
    text!("they could disagree", "ils pourraient se contredire")
}

impl Rules<'_> {
    fn push(&mut self, at: Location, message: Text, why: Text, fix: Text) {
        self.findings.push(error(Code::C01, at, message, why, fix));
    }

    fn form<T>(&mut self, block: &Block<T>, key: &str, holds: bool, message: Text, fix: Text) {
        if !holds {
            self.push(block.at_key(key), message, why_type(), fix);
        }
    }

    fn duration<T>(&mut self, block: &Block<T>, key: &str, text: &str) {
        let message = text!(
            "`{text}` in `{key}` is no ISO 8601 duration",
            "`{text}` dans `{key}` n'est pas une durée ISO 8601",
        );
        let fix = text!(
            "write P7D for seven days, PT15M for fifteen minutes",
            "écrire P7D pour sept jours, PT15M pour quinze minutes",
        );
        self.form(block, key, duration_micros(text).is_some(), message, fix);
    }

    fn version<T>(&mut self, block: &Block<T>, key: &str, text: &str) {
        let message =
            text!("`{text}` in `{key}` is no version", "`{text}` dans `{key}` n'est pas une version",);
        let fix = text!(
            "write integers with dots between, as 3.2",
            "écrire des entiers séparés par des points, comme 3.2",
        );
        self.form(block, key, is_version(text), message, fix);
    }

    fn filter<T>(&mut self, block: &Block<T>, key: &str, filter: &str) {
        if let Err(Text { en, fr }) = topic::validate(filter) {
            let message =
                text!("`{filter}` is no MQTT filter: {en}", "`{filter}` n'est pas un filtre MQTT : {fr}",);
            let fix = text!(
                "write levels, `+` for one of them, `#` for the rest",
                "écrire des niveaux, `+` pour l'un d'eux, `#` pour la suite",
            );
            self.push(block.at_key(key), message, why_type(), fix);
        }
    }

    fn not_empty<T>(&mut self, block: &Block<T>, key: &str, is_empty: bool) {
        if is_empty {
            let message = text!("`{key}` is an empty list", "`{key}` est une liste vide");
            let fix =
                text!("name at least one, or take the key away", "en nommer au moins un, ou retirer la clé",);
            self.push(block.at_key(key), message, why_empty(), fix);
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
        self.spelt(block, ids, is_id, &text!("a-z, 0-9 and `-`", "a-z, 0-9 et `-`"));
    }

    /// Names of domains (`air_quality`) and references of the law's side (`E1-contrat`, `T-eau`).
    fn named<'a>(&mut self, block: &str, ids: impl Iterator<Item = (&'a str, Location)>) {
        let alphabet =
            text!("letters without accents, 0-9, `-` and `_`", "des lettres sans accents, 0-9, `-` et `_`",);
        self.spelt(block, ids, is_name, &alphabet);
    }

    fn spelt<'a>(
        &mut self,
        block: &str,
        ids: impl Iterator<Item = (&'a str, Location)>,
        holds: fn(&str) -> bool,
        alphabet: &Text,
    ) {
        let ids: Vec<_> = ids.collect();
        for (id, at) in ids.iter().filter(|(id, _)| !holds(id)) {
            let message =
                text!("`{id}` is no id of a `{block}`", "`{id}` n'est pas un identifiant de `{block}`",);
            let why = text!(
                "ids become names of metrics, topics and directories",
                "les identifiants deviennent des noms de métriques, de sujets et de répertoires",
            );
            let Text { en, fr } = alphabet;
            let fix = text!(
                "write {en}, at most 64, beginning with a letter or digit",
                "écrire {fr}, 64 au plus, en commençant par une lettre ou un chiffre",
            );
            self.push(at.clone(), message, why, fix);
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
                    text!(
                        "`{block}` `{id}` stands twice: the first is at {first}",
                        "`{block}` `{id}` figure deux fois : le premier est en {first}",
                    ),
                    text!(
                        "a name that means two things refers to neither",
                        "un nom qui désigne deux choses n'en désigne aucune",
                    ),
                    text!("rename one of them", "renommer l'un des deux"),
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
            let message = text!(
                "`{code}` is no code of a check",
                "`{code}` n'est pas un code de contrôle",
                code = block.code,
            );
            let fix = text!(
                "write the code that the warning carries, as C27",
                "écrire le code que porte l'avertissement, comme C27",
            );
            self.form(block, "code", known, message, fix);
        }
        for block in &document.processing {
            self.duration(block, "retention", &block.retention);
        }
    }

    fn territory(&mut self, document: &Document) {
        for block in &document.perimeter {
            let lists = [&block.commune, &block.epci, &block.departement, &block.region];
            if lists.iter().all(|list| list.is_empty()) {
                let message = text!(
                    "perimeter `{id}` covers no commune",
                    "le périmètre `{id}` ne couvre aucune commune",
                    id = block.id,
                );
                let fix = text!(
                    "add `commune`, `epci`, `departement` or `region`",
                    "ajouter `commune`, `epci`, `departement` ou `region`",
                );
                self.push(block.at.clone(), message, why_empty(), fix);
            }
        }
        for block in &document.domain {
            self.not_empty(block, "scales", block.scales.is_empty());
        }
        for block in &document.space {
            self.not_empty(block, "domains", block.domains.is_empty());
        }
        for block in &document.target {
            let message = text!(
                "`{country}` is no country code",
                "`{country}` n'est pas un code de pays",
                country = block.country,
            );
            let fix = text!(
                "write two capitals (ISO 3166-1), as FR",
                "écrire deux capitales (ISO 3166-1), comme FR",
            );
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
                let message = text!(
                    "`{value}` in `{key}` names no place of a message",
                    "`{value}` dans `{key}` ne désigne aucun endroit d'un message",
                );
                let (a, b) = (example_of(kinds.first()), example_of(kinds.last()));
                let fix = text!("write `{a}` or `{b}`", "écrire `{a}` ou `{b}`");
                self.form(source, key, is_origin(value, kinds), message, fix);
            }
        }
        self.origins(source);
    }

    fn origins(&mut self, source: &Block<crate::ast::Source>) {
        let (at, id) = (source.at.clone(), &source.id);
        if source.domains.len() > 1 && source.domain_from.is_none() {
            let message = text!(
                "source `{id}` has several domains and no `domain_from`",
                "la source `{id}` a plusieurs métiers et pas de `domain_from`",
            );
            let why = text!(
                "a message whose domain is unknown is quarantined",
                "un message dont le métier est inconnu est mis en quarantaine",
            );
            let fix = text!(
                "add domain_from = \"tag:domain\", or keep one domain",
                "ajouter domain_from = \"tag:domain\", ou ne garder qu'un métier",
            );
            self.push(at.clone(), message, why, fix);
        }
        match (&source.commune, &source.commune_from) {
            (None, None) => {
                let message = text!(
                    "source `{id}` has neither `commune` nor `commune_from`",
                    "la source `{id}` n'a ni `commune` ni `commune_from`",
                );
                let why = text!(
                    "a message that cannot be located is quarantined",
                    "un message qui ne peut être situé est mis en quarantaine",
                );
                let fix = text!(
                    "add commune = \"35238\" or commune_from = \"tag:insee\"",
                    "ajouter commune = \"35238\" ou commune_from = \"tag:insee\"",
                );
                self.push(at, message, why, fix);
            }
            (Some(_), Some(_)) => {
                let message = text!(
                    "source `{id}` has `commune` and `commune_from`",
                    "la source `{id}` a `commune` et `commune_from`",
                );
                let fix = text!("keep one", "n'en garder qu'un");
                self.push(source.at_key("commune"), message, why_disagree(), fix);
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
            let message = text!("`{key}` compares with nothing", "`{key}` ne compare à rien");
            let fix = text!(
                "add one of `exists`, `eq`, `in`, `lt`, `gt`, …",
                "ajouter l'un de `exists`, `eq`, `in`, `lt`, `gt`, …",
            );
            self.form(block, &key, !none, message, fix);
            self.not_empty(
                block,
                &format!("{key}.in"),
                comparison.one_of.as_ref().is_some_and(Vec::is_empty),
            );
        }
    }

    fn requirements(&mut self, document: &Document) {
        for block in &document.requirement {
            if block.when.min_level.is_none() && block.when.marking.is_none() {
                let message = text!(
                    "requirement `{id}` says for which labels by neither of its keys",
                    "l'exigence `{id}` ne dit par aucune de ses clés pour quelles étiquettes elle vaut",
                    id = block.id,
                );
                let why = text!(
                    "a requirement without a label would be read in two ways",
                    "une exigence sans étiquette se lirait de deux façons",
                );
                let fix = text!(
                    "add `min_level` or `marking` to `when`",
                    "ajouter `min_level` ou `marking` à `when`",
                );
                self.push(block.at_key("when"), message, why, fix);
            }
            let kinds = block.when.target_kind.as_ref();
            self.not_empty(block, "when.target_kind", kinds.is_some_and(Vec::is_empty));
            self.must(block);
        }
        for block in &document.derogation {
            if block.scope.source.is_none() && block.scope.space.is_none() {
                let message = text!(
                    "the derogation from `{id}` has no scope",
                    "la dérogation à `{id}` n'a pas de portée",
                    id = block.requirement,
                );
                let why = text!(
                    "a derogation everywhere is another requirement",
                    "une dérogation partout est une autre exigence",
                );
                let fix =
                    text!("add `source` or `space` to `scope`", "ajouter `source` ou `space` à `scope`",);
                self.push(block.at_key("scope"), message, why, fix);
            }
        }
    }

    fn must(&mut self, block: &Block<Requirement>) {
        let must = &block.must;
        if *must == crate::ast::Must::default() {
            let message = text!(
                "requirement `{id}` requires nothing",
                "l'exigence `{id}` n'exige rien",
                id = block.id,
            );
            let fix = text!(
                "say in `must` what a target has to be",
                "dire dans `must` ce que l'hébergement doit être",
            );
            self.push(block.at_key("must"), message, why_type(), fix);
        }
        for (key, value) in [
            ("processor_contract", must.processor_contract),
            ("homologation_dr", must.homologation_dr),
            ("transformed", must.transformed),
        ] {
            let key = format!("must.{key}");
            let message = text!("`{key}` = false requires nothing", "`{key}` = false n'exige rien");
            let fix = text!("write true, or take the key away", "écrire true, ou retirer la clé");
            self.form(block, &key, value != Some(false), message, fix);
        }
        if let Some(countries) = &must.country_in {
            self.countries(block, "must.country_in", countries);
        }
        self.not_empty(block, "must.one_of", must.one_of.as_ref().is_some_and(Vec::is_empty));
        for (ix, way) in must.one_of.iter().flatten().enumerate() {
            let message = text!(
                "`{way}` in `must.one_of` is not understood",
                "`{way}` dans `must.one_of` n'est pas compris",
            );
            let fix = text!(
                "write `secnumcloud>=3.2`, `hds>=2024` or `operator:public+homologation`",
                "écrire `secnumcloud>=3.2`, `hds>=2024` ou `operator:public+homologation`",
            );
            self.form(block, &format!("must.one_of.{ix}"), is_way(way), message, fix);
        }
    }

    fn countries<T>(&mut self, block: &Block<T>, key: &str, countries: &OneOrMany<String>) {
        self.not_empty(block, key, countries.as_slice().is_empty());
        for (key, country) in keyed(key, countries) {
            let message = text!(
                "`{country}` in `{key}` is no country code",
                "`{country}` dans `{key}` n'est pas un code de pays",
            );
            let holds = country == "EEA" || is_country(country);
            let fix = text!(
                "write \"EEA\" or two capitals (ISO 3166-1), as FR",
                "écrire \"EEA\" ou deux capitales (ISO 3166-1), comme FR",
            );
            self.form(block, &key, holds, message, fix);
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
                let message = text!(
                    "invariant `{id}` says of which labels by neither of its keys",
                    "la garantie `{id}` ne dit par aucune de ses clés de quelles étiquettes elle parle",
                    id = block.id,
                );
                let why = text!(
                    "a guarantee about no label guarantees nothing",
                    "une garantie sur aucune étiquette ne garantit rien",
                );
                let fix = text!(
                    "add `min_level` or `marking` to `never`",
                    "ajouter `min_level` ou `marking` à `never`",
                );
                self.push(block.at_key("never"), message, why, fix);
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
                let message = text!(
                    "test `{name}` gives a payload and facts",
                    "l'essai `{name}` donne un contenu et des faits",
                    name = block.name,
                );
                let fix = text!("keep the payload or the facts", "garder le contenu ou les faits");
                self.push(block.at_key("given.payload"), message, why_disagree(), fix);
            }
            for (key, word, words) in
                [("expect.outcome", &expect.outcome, OUTCOMES), ("expect.reason", &expect.reason, REASONS)]
            {
                if let Some(word) = word {
                    let fix = suggestion(word, words.iter().copied());
                    let message =
                        text!("`{word}` is no value of `{key}`", "`{word}` n'est pas une valeur de `{key}`");
                    self.form(block, key, words.contains(&word.as_str()), message, fix);
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
