//! Names of rings, files and semaphores, as every command that takes one takes it.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use proptest::prelude::*;
use ringpipe::{ErrorKind, RingName};

use crate::inputs::commands::{leaves, path, value_name};
use crate::inputs::verdict::is_usage_error;
use crate::support::scale::Share;
use crate::support::{Run, TestName};

fn bad_names() -> Vec<OsString> {
    let long = ["x".repeat(251), "x".repeat(256), "ü".repeat(126), "y".repeat(100_000)];
    let mut names: Vec<OsString> =
        ["", "/", "shm:", "shm:/", ".", "..", "/.", "/..", "shm:..", "a/b", "//a", "a/", "./a", "shm://a"]
            .into_iter()
            .map(OsString::from)
            .collect();
    names.extend(long.into_iter().map(OsString::from));
    names.extend([b"\xff".to_vec(), b"jobs\xff".to_vec(), b"\xc0\xaf".to_vec()].map(OsString::from_vec));
    names
}

#[test]
fn every_command_refuses_an_invalid_name_and_shows_the_valid_form() {
    let (mut commands, mut share) = (0, Share::new(10));
    for leaf in leaves() {
        let takes_name = |arg: &&clap::Arg| matches!(value_name(arg).as_str(), "RING" | "NAME");
        if !leaf.valued().any(|arg| arg.is_positional() && takes_name(&arg)) {
            continue;
        }
        commands += 1;
        for name in bad_names().into_iter().filter(|_| share.takes()) {
            let is_utf8 = name.to_str().is_some();
            let mut arguments = leaf.required("@");
            let at = arguments.iter().position(|one| one == "@").unwrap();
            arguments[at] = name;
            let ended = leaf.run(&arguments).run();
            is_usage_error(&ended, &format!("{} {:?}", leaf.name(), arguments[at].to_string_lossy()));
            assert!(
                !is_utf8 || ended.stderr.contains("expected NAME, /NAME or shm:NAME"),
                "{}",
                ended.stderr
            );
        }
    }
    assert!(commands >= 15, "only {commands} commands take a name");
}

#[test]
fn odd_names_are_valid_names() {
    let own = TestName::new("odd").name.clone();
    let longest = format!("{own}{}", "x".repeat(250 - own.len()));
    for name in [
        format!("{own} a b"),
        format!("{own}-ü-🦀"),
        format!("{own}\n"),
        format!("{own}\u{1b}[31m"),
        format!("{own}*?[$(id)];'\""),
        format!("{own}:shm:"),
        longest,
    ] {
        let ring = TestName::named(name);
        for given in [
            ring.name.clone(),
            format!("/{}", ring.name),
            format!("shm:{}", ring.name),
            format!("shm:/{}", ring.name),
        ] {
            one_item_goes_through(&ring, &given);
        }
    }
}

#[test]
fn a_name_that_begins_like_a_prefix_is_kept_unchanged() {
    let own = TestName::new("prefix");
    let ring = TestName::named(format!("shm:{}", own.name));
    for given in [format!("/{}", ring.name), format!("shm:{}", ring.name)] {
        one_item_goes_through(&ring, &given);
        assert!(!own.exists());
    }
}

/// Through the ring, which is called as given.
fn one_item_goes_through(ring: &TestName, given: &str) {
    let call = |program| Run::new(path(program)).arg(given);
    call("producer").args(&["--item", "x"]).run().with_code(0).quiet();
    assert!(ring.exists(), "{given:?}");
    assert_eq!(call("consumer").run().with_code(0).text(), "x\n");
    assert!(!ring.exists(), "{given:?}");
}

#[test]
fn an_error_about_an_odd_name_stays_on_its_line() {
    let name = format!("{}\nsecond line\r\u{1b}[31m", TestName::new("line").name);
    for (command, code) in [("inspect", 3), ("rm", 3), ("peek", 3)] {
        let ended = Run::new(path("ringctl")).args(&[command, &name]).run().with_code(code);
        let lines: Vec<&str> = ended.stderr.lines().collect();
        assert!(lines.len() <= 2 && lines[0].starts_with("ringctl: "), "{:?}", ended.stderr);
        assert!(!ended.stderr.contains(['\u{1b}', '\r']), "{:?}", ended.stderr);
    }
}

proptest! {
    #[test]
    fn a_text_is_a_name_exactly_if_the_rules_allow_it(text in "(shm:)?/?.{0,260}") {
        let rest = text.strip_prefix("shm:").unwrap_or(&text);
        let bare = rest.strip_prefix('/').unwrap_or(rest);
        let may_be = (1..=250).contains(&bare.len()) && !bare.contains(['/', '\0']) && bare != "." && bare != "..";
        match RingName::parse(&text) {
            Ok(name) => {
                prop_assert!(may_be);
                prop_assert_eq!(name.as_str(), bare);
                prop_assert_eq!(&RingName::parse(&name.os_id()).unwrap(), &name);
                prop_assert_eq!(RingName::parse(&format!("shm:{name}")).unwrap(), name);
            }
            Err(error) => {
                prop_assert!(!may_be, "{}", error);
                prop_assert_eq!(error.kind(), ErrorKind::Usage);
                prop_assert!(!error.to_string().contains('\n'), "{}", error);
            }
        }
    }
}
