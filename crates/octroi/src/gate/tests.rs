use std::sync::Arc;

use octroi_journal::{Journal, Options, RealDisk};
use octroi_policy::{Input, Level, PseudonymKey, SourceFile};
use tempfile::TempDir;

use super::*;
use crate::ledger::stored;
use crate::metrics::Metrics;
use crate::policies::{Bits, Store};

const POLICY: &str = include_str!("../../../../policies/bretagne-exemple.toml");
/// A day on which the policy is in force, and a later one of the same epoch.
const THEN: &str = "2026-11-20T06:14:03Z";
const NOW: &str = "2026-11-20T23:00:00Z";
pub(crate) const CAMERA: &str = "cert:CN=mobilite.rennes.example";
const PAYLOAD: &[u8] = br#"{"count":17,"speed_avg":43.25,"ts":"2026-11-20T06:14:02Z","device":"cam-0007"}"#;

/// Edits of the policy: what stands there, what stands there instead.
pub(crate) type Edits = [(&'static str, &'static str)];
pub(crate) const AS_IT_IS: &Edits = &[];
/// Counting is sensitive: no copy to the cloud.
pub(crate) const TIGHT: &Edits =
    &[("level = \"open\"\nmarkings = [\"video_derived\"]", "level = \"sensitive\"")];
/// The copy is not transformed.
const RAW: &Edits = &[("transform = \"t-mobilite-cloud\"\n", "")];
/// Its transform needs what the message does not have.
const REFUSES: &Edits = &[("\"count\", \"speed_avg\", \"occupancy_pct\", \"period\"]", "\"occupancy_pct\"]")];

pub(crate) struct Key;

impl KeySource for Key {
    fn key(&self, _: &str, _: &str) -> Option<PseudonymKey> {
        Some(PseudonymKey::new("k7", &[7; 32]))
    }
}

