//! `octroi journal ls|verify`: read only, beside a running hub or without one.

use std::sync::Arc;

use octroi_journal::{Finding, Inspector, RealDisk};
use serde_json::{Value, json};

use super::{Context, print_json};
use crate::cli::{ConfigArg, JournalCommand};
use crate::config::Config;
use crate::exit::{Exit, Failure, OrExit};
use crate::record::{Aggregate, Fate, Kept, Log, Message, RecordKind, Refusal, StoredOutcome, WindowClosed};

pub(super) fn run(command: &JournalCommand, context: &Context) -> Result<Exit, Failure> {
    match command {
        JournalCommand::Ls { config, records: None } => segments(config, context),
        JournalCommand::Ls { config, records: Some(count) } => records(config, *count, context),
        JournalCommand::Verify(config) => verify(config, context),
    }
}

/// The journal, the side logs and the backlogs, by name, as far as they are there.
fn logs(args: &ConfigArg, context: &Context) -> Result<Vec<(String, Inspector)>, Failure> {
    let config = Config::load(&args.config, &context.environment).or_exit(Exit::Config)?;
    let mut names = ["journal", Log::Quarantine.name(), Log::Hold.name()].map(str::to_owned).to_vec();
    let backlogs = std::fs::read_dir(config.data_dir.join("backlog"));
    let backlogs = backlogs.into_iter().flatten().flatten();
    let backlogs = backlogs.filter_map(|entry| Some(format!("backlog/{}", entry.file_name().to_str()?)));
    names.extend(std::collections::BTreeSet::from_iter(backlogs));
    let mut logs = Vec::new();
    for name in names {
        let path = config.data_dir.join(&name);
        if path.is_dir() {
            logs.push((name, Inspector::new(Arc::new(RealDisk::new(&path).or_exit(Exit::Io)?))));
        }
    }
    if logs.is_empty() {
        let reason = format!("there is no journal below `{}`", config.data_dir.display());
        return Err(Failure::new(Exit::Io, anyhow::anyhow!("{reason}")));
    }
    Ok(logs)
}

fn segments(args: &ConfigArg, context: &Context) -> Result<Exit, Failure> {
    let mut rows = Vec::new();
    for (log, inspector) in logs(args, context)? {
        for segment in inspector.segments().or_exit(Exit::Io)? {
            rows.push(json!({
                "log": log, "segment": segment.name, "first_seq": segment.base_seq, "bytes": segment.bytes,
                "header": segment.header.as_ref().map_or_else(Clone::clone, |_| "sound".to_owned()),
            }));
        }
    }
    if context.json {
        print_json(&rows)?;
    } else {
        println!("{:<11} {:<26} {:>14} {:>14} HEADER", "LOG", "SEGMENT", "FIRST RECORD", "BYTES");
        for row in &rows {
            let text = |key: &str| row.get(key).map(plain).unwrap_or_default();
            println!(
                "{:<11} {:<26} {:>14} {:>14} {}",
                text("log"),
                text("segment"),
                text("first_seq"),
                text("bytes"),
                text("header")
            );
        }
    }
    Ok(Exit::Ok)
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), Into::into)
}

/// The last `count` records of the journal's newest segment. Never a payload.
fn records(args: &ConfigArg, count: usize, context: &Context) -> Result<Exit, Failure> {
    let Some((_, inspector)) = logs(args, context)?.into_iter().next() else { return Ok(Exit::Ok) };
    let Some(last) = inspector.segments().or_exit(Exit::Io)?.pop() else { return Ok(Exit::Ok) };
    let mut rows = std::collections::VecDeque::new();
    inspector
        .walk(&last, None, &mut |finding| {
            if let Finding::Record(entry) = finding {
                rows.push_back(describe(entry.seq, entry.kind, entry.bytes));
                if rows.len() > count {
                    rows.pop_front();
                }
            }
        })
        .or_exit(Exit::Io)?;
    if context.json {
        print_json(&rows)?;
    } else {
        for row in &rows {
            let text = |key: &str| row.get(key).map(plain).unwrap_or_default();
            println!("{:>10} {:<15} {}", text("seq"), text("kind"), text("what"));
        }
    }
    Ok(Exit::Ok)
}

