//! Carries out what the admin server is asked for, one command at a time: the
//! only place where a running hub's policy changes.

mod outlets;
mod side_logs;

use std::path::Path;
use std::sync::Arc;

use axum::http::StatusCode;
use octroi_policy::{Severity, SourceFile, SourceIx};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::{Parts, boot};
use crate::admin::{AdminCommand, Problem};
use crate::fail_point;
use crate::limits;
use crate::policies::{self, ActivateError, Active};
use crate::record::{Message, RecordKind, Refusal, StoredOutcome};

/// Serves commands until the hub has ended.
pub(super) async fn run(
    parts: Arc<Parts>,
    mut commands: mpsc::Receiver<AdminCommand>,
    mut ended: watch::Receiver<bool>,
) {
    // The keeper does errands in their turn, few at a time: nobody else's command waits for them.
    let mut errands = JoinSet::new();
    loop {
        let command = tokio::select! {
            command = commands.recv() => command,
            Some(_) = errands.join_next(), if !errands.is_empty() => continue,
            _ = ended.wait_for(|ended| *ended) => None,
        };
        let Some(command) = command else { return };
        let parts = Arc::clone(&parts);
        if let AdminCommand::Errand { errand, reply } = command {
            errands.spawn(async move { drop(reply.send(side_logs::errand(&parts, errand).await)) });
            continue;
        }
        // Files are read and proofs run: not on the tasks that move messages. One at a time all the same.
        let done = tokio::task::spawn_blocking(move || carry_out(&parts, command)).await;
        if let Err(error) = done {
            tracing::error!(%error, "an administrator's command failed");
        }
    }
}

fn carry_out(parts: &Parts, command: AdminCommand) {
    let (reply, answer) = match command {
        AdminCommand::Activate { path, dry_run, reply } => (reply, activate(parts, path.as_deref(), dry_run)),
        AdminCommand::Rollback { version, dry_run, reply } => {
            (reply, rollback(parts, version.as_deref(), dry_run))
        }
        AdminCommand::Versions { reply } => (reply, versions(parts)),
        AdminCommand::Kept { log, limit, reply } => {
            (reply, serde_json::to_value(parts.state.newest(log, limit)).map_err(|error| failed(&error)))
        }
        AdminCommand::Show { log, id, payload_because, reply } => {
            (reply, side_logs::show(parts, log, &id, payload_because.as_deref()))
        }
        // Served where commands are taken.
        AdminCommand::Errand { reply, .. } => {
            (reply, Err(failed(&"the command was not handed to the keeper")))
        }
        AdminCommand::Outlets { reply } => (reply, outlets::list(parts)),
        AdminCommand::Outlet { errand, reply } => (reply, outlets::errand(parts, &errand)),
        AdminCommand::Explain { id, reply } => (reply, explain(parts, &id)),
    };
    // Whoever asked may have gone.
    reply.send(answer).ok();
}

fn failed(error: &dyn std::fmt::Display) -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

fn unprocessable(detail: String) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
}

fn not_found(detail: String) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, detail)
}

fn activate(parts: &Parts, path: Option<&Path>, dry_run: bool) -> Result<Value, Problem> {
    let path = path.unwrap_or(&parts.config.policy);
    let files = policies::read_policy(path)
        .map_err(|error| unprocessable(format!("{:#}", anyhow::Error::from(error))))?;
    put_in_force(parts, &files, dry_run, true)
}

fn rollback(parts: &Parts, version: Option<&str>, dry_run: bool) -> Result<Value, Problem> {
    let history = parts.policies.store().history().map_err(|error| failed(&error))?;
    let current = parts.policies.current().policy.hash().full();
    let wanted = history.iter().rev().find(|activation| {
        activation.hash != current && version.is_none_or(|version| activation.version == version)
    });
    let Some(wanted) = wanted else {
        let which =
            version.map_or("no earlier policy".to_owned(), |version| format!("no version `{version}`"));
        return Err(unprocessable(format!("{which} was in force here: see `octroi policy list`")));
    };
    let files = parts.policies.store().files(&wanted.hash);
    let files =
        files.ok_or_else(|| unprocessable(format!("the files of {} are not readable", wanted.hash)))?;
    put_in_force(parts, &files, dry_run, false)
}

/// Check, tests, invariants, outlets, keys; then the swap. `follows`: its version must be above the one in force.
fn put_in_force(parts: &Parts, files: &[SourceFile], dry_run: bool, follows: bool) -> Result<Value, Problem> {
    let answer = try_put_in_force(parts, files, dry_run, follows);
    if let Err(error) = &answer {
        parts.metrics.policy_load_failed();
        tracing::warn!(%error, "a policy was refused; the one in force stays");
    }
    answer.map_err(|error| match &error {
        ActivateError::Refused { findings } => {
            let rendered = findings.iter().map(|finding| {
                json!({ "code": finding.code, "severity": finding.severity, "location": finding.location,
                    "message": finding.message.en, "rendered": octroi_policy::render(finding, files, octroi_policy::Lang::En, false) })
            });
            Problem::with_findings(error.to_string(), rendered.collect())
        }
        ActivateError::NoOutlet { .. } | ActivateError::NoKey(_) => unprocessable(error.to_string()),
        ActivateError::Journal | ActivateError::Store(_) => {
            failed(&format!("{:#}", anyhow::Error::from(error)))
        }
    })
}

