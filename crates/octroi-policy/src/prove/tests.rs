use super::*;
use crate::{SourceFile, parse};

const EXAMPLE: &str = include_str!("../../../../policies/bretagne-exemple.toml");

fn proof_of(text: &str) -> Proof {
    let parsed = parse(&[SourceFile { name: "p.toml".to_owned(), text: text.to_owned() }]);
    let policy = Policy::compile(&parsed.document, [0; 32]).unwrap();
    prove(&policy, &parsed.document)
}

/// The example with one replacement, and the codes and messages that come of it.
fn check(from: &str, to: &str, expected: &[(Code, Severity, &str)]) {
    assert!(EXAMPLE.contains(from), "{from}");
    let proof = proof_of(&EXAMPLE.replace(from, to));
    let errors = |finding: &&Finding| finding.code != Code::C34 && finding.severity == Severity::Error;
    let found: Vec<_> = proof.findings.iter().filter(errors).collect();
    let all = expected.iter().all(|(code, severity, part)| {
        let is = |finding: &&&Finding| {
            let text = format!(
                "{} {} {}",
                finding.message.en,
                finding.why.en,
                finding.witness.as_ref().map_or("", |w| &w.text.en)
            );
            finding.code == *code && finding.severity == *severity && text.contains(part)
        };
        found.iter().any(|finding| is(&finding))
    });
    assert!(all && found.len() == expected.len(), "expected {expected:?}, found {found:#?}");
}

#[test]
fn the_example_is_proved() {
    let proof = proof_of(EXAMPLE);
    let found: Vec<_> = proof.findings.iter().map(|f| (f.code, f.severity, f.message.en.as_str())).collect();
    assert!(
        matches!(found.as_slice(), [(Code::C09, Severity::Warning, _), (Code::C33, Severity::Warning, _)]),
        "{found:#?}"
    );
    assert!(found[0].2.starts_with("by rule `producteur-demande-plus` a sender can"), "{found:#?}");
    assert!(proof.table_cells > 1_000 && proof.flows > 1_000, "{proof:?}");
}

#[test]
fn a_warning_on_record_informs() {
    let ack = "[[acknowledge]]\ncode = \"C09\"\nsubject = \"producteur-demande-plus\"\nby = \"rssi\"\nbecause = \"retenu\"\nexpires = 2027-01-01\n";
    let severities = |ack: &str| -> Vec<Severity> {
        let findings = proof_of(&format!("{EXAMPLE}\n{ack}")).findings;
        findings.iter().filter(|finding| finding.code == Code::C09).map(|finding| finding.severity).collect()
    };
    assert_eq!(severities(ack), [Severity::Info]);
    assert_eq!(severities(&ack.replace("2027", "2026")), [Severity::Warning]);
}

#[test]
fn a_cloud_without_the_requirement_to_transform_breaks_an_invariant() {
    let copy = "to = \"cloud-confiance\"\nmax_level = \"internal\"\npurpose = \"Optimisation des tournées\"";
    check("must = { transformed = true }", "must = { country_in = \"EEA\" }", &[]);
    let open = EXAMPLE.replace("must = { transformed = true }", "must = { country_in = \"EEA\" }");
    let open = open.replace(copy, &copy.replace("internal", "sensitive"));
    let findings = proof_of(&open).findings;
    let ids: Vec<_> =
        findings.iter().filter(|f| f.code == Code::C10).map(|f| f.message.en.as_str()).collect();
    assert_eq!(ids.len(), 2, "{findings:#?}");
    assert!(ids[0].contains("`G4`") || ids[1].contains("`G4`"), "{ids:?}");
    let witness = findings
        .iter()
        .find_map(|f| {
            f.witness.as_ref().map(|w| w.text.en.as_str()).filter(|_| f.message.en.contains("`G4`"))
        })
        .unwrap();
    assert!(witness.contains("copy `dechets-vers-cloud`") && witness.contains("dechets-badge"), "{witness}");
}

#[test]
fn a_label_without_a_place_is_found_with_its_message() {
    check(
        "level = \"sensitive\"\nmarkings = [\"essential_service\", \"secret_security\"]",
        "level = \"restricted\"\nmarkings = [\"essential_service\", \"secret_security\"]",
        &[(Code::C09, Severity::Error, "`scada-56`")],
    );
}

#[test]
fn premises_that_may_not_hold_restricted_data_are_no_quarantine() {
    check(
        "quarantine_target = \"dc-bretagne\"",
        "quarantine_target = \"dc-rennes\"",
        &[(Code::C24, Severity::Error, "E3-restreint")],
    );
}

#[test]
fn a_test_that_fails_is_found_where_it_stands() {
    let text = EXAMPLE.replace("expect = { outcome = \"refused\" }", "expect = { outcome = \"routed\" }");
    let mut findings = proof_of(&text).findings;
    findings.retain(|finding| finding.severity == Severity::Error);
    assert_eq!(findings.len(), 1, "{findings:#?}");
    assert_eq!(findings[0].code, Code::C34);
    assert!(
        findings[0].location.line > 400 && findings[0].why.en.contains("came `refused`"),
        "{findings:#?}"
    );
}

