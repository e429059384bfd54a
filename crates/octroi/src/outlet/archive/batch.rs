//! What gathers until a batch is written: the lines of each partition, and
//! what will be counted as delivered. Knows no file.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use octroi_policy::{Level, Timestamp};

use crate::outlet::cloudevents::Writer;
use crate::outlet::{Bounds, Delivered, Event};

const MICROS_PER_HOUR: i64 = 3_600_000_000;

/// The lines offered since the last batch was cut.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Partition path (relative, `/`-separated) → its lines, in the order offered.
    pub(super) partitions: BTreeMap<String, Vec<u8>>,
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
    /// Empty buffers of batches that were written: to grow one anew costs more than to fill it.
    spare: Vec<Vec<u8>>,
}

impl Sorter {
    /// Appends the record's line to its partition.
    pub(super) fn push(&mut self, event: &Event<'_>, batch: &mut Batch) {
        self.name_partition(event);
        let lines = match batch.partitions.get_mut(&self.path) {
            Some(lines) => lines,
            None => {
                let lines = self.spare.pop().unwrap_or_default();
                batch.partitions.entry(self.path.clone()).or_insert(lines)
            }
        };
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

    /// Takes back the buffers of a batch that was written. One that was mostly empty is freed, so that a
    /// burst is not remembered for ever.
    pub(super) fn recycle(&mut self, batch: Batch) {
        let used = |lines: &Vec<u8>| lines.len() >= lines.capacity() / 4;
        self.spare = batch.partitions.into_values().filter(used).collect();
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
        assert_eq!(batch.bytes, batch.partitions.values().map(Vec::len).sum::<usize>());
    }
}
