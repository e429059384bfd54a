//! Generated policies and messages: the engine says what the reference says.
//! The words are few, so that conditions meet, and spelt in many ways.

#![expect(clippy::cast_possible_truncation, reason = "of small numbers")]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Verdict, decide};
use crate::ast::*;
use crate::json::Scratch;
use crate::{
    Date, Decision, Facts, Input, Kind, Leaf, LeafRole, Level, Marking, Node, Outcome, Policy, Scalar,
    SourceIx, Timestamp,
};

const COMMUNES: [&str; 6] = ["35238", "35236", "56001", "56260", "44185", "01004"];
const DOMAINS: [&str; 3] = ["energy", "mobility", "water"];
const NAMES: [&str; 9] =
    ["plate", "mac", "license_plate", "count", "car.number", "ts", "numéro", "tags", "sensitivity"];
/// As senders spell them.
const KEYS: [&str; 20] = [
    "plate",
    "Plate",
    "ｐｌａｔｅ",
    "pl\u{200d}ate",
    "рlаte",
    "license",
    "licensePlate",
    "mac",
    "rnac",
    "r",
    "nac",
    "car",
    "number",
    "count",
    "ts",
    "NUME\u{301}RO",
    "device",
    "tags",
    "x",
    "_",
];
const TOPICS: [&str; 8] = ["a", "a/b", "a/b/c", "a/35238/energy", "b/44185/water", "b", "a//c", "$a/b"];
const FILTERS: [&str; 10] =
    ["#", "a/#", "a/+", "+/b", "a/b/c", "b/#", "+/+/energy", "$a/#", "a/+/+", "b/+/water"];
const TAGS: [(&str, &str); 7] = [
    ("insee", "35238"),
    ("insee", "44185"),
    ("insee", "99999"),
    ("domain", "energy"),
    ("domain", "water"),
    ("usage", "parking"),
    ("usage", "dwelling"),
];
const WORDS: [&str; 6] = ["open", "sensitive", "secret", "Open", "personal", "restricted"];

struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
    fn of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }
    fn some<T: Clone>(&mut self, all: &[T], most: usize) -> Vec<T> {
        (0..=self.below(most)).map(|_| self.of(all)).collect()
    }
    fn words(&mut self, all: &[&str], most: usize) -> Vec<String> {
        self.some(all, most).into_iter().map(str::to_owned).collect()
    }
    fn maybe<T>(&mut self, n: usize, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.one_in(n).then(|| make(self))
    }
    fn level(&mut self) -> Level {
        self.of(&Level::ALL)
    }
    fn date(&mut self) -> Date {
        Date(20_000 + self.below(6) as i32)
    }
    fn markings(&mut self) -> Vec<Marking> {
        let most = if self.one_in(20) { 15 } else { 6 };
        if self.one_in(2) { vec![] } else { self.some(&Marking::ALL[..most], 2) }
    }
}

fn block<T>(value: T) -> Block<T> {
    Block { value, at: crate::Location::default(), keys: BTreeMap::new() }
}

fn when(dice: &mut Dice) -> When {
    let mut when = When::default();
    for _ in 0..=dice.below(3) {
        match dice.below(18) {
            0 => when.source = Some(OneOrMany::Many(dice.words(&["s0", "s1", "s2"], 2))),
            1 => when.producer = Some(OneOrMany::One(dice.of(&["p0", "p1"]).to_owned())),
            2 => when.domain = Some(OneOrMany::Many(dice.words(&DOMAINS, 2))),
            3 => {
                when.format =
                    Some(OneOrMany::Many(dice.some(&[Format::Json, Format::Opaque, Format::Senml], 2)))
            }
            4 => when.commune = Some(OneOrMany::Many(dice.words(&COMMUNES, 3))),
            5 => when.perimeter = Some(OneOrMany::Many(dice.words(&["m0", "m1", "m2", "m3"], 2))),
            6 => when.topic = Some(OneOrMany::Many(dice.words(&FILTERS, 2))),
            7 => when.type_any = Some(dice.words(&["Car", "car_", "Meter"], 2)),
            8 => when.measure_any = Some(dice.words(&NAMES, 2)),
            9 | 16 => when.field_any = Some(dice.words(&NAMES, 3)),
            10 => when.field_absent = Some(dice.words(&NAMES, 3)),
            11 => when.fields_within = Some(schema(dice)),
            12 => {
                let (name, value) = dice.of(&TAGS);
                when.tags = Some([(name.to_owned(), OneOrMany::One(value.to_owned()))].into());
            }
            13 | 17 => {
                let name = dice.of(&NAMES).to_owned();
                when.field = Some([(name, comparison(dice))].into());
            }
            14 => {
                let name = dice.of(&["sensitivity", "k"]).to_owned();
                when.user_property = Some([(name, OneOrMany::Many(dice.words(&WORDS, 2)))].into());
            }
            _ => {
                when.payload_larger_than = dice.maybe(2, |dice| dice.below(60) as u64);
                when.declared_sensitivity = dice.maybe(2, |dice| dice.one_in(2));
            }
        }
    }
    when
}

