//! Escapes names and items for a terminal: every character that could control it.

/// Whether a character has an effect on a terminal other than being shown: control characters (C0, DEL and C1,
/// with which escape sequences begin), line and paragraph separators, and characters that change the direction of
/// writing.
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Text on one line.
pub fn text(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match steers(c) {
            true => escaped.extend(c.escape_default()),
            false => escaped.push(c),
        }
    }
    escaped
}

/// Bytes as text on one line. Also escapes bytes that are not valid text. If `bytes` are not the `whole` item,
/// leaves out a character that is cut off at their end.
pub fn bytes(bytes: &[u8], whole: bool) -> String {
    let mut escaped = String::new();
    let mut chunks = bytes.utf8_chunks().peekable();
    while let Some(chunk) = chunks.next() {
        escaped += &text(chunk.valid());
        let cut_off = !whole && chunks.peek().is_none() && chunk.invalid().len() < 4;
        let is_start = std::str::from_utf8(chunk.invalid()).is_err_and(|error| error.error_len().is_none());
        if !(cut_off && is_start) {
            chunk.invalid().iter().for_each(|byte| escaped += &format!("\\x{byte:02x}"));
        }
    }
    escaped
}

/// Escapes JSON without changing its meaning: a JSON encoder itself escapes only ASCII control characters.
pub fn json(json: String) -> String {
    // Most text is plain ASCII, which is quick to check.
    if json.bytes().all(|byte| matches!(byte, b' '..=b'~')) || !json.chars().any(steers) {
        return json;
    }
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        match steers(c) {
            // Each of them is one UTF-16 unit, and lies within a string.
            true => escaped += &format!("\\u{:04x}", u32::from(c)),
            false => escaped.push(c),
        }
    }
    escaped
}

/// A name as an argument in a command that a message proposes, quoted for a shell.
pub fn argument(name: &str) -> String {
    // With a slash, a name cannot be taken for an option or for another spelling of a name.
    let slash = if name.starts_with('-') || name.starts_with("shm:") { "/" } else { "" };
    word(format!("{slash}{name}").as_bytes())
}

/// Bytes as one word of a shell's command line, quoted where necessary.
pub fn word(bytes: &[u8]) -> String {
    let plain = |c: char| c.is_alphanumeric() || "_-.,:+@/".contains(c);
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.is_empty() && text.chars().all(plain) => text.into(),
        Ok(text) if !text.chars().any(steers) => format!("'{}'", text.replace('\'', r"'\''")),
        _ => {
            let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect::<String>();
            let mut quoted = String::from("$'");
            for chunk in bytes.utf8_chunks() {
                for c in chunk.valid().chars() {
                    match c {
                        '\'' | '\\' => quoted.extend(['\\', c]),
                        c if steers(c) => quoted += &hex(c.encode_utf8(&mut [0; 4]).as_bytes()),
                        c => quoted.push(c),
                    }
                }
                quoted += &hex(chunk.invalid());
            }
            quoted + "'"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEERING: [&str; 8] =
        ["\x1b[31m", "\n", "\r", "\x7f", "\u{9b}2J", "\u{202e}", "\u{2028}", "\u{2066}"];

    #[test]
    fn characters_that_control_a_terminal_are_escaped_and_others_stay() {
        for steering in STEERING {
            for escaped in
                [text(steering), bytes(steering.as_bytes(), true), json(steering.into()), argument(steering)]
            {
                assert!(!escaped.chars().any(steers), "{steering:?}: {escaped:?}");
            }
        }
        for plain in ["jobs", "ü", "e\u{301}", "日本", "a b", "\\", "'\"", "🦀"] {
            assert_eq!([text(plain), bytes(plain.as_bytes(), true), json(plain.into())], [plain; 3]);
        }
    }

    #[test]
    fn invalid_bytes_are_escaped_and_a_truncated_character_is_left_out() {
        assert_eq!(bytes("a\tü".as_bytes(), true), "a\\tü");
        assert_eq!(bytes(b"\x1b[31m\xff\x00", true), "\\u{1b}[31m\\xff\\u{0}");
        assert_eq!(bytes(&"aü".as_bytes()[..2], false), "a");
        assert_eq!(bytes(&"aü".as_bytes()[..2], true), "a\\xc3");
        assert_eq!(bytes(b"a\xff", false), "a\\xff");
    }

    #[test]
    fn escaped_json_means_the_same() {
        for steering in STEERING {
            let plain = serde_json::to_string(steering).unwrap();
            assert_eq!(serde_json::from_str::<String>(&json(plain)).unwrap(), steering);
        }
    }

    /// Checked with bash itself: a proposed command must get exactly the name that was meant.
    #[test]
    fn an_argument_is_one_word_of_a_shell() {
        let odd = [
            "a b",
            "a;touch x",
            "$(id)",
            "it's",
            "`x`",
            "a\\b",
            "*",
            "#",
            "~",
            "a'\n\\\u{202e}",
            "{a,b}",
            "!x",
        ];
        for name in odd.into_iter().chain(STEERING).chain(["jobs", "a.b-c_d"]) {
            let script = format!("printf %s {}", argument(name));
            let output = std::process::Command::new("bash").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), name, "{script}");
        }
        assert_eq!([argument("-n"), argument("shm:a"), argument("-a b")], ["/-n", "/shm:a", "'/-a b'"]);
    }

    /// Checked with bash itself.
    #[test]
    fn any_bytes_but_nul_are_one_word_of_a_shell() {
        let all = (1..=255).collect::<Vec<u8>>();
        for bytes in [&all[..], b"", b"-n", b"a/b", b"a=b", b"\xff", b"a\xc3", b"\x1bf", b"it's\xffit's"] {
            let script = format!("printf %s {}", word(bytes));
            let output = std::process::Command::new("bash").args(["-c", &script]).output().unwrap();
            assert_eq!(output.stdout, bytes, "{script}");
        }
        assert_eq!([word(b"a/b-c"), word(b""), word(b"a b")], ["a/b-c", "''", "'a b'"]);
    }
}
