//! One client's session as a value: bytes and the present time in, events and bytes out. It owns the
//! order of things: CONNECT first, acknowledgements in receive order, one end. It reads no clock and no
//! socket, and knows neither identity nor policy: the hub accepts, decides, stores, and acknowledges.
//!
//! INVARIANT: PUBACK, PUBREC and PUBCOMP leave only through [`Session::acknowledge`], for the oldest that is
//! not yet acknowledged [MQTT-4.6.0-2, -3]; what needs no word of the hub (a QoS 2 publish that came again)
//! leaves in its turn among them.

mod connected;
mod exchanges;
pub(crate) mod flight;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rumqttd::protocol::{ConnAckProperties, ConnectReturnCode};

use crate::connect::{self, Answer, Asked};
use crate::encode;
use crate::event::{Ack, Closed, Event, Grant, OutOfOrder, Receipt, Version, Will};
use crate::limits::Limits;
use crate::publish::Aliases;
use crate::reason::{CloseReason, ConnectRefusal, DisconnectReason, Fault};
use crate::wire::FixedHeader;
use connected::{Alive, Connected};
use exchanges::Exchanges;
use flight::Flight;

/// One client's MQTT session, server side.
#[derive(Debug)]
pub struct Session {
    limits: Arc<Limits>,
    state: State,
    output: BytesMut,
    new_expiry: Option<u32>,
}

/// Each state owns what only it has.
#[derive(Debug)]
enum State {
    /// Nothing but a CONNECT may come, and it must come in time.
    AwaitConnect {
        deadline: Instant,
    },
    /// The hub looks at the CONNECT. What the client has sent after it stays unread
    /// (it may send before its CONNACK: MQTT 5 section 3.1.4).
    Authenticating {
        asked: Asked,
        will: Option<Box<Will>>,
    },
    Connected(Box<Connected>),
    /// What is in `output` may still be written.
    Closed(Closed),
}

/// Why `receive` returned: what the hub should do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Read from the socket: this many more bytes at least.
    NeedInput(usize),
    /// `room` is used up: take the events and call again before reading.
    EventsFull,
    /// The hub's turn: `accept` or `refuse`, or acknowledge (an MQTT 3.1.1 client with as many publishes
    /// unacknowledged as it may have; an MQTT 5 client knows its limit). Then call again before reading.
    AwaitHub,
    /// Write `output` first: the client asks and does not read. Keep-alive goes on.
    OutputFull,
    /// The session is over.
    Closed,
}

impl Session {
    /// A session for a connection just opened.
    #[must_use]
    pub fn new(limits: Arc<Limits>, now: Instant) -> Self {
        let deadline = now + limits.connect_timeout;
        Self { limits, state: State::AwaitConnect { deadline }, output: BytesMut::new(), new_expiry: None }
    }

    /// Consumes whole packets from `input`, leaving a partial one, and appends at most `room` events
    /// (the two of an end, `Will` and `Closed`, come on top).
    ///
    /// Returning otherwise than `NeedInput` pauses keep-alive (but for `OutputFull`): a client is not
    /// silent while nobody listens. Once closed, `input` is left as it is and of no use.
    pub fn receive(
        &mut self,
        input: &mut BytesMut,
        now: Instant,
        room: usize,
        events: &mut Vec<Event>,
    ) -> Progress {
        let full = events.len().saturating_add(room);
        if matches!(self.state, State::AwaitConnect { .. }) {
            if events.len() >= full {
                return Progress::EventsFull;
            }
            if let Some(progress) = self.receive_connect(input, events) {
                return progress;
            }
        }
        match &mut self.state {
            State::AwaitConnect { .. } | State::Authenticating { .. } => Progress::AwaitHub,
            State::Closed(_) => Progress::Closed,
            State::Connected(connected) => {
                match connected.receive(input, full, events, &mut self.output, &self.limits) {
                    Ok((progress, consumed)) => {
                        connected.note_progress(progress, consumed, now);
                        progress
                    }
                    Err(fault) => {
                        self.close(fault, None, events);
                        Progress::Closed
                    }
                }
            }
        }
    }

