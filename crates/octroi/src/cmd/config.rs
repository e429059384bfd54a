//! `octroi config check|show`

use std::sync::Arc;

use super::{Context, print_json};
use crate::cli::ConfigCommand;
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, OutletConfig};
use crate::exit::{Exit, Failure, OrExit};
use crate::identity::watcher::Watcher;
use crate::{broker, limits, policies};

pub(super) fn run(command: &ConfigCommand, context: &Context) -> Result<Exit, Failure> {
    match command {
        ConfigCommand::Check(args) => {
            let config = Config::load(&args.config, &context.environment).or_exit(Exit::Config)?;
            let clock: Arc<dyn Clock> = Arc::new(SystemClock);
            let watcher = Watcher::open(&config.listeners, &clock, Arc::default()).or_exit(Exit::Config)?;
            watcher.shut_by().next().map_or(Ok(()), |refusal| Err(refusal.clone())).or_exit(Exit::Config)?;
            broker::check(&config, &clock).or_exit(Exit::Config)?;
            let files = policies::read_policy(&config.policy).or_exit(Exit::Config)?;
            let review = policies::review(&files);
            let targets =
                review.policy.iter().flat_map(|policy| policy.targets()).map(|target| target.id.as_str());
            let targets: Vec<&str> = targets.collect();
            let mut wrong: Vec<String> = review
                .refusals()
                .iter()
                .map(|finding| octroi_policy::render(finding, &files, context.lang, context.color))
                .collect();
            let missing = targets.iter().filter(|target| !config.outlets.contains_key(**target));
            wrong.extend(
                missing.map(|target| format!("the policy's target `{target}` has no `[outlet.{target}]`")),
            );
            if review.policy.is_some() {
                let spare = config.outlets.keys().filter(|outlet| !targets.contains(&outlet.as_str()));
                wrong.extend(spare.map(|outlet| format!("`[outlet.{outlet}]` is no target of the policy")));
            }
            for finding in &wrong {
                println!("{finding}");
            }
            println!("{}: {} finding(s)", args.config.display(), wrong.len());
            Ok(if wrong.is_empty() { Exit::Ok } else { Exit::Config })
        }
        ConfigCommand::Show(args) => {
            let config = Config::load(&args.config, &context.environment).or_exit(Exit::Config)?;
            let rows = rows(&config);
            if context.json {
                let map: serde_json::Map<String, serde_json::Value> =
                    rows.into_iter().map(|(key, value)| (key, value.into())).collect();
                print_json(&map)?;
            } else {
                for (key, value) in rows {
                    println!("{key:<34} {value}");
                }
            }
            Ok(Exit::Ok)
        }
    }
}

/// What the configuration means. Secrets are not in it: only where they come from is configured.
fn rows(config: &Config) -> Vec<(String, String)> {
    let mut rows = vec![
        ("hub.id".to_owned(), config.hub.clone()),
        ("hub.data_dir".into(), config.data_dir.display().to_string()),
        ("hub.policy".into(), config.policy.display().to_string()),
        ("hub.keys_dir".into(), config.keys_dir.display().to_string()),
        ("connections.limit".into(), config.connections.all.to_string()),
        ("connections.per_source".into(), config.connections.source.to_string()),
        ("connections.per_address".into(), config.connections.address.to_string()),
        ("journal.limit".into(), config.journal.limit.to_string()),
        ("journal.quarantine_limit".into(), config.journal.quarantine.to_string()),
        ("journal.hold_limit".into(), config.journal.hold.to_string()),
        ("journal.backlog_limit".into(), config.journal.backlog.to_string()),
        ("journal.source_limit".into(), config.journal.source.to_string()),
        ("http.bind".into(), config.http.to_string()),
    ];
    for (n, listener) in config.listeners.iter().enumerate() {
        let tls = if listener.tls.is_some() { "TLS" } else { "plain" };
        rows.push((format!("listener[{n}]"), format!("{} {:?} {tls}", listener.bind, listener.identify_by)));
    }
    for (name, broker) in &config.brokers {
        let (tls, asks) = (if broker.tls.is_some() { "TLS" } else { "plain" }, &broker.asks);
        let filters = asks.filters.join(" ");
        let said =
            format!("{}:{} {tls} {:?} {} {filters}", broker.host, broker.port, asks.version, asks.client_id);
        rows.push((format!("broker.{name}"), said));
    }
    for (target, outlet) in &config.outlets {
        let to = match outlet {
            OutletConfig::Archive { directory, .. } => directory.display().to_string(),
            OutletConfig::Kafka(kafka) => kafka.brokers.join(" "),
        };
        rows.push((format!("outlet.{target}"), format!("{} {to}", outlet.kind())));
    }
    rows.extend(limits::table().into_iter().map(|(name, value)| (format!("limit.{name}"), value)));
    rows
}
