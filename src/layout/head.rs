//! The words in the fixed part of a ring's segment. For each word this says where it lies, which process
//! writes it, which reads it, what a stale or wrong value costs, and how it is encoded. Each group has cache
//! lines of its own.
//!
//! None of these words is the truth about an item. Only the slots are.

use super::geometry::MAX_PARTICIPANTS;

/// The stream state: whether the ring is closed or retired, and how many participants ever attached. A
/// process that attaches, closes or retires writes it by compare-exchange. Every producer reads it for each
/// item, and consumers that find nothing read it. See `layout::stream_state`.
pub const STREAM_STATE: u64 = 0x200;
/// Counts events that make a thorough search worth it. The low half counts items that became redeliverable.
/// The high half counts participants that left or died, and closing. The process that caused the event adds
/// to it afterwards; all waiting handles read it. Stale: the next periodic search finds what there is.
pub const EVENTS: u64 = 0x208;
/// Serial number of the last participant; `fetch_add` by each one that attaches.
pub const SERIAL: u64 = 0x210;
/// Not 0: some participant could not register for asymmetric fences, or the system refused it such a fence
/// when it checked for the end of the stream. Every participant then uses full fences. The refused
/// participant writes it. Stale: a wake-up is missed, and the sleeper wakes after a slice.
pub const FENCES: u64 = 0x218;
/// One more than the highest participant number ever granted: how far to scan the table. `fetch_max` by each
/// participant that attaches, before its entry is in use. Too high: a longer scan.
pub const NUMBERS: u64 = 0x220;
/// How the items are framed, as the `producer` command records before it sends: see `framing::Recorded`. 0 if
/// none was recorded; the library's producers record none. Written by compare-exchange. The `consumer`
/// command reads it after its first item, and others for display. A death before the exchange leaves it
/// unchanged; a death after it leaves the framing of a producer that sent nothing. A wrong value costs a
/// wrong or missing message.
pub const FRAMING: u64 = 0x228;
/// Totals of participants that have left: sent, received, acknowledged, returned, dropped newest, dropped
/// oldest, bytes sent, bytes received. Statistics: a death may leave them too low.
pub const TOTALS: u64 = 0x240;
/// Number of words at [`TOTALS`].
pub const TOTALS_LEN: u64 = 8;
/// Three counts: participants whose deaths were recovered, their claims that were given up, and their items
/// that were returned. Each recovery adds to them afterwards. Statistics: a death may leave them too low.
pub const DEATHS: u64 = 0x280;
/// The next position to write, or a position before it. Never ahead of the words. Any process that passes it
/// writes it.
pub const TAIL: u64 = 0x300;
/// 0, or the request of a producer that waits for room for an item of several slots: its number, below a
/// count that changes whenever it renews the request. See [`RequestWord`] and `membership::fairness`. The
/// waiting producer writes and clears it. The recovery from its death clears it too, and so does a handle
/// that has seen the same request for 160 ms on its own clock. Stale: the others hold back a moment longer.
pub const FAIRNESS: u64 = 0x308;
/// The next position to read, or a position before it. Never ahead of the words. Any process that passes it
/// writes it.
pub const HEAD: u64 = 0x380;
/// About how many consumers sleep until an item comes: sleepers add, wakers and leaving sleepers subtract, and
/// the process that frees a dead participant's entry sets it to 0. Too high after a death: needless posts. Too low: a
/// missed wake-up, and the sleeper wakes after a slice.
pub const ITEMS_WAITING: u64 = 0x400;
/// The number of the last turn to check for deaths, 0 for none. A handle that takes the turn adds 1. It is
/// not a time, because the clocks of two processes may differ: each handle remembers since when it has seen
/// the same turn. Stale: a second handle checks as well, or the check comes a slice later.
pub const SWEPT_AT: u64 = 0x408;
/// How often a monitor allowed the consumers to start. The handle that allows it adds to it; waiting
/// consumers read it. Stale: they start because of the ring's level, or after a slice.
pub const ITEMS_STARTS: u64 = 0x410;
/// As [`ITEMS_WAITING`], for producers that sleep until there is room.
pub const ROOM_WAITING: u64 = 0x480;
/// As [`ITEMS_STARTS`], for the producers.
pub const ROOM_STARTS: u64 = 0x488;
/// The semaphore that consumers sleep on. Under `Discipline::Semaphore` it counts the filled slots, give or
/// take a few while many handles are active. A death may leave it too low or too high, which costs a slice or
/// a needless check.
pub const ITEMS_SEMAPHORE: u64 = 0x500;
/// The semaphore that producers sleep on. Under `Discipline::Semaphore` it counts the free slots.
pub const ROOM_SEMAPHORE: u64 = 0x580;
/// 0, or the turn of one participant, in rings of a discipline with turns: see [`TurnWord`] and
/// `wait::mutex`. Written by compare-exchange, by a participant that takes it, gives it back, or takes it
/// over from a dead or slow owner. It orders the participants, and protects nothing.
pub const MUTEX_OWNER: u64 = 0x600;
/// The semaphore that participants sleep on while they wait for their turn: 1 when no participant has a turn.
/// Too low after a death: the next participant checks the owner after 5 ms.
pub const MUTEX_SEMAPHORE: u64 = 0x640;
/// Marks of dead participants, by serial number modulo [`DEATH_MARKS_LEN`], with what was recovered from
/// each: see [`DeathMark`]. Each recovery writes one before it frees the entry; read for display. Lost: the
/// participant is shown as having left.
pub const DEATH_MARKS: u64 = 0xc00;
/// Number of words at [`DEATH_MARKS`].
pub const DEATH_MARKS_LEN: u64 = 128;

