//! The list of what can be taken away: one mutation for each protection that
//! the policy's blocks express, in the order of the blocks.
//!
//! A mutation only ever weakens. What a removed block leaves dangling
//! (derogations of a requirement) goes with it, so that no survivor is called
//! noticed for a broken reference.

use std::collections::BTreeMap;

use crate::ast::{
    Block, Classify, Copy, Document, Must, Perimeter, Requirement, RuleLevel, Scale, Source, Step, Transform,
};
use crate::text::text;
use crate::{Level, Location, Text};

/// One protection to take away.
pub(super) struct Mutation {
    pub(super) id: String,
    pub(super) what: Text,
    pub(super) at: Location,
    pub(super) apply: Box<dyn Fn(&mut Document)>,
    /// The demand of a requirement that goes, if it is one.
    pub(super) demand: Option<Demand>,
}

/// What goes of a requirement: one key of its `must`, or all (`key: None`).
pub(super) struct Demand {
    pub(super) requirement: usize,
    pub(super) key: Option<&'static str>,
}

/// A key of `must`.
pub(super) struct MustKey {
    pub(super) name: &'static str,
    pub(super) is_set: fn(&Must) -> bool,
    pub(super) clear: fn(&mut Must),
}

macro_rules! must_keys {
    ($($key:ident)*) => {
        /// Every key of `must`.
        pub(super) const MUST: &[MustKey] = &[$(MustKey {
            name: stringify!($key),
            is_set: |must| must.$key.is_some(),
            clear: |must| must.$key = None,
        },)*];
    };
}

must_keys! {
    processor_contract country_in extra_eu_law operator tenancy homologation_dr transformed one_of
}

/// Every mutation of a policy.
pub(super) fn all(document: &Document) -> Vec<Mutation> {
    let mut list = Mutations::default();
    list.producers(document);
    list.domains(document);
    list.targets(document);
    document.source.iter().enumerate().for_each(|(n, source)| list.source(n, source, document));
    document.classify.iter().enumerate().for_each(|(n, rule)| list.rule(n, rule));
    document.requirement.iter().enumerate().for_each(|(n, requirement)| list.requirement(n, requirement));
    document.transform.iter().enumerate().for_each(|(n, transform)| list.transform(n, transform));
    document.copy.iter().enumerate().for_each(|(n, copy)| list.copy(n, copy));
    list.found
}

/// The blocks of a kind.
type Of<T> = fn(&mut Document) -> &mut Vec<Block<T>>;

#[derive(Default)]
struct Mutations {
    found: Vec<Mutation>,
    /// How often an id came already: two steps of one kind are told apart by their number.
    ids: BTreeMap<String, usize>,
}

impl Mutations {
    fn add(
        &mut self,
        id: String,
        what: Text,
        at: Location,
        apply: impl Fn(&mut Document) + 'static,
    ) -> &mut Mutation {
        let times = self.ids.entry(id.clone()).or_default();
        *times += 1;
        let id = if *times == 1 { id } else { format!("{id}#{times}") };
        let mutation = Mutation { id, what, at, apply: Box::new(apply), demand: None };
        self.found.push_mut(mutation)
    }