fn schema(dice: &mut Dice) -> BTreeMap<String, LeafType> {
    use LeafTypeName::{Boolean, Number, Raw, Text, Time, Token};
    let mut listed = BTreeMap::new();
    for _ in 0..=dice.below(8) {
        let name = if dice.one_in(3) {
            format!("{}.{}", dice.of(&KEYS), dice.of(&KEYS))
        } else {
            dice.of(&KEYS).to_owned()
        };
        let named = LeafType::Named(dice.of(&[Number, Boolean, Time, Token, Raw, Text]));
        listed.insert(
            name,
            if dice.one_in(4) { LeafType::In { one_of: dice.words(&WORDS, 3) } } else { named },
        );
    }
    listed
}

fn value(dice: &mut Dice) -> Value {
    match dice.below(4) {
        0 => Value::Boolean(dice.one_in(2)),
        1 => Value::Integer(dice.below(4) as i64),
        2 => Value::Number(dice.below(4) as f64 / 2.0),
        _ => Value::Text(dice.of(&WORDS).to_owned()),
    }
}

fn comparison(dice: &mut Dice) -> Comparison {
    let mut comparison = Comparison::default();
    for _ in 0..=dice.below(2) {
        let number = dice.below(4) as f64;
        match dice.below(9) {
            0 => comparison.eq = Some(value(dice)),
            1 => comparison.one_of = Some(vec![value(dice), value(dice)]),
            2 => comparison.lt = Some(number),
            3 => comparison.lte = Some(number),
            4 => comparison.gt = Some(number),
            5 => comparison.gte = Some(number),
            6 => comparison.exists = Some(dice.one_in(2)),
            7 => comparison.starts_with = Some("se".to_owned()),
            _ => comparison.contains = Some("e".to_owned()),
        }
    }
    comparison
}

fn target(dice: &mut Dice, n: usize) -> Target {
    let qualification = |dice: &mut Dice| Qualification {
        scheme: dice.of(&["secnumcloud", "hds"]).to_owned(),
        version: dice.of(&["3.1", "3.2", "3.10", "2024"]).to_owned(),
        service: None,
        reference: "R".to_owned(),
        valid_until: dice.date(),
    };
    Target {
        id: format!("t{n}"),
        label: String::new(),
        kind: dice.of(&[TargetKind::PublicDc, TargetKind::TrustedCloud, TargetKind::CommercialCloud]),
        country: dice.of(&["FR", "DE", "US"]).to_owned(),
        operator: Operator { name: String::new(), nature: dice.of(&[Nature::Public, Nature::Private]) },
        extra_eu_law: dice.of(&[
            None,
            Some(ExtraEuLaw::Immune),
            Some(ExtraEuLaw::Immune),
            Some(ExtraEuLaw::Unknown),
        ]),
        tenancy: dice.of(&[Tenancy::Shared, Tenancy::Dedicated]),
        processor_contract: dice.maybe(2, |_| "C".to_owned()),
        homologation: dice.maybe(2, |dice| Homologation { until: dice.date(), dr: dice.one_in(2) }),
        qualifications: (0..dice.below(3)).map(|_| qualification(dice)).collect(),
        max_level: dice.maybe(8, Dice::level),
        authenticity: None,
        reversibility: None,
        sobriety: None,
    }
}

fn requirement(dice: &mut Dice, n: usize) -> Requirement {
    const OPTIONS: [&str; 6] = [
        "operator:public+homologation",
        "secnumcloud>=3.2",
        "hds",
        "homologation_dr",
        "operator:private",
        "hds>=2024",
    ];
    let mut must = Must::default();
    for _ in 0..=dice.below(1) {
        match dice.below(8) {
            0 => must.processor_contract = Some(true),
            1 => must.country_in = Some(OneOrMany::Many(dice.words(&["EEA", "FR", "US"], 2))),
            2 => must.extra_eu_law = Some(ExtraEuLaw::Immune),
            3 => must.operator = Some(Nature::Public),
            4 => must.tenancy = Some(Tenancy::Dedicated),
            5 => must.homologation_dr = Some(true),
            6 => must.transformed = Some(true),
            _ => must.one_of = Some(dice.words(&OPTIONS, 2)),
        }
    }
    Requirement {
        id: format!("r{n}"),
        when: RequirementWhen {
            min_level: dice.maybe(2, Dice::level),
            marking: dice.maybe(2, |dice| dice.of(&Marking::ALL[..6])),
            target_kind: dice
                .maybe(3, |dice| dice.some(&[TargetKind::PublicDc, TargetKind::TrustedCloud], 1)),
        },
        must,
        because: String::new(),
        legal_status: dice.of(&[LegalStatus::Obligation, LegalStatus::Doctrine]),
        from: dice.maybe(3, Dice::date),
        pending_from: None,
    }
}

