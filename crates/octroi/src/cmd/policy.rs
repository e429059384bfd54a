//! `octroi policy check|test|schema|activate|list|rollback`

use std::path::Path;

use octroi_policy::{Date, Policy, Severity, SourceFile};
use serde_json::{Value, json};

use super::client::{Hub, Refused};
use super::{Context, print_json};
use crate::cli::{HubArg, PolicyCommand};
use crate::exit::{Exit, Failure, OrExit};
use crate::policies::{self, Review};

pub(super) fn run(command: PolicyCommand, context: &Context) -> Result<Exit, Failure> {
    match command {
        PolicyCommand::Check { path, date, against } => {
            check(&path, date.as_deref(), against.as_deref(), context)
        }
        PolicyCommand::Test { path } => test(&path, context),
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

fn check(
    path: &Path,
    date: Option<&str>,
    against: Option<&Path>,
    context: &Context,
) -> Result<Exit, Failure> {
    let unread = || Failure::new(Exit::Usage, anyhow::anyhow!("write the date as `2027-07-01`"));
    let day = date.map(|text| Date::parse(text).ok_or_else(unread)).transpose()?;
    let (files, mut review) = read(path, day)?;
    if let Some(active) = against {
        let active = compiled(active)?;
        if let Some(candidate) = &review.policy {
            let day = day.unwrap_or_else(|| candidate.document().policy.valid_from.date());
            review.findings.extend(octroi_policy::against(&active, candidate, day));
        }
    }
    if context.json {
        print_json(&review.findings)?;
    } else {
        for finding in &review.findings {
            println!("{}\n", octroi_policy::render(finding, &files, context.lang, context.color));
        }
        let count = |severity| review.findings.iter().filter(|finding| finding.severity == severity).count();
        println!(
            "{}: {} error(s), {} warning(s), {} note(s)",
            path.display(),
            count(Severity::Error),
            count(Severity::Warning),
            count(Severity::Info)
        );
        if let Some(proof) = &review.proof {
            println!(
                "proved: {} table cells (label × target), {} flows (label → transform → target), {} invariant(s)",
                proof.table_cells,
                proof.flows,
                review.document.invariant.len()
            );
        }
    }
    Ok(if review.refusals().is_empty() { Exit::Ok } else { Exit::Finding })
}

/// The policy there, whatever a check would say of it: it may be in force.
fn compiled(path: &Path) -> Result<Policy, Failure> {
    let (_, review) = read(path, None)?;
    review.policy.ok_or_else(|| {
        let reason =
            format!("the policy at `{}` cannot be compiled: see `octroi policy check`", path.display());
        Failure::new(Exit::Config, anyhow::anyhow!("{reason}"))
    })
}

fn test(path: &Path, context: &Context) -> Result<Exit, Failure> {
    let (files, review) = read(path, None)?;
    if review.policy.is_none() {
        for finding in review.refusals() {
            println!("{}\n", octroi_policy::render(&finding, &files, context.lang, context.color));
        }
        println!("{}: the policy cannot be compiled; no test was run", path.display());
        return Ok(Exit::Finding);
    }
    let failed = review.tests.iter().filter(|test| !test.passed).count();
    if context.json {
        print_json(&review.tests)?;
    } else {
        for test in &review.tests {
            let mark = if test.passed { "ok    " } else { "FAILED" };
            println!("{mark} {}", test.name);
            if !test.passed {
                println!("       {} {}", test.location, test.why.replace('\n', "\n       "));
            }
        }
        println!("{}: {} passed, {failed} failed", path.display(), review.tests.len() - failed);
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
