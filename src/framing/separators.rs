//! Finds the separators in a buffer: 64 bytes at a time, as a mask with a bit for each byte. For short items, this is
//! faster than a search that begins anew after each separator.

/// Bytes in a mask.
const BLOCK: usize = u64::BITS as usize;

/// The positions of a byte in a buffer, in order.
#[derive(Debug)]
pub(super) struct Separators<'a> {
    separator: u8,
    bytes: &'a [u8],
    /// Bytes before this were searched.
    searched: usize,
    /// The separators in the block before that position which were not returned yet.
    found: u64,
}

impl<'a> Separators<'a> {
    pub fn new(separator: u8, bytes: &'a [u8]) -> Self {
        Separators { separator, bytes, searched: 0, found: 0 }
    }
}

impl Iterator for Separators<'_> {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        while self.found == 0 {
            let rest = self.bytes.get(self.searched..)?;
            let Some(block) = rest.first_chunk::<BLOCK>() else {
                let at = memchr::memchr(self.separator, rest);
                let found = at.map(|at| self.searched + at);
                self.searched += at.map_or(rest.len(), |at| at + 1);
                return found;
            };
            self.found = mask(block, self.separator);
            self.searched += BLOCK;
            if self.found == 0 {
                // The item is long, and perhaps the next ones are, too.
                let rest = &rest[BLOCK..];
                self.searched += memchr::memchr(self.separator, rest).unwrap_or(rest.len());
            }
        }
        let at = self.searched - BLOCK + self.found.trailing_zeros() as usize;
        self.found &= self.found - 1;
        Some(at)
    }
}

/// A bit for each byte of the block that is the separator: the lowest one for the first byte.
///
/// Eight bytes at a time, without instructions that only some processors have: after the exclusive or, separators
/// are zero. A byte's high bit stays 0 in the sum and in the byte itself only if the byte is zero, and no carry
/// leaves it, because the sum of two 7-bit numbers has 8 bits (Hacker's Delight, 2nd edition, 6-1). The
/// multiplication moves the eight bits to the highest byte.
#[inline]
fn mask(block: &[u8; BLOCK], separator: u8) -> u64 {
    const LOW: u64 = u64::from_ne_bytes([0x7f; 8]);
    let pattern = u64::from_ne_bytes([separator; 8]);
    let (words, _) = block.as_chunks::<8>();
    words.iter().rev().fold(0, |mask, word| {
        let x = u64::from_le_bytes(*word) ^ pattern;
        let zeros = !(((x & LOW) + LOW) | x | LOW);
        mask << 8 | (zeros >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_positions_are_those_of_a_search_byte_by_byte() {
        let mut random = fastrand::Rng::with_seed(7);
        for round in 0..3000 {
            let (len, separator) = (random.usize(..400), random.u8(..));
            // The separator and its neighbours by value and by bit, seldom or often.
            let near = [separator, separator.wrapping_add(1), separator ^ 0x80, separator.wrapping_sub(1)];
            let most = if round % 2 == 0 { 8 } else { 200 };
            let byte = |random: &mut fastrand::Rng| match random.usize(..most) {
                n @ 0..4 => near[n],
                _ => random.u8(..),
            };
            let bytes: Vec<u8> = (0..len).map(|_| byte(&mut random)).collect();
            let expected: Vec<usize> = (0..len).filter(|&at| bytes[at] == separator).collect();
            assert_eq!(
                Separators::new(separator, &bytes).collect::<Vec<_>>(),
                expected,
                "{separator} in {bytes:?}"
            );
        }
    }

    #[test]
    fn every_byte_of_a_block_is_found_at_its_place() {
        for (at, separator) in
            (0..BLOCK).flat_map(|at| [0, 1, b'\n', 0x7f, 0x80, 0xff].map(|byte| (at, byte)))
        {
            let mut block = [!separator; BLOCK];
            block[at] = separator;
            assert_eq!(mask(&block, separator), 1 << at);
            assert_eq!(mask(&[separator; BLOCK], separator), u64::MAX);
        }
    }
}
