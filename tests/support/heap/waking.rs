//! Sleeping and waking around the ring: the library's `Signal` over a semaphore without time-outs, so that a wake-up
//! that is lost is a sleep without end. What is done around a look at the slots is what `Waiter::wait_on` does after its spin:
//! announce, look, sleep or withdraw, look again.
//!
//! The light fence is a full one here: it stands for membarrier, which puts a full fence between the two accesses of the frequent
//! side whenever the rare side fences. `Broken` leaves a fence out, as if one forgot it: that must be noticed.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ringpipe::Result;
use ringpipe::internal::sys::semaphore::Wake;
use ringpipe::internal::wait::Signal;
use ringpipe::internal::wait::backend::{Backend, Count, Tokens};

use super::ring::{Handle, Ring, Shape, Story, one};
use super::world::{AtomicU64, Condvar, Mutex, SeqCst, fence, spawn};

/// Both fences, or one of them left out.
pub trait Fences: Send + Sync + 'static {
    const LIGHT: bool = true;
    const HEAVY: bool = true;
}

pub struct Both;
impl Fences for Both {}

pub struct NoLight;
impl Fences for NoLight {
    const LIGHT: bool = false;
}

pub struct NoHeavy;
impl Fences for NoHeavy {
    const HEAVY: bool = false;
}

struct Heap<F>(PhantomData<F>);

impl<F: Fences> Backend for Heap<F> {
    type Count = Number;
    type Tokens = Semaphore;

    fn light_fence(_: &Number) {
        if F::LIGHT {
            fence(SeqCst);
        }
    }

    fn heavy_fence() {
        if F::HEAVY {
            fence(SeqCst);
        }
    }
}

/// A word that counts sleepers.
struct Number(AtomicU64);

impl Count for Number {
    fn load(&self, order: Ordering) -> u64 {
        self.0.load(order)
    }
    fn fetch_add(&self, more: u64, order: Ordering) -> u64 {
        self.0.fetch_add(more, order)
    }
    fn fetch_update(
        &self,
        order: Ordering,
        mut change: impl FnMut(u64) -> Option<u64>,
    ) -> std::result::Result<u64, u64> {
        let mut now = self.0.load(Ordering::Relaxed);
        loop {
            let Some(new) = change(now) else { return Err(now) };
            match self.0.compare_exchange(now, new, order, Ordering::Relaxed) {
                Ok(_) => return Ok(now),
                Err(other) => now = other,
            }
        }
    }
}

/// A semaphore as POSIX has it, whose sleeps end with a post and never by time.
#[derive(Clone)]
struct Semaphore(Arc<(Mutex<u64>, Condvar)>);

impl Tokens for Semaphore {
    fn post(&self) -> Result<bool> {
        *self.0.0.lock().unwrap() += 1;
        self.0.1.notify_one();
        Ok(true)
    }

    fn try_wait(&self) -> Result<bool> {
        let mut tokens = self.0.0.lock().unwrap();
        let taken = *tokens > 0;
        *tokens -= taken as u64;
        Ok(taken)
    }

    fn value(&self) -> u64 {
        *self.0.0.lock().unwrap()
    }

    fn wait_for(&self, _: Duration) -> Result<Wake> {
        let mut tokens = self.0.0.lock().unwrap();
        while *tokens == 0 {
            tokens = self.0.1.wait(tokens).unwrap();
        }
        *tokens -= 1;
        Ok(Wake::Posted)
    }
}

/// The words and semaphores of both directions.
struct Bells {
    items: Bell,
    room: Bell,
}

struct Bell {
    waiting: Number,
    fences: Number,
    semaphore: Semaphore,
}

impl Bell {
    fn new() -> Bell {
        let number = || Number(AtomicU64::new(0));
        let semaphore = Semaphore(Arc::new((Mutex::new(0), Condvar::new())));
        Bell { waiting: number(), fences: number(), semaphore }
    }

    fn signal<F: Fences>(&self) -> Signal<'_, Heap<F>> {
        Signal { waiting: &self.waiting, semaphore: self.semaphore.clone(), fences: &self.fences }
    }

    /// As `Waiter::wait_on`, whose spin is a look.
    fn wait<F: Fences, T>(&self, look: impl Fn() -> Option<T>) -> T {
        let signal = self.signal::<F>();
        loop {
            signal.announce();
            if let Some(found) = look() {
                signal.withdraw();
                return found;
            }
            signal.sleep(Duration::ZERO).expect("a semaphore");
            if let Some(found) = look() {
                return found;
            }
        }
    }
}

fn bells() -> Arc<Bells> {
    Arc::new(Bells { items: Bell::new(), room: Bell::new() })
}

/// Sends an item, waiting for room.
fn send<F: Fences>(handle: &Handle, bells: &Bells, id: u64) {
    bells.room.wait::<F, ()>(|| (handle.send(&[one(id)]) == 1).then_some(()));
    bells.items.signal::<F>().notify(1);
}

/// Receives an item, waiting for it, and acknowledges it.
fn receive<F: Fences>(handle: &Handle, bells: &Bells) -> Vec<u64> {
    let look = || handle.take(1).ok().or_else(|| handle.take_returned());
    let taken = bells.items.wait::<F, _>(look);
    // A woken thread that sees more than it took wakes the next, as `Consumer::waited` does.
    if handle.slots.items_there(0) {
        bells.items.signal::<F>().notify(1);
    }
    let ids = handle.acknowledge(taken);
    bells.room.signal::<F>().notify(1);
    ids
}

