//! The other side of MQTT, as far as the hub needs it: one connection to a broker that subscribes and takes
//! what comes, as a value without I/O. It publishes nothing, and never asks for QoS 2: one acknowledgement
//! per message is all there is. The bytes of a broker are trusted no more than a client's, and pass the same
//! checks before anything else reads them.
//!
//! INVARIANT: PUBACK leaves only through [`Subscriber::acknowledge`], for the oldest that is not yet
//! acknowledged: what the hub has not stored stays the broker's.
//! INVARIANT: no more than the receive maximum await that; then nothing is read.

mod event;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use crate::client;
use crate::encode;
use crate::event::{OutOfOrder, Publish, Qos, Receipt, Version};
use crate::limits::Limits;
use crate::properties::{self, Seen};
use crate::publish::{self, Aliases};
use crate::reason::{CloseReason, Fault};
use crate::session::Progress;
use crate::session::flight::{Due, Flight};
use crate::topic::{Inadmissible, TopicKind};
use crate::wire::{FixedHeader, Reader};
pub use event::{Asks, End, Heard, Lack};

/// Of the one SUBSCRIBE of a connection.
const SUBSCRIBE_ID: u16 = 1;
const QOS_1: u8 = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing but CONNACK may come.
    AwaitConnAck,
    /// Messages may come already.
    AwaitSubAck,
    Subscribed,
    Ended(End),
}

/// The packets that a broker may send to a subscriber at QoS 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    ConnAck,
    Publish,
    SubAck,
    PingResp,
    Disconnect,
}

/// One connection to a broker.
#[derive(Debug)]
pub struct Subscriber {
    asks: Arc<Asks>,
    limits: Arc<Limits>,
    /// Subscribe though the broker has the session: the filters may be others than it knows.
    anew: bool,
    state: State,
    flight: Flight,
    /// None are announced: whatever alias comes is a fault.
    aliases: Aliases,
    output: BytesMut,
    maximum_packet_size: u32,
    /// How long one sign of life lasts, once subscribed.
    keep_alive: Duration,
    deadline: Instant,
    /// Something came since the last deadline, or nobody listened.
    heard: bool,
}

impl Subscriber {
    /// For a connection just opened: `output` begins with CONNECT. `anew`: whether to subscribe even if the
    /// broker has the session.
    #[must_use]
    pub fn new(asks: Arc<Asks>, limits: Arc<Limits>, anew: bool, now: Instant) -> Self {
        let mut properties = Vec::new();
        if asks.version == Version::V5 {
            properties.extend(client::property::long(0x11, asks.session_expiry));
            properties.extend(client::property::short(0x21, asks.receive_maximum.max(1)));
            properties.extend(client::property::long(0x27, limits.packet_bytes));
        }
        let connect = client::Connect {
            client_id: &asks.client_id,
            user_name: asks.user_name.as_deref(),
            password: asks.password.as_deref(),
            keep_alive: asks.keep_alive.max(1),
            clean_start: false,
            properties: &properties,
            will: None,
        };
        let mut output = BytesMut::new();
        output.extend_from_slice(&client::connect(asks.version, &connect));
        Self {
            anew,
            state: State::AwaitConnAck,
            flight: Flight::new(asks.receive_maximum.max(1)),
            aliases: Aliases::new(0),
            output,
            maximum_packet_size: u32::MAX,
            keep_alive: Duration::from_secs(asks.keep_alive.max(1).into()),
            deadline: now + limits.connect_timeout,
            heard: false,
            asks,
            limits,
        }
    }

    /// Consumes whole packets from `input`, leaving a partial one, and appends at most `room` events (an end
    /// comes on top). Once ended, `input` is left as it is and of no use.
    pub fn receive(
        &mut self,
        input: &mut BytesMut,
        now: Instant,
        room: usize,
        events: &mut Vec<Heard>,
    ) -> Progress {
        let full = events.len().saturating_add(room);
        loop {
            match self.step(input, now, full, events) {
                Ok(None) => self.heard = true,
                Ok(Some(progress @ Progress::NeedInput(_))) => return progress,
                Ok(Some(progress)) => {
                    self.not_listening();
                    return progress;
                }
                Err(end) => {
                    self.end(end, events);
                    return Progress::Closed;
                }
            }
        }
    }

