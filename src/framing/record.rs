//! Records in a word of the ring how its producers frame their items, for consumers that write the items out
//! again.

use std::fmt;

use super::Framing;

/// Items end with a separator byte, which is in the next eight bits.
const SEPARATOR: u64 = 1;
const RAW: u64 = 2;
const BLOCKS: u64 = 3;
const LEN32: u64 = 4;
const WHOLE_FILE: u64 = 5;
const MIXED: u64 = 0xff;

/// What a ring's word says about the framing of its producers. Sizes are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// No producer has recorded its framing.
    Unknown,
    /// All producers that recorded a framing use this one.
    One(Framing),
    /// They use different framings.
    Mixed,
}

impl Recorded {
    /// Decodes the ring's word. A word that no process of this program writes is `Unknown`.
    pub fn of(word: u64) -> Self {
        match (word & 0xff, word >> 8) {
            (SEPARATOR, byte @ ..=0xff) => Recorded::One(match byte as u8 {
                b'\n' => Framing::Lines,
                0 => Framing::Null,
                byte => Framing::Delimiter(byte),
            }),
            (RAW, 0) => Recorded::One(Framing::Raw { chunk: 0 }),
            (BLOCKS, 0) => Recorded::One(Framing::Blocks { size: 0 }),
            (LEN32, 0) => Recorded::One(Framing::Len32),
            (WHOLE_FILE, 0) => Recorded::One(Framing::WholeFile),
            (MIXED, 0) => Recorded::Mixed,
            _ => Recorded::Unknown,
        }
    }

    /// The word to store for a further producer with this framing.
    pub fn with(self, framing: Framing) -> u64 {
        match self {
            Recorded::Unknown => framing.word(),
            Recorded::One(other) if other.word() == framing.word() => framing.word(),
            Recorded::One(_) | Recorded::Mixed => MIXED,
        }
    }

    /// Whether `framing` writes items as they were read.
    pub fn fits(self, framing: Framing) -> bool {
        match self {
            Recorded::Unknown => true,
            Recorded::One(other) => other.word() == framing.word() || other.is_bare() && framing.is_bare(),
            Recorded::Mixed => false,
        }
    }
}

impl fmt::Display for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Recorded::Unknown => f.write_str("unknown"),
            Recorded::One(framing) => framing.fmt(f),
            Recorded::Mixed => f.write_str("mixed"),
        }
    }
}

impl Framing {
    fn word(self) -> u64 {
        match self {
            Framing::Raw { .. } => RAW,
            Framing::Blocks { .. } => BLOCKS,
            Framing::Len32 => LEN32,
            Framing::WholeFile => WHOLE_FILE,
            Framing::Lines => SEPARATOR | u64::from(b'\n') << 8,
            Framing::Null => SEPARATOR,
            Framing::Delimiter(byte) => SEPARATOR | u64::from(byte) << 8,
        }
    }

    /// Whether an item is written as its bytes alone.
    pub fn is_bare(self) -> bool {
        matches!(self, Framing::Raw { .. } | Framing::Blocks { .. } | Framing::WholeFile)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Framing; 8] = [
        Framing::Lines,
        Framing::Null,
        Framing::Delimiter(b','),
        Framing::Delimiter(0xff),
        Framing::Raw { chunk: 7 },
        Framing::Blocks { size: 7 },
        Framing::Len32,
        Framing::WholeFile,
    ];

    #[test]
    fn each_framing_is_recorded_and_two_different_ones_are_mixed() {
        for one in ALL {
            let told = Recorded::of(Recorded::Unknown.with(one));
            assert!(told.fits(one) && told.to_string() == one.to_string(), "{told:?}");
            for other in ALL {
                let both = Recorded::of(told.with(other));
                assert_eq!(both == Recorded::Mixed, one != other, "{one}, {other}: {both:?}");
                assert_eq!(told.fits(other), one == other || one.is_bare() && other.is_bare());
            }
        }
        let mixed = Recorded::of(Recorded::One(Framing::Lines).with(Framing::Null));
        assert_eq!(Recorded::of(mixed.with(Framing::Lines)), Recorded::Mixed);
        assert_eq!(
            Recorded::of(Recorded::Unknown.with(Framing::Delimiter(b'\n'))),
            Recorded::One(Framing::Lines)
        );
    }

    #[test]
    fn an_invalid_word_is_an_unknown_framing() {
        for word in [0, 6, 0x1_0001, 0x102, 0x1ff, u64::MAX, 1 << 63] {
            assert_eq!(Recorded::of(word), Recorded::Unknown, "{word:#x}");
        }
    }
}
