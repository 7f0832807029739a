//! Files of the source import one another without circles.
//!
//! An import of an item is an arrow to the file that defines the item: re-exports are followed. The import of a module is
//! an arrow to the file of that module. No arrows are: `mod` lines; what stands behind `#[cfg(test)]` or `#[cfg(doc)]`; and
//! imports between a module and the modules within it, which are one part in several files, as long as
//! modules within it have no circle among themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::floors::{branches, sources};

/// A module by its path from the crate's root, which itself is the empty one.
type Module = Vec<String>;

/// What the text of one module says.
#[derive(Debug, Default)]
struct Source {
    /// Absolute paths of the items that it names.
    imports: Vec<Module>,
    /// Names that it passes on, and where from; `*` for all of another module.
    exports: Vec<(String, Module)>,
    /// Modules that are there for tests alone.
    tests: BTreeSet<String>,
}

/// The text without comments, strings' contents apart, and without what stands behind `#[cfg(test)]` or `#[cfg(doc)]`;
/// and the names of modules among those.
fn code(text: &str) -> (String, BTreeSet<String>) {
    let (mut kept, mut tests) = (String::new(), BTreeSet::new());
    let mut lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    while let Some(line) = lines.next() {
        if !["#[cfg(test)]", "#[cfg(doc)]"].contains(&line.trim()) {
            kept.push_str(line);
            kept.push('\n');
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        let Some(first) = lines.find(|line| !line.trim_start().starts_with("#[")) else { break };
        if let Some((_, name)) = first.split_once("mod ")
            && let Some(name) = name.strip_suffix(';')
        {
            tests.insert(name.to_string());
        }
        // An item of several lines ends with a line of the same indent.
        if !first.ends_with([';', '}']) {
            let _ = lines.find(|line| {
                line.len() - line.trim_start().len() == indent && (line.trim_end().ends_with(['}', ';']))
            });
        }
    }
    (kept, tests)
}

/// Makes a path that is written in `module` absolute. `None`: it leads out of the crate.
fn absolute(path: &str, module: &Module) -> Option<Module> {
    let mut parts = path.split("::").peekable();
    let mut at = match parts.peek().copied() {
        Some("crate") => {
            parts.next();
            Vec::new()
        }
        Some("self" | "super") => module.clone(),
        _ => return None,
    };
    for part in parts {
        match part {
            "self" => {}
            "super" => {
                at.pop()?;
            }
            name => at.push(name.to_string()),
        }
    }
    Some(at)
}

fn read(text: &str, module: &Module, children: &BTreeSet<String>) -> Source {
    let (code, tests) = code(text);
    let mut source = Source { tests, ..Source::default() };
    // Imports and re-exports.
    for (at, _) in code.match_indices("use ") {
        let line = code[..at].rfind('\n').map_or(0, |end| end + 1);
        let before = code[line..at].trim();
        if !(before.is_empty() || before.starts_with("pub")) {
            continue;
        }
        let end = at + code[at..].find(';').unwrap_or(code.len() - at);
        let tree = &code[at + "use ".len()..end];
        let names = branches(tree).0;
        for leaf in names {
            let local = leaf.split("::").next().is_some_and(|first| children.contains(first));
            let leaf = if local { format!("self::{leaf}") } else { leaf };
            let Some(path) = absolute(&leaf, module) else { continue };
            match before.starts_with("pub") {
                true => source.exports.push((path.last().cloned().unwrap_or_default(), path)),
                false => source.imports.push(path),
            }
        }
    }
    // Paths within the code.
    for start in ["crate::", "super::"] {
        for (at, _) in code.match_indices(start) {
            let begins =
                code[..at].chars().next_back().is_none_or(|c| !(c.is_alphanumeric() || "_:".contains(c)));
            if begins {
                source
                    .imports
                    .extend(branches(&code[at..]).0.iter().filter_map(|leaf| absolute(leaf, module)));
            }
        }
    }
    source
}

/// The module that defines what a path names. `None`: there is no such module, or it is for tests.
fn defining(sources: &BTreeMap<Module, Source>, path: &[String], depth: usize) -> Option<Module> {
    let known = (0..=path.len()).rev().find(|len| sources.contains_key(&path[..*len]))?;
    let (module, source) = (&path[..known], &sources[&path[..known]]);
    let Some(name) = path.get(known).filter(|_| depth < 8) else { return Some(module.to_vec()) };
    let mut named = source.exports.iter().filter(|(export, _)| export == name);
    let all = source.exports.iter().filter(|(export, _)| export == "*");
    if let Some((_, to)) = named.next() {
        let rest: Module = to.iter().chain(&path[known + 1..]).cloned().collect();
        return defining(sources, &rest, depth + 1);
    }
    for (_, to) in all {
        let below: Module = to[..to.len() - 1].iter().chain(&path[known..]).cloned().collect();
        if let Some(found) = defining(sources, &below, depth + 1)
            && found != to[..to.len() - 1]
        {
            return Some(found);
        }
    }
    Some(module.to_vec())
}

/// The circles among these files, each as the modules that it goes through.
fn circles(files: &[(Module, String)]) -> Vec<Vec<String>> {
    let modules: BTreeSet<&Module> = files.iter().map(|(module, _)| module).collect();
    let children = |module: &Module| -> BTreeSet<String> {
        let below = modules.iter().filter(|one| one.len() == module.len() + 1 && one.starts_with(module));
        below.filter_map(|one| one.last().cloned()).collect()
    };
    let mut sources: BTreeMap<Module, Source> =
        files.iter().map(|(module, text)| (module.clone(), read(text, module, &children(module)))).collect();
    let tests: Vec<Module> = sources
        .iter()
        .flat_map(|(module, source)| {
            source.tests.iter().map(|name| module.iter().chain([name]).cloned().collect())
        })
        .collect();
    sources.retain(|module, _| !tests.iter().any(|test| module.starts_with(test)));
    let family = |one: &Module, other: &Module| one.starts_with(other) || other.starts_with(one);
    let arrows: BTreeMap<Module, BTreeSet<Module>> = sources
        .iter()
        .map(|(module, source)| {
            let passed_on = source.exports.iter().map(|(_, to)| to);
            let to = source.imports.iter().chain(passed_on);
            let to = to.filter_map(|path| defining(&sources, path, 0));
            (module.clone(), to.filter(|to| !family(module, to)).collect())
        })
        .collect();
    let reaches = |from: &Module| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from.clone()]);
        while let Some(at) = open.pop() {
            for to in &arrows[&at] {
                if seen.insert(to.clone()) {
                    open.push(to.clone());
                }
            }
        }
        seen
    };
    let reached: BTreeMap<&Module, BTreeSet<Module>> =
        arrows.keys().map(|module| (module, reaches(module))).collect();
    let mut found: BTreeSet<Vec<String>> = BTreeSet::new();
    for (module, seen) in reached.iter().filter(|(module, seen)| seen.contains(**module)) {
        let together = seen.iter().filter(|other| reached[other].contains(*module));
        found.insert(together.map(|other| other.join("::")).collect());
    }
    found.into_iter().collect()
}

