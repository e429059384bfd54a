//! rumqttd 0.20 as a broker in process, on loopback, with one local link that
//! subscribes to `#` and reads everything: the peer of W1.
//!
//! `rumqttd_peer PORT`. Prints `ready`; answers each line on stdin with the
//! number of messages that the link has read; prints it a last time and ends
//! when stdin is closed. Its limits are its shipped defaults (segments of
//! 100 MiB, ten of them, in memory), or higher where they would slow the load.

use std::collections::HashMap;
use std::io::{self, BufRead};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use octroi_benches::Outcome;
use rumqttd::{Broker, Config, ConnectionSettings, Notification, RouterConfig, ServerSettings};

fn main() -> Outcome<()> {
    let port: u16 = std::env::args().nth(1).ok_or("usage: rumqttd_peer PORT")?.parse()?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut broker = Broker::new(config(address));
    let (mut link, mut reader) = broker.link("reader")?;
    link.subscribe("#")?;
    thread::spawn(move || {
        if let Err(error) = broker.start() {
            eprintln!("rumqttd ended: {error}");
        }
    });
    let read = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&read);
    thread::spawn(move || {
        loop {
            match reader.recv() {
                Ok(Some(Notification::Forward(_))) => {
                    counter.fetch_add(1, Ordering::Relaxed);
                }
                // The router stops forwarding when the link's buffer is full, until it says that it has read.
                Ok(Some(Notification::Unschedule)) => {
                    if reader.ready().is_err() {
                        return;
                    }
                }
                Ok(_) => {}
                Err(error) => {
                    eprintln!("the local link ended: {error}");
                    return;
                }
            }
        }
    });
    while TcpStream::connect(address).is_err() {
        thread::sleep(Duration::from_millis(5));
    }
    println!("ready");
    for line in io::stdin().lock().lines() {
        line?;
        println!("{}", read.load(Ordering::Relaxed));
    }
    println!("{}", read.load(Ordering::Relaxed));
    Ok(())
}

fn config(listen: SocketAddr) -> Config {
    let connections = ConnectionSettings {
        connection_timeout_ms: 60_000,
        max_payload_size: 256 << 10,
        max_inflight_count: 1_000,
        auth: None,
        external_auth: None,
        dynamic_filters: false,
    };
    let server =
        ServerSettings { name: "v4".to_owned(), listen, tls: None, next_connection_delay_ms: 1, connections };
    Config {
        router: RouterConfig {
            max_connections: 10_010,
            max_outgoing_packet_count: 200,
            max_segment_size: 100 << 20,
            max_segment_count: 10,
            ..RouterConfig::default()
        },
        v4: Some(HashMap::from([("1".to_owned(), server)])),
        ..Config::default()
    }
}
