//! Claims that are given up or given back, writers that are passed, and slots that are stepped over.

use super::*;
use ringpipe::internal::protocol::{Claim, NoItem};

pub const ALL: &[Scenario] = &[
    bounded("given up, and passed, and used again", 3, |_| {
        let (ring, sent) = (many(2).ring(), Sent::default());
        filled(&ring, 1, &[&[A]]);
        let acknowledged = together(vec![
            part(ring.handle(1), {
                let sent = sent.clone();
                move |producer| {
                    if let Some((claim, 1)) = producer.claim(&[B]) {
                        producer.write(claim, &[B]);
                        producer.slots.abandon(claim);
                    }
                    (0..producer.send(&[C])).for_each(|_| sent.note(3));
                    Vec::new()
                }
            }),
            consumes(ring.handle(3), 2, 1),
            sends(ring.handle(2), &sent, &[&[D]]),
        ]);
        ring.settle(sent.story(&[1], acknowledged));
    }),
    bounded("given back, taken again, used again", 3, |_| {
        let (ring, sent) = (many(2).ring(), Sent::default());
        filled(&ring, 1, &[&[A], &[B]]);
        let acknowledged = together(vec![
            part(ring.handle(3), |consumer| {
                if let Ok(taken) = consumer.take(1) {
                    consumer.give_back(taken);
                }
                Vec::new()
            }),
            part(ring.handle(4), |consumer| {
                consumer.take_returned().map(|taken| consumer.acknowledge(taken)).unwrap_or_default()
            }),
            sends(ring.handle(2), &sent, &[&[C]]),
        ]);
        ring.settle(sent.story(&[1, 2], acknowledged));
    }),
    bounded("a held item is stepped over, given back, and taken under its name", 3, |_| {
        // Not from 0 on: that is the name in an unwritten word.
        let (ring, sent) = (Shape { named: true, base: 3, ..many(2) }.ring(), Sent::default());
        filled(&ring, 1, &[&[A], &[B]]);
        let holder = ring.handle(3);
        let taken = holder.take(1).expect("an item");
        ring.handle(5).consume(1);
        let acknowledged = together(vec![
            part(holder, |holder| {
                holder.give_back(taken);
                Vec::new()
            }),
            part(ring.handle(4), |consumer| {
                consumer.take_returned().map(|taken| consumer.acknowledge(taken)).unwrap_or_default()
            }),
            sends(ring.handle(2), &sent, &[&[C]]),
        ]);
        ring.settle(sent.story(&[1], acknowledged));
    }),
    complete("what was given back is found by a consumer that searches only when it is told", |_| {
        let ring = many(2).ring();
        filled(&ring, 1, &[&[A]]);
        let giver = ring.handle(3);
        let taken = giver.take(1).expect("an item");
        let looker = ring.handle(4);
        let acknowledged = together(vec![
            part(giver, |giver| {
                giver.give_back(taken);
                Vec::new()
            }),
            part(looker, |looker| looker.look()),
        ]);
        // As the library's last look before a sleep: what was announced by now is found.
        let acknowledged = match acknowledged.is_empty() {
            true => ring.handle(5).look(),
            false => acknowledged,
        };
        assert_eq!(acknowledged, [1], "a returned item that no search finds");
        ring.settle(Story { sent: vec![1], acknowledged, ..Story::default() });
    }),
    bounded("a batch is given back, and its second item taken again", 3, |_| {
        let (ring, sent) = (many(4).ring(), Sent::default());
        filled(&ring, 1, &[&[A, B], &[C, D]]);
        let acknowledged = together(vec![
            part(ring.handle(3), |consumer| {
                if let Ok(taken) = consumer.take(2) {
                    consumer.give_back(taken);
                }
                Vec::new()
            }),
            part(ring.handle(4), |consumer| {
                let mut ids = Vec::new();
                while let Some(taken) = consumer.take_returned() {
                    ids.extend(consumer.acknowledge(taken));
                }
                ids
            }),
        ]);
        ring.settle(sent.story(&[1, 2, 3, 4], acknowledged));
    }),
    complete("a consumer told of a returned item finds it", |_| {
        let ring = many(2).ring();
        filled(&ring, 1, &[&[A]]);
        let holder = ring.handle(3);
        let taken = holder.take(1).expect("an item was sent");
        let acknowledged = together(vec![
            part(ring.handle(4), |consumer| {
                if !consumer.has_events() {
                    return Vec::new();
                }
                let taken = consumer.take_returned().expect("what was announced is there");
                consumer.acknowledge(taken)
            }),
            part(holder, move |holder| {
                holder.give_back(taken);
                Vec::new()
            }),
        ]);
        ring.settle(Sent::default().story(&[1], acknowledged));
    }),
    bounded("a held slot is stepped over while its holder acknowledges", 3, |_| {
        let (ring, sent) = (many(2).ring(), Sent::default());
        filled(&ring, 1, &[&[A], &[B]]);
        let (holder, other) = (ring.handle(3), ring.handle(4));
        let taken = holder.take(1).expect("an item was sent");
        let before = other.consume(1);
        let mut acknowledged = together(vec![
            sends(ring.handle(2), &sent, &[&[C], &[D]]),
            part(holder, move |holder| holder.acknowledge(taken)),
            consumes(other, 1, 1),
        ]);
        acknowledged.extend(before);
        ring.settle(sent.story(&[1, 2], acknowledged));
    }),
    bounded("a held slot is stepped over while its holder gives it back", 3, |_| {
        let (ring, sent) = (many(2).ring(), Sent::default());
        filled(&ring, 1, &[&[A], &[B]]);
        let (holder, other) = (ring.handle(3), ring.handle(4));
        let taken = holder.take(1).expect("an item was sent");
        let before = other.consume(1);
        let mut acknowledged = together(vec![
            sends(ring.handle(2), &sent, &[&[C]]),
            part(holder, move |holder| {
                holder.give_back(taken);
                Vec::new()
            }),
            part(other, |other| {
                other.take_returned().map(|taken| other.acknowledge(taken)).unwrap_or_default()
            }),
        ]);
        acknowledged.extend(before);
        ring.settle(sent.story(&[1, 2], acknowledged));
    }),
    bounded("a slow writer is passed, and publishes late", 3, |_| late_writer(false)),
    bounded("a slow writer is passed, and gives up late", 3, |_| late_writer(true)),
    bounded("a passed writer is stepped over", 2, |_| {
        let (ring, sent) = (many(2).ring(), Sent::default());
        let (slow, claim) = passed(&ring);
        let acknowledged = together(vec![
            part(slow, {
                let sent = sent.clone();
                move |slow| {
                    slow.write(claim, &[A]);
                    slow.publish(claim, &[A]);
                    sent.note(1);
                    Vec::new()
                }
            }),
            sends(ring.handle(2), &sent, &[&[B], &[C]]),
            consumes(ring.handle(3), 2, 1),
        ]);
        ring.settle(sent.story(&[], acknowledged));
    }),
    bounded("given up while another one comes round to the slot", 3, |_| {
        let (ring, sent) = (many(2).ring(), Sent::default());
        let acknowledged =
            together(vec![gives_up(ring.handle(1)), sends(ring.handle(2), &sent, &[&[B], &[C]])]);
        ring.settle(sent.story(&[], acknowledged));
    }),
    bounded("given up, stepped over, and used again", 3, |_| {
        let (ring, sent) = (many(2).ring(), Sent::default());
        let acknowledged = together(vec![
            gives_up(ring.handle(1)),
            consumes(ring.handle(3), 1, 1),
            sends(ring.handle(2), &sent, &[&[B], &[C]]),
        ]);
        ring.settle(sent.story(&[], acknowledged));
    }),
    bounded("a batch is sent, given back, and taken again", 2, |_| {
        // The last consumer has nothing from the producer but what the one in between passed on.
        let (ring, sent) = (many(4).ring(), Sent::default());
        let acknowledged = together(vec![
            sends(ring.handle(1), &sent, &[&[A, B]]),
            part(ring.handle(3), |consumer| {
                if let Ok(taken) = consumer.take(2) {
                    consumer.give_back(taken);
                }
                Vec::new()
            }),
            part(ring.handle(4), |consumer| {
                let taken = consumer.take_returned();
                taken.map(|taken| consumer.acknowledge(taken)).unwrap_or_default()
            }),
        ]);
        ring.settle(sent.story(&[], acknowledged));
    }),
];

