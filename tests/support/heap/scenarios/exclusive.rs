//! Rings with one producer and one consumer.

use super::super::life::mortal;
use super::*;

pub const ALL: &[Scenario] = &[
    complete("exclusive: one sends, one receives", |_| {
        let (ring, sent) = (exclusive(2).ring(), Sent::default());
        let acknowledged =
            together(vec![consumes(ring.handle(1), 2, 1), sends(ring.handle(0), &sent, &[&[A], &[B]])]);
        ring.settle(sent.story(&[], acknowledged));
    }),
    complete("exclusive: a slot is freed and used again", |_| {
        let (ring, sent) = (exclusive(2).ring(), Sent::default());
        let producer = filled(&ring, 0, &[&[A], &[B]]);
        let acknowledged =
            together(vec![consumes(ring.handle(1), 2, 1), sends(producer, &sent, &[&[C], &[D]])]);
        ring.settle(sent.story(&[1, 2], acknowledged));
    }),
    complete("exclusive: batches are sent, taken, freed, and used again", |_| {
        let (ring, sent) = (exclusive(4).ring(), Sent::default());
        let producer = filled(&ring, 0, &[&[A, B], &[C]]);
        let acknowledged = together(vec![consumes(ring.handle(1), 2, 2), sends(producer, &sent, &[&[E, F]])]);
        ring.settle(sent.story(&[1, 2, 3], acknowledged));
    }),
    complete("exclusive: rows are sent, and taken one by one", |_| {
        let (ring, sent) = (Shape { most_in_row: 2, ..exclusive(8) }.ring(), Sent::default());
        let producer = filled(&ring, 0, &[&[A, B, C, D]]);
        let acknowledged = together(vec![consumes(ring.handle(1), 5, 1), sends(producer, &sent, &[&[E, F]])]);
        ring.settle(sent.story(&[1, 2, 3, 4], acknowledged));
    }),
    complete("exclusive: wide items are sent past a gap at the end, and taken", |_| {
        let (ring, sent) = (Shape { wide: true, base: 3, ..exclusive(4) }.ring(), Sent::default());
        let acknowledged =
            together(vec![consumes(ring.handle(1), 2, 1), sends(ring.handle(0), &sent, &[&[WIDE], &[A]])]);
        ring.settle(sent.story(&[], acknowledged));
    }),
    complete("exclusive: wide items in the lap in which old inner words are rewritten", |_| {
        let base = ringpipe::internal::protocol::word::REFRESH_PERIOD * 3 / 2;
        let (ring, sent) = (Shape { wide: true, aged: true, base, ..exclusive(4) }.ring(), Sent::default());
        let producer = filled(&ring, 0, &[&[WIDE]]);
        let acknowledged =
            together(vec![consumes(ring.handle(1), 2, 1), sends(producer, &sent, &[&[WIDER], &[A], &[B]])]);
        ring.settle(sent.story(&[5], acknowledged));
    }),
    complete("exclusive: a batch with a wide item is freed one by one, and its slots used again", |_| {
        let (ring, sent) = (Shape { wide: true, base: 1, ..exclusive(8) }.ring(), Sent::default());
        let producer = filled(&ring, 0, &[&[A, WIDE], &[B, WIDER], &[C]]);
        let acknowledged = together(vec![
            part(ring.handle(1), |consumer| {
                consumer.take(2).map(|taken| consumer.acknowledge_each(taken)).unwrap_or_default()
            }),
            sends(producer, &sent, &[&[D], &[WIDEST]]),
        ]);
        ring.settle(sent.story(&[1, 2, 3, 5, 6], acknowledged));
    }),
    complete("exclusive: a batch with a wide item is freed as one, and its slots used again", |_| {
        let (ring, sent) = (Shape { wide: true, base: 1, ..exclusive(8) }.ring(), Sent::default());
        let producer = filled(&ring, 0, &[&[A, WIDE], &[B, WIDER], &[C]]);
        let acknowledged =
            together(vec![consumes(ring.handle(1), 1, 2), sends(producer, &sent, &[&[D], &[WIDEST]])]);
        ring.settle(sent.story(&[1, 2, 3, 5, 6], acknowledged));
    }),
    Scenario {
        deaths: 6,
        ..complete(
            "an exclusive producer of a wide item has died, its item is taken while another one follows",
            |steps| {
                let (ring, sent) = (Shape { wide: true, ..exclusive(4) }.ring(), Sent::default());
                let victim = ring.handle(0);
                let died = mortal(steps, || victim.send(&[WIDE])).is_none();
                let acknowledged = together(vec![
                    part(ring.handle(0), {
                        let sent = sent.clone();
                        move |follower| {
                            follower.slots.resume_tail();
                            (0..follower.send(&[A])).for_each(|_| sent.note(1));
                            Vec::new()
                        }
                    }),
                    consumes(ring.handle(1), 2, 1),
                ]);
                let mut story = sent.story(&[], acknowledged);
                match died {
                    true => story.perhaps_sent = vec![5],
                    false => story.sent.push(5),
                }
                ring.settle(story);
            },
        )
    },
    dying("an exclusive producer dies in a batch, and another one follows", 3, 6, |steps| {
        let (ring, sent) = (Shape { mortal: Some(0), ..exclusive(4) }.ring(), Sent::default());
        let victim = filled(&ring, 0, &[&[C]]);
        let follower = ring.handle(0);
        let dead = Arc::new(Mutex::new(false));
        let acknowledged = together(vec![
            consumes(ring.handle(1), 2, 2),
            part(victim, {
                let (dead, sent) = (dead.clone(), sent.clone());
                move |victim| {
                    if mortal(steps, || victim.send(&[A, B])).is_none() {
                        *dead.lock().unwrap() = true;
                    } else {
                        [1, 2].iter().for_each(|id| sent.note(*id));
                    }
                    // The lock of its number is handed on by the kernel; here by being the same thread.
                    follower.slots.resume_tail();
                    (0..follower.send(&[D])).for_each(|_| sent.note(4));
                    Vec::new()
                }
            }),
        ]);
        let mut story = sent.story(&[3], acknowledged);
        if *dead.lock().unwrap() {
            story.perhaps_sent = vec![1, 2];
        }
        ring.settle(story);
    }),
];

const fn dying(name: &'static str, preemptions: usize, deaths: u32, run: fn(u32)) -> Scenario {
    Scenario { name, preemptions: Some(preemptions), deaths, run }
}
