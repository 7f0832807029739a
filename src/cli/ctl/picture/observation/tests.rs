//! Slots that change while they are observed.

use super::*;
use crate::cli::ctl::picture::changes::{Tally, between};
use crate::{Consumer, Producer, Ring, RingOptions};

/// A ring of four slots of 16 bytes, which is watched.
struct Stage {
    ring: Ring,
    producer: Producer,
    consumer: Consumer,
    watched: Watched,
}

impl Stage {
    fn new(what: &str) -> Self {
        let name = format!("watch-{what}-{}", std::process::id());
        let ring = RingOptions::new().capacity(4).slot_size(16).create(&name).unwrap();
        let (producer, consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
        let watched = Watched::new((*ring).clone()).unwrap();
        Stage { ring, producer, consumer, watched }
    }
}

/// What is described after this observation.
fn told_of(watched: &mut Watched, look: Observation) -> Vec<String> {
    let before = watched.go_on_to(look);
    let told = between(&before, watched, &mut Tally::new(&before));
    told.into_iter().map(|(_, sentence)| sentence).collect()
}

/// The same of an observation in which the item of the first slot could not be read.
fn told_without_its_item(watched: &mut Watched) -> Vec<String> {
    let mut look = Observation::new(&watched.ring).unwrap();
    look.slots[0].item = None;
    told_of(watched, look)
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.ring.remove().unwrap();
    }
}

#[test]
fn an_item_that_cannot_be_read_keeps_the_name_that_it_had_at_its_position() {
    let mut stage = Stage::new("keeps");
    let me = std::process::id();
    stage.producer.send(b"first").unwrap();
    stage.watched.observe().unwrap();
    let held = stage.consumer.recv().unwrap();
    let takes = format!("consumer {me} takes item 0 from slot 0");
    assert_eq!(told_without_its_item(&mut stage.watched), [takes]);
    assert_eq!(stage.watched.last.slots[0].item.as_ref().unwrap().beginning, b"first");
    // And what was remembered is remembered again.
    assert_eq!(told_without_its_item(&mut stage.watched), [""; 0]);
    held.ack();
    let look = Observation::new(&stage.watched.ring).unwrap();
    let done = format!("consumer {me} is done with item 0: slot 0 is free");
    assert_eq!(told_of(&mut stage.watched, look), [done]);
}

#[test]
fn an_item_of_the_next_lap_does_not_get_the_name_that_the_last_one_left_in_its_slot() {
    let mut stage = Stage::new("lap");
    stage.producer.send(b"first").unwrap();
    stage.consumer.recv().unwrap().ack();
    stage.watched.observe().unwrap();
    let left = stage.watched.last.slots[0].clone();
    assert!(left.item.is_some(), "a free slot shows its latest item, at the position of the next one");
    for _ in 0..3 {
        stage.producer.send(b"between").unwrap();
        stage.consumer.recv().unwrap().ack();
    }
    stage.producer.send(b"next").unwrap();
    told_without_its_item(&mut stage.watched);
    let now = &stage.watched.last.slots[0];
    assert!(now.slot.position == left.slot.position && now.is_unread(), "{now:?} after {left:?}");
}

#[test]
fn slots_whose_item_could_not_be_read_are_read_again_up_to_where_items_begin() {
    let mut stage = Stage::new("again");
    // An item of two slots, and another one.
    stage.producer.send(&[7; 24]).unwrap();
    stage.producer.send(b"other").unwrap();
    let ring = stage.watched.ring.clone();
    let observed = || Observation::new(&ring).unwrap().slots;
    let facts = |slots: &[Seen]| format!("{slots:?}");
    let unread = || {
        let mut slots = observed();
        assert_eq!((slots[0].slot.parts, slots[2].slot.parts), (2, 1));
        slots[0].item = None;
        slots
    };
    let mut slots = unread();
    read_again(&mut slots, &ring);
    assert_eq!(facts(&slots), facts(&observed()));
    let mut slots = unread();
    stage.consumer.recv().unwrap().ack();
    read_again(&mut slots, &ring);
    assert_eq!(slots[1].slot.state, SlotState::Free, "it is not inside of an item that is gone");
    assert_eq!(facts(&slots), facts(&observed()));
}
