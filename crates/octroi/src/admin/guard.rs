//! What every request passes before its handler: the host it names, where a
//! write comes from, its time; and the headers that every answer carries.
//!
//! A page of another site can make a browser send requests here. Its own name
//! in `Host` (DNS rebinding) or in `Origin` (a forged form) gives it away.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::{Local, Problem, REQUEST_TIMEOUT, Shared};

/// Nothing from elsewhere, nothing inline.
const HEADERS: &[(&str, &str)] = &[
    (
        "content-security-policy",
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; \
         base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=()"),
];

pub(super) async fn guard(
    State(shared): State<Arc<Shared>>,
    Extension(local): Extension<Local>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = match admit(&shared, local, &request) {
        Ok(()) => match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
            Ok(response) => response,
            Err(_) => Problem::new(
                StatusCode::GATEWAY_TIMEOUT,
                "no answer in time; what was asked may still be done: look before asking again",
            )
            .into_response(),
        },
        Err(problem) => problem.into_response(),
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

fn admit(shared: &Shared, local: Local, request: &Request) -> Result<(), Problem> {
    let host = one_host(request)?;
    if !host_is_ours(host, local.0, &shared.parts.allowed_hosts) {
        return Err(Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            "this server does not answer to the name in `Host`; use its address, or `localhost`",
        ));
    }
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return Ok(());
    }
    if !shared.loopback {
        return Err(loopback_only());
    }
    if !origin_is(request.headers(), host) {
        return Err(Problem::new(StatusCode::FORBIDDEN, "the request was made by a page of another site"));
    }
    Ok(())
}

/// What has no role yet is not for a listener that others can reach.
pub(super) fn loopback_only() -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        "served on a loopback listener only; run the command on the hub's own machine",
    )
}

/// The one host that the request names, with its port if any.
fn one_host(request: &Request) -> Result<&str, Problem> {
    let bad = |detail| Problem::new(StatusCode::BAD_REQUEST, detail);
    let mut named = request.headers().get_all(header::HOST).iter();
    let (Some(host), None) = (named.next(), named.next()) else {
        return Err(bad("a request must have one `Host` header"));
    };
    let host = host.to_str().map_err(|_| bad("the `Host` header is not text"))?;
    match request.uri().authority() {
        Some(authority) if authority.as_str() != host => {
            Err(bad("the request's target and its `Host` header name different hosts"))
        }
        _ => Ok(host),
    }
}

fn host_is_ours(host: &str, local: IpAddr, allowed: &[String]) -> bool {
    let Some(name) = without_port(host) else { return false };
    if let Ok(address) = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        let address = address.to_canonical();
        return address == local || (address.is_loopback() && local.is_loopback());
    }
    let name = name.trim_end_matches('.');
    (name.eq_ignore_ascii_case("localhost") && local.is_loopback())
        || allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(name))
}

/// `name`, `name:port`, `[v6]` or `[v6]:port`; none: anything else.
fn without_port(host: &str) -> Option<&str> {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    };
    let port_is_sound =
        port.is_none_or(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()));
    let name_is_sound = !name.is_empty() && (name.starts_with('[') == name.contains(':'));
    (port_is_sound && name_is_sound).then_some(name)
}

/// Not a browser, or a page of this very server.
fn origin_is(headers: &HeaderMap, host: &str) -> bool {
    let same_site = headers
        .get("sec-fetch-site")
        .is_none_or(|site| site.as_bytes() == b"same-origin" || site.as_bytes() == b"none");
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let same_origin = match (origins.next(), origins.next()) {
        (None, _) => true,
        (Some(origin), None) => {
            origin.to_str().is_ok_and(|origin| origin.strip_prefix("http://") == Some(host))
        }
        (Some(_), Some(_)) => false,
    };
    same_site && same_origin
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_ours_only_by_address_or_by_a_name_we_gave_it() {
        let loopback: IpAddr = [127, 0, 0, 1].into();
        let public: IpAddr = [192, 0, 2, 7].into();
        let allowed = ["hub.example".to_owned()];
        for (host, local, ours) in [
            ("127.0.0.1:9464", loopback, true),
            ("127.0.0.1", loopback, true),
            ("localhost:9464", loopback, true),
            ("LOCALHOST.", loopback, true),
            ("[::1]:9464", loopback, true),
            ("[::ffff:127.0.0.1]:1", loopback, true),
            ("hub.example:9464", loopback, true),
            ("192.0.2.7:9464", public, true),
            ("Hub.Example", public, true),
            ("localhost", public, false),
            ("127.0.0.1", public, false),
            ("192.0.2.8", public, false),
            ("evil.example", loopback, false),
            ("localhost.evil.example", loopback, false),
            ("127.0.0.1.evil.example", loopback, false),
            ("hub.example.evil.example", public, false),
            ("localhost:", loopback, false),
            ("localhost:80@evil.example", loopback, false),
            ("::1", loopback, false),
            ("[::1", loopback, false),
            ("", loopback, false),
        ] {
            assert_eq!(host_is_ours(host, local, &allowed), ours, "{host} at {local}");
        }
    }
}
