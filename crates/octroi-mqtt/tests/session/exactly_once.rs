//! QoS 2: what each packet does, then a client that reconnects, resends and reuses identifiers against a hub
//! that is killed, over any course of events.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use octroi_mqtt::client::{self, AckReader, Connect, Reply, property};
use octroi_mqtt::{Ack, CloseReason, Event, Limits, Progress, Qos, Receipt, Refusal, Version};
use proptest::prelude::*;

use super::{BOTH, Hub, packets};

fn qos2(version: Version, packet_id: u16, payload: &[u8], dup: bool) -> Vec<u8> {
    client::Publish {
        topic: "t",
        payload,
        qos: Qos::ExactlyOnce,
        packet_id,
        dup,
        retain: false,
        properties: &[],
    }
    .encode(version)
    .bytes
}

fn again(version: Version, open: &[u16], limits: Limits) -> Hub {
    let mut hub = Hub::with_limits(limits);
    (hub.grant.session_present, hub.grant.open) = (true, open.to_vec());
    hub.feed(&client::connect(version, &Connect { clean_start: false, ..Connect::new("c") }));
    assert_eq!(hub.out()[2], 1, "session present");
    hub
}

/// The hub's word on all it was given and has not answered.
fn accept(hub: &mut Hub) -> Vec<u8> {
    for event in std::mem::take(&mut hub.events) {
        let receipt = match event {
            Event::Publish(publish) | Event::Inadmissible(publish, _) => publish.receipt,
            Event::Release(release) => release.receipt,
            other => panic!("{other:?}"),
        };
        hub.session.acknowledge(receipt, Ack::Accepted, &mut hub.events).unwrap();
    }
    hub.out()
}

#[test]
fn pubrec_and_pubcomp_wait_for_the_hub_s_word() {
    for version in BOTH {
        let mut hub = Hub::connected(version);
        hub.feed(&qos2(version, 7, b"x", false));
        let [Event::Publish(publish)] = &hub.events[..] else { panic!("{:?}", hub.events) };
        assert_eq!((publish.exchange, publish.message.qos), (Some(7), Qos::ExactlyOnce));
        assert!(hub.out().is_empty(), "nothing before it is stored");
        assert_eq!(accept(&mut hub), [0x50, 2, 0, 7]);
        hub.feed(&client::pubrel(7));
        assert!(matches!(&hub.events[..], [Event::Release(release)] if release.packet_id == 7));
        assert!(hub.out().is_empty(), "nothing before the release is stored");
        assert_eq!(accept(&mut hub), [0x70, 2, 0, 7]);
        hub.feed(&qos2(version, 7, b"y", false));
        assert_eq!(hub.publishes().len(), 1, "the identifier is free");
    }
}

#[test]
fn a_publish_that_comes_again_is_no_second_message_and_is_answered_in_its_turn() {
    for version in BOTH {
        let mut hub = Hub::connected(version);
        hub.feed(&qos2(version, 7, b"x", false));
        hub.feed(&client::publish(version, "t", b"1", Some(8)).bytes);
        for dup in [true, false] {
            hub.feed(&qos2(version, 7, b"x", dup));
        }
        assert_eq!(hub.events.len(), 2, "whatever its DUP flag says");
        assert_eq!(
            accept(&mut hub),
            [0x50, 2, 0, 7, 0x40, 2, 0, 8, 0x50, 2, 0, 7, 0x50, 2, 0, 7],
            "in the order received [MQTT-4.6.0-3]"
        );
        hub.feed(&qos2(version, 7, b"x", true));
        assert_eq!(
            (hub.events.len(), hub.out()),
            (0, vec![0x50, 2, 0, 7]),
            "at once when nothing is before it"
        );
    }
}