/// Claims, writes, and gives up.
fn gives_up(handle: Handle) -> Part {
    part(handle, |producer| {
        if let Some((claim, 1)) = producer.claim(&[A]) {
            producer.write(claim, &[A]);
            producer.slots.abandon(claim);
        }
        Vec::new()
    })
}

/// A writer that has a claim, and is passed.
fn passed(ring: &Ring) -> (Handle, Claim) {
    let slow = ring.handle(1);
    let (claim, _) = slow.claim(&[A]).expect("an empty ring");
    let other = ring.handle(3);
    let Err(NoItem::Writing(position, word)) = other.take(1) else {
        panic!("nothing but a writer is there");
    };
    assert!(other.slots.pass_writer(position, word));
    assert!(other.take(1).is_err());
    (slow, claim)
}

fn late_writer(gives_up: bool) {
    let (ring, sent) = (many(2).ring(), Sent::default());
    let slow = ring.handle(1);
    let (claim, _) = slow.claim(&[A]).expect("an empty ring");
    let acknowledged = together(vec![
        part(ring.handle(3), |consumer| {
            let mut ids = match consumer.take(1) {
                Ok(taken) => consumer.acknowledge(taken),
                Err(NoItem::Writing(position, word)) => {
                    consumer.slots.pass_writer(position, word);
                    consumer.consume(1)
                }
                Err(_) => Vec::new(),
            };
            ids.extend(consumer.take_returned().map(|taken| consumer.acknowledge(taken)).unwrap_or_default());
            ids
        }),
        part(slow, {
            let sent = sent.clone();
            move |slow| {
                slow.write(claim, &[A]);
                if gives_up {
                    slow.slots.abandon(claim);
                } else {
                    slow.publish(claim, &[A]);
                    sent.note(1);
                }
                Vec::new()
            }
        }),
        sends(ring.handle(2), &sent, &[&[B]]),
    ]);
    ring.settle(sent.story(&[], acknowledged));
}
