//! A TCP proxy that can swallow: connections stay open and are taken, and
//! nothing comes through, as behind a firewall that drops packets. What was
//! swallowed never arrives: once it passes again, new connections do, and old
//! ones are cut.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Between clients and one broker.
pub struct Proxy {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    swallows: AtomicBool,
    ended: AtomicBool,
    /// Changes when all connections of before are to end.
    era: AtomicU64,
    /// Bytes from clients that were passed on.
    passed: AtomicU64,
}

/// How soon a connection without traffic notices that it must end.
const LOOK: Duration = Duration::from_millis(50);

impl Proxy {
    /// From one loopback port to another.
    pub fn start(from: u16, to: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", from)).expect("the proxy's port is free");
        let shared = Arc::new(Shared::default());
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if accepting.ended.load(Ordering::Relaxed) {
                    return;
                }
                let shared = Arc::clone(&accepting);
                std::thread::spawn(move || connection(client, to, &shared));
            }
        });
        Self { shared }
    }

    /// Once this returns nothing comes through, and nothing is refused.
    pub fn swallow(&self) {
        self.shared.swallows.store(true, Ordering::SeqCst);
        std::thread::sleep(LOOK * 3); // what was being read still is
    }

    /// As before again.
    pub fn pass(&self) {
        self.shared.era.fetch_add(1, Ordering::SeqCst);
        self.shared.swallows.store(false, Ordering::SeqCst);
    }

    /// Bytes from clients that were passed on to the broker.
    pub fn passed(&self) -> u64 {
        self.shared.passed.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.shared.era.fetch_add(1, Ordering::SeqCst);
    }
}

fn connection(client: TcpStream, to: u16, shared: &Arc<Shared>) {
    let era = shared.era.load(Ordering::SeqCst);
    // In a black hole the connection is made, as far as the client's kernel knows, and then nothing.
    while shared.swallows.load(Ordering::SeqCst) && shared.era.load(Ordering::SeqCst) == era {
        std::thread::sleep(LOOK);
    }
    if shared.era.load(Ordering::SeqCst) != era {
        return;
    }
    let Ok(broker) = TcpStream::connect(("127.0.0.1", to)) else { return };
    let (Ok(client_too), Ok(broker_too)) = (client.try_clone(), broker.try_clone()) else { return };
    let counting = Arc::clone(shared);
    let out = std::thread::spawn(move || pump(client, broker, era, &counting, true));
    // An error is an end like any other.
    pump(broker_too, client_too, era, shared, false).ok();
    out.join().expect("the pump does not panic").ok();
}

/// Copies one direction until either side, or the era, ends.
fn pump(mut from: TcpStream, mut to: TcpStream, era: u64, shared: &Shared, counted: bool) -> io::Result<()> {
    from.set_read_timeout(Some(LOOK))?;
    let mut buffer = vec![0; 64 << 10];
    while shared.era.load(Ordering::SeqCst) == era {
        if shared.swallows.load(Ordering::SeqCst) {
            std::thread::sleep(LOOK); // not even read: the client's window fills, as behind dropped packets
            continue;
        }
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => {
                // Before they are there: whoever has read them finds them counted.
                shared.passed.fetch_add(if counted { n as u64 } else { 0 }, Ordering::SeqCst);
                to.write_all(&buffer[..n])?;
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
    }
    from.shutdown(Shutdown::Both).ok();
    to.shutdown(Shutdown::Both)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::free_port;

    #[test]
    fn what_is_swallowed_is_neither_refused_nor_ever_delivered() {
        let broker = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free_port();
        let proxy = Proxy::start(port, broker.local_addr().unwrap().port());
        let connect = || TcpStream::connect(("127.0.0.1", port)).unwrap();
        let mut client = connect();
        let (mut server, _) = broker.accept().unwrap();
        client.write_all(b"one").unwrap();
        let mut read = [0; 3];
        server.read_exact(&mut read).unwrap();
        assert_eq!((&read, proxy.passed()), (b"one", 3));

        proxy.swallow();
        client.write_all(b"two").unwrap();
        drop(connect());
        server.set_read_timeout(Some(LOOK * 4)).unwrap();
        assert!(server.read(&mut read).is_err(), "nothing comes through");

        proxy.pass();
        server.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        assert_eq!(server.read(&mut read).unwrap(), 0, "the old connection is cut");
        let mut again = connect();
        again.write_all(b"six").unwrap();
        let (mut server, _) = broker.accept().unwrap();
        server.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"six");
    }
}
