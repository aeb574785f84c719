//! The command line: names, flags, help. Must not do anything.

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use std::ffi::OsString;
use std::path::PathBuf;

/// Proves a rollout, and the way back, before promotion.
#[derive(Parser, Debug)]
#[command(name = "shakedown", version, max_term_width = 100, after_help = EXITS, propagate_version = true)]
pub struct Cli {
    /// More detail on stderr (repeat for more).
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    #[command(subcommand)]
    pub command: Command,
}

const EXITS: &str = "\
Exit codes:
    0  promote (pass)                      4  the evidence is in doubt
   14  promote with conditions            13  halted
   10  rollback (fail)                    11  the rollback path failed
   12  inconclusive                       70  internal error
    2  usage or scenario error       130/143  interrupted, everything undone
    3  environment not ready";

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run a scenario: start, load, break, roll out, judge, undo.
    Run(Run),
    /// Name every mistake in a scenario at once; nothing is sent.
    Check(Scenario),
    /// Print what a run would do and what it can prove; nothing is sent.
    Plan(Scenario),
    /// Recompute a run's decision from its files.
    Judge {
        /// Run directory.
        #[arg(value_hint = ValueHint::DirPath)]
        run: PathBuf,
        /// Print the decision record instead of the end block.
        #[arg(long)]
        json: bool,
        /// Also print how exactly the load was sent, and what the generator found out about itself.
        #[arg(long, value_enum, value_name = "WHAT", conflicts_with = "json")]
        precision: Option<Precision>,
    },
    /// Write a report of a run.
    Report {
        /// Run directory.
        #[arg(value_hint = ValueHint::DirPath)]
        run: PathBuf,
        /// Format: html, junit, markdown or json.
        #[arg(long)]
        format: String,
        /// Where to write it; standard output when absent or `-`.
        #[arg(long, short, value_hint = ValueHint::FilePath)]
        output: Option<PathBuf>,
    },
    /// Start the embedded shop alone, until ctrl-C.
    Pilot(Pilot),
    /// Write a first scenario to start from.
    Init {
        /// File to write.
        #[arg(default_value = "scenario.yaml", value_hint = ValueHint::FilePath)]
        path: PathBuf,
    },
    /// Undo what earlier runs left behind.
    Recover {
        /// Also undo records of runs that seem alive.
        #[arg(long)]
        force: bool,
    },
    /// List fault kinds, drivers, signals, reports and indicators, and what is not available yet.
    Kinds {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print the JSON Schema of the scenario language.
    Schema,
    /// Print a completion script.
    Completions {
        /// Shell.
        shell: clap_complete::Shell,
    },
    #[command(hide = true)]
    Compare(Rest),
    /// Put the segments of one run together and decide on the whole.
    Merge(Merge),
    /// Find the highest rate, or the strongest fault, at which a scenario still holds.
    Search(Search),
    #[command(hide = true)]
    Shrink(Rest),
    #[command(hide = true)]
    Record(Rest),
    #[command(hide = true)]
    Import(Rest),
    #[command(hide = true)]
    Incident(Rest),
    #[command(hide = true)]
    Proxy(Rest),
    #[command(hide = true)]
    Gameday(Rest),
}

/// Arguments of a command that is not available yet.
#[derive(Args, Debug)]
pub struct Rest {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub rest: Vec<OsString>,
}

/// What reading a scenario takes.
#[derive(Args, Debug, Clone)]
pub struct Scenario {
    /// Scenario file.
    #[arg(value_hint = ValueHint::FilePath)]
    pub scenario: PathBuf,
    /// Give `${NAME}` a value (repeatable); goes before the environment.
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = pair)]
    pub set: Vec<(String, String)>,
    /// Seed of the run; drawn and printed when given nowhere.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Required for `class: production`: the environment's name.
    #[arg(long, value_name = "NAME")]
    pub confirm: Option<String>,
    /// Not available yet: a policy that narrows what a run may do.
    #[arg(long, value_name = "FILE", hide = true)]
    pub policy: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub struct Run {
    #[command(flatten)]
    pub scenario: Scenario,
    /// What is shown while it runs.
    #[arg(long, value_enum, default_value_t = Ui::Auto)]
    pub ui: Ui,
    /// Run directory; `runs/…` when absent. Must not exist or be empty.
    #[arg(long, value_hint = ValueHint::DirPath)]
    pub out: Option<PathBuf>,
    /// Reports to write into the run directory.
    #[arg(long, value_delimiter = ',', default_value = "html,junit,markdown")]
    pub report: Vec<String>,
    /// Print every change the run would make, and make none.
    #[arg(long)]
    pub dry_run: bool,
    /// Run in a fraction or multiple of the time, e.g. 0.1x. Such a run never promotes.
    #[arg(long, value_name = "FACTOR", value_parser = crate::scale::parse)]
    pub time_scale: Option<f64>,
    /// Make only this part of the load: 2/8 is the second of eight generators. 1/N is the controller.
    #[arg(long, value_name = "I/N", value_parser = crate::part::segment)]
    pub segment: Option<(u32, u32)>,
    /// With --segment: offset 0 of all segments, RFC 3339 or @SECONDS since 1970.
    #[arg(long, value_name = "TIME", value_parser = crate::part::moment)]
    pub epoch: Option<std::time::SystemTime>,
    /// Exit 0 instead of 14 when only objectives with a condition missed.
    #[arg(long)]
    pub accept_conditions: bool,
    /// Also print how exactly the load was sent, and what the generator found out about itself.
    #[arg(long, value_enum, value_name = "WHAT")]
    pub precision: Option<Precision>,
}

