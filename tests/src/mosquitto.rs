//! A mosquitto of one test: an existing broker that the hub takes messages
//! from, or one that bridges to it. It keeps what it acknowledged over a stop
//! and a start.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

use crate::needs;
use crate::process::{Process, free_port, wait_until};

/// A broker, running or not, and what it has on disk.
pub struct Mosquitto {
    program: PathBuf,
    directory: TempDir,
    process: Option<Process>,
    port: u16,
}

impl Mosquitto {
    /// Prepared on a port of its own, not started; `None` means that the test must return, and was listed.
    #[track_caller]
    #[must_use]
    pub fn prepared() -> Option<Self> {
        let program = needs::tool("mosquitto", "mosquitto")?;
        let directory = tempfile::Builder::new().prefix("octroi-mosquitto-").tempdir();
        let directory = directory.expect("a temporary directory");
        Some(Self { program, directory, process: None, port: free_port() })
    }

    /// Starts it, open to all on loopback; `more` is appended to its configuration.
    pub fn start(&mut self, more: &str) {
        let open = format!("listener {} 127.0.0.1\nallow_anonymous true\n{more}", self.port);
        self.start_as(&open);
    }

    /// Starts it with listeners of the caller's own.
    pub fn start_as(&mut self, listeners: &str) {
        let directory = self.directory.path().display();
        let text = format!(
            "per_listener_settings false\npersistence true\npersistence_location {directory}/\nuser root\n\
             max_queued_messages 0\nmax_inflight_messages 100\nlog_dest stderr\n{listeners}\n"
        );
        let configuration = self.path("mosquitto.conf");
        fs::write(&configuration, text).expect("the configuration is written");
        let arguments = ["-c".to_owned(), configuration.display().to_string()];
        let log = self.path("mosquitto.log");
        let process = Process::start(&self.program, &arguments, self.directory.path(), &log);
        self.process = Some(process.expect("mosquitto starts"));
        wait_until("mosquitto listens", Duration::from_secs(10), || {
            TcpStream::connect(self.address()).is_ok()
        });
    }

    /// Stops it in good order: what it has not passed on is on its disk.
    pub fn stop(&mut self) {
        self.process.take().expect("mosquitto runs").terminate(Duration::from_secs(20));
    }

    /// Where its clients connect.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Something of its directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read(self.path("mosquitto.log")).unwrap_or_default();
            let log = String::from_utf8_lossy(&log);
            let tail: Vec<&str> = log.lines().rev().take(60).collect();
            println!("--- mosquitto's log, its end ---");
            tail.into_iter().rev().for_each(|line| println!("{line}"));
        }
    }
}
