//! What is wrong with a scenario file: where, one line, and the nearest known name.

use std::path::Path;

use crate::cli::common::exit::{Failure, code};

/// A fault of the file, at a byte of its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    at: usize,
    line: String,
    hint: Option<String>,
    /// The fault is where this text stands first from there on.
    text: Option<String>,
}

impl Wrong {
    /// A fault at this byte: what is wrong, and the expected form.
    pub fn new(at: usize, problem: impl AsRef<str>, expected: impl AsRef<str>) -> Self {
        let (problem, expected) = (problem.as_ref(), expected.as_ref());
        Wrong { at, line: format!("{problem}; expected {expected}"), hint: None, text: None }
    }

    /// A fault whose message has its expected form already.
    pub fn line(at: usize, line: impl Into<String>) -> Self {
        Wrong { at, line: line.into(), hint: None, text: None }
    }

    /// A name that is not one of `known`.
    pub fn unknown<'k>(
        at: usize,
        problem: impl AsRef<str>,
        given: &str,
        known: impl Iterator<Item = &'k str> + Clone,
        expected: impl AsRef<str>,
    ) -> Self {
        let near = nearest(given, known).map(|name| format!("did you mean {name:?}?"));
        Wrong { hint: near, ..Wrong::new(at, problem, expected) }
    }

    /// Adds a hint.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The fault is this part of the value.
    pub fn at_text(mut self, text: String) -> Self {
        self.text = Some(text);
        self
    }

    /// The failure of the command: `FILE:LINE:COLUMN: message`, both from 1; a column is a character.
    pub fn failure(self, path: &Path, text: &str) -> Failure {
        let rest = text.get(self.at..).unwrap_or_default();
        let within = self.text.as_deref().and_then(|part| rest.find(part)).unwrap_or(0);
        let (line, column) = place(text, self.at + within);
        let failure = Failure::new(code::USAGE, format!("{}:{line}:{column}: {}", path.display(), self.line));
        self.hint.into_iter().fold(failure, Failure::hint)
    }
}

/// The line and the column of a byte, both from 1.
pub fn place(text: &str, at: usize) -> (usize, usize) {
    let at = (0..=at.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    let before = &text[..at];
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[start..].chars().count() + 1)
}

/// `one of a, b, c`.
pub fn one_of<'k>(known: impl Iterator<Item = &'k str>) -> String {
    let known: Vec<_> = known.collect();
    match known[..] {
        [] => "none".into(),
        [one] => one.into(),
        _ => format!("one of {}", known.join(", ")),
    }
}

/// The known name that is most like the given one, if one is like it.
pub fn nearest<'k>(given: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let distance = |name: &str| strsim::damerau_levenshtein(given, name);
    let most = (given.chars().count() + 2) / 4;
    known.map(|name| (distance(name), name)).filter(|&(far, _)| far <= most).min().map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_counted_in_lines_and_characters_from_one() {
        let text = "ab\nü = x\n";
        let places = [(0, (1, 1)), (2, (1, 3)), (3, (2, 1)), (8, (2, 5)), (text.len(), (3, 1)), (99, (3, 1))];
        for (at, expected) in places {
            assert_eq!(place(text, at), expected, "byte {at}");
        }
    }

    #[test]
    fn the_nearest_name_differs_in_few_letters() {
        let known = ["count", "cwd", "stdin", "background"];
        let nearest = |given| nearest(given, known.into_iter());
        assert_eq!(nearest("coutn"), Some("count"));
        assert_eq!(nearest("backgruond"), Some("background"));
        assert_eq!(nearest("latency"), None);
        assert_eq!(nearest("frobnicate"), None);
        assert_eq!(super::nearest("q", ["p"].into_iter()), None);
    }
}
