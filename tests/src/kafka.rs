//! A real Apache Kafka on loopback: fetched by Maven into a cache, formatted
//! and run as one KRaft node in a directory of its own, gone with the test.
//! Read by kcat, a consumer that shares no code with the hub's own bindings
//! beyond the wire format (kcat links Debian's librdkafka).
//!
//! One node and PLAINTEXT today. Listeners stand in one place ([`Listener`])
//! and every node is a [`Node`], so that TLS, SASL and three nodes are further
//! entries there and no other shape.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::delivered::Delivered;
use crate::needs;
use crate::process::{self, Process, free_port, wait_until};

/// Must be the version in `tests/kafka/pom.xml`.
const VERSION: &str = "4.3.1";

/// The jars.
pub struct Distribution {
    libs: PathBuf,
    java: PathBuf,
}

struct Listener {
    name: &'static str,
    protocol: &'static str,
    port: u16,
}

struct Node {
    id: u16,
    clients: Listener,
    controller: Listener,
    directory: PathBuf,
}

/// A running broker.
pub struct Kafka {
    node: Node,
    distribution: Distribution,
    process: Option<Process>,
    _directory: TempDir,
}

impl Kafka {
    /// The jars from the cache, fetched once; `Err` says what is missing and how to mend it.
    ///
    /// The cache is `OCTROI_TEST_CACHE`, else `target/test-cache` of the repository.
    pub fn obtain() -> Result<Distribution, String> {
        static FETCH: std::sync::Mutex<()> = std::sync::Mutex::new(());
        let _one_at_a_time = FETCH.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let java = needs::find("java")
            .ok_or("`java` is not installed: `apt-get install default-jre-headless` (Java 17 or later)")?;
        let cache = std::env::var_os("OCTROI_TEST_CACHE")
            .map_or_else(|| crate::root().join("target/test-cache"), PathBuf::from);
        let libs = cache.join(format!("kafka-{VERSION}"));
        if !libs.is_dir() {
            fetch(&cache, &libs)?;
        }
        Ok(Distribution { libs, java })
    }

    /// Formats and starts one node, and waits until it serves.
    pub fn start(distribution: &Distribution) -> Self {
        let directory =
            tempfile::Builder::new().prefix("octroi-kafka-").tempdir().expect("a temporary directory");
        let node = Node {
            id: 1,
            clients: Listener { name: "PLAINTEXT", protocol: "PLAINTEXT", port: free_port() },
            controller: Listener { name: "CONTROLLER", protocol: "PLAINTEXT", port: free_port() },
            directory: directory.path().to_owned(),
        };
        let distribution = Distribution { libs: distribution.libs.clone(), java: distribution.java.clone() };
        fs::write(node.properties(), node.configuration()).expect("the broker's configuration is written");
        let cluster = distribution.tool("kafka.tools.StorageTool", &["random-uuid"]);
        let properties = node.properties().display().to_string();
        let format = ["format", "--standalone", "-t", cluster.trim(), "-c", &properties];
        distribution.tool("kafka.tools.StorageTool", &format);
        let mut kafka = Self { node, distribution, process: None, _directory: directory };
        kafka.restart();
        kafka
    }

    /// Starts it again on the same data and the same ports; returns once it serves.
    pub fn restart(&mut self) -> Duration {
        assert!(self.process.is_none(), "the broker runs already");
        let start = Instant::now();
        let log = self.node.directory.join("kafka.log");
        let mut arguments = self.distribution.java_arguments(512);
        arguments.extend(["kafka.Kafka".to_owned(), self.node.properties().display().to_string()]);
        let process = Process::start(&self.distribution.java, &arguments, &self.node.directory, &log);
        let process = self.process.insert(process.expect("java starts"));
        let address = format!("127.0.0.1:{}", self.node.clients.port);
        wait_until("Kafka serves metadata", Duration::from_secs(90), || {
            if let Some(status) = process.ended() {
                panic!("Kafka ended with {status}:\n{}", process.log());
            }
            kcat(&["-L", "-m", "1", "-b", &address]).is_ok_and(|listing| listing.contains(" 1 brokers:"))
        });
        start.elapsed()
    }

    /// SIGTERM: an orderly stop.
    pub fn stop(&mut self) -> Duration {
        let mut process = self.process.take().expect("the broker runs");
        let (_, took) = process.terminate(Duration::from_secs(60));
        took
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.take().expect("the broker runs").kill();
    }

    /// `host:port` for clients. The same over restarts.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.node.clients.port)
    }

    /// Creates topics, all with the same number of partitions.
    pub fn create_topics(&self, names: &[&str], partitions: u16) {
        let (address, partitions) = (self.address(), partitions.to_string());
        for name in names {
            let create = ["--create", "--topic", name, "--partitions", &partitions];
            let arguments = [&["--bootstrap-server", address.as_str()], create.as_slice()].concat();
            self.distribution.tool("org.apache.kafka.tools.TopicCommand", &arguments);
        }
    }

    /// Every record of these topics, all partitions, in partition and offset order, as deliveries to `target`.
    pub fn read(&self, target: &str, topics: &[&str]) -> Vec<Delivered> {
        topics.iter().flat_map(|topic| self.read_topic(target, topic)).collect()
    }

    fn read_topic(&self, target: &str, topic: &str) -> Vec<Delivered> {
        let read = ["-C", "-q", "-e", "-J", "-o", "beginning", "-b", &self.address(), "-t", topic];
        let text = kcat(&read).unwrap_or_else(|error| panic!("kcat reads `{topic}`: {error}"));
        let mut records: Vec<_> = text.lines().map(|line| record(target, topic, line)).collect();
        records.sort_by_key(|(partition, offset, _)| (*partition, *offset));
        records.into_iter().map(|(_, _, delivered)| delivered).collect()
    }
}

