//! The systems that are explored.

use ringpipe::internal::protocol::memory::MOST_IN_ROW;
use ringpipe::internal::protocol::word::{PLACE_BITS, REFRESH_PERIOD};

use crate::model::process::{Role, Sending, Taking, Work};
use crate::model::system::Scenario;

use Taking::{AcknowledgeAll, AcknowledgeEach, GiveBackFirst};

/// One item of one slot.
pub const ONE: &[u8] = &[1];
/// A batch of two.
pub const PAIR: &[u8] = &[1, 1];
/// A batch of four.
pub const FOUR: &[u8] = &[1, 1, 1, 1];
/// One item of two slots.
pub const WIDE: &[u8] = &[2];
/// Generated states after which an exploration ends, unless it is to be full.
const QUICK: usize = 15_000;
const GATE: usize = 120_000;
const FULL: usize = 10_000_000;

pub fn producer(number: u32, batches: &[&[u8]]) -> Role {
    sending(number, batches, Sending::Publish)
}

pub fn abandoning(number: u32, batches: &[&[u8]]) -> Role {
    sending(number, batches, Sending::AbandonFirst)
}

/// One that claims more than it publishes.
pub fn wasteful(number: u32, batches: &[&[u8]]) -> Role {
    sending(number, batches, Sending::PublishPart)
}

pub fn sending(number: u32, batches: &[&[u8]], how: Sending) -> Role {
    let batches = batches.iter().map(|batch| batch.to_vec()).collect();
    Role { number, successor: false, work: Work::Produce { batches, how } }
}

pub fn consumer(number: u32, claims: u8, batch: u8, how: Taking) -> Role {
    Role { number, successor: false, work: Work::Consume { claims, batch, how } }
}

pub fn recoverer(number: u32) -> Role {
    Role { number, successor: false, work: Work::Recover }
}

pub fn watcher(number: u32) -> Role {
    Role { number, successor: false, work: Work::Watch }
}

/// The same under the number of one that is dead.
pub fn successor(role: Role) -> Role {
    Role { successor: true, ..role }
}

pub fn ring(name: &'static str, capacity: u64, roles: Vec<Role>) -> Scenario {
    let full = std::env::var_os("RINGPIPE_MODEL").is_some_and(|value| value == "full");
    Scenario {
        name,
        capacity,
        exclusive: false,
        most_in_row: MOST_IN_ROW,
        named: false,
        base: 0,
        aged: false,
        roles,
        crashes: 1,
        stops: 0,
        tries: 2,
        passes: 0,
        kill_all: true,
        stop_all: false,
        mutation: None,
        limit: match full {
            true => FULL,
            false if crate::scale::is_ci() => GATE,
            false => QUICK,
        },
    }
}

/// Items of one slot, claimed one at a time.
pub fn single() -> Vec<Scenario> {
    let take = |number, claims| consumer(number, claims, 1, AcknowledgeAll);
    vec![
        ring(
            "2 producers, 2 consumers, 2 slots",
            2,
            vec![producer(1, &[ONE]), producer(2, &[ONE]), take(3, 1), take(4, 1)],
        ),
        ring(
            "1 producer, 3 consumers, 2 slots",
            2,
            vec![producer(1, &[ONE, ONE, ONE]), take(3, 1), take(4, 1), take(5, 1)],
        ),
        Scenario {
            base: 3,
            ..ring(
                "counters that lag, 2 producers, 2 consumers, 4 slots",
                4,
                vec![producer(1, &[ONE, ONE, ONE]), producer(2, &[ONE, WIDE]), take(3, 2), take(4, 3)],
            )
        },
        Scenario {
            crashes: 2,
            ..ring(
                "1 producer, 1 consumer, 1 recoverer, 2 crashes",
                2,
                vec![producer(1, &[ONE, ONE, ONE]), take(3, 2), recoverer(4)],
            )
        },
        Scenario {
            crashes: 2,
            ..ring(
                "2 recoverers at once, 2 crashes, given back and abandoned",
                2,
                vec![
                    abandoning(1, &[ONE, ONE]),
                    consumer(3, 2, 1, GiveBackFirst),
                    recoverer(4),
                    recoverer(5),
                ],
            )
        },
        Scenario {
            crashes: 2,
            passes: 1,
            ..ring(
                "a producer's number is used again, writers are passed",
                2,
                vec![producer(1, &[ONE, ONE]), take(3, 2), successor(producer(1, &[ONE])), recoverer(5)],
            )
        },
        Scenario {
            crashes: 2,
            ..ring(
                "a consumer's number is used again",
                2,
                vec![producer(1, &[ONE, ONE]), take(3, 1), successor(take(3, 2)), recoverer(5)],
            )
        },
    ]
}

