//! A fleet: several hubs and one Kafka, and as many sensors as asked for, each
//! with a topic of its own and its own pace. It checks the first step of the
//! sizing page (`docs/sizing.md`): everything arrives, in time, and what it
//! costs a hub is what the page reckons with.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use octroi_benches::hub::{Hub, Setup};
use octroi_benches::kafka::Kafka;
use octroi_benches::load::{self, Load, Seen};
use octroi_benches::{Outcome, disk, machine, policy};

const USAGE: &str = "usage: fleet --kafka-libs DIR [--octroi PATH] [--dir DIR] [--hubs N] [--sensors N]
             [--every SECONDS] [--peak N] [--seconds N] [--connections N]
  --kafka-libs   the jars of Apache Kafka
  --octroi       the hub's binary; default `octroi` beside this one
  --dir          where data goes, on a real disk; default `fleet-data`
  --hubs         default 4
  --sensors      in all; default 100000
  --every        seconds between two messages of one; default 60
  --peak         then once more at so many times that rate; default 10
  --seconds      how long at each rate; default 30
  --connections  of each hub, which its sensors share; default 500";

/// Rules of each hub's policy.
const RULES: usize = 20;
const TOPIC: &str = "mobilite.mobility.internal.v1";
/// What has not arrived this long after the last PUBACK is missing.
const PATIENCE: Duration = Duration::from_secs(60);

struct Args {
    octroi: PathBuf,
    kafka_libs: PathBuf,
    dir: PathBuf,
    hubs: usize,
    sensors: usize,
    every: u64,
    peak: u64,
    seconds: u64,
    connections: usize,
}

fn main() -> ExitCode {
    match arguments().and_then(|args| run(&args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fleet: {error}");
            ExitCode::FAILURE
        }
    }
}

fn arguments() -> Outcome<Args> {
    let mut args = Args {
        octroi: std::env::current_exe()?.with_file_name("octroi"),
        kafka_libs: PathBuf::new(),
        dir: "fleet-data".into(),
        hubs: 4,
        sensors: 100_000,
        every: 60,
        peak: 10,
        seconds: 30,
        connections: 500,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().ok_or(USAGE)?;
        match word.as_str() {
            "--octroi" => args.octroi = value.into(),
            "--kafka-libs" => args.kafka_libs = value.into(),
            "--dir" => args.dir = value.into(),
            "--hubs" => args.hubs = value.parse()?,
            "--sensors" => args.sensors = value.parse()?,
            "--every" => args.every = value.parse()?,
            "--peak" => args.peak = value.parse()?,
            "--seconds" => args.seconds = value.parse()?,
            "--connections" => args.connections = value.parse()?,
            _ => return Err(USAGE.into()),
        }
    }
    let counts = [args.hubs as u64, args.every, args.peak, args.seconds, args.connections as u64];
    if counts.contains(&0) || args.sensors < args.hubs || args.kafka_libs.as_os_str().is_empty() {
        return Err(USAGE.into());
    }
    Ok(args)
}

fn run(args: &Args) -> Outcome<()> {
    fs::create_dir_all(&args.dir)?;
    let file_system = disk::real_file_system(&args.dir)?;
    let directory = args.dir.canonicalize()?.join(format!("fleet-{}", std::process::id()));
    fs::create_dir(&directory)?;
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
    let usual = (args.sensors as u64).div_ceil(args.every);
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
fn sensors(hub: usize, args: &Args) -> Outcome<String> {
    let mut topics = String::new();
    for sensor in (hub..args.sensors).step_by(args.hubs) {
        writeln!(topics, "ville/mobilite/capteur-{sensor}/count")?;
    }
    Ok(topics)
}

/// So many messages a second in all, for a while; prints what it took.
fn drive(args: &Args, hubs: &[(Hub, PathBuf)], kafka: &Kafka, directory: &Path, rate: u64) -> Outcome<()> {
    let each = rate.div_ceil(args.hubs as u64);
    let load = Load {
        connections: args.connections,
        window: 10,
        size: 200,
        messages: each * args.seconds,
        rate: Some(each),
    };
    let messages = load.messages * args.hubs as u64;
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
    let acknowledged = Instant::now();
    let arrived = || Ok::<_, Box<dyn std::error::Error>>(kafka.records(TOPIC)? - before);
    while arrived()? < messages && acknowledged.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(100));
    }
    let (arrived, late) = (arrived()?, acknowledged.elapsed());
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