fn describe(seq: u64, kind: u8, bytes: &[u8]) -> Value {
    let (kind, what) = match RecordKind::from_number(kind) {
        None => ("journal".to_owned(), format!("kind {kind:#04x}, {} bytes", bytes.len())),
        Some(kind) => {
            let what = match kind {
                RecordKind::Message => Message::read(bytes).map(|message| {
                    let outcome = match &message.outcome {
                        StoredOutcome::Routed { copies, .. } => format!("routed, {} copies", copies.len()),
                        StoredOutcome::Quarantined(reason) => format!("quarantined: {reason}"),
                        StoredOutcome::Held(reason, _) => format!("held: {reason}"),
                    };
                    let (label, received) = (message.label, message.received);
                    format!("{received} {} {} {label}, {outcome}", message.identity, message.topic)
                }),
                RecordKind::Refusal => Refusal::read(bytes).map(|refusal| {
                    format!(
                        "{} {} {} refused: {}",
                        refusal.received, refusal.identity, refusal.topic, refusal.reason
                    )
                }),
                RecordKind::Kept => Kept::read(bytes)
                    .map(|kept| format!("origin {} for `{}`: {}", kept.origin, kept.target, kept.reason)),
                RecordKind::Fate => Fate::read(bytes).map(|fate| {
                    format!("{} of {}, {:?}: {}", fate.seqs.len(), fate.log.name(), fate.what, fate.why)
                }),
                RecordKind::Aggregate => Aggregate::read(bytes).map(|aggregate| {
                    let Aggregate { end, copy, topic, label, .. } = aggregate;
                    format!("until {end} of copy `{copy}` {topic} {label}")
                }),
                RecordKind::WindowClosed => WindowClosed::read(bytes)
                    .map(|closed| format!("until {} of copy `{}`: published", closed.end, closed.copy)),
                RecordKind::Progress
                | RecordKind::Boundary
                | RecordKind::Intent
                | RecordKind::Epoch
                | RecordKind::SessionOpened
                | RecordKind::SessionEnded => Ok(format!("{} bytes", bytes.len())),
            };
            (format!("{kind:?}").to_lowercase(), what.unwrap_or_else(|error| error.to_string()))
        }
    };
    json!({ "seq": seq, "kind": kind, "what": what })
}

fn verify(args: &ConfigArg, context: &Context) -> Result<Exit, Failure> {
    let (mut rows, mut sound) = (Vec::new(), true);
    for (log, inspector) in logs(args, context)? {
        let summary = inspector.verify().or_exit(Exit::Io)?;
        sound &= summary.is_sound();
        rows.push(json!({
            "log": log, "segments": summary.segments, "frames": summary.frames, "records": summary.records,
            "tail_bytes": summary.tail_bytes, "sound": summary.is_sound(),
            "damage": summary.damage.iter().map(|(file, at)| format!("{file} at byte {at}")).collect::<Vec<_>>(),
            "lost": summary.lost.iter().map(|lost| format!("{}-{}", lost.start, lost.end)).collect::<Vec<_>>(),
        }));
    }
    if context.json {
        print_json(&rows)?;
    } else {
        for row in &rows {
            let text = |key: &str| row.get(key).map(plain).unwrap_or_default();
            let verdict = if row.get("sound") == Some(&Value::Bool(true)) { "sound" } else { "DAMAGED" };
            println!(
                "{}: {verdict}: {} segments, {} frames, {} records",
                text("log"),
                text("segments"),
                text("frames"),
                text("records")
            );
            for key in ["damage", "lost"] {
                for item in row.get(key).and_then(Value::as_array).into_iter().flatten() {
                    println!("  {key}: {}", plain(item));
                }
            }
        }
    }
    Ok(if sound { Exit::Ok } else { Exit::Finding })
}