    /// Answers a CONNECT with success. Without a CONNECT to answer it does nothing. An MQTT 5 client
    /// with an empty identifier for which `grant` assigns none is refused.
    pub fn accept(&mut self, grant: Grant, now: Instant, events: &mut Vec<Event>) {
        let State::Authenticating { asked, will } = &mut self.state else { return };
        let asked = *asked;
        let will = will.take();
        if asked.version == Version::V5 && asked.anonymous && grant.assigned_client_id.is_none() {
            self.refuse(ConnectRefusal::ClientIdInvalid, None, events);
            return;
        }
        let receive_maximum = grant.receive_maximum.unwrap_or(self.limits.receive_maximum).max(1);
        let keep_alive = effective_keep_alive(asked, &self.limits);
        let session_present = grant.session_present && !asked.clean_start;
        let properties = match asked.version {
            Version::V3 => None,
            Version::V5 => Some(ConnAckProperties {
                session_expiry_interval: grant.session_expiry,
                receive_max: Some(receive_maximum),
                max_packet_size: Some(self.limits.packet_bytes),
                assigned_client_identifier: grant.assigned_client_id.filter(|_| asked.anonymous),
                topic_alias_max: Some(self.limits.topic_alias_maximum),
                server_keep_alive: keep_alive.announced,
                ..ConnAckProperties::default()
            }),
        };
        let sent = encode::connack(
            &mut self.output,
            asked.version,
            session_present,
            ConnectReturnCode::Success,
            properties,
            asked.maximum_packet_size,
        );
        if !sent {
            let detail = "the client's maximum packet size is below that of a CONNACK";
            self.end(Closed { reason: CloseReason::PacketTooLarge, detail }, events);
            return;
        }
        self.state = State::Connected(Box::new(Connected {
            version: asked.version,
            maximum_packet_size: asked.maximum_packet_size,
            problem_information: asked.problem_information,
            asked_session_expiry: asked.session_expiry,
            new_session_expiry: None,
            silence: keep_alive.silence,
            alive: Alive::Until(now + keep_alive.silence),
            will,
            flight: Flight::new(receive_maximum),
            exchanges: if session_present { Exchanges::carried(&grant.open) } else { Exchanges::default() },
            aliases: Aliases::new(self.limits.topic_alias_maximum),
        }));
    }

    /// Answers a CONNECT with a refusal and closes. Without a CONNECT to answer it does nothing.
    pub fn refuse(&mut self, refusal: ConnectRefusal, reason_string: Option<&str>, events: &mut Vec<Event>) {
        let State::Authenticating { asked, .. } = &self.state else { return };
        let asked = *asked;
        self.send_refusal(asked.version, refusal, reason_string, asked.maximum_packet_size);
        let closed = Closed { reason: CloseReason::Refused(refusal), detail: "refused by the hub" };
        self.end(closed, events);
    }

    /// Acknowledges the oldest publish or release not yet acknowledged. Nothing to do for QoS 0, or once
    /// closed.
    ///
    /// # Errors
    ///
    /// Any other publish than the oldest: no acknowledgement is sent, now or later, and the session
    /// closes: to acknowledge in the wrong order could acknowledge what is not stored.
    #[inline]
    pub fn acknowledge(
        &mut self,
        receipt: Receipt,
        ack: Ack<'_>,
        events: &mut Vec<Event>,
    ) -> Result<(), OutOfOrder> {
        let (Some(sequence), State::Connected(connected)) = (receipt.sequence, &mut self.state) else {
            return Ok(());
        };
        if let Err(out_of_order) = connected.acknowledge(sequence, ack, &mut self.output) {
            self.close(Fault::new(CloseReason::Internal, "the hub acknowledged out of order"), None, events);
            return Err(out_of_order);
        }
        Ok(())
    }

    /// Ends the session from the hub's side. An MQTT 5 client is told; its unacknowledged publishes stay
    /// its own. During authentication this ends the session without an answer: prefer `refuse`.
    pub fn disconnect(
        &mut self,
        reason: DisconnectReason,
        reason_string: Option<&str>,
        events: &mut Vec<Event>,
    ) {
        self.close(Fault::new(CloseReason::Hub(reason), "ended by the hub"), reason_string, events);
    }

    /// The connection ended: end of stream, reset, or a failed write.
    pub fn connection_lost(&mut self, events: &mut Vec<Event>) {
        self.close(
            Fault::new(CloseReason::ConnectionLost, "the connection ended without DISCONNECT"),
            None,
            events,
        );
    }

