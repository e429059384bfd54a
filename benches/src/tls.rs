//! Handshakes with certificates on both sides, by the same library as the
//! hub's: with a hub, over sockets without one, and in memory, with nothing
//! around them.

use std::fs;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, Stream};

use crate::{Outcome, policy};

const PATIENCE: Duration = Duration::from_secs(10);

/// A demo PKI of the hub's own making, and what both sides go by.
#[derive(Debug)]
pub struct Pki {
    directory: PathBuf,
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    name: ServerName<'static>,
}

impl Pki {
    /// Makes it in `directory`, which must not exist.
    ///
    /// # Errors
    /// `octroi tls` fails, or its files are not what they should be.
    pub fn make(octroi: &Path, directory: &Path) -> Outcome<Self> {
        let place = directory.display().to_string();
        for arguments in [vec!["init", &place], vec!["issue", policy::SOURCE, "--dir", &place]] {
            let said = Command::new(octroi).arg("tls").args(&arguments).output()?;
            if !said.status.success() {
                let why = String::from_utf8_lossy(&said.stderr).into_owned();
                return Err(format!("`octroi tls {}`: {why}", arguments.join(" ")).into());
            }
        }
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(chain(&directory.join("ca.pem"))?);
        let roots = Arc::new(roots);
        let of_client = directory.join("clients").join(policy::SOURCE);
        let key = |path: PathBuf| PrivateKeyDer::from_pem_file(path);
        let mut client =
            ClientConfig::builder().with_root_certificates(Arc::clone(&roots)).with_client_auth_cert(
                chain(&of_client.with_extension("pem"))?,
                key(of_client.with_extension("key"))?,
            )?;
        // Each handshake is a full one.
        client.resumption = rustls::client::Resumption::disabled();
        let lists = [CertificateRevocationListDer::from_pem_file(directory.join("ca.crl"))?];
        let verifier =
            WebPkiClientVerifier::builder(roots).with_crls(lists).enforce_revocation_expiration().build()?;
        let mut server = ServerConfig::builder()
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain(&directory.join("server.pem"))?, key(directory.join("server.key"))?)?;
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        Ok(Self {
            directory: fs::canonicalize(directory)?,
            client: Arc::new(client),
            server: Arc::new(server),
            name: ServerName::try_from("localhost")?,
        })
    }

    /// The hub's `[[listener]]` at `address` that goes by it.
    pub fn listener(&self, address: SocketAddr) -> String {
        let file = |name: &str| format!("\"file:{}\"", self.directory.join(name).display());
        format!(
            "\n[[listener]]\nbind = \"{address}\"\nidentify_by = \"certificate\"\n\
             tls = {{ certificate = {}, key = {}, client_ca = {}, crl = {} }}\n",
            file("server.pem"),
            file("server.key"),
            file("ca.pem"),
            file("ca.crl")
        )
    }
}

fn chain(path: &Path) -> Outcome<Vec<CertificateDer<'static>>> {
    Ok(CertificateDer::pem_file_iter(path)?.collect::<Result<_, _>>()?)
}

/// One connection to `hub`, to the end of its handshake, and its end: the hub has checked the client by then.
///
/// # Errors
/// No handshake, or the hub's alert.
pub fn shake_hands(hub: SocketAddr, pki: &Pki) -> Outcome<()> {
    let mut socket = TcpStream::connect(hub)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut tls = ClientConnection::new(Arc::clone(&pki.client), pki.name.clone())?;
    while tls.is_handshaking() {
        tls.complete_io(&mut socket)?;
    }
    tls.send_close_notify();
    // Until the hub closes: an alert, which a refused certificate brings, is an error here.
    Stream::new(&mut tls, &mut socket).read_to_end(&mut Vec::new())?;
    Ok(())
}

/// CPU seconds of the server's half of so many handshakes, client and server in one thread.
///
/// # Errors
/// No handshake.
pub fn in_memory(pki: &Pki, handshakes: usize) -> Outcome<f64> {
    let mut spent = 0.0;
    let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
    for _ in 0..handshakes {
        let mut client = ClientConnection::new(Arc::clone(&pki.client), pki.name.clone())?;
        let began = cpu();
        let mut server = ServerConnection::new(Arc::clone(&pki.server))?;
        spent += cpu() - began;
        while client.is_handshaking() || server.is_handshaking() {
            to_server.clear();
            while client.wants_write() {
                client.write_tls(&mut to_server)?;
            }
            let (began, mut bytes) = (cpu(), to_server.as_slice());
            while !bytes.is_empty() {
                server.read_tls(&mut bytes)?;
                server.process_new_packets()?;
            }
            to_client.clear();
            while server.wants_write() {
                server.write_tls(&mut to_client)?;
            }
            spent += cpu() - began;
            let mut bytes = to_client.as_slice();
            while !bytes.is_empty() {
                client.read_tls(&mut bytes)?;
                client.process_new_packets()?;
            }
        }
        let began = cpu();
        drop(server);
        spent += cpu() - began;
    }
    Ok(spent)
}

/// CPU seconds of the server's half of so many handshakes over sockets, each as `shake_hands` has it with a hub: what
/// the kernel takes of them, without a hub.
///
/// # Errors
/// No handshake.
pub fn over_sockets(pki: &Pki, handshakes: usize) -> Outcome<f64> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let (address, server) = (listener.local_addr()?, Arc::clone(&pki.server));
    let serve = move || -> io::Result<f64> {
        let began = cpu();
        for _ in 0..handshakes {
            let (mut socket, _) = listener.accept()?;
            socket.set_nodelay(true)?;
            let mut tls = ServerConnection::new(Arc::clone(&server)).map_err(io::Error::other)?;
            while tls.is_handshaking() {
                tls.complete_io(&mut socket)?;
            }
            Stream::new(&mut tls, &mut socket).read_to_end(&mut Vec::new())?;
            tls.send_close_notify();
            tls.complete_io(&mut socket)?;
        }
        Ok(cpu() - began)
    };
    let server = thread::spawn(serve);
    for _ in 0..handshakes {
        shake_hands(address, pki)?;
    }
    Ok(server.join().map_err(|_| "the server's half panicked")??)
}

/// CPU seconds of this thread.
fn cpu() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
