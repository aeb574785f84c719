//! One simulated run of a random setting. Must not judge.

use crate::judge::{Script, Strict};
use crate::virtual_time;
use crate::world::{Mood, World};
use shakedown_core::Plan;
use shakedown_core::event::{HaltBy, Input};
use shakedown_core::seams::Assessor;
use shakedown_core::units::Ppm;
use std::sync::Arc;

/// A simulated run.
pub type Run = virtual_time::Run<World>;

/// Everything that makes a run.
#[derive(Clone, Debug)]
pub struct Setting {
    pub seed: u64,
    pub plan: Arc<Plan>,
    pub mood: Mood,
    pub script: Script,
    pub found: Ppm,
    /// Halts by virtual time.
    pub halts: Vec<(u64, HaltBy)>,
    /// A service exits then.
    pub exit: Option<u64>,
    pub load_dies: Option<u64>,
}

/// Runs a setting with the strict judge.
pub fn run(setting: &Setting) -> Run {
    let judge = Box::new(Strict::new(setting.plan.clone(), setting.script.clone()));
    run_with(setting, judge)
}

/// Runs a setting with any judge.
pub fn run_with(setting: &Setting, judge: Box<dyn Assessor>) -> Run {
    let mut world = World::new(setting.plan.clone(), setting.seed, setting.mood, setting.found);
    world.load_dies = setting.load_dies;
    let halts = setting.halts.iter().map(|(at, by)| (*at, Input::Halt(by.clone())));
    let exit = setting.exit.map(|at| (at, Input::ServiceExited { service: "shop".into(), status: 1 }));
    virtual_time::run(&setting.plan, world, judge, halts.chain(exit).collect())
}
