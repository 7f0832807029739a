//! The floors of the source: each may use those below it, and none above.

use std::fs;
use std::path::{Path, PathBuf};

/// From the bottom to the top.
const FLOORS: [&str; 7] = ["sys", "layout", "sync", "ring", "handles", "framing", "cli"];
/// What every floor may name at the crate's root.
const EVERYWHERE: [&str; 3] = ["Error", "ErrorKind", "Result"];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

/// The first path segments after `crate::` in a source text, those in braces included.
fn crate_paths(text: &str) -> Vec<String> {
    let first =
        |path: &str| path.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let code =
        text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let mut found = Vec::new();
    for (at, pattern) in code.match_indices("crate::") {
        let rest = &code[at + pattern.len()..];
        match rest.strip_prefix('{') {
            None => found.push(first(rest)),
            Some(list) => {
                let mut depth = 1;
                let mut name = String::new();
                for c in list.chars() {
                    match c {
                        '{' => depth += 1,
                        '}' => depth -= 1,
                        ',' if depth == 1 => found.push(first(&std::mem::take(&mut name))),
                        _ if depth == 1 => name.push(c),
                        _ => {}
                    }
                    if depth == 0 {
                        break;
                    }
                }
                found.push(first(&name));
            }
        }
    }
    found.retain(|name| !name.is_empty());
    found
}

fn upward_imports(floor: usize, text: &str) -> Vec<String> {
    let allowed = |name: &String| {
        let below = FLOORS[..=floor].contains(&name.as_str());
        // The top floors serve the binaries and may use the public face.
        below || EVERYWHERE.contains(&name.as_str()) || (FLOORS[floor] == "cli" && name != "bin")
    };
    crate_paths(text).into_iter().filter(|name| !allowed(name)).collect()
}

#[test]
fn no_floor_imports_from_above() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for (floor, name) in FLOORS.iter().enumerate() {
        let files = sources(&root.join(name));
        assert!(!files.is_empty(), "the floor {name} has no sources");
        for file in files {
            let upward = upward_imports(floor, &fs::read_to_string(&file).unwrap());
            assert!(upward.is_empty(), "{} imports {upward:?} from above", file.display());
        }
    }
}

#[test]
fn an_upward_import_is_found_however_it_is_written() {
    let ring = FLOORS.iter().position(|floor| *floor == "ring").unwrap();
    for text in [
        "use crate::handles::Ring;",
        "use crate::{Error, handles::{Ring, Producer}};",
        "fn f() { crate::cli::exit::plain() }",
        "use crate::Ring;",
    ] {
        assert!(!upward_imports(ring, text).is_empty(), "not found: {text}");
    }
    for text in
        ["use crate::{Error, sync::{Signal, Waiter}};", "// crate::handles", "use crate::ring::word::Tag;"]
    {
        assert!(upward_imports(ring, text).is_empty(), "wrongly found: {text}");
    }
}

#[test]
fn unsafe_code_lives_in_sys_and_the_view_alone() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in ["src", "bin"] {
        for file in sources(&root.join(folder)) {
            let text = fs::read_to_string(&file).unwrap();
            let place = file.strip_prefix(root).unwrap();
            let allowed = place.starts_with("src/sys") || place == Path::new("src/layout/view.rs");
            assert!(
                allowed || !text.contains("allow(unsafe_code)"),
                "{} allows unsafe code",
                place.display()
            );
        }
    }
}
