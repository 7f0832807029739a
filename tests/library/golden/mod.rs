//! The bytes of each kind of segment, pinned to the version of its layout.
//!
//! A process of one build must understand the segments of every other build with the same version. So each scene
//! below makes a segment with fixed inputs, and its bytes are compared with a file beside this one. Times, process
//! ids and random numbers are masked by the names of their fields; all other bytes count, and those without a name
//! are expected to be 0.
//!
//! To change bytes on purpose, raise `VERSION` (rings) or `OBJECT_VERSION` (named objects) in src/layout, then write
//! the files anew and read their difference:
//!
//! ```text
//! RINGPIPE_GOLDEN=write cargo test --test library golden
//! ```
//!
//! Files are not written while bytes differ and the version does not.

mod dump;
mod scenes;

use std::path::PathBuf;

use dump::Dump;

/// Set to `write`: files are written, not compared.
const GOLDEN: &str = "RINGPIPE_GOLDEN";

fn path(scene: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/library/golden/{scene}.txt"))
}

/// What a line says of bytes: where they are, and what they are. Names and comments may change.
fn bytes(text: &str) -> Vec<(&str, &str)> {
    let line = |line| {
        let (line, _comment) = str::split_once(line, " ; ").unwrap_or((line, ""));
        let mut words = line.split_whitespace();
        words.next().zip(words.next_back()).unwrap_or((line, ""))
    };
    text.lines().map(line).collect()
}

/// The line of a file that names its version.
fn version(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// Why the `known` bytes are not these, or `None`.
fn verdict(known: &str, dump: &str) -> Option<String> {
    let (known_bytes, bytes) = (bytes(known), bytes(dump));
    if known == dump {
        return None;
    }
    if version(known) != version(dump) {
        let (then, now) = (version(known), version(dump));
        return Some(format!(
            "the {now}, the file has the {then}: write the file anew and check its difference"
        ));
    }
    if known_bytes == bytes {
        return Some("a field has another name, its bytes are the same: write the file anew".into());
    }
    let differs = |(then, now): &(&str, &str)| then != now;
    let first = known.lines().chain(std::iter::repeat("(nothing)")).zip(dump.lines()).find(differs);
    let (then, now) = first.unwrap_or(("more lines", "(nothing)"));
    Some(format!(
        "bytes moved and the version did not. First difference:\n  file: {then}\n  now:  {now}\nProcesses of two builds \
         would misread each other. Undo the change, or raise the version and write the file anew"
    ))
}

/// Compares a scene with its file, or writes the file.
fn check(scene: &str, dump: &Dump) {
    let (path, dump) = (path(scene), dump.text());
    let known = std::fs::read_to_string(&path).unwrap_or_default();
    let Some(why) = verdict(&known, &dump) else { return };
    let may_write = known.is_empty() || version(&known) != version(&dump) || bytes(&known) == bytes(&dump);
    if may_write && std::env::var(GOLDEN).is_ok_and(|wanted| wanted == "write") {
        std::fs::write(&path, dump).expect("the file is written");
        return;
    }
    let how = format!("{GOLDEN}=write cargo test --test library golden");
    panic!("{}: {why} ({how}).\nAll bytes now:\n{dump}", path.display());
}

#[test]
fn a_changed_layout_needs_a_new_version_and_a_new_version_needs_its_golden_file() {
    let golden = "layout version 1\n0x0000 magic 01 ; text\n0x0008 tail 02\n";
    assert_eq!(verdict(golden, golden), None);
    for (changed, why) in [
        ("layout version 1\n0x0000 magic 01 ; text\n0x0008 tail 03\n", "bytes moved and the version did not"),
        ("layout version 1\n0x0000 magic 01 ; text\n0x0010 tail 02\n", "bytes moved and the version did not"),
        ("layout version 1\n0x0000 magic 01 ; text\n", "bytes moved and the version did not"),
        ("layout version 2\n0x0000 magic 01 ; text\n0x0008 tail 02\n", "write the file anew"),
        ("layout version 2\n0x0000 magic 01 ; text\n0x0008 tail 03\n", "write the file anew"),
        ("layout version 1\n0x0000 magic 01 ; other\n0x0008 end 02\n", "another name"),
    ] {
        let said = verdict(golden, changed).unwrap();
        assert!(said.contains(why), "{changed}: {said}");
    }
}
