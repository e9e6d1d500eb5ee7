//! A relay between agents and an aggregator: TCP always, UDP as it is told.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::ports::free_port;
use super::waiting::pause;

/// How often threads look whether they are to end.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Addresses that UDP comes from; a test has a handful.
const CLIENTS_MAX: usize = 256;

/// What becomes of UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Udp {
    /// It arrives.
    Forwarded,
    /// It vanishes, as behind most firewalls.
    Swallowed,
    /// The port is closed: the kernel says so to the sender.
    Refused,
}

/// A relay. Its threads end with it.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    to: SocketAddr,
    udp: AtomicU8,
    stop: AtomicBool,
    /// Connections and their threads, to be cut at the end.
    open: Mutex<Vec<TcpStream>>,
}

impl Relay {
    /// Starts a relay to `aggregator` (`HOST:PORT` in digits).
    ///
    /// # Panics
    /// When it cannot listen.
    pub fn to(aggregator: &str, udp: Udp) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let shared = Arc::new(Shared {
            to: aggregator.parse().expect("an address"),
            udp: AtomicU8::new(udp as u8),
            stop: AtomicBool::new(false),
            open: Mutex::default(),
        });
        let listener = TcpListener::bind(address).expect("the port is free");
        listener.set_nonblocking(true).expect("a listener can");
        let (tcp, datagrams) = (Arc::clone(&shared), Arc::clone(&shared));
        let threads = vec![
            thread::spawn(move || tcp.accept(&listener)),
            thread::spawn(move || datagrams.forward_datagrams(address)),
        ];
        Self {
            address,
            shared,
            threads,
        }
    }

    /// Returns where agents dial.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Changes what becomes of UDP, for what is under way as well.
    pub fn set_udp(&self, udp: Udp) {
        self.shared.udp.store(udp as u8, Ordering::SeqCst);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            assert!(
                thread.join().is_ok() || thread::panicking(),
                "a relay works"
            );
        }
    }
}

impl Shared {
    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn udp_is(&self, udp: Udp) -> bool {
        self.udp.load(Ordering::SeqCst) == udp as u8
    }

    fn accept(&self, listener: &TcpListener) {
        let mut copying = Vec::new();
        while !self.is_stopped() {
            match listener.accept() {
                // An aggregator that is down refuses; the agent sees its connection end.
                Ok((stream, _)) => copying.extend(self.connect(stream).into_iter().flatten()),
                Err(_) => pause(LOOK_EVERY),
            }
        }
        // Nobody connects any more; whoever was connected has gone by now, perhaps.
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        for stream in open.iter() {
            drop(stream.shutdown(Shutdown::Both));
        }
        for thread in copying {
            thread.join().expect("copying cannot panic");
        }
    }

    fn connect(&self, inbound: TcpStream) -> io::Result<[JoinHandle<()>; 2]> {
        inbound.set_nonblocking(false)?;
        let outbound = TcpStream::connect(self.to)?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.extend([inbound.try_clone()?, outbound.try_clone()?]);
        let (back_from, back_to) = (outbound.try_clone()?, inbound.try_clone()?);
        Ok([
            thread::spawn(move || copy(inbound, outbound)),
            thread::spawn(move || copy(back_from, back_to)),
        ])
    }

    fn forward_datagrams(&self, address: SocketAddr) {
        while !self.is_stopped() {
            if self.udp_is(Udp::Refused) {
                pause(LOOK_EVERY);
                continue;
            }
            let socket = UdpSocket::bind(address).expect("the port stays ours");
            self.forward_through(&socket).expect("a socket works");
        }
    }

    /// Forwards until UDP is refused, on one thread: a test has little traffic.
    fn forward_through(&self, socket: &UdpSocket) -> io::Result<()> {
        socket.set_nonblocking(true)?;
        let mut upstream: HashMap<SocketAddr, UdpSocket> = HashMap::new();
        let mut datagram = vec![0; 65_536];
        while !self.is_stopped() && !self.udp_is(Udp::Refused) {
            let mut idle = true;
            while let Ok((length, from)) = socket.recv_from(&mut datagram) {
                idle = false;
                if self.udp_is(Udp::Swallowed) || upstream.len() >= CLIENTS_MAX {
                    continue;
                }
                let to = match upstream.entry(from) {
                    std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
                    std::collections::hash_map::Entry::Vacant(new) => new.insert(self.upstream()?),
                };
                // A datagram that cannot be sent is lost, as datagrams are.
                drop(to.send(&datagram[..length]));
            }
            for (client, from) in &upstream {
                while let Ok(length) = from.recv(&mut datagram) {
                    idle = false;
                    if self.udp_is(Udp::Forwarded) {
                        drop(socket.send_to(&datagram[..length], client));
                    }
                }
            }
            if idle {
                pause(Duration::from_millis(1));
            }
        }
        Ok(())
    }

    fn upstream(&self) -> io::Result<UdpSocket> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(self.to)?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = vec![0; 16_384];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    // Both directions end together; either side may have gone already.
    drop(to.shutdown(Shutdown::Both));
    drop(from.shutdown(Shutdown::Both));
}
