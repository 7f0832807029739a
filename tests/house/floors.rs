//! The floors of the source: each may use those below it, and none above.

use std::fs;
use std::path::{Path, PathBuf};

/// From the bottom to the top.
const FLOORS: [&str; 10] =
    ["sys", "layout", "protocol", "wait", "membership", "sync", "handles", "framing", "testing", "cli"];
/// What every floor may name at the crate's root.
const EVERYWHERE: [&str; 3] = ["Error", "ErrorKind", "Result"];

pub(crate) fn sources(folder: &Path) -> Vec<PathBuf> {
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
        // The commands may use the public face, and are held to it by a test of their own.
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
    let ring = FLOORS.iter().position(|floor| *floor == "protocol").unwrap();
    for text in [
        "use crate::handles::Ring;",
        "use crate::{Error, handles::{Ring, Producer}};",
        "fn f() { crate::cli::exit::plain() }",
        "use crate::Ring;",
    ] {
        assert!(!upward_imports(ring, text).is_empty(), "not found: {text}");
    }
    for text in
        ["use crate::{Error, sys::{clock, fence}};", "// crate::handles", "use crate::protocol::word::Tag;"]
    {
        assert!(upward_imports(ring, text).is_empty(), "wrongly found: {text}");
    }
}

#[test]
fn unsafe_code_lives_only_in_sys_and_the_mapping() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in ["src", "bin"] {
        for file in sources(&root.join(folder)) {
            let text = fs::read_to_string(&file).unwrap();
            let place = file.strip_prefix(root).unwrap();
            let allowed = place.starts_with("src/sys") || place == Path::new("src/layout/mapping.rs");
            assert!(
                allowed || !text.contains("allow(unsafe_code)"),
                "{} allows unsafe code",
                place.display()
            );
        }
    }
}

/// The paths below `crate::` in a source text, in full, those in braces included.
fn full_crate_paths(text: &str) -> Vec<String> {
    let code =
        text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    code.match_indices("crate::").flat_map(|(at, pattern)| branches(&code[at + pattern.len()..]).0).collect()
}

/// The leaves of a `use` tree at the beginning of a text, and the bytes that it takes.
pub(crate) fn branches(text: &str) -> (Vec<String>, usize) {
    let word = text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '*')).unwrap_or(text.len());
    let (name, rest) = text.split_at(word);
    if let Some(list) = rest.strip_prefix("::{").or(rest.strip_prefix('{').filter(|_| name.is_empty())) {
        let (mut leaves, mut at) = (Vec::new(), text.len() - list.len());
        loop {
            at += text[at..].len() - text[at..].trim_start_matches([' ', '\n', ',']).len();
            if text[at..].starts_with('}') || text[at..].is_empty() {
                return (leaves, at + 1);
            }
            let (found, taken) = branches(&text[at..]);
            let below = |leaf: String| if name.is_empty() { leaf } else { format!("{name}::{leaf}") };
            leaves.extend(found.into_iter().map(below));
            at += taken.max(1);
            at += text[at..].find([',', '}']).unwrap_or(0);
        }
    }
    match rest.strip_prefix("::") {
        Some(deeper) => {
            let (leaves, taken) = branches(deeper);
            (leaves.into_iter().map(|leaf| format!("{name}::{leaf}")).collect(), word + 2 + taken)
        }
        None => (vec![name.to_string()], word),
    }
}

/// What the commands import and another crate could not: anything but the public names at the crate's root, `sync`,
/// `testing`, `framing` and `sys::command`.
fn private_imports(text: &str) -> Vec<String> {
    let is_public = |path: &String| {
        let mut parts = path.split("::");
        match (parts.next(), parts.next()) {
            (Some("sys"), second) => second == Some("command"),
            (Some("cli" | "framing" | "sync" | "testing"), _) => true,
            (Some(name), second) => {
                second.is_none_or(|_| name.starts_with(char::is_uppercase))
                    && !FLOORS.contains(&name)
                    && !name.starts_with('*')
            }
            (None, _) => false,
        }
    };
    full_crate_paths(text).into_iter().filter(|path| !is_public(path)).collect()
}

#[test]
fn the_commands_import_only_what_another_crate_could() {
    let files = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli"));
    assert!(!files.is_empty());
    for file in files {
        let private = private_imports(&fs::read_to_string(&file).unwrap());
        assert!(private.is_empty(), "{} imports {private:?}", file.display());
    }
}

#[test]
fn a_private_import_of_a_command_is_found_however_it_is_written() {
    for text in [
        "use crate::handles::HeldBatch;",
        "use crate::sys::clock;",
        "use crate::sys;",
        "use crate::sys::{command::stdio, process};",
        "use crate::{Ring, cli::common::{exit::Failure, args}, sys::{self, command}};",
        "use crate::{\n    Error,\n    layout::preamble::LAYOUT_VERSION,\n};",
        "fn f() { crate::protocol::word::f() }",
        "let at_ns = crate::sys::clock::monotonic_ns();",
        "use crate::wait::Signal;",
        "use crate::internal::layout;",
        "use crate::*;",
    ] {
        assert!(!private_imports(text).is_empty(), "not found: {text}");
    }
    for text in [
        "use crate::{Error, Ring, survive_truncation};",
        "use crate::sys::command::{self, stdio};",
        "use crate::{Ring, cli::{common::exit::Failure, ctl::show}, sys::command::{clock, io::{self as f, Wait}}};",
        "// crate::handles",
        "use crate::framing::{Framing, Recorded};",
        "Some(crate::Liveness::Dead)",
        "use crate::sync::Lock;",
    ] {
        assert_eq!(private_imports(text), Vec::<String>::new(), "wrongly found: {text}");
    }
}
