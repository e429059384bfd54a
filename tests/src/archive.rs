//! Reads an archive as a datacenter would: every `.ndjson.zst` below a
//! directory, by name. Files of another name (those being written) are not
//! looked at; a torn one fails the test that finds it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::delivered::Delivered;

/// What is kept of a payload.
const PAYLOAD_BYTES: usize = 4 << 10;

/// One file of an archive, from its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    pub path: PathBuf,
    pub space: String,
    pub domain: String,
    /// `hub-generation`.
    pub journal: String,
    pub first: u64,
    pub last: u64,
}

/// The files of an archive, in journal order within each space and domain.
pub fn batches(directory: &Path) -> Vec<Batch> {
    let mut batches = Vec::new();
    walk(directory, &mut |path| batches.extend(batch(path)));
    // A batch over the turn of an hour is a file in each of the two, under one name: the earlier hour is read first.
    let order = |b: &Batch| (b.space.clone(), b.domain.clone(), b.journal.clone(), b.first, b.path.clone());
    batches.sort_by_key(order);
    batches
}

/// Every record of an archive.
pub fn read(target: &str, directory: &Path) -> Vec<Delivered> {
    batches(directory).iter().flat_map(|batch| read_batch(target, batch)).collect()
}

fn read_batch(target: &str, batch: &Batch) -> Vec<Delivered> {
    let bytes = fs::read(&batch.path).expect("a file of the archive is readable");
    let text = zstd::decode_all(bytes.as_slice())
        .unwrap_or_else(|error| panic!("`{}` is torn: {error}", batch.path.display()));
    let text = String::from_utf8(text).expect("NDJSON is UTF-8");
    assert!(text.ends_with('\n'), "`{}` ends in the middle of a line", batch.path.display());
    text.lines().map(|line| event(target, batch, line)).collect()
}

fn event(target: &str, batch: &Batch, line: &str) -> Delivered {
    let event: Value = serde_json::from_str(line).expect("each line is a JSON object");
    assert_eq!(event["specversion"], "1.0", "{line}");
    let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
    let mut payload = if event["data"].is_null() { text("data_base64") } else { event["data"].to_string() };
    // What tells messages apart stands at the beginning, and a long run has more than fits into memory.
    payload.truncate(payload.floor_char_boundary(PAYLOAD_BYTES));
    payload.shrink_to_fit();
    Delivered {
        target: target.to_owned(),
        place: format!("{}/{}", batch.space, batch.domain),
        id: text("id"),
        source: text("source"),
        topic: text("subject"),
        level: text("level"),
        space: text("space"),
        policy: text("policyversion"),
        key: String::new(),
        payload,
    }
}

fn walk(directory: &Path, found: &mut dyn FnMut(&Path)) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries {
        let path = entry.expect("the archive is readable").path();
        if path.is_dir() {
            walk(&path, found);
        } else {
            found(&path);
        }
    }
}

/// `space=…/domain=…/date=…/hour=…/{hub}-{generation}-{first}-{last}.ndjson.zst`
fn batch(path: &Path) -> Option<Batch> {
    let stem = path.file_name()?.to_str()?.strip_suffix(".ndjson.zst")?;
    if stem.starts_with('.') {
        return None;
    }
    let (rest, last) = stem.rsplit_once('-')?;
    let (journal, first) = rest.rsplit_once('-')?;
    let part = |name: &str| {
        let part = path.iter().filter_map(|part| part.to_str()).find_map(|part| part.strip_prefix(name));
        part.map(str::to_owned)
    };
    Some(Batch {
        path: path.to_owned(),
        space: part("space=")?,
        domain: part("domain=")?,
        journal: journal.to_owned(),
        first: first.parse().ok()?,
        last: last.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_read_in_journal_order_and_a_file_aside_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let hour = |hour: &str| {
            let hour = directory.path().join(format!("space=s/domain=d/date=2026-11-20/hour={hour}"));
            fs::create_dir_all(&hour).unwrap();
            hour
        };
        // The last batch was open at the turn of the hour.
        for (at, (first, last), id) in [("08", (10, 12), 12), ("07", (10, 12), 10), ("07", (9, 9), 9)] {
            let line = format!(
                "{{\"specversion\":\"1.0\",\"id\":\"h/g/{id}\",\"subject\":\"t\",\"data\":{{\"n\":770001000000001}}}}\n"
            );
            let name = format!("hub-1-00ff-{first}-{last}.ndjson.zst");
            fs::write(hour(at).join(name), zstd::encode_all(line.as_bytes(), 1).unwrap()).unwrap();
        }
        fs::write(hour("07").join("hub-1-00ff-11-12.ndjson.zst.partial"), b"torn").unwrap();
        let read = read("t", directory.path());
        assert_eq!(read.iter().map(|d| d.id.as_str()).collect::<Vec<_>>(), ["h/g/9", "h/g/10", "h/g/12"]);
        assert_eq!((read[0].place.as_str(), read[0].message()), ("s/d", Some(770_001_000_000_001)));
        assert_eq!(read[0].sequence(), Some(("h/g", 9)));
    }
}
