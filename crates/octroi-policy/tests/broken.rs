//! Broken policies: `broken/base.toml` is a policy without a fault, and each
//! other file says what is changed in it, which code must find it, and beside
//! it, in two languages, what an operator reads. Adding a case is adding a
//! file; `UPDATE_EXPECT=1` writes its texts, which are then to be read.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use expect_test::expect_file;
use octroi_policy::ast::Given;
use octroi_policy::{
    Code, Cog, Date, Decision, Finding, Label, Lang, Level, Marking, Outcome, Parsed, Policy, Reason,
    Severity, SourceFile, Text, hash, parse, prove, render_all, run_tests, structural,
};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// The fault, in a few words.
    what: String,
    /// What must find it.
    code: String,
    /// The codes of other errors that follow from it.
    #[serde(default)]
    also: Vec<String>,
    /// Why no message shows it, where findings of that code usually have one.
    no_message: Option<String>,
    #[serde(default)]
    edit: Vec<Edit>,
    /// At the end of the policy.
    #[serde(default)]
    add: String,
    #[serde(skip)]
    path: PathBuf,
}

/// A text that stands once in the base, and what stands there instead.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Edit {
    old: String,
    new: String,
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/broken")
}

fn base() -> String {
    fs::read_to_string(directory().join("base.toml")).unwrap()
}

fn cases() -> Vec<Case> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(directory()).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| {
        path.extension().is_some_and(|extension| extension == "toml") && !path.ends_with("base.toml")
    });
    paths.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let case: Case = toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Case { path, ..case }
    };
    paths.into_iter().map(read).collect()
}

impl Case {
    fn files(&self) -> [SourceFile; 1] {
        let mut text = base();
        for Edit { old, new } in &self.edit {
            assert_eq!(text.matches(old.as_str()).count(), 1, "{}: `{old}` stands once", self.path.display());
            text = text.replace(old.as_str(), new);
        }
        if !self.add.is_empty() {
            text = format!("{text}\n{}", self.add);
        }
        [SourceFile { name: "policy.toml".to_owned(), text }]
    }
}

/// Everything that is found, and the policy if it compiles: as `octroi policy check` does.
fn review(files: &[SourceFile]) -> (Vec<Finding>, Option<Policy>) {
    let Parsed { document, mut findings } = parse(files);
    findings.extend(structural(&document, Cog::vintage(document.policy.cog)));
    let policy = Policy::compile(&document, hash(files)).ok();
    if let Some(policy) = policy.as_ref().filter(|_| findings.iter().all(|f| f.severity != Severity::Error)) {
        findings.extend(prove(policy, &document).findings);
    }
    findings.sort_by(|a, b| (&a.location, a.code).cmp(&(&b.location, b.code)));
    (findings, policy)
}

#[test]
fn the_base_has_no_fault() {
    let files = [SourceFile { name: "policy.toml".to_owned(), text: base() }];
    let (mut findings, _) = review(&files);
    findings.retain(|finding| finding.severity == Severity::Error);
    assert!(findings.is_empty(), "{}", render_all(&findings, &files, Lang::En, false));
}