#[test]
fn what_an_earlier_connection_left_open_is_no_new_message_and_is_released() {
    for version in BOTH {
        let mut hub = again(version, &[3, 9], Limits::default());
        hub.feed(&qos2(version, 9, b"x", true));
        assert_eq!((hub.events.len(), hub.out()), (0, vec![0x50, 2, 0, 9]));
        hub.feed(&client::pubrel(3));
        hub.feed(&client::pubrel(9));
        assert_eq!(accept(&mut hub), [0x70, 2, 0, 3, 0x70, 2, 0, 9]);
        hub.feed(&qos2(version, 3, b"y", false));
        assert_eq!(hub.publishes().len(), 1);

        let mut clean = Hub::with_limits(Limits::default());
        (clean.grant.session_present, clean.grant.open) = (true, vec![3]);
        clean.feed(&client::connect(version, &Connect::new("c")));
        clean.feed(&qos2(version, 3, b"x", true));
        assert_eq!(clean.publishes().len(), 1, "a clean start has nothing open");
    }
}

#[test]
fn a_refusal_ends_the_exchange_in_mqtt_5_and_is_a_plain_pubrec_in_3_1_1() {
    let refused = Ack::Refused(Refusal::NotAuthorized, Some("command"));
    for version in BOTH {
        let mut hub = Hub::connected(version);
        hub.feed(&qos2(version, 7, b"x", false));
        hub.feed(&qos2(version, 7, b"x", true));
        let publish = hub.publishes()[0].clone();
        hub.session.acknowledge(publish.receipt, refused, &mut hub.events).unwrap();
        let answers = packets(&hub.out());
        hub.events.clear();
        hub.feed(&client::pubrel(7));
        match version {
            Version::V3 => {
                assert_eq!(answers, [(0x50, vec![0, 7]), (0x50, vec![0, 7])]);
                assert_eq!(publish.opens(version, true), Some(7));
                assert_eq!(accept(&mut hub), [0x70, 2, 0, 7]);
            }
            Version::V5 => {
                assert_eq!(answers[0].1[..3], [0, 7, 0x87]);
                assert_eq!(
                    answers[1],
                    (0x50, vec![0, 7, 0x91]),
                    "the second came while the first was refused"
                );
                assert_eq!(publish.opens(version, true), None);
                assert_eq!(hub.out(), [0x70, 3, 0, 7, 0x92], "nothing is open");
            }
        }
        assert_eq!(publish.opens(version, false), Some(7));
    }
}

#[test]
fn a_pubrel_before_its_pubrec_is_a_protocol_error() {
    for version in BOTH {
        let mut hub = Hub::connected(version);
        hub.feed(&qos2(version, 7, b"x", false));
        hub.feed(&client::pubrel(7));
        assert_eq!(hub.reason(), Some(CloseReason::ProtocolError));
    }
}

#[test]
fn a_pubrel_that_comes_again_is_not_answered_before_the_first_is_on_record() {
    for version in BOTH {
        let mut hub = Hub::connected(version);
        hub.feed(&qos2(version, 7, b"x", false));
        accept(&mut hub);
        hub.feed(&client::pubrel(7));
        hub.feed(&client::pubrel(7));
        assert!(hub.out().is_empty(), "else the identifier could be used again and be taken for a DUP");
        let answers = packets(&accept(&mut hub));
        assert_eq!(answers.iter().map(|(byte1, _)| *byte1).collect::<Vec<_>>(), [0x70, 0x70]);
    }
}

#[test]
fn a_release_with_the_reason_that_the_client_has_forgotten_it_ends_the_exchange() {
    let mut hub = again(Version::V5, &[9], Limits::default());
    hub.feed(&client::packet(0x62, &[0, 9, 0x92]));
    assert_eq!(accept(&mut hub), [0x70, 2, 0, 9]);
}

