//! Against the client library's mock cluster, driven as a relay does, and read
//! back by a consumer of its own.

use std::collections::BTreeMap;

use octroi_policy::Level;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::*;
use crate::outlet::cloudevents::tests::event;

const TOPIC: &str = "mobilite-rennes.mobility.sensitive.v1";
const PARTITIONS: i32 = 4;

type Cluster = MockCluster<'static, DefaultProducerContext>;

fn cluster() -> Cluster {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic(TOPIC, PARTITIONS, 1).unwrap();
    cluster
}

fn config(brokers: &str) -> KafkaConfig {
    KafkaConfig {
        brokers: brokers.split(',').map(str::to_owned).collect(),
        client_id: "hub-1".to_owned(),
        headers: Headers::CloudEvents,
        topic: KafkaConfig::DEFAULT_TOPIC.to_owned(),
        compression: Compression::Lz4,
        linger_ms: 20,
        tls: None,
        sasl: None,
        insecure: false,
        cluster_id: None,
        allowed_brokers: Vec::new(),
        properties: BTreeMap::new(),
    }
}

/// A journal and a relay in small: record `n` has sequence `2 n + 10`, as if
/// every other record were another target's.
struct Relay {
    kafka: Kafka,
    payloads: Vec<Vec<u8>>,
    /// The next to offer.
    next: usize,
    /// All before it are delivered or rejected.
    cursor: usize,
    now: Timestamp,
    delivered: u64,
    rejected: Vec<(u64, &'static str)>,
    told: Vec<String>,
    states: Vec<OutletState>,
}

fn seq(n: usize) -> u64 {
    u64::try_from(n).unwrap() * 2 + 10
}

fn index(seq: u64) -> usize {
    usize::try_from((seq - 10) / 2).unwrap()
}

impl Relay {
    fn new(config: KafkaConfig, payloads: Vec<Vec<u8>>) -> Self {
        let mut kafka = Kafka::open(config).unwrap();
        kafka.rewind(0, &[]);
        Self {
            kafka,
            payloads,
            next: 0,
            cursor: 0,
            now: Timestamp(1_795_154_470_000_000),
            delivered: 0,
            rejected: Vec::new(),
            told: Vec::new(),
            states: Vec::new(),
        }
    }

    fn offer(&mut self) {
        while self.next < self.payloads.len() {
            let id = self.next.to_string();
            let device = format!("device-{}", self.next % 7);
            let payload = &self.payloads[self.next];
            let event = Event { device: Some(&device), ..event(seq(self.next), &id, payload) };
            match self.kafka.offer(&Outgoing::for_tests(event)) {
                Ok(()) => self.next += 1,
                Err(DeliverError::Full) => return,
                Err(error) => return self.failed(&error),
            }
        }
    }

    fn failed(&mut self, error: &DeliverError) {
        self.told.push(error.to_string());
        match error {
            DeliverError::Full | DeliverError::Retry { .. } => return,
            DeliverError::Reject { seq, reason } => {
                self.rejected.push((*seq, reason));
                assert!(index(*seq) <= self.next);
                self.cursor = index(*seq) + 1;
            }
            DeliverError::Rewind { .. } | DeliverError::Blocked { .. } | DeliverError::Fatal { .. } => {}
        }
        self.next = self.cursor;
        self.kafka.rewind(seq(self.cursor), &[]);
    }

    /// Offers and polls once; the hub's clock runs ten times as fast as ours.
    fn step(&mut self) {
        self.offer();
        self.now = Timestamp(self.now.0 + 100_000);
        match self.kafka.poll(Duration::from_millis(10), self.now) {
            Ok(progress) => {
                self.delivered += progress.delivered.iter().map(|count| count.records).sum::<u64>();
                self.cursor = progress.unacked_from.map_or(self.next, index);
                if self.states.last() != Some(&progress.state) {
                    self.states.push(progress.state);
                }
            }
            Err(error) => self.failed(&error),
        }
    }

    fn run_until(&mut self, done: impl Fn(&Self) -> bool) {
        for _ in 0..3000 {
            if done(self) {
                return;
            }
            self.step();
        }
        panic!("at {} of {}: {:?} {:?}", self.cursor, self.payloads.len(), self.told, self.states);
    }

    fn run(&mut self) {
        self.run_until(|relay| relay.cursor == relay.payloads.len());
    }
}

/// Payloads that say their own number.
fn numbered(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|n| format!("{{\"n\":{n}}}").into_bytes()).collect()
}

