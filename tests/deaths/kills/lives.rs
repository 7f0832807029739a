//! What victims do: each attaches, brings itself to its operation, and acts.

use std::time::Duration;

use ringpipe::{OnFull, Ring};

use crate::kills::trace::Stage;
use crate::kills::world::{PATIENCE, SHORT, SLOT_SIZE, WIDE, id_of, payload};

/// The first item that a victim sends; the next ones count on.
pub const MINE: u64 = 101;
const A_MOMENT: Duration = Duration::from_millis(1);

pub fn send(stage: &Stage, ring: &Ring) {
    let mut producer = ring.producer().expect("a place");
    let bytes = payload(MINE);
    stage.act(|| (producer.send(&bytes).is_ok() as u64, ()));
}

pub fn try_send(stage: &Stage, ring: &Ring) {
    let mut producer = ring.producer().expect("a place");
    let bytes = payload(MINE);
    stage.act(|| (producer.try_send(&bytes).is_ok() as u64, ()));
}

pub fn send_a_moment(stage: &Stage, ring: &Ring) {
    let mut producer = ring.producer().expect("a place");
    let bytes = payload(MINE);
    stage.act(|| (producer.send_timeout(&bytes, A_MOMENT).is_ok() as u64, ()));
}

pub fn send_dropping(stage: &Stage, ring: &Ring) {
    let mut producer = ring.producer().expect("a place");
    producer.set_on_full(OnFull::DropOldest).expect("a ring for many");
    let bytes = payload(MINE);
    stage.act(|| (producer.send(&bytes).is_ok() as u64, ()));
}

pub fn send_wide(stage: &Stage, ring: &Ring) {
    let mut producer = ring.producer().expect("a place");
    let bytes = payload(WIDE + MINE);
    stage.act(|| (producer.send(&bytes).is_ok() as u64, ()));
}

pub fn send_wide_a_moment(stage: &Stage, ring: &Ring) {
    let mut producer = ring.producer().expect("a place");
    let bytes = payload(WIDE + MINE);
    stage.act(|| (producer.send_timeout(&bytes, A_MOMENT).is_ok() as u64, ()));
}

pub fn send_wide_dropping(stage: &Stage, ring: &Ring) {
    let mut producer = ring.producer().expect("a place");
    producer.set_on_full(OnFull::DropOldest).expect("a ring for many");
    let bytes = payload(WIDE + MINE);
    stage.act(|| (producer.send(&bytes).is_ok() as u64, ()));
}

pub fn send_three(stage: &Stage, ring: &Ring) {
    let mut producer = ring.producer().expect("a place");
    let items = [payload(MINE), payload(MINE + 1), payload(MINE + 2)];
    stage.act(|| (producer.send_batch(&items).map_or(0, |sent| sent as u64), ()));
}

fn three() -> [[u8; SHORT]; 3] {
    [MINE, MINE + 1, MINE + 2].map(|id| payload(id).try_into().expect("one slot"))
}

pub fn send_packed(stage: &Stage, ring: &Ring) {
    let mut producer = ring.producer().expect("a place");
    let packed = three().concat();
    stage.act(|| (producer.send_packed(&packed).map_or(0, |sent| sent as u64), ()));
}

pub fn send_typed(stage: &Stage, ring: &Ring) {
    let mut producer = ring.producer().expect("a place").typed::<[u8; SHORT]>();
    let values = three();
    stage.act(|| (producer.send_batch(&values).map_or(0, |sent| sent as u64), ()));
}

pub fn send_mixed(stage: &Stage, ring: &Ring) {
    let mut producer = ring.producer().expect("a place");
    let items = [payload(MINE), payload(WIDE + MINE)];
    stage.act(|| (producer.send_batch(&items).map_or(0, |sent| sent as u64), ()));
}

pub fn reserve_and_commit(stage: &Stage, ring: &Ring) {
    let mut producer = ring.producer().expect("a place");
    let bytes = payload(MINE);
    stage.act(|| {
        let mut reservation = producer.reserve(bytes.len() as u64).expect("room");
        reservation.write_at(0, &bytes);
        reservation.commit();
        (1, ())
    });
}

