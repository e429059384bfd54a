//! Identities that can be rotated and revoked while the hub runs: certificates
//! made by `octroi tls` and by openssl, passwords, TCP and WebSocket.

use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use argon2::password_hash::{PasswordHasher, SaltString};
use octroi_tests::golden::{lines_match, words};
use octroi_tests::hub::{Hub, cli_command};
use octroi_tests::load::wire::{self, Answer, Wire};
use octroi_tests::load::{Load, Plan, Qos, Version};
use octroi_tests::peer::Peer;
use octroi_tests::process::{Finished, Process, free_port, run, wait_until};
use octroi_tests::{needs, policy, report, root};
use tungstenite::Message;
use tungstenite::client::IntoClientRequest;

/// Who publishes the counts, by certificate and by password.
pub(crate) const NAME: &str = "mobilite.rennes.example";
pub(crate) const USER: &str = "ville-mobilite";
/// Another source of the policy, by certificate.
const OTHER: &str = "lns.redon.example";
/// The source that publishes the counts, once more.
const SOURCE: &str = r#"[[source]]
id = "ville-mobilite-cert"
identity = "cert:CN=%NAME%"
producer = "243500139"
format = "json"
topics = ["ville/mobilite/#"]
domains = ["mobility"]
commune = "35238"
perimeter = "metropole-rennes"
"#;
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// How clients come in.
#[derive(Clone, Copy)]
enum By {
    Certificate,
    Password,
}

/// A hub with listeners over TLS, and the authority beside it.
pub(crate) struct Site {
    pub(crate) hub: Hub,
    pub(crate) pki: PathBuf,
    /// By certificate, by password; the same over WebSocket.
    ports: [u16; 4],
}

impl Site {
    pub(crate) fn start() -> Self {
        let ports = [(); 4].map(|()| free_port());
        let [certificate, password, ws_certificate, ws_password] = ports;
        let tls = "tls = { certificate = \"file:pki/server.pem\", key = \"file:pki/server.key\"";
        let mutual = format!(
            "identify_by = \"certificate\"\n{tls}, client_ca = \"file:pki/ca.pem\", crl = \"file:pki/ca.crl\" }}"
        );
        let secret = format!("identify_by = \"password\"\npasswords = \"file:passwords\"\n{tls} }}");
        let web = "transport = \"websocket\"\n";
        let listeners = [
            (certificate, "", &mutual),
            (password, "", &secret),
            (ws_certificate, web, &mutual),
            (ws_password, web, &secret),
        ];
        let listeners = listeners
            .map(|(port, web, rest)| format!("[[listener]]\nbind = \"127.0.0.1:{port}\"\n{web}{rest}\n"));
        let mut hub = Hub::prepared(&[], &listeners.concat());
        policy::edit(&hub.policy(), "\"user:redon-lora\"", &format!("\"cert:CN={OTHER}\""));
        // The same gateway, by certificate.
        let source = "[[source]]\nid = \"ville-mobilite\"\n";
        policy::edit(&hub.policy(), source, &format!("{}\n{source}", SOURCE.replace("%NAME%", NAME)));
        let pki = hub.path("pki");
        octroi(&["tls", "init", path(&pki)]);
        fs::write(hub.path("passwords"), password_file(&[(USER, "first")])).unwrap();
        hub.run();
        let site = Self { hub, pki, ports };
        site.issue(NAME);
        site.issue(OTHER);
        site
    }

