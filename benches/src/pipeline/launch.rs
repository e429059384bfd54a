//! How each pipeline is started: its configuration, its processes, and the
//! broker before it. It runs once it has subscribed.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::{Care, Pipeline, Site};
use crate::Outcome;
use crate::hub::{Hub, Setup};
use crate::mosquitto::{Keeps, Mosquitto};
use crate::policy;
use crate::process::Process;

/// What every client subscribes to.
const FILTER: &str = "ville/#";
const STOPPED: Duration = Duration::from_secs(20);
/// Runs the one route of a file until it is ended.
const ROUTE: &str = "import sys, mq_bridge; mq_bridge.Route.from_file(sys.argv[1]).run()";

/// A pipeline that runs.
#[derive(Debug)]
pub struct Running {
    /// Where messages are published to.
    pub mqtt: SocketAddr,
    hub: Option<Hub>,
    clients: Vec<Process>,
    broker: Option<Mosquitto>,
}

impl Running {
    fn processes(&self) -> impl Iterator<Item = &Process> {
        self.hub.iter().map(|hub| &hub.process).chain(&self.clients)
    }

    pub(super) fn first(&self) -> Outcome<&Process> {
        Ok(self.processes().next().ok_or("a pipeline has a process")?)
    }

    /// CPU seconds of the pipeline's own processes.
    pub(super) fn cpu(&self) -> Outcome<f64> {
        self.processes().map(Process::cpu).sum()
    }

    /// CPU seconds of the broker before it; 0 where there is none.
    pub(super) fn broker_cpu(&self) -> Outcome<f64> {
        self.broker.iter().map(|broker| broker.process.cpu()).sum()
    }

    /// The most memory its own processes had resident, MiB.
    pub(super) fn peak_mib(&self) -> Outcome<f64> {
        self.processes().map(Process::peak_mib).sum()
    }

    /// Ends it. A hub must end well; the others have done their work and are killed.
    pub(super) fn stop(self) -> Outcome<()> {
        drop(self.clients);
        if let Some(hub) = self.hub {
            hub.stop()?;
        }
        match self.broker {
            Some(broker) => broker.process.stop(STOPPED),
            None => Ok(()),
        }
    }
}

pub(super) fn launch(pipeline: Pipeline, care: Care, site: &Site, topic: &str) -> Outcome<Running> {
    if pipeline == Pipeline::Hub {
        let hub = hub(care, site, topic, None)?;
        return Ok(Running { mqtt: hub.mqtt, hub: Some(hub), clients: Vec::new(), broker: None });
    }
    let keeps = if care == Care::Safest { Keeps::EachSecond } else { Keeps::Nothing };
    let mut broker = Mosquitto::start(&site.mosquitto, &site.directory, keeps)?;
    let at = broker.address;
    let (hub, clients) = match pipeline {
        Pipeline::Hub | Pipeline::HubBehind => (Some(hub(care, site, topic, Some(at))?), Vec::new()),
        Pipeline::Benthos => (None, vec![benthos(care, site, topic, at)?]),
        Pipeline::MqBridge => (None, vec![mq_bridge(care, site, topic, at)?]),
        Pipeline::Kcat => (None, kcat(care, site, topic, at)?),
    };
    broker.wait_for_subscription(FILTER)?;
    Ok(Running { mqtt: at, hub, clients, broker: Some(broker) })
}

fn hub(care: Care, site: &Site, topic: &str, broker: Option<SocketAddr>) -> Outcome<Hub> {
    let (target, kafka) = (policy::target(0), site.kafka.address);
    let headers = if care == Care::Safest { "cloudevents" } else { "minimal" };
    let mut tables = format!(
        "\n[outlet.{target}]\nkind = \"kafka\"\nbrokers = [\"{kafka}\"]\ntopic = \"{topic}\"\nheaders = \"{headers}\"\n"
    );
    if let Some(at) = broker {
        tables += &format!(
            "\n[broker.{}]\nurl = \"mqtt://{at}\"\nversion = \"3.1.1\"\nsubscriptions = [\"{FILTER}\"]\n",
            policy::BROKER
        );
    }
    let setup = Setup { policy: site.policy.clone(), archives: Vec::new(), tables };
    Hub::start(&site.octroi, &setup, site.directory.join(format!("hub-{topic}")))
}

