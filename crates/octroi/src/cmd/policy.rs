//! `octroi policy check|test|mutants|coverage|fmt|prove|diff|simulate|schema|activate|list|rollback`

/// One sentence in the language of the reader: English, then French.
macro_rules! say {
    ($lang:expr, $en:literal, $fr:literal) => {
        match $lang {
            $crate::words::Lang::En => format!($en),
            $crate::words::Lang::Fr => format!($fr),
        }
    };
}

mod coverage;
mod diff;
mod fmt;
mod mutants;
mod prove;
mod simulate;
mod words;

use std::path::Path;

use octroi_policy::{Date, Finding, Policy, QuestionError, SourceFile, TestResult};
use serde_json::{Value, json};

use super::client::{Hub, Refused};
use super::{Context, print_json};
use crate::cli::{HubArg, PolicyCommand};
use crate::exit::{Exit, Failure, OrExit};
use crate::policies::{self, Review};
use crate::words::Lang;

pub(super) fn run(command: PolicyCommand, context: &Context) -> Result<Exit, Failure> {
    match command {
        PolicyCommand::Check { path, date, against } => {
            check(&path, date.as_deref(), against.as_deref(), context)
        }
        PolicyCommand::Test { path } => test(&path, context),
        PolicyCommand::Mutants { path } => mutants::run(&path, context),
        PolicyCommand::Coverage { path } => coverage::run(&path, context),
        PolicyCommand::Fmt { path, check } => fmt::run(&path, check, context),
        PolicyCommand::Prove(args) => prove::run(&args, context),
        PolicyCommand::Diff(args) => diff::run(&args, context),
        PolicyCommand::Simulate(args) => simulate::run(&args, context),
        PolicyCommand::Schema => print_json(&octroi_policy::json_schema()).map(|()| Exit::Ok),
        PolicyCommand::Activate { path, hub, dry_run } => activate(path.as_deref(), &hub, dry_run, context),
        PolicyCommand::List(hub) => list(&hub, context),
        PolicyCommand::Rollback { version, hub, dry_run } => {
            let body = json!({ "version": version, "dry_run": dry_run });
            answered(Hub::find(&hub, context)?.post("/api/v1/policy/rollback", &body), dry_run, context)
        }
    }
}

fn read(path: &Path, day: Option<Date>) -> Result<(Vec<SourceFile>, Review), Failure> {
    let files = policies::read_policy(path).or_exit(Exit::Config)?;
    let review = policies::review_at(&files, day);
    Ok((files, review))
}

/// A policy that compiles, whatever else is found in it.
pub(super) fn compiled(path: &Path, context: &Context) -> Result<Policy, Failure> {
    let files = policies::read_policy(path).or_exit(Exit::Config)?;
    policies::compiled(&files).map_err(|findings| {
        let first = findings.first();
        let first = first.map(|finding| octroi_policy::render(finding, &files, context.lang, context.color));
        let (path, first) = (path.display(), first.unwrap_or_default());
        let reason = say!(
            context.lang,
            "the policy at `{path}` cannot be compiled:\n{first}",
            "la politique `{path}` ne se compile pas :\n{first}"
        );
        Failure::new(Exit::Config, anyhow::anyhow!("{reason}"))
    })
}

/// A question that is not understood is a wrong command line.
fn misasked(error: &QuestionError, context: &Context) -> Failure {
    Failure::new(Exit::Usage, anyhow::anyhow!("{}", error.0.of(context.lang)))
}

fn day(text: &str, context: &Context) -> Result<Date, Failure> {
    let usage = say!(
        context.lang,
        "`{text}` is no day: write the date as `2027-07-01`",
        "`{text}` n'est pas un jour : écrivez la date ainsi, `2027-07-01`"
    );
    Date::parse(text).ok_or_else(|| Failure::new(Exit::Usage, anyhow::anyhow!("{usage}")))
}

fn check(
    path: &Path,
    date: Option<&str>,
    against: Option<&Path>,
    context: &Context,
) -> Result<Exit, Failure> {
    let lang = context.lang;
    let day = date.map(|text| day(text, context)).transpose()?;
    let (files, mut review) = read(path, day)?;
    let day = day.unwrap_or_else(|| review.document.policy.valid_from.date());
    if let Some(proof) = &review.proof {
        review.findings.extend(octroi_policy::unmissed(&review.document, proof, day));
    }
    if let Some(active) = against {
        let active = compiled(active, context)?;
        if let Some(candidate) = &review.policy {
            review.findings.extend(octroi_policy::against(&active, candidate, day));
        }
    }
    if context.json {
        print_findings(&review.findings, context)?;
    } else {
        show_findings(&review.findings, &files, context);
        println!("{}: {}", path.display(), octroi_policy::counts(&review.findings, lang));
        if let Some(proof) = &review.proof {
            let (cells, flows, invariants) =
                (proof.table_cells, proof.flows, review.document.invariant.len());
            match lang {
                Lang::En => println!(
                    "proved: {cells} table cells (label × target), {flows} flows (label → transform → target), {invariants} invariant(s)"
                ),
                Lang::Fr => println!(
                    "prouvé : {cells} cases du tableau (étiquette × hébergement), {flows} flux (étiquette → transformation → hébergement), {invariants} garantie(s)"
                ),
            }
        }
    }
    Ok(if review.refusals().is_empty() { Exit::Ok } else { Exit::Finding })
}

