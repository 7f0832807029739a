//! The lists of mutants, and how they are read.
//!
//! ```text
//! # the name of one, a sentence about what it leaves out
//! in src/membership/recovery.rs
//! - the old text, which is there once
//! + the new text, in which MUTANT is true if this is the one
//! noticed by NAME=VALUE TEST FILTER...
//! ```
//!
//! Several lines of `-` or `+` are one text. Instead of the last line: `harmless for TEST FILTER... because REASON`, of which more lines
//! may follow; or nothing, for one of which it is not known yet.

use std::fs;
use std::ops::Range;
use std::path::Path;

/// One fault.
#[derive(Debug, Clone)]
pub struct Mutant {
    pub name: String,
    pub file: String,
    old: String,
    new: String,
    pub fate: Fate,
}

/// What is known of it. A check is a command: settings, a test binary, and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// This check fails.
    Noticed(String),
    /// This check passes, as do all, for this reason.
    Harmless(String, String),
    Unknown,
}

impl Mutant {
    fn new(name: &str) -> Mutant {
        let (file, old, new) = Default::default();
        Mutant { name: name.into(), file, old, new, fate: Fate::Unknown }
    }

    /// Where its old text is.
    fn place(&self, source: &str) -> Result<Range<usize>, String> {
        let mut found = source.match_indices(&self.old);
        match (found.next(), found.next()) {
            (Some((at, _)), None) if !self.old.is_empty() => Ok(at..at + self.old.len()),
            (None, _) => Err(format!("{:?}: its old text is no longer in {}", self.name, self.file)),
            _ => Err(format!("{:?}: its old text is not there just once in {}", self.name, self.file)),
        }
    }

    /// Its new text, which is the old one unless the process was told to run this mutant.
    fn text(&self) -> String {
        self.new.replace("MUTANT", &format!("crate::mutant({:?})", self.name))
    }
}

/// Reads a list.
pub fn parse(text: &str) -> Result<Vec<Mutant>, String> {
    let mut all: Vec<Mutant> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if let Some(name) = line.strip_prefix("# ") {
            all.push(Mutant::new(name));
            continue;
        }
        let Some(last) = all.last_mut().filter(|_| !line.is_empty()) else { continue };
        let add = |text: &mut String, line: &str| {
            text.push_str(if text.is_empty() { "" } else { "\n" });
            text.push_str(line);
        };
        match line.split_once(' ').unwrap_or((line, "")) {
            ("in", file) => last.file = file.into(),
            ("-", line) => add(&mut last.old, line),
            ("+", line) => add(&mut last.new, line),
            ("noticed", rest) => {
                let check =
                    rest.strip_prefix("by ").ok_or_else(|| format!("line {}: by what?", number + 1))?;
                last.fate = Fate::Noticed(check.into());
            }
            ("harmless", rest) => {
                let parts = rest.strip_prefix("for ").and_then(|rest| rest.split_once(" because "));
                let (check, why) = parts.ok_or_else(|| format!("line {}: for what, and why?", number + 1))?;
                last.fate = Fate::Harmless(check.into(), why.into());
            }
            _ => match &mut last.fate {
                Fate::Harmless(_, why) => *why = format!("{why} {}", line.trim()),
                _ => return Err(format!("line {}: what is {line:?}?", number + 1)),
            },
        }
    }
    Ok(all)
}

/// Mutants that do not touch the same text go into one copy of the source: for each copy, its mutants and its changed
/// files.
pub type Copies = Vec<(Vec<Mutant>, Vec<(String, String)>)>;

/// Distributes mutants over as few copies of the source below `root` as it takes.
pub fn copies(mutants: &[Mutant], root: &Path) -> Result<Copies, String> {
    type Layer = Vec<(Mutant, Range<usize>)>;
    let mut layers: Vec<Layer> = Vec::new();
    let mut wrong = Vec::new();
    for mutant in mutants {
        let source = fs::read_to_string(root.join(&mutant.file)).map_err(|e| format!("{}: {e}", mutant.file));
        let place = match source.and_then(|source| mutant.place(&source)) {
            Ok(place) => place,
            Err(why) => {
                wrong.push(why);
                continue;
            }
        };
        let apart = |layer: &&mut Layer| {
            layer.iter().all(|(other, there)| {
                other.file != mutant.file || there.end <= place.start || place.end <= there.start
            })
        };
        match layers.iter_mut().find(apart) {
            Some(layer) => layer.push((mutant.clone(), place)),
            None => layers.push(vec![(mutant.clone(), place)]),
        }
    }
    if !wrong.is_empty() {
        return Err(wrong.join("\n"));
    }
    let changed = |mut layer: Layer| {
        let mut files: Vec<(String, String)> = Vec::new();
        // From the end, so that the places before stay where they are.
        layer.sort_by_key(|(_, place)| std::cmp::Reverse(place.start));
        for (mutant, place) in &layer {
            if !files.iter().any(|(name, _)| *name == mutant.file) {
                let text = fs::read_to_string(root.join(&mutant.file)).expect("it was read before");
                files.push((mutant.file.clone(), text));
            }
            let (_, text) = files.iter_mut().find(|(name, _)| *name == mutant.file).expect("just put there");
            text.replace_range(place.clone(), &mutant.text());
        }
        (layer.into_iter().map(|(mutant, _)| mutant).collect(), files)
    };
    Ok(layers.into_iter().map(changed).collect())
}
