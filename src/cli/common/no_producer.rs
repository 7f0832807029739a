//! How the producer of an item is shown if the item has no record of it, as in a ring of fixed items: `-` in text, null in
//! JSON. For `#[serde(with)]`, too.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ItemKey;

/// The producer, if the item has a record of it.
pub fn known(producer: u32) -> Option<u32> {
    (producer != ItemKey::NO_PRODUCER).then_some(producer)
}

/// As in text.
pub fn text(producer: u32) -> String {
    known(producer).map_or("-".into(), |number| number.to_string())
}

/// Reads what [`text`] has written.
pub fn parse(text: &str) -> Option<u32> {
    if text == "-" { Some(ItemKey::NO_PRODUCER) } else { text.parse().ok() }
}

/// A number or null.
///
/// # Errors
/// As the serializer.
pub fn serialize<S: Serializer>(producer: &u32, serializer: S) -> Result<S::Ok, S::Error> {
    known(*producer).serialize(serializer)
}

/// As [`serialize`], for a producer that may be unknown for another reason.
///
/// # Errors
/// As the serializer.
pub fn serialize_any<S: Serializer>(producer: &Option<u32>, serializer: S) -> Result<S::Ok, S::Error> {
    producer.and_then(known).serialize(serializer)
}

/// Reads a number or null.
///
/// # Errors
/// As the deserializer.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(ItemKey::NO_PRODUCER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_producer_is_read_as_it_was_written() {
        for (producer, shown) in [(0, "0"), (7, "7"), (ItemKey::NO_PRODUCER, "-")] {
            assert_eq!((text(producer).as_str(), parse(shown)), (shown, Some(producer)));
        }
        assert_eq!((parse(""), parse("--"), known(ItemKey::NO_PRODUCER)), (None, None, None));
    }
}
