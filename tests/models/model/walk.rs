//! Random walks through systems too large to explore.

use std::io::Write;
use std::time::Instant;

use ringpipe::internal::protocol::word::PLACE_BITS;
use stateright::Model;

use crate::model::narrate;
use crate::model::process::Taking::{AcknowledgeAll, AcknowledgeEach, GiveBackFirst};
use crate::model::scenarios::{
    ONE, PAIR, WIDE, abandoning, consumer, producer, recoverer, ring, successor, wasteful,
};
use crate::model::system::{Action, Scenario};

/// Walks through a system at random, often, with the checks of the exploration after every step.
pub fn wander(scenario: &Scenario, seed: u64, steps: usize) {
    let begin = Instant::now();
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut walks, mut left) = (0, steps);
    while left > 0 {
        let mut state = scenario.initial();
        let mut path = Vec::new();
        // Some walks are mostly of one process at a time, some change at every step.
        let (haste, danger) = (random.u8(1..20), random.usize(5..200));
        let mut last = 0;
        loop {
            let mut actions = Vec::new();
            scenario.actions(&state, &mut actions);
            let steps: Vec<_> =
                actions.iter().copied().filter(|action| matches!(action, Action::Step(_))).collect();
            let same = Action::Step(last);
            let action = match () {
                _ if actions.is_empty() => break,
                _ if random.usize(..danger) == 0 => actions[random.usize(..actions.len())],
                _ if random.u8(..haste) > 0 && steps.contains(&same) => same,
                _ if steps.is_empty() => break,
                _ => steps[random.usize(..steps.len())],
            };
            if let Action::Step(p) = action {
                last = p;
            }
            path.push(action);
            left = left.saturating_sub(1);
            let Some(next) = scenario.next_state(&state, action) else { continue };
            state = next;
            // The survivor's part costs a hundred steps: not after each.
            if state.fault.is_some() || random.u8(..16) == 0 && scenario.fault(&state, false).is_some() {
                break;
            }
        }
        if let Some(fault) = scenario.fault(&state, false) {
            narrate(scenario, path);
            panic!("{}: seed {seed}, walk {walks}: {fault}", scenario.name);
        }
        walks += 1;
    }
    let seconds = begin.elapsed().as_secs_f32();
    let _ = writeln!(
        std::io::stderr(),
        "model: {}: {walks} random walks, {steps} steps, seed {seed}, {seconds:.1} s",
        scenario.name
    );
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
            base: (1 << PLACE_BITS) - 6,
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
            stops: 2,
            stop_all: true,
            kill_all: true,
            ..large(ring(
                "2 producers, 3 consumers, wide items past held slots, stops, 8 slots",
                8,
                vec![
                    producer(1, &[ONE, &[3], WIDE, ONE, &[4], WIDE, ONE, WIDE]),
                    abandoning(2, &[ONE, ONE, WIDE, &[3], ONE, ONE, WIDE]),
                    take(4, AcknowledgeEach),
                    take(5, GiveBackFirst),
                    take(6, AcknowledgeAll),
                    recoverer(7),
                    successor(producer(1, &[WIDE, ONE, WIDE])),
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
