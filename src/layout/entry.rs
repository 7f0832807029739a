//! The words of one participant's entry: where each lies, and how it is encoded.
//!
//! The participant alone writes all words except the state; other processes read them for display. The
//! participant also writes the state; after its death, the process that recovers what it owned does.

use super::role::Role;

/// 0 for a free entry; otherwise role and serial number, see `state_of`.
pub const STATE: u64 = 0;
/// Process id, for display only.
pub const PID: u64 = 8;
/// Start time of the process in clock ticks since boot, for display only.
pub const START_TIME: u64 = 16;
/// Command name, 16 bytes, for display only.
pub const COMMAND: u64 = 24;
/// When it attached, nanoseconds since 1970, for display only.
pub const ATTACHED_AT: u64 = 40;
/// What it is doing: see [`Activity`]. Read for display, and by consumers that check for the end of the
/// stream: a consumer that itself waits for items does not delay the end for others, unless it has handed
/// items out (`WAITING_WITH_ITEMS`).
pub const ACTIVITY: u64 = 48;
/// When it claimed what it holds, in coarse monotonic nanoseconds of its own clock; 0 if it holds nothing.
/// Display only: a time in the future, or before it attached, comes from another clock and is not shown.
pub const HELD_SINCE: u64 = 56;
/// Its counters, in the order of `head::TOTALS`; statistics.
pub const COUNTERS: u64 = 64;

/// What a participant is doing, according to its entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// It works, or does nothing.
    Busy,
    /// It waits for items.
    WaitingForItems,
    /// It waits for room.
    WaitingForRoom,
}

impl Activity {
    /// The word at [`ACTIVITY`].
    pub(crate) fn word(self) -> u64 {
        match self {
            Activity::Busy => 0,
            Activity::WaitingForItems => 1,
            Activity::WaitingForRoom => 2,
        }
    }

    /// The activity that a word at [`ACTIVITY`] names. A word that no process writes does not count as
    /// waiting.
    pub(crate) fn of(word: u64) -> Self {
        match word {
            1 | WAITING_WITH_ITEMS => Activity::WaitingForItems,
            2 => Activity::WaitingForRoom,
            _ => Activity::Busy,
        }
    }
}

/// The word of a consumer that waits for items while the application still has owned items from it. Only the
/// check for the end of the stream treats it differently from another waiting consumer.
pub(crate) const WAITING_WITH_ITEMS: u64 = 3;

/// The counters of a participant. The number of each is its place among the words from [`COUNTERS`] on, and
/// among the totals from [`TOTALS`](super::head::TOTALS) on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counter {
    Sent = 0,
    Received = 1,
    Acknowledged = 2,
    Returned = 3,
    DroppedNewest = 4,
    DroppedOldest = 5,
    BytesSent = 6,
    BytesReceived = 7,
}

/// The word at [`STATE`] of an entry in use: the role in the high half, the serial number in the low one.
pub(crate) fn state_of(role: Role, serial: u32) -> u64 {
    let role = match role {
        Role::Producer => 1,
        Role::Consumer => 2,
    };
    role << 32 | u64::from(serial)
}

/// Role and serial number of an entry in use; `None` for a free one, or for bits that no process writes.
pub(crate) fn role_of(state: u64) -> Option<(Role, u32)> {
    match state >> 32 {
        1 => Some((Role::Producer, state as u32)),
        2 => Some((Role::Consumer, state as u32)),
        _ => None,
    }
}

/// The two words at [`COMMAND`].
pub(crate) fn command_words(name: [u8; 16]) -> [u64; 2] {
    let both = u128::from_le_bytes(name);
    [both as u64, (both >> 64) as u64]
}

/// The command name in the two words at [`COMMAND`], without characters that must not be displayed.
pub(crate) fn command_of([low, high]: [u64; 2]) -> String {
    let bytes = (u128::from(high) << 64 | u128::from(low)).to_le_bytes();
    let text = String::from_utf8_lossy(&bytes);
    text.trim_end_matches('\0').chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_read_as_it_was_written() {
        for role in [Role::Producer, Role::Consumer] {
            for serial in [0, 1, u32::MAX] {
                let word = state_of(role, serial);
                assert_eq!(role_of(word), Some((role, serial)));
                assert_ne!(word, 0, "an entry in use is not free");
            }
        }
        for word in [0, 1, u64::from(u32::MAX), 3 << 32, 1 << 34 | 1 << 32, u64::MAX] {
            assert_eq!(role_of(word), None, "{word:x}");
        }
    }

    #[test]
    fn an_activity_is_read_as_it_was_written() {
        for activity in [Activity::Busy, Activity::WaitingForItems, Activity::WaitingForRoom] {
            assert_eq!(Activity::of(activity.word()), activity);
        }
        assert_eq!(Activity::of(WAITING_WITH_ITEMS), Activity::WaitingForItems);
        for word in [4, 1 << 32 | 1, u64::MAX] {
            assert_eq!(Activity::of(word), Activity::Busy, "{word:x}");
        }
    }

    #[test]
    fn a_command_name_is_read_as_it_was_written_without_characters_that_harm_a_terminal() {
        let read = |name: &[u8; 16]| command_of(command_words(*name));
        assert_eq!(read(b"consumer\0\0\0\0\0\0\0\0"), "consumer");
        assert_eq!(read(b"0123456789abcdef"), "0123456789abcdef");
        assert_eq!(read(b"a\x1b[2J\0\0\0\0\0\0\0\0\0\0\0"), "a[2J");
        assert_eq!(read(b"\xff\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"), "\u{fffd}");
        assert_eq!(command_words(*b"abcdefgh\0\0\0\0\0\0\0\0"), [u64::from_le_bytes(*b"abcdefgh"), 0]);
    }
}
