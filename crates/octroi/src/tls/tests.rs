//! Handshakes in memory, against an authority of their own.

use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};

use rustls::client::Resumption;
use rustls::{ClientConfig, HandshakeKind, NamedGroup, ProtocolVersion, SupportedProtocolVersion};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, duplex};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use super::authority::{Authority, Made};
use super::*;
use crate::config::TlsConfig;

const DAY: i64 = 86_400_000_000;

/// A clock that stands where it is put.
#[derive(Debug)]
pub(crate) struct Hands(AtomicI64);

impl Hands {
    pub(crate) fn pass(&self, micros: i64) {
        self.0.fetch_add(micros, Ordering::Relaxed);
    }
}

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }
}

/// An authority, and a directory with what a listener uses of it.
pub(crate) struct Pki {
    pub(crate) clock: Arc<Hands>,
    authority: Authority,
    directory: TempDir,
}

impl Pki {
    pub(crate) fn new() -> Self {
        let clock = Arc::new(Hands(AtomicI64::new(1_800_000_000_000_000)));
        let (authority, ca) = Authority::make("test", clock.now()).unwrap();
        let pki = Self { clock, authority, directory: tempfile::tempdir().unwrap() };
        pki.write("ca.pem", &ca.certificate);
        pki.serve(&pki.server());
        pki.write("ca.crl", &pki.list(&[]));
        pki
    }

    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock) as _
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// A server's certificate, of 90 days.
    pub(crate) fn server(&self) -> Made {
        self.authority.server(&["localhost".to_owned()], 90, self.clock.now()).unwrap()
    }

    pub(crate) fn serve(&self, made: &Made) {
        self.write("server.pem", &made.certificate);
        self.write("server.key", &made.key);
    }

    /// A client's certificate, of 30 days.
    pub(crate) fn client(&self, name: &str) -> Made {
        self.authority.client(name, None, 30, self.clock.now()).unwrap()
    }

    /// A list of 60 days.
    pub(crate) fn list(&self, revoked: &[&Made]) -> String {
        let serials = revoked.iter().map(|made| authority::serial(made.certificate.as_bytes()).unwrap());
        self.authority.list(None, &serials.collect::<Vec<_>>(), 60, self.clock.now()).unwrap()
    }

    pub(crate) fn files(&self) -> TlsConfig {
        let [certificate, key, authorities, list] =
            ["server.pem", "server.key", "ca.pem", "ca.crl"].map(|name| self.path(name));
        TlsConfig { certificate, key, client_ca: Some(authorities), crl: Some(list) }
    }

    fn clients(&self) -> Result<Clients, Refusal> {
        let files = self.files();
        let list = files.crl.as_deref().map(Material::read);
        Clients::load(&Material::read(&files.client_ca.unwrap()), list.as_ref(), self.clock.now())
    }

    fn pair(&self) -> Result<Pair, Refusal> {
        let files = self.files();
        Pair::load(&Material::read(&files.certificate), &Material::read(&files.key), self.clock.now())
    }

    fn config(&self) -> Arc<ServerConfig> {
        server(&self.pair().unwrap(), Some(&self.clients().unwrap()), &self.clock()).unwrap()
    }

    /// What such a client shows, in these versions.
    pub(crate) fn connector(
        &self,
        made: &Made,
        versions: &[&'static SupportedProtocolVersion],
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.read("ca.pem").as_bytes()).unwrap()).unwrap();
        let time: Arc<dyn TimeProvider> = Arc::new(WallClock(self.clock()));
        let builder = ClientConfig::builder_with_details(Arc::new(default_provider()), time);
        let mut config = builder
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(
                chain_of(made),
                PrivateKeyDer::from_pem_slice(made.key.as_bytes()).unwrap(),
            )
            .unwrap();
        config.resumption = Resumption::in_memory_sessions(8);
        config
    }
}

pub(crate) fn chain_of(made: &Made) -> Vec<CertificateDer<'static>> {
    vec![CertificateDer::from_pem_slice(made.certificate.as_bytes()).unwrap()]
}

type Socket = tokio::io::DuplexStream;

