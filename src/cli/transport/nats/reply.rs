//! The subject that settles a received item: it says which delivery of which item that is.

/// What the reply subject of a message says: `$JS.ACK.STREAM.CONSUMER.DELIVERED.STREAM-SEQ.CONSUMER-SEQ.TIME.PENDING`, or
/// with domain and account before STREAM.
pub struct Facts {
    pub in_stream: u64,
    pub delivered: u64,
    pub sent_at: u64,
}

impl Facts {
    pub fn of(reply: &str) -> Option<Self> {
        let parts: Vec<&str> = reply.strip_prefix("$JS.ACK.")?.split('.').collect();
        let at = if parts.len() >= 9 { 4 } else { 2 };
        let number = |index: usize| parts.get(at + index)?.parse::<u64>().ok();
        Some(Facts { delivered: number(0)?, in_stream: number(1)?, sent_at: number(3)? })
    }
}

/// The sequence in the stream of the item with this reply subject.
pub fn sequence_of(reply: &str) -> Option<u64> {
    Facts::of(reply).map(|facts| facts.in_stream)
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
            let facts = Facts::of(reply).unwrap();
            let facts = (facts.delivered, facts.in_stream, facts.sent_at);
            assert_eq!(facts, (3, 17, 1_700_000_000_000_000_000), "{reply}");
        }
        assert!(Facts::of("$JS.ACK.jobs").is_none() && Facts::of("other").is_none());
    }
}
