//! Open- and closed-model traffic: arrivals, pacing, requests over HTTP/1.1 and other protocols, recording. Implements core's
//! `Load`.
//!
//! Pure: `seeds curve pacer source feeds accesslog replay forecast render format answer decode expect identify cookies samples
//! compile precision links` and the records (`record tally cells vitals collect`). A worker is one thread with one loop of
//! `net`: `worker` drives it, `world` is its data (`lane trip conn link`), and what happens to it is in `arrive` (who starts),
//! `journey` and `request` (what an arrival does), `exchange` and `delegate` (on which connection), `outcome` (how it is counted). `generator`
//! is the face, `control` what the workers are told, `ceilings` what they share. This room must not know faults, stages or
//! drivers, and judges nothing: it counts what objectives ask to be counted apart.

mod accesslog;
mod answer;
mod arrive;
mod ceilings;
mod cells;
mod collect;
mod compile;
mod conn;
mod control;
mod cookies;
mod curve;
mod decode;
mod delegate;
mod exchange;
mod expect;
mod feeds;
mod forecast;
mod format;
mod generator;
mod histogram;
mod identify;
mod journey;
mod lane;
mod link;
mod links;
mod outcome;
pub mod pacer;
mod precision;
mod priority;
mod record;
mod render;
mod replay;
mod request;
mod samples;
pub mod seeds;
mod source;
mod tally;
mod trip;
mod vitals;
mod worker;
mod world;

pub use forecast::{Forecast, forecast};
pub use generator::{Wiring, generator};
