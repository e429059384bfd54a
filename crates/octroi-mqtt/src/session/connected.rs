//! A connected client: the loop over its packets. Checks come in the order of the bytes (type and flags,
//! length, then the whole packet), so that a stream cut anywhere has the same outcome.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};

use super::Progress;
use super::exchanges::{Begun, Exchanges, Released};
use super::flight::{Due, Flight};
use crate::encode;
use crate::event::{Ack, Event, OutOfOrder, Publish, Qos, Receipt, Release, Version, Will};
use crate::limits::Limits;
use crate::properties;
use crate::publish::{self, Aliases};
use crate::reason::{CloseReason, Fault};
use crate::subscribe::{self, Request};
use crate::topic::TopicKind;
use crate::wire::{FixedHeader, Reader};

#[derive(Debug)]
pub(super) struct Connected {
    pub(super) version: Version,
    pub(super) maximum_packet_size: u32,
    pub(super) problem_information: bool,
    pub(super) asked_session_expiry: u32,
    /// What DISCONNECT says of the session's expiry.
    pub(super) new_session_expiry: Option<u32>,
    /// How long the client may be silent.
    pub(super) silence: Duration,
    pub(super) alive: Alive,
    pub(super) will: Option<Box<Will>>,
    pub(super) flight: Flight,
    pub(super) exchanges: Exchanges,
    pub(super) aliases: Aliases,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Alive {
    Until(Instant),
    /// The hub is not reading.
    Paused,
}

/// The packets that a connected client may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Publish,
    PubRel,
    Subscribe,
    Unsubscribe,
    PingReq,
    Disconnect,
}

