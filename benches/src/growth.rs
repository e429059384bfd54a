//! One point of a curve: a fresh hub, one thing larger than usual, one load.

use std::fmt::{self, Display, Formatter};
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::Outcome;
use crate::hub::{Hub, Setup};
use crate::load::{Load, Seen};
use crate::policy;

/// Publishes in flight, all connections together.
const IN_FLIGHT: usize = 5_000;
/// Payload bytes of one run, at most.
const RUN_BYTES: u64 = 256 << 20;
/// Payload of what waits: large, so that a backlog takes seconds.
const WAITING_BYTES: usize = 4 << 10;

/// What grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axis {
    /// Connections.
    Connections,
    /// Bytes of each payload.
    Payload,
    /// Rules of the policy.
    Rules,
    /// Targets that each message goes to.
    Targets,
}

impl Axis {
    /// All of them; a backlog is [`backlog`].
    pub const ALL: [Self; 4] = [Self::Connections, Self::Payload, Self::Rules, Self::Targets];

    /// Where it is measured. The generator's JSON has 130 bytes at least.
    pub const fn steps(self) -> &'static [usize] {
        match self {
            Self::Connections => &[1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000],
            Self::Payload => &[130, 200, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 65_536],
            Self::Rules => &[10, 30, 100, 300, 1_000, 3_000, 10_000],
            Self::Targets => &[1, 2, 3, 4, 6, 8],
        }
    }

    /// Of its plot's file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Payload => "payload",
            Self::Rules => "rules",
            Self::Targets => "targets",
        }
    }

    /// Of its plot.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Connections => "With connections",
            Self::Payload => "With the payload",
            Self::Rules => "With the policy's rules",
            Self::Targets => "With the targets of each message",
        }
    }

    /// What its steps count.
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Payload => "payload bytes",
            Self::Rules => "rules",
            Self::Targets => "targets, each an archive",
        }
    }
}

/// Where hubs run, and under how many messages at most.
#[derive(Clone, Debug)]
pub struct Ground {
    /// The hub's binary, which is the generator too.
    pub octroi: PathBuf,
    /// On a real disk.
    pub directory: PathBuf,
    /// Of each run, at most.
    pub messages: u64,
}

/// What one run showed.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    /// Messages acknowledged a second.
    pub rate: f64,
    /// Messages per CPU second of the hub, until all it was to deliver is delivered.
    pub per_cpu: f64,
    /// Ack latency under saturation, 99th percentile, ms.
    pub p99_ms: f64,
    /// The most memory the hub had resident, MiB.
    pub mib: f64,
}

impl Point {
    /// Of a hub that had spent `cpu` seconds when the load began.
    fn of(hub: &Hub, messages: u64, seen: &Seen, cpu: f64) -> Outcome<Self> {
        Ok(Self {
            rate: messages as f64 / seen.seconds,
            // `/proc` ticks every 10 ms.
            per_cpu: messages as f64 / (hub.process.cpu()? - cpu).max(0.01),
            p99_ms: seen.ack_us.1 as f64 / 1e3,
            mib: hub.process.peak_mib()?,
        })
    }

    /// All of it.
    pub fn to_json(&self) -> Value {
        json!({
            "messages_per_second": self.rate, "messages_per_cpu_second": self.per_cpu,
            "ack_p99_ms": self.p99_ms, "memory_mib": self.mib,
        })
    }
}

impl Display for Point {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.0} messages/s, {:.0} a CPU second, ack p99 {:.2} ms, {:.1} MiB",
            self.rate, self.per_cpu, self.p99_ms, self.mib
        )
    }
}

/// A fresh hub with `at` of what grows, under one load.
///
/// # Errors
/// It does not start, or does not accept all.
pub fn measure(axis: Axis, at: usize, ground: &Ground) -> Outcome<Point> {
    let usual = |of: Axis, usual: usize| if axis == of { at } else { usual };
    let (rules, targets) = (usual(Axis::Rules, 1), usual(Axis::Targets, 1));
    let load = load(usual(Axis::Connections, 50), usual(Axis::Payload, 200), ground.messages);
    let setup = Setup {
        policy: written(ground, rules, targets)?,
        archives: (0..targets).map(policy::target).collect(),
        // All of them come from one address here.
        tables: "\n[connections]\nper_address = 20000\n".to_owned(),
    };
    let mut hub = Hub::start(&ground.octroi, &setup, ground.directory.join("hub"))?;
    let cpu = hub.process.cpu()?;
    let seen = hub.put(&load)?;
    hub.wait_for(load.messages * targets as u64)?;
    let point = Point::of(&hub, load.messages, &seen, cpu)?;
    hub.stop()?;
    Ok(point)
}

/// What waits, in MiB of payload, and what each further step of it costs: a hub whose one target is out of reach,
/// up to `gib`. Memory is the most since its start.
///
/// # Errors
/// It does not start, or does not accept all.
pub fn backlog(ground: &Ground, gib: u64) -> Outcome<Vec<(u64, Point)>> {
    let setup = Setup::out_of_reach(written(ground, 1, 1)?);
    let hub = Hub::start(&ground.octroi, &setup, ground.directory.join("hub"))?;
    let most = gib << 10;
    let (mut points, mut waiting, mut step) = (Vec::new(), 0, 64);
    loop {
        let messages = (step << 20) / WAITING_BYTES as u64;
        let load = Load { messages, ..load(50, WAITING_BYTES, messages) };
        let cpu = hub.process.cpu()?;
        let seen = hub.put(&load)?;
        let point = Point::of(&hub, messages, &seen, cpu)?;
        println!("backlog {waiting} MiB: {point}");
        points.push((waiting, point));
        if waiting == most {
            break;
        }
        waiting += step;
        // Each step doubles what waits; the last is a look at the most of it.
        step = if waiting == most { step.min(1024) } else { waiting.min(most - waiting) };
    }
    // Its drain would wait for a target that never comes.
    hub.give_up()?;
    Ok(points)
}

fn written(ground: &Ground, rules: usize, targets: usize) -> Outcome<PathBuf> {
    let path = ground.directory.join("policy.toml");
    policy::write(&path, rules, targets)?;
    Ok(path)
}

/// A load that takes about as long whatever it varies.
fn load(connections: usize, size: usize, messages: u64) -> Load {
    let messages = messages.min(RUN_BYTES / size as u64).max(1);
    Load { connections, window: (IN_FLIGHT / connections).max(1), size, messages, rate: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_has_the_same_in_flight_and_no_more_bytes_than_a_run_may() {
        let many = load(10_000, 200, 1_000);
        assert_eq!((many.window, many.messages), (1, 1_000));
        let large = load(50, 65_536, 300_000);
        assert_eq!((large.window, large.messages), (100, 4_096));
    }
}
