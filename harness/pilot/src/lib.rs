//! The embedded pilot environment: a small shop in two releases with known flaws, its payments service, the weighted
//! router in front of them with its admin endpoint, and a stub server for fixed answers. One process, real sockets.
//! Must not know scenarios, load or judgement; see `README.md` for the HTTP interfaces.

mod admin;
mod client;
mod config;
mod draw;
mod flaws;
mod orders;
mod payments;
mod pilot;
mod products;
mod router;
mod server;
mod shop;
mod split;
mod stub;
mod weights;

pub use config::{ENDPOINTS, ShopConfig};
pub use flaws::FLAWS;
pub use pilot::{Pilot, runtime, serve_shop};
pub use stub::{Stub, StubConfig, serve_stub};
