//! Sockets of one thread: an epoll loop with nanosecond deadlines, tasks that run on it, and connections with everything
//! that belongs to making one: names, addresses, TLS, proxies. Must not know what is sent, when, or why.
//!
//! One [`Reactor`] belongs to one thread. Whoever drives it calls [`Reactor::turn`] with the moment of its own next
//! deadline and gets back the descriptors it registered itself ([`Handle::register`], one registration for a
//! connection's whole life); everything else — sockets of tasks, sleeps, wakes from other threads — is served inside.
//!
//! One [`Route`] belongs to one target and all threads: what its URL means, its TLS settings and sessions, its resolved
//! addresses. A [`Connector`] makes connections along it on one loop: as a [`Stream`] for tasks, or, by
//! [`Stream::into_direct`], as a [`Direct`] for whoever drives it by hand.

mod connect;
mod dial;
mod direct;
pub mod limits;
mod names;
mod proxy;
mod queue;
mod reactor;
mod route;
mod session;
mod site;
mod sleep;
mod socket;
mod stream;
mod task;
mod tls;
mod trouble;

pub use connect::{CHECK_WITHIN, Connected, Connector};
pub use direct::Direct;
pub use queue::Notifier;
pub use reactor::{Handle, Reactor, Ready};
pub use route::{Route, Scheme};
pub use sleep::Sleep;
pub use socket::Socket;
pub use stream::{Stream, TlsStream};
pub use task::TaskId;
pub use tls::Alpn;
pub use trouble::{NoConnection, Shortage, failure_of};
