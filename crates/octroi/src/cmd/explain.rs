//! `octroi explain`: one decision, in words or as JSON.

mod replay;

use std::io::Read;
use std::path::Path;

use octroi_policy::{Date, Input, Policy, SourceIx, Timestamp};
use serde_json::Value;

use super::client::Hub;
use super::policy::compiled;
use super::{Context, print_json};
use crate::cli::ExplainArgs;
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::exit::{Exit, Failure, OrExit};
use crate::words::Lang;

pub(super) fn run(args: &ExplainArgs, context: &Context) -> Result<Exit, Failure> {
    if let Some(id) = &args.id {
        let answer = Hub::find(&args.hub, context)?.get(&format!("/api/v1/explain?id={id}"))?;
        return show_answer(&answer, context);
    }
    let date = args
        .date
        .as_deref()
        .map(|text| Date::parse(text).ok_or_else(|| usage("write the date as `2027-07-01`")));
    let date = date.transpose()?;
    if let Some(given) = &args.given {
        let policy = policy_of(args, context)?;
        return replay::run(&policy, &read_payload(given).or_exit(Exit::Io)?, date, context);
    }
    let (Some(source), Some(topic), Some(payload)) = (&args.source, &args.topic, &args.payload) else {
        return Err(usage(
            "name a message: `--source S --topic T --payload FILE`, `--given FILE`, or `--id HUB/GENERATION/SEQ`",
        ));
    };
    let policy = policy_of(args, context)?;
    let payload = read_payload(payload).or_exit(Exit::Io)?;
    let properties: Vec<(&str, &str)> = args
        .user_properties
        .iter()
        .map(|property| {
            property.split_once('=').ok_or_else(|| usage("write user properties as `name=value`"))
        })
        .collect::<Result<_, _>>()?;
    let received = date.map_or_else(|| SystemClock.now(), Date::start);
    explain(&policy, source, topic, &payload, &properties, received, context)
}

fn usage(what: &str) -> Failure {
    Failure::new(Exit::Usage, anyhow::anyhow!("{what}"))
}

/// The policy that is asked about; errors that checks and proofs find do not matter here.
fn policy_of(args: &ExplainArgs, context: &Context) -> Result<Policy, Failure> {
    let path = match (&args.policy, &args.hub.config) {
        (Some(path), _) => path.clone(),
        (None, Some(config)) => Config::load(config, &context.environment).or_exit(Exit::Config)?.policy,
        (None, None) => return Err(usage("name the policy with `--policy PATH`, or the hub's `--config`")),
    };
    compiled(&path, context)
}

fn explain(
    policy: &Policy,
    source: &str,
    topic: &str,
    payload: &[u8],
    user_properties: &[(&str, &str)],
    received: Timestamp,
    context: &Context,
) -> Result<Exit, Failure> {
    let place = policy.sources().iter().position(|known| known.id == source);
    let source_ix = place.and_then(SourceIx::from_index).ok_or_else(|| no_source(policy, source))?;
    let input = Input { source: source_ix, topic, payload, user_properties, received };
    let explanation = policy.explain(&input);
    if context.json {
        print_json(&explanation)?;
    } else {
        println!("{}", explanation.in_words(context.lang));
    }
    Ok(Exit::Ok)
}

fn no_source(policy: &Policy, source: &str) -> Failure {
    let known: Vec<&str> = policy.sources().iter().map(|source| source.id.as_str()).collect();
    usage(&format!("the policy has no source `{source}`; it has {}", known.join(", ")))
}

fn show_answer(answer: &Value, context: &Context) -> Result<Exit, Failure> {
    if context.json {
        print_json(answer)?;
    } else {
        let key = match context.lang {
            Lang::Fr => "fr",
            Lang::En => "en",
        };
        let words = answer.get("words").and_then(|words| words.get(key)).and_then(Value::as_str);
        println!("{}", words.unwrap_or_default());
    }
    Ok(Exit::Ok)
}

fn read_payload(path: &Path) -> anyhow::Result<Vec<u8>> {
    if path == Path::new("-") {
        let mut payload = Vec::new();
        std::io::stdin().lock().read_to_end(&mut payload)?;
        return Ok(payload);
    }
    std::fs::read(path)
        .map_err(|error| anyhow::Error::from(error).context(format!("cannot read `{}`", path.display())))
}
