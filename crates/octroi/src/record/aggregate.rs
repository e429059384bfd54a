//! What the aggregates' thread puts into the journal: that a window of a copy
//! is published, and one record a group. Both stand in one chunk, which is
//! there whole or not at all.

use octroi_policy::{Label, Level, Markings, Timestamp};

use super::{Input, RecordError, put_text};

/// Format of aggregates; a reader refuses what is newer, and no message begins with it.
const AGGREGATE_VERSION: u8 = 0x81;

/// A window of a copy is published: what is read again after a crash adds nothing to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowClosed<'a> {
    /// The copy's id.
    pub copy: &'a str,
    /// The end of the window.
    pub end: Timestamp,
}

impl<'a> WindowClosed<'a> {
    /// As bytes.
    #[must_use]
    pub fn to_bytes(self) -> Vec<u8> {
        let mut out = self.end.0.to_le_bytes().to_vec();
        put_text(&mut out, self.copy);
        out
    }

    /// From bytes.
    ///
    /// # Errors
    /// The bytes are no such note.
    pub fn read(bytes: &'a [u8]) -> Result<Self, RecordError> {
        let mut input = Input(bytes);
        Ok(Self { end: Timestamp(input.i64("end")?), copy: input.text("copy")? })
    }
}

/// What leaves for one group of a window, borrowed from the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aggregate<'a> {
    /// What tells the transform that made it from any other.
    pub plan: u64,
    /// The end of the window: the time that is told.
    pub end: Timestamp,
    /// The contributors' labels, joined.
    pub label: Label,
    /// The copy's id.
    pub copy: &'a str,
    /// SIREN of the producer.
    pub producer: &'a str,
    /// The domain's id.
    pub domain: &'a str,
    /// INSEE code; empty: not grouped by it.
    pub commune: &'a str,
    /// A keyed hash of copy, window and group.
    pub id: &'a str,
    /// The topic.
    pub topic: &'a str,
    /// JSON.
    pub payload: &'a [u8],
}

impl<'a> Aggregate<'a> {
    /// Appends the header; the payload follows it in the record.
    pub fn write_header(&self, out: &mut Vec<u8>) {
        out.push(AGGREGATE_VERSION);
        out.extend_from_slice(&self.plan.to_le_bytes());
        out.extend_from_slice(&self.end.0.to_le_bytes());
        out.push(self.label.level as u8);
        out.extend_from_slice(&self.label.markings.bits().to_le_bytes());
        for text in [self.copy, self.producer, self.domain, self.commune, self.id, self.topic] {
            put_text(out, text);
        }
    }

    /// Reads an aggregate.
    ///
    /// # Errors
    /// The bytes are no aggregate, or of a newer format.
    pub fn read(bytes: &'a [u8]) -> Result<Self, RecordError> {
        let mut input = Input(bytes);
        if input.u8("version")? != AGGREGATE_VERSION {
            return Err(RecordError { field: "version" });
        }
        let (plan, end) = (input.u64("plan")?, Timestamp(input.i64("end")?));
        let level = usize::from(input.u8("level")?);
        let level = *Level::ALL.get(level).ok_or(RecordError { field: "level" })?;
        let label = Label { level, markings: Markings::from_bits(input.u32("markings")?) };
        let (copy, producer) = (input.text("copy")?, input.text("producer")?);
        let (domain, commune) = (input.text("domain")?, input.text("commune")?);
        let (id, topic) = (input.text("id")?, input.text("topic")?);
        Ok(Self { plan, end, label, copy, producer, domain, commune, id, topic, payload: input.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Message;

    #[test]
    fn an_aggregate_is_read_back_as_it_was_written_and_is_no_message() {
        let aggregate = Aggregate {
            plan: 0x0123_4567_89ab_cdef,
            end: Timestamp(1_795_000_000_000_000),
            label: Label { level: Level::Personal, markings: Markings::from_bits(0b1011) },
            copy: "eau",
            producer: "255600058",
            domain: "water",
            commune: "",
            id: "0f",
            topic: "b/été",
            payload: b"{}",
        };
        let mut bytes = Vec::new();
        aggregate.write_header(&mut bytes);
        let header = bytes.len();
        bytes.extend_from_slice(aggregate.payload);
        assert_eq!(Aggregate::read(&bytes), Ok(aggregate));
        assert!(Message::read(&bytes).is_err());
        for end in 0..header {
            assert!(Aggregate::read(&bytes[..end]).is_err(), "cut at {end}");
        }
        for at in 0..header {
            for value in [0, 1, 0x7f, 0xff] {
                let mut changed = bytes.clone();
                changed[at] = value;
                std::hint::black_box(Aggregate::read(&changed)).ok();
            }
        }
        let closed = WindowClosed { copy: "eau", end: Timestamp(-5) };
        assert_eq!(WindowClosed::read(&closed.to_bytes()), Ok(closed));
    }
}
