//! How many of these tests run at a time.

use std::thread::available_parallelism;

// Before `main`, where the harness asks for it.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = run_twice_as_many_as_processors;

/// They wait much of their time: for processes to start and end, and for what goes at a pace. `RUST_TEST_THREADS` and
/// `--test-threads` have their usual effect.
extern "C" fn run_twice_as_many_as_processors() {
    if std::env::var_os("RUST_TEST_THREADS").is_none() {
        let processors = available_parallelism().map_or(1, usize::from);
        // SAFETY: before `main` there is one thread.
        unsafe { std::env::set_var("RUST_TEST_THREADS", (2 * processors).to_string()) };
    }
}
