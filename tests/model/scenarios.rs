//! The systems that are explored.

use crate::mutation::Mutation;
use crate::process::{Role, Sending, Taking, Work};
use crate::system::Scenario;

use Taking::{AcknowledgeAll, AcknowledgeEach, GiveBackFirst};

/// One item of one slot.
const ONE: &[u8] = &[1];
/// A batch of two.
const PAIR: &[u8] = &[1, 1];
/// One item of two slots.
const WIDE: &[u8] = &[2];
/// Generated states after which an exploration ends, unless it is to be full.
const QUICK: usize = 120_000;
/// The same for a mutated system, which is left as soon as it is found out.
const MUTATED: usize = 1_500_000;
const FULL: usize = 40_000_000;

fn producer(number: u32, batches: &[&[u8]]) -> Role {
    sending(number, batches, Sending::Publish)
}

fn abandoning(number: u32, batches: &[&[u8]]) -> Role {
    sending(number, batches, Sending::AbandonFirst)
}

/// One that claims more than it publishes.
fn wasteful(number: u32, batches: &[&[u8]]) -> Role {
    sending(number, batches, Sending::PublishPart)
}

fn sending(number: u32, batches: &[&[u8]], how: Sending) -> Role {
    let batches = batches.iter().map(|batch| batch.to_vec()).collect();
    Role { number, successor: false, work: Work::Produce { batches, how } }
}

fn consumer(number: u32, claims: u8, batch: u8, how: Taking) -> Role {
    Role { number, successor: false, work: Work::Consume { claims, batch, how } }
}

fn recoverer(number: u32) -> Role {
    Role { number, successor: false, work: Work::Recover }
}

fn watcher(number: u32) -> Role {
    Role { number, successor: false, work: Work::Watch }
}

/// The same under the number of one that is dead.
fn successor(role: Role) -> Role {
    Role { successor: true, ..role }
}

