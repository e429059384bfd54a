use std::collections::BTreeMap;

use super::*;
use crate::testing::{facts_of, run_tests};
use crate::{Input, Level, Outcome, SourceFile, SourceIx, parse};

const EXAMPLE: &str = include_str!("../../../../policies/bretagne-exemple.toml");
/// Before every expiry of the example.
const TODAY: &str = "2026-11-20";

fn document(text: &str) -> Document {
    let parsed = parse(&[SourceFile { name: "p.toml".to_owned(), text: text.to_owned() }]);
    assert_eq!(parsed.findings, []);
    parsed.document
}

fn fates(text: &str) -> BTreeMap<String, Fate> {
    let found = mutants(&document(text), Date::parse(TODAY).unwrap()).unwrap();
    let count = found.len();
    let fates: BTreeMap<_, _> = found.into_iter().map(|mutant| (mutant.id, mutant.fate)).collect();
    assert_eq!(fates.len(), count, "ids name one mutant each");
    fates
}

fn killers(fate: &Fate) -> &[Killer] {
    if let Fate::Killed { by } = fate { by } else { panic!("{fate:?}") }
}

fn proof_of(fate: &Fate) -> &str {
    if let Fate::Equivalent { proof } = fate { &proof.en } else { panic!("{fate:?}") }
}

#[test]
fn who_notices_is_named() {
    let fates = fates(EXAMPLE);
    let outside = "Commune hors du périmètre de la source : quarantaine";
    assert_eq!(killers(&fates["source:lns-rennes:perimeter"]), [Killer::Test(outside.to_owned())]);
    assert!(
        killers(&fates["copy:mobilite-vers-cloud:max_level"]).contains(&Killer::Invariant("G2".to_owned()))
    );
    let checks = |id: &str| {
        let by = killers(&fates[id]).iter();
        by.map(|by| if let Killer::Check(code) = by { *code } else { panic!("{id}: {by:?}") })
            .collect::<Vec<_>>()
    };
    assert_eq!(checks("classify:air-station-fixe:fields_within"), [Code::C28]);
    assert_eq!(checks("transform:t-eau-agregat:applies_to.only_markings"), [Code::C16]);
    assert_eq!(checks("transform:t-eau-agregat:aggregate.min_count"), [Code::C17]);
    assert_eq!(checks("transform:t-eau-agregat:rewrite_topic"), [Code::C18]);
    assert_eq!(checks("copy:dechets-vers-cloud:max_level"), [Code::C18, Code::C19]);
    assert_eq!(checks("source:scada-56:topics"), [Code::C31]);
}

#[test]
fn what_nothing_in_the_example_would_miss_survives() {
    let survivors: Vec<String> =
        fates(EXAMPLE).into_iter().filter(|(_, fate)| *fate == Fate::Survived).map(|(id, _)| id).collect();
    for expected in [
        "classify:mobilite-type-lapi",
        "requirement:E3-restreint",
        "source:redon-lora:domains",
        "source:redon-lora:perimeter",
        "transform:t-mobilite-cloud:keep_only",
    ] {
        assert!(survivors.iter().any(|id| id == expected), "{expected}: {survivors:#?}");
    }
}

#[test]
fn what_changes_nothing_is_proved_and_says_what_stands_before_it() {
    let fates = fates(EXAMPLE);
    let proof = proof_of(&fates["requirement:E3-restreint:must.tenancy"]);
    assert!(proof.contains("`requirement:E3-restreint:must.homologation_dr`"), "{proof}");
    let proof = proof_of(&fates["requirement:E5-transformer-avant-cloud"]);
    assert!(proof.contains("`copy:dechets-vers-cloud:max_level`"), "{proof}");
    let proof = proof_of(&fates["requirement:E1-contrat"]);
    assert!(proof.contains("every target"), "{proof}");
}