    pub(crate) fn address(&self, listener: usize) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports[listener]).into()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.pki.join(name)
    }

    fn issue(&self, name: &str) {
        octroi(&["tls", "issue", name, "--dir", path(&self.pki)]);
    }

    pub(crate) fn revoke(&self, name: &str) {
        octroi(&["tls", "revoke", name, "--dir", path(&self.pki)]);
    }

    /// Somebody with that certificate.
    pub(crate) fn peer(&self, name: &str) -> Peer {
        let [certificate, key] = ["pem", "key"].map(|kind| self.file(&format!("clients/{name}.{kind}")));
        Peer::tls(self.address(0), &self.file("ca.pem"), Some((&certificate, &key)))
    }

    /// How the parts of the first listener stand.
    pub(crate) fn state(&self, part: &str) -> (String, String) {
        let status = self.hub.cli_json(&["status"]);
        let listener = self.address(0).to_string();
        let all = status["credentials"].as_array().expect("a list").clone();
        let one = all.into_iter().find(|one| one["listener"] == *listener && one["part"] == *part);
        let one = one.expect("the listener's part is shown");
        let text = |value: &serde_json::Value| value.as_str().expect("text").to_owned();
        (text(&one["state"]), text(&one["reason"]["en"]))
    }
}

/// A verb of the command line, which must succeed; what it printed.
#[track_caller]
fn octroi(arguments: &[&str]) -> String {
    let finished = run(&mut cli_command(arguments), SOON).unwrap();
    assert_eq!(finished.code, 0, "octroi {arguments:?}: {}{}", finished.out, finished.err);
    finished.out
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a temporary directory is text")
}

/// Puts a file there whole, as `mv` does.
pub(crate) fn replace(at: &Path, text: &str) {
    let aside = at.with_extension("new");
    fs::write(&aside, text).unwrap();
    fs::rename(aside, at).unwrap();
}

fn password_file(of: &[(&str, &str)]) -> String {
    let salt = SaltString::encode_b64(b"of the test only").unwrap();
    let hash = |password: &str| {
        argon2::Argon2::default().hash_password(password.as_bytes(), &salt).unwrap().to_string()
    };
    of.iter().map(|(user, password)| format!("{user}:{}\n", hash(password))).collect()
}

pub(crate) fn count(id: u64) -> Vec<u8> {
    policy::COUNTS.payload.replace("%ID%", &id.to_string()).replace("%N%", "7").into_bytes()
}

pub(crate) const TOPIC: &str = "ville/mobilite/compteur-7/count";

/// Publishes a count and waits for its acknowledgement.
#[track_caller]
pub(crate) fn publish(wire: &mut Wire, id: u64) {
    let mut packet = Vec::new();
    wire::publish((wire.version(), Qos::AtLeastOnce), 7, false, TOPIC, &count(id), &mut packet);
    wire.send(&packet).unwrap();
    assert_eq!(wire.answer(SOON).unwrap(), Some(Answer::Ack { packet: 7, reason: 0 }));
}

/// `openssl s_client` with a client's certificate, for the second that a ticket may take to come; what it said.
fn s_client(site: &Site, at: SocketAddr, name: &str, more: &[&str]) -> Option<Finished> {
    let tool = needs::tool("openssl", "openssl")?;
    let mut command = Command::new("sh");
    command.args(["-c", "sleep 1 | \"$@\"", "sh", path(&tool)]);
    let [certificate, key] = ["pem", "key"].map(|kind| site.file(&format!("clients/{name}.{kind}")));
    command.args(["s_client", "-connect", &at.to_string(), "-CAfile", path(&site.file("ca.pem"))]);
    command.args(["-cert", path(&certificate), "-key", path(&key), "-verify_return_error"]).args(more);
    Some(run(&mut command, SOON).unwrap())
}

/// `openssl s_server` with the site's certificate: a server that gives tickets.
fn s_server(site: &Site) -> Option<(Process, SocketAddr)> {
    let (tool, port) = (needs::tool("openssl", "openssl")?, free_port());
    let [certificate, key, ca] = ["server.pem", "server.key", "ca.pem"].map(|name| site.file(name));
    let files = ["-cert", path(&certificate), "-key", path(&key), "-CAfile", path(&ca)];
    let mut arguments = vec!["s_server".to_owned(), "-accept".to_owned(), port.to_string()];
    arguments.extend(files.into_iter().chain(["-Verify", "1", "-quiet"]).map(str::to_owned));
    let process = Process::start(&tool, &arguments, &site.pki, &site.hub.path("s_server.log")).unwrap();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    wait_until("openssl listens", SOON, || TcpStream::connect(address).is_ok());
    Some((process, address))
}

