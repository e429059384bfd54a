//! Where a client connects, over TCP or TLS, and what it shows there. Its TLS is
//! rustls as any client uses it; nothing of the hub's.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// The other end.
#[derive(Clone, Debug)]
pub struct Peer {
    address: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
}

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Self {
        Self { address, tls: None }
    }
}

impl Peer {
    /// Over TLS, trusting `ca`, with a certificate and its key to show, or none.
    pub fn tls(address: SocketAddr, ca: &Path, shows: Option<(&Path, &Path)>) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(ca).expect("an authority")).expect("it is one");
        let builder = ClientConfig::builder().with_root_certificates(roots);
        let config = match shows {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = vec![CertificateDer::from_pem_file(certificate).expect("a certificate")];
                let key = PrivateKeyDer::from_pem_file(key).expect("its key");
                builder.with_client_auth_cert(chain, key).expect("they fit")
            }
        };
        Self { address, tls: Some(Arc::new(config)) }
    }

    /// Connects and, over TLS, shakes hands.
    pub fn connect(&self) -> io::Result<Stream> {
        let mut socket = TcpStream::connect_timeout(&self.address, Duration::from_secs(5))?;
        socket.set_nodelay(true)?;
        socket.set_write_timeout(Some(Duration::from_secs(60)))?;
        socket.set_read_timeout(Some(Duration::from_secs(10)))?;
        let Some(tls) = &self.tls else { return Ok(Stream::Tcp(socket)) };
        let name = "localhost".try_into().expect("a name");
        let mut connection = ClientConnection::new(Arc::clone(tls), name).map_err(io::Error::other)?;
        connection.complete_io(&mut socket)?;
        Ok(Stream::Tls(Box::new(StreamOwned::new(connection, socket))))
    }
}

/// A connection.
#[derive(Debug)]
pub enum Stream {
    Tcp(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Stream {
    pub fn set_read_timeout(&self, wait: Duration) -> io::Result<()> {
        let socket = match self {
            Self::Tcp(socket) => socket,
            Self::Tls(stream) => &stream.sock,
        };
        socket.set_read_timeout(Some(wait))
    }

    /// The certificate that the server showed, DER.
    pub fn shown(&self) -> Option<Vec<u8>> {
        let Self::Tls(stream) = self else { return None };
        Some(stream.conn.peer_certificates()?.first()?.to_vec())
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.read(into),
            Self::Tls(stream) => stream.read(into),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}
