//! A document becomes a [`Policy`]: references resolved, names interned,
//! conditions flattened, targets weighed. Whatever does not resolve is a
//! finding with its place; a policy with one is not built.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::ast::{self, Block, Document, OneOrMany, When};
use crate::cog::Cog;
use crate::engine::condition::{FieldTest, Op, Program, Span, format_bit, schema_of};
use crate::engine::index::Index;
use crate::engine::info::{CopyInfo, DomainInfo, RuleInfo, SourceInfo, SpaceInfo, TargetInfo};
use crate::engine::keys::{Keys, Of};
use crate::engine::memo::PolicyId;
use crate::engine::topics::Topics;
use crate::engine::{DeviceFrom, From, Gate, Gives, Policy, PolicyHash, Rule};
use crate::place::{CopyRule, Duties, Effect, Lifted, OptionPart, day_after, may_be_lifted};
use crate::text::text;
use crate::{
    Code, CommuneSet, CopyIx, Date, DomainIx, Finding, Label, Level, Location, Marking, Markings, Severity,
    SourceIx, SpaceIx, TargetIx, Text, TransformPlan,
};

/// Resolves a document, or says everything that does not resolve.
pub(crate) fn compile(document: &Document, hash: [u8; 32]) -> Result<Policy, Vec<Finding>> {
    let Some(cog) = Cog::vintage(document.policy.cog) else {
        return Err(vec![Finding {
            code: Code::C05,
            severity: Severity::Error,
            location: document.policy.at_key("cog"),
            message: text!(
                "there is no vintage `{year}` of the official geographic code",
                "il n'y a pas de millésime `{year}` du code officiel géographique",
                year = document.policy.cog,
            ),
            why: text!(
                "perimeters are sets of communes of one vintage",
                "un périmètre est un ensemble de communes d'un millésime",
            ),
            fix: text!("write one of {known:?}", "écrire l'un de {known:?}", known = Cog::VINTAGES),
            witness: None,
        }]);
    };
    let mut compiler = Compiler::new(document, cog);
    let policy = compiler.policy(hash);
    if compiler.findings.is_empty() { Ok(policy) } else { Err(compiler.findings) }
}

struct Compiler<'d> {
    document: &'d Document,
    cog: &'static Cog,
    findings: Vec<Finding>,
    sources: Ids<'d>,
    producers: Ids<'d>,
    domains: Ids<'d>,
    perimeters: Ids<'d>,
    targets: Ids<'d>,
    spaces: Ids<'d>,
    transforms: Ids<'d>,
    requirements: Ids<'d>,
    keys: Keys,
    topics: Topics,
    program: Program,
}

/// The place of each id among the blocks of its kind.
struct Ids<'d> {
    kind: &'static str,
    by_id: BTreeMap<&'d str, u16>,
}

impl<'d> Ids<'d> {
    fn new<T>(kind: &'static str, blocks: &'d [Block<T>], id: impl Fn(&'d T) -> &'d str) -> Self {
        let mut by_id = BTreeMap::new();
        for (n, block) in (0_u16..).zip(blocks) {
            by_id.entry(id(&block.value)).or_insert(n);
        }
        Self { kind, by_id }
    }
}

fn find(findings: &mut Vec<Finding>, ids: &Ids<'_>, id: &str, at: impl FnOnce() -> Location) -> Option<u16> {
    let found = ids.by_id.get(id).copied();
    if found.is_none() {
        findings.push(Finding {
            code: Code::C03,
            severity: Severity::Error,
            location: at(),
            message: text!("there is no `{kind}` `{id}`", "il n'y a pas de `{kind}` `{id}`", kind = ids.kind),
            why: text!(
                "a reference that means nothing protects nothing",
                "une référence qui ne désigne rien ne protège rien",
            ),
            fix: text!(
                "define it in a `[[{kind}]]` block, or correct the name",
                "le définir dans un bloc `[[{kind}]]`, ou corriger le nom",
                kind = ids.kind,
            ),
            witness: None,
        });
    }
    found
}

fn indexed<T>(blocks: &[Block<T>]) -> impl Iterator<Item = (u16, &Block<T>)> {
    (0_u16..).zip(blocks)
}

impl<'d> Compiler<'d> {
    fn new(document: &'d Document, cog: &'static Cog) -> Self {
        Self {
            document,
            cog,
            findings: Vec::new(),
            sources: Ids::new("source", &document.source, |source| &source.id),
            producers: Ids::new("producer", &document.producer, |producer| &producer.siren),
            domains: Ids::new("domain", &document.domain, |domain| &domain.id),
            perimeters: Ids::new("perimeter", &document.perimeter, |perimeter| &perimeter.id),
            targets: Ids::new("target", &document.target, |target| &target.id),
            spaces: Ids::new("space", &document.space, |space| &space.id),
            transforms: Ids::new("transform", &document.transform, |transform| &transform.id),
            requirements: Ids::new("requirement", &document.requirement, |requirement| &requirement.id),
            keys: Keys::new(),
            topics: Topics::default(),
            program: Program::default(),
        }
    }

