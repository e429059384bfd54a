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
