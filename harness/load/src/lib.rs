//! Open- and closed-model traffic: arrivals, pacing, an HTTP/1.1 client, recording. Implements core's `Load`.
//!
//! Pure: `seeds curve pacer source feeds accesslog replay forecast render answer expect identify cookies samples record
//! compile`. With clocks and sockets: `timer priority alarm tls target client`, and on top of them `world outcome draft request journey
//! stream worker generator`. This room must not know faults, stages or drivers, and judges nothing: it counts what
//! objectives ask to be counted apart.

mod accesslog;
mod alarm;
mod answer;
mod client;
mod compile;
mod cookies;
mod curve;
mod draft;
mod expect;
mod feeds;
mod forecast;
mod generator;
mod identify;
mod journey;
mod outcome;
pub mod pacer;
mod priority;
mod record;
mod render;
mod replay;
mod request;
mod samples;
pub mod seeds;
mod source;
mod stream;
mod target;
mod timer;
mod tls;
mod worker;
mod world;

pub use forecast::{Forecast, forecast};
pub use generator::{Wiring, generator};
