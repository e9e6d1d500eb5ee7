//! Ports that stay free while a process is down.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the ports that the kernel hands out, so that nobody takes one by chance between two lives of a process.
const FIRST: u16 = 12_000;
const PORTS: u16 = 18_000;

/// Returns a port of the loopback that is free for TCP and UDP, another one at each call.
///
/// # Panics
/// When all are taken.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test runs beside each other begin at different places.
    let begin = u16::try_from(std::process::id() * 61 % u32::from(PORTS)).unwrap_or(0);
    for _ in 0..PORTS {
        let step = NEXT.fetch_add(1, Ordering::Relaxed) % PORTS;
        let port = FIRST + (begin + step) % PORTS;
        let is_free = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
            && UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        if is_free {
            return port;
        }
    }
    panic!("no free port from {FIRST} on");
}
