//! The roles in which this binary re-executes itself: shim, guard, embedded shop, stub. Not for people; not in the help.

use serde::de::DeserializeOwned;
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

/// Runs a hidden role when the first argument names one.
pub fn dispatch() -> Option<ExitCode> {
    let mut args = std::env::args_os().skip(1);
    let role = args.next()?;
    let rest: Vec<OsString> = args.collect();
    let code = match role.to_str()? {
        "shim" => shakedown_process::shim_main(rest),
        "guard" => shakedown_undo::guard_main(rest, &crate::registry::undos()),
        "pilot-serve" => serve(&rest, |config, listen| {
            Box::pin(async move {
                let mut config: shakedown_pilot::ShopConfig = config;
                let short = |(name, addr): (String, _)| (name.rsplit('.').next().unwrap_or_default().to_owned(), addr);
                config.listen.extend(listen.into_iter().map(short));
                shakedown_pilot::serve_shop(config, &mut std::io::stdout()).await
            })
        }),
        "stub-serve" => serve(&rest, |config, listen| {
            Box::pin(async move {
                let mut config: shakedown_pilot::StubConfig = config;
                if let Some((_, addr)) = listen.into_iter().next() {
                    config.listen = addr;
                }
                shakedown_pilot::serve_stub(config, &mut std::io::stdout()).await
            })
        }),
        _ => return None,
    };
    Some(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

type Served = std::pin::Pin<Box<dyn Future<Output = Result<(), shakedown_core::Fail>>>>;
type Listen = Vec<(String, std::net::SocketAddr)>;

/// Reads `--config JSON` and any `--listen NAME=ADDR`, then serves until told to stop.
fn serve<C: DeserializeOwned>(args: &[OsString], start: impl FnOnce(C, Listen) -> Served) -> i32 {
    let args: Vec<String> = args.iter().map(|a| a.to_string_lossy().into_owned()).collect();
    let values = |flag: &str| -> Vec<String> { args.windows(2).filter(|w| w[0] == flag).map(|w| w[1].clone()).collect() };
    let config = values("--config").first().map(|text| serde_json::from_str(text));
    let listen =
        values("--listen").iter().filter_map(|l| l.split_once('=').and_then(|(n, a)| Some((n.to_owned(), a.parse().ok()?)))).collect();
    let Some(Ok(config)) = config else {
        return complain("this role takes --config JSON from shakedown itself");
    };
    match shakedown_pilot::runtime().and_then(|runtime| runtime.block_on(start(config, listen))) {
        Ok(()) => 0,
        Err(why) => complain(&why.0),
    }
}

fn complain(why: &str) -> i32 {
    // Nobody else can be told when stderr is gone; the exit code still says it.
    drop(writeln!(std::io::stderr(), "shakedown: {why}"));
    1
}
