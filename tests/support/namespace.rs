//! Tests that need a file system, a /dev/shm or a network of their own: they run once more, in a namespace.

use std::process::Command;

use super::not_tested;

/// Set where the test runs inside.
const INSIDE: &str = "RINGPIPE_TEST_INSIDE";

/// Whether this is the run in the namespace.
pub fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// The name of the test function that this is in, as the test harness has it.
#[macro_export]
macro_rules! this_test {
    () => {{
        fn here() {}
        let path = std::any::type_name_of_val(&here);
        path.strip_suffix("::here").and_then(|path| path.split_once("::")).expect("crate::module::test").1
    }};
}
pub(crate) use this_test;

/// Runs the test of this name again after `mounts`, a shell script, in a user and a mount namespace; false: they
/// cannot be had here.
#[track_caller]
pub fn run_inside(test: &str, mounts: &str) -> bool {
    run_in(test, &["--mount"], mounts)
}

/// The same in a network namespace, too, which has a loopback interface and no other, but can have veth links.
#[track_caller]
pub fn run_in_own_network(test: &str) -> bool {
    let setup = "ip link set lo up && ip link add one type veth peer name other && ip link del one";
    run_in(test, &["--mount", "--net"], setup)
}

#[track_caller]
fn run_in(test: &str, kinds: &[&str], setup: &str) -> bool {
    let script = format!("{{ {setup}; }} || exit 99; exec \"$0\" --exact --nocapture {test}");
    let mut unshare = Command::new("unshare");
    unshare.args(["--user", "--map-root-user"]).args(kinds).args(["sh", "-c", &script]);
    unshare.arg(std::env::current_exe().unwrap()).env(INSIDE, "1");
    let status = unshare.spawn().unwrap().wait().unwrap();
    // unshare itself ends with 1 where there are no user namespaces, a failed test with 101.
    if matches!(status.code(), Some(1 | 99)) {
        not_tested(&format!("{kinds:?}: no such namespaces here, or {setup:?} fails in them"));
        return false;
    }
    assert!(status.success(), "{test}: {status}: see above");
    true
}
