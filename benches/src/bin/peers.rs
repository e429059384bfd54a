//! The hub beside its peers, in turn, in one run on one machine: brokers under
//! W1, and pipelines from MQTT to Kafka. `benches/peers/run.sh` installs what
//! can be had and starts this. What cannot be had is listed with the reason.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use octroi_benches::contest::{Bar, Contest, Contestant, Trial};
use octroi_benches::kafka::Kafka;
use octroi_benches::load::Load;
use octroi_benches::pipeline::{Care, Pipeline, Site};
use octroi_benches::report::Run;
use octroi_benches::{Outcome, beside, disk, ended, hub, machine, peer, policy};
use serde_json::{Value, json};

const BROKER_BARS: &[Bar] =
    &[Bar { peer: "rumqttd 0.20", least: 1.5 }, Bar { peer: "mosquitto 2", least: 10.0 }];
const PIPELINE_BARS: &[Bar] = &[
    Bar { peer: Pipeline::Benthos.name(Care::Safest), least: 5.0 },
    Bar { peer: Pipeline::MqBridge.name(Care::Safest), least: 5.0 },
    Bar { peer: Pipeline::Kcat.name(Care::Safest), least: 5.0 },
];

/// Peers that would belong here, and why they are not. A registry that gives one to you is a reason to add it.
const NOT_HAD: &[(&str, &str)] = &[
    (
        "Redpanda Connect",
        "its components are not under an open-source licence; its engine (benthos, MIT) runs in its place with the client libraries it uses",
    ),
    ("Bento", "the Go module proxy refuses its module"),
    (
        "Kafka Connect, Apache Camel",
        "no MQTT source for them can be fetched by Maven: neither `camel-paho` nor `camel-paho-mqtt5` 4.22",
    ),
    ("Fluent Bit", "no package of it in Debian 12, on PyPI or on npm"),
    ("Vector", "no package of it in Debian 12, on PyPI or on npm; the crate of that name is something else"),
];

#[derive(Parser)]
struct Args {
    /// The hub's binary; default: the one beside this.
    #[arg(long, env = "OCTROI_BIN", default_value_os_t = beside("octroi"), hide_default_value = true)]
    octroi: PathBuf,
    /// Where data goes, on a real disk.
    #[arg(long, default_value = "peers-data")]
    dir: PathBuf,
    #[arg(long, default_value_t = Rows::All, value_enum)]
    rows: Rows,
    /// Rounds.
    #[arg(long, default_value_t = 5)]
    pairs: usize,
    /// Of each run of a broker.
    #[arg(long, default_value_t = 1_000_000)]
    messages: u64,
    /// Of each run of a pipeline.
    #[arg(long, default_value_t = 200_000)]
    kafka_messages: u64,
    #[arg(long, default_value = "/usr/sbin/mosquitto")]
    mosquitto: PathBuf,
    /// The jars of Apache Kafka; without them that row is not run.
    #[arg(long)]
    kafka_libs: Option<PathBuf>,
    #[arg(long, default_value = "target/peers/benthos")]
    benthos: PathBuf,
    #[arg(long, default_value = "target/peers/python/bin/python")]
    python: PathBuf,
    /// Where all figures go, each run's too.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// What is run.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Rows {
    Brokers,
    Kafka,
    All,
}

fn main() -> ExitCode {
    ended("peers", run(&Args::parse()))
}

fn run(args: &Args) -> Outcome<()> {
    let (dir, file_system) = disk::own_directory(&args.dir)?;
    let (machine, commit) = (machine::described()?, machine::commit());
    let raw = disk::measure(&dir)?;
    println!("{machine}, shared by all; file system: {file_system}; commit {commit}; {} rounds", args.pairs);
    println!("bare disk: {raw}");
    let (mut not_run, mut rows) = (Vec::new(), Vec::new());
    if args.rows != Rows::Kafka {
        rows.push(brokers(args, &dir, &mut not_run)?);
    }
    if args.rows != Rows::Brokers {
        rows.extend(pipelines(args, &dir, &mut not_run)?);
    }
    rows.iter().for_each(Contest::print);
    println!("\nnot run:");
    for (name, why) in &not_run {
        println!("  {name}: {why}");
    }
    if let Some(path) = &args.json {
        let rows: Vec<Value> = rows.iter().map(Contest::to_json).collect();
        let all = json!({
            "machine": machine, "commit": commit, "file_system": file_system, "rounds": args.pairs,
            "sync_us": { "p50": raw.sync_p50.as_micros(), "p99": raw.sync_p99.as_micros() },
            "rows": rows, "not_run": not_run,
        });
        fs::write(path, serde_json::to_string_pretty(&all)?)?;
    }
    Ok(fs::remove_dir_all(dir)?)
}