    fn policy(&mut self, hash: [u8; 32]) -> Policy {
        let document = self.document;
        self.within_limits();
        self.program.perimeters = document.perimeter.iter().map(|p| self.cog.perimeter(p)).collect();
        find(&mut self.findings, &self.targets, &document.defaults.quarantine_target, || {
            document.defaults.at_key("quarantine_target")
        });
        self.check_options();
        let from = document.policy.valid_from.date();
        let duties: Vec<Duties> =
            document.target.iter().map(|target| Duties::of(target, &document.requirement, from)).collect();
        let lifted = self.lifted();
        let gates: Vec<Gate> = document.source.iter().map(|source| self.gate(source)).collect();
        let spaces = self.spaces();
        let (copies, copy_rules): (Vec<CopyInfo>, Vec<(CopyRule, Span)>) =
            indexed(&document.copy).filter_map(|(n, copy)| self.copy(n, copy)).unzip();
        let rules: Vec<Rule> = document.classify.iter().map(|rule| self.rule(rule)).collect();
        let conditions: Vec<Span> = rules.iter().map(|rule| rule.condition).collect();
        let index = Index::new(
            &self.program,
            &conditions,
            document.source.len(),
            document.domain.len(),
            self.keys.len(),
        );
        Policy {
            hash: PolicyHash(hash),
            identity: PolicyId::default(),
            cog: self.cog,
            source_infos: self.source_infos(),
            target_infos: document.target.iter().map(|target| TargetInfo::of(target)).collect(),
            domain_infos: document.domain.iter().map(|domain| DomainInfo { id: domain.id.clone() }).collect(),
            rule_infos: document.classify.iter().map(|rule| RuleInfo { id: rule.id.clone() }).collect(),
            by_identity: self.identities(),
            by_commune: self.communes_of_rules(),
            places: self.places(&spaces),
            copies_of: self.copies_of(&copy_rules),
            essential: document.domain.iter().map(|domain| essential(domain)).collect(),
            boundaries: boundaries(document, &duties, &lifted),
            keys: std::mem::replace(&mut self.keys, Keys::new()),
            topics: std::mem::take(&mut self.topics),
            program: std::mem::take(&mut self.program),
            document: document.clone(),
            space_infos: spaces,
            copy_infos: copies,
            copy_rules,
            gates,
            duties,
            lifted,
            rules,
            index,
        }
    }

    fn error(&mut self, code: Code, location: Location, message: Text, why: Text, fix: Text) {
        let severity = Severity::Error;
        self.findings.push(Finding { code, severity, location, message, why, fix, witness: None });
    }

    /// Indices are 16 bits.
    fn within_limits(&mut self) {
        let document = self.document;
        let counts = [
            document.source.len(),
            document.domain.len(),
            document.perimeter.len(),
            document.target.len(),
            document.space.len(),
            document.copy.len(),
            document.classify.len(),
        ];
        if counts.into_iter().any(|count| count > usize::from(u16::MAX)) {
            let message = text!(
                "a policy holds at most 65,535 blocks of a kind",
                "une politique contient au plus 65 535 blocs d'une même sorte",
            );
            let why = text!("indices are 16 bits", "les indices ont 16 bits");
            let fix = text!("split the policy", "diviser la politique");
            self.error(Code::C01, document.policy.at.clone(), message, why, fix);
        }
    }

