//! The key of an item, which identifies it for the life of a ring.

use std::fmt;
use std::str::FromStr;

use crate::layout::header::{MAX_SEQUENCE, NO_PRODUCER};
use crate::{Error, Result};

/// Identifies an item: the number of the producer that sent it, and that producer's count of its items. In a ring of
/// fixed items ([`RingOptions::fixed`](crate::RingOptions::fixed)), which has no record of producers, it is
/// [`NO_PRODUCER`](Self::NO_PRODUCER) and the position at which the item was sent.
///
/// Two items of a ring have the same key only if a producer sent one of them with
/// [`send_as`](crate::Producer::send_as): an answer, or an item that was put aside and comes back.
///
/// Its text is `PRODUCER:SEQUENCE`, or `-:SEQUENCE` without a producer:
///
/// ```
/// use ringpipe::ItemKey;
/// let key: ItemKey = "3:17".parse()?;
/// assert_eq!(key, ItemKey { producer: 3, sequence: 17 });
/// assert_eq!(key.to_string(), "3:17");
/// assert_eq!(ItemKey { producer: ItemKey::NO_PRODUCER, sequence: 17 }.to_string(), "-:17");
/// # Ok::<(), ringpipe::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemKey {
    /// The number of the producer that sent it: unique in the life of the ring.
    pub producer: u32,
    /// The producer's count of its items, from 0, or the item's position; at most [`MAX_SEQUENCE`](Self::MAX_SEQUENCE).
    pub sequence: u64,
}

impl ItemKey {
    /// The largest sequence number that an item can have: 2^56 - 1.
    pub const MAX_SEQUENCE: u64 = MAX_SEQUENCE;

    /// The producer of all items of a ring of fixed items.
    pub const NO_PRODUCER: u32 = NO_PRODUCER;

    /// Fails if no item can have this key.
    pub(in crate::handles) fn check(self) -> Result<()> {
        match self.sequence {
            0..=MAX_SEQUENCE => Ok(()),
            more => {
                let text =
                    format!("the key {self} has sequence number {more}, expected at most {MAX_SEQUENCE}");
                Err(Error::Options(text.into()))
            }
        }
    }
}

impl From<(u32, u64)> for ItemKey {
    /// The key of this producer and sequence number.
    fn from((producer, sequence): (u32, u64)) -> Self {
        ItemKey { producer, sequence }
    }
}

impl fmt::Display for ItemKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.producer {
            NO_PRODUCER => write!(out, "-:{}", self.sequence),
            producer => write!(out, "{producer}:{}", self.sequence),
        }
    }
}

impl FromStr for ItemKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        // `parse` of a number would also accept a plus sign.
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let key = text
            .split_once(':')
            .filter(|(producer, sequence)| (*producer == "-" || digits(producer)) && digits(sequence))
            .and_then(|(producer, sequence)| {
                let producer = if producer == "-" { NO_PRODUCER } else { producer.parse().ok()? };
                Some(ItemKey { producer, sequence: sequence.parse().ok()? })
            })
            .filter(|key| key.check().is_ok());
        key.ok_or_else(|| {
            let text =
                format!("{text:?} is not the key of an item; expected PRODUCER:SEQUENCE, for example 3:17");
            Error::Options(text.into())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn a_key_is_read_as_it_was_written() {
        for (producer, sequence) in [(0, 0), (7, 1), (u32::MAX, MAX_SEQUENCE)] {
            let key = ItemKey { producer, sequence };
            assert_eq!(key.to_string().parse::<ItemKey>().unwrap(), key);
        }
    }

    #[test]
    fn other_text_is_refused_as_a_key() {
        let beyond = (MAX_SEQUENCE + 1).to_string();
        for text in [
            "",
            ":",
            "1",
            "1:",
            ":1",
            "1:2:3",
            "+1:2",
            "1:-2",
            " 1:2",
            "-",
            "--:2",
            "-1:2",
            "4294967296:1",
            &format!("1:{beyond}"),
        ] {
            assert_eq!(text.parse::<ItemKey>().unwrap_err().kind(), ErrorKind::Usage, "{text}");
        }
    }

    #[test]
    fn keys_are_ordered_by_producer_and_then_by_sequence() {
        let key = |producer, sequence| ItemKey { producer, sequence };
        assert!(key(1, 9) < key(2, 0) && key(2, 0) < key(2, 1));
    }
}
