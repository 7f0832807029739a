//! Looking without taking: for the end of the stream, and at what is there.

use super::super::world::{AtomicU64, Relaxed, SeqCst, fence};
use super::*;
use ringpipe::internal::protocol::word::Tag;

pub const ALL: &[Scenario] = &[
    bounded("an end is not seen while an item is claimed", 3, |_| {
        // As a consumer that looks for the end of the stream: `leave_out` names the waiting ones (E10).
        let ring = many(2).ring();
        filled(&ring, 1, &[&[A]]);
        let waits = Arc::new(AtomicU64::new(1));
        let acknowledged = together(vec![
            part(ring.handle(4), {
                let waits = waits.clone();
                move |other| {
                    let held = other.slots.find_held(|word| word.owner() == 3 && waits.load(Relaxed) == 1);
                    assert!(held.is_some(), "the item is held, or waits");
                    if let Some(slot) = held {
                        other.slots.is_held(slot, |_| false);
                    }
                    Vec::new()
                }
            }),
            part(ring.handle(3), move |consumer| {
                waits.store(0, Relaxed);
                drop(consumer.take(1).expect("an item was sent"));
                Vec::new()
            }),
        ]);
        assert!(acknowledged.is_empty());
    }),
    bounded("a producer that claims and a consumer that ends do not miss each other", 3, |_| {
        // E4 as in `membership/stream_end.rs` and `handles/send/claim.rs`: claim, fence, read the state; close,
        // fence, look for claims, read the stream state.
        let (ring, stream) = (many(2).ring(), Arc::new(AtomicU64::new(0)));
        let sent = Sent::default();
        let ended = Arc::new(Mutex::new(false));
        let parts = vec![
            part(ring.handle(3), {
                let (stream, ended) = (stream.clone(), ended.clone());
                move |consumer| {
                    stream.store(1, SeqCst);
                    fence(SeqCst);
                    *ended.lock().unwrap() = consumer.slots.find_held(|_| false).is_none();
                    Vec::new()
                }
            }),
            part(ring.handle(1), {
                let sent = sent.clone();
                move |producer| {
                    let (claim, _) = producer.claim(&[A]).expect("an empty ring");
                    fence(SeqCst);
                    if stream.load(SeqCst) == 1 {
                        producer.slots.abandon(claim);
                    } else {
                        producer.write(claim, &[A]);
                        producer.publish(claim, &[A]);
                        sent.note(1);
                    }
                    Vec::new()
                }
            }),
        ];
        let acknowledged = together(parts);
        let story = sent.story(&[], acknowledged);
        assert!(!*ended.lock().unwrap() || story.sent.is_empty(), "the stream ended with an item on its way");
        ring.settle(story);
    }),
    bounded("an end is not seen while a returned item is claimed", 3, |_| {
        let ring = many(2).ring();
        filled(&ring, 1, &[&[A]]);
        let before = ring.handle(3);
        before.give_back(before.take(1).expect("an item was sent"));
        let waits = Arc::new(AtomicU64::new(1));
        together(vec![
            looks_for_the_end(ring.handle(4), waits.clone()),
            part(ring.handle(3), move |consumer| {
                // Relaxed: E10 has to order it.
                waits.store(0, Relaxed);
                drop(consumer.take_returned().expect("an item was returned"));
                Vec::new()
            }),
        ]);
    }),
    complete("a thread that sees an item may read it", |_| {
        let (ring, sent) = (many(2).ring(), Sent::default());
        let acknowledged = together(vec![
            part(ring.handle(4), |observer| {
                observer.slots.survey(|seen| {
                    if seen.word.tag() == Tag::Ready {
                        assert_eq!(observer.peek(seen.slot), 1);
                    }
                });
                Vec::new()
            }),
            sends(ring.handle(1), &sent, &[&[A]]),
        ]);
        ring.settle(sent.story(&[], acknowledged));
    }),
];

/// Looks for the end of the stream: a waiting consumer does not count as holding an item.
fn looks_for_the_end(handle: Handle, waits: Arc<AtomicU64>) -> Part {
    part(handle, move |other| {
        let held = other.slots.find_held(|word| word.owner() == 3 && waits.load(Relaxed) == 1);
        assert!(held.is_some(), "the item is held, or waits");
        Vec::new()
    })
}
