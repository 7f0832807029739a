//! Sending and receiving, one by one, in batches, and items of several slots.

use super::*;

pub const ALL: &[Scenario] = &[
    complete("one sends, one receives", |_| {
        let (ring, sent) = (many(2).ring(), Sent::default());
        let acknowledged =
            together(vec![consumes(ring.handle(3), 2, 1), sends(ring.handle(1), &sent, &[&[A], &[B]])]);
        ring.settle(sent.story(&[], acknowledged));
    }),
    complete("a full ring, one slot is freed and used again", |_| {
        let (ring, sent) = (many(2).ring(), Sent::default());
        let producer = filled(&ring, 1, &[&[A], &[B]]);
        let acknowledged = together(vec![
            consumes(ring.handle(3), 1, 1),
            part(producer, {
                let sent = sent.clone();
                move |producer| {
                    for _ in 0..2 {
                        (0..producer.send(&[C])).for_each(|_| sent.note(3));
                        if sent.0.lock().unwrap().contains(&3) {
                            break;
                        }
                    }
                    Vec::new()
                }
            }),
        ]);
        ring.settle(sent.story(&[1, 2], acknowledged));
    }),
    bounded("two send, one receives", 3, |_| {
        let (ring, sent) = (many(2).ring(), Sent::default());
        let acknowledged = together(vec![
            consumes(ring.handle(3), 2, 1),
            sends(ring.handle(1), &sent, &[&[A]]),
            sends(ring.handle(2), &sent, &[&[B]]),
        ]);
        ring.settle(sent.story(&[], acknowledged));
    }),
    bounded("one sends into what two free", 3, |_| {
        let (ring, sent) = (many(2).ring(), Sent::default());
        let producer = filled(&ring, 1, &[&[A], &[B]]);
        let acknowledged = together(vec![
            sends(producer, &sent, &[&[C], &[D]]),
            consumes(ring.handle(3), 1, 1),
            consumes(ring.handle(4), 1, 1),
        ]);
        ring.settle(sent.story(&[1, 2], acknowledged));
    }),
    complete("a batch is sent and taken as one", |_| {
        let (ring, sent) = (many(4).ring(), Sent::default());
        let acknowledged =
            together(vec![consumes(ring.handle(3), 1, 2), sends(ring.handle(1), &sent, &[&[A, B]])]);
        ring.settle(sent.story(&[], acknowledged));
    }),
    complete("a batch is freed, and used again by a batch", |_| {
        let (ring, sent) = (many(4).ring(), Sent::default());
        filled(&ring, 1, &[&[A, B], &[C, D]]);
        let acknowledged =
            together(vec![consumes(ring.handle(3), 1, 2), sends(ring.handle(2), &sent, &[&[E, F]])]);
        ring.settle(sent.story(&[1, 2, 3, 4], acknowledged));
    }),
    complete("a batch is acknowledged one by one, and its slots are used again", |_| {
        let (ring, sent) = (many(4).ring(), Sent::default());
        filled(&ring, 1, &[&[A, B], &[C, D]]);
        let acknowledged = together(vec![
            part(ring.handle(3), |consumer| {
                consumer.take(2).map(|taken| consumer.acknowledge_each(taken)).unwrap_or_default()
            }),
            sends(ring.handle(2), &sent, &[&[E], &[F]]),
        ]);
        ring.settle(sent.story(&[1, 2, 3, 4], acknowledged));
    }),
    complete("a wide item beside a single one, sent and taken as a batch", |_| {
        let (ring, sent) = (Shape { wide: true, ..many(8) }.ring(), Sent::default());
        let acknowledged =
            together(vec![consumes(ring.handle(3), 1, 2), sends(ring.handle(1), &sent, &[&[A, WIDE]])]);
        ring.settle(sent.story(&[], acknowledged));
    }),
    complete("a batch with a wide item is freed, and its slots are used again", |_| {
        let (ring, sent) = (Shape { wide: true, ..many(8) }.ring(), Sent::default());
        filled(&ring, 1, &[&[A, WIDE], &[B, WIDER], &[C, D]]);
        let acknowledged =
            together(vec![consumes(ring.handle(3), 1, 2), sends(ring.handle(2), &sent, &[&[E, WIDEST]])]);
        ring.settle(sent.story(&[1, 2, 3, 4, 5, 6], acknowledged));
    }),
    bounded("the same, and the counter is moved between the two", 3, |_| wide_is_split(1)),
    bounded("wide items into the lap in which old inner words are rewritten", 3, |_| {
        let shape = Shape { wide: true, aged: true, base: REFRESHED - 2, ..many(4) };
        let (ring, sent) = (shape.ring(), Sent::default());
        filled(&ring, 1, &[&[A], &[B]]);
        let acknowledged = together(vec![
            consumes(ring.handle(3), 3, 1),
            sends(ring.handle(2), &sent, &[&[WIDE], &[WIDER]]),
        ]);
        ring.settle(sent.story(&[1, 2], acknowledged));
    }),
    bounded("rewritten inner words are used by others a lap later", 2, |_| {
        let shape = Shape { wide: true, aged: true, base: REFRESHED, ..many(4) };
        let (ring, sent) = (shape.ring(), Sent::default());
        filled(&ring, 1, &[&[WIDE], &[A], &[B]]);
        let acknowledged = together(vec![
            consumes(ring.handle(3), 1, 1),
            sends(ring.handle(1), &sent, &[&[E]]),
            sends(ring.handle(2), &sent, &[&[F]]),
        ]);
        ring.settle(sent.story(&[5, 1, 2], acknowledged));
    }),
    bounded("a batch into what a batch and others freed", 2, |_| {
        // The second producer passes a run whose inner slot it has not seen freed itself.
        let (ring, sent) = (Shape { wide: true, ..many(4) }.ring(), Sent::default());
        filled(&ring, 1, &[&[WIDE], &[A, B]]);
        let acknowledged = together(vec![
            consumes(ring.handle(3), 2, 1),
            sends(ring.handle(1), &sent, &[&[E, F]]),
            sends(ring.handle(2), &sent, &[&[G]]),
        ]);
        ring.settle(sent.story(&[1, 2, 5], acknowledged));
    }),
    bounded("wide items with padding before the ring's end", 3, |_| {
        let (ring, sent) = (Shape { wide: true, base: 3, ..many(4) }.ring(), Sent::default());
        let acknowledged =
            together(vec![consumes(ring.handle(3), 2, 1), sends(ring.handle(1), &sent, &[&[WIDE], &[A]])]);
        ring.settle(sent.story(&[], acknowledged));
    }),
    complete("claimed for more than is published", |_| {
        let (ring, sent) = (Shape { wide: true, ..many(4) }.ring(), Sent::default());
        let acknowledged = together(vec![
            consumes(ring.handle(3), 2, 2),
            part(ring.handle(1), {
                let sent = sent.clone();
                move |producer| {
                    if let Some((claim, 1)) = producer.claim(&[WIDE]) {
                        producer.write(claim, &[A]);
                        producer.slots.publish_part(claim, 1);
                        sent.note(1);
                    }
                    Vec::new()
                }
            }),
        ]);
        ring.settle(sent.story(&[], acknowledged));
    }),
    bounded("two send into what one frees", 3, |_| {
        let (ring, sent) = (many(2).ring(), Sent::default());
        filled(&ring, 1, &[&[A], &[B]]);
        let acknowledged = together(vec![
            consumes(ring.handle(3), 2, 1),
            sends(ring.handle(1), &sent, &[&[C]]),
            sends(ring.handle(2), &sent, &[&[D]]),
        ]);
        ring.settle(sent.story(&[1, 2], acknowledged));
    }),
    bounded("a wide item is freed, two send single ones into its slots", 3, |_| wide_is_split(0)),
    bounded("two take the items of one batch, one each", 3, |_| {
        // The second may come to its item by the counter alone.
        let (ring, sent) = (Shape { base: 1, ..many(4) }.ring(), Sent::default());
        let acknowledged = together(vec![
            sends(ring.handle(1), &sent, &[&[A, B]]),
            takes(ring.handle(3)),
            takes(ring.handle(4)),
        ]);
        ring.settle(sent.story(&[], acknowledged));
    }),
    bounded("two take the rows of one claim, one each", 3, |_| {
        // Rows of one item, so that the story is short. The second may come to its row by the counter alone.
        let (ring, sent) = (Shape { base: 1, most_in_row: 1, ..many(4) }.ring(), Sent::default());
        let acknowledged = together(vec![
            sends(ring.handle(1), &sent, &[&[A, B]]),
            takes(ring.handle(3)),
            takes(ring.handle(4)),
        ]);
        ring.settle(sent.story(&[], acknowledged));
    }),
    bounded("rows and a single item are taken at once, and their slots are used again", 2, |_| {
        let (ring, sent) = (many(8).ring(), Sent::default());
        filled(&ring, 1, &[&[A, B], &[C], &[D], &[G, H]]);
        let acknowledged =
            together(vec![consumes(ring.handle(3), 1, 4), sends(ring.handle(2), &sent, &[&[E, F], &[I, J]])]);
        ring.settle(sent.story(&[1, 2, 3, 4, 9, 10], acknowledged));
    }),
    bounded("one parts a row, another one takes its rest", 3, |_| {
        let (ring, sent) = (many(8).ring(), Sent::default());
        filled(&ring, 1, &[&[A, B, C]]);
        let acknowledged = together(vec![takes(ring.handle(3)), consumes(ring.handle(4), 1, 3)]);
        ring.settle(sent.story(&[1, 2, 3], acknowledged));
    }),
    bounded("two rows of one claim are sent, and taken by two", 3, |_| {
        let (ring, sent) = (Shape { most_in_row: 2, ..many(8) }.ring(), Sent::default());
        let acknowledged = together(vec![
            sends(ring.handle(1), &sent, &[&[A, B, C, D]]),
            consumes(ring.handle(3), 1, 2),
            consumes(ring.handle(4), 1, 2),
        ]);
        ring.settle(sent.story(&[], acknowledged));
    }),
    bounded("two take the items of one batch, one of them wide", 3, |_| {
        let (ring, sent) = (Shape { wide: true, base: 3, ..many(8) }.ring(), Sent::default());
        let acknowledged = together(vec![
            sends(ring.handle(1), &sent, &[&[A, WIDE]]),
            takes(ring.handle(3)),
            takes(ring.handle(4)),
        ]);
        ring.settle(sent.story(&[], acknowledged));
    }),
    bounded("a producer passes a claim, and goes on in what its owner saw freed", 2, |_| {
        // The inner slot of the wide item has no word that says when it was freed: the owner of the claim before
        // it knows, and a thread that passes that claim must learn it (E7).
        let (ring, sent) = (Shape { wide: true, ..many(4) }.ring(), Sent::default());
        filled(&ring, 1, &[&[A], &[WIDE], &[B]]);
        let acknowledged = together(vec![
            consumes(ring.handle(3), 2, 1),
            sends(ring.handle(1), &sent, &[&[E, F]]),
            sends(ring.handle(2), &sent, &[&[G]]),
        ]);
        ring.settle(sent.story(&[1, 2, 5], acknowledged));
    }),
    bounded("what was claimed for nothing is used again", 3, |_| {
        let (ring, sent) = (Shape { wide: true, ..many(4) }.ring(), Sent::default());
        filled(&ring, 1, &[&[A], &[B]]);
        let acknowledged = together(vec![
            part(ring.handle(1), {
                let sent = sent.clone();
                move |producer| {
                    if let Some((claim, 1)) = producer.claim(&[WIDE]) {
                        // All of the claim is written, and the first half of it published.
                        producer.write(claim, &[C, D]);
                        producer.slots.publish_part(claim, 1);
                        sent.note(3);
                    }
                    Vec::new()
                }
            }),
            consumes(ring.handle(3), 4, 1),
            sends(ring.handle(2), &sent, &[&[E], &[F], &[G], &[H]]),
        ]);
        ring.settle(sent.story(&[1, 2], acknowledged));
    }),
];

/// The first position of a lap in which inner words are rewritten, and a period after the one before.
const REFRESHED: u64 = ringpipe::internal::protocol::word::REFRESH_PERIOD * 3 / 2;

/// A wide item's inner slot has no word of its own that says when it was freed: its next producer knows by the
/// first slot's, or by the counter, or by the thread that passed the first slot.
fn wide_is_split(base: u64) {
    let (ring, sent) = (Shape { wide: true, base, ..many(4) }.ring(), Sent::default());
    filled(&ring, 1, &[&[WIDE], &[A], &[B]]);
    let acknowledged = together(vec![
        consumes(ring.handle(3), 1, 1),
        sends(ring.handle(1), &sent, &[&[E]]),
        sends(ring.handle(2), &sent, &[&[F]]),
    ]);
    ring.settle(sent.story(&[5, 1, 2], acknowledged));
}

/// A part that looks at head once, and nowhere else.
fn takes(handle: Handle) -> Part {
    part(handle, |handle| handle.take(1).map(|taken| handle.acknowledge(taken)).unwrap_or_default())
}