fn source(dice: &mut Dice, n: usize) -> Source {
    const FROM: [&str; 4] = ["tag:insee", "topic:1", "tag:insee", "tag:domain"];
    Source {
        id: format!("s{n}"),
        identity: format!("user:s{n}"),
        producer: dice.of(&["p0", "p1"]).to_owned(),
        format: dice.of(&[Format::Json, Format::Json, Format::Json, Format::Opaque]),
        topics: if dice.one_in(8) { dice.words(&FILTERS, 3) } else { vec!["#".to_owned()] },
        domains: if dice.one_in(4) { dice.words(&DOMAINS, 3) } else { vec!["energy".to_owned()] },
        domain_from: dice.maybe(6, |dice| dice.of(&["tag:domain", "topic:2"]).to_owned()),
        commune: if dice.one_in(8) { None } else { Some(dice.of(&COMMUNES).to_owned()) },
        commune_from: dice.maybe(2, |dice| dice.of(&FROM).to_owned()),
        device_from: None,
        perimeter: dice.of(&["m0", "m0", "m0", "m1", "m2"]).to_owned(),
        floor: dice.maybe(6, Dice::level),
        quota: None,
        expires: dice.maybe(12, Dice::date),
    }
}

fn transform(dice: &mut Dice, n: usize) -> Transform {
    let aggregate = Step::Aggregate { window: "P1D".to_owned(), by: vec![], measures: vec![], min_count: 11 };
    Transform {
        id: format!("x{n}"),
        steps: vec![if dice.one_in(2) { aggregate } else { Step::Drop { fields: vec!["a".to_owned()] } }],
        result: TransformResult {
            level: dice.maybe(2, Dice::level),
            add: dice.markings(),
            remove: dice.markings(),
        },
        applies_to: dice.maybe(2, |dice| AppliesTo {
            max_level: dice.maybe(2, Dice::level),
            only_markings: dice.maybe(2, |dice| dice.some(&Marking::ALL[..6], 5)),
        }),
        declassification: dice.maybe(2, |dice| Declassification {
            justification: String::new(),
            approved_by: vec![],
            expires: dice.date(),
        }),
    }
}

