//! Tests that run on rings of every discipline.

use std::process::Command;
use std::thread;

use ringpipe::{Discipline, RingOptions};

use super::report;

/// Which discipline the rings of the tests follow: see [`options`].
pub const SYNC: &str = "RINGPIPE_TEST_SYNC";

/// All disciplines but the default one.
pub fn other_disciplines() -> impl Iterator<Item = Discipline> {
    Discipline::ALL.iter().copied().filter(|discipline| *discipline != Discipline::default())
}

/// Options for a ring of the discipline that is tested: the default one unless `RINGPIPE_TEST_SYNC` says
/// another.
pub fn options() -> RingOptions {
    let Ok(wanted) = std::env::var(SYNC) else { return RingOptions::new() };
    let found = Discipline::ALL.iter().find(|discipline| discipline.name() == wanted);
    let discipline = found.unwrap_or_else(|| panic!("{SYNC}={wanted}: no such discipline"));
    RingOptions::new().sync(*discipline)
}

/// Runs this test binary again on rings of each of the other disciplines, with these arguments, which choose the tests.
/// Does nothing in such a run.
pub fn under_every_discipline(arguments: &[&str]) {
    if std::env::var_os(SYNC).is_some() {
        return;
    }
    let start = |discipline: Discipline| {
        let mut command = Command::new(std::env::current_exe().expect("the test binary has a path"));
        command.args(arguments).env(SYNC, discipline.name());
        thread::spawn(move || command.output().expect("it runs"))
    };
    // Side by side: they sleep much of the time.
    let runs: Vec<_> = other_disciplines().map(|discipline| (discipline.name(), start(discipline))).collect();
    for (name, run) in runs {
        let run = run.join().expect("it has ended");
        let (out, err) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
        assert!(run.status.success(), "under {name}:\n{out}\n{err}");
        let passed = out.lines().find(|line| line.starts_with("test result")).unwrap_or_default();
        assert!(!passed.contains(" 0 passed"), "{arguments:?} choose no test");
        report(&format!("under {name}: {passed}"));
    }
}
