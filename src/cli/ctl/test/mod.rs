//! `ringctl test`: tests of several processes, described in files.

mod beside;
mod expect;
mod report;
mod run;
pub mod scenario;
mod series;
mod shrink;

use std::fs;
use std::path::{Path, PathBuf};

use report::Reports;
use report::choice::Choice;
use scenario::{Scenario, init, schema};
use series::{Settings, Totals};

use crate::cli::common::address::Server;
use crate::cli::common::exit::{Failure, code};
use crate::cli::common::signals;
use crate::cli::common::start::End;
use crate::cli::common::ui::Ui;

/// Test several processes as files describe it: what runs, what goes wrong, what must be true afterwards
///
/// A scenario starts programs of any kind, makes rings for them, kills, stops or hinders processes at chosen
/// points, and checks exit codes, outputs and the history of every item. docs/TESTING.md lists the keys of a
/// scenario file.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ringctl test --init jobs.toml          write a commented example
  ringctl test jobs.toml                 run it
  ringctl test --only worker scenarios   of all files in the folder, those with this name
  ringctl test --repeat 100 --until-fail jobs.toml
  ringctl test --report junit=report.xml scenarios
  ringctl test --over nats://localhost:4222 scenarios

Of a run that did not pass, the report says what was expected and is false, which fault struck when and
where, how each process ended, and the command that repeats the run. The outputs of its processes stay
in files. A run is inconclusive if a fault did not strike, or if there was nothing to judge.

Exit codes: 0 all passed or were skipped, 1 a program could not be started, or a file not be read or
written, 2 usage, or a file is wrong, 10 an expectation failed, 11 a run was inconclusive and none
failed, 128+n ended by signal n.")]
pub struct Args {
    /// Scenario files; a folder stands for the .toml files in it
    #[arg(value_name = "SCENARIO", required_unless_present_any = ["init", "schema"])]
    scenarios: Vec<PathBuf>,
    /// Write a commented example to FILE, which must not exist; without FILE to standard output
    #[arg(
        long,
        value_name = "FILE",
        num_args = 0..=1,
        default_missing_value = "-",
        conflicts_with_all = ["scenarios", "schema"]
    )]
    init: Option<PathBuf>,
    /// Print the JSON schema of scenario files, for editors
    #[arg(long, conflicts_with = "scenarios")]
    schema: bool,
    /// Choose sizes, times and struck processes by this number [default: another one each time]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64))]
    pub seed: Option<u64>,
    /// Run each scenario N times, with another seed each time [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub repeat: Option<u64>,
    /// Stop at the first run that does not pass; without --repeat, run until then
    #[arg(long)]
    pub until_fail: bool,
    /// Run only scenarios whose name contains TEXT; may be repeated
    #[arg(long, value_name = "TEXT")]
    pub only: Vec<String>,
    /// Run up to N scenarios at the same time [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub jobs: Option<u32>,
    /// Make the folders of the runs in DIR, and keep them [default: those of failed runs stay in the temporary folder]
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
    /// Of a fault with every, strike only at the point with this number
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub point: Option<u64>,
    /// Leave out the fault in this line of the file; may be repeated
    #[arg(long, value_name = "LINE")]
    pub omit: Vec<u32>,
    /// Make the rings as streams of a NATS server, nats://HOST:PORT
    ///
    /// A scenario is left out if its rings, producers or consumers have options that no stream has. A process that was
    /// killed is noticed after some 14 seconds there: each run has a minute more than timeout and within say.
    #[arg(long, value_name = "SERVER")]
    pub over: Option<Server>,
    /// Report as tap or json on standard output, or as junit=FILE; may be repeated [default: a table]
    ///
    /// tap is the Test Anything Protocol, version 13; json an object per run, on a line; junit the XML of JUnit, with
    /// a case for each run, which is written at the end, also of a test that was interrupted. With tap or json, the table
    /// goes to standard error, and has only what did not pass.
    #[arg(long, value_name = "FORM")]
    pub report: Vec<Choice>,
}

/// Runs `ringctl test`.
pub fn run(args: &Args, ui: &Ui) -> Result<End, Failure> {
    match (&args.init, args.schema) {
        (Some(path), _) if path == Path::new("-") => ui.emit(init::EXAMPLE.as_bytes())?,
        (Some(path), _) => init::write(path)?,
        (None, true) => {
            let text = serde_json::to_string_pretty(&schema::schema());
            let text = text.map_err(|error| Failure::new(code::RUNTIME, format!("writing JSON: {error}")))?;
            ui.emit((text + "\n").as_bytes())?;
        }
        (None, false) => {
            return run_scenarios(args, ui);
        }
    }
    Ok(End::Done)
}