/// A handshake; of TLS 1.3 a client learns that it was refused by its first read.
pub(crate) async fn shake_hands(
    server: Arc<ServerConfig>,
    client: &Arc<ClientConfig>,
) -> std::io::Result<(server::TlsStream<Socket>, client::TlsStream<Socket>)> {
    let (near, far) = duplex(1 << 16);
    let connector = TlsConnector::from(Arc::clone(client));
    let connected = connector.connect("localhost".try_into().unwrap(), near);
    let (accepted, connected) = tokio::join!(TlsAcceptor::from(server).accept(far), connected);
    Ok((accepted?, connected?))
}

const VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

#[test]
fn only_ecdhe_with_aead_is_offered_and_the_post_quantum_hybrid_first() {
    let config = Pki::new().config();
    let provider = config.crypto_provider();
    for suite in &provider.cipher_suites {
        let name = format!("{:?}", suite.suite());
        let forward_secret = name.starts_with("TLS13_") || name.starts_with("TLS_ECDHE_");
        assert!(forward_secret && (name.contains("_GCM_") || name.contains("CHACHA20_POLY1305")), "{name}");
    }
    let groups: Vec<NamedGroup> = provider.kx_groups.iter().map(|group| group.name()).collect();
    assert_eq!(groups.first(), Some(&NamedGroup::X25519MLKEM768), "{groups:?}");
}

#[tokio::test]
async fn a_client_of_today_gets_tls_1_3_with_the_hybrid_and_one_of_yesterday_tls_1_2() {
    let pki = Pki::new();
    let (config, made) = (pki.config(), pki.client("lns"));
    for (versions, version) in
        [(&VERSIONS[..], ProtocolVersion::TLSv1_3), (&VERSIONS[..1], ProtocolVersion::TLSv1_2)]
    {
        let connector = Arc::new(pki.connector(&made, versions));
        let (accepted, _connected) = shake_hands(Arc::clone(&config), &connector).await.unwrap();
        let connection = accepted.get_ref().1;
        assert_eq!(connection.protocol_version(), Some(version));
        let group = connection.negotiated_key_exchange_group().unwrap().name();
        // The hybrid is of TLS 1.3 alone.
        assert_eq!(group == NamedGroup::X25519MLKEM768, version == ProtocolVersion::TLSv1_3, "{group:?}");
    }
}

#[tokio::test]
async fn no_session_is_resumed_in_either_version() {
    let pki = Pki::new();
    let (config, made) = (pki.config(), pki.client("lns"));
    for version in VERSIONS {
        let connector = Arc::new(pki.connector(&made, &[version]));
        for _ in 0..3 {
            let (accepted, mut connected) = shake_hands(Arc::clone(&config), &connector).await.unwrap();
            let kind = connected.get_ref().1.handshake_kind();
            assert_eq!(kind, Some(HandshakeKind::Full), "{version:?}");
            drop(accepted);
            // Whatever came behind the handshake is read: a ticket would be kept.
            connected.read_u8().await.unwrap_err();
        }
    }
}

#[tokio::test]
async fn a_resumption_would_be_seen() {
    let pki = Pki::new();
    let mut config = ServerConfig::clone(&pki.config());
    config.send_tls13_tickets = 2;
    config.session_storage = rustls::server::ServerSessionMemoryCache::new(8);
    let (config, connector) = (Arc::new(config), Arc::new(pki.connector(&pki.client("lns"), &VERSIONS)));
    let mut kinds = Vec::new();
    for _ in 0..2 {
        let (accepted, mut connected) = shake_hands(Arc::clone(&config), &connector).await.unwrap();
        kinds.push(connected.get_ref().1.handshake_kind());
        drop(accepted);
        connected.read_u8().await.unwrap_err();
    }
    assert_eq!(kinds, [Some(HandshakeKind::Full), Some(HandshakeKind::Resumed)]);
}