impl Node {
    fn properties(&self) -> PathBuf {
        self.directory.join("server.properties")
    }

    fn configuration(&self) -> String {
        let all = [&self.clients, &self.controller];
        let list = |line: fn(&Listener) -> String| all.map(line).join(",");
        let lines = [
            "process.roles=broker,controller".to_owned(),
            format!("node.id={}", self.id),
            format!("listeners={}", list(|l| format!("{}://127.0.0.1:{}", l.name, l.port))),
            format!("advertised.listeners={}://127.0.0.1:{}", self.clients.name, self.clients.port),
            format!("listener.security.protocol.map={}", list(|l| format!("{}:{}", l.name, l.protocol))),
            format!("controller.listener.names={}", self.controller.name),
            format!("inter.broker.listener.name={}", self.clients.name),
            format!("controller.quorum.bootstrap.servers=127.0.0.1:{}", self.controller.port),
            format!("log.dirs={}", self.directory.join("data").display()),
            "offsets.topic.replication.factor=1".to_owned(),
            "transaction.state.log.replication.factor=1".to_owned(),
            "transaction.state.log.min.isr=1".to_owned(),
            "group.initial.rebalance.delay.ms=0".to_owned(),
            "broker.session.timeout.ms=2000".to_owned(), // a killed broker may register again after this
            "broker.heartbeat.interval.ms=500".to_owned(),
            "auto.create.topics.enable=false".to_owned(),
        ];
        lines.join("\n") + "\n"
    }
}

impl Distribution {
    fn java_arguments(&self, megabytes: u32) -> Vec<String> {
        vec![
            format!("-Xmx{megabytes}m"),
            "-XX:TieredStopAtLevel=1".to_owned(), // starts faster; no throughput is measured here
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn".to_owned(),
            "-cp".to_owned(),
            format!("{}/*", self.libs.display()),
        ]
    }

    fn tool(&self, class: &str, arguments: &[&str]) -> String {
        let mut command = Command::new(&self.java);
        command.args(self.java_arguments(256)).arg(class).args(arguments);
        let finished = process::run(&mut command, Duration::from_secs(60)).expect("java starts");
        assert_eq!(finished.code, 0, "{class} {arguments:?}: {}{}", finished.out, finished.err);
        finished.out
    }
}

/// Into a directory beside the final one, renamed when it is complete: an interrupted fetch leaves nothing
/// that a later run would take for the whole.
fn fetch(cache: &Path, libs: &Path) -> Result<(), String> {
    let maven = needs::find("mvn").ok_or("`mvn` is not installed: `apt-get install maven`")?;
    fs::create_dir_all(cache).map_err(|error| format!("cannot create `{}`: {error}", cache.display()))?;
    let partial = tempfile::Builder::new().prefix("kafka-partial-").tempdir_in(cache);
    let partial = partial.map_err(|error| format!("cannot write in `{}`: {error}", cache.display()))?;
    let mut command = Command::new(maven);
    command.args(["--batch-mode", "--quiet", "-f"]).arg(crate::root().join("tests/kafka/pom.xml"));
    command.args(["dependency:copy-dependencies", "-DincludeScope=runtime"]);
    command.arg(format!("-DoutputDirectory={}", partial.path().display()));
    let finished = process::run(&mut command, Duration::from_secs(900)).map_err(|error| error.to_string())?;
    if finished.code != 0 {
        let said = format!("{}{}", finished.out, finished.err);
        let first = said.lines().find(|line| line.contains("ERROR")).unwrap_or("it said nothing");
        return Err(format!("Maven could not fetch it (code {}): {first}", finished.code));
    }
    fs::rename(partial.keep(), libs)
        .map_err(|error| format!("cannot rename to `{}`: {error}", libs.display()))
}

fn kcat(arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new("kcat");
    command.args(arguments);
    let finished = process::run(&mut command, Duration::from_secs(60)).map_err(|error| error.to_string())?;
    if finished.code == 0 { Ok(finished.out) } else { Err(finished.err) }
}

/// One line of `kcat -J`: partition, offset, and the record.
fn record(target: &str, topic: &str, line: &str) -> (u64, u64, Delivered) {
    let json: serde_json::Value = serde_json::from_str(line).expect("kcat prints JSON");
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let headers = json["headers"].as_array().cloned().unwrap_or_default();
    let header = |name: &str| {
        let pair = headers.chunks_exact(2).find(|pair| pair[0] == name);
        pair.map(|pair| text(&pair[1])).unwrap_or_default()
    };
    let number = |name: &str| json[name].as_u64().expect("kcat prints partition and offset");
    let delivered = Delivered {
        target: target.to_owned(),
        place: topic.to_owned(),
        id: header("ce_id"),
        source: header("ce_source"),
        topic: header("ce_subject"),
        level: header("ce_level"),
        space: header("ce_space"),
        policy: header("ce_policyversion"),
        key: text(&json["key"]),
        payload: text(&json["payload"]),
    };
    (number("partition"), number("offset"), delivered)
}