#[test]
fn a_revoked_client_is_closed_and_turned_away_within_seconds_with_its_ticket_too() {
    let _machine = needs::exclusive();
    let site = Site::start();
    // Another server with the same certificate gives tickets; this one gives none, and takes none.
    let Some((_giver, giver)) = s_server(&site) else { return };
    let tickets = ["-tls1_2", "-tls1_3"].map(|version| (version, site.hub.path(&format!("ticket{version}"))));
    for (version, ticket) in &tickets {
        let saved = |at| {
            let said = s_client(&site, at, NAME, &[version, "-sess_out", path(ticket)]).unwrap();
            assert!(said.out.contains("New, TLSv1"), "{version}: {}{}", said.out, said.err);
            ticket.exists()
        };
        assert!(!saved(site.address(0)), "{version}: nothing to save");
        assert!(saved(giver), "{version}: it would have been saved");
        let reused = |at| {
            let said = s_client(&site, at, NAME, &[version, "-sess_in", path(ticket)]).unwrap();
            said.out.contains("Reused, TLSv1")
        };
        assert!(reused(giver) && !reused(site.address(0)), "{version}");
    }
    let mut five = Wire::connect(site.peer(NAME), Version::V5, "five", "").unwrap();
    let mut three = Wire::connect(site.peer(NAME), Version::V311, "three", "").unwrap();
    let mut other = Wire::connect(site.peer(OTHER), Version::V5, "other", "").unwrap();
    publish(&mut five, 770_000_000_000_000);

    let began = Instant::now();
    site.revoke(NAME);
    let farewell = five.farewell(SOON).unwrap();
    let closed = began.elapsed();
    let (code, why) = farewell.expect("a DISCONNECT");
    assert!(code == 0x87 && why.contains("your certificate is revoked"), "{code:#04x} {why}");
    assert!(three.answer(SOON).is_err(), "a client of 3.1.1 is closed");
    let closed_too = began.elapsed();
    let refused = || Wire::connect(site.peer(NAME), Version::V5, "again", "").is_err();
    wait_until("new handshakes are refused", SOON, refused);
    let turned_away = began.elapsed();
    report::table(
        "a certificate is revoked",
        &[
            ("session of MQTT 5 closed", format!("{closed:?}")),
            ("session of MQTT 3.1.1 closed", format!("{closed_too:?}")),
            ("new handshake refused", format!("{turned_away:?}")),
        ],
    );
    assert!(turned_away < Duration::from_secs(5) && closed_too < Duration::from_secs(60));
    for (version, ticket) in &tickets {
        let said = s_client(&site, site.address(0), NAME, &[version, "-sess_in", path(ticket)]).unwrap();
        let said = format!("{}{}", said.out, said.err);
        assert!(said.contains("certificate revoked") && !said.contains("Reused"), "{version}: {said}");
    }
    assert_eq!(other.answer(Duration::from_millis(500)).unwrap(), None, "nobody else is concerned");
    assert!(Wire::connect(site.peer(OTHER), Version::V5, "other-2", "").is_ok());
    let rejected = site.hub.metrics();
    let reason = ["stage=\"connection\"", "reason=\"hub_not_authorized\""];
    assert_eq!(rejected.sum("octroi_rejected_total", &reason), 2.0);
}