#[test]
fn the_receive_maximum_counts_a_qos_2_publish_until_its_pubcomp() {
    let limits = Limits { receive_maximum: 2, ..Limits::default() };
    let mut hub = Hub::connected_with(Version::V5, limits.clone(), &Connect::new("c"));
    for id in [1, 2] {
        hub.feed(&qos2(Version::V5, id, b"", false));
    }
    accept(&mut hub);
    hub.feed(&client::pubrel(1));
    accept(&mut hub);
    hub.feed(&qos2(Version::V5, 3, b"", false));
    assert_eq!(hub.reason(), None, "one was given back");
    hub.feed(&qos2(Version::V5, 4, b"", false));
    assert_eq!(hub.reason(), Some(CloseReason::ReceiveMaximumExceeded));

    let mut hub = again(Version::V5, &[1, 2], limits.clone());
    hub.feed(&qos2(Version::V5, 3, b"", false));
    hub.feed(&qos2(Version::V5, 4, b"", false));
    assert_eq!(hub.reason(), None, "what an earlier connection left open is not counted");
    accept(&mut hub);
    for id in [1, 2, 3] {
        hub.feed(&client::pubrel(id));
    }
    accept(&mut hub);
    hub.feed(&qos2(Version::V5, 5, b"", false));
    assert_eq!(hub.reason(), None, "nor does its release give anything back");
    hub.feed(&qos2(Version::V5, 6, b"", false));
    assert_eq!(hub.reason(), Some(CloseReason::ReceiveMaximumExceeded));
}

#[test]
fn open_exchanges_are_bounded_over_connections() {
    let limits = Limits { receive_maximum: 2, ..Limits::default() };
    for version in BOTH {
        let mut hub = again(version, &[1, 2, 3, 4], limits.clone());
        hub.feed(&qos2(version, 1, b"", true));
        assert_eq!((hub.reason(), hub.out()), (None, vec![0x50, 2, 0, 1]), "one that is open may come again");
        hub.feed(&qos2(version, 5, b"", false));
        assert_eq!(hub.reason(), Some(CloseReason::ReceiveMaximumExceeded), "{version:?}");
    }
}

#[test]
fn resent_publishes_and_releases_without_end_wait_for_the_hub() {
    let limits = Limits { receive_maximum: 2, ..Limits::default() };
    for version in BOTH {
        let mut hub = again(version, &[], limits.clone());
        hub.feed(&qos2(version, 1, b"", false));
        let flood = client::pubrel(9).repeat(100);
        assert_eq!(hub.feed(&flood), Progress::AwaitHub);
        assert_eq!(hub.session.in_flight(), 8, "four times the receive maximum");
        let answers = packets(&accept(&mut hub)).len();
        hub.turn();
        assert_eq!(answers + packets(&hub.out()).len(), 101, "and all are answered then");
    }
}

#[test]
fn disconnect_may_change_the_session_s_expiry_but_not_from_nothing() {
    let properties = property::long(0x11, 77);
    let connect = Connect { properties: &properties, ..Connect::new("c") };
    let mut hub = Hub::connected_with(Version::V5, Limits::default(), &connect);
    hub.feed(&client::packet(0xE0, &[&[0, 5][..], &property::long(0x11, 9)].concat()));
    assert_eq!(
        (hub.reason(), hub.session.new_session_expiry()),
        (Some(CloseReason::ClientDisconnect), Some(9))
    );
    let mut hub = Hub::connected_with(Version::V5, Limits::default(), &connect);
    hub.feed(&client::disconnect());
    assert_eq!(hub.session.new_session_expiry(), None);
    let mut hub = Hub::connected(Version::V5);
    hub.feed(&client::packet(0xE0, &[&[0, 5][..], &property::long(0x11, 9)].concat()));
    assert_eq!((hub.reason(), hub.session.new_session_expiry()), (Some(CloseReason::ProtocolError), None));
}

// ── Any course of events ────────────────────────────────────────────────────

#[derive(Debug, Clone, Copy)]
enum Op {
    /// The client publishes a new message.
    Publish,
    /// The client sends its oldest open publish again, on the same connection.
    Resend,
    /// So many of what the hub holds reach the disk, and are answered.
    Sync(usize),
    /// The client reads what was answered.
    Read,
    /// The connection breaks: answers that were not read are lost. What the hub holds reaches the disk, or
    /// never does.
    Cut { stored: bool },
    /// The hub is killed: what is not on disk is gone.
    Kill,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        5 => Just(Op::Publish),
        1 => Just(Op::Resend),
        5 => (1_usize..6).prop_map(Op::Sync),
        4 => Just(Op::Read),
        1 => any::<bool>().prop_map(|stored| Op::Cut { stored }),
        1 => Just(Op::Kill),
    ]
}

