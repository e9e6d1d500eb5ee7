//! A UDP relay that counts: what two programs send each other through it, as a network would carry it.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Result;

/// The headers of IPv4 and UDP, without options.
const HEADER_BYTES: u64 = 20 + 8;
/// A datagram's most.
const DATAGRAM_BYTES_MAX: usize = 1 << 16;
/// How soon a relay ends that was told to.
const HEARTBEAT: Duration = Duration::from_millis(100);

/// A relay of one client at a time; of several, the answers go to the one that spoke last.
#[derive(Debug)]
pub(crate) struct Relay {
    address: SocketAddr,
    counted: Arc<Counted>,
    threads: Vec<JoinHandle<()>>,
}

/// What has passed, in both directions together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Passed {
    pub(crate) datagrams: u64,
    /// Headers of IP and UDP included.
    pub(crate) bytes: u64,
}

#[derive(Debug, Default)]
struct Counted {
    datagrams: AtomicU64,
    bytes: AtomicU64,
    stop: AtomicBool,
}

impl Relay {
    /// Starts a relay to `server`.
    pub(crate) fn start(server: SocketAddr) -> Result<Self> {
        let near = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?);
        let far = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?);
        far.connect(server)?;
        for socket in [&near, &far] {
            socket.set_read_timeout(Some(HEARTBEAT))?;
        }
        let counted = Arc::new(Counted::default());
        let client = Arc::new(AtomicU64::new(0));
        let there = {
            let (near, far, client) = (Arc::clone(&near), Arc::clone(&far), Arc::clone(&client));
            counted.pass(move |buffer| {
                let (length, from) = near.recv_from(buffer)?;
                client.store(u64::from(from.port()), Ordering::Relaxed);
                far.send(&buffer[..length])
            })
        };
        let address = near.local_addr()?;
        let back = counted.pass(move |buffer| {
            let length = far.recv(buffer)?;
            let port = client.load(Ordering::Relaxed).try_into().unwrap_or(0_u16);
            near.send_to(&buffer[..length], (Ipv4Addr::LOCALHOST, port))
        });
        Ok(Self {
            address,
            counted,
            threads: vec![there, back],
        })
    }

    /// Returns where the client is to send to.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn passed(&self) -> Passed {
        Passed {
            datagrams: self.counted.datagrams.load(Ordering::Relaxed),
            bytes: self.counted.bytes.load(Ordering::Relaxed),
        }
    }
}

impl Passed {
    /// Returns what passed since `earlier`.
    pub(crate) const fn since(self, earlier: Self) -> Self {
        Self {
            datagrams: self.datagrams - earlier.datagrams,
            bytes: self.bytes - earlier.bytes,
        }
    }
}

impl Counted {
    /// Passes datagrams on until the relay ends. One that cannot be sent is lost, as in a network, and does not count.
    fn pass(
        self: &Arc<Self>,
        mut one: impl FnMut(&mut [u8]) -> std::io::Result<usize> + Send + 'static,
    ) -> JoinHandle<()> {
        let counted = Arc::clone(self);
        std::thread::spawn(move || {
            let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
            while !counted.stop.load(Ordering::Relaxed) {
                // Otherwise nothing came, or the other side does not listen (any more).
                if let Ok(length) = one(&mut buffer) {
                    let bytes = length as u64 + HEADER_BYTES;
                    counted.datagrams.fetch_add(1, Ordering::Relaxed);
                    counted.bytes.fetch_add(bytes, Ordering::Relaxed);
                }
            }
        })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.counted.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A panic of the thread has been printed.
            thread.join().unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_counted_with_its_headers() {
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let relay = Relay::start(server.local_addr().unwrap()).unwrap();
        let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        client.send_to(b"ask", relay.address()).unwrap();
        let mut buffer = [0; 16];
        let (length, from) = server.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"ask");
        server.send_to(b"answer", from).unwrap();
        let length = client.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"answer");
        // Counted after it was sent, so the last may not be yet.
        while relay.passed().datagrams < 2 {
            std::thread::yield_now();
        }
        assert_eq!(relay.passed().bytes, 28 + 3 + 28 + 6);
    }
}