    /// One packet; `Some`: there is a reason to stop.
    fn step(
        &mut self,
        input: &mut BytesMut,
        now: Instant,
        full: usize,
        events: &mut Vec<Heard>,
    ) -> Result<Option<Progress>, End> {
        if self.ended().is_some() {
            return Ok(Some(Progress::Closed));
        }
        let Some(&byte1) = input.first() else { return Ok(Some(Progress::NeedInput(2))) };
        if events.len() >= full {
            return Ok(Some(Progress::EventsFull));
        }
        let kind = self.kind(byte1)?;
        let Some(header) = FixedHeader::read(input)? else { return Ok(Some(Progress::NeedInput(1))) };
        let len = header.frame_len();
        if !u32::try_from(len).is_ok_and(|len| len <= self.limits.packet_bytes) {
            return Err(End::TooLarge(len));
        }
        if let Some(missing) = len.checked_sub(input.len()).filter(|missing| *missing > 0) {
            return Ok(Some(Progress::NeedInput(missing)));
        }
        if kind == Kind::Publish && self.must_wait(header)? {
            return Ok(Some(Progress::AwaitHub));
        }
        let frame = input.split_to(len).freeze();
        let body = Reader::new(frame.get(header.len..).unwrap_or_default());
        match kind {
            Kind::ConnAck => self.connack(body, now, events)?,
            Kind::SubAck => self.suback(body, now, events)?,
            Kind::PingResp => body.end()?,
            Kind::Disconnect => return Err(self.disconnected(body)?),
            Kind::Publish => self.publish(frame, header, events)?,
        }
        Ok(None)
    }

    /// Type, flags, and whether it may come now.
    fn kind(&self, byte1: u8) -> Result<Kind, Fault> {
        let flags = byte1 & 0x0F;
        let kind = match (byte1 >> 4, self.state) {
            (2, State::AwaitConnAck) => Kind::ConnAck,
            (_, State::AwaitConnAck) => return Err(Fault::protocol("another packet than CONNACK first")),
            (3, _) => {
                return match publish::qos(flags)? {
                    Qos::AtMostOnce | Qos::AtLeastOnce => Ok(Kind::Publish),
                    Qos::ExactlyOnce => Err(Fault::protocol("a QoS 2 message on a subscription at QoS 1")),
                };
            }
            (9, State::AwaitSubAck) => Kind::SubAck,
            (13, _) => Kind::PingResp,
            (14, _) if self.asks.version == Version::V5 => Kind::Disconnect,
            _ => return Err(Fault::protocol("a packet that answers nothing")),
        };
        if flags == 0 { Ok(kind) } else { Err(Fault::malformed("reserved flags of the fixed header")) }
    }

    /// Whether the hub's turn comes before this message. An MQTT 5 broker knows the limit.
    fn must_wait(&self, header: FixedHeader) -> Result<bool, Fault> {
        match (publish::qos(header.flags())?, self.asks.version) {
            (Qos::AtMostOnce, _) => Ok(false),
            (_, Version::V5) if self.flight.is_exhausted() => Err(Fault::new(
                CloseReason::ReceiveMaximumExceeded,
                "more messages in flight than the announced receive maximum",
            )),
            (_, Version::V5) => Ok(false),
            (_, Version::V3) => Ok(self.flight.is_full()),
        }
    }

