//! W1, the reference work: the hub and its peers under the same load, A B A B
//! in one run on one machine. What is measured, and what each side guarantees
//! for it, is in `benches/README.md`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;

use octroi_benches::load::Load;
use octroi_benches::report::{Run, median, print_comparison, print_head};
use octroi_benches::{Outcome, disk, hub, peer};

const USAGE: &str =
    "usage: w1 [--octroi PATH] [--dir DIR] [--policy FILE] [--pairs N] [--messages N] [--rate N]
          [--mosquitto PATH]
  --octroi     the hub's binary; else OCTROI_BIN, else `octroi` beside this one
  --dir        where data goes, on a real disk; default `w1-data`
  --policy     default `policies/bretagne-exemple.toml`
  --pairs      default 5
  --messages   per run; default 1000000
  --rate       messages per second; default: as fast as acks come
  --mosquitto  a second peer, alternating with the first";

struct Args {
    octroi: PathBuf,
    rumqttd: PathBuf,
    mosquitto: Option<PathBuf>,
    dir: PathBuf,
    policy: PathBuf,
    pairs: usize,
    load: Load,
}

fn main() -> ExitCode {
    match arguments().and_then(|args| run(&args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("w1: {error}");
            ExitCode::FAILURE
        }
    }
}

fn arguments() -> Outcome<Args> {
    let beside = |name| Ok::<_, std::io::Error>(std::env::current_exe()?.with_file_name(name));
    let mut args = Args {
        octroi: std::env::var_os("OCTROI_BIN").map_or_else(|| beside("octroi"), |path| Ok(path.into()))?,
        rumqttd: beside("rumqttd_peer")?,
        mosquitto: None,
        dir: "w1-data".into(),
        policy: "policies/bretagne-exemple.toml".into(),
        pairs: 5,
        load: Load { connections: 50, window: 100, size: 200, messages: 1_000_000, rate: None },
    };
    let mut given = std::env::args().skip(1);
    while let Some(name) = given.next() {
        let value = given.next().ok_or(USAGE)?;
        match name.as_str() {
            "--octroi" => args.octroi = value.into(),
            "--dir" => args.dir = value.into(),
            "--policy" => args.policy = value.into(),
            "--pairs" => args.pairs = value.parse()?,
            "--messages" => args.load.messages = value.parse()?,
            "--rate" => args.load.rate = Some(value.parse()?),
            "--mosquitto" => args.mosquitto = Some(value.into()),
            _ => return Err(USAGE.into()),
        }
    }
    Ok(args)
}

fn run(args: &Args) -> Outcome<()> {
    fs::create_dir_all(&args.dir)?;
    let file_system = disk::real_file_system(&args.dir)?;
    // A directory of this run's own: what another left is neither read nor removed.
    let dir = args.dir.join(std::process::id().to_string());
    fs::create_dir(&dir)?;
    let Load { connections, window, size, messages, rate } = args.load;
    let pace = rate.map_or("as fast as acks come".to_owned(), |rate| format!("{rate} messages/s"));
    println!(
        "W1: QoS 1, {connections} connections, window {window}, {size} bytes, {messages} messages, {pace}"
    );
    println!(
        "file system: {file_system}; {} cores, shared by server and generator",
        thread::available_parallelism()?
    );
    print_disk("before", &dir)?;
    print_head();
    let (mut hubs, mut rumqttds, mut mosquittos) = (Vec::new(), Vec::new(), Vec::new());
    let keep = |runs: &mut Vec<Run>, run: Run| {
        run.print();
        runs.push(run);
    };
    for pair in 0..args.pairs {
        keep(&mut hubs, hub::run(&args.octroi, &args.policy, dir.join(format!("hub-{pair}")), &args.load)?);
        keep(&mut rumqttds, peer::rumqttd(&args.octroi, &args.rumqttd, &dir, &args.load)?);
        if let Some(mosquitto) = &args.mosquitto {
            keep(&mut mosquittos, peer::mosquitto(&args.octroi, mosquitto, &dir, &args.load)?);
        }
    }
    print_disk("after", &dir)?;
    print_comparison(&hubs, &rumqttds);
    if !mosquittos.is_empty() {
        print_comparison(&hubs, &mosquittos);
    }
    latency(args, &dir)?;
    Ok(fs::remove_dir_all(dir)?)
}

fn print_disk(when: &str, dir: &Path) -> Outcome<()> {
    println!("bare disk {when}: {}", disk::measure(dir)?);
    Ok(())
}

/// Ack latency where nothing waits in line, and at a steady pace: the hub's against syncs of the bare disk right
/// beside it. rumqttd, which syncs nothing, is the control: its figure is the generator's and the scheduler's own.
fn latency(args: &Args, dir: &Path) -> Outcome<()> {
    let alone = Load { connections: 1, window: 1, messages: 500, rate: None, ..args.load };
    let paced = Load { messages: 300_000, rate: Some(100_000), ..args.load };
    for (what, load) in [("1 connection, window 1", alone), ("paced at 100,000/s", paced)] {
        let hub = hub::Hub::start(&args.octroi, &hub::Setup::example(&args.policy), dir.join("hub-latency"))?;
        let (mut ratios, mut controls) = (Vec::new(), Vec::new());
        for _ in 0..args.pairs {
            let raw = disk::measure(dir)?.sync_p99.as_secs_f64() * 1e6;
            let seen = hub.put(&load)?;
            let control = peer::rumqttd(&args.octroi, &args.rumqttd, dir, &load)?.ack_us;
            let (p50, p99) = seen.ack_us;
            let rate = load.messages as f64 / seen.seconds;
            println!(
                "{what}: {rate:.0}/s, ack p50 {p50} µs, p99 {p99} µs; bare disk p99 {raw:.0} µs; rumqttd p50 {} µs, p99 {} µs",
                control.0, control.1
            );
            ratios.push(p99 as f64 / raw);
            controls.push(control.1 as f64 / raw);
        }
        hub.stop()?;
        let (ratio, control) = (median(ratios.into_iter()), median(controls.into_iter()));
        println!("{what}: ack p99 ÷ bare p99, median {ratio:.2}   bar ≤ 2   (control {control:.2})");
        if control > 1.0 {
            println!("{what}: the control alone exceeds a sync of the disk: this says nothing about the hub");
        }
    }
    Ok(())
}
