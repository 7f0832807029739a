//! Ends of life of a ring that several users share: the last one out need not be its owner.

use std::fs;
use std::os::unix::fs::FileExt;
use std::process::Command;

use crate::support::users::{OWNER, Place, SECOND, THIRD, is_sticky};
use crate::support::{Run, not_tested};

#[test]
fn a_ring_outlives_a_last_participant_that_may_not_remove_it() {
    let Some(place) = Place::new("stays") else { return };
    if !is_sticky() {
        return not_tested("/dev/shm is not sticky");
    }
    place.says(OWNER, "seq 3 | producer -q --mode 666 R");
    assert_eq!(place.says(SECOND, "timeout 20 consumer --shared R"), "1\n2\n3\n");
    assert!(place.path().exists(), "a user that does not own it cannot remove it");
    // It is not in the way of any user, and takes more.
    assert_eq!(place.says(THIRD, "ringctl inspect --json R >/dev/null && echo there"), "there\n");
    place.says(THIRD, "seq 4 5 | timeout 20 producer -q --shared R");
    assert_eq!(place.says(SECOND, "timeout 20 consumer --shared R"), "4\n5\n");
    // A refusal of the removal neither closes nor retires it.
    assert_eq!(place.run(SECOND, "ringctl rm R").status.code(), Some(1));
    place.says(THIRD, "seq 6 7 | timeout 20 producer -q --shared R");
    assert_eq!(place.says(OWNER, "timeout 20 consumer R"), "6\n7\n");
    assert!(!place.path().exists(), "its owner removes it");
}

#[test]
fn a_retired_ring_continues_for_a_user_that_may_not_remove_it() {
    let Some(place) = Place::new("retired") else { return };
    if !is_sticky() {
        return not_tested("/dev/shm is not sticky");
    }
    place.says(OWNER, "seq 3 | producer -q --mode 666 R");
    // As a death between the retirement and the removal of the name leaves it.
    place.says(SECOND, "timeout 20 consumer --shared R");
    let file = fs::File::options().read(true).write(true).open(place.path()).unwrap();
    let at = ringpipe::internal::layout::head::STREAM_STATE;
    let mut stream = [0; 8];
    file.read_exact_at(&mut stream, at).unwrap();
    let retired = u64::from_ne_bytes(stream) | 1 << 62;
    file.write_all_at(&retired.to_ne_bytes(), at).unwrap();
    place.says(THIRD, "seq 4 5 | timeout 20 producer -q --shared R");
    assert_eq!(place.says(SECOND, "timeout 20 consumer --shared R"), "4\n5\n");
}

/// Runs a script with a /dev/shm of its own, mounted with `mode`, in which `as UID COMMAND` is a command of a user.
fn runs_in_a_namespace(place: &Place, mode: u32, script: &str) {
    let script = format!(
        r#"
        mount -t tmpfs -o mode={mode} tmpfs /dev/shm || exit 99
        PATH={}:$PATH
        as() {{ setpriv --reuid="$1" --regid="$1" --clear-groups timeout 20 sh -c "umask 0; $2"; }}
        set -e
        {script}
        "#,
        place.commands.path().display()
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &script]);
    let ended = Run::of(command).run();
    // unshare itself ends with 1 where it may not make a mount namespace.
    if ended.code == Some(99) || ended.stderr.contains("unshare failed") {
        return not_tested("the namespace cannot be made, or not as the test needs it");
    }
    ended.succeeds();
}

/// Where every user may remove every name, the last participant removes the ring of any owner.
#[test]
fn in_a_directory_without_sticky_bit_any_last_participant_removes_the_ring() {
    let Some(place) = Place::new("plain") else { return };
    let script = format!(
        r#"
        as {OWNER} 'seq 3 | producer -q --mode 666 R'
        test "$(as {SECOND} 'consumer --shared R')" = "$(seq 3)"
        test ! -e /dev/shm/R
        as {OWNER} 'ringctl create --mode 666 R >/dev/null'
        as {THIRD} 'seq 3 | producer -q --shared R'
        as {SECOND} 'ringctl rm R >/dev/null'
        test ! -e /dev/shm/R
        "#
    );
    runs_in_a_namespace(&place, 777, &script);
}

/// In an append-only directory all permissions are there, and the system refuses the removal itself.
#[test]
fn a_refused_removal_leaves_a_ring_that_works() {
    let Some(place) = Place::new("refused") else { return };
    let script = r#"
        chattr +a /dev/shm || exit 99
        as 0 'seq 3 | producer -q R'
        test "$(as 0 'consumer R')" = "$(seq 3)"
        test -e /dev/shm/R
        as 0 'ringctl inspect R >/dev/null && seq 4 5 | producer -q R'
        test "$(as 0 'consumer R')" = "$(seq 4 5)"
        chattr -a /dev/shm
        as 0 'seq 6 | producer -q R'
        test "$(as 0 'consumer R')" = "$(seq 6)"
        test ! -e /dev/shm/R
        "#;
    runs_in_a_namespace(&place, 1777, script);
}
