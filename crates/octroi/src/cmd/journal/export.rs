//! `octroi journal export`: records as JSON lines, for whoever takes the messages elsewhere or looks into
//! what happened. From a damaged journal too: what cannot be read is a line that says so.
//!
//! Payloads leave the hub's custody here: a file is made for its owner's eyes alone.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use octroi_journal::{Entry, Finding, SegmentFacts, Target, lock};
use octroi_policy::Policy;
use serde_json::{Value, json};

use super::{OnDisk, kind_name, logs};
use crate::cli::{ExportArgs, LogArg};
use crate::cmd::Context;
use crate::config::Config;
use crate::exit::{Exit, Failure, OrExit};
use crate::policies::{Store, compiled};
use crate::record::{Aggregate, Kept, Message, RecordError, RecordKind, Refusal, StoredOutcome};
use crate::words::Lang;

pub(super) fn run(args: &ExportArgs, context: &Context) -> Result<Exit, Failure> {
    let name = super::LOGS.get(args.log as usize).copied().unwrap_or_default();
    let log = logs(&args.config, context)?.into_iter().find(|log| log.name == name);
    let log = log.ok_or_else(|| Failure::new(Exit::Io, anyhow::anyhow!("there is no log `{name}`")))?;
    // Held to the end: what is exported is one state.
    let _lock = lock(&*log.disk).map_err(|error| log.failed(error))?;
    let config = Config::load(&args.config.config, &context.environment).or_exit(Exit::Config)?;
    let mut out = output(args.out.as_deref()).or_exit(Exit::Io)?;
    let mut export = Export {
        origin: String::new(),
        hub: config.hub.clone(),
        targets: log.inspector().targets().or_exit(Exit::Io)?,
        policies: Policies {
            store: Store::open(config.data_dir.join("policies")).or_exit(Exit::Io)?,
            known: BTreeMap::new(),
        },
        args,
        log: &log,
        written: Written::default(),
    };
    let unknown = |target: &&String| args.log == LogArg::Journal && export.bit(target).is_none();
    if let Some(target) = args.target.as_ref().filter(unknown) {
        let known: Vec<_> = export.targets.iter().map(|target| target.name.as_str()).collect();
        let error = format!("`{name}` knows no target `{target}`; it knows: {}", known.join(", "));
        return Err(Failure::new(Exit::Usage, anyhow::anyhow!("{error}")));
    }
    export.segments(&mut *out).and_then(|()| Ok(out.flush()?)).or_exit(Exit::Io)?;
    let Written { records, holes, lost } = export.written;
    eprintln!("{}", in_words((records, holes, lost), context.lang));
    Ok(if holes == 0 { Exit::Ok } else { Exit::Finding })
}

fn output(path: Option<&Path>) -> io::Result<Box<dyn Write>> {
    Ok(match path {
        None => Box::new(BufWriter::new(io::stdout())),
        Some(path) => {
            let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
            Box::new(BufWriter::new(file))
        }
    })
}

fn in_words((records, holes, lost): (u64, u64, u64), lang: Lang) -> String {
    match (lang, holes) {
        (Lang::En, 0) => format!("{records} records"),
        (Lang::Fr, 0) => format!("{records} enregistrements"),
        (Lang::En, _) => format!("{records} records; {holes} hole(s), {lost} records that cannot be read"),
        (Lang::Fr, _) => {
            format!("{records} enregistrements ; {holes} trou(s), {lost} enregistrements illisibles")
        }
    }
}

#[derive(Debug, Default)]
struct Written {
    records: u64,
    holes: u64,
    lost: u64,
}

/// The versions that records were decided by, read once each.
struct Policies {
    store: Store,
    known: BTreeMap<u64, Option<Policy>>,
}

impl Policies {
    fn version(&mut self, policy64: u64) -> Option<&Policy> {
        let store = &self.store;
        let load = || {
            let prefix = format!("{policy64:016x}");
            let history = store.history().ok()?.into_iter();
            let hash = history.map(|activation| activation.hash).find(|hash| hash.starts_with(&prefix))?;
            compiled(&store.files(&hash)?).ok()
        };
        self.known.entry(policy64).or_insert_with(load).as_ref()
    }
}