#[test]
fn each_broken_policy_says_what_is_wrong_in_both_languages() {
    let mut failures = Vec::new();
    for case in cases() {
        let files = case.files();
        let (mut found, _) = review(&files);
        let mut others: Vec<&str> =
            found.iter().filter(|f| f.severity == Severity::Error).map(|f| f.code.name()).collect();
        others.retain(|code| *code != case.code && !case.also.iter().any(|also| also == code));
        if !others.is_empty() {
            failures.push(format!("{} ({}): other errors, {others:?}", case.path.display(), case.what));
        }
        found.retain(|finding| finding.code.name() == case.code);
        if found.is_empty() {
            failures.push(format!("{} ({}): {} does not find it", case.path.display(), case.what, case.code));
            continue;
        }
        for lang in Lang::ALL {
            let golden = case.path.with_extension(format!("{}.txt", lang.tag()));
            expect_file![golden].assert_eq(&render_all(&found, &files, lang, false));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// C36 compares a candidate with the policy in force: one policy by itself cannot show it.
/// `check::cases::a_candidate_needs_a_higher_version_and_shows_what_it_changes` does.
const ELSEWHERE: [Code; 1] = [Code::C36];

/// Findings of these codes are shown by a message.
const SHOWN: &str =
    "C06 C07 C09 C10 C12 C13 C14 C15 C16 C17 C18 C19 C21 C23 C26 C27 C28 C29 C31 C32 C33 C34 C40";

#[test]
fn each_witness_shows_its_fault_when_it_is_replayed() {
    for case in cases() {
        let (findings, policy) = review(&case.files());
        let name = case.path.display();
        for finding in findings.iter().filter(|finding| finding.code.name() == case.code) {
            let witness = finding.witness.clone().unwrap_or_default();
            let Some(given) = &witness.given else {
                assert!(
                    !SHOWN.contains(finding.code.name()) || case.no_message.is_some(),
                    "{name}: {finding:#?}"
                );
                continue;
            };
            assert!(case.no_message.is_none(), "{name}: {:?}, yet {given:?}", case.no_message);
            let Some(policy) = &policy else {
                // A key in the file is no reference: such a policy decides nothing until it is mended.
                assert_eq!(finding.code, Code::C20, "{name} does not compile");
                continue;
            };
            let received = witness.at.map_or(policy.document().policy.valid_from, |at| at.start());
            let decision = policy.decide_given(given, received).unwrap();
            let shown = match (finding.code, witness.at) {
                (Code::C21 | Code::C23, Some(day)) => holds_back(policy, given, day),
                _ => shows(finding, policy, &decision),
            };
            assert!(shown, "{name}: {finding:#?}\n{decision:#?}");
            let explanation = policy.explain_given(given, received).unwrap();
            assert_eq!(explanation.outcome, decision.outcome.name(), "{name}");
            let source =
                [SourceFile { name: "w".to_owned(), text: tested(&case, &witness.as_test().unwrap()) }];
            assert_eq!(parse(&source).findings, [], "{name}: what is to be replayed is a test's `given`");
        }
    }
}

/// The base with one more test, of that witness.
fn tested(case: &Case, given: &str) -> String {
    let what = &case.path.file_stem().unwrap().to_str().unwrap();
    let lines = given.replace(", at = ", "\nat = ");
    format!("{}\n[[test]]\nname = \"{what}\"\n{lines}\nexpect = {{}}\n", base())
}

/// Whether a decision is what the finding says must not be.
fn shows(finding: &Finding, policy: &Policy, decision: &Decision<'_>) -> bool {
    let names = quoted(&finding.message.en);
    let space = |ix: usize| policy.spaces().get(ix).map(|space| space.id.as_str());
    match (finding.code.name(), &decision.outcome) {
        // Neither of the two that fit.
        ("C06", Outcome::Routed { space: ix, .. }) => {
            space(ix.index()).is_some_and(|id| !names.contains(&id))
        }
        ("C06" | "C07" | "C09", Outcome::Held { space, .. }) => space.is_none(),
        ("C07", outcome) => *outcome == Outcome::Quarantined(Reason::OutsidePerimeter),
        ("C10", Outcome::Routed { .. }) => decision.targets(policy).any(|target| {
            policy.targets().get(target.index()).is_some_and(|target| names.contains(&target.id.as_str()))
        }),
        ("C14", _) => {
            let label = decision.label;
            decision.is_labelled() && label.markings.iter().any(|marking| marking.least_level() > label.level)
        }
        ("C27", outcome) => *outcome == Outcome::Quarantined(Reason::NoRuleMatches),
        ("C28", _) => decision.is_labelled() && decision.label.level == Level::Open,
        ("C34", _) => run_tests(policy, policy.document())
            .iter()
            .any(|test| !test.passed && names.contains(&test.name.as_str())),
        ("C12" | "C13" | "C18" | "C19", _) => is_about_a_person(decision),
        // Without the rule that the word takes away, another gives less, or none matches.
        ("C29", outcome) => decision.is_labelled() || *outcome == Outcome::Quarantined(Reason::NoRuleMatches),
        ("C31", outcome) => *outcome != Outcome::Refused(Reason::TopicNotAllowed),
        ("C32", _) => decision.is_labelled() && decision.label.level == Level::Open,
        ("C33", Outcome::Routed { space: ix, .. }) => {
            is_about_a_person(decision)
                && decision.label.level < Level::Sensitive
                && space(ix.index()).is_some_and(|id| names.contains(&id))
        }
        ("C40", _) => decision.is_labelled() && decision.label.markings.contains(Marking::Health),
        ("C15" | "C16" | "C17" | "C23" | "C26", _) => decision.is_labelled(),
        ("C06" | "C09" | "C10" | "C21" | "C33", _) => false,
        // Another check's witness is at least a message that the hub takes.
        (_, outcome) => !matches!(outcome, Outcome::Refused(_)),
    }
}

/// Whether less is sent of that message on that day than on the day before.
fn holds_back(policy: &Policy, given: &Given, day: Date) -> bool {
    let sent = |day: Date| policy.decide_given(given, day.start()).unwrap().targets(policy).count();
    sent(Date(day.0 - 1)) > sent(day)
}

fn is_about_a_person(decision: &Decision<'_>) -> bool {
    let Label { level, markings } = decision.label;
    let of_a_person =
        |marking: Marking| marking != Marking::Command && marking.least_level() >= Level::Personal;
    decision.is_labelled() && (level == Level::Personal || markings.iter().any(of_a_person))
}

/// What stands in backticks.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

fn is_in_both_languages(text: &Text, place: &str) {
    let Text { en, fr } = text;
    assert!(!en.is_empty() && !fr.is_empty() && en != fr, "{place}: {text:?}");
    let (mut english, mut french) = (quoted(en), quoted(fr));
    english.sort_unstable();
    french.sort_unstable();
    assert_eq!(english, french, "{place}: {text:?}");
}

#[test]
fn every_text_is_in_both_languages_and_names_the_same_things() {
    for code in Code::ALL {
        is_in_both_languages(&code.meaning(), code.name());
    }
    for case in cases() {
        let (findings, _) = review(&case.files());
        for finding in findings {
            let place = format!("{}, {}", case.path.display(), finding.code);
            is_in_both_languages(&finding.message, &place);
            is_in_both_languages(&finding.why, &place);
            is_in_both_languages(&finding.fix, &place);
            finding.witness.iter().for_each(|witness| is_in_both_languages(&witness.text, &place));
        }
    }
}

#[test]
fn every_code_has_a_broken_policy() {
    let mut count: BTreeMap<String, u32> = BTreeMap::new();
    cases().into_iter().for_each(|case| *count.entry(case.code).or_default() += 1);
    let codes = Code::ALL.iter().filter(|code| !ELSEWHERE.contains(code)).map(|code| code.name());
    let missing: Vec<&str> = codes.filter(|code| !count.contains_key(*code)).collect();
    assert!(missing.is_empty(), "no broken policy for {missing:?}; there are {count:?}");
    let total: u32 = count.values().sum();
    writeln!(io::stderr(), "{total} broken policies for {} codes", count.len()).unwrap();
    assert!(total >= 90, "{total}");
}
