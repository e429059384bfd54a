//! QoS 2 publishes between PUBLISH and PUBREL: packet identifiers that must not make a second message
//! (MQTT 5 section 4.3.3). It knows identifiers, not messages; that they outlive the connection is the
//! hub's work, which gives them back in [`Grant`](crate::Grant).
//!
//! INVARIANT: an identifier is released once: after that, the same identifier is a new message.

use std::collections::BTreeMap;

/// How far one exchange is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// On record since an earlier connection.
    Carried,
    /// Received, and PUBREC has not left.
    Received,
    /// PUBREC has left.
    Recorded,
}

/// What a QoS 2 publish is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begun {
    /// A message.
    New,
    /// One that is known. `counted`: this connection's receive maximum already counts it.
    Again { counted: bool },
    /// More are open than may be.
    TooMany,
}

/// What a PUBREL ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Released {
    /// An exchange. `counted`: this connection's receive maximum counts it.
    Known { counted: bool },
    /// One whose PUBREC the client cannot have seen.
    Early,
    /// None.
    Unknown,
}

#[derive(Debug, Default)]
pub(super) struct Exchanges {
    open: BTreeMap<u16, Stage>,
}

impl Exchanges {
    /// With those of earlier connections.
    pub(super) fn carried(packet_ids: &[u16]) -> Self {
        Self { open: packet_ids.iter().map(|id| (*id, Stage::Carried)).collect() }
    }

    pub(super) fn begin(&mut self, packet_id: u16, most: usize) -> Begun {
        let open = self.open.len();
        match self.open.get_mut(&packet_id) {
            Some(stage @ Stage::Carried) => {
                *stage = Stage::Received;
                Begun::Again { counted: false }
            }
            Some(Stage::Received | Stage::Recorded) => Begun::Again { counted: true },
            None if open >= most => Begun::TooMany,
            None => {
                self.open.insert(packet_id, Stage::Received);
                Begun::New
            }
        }
    }

    /// PUBREC leaves; whether there is an exchange that it speaks of.
    pub(super) fn recorded(&mut self, packet_id: u16) -> bool {
        self.open.get_mut(&packet_id).map(|stage| *stage = Stage::Recorded).is_some()
    }

    /// PUBREC refuses, which ends the exchange (MQTT 5 section 4.3.3).
    pub(super) fn refused(&mut self, packet_id: u16) {
        self.open.remove(&packet_id);
    }

    pub(super) fn release(&mut self, packet_id: u16) -> Released {
        let counted = match self.open.get(&packet_id) {
            None => return Released::Unknown,
            Some(Stage::Received) => return Released::Early,
            Some(Stage::Carried) => false,
            Some(Stage::Recorded) => true,
        };
        self.open.remove(&packet_id);
        Released::Known { counted }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_is_known_until_it_is_released_and_then_new() {
        let mut exchanges = Exchanges::carried(&[3]);
        assert_eq!(exchanges.begin(7, 9), Begun::New);
        assert_eq!(exchanges.begin(7, 9), Begun::Again { counted: true });
        assert_eq!(exchanges.release(7), Released::Early);
        assert!(exchanges.recorded(7));
        assert_eq!(exchanges.release(7), Released::Known { counted: true });
        assert_eq!(exchanges.release(7), Released::Unknown);
        assert_eq!(exchanges.begin(7, 9), Begun::New);
        assert_eq!(exchanges.release(3), Released::Known { counted: false });
    }

    #[test]
    fn one_of_an_earlier_connection_that_comes_again_is_counted_from_then_on() {
        let mut exchanges = Exchanges::carried(&[3]);
        assert_eq!(exchanges.begin(3, 9), Begun::Again { counted: false });
        assert_eq!(exchanges.begin(3, 9), Begun::Again { counted: true });
        assert!(exchanges.recorded(3));
        assert_eq!(exchanges.release(3), Released::Known { counted: true });
    }

    #[test]
    fn a_refused_publish_leaves_nothing_and_the_open_ones_are_bounded() {
        let mut exchanges = Exchanges::default();
        assert_eq!(exchanges.begin(1, 1), Begun::New);
        assert_eq!(exchanges.begin(2, 1), Begun::TooMany);
        exchanges.refused(1);
        assert!(!exchanges.recorded(1));
        assert_eq!(exchanges.begin(2, 1), Begun::New);
    }
}
