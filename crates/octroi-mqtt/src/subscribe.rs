//! SUBSCRIBE and UNSUBSCRIBE (MQTT 5 sections 3.8 and 3.10): checked, decoded by the codec, and refused:
//! an exit that no policy governs must not exist.

use bytes::BytesMut;
use rumqttd::protocol::v4::V4;
use rumqttd::protocol::v5::V5;
use rumqttd::protocol::{Error, Packet, Protocol, valid_filter};

use crate::properties;
use crate::reason::{CloseReason, Fault};
use crate::wire::{FixedHeader, Reader};
use crate::{Limits, Version};

/// Which of the two packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    Subscribe,
    Unsubscribe,
}

/// Reads one whole frame: its packet identifier and how many filters want an answer.
pub(crate) fn read(
    mut frame: BytesMut,
    header: FixedHeader,
    version: Version,
    request: Request,
    limits: &Limits,
) -> Result<(u16, usize), Fault> {
    check(Reader::new(frame.get(header.len..).unwrap_or_default()), version, request, limits)?;
    let decoded = match version {
        Version::V3 => V4.read_mut(&mut frame, usize::MAX),
        Version::V5 => V5.read_mut(&mut frame, usize::MAX),
    };
    answer(decoded)
}

fn answer(decoded: Result<Packet, Error>) -> Result<(u16, usize), Fault> {
    let (packet_id, filters) = match decoded {
        Ok(Packet::Subscribe(subscribe, _)) => {
            (subscribe.pkid, subscribe.filters.into_iter().map(|filter| filter.path).collect())
        }
        Ok(Packet::Unsubscribe(unsubscribe, _)) => (unsubscribe.pkid, unsubscribe.filters),
        Ok(
            Packet::Connect(..)
            | Packet::ConnAck(..)
            | Packet::Publish(..)
            | Packet::PubAck(..)
            | Packet::PingReq(_)
            | Packet::PingResp(_)
            | Packet::SubAck(..)
            | Packet::PubRec(..)
            | Packet::PubRel(..)
            | Packet::PubComp(..)
            | Packet::UnsubAck(..)
            | Packet::Disconnect(..),
        )
        | Err(_) => return Err(Fault::malformed("the packet cannot be read")),
    };
    if !filters.iter().all(|filter: &String| valid_filter(filter)) {
        return Err(Fault::malformed("a topic filter is not valid"));
    }
    Ok((packet_id, filters.len()))
}

fn check(mut body: Reader<'_>, version: Version, request: Request, limits: &Limits) -> Result<(), Fault> {
    body.packet_id()?;
    if version == Version::V5 {
        let allowed = match request {
            Request::Subscribe => properties::SUBSCRIBE,
            Request::Unsubscribe => properties::UNSUBSCRIBE,
        };
        if allowed.check(&mut body)?.user_properties > limits.user_properties {
            return Err(Fault::new(CloseReason::QuotaExceeded, "too many user properties"));
        }
    }
    let mut filters = 0_usize;
    while !body.is_empty() {
        let filter = body.string()?;
        if filter.is_empty() {
            return Err(Fault::malformed("an empty topic filter"));
        }
        if request == Request::Subscribe {
            check_options(body.u8()?, filter, version)?;
        }
        filters += 1;
    }
    match filters {
        0 => Err(Fault::protocol("no topic filter")),
        n if n > limits.topic_filters => {
            Err(Fault::new(CloseReason::QuotaExceeded, "too many topic filters in one packet"))
        }
        _ => Ok(()),
    }
}

/// Subscription options (MQTT 5 section 3.8.3.1); in 3.1.1 only the QoS.
fn check_options(options: u8, filter: &str, version: Version) -> Result<(), Fault> {
    let reserved = match version {
        Version::V3 => 0xFC,
        Version::V5 => 0xC0,
    };
    if options & reserved != 0 || options & 3 == 3 {
        return Err(Fault::malformed("reserved subscription options"));
    }
    if options & 0x30 == 0x30 {
        return Err(Fault::protocol("retain handling 3"));
    }
    if options & 0x04 != 0 && filter.starts_with("$share/") {
        return Err(Fault::protocol("no local on a shared subscription"));
    }
    Ok(())
}
