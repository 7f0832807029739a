//! The shared words outside the slots: who writes each, who reads it, and what a stale or lying value
//! costs. None of them is the truth about an item; that is in the slots.

/// Offsets of the words in the fixed part of the segment, each group on lines of its own.
pub mod head {
    /// The door: whether the ring is closed or retired, and how many have come. Written by a
    /// compare-exchange by whoever attaches, closes or retires; read by every producer per item and by
    /// consumers that find nothing. See `handles::door`.
    pub const DOOR: u64 = 0x200;
    /// Counts what makes a thorough look worth it: in the low half items that became redeliverable, in the
    /// high half participants that left or were buried, and closing. Written by whoever did it, after it; read by all that wait. Stale:
    /// the next periodic look finds what there is.
    pub const NEWS: u64 = 0x208;
    /// Serial number of the last participant; `fetch_add` by each that attaches.
    pub const SERIAL: u64 = 0x210;
    /// Not 0: some participant could not register for asymmetric fences, so everybody fences. Written
    /// by such a participant. Stale: a wake-up is missed and made good after a slice.
    pub const FENCES: u64 = 0x218;
    /// One more than the highest participant number that was ever granted: how far to look through the
    /// table. `fetch_max` by each that attaches, before its entry is in use. Too high: a longer look.
    pub const NUMBERS: u64 = 0x220;
    /// Totals of participants that have left: sent, received, acknowledged, returned, dropped newest,
    /// dropped oldest, bytes sent, bytes received. Statistics: a death may leave them short.
    pub const TOTALS: u64 = 0x240;
    /// Number of words at [`TOTALS`].
    pub const TOTALS_LEN: u64 = 8;
    /// Next position to write, or some before it; by whoever passes it. Never ahead of the words.
    pub const TAIL: u64 = 0x300;
    /// 0, or who waits for room for an item of several slots, and until when the others hold back for it:
    /// see `handles::courtesy`. Written by who waits, cleared by it or by whoever finds it over. Stale:
    /// the others hold back a moment longer.
    pub const COURTESY: u64 = 0x308;
    /// Next position to read, or some before it; by whoever passes it. Never ahead of the words.
    pub const HEAD: u64 = 0x380;
    /// About how many sleep until an item comes: sleepers add, wakers and leaving sleepers subtract. Too
    /// high after a death: one needless post each. Too low: a missed wake-up, made good after a slice.
    pub const ITEMS_WAITING: u64 = 0x400;
    /// When the dead were last looked for (coarse monotonic nanoseconds), by whoever takes the turn.
    /// Stale: somebody looks again, or a slice later.
    pub const SWEPT_AT: u64 = 0x408;
    /// How often a monitor let the consumers go on; added to by whoever does, read by those that wait. Stale:
    /// the level of the ring tells them, or a slice.
    pub const ITEMS_STARTS: u64 = 0x410;
    /// As [`ITEMS_WAITING`], until there is room.
    pub const ROOM_WAITING: u64 = 0x480;
    /// As [`ITEMS_STARTS`], the producers.
    pub const ROOM_STARTS: u64 = 0x488;
    /// The semaphore that consumers sleep on. In rings with `Discipline::Semaphore` it counts the slots that
    /// wait, but for a few while many are at it: deaths leave it too low or too high, which costs a slice or a
    /// look.
    pub const ITEMS_SEMAPHORE: u64 = 0x500;
    /// The semaphore that producers sleep on; there it counts free slots.
    pub const ROOM_SEMAPHORE: u64 = 0x580;
    /// 0, or whose turn it is, in rings of a discipline with turns: see `sync::mutex`. Written by
    /// compare-exchange by whoever takes it, gives it back, or takes it over from a dead or a slow one. It
    /// keeps an order, and guards nothing.
    pub const MUTEX_OWNER: u64 = 0x600;
    /// The semaphore that those sleep on who wait for their turn: 1 when it is nobody's. Too low after a
    /// death: the next one looks at the owner after 5 ms.
    pub const MUTEX_SEMAPHORE: u64 = 0x640;
}

/// Offsets of the words in one participant's entry. All but the state are written by the participant
/// alone and read for display; the state by the participant, and, after its death, by a recoverer.
pub mod entry {
    /// 0, or role and serial: see `handles::participant`.
    pub const STATE: u64 = 0;
    /// Process id, for display only.
    pub const PID: u64 = 8;
    /// Start time of the process in clock ticks since boot, for display only.
    pub const START_TIME: u64 = 16;
    /// Command name, 16 bytes, for display only.
    pub const COMMAND: u64 = 24;
    /// When it attached, nanoseconds since 1970, for display only.
    pub const ATTACHED_AT: u64 = 40;
    /// What it is doing: see `handles::participant::Activity`. Read for display, and by consumers that
    /// look for the end of the stream: a consumer that waits for items itself holds nobody up.
    pub const ACTIVITY: u64 = 48;
    /// When it claimed what it holds, coarse monotonic nanoseconds; 0 for nothing. Display only.
    pub const HELD_SINCE: u64 = 56;
    /// Its counters, in the order of `head::TOTALS`; statistics.
    pub const COUNTERS: u64 = 64;
}

/// Offsets of the words in an item's header, at the slot where the item begins. Written by the producer
/// that owns the slot before it publishes; read by whoever claimed it, and by observers who may see
/// nonsense.
pub mod item {
    /// Length in the low, producer's serial number in the high 32 bits.
    pub const LENGTH_AND_PRODUCER: u64 = 0;
    /// The producer's count of its items, from 0.
    pub const SEQUENCE: u64 = 8;
    /// When it was sent, nanoseconds since 1970; only in rings with timestamps.
    pub const TIME: u64 = 16;
}
