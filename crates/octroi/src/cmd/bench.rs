//! `octroi bench`

use std::time::Duration;

use anyhow::Context as _;
use octroi_mqtt::{Qos, Version};
use rustix::time::{ClockId, clock_gettime};
use rustls::pki_types::ServerName;
use serde_json::json;

use super::{Context, print_json};
use crate::cli::BenchArgs;
use crate::exit::{Exit, Failure, OrExit};
use crate::load::{self, Load, Outcome, Sender};
use crate::policies::read_policy;

pub(super) fn run(args: &BenchArgs, context: &Context) -> Result<Exit, Failure> {
    let load = load_of(args)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(args.threads.max(1))
        .enable_all()
        .build()
        .or_exit(Exit::Io)?;
    let before = cpu();
    let outcome = runtime.block_on(load::run(&load)).or_exit(Exit::Unreachable)?;
    show(&load, &outcome, cpu().saturating_sub(before), context)?;
    Ok(if outcome.refused == 0 { Exit::Ok } else { Exit::Finding })
}

fn load_of(args: &BenchArgs) -> Result<Load, Failure> {
    let usage = |what: String| Failure::new(Exit::Usage, anyhow::anyhow!("{what}"));
    let broker: std::net::SocketAddr = args
        .broker
        .parse()
        .map_err(|_| usage(format!("`{}` is no address; write `127.0.0.1:1883`", args.broker)))?;
    let tls = match &args.tls_ca {
        None => None,
        Some(authority) => {
            let name = args.tls_name.clone().unwrap_or_else(|| broker.ip().to_string());
            let bad = |_| usage(format!("`{name}` is no name or address that a certificate may carry"));
            let name = ServerName::try_from(name.clone()).map_err(bad)?;
            let pair = args.tls_cert.as_deref().zip(args.tls_key.as_deref());
            Some((load::tls(authority, pair).or_exit(Exit::Usage)?, name))
        }
    };
    let password = match &args.password_file {
        None => None,
        Some(path) => {
            let read = std::fs::read_to_string(path);
            let read = read.with_context(|| format!("the password in `{}`", path.display()));
            Some(read.or_exit(Exit::Usage)?)
        }
    };
    Ok(Load {
        broker,
        tls,
        connections: args.connections.max(1),
        window: args.window.clamp(1, 65_535),
        messages: args.messages,
        qos: match args.qos {
            0 => Qos::AtMostOnce,
            1 => Qos::AtLeastOnce,
            _ => Qos::ExactlyOnce,
        },
        version: if args.v5 { Version::V5 } else { Version::V3 },
        senders: senders(args)?,
        password: password.map(|text| text.trim_end_matches(['\r', '\n']).to_owned()),
        payload: payload(args.size),
        rate: args.rate,
    })
}

fn senders(args: &BenchArgs) -> Result<Vec<Sender>, Failure> {
    if let Some(path) = &args.policy {
        let files = read_policy(path).or_exit(Exit::Usage)?;
        let senders = Sender::of(&octroi_policy::parse(&files).document);
        if senders.is_empty() {
            let what = anyhow::anyhow!("`{}` names no source with topics", path.display());
            return Err(Failure::new(Exit::Usage, what));
        }
        return Ok(senders);
    }
    let topics = match &args.topics {
        None => vec![args.topic.clone()],
        Some(path) => {
            let read = load::topics_in(path);
            let read = read.with_context(|| format!("the topics in `{}`", path.display()));
            read.or_exit(Exit::Usage)?
        }
    };
    Ok(vec![Sender { user: Some(args.user.clone()), topics }])
}

fn show(load: &Load, outcome: &Outcome, cpu: Duration, context: &Context) -> Result<(), Failure> {
    let micros = |per_mille| outcome.latency.quantile(per_mille).as_micros();
    let elapsed = outcome.elapsed.as_secs_f64();
    if context.json {
        return print_json(&json!({
            "accepted": outcome.accepted, "refused": outcome.refused,
            "seconds": elapsed, "per_second": outcome.rate(), "cpu_seconds": cpu.as_secs_f64(),
            "ack_us": { "p50": micros(500), "p90": micros(900), "p99": micros(990), "p999": micros(999) },
            "connections": load.connections, "window": load.window, "payload_bytes": load.payload.len(),
            "qos": load.qos as u8, "tls": load.tls.is_some(),
        }));
    }
    println!(
        "{} accepted, {} refused in {elapsed:.3} s: {:.0} messages/s (QoS {}, {} connections{}, window {}, {} bytes)",
        outcome.accepted,
        outcome.refused,
        outcome.rate(),
        load.qos as u8,
        load.connections,
        if load.tls.is_some() { " over TLS" } else { "" },
        load.window,
        load.payload.len()
    );
    println!(
        "ack latency: p50 {} µs, p90 {} µs, p99 {} µs, p99.9 {} µs",
        micros(500),
        micros(900),
        micros(990),
        micros(999)
    );
    let share = 100.0 * cpu.as_secs_f64() / elapsed.max(1e-9);
    println!("the generator itself: {:.2} s of CPU, {share:.0} % of a core", cpu.as_secs_f64());
    Ok(())
}

/// CPU of this process so far.
fn cpu() -> Duration {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(spent.tv_sec).unwrap_or(0), u32::try_from(spent.tv_nsec).unwrap_or(0))
}

/// A counting camera's message of about that size: valid for the example policy's `open` rule up to 200 bytes
/// and beyond, since its period is a token of at most 64 characters and its numbers may be long.
fn payload(size: usize) -> Vec<u8> {
    let head = r#"{"count":17,"speed_avg":43.25,"occupancy_pct":12.5,"period":"PT15M","ts":"2026-11-20T06:15:00Z","device":"cam-"#;
    let tail = r#""}"#;
    let pad = size.saturating_sub(head.len() + tail.len());
    let device = pad.clamp(1, 60);
    let mut text = format!("{head}{}{tail}", "0".repeat(device));
    // JSON allows blanks: they make up the rest without a field that the closed schema would refuse.
    while text.len() < size {
        text.push(' ');
    }
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payload_is_json_of_the_size_asked_for() {
        for size in [130, 200, 1_000, 65_536] {
            let payload = payload(size);
            assert_eq!(payload.len(), size);
            serde_json::from_slice::<serde_json::Value>(&payload).unwrap();
        }
    }
}