/// What a returned item adds to [`EVENTS`]: it counts in the low half.
pub const EVENT_RETURNED: u64 = 1;
/// What any other event adds to [`EVENTS`]: it counts in the high half.
pub const EVENT_OTHER: u64 = 1 << 32;

/// A word at [`MUTEX_OWNER`]: a participant's turn. 0: no participant has the turn.
///
/// ```text
/// 63                       16 15                     0
/// | which of its turns it is | participant number + 1 |
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TurnWord {
    /// The number of the participant.
    pub number: u32,
    /// Which of its turns it is, modulo 2^48.
    pub turn: u64,
}

impl TurnWord {
    const OWNER_BITS: u32 = 16;

    /// The word.
    #[inline]
    pub fn write(self) -> u64 {
        self.turn << Self::OWNER_BITS | (u64::from(self.number) + 1)
    }

    /// The turn in a word; `None` for a word that names no participant.
    #[inline]
    pub fn read(word: u64) -> Option<Self> {
        let number = ((word & ((1 << Self::OWNER_BITS) - 1)) as u32).checked_sub(1)?;
        Some(TurnWord { number, turn: word >> Self::OWNER_BITS })
    }
}

/// A word at [`FAIRNESS`]: participant `number` asks the others to hold back, by its request number `count`. 0 is
/// no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestWord {
    /// The number of the participant.
    pub number: u32,
    /// Its count of requests, from 1 to [`MAX_COUNT`](Self::MAX_COUNT), so that no word is 0.
    pub count: u64,
}

impl RequestWord {
    /// The highest count.
    pub const MAX_COUNT: u64 = u64::MAX / MAX_PARTICIPANTS as u64;

    /// The word.
    #[inline]
    pub fn write(self) -> u64 {
        self.count * u64::from(MAX_PARTICIPANTS) + u64::from(self.number)
    }

    /// The request in a word; `None` for 0. A nonzero word that no process writes counts as a request, too,
    /// and expires like any other.
    #[inline]
    pub fn read(word: u64) -> Option<Self> {
        let count = u64::from(MAX_PARTICIPANTS);
        (word != 0).then_some(RequestWord { number: (word % count) as u32, count: word / count })
    }
}