/// Processes that stop for ever, and writers that are passed.
pub fn stopped() -> Vec<Scenario> {
    let take = |number, claims| consumer(number, claims, 1, AcknowledgeAll);
    let stopping = |scenario| Scenario { crashes: 0, stops: 1, passes: 1, kill_all: false, ..scenario };
    vec![
        stopping(ring(
            "1 producer, 2 consumers, one stops, 2 slots",
            2,
            vec![producer(1, &[ONE, ONE, ONE, ONE]), take(3, 3), take(4, 3)],
        )),
        stopping(ring(
            "2 producers, 1 consumer, one stops, 2 slots",
            2,
            vec![producer(1, &[ONE, ONE]), producer(2, &[ONE, ONE]), take(3, 4)],
        )),
        Scenario {
            crashes: 1,
            passes: 1,
            stop_all: true,
            ..ring(
                "everybody stops, or dies, at any step; 4 slots",
                4,
                vec![producer(1, &[ONE, ONE]), producer(2, &[ONE]), take(3, 3)],
            )
        },
        Scenario {
            passes: 1,
            stop_all: true,
            ..ring(
                "a late writer stops, and behind it a writer died",
                2,
                vec![producer(1, &[ONE]), producer(2, &[ONE]), take(3, 1)],
            )
        },
        Scenario {
            crashes: 1,
            stops: 1,
            passes: 1,
            stop_all: true,
            ..ring(
                "one stops, one dies, one recovers; 2 slots",
                2,
                vec![producer(1, &[ONE, ONE, ONE, ONE]), take(3, 4), recoverer(4)],
            )
        },
        Scenario {
            crashes: 1,
            passes: 2,
            stop_all: true,
            ..ring(
                "late writers and their recoverers",
                2,
                vec![producer(1, &[ONE, ONE]), producer(2, &[ONE]), take(3, 3), recoverer(4)],
            )
        },
    ]
}

/// Items of two slots that have to get past a held one.
pub fn past_held() -> Vec<Scenario> {
    let take = |number, claims| consumer(number, claims, 1, AcknowledgeAll);
    let holding = |scenario| Scenario { stops: 1, passes: 1, ..scenario };
    vec![
        holding(ring(
            "wide items past a stopped holder, one dies",
            4,
            vec![producer(1, &[ONE, WIDE, WIDE]), take(3, 1), take(4, 3)],
        )),
        holding(Scenario {
            base: 3,
            ..ring(
                "2 producers and a stopped holder, one sends wide items, one dies",
                4,
                vec![producer(1, &[ONE, WIDE]), producer(2, &[ONE, ONE]), take(3, 1), take(4, 3)],
            )
        }),
        holding(Scenario {
            base: 1,
            ..ring(
                "2 producers of wide items and a stopped holder, one dies",
                4,
                vec![producer(1, &[ONE, WIDE]), producer(2, &[WIDE]), take(3, 2), recoverer(5)],
            )
        }),
    ]
}

