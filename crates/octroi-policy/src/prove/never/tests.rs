use proptest::prelude::*;

use super::*;
use crate::Outcome;
use crate::{SourceFile, hash, parse};

const EXAMPLE: &str = include_str!("../../../../../policies/bretagne-exemple.toml");

fn policy(text: &str) -> Policy {
    let files = [SourceFile { name: "p.toml".to_owned(), text: text.to_owned() }];
    let parsed = parse(&files);
    assert_eq!(parsed.findings, []);
    Policy::compile(&parsed.document, hash(&files)).unwrap()
}

fn statement(policy: &Policy, label: &str, to: &str) -> Result<Statement, QuestionError> {
    let to: Vec<String> = to.split_whitespace().map(str::to_owned).collect();
    Statement::parse(label, &to, Via::Any, None, policy)
}

fn ask(policy: &Policy, label: &str, to: &str) -> Answer {
    prove(policy, &statement(policy, label, to).unwrap())
}

/// The message of a counterexample, decided, takes the flow that it is said to take.
fn replays(policy: &Policy, counterexample: &Counterexample) {
    let Counterexample { flow, given, at } = counterexample;
    let given = given.as_ref().unwrap();
    let decision = policy.decide_given(given, at.start()).unwrap();
    let sender = flow.sender.as_ref().unwrap();
    assert_eq!(given.source, sender.source);
    assert_eq!(decision.label, flow.label);
    assert_eq!(policy.domains()[decision.domain.unwrap().index()].id, sender.domain);
    let Outcome::Routed { space, copies } = &decision.outcome else { panic!("{decision:?}") };
    let mut ways: Vec<&str> = copies.iter().map(|copy| policy.copies()[copy.index()].id.as_str()).collect();
    if flow.via != Via::Copy {
        ways = vec![&policy.spaces()[space.index()].id];
    }
    assert!(ways.contains(&flow.by.as_str()), "{flow:?} {decision:?}");
    let reached: Vec<String> = decision.targets(policy).map(|target| policy.target_id(target)).collect();
    assert!(reached.contains(&flow.target), "{flow:?} {decision:?}");
}

#[test]
fn no_personal_data_can_reach_the_trusted_cloud_of_the_example() {
    let policy = policy(EXAMPLE);
    let answer = ask(&policy, "level >= personal", "cloud-confiance");
    assert!(answer.proved && answer.counterexample.is_none() && answer.broken == 0, "{answer:#?}");
    assert_eq!(answer.targets, ["cloud-confiance"]);
    assert!(answer.table_cells > 1_000 && answer.flows > 1_000 && answer.labels > 300, "{answer:#?}");
    // It says what gets there lowered.
    let [flow] = answer.lowered.as_slice() else { panic!("{:#?}", answer.lowered) };
    assert_eq!(
        (flow.by.as_str(), flow.transform.as_deref()),
        ("eau-agregats-vers-cloud", Some("t-eau-agregat"))
    );
    assert_eq!((flow.label.level, flow.arrives.level), (Level::Personal, Level::Internal));
}

#[test]
fn a_counterexample_has_a_message_that_goes_that_way() {
    let policy = policy(EXAMPLE);
    for (label, to) in [
        ("level >= internal", "cloud-confiance"),
        ("level = open", "kind:trusted_cloud"),
        ("level > internal and marking offence", "operator:public"),
        ("marking essential_service", "dc-morbihan"),
        ("level=personal", "country-not-in:DE"),
        ("marking = personal and level > personal", "dc-rennes,dc-morbihan operator:public"),
    ] {
        let answer = ask(&policy, label, to);
        assert!(!answer.proved && answer.broken > 0, "{label} {to}");
        let counterexample = answer.counterexample.unwrap();
        replays(&policy, &counterexample);
        assert!(statement(&policy, label, to).unwrap().concerns(counterexample.flow.arrives), "{label} {to}");
        assert!(answer.targets.contains(&counterexample.flow.target), "{label} {to}");
    }
}

