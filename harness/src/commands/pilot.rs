//! `pilot`: the embedded shop alone, to try things by hand.

use super::{print, tell};
use crate::cli;
use shakedown_core::Exit;
use shakedown_pilot::{FLAWS, ShopConfig};
use std::collections::BTreeMap;

/// `shakedown pilot`.
pub fn pilot(args: &cli::Pilot) -> anyhow::Result<Exit> {
    if args.flaws {
        return print(&FLAWS.iter().map(|(name, about)| format!("  {name:<18} {about}\n")).collect::<String>());
    }
    if let Some(unknown) = args.v2.iter().find(|f| !FLAWS.iter().any(|(name, _)| name == f)) {
        tell(&format!("there is no flaw `{unknown}`; `shakedown pilot --flaws` lists them. (exit 2)"));
        return Ok(Exit::Usage);
    }
    if !args.listen.ip().is_loopback() {
        tell(&format!(
            "{} is outside loopback: the shop can be made to fail by whoever reaches it; listen on 127.0.0.1. (exit 2)",
            args.listen
        ));
        return Ok(Exit::Usage);
    }
    let config = ShopConfig {
        name: "pilot".into(),
        control: ("v1".into(), Vec::new()),
        canary: ("v2".into(), args.v2.clone()),
        payments: None,
        listen: BTreeMap::from([("router".to_owned(), args.listen)]),
        seed: 7,
        sticky: None,
    };
    tell("the shop: GET /products/p1, POST /cart, POST /orders; weights: GET and PUT /weight at pilot.admin. Ctrl-C ends it.");
    match shakedown_pilot::runtime().and_then(|runtime| runtime.block_on(shakedown_pilot::serve_shop(config, &mut std::io::stdout()))) {
        Ok(()) => Ok(Exit::Promote),
        Err(why) => {
            tell(&format!("{why}. (exit 3)"));
            Ok(Exit::NotReady)
        }
    }
}
