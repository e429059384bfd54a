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
use octroi_benches::tls::{Pki, in_memory, over_sockets, shake_hands};
use octroi_benches::{Outcome, beside, disk, ended, machine, policy};
use octroi_mqtt::Version;
use octroi_mqtt::client::{self, Connect};
use rustix::process::{Resource, getrlimit, setrlimit};

/// What a connection's answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Messages of a connection before it rests.
const BURST: usize = 100;
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

/// Memory of a connection that has said who it is and rests: at once, and after some messages.
fn idle(args: &Args, policy: &Path, dir: &Path) -> Outcome<()> {
    let mut files = getrlimit(Resource::Nofile);
    files.current = files.maximum;
    setrlimit(Resource::Nofile, files)?;
    let tables = "\n[connections]\nper_address = 20000\n".to_owned();
    let setup = Setup { policy: policy.to_path_buf(), archives: vec![policy::target(0)], tables };
    let hub = Hub::start(&args.octroi, &setup, dir.join("idle"))?;
    let each = held_by_each(&hub, args.connections, 0)?;
    println!("idle connection, TCP: {each:.1} KiB of {} clients   bar ≤ 8", args.connections);
    // What the hub takes for so many messages, whoever sends them, is not the connections'.
    hub.put(&Load { messages: (args.connections * BURST) as u64, ..Load::W1 })?;
    let each = held_by_each(&hub, args.connections, BURST)?;
    println!("idle after {BURST} messages, TCP: {each:.1} KiB of {} clients", args.connections);
    hub.stop()
}

/// What so many connections hold each, in KiB, a while after each has sent so many messages.
fn held_by_each(hub: &Hub, connections: usize, messages: usize) -> Outcome<f64> {
    thread::sleep(QUIET);
    let before = hub.process.resident_mib()?;
    let clients: Vec<TcpStream> =
        (0..connections).map(|number| connected(hub.mqtt, number, messages)).collect::<Outcome<_>>()?;
    thread::sleep(QUIET);
    Ok((hub.process.resident_mib()? - before) * 1024.0 / clients.len() as f64)
}

/// A client that has sent so many messages, each acknowledged.
fn connected(hub: SocketAddr, number: usize, messages: usize) -> Outcome<TcpStream> {
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
    if answer != [0x20, 2, 0, 0] {
        return Err(format!("CONNACK {answer:?}").into());
    }
    let payload = [b'7'; 200];
    let publish = |id| client::publish(Version::V3, "ville/mobilite/c1/count", &payload, Some(id)).bytes;
    let burst: Vec<u8> = (1..).take(messages).flat_map(publish).collect();
    socket.write_all(&burst)?;
    for id in (1_u16..).take(messages) {
        let [high, low] = id.to_be_bytes();
        socket.read_exact(&mut answer)?;
        if answer != [0x40, 2, high, low] {
            return Err(format!("PUBACK {answer:?} of message {id}").into());
        }
    }
    Ok(socket)
}

/// Full handshakes of TLS 1.3 with both certificates, a second of the server's CPU: the hub's, with its sockets,
/// beside the library alone, over sockets and in memory.
fn handshakes(args: &Args, policy: &Path, dir: &Path) -> Outcome<()> {
    let pki = Pki::make(&args.octroi, &dir.join("pki"))?;
    let door = free_address()?;
    let tables = pki.listener(door);
    let setup = Setup { policy: policy.to_path_buf(), archives: vec![policy::target(0)], tables };
    let hub = Hub::start(&args.octroi, &setup, dir.join("handshakes"))?;
    let (mut against_memory, mut against_sockets) = (Vec::new(), Vec::new());
    for _ in 0..args.pairs {
        let before = hub.process.cpu()?;
        for _ in 0..args.handshakes {
            shake_hands(door, &pki)?;
        }
        let ours = args.handshakes as f64 / (hub.process.cpu()? - before);
        let sockets = args.handshakes as f64 / over_sockets(&pki, args.handshakes)?;
        let memory = args.handshakes as f64 / in_memory(&pki, args.handshakes)?;
        println!(
            "handshakes with certificates, a CPU second: hub {ours:.0}, rustls over sockets {sockets:.0}, in \
             memory {memory:.0}"
        );
        against_memory.push(ours / memory);
        against_sockets.push(ours / sockets);
    }
    println!(
        "handshakes: hub ÷ in memory {:.2}   bar ≥ 0.8; hub ÷ over sockets {:.2}",
        median(against_memory.into_iter()),
        median(against_sockets.into_iter())
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