    /// Bytes to write to the client, in order. The caller takes what it has written.
    pub fn output(&mut self) -> &mut BytesMut {
        &mut self.output
    }

    /// When to call [`Session::handle_timeout`]; it moves with what is received.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::AwaitConnect { deadline } => Some(*deadline),
            State::Connected(connected) => connected.deadline(),
            State::Authenticating { .. } | State::Closed(_) => None,
        }
    }

    /// Ends the session if its deadline has passed; otherwise does nothing.
    pub fn handle_timeout(&mut self, now: Instant, events: &mut Vec<Event>) {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        let fault = match self.state {
            State::AwaitConnect { .. } => Fault::new(CloseReason::ConnectTimeout, "no whole CONNECT in time"),
            State::Authenticating { .. } | State::Connected(_) | State::Closed(_) => {
                Fault::new(CloseReason::KeepAliveTimeout, "silent for one and a half keep-alive periods")
            }
        };
        self.close(fault, None, events);
    }

    /// The hub stops reading this socket: keep-alive must not expire meanwhile.
    pub fn pause_keep_alive(&mut self) {
        if let State::Connected(connected) = &mut self.state {
            connected.alive = Alive::Paused;
        }
    }

    /// The hub reads again: the client has a whole period from now. `receive` does the same by itself
    /// when it returns `NeedInput`.
    pub fn resume_keep_alive(&mut self, now: Instant) {
        if let State::Connected(connected) = &mut self.state {
            connected.resume(now);
        }
    }

    /// How the session ended, once it has.
    #[must_use]
    pub fn closed(&self) -> Option<Closed> {
        match &self.state {
            State::Closed(closed) => Some(*closed),
            State::AwaitConnect { .. } | State::Authenticating { .. } | State::Connected(_) => None,
        }
    }

    /// What DISCONNECT said of the session's expiry, in seconds, if it said anything (MQTT 5).
    #[must_use]
    pub fn new_session_expiry(&self) -> Option<u32> {
        self.new_expiry
    }

    /// Publishes and releases received and not yet acknowledged.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        match &self.state {
            State::Connected(connected) => connected.flight.len(),
            State::AwaitConnect { .. } | State::Authenticating { .. } | State::Closed(_) => 0,
        }
    }

    /// `None`: the connection lives, or the packet is partial.
    fn receive_connect(&mut self, input: &mut BytesMut, events: &mut Vec<Event>) -> Option<Progress> {
        let header = match self.connect_header(input) {
            Ok(Ok(header)) => header,
            Ok(Err(missing)) => return Some(Progress::NeedInput(missing)),
            Err(fault) => {
                self.end(Closed { reason: fault.reason, detail: fault.detail }, events);
                return Some(Progress::Closed);
            }
        };
        let frame = input.split_to(header.frame_len()).freeze();
        match connect::read(&frame, header, &self.limits) {
            Ok((connect, asked)) => {
                self.state = State::Authenticating { asked, will: connect.will.clone().map(Box::new) };
                events.push(Event::Connect(Box::new(connect)));
                None
            }
            Err(connect::ConnectFault { answer, fault }) => {
                self.answer_connect(answer, fault);
                self.end(Closed { reason: fault.reason, detail: fault.detail }, events);
                Some(Progress::Closed)
            }
        }
    }

    /// The header of a CONNECT that is there in full, or how many bytes are missing.
    fn connect_header(&self, input: &[u8]) -> Result<Result<FixedHeader, usize>, Fault> {
        match input.first() {
            None => return Ok(Err(2)),
            Some(0x10) => {}
            Some(0x16) => {
                let detail = "a TLS handshake where plain MQTT was expected";
                return Err(Fault::new(CloseReason::NotConnect, detail));
            }
            Some(0x11..=0x1F) => return Err(Fault::malformed("reserved flags of CONNECT's fixed header")),
            Some(_) => return Err(Fault::new(CloseReason::NotConnect, "the first packet is not CONNECT")),
        }
        let Some(header) = FixedHeader::read(input)? else { return Ok(Err(1)) };
        if u32::try_from(header.frame_len()).is_ok_and(|len| len <= self.limits.connect_bytes) {
            match header.frame_len().checked_sub(input.len()) {
                None | Some(0) => Ok(Ok(header)),
                Some(missing) => Ok(Err(missing)),
            }
        } else {
            Err(Fault::new(CloseReason::PacketTooLarge, "the CONNECT is above the limit"))
        }
    }

    fn answer_connect(&mut self, answer: Answer, fault: Fault) {
        match answer {
            Answer::None => {}
            Answer::OldLevel => encode::connack_old_level(&mut self.output),
            Answer::NewLevel => {
                let code = ConnectReturnCode::UnsupportedProtocolVersion;
                encode::connack(&mut self.output, Version::V5, false, code, None, u32::MAX);
            }
            Answer::Version(Version::V3) => {
                // A malformed CONNECT gets no answer in 3.1.1; one that is merely refused does.
                if let CloseReason::Refused(refusal) = fault.reason {
                    self.send_refusal(Version::V3, refusal, None, u32::MAX);
                }
            }
            Answer::Version(Version::V5) => {
                if let Some(code) = fault.reason.connack_code() {
                    let properties = ConnAckProperties {
                        reason_string: Some(fault.detail.to_owned()),
                        ..ConnAckProperties::default()
                    };
                    encode::connack(&mut self.output, Version::V5, false, code, Some(properties), u32::MAX);
                }
            }
        }
    }

    fn send_refusal(
        &mut self,
        version: Version,
        refusal: ConnectRefusal,
        reason_string: Option<&str>,
        maximum: u32,
    ) {
        let out = &mut self.output;
        match version {
            Version::V3 => {
                encode::connack(out, version, false, refusal.v4_code(), None, maximum);
            }
            Version::V5 => {
                let code = refusal.v5_code();
                let with_text = reason_string.map(|text| ConnAckProperties {
                    reason_string: Some(encode::clip(text).to_owned()),
                    ..ConnAckProperties::default()
                });
                if with_text.is_none() || !encode::connack(out, version, false, code, with_text, maximum) {
                    encode::connack(out, version, false, code, None, maximum);
                }
            }
        }
    }

    /// Ends a session that has not ended, telling an MQTT 5 client why.
    #[cold]
    fn close(&mut self, fault: Fault, reason_string: Option<&str>, events: &mut Vec<Event>) {
        if let State::Connected(connected) = &mut self.state {
            if connected.version == Version::V5
                && let Some(code) = fault.reason.disconnect_code()
            {
                let text = if matches!(fault.reason, CloseReason::Hub(_)) {
                    reason_string
                } else {
                    Some(fault.detail)
                };
                encode::disconnect(&mut self.output, code, text, connected.maximum_packet_size);
            }
            self.new_expiry = connected.new_session_expiry;
            if fault.reason != CloseReason::ClientDisconnect
                && let Some(will) = connected.will.take()
            {
                events.push(Event::Will(will));
            }
        }
        self.end(Closed { reason: fault.reason, detail: fault.detail }, events);
    }

    fn end(&mut self, closed: Closed, events: &mut Vec<Event>) {
        if self.closed().is_none() {
            self.state = State::Closed(closed);
            events.push(Event::Closed(closed));
        }
    }
}

struct KeepAlive {
    /// What an MQTT 5 client is told, where it is not what it asked for.
    announced: Option<u16>,
    /// Silence that ends the session.
    silence: Duration,
}

fn effective_keep_alive(asked: Asked, limits: &Limits) -> KeepAlive {
    let one_and_a_half = |seconds: u16| Duration::from_millis(u64::from(seconds) * 1500);
    match asked.version {
        Version::V3 if asked.keep_alive == 0 => KeepAlive { announced: None, silence: limits.idle_timeout },
        Version::V3 => KeepAlive { announced: None, silence: one_and_a_half(asked.keep_alive) },
        Version::V5 => {
            let cap = limits.keep_alive_cap_secs();
            let announced = (asked.keep_alive == 0 || asked.keep_alive > cap).then_some(cap);
            KeepAlive { announced, silence: one_and_a_half(announced.unwrap_or(asked.keep_alive)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_session_and_an_event_stay_small() {
        let session = size_of::<Session>() + size_of::<Connected>();
        assert!(session <= 384, "{session} bytes for each connection");
        assert!(size_of::<Event>() <= 96, "{} bytes for each publish", size_of::<Event>());
    }
}