#[derive(Debug)]
struct Read {
    key: String,
    headers: Vec<(String, String)>,
    payload: Vec<u8>,
}

/// Everything in the topic, by partition, until nothing comes for a while.
fn consume(cluster: &Cluster, topic: &str) -> BTreeMap<i32, Vec<Read>> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap_servers())
        .set("group.id", "test")
        .create()
        .unwrap();
    let mut partitions = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        partitions.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&partitions).unwrap();
    let mut read: BTreeMap<i32, Vec<Read>> = BTreeMap::new();
    let mut idle = 0;
    while idle < if read.is_empty() { 50 } else { 8 } {
        let Some(message) = consumer.poll(Duration::from_millis(100)) else {
            idle += 1;
            continue;
        };
        idle = 0;
        let message = message.unwrap();
        let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap_or_default().to_vec()).unwrap();
        let headers = message.headers().unwrap();
        read.entry(message.partition()).or_default().push(Read {
            key: text(message.key()),
            headers: headers.iter().map(|header| (header.key.to_owned(), text(header.value))).collect(),
            payload: message.payload().unwrap().to_vec(),
        });
    }
    read
}

/// First occurrences by device, in order; and how many records there were in all.
fn by_device(read: BTreeMap<i32, Vec<Read>>) -> (BTreeMap<String, Vec<usize>>, usize) {
    let (mut devices, mut records): (BTreeMap<String, Vec<usize>>, usize) = (BTreeMap::new(), 0);
    for read in read.into_values().flatten() {
        records += 1;
        let id: usize = read.headers.iter().find(|(name, _)| name == "ce_id").unwrap().1.parse().unwrap();
        let seen = devices.entry(read.key).or_default();
        if !seen.contains(&id) {
            seen.push(id);
        }
    }
    (devices, records)
}

/// Nothing missing, in order per device.
fn assert_whole(devices: &BTreeMap<String, Vec<usize>>, expected: impl Iterator<Item = usize>) {
    for (device, ids) in devices {
        assert!(ids.is_sorted(), "{device}: {ids:?}");
    }
    let mut all: Vec<usize> = devices.values().flatten().copied().collect();
    all.sort_unstable();
    assert_eq!(all, expected.collect::<Vec<_>>());
}

#[test]
fn records_arrive_whole_in_order_by_device_with_their_attributes() {
    let cluster = cluster();
    let mut relay = Relay::new(config(&cluster.bootstrap_servers()), numbered(2000));
    relay.run();
    assert_eq!((relay.delivered, relay.told.len()), (2000, 0));
    assert_eq!(relay.states.last(), Some(&OutletState::Up));
    let read = consume(&cluster, TOPIC);
    let first = &read.values().next().unwrap()[0];
    let id = &first.headers[2].1;
    assert_eq!(first.payload, format!("{{\"n\":{id}}}").into_bytes());
    let headers: Vec<_> = first.headers.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(
        headers,
        [
            "content-type=application/json",
            "ce_specversion=1.0",
            &format!("ce_id={id}"),
            "ce_source=ville-mobilite",
            "ce_type=octroi.message.v1",
            "ce_time=2026-11-20T06:01:10.250Z",
            "ce_subject=ville/mobilite/cam-12/anpr",
            "ce_level=sensitive",
            "ce_markings=personal,video_derived",
            "ce_policyversion=2026.11.2",
            "ce_space=mobilite-rennes",
            "ce_commune=35238",
            "ce_producer=243500139",
            "ce_decision=hub-1/9f3c51d2a07be418/7",
        ]
    );
    let (devices, records) = by_device(read);
    assert_whole(&devices, 0..2000);
    assert_eq!(records, 2000, "no duplicate without a fault");
}

#[test]
fn a_structured_event_is_the_value() {
    let cluster = cluster();
    let config = KafkaConfig { headers: Headers::Structured, ..config(&cluster.bootstrap_servers()) };
    Relay::new(config, numbered(1)).run();
    let read = consume(&cluster, TOPIC).into_values().next().unwrap();
    assert_eq!(
        read[0].headers,
        [("content-type".to_owned(), "application/cloudevents+json; charset=UTF-8".to_owned())]
    );
    let value: serde_json::Value = serde_json::from_slice(&read[0].payload).unwrap();
    assert_eq!((&value["id"], &value["data"]["n"]), (&"0".into(), &0.into()));
}

