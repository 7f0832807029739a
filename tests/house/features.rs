//! What the features add: the library and the default programs depend on no crate that only an optional feature needs.

use std::collections::BTreeSet;
use std::process::Command;

/// The crates of the default build, a name a line. Add a line only for a crate that all users need.
const DEFAULT: &str = include_str!("default_tree.txt");

/// The names of all crates that a build with these arguments has.
fn crates(args: &[&str]) -> BTreeSet<String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["tree", "--offline", "--locked", "--edges", "normal", "--prefix", "none"]).args(args);
    let output = command.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let first = |line: &str| line.split(' ').next().map(str::to_string);
    text.lines().filter_map(first).filter(|name| !name.is_empty() && name != "ringpipe").collect()
}

#[test]
fn the_default_build_has_no_crate_more_than_listed() {
    let listed: BTreeSet<String> = DEFAULT.lines().map(str::to_string).collect();
    let found = crates(&[]);
    let more: Vec<_> = found.difference(&listed).collect();
    assert!(more.is_empty(), "crates that tests/house/default_tree.txt does not list: {more:?}");
    assert_eq!(found, listed, "tests/house/default_tree.txt lists crates that are gone");
}

#[test]
fn nats_is_only_in_a_build_with_the_feature() {
    // Not asked of `cargo tree`: a machine that builds no streams has not downloaded what only they need.
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["metadata", "--offline", "--locked", "--no-deps", "--format-version", "1"]);
    let output = command.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let features = &metadata["packages"][0]["features"];
    let brings = |feature: &str| features[feature].to_string();
    assert!(brings("nats").contains("dep:async-nats"), "{features}");
    assert!(!brings("default").contains("nats") && !brings("cli").contains("nats"), "{features}");
    for name in ["async-nats", "rustls", "tokio"] {
        assert!(!crates(&[]).contains(name), "{name} is in the default build");
        assert!(!crates(&["--no-default-features"]).contains(name), "{name} is in the library");
    }
}

/// The direct dependencies of this package that a lock file has.
fn locked(text: &str) -> BTreeSet<String> {
    let package = text.split("[[package]]").find(|package| package.contains("\nname = \"ringpipe\"\n"));
    let (_, list) = package.expect("the package").split_once("dependencies = [").expect("its dependencies");
    let names = list.lines().filter_map(|line| line.trim().strip_prefix('"'));
    // A version follows where several are in the file.
    names.map(|line| line.split(['"', ' ']).next().unwrap_or_default().to_string()).collect()
}

#[test]
fn the_other_workspaces_lock_what_the_package_needs() {
    for (lock, args) in [
        (include_str!("../../fuzz/Cargo.lock"), &["--depth", "1"][..]),
        (include_str!("../../peers/Cargo.lock"), &["--depth", "1", "--no-default-features"]),
    ] {
        assert_eq!(
            locked(lock),
            crates(args),
            "run cargo metadata in fuzz/ and peers/, and commit the locks"
        );
    }
}