/// Every level and marking at every target, each said never to be: those that can be are found, and
/// what is said of them is true.
#[test]
fn a_counterexample_is_a_message_that_takes_its_way_or_says_that_none_does() {
    let mut text = EXAMPLE.replace("must = { transformed = true }", "must = { country_in = \"EEA\" }");
    text = text.replace("max_level = \"internal\"\npurpose", "max_level = \"sensitive\"\npurpose");
    let targets = ["dc-rennes", "dc-morbihan", "dc-bretagne", "cloud-confiance"];
    let levels = Level::ALL.map(|level| format!("min_level = \"{level}\""));
    let markings = Marking::ALL.iter().map(|marking| format!("marking = \"{marking}\""));
    for what in levels.into_iter().chain(markings) {
        for (n, via) in ["primary", "copy"].into_iter().enumerate() {
            for target in targets {
                let id = format!("X{n}-{target}-{}", what.replace([' ', '=', '"'], ""));
                text += &format!(
                    "\n[[invariant]]\nid = \"{id}\"\nnever = {{ {what}, target = \"{target}\", via = \"{via}\" }}\n"
                );
            }
        }
    }
    let parsed = parse(&[SourceFile { name: "p.toml".to_owned(), text }]);
    assert_eq!(parsed.findings, []);
    let policy = Policy::compile(&parsed.document, [0; 32]).unwrap();
    let proof = prove(&policy, &parsed.document);
    let (mut messages, mut labels) = (0, 0);
    for finding in proof.findings.iter().filter(|finding| finding.code == Code::C10) {
        let witness = finding.witness.as_ref().unwrap();
        let said = &witness.text.en;
        let Some(given) = &witness.given else {
            labels += 1;
            assert!(said.contains("no rule of today") || said.contains("no message was found"), "{said}");
            continue;
        };
        messages += 1;
        let decision = policy.decide_given(given, parsed.document.policy.valid_from).unwrap();
        let reached = decision
            .targets(&policy)
            .any(|target| finding.message.en.contains(&format!("may reach `{}`", policy.target_id(target))));
        assert!(reached && said.contains(&format!("{} →", decision.label)), "{finding:#?}\n{decision:#?}");
    }
    assert!(messages > 20 && labels > 20, "{messages} messages, {labels} labels");
}

#[test]
fn labels_too_many_to_try_are_answered_for_by_their_join() {
    let rules = |markings: &[&str]| -> String {
        let rule = |marking: &&str| {
            format!(
                "\n[[classify]]\nid = \"m-{}\"\nwhen = {{ source = \"lns-rennes\", domain = \"energy\", field_any = [\"{marking}\"] }}\nlevel = \"sensitive\"\nmarkings = [\"{marking}\"]\n",
                marking.replace('_', "-")
            )
        };
        markings.iter().map(rule).collect()
    };
    // Two spaces of energy cover Rennes; each refuses one of two markings, so that only both together have none.
    let refusing = |marking: &str, kind: &str| {
        format!(
            "\n[[requirement]]\nid = \"r-{marking}\"\nwhen = {{ marking = \"{marking}\", target_kind = [\"{kind}\"] }}\nmust = {{ operator = \"private\" }}\nbecause = \"b\"\nlegal_status = \"doctrine\"\n"
        )
    };
    let each = refusing("minor", "public_dc") + &refusing("archive", "local_room");
    let many = [
        "personal",
        "pseudonymised",
        "art9",
        "offence",
        "biometric",
        "location_trace",
        "video_derived",
        "secret_business",
        "secret_security",
        "secret_privacy",
    ];
    let found = |more: &[&str], requirements: &str| -> Vec<(Severity, String)> {
        let all = [&many[..], more].concat();
        let example = EXAMPLE.replacen("kind = \"public_dc\"", "kind = \"local_room\"", 1);
        let proof = proof_of(&format!("{example}{}{requirements}", rules(&all)));
        let placing = proof.findings.into_iter().filter(|finding| finding.code == Code::C09);
        let said = placing.map(|finding| (finding.severity, finding.message.en));
        said.filter(|(_, message)| !message.starts_with("by rule")).collect()
    };
    assert_eq!(found(&["minor", "archive"], ""), [], "the join of all has a place");
    assert_eq!(found(&["minor"], &each), []);
    let both = found(&["minor", "archive"], &each);
    assert!(
        matches!(both.as_slice(), [(Severity::Warning, said)] if said.contains("not all were tried")),
        "{both:?}"
    );
    // A rule behind the bound still counts by itself.
    let alone = found(&["health"], "");
    assert!(matches!(alone.as_slice(), [(Severity::Error, said)] if said.contains("health")), "{alone:?}");
}