#[test]
fn a_target_that_is_down_at_the_start_is_served_once_it_is_up() {
    let cluster = cluster();
    cluster.broker_down(-1).unwrap();
    let mut relay = Relay::new(config(&cluster.bootstrap_servers()), numbered(500));
    relay.run_until(|relay| relay.states.last() == Some(&OutletState::Down));
    assert_eq!((relay.cursor, relay.delivered), (0, 0));
    cluster.broker_up(-1).unwrap();
    relay.run();
    assert_eq!(relay.states.last(), Some(&OutletState::Up));
    assert_whole(&by_device(consume(&cluster, TOPIC)).0, 0..500);
}

#[test]
fn brokers_that_go_down_under_load_lose_nothing() {
    let cluster = cluster();
    let mut relay = Relay::new(config(&cluster.bootstrap_servers()), numbered(20_000));
    cluster.broker_round_trip_time(-1, Duration::from_millis(20)).unwrap();
    relay.run_until(|relay| relay.delivered > 0);
    cluster.broker_down(-1).unwrap();
    for _ in 0..60 {
        relay.step();
    }
    cluster.broker_up(-1).unwrap();
    relay.run();
    let (devices, _) = by_device(consume(&cluster, TOPIC));
    assert_whole(&devices, 0..20_000);
}

#[test]
fn a_full_window_takes_no_more_and_loses_nothing() {
    let cluster = cluster();
    cluster.broker_down(-1).unwrap();
    // More bytes than may be in flight.
    let payloads = (0..300).map(|n| format!("{{\"n\":{n},\"x\":\"{}\"}}", "x".repeat(100_000)).into_bytes());
    let mut relay = Relay::new(config(&cluster.bootstrap_servers()), payloads.collect());
    relay.offer();
    assert!((150..175).contains(&relay.next), "16 MiB of 100 kB: {}", relay.next);
    cluster.broker_up(-1).unwrap();
    relay.run();
    assert_eq!((relay.delivered, relay.told.len()), (300, 0));
}

#[test]
fn a_target_that_takes_nothing_holds_a_bounded_memory_headers_included() {
    // Nobody listens there.
    let mut relay = Relay::new(config("127.0.0.1:1"), numbered(WINDOW_MAX));
    relay.offer();
    let (records, bytes) = relay.kafka.producer.as_ref().unwrap().context().lock().ledger.in_flight();
    assert_eq!(records, relay.next);
    let most = WINDOW_BYTES + 2 * ledger::RECORD_BYTES;
    assert!((WINDOW_BYTES..most).contains(&bytes), "{records} records, {bytes}");
}

#[test]
fn a_record_too_large_for_the_client_is_rejected_alone() {
    let cluster = cluster();
    let mut payloads = numbered(50);
    payloads[20] = vec![b'x'; 17 << 20];
    let mut relay = Relay::new(config(&cluster.bootstrap_servers()), payloads);
    relay.run();
    assert_eq!((&*relay.rejected, relay.delivered), (&[(seq(20), "too_large")][..], 49));
    assert_whole(&by_device(consume(&cluster, TOPIC)).0, (0..50).filter(|n| *n != 20));
}

#[test]
fn a_record_that_fails_its_batch_is_found_and_rejected_alone() {
    let cluster = cluster();
    // The mock refuses requests, not records: all, until a record failed alone.
    let errors = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE; 500];
    cluster.request_errors(RDKafkaApiKey::Produce, &errors);
    let mut relay = Relay::new(config(&cluster.bootstrap_servers()), numbered(100));
    relay.run_until(|relay| !relay.rejected.is_empty());
    cluster.clear_request_errors(RDKafkaApiKey::Produce);
    relay.run();
    assert_eq!(relay.rejected.len(), 1, "{:?}", relay.told);
    assert_eq!(relay.delivered, 99);
    let rejected = index(relay.rejected[0].0);
    let (devices, _) = by_device(consume(&cluster, TOPIC));
    assert_whole(&devices, (0..100).filter(|n| *n != rejected));
    assert!(relay.told.len() < 12, "found by halving: {:?}", relay.told);
    assert!(relay.kafka.window >= 8, "the window grows again");
}

