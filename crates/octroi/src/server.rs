//! The hub, put together and taken apart in order.
//!
//! Start: lock and recover the journal, put a policy in force, open the side
//! logs and the outlets, then and only then listen. Stop: no new connections,
//! answer what was handed over, deliver what the targets take, seal.
//!
//! A target that is down delays neither.

mod admin_task;
mod boot;
mod status_task;

pub use boot::replay;

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use octroi_journal::Reader;
use octroi_policy::Timestamp;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::admin;
use crate::admission::Admission;
use crate::backlog::Shelf;
use crate::broker::{self, Broker};
use crate::clock::{Clock, PolicyClock};
use crate::committer::{Control, Inbox, JournalView, Watermark};
use crate::config::{Config, Environment};
use crate::exit::{Exit, Failure, OrExit};
use crate::fail_point;
use crate::handshakes::Handshakes;
use crate::identity::watcher::{Shown, Watcher};
use crate::intake::Shares;
use crate::keeper::{Errand, Keeper};
use crate::keys::Keys;
use crate::limits;
use crate::listener;
use crate::metrics::Metrics;
use crate::pipeline::{Ingress, RelayView};
use crate::policies::Policies;
use crate::record::Log;
use crate::session::Shared;
use crate::sessions::Sessions;
use crate::state::State;
use crate::status::Status;

/// A target's relay as the rest of the hub sees it.
struct RelaySeen {
    target: String,
    kind: &'static str,
    bit: u8,
    view: Arc<ArcSwap<RelayView>>,
    shelf: Arc<Shelf>,
}

/// Everything that outlives a message.
struct Parts {
    config: Config,
    clock: Arc<dyn Clock>,
    policy_clock: Arc<PolicyClock>,
    inbox: Arc<Inbox>,
    watermark: Arc<Watermark>,
    journal: Arc<ArcSwap<JournalView>>,
    metrics: Arc<Metrics>,
    policies: Arc<Policies>,
    state: Arc<State>,
    relays: Vec<RelaySeen>,
    started: Timestamp,
    generation: u64,
    /// Why the index was made anew at this start; empty: it was not.
    index_rebuilt: &'static str,
    keys: Arc<Keys>,
    /// How certificates, revocation lists and passwords stand.
    credentials: Shown,
    /// To the keeper: what operators ask of the side logs.
    errands: SyncSender<Errand>,
    /// The side logs' generations, and readers to clone.
    side_logs: BTreeMap<Log, (u64, Reader)>,
    /// At the head of the journal; clone it.
    reader: Reader,
}

/// A hub that runs.
pub struct Server {
    parts: Arc<Parts>,
    sessions: Sessions,
    threads: Threads,
    failed: mpsc::Receiver<Failure>,
}

/// The threads, in the order in which they end.
struct Threads {
    aggregates: JoinHandle<()>,
    relays: Vec<JoinHandle<()>>,
    backlogs: JoinHandle<()>,
    keeper: JoinHandle<()>,
    committer: JoinHandle<()>,
    aggregates_stop: Arc<AtomicBool>,
    relays_stop: Arc<AtomicBool>,
    keeper_stop: Arc<AtomicBool>,
    requests: Option<Arc<Keeper>>,
}

/// What the hub is listening on: for whoever started it.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// MQTT listeners, in the configuration's order.
    pub mqtt: Vec<SocketAddr>,
    /// Metrics, health, API and console.
    pub http: SocketAddr,
}

impl Server {
    /// Opens everything that does not listen. Blocking: disks are read.
    ///
    /// # Errors
    /// What is wrong, with the exit code.
    pub fn open(config: Config, environment: &Environment, clock: Arc<dyn Clock>) -> Result<Self, Failure> {
        boot::open(config, environment, clock)
    }