/// Batches, items of two slots, padding, and runs across the ring's end.
pub fn runs() -> Vec<Scenario> {
    vec![
        ring(
            "batches, 1 producer, 2 consumers",
            4,
            vec![
                producer(1, &[PAIR, PAIR, ONE]),
                consumer(3, 2, 2, AcknowledgeEach),
                consumer(4, 2, 2, AcknowledgeAll),
            ],
        ),
        Scenario {
            crashes: 2,
            base: 3,
            ..ring(
                "batches across the end, 2 crashes, 1 recoverer",
                4,
                vec![producer(1, &[ONE, PAIR, PAIR]), consumer(3, 3, 2, AcknowledgeEach), recoverer(4)],
            )
        },
        Scenario {
            base: 3,
            ..ring(
                "batches across the end, given back, 1 recoverer",
                4,
                vec![
                    producer(1, &[ONE, ONE, PAIR]),
                    consumer(3, 2, 2, AcknowledgeEach),
                    consumer(4, 1, 2, GiveBackFirst),
                    recoverer(5),
                ],
            )
        },
        ring(
            "wide items and padding, 2 producers",
            4,
            vec![
                producer(1, &[ONE, WIDE, WIDE]),
                producer(2, &[WIDE, ONE]),
                consumer(3, 4, 2, AcknowledgeEach),
            ],
        ),
        Scenario {
            crashes: 2,
            passes: 1,
            ..ring(
                "mixed batches, a consumer's number is used again, 2 crashes",
                4,
                vec![
                    producer(1, &[PAIR, WIDE, ONE]),
                    consumer(3, 2, 2, AcknowledgeEach),
                    successor(consumer(3, 2, 2, AcknowledgeAll)),
                    recoverer(5),
                ],
            )
        },
        Scenario {
            crashes: 2,
            ..ring(
                "claims that are published in part, 2 crashes",
                4,
                vec![
                    wasteful(1, &[ONE, ONE]),
                    consumer(3, 2, 2, AcknowledgeEach),
                    successor(wasteful(1, &[ONE])),
                    recoverer(5),
                ],
            )
        },
        Scenario {
            base: 3,
            ..ring(
                "whether anything is held, while a batch across the end is taken",
                4,
                vec![producer(1, &[ONE, ONE]), consumer(3, 2, 2, AcknowledgeEach), recoverer(5), watcher(6)],
            )
        },
        Scenario {
            // The place in a word wraps in the first lap.
            base: (1 << PLACE_BITS) - 3,
            ..ring(
                "runs of four slots, laps that wrap",
                8,
                vec![
                    producer(1, &[&[1, 2, 1], &[3], PAIR]),
                    consumer(3, 4, 4, AcknowledgeEach),
                    recoverer(4),
                ],
            )
        },
    ]
}

/// Items that are named by their positions, past which producers step.
pub fn named() -> Vec<Scenario> {
    let take = |number, claims| consumer(number, claims, 1, AcknowledgeAll);
    // Not from 0 on: that is the name in an unwritten word.
    let named = |scenario| Scenario { named: true, passes: 1, base: 5, ..scenario };
    vec![
        named(Scenario {
            crashes: 0,
            ..ring(
                "names: a producer steps over a held item, 2 slots",
                2,
                vec![producer(1, &[ONE, ONE, ONE]), take(3, 1), take(4, 2)],
            )
        }),
        named(Scenario {
            crashes: 0,
            passes: 0,
            tries: 1,
            ..ring(
                "names: 2 producers step over held items, 2 slots",
                2,
                vec![producer(1, &[ONE, ONE]), producer(2, &[ONE, ONE, ONE]), take(3, 2), take(4, 2)],
            )
        }),
        named(Scenario {
            stops: 1,
            ..ring(
                "names: one stops, one dies, one recovers, 2 slots",
                2,
                vec![producer(1, &[ONE, ONE, ONE, ONE]), take(3, 2), take(4, 3), recoverer(5)],
            )
        }),
        named(Scenario {
            crashes: 2,
            ..ring(
                "names: items given back and late ones, 2 crashes",
                2,
                vec![
                    producer(1, &[ONE, ONE, ONE]),
                    producer(2, &[ONE, ONE]),
                    consumer(3, 3, 1, GiveBackFirst),
                    recoverer(5),
                ],
            )
        }),
        named(Scenario {
            crashes: 2,
            ..ring(
                "names: a row is given back, and stepped over in parts",
                4,
                vec![
                    producer(1, &[PAIR, ONE, ONE, ONE, ONE]),
                    consumer(3, 1, 2, GiveBackFirst),
                    consumer(4, 3, 1, GiveBackFirst),
                    recoverer(5),
                ],
            )
        }),
    ]
}

