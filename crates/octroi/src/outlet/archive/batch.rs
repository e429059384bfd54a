//! What gathers until a batch is written: the lines of each partition, and
//! what will be counted as delivered. Knows no file.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::mem;

use octroi_policy::{Level, Timestamp};

use crate::outlet::cloudevents::Writer;
use crate::outlet::{Bounds, Delivered, Event};

const MICROS_PER_HOUR: i64 = 3_600_000_000;
/// Lines are kept in blocks of so many bytes, the last line of each beyond it: one buffer that grows would be
/// copied as often as it doubles, and take twice its size meanwhile.
const BLOCK_BYTES: usize = 256 << 10;

/// The lines of a partition, in the order offered.
#[derive(Debug, Default)]
pub(super) struct Lines {
    full: Vec<Vec<u8>>,
    last: Vec<u8>,
}

impl Lines {
    /// All of them, in pieces.
    pub(super) fn blocks(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.full.iter().chain([&self.last])
    }

    /// Bytes of them.
    pub(super) fn len(&self) -> usize {
        self.blocks().map(Vec::len).sum()
    }

    /// Where the next line goes.
    fn end(&mut self, spare: &mut Vec<Vec<u8>>) -> &mut Vec<u8> {
        if self.last.capacity() == 0 {
            self.last = spare.pop().unwrap_or_default();
        } else if self.last.len() >= BLOCK_BYTES {
            self.full.push(mem::replace(&mut self.last, spare.pop().unwrap_or_default()));
        }
        &mut self.last
    }
}

/// The lines offered since the last batch was cut.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Partition path (relative, `/`-separated) → its lines.
    pub(super) partitions: BTreeMap<String, Lines>,
    /// First and last record in it.
    pub(super) bounds: Option<Bounds>,
    /// What it counts for.
    pub(super) delivered: [Delivered; Level::ALL.len()],
    /// Records in it.
    pub(super) records: usize,
    /// Bytes of lines in it.
    pub(super) bytes: usize,
}

/// Puts records into a batch.
#[derive(Debug, Default)]
pub(super) struct Sorter {
    writer: Writer,
    /// The partition of the last record, and what it was named of.
    path: String,
    space: String,
    domain: String,
    hour: Option<i64>,
    hour_path: String,
    /// Empty blocks of the last batch that was written: to grow one anew costs more than to fill it.
    spare: Vec<Vec<u8>>,
}

impl Sorter {
    /// Appends the record's line to its partition.
    pub(super) fn push(&mut self, event: &Event<'_>, batch: &mut Batch) {
        self.name_partition(event);
        let lines = match batch.partitions.get_mut(&self.path) {
            Some(lines) => lines,
            None => batch.partitions.entry(self.path.clone()).or_default(),
        };
        let lines = lines.end(&mut self.spare);
        let before = lines.len();
        self.writer.write(event, lines);
        lines.push(b'\n');
        batch.bytes += lines.len() - before;
        batch.records += 1;
        let first = batch.bounds.map_or(event.seq, |bounds| bounds.first);
        batch.bounds = Some(Bounds { first, last: event.seq });
        if let Some(count) = batch.delivered.get_mut(event.level as usize) {
            count.records += 1;
            count.bytes += u64::try_from(event.payload.len()).unwrap_or(u64::MAX);
        }
    }

    /// Takes back the blocks of a batch that was written; those of one before, which it did not need, are freed:
    /// a burst is not remembered for ever.
    pub(super) fn recycle(&mut self, batch: Batch) {
        let blocks = |lines: Lines| lines.full.into_iter().chain([lines.last]);
        self.spare = batch.partitions.into_values().flat_map(blocks).collect();
        self.spare.iter_mut().for_each(Vec::clear);
    }

    fn name_partition(&mut self, event: &Event<'_>) {
        let hour = event.received.0.div_euclid(MICROS_PER_HOUR);
        if self.hour == Some(hour) && self.space == event.space && self.domain == event.domain {
            return;
        }
        event.space.clone_into(&mut self.space);
        event.domain.clone_into(&mut self.domain);
        if self.hour != Some(hour) {
            let date = Timestamp(hour.saturating_mul(MICROS_PER_HOUR)).date();
            self.hour_path = format!("/date={date}/hour={:02}", hour.rem_euclid(24));
            self.hour = Some(hour);
        }
        self.path.clear();
        self.path.push_str("space=");
        push_value(event.space, &mut self.path);
        self.path.push_str("/domain=");
        push_value(event.domain, &mut self.path);
        self.path.push_str(&self.hour_path);
    }
}

/// A partition's value as Hive writes it: what is not plain is percent-encoded,
/// so that no id can name another directory.
fn push_value(value: &str, path: &mut String) {
    if value.is_empty() {
        path.push_str("__HIVE_DEFAULT_PARTITION__");
    }
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.') {
            path.push(char::from(byte));
        } else {
            // Writing to a `String` cannot fail.
            write!(path, "%{byte:02X}").unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outlet::cloudevents::tests::event;

    #[test]
    fn partitions_go_by_space_domain_and_hour_of_reception() {
        let (mut batch, mut sorter) = (Batch::default(), Sorter::default());
        let base = event(3, "a", b"1");
        sorter.push(&base, &mut batch);
        sorter.push(&Event { seq: 5, received: Timestamp(1_795_157_999_999_999), ..base }, &mut batch);
        sorter.push(&Event { seq: 6, received: Timestamp(1_795_158_000_000_000), ..base }, &mut batch);
        sorter
            .push(&Event { seq: 9, space: "../é", domain: "", received: Timestamp(-1), ..base }, &mut batch);
        let names: Vec<&str> = batch.partitions.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "space=..%2F%C3%A9/domain=__HIVE_DEFAULT_PARTITION__/date=1969-12-31/hour=23",
                "space=mobilite-rennes/domain=mobility/date=2026-11-20/hour=06",
                "space=mobilite-rennes/domain=mobility/date=2026-11-20/hour=07",
            ]
        );
        assert_eq!(batch.bounds, Some(Bounds { first: 3, last: 9 }));
        assert_eq!(batch.delivered.iter().map(|count| count.records).sum::<u64>(), 4);
        assert_eq!(batch.bytes, batch.partitions.values().map(Lines::len).sum::<usize>());
    }
}
