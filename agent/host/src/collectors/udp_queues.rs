//! Bytes that wait in the queues of UDP sockets: `net/udp` and `net/udp6`.

use super::Collector;
use crate::error::CollectError;
use crate::host::Moment;
use crate::kept_file::{Content, KeptFile};
use crate::{Family, Paths, Sink, scan};

static QUEUES: Family = Family::gauge(
    "node_udp_queues",
    "Number of allocated memory in the kernel for UDP datagrams in bytes.",
    &["queue", "ip"],
);

/// The column `tx_queue:rx_queue`.
const QUEUES_COLUMN: usize = 4;

#[derive(Debug)]
pub(super) struct UdpQueues {
    files: [(&'static str, KeptFile); 2],
}

impl UdpQueues {
    pub(super) fn new(paths: &Paths) -> Self {
        let file = |name| KeptFile::new(paths.procfs.join(name));
        Self {
            files: [("v4", file("net/udp")), ("v6", file("net/udp6"))],
        }
    }
}

impl Collector for UdpQueues {
    fn collect(&mut self, _: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        let mut found = false;
        for (ip, file) in &mut self.files {
            let content = match file.read() {
                Ok(content) => content,
                Err(error) if error.is_missing() => continue,
                Err(error) => return Err(error),
            };
            let (sent, received) = sum(content)?;
            sink.sample(&QUEUES, &["tx", ip], sent as f64);
            sink.sample(&QUEUES, &["rx", ip], received as f64);
            found = true;
        }
        if found {
            Ok(())
        } else {
            Err(CollectError::NoData("there is no UDP"))
        }
    }
}

/// A line of headings stands above the sockets.
fn sum(content: Content<'_>) -> Result<(u64, u64), CollectError> {
    let mut sums = (0_u64, 0_u64);
    for line in content.lines().skip(1) {
        let Some((sent, received)) = queues(line) else {
            return Err(content.without("lines of sockets"));
        };
        sums = (sums.0.saturating_add(sent), sums.1.saturating_add(received));
    }
    Ok(sums)
}

pub(super) fn queues(line: &[u8]) -> Option<(u64, u64)> {
    let (sent, received) = scan::split_once(scan::words(line).nth(QUEUES_COLUMN)?, b':')?;
    Some((scan::hexadecimal(sent)?, scan::hexadecimal(received)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_are_hexadecimal() {
        let line = b"  0: 00000000:0016 00000000:0000 07 00000015:000000a1 00:00000000 0";
        assert_eq!(queues(line), Some((0x15, 0xa1)));
        for bad in ["", "0: a b 07", "0: a b 07 x:1", "0: a b 07 1"] {
            assert_eq!(queues(bad.as_bytes()), None, "{bad}");
        }
    }
}
