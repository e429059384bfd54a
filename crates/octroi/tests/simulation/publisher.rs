//! A sensor and the hub's end of its connection: octroi-mqtt's session without
//! a socket, and the pipeline's way in. It keeps what is not acknowledged and
//! sends it again when it is connected again.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use octroi::intake::{Arrived, Intake, Refused, Sender};
use octroi::limits;
use octroi::pipeline::{Ingress, Pending};
use octroi::policies::Active;
use octroi_mqtt::client::{AckReader, Connect, Publish, Reply, connect};
use octroi_mqtt::{Ack, Event, Grant, Qos, Session, Version};
use tokio::sync::oneshot::error::TryRecvError;
use tokio::time::Instant;

use crate::oracle::{Sent, Watch};
use crate::target::number_of;
use crate::truth::Class;

/// Publishes that one publisher leaves unacknowledged.
const UNACKED: usize = 32;

/// A sensor.
pub(crate) struct Publisher {
    device: usize,
    watch: Watch,
    packet: u16,
    /// Not acknowledged, oldest first: packet id and number.
    unacked: VecDeque<(u16, usize)>,
    line: Option<Line>,
}

/// A connection.
struct Line {
    session: Session,
    intake: Intake,
    pending: VecDeque<Pending>,
    replies: AckReader,
    sender: Sender,
}

impl Line {
    fn hand_over(&mut self, hub: &Ingress, active: &Active, now: Instant) {
        let until = now + limits::ACK_GRACE;
        let handed = pin!(hub.hand_over(&mut self.intake, active, &self.sender, until));
        match handed.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(pending) => self.pending.extend(pending),
            Poll::Pending => panic!("a simulation stays within the byte budget"),
        }
    }
}

impl Publisher {
    pub(crate) fn new(device: usize, watch: &Watch) -> Self {
        Self { device, watch: watch.clone(), packet: 0, unacked: VecDeque::new(), line: None }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.unacked.is_empty()
    }

    /// The connection is gone, as the publisher sees it.
    pub(crate) fn hang_up(&mut self) {
        self.line = None;
    }

    /// Publishes these anew, as far as it may.
    pub(crate) fn publish(&mut self, hub: &Ingress, new: &[(Class, bool)], now: Instant) {
        self.reach(hub, now);
        let mut bytes = BytesMut::new();
        for (class, is_poison) in new {
            if self.unacked.len() >= UNACKED {
                break;
            }
            let mut oracle = self.watch.see();
            let number = oracle.sent.len();
            let (class, is_poison, device) = (*class, *is_poison, self.device);
            oracle.sent.push(Sent { class, device, is_poison, is_acked: false, taken: Vec::new() });
            drop(oracle);
            self.packet = self.packet.checked_add(1).unwrap_or(1);
            self.unacked.push_back((self.packet, number));
            bytes.extend_from_slice(&self.encoded(self.packet, number, false));
        }
        self.feed(hub, bytes, now);
    }

    /// Connects if it is not, and sends again what is not acknowledged.
    pub(crate) fn reach(&mut self, hub: &Ingress, now: Instant) {
        if self.line.is_some() {
            return;
        }
        let client = format!("sensor-{}", self.device);
        self.line = Some(Line {
            session: Session::new(Arc::new(limits::mqtt()), now.into_std()),
            intake: Intake::default(),
            pending: VecDeque::new(),
            replies: AckReader::default(),
            sender: Sender {
                identity: "id:ville".into(),
                version: Version::V3,
                session: None,
                share: hub.shares.of("id:ville"),
            },
        });
        let hello = connect(Version::V3, &Connect { keep_alive: 0, ..Connect::new(&client) });
        self.feed(hub, BytesMut::from(&*hello), now);
        let mut again = BytesMut::new();
        for (packet, number) in &self.unacked {
            again.extend_from_slice(&self.encoded(*packet, *number, true));
        }
        self.feed(hub, again, now);
    }