#[test]
fn rotations_under_load_drop_no_session_and_no_message() {
    let _machine = needs::exclusive();
    let site = Site::start();
    let plan = Plan { version: Version::V5, connections: 4, window: 50, rate: Some(100), messages: None };
    let load = Load::start(site.peer(NAME), &[policy::COUNTS], plan, 3);
    wait_until("the load runs", SOON, || load.acknowledged() > 100);
    let mut rows = Vec::new();
    let mut rotate = |what: &'static str, site: &Site, files: &[(&str, String)]| {
        let (began, so_far) = (Instant::now(), load.acknowledged());
        for (name, text) in files {
            replace(&site.file(name), text);
        }
        // Twice as long as two looks take.
        std::thread::sleep(Duration::from_secs(2));
        wait_until("the load goes on", SOON, || load.acknowledged() > so_far + 400);
        rows.push((what, format!("{} acknowledged in {:?}", load.acknowledged() - so_far, began.elapsed())));
    };
    let read = |name: &str| fs::read_to_string(site.file(name)).unwrap();

    octroi(&["tls", "issue", "next", "--host", "localhost", "--dir", path(&site.pki)]);
    rotate(
        "the server's certificate",
        &site,
        &[("server.key", read("next.key")), ("server.pem", read("next.pem"))],
    );
    let shown = site.peer(OTHER).connect().unwrap().shown().expect("a certificate");
    let next = fs::read(site.file("next.pem")).unwrap();
    assert_eq!(shown, der(&next), "new clients see the new certificate");

    let successor = site.hub.path("successor");
    octroi(&["tls", "init", path(&successor)]);
    let [ca, list] = ["ca.pem", "ca.crl"].map(|name| fs::read_to_string(successor.join(name)).unwrap());
    let bundle = [("ca.crl", read("ca.crl") + &list), ("ca.pem", read("ca.pem") + &ca)];
    rotate("the authority, to old and new", &site, &bundle);

    site.revoke(OTHER);
    let revoked = read("ca.crl");
    rotate("a list that names somebody else", &site, &[("ca.crl", revoked + &list)]);
    assert!(Wire::connect(site.peer(OTHER), Version::V5, "other", "").is_err(), "it was taken up");

    let outcome = load.stop(SOON);
    let published = outcome.messages().count() as u64;
    rows.push(("published", published.to_string()));
    rows.push(("sessions dropped", outcome.reconnects.to_string()));
    rows.push(("not acknowledged", (published - outcome.acknowledged()).to_string()));
    report::table("rotations under load, 4 connections, 400 messages a second", &rows);
    assert_eq!((outcome.reconnects, outcome.disordered_acks, published), (0, 0, outcome.acknowledged()));
    site.hub.drained(Duration::from_secs(60));
    let mut sent: Vec<u64> = outcome.messages().map(|sent| sent.id).collect();
    let mut found: Vec<u64> =
        site.hub.archive("dc-rennes").iter().filter_map(|record| record.message()).collect();
    sent.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, sent);
}

/// The first PEM block, decoded.
fn der(pem: &[u8]) -> Vec<u8> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    CertificateDer::from_pem_slice(pem).unwrap().to_vec()
}

#[test]
fn what_cannot_be_used_is_said_once_and_the_old_stays_in_force() {
    let _machine = needs::exclusive();
    let site = Site::start();
    let mut wire = Wire::connect(site.peer(NAME), Version::V5, "c", "").unwrap();
    let key = fs::read_to_string(site.file("server.key")).unwrap();
    octroi(&["tls", "issue", "next", "--host", "localhost", "--dir", path(&site.pki)]);
    fs::copy(site.file("next.key"), site.file("server.key")).unwrap();
    let list = fs::read_to_string(site.file("ca.crl")).unwrap();
    fs::write(site.file("ca.crl"), &list[..list.len() / 2]).unwrap();
    for (part, why) in
        [("certificate", "is not the key of the certificate"), ("client_ca", "ca.crl` holds no usable")]
    {
        wait_until("the refusal is shown", SOON, || site.state(part).0 == "refused");
        let (_, reason) = site.state(part);
        assert!(reason.contains(why) && reason.contains("stays in force"), "{reason}");
    }
    publish(&mut wire, 770_000_000_000_001);
    assert!(Wire::connect(site.peer(OTHER), Version::V5, "other", "").is_ok());
    let scrape = site.hub.metrics();
    let listener = format!("listener=\"{}\"", site.address(0));
    assert_eq!(scrape.sum("octroi_credentials_refused", &[&listener]), 2.0);
    assert!(scrape.sum("octroi_credentials_valid_until_timestamp_seconds", &[&listener]) > 3e9);
    let said = site.hub.log().matches("is not the key of").count();
    // Two listeners by certificate and two by password use the pair.
    assert_eq!(said, 4, "{}", site.hub.log());

    replace(&site.file("server.key"), &key);
    replace(&site.file("ca.crl"), &list);
    site.revoke(NAME);
    for part in ["certificate", "client_ca"] {
        wait_until("it is mended", SOON, || site.state(part).0 == "in_force");
    }
    assert!(wire.farewell(SOON).unwrap().is_some_and(|(code, _)| code == 0x87));
}