#[expect(clippy::too_many_lines, reason = "a paragraph a block")]
fn policy(dice: &mut Dice) -> Document {
    let (producers, domains) = (["p0", "p1"], DOMAINS);
    let scales = [Scale::Departement, Scale::Epci, Scale::Region];
    let mut d = Document::default();
    d.policy.value.cog = 2026;
    d.policy.value.valid_from = dice.date().start();
    "t0".clone_into(&mut d.defaults.value.quarantine_target);
    for siren in producers {
        let floor = dice.maybe(8, Dice::level);
        let (siren, kind) = (siren.to_owned(), ProducerKind::Epci);
        d.producer.push(block(Producer { siren, name: String::new(), kind, dpo: String::new(), floor }));
    }
    for n in 0..4 {
        let commune = if n == 0 { COMMUNES.map(str::to_owned).to_vec() } else { dice.words(&COMMUNES, 3) };
        let (id, kind) = (format!("m{n}"), dice.of(&scales));
        d.perimeter.push(block(Perimeter {
            id,
            kind,
            commune,
            epci: vec![],
            departement: vec![],
            region: vec![],
        }));
    }
    for id in domains {
        let scales = dice.some(&scales, 3);
        let essential_service = dice.one_in(4);
        d.domain.push(block(Domain { id: id.to_owned(), label: String::new(), scales, essential_service }));
    }
    d.target = (0..3).map(|n| block(target(dice, n))).collect();
    for n in 0..5 {
        d.space.push(block(Space {
            id: format!("e{n}"),
            perimeter: dice.of(&["m0", "m0", "m1", "m2", "m3"]).to_owned(),
            domains: dice.words(&DOMAINS, 3),
            target: format!("t{}", dice.below(3)),
            managed_by: String::new(),
            namespace: None,
        }));
    }
    d.source = (0..3).map(|n| block(source(dice, n))).collect();
    d.transform = (0..2).map(|n| block(transform(dice, n))).collect();
    d.requirement = (0..dice.below(3)).map(|n| block(requirement(dice, n))).collect();
    for n in 0..1 + dice.below(9) {
        let levels = [
            RuleLevel::Open,
            RuleLevel::Internal,
            RuleLevel::Personal,
            RuleLevel::Sensitive,
            RuleLevel::Declared,
        ];
        d.classify.push(block(Classify {
            id: format!("c{n}"),
            when: if dice.one_in(12) { When::default() } else { when(dice) },
            level: dice.of(&levels),
            markings: dice.markings(),
            processing: None,
            because: None,
        }));
    }
    for n in 0..dice.below(4) {
        d.copy.push(block(Copy {
            id: format!("y{n}"),
            domains: dice.words(&DOMAINS, 3),
            when: dice.maybe(3, when),
            to: format!("t{}", dice.below(3)),
            transform: dice.maybe(2, |dice| format!("x{}", dice.below(2))),
            max_level: dice.level(),
            purpose: String::new(),
            processing: None,
        }));
    }
    if !d.requirement.is_empty() && dice.one_in(2) {
        d.derogation.push(block(Derogation {
            requirement: format!("r{}", dice.below(d.requirement.len())),
            scope: DerogationScope {
                source: dice.maybe(2, |dice| format!("s{}", dice.below(3))),
                space: dice.maybe(2, |dice| format!("e{}", dice.below(5))),
            },
            reason: String::new(),
            evidence: String::new(),
            approved_by: vec![],
            expires: dice.date(),
        }));
    }
    d
}

fn scalar(dice: &mut Dice) -> Scalar<'static> {
    match dice.below(6) {
        0 => Scalar::Empty,
        1 => Scalar::Boolean(dice.one_in(2)),
        2 => Scalar::Number(dice.below(4) as f64 / 2.0, "1"),
        3 => crate::engine::condition::UNKNOWN,
        _ => Scalar::Text(Cow::Borrowed(dice.of(&WORDS))),
    }
}

fn facts(dice: &mut Dice) -> Facts<'static> {
    let cows = |dice: &mut Dice, all: &[&'static str], most| {
        (0..dice.below(most)).map(|_| Cow::Borrowed(dice.of(all))).collect::<Vec<_>>()
    };
    let mut facts =
        Facts { kind: if dice.one_in(60) { Kind::Command } else { Kind::Measure }, ..Facts::default() };
    facts.tags = (0..dice.below(5))
        .map(|_| dice.of(&TAGS))
        .map(|(k, v)| (Cow::Borrowed(k), Cow::Borrowed(v)))
        .collect();
    facts.types = cows(dice, &["Car", "CAR", "meter", "Bike"], 3);
    facts.measures = cows(dice, &KEYS, 3);
    facts.names = if dice.one_in(4) { cows(dice, &KEYS, 3) } else { vec![] };
    facts.declared = dice.maybe(4, |dice| Cow::Borrowed(dice.of(&WORDS)));
    for _ in 0..dice.below(6) {
        let mut parent = None;
        for _ in 0..=dice.below(3) {
            facts.nodes.push(Node { key: Cow::Borrowed(dice.of(&KEYS)), parent });
            parent = Some(facts.nodes.len() as u32 - 1);
        }
        let role = match dice.below(6) {
            0 => LeafRole::Metadata,
            1 => LeafRole::Raw,
            2 => LeafRole::Data { root: 1 },
            _ => LeafRole::Data { root: 0 },
        };
        for _ in 0..=dice.below(2) {
            facts.leaves.push(Leaf { node: parent, value: scalar(dice), role });
        }
    }
    facts
}

fn json(dice: &mut Dice, depth: usize, out: &mut String) {
    out.push('{');
    for n in 0..dice.below(5) {
        write!(out, "{}\"{}\":", if n == 0 { "" } else { "," }, dice.of(&KEYS)).unwrap();
        match dice.below(6) {
            0 if depth < 3 => json(dice, depth + 1, out),
            1 => out.push_str("[1,\"open\",{\"plate\":1}]"),
            2 => out.push_str("true"),
            3 => write!(out, "\"{}\"", dice.of(&WORDS)).unwrap(),
            _ => write!(out, "{}", dice.below(4) as f64 / 2.0).unwrap(),
        }
    }
    if depth == 0 {
        let comma = if out.len() > 1 { "," } else { "" };
        let (name, value) = dice.of(&TAGS);
        write!(out, "{comma}\"tags\":{{\"{name}\":\"{value}\"}},\"type\":\"Car\"").unwrap();
        if dice.one_in(4) {
            write!(out, ",\"sensitivity\":\"{}\"", dice.of(&WORDS)).unwrap();
        }
    }
    out.push('}');
}