    /// Listens, until `stop` resolves or a part fails; then stops in order. `ready` is told the addresses
    /// once messages are accepted, and can follow the status from then on.
    ///
    /// # Errors
    /// What failed, with the exit code.
    pub async fn serve(
        mut self,
        stop: impl Future<Output = ()>,
        ready: impl FnOnce(&Addresses, watch::Receiver<Arc<Status>>),
    ) -> Result<(), Failure> {
        let parts = Arc::clone(&self.parts);
        let (stopping_tell, stopping) = watch::channel(false);
        let (end_tell, ended) = watch::channel(false);
        let admission = Arc::new(Admission::new(parts.config.connections));

        let (listeners, watcher) = listen(&parts)?;
        let shares = Shares::new(share_of(&parts.config));
        let brokers = broker::open(&parts.config, &shares, &parts.clock).or_exit(Exit::Config)?;
        let http = bind(parts.config.http)?;
        let addresses = Addresses {
            mqtt: listeners.iter().filter_map(|listener| listener.socket.local_addr().ok()).collect(),
            http: http.local_addr().or_exit(Exit::Io)?,
        };

        let (status_tell, status) = watch::channel(Arc::new(Status::default()));
        let mut tasks = JoinSet::new();
        tasks.spawn(watcher.run(ended.clone()));
        let seen = (Arc::clone(&admission), brokers.iter().map(Broker::seen).collect());
        tasks.spawn(status_task::run(Arc::clone(&parts), seen, status_tell, ended.clone()));
        tasks.spawn(destroy_old_keys(Arc::clone(&parts), ended.clone()));
        let (commands_tell, commands) = mpsc::channel(limits::ADMIN_COMMANDS);
        tasks.spawn(admin_task::run(Arc::clone(&parts), commands, ended.clone()));
        let admin_parts = admin::AdminParts {
            status: status.clone(),
            metrics: Arc::clone(&parts.metrics),
            commands: commands_tell,
            allowed_hosts: Vec::new(),
        };
        tasks.spawn(serve_admin(http, admin_parts, ended.clone()));

        let shared = Arc::new(Shared {
            ingress: ingress(&parts, shares),
            admission,
            sessions: std::mem::take(&mut self.sessions),
            metrics: Arc::clone(&parts.metrics),
            limits: Arc::new(limits::mqtt()),
            stopping,
        });
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let handshakes = Handshakes::start(processors).or_exit(Exit::Io)?;
        let mut accepting = JoinSet::new();
        for listener in listeners {
            accepting.spawn(listener::run(listener, Arc::clone(&shared), handshakes.clone()));
        }
        for broker in brokers {
            accepting.spawn(broker.run(Arc::clone(&shared)));
        }
        fail_point::reached("boot.listens");
        ready(&addresses, status);

        let failure = tokio::select! {
            () = stop => None,
            failure = self.failed.recv() => failure,
        };
        // No new connection, no more reading; what was handed over is answered.
        stopping_tell.send_replace(true);
        let finish = async { while accepting.join_next().await.is_some() {} };
        if tokio::time::timeout(limits::DRAIN, finish).await.is_err() {
            tracing::warn!(
                "some connections did not finish; what they were not told stays their publishers'"
            );
            accepting.shutdown().await;
        }
        fail_point::reached("stop.connections_ended");
        drop(shared);
        let threads = self.threads;
        let (inbox, watermark) = (Arc::clone(&parts.inbox), Arc::clone(&parts.watermark));
        let joined = tokio::task::spawn_blocking(move || threads.join(&inbox, &watermark));
        joined.await.or_exit(Exit::Io)?;
        end_tell.send_replace(true);
        while tasks.join_next().await.is_some() {}
        let failure = failure.or_else(|| self.failed.try_recv().ok());
        failure.map_or(Ok(()), Err)
    }
}

impl Threads {
    /// Ends aggregates, relays and backlogs, keeper and committer, in this order: each hands its last to the next.
    fn join(mut self, inbox: &Inbox, watermark: &Watermark) {
        let ended = |thread: JoinHandle<()>, name: &str| {
            if thread.join().is_err() {
                tracing::error!(thread = name, "a thread panicked; the next start recovers");
            }
        };
        self.aggregates_stop.store(true, Ordering::Release);
        watermark.nudge();
        ended(self.aggregates, "aggregates");
        self.relays_stop.store(true, Ordering::Release);
        watermark.nudge();
        for relay in self.relays {
            ended(relay, "relay");
        }
        ended(self.backlogs, "backlogs");
        fail_point::reached("stop.relays_ended");
        self.keeper_stop.store(true, Ordering::Release);
        // The last handle: the keeper sees that nobody can ask any more.
        self.requests.take();
        ended(self.keeper, "keeper");
        fail_point::reached("stop.keeper_ended");
        inbox.control(Control::Stop);
        ended(self.committer, "committer");
    }
}