#[test]
fn a_hub_does_not_start_with_what_cannot_be_used() {
    let mut site = Site::start();
    site.hub.terminate();
    octroi(&["tls", "issue", "next", "--host", "localhost", "--dir", path(&site.pki)]);
    fs::copy(site.file("next.key"), site.file("server.key")).unwrap();
    for arguments in [&["run"][..], &["config", "check"]] {
        let finished = site.hub.cli(arguments);
        assert_eq!(finished.code, 78, "{arguments:?}: {}{}", finished.out, finished.err);
        assert!(finished.err.contains("is not the key of the certificate in"), "{}", finished.err);
    }
}

#[test]
fn a_password_that_is_changed_ends_its_session_and_opens_nothing_any_more() {
    let _machine = needs::exclusive();
    let site = Site::start();
    let peer = Peer::tls(site.address(1), &site.file("ca.pem"), None);
    let connect = |client: &str, password: &str| {
        Wire::open(
            peer.clone(),
            Version::V5,
            &wire::connect_with_password(Version::V5, client, USER, password),
        )
    };
    let mut wire = connect("c", "first").unwrap();
    publish(&mut wire, 770_000_000_000_002);
    assert!(connect("d", "second").is_err());
    replace(&site.hub.path("passwords"), &password_file(&[("another", "x"), (USER, "second")]));
    let began = Instant::now();
    let (code, why) = wire.farewell(SOON).unwrap().expect("a DISCONNECT");
    report::table("a password is changed", &[("session closed", format!("{:?}", began.elapsed()))]);
    assert!(code == 0x87 && why.contains("your password was changed"), "{code:#04x} {why}");
    assert!(connect("c", "first").is_err());
    assert!(connect("c", "second").is_ok());
}

#[test]
fn clients_come_in_over_websocket_with_tls_by_certificate_and_by_password() {
    let _machine = needs::exclusive();
    let site = Site::start();
    let [pem, key] = ["pem", "key"].map(|kind| site.file(&format!("clients/{NAME}.{kind}")));
    let ca = site.file("ca.pem");
    for (by, peer) in [
        (By::Certificate, Peer::tls(site.address(2), &ca, Some((&pem, &key)))),
        (By::Password, Peer::tls(site.address(3), &ca, None)),
    ] {
        let mut request = "wss://localhost/mqtt".into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", "mqtt".parse().unwrap());
        let (mut socket, _) = tungstenite::client(request, peer.connect().unwrap()).unwrap();
        let (mut packets, id) = match by {
            By::Certificate => (wire::connect(Version::V5, "web", ""), 770_000_000_000_003),
            By::Password => {
                (wire::connect_with_password(Version::V5, "web", USER, "first"), 770_000_000_000_004)
            }
        };
        wire::publish((Version::V5, Qos::AtLeastOnce), 9, false, TOPIC, &count(id), &mut packets);
        socket.send(Message::binary(packets)).unwrap();
        let mut read = Vec::new();
        while !read.ends_with(&[0x40, 2, 0, 9]) {
            read.extend(socket.read().unwrap().into_data());
        }
        assert_eq!((read[0], read[3]), (0x20, 0), "a CONNACK first: {read:02x?}");
        if matches!(by, By::Certificate) {
            site.revoke(NAME);
            let farewell = socket.read().unwrap().into_data();
            assert_eq!((farewell[0], farewell[2]), (0xE0, 0x87), "{farewell:02x?}");
        }
    }
    // By password nobody shows a certificate; by certificate nobody comes in without.
    let bare = Peer::tls(site.address(2), &ca, None);
    let mut stream = bare.connect().unwrap();
    assert!(
        stream.write_all(b"GET /mqtt HTTP/1.1\r\n\r\n").is_err()
            || Wire::connect(bare, Version::V5, "c", USER).is_err()
    );
    site.hub.drained(Duration::from_secs(30));
    let mut found: Vec<_> =
        site.hub.archive("dc-rennes").iter().filter_map(|record| record.message()).collect();
    found.sort_unstable();
    assert_eq!(found, [770_000_000_000_003, 770_000_000_000_004]);
}

