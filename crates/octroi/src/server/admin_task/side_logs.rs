//! What administrators ask of the side logs: one message shown, or messages
//! released and purged, which is the keeper's to do.

use std::collections::BTreeSet;
use std::sync::mpsc::TrySendError;

use axum::http::StatusCode;
use base64::Engine as _;
use octroi_journal::Batch;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::{explain_message, failed, not_found, unprocessable};
use crate::admin::{KeptErrand, Problem};
use crate::keeper::{Errand, Pick};
use crate::limits;
use crate::record::{Kept, Log, Message};
use crate::release::{self, Verdict};
use crate::server::Parts;

/// Hands an errand to the keeper, and waits until it is done and on disk.
pub(super) async fn errand(parts: &Parts, asked: KeptErrand) -> Result<Value, Problem> {
    let KeptErrand { what, why, which } = asked;
    let busy = |detail: &str| Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail);
    let seqs = which.ids.iter().map(|id| seq_of(parts, Log::Quarantine, id));
    let seqs: BTreeSet<u64> = seqs.collect::<Result<_, _>>()?;
    let first = seqs.first().copied().unwrap_or(0);
    let pick = Pick { seqs, reason: which.reason, source: which.source, all: which.all };
    let (reply, told) = oneshot::channel();
    if !which.dry_run {
        tracing::warn!(?what, because = why, ?pick, "an operator decides on messages in quarantine");
    }
    let (log, from, dry_run) = (Log::Quarantine, which.from.max(first), which.dry_run);
    let errand = Errand { log, what, why, pick, from, dry_run, reply };
    parts.errands.try_send(errand).map_err(|error| match error {
        TrySendError::Full(_) => busy("other releases are under way; try again in a moment"),
        TrySendError::Disconnected(_) => busy("the hub is stopping"),
    })?;
    let Ok(report) = told.await else {
        return Err(busy(
            "the hub is stopping, or its journal took nothing: ask again, what is done is not done twice",
        ));
    };
    let mut answer = serde_json::to_value(&report).map_err(|error| failed(&error))?;
    if let Some(answer) = answer.as_object_mut() {
        answer.insert("dry_run".to_owned(), dry_run.into());
        answer.insert("what".to_owned(), json!(what));
    }
    Ok(answer)
}

/// One message: what is known of it, why it was kept, and what the policy in force makes of it.
pub(super) fn show(
    parts: &Parts,
    log: Log,
    id: &str,
    payload_because: Option<&str>,
) -> Result<Value, Problem> {
    let seq = seq_of(parts, log, id)?;
    let gone =
        || not_found(format!("`{id}` is not in the {} (any more): see `octroi quarantine list`", log.name()));
    let entry = parts.state.get(log, seq).ok_or_else(gone)?;
    let (_, reader) = parts.side_logs.get(&log).ok_or_else(gone)?;
    let mut batch = Batch::default();
    reader.at(seq).next(None, limits::RELAY_READ_BYTES, &mut batch).map_err(|error| failed(&error))?;
    let read = batch.iter().find(|read| read.seq == seq).ok_or_else(gone)?;
    let kept = Kept::read(read.bytes).map_err(|error| failed(&error))?;
    let message = Message::read(kept.message).map_err(|error| failed(&error))?;
    let first = message.origin.map_or((kept.generation, kept.origin), |first| (first.generation, first.seq));
    let origin = format!("{}/{:016x}/{}", parts.config.hub, first.0, first.1);
    let active = parts.policies.current();
    let now = match release::judge(&kept, &parts.policies, &active, parts.policy_clock.now()) {
        Verdict::Goes(_) => json!({ "goes": true }),
        Verdict::Stays(reason) => json!({ "goes": false, "reason": reason }),
    };
    let mut answer = serde_json::to_value(&entry).map_err(|error| failed(&error))?;
    let Some(object) = answer.as_object_mut() else { return Ok(answer) };
    // Without the version that decided there is nothing to explain, and all the rest to see.
    let explanation = explain_message(parts, &origin, kept.message).unwrap_or(Value::Null);
    let more = [
        ("origin", json!(origin)),
        ("since", json!(kept.since)),
        ("identity", json!(message.identity)),
        ("level", json!(message.label.level.name())),
        ("device", json!(message.device)),
        ("user_properties", json!(message.user_properties)),
        ("now", now),
        ("explanation", explanation),
    ];
    object.extend(more.into_iter().map(|(key, value)| (key.to_owned(), value)));
    if let Some(because) = payload_because {
        tracing::warn!(id, log = log.name(), because, "an operator reads a kept message's payload");
        let payload = match std::str::from_utf8(message.payload) {
            Ok(text) => ("payload", text.to_owned()),
            Err(_) => ("payload_base64", base64::engine::general_purpose::STANDARD.encode(message.payload)),
        };
        object.insert(payload.0.to_owned(), payload.1.into());
    }
    Ok(answer)
}

/// The sequence number in an id of a side log.
fn seq_of(parts: &Parts, log: Log, id: &str) -> Result<u64, Problem> {
    let generation = parts.side_logs.get(&log).map_or(0, |(generation, _)| *generation);
    let seq = id.strip_prefix(&format!("{generation:016x}/")).and_then(|seq| seq.parse().ok());
    seq.ok_or_else(|| {
        unprocessable(format!("`{id}` is no id of this hub's {}: see `octroi quarantine list`", log.name()))
    })
}