struct Export<'a> {
    /// `hub/generation/`, of the segment that is read.
    origin: String,
    hub: String,
    targets: Vec<Target>,
    policies: Policies,
    args: &'a ExportArgs,
    log: &'a OnDisk,
    written: Written,
}

impl Export<'_> {
    fn bit(&self, target: &str) -> Option<u64> {
        self.targets.iter().find(|known| known.name == target).map(|known| known.bit.mask())
    }

    fn segments(&mut self, out: &mut dyn Write) -> anyhow::Result<()> {
        let inspector = self.log.inspector();
        let segments = inspector.segments()?;
        let nexts = segments.iter().skip(1).map(|next| Some(next.base_seq)).chain([None]);
        for (segment, next) in segments.iter().zip(nexts) {
            if next.is_some_and(|next| next <= self.args.from) || segment.base_seq >= self.args.to {
                continue;
            }
            if let Ok(header) = &segment.header {
                self.origin = format!("{}/{:016x}/", header.hub, header.generation);
            }
            let mut written = Ok(());
            inspector.walk(segment, next, &mut |finding| {
                if written.is_ok() {
                    written = self.finding(segment, &finding, out);
                }
            })?;
            written?;
        }
        Ok(())
    }

    fn finding(
        &mut self,
        segment: &SegmentFacts,
        finding: &Finding<'_>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let line = match finding {
            Finding::Record(entry) => {
                let line = self.wanted(entry).then(|| self.record(entry)).flatten();
                self.written.records += u64::from(line.is_some());
                line
            }
            Finding::Damage { offset, bytes, lost } => {
                let lost = lost.start.max(self.args.from)..lost.end.min(self.args.to);
                let hole = json!({
                    "log": self.log.name, "hole": { "first": lost.start, "end": lost.end },
                    "segment": segment.name, "byte": offset, "bytes": bytes,
                });
                self.written.holes += u64::from(!lost.is_empty());
                self.written.lost += lost.end.saturating_sub(lost.start);
                (!lost.is_empty()).then_some(hole)
            }
            Finding::Frame { .. } | Finding::Tail { .. } => None,
        };
        match line {
            Some(line) => writeln!(out, "{line}"),
            None => Ok(()),
        }
    }

    /// The journal's own records are none of a reader's. A side log has no bits: its records say their target.
    fn wanted(&self, entry: &Entry<'_>) -> bool {
        let bit = self.args.target.as_ref().and_then(|target| self.bit(target));
        entry.kind < octroi_journal::format::RESERVED_KINDS
            && (self.args.from..self.args.to).contains(&entry.seq)
            && bit.is_none_or(|bit| entry.targets & bit != 0)
    }

    /// `None`: it is another source's, or kept for another target.
    fn record(&mut self, entry: &Entry<'_>) -> Option<Value> {
        let read = self.read(entry);
        let (kind, mut value) = match read {
            Ok((kind, Some(value))) => (kind, value),
            Ok((kind, None)) => (kind, json!({ "bytes_base64": BASE64.encode(entry.bytes) })),
            Err(error) => {
                let kind = format!("{:#04x}", entry.kind);
                (kind, json!({ "unreadable": error.to_string(), "bytes_base64": BASE64.encode(entry.bytes) }))
            }
        };
        let identity = value.get("identity").and_then(Value::as_str).unwrap_or_default();
        let is_its = |source: &String| {
            identity == source || identity.split_once(':').is_some_and(|(_, id)| id == source)
        };
        let kept_for = value.get("kept").and_then(|kept| kept.get("target")).and_then(Value::as_str);
        let of_log = |target: &String| self.args.log == LogArg::Journal || kept_for == Some(target);
        if !self.args.source.as_ref().is_none_or(is_its) || !self.args.target.as_ref().is_none_or(of_log) {
            return None;
        }
        let targets = self.targets.iter().filter(|target| entry.targets & target.bit.mask() != 0);
        let targets: Vec<_> = targets.map(|target| target.name.as_str()).collect();
        if let Some(fields) = value.as_object_mut() {
            fields.insert("log".into(), self.log.name.clone().into());
            fields.insert("id".into(), format!("{}{}", self.origin, entry.seq).into());
            fields.insert("seq".into(), entry.seq.into());
            fields.insert("kind".into(), kind.into());
            fields.insert("targets".into(), json!(targets));
        }
        Some(value)
    }

    /// Name of the kind, and what it says if it is more than a note of the hub's own.
    fn read(&mut self, entry: &Entry<'_>) -> Result<(String, Option<Value>), RecordError> {
        let kind = RecordKind::of(entry.kind)?;
        let value = match kind {
            RecordKind::Message => Some(self.message(&Message::read(entry.bytes)?)),
            RecordKind::Kept => {
                let kept = Kept::read(entry.bytes)?;
                let mut value = self.message(&Message::read(kept.message)?);
                if let Some(fields) = value.as_object_mut() {
                    let origin = format!("{}/{:016x}/{}", self.hub, kept.generation, kept.origin);
                    fields.insert("origin".into(), origin.into());
                    fields.insert(
                        "kept".into(),
                        json!({ "since": kept.since.to_string(), "by": kept.by,
                        "target": kept.target, "reason": kept.reason }),
                    );
                }
                Some(value)
            }
            RecordKind::Refusal => {
                let refusal = Refusal::read(entry.bytes)?;
                let digest: String = refusal.digest.iter().map(|byte| format!("{byte:02x}")).collect();
                Some(json!({
                    "received": refusal.received.to_string(), "identity": refusal.identity,
                    "topic": refusal.topic, "payload_blake3": digest,
                    "decision": { "outcome": "refused", "reason": refusal.reason.name() },
                }))
            }
            RecordKind::Aggregate => {
                let aggregate = Aggregate::read(entry.bytes)?;
                Some(json!({
                    "end": aggregate.end.to_string(), "copy": aggregate.copy, "producer": aggregate.producer,
                    "domain": aggregate.domain, "commune": aggregate.commune, "topic": aggregate.topic,
                    "label": aggregate.label, "payload_base64": BASE64.encode(aggregate.payload),
                }))
            }
            RecordKind::Progress
            | RecordKind::Intent
            | RecordKind::Epoch
            | RecordKind::SessionOpened
            | RecordKind::SessionEnded
            | RecordKind::SessionExpiry
            | RecordKind::Exchanges
            | RecordKind::Fate
            | RecordKind::Boundary
            | RecordKind::Pause
            | RecordKind::WindowClosed => None,
        };
        Ok((kind_name(kind), value))
    }

    fn message(&mut self, message: &Message<'_>) -> Value {
        let policy = self.policies.version(message.policy);
        let origin =
            message.origin.map(|origin| format!("{}/{:016x}/{}", self.hub, origin.generation, origin.seq));
        let domain = message.domain.map(|domain| {
            let known = policy.and_then(|policy| policy.domains().get(domain.index()));
            known.map_or_else(|| json!(domain.index()), |domain| json!(domain.id))
        });
        json!({
            "received": message.received.to_string(), "decided": message.decided().to_string(),
            "time": message.time.map(|time| time.to_string()), "origin": origin,
            "identity": message.identity, "device": message.device, "topic": message.topic,
            "retain": message.retain, "user_properties": message.user_properties, "domain": domain,
            "commune": message.commune, "label": message.label,
            "policy": format!("{:016x}", message.policy), "decision": decision(&message.outcome, policy),
            "payload_base64": BASE64.encode(message.payload),
        })
    }
}

/// With the names of the policy that decided; its indices where that is not stored any more.
fn decision(outcome: &StoredOutcome, policy: Option<&Policy>) -> Value {
    match outcome {
        StoredOutcome::Routed { space, copies } => {
            let known = policy.and_then(|policy| policy.spaces().get(space.index()));
            let space = known.map_or_else(|| json!(space.index()), |space| json!(space.id));
            let copies = copies.iter().map(|copy| {
                let known = policy.and_then(|policy| policy.copies().get(copy.index()));
                known.map_or_else(|| json!(copy.index()), |copy| json!(copy.id))
            });
            json!({ "outcome": "routed", "space": space, "copies": copies.collect::<Vec<_>>() })
        }
        StoredOutcome::Quarantined(reason) => json!({ "outcome": "quarantined", "reason": reason.name() }),
        StoredOutcome::Held(reason, target) => {
            let target = target.map(|target| {
                let known = policy.and_then(|policy| policy.targets().get(target.index()));
                known.map_or_else(|| json!(target.index()), |target| json!(target.id))
            });
            json!({ "outcome": "held", "reason": reason.name(), "target": target })
        }
    }
}
