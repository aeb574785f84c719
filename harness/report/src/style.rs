//! How text may look: colour, width and characters of the place it goes to, and the small tools that follow from it.
//! Must not ask the terminal or the environment; the caller does.

/// What the output can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// ANSI colours are wanted (a terminal, and no `NO_COLOR`).
    pub color: bool,
    /// Columns; text wraps to it, tables become lists when it is too small.
    pub width: usize,
    /// Characters beyond ASCII can be shown.
    pub unicode: bool,
}

/// Narrowest width text is laid out for; anything smaller is treated as this.
const NARROWEST: usize = 40;

/// What a coloured word means. Colour never says anything the word itself does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Good,
    Bad,
    Doubt,
    Quiet,
    Strong,
}

impl Default for Style {
    /// What a pipeline's log can take: 80 columns, no colour, UTF-8.
    fn default() -> Style {
        Style { color: false, width: 80, unicode: true }
    }
}

impl Style {
    pub(crate) fn columns(self) -> usize {
        self.width.max(NARROWEST)
    }

    /// Wraps `text` in the tone's colour, if colours are wanted.
    pub(crate) fn paint(self, tone: Tone, text: &str) -> String {
        if !self.color || text.is_empty() {
            return text.to_owned();
        }
        let code = match tone {
            Tone::Good => "1;32",
            Tone::Bad => "1;31",
            Tone::Doubt => "1;33",
            Tone::Quiet => "2",
            Tone::Strong => "1",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// Replaces what an ASCII-only place cannot show.
    pub(crate) fn fit(self, text: &str) -> String {
        if self.unicode {
            return text.to_owned();
        }
        let mut out = String::with_capacity(text.len());
        for c in text.chars() {
            match c {
                '≤' => out.push_str("<="),
                '≥' => out.push_str(">="),
                '×' => out.push('x'),
                '±' => out.push_str("+/-"),
                'µ' => out.push('u'),
                '–' | '−' => out.push('-'),
                '·' => out.push('|'),
                '→' => out.push_str("->"),
                '✔' => out.push_str("ok"),
                '▶' => out.push('>'),
                '…' => out.push_str("..."),
                c if c.is_ascii() => out.push(c),
                _ => out.push('?'),
            }
        }
        out
    }
}

/// Text from outside (names, errors, answers) as one safe line: control characters, escape sequences' first bytes and
/// direction overrides become spaces, runs of white space become one.
pub(crate) fn clean(text: &str) -> String {
    let unsafe_char =
        |c: char| c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    text.split(|c: char| c.is_whitespace() || unsafe_char(c)).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// How many columns the text takes (one a character).
pub(crate) fn columns(text: &str) -> usize {
    text.chars().count()
}

/// Words that stay on the line of the number before them.
const UNITS: [&str; 16] = ["%", "ns", "µs", "us", "ms", "s", "min", "pp", "×", "x", "B", "KiB", "MiB", "GiB", "/", "/s"];
/// Words that stay on the line of what follows them.
const LEADS: [&str; 7] = ["≤", "≥", "<=", ">=", "/", "×", "x"];

/// Ties numbers to their units with no-break spaces.
pub(crate) fn tied(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut last = "";
    for (i, word) in text.split(' ').enumerate() {
        // `99.9 %–100 %` is one word from its first unit on.
        let bare = word.split('–').next().unwrap_or(word).trim_end_matches([',', ';', '.', ')', ':']);
        let number = last.ends_with(|c: char| c.is_ascii_digit());
        let tie = (number && UNITS.contains(&bare)) || LEADS.contains(&last);
        if i > 0 {
            out.push(if tie { '\u{a0}' } else { ' ' });
        }
        out.push_str(word);
        last = word;
    }
    out
}

/// Breaks one line of text into lines of at most `width` columns, at spaces where possible, never between a number and
/// its unit.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(8);
    let mut lines = vec![String::new()];
    for word in tied(text).split(' ') {
        let mut rest: String = word.to_owned();
        loop {
            let line = lines.last_mut().expect("starts with one line");
            let gap = usize::from(!line.is_empty());
            if columns(line) + gap + columns(&rest) <= width {
                line.push_str(if gap == 1 { " " } else { "" });
                line.push_str(&rest);
                break;
            }
            if line.is_empty() {
                *line = rest.chars().take(width).collect();
                rest = rest.chars().skip(width).collect();
            }
            lines.push(String::new());
        }
    }
    lines.iter().map(|line| line.replace('\u{a0}', " ")).collect()
}

/// Pads on the right to `width` columns.
pub(crate) fn pad(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(columns(text))))
}
