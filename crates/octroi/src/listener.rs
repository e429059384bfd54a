//! Sockets: accept, TLS, and a task for each connection. Handshakes happen off
//! the accept loop, with a time-out.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::fail_point;
use crate::identity::Identify;
use crate::limits;
use crate::session::{self, Shared};
use crate::sessions::Connections;
use crate::tls;

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// One MQTT listener.
pub struct Listener {
    /// Bound.
    pub socket: TcpListener,
    /// Who clients are.
    pub identify: Identify,
    /// TLS, if the listener has it.
    pub tls: Option<Arc<rustls::ServerConfig>>,
}

/// Accepts until the hub stops; then waits for its connections to finish.
pub async fn run(
    listener: Listener,
    shared: Arc<Shared>,
    connections: Connections,
    mut stopping: watch::Receiver<bool>,
) {
    let mut tasks = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.socket.accept() => accepted,
            _ = stopping.wait_for(|stopping| *stopping) => break,
            // Finished ones are taken away, so that the set holds live connections only.
            Some(_) = tasks.join_next() => continue,
        };
        let socket = match accepted {
            Ok((socket, _)) => socket,
            Err(error) => {
                // Out of file descriptors, mostly: waiting gives some back, spinning would not.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        fail_point::reached("listener.accepted");
        let Some(place) = connections.take(limits::CONNECTIONS) else {
            shared.metrics.rejected("accept", "too_many_connections");
            continue;
        };
        // Acks are small and wanted at once; a socket that refuses the option still works.
        socket.set_nodelay(true).ok();
        let (shared, identify) = (Arc::clone(&shared), listener.identify.clone());
        let tls = listener.tls.clone();
        tasks.spawn(async move {
            match tls {
                None => session::serve(shared, identify, Vec::new(), socket).await,
                Some(tls) => secured(shared, identify, tls, socket).await,
            }
            drop(place);
        });
    }
    drop(listener);
    while tasks.join_next().await.is_some() {}
}

async fn secured(shared: Arc<Shared>, identify: Identify, tls: Arc<rustls::ServerConfig>, socket: TcpStream) {
    let handshake = tokio::time::timeout(HANDSHAKE, TlsAcceptor::from(tls).accept(socket)).await;
    let Ok(Ok(socket)) = handshake else {
        shared.metrics.rejected("accept", "tls_handshake");
        return;
    };
    let certificate = socket.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let certificate = certificate.map(tls::identities).unwrap_or_default();
    session::serve(shared, identify, certificate, socket).await;
}