impl Connected {
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.alive {
            Alive::Until(instant) => Some(instant),
            Alive::Paused => None,
        }
    }

    pub(super) fn resume(&mut self, now: Instant) {
        if self.alive == Alive::Paused {
            self.alive = Alive::Until(now + self.silence);
        }
    }

    pub(super) fn note_progress(&mut self, progress: Progress, consumed: bool, now: Instant) {
        match progress {
            Progress::NeedInput(_) | Progress::OutputFull | Progress::Closed if consumed => {
                self.alive = Alive::Until(now + self.silence);
            }
            Progress::NeedInput(_) | Progress::OutputFull | Progress::Closed => self.resume(now),
            Progress::EventsFull | Progress::AwaitHub => self.alive = Alive::Paused,
        }
    }

    /// Consumes packets until there is a reason to stop, and says whether there was one. A client's
    /// DISCONNECT is a `Fault` too: the session ends.
    pub(super) fn receive(
        &mut self,
        input: &mut BytesMut,
        full: usize,
        events: &mut Vec<Event>,
        output: &mut BytesMut,
        limits: &Limits,
    ) -> Result<(Progress, bool), Fault> {
        let mut consumed = false;
        loop {
            let Some(&byte1) = input.first() else { return Ok((Progress::NeedInput(2), consumed)) };
            if events.len() >= full {
                return Ok((Progress::EventsFull, consumed));
            }
            if output.len() >= limits.output_bytes {
                return Ok((Progress::OutputFull, consumed));
            }
            let kind = self.kind(byte1)?;
            let Some(header) = FixedHeader::read(input)? else {
                return Ok((Progress::NeedInput(1), consumed));
            };
            self.check_length(kind, header, limits)?;
            if let Some(missing) = header.frame_len().checked_sub(input.len())
                && missing > 0
            {
                return Ok((Progress::NeedInput(missing), consumed));
            }
            if self.must_wait(kind, header)? {
                return Ok((Progress::AwaitHub, consumed));
            }
            let frame = input.split_to(header.frame_len());
            consumed = true;
            match kind {
                Kind::Publish => self.publish(frame.freeze(), header, limits, events, output)?,
                Kind::PubRel => self.pubrel(&frame, header, events, output)?,
                Kind::Subscribe => self.answer(frame, header, Request::Subscribe, output, limits)?,
                Kind::Unsubscribe => self.answer(frame, header, Request::Unsubscribe, output, limits)?,
                Kind::PingReq => encode::pingresp(output),
                Kind::Disconnect => return Err(self.disconnect(&frame, header)?),
            }
        }
    }

    /// Type and flags (MQTT 5 section 2.1).
    #[inline]
    fn kind(&self, byte1: u8) -> Result<Kind, Fault> {
        let flags = byte1 & 0x0F;
        let (kind, expected) = match byte1 >> 4 {
            3 => {
                publish::qos(flags)?;
                return Ok(Kind::Publish);
            }
            6 => (Kind::PubRel, 2),
            8 => (Kind::Subscribe, 2),
            10 => (Kind::Unsubscribe, 2),
            12 => (Kind::PingReq, 0),
            14 => (Kind::Disconnect, 0),
            other => return Err(self.unwelcome(other, flags)),
        };
        if flags == expected { Ok(kind) } else { Err(Fault::malformed("reserved flags of the fixed header")) }
    }

    #[cold]
    fn unwelcome(&self, packet_type: u8, flags: u8) -> Fault {
        match (packet_type, self.version) {
            (0, _) => Fault::malformed("packet type 0"),
            (15, Version::V3) => Fault::malformed("packet type 15"),
            (_, _) if flags != 0 => Fault::malformed("reserved flags of the fixed header"),
            (1, _) => Fault::protocol("a second CONNECT"),
            (4 | 5 | 7, _) => Fault::protocol("an acknowledgement of a publish that was never sent"),
            (15, Version::V5) => Fault::protocol("AUTH without an authentication method"),
            (_, _) => Fault::protocol("a packet that only servers send"),
        }
    }

    #[inline]
    fn check_length(&self, kind: Kind, header: FixedHeader, limits: &Limits) -> Result<(), Fault> {
        if !u32::try_from(header.frame_len()).is_ok_and(|len| len <= limits.packet_bytes) {
            return Err(Fault::new(CloseReason::PacketTooLarge, "a packet above the announced maximum"));
        }
        let bare = kind == Kind::PingReq || (kind == Kind::Disconnect && self.version == Version::V3);
        if bare && header.remaining != 0 {
            return Err(Fault::malformed("content in a packet that has none"));
        }
        Ok(())
    }

    /// Whether the hub's turn comes before this packet. An MQTT 5 client knows its limit, and ends where
    /// it goes beyond.
    #[inline]
    fn must_wait(&self, kind: Kind, header: FixedHeader) -> Result<bool, Fault> {
        let qos = match kind {
            Kind::Publish => publish::qos(header.flags())?,
            Kind::PubRel => return Ok(self.flight.is_crowded()),
            Kind::Subscribe | Kind::Unsubscribe | Kind::PingReq | Kind::Disconnect => return Ok(false),
        };
        match self.version {
            _ if qos == Qos::AtMostOnce => Ok(false),
            Version::V3 => Ok(self.flight.is_full()),
            Version::V5 if self.flight.is_exhausted() => Err(Fault::new(
                CloseReason::ReceiveMaximumExceeded,
                "more publishes in flight than the announced receive maximum",
            )),
            Version::V5 => Ok(self.flight.is_crowded()),
        }
    }

    #[inline]
    fn publish(
        &mut self,
        frame: Bytes,
        header: FixedHeader,
        limits: &Limits,
        events: &mut Vec<Event>,
        output: &mut BytesMut,
    ) -> Result<(), Fault> {
        let parsed = publish::read(frame, header, self.version, &mut self.aliases, limits)?;
        let (sequence, exchange) = match parsed.message.qos {
            Qos::AtMostOnce => (None, None),
            Qos::AtLeastOnce => {
                self.flight.take();
                (Some(self.flight.launch(parsed.packet_id, Due::Ack)), None)
            }
            Qos::ExactlyOnce => match self.begin(parsed.packet_id, output)? {
                None => return Ok(()),
                sequence => (sequence, Some(parsed.packet_id)),
            },
        };
        let publish =
            Publish { message: parsed.message, receipt: Receipt { sequence }, exchange, dup: parsed.dup };
        events.push(match parsed.kind {
            TopicKind::Ordinary => Event::Publish(publish),
            TopicKind::BridgeState => Event::BridgeState(publish),
            TopicKind::Inadmissible(why) => Event::Inadmissible(publish, why),
        });
        Ok(())
    }

    /// A QoS 2 publish; `None`: it is known already, and no second message.
    fn begin(&mut self, packet_id: u16, output: &mut BytesMut) -> Result<Option<NonZeroU64>, Fault> {
        match self.exchanges.begin(packet_id, self.flight.most_open()) {
            Begun::New => {
                self.flight.take();
                Ok(Some(self.flight.launch(packet_id, Due::Rec)))
            }
            Begun::Again { counted } => {
                if !counted {
                    self.flight.take();
                }
                self.flight.launch(packet_id, Due::RecAgain);
                self.settle(output);
                Ok(None)
            }
            Begun::TooMany => Err(Fault::new(
                CloseReason::ReceiveMaximumExceeded,
                "more QoS 2 publishes without their PUBREL than the receive maximum allows",
            )),
        }
    }

    /// The hub's word on the oldest that needs it, and what then has its turn.
    #[inline]
    pub(super) fn acknowledge(
        &mut self,
        sequence: NonZeroU64,
        ack: Ack<'_>,
        output: &mut BytesMut,
    ) -> Result<(), OutOfOrder> {
        let (packet_id, due) = self.flight.land(sequence).ok_or(OutOfOrder)?;
        let refused = match (ack, self.version) {
            (Ack::Accepted, _) | (Ack::Refused(..), Version::V3) => None,
            (Ack::Refused(refusal, text), Version::V5) => {
                Some((refusal, text.filter(|_| self.problem_information)))
            }
        };
        match (due, refused) {
            (Due::Ack, None) => {
                self.flight.give_back();
                encode::puback(output, packet_id);
            }
            (Due::Ack, Some((refusal, text))) => {
                self.flight.give_back();
                encode::refused(output, encode::PUBACK, packet_id, refusal, text, self.maximum_packet_size);
            }
            (Due::Rec, Some((refusal, text))) => {
                self.flight.give_back();
                self.exchanges.refused(packet_id);
                encode::refused(output, encode::PUBREC, packet_id, refusal, text, self.maximum_packet_size);
            }
            (due, _) => self.answer_exchange(packet_id, due, output),
        }
        self.settle(output);
        Ok(())
    }

    /// Answers what waits for nothing but its turn.
    #[inline]
    fn settle(&mut self, output: &mut BytesMut) {
        while let Some((packet_id, due)) = self.flight.settle() {
            self.answer_exchange(packet_id, due, output);
        }
    }

    /// PUBREC or PUBCOMP.
    fn answer_exchange(&mut self, packet_id: u16, due: Due, output: &mut BytesMut) {
        match due {
            Due::Rec | Due::RecAgain if self.exchanges.recorded(packet_id) => {
                encode::pubrec(output, packet_id);
            }
            // The first was refused while the second was on its way.
            Due::Rec | Due::RecAgain => encode::pubrec_in_use(output, self.version, packet_id),
            Due::Comp { counted } => {
                if counted {
                    self.flight.give_back();
                }
                encode::pubcomp(output, packet_id);
            }
            Due::CompUnknown => encode::pubcomp_unknown(output, self.version, packet_id),
            Due::Ack => encode::puback(output, packet_id),
        }
    }

    /// PUBREL (MQTT 5 section 3.6). A reason of 0x92 says that the client has forgotten the exchange: it ends
    /// all the same.
    fn pubrel(
        &mut self,
        frame: &[u8],
        header: FixedHeader,
        events: &mut Vec<Event>,
        output: &mut BytesMut,
    ) -> Result<(), Fault> {
        let mut body = body(frame, header);
        let packet_id = body.packet_id()?;
        if self.version == Version::V5 && !body.is_empty() {
            if !matches!(body.u8()?, 0x00 | 0x92) {
                return Err(Fault::malformed("a reason code that PUBREL cannot carry"));
            }
            if !body.is_empty() {
                properties::ACK.check(&mut body)?;
            }
        }
        body.end()?;
        match self.exchanges.release(packet_id) {
            Released::Known { counted } => {
                let sequence = Some(self.flight.launch(packet_id, Due::Comp { counted }));
                events.push(Event::Release(Release { receipt: Receipt { sequence }, packet_id }));
            }
            Released::Early => return Err(Fault::protocol("PUBREL before the PUBREC of its publish")),
            Released::Unknown => {
                self.flight.launch(packet_id, Due::CompUnknown);
                self.settle(output);
            }
        }
        Ok(())
    }

    fn answer(
        &self,
        frame: BytesMut,
        header: FixedHeader,
        request: Request,
        output: &mut BytesMut,
        limits: &Limits,
    ) -> Result<(), Fault> {
        let (packet_id, filters) = subscribe::read(frame, header, self.version, request, limits)?;
        let maximum = self.maximum_packet_size;
        let sent = match request {
            Request::Subscribe => encode::suback_refused(output, self.version, packet_id, filters, maximum),
            Request::Unsubscribe => encode::unsuback(output, self.version, packet_id, filters, maximum),
        };
        if sent {
            Ok(())
        } else {
            Err(Fault::new(
                CloseReason::QuotaExceeded,
                "the answer is above the client's maximum packet size",
            ))
        }
    }

    /// The client's DISCONNECT (MQTT 5 section 3.14). Read here: the codec takes the legal form of one
    /// byte for a short packet.
    fn disconnect(&mut self, frame: &[u8], header: FixedHeader) -> Result<Fault, Fault> {
        let mut body = body(frame, header);
        let code = if body.is_empty() { 0 } else { body.u8()? };
        if !body.is_empty() {
            let seen = properties::DISCONNECT.check(&mut body)?;
            if self.asked_session_expiry == 0 && seen.session_expiry.is_some_and(|expiry| expiry != 0) {
                return Err(Fault::protocol("a session expiry that CONNECT had set to 0"));
            }
            self.new_session_expiry = seen.session_expiry;
        }
        body.end()?;
        Ok(match code {
            0x00 => Fault::new(CloseReason::ClientDisconnect, "disconnected by the client"),
            0x04 => {
                Fault::new(CloseReason::ClientDisconnectWithWill, "disconnected by the client, with its will")
            }
            0x80..=0x83 | 0x90 | 0x93..=0x99 => {
                Fault::new(CloseReason::ClientReportedError, "disconnected by the client, with an error")
            }
            _ => return Err(Fault::malformed("a reason code that a client cannot disconnect with")),
        })
    }
}

fn body(frame: &[u8], header: FixedHeader) -> Reader<'_> {
    let mut frame = frame;
    frame.advance(header.len.min(frame.len()));
    Reader::new(frame)
}
