//! The region's policy in a directory, one file a concern: the example's blocks
//! and no others, but for what `tests-protections.toml` adds so that every
//! protection has somebody who would miss it.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};

use octroi_policy::ast::{Block, Document};
use octroi_policy::{
    Cog, Date, Fate, Policy, Severity, SourceFile, format_file, mutants, parse, prove, structural,
};

/// What is added to the example.
const ADDED: &str = "tests-protections.toml";

fn policies() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies")
}

fn document(files: &[SourceFile]) -> Document {
    let parsed = parse(files);
    assert_eq!(parsed.findings, []);
    parsed.document
}

fn file(path: &Path) -> SourceFile {
    let name = path.file_name().unwrap().to_str().unwrap().to_owned();
    SourceFile { name, text: fs::read_to_string(path).unwrap() }
}

fn bretagne() -> Document {
    let entries = fs::read_dir(policies().join("bretagne")).expect("policies/bretagne");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    document(&paths.iter().map(|path| file(path)).collect::<Vec<_>>())
}

fn example() -> Document {
    document(&[file(&policies().join("bretagne-exemple.toml"))])
}

/// The blocks as written, places aside, without what is added.
fn written<T: Clone>(blocks: &[Block<T>]) -> Vec<T> {
    blocks.iter().filter(|block| block.at.file != ADDED).map(|block| block.value.clone()).collect()
}

#[test]
fn without_its_additions_it_has_the_blocks_of_the_example() {
    let (bretagne, example) = (bretagne(), example());
    assert_eq!(bretagne.policy.value, example.policy.value);
    assert_eq!(bretagne.defaults.value, example.defaults.value);
    macro_rules! same {
        ($($kind:ident)*) => { $(
            assert_eq!(written(&bretagne.$kind), written(&example.$kind), stringify!($kind));
        )* };
    }
    same!(acknowledge producer perimeter domain target space source processing classify requirement);
    same!(transform copy derogation invariant test);
}

#[test]
fn it_passes_every_check_proof_and_test() {
    let document = bretagne();
    let mut findings = structural(&document, Cog::vintage(document.policy.cog));
    let policy = Policy::compile(&document, [0; 32]).unwrap();
    findings.extend(prove(&policy, &document).findings);
    findings.retain(|finding| finding.severity == Severity::Error);
    assert_eq!(findings, []);
    assert!(document.test.len() > example().test.len());
}

#[test]
fn nobody_could_take_away_one_of_its_protections_unseen() {
    let document = bretagne();
    let found = mutants(&document, Date::parse("2026-11-20").unwrap()).unwrap();
    let unseen: Vec<_> = found.iter().filter(|mutant| mutant.fate == Fate::Survived).collect();
    assert!(unseen.is_empty(), "{unseen:#?}");
    let accepted = found.iter().filter(|mutant| matches!(mutant.fate, Fate::Accepted { .. })).count();
    let on_record = document.acknowledge.iter().filter(|block| block.code == "C34").count();
    assert_eq!(accepted, on_record, "an acknowledgement of what is noticed anyway");
    assert!(found.len() >= 90 && accepted <= 6, "{} {accepted}", found.len());
}

#[test]
fn every_policy_of_the_repository_is_written_in_the_one_form() {
    let mut checked = 0;
    let mut directories = vec![policies()];
    while let Some(directory) = directories.pop() {
        for path in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "toml") {
                let file = file(&path);
                let form = format_file(&file).unwrap();
                assert!(form == file.text, "octroi policy fmt {}", path.display());
                checked += 1;
            }
        }
    }
    assert!(checked >= 13, "{checked}");
}
