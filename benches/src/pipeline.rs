//! Pipelines from MQTT to Kafka under measurement: the hub, and what else
//! takes messages from one to the other. All get the same topics and payloads
//! at QoS 1 from the same generator, and end in the same Kafka.
//!
//! Most are clients and want a broker before them; what that broker and Kafka
//! cost is told beside, and is not the pipeline's. Each comes at its safest
//! settings and at its fastest, with what it then guarantees.

mod launch;

use std::path::{Path, PathBuf};

use crate::Outcome;
use crate::contest::Trial;
use crate::kafka::Kafka;
use crate::load::{self, Load};

pub use launch::Running;

/// A pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pipeline {
    /// The hub, which is a broker itself.
    Hub,
    /// The hub as a client of the same broker as the others.
    HubBehind,
    /// The engine of Redpanda Connect with the client libraries that Connect uses.
    Benthos,
    /// mq-bridge of PyPI, whose core is Rust.
    MqBridge,
    /// `mosquitto_sub | kcat -P`.
    Kcat,
}

/// What a pipeline is set up for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Care {
    /// Losing as little as it can.
    Safest,
    /// Costing as little as it can.
    Fastest,
}

/// Where all of them run, and with what.
#[derive(Debug)]
pub struct Site {
    /// The hub's binary, which is the generator too.
    pub octroi: PathBuf,
    /// The broker before the clients.
    pub mosquitto: PathBuf,
    /// `benches/peers/benthos`, built.
    pub benthos: PathBuf,
    /// A Python that has mq-bridge.
    pub python: PathBuf,
    /// A policy with one target, to which everything goes.
    pub policy: PathBuf,
    /// For what they write.
    pub directory: PathBuf,
    /// The end of all.
    pub kafka: Kafka,
}

impl Pipeline {
    /// All of them, the hub first.
    pub const ALL: [Self; 5] = [Self::Hub, Self::HubBehind, Self::Benthos, Self::MqBridge, Self::Kcat];

    /// What it is called in the table.
    pub const fn name(self, care: Care) -> &'static str {
        match (self, care) {
            (Self::Hub, Care::Safest) => "hub, all headers",
            (Self::Hub, Care::Fastest) => "hub, least headers",
            (Self::HubBehind, Care::Safest) => "hub behind, all",
            (Self::HubBehind, Care::Fastest) => "hub behind, least",
            (Self::Benthos, Care::Safest) => "benthos, safest",
            (Self::Benthos, Care::Fastest) => "benthos, fastest",
            (Self::MqBridge, Care::Safest) => "mq-bridge, safest",
            (Self::MqBridge, Care::Fastest) => "mq-bridge, fastest",
            (Self::Kcat, Care::Safest) => "sub | kcat, safest",
            (Self::Kcat, Care::Fastest) => "sub | kcat, fastest",
        }
    }

    /// What it guarantees then.
    pub const fn guarantee(self, care: Care) -> &'static str {
        match (self, care) {
            (Self::Hub, Care::Safest) => {
                "each message decided by a policy, journalled and synced before its PUBACK; acks=all, idempotent; CloudEvents headers; a power cut loses nothing acknowledged"
            }
            (Self::Hub, Care::Fastest) => "the same, with three headers a record",
            (Self::HubBehind, Care::Safest) => {
                "the same from mosquitto on, which gets its PUBACK after the sync; what mosquitto has queued is mosquitto's to lose"
            }
            (Self::HubBehind, Care::Fastest) => "the same, with three headers a record",
            (Self::Benthos | Self::MqBridge, Care::Safest) => {
                "QoS 1, session kept; mosquitto gets its PUBACK once Kafka has the record (acks=all, idempotent); a power cut loses what mosquitto acknowledged in the last second"
            }
            (Self::Benthos | Self::MqBridge, Care::Fastest) => {
                "QoS 0, acks=1, nothing kept: whatever ends takes with it what it held"
            }
            (Self::Kcat, Care::Safest) => {
                "QoS 1, session kept, acks=all, idempotent; but acknowledged when read: what is in the pipe or in kcat is lost with them, the last few are in its buffer when all is over; topic and key are lost always"
            }
            (Self::Kcat, Care::Fastest) => "QoS 0, acks=1, nothing kept; topic and key are lost always",
        }
    }

    /// What it lacks here, if anything.
    pub fn missing(self, site: &Site) -> Option<String> {
        let file = |path: &Path, how: &str| {
            (!path.exists()).then(|| format!("`{}` is not there: {how}", path.display()))
        };
        let mosquitto = || file(&site.mosquitto, "apt-get install mosquitto mosquitto-clients");
        match self {
            Self::Hub => None,
            Self::HubBehind | Self::Kcat => mosquitto(),
            Self::Benthos => mosquitto()
                .or_else(|| file(&site.benthos, "a Go toolchain, and benches/peers/run.sh builds it")),
            Self::MqBridge => mosquitto()
                .or_else(|| file(&site.python, "python3-venv, and benches/peers/run.sh installs mq-bridge")),
        }
    }

    /// One run of it, fresh, with a topic of its own.
    ///
    /// # Errors
    /// It does not start, or the generator fails.
    pub fn run(self, care: Care, site: &mut Site, topic: &str, load: &Load) -> Outcome<Trial> {
        site.kafka.create(topic)?;
        let running = launch::launch(self, care, site, topic)?;
        let (cpu, beside) = (running.cpu()?, running.broker_cpu()?);
        let kafka = site.kafka.cpu()?;
        let server = running.first()?;
        let log = site.directory.join("bench.log");
        let seen = load::put(&site.octroi, load, running.mqtt, server, &log)?;
        let (arrived, at) = site.kafka.arrivals(topic, load.messages)?;
        let behind = at.duration_since(seen.acknowledged).unwrap_or_default();
        let (spent, broker_cpu) = (running.cpu()? - cpu, running.broker_cpu()? - beside);
        let trial = Trial {
            messages: load.messages,
            arrived,
            seconds: seen.seconds + behind.as_secs_f64(),
            cpu: spent,
            broker_cpu,
            peak_mib: running.peak_mib()?,
            beside: format!(
                "acknowledged in {:.2} s; CPU beside it: broker {broker_cpu:.2} s, Kafka {:.2} s, generator {:.2} s",
                seen.seconds,
                site.kafka.cpu()? - kafka,
                seen.generator_cpu
            ),
        };
        running.stop()?;
        Ok(trial)
    }
}