#[test]
fn batches_refused_for_a_while_are_sent_again_whole() {
    let cluster = cluster();
    let errors = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE; 5];
    cluster.request_errors(RDKafkaApiKey::Produce, &errors);
    let mut relay = Relay::new(config(&cluster.bootstrap_servers()), numbered(100));
    relay.run();
    let rejected: Vec<usize> = relay.rejected.iter().map(|(seq, _)| index(*seq)).collect();
    assert!(!relay.told.is_empty());
    assert_whole(&by_device(consume(&cluster, TOPIC)).0, (0..100).filter(|n| !rejected.contains(n)));
}

#[test]
fn a_missing_topic_blocks_with_its_mend_and_heals() {
    let cluster = cluster();
    let config = KafkaConfig { topic: "later.v1".to_owned(), ..config(&cluster.bootstrap_servers()) };
    let mut relay = Relay::new(config, numbered(300));
    relay.run_until(|relay| relay.told.len() == 1);
    relay.run_until(|relay| relay.states.last() == Some(&OutletState::Blocked));
    let told = &relay.told[0];
    assert!(told.contains("topic `later.v1` does not exist"), "{told}");
    assert!(told.contains("kafka-topics.sh") && told.contains("--create --topic later.v1"), "{told}");
    assert_eq!(relay.cursor, 0);
    cluster.create_topic("later.v1", PARTITIONS, 1).unwrap();
    relay.run();
    assert_eq!(relay.states.last(), Some(&OutletState::Up));
    assert_whole(&by_device(consume(&cluster, "later.v1")).0, 0..300);
}

#[test]
fn a_topic_we_may_not_write_blocks_and_heals() {
    let cluster = cluster();
    let errors = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED; 4];
    cluster.request_errors(RDKafkaApiKey::Produce, &errors);
    let mut relay = Relay::new(config(&cluster.bootstrap_servers()), numbered(100));
    relay.run();
    assert!(relay.told[0].contains("kafka-acls.sh"), "{:?}", relay.told);
    assert!(relay.states.contains(&OutletState::Blocked) && relay.rejected.is_empty());
    assert_whole(&by_device(consume(&cluster, TOPIC)).0, 0..100);
}

#[test]
fn a_rewind_gives_up_what_is_queued_and_its_reports() {
    let cluster = cluster();
    let mut relay = Relay::new(config(&cluster.bootstrap_servers()), numbered(200));
    cluster.broker_down(-1).unwrap();
    relay.offer();
    assert_eq!(relay.next, 200);
    // As at a new policy epoch; the first hundred are withheld now.
    relay.kafka.rewind(seq(100), &[]);
    assert_eq!(relay.kafka.poll(Duration::ZERO, relay.now).unwrap().unacked_from, None);
    (relay.next, relay.cursor) = (100, 100);
    cluster.broker_up(-1).unwrap();
    relay.run();
    assert_eq!(relay.delivered, 100);
    assert_whole(&by_device(consume(&cluster, TOPIC)).0, 100..200);
}

#[test]
fn nothing_is_sent_to_a_cluster_that_is_not_the_pinned_one() {
    let cluster = cluster();
    let pinned =
        |id: &str| KafkaConfig { cluster_id: Some(id.to_owned()), ..config(&cluster.bootstrap_servers()) };
    let mut relay = Relay::new(pinned("another"), numbered(10));
    relay.run_until(|relay| relay.told.len() == 2);
    assert!(relay.told[0].contains("not `another`: nothing was sent"), "{:?}", relay.told);
    assert_eq!(relay.next, 0);
    let found = relay.told[0].split('`').nth(1).unwrap().to_owned();
    Relay::new(pinned(&found), numbered(10)).run();
    assert_eq!(by_device(consume(&cluster, TOPIC)).1, 10);
}

#[test]
fn nothing_is_sent_while_the_cluster_names_a_broker_that_is_not_allowed() {
    let cluster = cluster();
    let listed = |pattern: &str| KafkaConfig {
        allowed_brokers: vec![pattern.to_owned()],
        ..config(&cluster.bootstrap_servers())
    };
    let mut relay = Relay::new(listed("*.kafka.example"), numbered(10));
    relay.run_until(|relay| relay.told.len() == 2);
    assert!(relay.told[0].contains("which `allowed_brokers` does not allow"), "{:?}", relay.told);
    assert_eq!((relay.next, relay.states.last()), (0, Some(&OutletState::Blocked)));
    Relay::new(listed("127.0.0.1"), numbered(10)).run();
    assert_eq!(by_device(consume(&cluster, TOPIC)).1, 10);
}

