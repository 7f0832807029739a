//! Mutants: faults that are put into the library one at a time, each of which some test must notice: a repair step that is left
//! out, a check that always says yes. `cargo test` sees that each can still be put in; all of them, and whether they are noticed:
//!
//! ```text
//! RINGPIPE_MUTANTS=all cargo test --test house mutants:: -- --nocapture
//! ```
//!
//! `RINGPIPE_MUTANTS=TEXT` tries the mutants whose file or name contains the text, `RINGPIPE_MUTANTS=open` the ones listed without what
//! notices them: they are tried on the tests in [`TRIED`], and the first that does is told. `all` leaves them out.
//!
//! All mutants that do not touch the same text are built into one copy of the sources below `target/mutants`, each behind a
//! question to the environment, so that there are a few builds, not one for each. The tree itself is never changed.
//! Each check runs with a /dev/shm and processes of its own, by `unshare`, and leaves nothing behind, whatever comes of it.

mod list;
mod scratch;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use list::{Fate, Mutant};
use scratch::{Scratch, Verdict, parts};

const LISTS: [&str; 5] = [
    include_str!("handles.txt"),
    include_str!("layout.txt"),
    include_str!("membership.txt"),
    include_str!("wait.txt"),
    include_str!("sync.txt"),
];

/// Cheap first.
const TRIED: [&str; 11] = [
    "library disciplines:: repairs:: waits::",
    "library --skip every_discipline",
    "primitives --skip storm",
    "RINGPIPE_TEST_SYNC=monitor library --skip disciplines:: --skip repairs:: --skip waits:: --skip liveness::",
    "RINGPIPE_TEST_SYNC=semaphore library --skip disciplines:: --skip repairs:: --skip waits:: --skip liveness::",
    "deaths kills::who_is_killed_while_coming",
    "deaths kills::a_recoverer",
    "deaths kills::an_acknowledging",
    "deaths kills::a_sender",
    "primitives storm",
    "RINGPIPE_STORM_KILLS=500 deaths storm::kill_storms",
];

/// How much longer than without a mutant a check may take, and at least.
const PATIENCE: (u32, Duration) = (8, Duration::from_secs(45));