/// The same verdict at a handshake and of whoever is connected, but for a list that has expired.
#[tokio::test]
async fn who_is_connected_is_judged_as_a_new_handshake_would_be() {
    let pki = Pki::new();
    let (good, bad) = (pki.client("good"), pki.client("bad"));
    let (foreign, stranger) = (Pki::new(), Pki::new().client("good"));
    let judge = async |clients: &Clients, made: &Made| {
        let config = server(&pki.pair().unwrap(), Some(clients), &pki.clock()).unwrap();
        let connector = Arc::new(pki.connector(made, &VERSIONS));
        let handshake = shake_hands(config, &connector).await.is_ok();
        (clients.judge(&chain_of(made), pki.clock.now()), handshake)
    };
    let clients = pki.clients().unwrap();
    assert_eq!(judge(&clients, &bad).await, (Ok(()), true));
    assert_eq!(judge(&clients, &stranger).await, (Err(Fault::Untrusted), false));
    assert_eq!(clients.judge(&[], pki.clock.now()), Err(Fault::Untrusted));

    pki.write("ca.crl", &pki.list(&[&bad]));
    let clients = pki.clients().unwrap();
    assert_eq!(judge(&clients, &good).await, (Ok(()), true));
    assert_eq!(judge(&clients, &bad).await, (Err(Fault::Revoked), false));

    let ca = pki.read("ca.pem");
    pki.write("ca.pem", &foreign.read("ca.pem"));
    pki.write("ca.crl", &foreign.list(&[]));
    let others = pki.clients().unwrap();
    assert_eq!(others.judge(&chain_of(&good), pki.clock.now()), Err(Fault::Untrusted), "its authority left");
    pki.write("ca.pem", &(ca + &foreign.read("ca.pem")));
    pki.write("ca.crl", &(pki.list(&[]) + &foreign.list(&[])));
    assert_eq!(judge(&pki.clients().unwrap(), &good).await, (Ok(()), true), "a bundle of old and new");

    pki.clock.pass(31 * DAY);
    assert_eq!(judge(&clients, &good).await, (Err(Fault::Expired), false));
    let young = pki.client("young");
    assert_eq!(judge(&clients, &young).await, (Ok(()), true));
    pki.clock.pass(29 * DAY + 1_000_000);
    assert_eq!(judge(&clients, &young).await, (Ok(()), false), "the list has expired");
}

#[test]
fn what_is_broken_expired_or_does_not_fit_is_refused_and_says_where() {
    let pki = Pki::new();
    let said = |refusal: Option<Refusal>, what: &str| {
        let refusal = refusal.unwrap_or_else(|| panic!("taken: {what}"));
        assert!(refusal.what.en.contains(what), "{refusal}");
        assert!(!refusal.mend.fr.is_empty() && refusal.what.en != refusal.what.fr);
    };
    let [pem, key, ca, list] = ["server.pem", "server.key", "ca.pem", "ca.crl"].map(|name| pki.read(name));

    pki.write("server.key", &pki.server().key);
    said(pki.pair().err(), "server.key` is not the key of the certificate in");
    pki.write("server.key", "");
    said(pki.pair().err(), "server.key` holds no usable private key");
    pki.write("server.key", &key);
    pki.write("server.pem", pem.get(..pem.len() / 2).unwrap());
    said(pki.pair().err(), "server.pem` holds no usable certificate");
    pki.write("server.pem", &pem);
    assert_eq!(pki.pair().unwrap().end.unwrap().at, Timestamp(pki.clock.now().0 + 90 * DAY));

    pki.write("ca.crl", list.get(..list.len() / 2).unwrap());
    said(pki.clients().err(), "ca.crl` holds no usable revocation list");
    // Of an authority of the same name.
    pki.write("ca.crl", &Pki::new().list(&[]));
    said(pki.clients().err(), "`CN=test` has not signed it");
    std::fs::remove_file(pki.path("ca.crl")).unwrap();
    said(pki.clients().err(), "ca.crl` cannot be read");
    pki.write("ca.crl", &list);
    pki.write("ca.pem", &pem.replace("CERTIFICATE", "OTHER"));
    said(pki.clients().err(), "ca.pem` holds no usable certificate authority");
    pki.write("ca.pem", &ca);
    assert_eq!(pki.clients().unwrap().end.unwrap().at, Timestamp(pki.clock.now().0 + 60 * DAY));

    pki.clock.pass(60 * DAY + 1);
    said(pki.clients().err(), "the revocation list of `CN=test`");
    pki.clock.pass(30 * DAY);
    said(pki.pair().err(), "the certificate of `CN=localhost`");
    pki.clock.pass(-91 * DAY);
    said(pki.pair().err(), "is not valid before");
}
