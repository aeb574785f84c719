//! Where something is: an endpoint of the run, an address, a name. Every address goes through the allow check each time it
//! becomes known. Must not connect.

use crate::names::{Lookup, Names};
use crate::reactor::Handle;
use crate::trouble::NoConnection;
use shakedown_core::seams::Endpoints;
use shakedown_core::snapshot::Failure;
use shakedown_core::{AllowList, Allowed};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Where something is.
#[derive(Debug)]
pub(crate) struct Site {
    place: Place,
    /// Which of its addresses took the last connection: the next one is tried there first.
    last: AtomicUsize,
}

#[derive(Debug)]
enum Place {
    /// An endpoint of the run, looked up for every connection; perhaps with another address than its own.
    Endpoint(String, Endpoints, AllowList, Option<IpAddr>),
    Address(Allowed),
    Name(Arc<Names>),
}

impl Site {
    pub(crate) fn endpoint(name: &str, endpoints: &Endpoints, allow: &AllowList, pin: Option<IpAddr>) -> Site {
        Site::at(Place::Endpoint(name.to_owned(), endpoints.clone(), allow.clone(), pin))
    }

    pub(crate) fn address(address: Allowed) -> Site {
        Site::at(Place::Address(address))
    }

    pub(crate) fn name(host: &str, port: u16, allow: &AllowList, every: Option<Duration>, lookup: Box<Lookup>) -> Site {
        Site::at(Place::Name(Names::new(host, port, allow, every, lookup)))
    }

    fn at(place: Place) -> Site {
        Site { place, last: AtomicUsize::new(0) }
    }

    /// Its addresses now, at least one.
    pub(crate) async fn addresses(&self, handle: &Handle) -> Result<Arc<[Allowed]>, NoConnection> {
        match &self.place {
            Place::Address(address) => Ok(Arc::new([*address])),
            Place::Name(names) => names.addresses(handle).await,
            Place::Endpoint(name, endpoints, allow, pin) => {
                let gone = |why: String| NoConnection::new(Failure::Connect, why);
                let addr = endpoints.get(name).ok_or_else(|| gone(format!("endpoint {name} is gone")))?;
                let addr = pin.map_or(addr, |ip| SocketAddr::new(ip, addr.port()));
                Ok(Arc::new([allow.check(addr).map_err(|e| gone(e.0))?]))
            }
        }
    }

    /// Where to begin among so many addresses.
    pub(crate) fn begin(&self, count: usize) -> usize {
        self.last.load(Ordering::Relaxed) % count
    }

    /// This one took a connection.
    pub(crate) fn took(&self, index: usize) {
        self.last.store(index, Ordering::Relaxed);
    }

    /// Lookups that failed while older addresses stayed in use.
    pub(crate) fn failed_lookups(&self) -> u64 {
        match &self.place {
            Place::Name(names) => names.failed(),
            _ => 0,
        }
    }
}
