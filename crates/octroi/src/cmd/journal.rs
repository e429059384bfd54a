//! `octroi journal ls|verify`, which look beside a running hub or without one; `repair|export`, which take the
//! journal's lock and so want the hub stopped.
//!
//! INVARIANT: nothing here removes a byte of a journal.

use std::path::PathBuf;
use std::sync::Arc;

use octroi_journal::{Disk, Finding, Flaw, Inspector, Mend, RealDisk, RepairError, SegmentSummary, repair};
use serde_json::{Value, json};

use super::{Context, print_json};
use crate::cli::{ConfigArg, JournalCommand};
use crate::config::Config;
use crate::exit::{Exit, Failure, OrExit};
use crate::record::{
    Aggregate, Fate, Kept, Log, Message, Pause, RecordKind, Refusal, StoredOutcome, WindowClosed,
};
use crate::words::Lang;

mod export;

pub(super) fn run(command: &JournalCommand, context: &Context) -> Result<Exit, Failure> {
    match command {
        JournalCommand::Ls { config, records: None } => segments(config, context),
        JournalCommand::Ls { config, records: Some(count) } => records(config, *count, context),
        JournalCommand::Verify(config) => verify(config, context),
        JournalCommand::Repair { config, dry_run } => mend(config, *dry_run, context),
        JournalCommand::Export(args) => export::run(args, context),
    }
}

/// The journal and the side logs: their directories, in the order of [`crate::cli::LogArg`].
const LOGS: [&str; 3] = ["journal", Log::Quarantine.name(), Log::Hold.name()];

/// A journal, side log or backlog of a hub.
struct OnDisk {
    name: String,
    disk: Arc<dyn Disk>,
    directory: PathBuf,
}

impl OnDisk {
    fn inspector(&self) -> Inspector {
        Inspector::new(Arc::clone(&self.disk))
    }

    /// An error of this log, with its exit code.
    fn failed(&self, error: RepairError) -> Failure {
        let exit = match &error {
            RepairError::Locked => Exit::Locked,
            RepairError::Beyond { .. } => Exit::Finding,
            RepairError::Io(_) => Exit::Io,
        };
        let place = format!("the journal at `{}`", self.directory.display());
        Failure::new(exit, anyhow::Error::from(error).context(place))
    }
}