/// The hostile names of certificates that an authority could be talked into: none of them is the source.
#[test]
fn a_certificate_that_names_two_or_nobody_is_not_another_source() {
    let _machine = needs::exclusive();
    let site = Site::start();
    for (case, subject, names, comes_in) in [
        ("as a source is named", format!("/CN={NAME}"), "", true),
        ("a host name beside it", format!("/CN={NAME}"), "DNS:localhost", true),
        ("a URI beside the CN: the URI is the identity", format!("/CN={NAME}"), "URI:urn:other", false),
        ("two URIs, neither of them a source", "/CN=x".into(), "URI:urn:a,URI:urn:b", false),
        ("two common names", format!("/CN={NAME}/CN=x"), "", false),
        ("the same two, the other first", format!("/CN=x/CN={NAME}"), "", false),
        ("a wildcard", "/CN=*.rennes.example".into(), "", false),
        ("another case", format!("/CN={}", NAME.to_uppercase()), "", false),
        ("a space behind it", format!("/CN={NAME} "), "", false),
        ("the name as an organisation", format!("/O={NAME}"), "", false),
    ] {
        let Some(peer) = by_openssl(&site, &subject, names) else { return };
        let connected = Wire::connect(peer, Version::V5, "hostile", NAME);
        assert_eq!(connected.is_ok(), comes_in, "{case}: {:?}", connected.err());
    }
    // Whatever was tried, an honest client is served.
    publish(&mut Wire::connect(site.peer(NAME), Version::V5, "honest", "").unwrap(), 770_000_000_000_005);
}

/// A client with a certificate of the site's authority as openssl makes it.
fn by_openssl(site: &Site, subject: &str, names: &str) -> Option<Peer> {
    let names = if names.is_empty() { String::new() } else { format!("subjectAltName = {names}\n") };
    signed(site, subject, &format!("extendedKeyUsage = clientAuth\n{names}"), "2")?;
    Some(Peer::tls(site.address(0), &site.file("ca.pem"), Some((&site.file("x.pem"), &site.file("x.key")))))
}

/// `x.pem` and `x.key`, valid for so many days.
pub(crate) fn signed(site: &Site, subject: &str, extensions: &str, days: &str) -> Option<()> {
    let tool = needs::tool("openssl", "openssl")?;
    let openssl = |arguments: &[&str]| {
        let finished = run(Command::new(&tool).args(arguments).current_dir(&site.pki), SOON).unwrap();
        assert_eq!(finished.code, 0, "openssl {arguments:?}: {}", finished.err);
    };
    fs::write(site.file("x.ext"), extensions).unwrap();
    openssl(&[
        "req",
        "-new",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-keyout",
        "x.key",
        "-subj",
        subject,
        "-out",
        "x.csr",
    ]);
    openssl(&[
        "x509",
        "-req",
        "-in",
        "x.csr",
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca.key",
        "-CAcreateserial",
        "-days",
        days,
        "-extfile",
        "x.ext",
        "-out",
        "x.pem",
    ]);
    Some(())
}

