//! Identities whose time is over, or which are taken back, beyond their own
//! sessions: a listener's certificate at a start, a client's while it is
//! connected, and the wills of who is no longer who it was.

use std::fs;
use std::io::ErrorKind;
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use octroi_tests::load::Version;
use octroi_tests::load::wire::{self, Wire};
use octroi_tests::peer::Peer;
use octroi_tests::process::{run, wait_until};
use octroi_tests::{needs, policy, report};

use crate::identities::{NAME, SOON, Site, TOPIC, USER, count, publish, replace, signed};
use crate::kill::activate_next;

#[test]
fn a_hub_that_starts_with_an_expired_certificate_keeps_that_listener_shut_and_does_all_else() {
    let _machine = needs::exclusive();
    let mut site = Site::start();
    let read = |name: &str| fs::read_to_string(site.file(name)).unwrap();
    let good = [read("server.pem"), read("server.key")];
    let server = "subjectAltName = DNS:localhost\nextendedKeyUsage = serverAuth\n";
    if signed(&site, "/CN=localhost", server, "0").is_none() {
        return;
    }
    site.hub.terminate();
    for (from, to) in [("x.pem", "server.pem"), ("x.key", "server.key")] {
        fs::copy(site.file(from), site.file(to)).unwrap();
    }
    std::thread::sleep(Duration::from_secs(2));
    site.hub.run();
    let (state, reason) = site.state("certificate");
    assert!(state == "shut" && reason.contains("the listener is shut"), "{state} {reason}");
    assert!(site.hub.log().contains("the listener is shut"), "{}", site.hub.log());
    assert_eq!(TcpStream::connect(site.address(0)).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    let listener = format!("listener=\"{}\"", site.address(0));
    assert_eq!(site.hub.metrics().sum("octroi_credentials_refused", &[&listener]), 1.0);
    let checked = site.hub.cli(&["config", "check"]);
    assert!(checked.code == 78 && checked.err.contains("expired at"), "{}", checked.err);
    let mut other = Wire::connect(site.hub.mqtt(), Version::V5, "c", USER).unwrap();
    publish(&mut other, 770_000_000_000_009);
    site.hub.drained(Duration::from_secs(30));
    let found: Vec<_> = site.hub.archive("dc-rennes").iter().filter_map(|record| record.message()).collect();
    assert_eq!(found, [770_000_000_000_009], "targets get what is theirs");

    replace(&site.file("server.key"), &good[1]);
    replace(&site.file("server.pem"), &good[0]);
    wait_until("it opens by itself", SOON, || Wire::connect(site.peer(NAME), Version::V5, "c", "").is_ok());
    wait_until("that is shown", SOON, || site.state("certificate").0 == "in_force");
}

#[test]
fn a_certificate_that_ends_while_its_client_is_connected_ends_the_session() {
    let _machine = needs::exclusive();
    let site = Site::start();
    let Some(peer) = short_lived(&site, Duration::from_secs(12)) else { return };
    let mut five = Wire::connect(peer.clone(), Version::V5, "five", "").unwrap();
    let mut three = Wire::connect(peer.clone(), Version::V311, "three", "").unwrap();
    let began = Instant::now();
    publish(&mut five, 770_000_000_000_006);
    let (code, why) = five.farewell(Duration::from_secs(72)).unwrap().expect("a DISCONNECT");
    report::table("a certificate ends", &[("session closed", format!("{:?} later", began.elapsed()))]);
    assert!(code == 0x87 && why.contains("your certificate has expired"), "{code:#04x} {why}");
    assert!(three.answer(SOON).is_err(), "a client of 3.1.1 is closed");
    assert!(Wire::connect(peer, Version::V5, "again", "").is_err());
    let log = site.hub.log();
    let said = log.lines().filter(|line| line.contains("your certificate has expired"));
    let named = said.filter(|line| line.contains(&format!("cert:CN={NAME}")) || line.contains(NAME));
    assert_eq!(named.count(), 2, "{log}");
}

/// A client with a certificate that ends so soon.
fn short_lived(site: &Site, valid: Duration) -> Option<Peer> {
    let tool = needs::tool("openssl", "openssl")?;
    let command = |command: &mut Command| {
        let finished = run(command.current_dir(&site.pki), SOON).unwrap();
        assert_eq!(finished.code, 0, "{command:?}: {}", finished.err);
        finished.out
    };
    // No number of days will do, so that it takes openssl's own authority.
    let authority = "[ca]\ndefault_ca = d\n[d]\ndatabase = index.txt\nserial = x.serial\nnew_certs_dir = .\n\
                     default_md = sha256\npolicy = p\nx509_extensions = e\n[p]\ncommonName = supplied\n\
                     [e]\nextendedKeyUsage = clientAuth\n";
    fs::write(site.file("x.cnf"), authority).unwrap();
    fs::write(site.file("index.txt"), "").unwrap();
    fs::write(site.file("x.serial"), "77\n").unwrap();
    let subject = format!("/CN={NAME}");
    let request = ["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    command(Command::new(&tool).args(request).args(["-keyout", "x.key", "-subj", &subject, "-out", "x.csr"]));
    let end = format!("+{} seconds", valid.as_secs());
    let end = command(Command::new("date").args(["-u", "-d", &end, "+%y%m%d%H%M%SZ"]));
    let sign = ["ca", "-batch", "-notext", "-config", "x.cnf", "-cert", "ca.pem", "-keyfile", "ca.key"];
    command(Command::new(&tool).args(sign).args(["-in", "x.csr", "-out", "x.pem", "-enddate", end.trim()]));
    Some(Peer::tls(site.address(0), &site.file("ca.pem"), Some((&site.file("x.pem"), &site.file("x.key")))))
}

/// A client of the first listener with a will, which is connected.
fn with_will(site: &Site, id: u64) -> Wire {
    let payload = String::from_utf8(count(id)).unwrap();
    let connect = wire::connect_with_will("c", "", wire::Will { delay: 0, topic: TOPIC, payload: &payload });
    Wire::open(site.peer(NAME), Version::V5, &connect).unwrap()
}

#[test]
fn the_will_of_a_client_that_is_revoked_is_refused_and_on_record() {
    let _machine = needs::exclusive();
    let mut site = Site::start();
    let mut wire = with_will(&site, 770_000_000_000_007);
    site.revoke(NAME);
    assert!(wire.farewell(SOON).unwrap().is_some_and(|(code, _)| code == 0x87));
    let refused = ["stage=\"publish\"", "reason=\"identity_lapsed\""];
    wait_until("the will is refused", SOON, || {
        site.hub.metrics().sum("octroi_rejected_total", &refused) == 1.0
    });
    site.hub.terminate();
    assert!(site.hub.archive("dc-rennes").is_empty());
    let said = site.hub.cli(&["journal", "ls", "--records", "20"]);
    let record = said.out.lines().find(|line| line.contains("refused: identity_lapsed"));
    let record = record.unwrap_or_else(|| panic!("{}{}", said.out, said.err));
    assert!(record.contains(TOPIC) && record.contains(NAME), "{record}");
    assert!(!said.out.contains("770000000000007"), "nothing of what it held");
}

#[test]
fn the_will_of_a_client_whose_source_left_the_policy_goes_as_its_messages_go() {
    let _machine = needs::exclusive();
    let site = Site::start();
    let wire = with_will(&site, 770_000_000_000_008);
    let identity = format!("identity = \"cert:CN={NAME}\"");
    policy::edit(&site.hub.policy(), &identity, "identity = \"cert:CN=gone.example\"");
    activate_next(&site.hub);
    drop(wire);
    wait_until("it is in quarantine", SOON, || {
        let kept = site.hub.cli(&["quarantine", "list"]).out;
        kept.contains("unknown_source") && kept.contains(TOPIC)
    });
}