    fn check_options(&mut self) {
        for requirement in &self.document.requirement {
            for option in requirement.must.one_of.iter().flatten() {
                if option.split('+').all(|part| OptionPart::parse(part).is_some()) {
                    continue;
                }
                let message = text!(
                    "requirement `{id}` has an option `{option}` that no target could hold",
                    "l'exigence `{id}` a une option `{option}` qu'aucun hébergement ne pourrait tenir",
                    id = requirement.id,
                );
                let why = text!(
                    "an option is `operator:public`, `homologation`, `homologation_dr`, `scheme`, `scheme>=1.2`, or several joined by `+`",
                    "une option est `operator:public`, `homologation`, `homologation_dr`, `scheme`, `scheme>=1.2`, ou plusieurs jointes par `+`",
                );
                let fix = text!(
                    "write a scheme in lower case and a version in dotted integers",
                    "écrire un référentiel en minuscules et une version en entiers séparés par des points",
                );
                self.error(Code::C03, requirement.at_key("must.one_of"), message, why, fix);
            }
        }
    }

    fn lifted(&mut self) -> Vec<Lifted> {
        let mut all = Vec::new();
        for derogation in &self.document.derogation {
            let at = |key: &str| derogation.at_key(key);
            let findings = &mut self.findings;
            let requirement =
                find(findings, &self.requirements, &derogation.requirement, || at("requirement"));
            let source = derogation
                .scope
                .source
                .as_ref()
                .map(|id| find(findings, &self.sources, id, || at("scope.source")));
            let space = derogation
                .scope
                .space
                .as_ref()
                .map(|id| find(findings, &self.spaces, id, || at("scope.space")));
            let Some(requirement) = requirement.map(usize::from) else { continue };
            let liftable =
                self.document.requirement.get(requirement).is_some_and(|block| may_be_lifted(block));
            if liftable {
                all.push(Lifted {
                    requirement,
                    source: source.flatten().map(SourceIx),
                    space: space.flatten().map(SpaceIx),
                    expires: derogation.expires,
                });
            }
        }
        all
    }

    fn gate(&mut self, source: &Block<ast::Source>) -> Gate {
        let producer =
            find(&mut self.findings, &self.producers, &source.producer, || source.at_key("producer"));
        let producer = producer.and_then(|n| self.document.producer.get(usize::from(n)));
        let perimeter =
            find(&mut self.findings, &self.perimeters, &source.perimeter, || source.at_key("perimeter"));
        let perimeter = perimeter.and_then(|n| self.program.perimeters.get(usize::from(n))).cloned();
        let mut domains = Vec::new();
        for domain in &source.domains {
            let found = find(&mut self.findings, &self.domains, domain, || source.at_key("domains"));
            domains.extend(found.map(|n| (domain.clone(), DomainIx(n))));
        }
        let mut topics = Topics::default();
        for filter in &source.topics {
            if topics.insert(filter, 0).is_none() {
                self.bad_filter(filter, source.at_key("topics"));
            }
        }
        let commune = source.commune.as_ref().and_then(|code| {
            let commune = self.cog.commune(code);
            if commune.is_none() {
                let message = text!(
                    "there is no commune `{code}` in the code of {year}",
                    "il n'y a pas de commune `{code}` dans le code de {year}",
                    year = self.cog.year(),
                );
                let why = text!(
                    "every message of the source would be of unknown territory",
                    "tous les messages de la source seraient de territoire inconnu",
                );
                let fix =
                    text!("write an INSEE code of that vintage", "écrire un code INSEE de ce millésime");
                self.error(Code::C05, source.at_key("commune"), message, why, fix);
            }
            commune
        });
        Gate {
            topics,
            format: source.format,
            domains,
            domain_from: self.from(source, "domain_from", source.domain_from.as_deref()),
            commune,
            commune_from: self.from(source, "commune_from", source.commune_from.as_deref()),
            device_from: self.device_from(source),
            perimeter: perimeter.unwrap_or_default(),
            floor: source
                .floor
                .into_iter()
                .chain(producer.and_then(|p| p.floor))
                .max()
                .unwrap_or(Level::Open),
            expires: source.expires,
        }
    }

    fn from(&mut self, source: &Block<ast::Source>, key: &str, written: Option<&str>) -> Option<From> {
        let written = written?;
        let from = match written.split_once(':') {
            Some(("tag", name)) => Some(From::Tag(name.to_owned())),
            Some(("topic", level)) => level.parse().ok().map(From::Topic),
            Some(_) | None => None,
        };
        if from.is_none() {
            let message = text!(
                "`{key}` of source `{id}` is `{written}`",
                "`{key}` de la source `{id}` vaut `{written}`",
                id = source.id,
            );
            let why = text!("it says where the sender writes it", "cette clé dit où l'émetteur l'écrit");
            let fix = text!(
                "write `tag:insee`, or `topic:2` (levels count from 0)",
                "écrire `tag:insee`, ou `topic:2` (les niveaux se comptent à partir de 0)",
            );
            self.error(Code::C01, source.at_key(key), message, why, fix);
        }
        from
    }

