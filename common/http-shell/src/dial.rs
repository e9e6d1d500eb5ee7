//! Connecting to addresses that people configure, without being led where nobody meant to go.
//!
//! A name can stand for any address, and a redirect for any name. What answers at link-local addresses, the clouds' metadata services
//! above all, gives secrets to whoever asks from inside. So the address that is dialled is checked, not the name.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::{TcpStream, lookup_host};

/// The most addresses of a name that are tried.
const ADDRESSES_MAX: usize = 8;
/// Metadata services that are not at link-local addresses.
const METADATA: [IpAddr; 3] = [
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x254)),
];

/// Where connections may go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// Anywhere but to link-local addresses and metadata services of clouds.
    #[default]
    Ordinary,
    /// Anywhere.
    Anywhere,
}

impl Reach {
    /// Returns whether an address may be dialled.
    pub fn allows(self, address: IpAddr) -> bool {
        match self {
            Self::Anywhere => true,
            Self::Ordinary => !is_sensitive(address),
        }
    }
}

fn is_sensitive(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local() || METADATA.contains(&address),
        IpAddr::V6(v6) => match embedded(v6) {
            Some(v4) => is_sensitive(v4.into()),
            None => v6.is_unicast_link_local() || METADATA.contains(&address),
        },
    }
}

/// Returns the older address that a newer one leads to: mapped, compatible, or translated (NAT64, 6to4).
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let at = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            Some(at(high, low))
        }
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => Some(at(high, low)),
        [0x2002, high, low, ..] => Some(at(high, low)),
        _ => None,
    }
}

/// Why there is no connection.
#[derive(Debug)]
pub enum DialError {
    /// The name stands for addresses that may not be dialled, and for no others.
    Refused(IpAddr),
    /// The name is unknown, or nobody answers.
    Failed(io::Error),
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(address) => write!(
                f,
                "{address} is link-local or a metadata service, which is refused unless allowed"
            ),
            Self::Failed(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for DialError {}

impl From<io::Error> for DialError {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

/// Connects to a host (a name or an address) and a port, within `reach`. Takes as long as the system does: bound it.
pub async fn dial(host: &str, port: u16, reach: Reach) -> Result<TcpStream, DialError> {
    let host = host.trim_matches(['[', ']']);
    let addresses: Vec<SocketAddr> = lookup_host((host, port))
        .await?
        .take(ADDRESSES_MAX)
        .collect();
    let mut last = DialError::Failed(io::Error::other("the name has no address"));
    for address in addresses {
        if !reach.allows(address.ip()) {
            last = DialError::Refused(address.ip());
            continue;
        }
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error.into(),
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_give_secrets_are_out_of_reach_in_every_form() {
        for address in [
            "169.254.169.254",
            "169.254.0.1",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "fe80::1",
            "fd00:ec2::254",
            "100.100.100.200",
            "168.63.129.16",
        ] {
            let address: IpAddr = address.parse().unwrap();
            assert!(!Reach::Ordinary.allows(address), "{address}");
            assert!(Reach::Anywhere.allows(address), "{address}");
        }
        for address in [
            "127.0.0.1",
            "10.0.0.1",
            "::1",
            "fd00::1",
            "2001:db8::1",
            "1.1.1.1",
        ] {
            let address: IpAddr = address.parse().unwrap();
            assert!(Reach::Ordinary.allows(address), "{address}");
        }
    }
}