    fn encoded(&self, packet_id: u16, number: usize, dup: bool) -> Vec<u8> {
        let topic = self.watch.see().sent[number].class.topic(self.device);
        let payload = format!("{{\"n\":{number}}}");
        let (payload, qos) = (payload.as_bytes(), Qos::AtLeastOnce);
        let publish = Publish { topic: &topic, payload, qos, packet_id, dup, retain: false, properties: &[] };
        publish.encode(Version::V3).bytes
    }

    /// The hub reads what was sent: decides, puts on record, hands over.
    fn feed(&mut self, hub: &Ingress, mut bytes: BytesMut, now: Instant) {
        let Some(line) = &mut self.line else { return };
        let mut events = Vec::new();
        line.session.receive(&mut bytes, now.into_std(), limits::EVENTS, &mut events);
        let active = hub.policies.current();
        let received = hub.clock.now();
        for event in events {
            match event {
                Event::Connect(_) => line.session.accept(Grant::default(), now.into_std(), &mut Vec::new()),
                Event::Publish(publish) => {
                    let message = &publish.message;
                    let mut oracle = self.watch.see();
                    let taken = (oracle.variant, oracle.now);
                    oracle.sent[number_of(message.payload())].taken.push(taken);
                    let source = active.source(&line.sender.identity);
                    let sender = &line.sender;
                    let arrived =
                        Arrived { sender, message, publish: Some(&publish), at: now, received, source };
                    hub.take(&mut line.intake, &active, &arrived);
                }
                Event::BridgeState(_)
                | Event::Inadmissible(..)
                | Event::Release(_)
                | Event::Will(_)
                | Event::Closed(_) => panic!("a sensor sends no such thing: {event:?}"),
            }
        }
        assert!(bytes.is_empty(), "all of it was read");
        line.hand_over(hub, &active, now);
        self.read_replies();
    }

    /// The hub answers what is on disk; the publisher reads it.
    pub(crate) fn hear(&mut self, now: Instant) {
        let Some(line) = &mut self.line else { return };
        let mut is_lost = false;
        while let Some(pending) = line.pending.front_mut() {
            match pending.done.try_recv() {
                Ok(_) => {}
                Err(TryRecvError::Empty) => {
                    is_lost = now >= pending.since + limits::ACK_GRACE;
                    break;
                }
                Err(TryRecvError::Closed) => {
                    is_lost = true;
                    break;
                }
            }
            let answered = line.pending.pop_front().into_iter().flat_map(|pending| pending.answers);
            for answer in answered {
                let Some(receipt) = answer.receipt else { continue };
                let refused = |why: Refused| Ack::Refused(why.code, Some(why.said));
                let ack = answer.refused.map_or(Ack::Accepted, refused);
                line.session.acknowledge(receipt, ack, &mut Vec::new()).unwrap();
            }
        }
        self.read_replies();
        if is_lost {
            self.line = None;
        }
    }

    fn read_replies(&mut self) {
        let Some(line) = &mut self.line else { return };
        let output = line.session.output().split();
        let mut acked = Vec::new();
        let read = line.replies.feed(&output, |reply| match reply {
            Reply::PubAck { packet_id, .. } => acked.push(packet_id),
            Reply::ConnAck { code, .. } => assert_eq!(code, 0),
            Reply::PubRec { .. }
            | Reply::PubComp { .. }
            | Reply::Disconnect { .. }
            | Reply::PingResp
            | Reply::Other(_) => panic!("{reply:?}"),
        });
        read.unwrap();
        for packet in acked {
            let (expected, number) = self.unacked.pop_front().expect("an answer to what was sent");
            let mut oracle = self.watch.see();
            oracle.note(&format!("acked {number}"));
            oracle.sent[number].is_acked = true;
            if packet != expected {
                oracle.breaks(format!("I3 {packet} was acknowledged before {expected}"));
            }
        }
    }
}
