//! `octroi status`

use super::client::Hub;
use super::{Context, print_json, status_text};
use crate::cli::HubArg;
use crate::exit::{Exit, Failure, OrExit};
use crate::status::Status;

pub(super) fn run(args: &HubArg, context: &Context) -> Result<Exit, Failure> {
    let answer = Hub::find(args, context)?.get("/api/v1/status")?;
    if context.json {
        print_json(&answer)?;
    } else {
        let status: Status = serde_json::from_value(answer).or_exit(Exit::Io)?;
        println!("{}", status_text::table(&status, context.lang, context.color, 100));
    }
    Ok(Exit::Ok)
}
