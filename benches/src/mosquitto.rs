//! A mosquitto: a peer of its own, and the broker that stands before every
//! pipeline that is a client. Its queues have no bound, so that it neither
//! drops nor refuses what a slow subscriber has not read.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::Outcome;
use crate::hub::free_address;
use crate::process::Process;

const READY: Duration = Duration::from_secs(10);
const SUBSCRIBED: Duration = Duration::from_secs(60);

/// What it has on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    /// Nothing.
    Nothing,
    /// What was queued a second ago: the shortest that it can be told to.
    EachSecond,
}

/// A mosquitto that runs on loopback, open to all.
#[derive(Debug)]
pub struct Mosquitto {
    /// Its process.
    pub process: Process,
    /// Where it listens.
    pub address: SocketAddr,
    log: PathBuf,
}

impl Mosquitto {
    /// Starts it in `directory`, where it forgets what another one left.
    ///
    /// # Errors
    /// It does not listen in time.
    pub fn start(program: &Path, directory: &Path, keeps: Keeps) -> Outcome<Self> {
        let address = free_address()?;
        let (config, store) = (directory.join("mosquitto.conf"), directory.join("mosquitto-store"));
        let persistence = match keeps {
            Keeps::Nothing => "persistence false\n".to_owned(),
            Keeps::EachSecond => {
                if store.exists() {
                    fs::remove_dir_all(&store)?;
                }
                fs::create_dir(&store)?;
                let store = store.display();
                format!("persistence true\npersistence_location {store}/\nautosave_interval 1\nuser root\n")
            }
        };
        let text = format!(
            "listener {} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 0\n\
             set_tcp_nodelay true\nlog_dest stderr\nlog_type error\nlog_type subscribe\n{persistence}",
            address.port()
        );
        fs::write(&config, text)?;
        let mut command = Command::new(program);
        command.arg("-c").arg(&config).stdin(Stdio::null()).stdout(Stdio::null());
        let log = directory.join("mosquitto.log");
        let mut process = Process::start("mosquitto", &mut command, &log)?;
        process.wait_until("its listener", READY, || TcpStream::connect(address).is_ok())?;
        Ok(Self { process, address, log })
    }

    /// Waits until somebody has subscribed to `filter`.
    ///
    /// # Errors
    /// Nobody does in time.
    pub fn wait_for_subscription(&mut self, filter: &str) -> Outcome<()> {
        let log = &self.log;
        self.process.wait_until(&format!("subscription to `{filter}`"), SUBSCRIBED, || {
            fs::read_to_string(log).is_ok_and(|text| text.lines().any(|line| line.ends_with(filter)))
        })
    }
}