#[test]
fn way_and_transform_narrow_the_question() {
    let policy = policy(EXAMPLE);
    let ask = |via, transformed| {
        let statement =
            Statement::parse("level >= open", &["cloud-confiance".into()], via, transformed, &policy);
        prove(&policy, &statement.unwrap())
    };
    let primary = ask(Via::Primary, None);
    assert!(primary.proved, "no space of the example is in the cloud");
    assert!(!ask(Via::Copy, None).proved);
    let transformed = ask(Via::Any, Some(true)).counterexample.unwrap();
    assert!(transformed.flow.transform.is_some());
    replays(&policy, &transformed);
    assert_eq!(ask(Via::Any, Some(false)).counterexample.unwrap().flow.transform, None);
}

#[test]
fn a_label_that_no_rule_gives_is_a_counterexample_without_sender() {
    let answer = ask(&policy(EXAMPLE), "marking biometric", "dc-bretagne");
    let counterexample = answer.counterexample.unwrap();
    assert_eq!((counterexample.flow.sender, counterexample.given), (None, None));
}

/// `prove --never` and an invariant of the same words agree, whatever the words.
#[test]
fn a_question_and_the_same_invariant_get_one_answer() {
    let open = EXAMPLE.replace("must = { transformed = true }", "must = { country_in = \"EEA\" }");
    let open = open.replace("max_level = \"internal\"", "max_level = \"sensitive\"");
    for text in [EXAMPLE, &open] {
        for (label, to, never) in [
            ("level >= personal", "country-not-in:EEA", "min_level = \"personal\", country_not_in = \"EEA\""),
            (
                "level >= personal",
                "kind:trusted_cloud",
                "min_level = \"personal\", target_kind = [\"trusted_cloud\"]",
            ),
            ("level >= restricted", "operator:private", "min_level = \"restricted\", operator = \"private\""),
            ("marking personal", "cloud-confiance", "marking = \"personal\", target = \"cloud-confiance\""),
            ("marking art9", "dc-rennes", "marking = \"art9\", target = \"dc-rennes\""),
        ] {
            let with = policy(&format!("{text}\n[[invariant]]\nid = \"g\"\nnever = {{ {never} }}\n"));
            let findings = crate::prove(&with, with.document()).findings;
            let broken = findings.iter().any(|finding| finding.message.en.contains("`g`"));
            assert_eq!(ask(&with, label, to).proved, !broken, "{label} {to}");
        }
    }
}

#[test]
fn a_question_that_is_not_understood_says_what_to_write() {
    let policy = policy(EXAMPLE);
    for (label, to, part) in [
        ("level >= personnal", "dc-rennes", "`personal`"),
        ("level < personal", "dc-rennes", "`level < personal`"),
        ("level => personal", "dc-rennes", "`level => personal`"),
        ("level > restricted", "dc-rennes", "above"),
        ("level = open and level > internal", "dc-rennes", "no level is so"),
        ("marking helth", "dc-rennes", "`health`"),
        ("level >= open or level = internal", "dc-rennes", "joined by `and`"),
        ("", "dc-rennes", "is not understood"),
        ("level = open and", "dc-rennes", "is not understood"),
        ("level = open", "dc-renes", "write `dc-rennes`"),
        ("level = open", "kind:trusted", "`trusted_cloud`"),
        ("level = open", "sort:trusted_cloud", "is no place"),
        ("level = open", "operator:state", "`public`, `private`"),
    ] {
        let error = statement(&policy, label, to).unwrap_err();
        assert!(error.to_string().contains(part), "{label} {to}: {error}");
        assert_ne!(error.0.en, error.0.fr);
    }
}

proptest! {
    #[test]
    fn any_question_is_read_or_refused(label in "\\PC{0,40}", parts in prop::collection::vec(
        prop::sample::select(vec!["level", "marking", ">=", "=", ">", "<", "and", "personal", "open", "restricted", "health", "é"]), 0..8,
    ), to in "\\PC{0,20}") {
        let policy = policy(EXAMPLE);
        for label in [label, parts.join(" "), parts.concat()] {
            for to in [vec![], vec![to.clone()]] {
                if let Ok(statement) = Statement::parse(&label, &to, Via::Any, None, &policy) {
                    prop_assert!(statement.least <= statement.most);
                }
            }
        }
    }
}