fn ring() -> Ring {
    Shape::MANY.ring()
}

/// A consumer sleeps while a producer sends: it is woken.
pub fn consumer_is_woken<F: Fences>() {
    let (ring, bells) = (ring(), bells());
    let consumer = spawn({
        let (handle, bells) = (ring.handle(3), bells.clone());
        move || receive::<F>(&handle, &bells)
    });
    let producer = ring.handle(1);
    assert_eq!(producer.send(&[one(1)]), 1);
    bells.items.signal::<F>().notify(1);
    let acknowledged = consumer.join().expect("a part that ends");
    ring.settle(Story { sent: vec![1], acknowledged, ..Story::default() });
}

/// A producer sleeps at a full ring while a consumer acknowledges: it is woken.
pub fn producer_is_woken<F: Fences>() {
    let (ring, bells) = (ring(), bells());
    let producer = ring.handle(1);
    (1..=2).for_each(|id| assert_eq!(producer.send(&[one(id)]), 1));
    let sender = spawn({
        let bells = bells.clone();
        move || send::<F>(&producer, &bells, 3)
    });
    let consumer = ring.handle(3);
    let acknowledged = consumer.consume(1);
    bells.room.signal::<F>().notify(1);
    sender.join().expect("a part that ends");
    ring.settle(Story { sent: vec![1, 2, 3], acknowledged, ..Story::default() });
}

/// Starts two consumers of one item each. The answer waits for both, and gives what they acknowledged.
fn two_receive<F: Fences>(ring: &Ring, bells: &Arc<Bells>) -> impl FnOnce() -> Vec<u64> + use<F> {
    let consumers = [3, 4].map(|number| {
        let (handle, bells) = (ring.handle(number), bells.clone());
        spawn(move || receive::<F>(&handle, &bells))
    });
    || consumers.into_iter().flat_map(|consumer| consumer.join().expect("a part that ends")).collect()
}

/// Two consumers sleep; two items come, one by one.
pub fn two_are_woken<F: Fences>() {
    let (ring, bells) = (ring(), bells());
    let received = two_receive::<F>(&ring, &bells);
    let producer = ring.handle(1);
    for id in 1..=2 {
        assert_eq!(producer.send(&[one(id)]), 1);
        bells.items.signal::<F>().notify(1);
    }
    let acknowledged = received();
    ring.settle(Story { sent: vec![1, 2], acknowledged, ..Story::default() });
}

/// As [`two_are_woken`], after a third consumer was killed asleep: the first item wakes whom it wakes, and the
/// process that frees the dead one's entry wakes all others.
pub fn survivors_are_woken<F: Fences>() {
    let (ring, bells) = (ring(), bells());
    bells.items.signal::<F>().announce();
    let received = two_receive::<F>(&ring, &bells);
    let producer = ring.handle(1);
    assert_eq!(producer.send(&[one(1)]), 1);
    bells.items.signal::<F>().notify(1);
    assert_eq!(producer.send(&[one(2)]), 1);
    bells.items.signal::<F>().wake_survivors(|| 2);
    let acknowledged = received();
    ring.settle(Story { sent: vec![1, 2], acknowledged, ..Story::default() });
}

/// A consumer sleeps while a process recovers from the death of another one, which was awake.
pub fn a_survivor_is_woken<F: Fences>() {
    let (ring, bells) = (ring(), bells());
    let consumer = spawn({
        let (handle, bells) = (ring.handle(3), bells.clone());
        move || receive::<F>(&handle, &bells)
    });
    let producer = ring.handle(1);
    assert_eq!(producer.send(&[one(1)]), 1);
    bells.items.signal::<F>().wake_survivors(|| 1);
    let acknowledged = consumer.join().expect("a part that ends");
    ring.settle(Story { sent: vec![1], acknowledged, ..Story::default() });
}

/// Producers and consumers that all wait: too much for loom, for items of several rounds through the ring.
pub fn all_wait<F: Fences>(producers: u32, consumers: u32, items: u64) {
    let (ring, bells) = (ring(), bells());
    let senders: Vec<_> = (0..producers)
        .map(|at| {
            let (handle, bells) = (ring.handle(1 + at), bells.clone());
            let first = 1 + at as u64 * items;
            spawn(move || (first..first + items).for_each(|id| send::<F>(&handle, &bells, id)))
        })
        .collect();
    let all = producers as u64 * items;
    let receivers: Vec<_> = (0..consumers)
        .map(|at| {
            let (handle, bells) = (ring.handle(10 + at), bells.clone());
            let share = all / consumers as u64 + u64::from(u64::from(at) < all % consumers as u64);
            spawn(move || (0..share).flat_map(|_| receive::<F>(&handle, &bells)).collect::<Vec<u64>>())
        })
        .collect();
    senders.into_iter().for_each(|sender| sender.join().expect("a part that ends"));
    let acknowledged =
        receivers.into_iter().flat_map(|receiver| receiver.join().expect("a part that ends")).collect();
    ring.settle(Story { sent: (1..=all).collect(), acknowledged, ..Story::default() });
}
