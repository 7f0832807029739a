//! Scripts that the documents tell a reader to run.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::floors::sources;

#[test]
fn each_file_with_an_interpreter_can_be_executed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = [".ci", "benches", "docs", "examples", "tests"];
    let files: Vec<_> = folders.iter().flat_map(|folder| sources(&root.join(folder))).collect();
    let scripts: Vec<_> =
        files.into_iter().filter(|file| fs::read(file).unwrap().starts_with(b"#!")).collect();
    assert!(scripts.len() >= 5, "{scripts:?}");
    for script in scripts {
        let mode = fs::metadata(&script).unwrap().permissions().mode();
        assert_eq!(mode & 0o111, 0o111, "chmod +x {}", script.display());
    }
}
