//! What a standing command and its worker say to each other: items one way, answers the other.

use super::options::Coprocess;
use super::verdict::Verdict;
use crate::cli::common::escape;

/// What an answer may be, for messages.
pub const EXPECTED: &str = "ok, retry TEXT or dead TEXT on a line for each item";
/// The longest answer.
pub const LONGEST_ANSWER: usize = 64 << 10;
/// Bytes of an unexpected answer that a message shows.
const MOST_SHOWN: usize = 60;

/// Appends an item as the command reads it.
///
/// # Errors
/// Why it cannot be sent in this form.
pub fn frame(form: Coprocess, item: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    match form {
        Coprocess::Line => {
            if memchr::memchr(b'\n', item).is_some() {
                return Err("the item has a newline, which --coprocess=line cannot send".into());
            }
            out.extend_from_slice(item);
            out.push(b'\n');
        }
        Coprocess::Length => {
            let len = u32::try_from(item.len());
            let len = len.map_err(|_| "the item is too long for a length of four bytes".to_string())?;
            out.extend_from_slice(&len.to_be_bytes());
            out.extend_from_slice(item);
        }
    }
    Ok(())
}

/// The meaning of a line: the verdict, and the reason for it.
pub fn answer(line: &[u8]) -> Option<(Verdict, String)> {
    if line == b"ok" {
        return Some((Verdict::Done, String::new()));
    }
    let (word, text) = match memchr::memchr(b' ', line) {
        Some(space) => (&line[..space], &line[space + 1..]),
        None => (line, &[][..]),
    };
    let (verdict, alone) = match word {
        b"retry" => (Verdict::Retry, "answer retry"),
        b"dead" => (Verdict::Dead, "answer dead"),
        _ => return None,
    };
    let text = escape::text(String::from_utf8_lossy(text).trim());
    Some((verdict, if text.is_empty() { alone.into() } else { text }))
}

/// The beginning of a line, for a message.
pub fn quoted(line: &[u8]) -> String {
    let shown = &line[..line.len().min(MOST_SHOWN)];
    let dots = if shown.len() < line.len() { "..." } else { "" };
    format!("\"{}{dots}\"", escape::bytes(shown, dots.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_ok_or_retry_or_dead_with_a_reason() {
        use Verdict::{Dead, Done, Retry};
        for (line, verdict, text) in [
            (&b"ok"[..], Done, ""),
            (b"retry", Retry, "answer retry"),
            (b"retry ", Retry, "answer retry"),
            (b"retry no route to host", Retry, "no route to host"),
            (b"dead", Dead, "answer dead"),
            (b"dead  not JSON ", Dead, "not JSON"),
        ] {
            assert_eq!(answer(line), Some((verdict, text.into())), "{:?}", String::from_utf8_lossy(line));
        }
        for line in [&b""[..], b"OK", b"ok ", b"ok done", b" ok", b"retrying", b"deadline", b"ok\r", b"\xff"]
        {
            assert_eq!(answer(line), None, "{:?}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn an_item_is_a_line_or_has_its_length_before_it() {
        let framed = |form, items: &[&[u8]]| {
            let mut out = Vec::new();
            items.iter().try_for_each(|item| frame(form, item, &mut out)).map(|()| out)
        };
        assert_eq!(framed(Coprocess::Line, &[b"a b", b"", b"\0"]), Ok(b"a b\n\n\0\n".to_vec()));
        assert!(framed(Coprocess::Line, &[b"a\nb"]).unwrap_err().contains("newline"));
        let two = framed(Coprocess::Length, &[b"a\nb", b""]);
        assert_eq!(two, Ok(b"\0\0\0\x03a\nb\0\0\0\0".to_vec()));
    }
}
