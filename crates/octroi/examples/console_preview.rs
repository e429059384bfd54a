//! Serves the console with sample hubs, to look at it: one port for each, from the one given (default 9480).

#![expect(clippy::print_stdout, reason = "says where to look")]

extern crate octroi;

#[path = "../src/admin/tests/samples.rs"]
mod samples;

use std::sync::Arc;

use octroi::admin::{AdminParts, serve};
use octroi::metrics::Metrics;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let first: u16 = std::env::args().nth(1).map_or(Ok(9480), |port| port.parse())?;
    let samples = [samples::well(), samples::cut_off(), samples::just_started(), samples::hostile()];
    let mut serving = JoinSet::new();
    let mut kept = Vec::new();
    for (port, sample) in (first..).zip(samples) {
        let (status_in, status) = watch::channel(Arc::new(sample));
        let (commands, answered) = mpsc::channel(1);
        kept.push((status_in, answered));
        let metrics = Arc::new(Metrics::new("0.1.0")?);
        let parts = AdminParts { status, metrics, commands, allowed_hosts: Vec::new() };
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        println!("http://127.0.0.1:{port}/");
        serving.spawn(serve(listener, parts, std::future::pending()));
    }
    while let Some(ended) = serving.join_next().await {
        ended??;
    }
    Ok(())
}
