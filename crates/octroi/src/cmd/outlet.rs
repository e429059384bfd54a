//! `octroi outlet list|show|check|pause|resume|replay`

pub(super) mod check;

use octroi_policy::Timestamp;
use serde_json::{Map, Value, json};

use super::client::Hub;
use super::{Context, print_json};
use crate::cli::{OutletCommand, SwitchArgs};
use crate::exit::{Exit, Failure};
use crate::status::OutletState;
use crate::words::{self, Lang};

pub(super) fn run(command: &OutletCommand, context: &Context) -> Result<Exit, Failure> {
    match command {
        OutletCommand::List(hub) => list(&outlets(&Hub::find(hub, context)?)?, context),
        OutletCommand::Show { target, hub } => {
            let all = outlets(&Hub::find(hub, context)?)?;
            let Some(one) = all.iter().find(|one| text(one, "target") == *target) else {
                let error =
                    anyhow::anyhow!("`{target}` is no target with an outlet: see `octroi outlet list`");
                return Err(Failure::new(Exit::Finding, error));
            };
            show(one, context)
        }
        OutletCommand::Check { targets, config } => check::run(targets, config, context),
        OutletCommand::Pause(args) => switch("pause", args, context),
        OutletCommand::Resume(args) => switch("resume", args, context),
        OutletCommand::Replay { switch, from } => replay(switch, from, context),
    }
}

fn outlets(hub: &Hub) -> Result<Vec<Value>, Failure> {
    Ok(hub.get("/api/v1/outlets")?.as_array().cloned().unwrap_or_default())
}

