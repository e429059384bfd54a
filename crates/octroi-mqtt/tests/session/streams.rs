//! Properties of whole streams, with packets from the crate's own small encoder.

use octroi_mqtt::client::{self, Connect, property};
use octroi_mqtt::{Event, Qos, Version};
use proptest::prelude::*;

use super::Hub;

/// A publish as a client means it.
#[derive(Debug, Clone)]
struct Meant {
    topic: String,
    payload: Vec<u8>,
    qos: Qos,
    retain: bool,
    dup: bool,
    user: Vec<(String, String)>,
}

impl Meant {
    fn encode(&self, version: Version, packet_id: u16) -> Vec<u8> {
        let properties: Vec<u8> =
            self.user.iter().flat_map(|(key, value)| property::user(key, value)).collect();
        client::Publish {
            topic: &self.topic,
            payload: &self.payload,
            qos: self.qos,
            packet_id,
            dup: self.dup && self.qos != Qos::AtMostOnce,
            retain: self.retain,
            properties: &properties,
        }
        .encode(version)
        .bytes
    }
}

fn version() -> impl Strategy<Value = Version> {
    prop_oneof![Just(Version::V3), Just(Version::V5)]
}

fn meant() -> impl Strategy<Value = Meant> {
    let text = "[a-zé数/ ]{1,40}";
    (
        text,
        prop::collection::vec(any::<u8>(), 0..300),
        prop_oneof![Just(Qos::AtMostOnce), Just(Qos::AtLeastOnce), Just(Qos::ExactlyOnce)],
        any::<bool>(),
        any::<bool>(),
        prop::collection::vec(("[a-zé]{0,9}", "[^\0]{0,9}"), 0..4),
    )
        .prop_map(|(topic, payload, qos, retain, dup, user)| Meant { topic, payload, qos, retain, dup, user })
        .prop_filter("a topic within the levels", |meant| meant.topic.matches('/').count() < 16)
}

/// What becomes of `bytes`, fed in pieces of the given sizes (in turn).
fn outcome(bytes: &[u8], sizes: &[usize]) -> (Vec<Event>, Vec<u8>, usize) {
    let mut hub = Hub::new();
    let (mut rest, mut turn) = (bytes, 0);
    while !rest.is_empty() {
        let size = sizes.get(turn % sizes.len().max(1)).copied().unwrap_or(rest.len()).clamp(1, rest.len());
        let (piece, after) = rest.split_at(size);
        hub.feed(piece);
        (rest, turn) = (after, turn + 1);
    }
    let out = hub.out();
    (hub.events, out, hub.connects.len())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn valid_publishes_arrive_as_meant(version in version(), all in prop::collection::vec(meant(), 1..20)) {
        let mut hub = Hub::connected(version);
        let bytes: Vec<u8> = all.iter().zip(1..).flat_map(|(meant, id)| meant.encode(version, id)).collect();
        hub.feed(&bytes);
        prop_assert_eq!(hub.reason(), None);
        let seen = hub.publishes();
        prop_assert_eq!(seen.len(), all.len());
        for (seen, meant) in seen.iter().zip(&all) {
            prop_assert_eq!(seen.message.topic(), meant.topic.as_str());
            prop_assert_eq!(seen.message.payload(), &meant.payload[..]);
            prop_assert_eq!((seen.message.qos, seen.message.retain), (meant.qos, meant.retain));
            prop_assert_eq!(seen.dup, meant.dup && meant.qos != Qos::AtMostOnce);
            let user = if version == Version::V5 { &meant.user[..] } else { &[] };
            prop_assert_eq!(seen.message.user_properties(), user);
            prop_assert_eq!(seen.receipt.wants_acknowledgement(), meant.qos != Qos::AtMostOnce);
        }
    }

    #[test]
    fn a_stream_cut_anywhere_is_the_same_stream(
        version in version(),
        all in prop::collection::vec(meant(), 0..8),
        damage in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
        sizes in prop::collection::vec(1_usize..40, 1..9),
    ) {
        let mut bytes = client::connect(version, &Connect::new("c"));
        bytes.extend(all.iter().flat_map(|meant| meant.encode(version, 1)));
        bytes.extend(client::subscribe(version, 9, &["a/#"]));
        bytes.extend(client::disconnect());
        if let Some((at, value)) = damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let whole = outcome(&bytes, &[]);
        prop_assert_eq!(&whole, &outcome(&bytes, &sizes));
        prop_assert_eq!(&whole, &outcome(&bytes, &[1]));
    }

    #[test]
    fn any_bytes_after_a_connect_end_or_wait_and_never_panic(version in version(), bytes in prop::collection::vec(any::<u8>(), 0..400), size in 1_usize..50) {
        let mut stream = client::connect(version, &Connect::new("c"));
        stream.extend(&bytes);
        let whole = outcome(&stream, &[]);
        prop_assert_eq!(&whole, &outcome(&stream, &[size]));
        prop_assert!(whole.0.len() <= bytes.len() + 2);
    }
}
