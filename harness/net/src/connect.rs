//! Making connections along a route; how long each part took. Must not keep connections.

use crate::dial;
use crate::proxy;
use crate::reactor::Handle;
use crate::route::{End, Route, Scheme};
use crate::site::Site;
use crate::socket::Socket;
use crate::stream::{Stream, TlsStream};
use crate::tls::TlsClient;
use crate::trouble::{NoConnection, Shortage};
use shakedown_core::snapshot::Failure;
use shakedown_core::{Allowed, Fail};
use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How long a target may take to be resolved and to accept the first connection.
pub const CHECK_WITHIN: Duration = Duration::from_secs(5);
/// How long an address may take when there is another one to be tried.
const EACH_WITHIN: Duration = Duration::from_secs(1);

/// Makes connections along a route, on one loop. Cheap to clone; clones count together.
#[derive(Clone, Debug)]
pub struct Connector {
    handle: Handle,
    route: Route,
    shortage: Rc<Cell<Shortage>>,
}

/// A new connection and what it took.
#[derive(Debug)]
pub struct Connected {
    /// The connection.
    pub stream: Stream,
    /// From the first attempt to connected (name resolution and proxy included, handshake not).
    pub connect: Duration,
    /// The TLS handshake; `None` without TLS.
    pub tls: Option<Duration>,
    /// The handshake resumed a session.
    pub resumed: bool,
    /// The protocol agreed by ALPN.
    pub alpn: Option<Vec<u8>>,
}

impl Connector {
    /// A connector on a loop.
    #[must_use]
    pub fn new(handle: &Handle, route: &Route) -> Connector {
        Connector { handle: handle.clone(), route: route.clone(), shortage: Rc::default() }
    }

    /// Where it leads.
    #[must_use]
    pub fn route(&self) -> &Route {
        &self.route
    }

    /// The loop it works on.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// What this machine ran out of since the last call, whoever the connections were for.
    #[must_use]
    pub fn take_shortage(&self) -> Shortage {
        self.shortage.take()
    }

    fn counted<T>(&self, made: Result<T, NoConnection>) -> Result<T, NoConnection> {
        if let Err(no) = &made {
            self.shortage.set(self.shortage.get().and(no));
        }
        made
    }

    /// Sees that the target is there: resolves its name and makes one connection without a handshake, within
    /// [`CHECK_WITHIN`]. Of a datagram target only the name is seen to.
    ///
    /// # Errors
    /// Names the target, its address and what is wrong with it.
    pub async fn check(&self) -> Result<(), Fail> {
        let parts = &self.route.0;
        let until = Instant::now() + CHECK_WITHIN;
        let at = |why: String| Fail::new(format!("target `{}` at {}: {why}", parts.name, parts.at));
        if let End::Site(site) = &parts.end {
            let found = self.handle.before(until, site.addresses(&self.handle)).await;
            found.ok_or_else(|| at(format!("was not resolved within {CHECK_WITHIN:?}")))?.map_err(|e| at(e.why))?;
        }
        if parts.scheme == Scheme::Udp {
            return self.datagram().await.map(drop).map_err(|e| at(e.why));
        }
        match self.handle.before(until, self.open()).await {
            Some(Ok(_)) => Ok(()),
            Some(Err(e)) => Err(at(format!("cannot be reached: {}", e.why))),
            None => Err(at(format!("cannot be reached: no answer within {CHECK_WITHIN:?}"))),
        }
    }