/// What the badge rule finds is a secret, and about nobody: no check for persons looks at its copy.
fn about_nobody() -> String {
    let badge = "level = \"personal\"\nmarkings = [\"personal\"]\nprocessing = \"T-dechets-badge\"";
    let tested = "measures = [\"weight\"] }\nexpect = { level = \"personal\"";
    assert!(EXAMPLE.contains(badge) && EXAMPLE.contains(tested));
    EXAMPLE
        .replace(badge, "level = \"sensitive\"\nmarkings = [\"secret_business\"]")
        .replace(tested, &tested.replace("personal", "sensitive"))
}

#[test]
fn of_two_protections_either_stands_before_the_other() {
    let fates = fates(&about_nobody());
    let proof = proof_of(&fates["requirement:E5-transformer-avant-cloud"]);
    assert!(proof.contains("`copy:dechets-vers-cloud:max_level`"), "{proof}");
    let proof = proof_of(&fates["copy:dechets-vers-cloud:max_level"]);
    assert!(proof.contains("`requirement:E5-transformer-avant-cloud`"), "{proof}");
}

#[test]
fn two_protections_that_stand_before_each_other_are_not_both_equivalent_once_one_is_gone() {
    let open = EXAMPLE.replace("must = { transformed = true }", "must = { country_in = \"EEA\" }");
    let fate = &fates(&open)["copy:dechets-vers-cloud:max_level"];
    assert!(killers(fate).contains(&Killer::Invariant("G4".to_owned())), "{fate:?}");
}

#[test]
fn an_acknowledged_survivor_is_accepted_until_its_day() {
    let acknowledged = |expires: &str| {
        format!(
            "{EXAMPLE}\n[[acknowledge]]\ncode = \"C34\"\nsubject = \"source:redon-lora:domains\"\nby = \"rssi\"\nbecause = \"retenu\"\nexpires = {expires}\n"
        )
    };
    let of = |text: &str| fates(text)["source:redon-lora:domains"].clone();
    assert!(matches!(of(&acknowledged(TODAY)), Fate::Accepted { because, .. } if because == "retenu"));
    assert_eq!(of(&acknowledged("2026-11-19")), Fate::Survived);
}

/// What `check` says of a policy.
fn said(document: &Document) -> Vec<Finding> {
    let policy = Policy::compile(document, [0; 32]).unwrap();
    unmissed(document, &prove(&policy, document), Date::parse(TODAY).unwrap())
}

#[test]
fn check_warns_of_every_survivor_in_both_languages_and_of_nothing_else() {
    let document = document(EXAMPLE);
    let found = mutants(&document, Date::parse(TODAY).unwrap()).unwrap();
    let survivors = found.iter().filter(|mutant| mutant.fate == Fate::Survived);
    let findings = said(&document);
    assert_eq!(
        findings.iter().map(|finding| &finding.location).collect::<Vec<_>>(),
        survivors.map(|mutant| &mutant.location).collect::<Vec<_>>()
    );
    for finding in &findings {
        assert_eq!((finding.code, finding.severity), (Code::C34, Severity::Warning));
        assert_ne!(finding.message.fr, finding.message.en);
        assert!(finding.location.line > 0, "{finding:?}");
    }
    for mutant in &found {
        assert!(mutant.in_words().fr.contains(&mutant.id) && mutant.what.fr != mutant.what.en, "{mutant:?}");
    }
}

#[test]
fn check_says_that_it_did_not_look_where_that_would_take_too_long() {
    let did_not_look = |document: &Document| {
        let findings = said(document);
        let [finding] = findings.as_slice() else { return false };
        finding.severity == Severity::Info && finding.message.en.starts_with("not looked for here")
    };
    let mut document = document(EXAMPLE);
    assert!(!did_not_look(&document));
    let rule = document.classify[0].clone();
    let many = |document: &mut Document, count| {
        for n in 0..count {
            let mut more = rule.clone();
            more.value.id = format!("more-{n}");
            document.classify.push(more);
        }
    };
    many(&mut document, MOST_PROTECTIONS);
    assert!(did_not_look(&document), "too many protections");

    // Fewer protections, and a proof that is too large for each: a rule for every marking.
    let mut document = self::document(EXAMPLE);
    let first = document.classify.len();
    many(&mut document, crate::Marking::ALL.len());
    for (block, marking) in document.classify[first..].iter_mut().zip(crate::Marking::ALL) {
        block.value.markings = vec![*marking];
    }
    assert!(mutate::all(&document).len() < MOST_PROTECTIONS && did_not_look(&document), "too large a proof");
}

