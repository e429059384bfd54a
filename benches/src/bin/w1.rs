//! W1, the reference work: the hub and its peers under the same load, A B A B
//! in one run on one machine. What is measured, and what each side guarantees
//! for it, is in `benches/README.md`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;

use clap::Parser;
use octroi_benches::load::Load;
use octroi_benches::report::{Run, median, print_comparison, print_head};
use octroi_benches::{Outcome, beside, disk, ended, hub, peer};

#[derive(Parser)]
struct Args {
    /// The hub's binary; default: the one beside this.
    #[arg(long, env = "OCTROI_BIN", default_value_os_t = beside("octroi"), hide_default_value = true)]
    octroi: PathBuf,
    /// Where data goes, on a real disk.
    #[arg(long, default_value = "w1-data")]
    dir: PathBuf,
    #[arg(long, default_value = "policies/bretagne-exemple.toml")]
    policy: PathBuf,
    #[arg(long, default_value_t = 5)]
    pairs: usize,
    /// Of each run.
    #[arg(long, default_value_t = 1_000_000)]
    messages: u64,
    /// Messages a second; default: as fast as acks come.
    #[arg(long)]
    rate: Option<u64>,
    /// A second peer, alternating with the first.
    #[arg(long)]
    mosquitto: Option<PathBuf>,
}

fn main() -> ExitCode {
    ended("w1", run(&Args::parse()))
}

fn run(args: &Args) -> Outcome<()> {
    let (dir, file_system) = disk::own_directory(&args.dir)?;
    let load = Load { messages: args.messages, rate: args.rate, ..Load::W1 };
    let Load { connections, window, size, messages, rate } = load;
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
        keep(&mut hubs, hub::run(&args.octroi, &args.policy, dir.join(format!("hub-{pair}")), &load)?);
        keep(&mut rumqttds, peer::rumqttd(&args.octroi, &dir, &load)?);
        if let Some(mosquitto) = &args.mosquitto {
            keep(&mut mosquittos, peer::mosquitto(&args.octroi, mosquitto, &dir, &load)?);
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
    let alone = Load { connections: 1, window: 1, messages: 500, ..Load::W1 };
    let paced = Load { messages: 300_000, rate: Some(100_000), ..Load::W1 };
    for (what, load) in [("1 connection, window 1", alone), ("paced at 100,000/s", paced)] {
        let hub = hub::Hub::start(&args.octroi, &hub::Setup::example(&args.policy), dir.join("hub-latency"))?;
        let (mut ratios, mut controls) = (Vec::new(), Vec::new());
        for _ in 0..args.pairs {
            let raw = disk::measure(dir)?.sync_p99.as_secs_f64() * 1e6;
            let seen = hub.put(&load)?;
            let control = peer::rumqttd(&args.octroi, dir, &load)?.ack_us;
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
