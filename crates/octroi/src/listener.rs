//! Sockets: accept, TLS, WebSocket, and a task for each connection. Handshakes
//! happen on threads of their own (`handshakes.rs`), with one time-out for all.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use crate::clock::Clock;
use crate::config::{IdentifyBy, Transport};
use crate::duplex::Duplex;
use crate::fail_point;
use crate::handshakes::Handshakes;
use crate::identity::credentials::Credentials;
use crate::identity::standing::Standing;
use crate::limits;
use crate::session::{self, Shared, Visitor};
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

/// Accepts until the hub stops; then waits for its sessions to finish. Handshakes run on threads of their own.
pub async fn run(listener: Listener, shared: Arc<Shared>, handshakes: Handshakes) {
    let mut stopping = shared.stopping.clone();
    let (mut arriving, mut sessions) = (JoinSet::new(), JoinSet::new());
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
            Some(arrived) = arriving.join_next() => {
                if let Ok(Some((visitor, socket))) = arrived {
                    sessions.spawn(session::serve(Arc::clone(&shared), visitor, socket));
                }
                continue;
            }
            // Finished ones are taken away, so that the set holds live connections only.
            Some(_) = sessions.join_next() => continue,
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
        let guest = match shared.admission.enter(address, stranger) {
            Ok(guest) => guest,
            Err(cap) => {
                shared.metrics.rejected("accept", cap.name());
                shared.admission.met(cap, address, Instant::now());
                continue;
            }
        };
        // Acks are small and wanted at once; a socket that refuses the option still works.
        socket.set_nodelay(true).ok();
        let mut standing =
            Standing::new(door.identify_by.clone(), &door.credentials, Arc::clone(&door.clock));
        let tls = standing.tls();
        let visitor = Box::new(Visitor { standing, guest });
        if tls.is_none() && door.transport == Transport::Tcp {
            sessions.spawn(session::serve(Arc::clone(&shared), visitor, Box::new(socket)));
        } else {
            let arrival = shake_hands(Arc::clone(&shared), Arc::clone(&door), tls, visitor, socket);
            handshakes.spawn(&mut arriving, arrival);
        }
        // Thousands may wait in the kernel's queue, and others for this thread.
        tokio::task::yield_now().await;
    }
    drop(bound);
    // Who has not come in by now does not.
    drop(arriving);
    while sessions.join_next().await.is_some() {}
}

/// The handshakes of TLS and of WebSocket, as the door asks for them. `None`: one of them failed.
async fn shake_hands(
    shared: Arc<Shared>,
    door: Arc<Door>,
    tls: Option<Arc<ServerConfig>>,
    mut visitor: Box<Visitor>,
    socket: TcpStream,
) -> Option<(Box<Visitor>, Box<dyn Duplex>)> {
    let by = Instant::now() + limits::HANDSHAKE;
    let socket: Box<dyn Duplex> = match tls {
        None => Box::new(socket),
        Some(tls) => {
            let handshake = TlsAcceptor::from(tls).accept(socket);
            let Ok(Ok(socket)) = tokio::time::timeout_at(by, handshake).await else {
                shared.metrics.rejected("accept", "tls_handshake");
                return None;
            };
            visitor
                .standing
                .verified(socket.get_ref().1.peer_certificates().unwrap_or_default(), Instant::now());
            Box::new(socket)
        }
    };
    let Transport::WebSocket { origins } = &door.transport else { return Some((visitor, socket)) };
    let most = usize::try_from(shared.limits.packet_bytes).unwrap_or(usize::MAX);
    match tokio::time::timeout_at(by, websocket::accept(socket, origins, most)).await {
        Ok(Ok(socket)) => Some((visitor, Box::new(socket))),
        Ok(Err(_)) | Err(_) => {
            shared.metrics.rejected("accept", "websocket_handshake");
            None
        }
    }
}
