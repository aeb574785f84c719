//! Addresses that may get load, mirrors or faults. `Allowed` is made only by the allow check.

use crate::fail::Fail;
use std::net::{IpAddr, SocketAddr};

/// An address that passed the allow check. Load and injectors take nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Allowed(SocketAddr);

/// The allow list: CIDR blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowList(Vec<(IpAddr, u8)>);

impl Allowed {
    /// The address itself.
    #[must_use]
    pub fn addr(self) -> SocketAddr {
        self.0
    }
}

impl AllowList {
    /// Reads `127.0.0.0/8`, `::1`, `10.1.2.3`.
    ///
    /// # Errors
    /// A sentence naming the entry that is no address or block.
    pub fn parse(entries: &[String]) -> Result<AllowList, String> {
        let one = |text: &String| {
            let wrong = || format!("`{text}` is not an address block; write 127.0.0.0/8 or ::1");
            let (addr, bits) = text.split_once('/').map_or((text.as_str(), None), |(a, b)| (a, Some(b)));
            let addr: IpAddr = addr.parse().map_err(|_| wrong())?;
            let full = if addr.is_ipv4() { 32 } else { 128 };
            let bits: u8 = bits.map_or(Ok(full), |b| b.parse().map_err(|_| wrong()))?;
            if bits <= full { Ok((addr, bits)) } else { Err(wrong()) }
        };
        Ok(AllowList(entries.iter().map(one).collect::<Result<_, String>>()?))
    }

    /// The check itself.
    ///
    /// # Errors
    /// When no block covers the address.
    pub fn check(&self, addr: SocketAddr) -> Result<Allowed, Fail> {
        let ip = addr.ip().to_canonical();
        if self.0.iter().any(|(block, bits)| covers(*block, *bits, ip)) {
            Ok(Allowed(addr))
        } else {
            Err(Fail::new(format!("{addr} is not in environment.allow; add its block there if load and faults may reach it")))
        }
    }
}

fn covers(block: IpAddr, bits: u8, ip: IpAddr) -> bool {
    match (block, ip) {
        (IpAddr::V4(b), IpAddr::V4(i)) => {
            u32::from(b).checked_shr(32 - u32::from(bits)).unwrap_or(0) == u32::from(i).checked_shr(32 - u32::from(bits)).unwrap_or(0)
        }
        (IpAddr::V6(b), IpAddr::V6(i)) => {
            u128::from(b).checked_shr(128 - u32::from(bits)).unwrap_or(0) == u128::from(i).checked_shr(128 - u32::from(bits)).unwrap_or(0)
        }
        _ => false,
    }
}
