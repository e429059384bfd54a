//! The example region's policy: its own tests, and messages as bytes.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use octroi_policy::ast::RuleLevel;
use octroi_policy::json::Scratch;
use octroi_policy::{
    Date, Input, Lang, Outcome, Policy, Reason, SourceFile, SourceIx, Timestamp, hash, parse, run_tests,
};

const EXAMPLE: &str = include_str!("../../../policies/bretagne-exemple.toml");

fn example() -> Policy {
    let files = [SourceFile { name: "bretagne-exemple.toml".to_owned(), text: EXAMPLE.to_owned() }];
    let parsed = parse(&files);
    assert_eq!(parsed.findings, []);
    Policy::compile(&parsed.document, hash(&files)).expect("it compiles")
}

#[test]
fn every_test_of_the_example_passes() {
    let policy = example();
    let results = run_tests(&policy, policy.document());
    let failed: Vec<_> = results.iter().filter(|result| !result.passed).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert_eq!(results.len(), 13);
}

/// A message of the camera's source on the counting topic, as bytes.
fn counted(payload: &[u8], expected: &str) {
    let policy = example();
    let input = Input {
        source: policy.source("cert:CN=mobilite.rennes.example").unwrap(),
        topic: "ville/mobilite/c7/count",
        payload,
        user_properties: &[],
        received: Timestamp::parse_rfc3339("2026-11-20T06:01:10Z").unwrap(),
    };
    let decision = policy.decide(&input);
    let outcome = &decision.outcome;
    let came = match outcome.reason() {
        None => decision.label.level.name().to_owned(),
        Some(reason) => format!("{} {reason}", outcome.name()),
    };
    let shown = String::from_utf8_lossy(payload);
    assert_eq!(came, expected, "{shown}");
    let cloud = policy.targets().iter().position(|target| target.id == "cloud-confiance").unwrap();
    assert!(expected == "open" || decision.targets(&policy).all(|target| target.index() != cloud), "{shown}");

    let explanation = policy.explain(&input);
    assert_eq!(explanation.outcome, decision.outcome.name());
    for (lang, words) in
        [(Lang::Fr, ["sensible", "quarantaine", "ouvert"]), (Lang::En, ["sensitive", "uarantine", "open"])]
    {
        let text = explanation.in_words(lang);
        assert!(words.iter().any(|word| text.contains(word)) && text.contains("2026.11.2"), "{text}");
    }
    if expected == "sensitive" {
        let rule = explanation.rules.iter().find(|rule| rule.id == "mobilite-plaques").unwrap();
        assert!(rule.matched.iter().any(|matched| matched.contains("plate")), "{rule:?}");
    }
}