#[test]
fn no_files_import_one_another_in_a_circle() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files: Vec<(Module, String)> = sources(&root)
        .into_iter()
        .map(|path| {
            let place = path.strip_prefix(&root).unwrap().with_extension("");
            let mut module: Module = place.iter().map(|part| part.to_str().unwrap().to_string()).collect();
            if module.last().is_some_and(|last| last == "mod" || last == "lib") {
                module.pop();
            }
            (module, fs::read_to_string(path).unwrap())
        })
        .collect();
    assert!(files.len() > 100, "the sources are elsewhere");
    let found = circles(&files);
    assert!(found.is_empty(), "{found:#?}");
}

/// Modules as they are forged: their paths and texts.
fn forged(files: &[(&str, &str)]) -> Vec<Vec<String>> {
    let module = |path: &str| path.split("::").filter(|part| !part.is_empty()).map(String::from).collect();
    let files: Vec<_> = files.iter().map(|(path, text)| (module(path), text.to_string())).collect();
    circles(&files)
}

#[test]
fn a_circle_is_found_however_its_imports_are_written() {
    let parent = ("a", "mod one;\nmod two;\npub use two::Two;\npub(crate) use one::{One, first};");
    let root = ("", "mod a;\npub use a::*;");
    for one in [
        "use super::two::Two;",
        "use super::Two;",
        "use crate::a::Two;",
        "use crate::Two;",
        "use crate::{\n    a::{Two as Other},\n};",
        "use super::two;",
        "fn f() { crate::a::two::f() }",
        "fn f() -> super::Two { g() }",
    ] {
        for two in ["use crate::a::one::One;", "pub use super::first;", "use super::one::{self, One};"] {
            let found = forged(&[root, parent, ("a::one", one), ("a::two", two)]);
            assert_eq!(found, [["a::one", "a::two"]], "{one} {two}");
        }
    }
    let three = [
        ("", "mod a;\nmod b;\nmod c;"),
        ("a", "use crate::b::f;"),
        ("b", "use crate::c;"),
        ("c", "use crate::a::g;"),
    ];
    assert_eq!(forged(&three), [["a", "b", "c"]]);
}

#[test]
fn imports_without_a_circle_are_accepted() {
    let parent = ("a", "mod one;\nmod two;\npub use two::Two;\npub use one::One;\nstruct Own;");
    for (one, two) in [
        ("use super::two::Two;", "fn f() {}"),
        ("use super::{Own, Two};", "use super::Own;"),
        ("use super::Two;", "// use super::One;\n/// [`One`](super::One)\nfn f() {}"),
        ("use super::Two;", "#[cfg(test)]\nmod tests {\n    use super::super::one::One;\n}"),
        ("use super::Two;", "#[cfg(test)]\nuse super::One;"),
        ("use super::Two;", "#[cfg(test)]\n#[allow(unused)]\nfn f() {\n    super::One::new();\n}\nfn g() {}"),
        ("use super::Two;", "use std::one::One;"),
    ] {
        let files = [("", "mod a;"), parent, ("a::one", one), ("a::two", two)];
        assert_eq!(forged(&files), Vec::<Vec<String>>::new(), "{one} {two}");
    }
    let tests = [
        ("", "mod a;"),
        ("a", "mod one;\n#[cfg(test)]\nmod two;"),
        ("a::one", "use super::two::f;"),
        ("a::two", "use super::one::g;"),
    ];
    assert_eq!(forged(&tests), Vec::<Vec<String>>::new());
}