fn ring(name: &'static str, capacity: u64, roles: Vec<Role>) -> Scenario {
    let full = std::env::var_os("RINGPIPE_MODEL").is_some_and(|value| value == "full");
    Scenario {
        name,
        capacity,
        exclusive: false,
        base: 0,
        roles,
        crashes: 1,
        stops: 0,
        tries: 2,
        passes: 0,
        kill_all: true,
        stop_all: false,
        mutation: None,
        limit: if full { FULL } else { QUICK },
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
            base: (1 << 42) - 3,
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

/// For each mutation the system that is to expose it. Two of the protocol's steps have none: that who
/// passes a writer helps tail first, and that a late publisher helps head first, only saves others from
/// doing it; with runs of one slot they always can.
pub fn mutated() -> Vec<Scenario> {
    use Mutation::*;
    let [single, stopped, runs] = [single(), stopped(), runs()];
    let shared_item = ring(
        "an item given back, 2 consumers",
        2,
        vec![
            producer(1, &[ONE]),
            consumer(3, 2, 1, GiveBackFirst),
            consumer(4, 1, 1, AcknowledgeAll),
            recoverer(5),
        ],
    );
    let reuse = ring(
        "a reader of a batch dies, its number is used again",
        4,
        vec![
            producer(1, &[PAIR]),
            consumer(3, 1, 2, AcknowledgeAll),
            successor(consumer(3, 2, 1, AcknowledgeAll)),
            recoverer(5),
        ],
    );
    let two_readers = ring(
        "a full ring of held items",
        2,
        vec![
            producer(1, &[ONE, ONE, ONE]),
            consumer(3, 1, 1, AcknowledgeAll),
            consumer(4, 2, 1, AcknowledgeAll),
        ],
    );
    let mut scenarios = Vec::new();
    let mut add = |mutation, scenario: &Scenario| {
        scenarios.push(Scenario {
            mutation: Some(mutation),
            stop_all: false,
            limit: MUTATED,
            ..scenario.clone()
        });
    };
    add(ClaimWithoutHelpingTail, &runs[3]);
    add(RecoverWithoutHelpingTail, &runs[3]);
    add(RecoverWithoutHelpingHead, &runs[3]);
    add(PublishFirstWordFirst, &runs[0]);
    add(PublishOverLateMark, &stopped[5]);
    add(ForgetNestedRun, &runs[0]);
    add(RecoverFirstOnly, &runs[0]);
    add(AcknowledgeBlindly, &stopped[4]);
    add(ClaimBlindly, &single[1]);
    add(ClaimReturnedBlindly, &shared_item);
    add(RecoverBlindly, &single[5]);
    add(RecoverWithoutLookingAgain, &reuse);
    add(RenewBlindly, &stopped[4]);
    add(CallDead(1), &single[0]);
    add(CallDead(3), &two_readers);
    scenarios
}

/// Larger systems, for random walks.
pub fn large() -> Vec<Scenario> {
    let mixed: &[&[u8]] = &[ONE, PAIR, WIDE, &[1, 2, 1], ONE, &[3], PAIR, WIDE, ONE];
    let single: &[&[u8]] = &[ONE; 8];
    let large = |scenario| Scenario { kill_all: false, crashes: 4, passes: 4, tries: 6, ..scenario };
    let take = |number, how| consumer(number, 9, 1, how);
    let take_many = |number, how| consumer(number, 9, 3, how);
    vec![
        large(ring(
            "3 producers, 3 consumers, batches and wide items, 8 slots",
            8,
            vec![
                producer(1, mixed),
                abandoning(2, mixed),
                wasteful(3, mixed),
                take_many(4, AcknowledgeEach),
                take_many(5, AcknowledgeAll),
                take_many(6, GiveBackFirst),
                recoverer(7),
                recoverer(8),
                successor(producer(1, mixed)),
                successor(take_many(4, AcknowledgeEach)),
            ],
        )),
        Scenario {
            base: (1 << 42) - 6,
            ..large(ring(
                "2 producers, 2 consumers, batches and wide items, 4 slots",
                4,
                vec![
                    producer(1, &[PAIR, WIDE, ONE, PAIR, WIDE, PAIR]),
                    producer(2, &[ONE, WIDE, PAIR, ONE, PAIR, WIDE]),
                    take_many(4, AcknowledgeEach),
                    take_many(5, AcknowledgeEach),
                    recoverer(7),
                    successor(producer(1, &[PAIR, WIDE, ONE])),
                    successor(take_many(4, AcknowledgeEach)),
                ],
            ))
        },
        Scenario {
            stops: 2,
            stop_all: true,
            kill_all: true,
            ..large(ring(
                "3 producers, 3 consumers, single items, stops, 4 slots",
                4,
                vec![
                    producer(1, single),
                    abandoning(2, single),
                    producer(3, single),
                    take(4, AcknowledgeEach),
                    take(5, GiveBackFirst),
                    take(6, AcknowledgeAll),
                    recoverer(7),
                    successor(producer(1, single)),
                    successor(take(4, AcknowledgeAll)),
                ],
            ))
        },
        Scenario {
            stops: 2,
            stop_all: true,
            kill_all: true,
            ..large(ring(
                "2 producers, 2 consumers, single items, stops, 2 slots",
                2,
                vec![
                    producer(1, single),
                    producer(2, single),
                    take(4, AcknowledgeEach),
                    take(5, GiveBackFirst),
                    recoverer(7),
                    successor(producer(1, single)),
                    successor(take(4, AcknowledgeAll)),
                ],
            ))
        },
        Scenario {
            exclusive: true,
            kill_all: true,
            ..large(ring(
                "exclusive, batches and wide items, 8 slots",
                8,
                vec![
                    producer(1, mixed),
                    take_many(4, AcknowledgeEach),
                    successor(wasteful(1, mixed)),
                    successor(take_many(4, GiveBackFirst)),
                ],
            ))
        },
    ]
}