fn run_scenarios(args: &Args, ui: &Ui) -> Result<End, Failure> {
    let mut scenarios = Vec::new();
    for file in files(&args.scenarios)? {
        scenarios.push(scenario::read(&file)?);
    }
    let all = scenarios.len();
    let is_meant = |scenario: &Scenario| {
        args.only.is_empty() || args.only.iter().any(|text| scenario.name.contains(text))
    };
    scenarios.retain(is_meant);
    if scenarios.is_empty() {
        let line = format!("no scenario of {all} has a name with {}", args.only.join(" or "));
        return Err(Failure::new(code::USAGE, line));
    }
    check_faults(args, &scenarios)?;
    #[cfg(feature = "nats")]
    if let Some(server) = &args.over {
        crate::cli::transport::nats::check_name(server)?;
    }
    let stop = signals::catch()?;
    let seed = args.seed.unwrap_or_else(|| fastrand::u64(..1 << 32));
    let folder = args.keep.clone().unwrap_or_else(|| {
        std::env::temp_dir().join(format!("ringctl-test-{}-{:08x}", std::process::id(), fastrand::u32(..)))
    });
    // The processes of a run have another working directory.
    let folder = std::path::absolute(&folder)
        .map_err(|error| Failure::io(format!("folder of the runs {folder:?}"), &error))?;
    let settings = Settings {
        seed,
        rounds: args.repeat.or((!args.until_fail).then_some(1)),
        until_fail: args.until_fail,
        jobs: args.jobs.unwrap_or(1),
        folder: folder.clone(),
        keep: args.keep.is_some(),
        point: args.point,
        omit: args.omit.clone(),
        over: args.over.clone(),
    };
    let mut reports = Reports::new(ui, &args.report, &scenarios, &settings)?;
    let (totals, failure) = series::run_all(&scenarios, &settings, &stop, &mut |event| reports.take(&event));
    // Fails if the folder of a run is still there.
    let _ = fs::remove_dir(&folder);
    reports.end(totals, stop.is_raised())?;
    if stop.is_raised() {
        ui.note("interrupted: not all scenarios were run");
        return Ok(signals::end());
    }
    match (failure, totals) {
        (Some(failure), _) => Err(failure),
        (None, Totals { failed: 1.., .. }) => Err(Failure::new(code::ASSERTION, "an expectation failed")),
        (None, Totals { inconclusive: 1.., .. }) => {
            Err(Failure::new(code::INCONCLUSIVE, "a run was inconclusive"))
        }
        (None, _) => Ok(End::Done),
    }
}

/// Fails if an option names a fault that no scenario has.
fn check_faults(args: &Args, scenarios: &[Scenario]) -> Result<(), Failure> {
    let faults = || scenarios.iter().flat_map(|scenario| &scenario.faults);
    if let Some(line) = args.omit.iter().find(|line| !faults().any(|fault| fault.line == **line)) {
        let mut lines: Vec<String> = faults().map(|fault| fault.line.to_string()).collect();
        lines.dedup();
        let line =
            format!("--omit {line}: no fault begins in this line; expected one of {}", lines.join(", "));
        return Err(Failure::new(code::USAGE, line));
    }
    let has_every = faults().any(|fault| matches!(fault.when, scenario::When::Every { .. }));
    if let Some(point) = args.point.filter(|_| !has_every) {
        let line = format!("--point {point}: no fault has every; expected a scenario with such a fault");
        return Err(Failure::new(code::USAGE, line));
    }
    Ok(())
}

/// The files that were given; for a folder, the scenario files in it by name.
fn files(given: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for path in given {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let failed = |error| Failure::io(format!("reading {path:?}"), &error);
        let mut inside = Vec::new();
        for entry in fs::read_dir(path).map_err(failed)? {
            let file = entry.map_err(failed)?.path();
            inside.extend((file.extension().is_some_and(|end| end == "toml")).then_some(file));
        }
        if inside.is_empty() {
            let line = format!("{path:?} has no scenarios; expected a folder with .toml files");
            return Err(Failure::new(code::USAGE, line));
        }
        inside.sort();
        files.append(&mut inside);
    }
    Ok(files)
}
