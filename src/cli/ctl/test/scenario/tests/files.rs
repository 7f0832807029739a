//! Files that cannot be read, and the file that `--init` writes.

use std::fs;
use std::path::Path;

use super::super::{init, read};

#[test]
fn a_file_that_is_missing_or_not_utf8_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let missing = read(&folder.path().join("missing.toml")).unwrap_err();
    assert_eq!(missing.code, 1);
    assert!(
        missing.line.contains("missing.toml") && missing.line.contains("No such file"),
        "{}",
        missing.line
    );
    let path = folder.path().join("s.toml");
    fs::write(&path, b"name = \"x\"\n# \xff\n").unwrap();
    let wrong = read(&path).unwrap_err();
    let expected = format!("{}:2:3: this byte is not UTF-8; expected text in UTF-8", path.display());
    assert_eq!((wrong.line, wrong.code), (expected, 2));
}

#[test]
fn a_file_without_an_end_is_refused() {
    let failure = read(Path::new("/dev/zero")).unwrap_err();
    assert_eq!(failure.code, 2);
    assert_eq!(failure.line, "\"/dev/zero\" is larger than 1048576 bytes; expected a scenario file");
}

#[test]
fn init_writes_a_new_file_that_is_a_scenario_and_replaces_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a b.toml");
    init::write(&path).unwrap();
    assert_eq!(read(&path).unwrap().name, "a b");
    fs::write(&path, "mine").unwrap();
    let failure = init::write(&path).unwrap_err();
    assert_eq!(failure.code, 1);
    assert!(failure.hint.unwrap().ends_with("a b.toml' runs it"));
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
}
