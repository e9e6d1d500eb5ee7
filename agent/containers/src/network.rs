//! What a network namespace's interfaces carried: `/proc/PID/net/dev`.

/// Interfaces that are no business of a pod's.
const IGNORED: [&[u8]; 4] = [b"lo", b"veth", b"docker", b"nerdctl"];

/// Of so many interfaces of a namespace values are kept.
const INTERFACES_MAX: usize = 256;

/// The interfaces of a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    interfaces: Vec<Interface>,
}

/// An interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Interface {
    pub(crate) name: String,
    pub(crate) received: Traffic,
    pub(crate) sent: Traffic,
}

/// Traffic in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) bytes: u64,
    pub(crate) packets: u64,
    pub(crate) errors: u64,
    pub(crate) dropped: u64,
}

impl Network {
    pub(crate) fn interfaces(&self) -> impl Iterator<Item = &Interface> {
        self.interfaces.iter()
    }

    /// Takes over what the file says; returns how many lines are none of its shape. Allocates only for interfaces that are new.
    pub fn take(&mut self, bytes: &[u8]) -> u64 {
        let (mut known, mut errors) = (0, 0);
        // Two lines of headings have no colon after a name.
        for line in scan::lines(bytes).skip(2) {
            let Some((name, received, sent)) = interface(line) else {
                errors += 1;
                continue;
            };
            let is_ignored = IGNORED.iter().any(|ignored| name.starts_with(ignored));
            if is_ignored || known >= INTERFACES_MAX {
                continue;
            }
            if known == self.interfaces.len() {
                self.interfaces.push(Interface::default());
            }
            if let Some(interface) = self.interfaces.get_mut(known) {
                if interface.name.as_bytes() != name {
                    interface.name = scan::text(name).into_owned();
                }
                (interface.received, interface.sent) = (received, sent);
                known += 1;
            }
        }
        self.interfaces.truncate(known);
        errors
    }
}

/// Reads `NAME: BYTES PACKETS ERRORS DROPPED 0 0 0 0 BYTES PACKETS ERRORS DROPPED ...`; names may hold colons.
fn interface(line: &[u8]) -> Option<(&[u8], Traffic, Traffic)> {
    let at = line.iter().rposition(|byte| *byte == b':')?;
    let (name, numbers) = (line.get(..at)?.trim_ascii(), line.get(at + 1..)?);
    let mut numbers = scan::words(numbers).map(scan::number);
    let mut traffic = || {
        Some(Traffic {
            bytes: numbers.next()??,
            packets: numbers.next()??,
            errors: numbers.next()??,
            dropped: numbers.next()??,
        })
    };
    let received = traffic()?;
    traffic()?;
    Some((name, received, traffic()?)).filter(|(name, ..)| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_of_pods_are_read_and_others_left_out() {
        let text = b"Inter-| Receive\n face |bytes\n    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n  eth0: 10 2 3 4 0 0 0 0 50 6 7 8 0 0 0 0\n eth0:1:5 6 7 8 0 0 0 0 9 10 11 12 0 0 0 0\nvethab: 1 1 1 1 0 0 0 0 1 1 1 1 0 0 0 0\nbad: 1 2 x\n";
        let mut network = Network::default();
        assert_eq!(network.take(text), 1);
        let shown: Vec<_> = network
            .interfaces()
            .map(|i| (i.name.as_str(), i.received.dropped, i.sent.bytes))
            .collect();
        assert_eq!(shown, [("eth0", 4, 50), ("eth0:1", 8, 9)]);
        assert_eq!(network.take(b""), 0);
        assert_eq!(network.interfaces().count(), 0);
    }
}
