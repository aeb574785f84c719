//! The judge whole, on a small simulated world: a router that splits, two releases, a fault, and an engine that obeys.

mod decisions;
mod generator;
mod plan;
mod simulations;
mod world;

pub(crate) use plan::quickstart;
