//! QoS 2 on record: which packet identifiers of a session became open and
//! which were released. One record a chunk, beside the messages it speaks of,
//! so that either both are on disk or neither is.

use super::{Input, RecordError, put_text};

/// What happened to one packet identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A message came with it: until its release another with it is the same message.
    Opened(u16),
    /// PUBREL came: the next message with it is a new one.
    Released(u16),
}

/// The steps of one session, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchanges {
    /// Identity and client id, as the session stands on record.
    pub session: String,
    /// What happened.
    pub steps: Vec<Step>,
}

impl Exchanges {
    /// Whose session it is.
    #[must_use]
    pub fn identity(&self) -> &str {
        // A client id has no NUL (MQTT 5 section 1.5.4).
        self.session.rsplit_once('\0').map_or(self.session.as_str(), |(identity, _)| identity)
    }

    /// As bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(2 + self.session.len() + 3 * self.steps.len());
        put_text(&mut out, &self.session);
        for step in &self.steps {
            let (kind, packet_id) = match step {
                Step::Opened(packet_id) => (0, packet_id),
                Step::Released(packet_id) => (1, packet_id),
            };
            out.push(kind);
            out.extend_from_slice(&packet_id.to_le_bytes());
        }
        out
    }

    /// From bytes.
    ///
    /// # Errors
    /// The bytes are no such record.
    pub fn read(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut input = Input(bytes);
        let session = input.text("session")?.to_owned();
        let mut steps = Vec::with_capacity(input.0.len() / 3);
        while !input.0.is_empty() {
            let step = match input.u8("step")? {
                0 => Step::Opened,
                1 => Step::Released,
                _ => return Err(RecordError { field: "step" }),
            };
            steps.push(step(input.u16("packet identifier")?));
        }
        Ok(Self { session, steps })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_read_back_in_order_and_a_cut_or_unknown_one_is_an_error() {
        let steps = vec![Step::Opened(1), Step::Released(1), Step::Opened(u16::MAX)];
        let exchanges = Exchanges { session: "id:a\0c".to_owned(), steps };
        assert_eq!(exchanges.identity(), "id:a");
        let bytes = exchanges.to_bytes();
        assert_eq!(Exchanges::read(&bytes), Ok(exchanges));
        assert!(Exchanges::read(&bytes[..bytes.len() - 1]).is_err());
        let mut unknown = bytes;
        let at = unknown.len() - 3;
        unknown[at] = 2;
        assert_eq!(Exchanges::read(&unknown), Err(RecordError { field: "step" }));
    }
}
