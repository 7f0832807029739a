//! What the messages hold, and how the receiver knows that all of them came whole, once and in order.
//!
//! The first word of a message is its stamp: its sender, and its number. Every other word follows from the
//! stamp and its own place, so that a word of another message, or at another place, is noticed. Sending
//! fills every word and receiving compares every word, at the cost of an addition and a comparison each.

/// Bytes of a page, of which a message in place has one word written.
pub const PAGE: usize = 4096;

/// From the stamp to the next word, and so on.
const STRIDE: u64 = 0x9e37_79b9_7f4a_7c15;
const SENDER_SHIFT: u32 = 48;

/// The stamp of message `sequence` of `sender`.
pub fn stamp(sender: usize, sequence: u64) -> u64 {
    (sender as u64) << SENDER_SHIFT | sequence
}

/// Writes the message.
#[inline]
pub fn fill(message: &mut [u8], stamp: u64) {
    let mut expected = stamp;
    for word in message.chunks_exact_mut(8) {
        word.copy_from_slice(&expected.to_ne_bytes());
        expected = expected.wrapping_add(STRIDE);
    }
}

/// The sender and the number of a message; `None`: its words are not what its stamp says.
pub fn read(message: &[u8]) -> Option<(usize, u64)> {
    let stamp = word(message);
    let expected = (0..).map(|place: u64| stamp.wrapping_add(place.wrapping_mul(STRIDE)));
    let is_whole = message.chunks_exact(8).zip(expected).all(|(bytes, expected)| word(bytes) == expected);
    is_whole.then_some(((stamp >> SENDER_SHIFT) as usize, stamp & ((1 << SENDER_SHIFT) - 1)))
}

/// Writes one word of each page of the message.
#[inline]
pub fn fill_pages(message: &mut [u8], stamp: u64) {
    for (page, bytes) in message.chunks_mut(PAGE).enumerate() {
        bytes[..8].copy_from_slice(&stamp.wrapping_add(page as u64).to_ne_bytes());
    }
}

/// What was wrong with the messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Faults {
    /// Words were not what the stamp says, or the stamp names no sender.
    pub corrupted: u64,
    /// Messages were left out.
    pub lost: u64,
    /// Messages came again, or after a later one of the same sender.
    pub doubled: u64,
}

impl Faults {
    pub fn any(&self) -> bool {
        *self != Faults::default()
    }
}

/// What one receiver has seen.
#[derive(Debug)]
pub struct Checker {
    /// The next number of each sender.
    next: Vec<u64>,
    /// Whether there is no other receiver, so that no number may be left out.
    alone: bool,
    pub received: u64,
    /// Sum of all stamps.
    pub sum: u64,
    pub faults: Faults,
}

impl Checker {
    pub fn new(senders: usize, receivers: usize) -> Self {
        let next = vec![0; senders];
        Checker { next, alone: receivers == 1, received: 0, sum: 0, faults: Faults::default() }
    }

    /// Looks at a whole message.
    #[inline]
    pub fn check(&mut self, message: &[u8]) {
        let stamp = word(message);
        let (mut expected, mut wrong) = (stamp, 0);
        for bytes in message.chunks_exact(8) {
            wrong |= word(bytes) ^ expected;
            expected = expected.wrapping_add(STRIDE);
        }
        self.count(stamp, wrong == 0);
    }

    /// Reads every byte of a message of which one word per page was written.
    #[inline]
    pub fn check_pages(&mut self, message: &[u8]) {
        let total = message.chunks_exact(8).fold(0u64, |sum, bytes| sum.wrapping_add(word(bytes)));
        std::hint::black_box(total);
        let stamp = word(message);
        let pages = message.chunks(PAGE).enumerate();
        let whole =
            pages.fold(true, |all, (page, bytes)| all & (word(bytes) == stamp.wrapping_add(page as u64)));
        self.count(stamp, whole);
    }

    #[inline]
    fn count(&mut self, stamp: u64, whole: bool) {
        self.received += 1;
        self.sum = self.sum.wrapping_add(stamp);
        let sequence = stamp & ((1 << SENDER_SHIFT) - 1);
        let next = self.next.get_mut((stamp >> SENDER_SHIFT) as usize);
        match next {
            Some(next) if whole && (*next == sequence || !self.alone && *next < sequence) => {
                *next = sequence + 1
            }
            next => blame(&mut self.faults, next.filter(|_| whole), sequence),
        }
    }
}

#[cold]
fn blame(faults: &mut Faults, next: Option<&mut u64>, sequence: u64) {
    match next {
        None => faults.corrupted += 1,
        Some(next) if sequence > *next => {
            faults.lost += sequence - *next;
            *next = sequence + 1;
        }
        Some(_) => faults.doubled += 1,
    }
}

#[inline]
fn word(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |word| u64::from_ne_bytes(*word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(sender: usize, sequence: u64) -> Vec<u8> {
        let mut bytes = vec![0; 64];
        fill(&mut bytes, stamp(sender, sequence));
        bytes
    }

    fn faults_after(receivers: usize, messages: &[Vec<u8>]) -> Faults {
        let mut checker = Checker::new(2, receivers);
        messages.iter().for_each(|message| checker.check(message));
        assert_eq!(checker.received, messages.len() as u64);
        checker.faults
    }

    #[test]
    fn what_was_sent_is_sound() {
        let messages = [message(0, 0), message(1, 0), message(0, 1), message(1, 1)];
        assert!(!faults_after(1, &messages).any());
    }

    #[test]
    fn a_message_tells_its_sender_and_number_unless_a_word_is_wrong() {
        let mut bytes = message(3, 77);
        assert_eq!(read(&bytes), Some((3, 77)));
        bytes[63] ^= 1;
        assert_eq!(read(&bytes), None);
    }

    #[test]
    fn one_wrong_word_is_corruption() {
        let mut messages = [message(0, 0), message(0, 1)];
        messages[1][63] ^= 1;
        assert_eq!(faults_after(1, &messages), Faults { corrupted: 1, ..Faults::default() });
    }

    #[test]
    fn a_word_at_another_place_is_corruption() {
        let mut messages = [message(0, 0)];
        messages[0].copy_within(8..16, 16);
        assert_eq!(faults_after(1, &messages).corrupted, 1);
    }

    #[test]
    fn an_unknown_sender_is_corruption() {
        assert_eq!(faults_after(1, &[message(2, 0)]).corrupted, 1);
    }

    #[test]
    fn a_number_left_out_is_a_loss_where_nobody_else_receives() {
        let messages = [message(0, 0), message(0, 3)];
        assert_eq!(faults_after(1, &messages), Faults { lost: 2, ..Faults::default() });
        assert!(!faults_after(2, &messages).any());
    }

    #[test]
    fn a_number_that_comes_again_is_doubled_whoever_receives() {
        let messages = [message(0, 0), message(0, 1), message(0, 1)];
        assert_eq!(faults_after(1, &messages), Faults { doubled: 1, ..Faults::default() });
        assert_eq!(faults_after(2, &messages).doubled, 1);
    }

    #[test]
    fn a_page_that_was_not_written_is_corruption() {
        let mut bytes = vec![0; 3 * PAGE];
        fill_pages(&mut bytes, stamp(0, 0));
        let mut checker = Checker::new(1, 1);
        checker.check_pages(&bytes);
        assert!(!checker.faults.any());
        bytes[2 * PAGE] ^= 1;
        checker.check_pages(&bytes);
        assert_eq!(checker.faults.corrupted, 1);
    }
}
