//! The handlers for programs: metrics, health, and the API under `/api/v1`.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{AdminCommand, Problem, Reply, Shared, guard};
use crate::status::Status;
use crate::words::{Lang, Tone, Verdict};

impl Shared {
    pub(super) fn status(&self) -> Arc<Status> {
        Arc::clone(&self.parts.status.borrow())
    }

    /// Whether somebody still keeps the status up to date.
    pub(super) fn status_is_kept(&self) -> bool {
        self.parts.status.has_changed().is_ok()
    }

    /// Hands a command to the hub's task and waits for its answer.
    pub(super) async fn ask(
        &self,
        command: impl FnOnce(Reply) -> AdminCommand,
    ) -> Result<Json<Value>, Problem> {
        if !self.loopback {
            return Err(guard::loopback_only());
        }
        let busy = |detail| Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail);
        let (reply, answer) = oneshot::channel();
        self.parts.commands.try_send(command(reply)).map_err(|error| match error {
            TrySendError::Full(_) => busy("too many commands wait; try again in a moment"),
            TrySendError::Closed(_) => busy("the hub is stopping"),
        })?;
        match answer.await {
            Ok(answer) => answer.map(Json),
            Err(_) => Err(busy("the hub stopped before it answered")),
        }
    }
}

pub(super) async fn metrics(State(shared): State<Arc<Shared>>) -> Result<Response, Problem> {
    let (metrics, status, now) = (Arc::clone(&shared.parts.metrics), shared.status(), Instant::now());
    // Rendering many series takes milliseconds that the sessions' threads have better use for.
    let rendered = tokio::task::spawn_blocking(move || metrics.text(&status, now)).await;
    let text = rendered.map_err(|error| error.to_string()).and_then(|text| text.map_err(|e| e.to_string()));
    let text = text.map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error))?;
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    Ok((kind, text.to_string()).into_response())
}

/// The process serves; nothing more.
pub(super) async fn live() -> Json<Value> {
    Json(json!({ "status": "live" }))
}

/// Whether publishers should be sent here. A target that is down is the hub's business, not theirs: the
/// hub is degraded, and ready.
pub(super) async fn ready(State(shared): State<Arc<Shared>>) -> Response {
    let status = shared.status();
    let reason = if !shared.status_is_kept() {
        Some("stopping")
    } else if !status.ready {
        Some("not_ready")
    } else if status.journal.full {
        Some("journal_full")
    } else {
        None
    };
    if let Some(reason) = reason {
        let body = json!({ "status": "not_ready", "reason": reason });
        return (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response();
    }
    let verdict = Verdict::of(&status);
    if verdict.tone() == Tone::Good {
        Json(json!({ "status": "ready" })).into_response()
    } else {
        Json(json!({ "status": "degraded", "reason": verdict.sentence(Lang::En) })).into_response()
    }
}

pub(super) async fn status(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(json!(*shared.status()))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExplainQuery {
    id: String,
}

pub(super) async fn explain(
    State(shared): State<Arc<Shared>>,
    query: Result<Query<ExplainQuery>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let id = asked(query)?.id;
    shared.ask(|reply| AdminCommand::Explain { id, reply }).await
}

pub(super) async fn versions(State(shared): State<Arc<Shared>>) -> Result<Json<Value>, Problem> {
    shared.ask(|reply| AdminCommand::Versions { reply }).await
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Activation {
    path: Option<PathBuf>,
    #[serde(default)]
    dry_run: bool,
}

pub(super) async fn activate(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Problem> {
    let Activation { path, dry_run } = written(&headers, body)?;
    shared.ask(|reply| AdminCommand::Activate { path, dry_run, reply }).await
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ToEarlier {
    version: Option<String>,
    #[serde(default)]
    dry_run: bool,
}

pub(super) async fn rollback(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Problem> {
    let ToEarlier { version, dry_run } = written(&headers, body)?;
    shared.ask(|reply| AdminCommand::Rollback { version, dry_run, reply }).await
}

pub(super) async fn no_such_page() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "there is nothing at this address")
}

pub(super) async fn wrong_method() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this address does not take this method; see `Allow`")
}

pub(super) fn asked<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Problem> {
    match query {
        Ok(Query(query)) => Ok(query),
        Err(rejection) => Err(Problem::new(StatusCode::BAD_REQUEST, rejection.body_text())),
    }
}

/// A JSON body. The media type is required: a form of another site cannot send it unasked.
pub(super) fn written<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<T, Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        let detail = "send JSON with `Content-Type: application/json` (`{}` for the defaults)";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    let body = body.map_err(|rejection| Problem::new(rejection.status(), rejection.body_text()))?;
    serde_json::from_slice(&body).map_err(|error| {
        Problem::new(StatusCode::BAD_REQUEST, format!("the body is not as expected: {error}"))
    })
}