#[test]
fn a_plate_hidden_in_the_counting_topic_is_found_or_kept() {
    counted(br#"{"count":12,"period":"PT15M","ts":"2026-11-20T06:00:00Z"}"#, "open");
    counted(br#"{"count":12,"plate":"AB-123-CD"}"#, "sensitive");
    counted(br#"{"count":{"plate":"AB-123-CD"},"count":12}"#, "quarantined ambiguous_payload");
    counted(br#"{"count":12,"\u0070late":"AB-123-CD"}"#, "sensitive");
    counted("{\"count\":12,\"Ｐlate\":\"AB-123-CD\"}".as_bytes(), "sensitive");
    counted("{\"count\":12,\"pl\u{200d}ate\":\"AB-123-CD\"}".as_bytes(), "sensitive");
    counted("{\"count\":12,\"рlаte\":\"AB-123-CD\"}".as_bytes(), "sensitive");
    counted(br#"{"count":12,"a":[{"b":{"LICENSE-plate":{"value":"AB-123-CD"}}}]}"#, "sensitive");
    counted(br#"{"count":12,"license":{"plate":"AB-123-CD"}}"#, "sensitive");
    counted(br#"{"count":12,"license":{"pla":{"te":"AB-123-CD"}}}"#, "sensitive");
    counted(b"\xef\xbb\xbf{\"count\":12,\"plate\":\"AB-123-CD\"}", "quarantined ambiguous_payload");
    counted(br#"{"count":12} {"plate":"AB-123-CD"}"#, "quarantined ambiguous_payload");
}

#[test]
fn what_the_closed_schema_does_not_list_is_not_open() {
    counted(br#"{"count":12,"vehicle":"AB-123-CD"}"#, "quarantined no_rule_matches");
    counted(br#"{"count":12,"period":"{\"plate\":\"AB-123-CD\"}"}"#, "quarantined no_rule_matches");
    counted(br#"{"count":"AB-123-CD"}"#, "quarantined no_rule_matches");
    counted(br#"{"count":12,"sensitivity":"open"}"#, "quarantined no_rule_matches");
    counted(br#"["AB-123-CD"]"#, "quarantined no_rule_matches");
}

#[test]
fn a_declaration_only_raises() {
    counted(br#"{"plate":"AB-123-CD","sensitivity":"open"}"#, "sensitive");
    counted(br#"{"etat":1,"sensitivity":"open"}"#, "quarantined no_rule_matches");
    counted(br#"{"plate":"AB-123-CD","sensitivity":"secret"}"#, "held no_allowed_target");
}

#[test]
fn a_lapsed_accreditation_holds_and_moves_nothing() {
    let policy = example();
    let decide = |day: &str| {
        let input = Input {
            source: policy.source("cert:CN=mobilite.rennes.example").unwrap(),
            topic: "ville/mobilite/cam-12/anpr",
            payload: br#"{"plate":"AB-123-CD"}"#,
            user_properties: &[],
            received: Timestamp::parse_rfc3339(&format!("{day}T23:59:59Z")).unwrap(),
        };
        policy.decide(&input).outcome
    };
    assert_eq!(decide("2027-06-30").name(), "routed");
    let Outcome::Held { reason, space, .. } = decide("2027-07-01") else { panic!("it is held") };
    assert_eq!((reason, space.is_some()), (Reason::NoAllowedTarget, true));
    let day = |text| Date::parse(text).unwrap();
    assert_eq!(policy.epoch_of(day("2027-07-01")), day("2027-07-01"));
    assert_ne!(policy.epoch_of(day("2027-06-30")), day("2027-07-01"));
    assert_eq!(policy.epoch_of(day("2027-07-02")), day("2027-07-01"));
}

#[test]
fn an_identity_names_its_source_and_a_code_its_reason() {
    let policy = example();
    assert_eq!(policy.source("user:mobilite"), None);
    assert_eq!(policy.source("cert:CN=mobilite.rennes.example").map(SourceIx::index), Some(1));
    for reason in Reason::ALL {
        assert_eq!(Reason::from_code(reason.code()), Some(*reason));
    }
    assert_eq!(Reason::from_code(u8::try_from(Reason::ALL.len()).unwrap()), None);
}

#[test]
fn one_memory_serves_two_policies_of_one_hash() {
    let mut stricter = example().document().clone();
    let rule = stricter.classify.iter_mut().find(|rule| rule.value.id == "mobilite-comptage").unwrap();
    rule.value.level = RuleLevel::Restricted;
    let documents = [example().document().clone(), stricter];
    let policies = documents.map(|document| Policy::compile(&document, [0; 32]).unwrap());
    let mut scratch = Scratch::default();
    for count in ["17", r#""x""#, "18", r#""y""#, "19"] {
        let payload = format!(r#"{{"count":{count},"period":"PT15M","device":"cam-1"}}"#);
        // Twice: learned by the first, known to the second.
        for _ in 0..2 {
            let came = policies.each_ref().map(|policy| {
                let input = Input {
                    source: policy.source("cert:CN=mobilite.rennes.example").unwrap(),
                    topic: "ville/mobilite/c7/count",
                    payload: payload.as_bytes(),
                    user_properties: &[],
                    received: Timestamp::parse_rfc3339("2026-11-20T06:01:10Z").unwrap(),
                };
                let first = policy.decide_with(&input, &mut scratch);
                let decision = policy.decide_with(&input, &mut scratch);
                assert_eq!([&first, &decision], [&policy.decide(&input); 2], "{payload}");
                decision.label.level.name()
            });
            let first = if count.starts_with('"') { "restricted" } else { "open" };
            assert_eq!(came, [first, "restricted"], "{payload}");
        }
    }
}
