//! A real Apache Kafka on loopback: fetched by Maven into a cache, formatted
//! and run as a KRaft cluster of one node or three in a directory of its own,
//! gone with the test.
//!
//! Every node has all the ways in at once: plain text, TLS with client
//! certificates, SCRAM over TLS; ACLs hold on all of them but on the brokers'
//! own, by which the tools and kcat come.

mod consumer;
mod distribution;
mod node;
pub mod pki;
mod proxy;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tempfile::TempDir;

pub use self::consumer::Follower;
pub use self::distribution::Distribution;
pub use self::proxy::Proxy;

use self::consumer::{has_records, kcat, kcat_at_last, read_topic};
use self::node::Node;
use self::pki::{Pki, Validity};
use crate::delivered::Delivered;
use crate::process::{holds_within, wait_until};

/// The user known by password, and by the name in its certificate.
pub const HUB: &str = "hub";
const PASSWORD: &str = "hub-secret";
const STARTS_WITHIN: Duration = Duration::from_secs(300);
const SERVES_WITHIN: Duration = Duration::from_secs(120);

/// How a cluster is made.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// One, or three: then two replicas must be in sync.
    pub nodes: usize,
    /// A [`Proxy`] between hubs and each node's plain listener.
    pub proxied: bool,
}

/// The shape of most tests.
pub const ONE: Shape = Shape { nodes: 1, proxied: false };
/// What a datacenter runs.
pub const THREE: Shape = Shape { nodes: 3, proxied: false };

/// How a hub comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Plain,
    /// TLS with a client certificate of the name `hub`.
    Tls,
    /// SASL SCRAM-SHA-512 over TLS as the user `hub`.
    Scram,
}

/// A cluster, running or not.
pub struct Kafka {
    nodes: Vec<Node>,
    proxies: Vec<Proxy>,
    distribution: Distribution,
    pki: Pki,
    client: pki::Identity,
    password: PathBuf,
    directory: TempDir,
    cluster_id: String,
}

impl Kafka {
    /// Formats and starts a cluster, and waits until it serves.
    pub fn start(distribution: &Distribution, shape: Shape) -> Self {
        let directory =
            tempfile::Builder::new().prefix("octroi-kafka-").tempdir().expect("a temporary directory");
        let root = directory.path();
        let pki = Pki::new(&root.join("pki"));
        let client = pki.issue(HUB, Validity::Month);
        let password = root.join("password");
        std::fs::write(&password, PASSWORD).expect("the password is written");
        let nodes: Vec<Node> = (1..=shape.nodes).map(|id| Node::new(id, root, shape.proxied)).collect();
        let proxied = nodes.iter().filter(|_| shape.proxied);
        let proxies = proxied.map(|node| Proxy::start(node.ports.advertised, node.ports.plain)).collect();
        let (cluster_id, distribution) = (new_cluster_id(), distribution.clone());
        let mut kafka = Self { nodes, proxies, distribution, pki, client, password, directory, cluster_id };
        kafka.certify(Validity::Month);
        kafka.format();
        kafka.restart();
        kafka
    }

    /// Gives every node a certificate; it takes it up when it starts.
    pub fn certify(&self, validity: Validity) {
        let voters: Vec<String> = self.nodes.iter().map(Node::voter).collect();
        for node in &self.nodes {
            let identity = self.pki.issue(&format!("broker-{}", node.id), validity);
            node.configure(&voters, &identity, &self.pki.authority());
        }
    }

    fn format(&self) {
        let scram = format!("SCRAM-SHA-512=[name={HUB},password={PASSWORD}]");
        std::thread::scope(|scope| {
            for node in &self.nodes {
                let (scram, properties) = (&scram, node.properties());
                scope.spawn(move || {
                    let properties = properties.to_str().expect("test paths are text");
                    let format = ["format", "-t", &self.cluster_id, "-c", properties, "--add-scram", scram];
                    self.distribution.tool("kafka.tools.StorageTool", &format);
                });
            }
        });
    }

    /// Forgets everything it ever held, and is another cluster from then on, at the same addresses.
    pub fn made_anew(&mut self) {
        for node in &mut self.nodes {
            if let Some(mut process) = node.process.take() {
                process.kill();
            }
            std::fs::remove_dir_all(node.directory.join("data")).expect("a broker's data can be removed");
        }
        self.cluster_id = new_cluster_id();
        self.format();
        self.restart();
    }