    fn device_from(&mut self, source: &Block<ast::Source>) -> Option<DeviceFrom> {
        let written = source.device_from.as_deref()?;
        let from = match written.split_once(':') {
            Some(("field", path)) => Some(DeviceFrom::Field(path.to_owned())),
            Some(("topic", level)) => level.parse().ok().map(DeviceFrom::Topic),
            Some(_) | None => None,
        };
        if from.is_none() {
            let message = text!(
                "`device_from` of source `{id}` is `{written}`",
                "`device_from` de la source `{id}` vaut `{written}`",
                id = source.id,
            );
            let why = text!("it says who the device is", "cette clé dit quel est le capteur");
            let fix = text!(
                "write `topic:2` (levels count from 0), or `field:deviceInfo.devEui`",
                "écrire `topic:2` (les niveaux se comptent à partir de 0), ou `field:deviceInfo.devEui`",
            );
            self.error(Code::C01, source.at_key("device_from"), message, why, fix);
        }
        from
    }

    fn bad_filter(&mut self, filter: &str, at: Location) {
        let message = text!(
            "`{filter}` is no topic filter of MQTT, or has more than 64 levels",
            "`{filter}` n'est pas un filtre de sujets MQTT, ou a plus de 64 niveaux",
        );
        let why = text!(
            "`+` stands for a whole level, `#` for the rest and only at the end",
            "`+` vaut pour un niveau entier, `#` pour la suite et seulement à la fin",
        );
        self.error(Code::C01, at, message, why, text!("correct the filter", "corriger le filtre"));
    }

    fn spaces(&mut self) -> Vec<SpaceInfo> {
        let mut infos = Vec::new();
        for space in &self.document.space {
            let target = find(&mut self.findings, &self.targets, &space.target, || space.at_key("target"));
            let perimeter =
                find(&mut self.findings, &self.perimeters, &space.perimeter, || space.at_key("perimeter"));
            let perimeter = perimeter.and_then(|n| self.document.perimeter.get(usize::from(n)));
            for domain in &space.domains {
                find(&mut self.findings, &self.domains, domain, || space.at_key("domains"));
            }
            let (Some(target), Some(perimeter)) = (target, perimeter) else { continue };
            infos.push(SpaceInfo {
                id: space.id.clone(),
                namespace: space.namespace.clone().unwrap_or_else(|| space.id.clone()),
                target: TargetIx(target),
                scale: perimeter.kind,
            });
        }
        infos
    }

    /// By domain, by scale in order of preference: the spaces and their perimeters.
    fn places(&self, infos: &[SpaceInfo]) -> Vec<Vec<Vec<(SpaceIx, CommuneSet)>>> {
        let at_scale = |domain: &ast::Domain, scale: ast::Scale| {
            let spaces = indexed(&self.document.space)
                .zip(infos)
                .filter(|((_, space), info)| info.scale == scale && space.domains.contains(&domain.id));
            let found = spaces.filter_map(|((n, space), _)| {
                let perimeter = self.perimeters.by_id.get(space.perimeter.as_str())?;
                Some((SpaceIx(n), self.program.perimeters.get(usize::from(*perimeter))?.clone()))
            });
            found.collect()
        };
        let of = |domain: &Block<ast::Domain>| {
            domain.scales.iter().map(|scale| at_scale(domain, *scale)).collect()
        };
        self.document.domain.iter().map(of).collect()
    }

    fn copy(&mut self, n: u16, copy: &Block<ast::Copy>) -> Option<(CopyInfo, (CopyRule, Span))> {
        let target = find(&mut self.findings, &self.targets, &copy.to, || copy.at_key("to"));
        let transform = copy.transform.as_ref().map(|id| {
            let found = find(&mut self.findings, &self.transforms, id, || copy.at_key("transform"));
            found.and_then(|n| self.document.transform.get(usize::from(n)))
        });
        for domain in &copy.domains {
            find(&mut self.findings, &self.domains, domain, || copy.at_key("domains"));
        }
        let condition = match &copy.when {
            Some(when) => self.condition(when, |key| copy.at_key(key)),
            None => Span::default(),
        };
        // An unresolved transform is a finding; it must not become "no transform".
        let transform = match transform {
            Some(transform) => Some(transform?),
            None => None,
        };
        let rule = CopyRule {
            copy: CopyIx(n),
            max_level: copy.max_level,
            effect: transform.map(|transform| Effect::of(transform)),
        };
        let plan = match transform {
            Some(transform) => Some(self.plan(transform)?),
            None => None,
        };
        let info = CopyInfo::of(copy, TargetIx(target?), plan);
        Some((info, (rule, condition)))
    }