    fn connack(&mut self, mut body: Reader<'_>, now: Instant, events: &mut Vec<Heard>) -> Result<(), End> {
        let (flags, code) = (body.u8()?, body.u8()?);
        if code == 1 && body.is_empty() {
            // In the form of 3.1.1, whatever was asked for: a broker that does not speak the version.
            return Err(End::Refused(code));
        }
        let seen = match self.asks.version {
            Version::V5 => properties::CONNACK.check(&mut body)?,
            Version::V3 => Seen::default(),
        };
        body.end()?;
        match code {
            0 => {}
            1..=5 if self.asks.version == Version::V3 => return Err(End::Refused(code)),
            0x80.. if self.asks.version == Version::V5 => return Err(End::Refused(code)),
            _ => return Err(Fault::malformed("a reason code that CONNACK cannot carry").into()),
        }
        if flags > 1 {
            return Err(Fault::malformed("reserved flags of CONNACK").into());
        }
        self.offers(seen)?;
        self.maximum_packet_size = seen.maximum_packet_size.unwrap_or(u32::MAX);
        let session_present = flags == 1;
        events.push(Heard::Connected { session_present });
        if let Some(seconds) = seen.server_keep_alive.filter(|seconds| *seconds > 0) {
            self.keep_alive = self.keep_alive.min(Duration::from_secs(seconds.into()));
        }
        if session_present && !self.anew {
            self.subscribed(now, events);
            return Ok(());
        }
        self.state = State::AwaitSubAck;
        self.deadline = now + self.limits.connect_timeout;
        self.subscribe()
    }

    /// Whether the broker offers what the subscriptions need; only MQTT 5 says.
    fn offers(&self, seen: Seen) -> Result<(), End> {
        let any = |of: fn(&str) -> bool| self.asks.filters.iter().any(|filter| of(filter));
        let lack = if seen.is_zero(properties::MAXIMUM_QOS) {
            Lack::AtLeastOnce
        } else if seen.is_zero(properties::SHARED_SUBSCRIPTIONS)
            && any(|filter| filter.starts_with("$share/"))
        {
            Lack::SharedSubscriptions
        } else if seen.is_zero(properties::WILDCARDS) && any(|filter| filter.contains(['+', '#'])) {
            Lack::Wildcards
        } else {
            return Ok(());
        };
        Err(End::Lacks(lack))
    }

    fn subscribe(&mut self) -> Result<(), End> {
        let filters: Vec<&str> = self.asks.filters.iter().map(String::as_str).collect();
        let packet = client::subscribe(self.asks.version, SUBSCRIBE_ID, &filters);
        if !u32::try_from(packet.len()).is_ok_and(|len| len <= self.maximum_packet_size) {
            let detail = "the broker takes no packet as large as the SUBSCRIBE";
            return Err(End::Fault(CloseReason::QuotaExceeded, detail));
        }
        self.output.extend_from_slice(&packet);
        Ok(())
    }

    fn suback(&mut self, mut body: Reader<'_>, now: Instant, events: &mut Vec<Heard>) -> Result<(), End> {
        if body.packet_id()? != SUBSCRIBE_ID {
            return Err(Fault::protocol("a SUBACK of another SUBSCRIBE").into());
        }
        if self.asks.version == Version::V5 {
            properties::SUBACK.check(&mut body)?;
        }
        if body.len() != self.asks.filters.len() {
            return Err(Fault::protocol("a SUBACK of more or fewer filters than were asked for").into());
        }
        for (filter, &code) in body.rest().iter().enumerate() {
            match code {
                QOS_1 => {}
                0 | 0x80.. => return Err(End::NotSubscribed { filter, code }),
                _ => return Err(Fault::protocol("a subscription at a QoS that was not asked for").into()),
            }
        }
        self.subscribed(now, events);
        Ok(())
    }

    fn subscribed(&mut self, now: Instant, events: &mut Vec<Heard>) {
        self.state = State::Subscribed;
        self.deadline = now + self.keep_alive;
        events.push(Heard::Subscribed);
    }

    fn publish(&mut self, frame: Bytes, header: FixedHeader, events: &mut Vec<Heard>) -> Result<(), Fault> {
        let parsed = publish::read(frame, header, self.asks.version, &mut self.aliases, &self.limits)?;
        let mut sequence = None;
        if parsed.message.qos == Qos::AtLeastOnce {
            self.flight.take();
            sequence = Some(self.flight.launch(parsed.packet_id, Due::Ack));
        }
        let receipt = Receipt { sequence };
        let publish = Publish { message: parsed.message, receipt, exchange: None, dup: parsed.dup };
        events.push(match parsed.kind {
            TopicKind::Ordinary => Heard::Publish(publish),
            // The broker's own topics are no messages, whoever publishes there.
            TopicKind::BridgeState => Heard::Inadmissible(publish, Inadmissible::ReservedTopic),
            TopicKind::Inadmissible(why) => Heard::Inadmissible(publish, why),
        });
        Ok(())
    }