    /// A change of the `n`th block of a kind.
    fn edit<T: 'static>(
        &mut self,
        (of, n): (Of<T>, usize),
        (id, what, at): (String, Text, Location),
        edit: impl Fn(&mut T) + 'static,
    ) -> &mut Mutation {
        self.add(id, what, at, move |document| {
            if let Some(block) = of(document).get_mut(n) {
                edit(&mut block.value);
            }
        })
    }

    fn producers(&mut self, document: &Document) {
        for (n, block) in document.producer.iter().enumerate().filter(|(_, block)| block.floor.is_some()) {
            let (id, siren) = (format!("producer:{}:floor", block.siren), &block.siren);
            let what =
                text!("floor of producer `{siren}` removed", "plancher de la collectivité `{siren}` retiré");
            let named = (id, what, block.at_key("floor"));
            self.edit((|document| &mut document.producer, n), named, |producer| producer.floor = None);
        }
    }

    fn domains(&mut self, document: &Document) {
        for (n, block) in document.domain.iter().enumerate().filter(|(_, block)| block.essential_service) {
            let domain = &block.id;
            let id = format!("domain:{domain}:essential_service");
            let what = text!(
                "domain `{domain}` is an essential service no more",
                "le métier `{domain}` n'est plus un service essentiel"
            );
            let named = (id, what, block.at_key("essential_service"));
            self.edit((|document| &mut document.domain, n), named, |domain| domain.essential_service = false);
        }
    }

    fn targets(&mut self, document: &Document) {
        for (n, block) in document.target.iter().enumerate().filter(|(_, block)| block.max_level.is_some()) {
            let target = &block.id;
            let id = format!("target:{target}:max_level");
            let what = text!(
                "`max_level` of target `{target}` removed",
                "`max_level` de l'hébergement `{target}` retiré"
            );
            let named = (id, what, block.at_key("max_level"));
            self.edit((|document| &mut document.target, n), named, |target| target.max_level = None);
        }
    }

    /// What an identity binds: floor, last day, perimeter, topics, domains.
    fn source(&mut self, n: usize, block: &Block<Source>, document: &Document) {
        let of: Of<Source> = |document| &mut document.source;
        let (id, source) = (|key: &str| format!("source:{}:{key}", block.id), &block.id);
        if block.floor.is_some() {
            let what = text!("floor of source `{source}` removed", "plancher de la source `{source}` retiré");
            self.edit((of, n), (id("floor"), what, block.at_key("floor")), |source| source.floor = None);
        }
        if block.expires.is_some() {
            let what =
                text!("source `{source}` without its last day", "source `{source}` sans son dernier jour");
            self.edit((of, n), (id("expires"), what, block.at_key("expires")), |source| {
                source.expires = None
            });
        }
        let what = text!(
            "perimeter of source `{source}` widened to the region",
            "périmètre de la source `{source}` élargi à la région"
        );
        self.add(id("perimeter"), what, block.at_key("perimeter"), move |document| widen(document, n));
        if !block.topics.iter().any(|filter| filter == "#") {
            let what = text!(
                "topics of source `{source}` widened to `#`",
                "sujets de la source `{source}` élargis à `#`"
            );
            let named = (id("topics"), what, block.at_key("topics"));
            self.edit((of, n), named, |source| source.topics = vec!["#".to_owned()]);
        }
        // Where the sender does not name the domain, the list is a fact and no guard.
        let all: Vec<String> = document.domain.iter().map(|domain| domain.id.clone()).collect();
        if block.domain_from.is_some() && all.iter().any(|domain| !block.domains.contains(domain)) {
            let what = text!(
                "domains of source `{source}` widened to all",
                "métiers de la source `{source}` élargis à tous"
            );
            let named = (id("domains"), what, block.at_key("domains"));
            self.edit((of, n), named, move |source| source.domains.clone_from(&all));
        }
    }

    fn rule(&mut self, n: usize, block: &Block<Classify>) {
        let of: Of<Classify> = |document| &mut document.classify;
        let rule = &block.id;
        let what = text!("rule `{rule}` removed", "règle `{rule}` retirée");
        self.add(format!("classify:{rule}"), what, block.at.clone(), move |document| {
            take(&mut document.classify, n);
        });
        if let Some(lower) = below(block.level) {
            let what = text!("rule `{rule}` one level lower", "règle `{rule}` un niveau plus bas");
            let named = (format!("classify:{rule}:level"), what, block.at_key("level"));
            self.edit((of, n), named, move |rule| rule.level = lower);
        }
        for (ix, marking) in block.markings.iter().copied().enumerate() {
            let what = text!("rule `{rule}` without `{marking}`", "règle `{rule}` sans `{marking}`");
            let at = block.at_key(&format!("markings.{ix}"));
            self.edit((of, n), (format!("classify:{rule}:markings.{marking}"), what, at), move |rule| {
                rule.markings.retain(|one| *one != marking);
            });
        }
        if block.level == RuleLevel::Open && block.when.fields_within.is_some() {
            let what = text!(
                "open rule `{rule}` without its closed schema",
                "règle ouverte `{rule}` sans son schéma fermé"
            );
            let named = (format!("classify:{rule}:fields_within"), what, block.at_key("when.fields_within"));
            self.edit((of, n), named, |rule| rule.when.fields_within = None);
        }
    }

    fn requirement(&mut self, n: usize, block: &Block<Requirement>) {
        let of: Of<Requirement> = |document| &mut document.requirement;
        let (requirement, id) = (&block.id, block.id.clone());
        let what = text!("requirement `{requirement}` removed", "exigence `{requirement}` retirée");
        let removed =
            self.add(format!("requirement:{requirement}"), what, block.at.clone(), move |document| {
                take(&mut document.requirement, n);
                document.derogation.retain(|derogation| derogation.requirement != id);
            });
        removed.demand = Some(Demand { requirement: n, key: None });
        let set: Vec<&MustKey> = MUST.iter().filter(|key| (key.is_set)(&block.must)).collect();
        // The only key is the requirement itself.
        for key in set.iter().filter(|_| set.len() > 1) {
            let (name, clear) = (key.name, key.clear);
            let what = text!(
                "requirement `{requirement}` without `{name}`",
                "exigence `{requirement}` sans `{name}`"
            );
            let id = format!("requirement:{requirement}:must.{name}");
            let named = (id, what, block.at_key(&format!("must.{name}")));
            let edited = self.edit((of, n), named, move |requirement| clear(&mut requirement.must));
            edited.demand = Some(Demand { requirement: n, key: Some(name) });
        }
    }

    fn transform(&mut self, n: usize, block: &Block<Transform>) {
        let of: Of<Transform> = |document| &mut document.transform;
        let transform = &block.id;
        for (ix, step) in block.steps.iter().enumerate() {
            let at = block.at_key(&format!("steps.{ix}"));
            if matches!(step, Step::Aggregate { .. }) {
                let what = text!(
                    "transform `{transform}` aggregates from one device on",
                    "transformation `{transform}` : agrégat dès un seul équipement"
                );
                let named = (format!("transform:{transform}:aggregate.min_count"), what, at);
                self.edit((of, n), named, move |transform| {
                    if let Some(Step::Aggregate { min_count, .. }) = transform.steps.get_mut(ix) {
                        *min_count = 1;
                    }
                });
                continue;
            }
            let name = name_of(step);
            let what = text!(
                "transform `{transform}` without its step `{name}`",
                "transformation `{transform}` sans son étape `{name}`"
            );
            self.edit((of, n), (format!("transform:{transform}:{name}"), what, at), move |transform| {
                take(&mut transform.steps, ix);
            });
        }
        let Some(scope) = &block.applies_to else { return };
        let what = text!(
            "transform `{transform}` for every label",
            "transformation `{transform}` pour toute étiquette"
        );
        let named = (format!("transform:{transform}:applies_to"), what, block.at_key("applies_to"));
        self.edit((of, n), named, |transform| transform.applies_to = None);
        if scope.max_level.is_some() && scope.only_markings.is_some() {
            self.scope(n, block, "max_level", |transform| {
                transform.applies_to.iter_mut().for_each(|scope| scope.max_level = None);
            });
            self.scope(n, block, "only_markings", |transform| {
                transform.applies_to.iter_mut().for_each(|scope| scope.only_markings = None);
            });
        }
    }

    /// One key of `applies_to`.
    fn scope(&mut self, n: usize, block: &Block<Transform>, key: &str, edit: fn(&mut Transform)) {
        let transform = &block.id;
        let what = text!(
            "transform `{transform}` without `applies_to.{key}`",
            "transformation `{transform}` sans `applies_to.{key}`"
        );
        let key = format!("applies_to.{key}");
        let named = (format!("transform:{transform}:{key}"), what, block.at_key(&key));
        self.edit((|document| &mut document.transform, n), named, edit);
    }

    fn copy(&mut self, n: usize, block: &Block<Copy>) {
        let of: Of<Copy> = |document| &mut document.copy;
        let (id, copy) = (|key: &str| format!("copy:{}:{key}", block.id), &block.id);
        if block.max_level < Level::Restricted {
            let what = text!("copy `{copy}` up to `restricted`", "copie `{copy}` jusqu'à `restricted`");
            let named = (id("max_level"), what, block.at_key("max_level"));
            self.edit((of, n), named, |copy| copy.max_level = Level::Restricted);
        }
        if block.transform.is_some() {
            let what = text!("copy `{copy}` without its transform", "copie `{copy}` sans sa transformation");
            let named = (id("transform"), what, block.at_key("transform"));
            self.edit((of, n), named, |copy| copy.transform = None);
        }
        if block.when.is_some() {
            let what = text!("copy `{copy}` without its condition", "copie `{copy}` sans sa condition");
            self.edit((of, n), (id("when"), what, block.at_key("when")), |copy| copy.when = None);
        }
    }
}