fn try_put_in_force(
    parts: &Parts,
    files: &[SourceFile],
    dry_run: bool,
    follows: bool,
) -> Result<Value, ActivateError> {
    let review = policies::review(files);
    let mut findings = review.refusals();
    if let Some(candidate) = review.policy.as_ref().filter(|_| follows) {
        let today = parts.policy_clock.now().date();
        let against = octroi_policy::against(&parts.policies.current().policy, candidate, today);
        findings.extend(against.into_iter().filter(|finding| finding.severity == Severity::Error));
    }
    let policy = match review.policy {
        Some(policy) if findings.is_empty() => policy,
        _ => return Err(ActivateError::Refused { findings }),
    };
    let targets: Vec<String> = policy.targets().iter().map(|target| target.id.clone()).collect();
    if let Some(target) = targets.iter().find(|target| !parts.config.outlets.contains_key(*target)) {
        return Err(ActivateError::NoOutlet { target: target.clone() });
    }
    parts.keys.check(&review.document).map_err(ActivateError::NoKey)?;
    let answer = json!({
        "id": policy.id(), "version": policy.version(), "title": policy.title(),
        "hash": policy.hash().full(), "tests": review.tests.len(), "dry_run": dry_run,
    });
    if dry_run {
        return Ok(answer);
    }
    let bits = boot::register(&parts.inbox, &policy)?;
    fail_point::reached("policy.bits_are_registered");
    let tests = review.tests.len() as u64;
    let active = Active::new(policy, tests, parts.policy_clock.now(), bits, &parts.metrics);
    let (id, version) = (active.policy.id().to_owned(), active.policy.version().to_owned());
    boot::note_epoch(&parts.inbox, &active)?;
    fail_point::reached("policy.epoch_is_on_record");
    parts.policies.put_in_force(active, files)?;
    parts.watermark.nudge();
    tracing::info!(id, version, "a policy is in force");
    Ok(answer)
}

fn versions(parts: &Parts) -> Result<Value, Problem> {
    let history = parts.policies.store().history().map_err(|error| failed(&error))?;
    let last = history.len();
    let versions = history.iter().enumerate().map(|(n, activation)| {
        json!({ "at": activation.at, "id": activation.id, "version": activation.version, "title": activation.title,
            "hash": activation.hash, "in_force": n + 1 == last })
    });
    Ok(versions.collect())
}

/// Explains a message on record by the policy that decided it, from the inputs that were recorded.
fn explain(parts: &Parts, id: &str) -> Result<Value, Problem> {
    let no_id = || unprocessable(format!("`{id}` is no `hub/generation/sequence` of this hub"));
    let origin = format!("{}/{:016x}/", parts.config.hub, parts.generation);
    let seq: u64 =
        id.strip_prefix(&origin).and_then(|seq| seq.split('/').next()?.parse().ok()).ok_or_else(no_id)?;
    let mut batch = octroi_journal::Batch::default();
    parts.reader.at(seq).next(None, limits::RELAY_READ_BYTES, &mut batch).map_err(|error| failed(&error))?;
    let entry = batch.iter().find(|entry| entry.seq == seq).ok_or_else(|| {
        not_found(format!("`{id}` is not in the journal any more (delivered and trimmed), or not yet"))
    })?;
    match RecordKind::from_number(entry.kind) {
        Some(RecordKind::Message) => explain_message(parts, id, entry.bytes),
        Some(RecordKind::Refusal) => {
            let refusal = Refusal::read(entry.bytes).map_err(|error| failed(&error))?;
            Ok(json!({ "id": id, "outcome": "refused", "reason": refusal.reason.name(),
                "received": refusal.received.to_string(), "identity": refusal.identity, "topic": refusal.topic,
                "words": {
                    "en": format!("Refused: {}. The payload was not kept.", refusal.reason.name()),
                    "fr": format!("Refusé : {}. Le contenu n'a pas été gardé.", refusal.reason.name()),
                } }))
        }
        _ => Err(not_found(format!("`{id}` is a note of the hub's own, not a message"))),
    }
}

fn explain_message(parts: &Parts, id: &str, bytes: &[u8]) -> Result<Value, Problem> {
    let message = Message::read(bytes).map_err(|error| failed(&error))?;
    let policy = parts.policies.version(message.policy);
    let policy =
        policy.ok_or_else(|| not_found("the policy that decided it is not stored any more".into()))?;
    let source = match message.identity.strip_prefix("id:") {
        Some(source) => {
            policy.sources().iter().position(|known| known.id == source).and_then(SourceIx::from_index)
        }
        None => policy.source(message.identity),
    };
    let outcome = match &message.outcome {
        StoredOutcome::Routed { .. } => "routed",
        StoredOutcome::Quarantined(_) => "quarantined",
        StoredOutcome::Held(..) => "held",
    };
    let Some(source) = source else {
        return Ok(
            json!({ "id": id, "outcome": outcome, "reason": "unknown_source", "identity": message.identity }),
        );
    };
    let explanation = policy.explain(&message.input(source, message.decided()));
    let words = json!({
        "en": explanation.in_words(octroi_policy::Lang::En),
        "fr": explanation.in_words(octroi_policy::Lang::Fr),
    });
    let mut value = serde_json::to_value(&explanation).map_err(|error| failed(&error))?;
    if let Some(object) = value.as_object_mut() {
        object.insert("id".into(), id.into());
        object.insert("recorded_outcome".into(), outcome.into());
        object.insert("words".into(), words);
    }
    Ok(value)
}