/// The way in, of listeners and brokers.
fn ingress(parts: &Parts, shares: Shares) -> Ingress {
    Ingress {
        policies: Arc::clone(&parts.policies),
        inbox: Arc::clone(&parts.inbox),
        budget: Arc::new(tokio::sync::Semaphore::new(limits::IN_FLIGHT_BYTES)),
        clock: Arc::clone(&parts.policy_clock),
        shares,
    }
}

/// The admin server, until the hub has ended.
async fn serve_admin(http: TcpListener, parts: admin::AdminParts, mut ended: watch::Receiver<bool>) {
    let ended = async move { drop(ended.wait_for(|ended| *ended).await) };
    if let Err(error) = admin::serve(http, parts, ended).await {
        tracing::error!(%error, "the admin server ended");
    }
}

/// Keeps no secret of a rotation period beyond its time.
async fn destroy_old_keys(parts: Arc<Parts>, mut ended: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(limits::PERIOD_KEYS_EVERY) => {}
            _ = ended.wait_for(|ended| *ended) => return,
        }
        let parts = Arc::clone(&parts);
        // Files are removed: not on a task that others wait for.
        let destroyed =
            tokio::task::spawn_blocking(move || parts.keys.destroy_past(parts.policy_clock.now()));
        if let Err(error) = destroyed.await {
            tracing::error!(%error, "keys of past periods were not destroyed; tried again");
        }
    }
}

/// Every configured MQTT listener, bound, and who looks after what they go by.
fn listen(parts: &Parts) -> Result<(Vec<listener::Listener>, Watcher), Failure> {
    let configured = &parts.config.listeners;
    let watcher = Watcher::open(configured, &parts.clock, Arc::clone(&parts.credentials));
    let watcher = watcher.or_exit(Exit::Config)?;
    let mut listeners = Vec::new();
    for (listener, credentials) in configured.iter().zip(watcher.credentials()) {
        let door = listener::Door {
            identify_by: listener.identify_by.clone(),
            credentials,
            clock: Arc::clone(&parts.clock),
            transport: listener.transport.clone(),
        };
        let socket = if door.credentials.borrow().is_shut {
            listener::Socket::Shut(
                reserved(listener.bind).map_err(|error| cannot_listen(listener.bind, error))?,
            )
        } else {
            listener::Socket::Open(bind(listener.bind)?)
        };
        listeners.push(listener::Listener { socket, door: Arc::new(door) });
    }
    Ok((listeners, watcher))
}

fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    let listening = reserved(address).and_then(|socket| socket.listen(limits::LISTEN_BACKLOG));
    listening.map_err(|error| cannot_listen(address, error))
}

/// Bound, and not listening: who connects is refused at once.
fn reserved(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A restart does not wait for connections of the process before.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

fn cannot_listen(address: SocketAddr, error: io::Error) -> Failure {
    let hint = "another process may hold the port, or the address is not this machine's";
    Failure::new(Exit::Io, anyhow::Error::from(error).context(format!("cannot listen on {address}: {hint}")))
}

/// What one sender may have of the byte budget: as much of it as its messages may take of the journal.
fn share_of(config: &Config) -> usize {
    let parts = config.journal.limit / config.journal.source.max(1);
    limits::IN_FLIGHT_BYTES / usize::try_from(parts).unwrap_or(usize::MAX).max(1)
}

/// Monotonic time since `origin`, for durations.
fn elapsed(origin: Instant) -> impl Fn() -> Duration {
    move || Instant::now().saturating_duration_since(origin)
}