    fn plan(&mut self, transform: &Block<ast::Transform>) -> Option<TransformPlan> {
        let plan = TransformPlan::compile(transform, self.document.policy.k_min);
        if let Err(error) = &plan {
            let Text { en, fr } = error.in_words();
            let message = text!("transform `{id}`: {en}", "transformation `{id}` : {fr}", id = transform.id,);
            let why = text!(
                "a copy whose transform means nothing would be refused every time",
                "une copie dont la transformation n'a pas de sens serait refusée à chaque fois",
            );
            let fix = text!("correct the step", "corriger l'étape");
            self.error(Code::C01, transform.at_key("steps"), message, why, fix);
        }
        plan.ok()
    }

    /// By domain: which copies concern it.
    fn copies_of(&self, copies: &[(CopyRule, Span)]) -> Vec<Vec<u16>> {
        let of = |domain: &Block<ast::Domain>| {
            let concerned = copies.iter().filter(|(rule, _)| {
                let copy = self.document.copy.get(rule.copy.index());
                copy.is_some_and(|copy| copy.domains.contains(&domain.id))
            });
            concerned.map(|(rule, _)| rule.copy.0).collect()
        };
        self.document.domain.iter().map(of).collect()
    }

    fn rule(&mut self, rule: &Block<ast::Classify>) -> Rule {
        let markings = rule.markings.iter().copied().collect();
        Rule {
            condition: self.condition(&rule.when, |key| rule.at_key(key)),
            gives: rule
                .level
                .fixed()
                .map_or(Gives::Declared(markings), |level| Gives::Label(Label { level, markings })),
        }
    }

    fn condition(&mut self, when: &When, at: impl Fn(&str) -> Location) -> Span {
        let mut ops = Vec::new();
        self.static_ops(when, &at, &mut ops);
        self.key_ops(when, &at, &mut ops);
        if let Some(ids) = &when.perimeter {
            let found = self.resolve(ids, |compiler| &compiler.perimeters, || at("when.perimeter"));
            ops.push(Op::Perimeter(self.pooled(found)));
        }
        for (name, comparison) in when.field.iter().flatten() {
            let test = FieldTest { key: self.keys.located_field(name), comparison: comparison.clone() };
            ops.push(Op::Field(u32_of(self.program.fields.len())));
            self.program.fields.push(test);
        }
        if let Some(listed) = &when.fields_within {
            ops.push(Op::Within(u32_of(self.program.schemas.len())));
            self.program.schemas.push(schema_of(listed));
        }
        ops.sort_by_key(|op| op.cost());
        let span = Span { start: u32_of(self.program.ops.len()), len: u32_of(ops.len()) };
        self.program.ops.append(&mut ops);
        span
    }

    /// What identity and domain settle.
    fn static_ops(&mut self, when: &When, at: &impl Fn(&str) -> Location, ops: &mut Vec<Op>) {
        if let Some(ids) = &when.source {
            let found = self.resolve(ids, |compiler| &compiler.sources, || at("when.source"));
            ops.push(Op::Source(self.pooled(found)));
        }
        if let Some(sirens) = &when.producer {
            self.resolve(sirens, |compiler| &compiler.producers, || at("when.producer"));
            let of = indexed(&self.document.source)
                .filter(|(_, source)| sirens.as_slice().contains(&source.producer));
            let found = of.map(|(n, _)| u32::from(n)).collect();
            ops.push(Op::Source(self.pooled(found)));
        }
        if let Some(ids) = &when.domain {
            let found = self.resolve(ids, |compiler| &compiler.domains, || at("when.domain"));
            ops.push(Op::Domain(self.pooled(found)));
        }
        if let Some(formats) = &when.format {
            ops.push(Op::Format(
                formats.as_slice().iter().fold(0, |bits, format| bits | format_bit(*format)),
            ));
        }
        ops.extend(when.declared_sensitivity.map(Op::Declared));
        ops.extend(when.payload_larger_than.map(Op::Larger));
    }