#[test]
fn brokers_that_acknowledge_nothing_are_shown_as_down_with_the_reason() {
    let cluster = cluster();
    let mut relay = Relay::new(config(&cluster.bootstrap_servers()), numbered(100));
    relay.run();
    cluster.broker_round_trip_time(-1, Duration::from_secs(3)).unwrap();
    relay.payloads.extend(numbered(100));
    relay.run_until(|relay| relay.states.last() == Some(&OutletState::Down));
    let reason = relay.kafka.progress(relay.now).reason;
    assert!(
        reason.en.contains("min.insync.replicas") && reason.fr.contains("min.insync.replicas"),
        "{reason:?}"
    );
    cluster.broker_round_trip_time(-1, Duration::ZERO).unwrap();
    relay.run();
    assert_eq!((relay.delivered, relay.states.last()), (200, Some(&OutletState::Up)));
}

#[test]
fn the_cluster_may_send_us_only_where_the_list_allows() {
    let listed =
        |pattern: &str| KafkaConfig { allowed_brokers: vec![pattern.to_owned()], ..config("127.0.0.1:9092") };
    for (pattern, broker, allowed) in [
        ("kafka.example", "kafka.example:9093", true),
        ("kafka.example:9093", "kafka.example:9093", true),
        ("kafka.example:9093", "kafka.example:9094", false),
        ("*.kafka.example", "b1.kafka.example:9093", true),
        ("*.kafka.example", "kafka.example:9093", false),
        ("*.kafka.example", "b1.kafka.example.evil:9093", false),
        ("*.kafka.example", "evilkafka.example:9093", false),
        ("10.1.2.3", "10.1.2.30:9093", false),
    ] {
        assert_eq!(listed(pattern).check(), Ok(()), "{pattern}");
        assert_eq!(listed(pattern).allows(broker), allowed, "{pattern} {broker}");
    }
    assert!(config("127.0.0.1:9092").allows("anywhere:1"), "without a list, wherever it says");
    for wrong in ["", "*", "*.", "a*b", "*.x:1", "a/b", "a:b"] {
        assert_eq!(listed(wrong).check(), Err(OpenError::AllowedBroker(wrong.to_owned())));
    }
}

#[test]
fn a_configuration_that_cannot_work_is_refused() {
    type Change = fn(&mut KafkaConfig);
    let cases: &[(Change, &str)] = &[
        (|c| c.brokers.clear(), "`brokers` is empty"),
        (|c| c.brokers = vec!["kafka".into()], "broker `kafka` is not `host:port`"),
        (|c| c.brokers = vec!["kafka.example:9092".into()], "not on loopback and `tls` is missing"),
        (|c| c.topic = "a.{nom}".into(), "only `{namespace}`"),
        (|c| c.topic = "a/{level}".into(), "`a-z A-Z 0-9 . _ -`"),
        (|c| c.topic = "{level".into(), "not closed"),
        (|c| c.topic = String::new(), "empty"),
        (|c| c.tls = Some(KafkaTls { ca: "/etc/ca.pem".into(), client: None }), "`tls.ca` is not PEM"),
        (|c| drop(c.properties.insert("acks".into(), "1".into())), "property `acks` cannot be set"),
        (|c| drop(c.properties.insert("metadata.max.age.ms".into(), "x".into())), "refuses"),
    ];
    for (change, expected) in cases {
        let mut config = config("127.0.0.1:9092,[::1]:9092,localhost:9092");
        assert_eq!(config.check(), Ok(()));
        change(&mut config);
        let message = config.check().unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
    let insecure = KafkaConfig { insecure: true, ..config("kafka.example:9092") };
    assert_eq!(insecure.check(), Ok(()));
}

#[test]
fn a_topic_is_filled_in_or_refused() {
    let mut topic = String::new();
    let base = Event { level: Level::Open, space: "s", ..event(1, "i", b"") };
    assert!(topic::render("{space}-{namespace}.{domain}.{level}.v1", Names::of(&base), &mut topic));
    assert_eq!(topic, "s-mobilite-rennes.mobility.open.v1");
    for namespace in ["a b", "é", &"x".repeat(250), "a/b"] {
        let event = Event { namespace, ..base };
        assert!(!topic::render(KafkaConfig::DEFAULT_TOPIC, Names::of(&event), &mut topic));
    }
}