    /// Starts whatever does not run, on the same data and the same ports; returns once all serve.
    pub fn restart(&mut self) -> Duration {
        let start = Instant::now();
        for node in self.nodes.iter_mut().filter(|node| node.process.is_none()) {
            node.start(&self.distribution);
        }
        self.wait_for_all();
        start.elapsed()
    }

    /// Waits until every node is listed by every other.
    pub fn wait_for_all(&mut self) {
        let all = format!(" {} brokers:", self.nodes.len());
        let addresses: Vec<String> =
            self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.ports.internal)).collect();
        wait_until("Kafka serves metadata", STARTS_WITHIN, || {
            self.nodes.iter_mut().for_each(Node::assert_runs);
            addresses.iter().all(|address| {
                kcat(&["-L", "-m", "2", "-b", address]).is_ok_and(|listing| listing.contains(&all))
            })
        });
    }

    /// SIGTERM to all: an orderly stop.
    pub fn stop(&mut self) -> Duration {
        let start = Instant::now();
        for node in &mut self.nodes {
            node.take().terminate(Duration::from_secs(60));
        }
        start.elapsed()
    }

    /// SIGKILL to all.
    pub fn kill(&mut self) {
        (0..self.nodes.len()).for_each(|node| self.kill_node(node));
    }

    /// SIGKILL to one, by its place from 0.
    pub fn kill_node(&mut self, node: usize) {
        self.nodes[node].take().kill();
    }

    /// Starts one, and waits for nothing.
    pub fn start_node(&mut self, node: usize) {
        self.nodes[node].start(&self.distribution);
    }

    /// `host:port` of all nodes, comma separated, for hubs by the plain way. The same over restarts.
    pub fn address(&self) -> String {
        self.brokers(Way::Plain).join(",")
    }

    /// For tools and kcat.
    fn internal(&self) -> String {
        let addresses = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.ports.internal));
        addresses.collect::<Vec<_>>().join(",")
    }

    fn brokers(&self, way: Way) -> Vec<String> {
        let nodes = self.nodes.iter().map(|node| match way {
            Way::Plain => format!("127.0.0.1:{}", node.ports.advertised),
            Way::Tls => format!("localhost:{}", node.ports.tls),
            Way::Scram => format!("localhost:{}", node.ports.scram),
        });
        nodes.collect()
    }

    /// What stands below `[outlet.…]` for a hub that comes in so.
    pub fn outlet(&self, way: Way) -> String {
        let file = |path: &Path| format!("\"file:{}\"", path.display());
        let mut toml = format!("kind = \"kafka\"\nbrokers = {:?}\n", self.brokers(way));
        if way != Way::Plain {
            toml += "properties = { \"broker.address.family\" = \"v4\" }\n";
        }
        let ca = file(&self.pki.authority());
        match way {
            Way::Plain => {}
            Way::Tls => {
                let (certificate, key) = (file(&self.client.certificate), file(&self.client.key));
                toml += &format!("tls = {{ ca = {ca}, certificate = {certificate}, key = {key} }}\n");
            }
            Way::Scram => {
                let password = file(&self.password);
                toml += &format!(
                    "tls = {{ ca = {ca} }}\nsasl = {{ username = \"{HUB}\", password = {password} }}\n"
                );
            }
        }
        toml
    }

    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// The authority and its certificates.
    pub fn pki(&self) -> &Pki {
        &self.pki
    }

    /// What stands between hubs and a node.
    pub fn proxies(&self) -> &[Proxy] {
        &self.proxies
    }

    /// Creates topics, all with the same number of partitions.
    pub fn create_topics(&self, names: &[&str], partitions: u16) {
        let partitions = partitions.to_string();
        std::thread::scope(|scope| {
            for name in names {
                let create = ["--create", "--if-not-exists", "--topic", name, "--partitions", &partitions];
                scope.spawn(move || self.admin("org.apache.kafka.tools.TopicCommand", &create));
            }
        });
    }

    /// The same, and the user `hub` may write to them: a tool takes seconds to start, so they start together.
    pub fn open_topics(&self, names: &[&str], partitions: u16) {
        std::thread::scope(|scope| {
            scope.spawn(|| self.grant());
            self.create_topics(names, partitions);
        });
    }

    /// Sets a topic's own setting.
    pub fn configure_topic(&self, topic: &str, setting: &str) {
        let change = ["--alter", "--entity-type", "topics", "--entity-name", topic, "--add-config", setting];
        self.admin("kafka.admin.ConfigCommand", &change);
    }

    /// Lets the user `hub` write to every topic.
    pub fn grant(&self) {
        self.acl(&["--add"]);
    }

    /// Takes that away.
    pub fn revoke(&self) {
        self.acl(&["--remove", "--force"]);
    }

    fn acl(&self, verb: &[&str]) {
        let principal = format!("User:{HUB}");
        let what = ["--allow-principal", &principal, "--operation", "Write", "--operation", "Describe"];
        let topics = ["--operation", "DescribeConfigs", "--topic", "*"];
        self.admin("org.apache.kafka.tools.AclCommand", &[verb, what.as_slice(), &topics].concat());
    }

    /// Hands every partition of a topic to the node after its leader.
    pub fn move_leaders(&self, topic: &str) {
        let partitions: Vec<String> = self
            .leaders(topic)
            .into_iter()
            .map(|(partition, leader)| {
                let next = |by: usize| (leader - 1 + by) % self.nodes.len() + 1;
                let replicas = [next(1), next(2), next(3)];
                format!("{{\"topic\":\"{topic}\",\"partition\":{partition},\"replicas\":{replicas:?}}}")
            })
            .collect();
        let plan = self.directory.path().join("reassignment.json");
        let json = format!("{{\"version\":1,\"partitions\":[{}]}}", partitions.join(","));
        std::fs::write(&plan, json).expect("the plan is written");
        let plan = plan.to_str().expect("test paths are text");
        let execute = ["--execute", "--reassignment-json-file", plan];
        self.admin("org.apache.kafka.tools.reassign.ReassignPartitionsCommand", &execute);
        self.elect();
    }

    /// The first replica of each partition leads again.
    pub fn elect(&self) {
        let elect = ["--election-type", "preferred", "--all-topic-partitions"];
        self.admin("org.apache.kafka.tools.LeaderElectionCommand", &elect);
    }

    /// The leader of each partition of a topic, once each has one.
    pub fn leaders(&self, topic: &str) -> BTreeMap<u64, usize> {
        kcat_at_last(&["-L", "-J", "-b", &self.internal(), "-t", topic], |listing| {
            let partitions = partitions(listing);
            let leader =
                |p: &Value| Some((p["partition"].as_u64()?, usize::try_from(p["leader"].as_i64()?).ok()?));
            partitions
                .iter()
                .map(leader)
                .collect::<Option<BTreeMap<_, _>>>()
                .filter(|found| !found.is_empty())
        })
    }

    /// Waits until every partition of these topics has all its replicas in sync.
    #[track_caller]
    pub fn wait_in_sync(&self, topics: &[&str], within: Duration) {
        let in_sync = |p: &Value| p["isrs"].as_array().is_some_and(|isr| isr.len() == self.nodes.len());
        wait_until("every replica is in sync", within, || {
            topics.iter().all(|topic| {
                let listing = kcat(&["-L", "-J", "-b", &self.internal(), "-t", topic]).unwrap_or_default();
                let partitions = partitions(&listing);
                !partitions.is_empty() && partitions.iter().all(in_sync)
            })
        });
    }

    /// Runs an administrator's tool until it succeeds: each may be run again.
    #[track_caller]
    fn admin(&self, class: &str, arguments: &[&str]) {
        let address = self.internal();
        let arguments = [&["--bootstrap-server", address.as_str()], arguments].concat();
        let mut said = String::new();
        let done = holds_within(SERVES_WITHIN, || match self.distribution.try_tool(class, &arguments) {
            Ok(_) => true,
            Err(complaint) => {
                said = complaint;
                false
            }
        });
        assert!(done, "{class} {arguments:?}: {said}");
    }

    /// Whether there is a record in each of these topics, to which load may be going on.
    pub fn has_records(&self, topics: &[&str]) -> bool {
        topics.iter().all(|topic| has_records(&self.internal(), topic))
    }

    /// Every record of these topics, all partitions, in partition and offset order, as deliveries to `target`;
    /// once nobody writes to them.
    pub fn read(&self, target: &str, topics: &[&str]) -> Vec<Delivered> {
        topics.iter().flat_map(|topic| read_topic(&self.internal(), target, topic)).collect()
    }

    /// Reads along from now on.
    pub fn follow(&self, topic: &str) -> Follower {
        Follower::start(&self.internal(), topic)
    }
}

/// Sixteen bytes in URL-safe base64, as Kafka wants them, that no other cluster of this machine has.
fn new_cluster_id() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is set");
    format!("t{:020x}A", since.as_nanos())
}

/// The partitions in a listing of kcat's of one topic.
fn partitions(listing: &str) -> Vec<Value> {
    let json: Value = serde_json::from_str(listing).unwrap_or_default();
    json["topics"][0]["partitions"].as_array().cloned().unwrap_or_default()
}
