//! What is wrong with a request, as RFC 9457 problem details.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

/// A problem, for a person and for a program (RFC 9457, type `about:blank`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// The kind of problem; the same for the same status.
    pub title: String,
    /// What is wrong here, and how to mend it.
    pub detail: String,
    /// Further members, as findings of a policy; `null`: none.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub findings: serde_json::Value,
}

impl Problem {
    /// A problem with the standard title of its status.
    #[must_use]
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status: status.as_u16(),
            title: status.canonical_reason().unwrap_or("Problem").to_owned(),
            detail: detail.into(),
            findings: serde_json::Value::Null,
        }
    }

    /// 422: the policy was not put in force; `findings` say why.
    #[must_use]
    pub fn with_findings(detail: impl Into<String>, findings: serde_json::Value) -> Self {
        Self { findings, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail) }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, axum::Json(&self)).into_response();
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