/// Published rows, which consumers take whole or part.
pub fn rows() -> Vec<Scenario> {
    let take = |number, claims, batch| consumer(number, claims, batch, AcknowledgeAll);
    vec![
        ring(
            "rows of two, 2 consumers that take one item each, 4 slots",
            4,
            vec![producer(1, &[PAIR, PAIR]), take(3, 2, 1), take(4, 2, 1)],
        ),
        Scenario {
            crashes: 2,
            ..ring(
                "a row is parted by two, 2 crashes, 1 recoverer",
                4,
                vec![producer(1, &[PAIR]), take(3, 1, 1), take(4, 1, 1), recoverer(5)],
            )
        },
        Scenario {
            crashes: 2,
            ..ring(
                "a row of four is taken whole and in parts, 2 crashes",
                8,
                vec![
                    producer(1, &[FOUR]),
                    consumer(3, 2, 3, AcknowledgeEach),
                    consumer(4, 1, 4, GiveBackFirst),
                    recoverer(5),
                ],
            )
        },
        Scenario {
            most_in_row: 2,
            base: 5,
            ..ring(
                "a claim of several rows, across the end",
                8,
                vec![producer(1, &[FOUR, FOUR]), take(3, 3, 2), consumer(4, 2, 1, AcknowledgeEach)],
            )
        },
        Scenario {
            crashes: 2,
            ..ring(
                "a row of four is parted into pieces of two by two, 2 crashes",
                8,
                vec![producer(1, &[FOUR]), take(3, 2, 2), take(4, 2, 2), recoverer(5)],
            )
        },
        Scenario {
            crashes: 2,
            ..ring(
                "rows and single items are claimed at once, 2 crashes",
                8,
                vec![
                    producer(1, &[PAIR, ONE, PAIR]),
                    consumer(3, 2, 4, AcknowledgeEach),
                    consumer(4, 2, 3, AcknowledgeAll),
                    recoverer(5),
                ],
            )
        },
        Scenario {
            most_in_row: 2,
            crashes: 2,
            ..ring(
                "several rows are claimed at once and given back, their reader's number is used again",
                8,
                vec![
                    producer(1, &[FOUR]),
                    consumer(3, 1, 4, GiveBackFirst),
                    successor(consumer(3, 2, 4, AcknowledgeAll)),
                    recoverer(5),
                ],
            )
        },
        Scenario {
            // Head's counter stays at 2 while the first item is taken; the row lies over its slot a lap later.
            base: 2,
            crashes: 0,
            kill_all: false,
            ..ring(
                "whether anything is held, while a row of the next lap is taken",
                4,
                vec![producer(1, &[ONE, ONE, ONE, PAIR]), consumer(3, 4, 2, AcknowledgeEach), watcher(6)],
            )
        },
        Scenario {
            crashes: 2,
            ..ring(
                "the reader of a row dies twice, its number is used again",
                4,
                vec![
                    producer(1, &[PAIR, PAIR]),
                    consumer(3, 2, 2, AcknowledgeEach),
                    successor(take(3, 2, 1)),
                    recoverer(5),
                ],
            )
        },
        Scenario {
            crashes: 0,
            stops: 1,
            kill_all: false,
            ..ring(
                "one stops while it parts a row",
                4,
                vec![producer(1, &[PAIR, ONE]), take(3, 2, 1), take(4, 3, 1)],
            )
        },
        Scenario {
            // The place in a word wraps in the first lap.
            base: (1 << PLACE_BITS) - 3,
            ..ring(
                "rows, laps that wrap",
                8,
                vec![producer(1, &[FOUR, PAIR, FOUR]), take(3, 3, 4), consumer(4, 3, 1, AcknowledgeEach)],
            )
        },
        Scenario {
            exclusive: true,
            crashes: 2,
            most_in_row: 2,
            ..ring(
                "exclusive, rows that are taken in parts",
                8,
                vec![
                    producer(1, &[FOUR, PAIR]),
                    consumer(3, 3, 1, AcknowledgeEach),
                    successor(producer(1, &[FOUR, ONE])),
                    successor(consumer(3, 3, 3, GiveBackFirst)),
                ],
            )
        },
        Scenario {
            aged: true,
            base: REFRESH_PERIOD / 2 - 3,
            ..ring(
                "old words: rows into the lap that rewrites them",
                4,
                vec![producer(1, &[PAIR, PAIR, PAIR]), take(3, 3, 2), take(4, 2, 1)],
            )
        },
    ]
}