/// What `--precision` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Precision {
    /// The self-check after the end block.
    Report,
}

#[derive(Args, Debug)]
pub struct Merge {
    /// Run directories of all segments, in any order.
    #[arg(required = true, value_hint = ValueHint::DirPath)]
    pub runs: Vec<PathBuf>,
    /// Directory of the whole. Must not exist or be empty.
    #[arg(long, value_hint = ValueHint::DirPath)]
    pub out: PathBuf,
    /// Reports to write into it.
    #[arg(long, value_delimiter = ',', default_value = "html,junit,markdown")]
    pub report: Vec<String>,
}

#[derive(Args, Debug)]
pub struct Search {
    #[command(flatten)]
    pub scenario: Scenario,
    /// Vary the peak rate of the open streams; their shapes keep their form.
    #[arg(long, value_name = "LOW..HIGH", conflicts_with = "vary")]
    pub rate: Option<crate::levels::Range>,
    /// With --rate: only this stream.
    #[arg(long, requires = "rate")]
    pub stream: Option<String>,
    /// Vary `${NAME}` of the scenario, for example a fault's delay: DELAY=10ms..2s.
    #[arg(long, value_name = "NAME=LOW..HIGH", value_parser = varied)]
    pub vary: Option<(String, crate::levels::Range)>,
    /// Narrow enough when the level that breaks is at most this much above the one that holds.
    #[arg(long, value_name = "SHARE", default_value = "5%", value_parser = share)]
    pub within: f64,
    /// Most runs in all.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=200))]
    pub runs: u32,
    /// Of the level that is named: it holds in a row of runs that luck would give with one minus this at most.
    #[arg(long, value_name = "SHARE", default_value = "95%", value_parser = confidence)]
    pub confidence: f64,
    /// Directory of the runs; `runs/…` when absent. Must not exist or be empty.
    #[arg(long, value_hint = ValueHint::DirPath)]
    pub out: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Ui {
    /// A redrawn screen on a terminal, plain lines elsewhere.
    Auto,
    /// A line every 5 s.
    Plain,
    /// One JSON object a line.
    Json,
    /// Only the end.
    None,
}

#[derive(Args, Debug)]
pub struct Pilot {
    /// List the flaws a release can have.
    #[arg(long)]
    pub flaws: bool,
    /// Flaws of v2, by name.
    #[arg(long, value_delimiter = ',', value_name = "FLAW,…")]
    pub v2: Vec<String>,
    /// Where the router listens.
    #[arg(long, default_value = "127.0.0.1:8080")]
    pub listen: std::net::SocketAddr,
}

fn varied(text: &str) -> Result<(String, crate::levels::Range), String> {
    let (name, range) = pair(text)?;
    Ok((name, range.parse()?))
}

fn share(text: &str) -> Result<f64, String> {
    match shakedown_core::Ppm::parse(text)?.fraction() {
        share if share > 0.0 => Ok(share),
        _ => Err("must be above 0%".to_owned()),
    }
}

fn confidence(text: &str) -> Result<f64, String> {
    match shakedown_core::Ppm::parse(text)?.fraction() {
        share if (0.5..=0.999).contains(&share) => Ok(share),
        _ => Err("must be 50% to 99.9%".to_owned()),
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    let name =
        |n: &str| n.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && n.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    match text.split_once('=') {
        Some((n, v)) if name(n) => Ok((n.to_owned(), v.to_owned())),
        Some((n, _)) => Err(format!("`{n}` is not a variable's name; write NAME=VALUE")),
        None => Err(format!("`{text}` is not NAME=VALUE")),
    }
}
