//! One broker, which is a controller too: its ports, its configuration, its process.

use std::fs;
use std::path::{Path, PathBuf};

use super::distribution::Distribution;
use super::pki::Identity;
use crate::process::{Process, free_port};

/// Megabytes of heap for each broker.
const HEAP: u32 = 256;

/// The listeners' ports. On `INTERNAL` whoever connects is `ANONYMOUS`, who may do all: brokers among
/// themselves, tools and kcat. Hubs come by the others.
pub(super) struct Ports {
    pub(super) internal: u16,
    controller: u16,
    pub(super) plain: u16,
    /// What is advertised for `plain`: itself, or whatever stands in between.
    pub(super) advertised: u16,
    pub(super) tls: u16,
    pub(super) scram: u16,
}

pub(super) struct Node {
    pub(super) id: usize,
    pub(super) ports: Ports,
    pub(super) directory: PathBuf,
    pub(super) process: Option<Process>,
}

impl Node {
    pub(super) fn new(id: usize, root: &Path, proxied: bool) -> Self {
        let [internal, controller, plain, tls, scram] = std::array::from_fn(|_| free_port());
        let advertised = if proxied { free_port() } else { plain };
        let ports = Ports { internal, controller, plain, advertised, tls, scram };
        let directory = root.join(format!("node-{id}"));
        fs::create_dir_all(&directory).expect("the broker's directory is made");
        Self { id, ports, directory, process: None }
    }

    pub(super) fn voter(&self) -> String {
        format!("{}@127.0.0.1:{}", self.id, self.ports.controller)
    }

    pub(super) fn properties(&self) -> PathBuf {
        self.directory.join("server.properties")
    }

    /// Writes `server.properties` for a cluster of these voters.
    pub(super) fn configure(&self, voters: &[String], identity: &Identity, authority: &Path) {
        let replicas = voters.len();
        let in_sync = if replicas > 1 { 2 } else { 1 };
        let Ports { internal, controller, plain, advertised, tls, scram } = self.ports;
        let lines = [
            "process.roles=broker,controller".to_owned(),
            format!("node.id={}", self.id),
            format!(
                "listeners=INTERNAL://127.0.0.1:{internal},CONTROLLER://127.0.0.1:{controller},\
                 PLAIN://127.0.0.1:{plain},TLS://127.0.0.1:{tls},SCRAM://127.0.0.1:{scram}"
            ),
            format!(
                "advertised.listeners=INTERNAL://127.0.0.1:{internal},PLAIN://127.0.0.1:{advertised},\
                 TLS://localhost:{tls},SCRAM://localhost:{scram}"
            ),
            "listener.security.protocol.map=INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT,PLAIN:PLAINTEXT,TLS:SSL,SCRAM:SASL_SSL"
                .to_owned(),
            "controller.listener.names=CONTROLLER".to_owned(),
            "inter.broker.listener.name=INTERNAL".to_owned(),
            format!("controller.quorum.voters={}", voters.join(",")),
            format!("log.dirs={}", self.directory.join("data").display()),
            format!("offsets.topic.replication.factor={replicas}"),
            format!("transaction.state.log.replication.factor={replicas}"),
            format!("transaction.state.log.min.isr={in_sync}"),
            format!("default.replication.factor={replicas}"),
            format!("min.insync.replicas={in_sync}"),
            "group.initial.rebalance.delay.ms=0".to_owned(),
            "broker.session.timeout.ms=3000".to_owned(), // a killed broker may register again after this
            "broker.heartbeat.interval.ms=500".to_owned(),
            "auto.create.topics.enable=false".to_owned(),
            "auto.leader.rebalance.enable=false".to_owned(), // leaders move when a test says so
            "ssl.keystore.type=PEM".to_owned(),
            format!("ssl.keystore.location={}", identity.store.display()),
            "ssl.truststore.type=PEM".to_owned(),
            format!("ssl.truststore.location={}", authority.display()),
            "listener.name.tls.ssl.client.auth=required".to_owned(),
            "ssl.principal.mapping.rules=RULE:^.*CN=([^,]+).*$/$1/,DEFAULT".to_owned(),
            "sasl.enabled.mechanisms=SCRAM-SHA-512".to_owned(),
            "listener.name.scram.scram-sha-512.sasl.jaas.config=\
             org.apache.kafka.common.security.scram.ScramLoginModule required;"
                .to_owned(),
            "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer".to_owned(),
            "allow.everyone.if.no.acl.found=false".to_owned(),
            "super.users=User:ANONYMOUS".to_owned(),
        ];
        fs::write(self.properties(), lines.join("\n") + "\n").expect("the configuration is written");
    }

    /// Starts it on the data it has.
    pub(super) fn start(&mut self, distribution: &Distribution) {
        assert!(self.process.is_none(), "broker {} runs already", self.id);
        let mut arguments = distribution.java_arguments(HEAP);
        arguments.extend(["kafka.Kafka".to_owned(), self.properties().display().to_string()]);
        let log = self.directory.join("kafka.log");
        let process = Process::start(&distribution.java, &arguments, &self.directory, &log);
        self.process = Some(process.expect("java starts"));
    }

    /// Fails with the broker's own words if it has ended by itself.
    #[track_caller]
    pub(super) fn assert_runs(&mut self) {
        if let Some(process) = &mut self.process
            && let Some(status) = process.ended()
        {
            panic!("broker {} ended with {status}:\n{}", self.id, process.log());
        }
    }

    pub(super) fn take(&mut self) -> Process {
        self.process.take().expect("the broker runs")
    }
}
