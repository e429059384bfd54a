//! `octroi quarantine list`

use serde_json::Value;

use super::client::Hub;
use super::{Context, print_json};
use crate::cli::QuarantineCommand;
use crate::exit::{Exit, Failure};

pub(super) fn run(command: &QuarantineCommand, context: &Context) -> Result<Exit, Failure> {
    let QuarantineCommand::List { hub, limit } = command;
    let answer = Hub::find(hub, context)?.get(&format!("/api/v1/quarantine?limit={limit}"))?;
    if context.json {
        print_json(&answer)?;
        return Ok(Exit::Ok);
    }
    let entries = answer.as_array().map(Vec::as_slice).unwrap_or_default();
    let text = |entry: &Value, key: &str| {
        entry
            .get(key)
            .map_or_else(String::new, |value| value.as_str().map_or_else(|| value.to_string(), Into::into))
    };
    println!("{:<30} {:<20} {:<20} {:>8}  TOPIC", "RECEIVED", "SOURCE", "REASON", "BYTES");
    for entry in entries {
        let column = |key| text(entry, key);
        println!(
            "{:<30} {:<20} {:<20} {:>8}  {}",
            column("received"),
            column("source"),
            column("reason"),
            column("bytes"),
            column("topic")
        );
    }
    Ok(Exit::Ok)
}
