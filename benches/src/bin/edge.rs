//! The rows that need no peer: what a connection that says nothing holds in
//! memory, what a handshake with certificates costs beside the same handshake
//! in memory, and how soon a hub is back that has much in its journal.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread;
use std::time::Duration;

use clap::Parser;
use octroi_benches::hub::{Hub, Setup, free_address};
use octroi_benches::load::Load;
use octroi_benches::report::median;
use octroi_benches::tls::{Pki, in_memory, shake_hands};
use octroi_benches::{Outcome, beside, disk, ended, machine, policy};
use octroi_mqtt::Version;
use octroi_mqtt::client::{self, Connect};
use rustix::process::{Resource, getrlimit, setrlimit};

/// What a connection's answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a hub has nothing to do before its memory is read.
const QUIET: Duration = Duration::from_secs(15);

#[derive(Parser)]
struct Args {
    /// The hub's binary; default: the one beside this.
    #[arg(long, env = "OCTROI_BIN", default_value_os_t = beside("octroi"), hide_default_value = true)]
    octroi: PathBuf,
    /// Where data goes, on a real disk.
    #[arg(long, default_value = "edge-data")]
    dir: PathBuf,
    /// Idle connections.
    #[arg(long, default_value_t = 5_000)]
    connections: usize,
    /// Handshakes of each run.
    #[arg(long, default_value_t = 1_000)]
    handshakes: usize,
    #[arg(long, default_value_t = 5)]
    pairs: usize,
    /// What is in the journal at the start, GiB.
    #[arg(long, default_value_t = 10)]
    gib: u64,
}

fn main() -> ExitCode {
    ended("edge", run(&Args::parse()))
}

fn run(args: &Args) -> Outcome<()> {
    let (dir, file_system) = disk::own_directory(&args.dir)?;
    println!("{}; {file_system}; bare disk: {}", machine::described()?, disk::measure(&dir)?);
    let written = dir.join("policy.toml");
    policy::write(&written, 1, 1)?;
    idle(args, &written, &dir)?;
    handshakes(args, &written, &dir)?;
    start(args, &written, &dir)?;
    Ok(fs::remove_dir_all(dir)?)
}

/// Memory of a connection that has said who it is, and nothing since.
fn idle(args: &Args, policy: &Path, dir: &Path) -> Outcome<()> {
    let mut files = getrlimit(Resource::Nofile);
    files.current = files.maximum;
    setrlimit(Resource::Nofile, files)?;
    let tables = "\n[connections]\nper_address = 20000\n".to_owned();
    let setup = Setup { policy: policy.to_path_buf(), archives: vec![policy::target(0)], tables };
    let hub = Hub::start(&args.octroi, &setup, dir.join("idle"))?;
    thread::sleep(QUIET);
    let before = hub.process.resident_mib()?;
    let clients: Vec<TcpStream> =
        (0..args.connections).map(|number| connected(hub.mqtt, number)).collect::<Outcome<_>>()?;
    thread::sleep(QUIET);
    let each = (hub.process.resident_mib()? - before) * 1024.0 / clients.len() as f64;
    println!("idle connection, TCP: {each:.1} KiB of {} clients   bar ≤ 8", clients.len());
    hub.stop()
}

fn connected(hub: SocketAddr, number: usize) -> Outcome<TcpStream> {
    let mut socket = TcpStream::connect(hub)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let client_id = format!("idle-{number}");
    let connect = Connect {
        client_id: &client_id,
        user_name: Some(policy::SOURCE),
        password: None,
        keep_alive: 0,
        clean_start: true,
        properties: &[],
        will: None,
    };
    socket.write_all(&client::connect(Version::V3, &connect))?;
    let mut answer = [0; 4];
    socket.read_exact(&mut answer)?;
    if answer == [0x20, 2, 0, 0] { Ok(socket) } else { Err(format!("CONNACK {answer:?}").into()) }
}

/// Full handshakes of TLS 1.3 with both certificates, a second of the server's CPU: the hub's, with its sockets,
/// beside the library's alone.
fn handshakes(args: &Args, policy: &Path, dir: &Path) -> Outcome<()> {
    let pki = Pki::make(&args.octroi, &dir.join("pki"))?;
    let door = free_address()?;
    let tables = pki.listener(door);
    let setup = Setup { policy: policy.to_path_buf(), archives: vec![policy::target(0)], tables };
    let hub = Hub::start(&args.octroi, &setup, dir.join("handshakes"))?;
    let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..args.pairs {
        let before = hub.process.cpu()?;
        for _ in 0..args.handshakes {
            shake_hands(door, &pki)?;
        }
        let hub = args.handshakes as f64 / (hub.process.cpu()? - before);
        let alone = args.handshakes as f64 / in_memory(&pki, args.handshakes)?;
        println!("handshakes with certificates, a CPU second: hub {hub:.0}, rustls in memory {alone:.0}");
        ours.push(hub);
        theirs.push(alone);
        ratios.push(hub / alone);
    }
    println!(
        "handshakes: hub {:.0}, in memory {:.0}, ratio {:.2}   bar ≥ 0.8",
        median(ours.into_iter()),
        median(theirs.into_iter()),
        median(ratios.into_iter())
    );
    hub.stop()
}

/// From the start of the process to `/health/ready`, after a crash.
fn start(args: &Args, policy: &Path, dir: &Path) -> Outcome<()> {
    const PAYLOAD: usize = 4096;
    let setup = Setup::out_of_reach(policy.to_path_buf());
    let mut hub = Hub::start(&args.octroi, &setup, dir.join("start"))?;
    hub.put(&Load { size: PAYLOAD, messages: (args.gib << 30) / PAYLOAD as u64, ..Load::W1 })?;
    let used = Command::new("du").arg("-sk").arg(hub.directory().join("data")).output()?;
    let used = String::from_utf8_lossy(&used.stdout);
    let used: f64 = used.split_whitespace().next().unwrap_or_default().parse()?;
    let used = used / f64::from(1 << 20);
    for _ in 0..args.pairs {
        println!(
            "start after a crash, {used:.1} GiB waiting: ready after {:.2} s",
            hub.crash()?.as_secs_f64()
        );
    }
    println!("start: bar ≤ 1 s");
    hub.give_up()
}
