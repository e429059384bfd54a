//! Reading a policy from disk and everything that must be true before it may
//! act: parse, structural checks, compile, proofs, its own tests.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use octroi_policy::{Code, Cog, Date, Finding, Policy, Proof, Severity, SourceFile, TestResult, ast};

use super::ReadPolicyError;
use crate::limits;

/// What a review found.
#[derive(Debug)]
pub struct Review {
    /// The policy as written.
    pub document: ast::Document,
    /// Every finding, in the order of the files.
    pub findings: Vec<Finding>,
    /// Its own tests.
    pub tests: Vec<TestResult>,
    /// The proofs' size.
    pub proof: Option<Proof>,
    /// The compiled policy, if it could be compiled.
    pub policy: Option<Policy>,
}

impl Review {
    /// The findings that refuse the policy.
    #[must_use]
    pub fn refusals(&self) -> Vec<Finding> {
        self.findings.iter().filter(|finding| finding.severity == Severity::Error).cloned().collect()
    }
}

/// With one of these the text is not understood, or too much to prove; any other error leaves a policy to compile.
const NOT_UNDERSTOOD: [Code; 5] = [Code::C01, Code::C02, Code::C03, Code::C05, Code::C39];

/// Checks a policy as on the day it becomes valid: everything that can be found in one run.
#[must_use]
pub fn review(files: &[SourceFile]) -> Review {
    review_at(files, None)
}

/// [`review`] on another day: what will have expired by then has.
#[must_use]
pub fn review_at(files: &[SourceFile], day: Option<Date>) -> Review {
    let parsed = octroi_policy::parse(files);
    let day = day.unwrap_or_else(|| parsed.document.policy.valid_from.date());
    let mut review = Review {
        document: parsed.document,
        findings: parsed.findings,
        tests: Vec::new(),
        proof: None,
        policy: None,
    };
    let cog = Cog::vintage(review.document.policy.cog);
    review.findings.extend(octroi_policy::structural_at(&review.document, cog, day));
    if !review.refusals().iter().any(|finding| NOT_UNDERSTOOD.contains(&finding.code)) {
        match Policy::compile(&review.document, octroi_policy::hash(files)) {
            Ok(policy) => {
                let mut proof = octroi_policy::prove_at(&policy, &review.document, day);
                review.findings.append(&mut proof.findings);
                review.tests = octroi_policy::run_tests(&policy, &review.document);
                review.proof = Some(proof);
                review.policy = Some(policy);
            }
            Err(findings) => review.findings.extend(findings),
        }
    }
    review.findings.sort_by(|a, b| (&a.location, a.code).cmp(&(&b.location, b.code)));
    review
}

/// Compiles a policy whatever checks and proofs say of it: to explain, not to act.
///
/// # Errors
/// What keeps it from being read whole or compiled.
pub fn compiled(files: &[SourceFile]) -> Result<Policy, Vec<Finding>> {
    let parsed = octroi_policy::parse(files);
    if parsed.findings.iter().any(|finding| finding.severity == Severity::Error) {
        return Err(parsed.findings);
    }
    Policy::compile(&parsed.document, octroi_policy::hash(files))
}

/// Compiles a version that was accepted before; nothing is proved again.
pub(super) fn compile(files: &[SourceFile]) -> Option<Policy> {
    let parsed = octroi_policy::parse(files);
    Policy::compile(&parsed.document, octroi_policy::hash(files)).ok()
}

/// Reads a policy: one file, or every `*.toml` of a directory, with what they include.
///
/// # Errors
/// See [`ReadPolicyError`].
pub fn read_policy(path: &Path) -> Result<Vec<SourceFile>, ReadPolicyError> {
    let mut reading = Reading { files: Vec::new(), seen: BTreeSet::new(), bytes: 0 };
    let base = if path.is_dir() { path } else { path.parent().unwrap_or(Path::new("")) };
    reading.place(path, base)?;
    Ok(reading.files)
}

struct Reading {
    files: Vec<SourceFile>,
    seen: BTreeSet<PathBuf>,
    bytes: u64,
}

impl Reading {
    fn place(&mut self, path: &Path, base: &Path) -> Result<(), ReadPolicyError> {
        for file in toml_files(path)? {
            let real = fs::canonicalize(&file).map_err(|error| ReadPolicyError::read(&file, error))?;
            if !self.seen.insert(real) {
                continue;
            }
            let text = fs::read_to_string(&file).map_err(|error| ReadPolicyError::read(&file, error))?;
            self.bytes += text.len() as u64;
            if self.bytes > limits::POLICY_BYTES || self.files.len() >= limits::POLICY_FILES {
                return Err(ReadPolicyError::TooLarge { path: path.to_path_buf() });
            }
            let name =
                file.strip_prefix(base).ok().filter(|name| !name.as_os_str().is_empty()).unwrap_or(&file);
            let source = SourceFile { name: name.display().to_string(), text };
            let includes = octroi_policy::includes(&source);
            self.files.push(source);
            for include in includes {
                if Path::new(&include).is_absolute() {
                    let reason = "must be a relative path";
                    return Err(ReadPolicyError::Include { path: file, include, reason });
                }
                self.place(&file.parent().unwrap_or(Path::new("")).join(&include), base)?;
            }
        }
        Ok(())
    }
}

/// The files of a policy's own: the file, or every `*.toml` of the directory, in order.
///
/// # Errors
/// See [`ReadPolicyError`].
pub fn toml_files(path: &Path) -> Result<Vec<PathBuf>, ReadPolicyError> {
    if !path.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let entries = fs::read_dir(path).map_err(|error| ReadPolicyError::read(path, error))?;
    let mut files = Vec::new();
    for entry in entries {
        let file = entry.map_err(|error| ReadPolicyError::read(path, error))?.path();
        if file.extension().is_some_and(|extension| extension == "toml") {
            files.push(file);
        }
    }
    if files.is_empty() {
        return Err(ReadPolicyError::Empty { path: path.to_path_buf() });
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_read_in_order_and_includes_once() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("p")).unwrap();
        fs::create_dir(dir.path().join("common")).unwrap();
        let head = "schema = \"octroi-policy/1\"\n";
        fs::write(dir.path().join("p/b.toml"), format!("{head}include = [\"../common\"]\n")).unwrap();
        fs::write(dir.path().join("p/a.toml"), head).unwrap();
        fs::write(dir.path().join("p/readme.md"), "no policy").unwrap();
        // It includes the policy that includes it: read once, no circle.
        fs::write(dir.path().join("common/r.toml"), format!("{head}include = [\"../p\"]\n")).unwrap();
        let files = read_policy(&dir.path().join("p")).unwrap();
        let names: Vec<_> =
            files.iter().map(|file| file.name.rsplit('/').next().unwrap().to_owned()).collect();
        assert_eq!(names, ["a.toml", "b.toml", "r.toml"]);
        assert!(matches!(read_policy(dir.path()), Err(ReadPolicyError::Empty { .. })));
        assert!(matches!(read_policy(&dir.path().join("none")), Err(ReadPolicyError::Read { .. })));
    }
}
