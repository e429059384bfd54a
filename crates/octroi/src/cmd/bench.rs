//! `octroi bench`

use serde_json::json;

use super::{Context, print_json};
use crate::cli::BenchArgs;
use crate::exit::{Exit, Failure, OrExit};
use crate::load::{self, Load};

pub(super) fn run(args: &BenchArgs, context: &Context) -> Result<Exit, Failure> {
    let usage = |what: String| Failure::new(Exit::Usage, anyhow::anyhow!("{what}"));
    let load = Load {
        broker: args
            .broker
            .parse()
            .map_err(|_| usage(format!("`{}` is no address; write `127.0.0.1:1883`", args.broker)))?,
        connections: args.connections.max(1),
        window: args.window.clamp(1, 65_535),
        messages: args.messages,
        qos: match args.qos {
            0 => octroi_mqtt::Qos::AtMostOnce,
            1 => octroi_mqtt::Qos::AtLeastOnce,
            other => return Err(usage(format!("QoS {other}: the load is QoS 0 or 1"))),
        },
        version: if args.v5 { octroi_mqtt::Version::V5 } else { octroi_mqtt::Version::V3 },
        user: args.user.clone(),
        topic: args.topic.clone(),
        payload: payload(args.size),
        rate: args.rate,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(args.threads.max(1))
        .enable_all()
        .build()
        .or_exit(Exit::Io)?;
    let outcome = runtime.block_on(load::run(&load)).or_exit(Exit::Unreachable)?;
    let micros = |per_mille| outcome.latency.quantile(per_mille).as_micros();
    if context.json {
        print_json(&json!({
            "accepted": outcome.accepted, "refused": outcome.refused,
            "seconds": outcome.elapsed.as_secs_f64(), "per_second": outcome.rate(),
            "ack_us": { "p50": micros(500), "p90": micros(900), "p99": micros(990), "p999": micros(999) },
            "connections": load.connections, "window": load.window, "payload_bytes": load.payload.len(),
        }))?;
    } else {
        println!(
            "{} accepted, {} refused in {:.3} s: {:.0} messages/s ({} connections, window {}, {} bytes)",
            outcome.accepted,
            outcome.refused,
            outcome.elapsed.as_secs_f64(),
            outcome.rate(),
            load.connections,
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
    }
    Ok(if outcome.refused == 0 { Exit::Ok } else { Exit::Finding })
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