fn take<T>(list: &mut Vec<T>, n: usize) {
    if n < list.len() {
        list.remove(n);
    }
}

const fn below(level: RuleLevel) -> Option<RuleLevel> {
    match level {
        RuleLevel::Open | RuleLevel::Declared => None,
        RuleLevel::Internal => Some(RuleLevel::Open),
        RuleLevel::Personal => Some(RuleLevel::Internal),
        RuleLevel::Sensitive => Some(RuleLevel::Personal),
        RuleLevel::Restricted => Some(RuleLevel::Sensitive),
    }
}

/// A step as ids name it: its kind, and its field where it has one.
fn name_of(step: &Step) -> String {
    match step {
        Step::KeepOnly { .. } => "keep_only".to_owned(),
        Step::Drop { .. } => "drop".to_owned(),
        Step::Pseudonymise { field, .. } => format!("pseudonymise.{field}"),
        Step::GeneraliseGeo { .. } => "generalise_geo".to_owned(),
        Step::GeneraliseTime { .. } => "generalise_time".to_owned(),
        Step::Round { field, .. } => format!("round.{field}"),
        Step::Aggregate { .. } => "aggregate".to_owned(),
        Step::RewriteTopic { .. } => "rewrite_topic".to_owned(),
    }
}

/// The `n`th source may send from anywhere in its own perimeter and the region.
fn widen(document: &mut Document, n: usize) {
    // No block has that id: ids hold no colon.
    const WIDENED: &str = "mutant:widened";
    let region = document.policy.region.clone();
    let Some(source) = document.source.get_mut(n) else { return };
    let own = document.perimeter.iter().find(|perimeter| perimeter.id == source.perimeter);
    let mut wide = own.map(|own| own.value.clone()).unwrap_or(Perimeter {
        id: String::new(),
        kind: Scale::Custom,
        commune: Vec::new(),
        epci: Vec::new(),
        departement: Vec::new(),
        region: Vec::new(),
    });
    wide.id = WIDENED.to_owned();
    wide.kind = Scale::Custom;
    wide.region.push(region);
    source.value.perimeter = WIDENED.to_owned();
    document.perimeter.push(Block { value: wide, at: Location::default(), keys: BTreeMap::new() });
}
