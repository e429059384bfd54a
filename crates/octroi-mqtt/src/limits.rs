//! Every bound of a session. The hub prints them (`config show`) and passes one shared value to all
//! sessions; nothing in this crate grows past them.

use std::time::Duration;

/// What one client may cost. `Default` is the product's default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Largest packet of a connected client, fixed header included; announced to MQTT 5 clients.
    pub packet_bytes: u32,
    /// Largest CONNECT packet, fixed header included.
    pub connect_bytes: u32,
    /// Longest admissible topic name, in bytes of UTF-8.
    pub topic_bytes: usize,
    /// Deepest admissible topic name: levels separated by `/`.
    pub topic_levels: usize,
    /// User properties in one packet.
    pub user_properties: usize,
    /// Topic filters in one SUBSCRIBE or UNSUBSCRIBE.
    pub topic_filters: usize,
    /// QoS 1 and 2 publishes received and not yet acknowledged; announced to MQTT 5 clients, felt as
    /// back-pressure by 3.1.1 clients. At least 1. [`Grant`](crate::Grant) may raise it for a gateway.
    pub receive_maximum: u16,
    /// Topic aliases an MQTT 5 client may define; 0 allows none.
    pub topic_alias_maximum: u16,
    /// Longest keep-alive of an MQTT 5 client (Server Keep Alive); also the one of a client that asks
    /// for none. Whole seconds, 1 to 65,535.
    pub keep_alive_cap: Duration,
    /// Longest silence of an MQTT 3.1.1 client that asked for no keep-alive.
    pub idle_timeout: Duration,
    /// From the opened connection to its whole CONNECT packet.
    pub connect_timeout: Duration,
    /// Bytes waiting to be written to the client before the session stops reading from it.
    pub output_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            packet_bytes: 256 * 1024,
            connect_bytes: 8 * 1024,
            topic_bytes: 512,
            topic_levels: 16,
            user_properties: 32,
            topic_filters: 64,
            receive_maximum: 64,
            topic_alias_maximum: 16,
            keep_alive_cap: Duration::from_secs(300),
            idle_timeout: Duration::from_secs(3600),
            connect_timeout: Duration::from_secs(5),
            output_bytes: 64 * 1024,
        }
    }
}

impl Limits {
    /// The cap in whole seconds, as the wire wants it.
    pub(crate) fn keep_alive_cap_secs(&self) -> u16 {
        u16::try_from(self.keep_alive_cap.as_secs()).unwrap_or(u16::MAX).max(1)
    }
}
