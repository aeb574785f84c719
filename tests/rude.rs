//! Bad input, end to end with the real binary: servers that break every rule, certificates nobody should trust, names
//! without an address, rates and data nobody meant, and a machine that has run out. Whatever comes, each run ends within
//! its bound, counts every request under its kind, and never passes on what it did not see.

#![allow(clippy::print_stdout, reason = "memory and times are figures worth seeing")]

#[path = "common/mod.rs"]
mod common;
#[path = "rude/data.rs"]
mod data;
#[path = "rude/http.rs"]
mod http;
#[path = "rude/limits.rs"]
mod limits;
#[path = "rude/peers.rs"]
mod peers;
#[path = "rude/run.rs"]
mod run;
#[path = "common/rude.rs"]
mod server;
#[path = "rude/tls.rs"]
mod tls;