/// The journal, the side logs and the backlogs, as far as they are there.
fn logs(args: &ConfigArg, context: &Context) -> Result<Vec<OnDisk>, Failure> {
    let config = Config::load(&args.config, &context.environment).or_exit(Exit::Config)?;
    let mut names = LOGS.map(str::to_owned).to_vec();
    let backlogs = std::fs::read_dir(config.data_dir.join("backlog"));
    let backlogs = backlogs.into_iter().flatten().flatten();
    let backlogs = backlogs.filter_map(|entry| Some(format!("backlog/{}", entry.file_name().to_str()?)));
    names.extend(std::collections::BTreeSet::from_iter(backlogs));
    let mut logs = Vec::new();
    for name in names {
        let directory = config.data_dir.join(&name);
        if directory.is_dir() {
            let disk = Arc::new(RealDisk::new(&directory).or_exit(Exit::Io)?);
            logs.push(OnDisk { name, disk, directory });
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
    for log in logs(args, context)? {
        for segment in log.inspector().segments().or_exit(Exit::Io)? {
            rows.push(json!({
                "log": log.name, "segment": segment.name, "first_seq": segment.base_seq, "bytes": segment.bytes,
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
    let Some(log) = logs(args, context)?.into_iter().next() else { return Ok(Exit::Ok) };
    let inspector = log.inspector();
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
                RecordKind::Pause => Pause::read(bytes).map(|Pause { target, paused, at, why }| {
                    format!("{at} target bit {target} {}: {why}", if paused { "paused" } else { "resumed" })
                }),
                RecordKind::Progress
                | RecordKind::Boundary
                | RecordKind::Intent
                | RecordKind::Epoch
                | RecordKind::SessionOpened
                | RecordKind::SessionExpiry
                | RecordKind::Exchanges
                | RecordKind::SessionEnded => Ok(format!("{} bytes", bytes.len())),
            };
            (kind_name(kind), what.unwrap_or_else(|error| error.to_string()))
        }
    };
    json!({ "seq": seq, "kind": kind, "what": what })
}

fn kind_name(kind: RecordKind) -> String {
    format!("{kind:?}").to_lowercase()
}

fn verify(args: &ConfigArg, context: &Context) -> Result<Exit, Failure> {
    let (mut rows, mut sound) = (Vec::new(), true);
    for log in logs(args, context)? {
        let summary = log.inspector().verify().or_exit(Exit::Io)?;
        sound &= summary.is_sound();
        if context.json {
            rows.push(json!({
                "log": log.name, "sound": summary.is_sound(), "frames": summary.frames(),
                "records": summary.records(), "tail_bytes": summary.tail_bytes(),
                "segments": summary.segments.iter().map(segment_json).collect::<Vec<_>>(),
            }));
            continue;
        }
        let total = (summary.segments.len(), summary.frames(), summary.records());
        println!("{}", log_in_words(&log.name, summary.is_sound(), total, context.lang));
        for segment in &summary.segments {
            println!("{}", segment_in_words(segment, context.lang));
            for damage in &segment.damage {
                let at = (damage.bytes.clone(), damage.lost.clone());
                println!("    {}", damage_in_words(at, context.lang));
            }
        }
    }
    if context.json {
        print_json(&rows)?;
    }
    Ok(if sound { Exit::Ok } else { Exit::Finding })
}

fn segment_json(segment: &SegmentSummary) -> Value {
    let damage = segment.damage.iter().map(|damage| {
        json!({ "first_byte": damage.bytes.start, "end_byte": damage.bytes.end,
            "first_lost": damage.lost.start, "end_lost": damage.lost.end })
    });
    json!({
        "segment": segment.name, "frames": segment.frames, "records": segment.records,
        "tail_bytes": segment.tail_bytes, "damage": damage.collect::<Vec<_>>(),
    })
}

fn log_in_words(
    log: &str,
    sound: bool,
    (segments, frames, records): (usize, u64, u64),
    lang: Lang,
) -> String {
    match (lang, sound) {
        (Lang::En, true) => format!("{log}: sound: {segments} segments, {frames} frames, {records} records"),
        (Lang::En, false) => {
            format!("{log}: DAMAGED: {segments} segments, {frames} frames, {records} records")
        }
        (Lang::Fr, true) => {
            format!("{log} : intact : {segments} segments, {frames} trames, {records} enregistrements")
        }
        (Lang::Fr, false) => {
            format!("{log} : ENDOMMAGÉ : {segments} segments, {frames} trames, {records} enregistrements")
        }
    }
}

fn segment_in_words(segment: &SegmentSummary, lang: Lang) -> String {
    let SegmentSummary { name, frames, records, tail_bytes, .. } = segment;
    let tail = match (lang, *tail_bytes) {
        (_, 0) => String::new(),
        (Lang::En, bytes) => format!(", then {bytes} bytes of an unfinished write"),
        (Lang::Fr, bytes) => format!(", puis {bytes} octets d'une écriture inachevée"),
    };
    match lang {
        Lang::En => format!("  {name}: {frames} frames, {records} records{tail}"),
        Lang::Fr => format!("  {name} : {frames} trames, {records} enregistrements{tail}"),
    }
}

type Places = (std::ops::Range<u64>, std::ops::Range<u64>);

/// What is damaged there, and what is lost by it; of a place that is there twice, nothing.
fn damage_in_words((bytes, lost): Places, lang: Lang) -> String {
    let (from, to) = (bytes.start, bytes.end);
    let (first, last) = (lost.start, lost.end.saturating_sub(1));
    match (lang, lost.is_empty()) {
        (Lang::En, true) => {
            format!("damaged: bytes {from} to {to}; a second copy is sound, no record is lost")
        }
        (Lang::Fr, true) => {
            format!(
                "endommagé : octets {from} à {to} ; une seconde copie est intacte, aucun enregistrement n'est perdu"
            )
        }
        (Lang::En, false) => format!("damaged: bytes {from} to {to}; records {first} to {last} are lost"),
        (Lang::Fr, false) => {
            format!("endommagé : octets {from} à {to} ; les enregistrements {first} à {last} sont perdus")
        }
    }
}

/// Sets aside what a start would, and copies damaged bytes, log by log.
fn mend(args: &ConfigArg, dry_run: bool, context: &Context) -> Result<Exit, Failure> {
    let (mut rows, mut lost) = (Vec::new(), false);
    for log in logs(args, context)? {
        let mends = repair(&log.disk, dry_run).map_err(|error| log.failed(error))?;
        lost |= mends.iter().any(|mend| !mend.lost.is_empty());
        if context.json {
            rows.extend(mends.iter().map(|mend| mend_json(&log.name, mend, dry_run)));
            continue;
        }
        if mends.is_empty() {
            println!("{}", nothing_in_words(&log.name, context.lang));
        }
        for mend in &mends {
            println!("{}: {}: {}", log.name, mend.segment, mend_in_words(mend, dry_run, context.lang));
        }
    }
    if context.json {
        print_json(&rows)?;
    }
    Ok(if lost { Exit::Finding } else { Exit::Ok })
}

fn mend_json(log: &str, mend: &Mend, dry_run: bool) -> Value {
    let what = match mend.what {
        Flaw::TornTail => "torn_tail",
        Flaw::Damage => "damage",
        Flaw::Short => "short",
    };
    json!({
        "log": log, "segment": mend.segment, "what": what, "first_byte": mend.bytes.start,
        "end_byte": mend.bytes.end, "first_lost": mend.lost.start, "end_lost": mend.lost.end,
        "kept_in": mend.kept_in, "dry_run": dry_run,
    })
}

fn nothing_in_words(log: &str, lang: Lang) -> String {
    match lang {
        Lang::En => format!("{log}: nothing to mend"),
        Lang::Fr => format!("{log} : rien à réparer"),
    }
}

fn mend_in_words(mend: &Mend, dry_run: bool, lang: Lang) -> String {
    let (from, to) = (mend.bytes.start, mend.bytes.end);
    let file = mend.kept_in.as_deref().unwrap_or("-");
    let what = match (mend.what, lang) {
        (Flaw::TornTail, Lang::En) => format!("bytes {from} to {to} are a write that nobody was told of"),
        (Flaw::TornTail, Lang::Fr) => {
            format!("les octets {from} à {to} sont une écriture que personne n'a vue acquittée")
        }
        (Flaw::Short, Lang::En) => {
            format!("the file ends at {from}, {} bytes early", to.saturating_sub(from))
        }
        (Flaw::Short, Lang::Fr) => {
            format!("le fichier s'arrête à {from}, {} octets trop tôt", to.saturating_sub(from))
        }
        (Flaw::Damage, _) => damage_in_words((mend.bytes.clone(), mend.lost.clone()), lang),
    };
    let done = match (mend.what, dry_run, lang) {
        (Flaw::TornTail, false, Lang::En) => format!("set aside in `{file}`, and cleared"),
        (Flaw::TornTail, false, Lang::Fr) => format!("mis à part dans `{file}`, puis effacés du segment"),
        (Flaw::TornTail, true, Lang::En) => format!("would be set aside in `{file}`, and cleared"),
        (Flaw::TornTail, true, Lang::Fr) => format!("à mettre à part dans `{file}`, rien n'est fait"),
        (Flaw::Damage, false, Lang::En) => format!("copied to `{file}`; fenced where they are"),
        (Flaw::Damage, false, Lang::Fr) => format!("copiés dans `{file}` ; isolés sur place"),
        (Flaw::Damage, true, Lang::En) => format!("would be copied to `{file}`"),
        (Flaw::Damage, true, Lang::Fr) => format!("à copier dans `{file}`, rien n'est fait"),
        (Flaw::Short, false, Lang::En) => "zeros stand there now".to_owned(),
        (Flaw::Short, false, Lang::Fr) => "complété par des zéros".to_owned(),
        (Flaw::Short, true, Lang::En) => "zeros would be put there".to_owned(),
        (Flaw::Short, true, Lang::Fr) => "à compléter par des zéros, rien n'est fait".to_owned(),
    };
    match lang {
        Lang::En => format!("{what}: {done}"),
        Lang::Fr => format!("{what} : {done}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dry_run_never_reads_as_done_and_both_languages_say_where() {
        for what in [Flaw::TornTail, Flaw::Damage, Flaw::Short] {
            let mend = Mend {
                segment: "s.log".into(),
                bytes: 4_000..4_096,
                lost: 3..3,
                what,
                kept_in: Some("kept".into()),
            };
            for lang in Lang::ALL {
                let texts = [true, false].map(|dry_run| mend_in_words(&mend, dry_run, lang));
                assert_ne!(texts[0], texts[1]);
                assert!(texts.iter().all(|text| text.contains("4000")), "{texts:?}");
            }
        }
        let lost = |lang| damage_in_words((1..2, 5..9), lang);
        assert!(lost(Lang::En).contains("5 to 8") && lost(Lang::Fr).contains("5 à 8"));
    }
}
