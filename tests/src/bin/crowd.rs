//! Thousands of clients with TLS certificates, in a process of their own: each
//! connects, says CONNECT, stays, pings, and connects again when it is closed.
//!
//!   crowd HUB CLIENTS CA CERTIFICATE KEY
//!
//! HUB is `address:port` of a listener for `localhost`; the others are PEM
//! files. Prints `connected N, closed M, refused K` whenever that has changed:
//! how many are connected, and how often a connection ended, or did not come
//! about, since the start. Runs until it is killed.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use octroi_tests::load::Version;
use octroi_tests::load::wire::{PINGREQ, connect};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// The clients' keep-alive is 60 s.
const PING_EVERY: Duration = Duration::from_secs(40);
/// Whoever is turned away waits for a moment, as real clients do.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

#[derive(Default)]
struct Counts {
    connected: AtomicU64,
    closed: AtomicU64,
    refused: AtomicU64,
}

fn tls(ca: &Path, certificate: &Path, key: &Path) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    let authorities = CertificateDer::pem_file_iter(ca).expect("the authority's file is PEM");
    roots.add_parsable_certificates(authorities.map(|authority| authority.expect("a certificate")));
    let chain = CertificateDer::pem_file_iter(certificate).expect("the certificate's file is PEM");
    let chain = chain.map(|certificate| certificate.expect("a certificate")).collect();
    let key = PrivateKeyDer::from_pem_file(key).expect("the key's file is PEM");
    let builder = ClientConfig::builder().with_root_certificates(roots);
    builder.with_client_auth_cert(chain, key).expect("certificate and key fit")
}

/// One connection, to its end; whether it came about.
async fn stay(hub: SocketAddr, tls: &TlsConnector, client: &str, counts: &Counts) -> std::io::Result<bool> {
    let socket = TcpStream::connect(hub).await?;
    let name = ServerName::try_from("localhost").expect("a name");
    let mut socket = tls.connect(name, socket).await?;
    socket.write_all(&connect(Version::V5, client, "")).await?;
    let mut answer = [0; 256];
    let read = socket.read(&mut answer).await?;
    if read < 4 || answer[0] != 0x20 || answer[3] != 0 {
        return Ok(false);
    }
    counts.connected.fetch_add(1, Ordering::Relaxed);
    let ended = async {
        loop {
            match tokio::time::timeout(PING_EVERY, socket.read(&mut answer)).await {
                Ok(Ok(1..)) => {}
                Ok(Ok(0) | Err(_)) => return,
                Err(_) if socket.write_all(&PINGREQ).await.is_err() => return,
                Err(_) => {}
            }
        }
    };
    ended.await;
    counts.connected.fetch_sub(1, Ordering::Relaxed);
    counts.closed.fetch_add(1, Ordering::Relaxed);
    Ok(true)
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [hub, clients, ca, certificate, key] = arguments.as_slice() else {
        panic!("crowd HUB CLIENTS CA CERTIFICATE KEY");
    };
    let hub: SocketAddr = hub.parse().expect("an address");
    let clients: u64 = clients.parse().expect("a number of clients");
    let tls = TlsConnector::from(Arc::new(tls(Path::new(ca), Path::new(certificate), Path::new(key))));
    let counts = Arc::<Counts>::default();
    for number in 0..clients {
        let (tls, counts) = (tls.clone(), Arc::clone(&counts));
        tokio::spawn(async move {
            let client = format!("crowd-{number}");
            loop {
                if !stay(hub, &tls, &client, &counts).await.unwrap_or(false) {
                    counts.refused.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(AGAIN_AFTER).await;
                }
            }
        });
    }
    let mut said = String::new();
    loop {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let [connected, closed, refused] = [&counts.connected, &counts.closed, &counts.refused].map(count);
        let line = format!("connected {connected}, closed {closed}, refused {refused}");
        if line != said {
            println!("{line}");
            said = line;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
