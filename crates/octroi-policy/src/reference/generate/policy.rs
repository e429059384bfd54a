//! Generated policies: every block, every condition key, every requirement,
//! dates of few days. Nothing here knows the engine.

use std::collections::BTreeMap;

use super::{COMMUNES, DOMAINS, Dice, KEYS, NAMES, TAGS, WORDS};
use crate::ast::*;
use crate::{Location, Marking};

const FILTERS: [&str; 12] = [
    "#",
    "a/#",
    "a/+",
    "+/b",
    "a/b/c",
    "b/#",
    "+/+/energy",
    "$a/#",
    "a/+/+",
    "b/+/water",
    "application/#",
    "v3/#",
];
const FORMATS: [Format; 6] =
    [Format::Json, Format::Json, Format::ChirpstackV4, Format::Senml, Format::TtsV3, Format::Opaque];
const SOURCES: [&str; 4] = ["s0", "s1", "s2", "s3"];

fn block<T>(value: T) -> Block<T> {
    Block { value, at: Location::default(), keys: BTreeMap::new() }
}

fn when(dice: &mut Dice<'_>) -> When {
    let mut when = When::default();
    for _ in 0..=dice.below(2) {
        match dice.below(18) {
            0 => when.source = Some(OneOrMany::Many(dice.words(&SOURCES, 2))),
            1 => when.producer = Some(OneOrMany::One(dice.of(&["p0", "p1"]).to_owned())),
            2 => when.domain = Some(OneOrMany::Many(dice.words(&DOMAINS, 2))),
            3 => when.format = Some(OneOrMany::Many(dice.some(&FORMATS, 2))),
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

fn schema(dice: &mut Dice<'_>) -> BTreeMap<String, LeafType> {
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

fn value(dice: &mut Dice<'_>) -> Value {
    match dice.below(4) {
        0 => Value::Boolean(dice.one_in(2)),
        1 => Value::Integer(i64::from(dice.one_in(2))),
        2 => Value::Number(dice.below(4) as f64 / 2.0),
        _ => Value::Text(dice.of(&WORDS).to_owned()),
    }
}

fn comparison(dice: &mut Dice<'_>) -> Comparison {
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

fn target(dice: &mut Dice<'_>, n: usize) -> Target {
    let qualification = |dice: &mut Dice<'_>| Qualification {
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

fn requirement(dice: &mut Dice<'_>, n: usize) -> Requirement {
    const OPTIONS: [&str; 6] = [
        "operator:public+homologation",
        "secnumcloud>=3.2",
        "hds",
        "homologation_dr",
        "operator:private",
        "hds>=2024",
    ];
    let mut must = Must::default();
    for _ in 0..=dice.below(2) / 2 {
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

fn source(dice: &mut Dice<'_>, n: usize) -> Source {
    const FROM: [&str; 4] = ["tag:insee", "tag:insee", "topic:1", "tag:domain"];
    Source {
        id: format!("s{n}"),
        identity: format!("user:s{n}"),
        producer: dice.of(&["p0", "p1"]).to_owned(),
        format: dice.of(&FORMATS),
        topics: if dice.one_in(16) { dice.words(&FILTERS, 3) } else { vec!["#".to_owned()] },
        domains: if dice.one_in(5) { dice.words(&DOMAINS, 3) } else { vec!["energy".to_owned()] },
        domain_from: dice.maybe(4, |dice| dice.of(&["tag:domain", "topic:2"]).to_owned()),
        commune: if dice.one_in(8) { None } else { Some(dice.of(&COMMUNES).to_owned()) },
        commune_from: dice.maybe(2, |dice| dice.of(&FROM).to_owned()),
        device_from: None,
        perimeter: dice.of(&["m0", "m0", "m0", "m0", "m0", "m0", "m1", "m2"]).to_owned(),
        floor: dice.maybe(6, Dice::level),
        quota: None,
        expires: dice.maybe(20, Dice::date),
    }
}

fn transform(dice: &mut Dice<'_>, n: usize) -> Transform {
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

/// A policy that compiles.
pub(in crate::reference) fn document(dice: &mut Dice<'_>) -> Document {
    let mut d = Document::default();
    d.policy.value.cog = 2026;
    d.policy.value.valid_from = dice.date().start();
    "t0".clone_into(&mut d.defaults.value.quarantine_target);
    territory(dice, &mut d);
    d.target = (0..3).map(|n| block(target(dice, n))).collect();
    for n in 0..4 + dice.below(2) {
        d.space.push(block(Space {
            id: format!("e{n}"),
            perimeter: format!("m{}", if dice.one_in(6) { 0 } else { n % 4 }),
            domains: if dice.one_in(2) {
                dice.words(&DOMAINS, 3)
            } else {
                DOMAINS.map(str::to_owned).to_vec()
            },
            target: format!("t{}", dice.below(3)),
            managed_by: String::new(),
            namespace: None,
        }));
    }
    d.source = (0..SOURCES.len()).map(|n| block(source(dice, n))).collect();
    d.transform = (0..2).map(|n| block(transform(dice, n))).collect();
    d.requirement = (0..dice.below(3)).map(|n| block(requirement(dice, n))).collect();
    d.classify = (0..=dice.below(9)).map(|n| block(rule(dice, n))).collect();
    d.copy = (0..dice.below(5)).map(|n| block(copy(dice, n))).collect();
    if !d.requirement.is_empty() && dice.one_in(2) {
        let requirement = format!("r{}", dice.below(d.requirement.len()));
        d.derogation.push(block(derogation(dice, requirement)));
    }
    d
}

fn territory(dice: &mut Dice<'_>, d: &mut Document) {
    let scales = [Scale::Departement, Scale::Epci, Scale::Region];
    for siren in ["p0", "p1"] {
        let floor = dice.maybe(8, Dice::level);
        let (siren, kind) = (siren.to_owned(), ProducerKind::Epci);
        d.producer.push(block(Producer { siren, name: String::new(), kind, dpo: String::new(), floor }));
    }
    for n in 0..4 {
        let commune = if n == 0 { COMMUNES.map(str::to_owned).to_vec() } else { dice.words(&COMMUNES, 3) };
        let epci = if dice.one_in(6) { vec!["243500741".to_owned()] } else { vec![] };
        let departement = if dice.one_in(12) { vec!["56".to_owned()] } else { vec![] };
        let kind = if dice.one_in(4) { dice.of(&scales) } else { scales[n % 3] };
        let id = format!("m{n}");
        d.perimeter.push(block(Perimeter { id, kind, commune, epci, departement, region: vec![] }));
    }
    for id in DOMAINS {
        let (scales, essential_service) = (dice.some(&scales, 3), dice.one_in(4));
        d.domain.push(block(Domain { id: id.to_owned(), label: String::new(), scales, essential_service }));
    }
}

/// One classification rule.
pub(in crate::reference) fn rule(dice: &mut Dice<'_>, n: usize) -> Classify {
    use RuleLevel::{Declared, Internal, Open, Personal, Restricted, Sensitive};
    Classify {
        id: format!("c{n}"),
        when: if dice.one_in(8) { When::default() } else { when(dice) },
        level: dice.of(&[Open, Internal, Personal, Sensitive, Restricted, Declared, Open, Internal]),
        markings: dice.markings(),
        processing: None,
        because: None,
    }
}

fn copy(dice: &mut Dice<'_>, n: usize) -> Copy {
    Copy {
        id: format!("y{n}"),
        domains: dice.words(&DOMAINS, 3),
        when: dice.maybe(4, when),
        to: format!("t{}", dice.below(3)),
        transform: dice.maybe(2, |dice| format!("x{}", dice.below(2))),
        max_level: dice.level(),
        purpose: String::new(),
        processing: None,
    }
}

fn derogation(dice: &mut Dice<'_>, requirement: String) -> Derogation {
    Derogation {
        requirement,
        scope: DerogationScope {
            source: dice.maybe(2, |dice| dice.of(&SOURCES).to_owned()),
            space: dice.maybe(2, |dice| format!("e{}", dice.below(4))),
        },
        reason: String::new(),
        evidence: String::new(),
        approved_by: vec![],
        expires: dice.date(),
    }
}
