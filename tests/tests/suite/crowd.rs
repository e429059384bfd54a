//! Thousands of TLS clients at once, from a process of their own: what each
//! costs in memory, how soon all are back after a restart, and what the
//! clients that are connected already notice of the storm. The thousands have
//! a processor only while nobody else wants it, as if they were elsewhere: the
//! kernel would have the hub wait for them as for anybody.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use octroi_tests::hub::Hub;
use octroi_tests::kafka::pki::{Pki, Validity};
use octroi_tests::load::Version;
use octroi_tests::probe::Probe;
use octroi_tests::process::{Process, free_port, wait_until};
use octroi_tests::{needs, policy, report};

use crate::fairness;

/// Storms of the long form.
const STORMS: usize = 3;
/// What is measured before each.
const SETTLE: Duration = Duration::from_secs(10);
/// What a connected client that says nothing may cost.
const MOST_BYTES: u64 = 40 << 10;

/// A hub's second listener, for TLS with client certificates.
pub(crate) struct Door {
    pub port: u16,
    pub pki: Pki,
    directory: tempfile::TempDir,
}

impl Door {
    /// Its `[[listener]]` follows from [`Door::listener`].
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { port: free_port(), pki: Pki::new(directory.path()), directory }
    }

    pub fn listener(&self) -> String {
        let server = self.pki.issue("localhost", Validity::Month);
        let file = |path: &Path| format!("\"file:{}\"", path.display());
        format!(
            "[[listener]]\nbind = \"127.0.0.1:{}\"\nidentify_by = \"certificate\"\n\
             tls = {{ certificate = {}, key = {}, client_ca = {} }}\n",
            self.port,
            file(&server.certificate),
            file(&server.key),
            file(&self.pki.authority())
        )
    }
}

/// Clients of one certificate.
struct Crowd {
    process: Process,
    clients: u64,
}

impl Crowd {
    fn start(door: &Door, clients: u64) -> Self {
        let identity = door.pki.issue(policy::COUNTS.user, Validity::Month);
        let text = |path: PathBuf| path.display().to_string();
        // Where the clients have no machine of their own: whoever else wants a processor has it before them.
        let arguments = [
            "--idle".to_owned(),
            "0".to_owned(),
            env!("CARGO_BIN_EXE_crowd").to_owned(),
            format!("127.0.0.1:{}", door.port),
            clients.to_string(),
            text(door.pki.authority()),
            text(identity.certificate),
            text(identity.key),
        ];
        let directory = door.directory.path();
        let program = Path::new("/usr/bin/chrt");
        let log = directory.join("crowd.log");
        // What an earlier crowd said is not this one's.
        std::fs::remove_file(&log).ok();
        let process = Process::start(program, &arguments, directory, &log).unwrap();
        Self { process, clients }
    }

    /// What it said last: connected, closed, refused.
    fn counts(&self) -> [u64; 3] {
        let log = self.process.log();
        let line = log.lines().last().unwrap_or_default();
        let mut numbers = line.split([' ', ',']).filter_map(|word| word.parse().ok());
        [(); 3].map(|()| numbers.next().unwrap_or(0))
    }

    /// Waits until all are connected; how long that took.
    #[track_caller]
    fn connected(&self, within: Duration) -> Duration {
        let began = Instant::now();
        wait_until("all clients are connected", within, || self.counts()[0] == self.clients);
        began.elapsed()
    }
}

#[test]
fn thousands_of_tls_clients_cost_little_come_back_soon_and_hold_up_nobody() {
    let _machine = needs::exclusive();
    let clients: u64 = if needs::long() { 10_000 } else { 1_000 };
    if !needs::open_files(clients + 500) || needs::tool("openssl", "openssl").is_none() {
        return;
    }
    let door = Door::new();
    let most = clients + 100;
    let connections = format!("[connections]\nper_address = {most}\nper_source = {most}\n");
    let mut hub = Hub::prepared(&[], &(connections + &door.listener()));
    let (user, certificate) =
        (policy::COUNTS.user, format!("identity = \"cert:CN={}\"", policy::COUNTS.user));
    policy::edit(&hub.policy(), &format!("identity = \"user:{user}\""), &certificate);
    hub.run();

    let probe = Probe::start(hub.mqtt(), &policy::WASTE, Version::V5, Duration::from_millis(10));
    let within = Duration::from_secs(120);
    let (mut crowd, mut came, mut each, mut turns) = (None::<Crowd>, Vec::new(), None, Vec::new());
    for _ in 0..if needs::long() { STORMS } else { 1 } {
        if crowd.take().is_some() {
            let alone = || hub.metrics().sum("octroi_connections", &[]) < 2.0;
            wait_until("the last storm is over", within, alone);
        }
        let (_, before) = probe.during(|| std::thread::sleep(SETTLE));
        let empty = hub.process().resident_bytes();
        let (new, beside) = probe.during(|| {
            let crowd = Crowd::start(&door, clients);
            came.push(format!("{:.1} s", crowd.connected(within).as_secs_f64()));
            crowd
        });
        turns.push([before, beside]);
        // Of a hub that is new.
        each.get_or_insert_with(|| {
            // What the handshakes took is given back by then.
            std::thread::sleep(Duration::from_secs(15));
            hub.process().resident_bytes().saturating_sub(empty) / clients
        });
        let [connected, closed, refused] = new.counts();
        assert_eq!((connected, closed), (clients, 0), "nobody is closed, {refused} had to try again");
        crowd = Some(new);
    }
    drop(probe);

    hub.kill();
    hub.run();
    let (crowd, each) = (crowd.expect("one storm at least"), each.expect("one storm at least"));
    let back = crowd.connected(within);
    report::table(
        &format!("{clients} clients with TLS certificates"),
        &[
            ("all connected after", came.join(", ")),
            ("memory of each", format!("{:.1} KiB", each as f64 / 1024.0)),
            ("all back after a restart", format!("{:.1} s", back.as_secs_f64())),
        ],
    );
    assert!(each <= MOST_BYTES, "{each} bytes for each client");
    assert!(back <= Duration::from_secs(30), "the last is back after {back:?}");
    fairness::within(5.0, "acknowledgements beside a storm of TLS clients", &turns);
}
