//! Rings of other users: what is refused, what has to be said, and what may be looked at.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::Output;

use crate::support::users::{OWNER, Place, SECOND, THIRD, is_sticky};
use crate::support::*;
use ringpipe::{ErrorKind, Owners, Ring, RingName, RingOptions, sync};

/// One that was refused: with this code, in one line and a hint.
#[track_caller]
fn refused(output: &Output, code: i32, line: &str, hint: &str) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[0].contains(line) && lines[1].starts_with("hint: ") && lines[1].contains(hint), "{text}");
}

#[test]
fn nothing_is_sent_into_taken_from_or_done_to_a_ring_that_another_user_made() {
    let Some(place) = Place::new("squatted") else { return };
    place.says(SECOND, "ringctl create R --mode 666 && producer -q R --item bait");
    for us in [0, OWNER] {
        for line in [
            "producer --mode 600 R --item secret",
            "echo secret | producer R",
            "producer --raw R --item secret --on-full fail",
            "producer --owner 61003 R --item secret",
            "timeout 20 consumer R",
            "consumer --drain R",
            "consumer --no-wait --owner 61003 R",
            "ringctl close R",
            "ringctl repair R",
        ] {
            refused(&place.run(us, line), 1, "belongs to user 61002", "--owner 61002");
        }
        assert_eq!(place.says(us, "ringctl peek R"), "bait\n");
        assert_eq!(
            place.says(us, "ringctl inspect R --json | grep -o '\"state\":\"open\"'"),
            "\"state\":\"open\"\n"
        );
    }
    for accepted in ["--shared", "--owner 61002"] {
        assert_eq!(notes(&place, OWNER, &format!("producer {accepted} R --item own")), "");
        assert_eq!(
            place.says(0, &format!("consumer {accepted} R -n 1")),
            if accepted == "--shared" { "bait\n" } else { "own\n" }
        );
        place.says(0, &format!("ringctl repair {accepted} R"));
    }
    place.says(0, "ringctl close --shared R");
    // As for a file, the system decides which users may remove it.
    if is_sticky() {
        assert_eq!(place.run(OWNER, "ringctl rm R").status.code(), Some(1));
    }
    place.says(0, "ringctl rm R");
    assert!(!place.path().exists());
}

#[test]
fn a_command_that_waits_for_a_ring_refuses_one_of_another_user() {
    let Some(place) = Place::new("late") else { return };
    let receiver = Run::new(env!("CARGO_BIN_EXE_consumer")).arg(&place.ring.name).spawn();
    receiver.wait_for_stderr("waiting for ring");
    place.says(SECOND, "ringctl create R --mode 666");
    receiver.end().with_code(1).saying("belongs to user 61002");
    place.says(SECOND, "ringctl rm R");
}

#[test]
fn the_library_refuses_objects_of_other_users_unless_it_is_told_to_accept_them() {
    let Some(place) = Place::new("library") else { return };
    let name = &*place.ring;
    RingOptions::new().mode(0o666).create(name).unwrap();
    chown(place.path(), Some(SECOND), Some(SECOND)).unwrap();
    let id = RingName::parse(name).unwrap();
    let refusals = [Ring::open(name), Ring::look(&id), RingOptions::new().open_or_create(name)];
    for refusal in refusals.into_iter().chain([RingOptions::new().owners(Owners::User(THIRD)).open(name)]) {
        let error = refusal.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Untrusted);
        assert!(error.to_string().contains("belongs to user 61002; expected"), "{error}");
    }
    for owners in [Owners::User(SECOND), Owners::Any] {
        let ring = RingOptions::new().owners(owners).open(name).unwrap();
        ring.producer().unwrap().send(b"x").unwrap();
    }
    assert_eq!(Ring::observe(&id).unwrap().snapshot().unwrap().ready, 2);
    fs::remove_file(place.path()).unwrap();
    sync::Event::create(name).unwrap();
    sync::Event::open(name).unwrap();
    chown(place.path(), Some(SECOND), Some(SECOND)).unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o666)).unwrap();
    assert_eq!(sync::Event::open(name).unwrap_err().kind(), ErrorKind::Untrusted);
    assert!(sync::remove(name).unwrap());
}

#[test]
fn a_semaphore_of_another_user_is_used_only_if_accepted() {
    let Some(place) = Place::new("semaphore") else { return };
    place.says(SECOND, "ringctl sem create R --mode 666 --value 1");
    for us in [0, OWNER] {
        for verb in ["post", "wait --no-wait"] {
            let output = place.run(us, &format!("ringctl sem {verb} R"));
            refused(&output, 1, "belongs to user 61002", "--owner 61002");
        }
        assert_eq!(place.says(us, "ringctl sem value R"), "1\n");
        place.says(us, "ringctl sem post --shared R && ringctl sem wait --owner 61002 R");
    }
    place.says(0, "ringctl sem rm R");
}

/// The messages of a command, which ends well.
#[track_caller]
fn notes(place: &Place, uid: u32, line: &str) -> String {
    place.says(uid, &format!("{line} 2>&1 >/dev/null"))
}