fn all() -> Vec<Mutant> {
    LISTS.iter().flat_map(|text| list::parse(text).unwrap_or_else(|why| panic!("{why}"))).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn each_mutant_has_a_name_of_its_own_and_can_be_put_into_the_source() {
    let all = all();
    let names: BTreeSet<&str> = all.iter().map(|mutant| mutant.name.as_str()).collect();
    assert_eq!(names.len(), all.len(), "two of one name");
    list::copies(&all, root()).unwrap_or_else(|why| panic!("{why}"));
}

#[test]
fn each_mutant_is_noticed_or_known_to_be_harmless() {
    let Ok(wanted) = std::env::var("RINGPIPE_MUTANTS") else {
        println!("mutants: not tried; RINGPIPE_MUTANTS=all tries them");
        return;
    };
    let all = all();
    // All of them are built, so that another choice builds nothing anew.
    let tests: BTreeSet<String> =
        all.iter().flat_map(|one| checks(&one.fate)).map(|check| parts(check).1.to_string()).collect();
    let tests: Vec<String> = tests.into_iter().collect();
    let mut tally = Tally::default();
    for (number, (mutants, changed)) in list::copies(&all, root()).expect("they fit").into_iter().enumerate()
    {
        let is_wanted = |one: &Mutant| match wanted.as_str() {
            "all" => one.fate != Fate::Unknown,
            "open" => one.fate == Fate::Unknown,
            text => one.name.contains(text) || one.file.contains(text),
        };
        let mutants: Vec<Mutant> = mutants.into_iter().filter(is_wanted).rev().collect();
        if mutants.is_empty() {
            continue;
        }
        let path = root().join(format!("target/mutants/copy-{number}"));
        let scratch = Scratch::build(root(), path, &changed, &tests);
        tally.patience.clear();
        mutants.iter().for_each(|mutant| tally.tries(&scratch, mutant));
    }
    let Tally { noticed, harmless, wrong, .. } = tally;
    println!("{noticed} noticed, {harmless} harmless, {} wrong", wrong.len());
    assert!(
        noticed + harmless + wrong.len() > 0,
        "RINGPIPE_MUTANTS={wanted}: no such mutant; expected all, open, or a text in a name"
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn checks(fate: &Fate) -> Vec<&str> {
    match fate {
        Fate::Noticed(check) | Fate::Harmless(check, _) => vec![check],
        Fate::Unknown => TRIED.to_vec(),
    }
}

/// How many tests passed, as a test binary says at its end: `test result: ok. 3 passed; 0 failed; ...`.
fn passed(said: &str) -> usize {
    let result = said.lines().rev().find_map(|line| line.strip_prefix("test result: ok. "));
    result.and_then(|rest| rest.split_once(" passed;")?.0.parse().ok()).unwrap_or(0)
}

#[test]
fn a_check_that_runs_no_test_is_told_from_one_that_passes() {
    let said = |passed| {
        format!(
            "running 2 tests\ntest one ... ignored\n\ntest result: ok. {passed} passed; 0 failed; 1 ignored; 0 measured\n"
        )
    };
    assert_eq!((passed(&said(1)), passed(&said(12))), (1, 12));
    assert_eq!((passed(&said(0)), passed("")), (0, 0));
}

#[derive(Default)]
struct Tally {
    /// How long each check may take in this copy.
    patience: BTreeMap<String, Duration>,
    noticed: usize,
    harmless: usize,
    wrong: Vec<String>,
}

impl Tally {
    fn tries(&mut self, scratch: &Scratch, mutant: &Mutant) {
        let name = &mutant.name;
        let begin = Instant::now();
        let noticed = checks(&mutant.fate).into_iter().find_map(|check| {
            let verdict = scratch.run(check, Some(name), self.patience(scratch, check));
            (verdict != Verdict::Passed).then_some((check, verdict))
        });
        let took = begin.elapsed().as_secs_f32();
        match (&noticed, &mutant.fate) {
            (Some((check, verdict)), Fate::Noticed(_)) => {
                self.noticed += 1;
                println!("noticed ({verdict:?}, {took:.1} s): {name}: {check}");
            }
            (None, Fate::Harmless(..)) => {
                self.harmless += 1;
                println!("harmless ({took:.1} s): {name}");
            }
            (Some((check, verdict)), fate) => {
                let known = if *fate == Fate::Unknown { "noticed" } else { "noticed after all" };
                let said = scratch.said();
                let failed: Vec<&str> = said.lines().filter(|line| line.ends_with("... FAILED")).collect();
                println!("{known} ({verdict:?}, {took:.1} s): {name}: {check} {failed:?}");
                self.wrong.push(format!("{name}: {known} by {check}"));
            }
            (None, _) => {
                println!("NOT NOTICED ({took:.1} s): {name}");
                self.wrong.push(format!("{name}: not noticed"));
            }
        }
    }

    /// Runs a check without a mutant before it is believed.
    fn patience(&mut self, scratch: &Scratch, check: &str) -> Duration {
        if let Some(patience) = self.patience.get(check) {
            return *patience;
        }
        let begin = Instant::now();
        let verdict = scratch.run(check, None, Duration::from_secs(600));
        let said = scratch.said();
        assert_eq!(verdict, Verdict::Passed, "{check}, without a mutant:\n{said}");
        // A filter that matches no test, as after a test was renamed, passes with any mutant.
        assert_ne!(
            passed(&said),
            0,
            "{check}: no test passed; expected a binary and a part of a name:\n{said}"
        );
        let patience = (begin.elapsed() * PATIENCE.0).max(PATIENCE.1);
        self.patience.insert(check.into(), patience);
        patience
    }
}
