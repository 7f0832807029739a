//! The subject that settles a received item: it says which delivery of which item that is.

/// An item as the server stores it. The sequence alone does not identify it: a stream that was removed and made again, or
/// whose server has lost its last items, gives the same numbers to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stored {
    /// Its sequence in the stream.
    pub sequence: u64,
    /// When it was stored, in nanoseconds since 1970.
    pub at: u64,
}

/// What the reply subject of a message says: `$JS.ACK.STREAM.CONSUMER.DELIVERED.STREAM-SEQ.CONSUMER-SEQ.TIME.PENDING`, or
/// with domain and account before STREAM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    pub item: Stored,
    /// How often the item was delivered, this time included.
    pub delivered: u64,
}

impl Facts {
    pub fn of(reply: &str) -> Option<Self> {
        let parts: Vec<&str> = reply.strip_prefix("$JS.ACK.")?.split('.').collect();
        let at = if parts.len() >= 9 { 4 } else { 2 };
        let number = |index: usize| parts.get(at + index)?.parse::<u64>().ok();
        let item = Stored { sequence: number(1)?, at: number(3)? };
        Some(Facts { item, delivered: number(0)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_subject_has_the_facts_of_an_item() {
        for reply in [
            "$JS.ACK.jobs.workers.3.17.20.1700000000000000000.5",
            "$JS.ACK.domain.account.jobs.workers.3.17.20.1700000000000000000.5.random",
            "$JS.ACK._.account.jobs.workers.3.17.20.1700000000000000000.5",
        ] {
            let item = Stored { sequence: 17, at: 1_700_000_000_000_000_000 };
            assert_eq!(Facts::of(reply), Some(Facts { item, delivered: 3 }), "{reply}");
        }
        assert!(Facts::of("$JS.ACK.jobs").is_none() && Facts::of("other").is_none());
    }
}
