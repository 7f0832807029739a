//! The functions of docs/TESTING.md, by which other programs write histories.

use std::fs;
use std::process::Command;

use super::{Folder, events};
use crate::support::*;
use ringpipe::testing::history::hash_of;

/// The first block of a language in docs/TESTING.md.
fn block(language: &str) -> String {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/TESTING.md")).unwrap();
    let (_, rest) = page.split_once("## Histories from any program").unwrap();
    let (_, rest) = rest.split_once(&format!("\n```{language}\n")).unwrap();
    rest.split_once("\n```").unwrap().0.to_string()
}

const EVENTS: [&str; 5] = ["attempt 17 0", "sent 17 0", "got 17 1", "acking 17 1", "acked 17 1"];

#[test]
fn a_shell_script_writes_a_history() {
    let folder = Folder::new();
    let mut script = block("bash");
    for event in EVENTS {
        let words: Vec<&str> = event.split(' ').collect();
        script += &format!("\nhistory \"$D/log\" {} 1 {} {}", words[0], words[1], words[2]);
    }
    Run::new("bash").args(&["-c", &script]).env("D", folder.path()).run().succeeds().quiet();
    assert_eq!(events(folder.path().join("log")), EVENTS);
    assert_eq!(folder.is_clean()["acknowledged"], 1);
}

#[test]
fn a_program_in_c_writes_a_history_beside_the_commands() {
    let (folder, build) = (Folder::new(), tempfile::tempdir().unwrap());
    let mut source = block("c");
    source += "\nint main(int n, char **path) {\n    int fd = open(path[n - 1], O_WRONLY | O_CREAT | O_APPEND, 0666);\n    int wrong = 0;\n";
    for event in EVENTS {
        let words: Vec<&str> = event.split(' ').collect();
        let bytes =
            if matches!(words[0], "attempt" | "got") { "(unsigned char *)\"foobar\", 6" } else { "NULL, 0" };
        source +=
            &format!("    wrong |= history(fd, \"{}\", 1, {}, {}, {bytes});\n", words[0], words[1], words[2]);
    }
    source += "    return wrong;\n}\n";
    fs::write(build.path().join("log.c"), source).unwrap();
    let compiled = Command::new("cc")
        .args(["-std=gnu99", "-Wall", "-Wextra", "-Werror", "-o"])
        .args([build.path().join("log"), build.path().join("log.c")])
        .status()
        .unwrap();
    assert!(compiled.success());
    let program = build.path().join("log");
    let ring = TestName::new("c").stays();
    producer(&ring, &["--item", "x"]).env(super::VARIABLE, folder.path()).run().succeeds();
    Run::new(program.to_str().unwrap()).arg(folder.path().join("c.log")).run().succeeds();
    consumer(&ring, &[]).env(super::VARIABLE, folder.path()).run().succeeds();
    assert_eq!(folder.is_clean()["acknowledged"], 2);
    let text = fs::read_to_string(folder.path().join("c.log")).unwrap();
    assert_eq!(text.matches(&format!(" {:x}\n", hash_of(b"foobar"))).count(), 2, "{text}");
    // A full disk is an error.
    Run::new(program.to_str().unwrap()).arg("/dev/full").run().with_code(255);
}