/// A value as a person reads it.
fn text(value: &Value, key: &str) -> String {
    match value.get(key) {
        None | Some(Value::Null) => "–".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

fn state(outlet: &Value, lang: Lang) -> String {
    let state =
        outlet.get("state").and_then(|state| serde_json::from_value::<OutletState>(state.clone()).ok());
    state.map_or_else(|| text(outlet, "state"), |state| words::outlet_state(lang, state).to_owned())
}

fn reason(outlet: &Value, lang: Lang) -> &str {
    outlet.pointer(&format!("/reason/{}", lang.tag())).and_then(Value::as_str).unwrap_or_default()
}

fn list(outlets: &[Value], context: &Context) -> Result<Exit, Failure> {
    if context.json {
        print_json(&outlets)?;
        return Ok(Exit::Ok);
    }
    println!(
        "{:<24} {:<8} {:<12} {:>12} {:>14}  OLDEST",
        "TARGET", "OUTLET", "STATE", "PENDING", "DELIVERED"
    );
    for outlet in outlets {
        println!(
            "{:<24} {:<8} {:<12} {:>12} {:>14}  {}",
            text(outlet, "target"),
            text(outlet, "outlet"),
            state(outlet, context.lang),
            text(outlet, "pending"),
            text(outlet, "delivered"),
            text(outlet, "oldest")
        );
    }
    for outlet in outlets.iter().filter(|outlet| !reason(outlet, context.lang).is_empty()) {
        println!("{}: {}", text(outlet, "target"), reason(outlet, context.lang));
    }
    Ok(Exit::Ok)
}

fn show(outlet: &Value, context: &Context) -> Result<Exit, Failure> {
    if context.json {
        print_json(outlet)?;
        return Ok(Exit::Ok);
    }
    println!("{:<14} {}", "state", state(outlet, context.lang));
    if !reason(outlet, context.lang).is_empty() {
        println!("{:<14} {}", "reason", reason(outlet, context.lang));
    }
    for key in [
        "target",
        "outlet",
        "since",
        "pending",
        "oldest",
        "delivered",
        "withheld",
        "cursor",
        "journal_first",
        "journal_next",
    ] {
        println!("{key:<14} {}", text(outlet, key));
    }
    Ok(Exit::Ok)
}

fn switch(verb: &str, args: &SwitchArgs, context: &Context) -> Result<Exit, Failure> {
    let SwitchArgs { target, because, dry_run, hub } = args;
    let body = json!({ "target": target, "because": because, "dry_run": dry_run });
    let answer = Hub::find(hub, context)?.post(&format!("/api/v1/outlets/{verb}"), &body)?;
    if context.json {
        print_json(&answer)?;
    } else {
        let changes = answer.get("changes").and_then(Value::as_bool).unwrap_or(false);
        println!("{}", switched_in_words((verb, target), changes, *dry_run, context.lang));
    }
    Ok(Exit::Ok)
}

fn switched_in_words((verb, target): (&str, &str), changes: bool, dry_run: bool, lang: Lang) -> String {
    let pauses = verb == "pause";
    match (lang, changes, dry_run) {
        (Lang::En, false, _) => {
            format!("{target} is {} already", if pauses { "paused" } else { "not paused" })
        }
        (Lang::En, true, true) => format!("{target} would be {verb}d"),
        (Lang::En, true, false) if pauses => format!("{target} is paused: what comes waits in the journal"),
        (Lang::En, true, false) => format!("{target} is resumed"),
        (Lang::Fr, false, _) => {
            format!("{target} {} déjà suspendue", if pauses { "est" } else { "n'est pas" })
        }
        (Lang::Fr, true, true) if pauses => format!("{target} serait suspendue, rien n'est fait"),
        (Lang::Fr, true, true) => format!("{target} reprendrait, rien n'est fait"),
        (Lang::Fr, true, false) if pauses => {
            format!("{target} est suspendue : ce qui arrive attend dans le journal")
        }
        (Lang::Fr, true, false) => format!("{target} reprend"),
    }
}

/// Asks until the hub has been through all of it: each answer is of a bounded part.
fn replay(args: &SwitchArgs, from: &str, context: &Context) -> Result<Exit, Failure> {
    let SwitchArgs { target, because, dry_run, hub } = args;
    let (since, mut from) = match (from.parse::<u64>(), Timestamp::parse_rfc3339(from)) {
        (Ok(seq), _) => (None, json!(seq)),
        (Err(_), Some(time)) => (Some(time.to_string()), json!(0)),
        (Err(_), None) => {
            let error = anyhow::anyhow!(
                "`{from}` is no sequence number and no time; write `48213` or `2026-11-20T06:00:00Z`"
            );
            return Err(Failure::new(Exit::Usage, error));
        }
    };
    let hub = Hub::find(hub, context)?;
    let (mut sum, mut until) = (Replayed::default(), Value::Null);
    loop {
        let body = json!({ "target": target, "from": from, "until": until, "since": since, "because": because,
            "dry_run": dry_run });
        let answer = hub.post("/api/v1/outlets/replay", &body)?;
        sum.add(&answer);
        let take = |key: &str| answer.get(key).cloned().unwrap_or_default();
        (from, until) = (take("next"), take("until"));
        if from.is_null() {
            break;
        }
    }
    if context.json {
        print_json(
            &json!({ "target": target, "sent": sum.sent, "repeated": sum.repeated, "stays": sum.stays,
            "from": sum.from, "until": until, "first_kept": sum.first_kept, "dry_run": dry_run }),
        )?;
    } else {
        println!("{}", sum.in_words(target, *dry_run, context.lang));
    }
    Ok(Exit::Ok)
}

/// What a whole replay came to.
#[derive(Default)]
struct Replayed {
    sent: u64,
    repeated: u64,
    stays: Map<String, Value>,
    /// Of the first answer.
    from: Option<u64>,
    first_kept: Option<u64>,
}

impl Replayed {
    fn add(&mut self, answer: &Value) {
        let number = |key| answer.get(key).and_then(Value::as_u64).unwrap_or_default();
        self.sent += number("sent");
        self.repeated += number("repeated");
        self.from.get_or_insert(number("from"));
        self.first_kept.get_or_insert(number("first_kept"));
        for (reason, more) in answer.get("stays").and_then(Value::as_object).into_iter().flatten() {
            let so_far = self.stays.get(reason).and_then(Value::as_u64).unwrap_or_default();
            self.stays.insert(reason.clone(), json!(so_far + more.as_u64().unwrap_or_default()));
        }
    }

    fn in_words(&self, target: &str, dry_run: bool, lang: Lang) -> String {
        let (sent, kept) = (self.sent, self.first_kept.unwrap_or_default());
        let head = match (lang, dry_run) {
            (Lang::En, true) => format!("{sent} record(s) would go to {target} again"),
            (Lang::En, false) => format!("{sent} record(s) go to {target} again, under the ids they had"),
            (Lang::Fr, true) => format!("{sent} enregistrement(s) à renvoyer vers {target}, rien n'est fait"),
            (Lang::Fr, false) => {
                format!(
                    "{sent} enregistrement(s) renvoyé(s) vers {target}, sous leurs identifiants d'origine"
                )
            }
        };
        let bound = match lang {
            Lang::En => format!("the journal begins at {kept}: what was before is on the targets alone"),
            Lang::Fr => {
                format!("le journal commence à {kept} : ce qui précède n'est plus que sur les cibles")
            }
        };
        let stays = self.stays.iter().map(|(reason, count)| match lang {
            Lang::En => format!("{count} stay, by the policy in force: {reason}"),
            Lang::Fr => format!("{count} retenu(s) par la politique en vigueur : {reason}"),
        });
        [head, bound].into_iter().chain(stays).collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dry_run_never_reads_as_done_in_either_language() {
        for lang in Lang::ALL {
            for verb in ["pause", "resume"] {
                let said = |changes, dry| switched_in_words((verb, "dc"), changes, dry, lang);
                assert_ne!(said(true, true), said(true, false));
                assert_ne!(said(false, false), said(true, false));
            }
            let replayed = Replayed { sent: 3, ..Replayed::default() };
            assert_ne!(replayed.in_words("dc", true, lang), replayed.in_words("dc", false, lang));
        }
    }

    #[test]
    fn a_replay_adds_up_its_parts_and_says_where_the_journal_begins() {
        let mut sum = Replayed::default();
        sum.add(
            &json!({ "sent": 2, "from": 40, "first_kept": 40, "stays": { "not_allowed": 1 }, "next": 90 }),
        );
        sum.add(
            &json!({ "sent": 3, "from": 90, "first_kept": 40, "stays": { "not_allowed": 2 }, "next": null }),
        );
        assert_eq!((sum.sent, sum.from, sum.stays.get("not_allowed")), (5, Some(40), Some(&json!(3))));
        assert!(sum.in_words("dc", false, Lang::En).contains("the journal begins at 40"));
    }
}