/// What the hub has taken and not stored.
enum Held {
    Message { receipt: Receipt, message: u32, opens: Option<u16>, refused: bool },
    Release { receipt: Receipt, packet_id: u16 },
}

#[derive(Default)]
struct Disk {
    messages: Vec<u32>,
    open: BTreeSet<u16>,
}

impl Disk {
    fn store(&mut self, held: &Held) {
        match held {
            Held::Message { message, opens, .. } => {
                self.messages.push(*message);
                self.open.extend(opens);
            }
            Held::Release { packet_id, .. } => {
                self.open.remove(packet_id);
            }
        }
    }
}

/// A client that follows the standard: it keeps what is not complete, in order, and resends it.
#[derive(Default)]
struct Publisher {
    published: u32,
    /// Identifier, message, and whether its PUBREC was seen.
    open: VecDeque<(u16, u32, bool)>,
}

struct World {
    version: Version,
    hub: Hub,
    held: VecDeque<Held>,
    disk: Disk,
    publisher: Publisher,
    reader: AckReader,
}

const WINDOW: usize = 4;

/// The hub refuses every fifth message.
fn is_refused(message: u32) -> bool {
    message % 5 == 4
}

impl World {
    fn new(version: Version) -> Self {
        let mut world = Self {
            version,
            hub: Hub::new(),
            held: VecDeque::new(),
            disk: Disk::default(),
            publisher: Publisher::default(),
            reader: AckReader::default(),
        };
        world.connect();
        world
    }

    fn connect(&mut self) {
        let open: Vec<u16> = self.disk.open.iter().copied().collect();
        let limits = Limits { receive_maximum: u16::try_from(WINDOW).unwrap(), ..Limits::default() };
        self.hub = again(self.version, &open, limits);
        self.reader = AckReader::default();
        let mut packets = Vec::new();
        for (packet_id, message, released) in &self.publisher.open {
            packets.extend(if *released {
                client::pubrel(*packet_id).to_vec()
            } else {
                qos2(self.version, *packet_id, &message.to_be_bytes(), true)
            });
        }
        self.send(&packets);
    }

    fn send(&mut self, bytes: &[u8]) {
        self.hub.feed(bytes);
        self.take();
    }

    /// What the session has given the hub by now.
    fn take(&mut self) {
        assert_eq!(self.hub.reason(), None, "an honest client is not sent away");
        for event in std::mem::take(&mut self.hub.events) {
            self.held.push_back(match event {
                Event::Publish(publish) => {
                    let message = u32::from_be_bytes(publish.message.payload().try_into().unwrap());
                    let refused = is_refused(message);
                    let opens = publish.opens(self.version, refused);
                    Held::Message { receipt: publish.receipt, message, opens, refused }
                }
                Event::Release(release) => {
                    Held::Release { receipt: release.receipt, packet_id: release.packet_id }
                }
                other => panic!("{other:?}"),
            });
        }
    }

    fn step(&mut self, op: Op) {
        match op {
            Op::Publish if self.publisher.open.len() < WINDOW => {
                // The lowest free one: identifiers are used again at once.
                let used: BTreeSet<u16> = self.publisher.open.iter().map(|(id, ..)| *id).collect();
                let packet_id = (1..).find(|id| !used.contains(id)).unwrap();
                let message = self.publisher.published;
                self.publisher.published += 1;
                self.publisher.open.push_back((packet_id, message, false));
                self.send(&qos2(self.version, packet_id, &message.to_be_bytes(), false));
            }
            // An MQTT 5 client resends upon a reconnect only [MQTT-4.4.0-1].
            Op::Resend if self.version == Version::V3 && self.hub.session.in_flight() < WINDOW => {
                let oldest = self.publisher.open.iter().find(|(_, _, released)| !released).copied();
                if let Some((packet_id, message, _)) = oldest {
                    self.send(&qos2(self.version, packet_id, &message.to_be_bytes(), true));
                }
            }
            Op::Publish | Op::Resend => {}
            Op::Sync(most) => {
                for _ in 0..most.min(self.held.len()) {
                    self.sync_one();
                }
            }
            Op::Read => self.read(),
            Op::Cut { stored } => {
                if stored {
                    self.held.iter().for_each(|held| self.disk.store(held));
                }
                self.held.clear();
                self.connect();
            }
            Op::Kill => {
                self.held.clear();
                self.connect();
            }
        }
    }