/// W1 on the hub, on rumqttd and on mosquitto.
fn brokers(args: &Args, dir: &Path, not_run: &mut Vec<(String, String)>) -> Outcome<Contest> {
    let load = Load { messages: args.messages, ..Load::W1 };
    let example = Path::new("policies/bretagne-exemple.toml");
    let with_mosquitto = args.mosquitto.exists();
    let mut contestants = vec![
        contestant(
            "hub",
            "each message decided by the example region's policy, journalled with its decision and synced before its PUBACK, delivered to two archives: a power cut loses nothing acknowledged",
        ),
        contestant("rumqttd 0.20", "in memory, one link reads it: a power cut loses everything"),
    ];
    if with_mosquitto {
        contestants.push(contestant(
            "mosquitto 2",
            "in memory, one subscriber reads it: a power cut loses everything",
        ));
    } else {
        not_run.push(("mosquitto 2".to_owned(), format!("`{}` is not there", args.mosquitto.display())));
    }
    for round in 0..args.pairs {
        let mut runs = vec![
            hub::run(&args.octroi, example, dir.join(format!("hub-{round}")), &load)?,
            peer::rumqttd(&args.octroi, dir, &load)?,
        ];
        if with_mosquitto {
            runs.push(peer::mosquitto(&args.octroi, &args.mosquitto, dir, &load)?);
        }
        for (contestant, run) in contestants.iter_mut().zip(&runs) {
            add(contestant, acknowledged(run));
        }
    }
    let title = "W1a: QoS 1, 50 connections, 200 bytes, until the last PUBACK";
    Ok(Contest { title, contestants, rate_bars: BROKER_BARS, cpu_bars: &[] })
}

/// A broker's work ends with its last PUBACK here (W1a); its CPU seconds go on to the last delivery.
fn acknowledged(run: &Run) -> Trial {
    Trial {
        messages: run.messages,
        arrived: run.messages,
        seconds: run.acked_seconds,
        cpu: run.server_cpu.1,
        broker_cpu: 0.0,
        peak_mib: run.peak_mib,
        beside: format!(
            "delivered in {:.2} s; ack p50 {} µs, p99 {} µs; CPU beside it: generator {:.2} s",
            run.delivered_seconds, run.ack_us.0, run.ack_us.1, run.generator_cpu
        ),
    }
}

/// The same load through each pipeline into one Kafka; `None`: there is no Kafka.
fn pipelines(args: &Args, dir: &Path, not_run: &mut Vec<(String, String)>) -> Outcome<Option<Contest>> {
    not_run.extend(NOT_HAD.iter().map(|(name, why)| ((*name).to_owned(), (*why).to_owned())));
    let Some(libs) = args.kafka_libs.as_deref().filter(|libs| libs.is_dir()) else {
        not_run.push(("every pipeline".to_owned(), "no jars of Apache Kafka (`--kafka-libs`)".to_owned()));
        return Ok(None);
    };
    let policy = dir.join("policy.toml");
    policy::write(&policy, 1, 1)?;
    let mut site = Site {
        octroi: args.octroi.clone(),
        mosquitto: args.mosquitto.clone(),
        benthos: args.benthos.clone(),
        python: args.python.clone(),
        policy,
        directory: dir.to_path_buf(),
        kafka: Kafka::start(libs, &dir.join("kafka"))?,
    };
    let mut entered = Vec::new();
    for pipeline in Pipeline::ALL {
        match pipeline.missing(&site) {
            None => entered.extend(
                [Care::Safest, Care::Fastest]
                    .map(|care| (pipeline, care, contestant(pipeline.name(care), pipeline.guarantee(care)))),
            ),
            Some(reason) => not_run.push((pipeline.name(Care::Safest).to_owned(), reason)),
        }
    }
    let load = Load { messages: args.kafka_messages, ..Load::W1 };
    // Kafka's first requests run before its code is compiled; whoever comes first would pay for that.
    let warm_up = Pipeline::Hub.run(Care::Safest, &mut site, "warm-up", &load)?;
    println!("{:<20} {warm_up}", "warm-up, not counted");
    for round in 0..args.pairs {
        let (mut number, mut failed) = (0, None);
        // A peer that fails is out, with its reason; the hub's failure is the bench's.
        entered.retain_mut(|(pipeline, care, contestant)| {
            number += 1;
            match pipeline.run(*care, &mut site, &format!("round-{round}-{number}"), &load) {
                Ok(trial) => add(contestant, trial),
                Err(error) if *pipeline == Pipeline::Hub => failed = Some(error),
                Err(error) => {
                    not_run.push((contestant.name.to_owned(), format!("failed in round {round}: {error}")));
                    return false;
                }
            }
            true
        });
        if let Some(error) = failed {
            return Err(error);
        }
    }
    let title = "MQTT to Apache Kafka: QoS 1, 50 connections, 200 bytes, until the last record is in Kafka";
    let contestants = entered.into_iter().map(|(_, _, contestant)| contestant).collect();
    Ok(Some(Contest { title, contestants, rate_bars: &[], cpu_bars: PIPELINE_BARS }))
}

fn contestant(name: &'static str, guarantee: &'static str) -> Contestant {
    Contestant { name, guarantee, trials: Vec::new() }
}

fn add(contestant: &mut Contestant, trial: Trial) {
    println!("{:<20} {trial}", contestant.name);
    contestant.trials.push(trial);
}