fn benthos(care: Care, site: &Site, topic: &str, broker: SocketAddr) -> Outcome<Process> {
    let safe = care == Care::Safest;
    let configuration = json!({
        "http": { "enabled": false },
        "logger": { "level": "WARN" },
        "input": { "mqtt": {
            "url": format!("tcp://{broker}"), "topic": FILTER, "qos": u8::from(safe), "clean_session": !safe,
        } },
        "pipeline": { "threads": 1 },
        "output": { "kafka": {
            "brokers": [site.kafka.address.to_string()], "topic": topic, "safe": safe,
            "max_in_flight": if safe { 1 } else { 10 },
            "batching": { "count": if safe { 1_000 } else { 5_000 }, "period": "20ms" },
        } },
    });
    let path = written(&site.directory.join("benthos.json"), &configuration)?;
    let mut command = Command::new(&site.benthos);
    command.args(["run", &path]).stdin(Stdio::null()).stdout(Stdio::null());
    Process::start("benthos", &mut command, &site.directory.join("benthos.log"))
}

fn mq_bridge(care: Care, site: &Site, topic: &str, broker: SocketAddr) -> Outcome<Process> {
    let safe = care == Care::Safest;
    let configuration = json!({
        "input": { "mqtt": {
            "url": format!("tcp://{broker}"), "topic": FILTER, "client_id": "mq-bridge", "protocol": "v3",
            "qos": u8::from(safe), "clean_session": !safe, "delayed_ack": !safe, "queue_capacity": 10_000,
        } },
        "output": { "kafka": {
            "url": site.kafka.address.to_string(), "topic": topic, "create_topic": false, "delayed_ack": !safe,
            "producer_options": producer(care).map(|(name, value)| [name, value]),
        } },
        "batch_size": if safe { 1_000 } else { 5_000 },
    });
    let path = written(&site.directory.join("mq-bridge.json"), &configuration)?;
    let mut command = Command::new(&site.python);
    command.args(["-c", ROUTE, &path]).stdin(Stdio::null()).stdout(Stdio::null());
    Process::start("mq-bridge", &mut command, &site.directory.join("mq-bridge.log"))
}

fn kcat(care: Care, site: &Site, topic: &str, broker: SocketAddr) -> Outcome<Vec<Process>> {
    let mut command = Command::new("mosquitto_sub");
    command.args(["-h", "127.0.0.1", "-p", &broker.port().to_string(), "-t", FILTER, "-F", "%p"]);
    match care {
        Care::Safest => command.args(["-q", "1", "-c", "-i", "pipe"]),
        Care::Fastest => command.args(["-q", "0"]),
    };
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut reader =
        Process::start("mosquitto_sub", &mut command, &site.directory.join("mosquitto_sub.log"))?;
    let pipe = reader.child.stdout.take().ok_or("mosquitto_sub has no stdout")?;
    let mut command = Command::new("kcat");
    command.args(["-P", "-b", &site.kafka.address.to_string(), "-t", topic]);
    for (name, value) in producer(care) {
        command.arg("-X").arg(format!("{name}={value}"));
    }
    command.stdin(Stdio::from(pipe)).stdout(Stdio::null());
    let writer = Process::start("kcat", &mut command, &site.directory.join("kcat.log"))?;
    Ok(vec![reader, writer])
}

/// What librdkafka is told, in the pipelines that have it.
fn producer(care: Care) -> [(&'static str, &'static str); 5] {
    let (acks, idempotent) = if care == Care::Safest { ("all", "true") } else { ("1", "false") };
    [
        ("acks", acks),
        ("enable.idempotence", idempotent),
        ("compression.type", "lz4"),
        ("linger.ms", "20"),
        ("batch.size", "524288"),
    ]
}

fn written(path: &Path, configuration: &Value) -> Outcome<String> {
    std::fs::write(path, configuration.to_string())?;
    Ok(path.display().to_string())
}