pub(crate) fn compiled(edits: &Edits) -> (Policy, Vec<SourceFile>) {
    let mut text = POLICY.to_owned();
    for (from, to) in edits {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    let files = vec![SourceFile { name: "policy.toml".into(), text }];
    let policy = Policy::compile(&octroi_policy::parse(&files).document, octroi_policy::hash(&files));
    (policy.unwrap(), files)
}

fn bits() -> Bits {
    let options = Options {
        hub: "hub-1".into(),
        segment_bytes: 64 << 10,
        limit_bytes: 1 << 20,
        reserve_bytes: 64 << 10,
    };
    let directory = TempDir::new().unwrap();
    let disk = RealDisk::new(directory.path()).unwrap();
    let (mut journal, _) = Journal::open(Arc::new(disk), options, &mut || 7).unwrap();
    let bits = ["a", "b", "c"].map(|name| journal.register_target(name, 0).unwrap());
    Bits::from_list(bits.to_vec()).unwrap()
}

/// A hub that was under one policy, and is now under another.
struct Hub {
    policies: Policies,
    then: Policy,
    _store: TempDir,
}

fn hub(then: &Edits, now: &Edits) -> Hub {
    let directory = TempDir::new().unwrap();
    let store = Store::open(directory.path().join("policies")).unwrap();
    let metrics = Metrics::new("test").unwrap();
    let mut in_force = None;
    for edits in [then, now] {
        let (policy, files) = compiled(edits);
        let active = Active::new(policy, 0, at(THEN), bits(), &metrics);
        Policies::keep(&store, &active, &files).unwrap();
        in_force = Some(active);
    }
    Hub { policies: Policies::new(in_force.unwrap(), store), then: compiled(then).0, _store: directory }
}

pub(crate) fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

impl Hub {
    /// A counting camera's message, as the policy of then decided it.
    fn message(&self) -> Message<'static> {
        let (topic, received) = ("ville/mobilite/cam-0007/count", at(THEN));
        let source = self.then.source(CAMERA).unwrap();
        let input = Input { source, topic, payload: PAYLOAD, user_properties: &[], received };
        let decision = self.then.decide(&input);
        Message {
            policy: crate::policies::policy64(&self.then),
            received,
            origin: None,
            time: decision.time,
            outcome: stored(decision.outcome).unwrap(),
            label: decision.label,
            domain: decision.domain,
            commune: "35238",
            identity: CAMERA,
            device: "cam-0007",
            topic,
            retain: false,
            user_properties: Vec::new(),
            payload: PAYLOAD,
        }
    }

    fn gate<R>(&self, target: &str, ask: impl FnOnce(&Gate<'_>) -> R) -> R {
        let active = self.policies.current();
        let gate = Gate {
            policies: &self.policies,
            active: &active,
            target,
            origin: "hub-1/9f3c51d2a07be418",
            now: at(NOW),
            keys: &Key,
            scratch: RefCell::default(),
        };
        ask(&gate)
    }

    fn ways(&self, target: &str, message: &Message<'_>) -> Result<Ways, Withheld> {
        self.gate(target, |gate| gate.ways(message))
    }
}

/// What leaves by the only way to that target: id, topic, payload, level, whether it links to the decision.
fn leaves(hub: &Hub, target: &str) -> Result<(String, String, Vec<u8>, Level, bool), Withheld> {
    let message = hub.message();
    hub.gate(target, |gate| {
        let ways = gate.ways(&message)?;
        let [way] = ways.open.as_slice() else { panic!("{ways:?}") };
        gate.pass(5, &message, &ways, *way, |outgoing| {
            let event = outgoing.event();
            assert_eq!((event.seq, outgoing.permit().seq), (5, 5));
            let linked = event.decision.is_some();
            (event.id.to_owned(), event.topic.to_owned(), event.payload.to_vec(), event.level, linked)
        })
    })
}

#[test]
fn within_its_epoch_a_decision_stands() {
    let hub = hub(AS_IT_IS, AS_IT_IS);
    let message = hub.message();
    assert_eq!(message.label.level, Level::Open);
    for (target, open) in [("dc-rennes", 1), ("cloud-confiance", 1), ("dc-morbihan", 0), ("nowhere", 0)] {
        let ways = hub.ways(target, &message).unwrap();
        assert_eq!((ways.open.len(), ways.label), (open, message.label), "{target}");
    }
    // It is not decided again: a sender that is gone does not close what was open.
    let gone = Message { identity: "cert:CN=gone", ..message };
    assert_eq!(hub.ways("dc-rennes", &gone).unwrap().open.len(), 1);
}

#[test]
fn what_leaves_is_the_original_or_its_transformed_copy() {
    let hub = hub(AS_IT_IS, AS_IT_IS);
    let (id, topic, payload, level, linked) = leaves(&hub, "dc-rennes").unwrap();
    assert_eq!((id.as_str(), level, linked), ("hub-1/9f3c51d2a07be418/5", Level::Open, true));
    assert_eq!((topic.as_str(), payload.as_slice()), ("ville/mobilite/cam-0007/count", PAYLOAD));
    let (id, topic, payload, level, linked) = leaves(&hub, "cloud-confiance").unwrap();
    assert_eq!((level, linked, id.len()), (Level::Open, false, 32));
    assert_eq!(payload, br#"{"count":17,"speed_avg":43.25}"#);
    assert!(topic.starts_with("b/mobility/35238/p1-k7-") && !topic.contains("cam"), "{topic}");
}

#[test]
fn a_tightened_policy_withholds_what_waits() {
    let hub = hub(AS_IT_IS, TIGHT);
    let message = hub.message();
    assert_eq!(hub.ways("cloud-confiance", &message), Err(Withheld::NotAllowed));
    // The original may still live where it was to go, under the stricter label.
    let (_, _, payload, level, _) = leaves(&hub, "dc-rennes").unwrap();
    assert_eq!((payload.as_slice(), level), (PAYLOAD, Level::Sensitive));
    // Nobody to decide for: closed.
    let gone = Message { identity: "cert:CN=gone", ..message };
    assert_eq!(hub.ways("dc-rennes", &gone), Err(Withheld::NotAllowed));
}

#[test]
fn a_loosened_policy_does_not_open_what_was_closed() {
    let hub = hub(TIGHT, AS_IT_IS);
    let message = hub.message();
    assert_eq!(message.label.level, Level::Sensitive);
    assert_eq!(hub.ways("cloud-confiance", &message), Err(Withheld::NotAllowed));
    // Nor does it lower the label.
    assert_eq!(leaves(&hub, "dc-rennes").unwrap().3, Level::Sensitive);
}

#[test]
fn what_was_to_be_transformed_does_not_leave_raw_now() {
    assert_eq!(leaves(&hub(AS_IT_IS, RAW), "cloud-confiance"), Err(Withheld::NotAllowed));
    // The other way round the transform of now is applied.
    let (_, _, payload, _, linked) = leaves(&hub(RAW, AS_IT_IS), "cloud-confiance").unwrap();
    assert_eq!((payload.as_slice(), linked), (&br#"{"count":17,"speed_avg":43.25}"#[..], false));
    // Raw then and raw now.
    let (id, _, payload, _, linked) = leaves(&hub(RAW, RAW), "cloud-confiance").unwrap();
    assert_eq!((payload.as_slice(), linked), (PAYLOAD, true));
    assert_eq!(id, "hub-1/9f3c51d2a07be418/5/mobilite-vers-cloud");
}

#[test]
fn without_the_version_that_decided_nothing_leaves() {
    let hub = hub(AS_IT_IS, AS_IT_IS);
    let message = Message { policy: 42, ..hub.message() };
    assert_eq!(hub.ways("dc-rennes", &message), Err(Withheld::PolicyUnknown));
    assert_eq!(hub.ways("nowhere", &message), Err(Withheld::TargetRemoved));
}

#[test]
fn a_transform_that_refuses_a_message_withholds_the_copy_alone() {
    let hub = hub(REFUSES, REFUSES);
    assert_eq!(leaves(&hub, "cloud-confiance"), Err(Withheld::TransformRefused));
    assert_eq!(leaves(&hub, "dc-rennes").unwrap().2, PAYLOAD);
}

#[test]
fn the_content_type_is_that_of_the_payload_where_a_format_has_several() {
    const BYTES: &str = "application/octet-stream";
    const JSON: &str = "application/json";
    for (format, payload, expected) in [
        (Format::SparkplugB, &b"\x08\x01"[..], BYTES),
        (Format::SparkplugB, br#"{"online":true}"#, JSON),
        (Format::Tasmota, b"ON", "text/plain; charset=utf-8"),
        (Format::Tasmota, br#" {"POWER":"ON"}"#, JSON),
        (Format::Zigbee2mqtt, b"online", "text/plain; charset=utf-8"),
        (Format::Zigbee2mqtt, b"[]", JSON),
        (Format::Shelly, b"true", JSON),
        (Format::Opaque, b"{}", BYTES),
    ] {
        assert_eq!(content_type(format, payload), expected, "{format:?} {payload:02x?}");
    }
}