/// Rings whose words are as old as they get, at the beginning of the lap in which producers rewrite them, and at
/// the same distance from where the laps in the words wrap.
pub fn aged() -> Vec<Scenario> {
    let aged = |base, scenario| Scenario { aged: true, base, ..scenario };
    let rewritten = REFRESH_PERIOD / 2;
    vec![
        aged(
            rewritten - 3,
            ring(
                "old words: wide items into the lap that rewrites them",
                4,
                vec![
                    producer(1, &[ONE, WIDE, WIDE]),
                    producer(2, &[WIDE]),
                    consumer(3, 4, 2, AcknowledgeEach),
                ],
            ),
        ),
        aged(
            rewritten,
            ring(
                "old words: claims that are given up or published in part",
                4,
                vec![
                    wasteful(1, &[ONE, ONE]),
                    abandoning(2, &[WIDE]),
                    consumer(3, 2, 2, AcknowledgeEach),
                    recoverer(5),
                ],
            ),
        ),
        Scenario {
            exclusive: true,
            crashes: 2,
            ..aged(
                rewritten - 1,
                ring(
                    "old words: exclusive, batches and wide items",
                    4,
                    vec![
                        producer(1, &[PAIR, WIDE, ONE]),
                        consumer(3, 3, 2, AcknowledgeEach),
                        successor(producer(1, &[WIDE, ONE])),
                        successor(consumer(3, 3, 2, AcknowledgeAll)),
                    ],
                ),
            )
        },
        aged(
            (1 << PLACE_BITS) + rewritten - 3,
            ring(
                "old words: runs of four slots, beyond the wrap of laps",
                8,
                vec![
                    producer(1, &[&[1, 2, 1], &[3], PAIR]),
                    consumer(3, 4, 4, AcknowledgeEach),
                    recoverer(4),
                ],
            ),
        ),
    ]
}

/// One producer and one consumer without compare-exchange.
pub fn exclusive() -> Vec<Scenario> {
    let exclusive = |scenario| Scenario { crashes: 2, exclusive: true, ..scenario };
    vec![
        exclusive(ring(
            "exclusive, batches and wide items",
            4,
            vec![
                producer(1, &[PAIR, WIDE, ONE]),
                consumer(3, 3, 2, AcknowledgeEach),
                successor(producer(1, &[PAIR, ONE])),
                successor(consumer(3, 3, 2, AcknowledgeAll)),
            ],
        )),
        exclusive(ring(
            "exclusive, single items, given back",
            2,
            vec![
                abandoning(1, &[ONE, ONE, ONE]),
                consumer(3, 3, 1, AcknowledgeEach),
                successor(producer(1, &[ONE, ONE])),
                successor(consumer(3, 3, 1, GiveBackFirst)),
            ],
        )),
    ]
}
