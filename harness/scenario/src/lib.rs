//! The scenario language: YAML to a checked `Plan`, every mistake at once with line, column and hint, and the JSON
//! Schema of the same language. Pure: files, environment and kinds are handed in; no I/O, clock or socket of its own.

mod actions;
mod ask;
mod check;
mod cx;
mod environment;
mod faults;
mod feeds;
mod gates;
mod guardrails;
mod guards;
mod indicators;
mod journeys;
mod later;
mod limits;
mod locate;
mod names;
mod requests;
mod resolve;
mod rollout;
mod schema;
mod services;
mod shapes;
mod slos;
mod source;
mod stub;
mod substitute;
mod targets;
mod templates;
mod traffic;
mod when;
mod yaml;

pub use check::check;
pub use guardrails::least as least_length;
pub use later::{LATER_KEYS, indicators};
pub use locate::{line_column, render};
pub use resolve::resolve;
pub use schema::schema;
pub use source::{Checked, Files, Kinds, Source};
