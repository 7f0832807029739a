//! One dies, at each of its accesses; others recover what it held, and go on.

use super::super::life::mortal;
use super::*;

pub const ALL: &[Scenario] = &[
    dying("a producer dies, one recovers, one takes and sends", 2, 7, |steps| {
        producer_dies(steps, Shape::MANY, &[A], vec![2], &[&[B], &[C]])
    }),
    dying("a producer dies while two recover", 2, 7, |steps| {
        producer_dies(steps, Shape::MANY, &[A], vec![4], &[&[B]])
    }),
    dying("a producer of a batch dies, one recovers, one takes and sends", 2, 9, |steps| {
        producer_dies(steps, many(4), &[A, B], vec![2], &[&[C, D]])
    }),
    dying("a producer of a batch dies while two recover", 2, 9, |steps| {
        producer_dies(steps, many(4), &[A, B], vec![4], &[])
    }),
    dying("a consumer dies, one recovers, one takes again and sends", 2, 7, |steps| {
        consumer_dies(steps, 2, &[&[A], &[B]], 1, false)
    }),
    dying("a consumer dies while two recover, and its slot is used again", 2, 7, |steps| {
        consumer_dies(steps, 2, &[&[A], &[B]], 1, true)
    }),
    dying("a consumer of a batch dies, one recovers, one takes again and sends", 2, 10, |steps| {
        consumer_dies(steps, 4, &[&[A, B]], 2, false)
    }),
    dying("a consumer of a batch dies while two recover", 2, 10, |steps| {
        consumer_dies(steps, 4, &[&[A, B]], 2, true)
    }),
    dying(
        "a dead consumer's batch is taken by a thread that knows of it only from the recovery",
        2,
        4,
        |steps| {
            let ring = Shape { mortal: Some(3), ..many(4) }.ring();
            let (producer, victim, recoverer) = (ring.handle(1), ring.handle(3), ring.handle(5));
            let acknowledged = together(vec![
                part(producer, move |producer| {
                    assert_eq!(producer.send(&[A, B]), 2);
                    let taken = victim.take(2).expect("a batch was sent");
                    let done = mortal(steps, || victim.acknowledge_each(taken));
                    if done.is_none() {
                        victim.let_go();
                        recoverer.slots.recover(3);
                    }
                    done.unwrap_or_default()
                }),
                part(ring.handle(4), |other| {
                    // Its second item: whose word was written in the midst of the first one's acknowledgement.
                    let taken = other.take_returned_from(1);
                    taken.map(|taken| other.acknowledge(taken)).unwrap_or_default()
                }),
            ]);
            let mut story = Sent::default().story(&[1, 2], acknowledged);
            story.perhaps_acknowledged = vec![1];
            ring.settle(story);
        },
    ),
    bounded("a dead consumer's number is used again while another one still recovers", 2, |_| {
        // E5: the slow one has seen the dead one's run, and must not take what its successor holds.
        let ring = Shape { mortal: Some(3), ..many(4) }.ring();
        filled(&ring, 1, &[&[A, B]]);
        let victim = ring.handle(3);
        drop(victim.take(2).expect("a batch was sent"));
        victim.let_go();
        let acknowledged = together(vec![
            part(ring.handle(5), |slow| {
                slow.slots.recover(3);
                Vec::new()
            }),
            part(ring.handle(3), |successor| {
                successor.slots.recover(3);
                successor.comes_to_life();
                // The batch's second item, whose word lay inside the dead thread's run.
                let Some(taken) = successor.take_returned_from(1) else { return Vec::new() };
                successor.acknowledge(taken)
            }),
        ]);
        ring.settle(Sent::default().story(&[1, 2], acknowledged));
    }),
];

const fn dying(name: &'static str, preemptions: usize, deaths: u32, run: fn(u32)) -> Scenario {
    Scenario { name, preemptions: Some(preemptions), deaths, run }
}

/// Participant 1 dies while it sends. One other recovers it; a third one consumes twice and sends, and recovers it
/// before if its number is not 2.
fn producer_dies(
    steps: u32,
    shape: Shape,
    items: &'static [Item],
    others: Vec<u32>,
    batches: &'static [&'static [Item]],
) {
    let (ring, sent) = (Shape { mortal: Some(1), ..shape }.ring(), Sent::default());
    let died = Arc::new(Mutex::new(false));
    let mut parts = vec![
        part(ring.handle(1), {
            let (died, sent) = (died.clone(), sent.clone());
            move |victim| {
                match mortal(steps, || victim.send(items)) {
                    Some(count) => items[..count].iter().for_each(|item| sent.note(item.id)),
                    None => {
                        *died.lock().unwrap() = true;
                        victim.let_go();
                    }
                }
                Vec::new()
            }
        }),
        part(ring.handle(3), |recoverer| {
            recoverer.slots.recover(1);
            Vec::new()
        }),
    ];
    parts.extend(others.into_iter().map(|number| {
        let sent = sent.clone();
        part(ring.handle(number), move |other| {
            if number != 2 {
                other.slots.recover(1);
            }
            let ids = other.consume(2);
            for batch in batches {
                batch[..other.send(batch)].iter().for_each(|item| sent.note(item.id));
            }
            ids
        })
    }));
    let acknowledged = together(parts);
    let mut story = sent.story(&[], acknowledged);
    if *died.lock().unwrap() {
        story.perhaps_sent = items.iter().map(|item| item.id).collect();
    }
    ring.settle(story);
}

/// Participant 3 dies while it takes and acknowledges what was sent just before, in its thread. One other recovers
/// it, a third one takes what it held and uses the slot again; perhaps it recovers it before that.
fn consumer_dies(
    steps: u32,
    capacity: u64,
    before: &'static [&'static [Item]],
    most: usize,
    both_recover: bool,
) {
    let (ring, sent) = (Shape { mortal: Some(3), ..many(capacity) }.ring(), Sent::default());
    let taken = Arc::new(Mutex::new(Vec::new()));
    let producer = ring.handle(1);
    let victim = part(ring.handle(3), {
        let (taken, sent) = (taken.clone(), sent.clone());
        move |victim| {
            for batch in before {
                // The others may have been there before, and have sent.
                batch[..producer.send(batch)].iter().for_each(|item| sent.note(item.id));
            }
            let work = || match victim.take(most) {
                Ok(items) => {
                    *taken.lock().unwrap() = items.ids();
                    victim.acknowledge_each(items)
                }
                Err(_) => Vec::new(),
            };
            mortal(steps, work).unwrap_or_else(|| {
                victim.let_go();
                Vec::new()
            })
        }
    });
    let acknowledged = together(vec![
        victim,
        part(ring.handle(5), |recoverer| {
            recoverer.slots.recover(3);
            Vec::new()
        }),
        part(ring.handle(4), {
            let sent = sent.clone();
            move |other| {
                if both_recover {
                    other.slots.recover(3);
                }
                let again = other.take_returned();
                let ids = again.map(|taken| other.acknowledge(taken)).unwrap_or_default();
                (0..other.send(&[D])).for_each(|_| sent.note(4));
                ids
            }
        }),
    ]);
    let mut story = sent.story(&[], acknowledged);
    story.perhaps_acknowledged = taken.lock().unwrap().clone();
    ring.settle(story);
}
