//! Remote write 1.0, from the sender's side: requests, and the feeding of a workload over two connections.
//!
//! A request is `WriteRequest { repeated TimeSeries { repeated Label { name, value }, repeated Sample { value, timestamp } } }` in
//! protobuf, packed by snappy's block format. The label sets are encoded once; each request holds 2,000 series with one sample each.

use std::net::SocketAddr;
use std::sync::Barrier;

use anyhow::{Context, Result};
use benches::Host;
use model::{Labels, TimestampMs};

use crate::http::Client;

/// Series of a request.
const SERIES_PER_REQUEST: usize = 2_000;
/// Connections, and threads that encode for them.
const CONNECTIONS: usize = 2;
const HEADERS: &str = "content-encoding: snappy\r\ncontent-type: application/x-protobuf\r\nx-prometheus-remote-write-version: 0.1.0\r\nuser-agent: compare\r\n";

/// Sends the rows of hosts to a server.
#[derive(Debug)]
pub(crate) struct Feeder {
    lanes: Vec<Lane>,
}

/// What was sent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sent {
    pub(crate) samples: u64,
    pub(crate) bytes: u64,
    /// The time of the last row of the first host.
    pub(crate) last: TimestampMs,
}

/// What one connection sends.
#[derive(Debug)]
struct Lane {
    hosts: Vec<(Host, Vec<Vec<u8>>)>,
}

impl Feeder {
    pub(crate) fn new(hosts: impl IntoIterator<Item = Host>) -> Self {
        let mut lanes: Vec<Lane> = (0..CONNECTIONS)
            .map(|_| Lane { hosts: Vec::new() })
            .collect();
        for (number, host) in hosts.into_iter().enumerate() {
            let labels = host
                .series()
                .iter()
                .map(|series| encode_labels(&series.labels));
            let labels = labels.collect();
            lanes[number % CONNECTIONS].hosts.push((host, labels));
        }
        Self { lanes }
    }

    pub(crate) fn series(&self) -> usize {
        let hosts = self.lanes.iter().flat_map(|lane| &lane.hosts);
        hosts.map(|(_, labels)| labels.len()).sum()
    }

    /// Sends the next `rows` rows of all hosts; each row is answered everywhere before the next one begins.
    pub(crate) fn send(&mut self, server: SocketAddr, rows: usize) -> Result<Sent> {
        let barrier = Barrier::new(self.lanes.len());
        std::thread::scope(|scope| {
            let threads: Vec<_> = self
                .lanes
                .iter_mut()
                .map(|lane| scope.spawn(|| lane.send(server, rows, &barrier)))
                .collect();
            let mut sent = Sent::default();
            for thread in threads {
                let part = thread
                    .join()
                    .map_err(|_| anyhow::anyhow!("a sender panicked"))??;
                sent.samples += part.samples;
                sent.bytes += part.bytes;
                if sent.last == TimestampMs::default() {
                    sent.last = part.last;
                }
            }
            Ok(sent)
        })
    }
}

impl Lane {
    fn send(&mut self, server: SocketAddr, rows: usize, barrier: &Barrier) -> Result<Sent> {
        let mut client = Client::new(server);
        let mut sent = Sent::default();
        let mut failure = None;
        let (mut values, mut request) = (Vec::new(), Request::default());
        for _ in 0..rows {
            for (number, (host, labels)) in self.hosts.iter_mut().enumerate() {
                let at = host.next_row(&mut values);
                if number == 0 {
                    sent.last = at;
                }
                for (labels, value) in labels.iter().zip(&values) {
                    request.push(labels, at, *value);
                    if request.series == SERIES_PER_REQUEST && failure.is_none() {
                        failure = request.post(&mut client, &mut sent).err();
                    }
                }
            }
            if request.series > 0 && failure.is_none() {
                failure = request.post(&mut client, &mut sent).err();
            }
            // Who has failed still comes, so that the others do not wait for ever.
            barrier.wait();
        }
        failure.map_or(Ok(sent), Err)
    }
}

/// A request being written.
#[derive(Debug, Default)]
struct Request {
    series: usize,
    bytes: Vec<u8>,
}

impl Request {
    fn push(&mut self, labels: &[u8], at: TimestampMs, value: f64) {
        let mut sample = Vec::with_capacity(24);
        sample.push(0x09);
        sample.extend_from_slice(&value.to_le_bytes());
        sample.push(0x10);
        put_varint(at.0.cast_unsigned(), &mut sample);
        let mut head = Vec::with_capacity(2);
        head.push(0x12);
        put_varint(sample.len() as u64, &mut head);
        self.bytes.push(0x0a);
        put_varint(
            (labels.len() + head.len() + sample.len()) as u64,
            &mut self.bytes,
        );
        self.bytes.extend_from_slice(labels);
        self.bytes.extend_from_slice(&head);
        self.bytes.extend_from_slice(&sample);
        self.series += 1;
    }

    fn post(&mut self, client: &mut Client, sent: &mut Sent) -> Result<()> {
        let packed = snap::raw::Encoder::new().compress_vec(&self.bytes)?;
        let answer = client.post("/api/v1/write", HEADERS, &packed)?.success();
        answer.context("a remote write was refused")?;
        sent.samples += self.series as u64;
        sent.bytes += packed.len() as u64;
        self.series = 0;
        self.bytes.clear();
        Ok(())
    }
}

/// Returns the label fields of a time series.
fn encode_labels(labels: &Labels) -> Vec<u8> {
    let mut out = Vec::with_capacity(labels.text_bytes() + 8 * labels.len());
    for (name, value) in labels.iter() {
        let mut label = Vec::with_capacity(name.len() + value.len() + 8);
        for (tag, text) in [(0x0a, name), (0x12, value)] {
            label.push(tag);
            put_varint(text.len() as u64, &mut label);
            label.extend_from_slice(text.as_bytes());
        }
        out.push(0x0a);
        put_varint(label.len() as u64, &mut out);
        out.extend_from_slice(&label);
    }
    out
}

fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(u8::try_from(value & 0x7f).unwrap_or(0) | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).unwrap_or(0));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_the_protobuf_of_the_specification() {
        let labels = Labels::from_pairs([("__name__", "up"), ("a", "b")]).expect("valid");
        let mut request = Request::default();
        request.push(&encode_labels(&labels), TimestampMs(300), 1.0);
        let expected = b"\x0a\x2a\x0a\x0e\x0a\x08__name__\x12\x02up\x0a\x06\x0a\x01a\x12\x01b\x12\x0c\x09\0\0\0\0\0\0\xf0\x3f\x10\xac\x02";
        let body = request.bytes.as_slice();
        assert_eq!(usize::from(body[1]), body.len() - 2);
        assert_eq!(body[2..], expected[2..]);
    }
}