    /// What a message shows.
    fn key_ops(&mut self, when: &When, at: &impl Fn(&str) -> Location, ops: &mut Vec<Op>) {
        if let Some(filters) = &when.topic {
            let mut found = Vec::new();
            for filter in filters.as_slice() {
                let key = self.keys.exact(Of::Topic, filter);
                if self.topics.insert(filter, key).is_none() {
                    self.bad_filter(filter, at("when.topic"));
                }
                found.push(key);
            }
            ops.push(Op::Any(self.pooled(found)));
        }
        if let Some(codes) = &when.commune {
            let found = codes.as_slice().iter().map(|code| self.keys.exact(Of::Commune, code)).collect();
            ops.push(Op::Any(self.pooled(found)));
        }
        for (of, names) in
            [(Of::Type, &when.type_any), (Of::Measure, &when.measure_any), (Of::Field, &when.field_any)]
        {
            if let Some(names) = names {
                let found = names.iter().map(|name| self.keys.name(of, name)).collect();
                ops.push(Op::Any(self.pooled(found)));
            }
        }
        if let Some(names) = &when.field_absent {
            let found = names.iter().map(|name| self.keys.name(Of::Field, name)).collect();
            ops.push(Op::None(self.pooled(found)));
        }
        for (of, pairs) in [(Of::Tag, &when.tags), (Of::UserProperty, &when.user_property)] {
            for (name, values) in pairs.iter().flatten() {
                let found = values.as_slice().iter().map(|value| self.keys.pair(of, name, value)).collect();
                ops.push(Op::Any(self.pooled(found)));
            }
        }
    }

    fn resolve(
        &mut self,
        ids: &OneOrMany<String>,
        of: impl Fn(&Self) -> &Ids<'d>,
        at: impl Fn() -> Location,
    ) -> Vec<u32> {
        let mut findings = Vec::new();
        let known = of(self);
        let found = ids.as_slice().iter().filter_map(|id| find(&mut findings, known, id, &at)).map(u32::from);
        let found = found.collect();
        self.findings.append(&mut findings);
        found
    }

    fn pooled(&mut self, keys: Vec<u32>) -> Span {
        let span = Span { start: u32_of(self.program.pool.len()), len: u32_of(keys.len()) };
        self.program.pool.extend(keys);
        span
    }

    fn source_infos(&self) -> Vec<SourceInfo> {
        let info = |source: &Block<ast::Source>| {
            let producer = self.document.producer.iter().find(|producer| producer.siren == source.producer);
            SourceInfo::of(source, producer.map_or("", |producer| &producer.name))
        };
        self.document.source.iter().map(info).collect()
    }

    /// Two sources of one identity: it names neither (C30).
    fn identities(&self) -> BTreeMap<String, Option<SourceIx>> {
        let mut by_identity = BTreeMap::new();
        for (n, source) in indexed(&self.document.source) {
            by_identity
                .entry(source.identity.clone())
                .and_modify(|known| *known = None)
                .or_insert(Some(SourceIx(n)));
        }
        by_identity
    }

    fn communes_of_rules(&mut self) -> HashMap<usize, u32> {
        let mut by_commune = HashMap::new();
        let rules = self.document.classify.iter().map(|rule| &rule.when);
        let copies = self.document.copy.iter().filter_map(|copy| copy.when.as_ref());
        for code in rules.chain(copies).flat_map(|when| &when.commune).flat_map(OneOrMany::as_slice) {
            if let Some(commune) = self.cog.commune(code) {
                by_commune.insert(commune.index(), self.keys.exact(Of::Commune, code));
            }
        }
        by_commune
    }
}

/// A policy's files are far below 4 GiB, and so is what is made of them.
fn u32_of(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn essential(domain: &ast::Domain) -> Markings {
    domain.essential_service.then_some(Marking::EssentialService).into_iter().collect()
}

fn boundaries(document: &Document, duties: &[Duties], lifted: &[Lifted]) -> Vec<Date> {
    let declassified = document.transform.iter().filter_map(|transform| transform.declassification.as_ref());
    let expiries = document.source.iter().filter_map(|source| source.expires);
    let expiries = expiries.chain(lifted.iter().map(|lifted| lifted.expires));
    let expiries = expiries.chain(declassified.map(|declassification| declassification.expires));
    let dates: BTreeSet<Date> =
        duties.iter().flat_map(Duties::boundaries).chain(expiries.map(day_after)).collect();
    dates.into_iter().collect()
}
