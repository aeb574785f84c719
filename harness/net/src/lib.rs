//! Sockets of one thread: an epoll loop with nanosecond deadlines, tasks that run on it, and (later in this file's
//! modules) connections. Must not know what is sent, when, or why.
//!
//! One [`Reactor`] belongs to one thread. Whoever drives it calls [`Reactor::turn`] with the moment of its own next
//! deadline and gets back the descriptors it registered itself ([`Handle::register`], one registration for a
//! connection's whole life); everything else — sockets of tasks, sleeps, wakes from other threads — is served inside.

mod connect;
mod queue;
mod reactor;
mod sleep;
mod socket;
mod stream;
mod task;

pub use connect::{Connected, Connector, NoConnection, Place};
pub use queue::Notifier;
pub use reactor::{Handle, Reactor, Ready};
pub use sleep::Sleep;
pub use socket::Socket;
pub use stream::{Direct, Stream};
pub use task::TaskId;
