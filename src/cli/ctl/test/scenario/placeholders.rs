//! The placeholders in the texts of a scenario file: where they are, and whether they are known.

use super::wrong::nearest;

/// The forms of all placeholders, for messages.
pub const KNOWN: &str = "one of {ring.NAME}, {port.NAME}, {dir}, {file}, {n}, {seed}";

/// Placeholders without a name of the user's choice.
const PLAIN: &[&str] = &["dir", "file", "n", "seed"];

/// A part of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'t> {
    /// It stands for itself.
    Text(&'t str),
    /// It stands for something else: what is between the braces.
    Placeholder(&'t str),
}

/// The parts of a text. A placeholder is a word in braces: letters and digits, `_`, `-` and single `.`, a letter first. All
/// other braces stand for themselves, such as the ranges `{1..3}` and `{a..c}` of a shell, and so do its variables: `${n}`.
/// Doubled braces around a word stand for single ones.
pub fn parts(text: &str) -> Vec<Part<'_>> {
    let (mut parts, mut done, mut from) = (Vec::new(), 0, 0);
    while let Some(found) = text[from..].find('{') {
        let start = from + found;
        from = start + 1;
        if text[..start].ends_with('$') {
            continue;
        }
        let (part, end) = match word(&text[start + 1..]) {
            Some(word) => (Part::Placeholder(word), start + word.len() + 2),
            None => {
                let inner = text[start + 1..].strip_prefix('{').and_then(word);
                let Some(word) = inner.filter(|word| text[start + word.len() + 3..].starts_with('}')) else {
                    continue;
                };
                (Part::Text(&text[start + 1..start + word.len() + 3]), start + word.len() + 4)
            }
        };
        parts.extend([Part::Text(&text[done..start]), part]);
        (done, from) = (end, end);
    }
    parts.push(Part::Text(&text[done..]));
    parts
}

/// The word before the first closing brace.
fn word(text: &str) -> Option<&str> {
    let (word, _) = text.split_once('}')?;
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    let is_word = word.starts_with(char::is_alphabetic) && word.chars().all(fits) && !word.contains("..");
    is_word.then_some(word)
}

/// Whether a placeholder without a name, or the beginning of one with a name, is known.
pub fn is_known(placeholder: &str) -> bool {
    match placeholder.split_once('.') {
        None => PLAIN.contains(&placeholder),
        Some((kind, _)) => ["ring", "port"].contains(&kind),
    }
}

/// What helps against a placeholder that is not known.
pub fn hint(placeholder: &str, rings: &[String]) -> String {
    let name = placeholder.split_once('.').map_or("", |(_, name)| name);
    let mut known: Vec<String> = PLAIN.iter().map(|plain| plain.to_string()).collect();
    known.extend(rings.iter().map(|ring| format!("ring.{ring}")));
    known.push(format!("port.{name}"));
    let meant = match nearest(placeholder, known.iter().map(String::as_str)) {
        Some(near) => format!("did you mean {{{near}}}? "),
        None => String::new(),
    };
    format!("{meant}Braces that stand for themselves are doubled: {{{{{placeholder}}}}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_in_braces_is_a_placeholder_and_all_other_braces_are_text() {
        let found = |text: &str| {
            let placeholder = |part| match part {
                Part::Placeholder(word) => Some(word.to_string()),
                Part::Text(_) => None,
            };
            parts(text).into_iter().filter_map(placeholder).collect::<Vec<_>>()
        };
        assert_eq!(found("a{n}{ring.a-b}/{port.x_1}"), ["n", "ring.a-b", "port.x_1"]);
        assert_eq!(found("{rng.jobs} {größe} {ring.}"), ["rng.jobs", "größe", "ring."]);
        for text in [
            "",
            "{",
            "}",
            "{}",
            "${n}",
            "{ n }",
            "{1}",
            "{a,b}",
            "{1..3}",
            "{a..c}",
            "{a..e..2}",
            "{{a..c}}",
            "{\"a\":{}}",
            "a{n",
            "{{n}}",
            "x:{",
        ] {
            assert_eq!(found(text), [""; 0], "{text}");
        }
    }

    #[test]
    fn doubled_braces_around_a_word_are_single_ones() {
        let text = |text: &str| -> String {
            let shown = |part| match part {
                Part::Placeholder(_) => "*",
                Part::Text(text) => text,
            };
            parts(text).into_iter().map(shown).collect()
        };
        for (given, shown) in [
            ("a {{n}} b", "a {n} b"),
            ("{{print}}{n}", "{print}*"),
            ("{{n} {{1}} {{}}", "{* {{1}} {{}}"),
            ("${{n}}", "${*}"),
            ("{a}}", "*}"),
            ("$n {\"a\":{\"b\":1}}", "$n {\"a\":{\"b\":1}}"),
        ] {
            assert_eq!(text(given), shown, "{given}");
        }
    }

    #[test]
    fn the_nearest_placeholder_is_told() {
        let rings = ["jobs".to_string()];
        let hint = |placeholder| super::hint(placeholder, &rings);
        let doubled = "Braces that stand for themselves are doubled:";
        assert_eq!(hint("rng.jobs"), format!("did you mean {{ring.jobs}}? {doubled} {{{{rng.jobs}}}}"));
        assert_eq!(hint("prt.http"), format!("did you mean {{port.http}}? {doubled} {{{{prt.http}}}}"));
        assert_eq!(hint("sed"), format!("did you mean {{seed}}? {doubled} {{{{sed}}}}"));
        assert_eq!(hint("print"), format!("{doubled} {{{{print}}}}"));
    }
}