fn show_findings(findings: &[Finding], files: &[SourceFile], context: &Context) {
    for finding in findings {
        println!("{}", octroi_policy::render(finding, files, context.lang, context.color));
    }
}

fn print_findings(findings: &[Finding], context: &Context) -> Result<(), Failure> {
    let plain: Vec<_> = findings.iter().map(|finding| finding.plain(context.lang)).collect();
    print_json(&plain)
}

fn test(path: &Path, context: &Context) -> Result<Exit, Failure> {
    let (files, review) = read(path, None)?;
    let lang = context.lang;
    if review.policy.is_none() {
        let refusals = review.refusals();
        if context.json {
            print_findings(&refusals, context)?;
        } else {
            show_findings(&refusals, &files, context);
            let verdict = match lang {
                Lang::En => "the policy has errors; no test was run",
                Lang::Fr => "la politique a des erreurs ; aucun essai n'a été fait",
            };
            println!("{}: {verdict}", path.display());
        }
        return Ok(Exit::Finding);
    }
    let failed = review.tests.iter().filter(|test| !test.passed).count();
    let passed = review.tests.len() - failed;
    if context.json {
        let plain = |test: &TestResult| {
            let TestResult { name, passed, why, location } = test;
            json!({ "name": name, "passed": passed, "why": why.of(lang), "location": location })
        };
        print_json(&review.tests.iter().map(plain).collect::<Vec<_>>())?;
    } else {
        let (good, bad) = match lang {
            Lang::En => ("ok    ", "FAILED"),
            Lang::Fr => ("réussi", "ÉCHEC "),
        };
        for test in &review.tests {
            println!("{} {}", if test.passed { good } else { bad }, test.name);
            if !test.passed {
                println!("       {} {}", test.location, test.why.of(lang));
            }
        }
        match lang {
            Lang::En => println!("{}: {passed} passed, {failed} failed", path.display()),
            Lang::Fr => println!("{}: {passed} réussi(s), {failed} en échec", path.display()),
        }
    }
    Ok(if failed == 0 { Exit::Ok } else { Exit::Finding })
}

fn activate(path: Option<&Path>, hub: &HubArg, dry_run: bool, context: &Context) -> Result<Exit, Failure> {
    // The hub reads it itself: it must see the same files as this command.
    let path = path.map(std::fs::canonicalize).transpose();
    let path = path
        .map_err(|error| anyhow::Error::from(error).context("the policy's path"))
        .or_exit(Exit::Config)?;
    let body = json!({ "path": path, "dry_run": dry_run });
    answered(Hub::find(hub, context)?.post("/api/v1/policy/activate", &body), dry_run, context)
}

/// Shows what the hub says of a change of policy; its findings where it refuses.
fn answered(answer: Result<Value, Failure>, dry_run: bool, context: &Context) -> Result<Exit, Failure> {
    let answer = match answer {
        Ok(answer) => answer,
        Err(failure) => {
            if let Some(refused) = failure.error.downcast_ref::<Refused>() {
                let findings = refused.problem.get("findings").and_then(Value::as_array);
                for finding in findings.into_iter().flatten() {
                    println!("{}\n", finding.get("rendered").and_then(Value::as_str).unwrap_or_default());
                }
            }
            return Err(failure);
        }
    };
    if context.json {
        print_json(&answer)?;
        return Ok(Exit::Ok);
    }
    let text = |key: &str| answer.get(key).and_then(Value::as_str).unwrap_or_default();
    let verb = if dry_run { "would be in force" } else { "is in force" };
    println!(
        "{} {} {verb} (hash {})",
        text("id"),
        text("version"),
        text("hash").get(..16).unwrap_or_default()
    );
    Ok(Exit::Ok)
}

fn list(hub: &HubArg, context: &Context) -> Result<Exit, Failure> {
    let answer = Hub::find(hub, context)?.get("/api/v1/policy/versions")?;
    if context.json {
        print_json(&answer)?;
        return Ok(Exit::Ok);
    }
    println!("{:<28} {:<24} {:<14} {:<16} STATE", "ACTIVATED", "POLICY", "VERSION", "HASH");
    for version in answer.as_array().into_iter().flatten() {
        let text = |key: &str| version.get(key).and_then(Value::as_str).unwrap_or_default();
        let state =
            if version.get("in_force").and_then(Value::as_bool) == Some(true) { "in force" } else { "" };
        let hash = text("hash").get(..16).unwrap_or_default();
        println!("{:<28} {:<24} {:<14} {hash:<16} {state}", text("at"), text("id"), text("version"));
    }
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests;