/// A word at [`DEATH_MARKS`]: the participant with this serial number died. A word without bit 63 is not a mark;
/// this bit is needed because serial numbers begin at 0.
///
/// ```text
/// 63  62              48 47             32 31            0
/// | 1 | abandoned claims | returned items | serial number |
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeathMark {
    /// The serial number of the participant.
    pub serial: u32,
    /// Claims that were given up; stays at 0x7fff if there are more.
    pub abandoned: u64,
    /// Items that were to be delivered again; stays at 0xffff if there are more.
    pub returned: u64,
}

impl DeathMark {
    const MARKED: u64 = 1 << 63;
    const RETURNED: u32 = 32;
    const MOST_RETURNED: u64 = 0xffff;
    const ABANDONED: u32 = 48;
    const MOST_ABANDONED: u64 = 0x7fff;

    /// The offset of the word for this serial number, and for others with the same remainder.
    pub fn place(serial: u32) -> u64 {
        DEATH_MARKS + u64::from(serial) % DEATH_MARKS_LEN * 8
    }

    /// The word.
    pub fn write(self) -> u64 {
        let returned = self.returned.min(Self::MOST_RETURNED);
        let abandoned = self.abandoned.min(Self::MOST_ABANDONED);
        Self::MARKED | abandoned << Self::ABANDONED | returned << Self::RETURNED | u64::from(self.serial)
    }

    /// The mark in a word; `None` for a word that is not a mark.
    pub fn read(word: u64) -> Option<Self> {
        (word & Self::MARKED != 0).then_some(DeathMark {
            serial: word as u32,
            abandoned: word >> Self::ABANDONED & Self::MOST_ABANDONED,
            returned: word >> Self::RETURNED & Self::MOST_RETURNED,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_read_as_it_was_written_and_no_two_turns_have_one_word() {
        for number in [0, 1, MAX_PARTICIPANTS - 1] {
            for turn in [0, 1, (1 << 48) - 1] {
                let word = TurnWord { number, turn };
                assert_eq!(TurnWord::read(word.write()), Some(word));
                assert_ne!(word.write(), 0);
                assert_ne!(word.write(), TurnWord { number, turn: turn ^ 1 }.write());
            }
        }
        assert_eq!(TurnWord::read(0), None);
        // Only damage produces a turn of no participant, or of one beyond the table.
        assert_eq!(TurnWord::read(1 << 16), None);
        assert_eq!(TurnWord::read(u64::MAX).unwrap().number, 0xfffe);
    }

    #[test]
    fn a_request_is_read_as_it_was_written() {
        for number in [0, 7, MAX_PARTICIPANTS - 1] {
            for count in [1, 2, RequestWord::MAX_COUNT - 1] {
                let word = RequestWord { number, count };
                assert_eq!(RequestWord::read(word.write()), Some(word));
            }
        }
        assert_eq!(RequestWord::read(0), None);
        let highest = RequestWord { number: MAX_PARTICIPANTS - 1, count: RequestWord::MAX_COUNT };
        assert_eq!(highest.write(), u64::MAX);
        assert_eq!(RequestWord::read(u64::MAX), Some(highest));
    }

    #[test]
    fn a_mark_is_read_as_it_was_written_and_its_counts_saturate() {
        for serial in [0, 127, 128, u32::MAX] {
            let mark = DeathMark { serial, abandoned: 3, returned: 5 };
            assert_eq!(DeathMark::read(mark.write()), Some(mark));
            let many = DeathMark { serial, abandoned: u64::MAX, returned: u64::MAX };
            let most = DeathMark { serial, abandoned: 0x7fff, returned: 0xffff };
            assert_eq!(DeathMark::read(many.write()), Some(most));
            assert!((DEATH_MARKS..DEATH_MARKS + 8 * DEATH_MARKS_LEN).contains(&DeathMark::place(serial)));
        }
        for word in [0, 1, u64::MAX >> 1] {
            assert_eq!(DeathMark::read(word), None);
        }
    }

    #[test]
    fn returned_items_and_other_events_count_in_separate_halves() {
        let word = 3 * EVENT_RETURNED + 2 * EVENT_OTHER;
        assert_eq!((word as u32, word >> 32), (3, 2));
    }
}