    fn sync_one(&mut self) {
        let Some(held) = self.held.pop_front() else { return };
        self.disk.store(&held);
        let (receipt, ack) = match held {
            Held::Message { receipt, refused: true, .. } => {
                (receipt, Ack::Refused(Refusal::NotAuthorized, None))
            }
            Held::Message { receipt, .. } | Held::Release { receipt, .. } => (receipt, Ack::Accepted),
        };
        self.hub.session.acknowledge(receipt, ack, &mut self.hub.events).unwrap();
        // What waited behind a full window comes now.
        self.hub.turn();
        self.take();
    }

    fn read(&mut self) {
        let out = self.hub.out();
        let mut replies = Vec::new();
        self.reader.feed(&out, |reply| replies.push(reply)).unwrap();
        for reply in replies {
            let stored = |message: &u32| self.disk.messages.contains(message);
            match reply {
                Reply::PubRec { packet_id, code: 0x80.. } => {
                    self.publisher.open.retain(|(id, ..)| *id != packet_id);
                }
                Reply::PubRec { packet_id, .. } => {
                    let open = self.publisher.open.iter_mut().find(|(id, ..)| *id == packet_id);
                    // The answer to one that was sent twice may come after the exchange.
                    let Some((_, message, released)) = open else { continue };
                    assert!(stored(message), "PUBREC before {message} is on disk");
                    if !std::mem::replace(released, true) {
                        self.send(&client::pubrel(packet_id));
                    }
                }
                Reply::PubComp { packet_id, .. } => {
                    self.publisher.open.retain(|(id, _, released)| *id != packet_id || !*released);
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

/// Any course of events, until the client has all its answers.
fn course(version: Version, ops: &[Op]) {
    let mut world = World::new(version);
    for op in ops {
        world.step(*op);
    }
    for _ in 0..200 {
        if world.publisher.open.is_empty() {
            break;
        }
        world.step(Op::Sync(99));
        world.step(Op::Read);
    }
    assert!(world.publisher.open.is_empty(), "the client gets its answers");
    let mut copies: BTreeMap<u32, u32> = BTreeMap::new();
    for message in &world.disk.messages {
        *copies.entry(*message).or_default() += 1;
    }
    for message in 0..world.publisher.published {
        // A refusal's answer may be lost: the client asks again, and MQTT 5 keeps nothing open for it.
        let again = version == Version::V5 && is_refused(message);
        let count = copies.get(&message).copied().unwrap_or(0);
        assert!(count == 1 || (again && count >= 1), "message {message} is on record {count} times");
    }
    let accepted: Vec<_> = world.disk.messages.iter().filter(|message| !is_refused(**message)).collect();
    assert!(accepted.is_sorted(), "in the order of publication");
    assert!(world.disk.open.is_empty(), "nothing stays open: {:?}", world.disk.open);
}

#[test]
fn a_publish_behind_a_full_window_is_taken_once_there_is_room() {
    use Op::{Publish, Read, Resend, Sync};
    let resent = [Publish, Publish, Publish, Publish, Sync(3), Read, Sync(1), Resend, Sync(1), Read, Publish];
    course(Version::V3, &resent);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_message_is_on_record_once_whatever_breaks(
        version in prop_oneof![Just(Version::V3), Just(Version::V5)],
        ops in prop::collection::vec(op(), 1..120),
    ) {
        course(version, &ops);
    }
}