    /// Makes a connection. Has no time limit of its own: whoever waits gives up by dropping it.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn connect(&self) -> Result<Connected, NoConnection> {
        self.counted(self.make().await)
    }

    async fn make(&self) -> Result<Connected, NoConnection> {
        let started = Instant::now();
        let (socket, place) = self.open().await?;
        let connect = started.elapsed();
        let Some(tls) = &self.route.0.tls else {
            return Ok(Connected { stream: Stream::Plain(socket), connect, tls: None, resumed: false, alpn: None });
        };
        let began = Instant::now();
        let stream = handshake(tls, socket).await.map_err(|e| NoConnection::handshake(&place, &e))?;
        let took = began.elapsed();
        let session = stream.session();
        if let Some(why) = tls.refuse(session) {
            return Err(NoConnection::new(Failure::Tls, format!("{place}: TLS: {why}")));
        }
        let (resumed, alpn) = (session.resumed(), session.alpn().map(<[u8]>::to_vec));
        Ok(Connected { stream: Stream::Tls(stream), connect, tls: Some(took), resumed, alpn })
    }

    /// A datagram socket that sends to and receives from the target only.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn datagram(&self) -> Result<Socket, NoConnection> {
        self.counted(self.make_datagram().await)
    }

    async fn make_datagram(&self) -> Result<Socket, NoConnection> {
        let End::Site(site) = &self.route.0.end else {
            return Err(NoConnection::new(Failure::Connect, "datagrams to Unix sockets are not supported"));
        };
        let addresses = site.addresses(&self.handle).await?;
        let mut why = None;
        for to in addresses.iter() {
            let made = self.source(*to).and_then(|from| dial::datagram(&self.handle, *to, from));
            match made {
                Ok(socket) => return Ok(socket),
                Err(e) => why = Some(NoConnection::system(&to.addr().to_string(), &e)),
            }
        }
        Err(why.expect("a site has an address"))
    }

    /// A connection on which the handshake or the first request comes next, and where it leads, for people.
    async fn open(&self) -> Result<(Socket, String), NoConnection> {
        let parts = &self.route.0;
        let site = match &parts.end {
            End::Site(site) => site,
            End::Unix(path) => {
                let place = path.display().to_string();
                let socket = dial::unix(&self.handle, path).await.map_err(|e| NoConnection::system(&place, &e))?;
                return Ok((socket, place));
            }
        };
        // With a proxy too: what the target's name means here must be allowed, though the proxy resolves it itself.
        let addresses = site.addresses(&self.handle).await?;
        let Some(via) = &parts.proxy else { return self.dial(site, &addresses).await };
        let within = |e: NoConnection| NoConnection { why: format!("proxy {}: {}", via.at, e.why), ..e };
        let proxies = via.site.addresses(&self.handle).await.map_err(within)?;
        let (mut socket, place) = self.dial(&via.site, &proxies).await.map_err(within)?;
        if !parts.absolute_form {
            proxy::tunnel(&mut socket, &via.at, &via.wanted).await?;
        }
        Ok((socket, place))
    }

    /// Tries the addresses in turn, beginning with the one that took the last connection.
    async fn dial(&self, site: &Site, addresses: &[Allowed]) -> Result<(Socket, String), NoConnection> {
        let (count, begin) = (addresses.len(), site.begin(addresses.len()));
        let mut why = None;
        for step in 0..count {
            let index = (begin + step) % count;
            let to = addresses[index];
            let place = to.addr().to_string();
            match self.attempt(to, step + 1 == count).await {
                Ok(socket) => {
                    site.took(index);
                    return Ok((socket, place));
                }
                Err(e) => why = Some(NoConnection::system(&place, &e)),
            }
        }
        Err(why.expect("a site has an address"))
    }

    async fn attempt(&self, to: Allowed, last: bool) -> io::Result<Socket> {
        let from = self.source(to)?;
        let attempt = dial::tcp(&self.handle, to, from);
        if last {
            return attempt.await;
        }
        let late = || io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {EACH_WITHIN:?}"));
        self.handle.before(Instant::now() + EACH_WITHIN, attempt).await.unwrap_or_else(|| Err(late()))
    }

    fn source(&self, to: Allowed) -> io::Result<Option<std::net::IpAddr>> {
        let none = || io::Error::new(io::ErrorKind::AddrNotAvailable, "none of `sources` is of its address family");
        self.route.source(to.addr()).map_err(|()| none())
    }
}

async fn handshake(tls: &TlsClient, socket: Socket) -> io::Result<TlsStream> {
    TlsStream::handshake(socket, tls.session()?).await
}