/// Three slots are reserved, and one is used.
pub fn commit_a_part(stage: &Stage, ring: &Ring) {
    let mut producer = ring.producer().expect("a place");
    let bytes = payload(MINE);
    let mut reservation = producer.reserve(3 * SLOT_SIZE).expect("room");
    stage.act(|| {
        reservation.write_at(0, &bytes);
        reservation.commit_first(bytes.len() as u64);
        (1, ())
    });
}

pub fn commit(stage: &Stage, ring: &Ring) {
    let mut producer = ring.producer().expect("a place");
    let bytes = payload(MINE);
    let mut reservation = producer.reserve(bytes.len() as u64).expect("room");
    reservation.write_at(0, &bytes);
    stage.act(|| {
        reservation.commit();
        (1, ())
    });
}

pub fn reserve_and_drop(stage: &Stage, ring: &Ring) {
    let mut producer = ring.producer().expect("a place");
    stage.act(|| {
        drop(producer.reserve(SHORT as u64).expect("room"));
        (0, ())
    });
}

pub fn drop_reserved(stage: &Stage, ring: &Ring) {
    let mut producer = ring.producer().expect("a place");
    let reservation = producer.reserve(SHORT as u64).expect("room");
    stage.act(|| {
        drop(reservation);
        (0, ())
    });
}

pub fn reserve_wide_and_drop(stage: &Stage, ring: &Ring) {
    let mut producer = ring.producer().expect("a place");
    stage.act(|| {
        drop(producer.reserve(3 * SLOT_SIZE).expect("room"));
        (0, ())
    });
}

pub fn recv(stage: &Stage, ring: &Ring) {
    let mut consumer = ring.consumer().expect("a place");
    let item = stage.act(|| {
        let item = consumer.recv();
        (item.is_ok() as u64, item)
    });
    drop(item);
}

/// The first look is a thorough one; this is what follows.
pub fn recv_second(stage: &Stage, ring: &Ring) {
    let mut consumer = ring.consumer().expect("a place");
    consumer.recv().expect("an item").ack();
    let item = stage.act(|| {
        let item = consumer.recv();
        (item.is_ok() as u64, item)
    });
    drop(item);
}

pub fn try_recv(stage: &Stage, ring: &Ring) {
    let mut consumer = ring.consumer().expect("a place");
    let item = stage.act(|| {
        let item = consumer.try_recv();
        (item.is_ok() as u64, item)
    });
    drop(item);
}

pub fn recv_a_moment(stage: &Stage, ring: &Ring) {
    let mut consumer = ring.consumer().expect("a place");
    let item = stage.act(|| {
        let item = consumer.recv_timeout(A_MOMENT);
        (item.is_ok() as u64, item)
    });
    drop(item);
}

/// Long enough that the writer at head is passed.
pub fn recv_patiently(stage: &Stage, ring: &Ring) {
    let mut consumer = ring.consumer().expect("a place");
    let item = stage.act(|| {
        let item = consumer.recv_timeout(PATIENCE);
        (item.is_ok() as u64, item)
    });
    drop(item);
}

fn recv_up_to(most: usize, stage: &Stage, ring: &Ring) {
    let mut consumer = ring.consumer().expect("a place");
    let batch = stage.act(|| {
        let batch = consumer.recv_batch(most);
        (batch.as_ref().map_or(0, |batch| batch.len() as u64), batch)
    });
    drop(batch);
}

pub fn recv_four(stage: &Stage, ring: &Ring) {
    recv_up_to(4, stage, ring);
}

pub fn recv_two(stage: &Stage, ring: &Ring) {
    recv_up_to(2, stage, ring);
}

pub fn recv_three(stage: &Stage, ring: &Ring) {
    recv_up_to(3, stage, ring);
}

/// How many items are whole, one behind the other.
fn whole<'b>(items: impl Iterator<Item = &'b [u8]>) -> u64 {
    items.filter(|bytes| id_of(bytes).is_some()).count() as u64
}

pub fn recv_packed(stage: &Stage, ring: &Ring) {
    let mut consumer = ring.consumer().expect("a place");
    let mut packed = [0; 4 * SHORT];
    let batch = stage.act(|| {
        let batch = consumer.recv_batch(4).expect("items");
        let copied = batch.copy_packed(&mut packed);
        (whole(packed.chunks(SHORT).take(copied)), batch)
    });
    drop(batch);
}

