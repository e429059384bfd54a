//! `octroi quarantine list|show|release|purge`

use serde_json::{Map, Value, json};

use super::client::{Hub, encoded};
use super::{Context, print_json};
use crate::cli::{KeptArgs, QuarantineCommand};
use crate::exit::{Exit, Failure};
use crate::words::Lang;

pub(super) fn run(command: &QuarantineCommand, context: &Context) -> Result<Exit, Failure> {
    match command {
        QuarantineCommand::List { hub, limit, held } => {
            let log = log_of(*held);
            let answer =
                Hub::find(hub, context)?.get(&format!("/api/v1/quarantine?limit={limit}&log={log}"))?;
            list(&answer, context)
        }
        QuarantineCommand::Show { id, hub, held, payload, because } => {
            let mut path = format!("/api/v1/quarantine/show?id={}&log={}", encoded(id), log_of(*held));
            if let Some(because) = because.as_ref().filter(|_| *payload) {
                path += &format!("&payload_because={}", encoded(because));
            }
            show(&Hub::find(hub, context)?.get(&path)?, context)
        }
        QuarantineCommand::Release(args) => decide("release", args, context),
        QuarantineCommand::Purge(args) => {
            if args.because.is_none() {
                let error = anyhow::anyhow!("a purge loses messages for good: say why with `--because`");
                return Err(Failure::new(Exit::Usage, error));
            }
            decide("purge", args, context)
        }
    }
}

const fn log_of(held: bool) -> &'static str {
    if held { "hold" } else { "quarantine" }
}

/// A value as a person reads it.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), Into::into)
}

fn list(answer: &Value, context: &Context) -> Result<Exit, Failure> {
    if context.json {
        print_json(answer)?;
        return Ok(Exit::Ok);
    }
    println!(
        "{:<24} {:<28} {:<20} {:<20} {:<16} {:>8}  TOPIC",
        "ID", "RECEIVED", "SOURCE", "REASON", "TARGET", "BYTES"
    );
    for entry in answer.as_array().into_iter().flatten() {
        let column = |key| entry.get(key).map(plain).unwrap_or_default();
        println!(
            "{:<24} {:<28} {:<20} {:<20} {:<16} {:>8}  {}",
            column("id"),
            column("received"),
            column("source"),
            column("reason"),
            column("target"),
            column("bytes"),
            column("topic")
        );
    }
    Ok(Exit::Ok)
}

fn show(answer: &Value, context: &Context) -> Result<Exit, Failure> {
    if context.json {
        print_json(answer)?;
        return Ok(Exit::Ok);
    }
    let part = |key| answer.get(key).map(plain).unwrap_or_default();
    for key in [
        "id",
        "origin",
        "received",
        "since",
        "source",
        "identity",
        "topic",
        "device",
        "level",
        "reason",
        "target",
        "bytes",
        "payload",
        "payload_base64",
    ] {
        let value = part(key);
        if !value.is_empty() {
            println!("{key:<15} {value}");
        }
    }
    let now = answer.get("now").and_then(|now| now.get("reason")).map(plain);
    println!("\n{}", now_in_words(now.as_deref(), context.lang));
    let words = answer.get("explanation").and_then(|explanation| explanation.get("words"));
    if let Some(words) = words.and_then(|words| words.get(context.lang.tag())) {
        println!("\n{}", plain(words));
    }
    Ok(Exit::Ok)
}

fn now_in_words(stays_for: Option<&str>, lang: Lang) -> String {
    match (stays_for, lang) {
        (None, Lang::En) => "The policy in force routes it: a release would let it go.".to_owned(),
        (None, Lang::Fr) => {
            "La politique en vigueur l'achemine : une libération le laisserait partir.".to_owned()
        }
        (Some(reason), Lang::En) => format!("By the policy in force it stays: {reason}."),
        (Some(reason), Lang::Fr) => format!("Selon la politique en vigueur, il reste : {reason}."),
    }
}

/// Asks until the hub has been through all of them: each answer is of a bounded number.
fn decide(verb: &str, args: &KeptArgs, context: &Context) -> Result<Exit, Failure> {
    let KeptArgs { ids, reason, source, all, because, dry_run, hub } = args;
    if ids.is_empty() && reason.is_none() && source.is_none() && !all {
        let error = anyhow::anyhow!("say which messages: ids, `--reason`, `--source`, or `--all`");
        return Err(Failure::new(Exit::Usage, error));
    }
    let hub = Hub::find(hub, context)?;
    let (mut done, mut stays, mut from) = (Vec::new(), Map::new(), json!(0));
    loop {
        let body = json!({ "ids": ids, "reason": reason, "source": source, "all": all, "because": because,
            "dry_run": dry_run, "from": from });
        let answer = hub.post(&format!("/api/v1/quarantine/{verb}"), &body)?;
        let part = |key| answer.get(key).cloned().unwrap_or_default();
        done.extend(part("done").as_array().cloned().unwrap_or_default());
        for (reason, ids) in part("stays").as_object().cloned().unwrap_or_default() {
            let known = stays.entry(reason).or_insert_with(|| json!([]));
            if let (Some(known), Some(ids)) = (known.as_array_mut(), ids.as_array()) {
                known.extend(ids.iter().cloned());
            }
        }
        from = part("next");
        if from.is_null() {
            break;
        }
    }
    if context.json {
        print_json(&json!({ "done": done, "stays": stays, "dry_run": dry_run }))?;
        return Ok(Exit::Ok);
    }
    println!("{}", done_in_words(verb, done.len(), *dry_run, context.lang));
    for (reason, ids) in &stays {
        println!("{}", stays_in_words(ids.as_array().map_or(0, Vec::len), reason, context.lang));
    }
    Ok(Exit::Ok)
}

fn done_in_words(verb: &str, messages: usize, dry_run: bool, lang: Lang) -> String {
    match (lang, verb, dry_run) {
        (Lang::En, "release", true) => format!("{messages} message(s) would be released"),
        (Lang::En, "release", false) => format!("{messages} message(s) released"),
        (Lang::En, _, true) => format!("{messages} message(s) would be purged"),
        (Lang::En, _, false) => format!("{messages} message(s) purged, for good"),
        (Lang::Fr, "release", true) => format!("{messages} message(s) à libérer, rien n'est fait"),
        (Lang::Fr, "release", false) => format!("{messages} message(s) libéré(s)"),
        (Lang::Fr, _, true) => format!("{messages} message(s) à supprimer, rien n'est fait"),
        (Lang::Fr, _, false) => format!("{messages} message(s) supprimé(s) définitivement"),
    }
}

fn stays_in_words(messages: usize, reason: &str, lang: Lang) -> String {
    match lang {
        Lang::En => format!("{messages} message(s) stay, by the policy in force: {reason}"),
        Lang::Fr => format!("{messages} message(s) maintenu(s) par la politique en vigueur : {reason}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dry_run_never_reads_as_done() {
        for lang in Lang::ALL {
            for verb in ["release", "purge"] {
                assert_ne!(done_in_words(verb, 2, true, lang), done_in_words(verb, 2, false, lang));
            }
        }
        assert_ne!(now_in_words(None, Lang::Fr), now_in_words(Some("no_rule_matches"), Lang::Fr));
    }
}