    fn disconnected(&self, mut body: Reader<'_>) -> Result<End, Fault> {
        let code = if body.is_empty() { 0 } else { body.u8()? };
        if !body.is_empty() {
            properties::DISCONNECT_OF_SERVER.check(&mut body)?;
        }
        body.end()?;
        Ok(End::Disconnected(code))
    }

    /// Acknowledges the oldest message not yet acknowledged. Nothing to do for QoS 0, or once ended.
    ///
    /// # Errors
    ///
    /// Any other than the oldest: no acknowledgement is sent, now or later, and the connection ends.
    pub fn acknowledge(&mut self, receipt: Receipt, events: &mut Vec<Heard>) -> Result<(), OutOfOrder> {
        let Some(sequence) = receipt.sequence.filter(|_| self.ended().is_none()) else { return Ok(()) };
        let Some((packet_id, _)) = self.flight.land(sequence) else {
            self.end(End::Fault(CloseReason::Internal, "the hub acknowledged out of order"), events);
            return Err(OutOfOrder);
        };
        self.flight.give_back();
        encode::puback(&mut self.output, packet_id);
        Ok(())
    }

    /// Leaves: the broker keeps the session, and what is not acknowledged.
    pub fn leave(&mut self, events: &mut Vec<Heard>) {
        self.end(End::Left, events);
    }

    /// The connection ended: end of stream, reset, or a failed write.
    pub fn connection_lost(&mut self, events: &mut Vec<Heard>) {
        self.end(End::Lost, events);
    }

    /// The hub does not read: the broker's silence says nothing.
    pub fn not_listening(&mut self) {
        self.heard = true;
    }

    /// When to call [`Subscriber::handle_timeout`].
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.ended().is_none().then_some(self.deadline)
    }

    /// Once the deadline has passed: a sign of life, or the end of a broker that gives none.
    pub fn handle_timeout(&mut self, now: Instant, events: &mut Vec<Heard>) {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        let heard = std::mem::take(&mut self.heard);
        match self.state {
            State::Subscribed if heard => {
                self.output.extend_from_slice(&client::pingreq());
                self.deadline = now + self.keep_alive;
            }
            // What was kept for the session may come before SUBACK, and it may be a lot.
            State::AwaitSubAck if heard => self.deadline = now + self.limits.connect_timeout,
            State::Subscribed => self.end(End::Silent, events),
            State::AwaitConnAck | State::AwaitSubAck => self.end(End::NoAnswer, events),
            State::Ended(_) => {}
        }
    }

    /// Bytes to write to the broker, in order. The caller takes what it has written.
    pub fn output(&mut self) -> &mut BytesMut {
        &mut self.output
    }

    /// How the connection ended, once it has.
    #[must_use]
    pub fn ended(&self) -> Option<End> {
        match self.state {
            State::Ended(end) => Some(end),
            State::AwaitConnAck | State::AwaitSubAck | State::Subscribed => None,
        }
    }

    /// Messages that await their acknowledgement.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.flight.len()
    }

    #[cold]
    fn end(&mut self, end: End, events: &mut Vec<Heard>) {
        if self.ended().is_some() {
            return;
        }
        match (end.disconnect_code(), self.asks.version) {
            (Some(0), _) => self.output.extend_from_slice(&client::disconnect()),
            (Some(code), Version::V5) if self.state != State::AwaitConnAck => {
                encode::disconnect(&mut self.output, code, None, self.maximum_packet_size);
            }
            (Some(_) | None, _) => {}
        }
        self.state = State::Ended(end);
        events.push(Heard::Ended(end));
    }
}
