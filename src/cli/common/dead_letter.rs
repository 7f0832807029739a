//! The bytes of a dead letter: why an item failed for good, and the item.
//!
//! A JSON object on one line, a newline, then the item's bytes, unchanged.

use serde::{Deserialize, Serialize, Serializer};

use super::create_args::CreateArgs;
use super::{no_producer, relay};
use crate::ItemKey;

const SCHEMA: &str = "ringpipe.dead/1";
/// The most bytes of a reason in a letter.
const MOST_REASON: usize = 1 << 10;
/// The most bytes before the item. The largest parts are the reason, and 2 KiB of a command's standard error,
/// each byte of which can take six.
const MOST_HEAD: u64 = 20 << 10;

/// How a ring for dead letters about items of up to `largest` bytes is made.
pub fn for_letters(largest: u64) -> CreateArgs {
    relay::for_items(largest.saturating_add(MOST_HEAD))
}

/// Why an item failed for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Name and version of this object's format.
    pub schema: String,
    /// The ring that the item was in.
    pub ring: String,
    /// The number of its producer in that ring, or null.
    #[serde(with = "no_producer")]
    pub producer: u32,
    /// The producer's count of its items, from 0; of a fixed item, its position.
    pub sequence: u64,
    /// How often its command failed.
    pub failures: u8,
    /// How the last attempt ended, in words. A letter has the first 1 KiB of it.
    #[serde(serialize_with = "cut")]
    pub reason: String,
    /// The exit code of the last attempt.
    pub exit: Option<i32>,
    /// The signal that ended the last attempt.
    pub signal: Option<i32>,
    /// When it failed for good: RFC 3339, UTC.
    pub time: String,
    /// The end of the last attempt's standard error.
    pub stderr: String,
}

impl DeadLetter {
    /// The letter about the item `key` of `ring`; the details are still empty.
    pub fn new(ring: &str, key: ItemKey) -> Self {
        DeadLetter {
            schema: SCHEMA.into(),
            ring: ring.into(),
            producer: key.producer,
            sequence: key.sequence,
            failures: 0,
            reason: String::new(),
            exit: None,
            signal: None,
            time: String::new(),
            stderr: String::new(),
        }
    }

    /// The letter followed by the item's bytes.
    pub fn with(&self, bytes: &[u8]) -> Vec<u8> {
        // Strings and numbers, which JSON can always express; a newline within a string is written as \n.
        let mut letter = serde_json::to_vec(self).unwrap_or_default();
        letter.push(b'\n');
        letter.extend_from_slice(bytes);
        letter
    }

    /// Takes a letter apart. `None`: these bytes are not a dead letter.
    pub fn parse(letter: &[u8]) -> Option<(DeadLetter, &[u8])> {
        let end = memchr::memchr(b'\n', letter)?;
        let parsed: DeadLetter = serde_json::from_slice(&letter[..end]).ok()?;
        (parsed.schema == SCHEMA).then_some((parsed, &letter[end + 1..]))
    }
}

/// Writes the first part of a text that a command or the user chose: it must not make the letter too large for its ring.
fn cut<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    let most = (0..=text.len().min(MOST_REASON)).rev().find(|&end| text.is_char_boundary(end));
    serializer.serialize_str(&text[..most.unwrap_or(0)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_keeps_reason_and_bytes() {
        let key = ItemKey { producer: 3, sequence: 17 };
        let letter =
            DeadLetter { failures: 4, stderr: "two\nlines \u{fffd}".into(), ..DeadLetter::new("jobs", key) };
        for bytes in [&b""[..], b"item", b"\n\xff\n"] {
            let whole = letter.with(bytes);
            assert_eq!(DeadLetter::parse(&whole), Some((letter.clone(), bytes)));
        }
        for other in [&b""[..], b"\n", b"{}\n", b"item\n{}", b"{\"schema\":\"other/1\"}\nx"] {
            assert_eq!(DeadLetter::parse(other), None);
        }
    }

    #[test]
    fn a_letter_has_the_first_part_of_a_long_reason() {
        let key = ItemKey { producer: 3, sequence: 17 };
        for (one, times, kept) in [("x", 1024, 1024), ("x", 9999, 1024), ("\u{20ac}", 999, 1023)] {
            let reason = one.repeat(times);
            let letter = DeadLetter { reason: reason.clone(), ..DeadLetter::new("jobs", key) }.with(b"item");
            let (parsed, bytes) = DeadLetter::parse(&letter).unwrap();
            assert_eq!((&*parsed.reason, bytes), (&reason[..kept], &b"item"[..]));
        }
    }

    #[test]
    fn the_longest_head_has_room() {
        let key = ItemKey { producer: u32::MAX, sequence: u64::MAX };
        let (reason, stderr) = ("\x01".repeat(1024), "\x01".repeat(2048));
        let letter = DeadLetter { reason, stderr, ..DeadLetter::new(&"\"".repeat(250), key) };
        assert!(letter.with(b"").len() + 100 < MOST_HEAD as usize);
    }
}
