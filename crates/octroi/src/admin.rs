//! The admin HTTP server: metrics, health, the API and the console.
//!
//! It shows the one [`Status`] and hands every command to the hub's own task
//! over a bounded channel; it decides nothing and keeps nothing. There are no
//! roles yet, so what changes the hub or shows single messages is answered on
//! a loopback listener only.
//!
//! INVARIANT: every connection, header, body and wait has a bound, below.

mod api;
mod console;
mod guard;
mod outlets;
mod problem;
mod side_logs;

use std::future::Future;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::{get, post};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tower_service::Service;

use crate::metrics::Metrics;
use crate::record::Log;
use crate::status::Status;

pub use outlets::{OutletErrand, OutletVerb, Span};
pub use problem::Problem;
pub use side_logs::{KeptErrand, Which};

/// Connections at one time; the next waits in the kernel's queue.
const MAX_CONNECTIONS: usize = 128;
/// For the head of each request, and between requests.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// For the whole of a request, its command included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Then the connection ends, whatever the peer reads or does not read.
const CONNECTION_AGE: Duration = Duration::from_secs(300);
/// What a request may carry.
const MAX_BODY: usize = 1024 * 1024;
/// A request's head.
const MAX_HEAD: usize = 32 * 1024;
/// At the stop, for answers on their way.
const DRAIN: Duration = Duration::from_secs(5);

/// What the server needs of the hub.
#[derive(Clone, Debug)]
pub struct AdminParts {
    /// The hub's status; a sender that is gone means that nobody keeps it up to date.
    pub status: watch::Receiver<Arc<Status>>,
    /// The counts.
    pub metrics: Arc<Metrics>,
    /// To the task that carries out commands.
    pub commands: mpsc::Sender<AdminCommand>,
    /// Host names, beside loopback and the listener's own address, that a request may name.
    pub allowed_hosts: Vec<String>,
}

/// The answer to a command: a JSON value, or what is wrong.
pub type Reply = oneshot::Sender<Result<serde_json::Value, Problem>>;

/// What a request asks of the hub.
#[derive(Debug)]
pub enum AdminCommand {
    /// Check a policy and, unless it is a dry run, put it in force.
    Activate {
        /// Where it is; none: where the configuration says.
        path: Option<PathBuf>,
        /// Check only.
        dry_run: bool,
        /// The findings; on success the policy in force.
        reply: Reply,
    },
    /// Put an earlier policy in force again.
    Rollback {
        /// Which version; none: the one before.
        version: Option<String>,
        /// Say what would be done only.
        dry_run: bool,
        /// The policy in force.
        reply: Reply,
    },
    /// The policies that were in force.
    Versions {
        /// The list.
        reply: Reply,
    },
    /// What is in a side log.
    Kept {
        /// Which.
        log: Log,
        /// How many at most.
        limit: usize,
        /// The list.
        reply: Reply,
    },
    /// One message of a side log, and why it is there.
    Show {
        /// Which side log.
        log: Log,
        /// `generation/sequence` in it.
        id: String,
        /// Why whoever asks must see the payload; none: without it.
        payload_because: Option<String>,
        /// What is known of it.
        reply: Reply,
    },
    /// Release or purge messages in quarantine.
    Errand {
        /// What, which and why.
        errand: KeptErrand,
        /// What was done.
        reply: Reply,
    },
    /// The ways to all targets.
    Outlets {
        /// The list.
        reply: Reply,
    },
    /// Pause, resume or replay the way to one target.
    Outlet {
        /// What, which and why.
        errand: OutletErrand,
        /// What was done.
        reply: Reply,
    },
    /// Why a message went where it went.
    Explain {
        /// `hub/generation/seq`.
        id: String,
        /// The explanation.
        reply: Reply,
    },
}

/// What every handler sees.
#[derive(Debug)]
struct Shared {
    parts: AdminParts,
    /// Whether the listener is on a loopback address: the only place for what has no role yet.
    loopback: bool,
}

/// The address on which a connection arrived.
#[derive(Clone, Copy, Debug)]
struct Local(IpAddr);

/// Serves until `shutdown` resolves, then lets answers on their way leave.
///
/// # Errors
/// If the listener has no address.
pub async fn serve(
    listener: TcpListener,
    parts: AdminParts,
    shutdown: impl Future<Output = ()> + Send,
) -> std::io::Result<()> {
    let loopback = listener.local_addr()?.ip().to_canonical().is_loopback();
    let router = router(Arc::new(Shared { parts, loopback }));
    let (stop, stopping) = watch::channel(());
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "an admin connection's task failed");
                }
            }
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, router.clone(), stopping.clone()));
                }
                // Out of descriptors, or the peer has gone: either passes.
                Err(error) => {
                    tracing::warn!(%error, "an admin connection was not accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
    drop(listener);
    drop(stop);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN, drained).await.is_err() {
        tracing::warn!("admin connections were cut at the stop");
    }
    Ok(())
}

async fn connection(stream: TcpStream, router: Router, mut stopping: watch::Receiver<()>) {
    let Ok(local) = stream.local_addr() else { return };
    let local = Local(local.ip().to_canonical());
    let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(local);
        // A router is always ready.
        router.clone().call(request)
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let mut serving = std::pin::pin!(serving);
    let asked_to_end = async {
        tokio::select! {
            () = tokio::time::sleep(CONNECTION_AGE) => {}
            _ = stopping.changed() => {}
        }
    };
    let ended = tokio::select! {
        ended = &mut serving => ended,
        () = asked_to_end => {
            serving.as_mut().graceful_shutdown();
            // A peer that does not read its answer is not waited for.
            let Ok(ended) = tokio::time::timeout(REQUEST_TIMEOUT, serving).await else { return };
            ended
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "an admin connection ended");
    }
}

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/", get(console::overview_page))
        .route("/assets/console.css", get(console::stylesheet))
        .route("/assets/console.js", get(console::script))
        .route("/metrics", get(api::metrics))
        .route("/health/live", get(api::live))
        .route("/health/ready", get(api::ready))
        .route("/api/v1/status", get(api::status))
        .route("/api/v1/quarantine", get(side_logs::list))
        .route("/api/v1/quarantine/show", get(side_logs::show))
        .route("/api/v1/quarantine/release", post(side_logs::release))
        .route("/api/v1/quarantine/purge", post(side_logs::purge))
        .route("/api/v1/outlets", get(outlets::list))
        .route("/api/v1/outlets/pause", post(outlets::pause))
        .route("/api/v1/outlets/resume", post(outlets::resume))
        .route("/api/v1/outlets/replay", post(outlets::replay))
        .route("/api/v1/explain", get(api::explain))
        .route("/api/v1/policy/versions", get(api::versions))
        .route("/api/v1/policy/activate", post(api::activate))
        .route("/api/v1/policy/rollback", post(api::rollback))
        .fallback(api::no_such_page)
        .method_not_allowed_fallback(api::wrong_method)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), guard::guard))
        .with_state(shared)
}

#[cfg(test)]
mod tests;

// The samples are shared with an example, which sees the crate by its name.
#[cfg(test)]
use crate as octroi;
#[cfg(test)]
#[path = "admin/tests/samples.rs"]
pub(crate) mod samples;
