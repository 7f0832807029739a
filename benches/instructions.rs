//! The instructions that a call of each hot function takes, counted under valgrind, and compared with
//! benches/instructions.txt.
//!
//! ```text
//! cargo bench --bench instructions                # counts and compares; needs valgrind
//! cargo bench --bench instructions -- --save      # counts, and writes the file anew
//! ```
//!
//! Times differ from run to run by some percent on a quiet machine, and by much more on a busy one; counts
//! do not. Each case is run twice, with few calls and with many: the difference is what the calls took, without
//! the start of the process.
//!
//! Counts depend on compiler, C library and valgrind. If these are the ones that the file names, a count that has grown
//! by more than 5 % fails; otherwise the comparison is shown, and nothing fails. Counts also depend on the profile
//! `bench`, which has the settings of `dist`: CARGO_PROFILE_* variables must not be set.

#[path = "hot/cases.rs"]
#[allow(dead_code)] // `hot` uses more of it.
mod cases;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::process::{Command, ExitCode, Stdio};

use cases::{Case, Fixture, MOST_CALLS};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.txt");
const FEW: usize = 112;
/// The factor by which a count may grow.
const TOLERANCE: f64 = 1.05;
/// How often a case is counted at most whose count has grown. If a busy machine suspends the process for some
/// milliseconds, a handle looks for dead participants, which adds instructions.
const TRIES: usize = 4;

type Answer<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words[..] {
        ["run", case, times] => run(case, times).map(|()| true),
        ["--save"] => save().map(|()| true),
        [] => compare(),
        _ => Err("the only option is --save".into()),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(10),
        Err(error) => {
            let _ = writeln!(io::stderr(), "instructions: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a case this number of times, under valgrind.
fn run(case: &str, times: &str) -> Answer<()> {
    let case = Case::all().into_iter().find(|known| known.name() == case).ok_or("no such case")?;
    let mut fixture = Fixture::new(&case)?;
    if case.receives() {
        fixture.fill(&case, MOST_CALLS)?;
    }
    Ok(fixture.run(case.call, times.parse()?)?)
}

/// Instructions of a whole process.
fn count(case: &str, times: usize) -> Answer<u64> {
    let valgrind = Command::new("valgrind")
        .args(["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null", "--"])
        .arg(std::env::current_exe()?)
        .args(["run", case, &times.to_string()])
        .stdin(Stdio::null())
        .output();
    let output = valgrind.map_err(|error| format!("valgrind: {error}; it is a package of that name"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    // "==4711== I   refs:      1,234,567"; with the simulation of caches there would be "I1" lines, too.
    let total = text.lines().find_map(|line| line.split_once("refs:")).map(|(_, total)| total);
    match total {
        Some(total) if output.status.success() => Ok(total.trim().replace(',', "").parse()?),
        _ => Err(format!("{case} under valgrind ended with {}:\n{text}", output.status).into()),
    }
}

/// Instructions of a call.
fn per_call(case: &str) -> Answer<f64> {
    let calls = count(case, MOST_CALLS)?.saturating_sub(count(case, FEW)?);
    Ok(calls as f64 / (MOST_CALLS - FEW) as f64)
}

/// The median of three counts: how often a handle looks for dead participants depends on time, so counts differ by up to a
/// fifth. A low one that was saved would make later ones look grown.
fn usual(case: &str) -> Answer<f64> {
    let mut counts = [per_call(case)?, per_call(case)?, per_call(case)?];
    counts.sort_by(f64::total_cmp);
    Ok(counts[1])
}

/// What counts depend on besides this source.
fn environment() -> Answer<String> {
    let first_line = |program: &str, argument: &str| -> Answer<String> {
        let output =
            Command::new(program).arg(argument).output().map_err(|error| format!("{program}: {error}"))?;
        Ok(String::from_utf8(output.stdout)?.lines().next().unwrap_or_default().into())
    };
    let compiler = first_line("rustc", "--version")?;
    let libc = first_line("getconf", "GNU_LIBC_VERSION").unwrap_or_else(|_| "another libc".into());
    let valgrind = first_line("valgrind", "--version")?;
    Ok(format!("{compiler}, {libc}, {valgrind}, {}", std::env::consts::ARCH))
}

fn save() -> Answer<()> {
    let mut text = format!(
        "# Instructions of a call, profile bench (settings of dist): cargo bench --bench instructions -- --save\n# {}\n",
        environment()?
    );
    for case in Case::all() {
        text += &format!("{:<28} {:>9.1}\n", case.name(), usual(&case.name())?);
    }
    io::stdout().write_all(text.as_bytes())?;
    Ok(std::fs::write(FILE, text)?)
}

/// False: a count has grown, and the file was written in the same environment.
fn compare() -> Answer<bool> {
    let text = std::fs::read_to_string(FILE)?;
    let here = environment()?;
    let same = text.lines().any(|line| line.strip_prefix("# ") == Some(&here));
    let entry = |line: &str| {
        let (name, count) = line.split_once(' ')?;
        Some((name.to_string(), count.trim().parse::<f64>().ok()?))
    };
    let before: BTreeMap<String, f64> = text.lines().filter_map(entry).collect();
    let mut grown = Vec::new();
    let mut report = String::new();
    for name in Case::all().iter().map(Case::name) {
        let old = before.get(&name).copied();
        let has_grown = |count: f64| old.is_some_and(|old| count > old * TOLERANCE);
        let mut count = per_call(&name)?;
        for _ in 1..TRIES {
            if has_grown(count) {
                count = count.min(per_call(&name)?);
            }
        }
        let change = old.map_or("new".into(), |old| format!("{:+.1}%", 100.0 * (count / old - 1.0)));
        report += &format!("{name:<28} {count:>9.1} {change:>8}\n");
        if has_grown(count) {
            grown.push(name);
        }
    }
    io::stdout().write_all(report.as_bytes())?;
    if !grown.is_empty() {
        let effect = if same { "this fails" } else { "counted elsewhere, so this fails nothing" };
        writeln!(io::stdout(), "grown by more than 5%, {effect}: {}", grown.join(", "))?;
    }
    Ok(grown.is_empty() || !same)
}
