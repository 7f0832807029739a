//! The signals that the tests' programs start with: the default ones, however the tests were started.
//!
//! A shell starts `cargo test &` in a script with INT and QUIT ignored, `nohup` with HUP, Python with XFSZ, and each
//! program that a test starts would inherit that. The tests inside of the library have this file, too.

use nix::libc::c_int;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

/// What may be ignored or blocked where tests are started, and what they depend on. Not TTOU: a process in the
/// background that handles it, instead of ignoring it, may not write to its terminal.
pub const INHERITED: [Signal; 10] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGALRM,
    Signal::SIGTERM,
    Signal::SIGCHLD,
    Signal::SIGTSTP,
    Signal::SIGXFSZ,
];

// Before `main`: the harness starts tests in threads at once.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = let_programs_start_with_defaults;

/// Replaces "ignore" by a handler that does nothing. A program that is executed gets the default instead of it, and
/// this process survives the signal, as `nohup` promises.
extern "C" fn let_programs_start_with_defaults() {
    if cfg!(miri) {
        return;
    }
    let nothing = SigAction::new(SigHandler::Handler(do_nothing), SaFlags::SA_RESTART, SigSet::empty());
    for signal in INHERITED {
        // SAFETY: before `main` there is one thread, and no handler but this one, which does nothing.
        let result = unsafe {
            sigaction(signal, &nothing).and_then(|before| match before.handler() {
                SigHandler::SigIgn => Ok(()),
                _ => sigaction(signal, &before).map(drop),
            })
        };
        result.expect("signals that can be handled");
    }
    SigSet::from_iter(INHERITED).thread_unblock().expect("a mask that can be changed");
}

extern "C" fn do_nothing(_: c_int) {}
