//! The judge: slices → windows → indicators → statistics → decision. Pure: knows no clock, socket, thread or file, and
//! gives the same bytes for the same events. Missing, late or inconsistent evidence never becomes a pass.
//!
//! - [`Judge`] implements the core's `Assessor`; [`provable`] says beforehand what a plan can prove in its own length.
//! - A unit of evidence is one second of intended send, wholly within a stage at one weight. Strata (stages at one weight)
//!   are never pooled in a comparison; their e-values are combined as [`stats::combine`] explains.
//! - Harm in a comparison needs the request-level e-process and a slice-paired engine; an absolute limit the first alone.

pub mod attribution;
pub mod decide;
pub mod evidence;
pub mod gate;
mod generator;
pub mod guards;
mod headline;
pub mod indicators;
mod judge;
pub mod limits;
pub mod outcome;
mod provable;
pub mod restore;
pub mod rollbacks;
pub mod slices;
pub mod spec;
pub mod stages;
pub mod stats;
pub mod timeline;
pub mod track;
pub mod validity;
pub mod windows;
pub mod words;

#[cfg(test)]
mod tests;

pub use judge::Judge;
pub use provable::{Assumptions, Provable, provable};
