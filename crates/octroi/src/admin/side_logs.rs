//! The handlers of the side logs: list, show, release, purge.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::Value;

use super::api::{asked, written};
use super::{AdminCommand, Problem, Shared};
use crate::record::{Log, What};

/// How many messages one answer lists.
const LIST_LIMIT: usize = 1_000;
const LIST_DEFAULT: usize = 100;
/// A reason is a sentence, not a report.
const REASON_BYTES: usize = 1_000;

/// What an operator asks of the quarantine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptErrand {
    /// `Released` or `Purged`.
    pub what: What,
    /// Why.
    pub why: String,
    /// Which messages.
    pub which: Which,
}

/// Which messages of the quarantine. All that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Which {
    /// `generation/sequence`, as the list shows them.
    pub ids: Vec<String>,
    /// Kept for this reason.
    pub reason: Option<String>,
    /// Of this source, as the list shows it.
    pub source: Option<String>,
    /// All of them.
    pub all: bool,
    /// Why: a purge must say, a release may.
    pub because: Option<String>,
    /// Where to go on, as the answer before said.
    pub from: u64,
    /// Say what would be done only.
    pub dry_run: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    limit: Option<usize>,
    log: Option<Log>,
}

pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let ListQuery { limit, log } = asked(query)?;
    let (limit, log) = (limit.unwrap_or(LIST_DEFAULT), log.unwrap_or(Log::Quarantine));
    if limit > LIST_LIMIT {
        return Err(bad(format!("`limit` is {limit}; the most is {LIST_LIMIT}")));
    }
    shared.ask(|reply| AdminCommand::Kept { log, limit, reply }).await
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ShowQuery {
    id: String,
    log: Option<Log>,
    payload_because: Option<String>,
}

pub(super) async fn show(
    State(shared): State<Arc<Shared>>,
    query: Result<Query<ShowQuery>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let ShowQuery { id, log, payload_because } = asked(query)?;
    let log = log.unwrap_or(Log::Quarantine);
    let payload_because = payload_because.map(|because| reason("payload_because", &because)).transpose()?;
    shared.ask(|reply| AdminCommand::Show { log, id, payload_because, reply }).await
}

pub(super) async fn release(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Problem> {
    let which = named(written(&headers, body)?)?;
    let why = which.because.as_deref().map(|because| reason("because", because)).transpose()?;
    let why = why.unwrap_or_else(|| "an operator's word".to_owned());
    let errand = KeptErrand { what: What::Released, why, which };
    shared.ask(|reply| AdminCommand::Errand { errand, reply }).await
}

pub(super) async fn purge(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Problem> {
    let which = named(written(&headers, body)?)?;
    let why = reason("because", which.because.as_deref().unwrap_or_default())?;
    let errand = KeptErrand { what: What::Purged, why, which };
    shared.ask(|reply| AdminCommand::Errand { errand, reply }).await
}

/// Nothing named is nothing asked: all of them is said, never meant.
fn named(which: Which) -> Result<Which, Problem> {
    let Which { ids, reason, source, all, .. } = &which;
    if ids.is_empty() && reason.is_none() && source.is_none() && !all {
        return Err(bad("say which messages: `ids`, `reason`, `source`, or `all`".to_owned()));
    }
    Ok(which)
}

pub(super) fn reason(key: &str, text: &str) -> Result<String, Problem> {
    let text = text.trim();
    if text.is_empty() || text.len() > REASON_BYTES {
        return Err(bad(format!("`{key}` says why, in 1 to {REASON_BYTES} bytes")));
    }
    Ok(text.to_owned())
}

fn bad(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, detail)
}