/// The same payload, with other digits here and there, and other words.
fn other_values(dice: &mut Dice, payload: &str) -> String {
    let other = |dice: &mut Dice, digit: char| {
        let changes = digit.is_ascii_digit() && dice.one_in(3);
        if changes { char::from(b'0' + u8::try_from(dice.below(10)).unwrap()) } else { digit }
    };
    let payload: String = payload.chars().map(|character| other(dice, character)).collect();
    let word = dice.of(&WORDS);
    if dice.one_in(4) { payload.replace(dice.of(&WORDS), word) } else { payload }
}

/// The engine's decision in the reference's words.
fn verdict(policy: &Policy, decision: &Decision<'_>) -> Verdict {
    let reason = decision.outcome.reason().map_or("", |reason| reason.name());
    // A command by its kind has no label of rules.
    let by_kind = decision.kind == Kind::Command;
    let label = (decision.is_labelled() && !by_kind).then_some(decision.label);
    let space = match &decision.outcome {
        Outcome::Routed { space, .. } => Some(*space),
        Outcome::Held { space, .. } => *space,
        Outcome::Quarantined(_) | Outcome::Refused(_) => None,
    };
    let copies = decision.copies().iter().map(|copy| policy.copies()[copy.index()].id.clone());
    (
        decision.outcome.name(),
        reason,
        label,
        space.map(|space| policy.spaces()[space.index()].id.clone()),
        copies.collect(),
    )
}

fn check(policies: u64, messages: u64) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    // One memory for all policies and sources: nothing of one may reach another.
    let mut scratch = Scratch::default();
    for seed in 0..policies {
        let dice = &mut Dice(seed.wrapping_mul(0xd134_2543_de82_ef95));
        let document = policy(dice);
        let policy = Policy::compile(&document, [0; 32]).unwrap();
        let (mut source, mut payload) = (0, String::new());
        for n in 0..messages {
            // Every other policy has senders that repeat their keys, not their values.
            if seed % 2 == 0 || n % 20 == 0 {
                source = dice.below(3);
                payload.clear();
                json(dice, 0, &mut payload);
            } else {
                source = if dice.one_in(8) { dice.below(3) } else { source };
                payload = other_values(dice, &payload);
            }
            let mut properties = vec![];
            if dice.one_in(4) {
                properties.push((dice.of(&["sensitivity", "k", "Sensitivity"]), dice.of(&WORDS)));
            }
            let input = Input {
                source: SourceIx::from_index(source).unwrap(),
                topic: dice.of(&TOPICS),
                payload: payload.as_bytes(),
                user_properties: &properties,
                received: Timestamp(dice.date().start().0 + 3_600_000_000),
            };
            let format = document.source[source].format;
            let read = dice.one_in(2).then(|| crate::read(format, input.topic, input.payload).ok()).flatten();
            let (expected, came, facts) = match read {
                Some(facts) => {
                    let came = policy.decide_with(&input, &mut scratch);
                    assert_eq!(format!("{came:?}"), format!("{:?}", policy.decide(&input)), "with memory");
                    (decide(&document, &document.source[source], &input, &facts), came, facts)
                }
                None => {
                    let facts = facts(dice);
                    let expected = decide(&document, &document.source[source], &input, &facts);
                    (expected, policy.decide_facts(&input, facts.clone()), facts)
                }
            };
            let came = verdict(&policy, &came);
            assert_eq!(
                came, expected,
                "seed {seed}, message {n}: {input:?} {payload} {facts:#?}\n{document:#?}"
            );
            let copied = if came.4.is_empty() { "" } else { " and copied" };
            *counts.entry(format!("{} {}{copied}", came.0, came.1)).or_default() += 1;
        }
    }
    counts
}

#[test]
fn the_engine_decides_as_the_reference_does() {
    let counts = check(2_000, 100);
    for outcome in [
        "routed ",
        "routed  and copied",
        "held no_allowed_target",
        "quarantined no_rule_matches",
        "refused command",
    ] {
        assert!(
            counts.get(outcome).is_some_and(|count| *count > 1_500),
            "{outcome}: the generator misses it: {counts:#?}"
        );
    }
    assert!(counts.len() >= 9, "{counts:#?}");
}
