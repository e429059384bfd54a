//! The handlers of outlets: list, pause, resume, replay.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::HeaderMap;
use octroi_policy::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::api::written;
use super::side_logs::reason;
use super::{AdminCommand, Problem, Shared};

/// What an operator asks of the way to one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutletErrand {
    /// The target.
    pub target: String,
    /// What.
    pub what: OutletVerb,
    /// Why, for the log; empty: not said.
    pub because: String,
    /// Say what would be done only.
    pub dry_run: bool,
}

/// What is done with the way to one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutletVerb {
    /// Nothing more goes there, until it is resumed.
    Pause,
    /// It goes on.
    Resume,
    /// What the target got already goes again, as far as the journal still has it.
    Replay(Span),
}

/// A part of the journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// From this sequence number on.
    pub from: u64,
    /// Below this one; `None`: below what the target is done with by now.
    pub until: Option<u64>,
    /// Received at this time or later.
    pub since: Option<Timestamp>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    target: String,
    because: Option<String>,
    #[serde(default)]
    dry_run: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AskedReplay {
    target: String,
    #[serde(default)]
    from: u64,
    until: Option<u64>,
    since: Option<Timestamp>,
    because: Option<String>,
    #[serde(default)]
    dry_run: bool,
}

pub(super) async fn list(State(shared): State<Arc<Shared>>) -> Result<Json<Value>, Problem> {
    shared.ask(|reply| AdminCommand::Outlets { reply }).await
}

pub(super) async fn pause(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Problem> {
    shared.switch(OutletVerb::Pause, written(&headers, body)?).await
}

pub(super) async fn resume(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Problem> {
    shared.switch(OutletVerb::Resume, written(&headers, body)?).await
}

pub(super) async fn replay(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Problem> {
    let AskedReplay { target, from, until, since, because, dry_run } = written(&headers, body)?;
    let what = OutletVerb::Replay(Span { from, until, since });
    shared.switch(what, Asked { target, because, dry_run }).await
}

impl Shared {
    async fn switch(&self, what: OutletVerb, asked: Asked) -> Result<Json<Value>, Problem> {
        let Asked { target, because, dry_run } = asked;
        let because = because.as_deref().map(|because| reason("because", because)).transpose()?;
        let errand = OutletErrand { target, what, because: because.unwrap_or_default(), dry_run };
        self.ask(|reply| AdminCommand::Outlet { errand, reply }).await
    }
}
