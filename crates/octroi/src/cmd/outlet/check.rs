//! `octroi outlet check`: looks at targets as configured, whether or not a hub
//! runs.

use octroi_policy::{Arrival, Timestamp, arrivals};
use serde_json::{Map, Value, json};

use super::{Context, print_json};
use crate::cli::ConfigArg;
use crate::clock::{Clock as _, SystemClock};
use crate::config::{Config, OutletConfig};
use crate::exit::{Exit, Failure, OrExit};
use crate::outlet::archive;
use crate::outlet::check::{Checked, Weight};
use crate::words::Lang;
use crate::{limits, policies};

pub(super) fn run(targets: &[String], config: &ConfigArg, context: &Context) -> Result<Exit, Failure> {
    let config = Config::load(&config.config, &context.environment).or_exit(Exit::Config)?;
    if let Some(unknown) = targets.iter().find(|target| !config.outlets.contains_key(*target)) {
        let error = anyhow::anyhow!("there is no `[outlet.{unknown}]` in the configuration");
        return Err(Failure::new(Exit::Usage, error));
    }
    let files = policies::read_policy(&config.policy).or_exit(Exit::Config)?;
    let policy = policies::review(&files).policy.ok_or_else(|| {
        let mend = "see `octroi policy check`";
        Failure::new(Exit::Config, anyhow::anyhow!("the configured policy does not compile: {mend}"))
    })?;
    let now = SystemClock.now();
    let expected = arrivals(&policy, now.date());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().or_exit(Exit::Io)?;
    let wanted = config.outlets.iter().filter(|(target, _)| targets.is_empty() || targets.contains(target));
    let mut looked = Vec::new();
    for (target, outlet) in wanted {
        let arriving = expected.iter().filter(|arrival| arrival.target == *target);
        let checked = runtime.block_on(look(outlet, arriving, now));
        if !context.json {
            print(target, outlet.kind(), &checked, context.lang);
        }
        looked.push((target.clone(), outlet.kind(), checked));
    }
    if context.json {
        let all: Vec<Value> =
            looked.iter().map(|(target, kind, checked)| shown(target, kind, checked)).collect();
        print_json(&all)?;
    }
    let reached = |checked: &Checked| checked.reached;
    Ok(if looked.iter().any(|(.., checked)| reached(checked) && checked.is_missing_something()) {
        Exit::Finding
    } else if looked.iter().any(|(.., checked)| !reached(checked)) {
        Exit::Unreachable
    } else {
        Exit::Ok
    })
}

async fn look<'a>(
    outlet: &OutletConfig,
    arriving: impl Iterator<Item = &'a Arrival>,
    now: Timestamp,
) -> Checked {
    match outlet {
        OutletConfig::Archive { directory, .. } => archive::check(directory),
        OutletConfig::Kafka(kafka) => {
            kafka.look(&kafka.topics(arriving), limits::mqtt().packet_bytes, now).await
        }
    }
}

fn shown(target: &str, kind: &str, checked: &Checked) -> Value {
    json!({ "target": target, "outlet": kind, "reached": checked.reached, "facts": facts(checked), "findings": checked.findings })
}

pub(in crate::cmd) fn facts(checked: &Checked) -> Map<String, Value> {
    // A name may come more than once: one topic each.
    let mut facts = Map::new();
    for (name, value) in &checked.facts {
        if let Some(list) = facts.entry(*name).or_insert_with(|| json!([])).as_array_mut() {
            list.push(json!(value));
        }
    }
    facts
}

fn print(target: &str, kind: &str, checked: &Checked, lang: Lang) {
    let head = match (checked.reached, checked.is_missing_something(), lang) {
        (false, _, Lang::En) => "not reachable",
        (false, _, Lang::Fr) => "injoignable",
        (true, true, Lang::En) => "something is missing",
        (true, true, Lang::Fr) => "il manque quelque chose",
        (true, false, Lang::En) => "ready",
        (true, false, Lang::Fr) => "prête",
    };
    println!("{target} ({kind}): {head}");
    print_details(checked, lang);
}

/// Facts, then findings.
pub(in crate::cmd) fn print_details(checked: &Checked, lang: Lang) {
    for (name, value) in &checked.facts {
        println!("  {name:<12} {value}");
    }
    for finding in &checked.findings {
        let weight = match (finding.weight, lang) {
            (Weight::Missing, Lang::En) => "missing",
            (Weight::Missing, Lang::Fr) => "manque",
            (Weight::Advice, Lang::En) => "advice",
            (Weight::Advice, Lang::Fr) => "conseil",
        };
        println!("  {weight:<12} {}", finding.message.of(lang));
        if !finding.mend.is_empty() {
            println!("  {:<12} {}", "", finding.mend.of(lang));
        }
    }
}
