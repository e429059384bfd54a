//! The strict JSON reader beside `serde_json` into `Value`: bytes per second,
//! alternating, medians; and allocations per message. Run with `--release`.
//!
//! `cargo run --release -p octroi-policy --example scan`

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark prints and reads the clock"
)]
#![expect(clippy::unwrap_used, reason = "a benchmark of payloads that are valid")]

use std::hint::black_box;
use std::time::Instant;

use octroi_policy::ast::Format;
use octroi_policy::json::{Scratch, read_into};
use octroi_policy::{Facts, read_with};

const TOPIC: &str = "ville/mobilite/compteur-7/count";

fn payloads() -> Vec<(&'static str, Vec<u8>)> {
    let counter = r#"{"device":"compteur-7","ts":"2026-11-20T06:00:00Z","period":"PT15M","count":128,"speed_avg":43.7,"occupancy_pct":12.25,"by_class":{"car":109,"truck":6,"bicycle":13},"quality":"nominal","firmware":"2.14"}"#;
    let records: Vec<String> = (0..300)
        .map(|at| {
            format!(r#"{{"id":"capteur-{at:04}","value":{}.{at},"ok":{},"unit":"Cel"}}"#, at * 7, at % 3 == 0)
        })
        .collect();
    let object: Vec<String> = (0..4000).map(|at| format!(r#""key-{at:05}":{at}"#)).collect();
    let text = format!(r#"{{"note":"{}"}}"#, "Relevé du capteur n° 12 à Redon. ".repeat(200));
    vec![
        ("200 B object", counter.as_bytes().to_vec()),
        ("200 B, numbers", r#"{"ts":1795154400,"v":[231.2,230.9,232.1,18.25,17.9,18.4,0.94,0.93,0.95],"e":104233.4,"p":[4210.5,4187.1,4302.9],"f":50.01,"t":-1.5,"rssi":-97,"snr":7.2,"n":40218,"lat":48.10871,"lon":-1.67422}"#.as_bytes().to_vec()),
        ("15 KB array", format!("[{}]", records.join(",")).into_bytes()),
        ("4,000 keys", format!("{{{}}}", object.join(",")).into_bytes()),
        ("7 KB text", text.into_bytes()),
    ]
}

fn nanos(rounds: u32, mut work: impl FnMut()) -> f64 {
    let start = Instant::now();
    for _ in 0..rounds {
        work();
    }
    start.elapsed().as_secs_f64() * 1e9 / f64::from(rounds)
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn main() {
    println!(
        "{:16} {:>7} {:>10} {:>10} {:>10} {:>7} {:>7}",
        "payload", "bytes", "scan ns", "read ns", "serde ns", "ratio", "MB/s"
    );
    for (name, payload) in payloads() {
        let rounds = u32::try_from(20_000_000 / (payload.len() * 10)).unwrap_or(1).max(10);
        let mut scratch = Scratch::default();
        let (mut scan, mut read, mut serde) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..11 {
            scan.push(nanos(rounds, || {
                let mut facts = Facts::default();
                read_into(black_box(&payload), &mut facts, &mut scratch).unwrap();
                black_box(&facts);
            }));
            serde.push(nanos(rounds, || {
                black_box(serde_json::from_slice::<serde_json::Value>(black_box(&payload)).unwrap());
            }));
            read.push(nanos(rounds, || {
                black_box(read_with(Format::Json, TOPIC, black_box(&payload), &mut scratch).unwrap());
            }));
        }
        let (scan, read, serde) = (median(scan), median(read), median(serde));
        let bytes = payload.len();
        println!(
            "{name:16} {bytes:7} {scan:10.0} {read:10.0} {serde:10.0} {:7.2} {:7.0}",
            serde / scan,
            bytes as f64 / scan * 1e3
        );
    }
}
