//! Connections of a load: TCP or TLS, up to the CONNACK.

use std::io;
use std::path::Path;
use std::sync::Arc;

use octroi_mqtt::client::{self, AckReader};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Load, LoadError, Sender};

/// A connection that is accepted.
pub(super) enum Line {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A client's TLS: trusts `authority`, shows `pair`, a certificate and its key.
///
/// # Errors
/// A file cannot be used.
pub fn tls(authority: &Path, pair: Option<(&Path, &Path)>) -> Result<Arc<ClientConfig>, LoadError> {
    let bad = |path: &Path, error: &dyn std::fmt::Display| LoadError::Tls {
        path: path.to_owned(),
        reason: error.to_string(),
    };
    let certificates = |path: &Path| {
        let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        read.map_err(|error| bad(path, &error))
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(authority)? {
        roots.add(certificate).map_err(|error| bad(authority, &error))?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| bad(authority, &error))?
        .with_root_certificates(roots);
    let config = match pair {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| bad(key, &error))?;
            let shown = builder.with_client_auth_cert(certificates(certificate)?, secret);
            shown.map_err(|error| bad(certificate, &error))?
        }
    };
    Ok(Arc::new(config))
}

/// Connects, shakes hands, and is accepted.
pub(super) async fn connect(load: &Load, connection: usize, sender: &Sender) -> Result<Line, LoadError> {
    let failed = |source| LoadError::Connect { broker: load.broker, source };
    let socket = TcpStream::connect(load.broker).await.map_err(failed)?;
    socket.set_nodelay(true).map_err(failed)?;
    let mut line = match &load.tls {
        None => Line::Tcp(socket),
        Some((config, name)) => {
            let handshake = TlsConnector::from(Arc::clone(config)).connect(name.clone(), socket);
            Line::Tls(Box::new(handshake.await.map_err(failed)?))
        }
    };
    let accepted = match &mut line {
        Line::Tcp(socket) => greet(load, connection, sender, socket).await,
        Line::Tls(socket) => greet(load, connection, sender, socket).await,
    };
    let user = || sender.user.clone().unwrap_or_default();
    if accepted.map_err(failed)? {
        Ok(line)
    } else {
        Err(LoadError::Refused { broker: load.broker, user: user() })
    }
}

/// CONNECT, and whether it is accepted.
async fn greet<S>(load: &Load, connection: usize, sender: &Sender, socket: &mut S) -> io::Result<bool>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let id = format!("bench-{connection}");
    let hello = client::Connect {
        user_name: sender.user.as_deref(),
        password: load.password.as_deref().map(str::as_bytes),
        ..client::Connect::new(&id)
    };
    socket.write_all(&client::connect(load.version, &hello)).await?;
    let (mut acks, mut buffer) = (AckReader::default(), [0; 1024]);
    while acks.connected == 0 {
        let read = socket.read(&mut buffer).await?;
        let answer = acks.feed(buffer.get(..read).unwrap_or_default(), |_| {});
        if read == 0 || answer.is_err() || acks.disconnected > 0 {
            return Ok(false);
        }
    }
    Ok(true)
}
