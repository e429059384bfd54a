//! How the hub's rate and memory grow: with connections, payload, rules,
//! targets and backlog. One command measures all of it and writes plots, the
//! raw figures and a page about them into `docs/performance/`.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use octroi_benches::growth::{self, Axis, Ground, Point, backlog};
use octroi_benches::plot::{self, Panel};
use octroi_benches::report::{median, quantile};
use octroi_benches::{Outcome, beside, disk, ended, machine};
use serde_json::{Value, json};

#[derive(Parser)]
struct Args {
    /// The hub's binary; default: the one beside this.
    #[arg(long, env = "OCTROI_BIN", default_value_os_t = beside("octroi"), hide_default_value = true)]
    octroi: PathBuf,
    /// Where data goes, on a real disk.
    #[arg(long, default_value = "growth-data")]
    dir: PathBuf,
    /// Where plots, figures and the page go.
    #[arg(long, default_value = "docs/performance")]
    out: PathBuf,
    /// Runs of each point.
    #[arg(long, default_value_t = 3)]
    repeats: usize,
    /// Messages of each run, at most.
    #[arg(long, default_value_t = 300_000)]
    messages: u64,
    /// The largest backlog.
    #[arg(long, default_value_t = 4)]
    gib: u64,
}

fn main() -> ExitCode {
    ended("growth", run(&Args::parse()))
}

/// One axis, measured.
struct Series {
    name: &'static str,
    title: &'static str,
    unit: &'static str,
    points: Vec<(f64, String, Vec<Point>)>,
}

fn run(args: &Args) -> Outcome<()> {
    // Before anything is written, which may be to the tree itself.
    let commit = machine::commit();
    fs::create_dir_all(&args.out)?;
    let (dir, file_system) = disk::own_directory(&args.dir)?;
    let machine = format!("{}; {file_system}; bare disk: {}", machine::described()?, disk::measure(&dir)?);
    println!("{machine}");
    let ground = Ground { octroi: args.octroi.clone(), directory: dir.clone(), messages: args.messages };
    let mut all = Vec::new();
    for axis in Axis::ALL {
        all.push(series(axis, &ground, args.repeats)?);
    }
    let points = backlog(&ground, args.gib)?;
    let points = points.into_iter().map(|(mib, point)| (mib as f64, format!("{mib}"), vec![point])).collect();
    let (name, title) = ("backlog", "While nothing goes out: what waits in the journal");
    all.push(Series { name, title, unit: "MiB that wait", points });
    for series in &all {
        fs::write(args.out.join(format!("{}.svg", series.name)), plotted(series)?)?;
    }
    let command: Vec<String> = std::env::args().skip(1).collect();
    let figures = json!({
        "machine": machine, "commit": commit, "arguments": command,
        "series": all.iter().map(raw).collect::<Vec<_>>(),
    });
    fs::write(args.out.join("growth.json"), serde_json::to_string_pretty(&figures)? + "\n")?;
    fs::write(args.out.join("README.md"), page(&all, &machine, &commit, &command))?;
    Ok(fs::remove_dir_all(dir)?)
}

fn series(axis: Axis, ground: &Ground, repeats: usize) -> Outcome<Series> {
    let mut points: Vec<(f64, String, Vec<Point>)> =
        axis.steps().iter().map(|&at| (at as f64, at.to_string(), Vec::new())).collect();
    // The repeats go around the axis, so that a slow minute of the machine is no step of it.
    for _ in 0..repeats {
        for (&at, (_, _, runs)) in axis.steps().iter().zip(&mut points) {
            let point = growth::measure(axis, at, ground)?;
            println!("{} {at}: {point}", axis.name());
            runs.push(point);
        }
    }
    Ok(Series { name: axis.name(), title: axis.title(), unit: axis.unit(), points })
}

fn plotted(series: &Series) -> Outcome<String> {
    let at: Vec<(f64, String)> = series.points.iter().map(|(at, name, _)| (*at, name.clone())).collect();
    let panel = |label: &str, figure: fn(&Point) -> f64| Panel {
        label: label.to_owned(),
        values: series.points.iter().map(|(_, _, runs)| spread(runs, figure)).collect(),
    };
    let panels = [
        panel("messages acknowledged a second", |point| point.rate),
        panel("memory, MiB", |point| point.mib),
    ];
    plot::svg(series.title, series.unit, &at, &panels)
}

fn spread(runs: &[Point], figure: fn(&Point) -> f64) -> (f64, f64, f64) {
    let mut values: Vec<f64> = runs.iter().map(figure).collect();
    let middle = median(values.iter().copied());
    (quantile(&mut values, 0.0), middle, quantile(&mut values, 1.0))
}

fn raw(series: &Series) -> Value {
    let points = series.points.iter().map(
        |(at, _, runs)| json!({ "at": at, "runs": runs.iter().map(Point::to_json).collect::<Vec<_>>() }),
    );
    json!({ "name": series.name, "unit": series.unit, "points": points.collect::<Vec<_>>() })
}

/// The page: what was measured, on what, and each plot with its figures.
fn page(all: &[Series], machine: &str, commit: &str, command: &[String]) -> String {
    let arguments: String = command.iter().map(|argument| format!(" {argument}")).collect();
    let mut text = format!(
        "# How cost grows\n\n\
         Written by `cargo run --release -p octroi-benches --bin growth --{arguments}` at commit `{commit}`. \
         The raw figures are in `growth.json`.\n\n{machine}.\n\n\
         Each point is a fresh hub under QoS 1 from `octroi bench` on the same machine: 200-byte JSON, 50 \
         connections, 5,000 publishes in flight, one rule, one archive, but for what the plot varies. A message \
         counts once it is acknowledged, which is after its sync. CPU seconds are the hub's until the last \
         delivery, memory is the most that its process had resident. Points are medians, bars the least and the most. Absolute figures are this machine's.\n"
    );
    for series in all {
        text += &format!("\n## {}\n\n![{}]({}.svg)\n\n", series.title, series.title, series.name);
        text += &format!(
            "| {} | messages/s | messages per CPU-second | ack p99, ms | memory, MiB |\n",
            series.unit
        );
        text += "| ---: | ---: | ---: | ---: | ---: |\n";
        for (_, name, runs) in &series.points {
            let of = |figure: fn(&Point) -> f64| spread(runs, figure).1;
            text += &format!(
                "| {name} | {:.0} | {:.0} | {:.2} | {:.1} |\n",
                of(|point| point.rate),
                of(|point| point.per_cpu),
                of(|point| point.p99_ms),
                of(|point| point.mib)
            );
        }
    }
    text
}
