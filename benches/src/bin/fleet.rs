//! A fleet: several hubs and one Kafka, and as many sensors as asked for, each
//! with a topic of its own and its own pace. It checks the first step of the
//! sizing page (`docs/sizing.md`): everything arrives, in time, and what it
//! costs a hub is what the page reckons with.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::{Instant, SystemTime};

use clap::Parser;
use clap::builder::RangedU64ValueParser;
use octroi_benches::hub::{Hub, Setup};
use octroi_benches::kafka::Kafka;
use octroi_benches::load::{self, Load, Seen};
use octroi_benches::{Outcome, beside, disk, ended, machine, policy};

/// Rules of each hub's policy.
const RULES: usize = 20;
const TOPIC: &str = "mobilite.mobility.internal.v1";

#[derive(Parser)]
struct Args {
    /// The jars of Apache Kafka.
    #[arg(long)]
    kafka_libs: PathBuf,
    /// The hub's binary; default: the one beside this.
    #[arg(long, env = "OCTROI_BIN", default_value_os_t = beside("octroi"), hide_default_value = true)]
    octroi: PathBuf,
    /// Where data goes, on a real disk.
    #[arg(long, default_value = "fleet-data")]
    dir: PathBuf,
    #[arg(long, default_value_t = 4, value_parser = at_least_one())]
    hubs: u64,
    /// In all.
    #[arg(long, default_value_t = 100_000, value_parser = at_least_one())]
    sensors: u64,
    /// Seconds between two messages of a sensor.
    #[arg(long, default_value_t = 60, value_parser = at_least_one())]
    every: u64,
    /// Then once more, at so many times that rate.
    #[arg(long, default_value_t = 10, value_parser = at_least_one())]
    peak: u64,
    /// How long at each rate.
    #[arg(long, default_value_t = 30, value_parser = at_least_one())]
    seconds: u64,
    /// Of each hub, which its sensors share.
    #[arg(long, default_value_t = 500)]
    connections: usize,
}

fn at_least_one() -> RangedU64ValueParser {
    clap::value_parser!(u64).range(1..)
}

fn main() -> ExitCode {
    ended("fleet", run(&Args::parse()))
}

fn run(args: &Args) -> Outcome<()> {
    let (directory, file_system) = disk::own_directory(&args.dir)?;
    println!("{}; {file_system}; bare disk: {}", machine::described()?, disk::measure(&directory)?);
    let mut kafka = Kafka::start(&args.kafka_libs, &directory.join("kafka"))?;
    kafka.create(TOPIC)?;
    let policy = directory.join("policy.toml");
    policy::write(&policy, RULES, 1)?;
    let outlet = format!(
        "\n[outlet.{}]\nkind = \"kafka\"\nbrokers = [\"{}\"]\ntopic = \"{TOPIC}\"\n",
        policy::target(0),
        kafka.address
    );
    let setup = Setup { policy, archives: Vec::new(), tables: outlet };
    let hubs = (0..args.hubs).map(|hub| {
        let topics = directory.join(format!("topics-{hub}"));
        fs::write(&topics, sensors(hub, args)?)?;
        Ok((Hub::start(&args.octroi, &setup, directory.join(format!("hub-{hub}")))?, topics))
    });
    let hubs = hubs.collect::<Outcome<Vec<_>>>()?;
    println!(
        "{} sensors, each every {} s, over {} hubs with {} connections each; a policy of {RULES} rules; one Kafka",
        args.sensors, args.every, args.hubs, args.connections
    );
    let usual = args.sensors.div_ceil(args.every);
    for rate in [usual, usual * args.peak] {
        drive(args, &hubs, &kafka, &directory, rate)?;
    }
    for (hub, _) in hubs {
        hub.stop()?;
    }
    drop(kafka);
    Ok(fs::remove_dir_all(&directory)?)
}

/// A topic for each sensor of a hub, a line each.
fn sensors(hub: u64, args: &Args) -> Outcome<String> {
    let mut topics = String::new();
    for sensor in (hub..args.sensors).filter(|sensor| sensor % args.hubs == hub) {
        writeln!(topics, "ville/mobilite/capteur-{sensor}/count")?;
    }
    Ok(topics)
}

/// So many messages a second in all, for a while; prints what it took.
fn drive(args: &Args, hubs: &[(Hub, PathBuf)], kafka: &Kafka, directory: &Path, rate: u64) -> Outcome<()> {
    let each = rate.div_ceil(args.hubs);
    let load = Load {
        connections: args.connections,
        window: 10,
        size: 200,
        messages: each * args.seconds,
        rate: Some(each),
    };
    let messages = load.messages * args.hubs;
    let cpu = || hubs.iter().map(|(hub, _)| hub.process.cpu()).sum::<Outcome<f64>>();
    let (before, cpu_before, kafka_before) = (kafka.records(TOPIC)?, cpu()?, kafka.cpu()?);
    let began = Instant::now();
    let seen: Vec<Outcome<Seen>> = thread::scope(|scope| {
        let runs = hubs.iter().enumerate().map(|(number, (hub, topics))| {
            let log = directory.join(format!("load-{number}.log"));
            scope.spawn(move || {
                let topics = ["--topics".as_ref(), topics.as_os_str()];
                load::put_on(&topics, &args.octroi, &load, hub.mqtt, &hub.process, &log)
                    .map_err(|error| error.to_string())
            })
        });
        let runs: Vec<_> = runs.collect();
        runs.into_iter().map(|run| Ok(run.join().map_err(|_| "a generator's thread failed")??)).collect()
    });
    let seen = seen.into_iter().collect::<Outcome<Vec<_>>>()?;
    let acknowledged = SystemTime::now();
    let (held, at) = kafka.arrivals(TOPIC, before + messages)?;
    let (arrived, late) = (held - before, at.duration_since(acknowledged).unwrap_or_default());
    let spent = cpu()? - cpu_before;
    let p50 = seen.iter().map(|seen| seen.ack_us.0).max().unwrap_or(0);
    let p99 = seen.iter().map(|seen| seen.ack_us.1).max().unwrap_or(0);
    let mut peak = 0_f64;
    for (hub, _) in hubs {
        peak = peak.max(hub.process.peak_mib()?);
    }
    println!("\n{rate} messages/s for {:.1} s: {messages} acknowledged", began.elapsed().as_secs_f64());
    println!(
        "  in Kafka                 {arrived}, the last {:.2} s after the last PUBACK",
        late.as_secs_f64()
    );
    println!("  acknowledged within      p50 {p50} µs, p99 {p99} µs (of the hub where it was most)");
    println!("  CPU of the hubs          {spent:.2} s, {:.1} µs a message", spent * 1e6 / messages as f64);
    println!("  CPU of Kafka             {:.2} s", kafka.cpu()? - kafka_before);
    println!("  memory of a hub          {peak:.0} MiB at most");
    if arrived != messages {
        return Err(format!("{arrived} of {messages} arrived").into());
    }
    Ok(())
}
