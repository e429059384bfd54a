//! A look at a Kafka target, by metadata and topic settings: what a hub needs
//! there, and the command that makes what is missing. It writes nothing.
//!
//! Kafka's protocol tells a client what it may not see, not whether it may
//! write: that it may produce at all shows in the producer id it is given, and
//! whether it may write to one topic shows with the first record.

use std::time::Duration;

use octroi_policy::{Arrival, Text, Timestamp, text};
use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::metadata::{Metadata, MetadataTopic};
use rdkafka::producer::Producer as _;
use tokio::time::Instant;

use super::client::{Context, Link, Producer};
use super::ledger::Ledger;
use super::topic::{self, Names};
use super::{KafkaConfig, words};
use crate::outlet::check::Checked;

/// How long one question may take.
const ASK: Duration = Duration::from_secs(5);
const SLICE: Duration = Duration::from_millis(200);
/// Replicas of a topic whose loss of one machine is no loss.
const REPLICAS: usize = 3;

impl KafkaConfig {
    /// The topics that these arrivals need, each once.
    #[must_use]
    pub fn topics<'a>(&self, arrivals: impl Iterator<Item = &'a Arrival>) -> Vec<String> {
        let mut topics: Vec<String> = arrivals
            .filter_map(|arrival| {
                let Arrival { space, namespace, domain, level, .. } = arrival;
                let (mut topic, names) = (String::new(), Names { namespace, space, domain, level: *level });
                topic::render(&self.topic, names, &mut topic).then_some(topic)
            })
            .collect();
        topics.sort();
        topics.dedup();
        topics
    }

    /// Looks at the target: who it is, and whether these topics are there and set as a hub wants them.
    /// `largest`: bytes of the largest message that the hub takes; `now`: the wall clock.
    pub async fn look(&self, topics: &[String], largest: u32, now: Timestamp) -> Checked {
        let mut client = self.client();
        client.set("statistics.interval.ms", SLICE.as_millis().to_string());
        let producer: Producer =
            match client.create_with_context(Context::with(self.clone(), Ledger::default())) {
                Ok(producer) => producer,
                Err(error) => {
                    let reason = text!(
                        "no Kafka client can be made: {error}",
                        "impossible de créer un client Kafka : {error}"
                    );
                    return Checked::unreachable(reason, Text::default());
                }
            };
        let mut checked = Checked::default();
        if let Some(ends) = self.certificate_ends() {
            checked.fact("certificate", ends.to_string());
            if now > ends {
                let trouble = words::own_certificate(ends);
                checked.missing(trouble.reason, trouble.mend);
                checked.reached = true;
                return checked;
            }
        }
        let Some(metadata) = self.reach(&producer, &mut checked) else { return checked };
        checked.reached = true;
        self.identity(&producer, &metadata, &mut checked);
        self.may_produce(&producer, &mut checked);
        let admin: AdminClient<DefaultClientContext> = match self.client().create() {
            Ok(admin) => admin,
            Err(_) => return checked,
        };
        for name in topics {
            let metadata = match producer.client().fetch_metadata(Some(name), ASK) {
                Ok(metadata) => metadata,
                Err(error) => {
                    checked.missing(words::unreachable(&error.to_string()), check_line(self.server()));
                    break;
                }
            };
            let brokers = metadata.brokers().len();
            let found = metadata.topics().first();
            if found.is_some_and(|topic| self.topic_is_there(name, topic, brokers, &mut checked)) {
                let settings = settings(&admin, name).await;
                self.topic_is_set(name, settings.as_ref(), (brokers, largest), &mut checked);
            }
        }
        checked
    }

    /// The first metadata, or why there is none.
    fn reach(&self, producer: &Producer, checked: &mut Checked) -> Option<Metadata> {
        let until = Instant::now() + ASK * 2;
        loop {
            // Of one topic that is not there: all of a large cluster's would be megabytes.
            producer.poll(SLICE);
            if let Ok(metadata) = producer.client().fetch_metadata(Some("octroi-check"), SLICE * 2) {
                return Some(metadata);
            }
            let late = Instant::now() >= until;
            match &producer.context().lock().link {
                Link::Refused(trouble) => {
                    checked.reached = true;
                    checked.missing(trouble.reason.clone(), trouble.mend.clone());
                    return None;
                }
                Link::Down(reason) if late => {
                    checked.missing(reason.clone(), check_line(self.server()));
                    return None;
                }
                _ if late => {
                    let reason = text!("no broker answers", "aucun broker ne répond");
                    checked.missing(reason, check_line(self.server()));
                    return None;
                }
                Link::Unknown | Link::Up | Link::Down(_) => {}
            }
        }
    }

    /// Whether it is the pinned cluster, with brokers where they may be.
    fn identity(&self, producer: &Producer, metadata: &Metadata, checked: &mut Checked) {
        let brokers: Vec<String> =
            metadata.brokers().iter().map(|broker| format!("{}:{}", broker.host(), broker.port())).collect();
        checked.fact("brokers", brokers.join(" "));
        if let Some(broker) = brokers.iter().find(|broker| !self.allows(broker)) {
            let trouble = words::stranger(broker);
            checked.missing(trouble.reason, trouble.mend);
        }
        let found = producer.client().fetch_cluster_id(ASK).unwrap_or_default();
        checked.fact("cluster_id", found.as_str());
        match &self.cluster_id {
            Some(expected) if found != *expected => {
                let trouble = words::other_cluster(&found, expected);
                checked.missing(trouble.reason, trouble.mend);
            }
            Some(_) => {}
            None => checked.advice(
                text!("the cluster is not pinned", "le cluster n'est pas épinglé"),
                text!("add `cluster_id = \"{found}\"`", "ajoutez `cluster_id = \"{found}\"`"),
            ),
        }
    }

    /// Whether it is given a producer id, which takes the right to write somewhere.
    fn may_produce(&self, producer: &Producer, checked: &mut Checked) {
        let until = Instant::now() + ASK;
        while Instant::now() < until {
            producer.poll(SLICE);
            if let Some((code, _)) = producer.client().fatal_error() {
                let trouble = words::refused(self, code, "");
                checked.missing(trouble.reason, trouble.mend);
                return;
            }
            if producer.context().lock().may_produce {
                return checked.fact("may_produce", "true");
            }
        }
        let trouble = words::refused(self, RDKafkaErrorCode::ClusterAuthorizationFailed, "");
        checked.missing(trouble.reason, trouble.mend);
    }

    fn topic_is_there(
        &self,
        name: &str,
        topic: &MetadataTopic,
        brokers: usize,
        checked: &mut Checked,
    ) -> bool {
        if let Some(error) = topic.error() {
            let trouble = words::refused(self, RDKafkaErrorCode::from(error), name);
            checked.missing(trouble.reason, trouble.mend);
            return false;
        }
        let partitions = topic.partitions();
        let replicas = partitions.iter().map(|partition| partition.replicas().len()).min().unwrap_or(0);
        let in_sync = partitions.iter().map(|partition| partition.isr().len()).min().unwrap_or(0);
        checked.fact("topic", format!("{name}: {} partitions, {replicas} replicas", partitions.len()));
        if replicas < REPLICAS {
            let message = text!(
                "topic `{name}` has {replicas} replica(s): the loss of a broker stops it, or loses what it holds",
                "le topic `{name}` a {replicas} réplica(s) : la perte d'un broker l'arrête, ou perd ce qu'il contient"
            );
            let mend = text!(
                "give it {REPLICAS}: `kafka-reassign-partitions.sh`",
                "portez-le à {REPLICAS} : `kafka-reassign-partitions.sh`"
            );
            // What has no third broker cannot have a third replica.
            if brokers < REPLICAS { checked.advice(message, mend) } else { checked.missing(message, mend) }
        } else if in_sync < replicas {
            checked.advice(
                text!("topic `{name}` has replicas behind", "le topic `{name}` a des réplicas en retard"),
                text!(
                    "see `kafka-topics.sh --describe --under-replicated-partitions`",
                    "voir `kafka-topics.sh --describe --under-replicated-partitions`"
                ),
            );
        }
        true
    }

    fn topic_is_set(
        &self,
        name: &str,
        settings: Option<&ConfigResource>,
        (brokers, largest): (usize, u32),
        checked: &mut Checked,
    ) {
        let Some(settings) = settings else {
            let command = words::grant_topic(self, name);
            return checked.advice(
                text!(
                    "how topic `{name}` is set is not shown to us",
                    "les réglages du topic `{name}` ne nous sont pas montrés"
                ),
                text!("grant it: `{command}`", "accordez-le : `{command}`"),
            );
        };
        let number = |key| settings.get(key).and_then(|entry| entry.value.as_ref()?.parse::<u64>().ok());
        let in_sync = number("min.insync.replicas").unwrap_or(0);
        if in_sync < 2 && brokers >= REPLICAS {
            let command = words::set_topic(self, name, "min.insync.replicas=2");
            checked.missing(
                text!(
                    "topic `{name}` acknowledges with one replica: the loss of a broker loses what was acknowledged",
                    "le topic `{name}` acquitte avec un seul réplica : la perte d'un broker perd ce qui a été acquitté"
                ),
                text!("`{command}`", "`{command}`"),
            );
        }
        let most = number("max.message.bytes").unwrap_or(0);
        if most < u64::from(largest) {
            let command =
                words::set_topic(self, name, &format!("max.message.bytes={}", u64::from(largest) * 2));
            checked.advice(
                text!(
                    "topic `{name}` takes {most} bytes a message and the hub {largest}: larger ones go to quarantine",
                    "le topic `{name}` admet {most} octets par message et le hub {largest} : les plus gros vont en quarantaine"
                ),
                text!("`{command}`", "`{command}`"),
            );
        }
    }
}

async fn settings(admin: &AdminClient<DefaultClientContext>, topic: &str) -> Option<ConfigResource> {
    let options = AdminOptions::new().request_timeout(Some(ASK));
    let described = admin.describe_configs([&ResourceSpecifier::Topic(topic)], &options).await;
    described.ok()?.into_iter().next()?.ok()
}

fn check_line(server: &str) -> Text {
    let server = server.replacen(':', " ", 1);
    text!(
        "check the line, names and firewalls: `nc -vz {server}`",
        "vérifiez la liaison, les noms et les pare-feu : `nc -vz {server}`"
    )
}