#[test]
fn a_different_owner_or_mode_is_reported_also_with_q() {
    let Some(place) = Place::new("differs") else { return };
    let item = "--item x R";
    place.says(0, "ringctl create R --mode 666");
    let mode = notes(&place, 0, &format!("producer -q --mode 600 {item}"));
    assert!(mode.contains("has mode 666: --mode 600 has no effect") && mode.lines().count() == 1, "{mode}");
    assert_eq!(notes(&place, 0, &format!("producer --mode 666 {item}")), "");
    assert_eq!(notes(&place, 0, &format!("producer {item}")), "");
    for command in [&format!("producer -q {item}"), "consumer -q -n 1 R"] {
        let owner = notes(&place, OWNER, command);
        assert!(
            owner.contains("belongs to root, not to user 61001") && owner.lines().count() == 1,
            "{owner}"
        );
        for asked in ["--shared", "--owner root", "--owner 0"] {
            assert_eq!(notes(&place, OWNER, &format!("{command} {asked}")), "");
        }
        let other = notes(&place, 0, &format!("{command} --owner 61001"));
        assert!(other.contains("belongs to root, not to user 61001"), "{other}");
    }
    place.says(0, "ringctl rm R");
}

/// All that looks works with permission to read alone, and says what is there.
#[test]
fn a_ring_that_may_only_be_read_can_be_looked_at_by_all() {
    let Some(place) = Place::new("readable") else { return };
    place.says(OWNER, "ringctl create R --mode 644 && producer -q R --item seen && producer R --item again");
    let before = fs::read(place.path()).unwrap();
    for (line, expected) in [
        ("ringctl list -n | grep -x R | wc -l", "1"),
        (
            "ringctl list --json | grep '\"ring\":\"R\"' | grep -o '\"state\":\"open\",\"items\":2'",
            "\"state\":\"open\",\"items\":2",
        ),
        ("ringctl inspect R --json | grep -o '\"items_waiting\":2'", "\"items_waiting\":2"),
        ("ringctl inspect R | grep -c R", "1"),
        ("ringctl peek R", "seen\nagain"),
        ("ringctl watch R --once >/dev/null && echo shown", "shown"),
        ("ringctl watch R --json -n 2 --interval 1ms | wc -l", "2"),
        ("ringctl watch R --events -n 2 --interval 1ms | head -1 | grep -c waiting", "1"),
        ("ringctl wait R --until exists && echo so", "so"),
        ("ringctl wait R --until producers=0 --timeout 20s && echo so", "so"),
        ("ringctl wait R --until empty --timeout 50ms 2>/dev/null || echo $?", "4"),
        ("ringctl clean | grep R | grep -c 'by its owner only'", "1"),
    ] {
        if line.contains("clean") && !is_sticky() {
            continue;
        }
        let name = |text: &str| text.replace('R', &place.ring);
        assert_eq!(place.says(THIRD, line).trim_end(), name(expected), "{line}");
    }
    for line in ["producer --shared R --item x", "consumer --shared -n 1 R", "ringctl close --shared R"] {
        let output = place.run(THIRD, line);
        assert_eq!(output.status.code(), Some(1), "{line}: {output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("no permission to open ring"), "{output:?}");
    }
    assert!(fs::read(place.path()).unwrap() == before, "looking changed it");
    place.says(OWNER, "ringctl rm R 2>/dev/null");
}

/// Where more would be permitted, the memory is mapped for reading only all the same: the kernel refuses each write.
#[test]
fn observers_map_the_ring_for_reading_only() {
    let ring = TestName::made("mapped", &RingOptions::new().capacity(8));
    // With a dead holder, which a participant would recover.
    ring.send(&["held", "waiting"]);
    let mut dead = ring.open().consumer().unwrap();
    std::mem::forget(dead.recv().unwrap());
    drop(dead);
    let before = fs::read(ring.path()).unwrap();
    for args in [
        &["watch", "--json", "--interval", "5ms"][..],
        &["watch", "--events", "--interval", "5ms"],
        &["wait", "--until", "closed"],
        &["wait", "--until", "empty"],
        &["wait", "--until", "consumers=1"],
    ] {
        let observer = Run::new(env!("CARGO_BIN_EXE_ringctl")).args(args).arg(&ring.name).spawn();
        let mappings = || {
            let maps = fs::read_to_string(format!("/proc/{}/maps", observer.pid())).unwrap();
            let of_ring = maps.lines().filter(|line| line.ends_with(&ring.name));
            of_ring.map(|line| line.split_whitespace().nth(1).unwrap().to_string()).collect::<Vec<_>>()
        };
        wait_until("mapping of the ring", || !mappings().is_empty());
        assert_eq!(mappings(), ["r--s"], "{args:?}");
        observer.signal(libc::SIGTERM);
        observer.end();
    }
    assert!(fs::read(ring.path()).unwrap() == before, "looking changed it");
}
