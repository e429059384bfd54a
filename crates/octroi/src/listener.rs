//! Sockets: accept, TLS, WebSocket, and a task for each connection. Handshakes
//! happen off the accept loop, with one time-out for all.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use crate::admission::Guest;
use crate::clock::Clock;
use crate::config::{IdentifyBy, Transport};
use crate::fail_point;
use crate::identity::credentials::Credentials;
use crate::identity::standing::Standing;
use crate::limits;
use crate::session::{self, Shared};
use crate::websocket;

/// A listener's socket: its address is the hub's from the start.
pub enum Socket {
    /// Clients come in.
    Open(TcpListener),
    /// Who connects is refused, until there is something to go by.
    Shut(TcpSocket),
}

impl Socket {
    /// Where it is bound.
    ///
    /// # Errors
    /// The system does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Open(socket) => socket.local_addr(),
            Self::Shut(socket) => socket.local_addr(),
        }
    }

    /// Waits until clients may come in; `None`: the hub stops before.
    async fn opened(self, door: &Door, stopping: &mut watch::Receiver<bool>) -> Option<TcpListener> {
        let socket = match self {
            Self::Open(socket) => return Some(socket),
            Self::Shut(socket) => socket,
        };
        let mut credentials = door.credentials.clone();
        tokio::select! {
            opened = async { credentials.wait_for(|credentials| !credentials.is_shut).await.is_ok() } => {
                if !opened {
                    return None;
                }
            }
            _ = stopping.wait_for(|stopping| *stopping) => return None,
        }
        match socket.listen(limits::LISTEN_BACKLOG) {
            Ok(socket) => Some(socket),
            Err(error) => {
                tracing::error!(%error, "a listener that was shut cannot be opened: restart the hub");
                None
            }
        }
    }
}

/// One MQTT listener.
pub struct Listener {
    /// Bound.
    pub socket: Socket,
    /// How to come in by it.
    pub door: Arc<Door>,
}

/// What stands between a listener's socket and a session.
pub struct Door {
    /// How clients say who they are.
    pub identify_by: IdentifyBy,
    /// What tells whether they are, TLS included.
    pub credentials: watch::Receiver<Arc<Credentials>>,
    /// The wall clock, for what has an end.
    pub clock: Arc<dyn Clock>,
    /// What carries MQTT within.
    pub transport: Transport,
}

/// Accepts until the hub stops; then waits for its connections to finish.
pub async fn run(listener: Listener, shared: Arc<Shared>, mut stopping: watch::Receiver<bool>) {
    let mut tasks = JoinSet::new();
    let Listener { socket: bound, door } = listener;
    let Some(bound) = bound.opened(&door, &mut stopping).await else { return };
    loop {
        let next = async {
            let stranger = shared.admission.stranger().await;
            (bound.accept().await, stranger)
        };
        let (accepted, stranger) = tokio::select! {
            next = next => next,
            _ = stopping.wait_for(|stopping| *stopping) => break,
            // Finished ones are taken away, so that the set holds live connections only.
            Some(_) = tasks.join_next() => continue,
        };
        let (socket, address) = match accepted {
            Ok((socket, address)) => (socket, address.ip()),
            Err(error) => {
                // Out of file descriptors, mostly: waiting gives some back, spinning would not.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        fail_point::reached("listener.accepted");
        let mut guest = match shared.admission.enter(address, stranger) {
            Ok(guest) => guest,
            Err(cap) => {
                shared.metrics.rejected("accept", cap.name());
                shared.admission.met(cap, address, Instant::now());
                continue;
            }
        };
        // Acks are small and wanted at once; a socket that refuses the option still works.
        socket.set_nodelay(true).ok();
        let (shared, door) = (Arc::clone(&shared), Arc::clone(&door));
        tasks.spawn(async move {
            come_in(shared, &door, socket, &mut guest).await;
        });
    }
    drop(bound);
    while tasks.join_next().await.is_some() {}
}

/// Each kind of connection is a task of its own size: what follows is on the heap, so that one over plain TCP does
/// not take what a handshake or a WebSocket would.
async fn come_in(shared: Arc<Shared>, door: &Door, socket: TcpStream, guest: &mut Guest) {
    let by = Instant::now() + limits::HANDSHAKE;
    let mut standing = Standing::new(door.identify_by.clone(), &door.credentials, Arc::clone(&door.clock));
    let Some(tls) = standing.tls() else {
        return Box::pin(speak(shared, door, (standing, guest), socket, by)).await;
    };
    let handshake = Box::pin(shared.handshakes.take(TlsAcceptor::from(tls).accept(socket)));
    let Ok(Ok(socket)) = tokio::time::timeout_at(by, handshake).await else {
        shared.metrics.rejected("accept", "tls_handshake");
        return;
    };
    standing.verified(socket.get_ref().1.peer_certificates().unwrap_or_default(), Instant::now());
    Box::pin(speak(shared, door, (standing, guest), socket, by)).await;
}

async fn speak<S>(
    shared: Arc<Shared>,
    door: &Door,
    (standing, guest): (Standing, &mut Guest),
    socket: S,
    by: Instant,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    match &door.transport {
        Transport::Tcp => session::serve(shared, (standing, guest), socket).await,
        Transport::WebSocket { origins } => {
            let most = usize::try_from(shared.limits.packet_bytes).unwrap_or(usize::MAX);
            match tokio::time::timeout_at(by, websocket::accept(socket, origins, most)).await {
                Ok(Ok(socket)) => Box::pin(session::serve(shared, (standing, guest), socket)).await,
                Ok(Err(_)) | Err(_) => shared.metrics.rejected("accept", "websocket_handshake"),
            }
        }
    }
}
