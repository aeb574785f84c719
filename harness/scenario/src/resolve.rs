//! Paths of a plan. A plan keeps them as the author wrote them, so that its hash says what is meant and not where it
//! was called from; whoever opens the files resolves them here first. Must not open anything.

use shakedown_core::Plan;
use shakedown_core::plan::{GrpcSchema, Model, ServiceKind};
use std::path::Path;

/// Joins every path of the plan to `base`, the directory of the scenario file. For whoever opens the files only: the
/// plan that is hashed, written and judged stays as it was written.
pub fn resolve(plan: &mut Plan, base: &Path) {
    let join = |path: &mut String| *path = base.join(&*path).to_string_lossy().into_owned();
    for service in &mut plan.environment.services {
        if let ServiceKind::AttachPidFile(file) = &mut service.kind {
            join(file);
        }
    }
    for target in plan.environment.targets.values_mut() {
        [&mut target.tls.ca, &mut target.tls.cert, &mut target.tls.key, &mut target.reach.unix].into_iter().flatten().for_each(join);
        if let GrpcSchema::Proto { file, include } = &mut target.grpc {
            join(file);
            include.iter_mut().for_each(join);
        }
    }
    for stream in &mut plan.streams {
        stream.feeds.iter_mut().for_each(|f| join(&mut f.csv));
        if let Model::Replay(replay) = &mut stream.model {
            join(&mut replay.file);
        }
    }
}
