//! Whoever is told of alerts: a server that takes webhooks, answers each with 200 and counts what it was told.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// The longest webhook that is read.
const BODY_BYTES_MAX: u64 = 256 << 20;

/// What was told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    pub(crate) webhooks: u64,
    /// Alerts that were told to fire, by fingerprint.
    pub(crate) firing: BTreeSet<String>,
}

/// A server on the loopback, which lives as long as this process.
#[derive(Debug)]
pub(crate) struct Receiver {
    address: SocketAddr,
    told: Arc<Mutex<Told>>,
}

impl Receiver {
    pub(crate) fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let receiver = Self {
            address: listener.local_addr()?,
            told: Arc::default(),
        };
        let told = Arc::clone(&receiver.told);
        // A connection ends with the server that made it.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let told = Arc::clone(&told);
                std::thread::spawn(move || drop(serve(stream, &told)));
            }
        });
        Ok(receiver)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    pub(crate) fn told(&self) -> Told {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.clone()
    }
}

/// Answers the requests of a connection until it is closed.
fn serve(stream: TcpStream, told: &Mutex<Told>) -> Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let body = read_request(&mut reader)?;
        let message: Value = serde_json::from_slice(&body)?;
        let alerts = message["alerts"].as_array().context("no alerts")?;
        let firing = alerts.iter().filter(|alert| alert["status"] == "firing");
        let firing = firing.filter_map(|alert| alert["fingerprint"].as_str());
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        told.webhooks += 1;
        told.firing.extend(firing.map(str::to_owned));
        drop(told);
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        reader.get_mut().write_all(answer)?;
    }
}

/// Returns the body of the next request.
fn read_request(reader: &mut impl BufRead) -> Result<Vec<u8>> {
    let mut bytes = 0;
    loop {
        let mut line = String::new();
        let read = reader.by_ref().take(64 << 10).read_line(&mut line)?;
        ensure!(read > 0, "the connection was closed");
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(length) = line.strip_prefix("content-length:") {
            bytes = length.trim().parse()?;
        }
    }
    ensure!(bytes <= BODY_BYTES_MAX, "a webhook of {bytes} bytes");
    let mut body = Vec::new();
    reader.take(bytes).read_to_end(&mut body)?;
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Client;

    #[test]
    fn firing_alerts_are_counted_once() {
        let receiver = Receiver::start().expect("a free port");
        let mut client = Client::new(receiver.address);
        let body = br#"{"alerts":[{"status":"firing","fingerprint":"a"},{"status":"resolved","fingerprint":"b"}]}"#;
        for _ in 0..2 {
            let answer = client.post("/", "", body).expect("an answer");
            assert_eq!(answer.status, 200);
        }
        let told = receiver.told();
        assert_eq!((told.webhooks, told.firing.len()), (2, 1));
    }
}
