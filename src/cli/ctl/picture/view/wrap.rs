//! Wraps text to lines of a width.

use ratatui::text::Span;

/// The lines of `text`, broken at blanks. A word that is wider than a line gets a line of its own.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut used = 0;
    for word in text.split(' ') {
        let columns = Span::raw(word).width();
        match lines.last_mut() {
            Some(line) if used + 1 + columns <= width => {
                *line += &format!(" {word}");
                used += 1 + columns;
            }
            _ => {
                lines.push(word.to_string());
                used = columns;
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::wrap;

    #[test]
    fn lines_are_broken_at_blanks_and_nothing_is_lost() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("one two three", 13), ["one two three"]);
        assert_eq!(wrap("a muchlongerword b", 4), ["a", "muchlongerword", "b"]);
        assert_eq!(wrap("語語 語", 4), ["語語", "語"]);
        assert_eq!(wrap("", 3), [""]);
        assert_eq!(wrap("one two", 0), ["one", "two"]);
    }
}
