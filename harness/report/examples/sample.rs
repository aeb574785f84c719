//! Writes a sample report in every format, to look at: `cargo run -p shakedown-report --example sample -- DIR [VERDICT]`.

#[path = "../tests/support/mod.rs"]
mod support;

use shakedown_core::units::Span;
use shakedown_report::live::Live;
use shakedown_report::{KINDS, Style, terminal, timeline};
use std::io::Write;
use std::sync::Arc;

fn main() -> std::io::Result<()> {
    let mut args = std::env::args().skip(1);
    let dir = std::path::PathBuf::from(args.next().unwrap_or_else(|| "sample".to_owned()));
    let (plan, decision) = (support::plan(), support::decision(&args.next().unwrap_or_else(|| "rollback".to_owned())));
    std::fs::create_dir_all(&dir)?;
    for kind in KINDS {
        kind.finish(&plan, &mut support::events().into_iter(), &decision, &mut std::fs::File::create(dir.join(kind.file()))?)?;
    }
    let style = Style { color: std::env::var_os("NO_COLOR").is_none(), ..Style::default() };
    let mut out = std::io::stdout();
    let forecasts = [("shoppers".to_owned(), 27_000.0, 300.0, Span::secs(90))];
    let provable = [("availability".to_owned(), true, "5,120 canary samples expected, 598 needed".to_owned())];
    writeln!(out, "{}\n", timeline::plan_text(&plan, &forecasts, &provable, &decision.plan_sha256, style))?;
    let mut live = Live::new(Arc::new(plan.clone()), style);
    for event in support::events().iter().take_while(|e| e.at < support::s(50.0)) {
        live.push(event);
        live.plain(event.at).iter().try_for_each(|line| writeln!(out, "{line}"))?;
    }
    writeln!(out, "\n{}\n", live.screen(support::s(50.0), 80))?;
    writeln!(out, "{}", terminal::end_block(&plan, &decision, "runs/checkout-canary-7", style))
}