pub fn recv_packed_and_ack(stage: &Stage, ring: &Ring) {
    let mut consumer = ring.consumer().expect("a place");
    let mut packed = [0; 4 * SHORT];
    stage.act(|| {
        let batch = consumer.recv_batch(4).expect("items");
        let copied = batch.copy_packed(&mut packed);
        batch.ack();
        (whole(packed.chunks(SHORT).take(copied)), ())
    });
}

pub fn recv_typed_and_ack(stage: &Stage, ring: &Ring) {
    let mut consumer = ring.consumer().expect("a place").typed::<[u8; SHORT]>();
    stage.act(|| {
        let batch = consumer.recv_batch(4).expect("items");
        let values = batch.values().expect("any bytes are valid");
        batch.ack();
        (whole(values.iter().map(|value| &value[..])), ())
    });
}

pub fn recv_and_ack(stage: &Stage, ring: &Ring) {
    let mut consumer = ring.consumer().expect("a place");
    stage.act(|| {
        consumer.recv().expect("an item").ack();
        (1, ())
    });
}

pub fn ack(stage: &Stage, ring: &Ring) {
    let mut consumer = ring.consumer().expect("a place");
    let item = consumer.recv_timeout(PATIENCE).expect("an item");
    stage.act(|| {
        item.ack();
        (1, ())
    });
}

pub fn give_back(stage: &Stage, ring: &Ring) {
    let mut consumer = ring.consumer().expect("a place");
    let item = consumer.recv_timeout(PATIENCE).expect("an item");
    stage.act(|| {
        item.give_back();
        (1, ())
    });
}

pub fn ack_first(stage: &Stage, ring: &Ring) {
    let mut consumer = ring.consumer().expect("a place");
    let mut batch = consumer.recv_batch(4).expect("items");
    stage.act(|| (batch.ack_first() as u64, ()));
    drop(batch);
}

pub fn ack_first_two(stage: &Stage, ring: &Ring) {
    let mut consumer = ring.consumer().expect("a place");
    let mut batch = consumer.recv_batch(4).expect("items");
    stage.act(|| (batch.ack_first() as u64 + batch.ack_first() as u64, ()));
    drop(batch);
}

/// All but the first, which was acknowledged before.
pub fn give_rest_back(stage: &Stage, ring: &Ring) {
    let mut consumer = ring.consumer().expect("a place");
    let mut batch = consumer.recv_batch(4).expect("items");
    batch.ack_first();
    stage.act(|| {
        batch.give_back();
        (1, ())
    });
}

/// All but the first, which was acknowledged before.
pub fn ack_rest(stage: &Stage, ring: &Ring) {
    let mut consumer = ring.consumer().expect("a place");
    let mut batch = consumer.recv_batch(4).expect("items");
    batch.ack_first();
    let many = batch.len() as u64;
    stage.act(|| {
        batch.ack();
        (many, ())
    });
}

pub fn ack_all(stage: &Stage, ring: &Ring) {
    let mut consumer = ring.consumer().expect("a place");
    let batch = consumer.recv_batch(4).expect("items");
    let many = batch.len() as u64;
    stage.act(|| {
        batch.ack();
        (many, ())
    });
}

pub fn give_all_back(stage: &Stage, ring: &Ring) {
    let mut consumer = ring.consumer().expect("a place");
    let batch = consumer.recv_batch(4).expect("items");
    stage.act(|| {
        batch.give_back();
        (1, ())
    });
}

pub fn attach_producer(stage: &Stage, ring: &Ring) {
    drop(stage.act(|| (1, ring.producer())));
}

pub fn attach_consumer(stage: &Stage, ring: &Ring) {
    drop(stage.act(|| (1, ring.consumer())));
}

pub fn producer_leaves(stage: &Stage, ring: &Ring) {
    let mut producer = ring.producer().expect("a place");
    producer.send(&payload(MINE)).expect("room");
    stage.act(|| {
        drop(producer);
        (1, ())
    });
}

pub fn consumer_leaves(stage: &Stage, ring: &Ring) {
    let mut consumer = ring.consumer().expect("a place");
    consumer.recv().expect("an item").ack();
    stage.act(|| {
        drop(consumer);
        (1, ())
    });
}

pub fn close(stage: &Stage, ring: &Ring) {
    stage.act(|| (ring.close() as u64, ()));
}

/// The recoverer.
pub fn repair(stage: &Stage, ring: &Ring) {
    stage.act(|| {
        ring.repair();
        (1, ())
    });
}
