//! What a person sees while a run goes on: a redrawn screen, plain lines, JSON, or nothing. Must not influence the run.

use crate::cli::Ui;
use shakedown_core::event::{Event, Fact, Input};
use shakedown_core::{Offset, Plan};
use shakedown_report::Style;
use shakedown_report::live::Live;
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often plain lines come.
const PLAIN_EVERY: Duration = Duration::from_secs(5);
/// How often the screen is redrawn.
const REDRAW_EVERY: Duration = Duration::from_millis(250);
/// Narrowest and widest screen drawn.
const WIDTHS: (usize, usize) = (40, 120);

/// The live view of one run.
pub struct Watcher {
    live: Live,
    mode: Ui,
    last: Option<Instant>,
    drawn_lines: usize,
    drawn_columns: usize,
    style: Style,
}

/// The style of a stream: colour and width only where a person looks.
pub fn style(terminal: bool) -> Style {
    let columns = std::env::var("COLUMNS").ok().and_then(|c| c.parse().ok());
    let width = columns.or_else(|| terminal.then(terminal_size).flatten().map(|s| s.0)).unwrap_or(100).clamp(WIDTHS.0, WIDTHS.1);
    Style { color: terminal && std::env::var_os("NO_COLOR").is_none(), width, unicode: true }
}

/// Columns and rows of the terminal people look at; `None` when there is none.
fn terminal_size() -> Option<(usize, usize)> {
    let size = rustix::termios::tcgetwinsize(std::io::stderr()).ok()?;
    (size.ws_col > 0).then_some((usize::from(size.ws_col), usize::from(size.ws_row)))
}

impl Watcher {
    /// For `mode`; `auto` looks at stderr.
    pub fn new(plan: Arc<Plan>, mode: Ui) -> Watcher {
        let terminal = std::io::stderr().is_terminal();
        let mode = match mode {
            Ui::Auto if terminal => Ui::Auto,
            Ui::Auto => Ui::Plain,
            other => other,
        };
        let style = style(terminal);
        Watcher { live: Live::new(plan, style), mode, last: None, drawn_lines: 0, drawn_columns: 0, style }
    }

    /// The observer the engine calls with every event.
    pub fn observer(mut self) -> Box<dyn FnMut(&Event) + Send> {
        Box::new(move |event| self.push(event))
    }

    fn push(&mut self, event: &Event) {
        if self.mode == Ui::None {
            return;
        }
        self.live.push(event);
        if self.mode == Ui::Json {
            if let Some(line) = Live::json_line(event) {
                say(&mut std::io::stdout().lock(), &line);
            }
            return;
        }
        let due = if self.mode == Ui::Auto { REDRAW_EVERY } else { PLAIN_EVERY };
        let milestone = self.mode == Ui::Plain && matches!(&event.what, Input::Fact(fact) if is_milestone(fact));
        if milestone || self.last.is_none_or(|last| last.elapsed() >= due) {
            self.last = Some(Instant::now());
            self.draw(event.at);
        }
    }

    fn draw(&mut self, now: Offset) {
        let mut err = std::io::stderr().lock();
        if self.mode == Ui::Plain {
            for line in self.live.plain(now) {
                say(&mut err, &line);
            }
            return;
        }
        // Looked up each time: windows are resized while a run goes on.
        let (columns, rows) = terminal_size().unwrap_or((self.style.width, usize::MAX));
        let screen = self.live.screen(now, columns.clamp(WIDTHS.0, WIDTHS.1));
        // A line that scrolled away cannot be redrawn.
        let lines: Vec<&str> = screen.lines().take(rows.saturating_sub(1).max(1)).collect();
        let up = match (self.drawn_lines, self.drawn_columns == columns) {
            (0, _) => String::new(),
            (drawn, true) => format!("\x1b[{drawn}F"),
            // The terminal broke the old lines anew: nobody knows where they are.
            (_, false) => "\x1b[H\x1b[2J".to_owned(),
        };
        (self.drawn_lines, self.drawn_columns) = (lines.len(), columns);
        // Each line clears its own rest, and the last what is below: nothing flickers.
        say(&mut err, &format!("{up}{}\x1b[K\x1b[J", lines.join("\x1b[K\n")));
    }
}

fn is_milestone(fact: &Fact) -> bool {
    !matches!(fact, Fact::WeightAsked(_) | Fact::WeightRead(_) | Fact::StreamStarted(_) | Fact::StreamEnded(_))
}

/// Writes a line; a closed pipe must not end a run that still has things to undo.
fn say(out: &mut dyn Write, line: &str) {
    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
        tracing::debug!("nobody reads the live view any more");
    }
}