#[test]
fn tls_before_1_2_and_suites_without_forward_secrecy_are_refused() {
    let site = Site::start();
    for (profile, taken) in [
        (&["-tls1_3"][..], true),
        (&["-tls1_2"], true),
        (&["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"], false),
        (&["-tls1", "-cipher", "DEFAULT@SECLEVEL=0"], false),
        (&["-tls1_2", "-cipher", "AES128-GCM-SHA256"], false),
        (&["-tls1_2", "-cipher", "DHE-RSA-AES128-GCM-SHA256"], false),
        (&["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256"], false),
        (&["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"], true),
    ] {
        let Some(said) = s_client(&site, site.address(0), NAME, profile) else { return };
        let negotiated = said.out.contains("New, TLSv1");
        assert_eq!(negotiated, taken, "{profile:?}: {}{}", said.out, said.err);
    }
}

#[test]
fn the_commands_of_the_readme_do_what_it_shows() {
    let page = fs::read_to_string(root().join("README.md")).unwrap();
    let section = page.split("\n## Certificates\n").nth(1).expect("README.md has `## Certificates`");
    let block = section.split("```\n").nth(1).expect("it shows commands");
    let directory = tempfile::tempdir().unwrap();
    let mut shown: Vec<(&str, Vec<String>)> = Vec::new();
    for line in block.lines() {
        match line.strip_prefix("$ octroi ") {
            Some(command) => shown.push((command, Vec::new())),
            None => shown.last_mut().expect("a command first").1.push(line.to_owned()),
        }
    }
    assert!(shown.len() >= 4, "{shown:?}");
    for (command, expected) in shown {
        let words = words(command);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let finished = run(cli_command(&words).current_dir(directory.path()), SOON).unwrap();
        let printed = format!("{}{}", finished.out, finished.err);
        let lines: Vec<&str> = printed.lines().map(str::trim_end).collect();
        assert_eq!(finished.code, 0, "{command}: {printed}");
        assert!(lines_match(&expected, &lines), "octroi {command}\n{printed}");
    }
    let mode = |name: &str| {
        use std::os::unix::fs::PermissionsExt as _;
        fs::metadata(directory.path().join(name)).unwrap().permissions().mode() & 0o777
    };
    for key in ["tls/ca.key", "tls/server.key", "tls/clients/lns.rennes.example.key"] {
        assert_eq!(mode(key), 0o600, "{key}");
    }
    for public in ["tls/ca.pem", "tls/ca.crl", "tls/server.pem"] {
        assert_eq!(mode(public), 0o644, "{public}");
    }
}

#[test]
fn nothing_is_overwritten_and_what_is_wrong_is_found_in_both_languages() {
    let directory = tempfile::tempdir().unwrap();
    let pki = directory.path().join("pki");
    octroi(&["tls", "init", path(&pki)]);
    octroi(&["tls", "issue", "lns", "--dir", path(&pki)]);
    let before = fs::read(pki.join("clients/lns.key")).unwrap();
    for (arguments, code, said) in [
        (vec!["tls", "init", path(&pki)], 64, "is there already, and nothing is overwritten"),
        (vec!["tls", "issue", "lns", "--dir", path(&pki)], 64, "is there already"),
        (vec!["tls", "issue", "../lns", "--dir", path(&pki)], 64, "is no name"),
        (vec!["tls", "revoke", "nobody", "--dir", path(&pki)], 1, "cannot read"),
        (vec!["tls", "issue", "lns", "--dir", path(directory.path())], 74, "cannot read"),
    ] {
        let finished = run(&mut cli_command(&arguments), SOON).unwrap();
        assert_eq!(finished.code, code, "{arguments:?}: {}", finished.err);
        assert!(finished.err.contains(said), "{arguments:?}: {}", finished.err);
    }
    assert_eq!(fs::read(pki.join("clients/lns.key")).unwrap(), before);
    run(Command::new("chmod").args(["644", path(&pki.join("server.key"))]), SOON).unwrap();
    for (lang, head, finding) in
        [("en", "something is wrong", "has mode 644"), ("fr", "quelque chose ne va pas", "est en mode 644")]
    {
        let finished = run(&mut cli_command(&["tls", "check", path(&pki), "--lang", lang]), SOON).unwrap();
        assert_eq!(finished.code, 1);
        assert!(finished.out.contains(head) && finished.out.contains(finding), "{}", finished.out);
    }
}
