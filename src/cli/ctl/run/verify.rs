//! Verifies that the received items are the sent ones, in memory that does not grow with the input.
use std::{
    collections::VecDeque,
    hash::{BuildHasher, RandomState},
};

/// Hashes of 128 bits, under keys that are new in each run: two different inputs cannot have the same sum by
/// accident or by design.
#[derive(Debug, Clone, Default)]
pub struct Hash128(RandomState, RandomState);

impl Hash128 {
    pub fn of(&self, item: &[u8]) -> u128 {
        u128::from(self.0.hash_one(item)) << 64 | u128::from(self.1.hash_one(item))
    }
}

/// A multiset of items, reduced to its size and the sum of its hashes: independent of their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Digest {
    pub items: u64,
    pub bytes: u64,
    pub sum: u128,
}

impl Digest {
    /// Adds one item.
    pub fn add(&mut self, len: usize, hash: u128) {
        self.items += 1;
        self.bytes += len as u64;
        self.sum = self.sum.wrapping_add(hash);
    }

    /// The union of both.
    pub fn and(self, other: Digest) -> Digest {
        Digest {
            items: self.items + other.items,
            bytes: self.bytes + other.bytes,
            sum: self.sum.wrapping_add(other.sum),
        }
    }
}

/// The result of the check of the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Each producer's items came in the order in which it got them.
    Kept,
    /// At least one item did not.
    Broken,
    /// Too many equal items from several producers: their producers cannot be told apart.
    Unclear,
}

/// The maximum number of ways to assign equal items that are followed at the same time.
const MOST_STATES: usize = 64;

/// Checks that one consumer's items are an interleaving of what the producers got.
///
/// It keeps only the items that are on their way. An item does not say which producer sent it: if two
/// producers have the same item next, either may have sent it, and the check follows both ways until one
/// fails.
#[derive(Debug)]
pub struct Order {
    queues: Vec<VecDeque<u128>>,
    /// The number of items that each queue has dropped at its front.
    gone: Vec<u64>,
    /// For each way, the number of each producer's items that have arrived.
    states: Vec<Vec<u64>>,
    verdict: Verdict,
}

impl Order {
    pub fn new(producers: usize) -> Self {
        Order {
            queues: vec![VecDeque::new(); producers],
            gone: vec![0; producers],
            states: vec![vec![0; producers]],
            verdict: Verdict::Kept,
        }
    }

    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Records an item before the producer gets it.
    pub fn give(&mut self, producer: usize, hash: u128) {
        if self.verdict == Verdict::Kept {
            self.queues[producer].push_back(hash);
        }
    }

    /// Records an item that has arrived.
    pub fn receive(&mut self, hash: u128) {
        if self.verdict != Verdict::Kept {
            return;
        }
        // Usually there is one way, and only one producer has this item next.
        if let [state] = &mut self.states[..] {
            let mut next = (0..self.queues.len()).filter(|&one| self.queues[one].front() == Some(&hash));
            if let (Some(producer), None) = (next.next(), next.next()) {
                self.queues[producer].pop_front();
                self.gone[producer] += 1;
                state[producer] += 1;
                return;
            }
        }
        let mut states = Vec::with_capacity(self.states.len());
        for state in &self.states {
            for (producer, queue) in self.queues.iter().enumerate() {
                let ahead = (state[producer] - self.gone[producer]) as usize;
                if queue.get(ahead) == Some(&hash) {
                    let mut next = state.clone();
                    next[producer] += 1;
                    if !states.contains(&next) {
                        states.push(next);
                    }
                }
            }
        }
        self.verdict = match states.len() {
            0 => Verdict::Broken,
            1..=MOST_STATES => Verdict::Kept,
            _ => Verdict::Unclear,
        };
        self.states = states;
        self.forget();
    }

    /// Drops items that all ways have passed.
    fn forget(&mut self) {
        if self.verdict != Verdict::Kept {
            self.queues.iter_mut().for_each(|queue| *queue = VecDeque::new());
            return;
        }
        for (producer, queue) in self.queues.iter_mut().enumerate() {
            let least = self.states.iter().map(|state| state[producer]).min().unwrap_or(0);
            while self.gone[producer] < least {
                queue.pop_front();
                self.gone[producer] += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(producers: &[&[u128]], received: &[u128]) -> Verdict {
        let mut order = Order::new(producers.len());
        for (producer, items) in producers.iter().enumerate() {
            items.iter().for_each(|&item| order.give(producer, item));
        }
        received.iter().for_each(|&item| order.receive(item));
        order.verdict()
    }

    #[test]
    fn an_interleaving_is_in_order_and_an_exchange_is_not() {
        assert_eq!(verdict(&[&[1, 2, 3], &[7, 8]], &[7, 1, 2, 8, 3]), Verdict::Kept);
        assert_eq!(verdict(&[&[1, 2, 3], &[7, 8]], &[7, 2, 1, 8, 3]), Verdict::Broken);
        assert_eq!(verdict(&[&[1]], &[1, 1]), Verdict::Broken);
    }

    #[test]
    fn equal_items_of_two_producers_are_followed_both_ways() {
        let producers: [&[u128]; 2] = [&[0, 1, 0, 2], &[0, 7, 0, 8]];
        assert_eq!(verdict(&producers, &[0, 7, 0, 8, 0, 1, 0, 2]), Verdict::Kept);
        assert_eq!(verdict(&producers, &[0, 0, 7, 1, 0, 0, 2, 8]), Verdict::Kept);
        assert_eq!(verdict(&producers, &[0, 7, 1]), Verdict::Broken);
    }

    #[test]
    fn many_equal_items_end_the_check_and_its_memory() {
        let same = [5; 1000];
        let mut order = Order::new(2);
        same.iter().for_each(|&item| (0..2).for_each(|producer| order.give(producer, item)));
        same.iter().for_each(|&item| order.receive(item));
        assert_eq!(order.verdict(), Verdict::Unclear);
        assert!(order.queues.iter().all(VecDeque::is_empty));
    }

    #[test]
    fn a_digest_knows_the_multiset_and_not_the_order() {
        let hash = Hash128::default();
        let digest = |items: &[&[u8]]| {
            let mut digest = Digest::default();
            items.iter().for_each(|item| digest.add(item.len(), hash.of(item)));
            digest
        };
        assert_eq!(digest(&[b"a", b"bc", b"a"]), digest(&[b"a"]).and(digest(&[b"a", b"bc"])));
        assert_ne!(digest(&[b"a", b"b"]), digest(&[b"a", b"a"]));
        assert_ne!(digest(&[b"ab", b""]), digest(&[b"a", b"b"]));
    }
}
