//! MQTT 5 properties, checked before the codec reads them (MQTT 5 section 2.2.2): identifier known and
//! allowed in this packet, value inside the packet and in its range, no singleton twice. The values
//! themselves are read by the codec; only what the session decides on is returned here.

use crate::reason::{CloseReason, Fault};
use crate::wire::Reader;

/// Which properties a packet may carry: a set of identifiers below 64.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowed(u64);

pub(crate) const CONNECT: Allowed = Allowed::of(&[0x11, 0x15, 0x16, 0x17, 0x19, 0x21, 0x22, 0x26, 0x27]);
pub(crate) const WILL: Allowed = Allowed::of(&[0x01, 0x02, 0x03, 0x08, 0x09, 0x18, 0x26]);
pub(crate) const PUBLISH: Allowed = Allowed::of(&[0x01, 0x02, 0x03, 0x08, 0x09, 0x0B, 0x23, 0x26]);
pub(crate) const CONNACK: Allowed = Allowed::of(&[
    0x11, 0x12, 0x13, 0x15, 0x16, 0x1A, 0x1C, 0x1F, 0x21, 0x22, 0x24, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2A,
]);
pub(crate) const SUBACK: Allowed = ACK;
/// As a server sends it.
pub(crate) const DISCONNECT_OF_SERVER: Allowed = Allowed::of(&[0x1C, 0x1F, 0x26]);
pub(crate) const ACK: Allowed = Allowed::of(&[0x1F, 0x26]);
pub(crate) const SUBSCRIBE: Allowed = Allowed::of(&[0x0B, 0x26]);
pub(crate) const UNSUBSCRIBE: Allowed = Allowed::of(&[0x26]);
pub(crate) const DISCONNECT: Allowed = Allowed::of(&[0x11, 0x1F, 0x26]);

const SUBSCRIPTION_IDENTIFIER: u8 = 0x0B;
const AUTHENTICATION_METHOD: u8 = 0x15;
const AUTHENTICATION_DATA: u8 = 0x16;
const TOPIC_ALIAS: u8 = 0x23;
const USER_PROPERTY: u8 = 0x26;
/// What a server says in CONNACK that it lacks, by a 0.
pub(crate) const MAXIMUM_QOS: u8 = 0x24;
pub(crate) const WILDCARDS: u8 = 0x28;
pub(crate) const SHARED_SUBSCRIPTIONS: u8 = 0x2A;

/// What was seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    ids: u64,
    /// Those of one byte whose value is 0.
    zeros: u64,
    pub(crate) topic_alias: Option<u16>,
    pub(crate) session_expiry: Option<u32>,
    pub(crate) user_properties: usize,
    pub(crate) server_keep_alive: Option<u16>,
    pub(crate) maximum_packet_size: Option<u32>,
}

impl Seen {
    /// Whether there is anything for the codec to read, the topic alias aside.
    pub(crate) fn beside_topic_alias(self) -> bool {
        self.ids & !(1 << TOPIC_ALIAS) != 0
    }

    /// Whether a property of one byte is there and 0.
    pub(crate) fn is_zero(self, id: u8) -> bool {
        self.zeros & (1 << id) != 0
    }

    pub(crate) fn has_authentication_method(self) -> bool {
        self.ids & (1 << AUTHENTICATION_METHOD) != 0
    }

    pub(crate) fn has_authentication_data(self) -> bool {
        self.ids & (1 << AUTHENTICATION_DATA) != 0
    }

    pub(crate) fn has_subscription_identifier(self) -> bool {
        self.ids & (1 << SUBSCRIPTION_IDENTIFIER) != 0
    }
}

impl Allowed {
    const fn of(ids: &[u8]) -> Self {
        let mut set = 0_u64;
        let mut rest = ids;
        while let Some((&id, tail)) = rest.split_first() {
            set |= 1 << id;
            rest = tail;
        }
        Self(set)
    }

    /// Reads all properties of a packet, their length first.
    pub(crate) fn check(self, packet: &mut Reader<'_>) -> Result<Seen, Fault> {
        let mut properties = packet.properties()?;
        let mut seen = Seen::default();
        while !properties.is_empty() {
            // Identifiers are variable byte integers, all of one byte so far.
            let id = properties.u8()?;
            if id >= 64 || self.0 & (1 << id) == 0 {
                return Err(Fault::malformed("a property that this packet cannot carry"));
            }
            if id != USER_PROPERTY && seen.ids & (1 << id) != 0 {
                return Err(Fault::protocol("a property is given twice"));
            }
            seen.ids |= 1 << id;
            value(id, &mut properties, &mut seen)?;
        }
        Ok(seen)
    }
}

fn value(id: u8, properties: &mut Reader<'_>, seen: &mut Seen) -> Result<(), Fault> {
    match id {
        // Payload Format Indicator, Request Problem Information, Request Response Information, Retain Available,
        // Subscription Identifiers Available
        0x01 | 0x17 | 0x19 | MAXIMUM_QOS | 0x25 | WILDCARDS | 0x29 | SHARED_SUBSCRIPTIONS => {
            match properties.u8()? {
                0 => seen.zeros |= 1 << id,
                1 => {}
                _ => return Err(Fault::protocol("a property that must be 0 or 1 is neither")),
            }
        }
        // Message Expiry Interval, Will Delay Interval
        0x02 | 0x18 => {
            properties.u32()?;
        }
        // Content Type, Assigned Client Identifier, Response Information, Server Reference, Reason String,
        // Authentication Method
        0x03 | 0x12 | 0x1A | 0x1C | 0x1F | AUTHENTICATION_METHOD => {
            properties.string()?;
        }
        // Response Topic
        0x08 => {
            let topic = properties.string()?;
            if topic.is_empty() || topic.contains(['+', '#']) {
                return Err(Fault::protocol("the response topic is empty or has a wildcard"));
            }
        }
        // Correlation Data
        0x09 | AUTHENTICATION_DATA => {
            properties.binary()?;
        }
        SUBSCRIPTION_IDENTIFIER => {
            if properties.varint()? == 0 {
                return Err(Fault::protocol("subscription identifier 0"));
            }
        }
        // Session Expiry Interval
        0x11 => seen.session_expiry = Some(properties.u32()?),
        // Server Keep Alive
        0x13 => seen.server_keep_alive = Some(properties.u16()?),
        // Receive Maximum
        0x21 => {
            if properties.u16()? == 0 {
                return Err(Fault::protocol("receive maximum 0"));
            }
        }
        // Topic Alias Maximum
        0x22 => {
            properties.u16()?;
        }
        TOPIC_ALIAS => match properties.u16()? {
            0 => return Err(Fault::new(CloseReason::TopicAliasInvalid, "topic alias 0")),
            alias => seen.topic_alias = Some(alias),
        },
        USER_PROPERTY => {
            properties.string()?;
            properties.string()?;
            seen.user_properties += 1;
        }
        // Maximum Packet Size
        0x27 => match properties.u32()? {
            0 => return Err(Fault::protocol("maximum packet size 0")),
            bytes => seen.maximum_packet_size = Some(bytes),
        },
        _ => return Err(Fault::malformed("an unknown property")),
    }
    Ok(())
}