#[test]
fn a_policy_that_is_refused_is_not_mutated() {
    let broken = EXAMPLE.replace("expect = { outcome = \"refused\" }", "expect = { outcome = \"routed\" }");
    let findings = mutants(&document(&broken), Date::parse(TODAY).unwrap()).unwrap_err();
    assert_eq!(findings.iter().map(|finding| finding.code).collect::<Vec<_>>(), [Code::C34]);
    assert_eq!(said(&document(&broken)), []);
}

/// Outcome, space, copies and level of every test's message under every declared level.
fn decisions(policy: &Policy, document: &Document) -> Vec<(Outcome, Option<Level>)> {
    let mut all = Vec::new();
    for test in &document.test {
        for level in Level::ALL {
            let source = document.source.iter().position(|source| source.id == test.given.source).unwrap();
            let source = SourceIx::from_index(source).unwrap();
            let given = crate::ast::Given { declared: Some(level.name().to_owned()), ..test.given.clone() };
            let input = Input {
                source,
                topic: &given.topic,
                payload: b"",
                user_properties: &[],
                received: document.policy.valid_from,
            };
            let decision = policy.decide_facts(&input, facts_of(policy, source, &given));
            let level = decision.is_labelled().then_some(decision.label.level);
            all.push((decision.outcome, level));
        }
    }
    all
}

#[test]
fn no_message_is_decided_otherwise_by_a_mutant_called_equivalent() {
    let document = document(EXAMPLE);
    let fates = fates(EXAMPLE);
    let policy = Policy::compile(&document, [0; 32]).unwrap();
    let before = decisions(&policy, &document);
    let mut compared = 0;
    for mutation in mutate::all(&document) {
        if matches!(fates[&mutation.id], Fate::Equivalent { .. }) {
            let mut mutated = document.clone();
            (mutation.apply)(&mut mutated);
            let mutant = Policy::compile(&mutated, [0; 32]).unwrap();
            assert_eq!(decisions(&mutant, &mutated), before, "{}", mutation.id);
            compared += 1;
        }
    }
    assert!(compared > 20, "{compared}");
}

#[test]
fn every_kind_of_protection_is_taken_away() {
    let text = EXAMPLE
        .replacen("dpo = \"dpo@rennes.example\"", "dpo = \"dpo@rennes.example\"\nfloor = \"internal\"", 1)
        .replacen(
            "identity = \"cert:CN=eau.energies56.example\"",
            "identity = \"cert:CN=eau.energies56.example\"\nfloor = \"personal\"\nexpires = 2027-01-01",
            1,
        )
        .replacen("country = \"FR\"", "country = \"FR\"\nmax_level = \"sensitive\"", 1)
        .replacen(
            "to = \"cloud-confiance\"",
            "to = \"cloud-confiance\"\nwhen = { domain = \"mobility\" }",
            1,
        );
    let ids: Vec<String> = mutate::all(&document(&text)).into_iter().map(|mutation| mutation.id).collect();
    for expected in [
        "producer:243500139:floor",
        "source:telereleve-56:floor",
        "source:telereleve-56:expires",
        "target:dc-rennes:max_level",
        "copy:mobilite-vers-cloud:when",
        "domain:water:essential_service",
        "transform:t-eau-agregat:aggregate.min_count",
        "transform:t-mobilite-cloud:pseudonymise.device",
    ] {
        assert!(ids.iter().any(|id| id == expected), "{expected}");
    }
}

#[test]
fn a_mutation_weakens_and_leaves_every_reference_standing() {
    let document = document(EXAMPLE);
    for mutation in mutate::all(&document) {
        let mut mutated = document.clone();
        (mutation.apply)(&mut mutated);
        assert_ne!(mutated, document, "{}", mutation.id);
        let policy = Policy::compile(&mutated, [0; 32]);
        assert!(policy.is_ok_and(|policy| !run_tests(&policy, &mutated).is_empty()), "{}", mutation.id);
    }
}
