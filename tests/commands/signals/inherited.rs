//! Signals that were ignored or blocked when the tests were started: `cargo test &` in a script, `nohup cargo test`.

use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::signal::{SigHandler, SigSet, raise, signal};

use crate::support::namespace::this_test;
use crate::support::signals::INHERITED;
use crate::support::*;

/// A test that fails, or hangs, if the programs that it starts ignore signals.
const SENSITIVE: &str = "ringctl_lock::a_command_that_is_ended_by_a_signal_gives_128_and_its_number";

#[test]
fn a_test_passes_though_the_tests_were_started_with_signals_ignored_and_blocked() {
    let mut tests = Command::new(std::env::current_exe().unwrap());
    tests.args(["--exact", SENSITIVE]);
    // SAFETY: system calls without memory, and a mask on the stack: they may be called between fork and exec.
    unsafe {
        tests.pre_exec(|| {
            for inherited in INHERITED {
                signal(inherited, SigHandler::SigIgn)?;
            }
            Ok(SigSet::from_iter(INHERITED).thread_block()?)
        });
    }
    let ended = Run::of(tests).run().succeeds();
    assert!(ended.text().contains("test result: ok. 1 passed;"), "{ended:?}");
}

/// `nohup` promises that to the tests themselves.
#[test]
fn the_tests_survive_the_signals_that_they_were_started_to_ignore() {
    const INSIDE: &str = "RINGPIPE_TEST_SIGNALS_ITSELF";
    if std::env::var_os(INSIDE).is_some() {
        return INHERITED.into_iter().for_each(|signal| raise(signal).unwrap());
    }
    let run = Run::of(again(this_test!(), INSIDE, "1")).with_signals(&INHERITED.map(|signal| signal as i32));
    let ended = run.run().succeeds();
    assert!(ended.text().contains("test result: ok. 1 passed;"), "{ended:?}");
}
