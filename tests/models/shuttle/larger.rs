//! Stories of four or five threads and several rounds through the ring.

use crate::shuttle::heap::life::mortal;
use crate::shuttle::heap::ring::{Handle, Item, Ring, Shape, Story, one, wide};
use crate::shuttle::world::{JoinHandle, spawn};

use std::sync::{Arc, Mutex};

use shuttle::rand::Rng;

pub const ALL: &[(&str, fn())] = &[
    ("two producers and two consumers, single items", || {
        crowd(Shape::MANY, 2, 2, &[&[1], &[1], &[1], &[1]], 0)
    }),
    ("two producers and two consumers, batches", || {
        crowd(Shape { capacity: 4, ..Shape::MANY }, 2, 2, &[&[1, 1], &[1], &[1, 1], &[1, 1]], 0)
    }),
    ("two producers and two consumers, batches with wide items", || {
        crowd(
            Shape { capacity: 8, wide: true, base: 5, ..Shape::MANY },
            2,
            2,
            &[&[1, 2], &[2], &[1, 1, 2]],
            0,
        )
    }),
    ("two producers, two consumers, some items are given back", || {
        crowd(Shape { capacity: 4, ..Shape::MANY }, 2, 2, &[&[1, 1], &[1], &[1, 1], &[1]], 3)
    }),
    ("one of each, exclusive, batches with wide items", || {
        crowd(
            Shape { capacity: 8, wide: true, exclusive: true, base: 3, ..Shape::MANY },
            1,
            1,
            &[&[1, 2], &[3], &[1, 1, 2], &[2, 2]],
            0,
        )
    }),
    ("a producer dies among others", || death(1)),
    ("a consumer dies among others", || death(10)),
];

/// Items with these spans, numbered from `first` on.
fn batches(first: u64, spans: &[&[u64]]) -> Vec<Vec<Item>> {
    let mut id = first;
    let mut number = |span: &u64| {
        id += 1;
        match span {
            1 => one(id - 1),
            2 => wide(id - 1),
            span => Item { id: id - 1, span: *span },
        }
    };
    spans.iter().map(|batch| batch.iter().map(&mut number).collect()).collect()
}

/// Sends all of the items, in as many calls as it takes, unless the others are done.
fn send_all(handle: &Handle, batches: &[Vec<Item>], sent: &Mutex<Vec<u64>>) {
    for batch in batches {
        let mut rest = &batch[..];
        for _ in 0..200 {
            let count = handle.send(rest);
            sent.lock().unwrap().extend(rest[..count].iter().map(|item| item.id));
            rest = &rest[count..];
            if rest.is_empty() {
                break;
            }
            shuttle::thread::yield_now();
        }
    }
}

/// Takes what there is, this number of times, and gives every `back`th claim back.
fn take_some(handle: &Handle, times: u64, back: u64) -> Vec<u64> {
    let mut ids = Vec::new();
    for time in 0..times {
        let taken = handle.take_returned().or_else(|| handle.take(2).ok());
        match taken {
            Some(taken) if back > 0 && time % back == 0 => handle.give_back(taken),
            Some(taken) if time % 2 == 0 => ids.extend(handle.acknowledge_each(taken)),
            Some(taken) => ids.extend(handle.acknowledge(taken)),
            None => shuttle::thread::yield_now(),
        }
    }
    ids
}

fn producers(
    ring: &Ring,
    first: u32,
    count: u32,
    spans: &[&[u64]],
    sent: &Arc<Mutex<Vec<u64>>>,
) -> Vec<JoinHandle<()>> {
    (0..count)
        .map(|at| {
            let (handle, sent) = (ring.handle(first + at), sent.clone());
            let batches = batches(1 + 100 * at as u64, spans);
            spawn(move || send_all(&handle, &batches, &sent))
        })
        .collect()
}

fn crowd(shape: Shape, senders: u32, receivers: u32, spans: &'static [&'static [u64]], back: u64) {
    let (ring, sent) = (shape.ring(), Arc::new(Mutex::new(Vec::new())));
    let senders = producers(&ring, if shape.exclusive { 0 } else { 1 }, senders, spans, &sent);
    let receivers: Vec<_> = (0..receivers)
        .map(|at| {
            let handle = ring.handle(if shape.exclusive { 1 } else { 10 + at });
            spawn(move || take_some(&handle, 12, back))
        })
        .collect();
    senders.into_iter().for_each(|sender| sender.join().unwrap());
    let acknowledged = receivers.into_iter().flat_map(|receiver| receiver.join().unwrap()).collect();
    let sent = sent.lock().unwrap().clone();
    ring.settle(Story { sent, acknowledged, ..Story::default() });
}

/// A producer and two consumers, and one of either kind that dies at a random access; the consumers recover it.
fn death(victim: u32) {
    let steps = shuttle::rand::thread_rng().gen_range(0..60);
    let ring = Shape { capacity: 4, mortal: Some(victim), ..Shape::MANY }.ring();
    let sent = Arc::new(Mutex::new(Vec::new()));
    let (held, acknowledged) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
    let doomed = spawn({
        let handle = ring.handle(victim);
        let (sent, held, acknowledged) = (sent.clone(), held.clone(), acknowledged.clone());
        move || {
            let work = || match victim {
                1 => send_all(&handle, &batches(1, DOOMED), &sent),
                _ => (0..6).for_each(|_| {
                    let Ok(taken) = handle.take(2) else { return shuttle::thread::yield_now() };
                    *held.lock().unwrap() = taken.ids();
                    let done = handle.acknowledge_each(taken);
                    acknowledged.lock().unwrap().extend(done);
                    held.lock().unwrap().clear();
                }),
            };
            if mortal(steps, work).is_none() {
                handle.let_go();
            }
        }
    });
    let sender = spawn({
        let (handle, sent) = (ring.handle(2), sent.clone());
        move || send_all(&handle, &batches(201, &[&[1], &[1, 1], &[1, 1]]), &sent)
    });
    let receivers = [11, 12].map(|number| {
        let handle = ring.handle(number);
        spawn(move || {
            let mut ids = take_some(&handle, 4, 0);
            handle.slots.recover(victim);
            ids.extend(take_some(&handle, 4, 0));
            ids
        })
    });
    doomed.join().unwrap();
    sender.join().unwrap();
    let mut done: Vec<u64> = receivers.into_iter().flat_map(|receiver| receiver.join().unwrap()).collect();
    done.extend(acknowledged.lock().unwrap().iter());
    let sent = sent.lock().unwrap().clone();
    let tried = batches(1, DOOMED).concat().into_iter().map(|item| item.id);
    let perhaps_sent = if victim == 1 { tried.filter(|id| !sent.contains(id)).collect() } else { Vec::new() };
    let perhaps_acknowledged = held.lock().unwrap().clone();
    ring.settle(Story { sent, perhaps_sent, acknowledged: done, perhaps_acknowledged });
}

/// What the producer that dies would send.
const DOOMED: &[&[u64]] = &[&[1, 1], &[1], &[1]];
