//! What is particular to each discipline: what its semaphores say, when a monitor wakes, and that what a death
//! leaves behind comes right. That all of them keep the same promises is tested by the other modules of this
//! binary and by the storms, which run under each.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::{not_tested, ringctl};
use nix::sys::signal::Signal;
use ringpipe::internal::layout::head;
use ringpipe::{
    Activity, Consumer, Discipline, Error, OnFull, Producer, Ring, RingOptions, Role, StopFlag, Thresholds,
};

use crate::support::actor::RemoteActor;
use crate::support::{Run, TestName, consumer, join_soon, other_disciplines, producer, wait_until, within};

/// Long enough for a waiter to have looked again several times.
const SLICES: Duration = Duration::from_millis(150);

fn ring(what: &str, discipline: Discipline) -> (TestName, Ring) {
    let name = TestName::new(what);
    let options = RingOptions::new().capacity(8).slot_size(64).sync(discipline);
    let ring = options.create(&name).unwrap();
    (name, ring)
}

fn monitor(wake_at: u64, resume_at: Option<u64>) -> Discipline {
    Discipline::Monitor(Thresholds { wake_at, resume_at })
}

/// Values of the semaphores `items`, `room` and `mutex`.
fn semaphores(ring: &Ring) -> (i32, i32, i32) {
    let snapshot = ring.snapshot().unwrap();
    (snapshot.items_semaphore.0, snapshot.room_semaphore.0, snapshot.mutex.0)
}

fn send(producer: &mut Producer, items: std::ops::Range<u8>) {
    items.for_each(|n| producer.send(&[n]).unwrap());
}

fn receive(consumer: &mut Consumer, items: std::ops::Range<u8>) {
    for n in items {
        let item = consumer.recv_timeout(Duration::from_secs(20)).unwrap();
        assert_eq!(*item, [n]);
        item.ack();
    }
}

/// Overwrites a word of the ring's fixed part, or the count of a semaphore there, as a death may leave it.
fn forge(name: &TestName, offset: u64, bytes: &[u8]) {
    File::options().write(true).open(name.path()).unwrap().write_all_at(bytes, offset).unwrap();
}

fn forge_tokens(name: &TestName, semaphore: u64, tokens: u32) {
    forge(name, semaphore, &tokens.to_ne_bytes());
}

#[test]
fn the_semaphores_count_items_and_room_as_documented() {
    let (_name, ring) = ring("counts", Discipline::Semaphore);
    assert_eq!(semaphores(&ring), (0, 8, 1));
    let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
    send(&mut producer, 0..3);
    assert_eq!(semaphores(&ring), (3, 5, 1));
    let item = consumer.recv().unwrap();
    assert_eq!(semaphores(&ring), (2, 5, 1));
    item.ack();
    assert_eq!(semaphores(&ring), (2, 6, 1));
    drop(consumer.recv().unwrap());
    assert_eq!(semaphores(&ring), (2, 6, 1), "given back");
    consumer.recv_batch(8).unwrap().ack();
    // The one that was given back is found by itself.
    consumer.try_recv().unwrap().ack();
    assert_eq!(semaphores(&ring), (0, 8, 1));
    producer.try_send(&[7; 200]).unwrap();
    assert_eq!(semaphores(&ring), (4, 4, 1), "an item of four slots counts as four");
    (0..4).for_each(|n| producer.try_send(&[n]).unwrap());
    assert_eq!(semaphores(&ring), (8, 0, 1));
    assert!(matches!(producer.reserve_timeout(1, Duration::from_millis(1)), Err(Error::TimedOut)));
    assert_eq!(semaphores(&ring), (8, 0, 1));
    (0..5).for_each(|_| consumer.try_recv().unwrap().ack());
    assert_eq!(semaphores(&ring), (0, 8, 1));
    drop(producer.reserve(100).unwrap());
    assert_eq!(semaphores(&ring), (0, 8, 1), "a reservation that is given up");
    let sent = producer.send_batch(&["a"; 8]).unwrap() as i32;
    assert_eq!(semaphores(&ring), (sent, 8 - sent, 1), "a batch");
    ring.remove().unwrap();
}

#[test]
fn waiting_participants_replace_the_tokens_of_dead_ones() {
    let (name, ring) = ring("lost-tokens", Discipline::Semaphore);
    let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
    forge_tokens(&name, head::ROOM_SEMAPHORE, 5);
    send(&mut producer, 0..8);
    assert!(matches!(producer.try_send(b"full"), Err(Error::Full)));
    forge_tokens(&name, head::ITEMS_SEMAPHORE, 6);
    receive(&mut consumer, 0..8);
    assert_eq!(semaphores(&ring), (0, 8, 1));
    ring.remove().unwrap();
}

#[test]
fn waiting_participants_drop_surplus_tokens() {
    let (name, ring) = ring("spare-tokens", Discipline::Semaphore);
    let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
    forge_tokens(&name, head::ITEMS_SEMAPHORE, 3);
    // Each wait drops what it has in hand at the end of a slice.
    wait_until("no token is left", || {
        assert!(matches!(consumer.recv_timeout(SLICES), Err(Error::TimedOut)));
        semaphores(&ring).0 == 0
    });
    send(&mut producer, 0..8);
    forge_tokens(&name, head::ROOM_SEMAPHORE, 2);
    wait_until("no token is left", || {
        assert!(matches!(producer.send_timeout(b"full", SLICES), Err(Error::TimedOut)));
        semaphores(&ring).1 == 0
    });
    receive(&mut consumer, 0..8);
    assert_eq!(semaphores(&ring), (0, 8, 1));
    ring.remove().unwrap();
}

#[test]
fn a_turn_of_a_dead_or_stopped_process_is_taken_over() {
    for discipline in other_disciplines().filter(|discipline| discipline.takes_turns()) {
        for signal in [Signal::SIGKILL, Signal::SIGSTOP] {
            let (name, ring) = ring("turn", discipline);
            let holder = RemoteActor::attached(&name, "producer");
            let number = ring.participants()[0].number;
            match signal {
                Signal::SIGSTOP => holder.stop(),
                _ => holder.signal(signal),
            }
            // As if that had happened in the middle of its turn.
            forge(&name, head::MUTEX_OWNER, &(7_u64 << 16 | (number + 1) as u64).to_ne_bytes());
            forge_tokens(&name, head::MUTEX_SEMAPHORE, 0);
            assert_eq!(ring.snapshot().unwrap().mutex, (0, Some(number)));
            let others = ring.clone();
            within("others go on", move || {
                let (mut producer, mut consumer) = (others.producer().unwrap(), others.consumer().unwrap());
                send(&mut producer, 0..8);
                receive(&mut consumer, 0..8);
            });
            assert_eq!(ring.snapshot().unwrap().mutex, (1, None), "{discipline}, {signal}");
            drop(holder);
            ring.remove().unwrap();
        }
    }
}

/// Turns of a live process follow each other without end, for as long as this value exists.
struct EndlessTurns(Arc<AtomicBool>, Option<std::thread::JoinHandle<()>>);

impl EndlessTurns {
    fn of(name: &TestName, number: u32) -> Self {
        let (over, path) = (Arc::new(AtomicBool::new(false)), name.path());
        let until = Arc::clone(&over);
        let (begun, begins) = std::sync::mpsc::channel();
        let forger = std::thread::spawn(move || {
            let file = File::options().write(true).open(path).unwrap();
            // So that nothing waits for ever where it should not.
            for turn in 1..20_000_u64 {
                file.write_all_at(&(turn << 16 | (number + 1) as u64).to_ne_bytes(), head::MUTEX_OWNER)
                    .unwrap();
                let _ = begun.send(());
                if until.load(Ordering::Relaxed) {
                    break;
                }
                std::thread::sleep(Duration::from_micros(200));
            }
            file.write_all_at(&[0; 8], head::MUTEX_OWNER).unwrap();
        });
        begins.recv().unwrap();
        EndlessTurns(over, Some(forger))
    }
}

impl Drop for EndlessTurns {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        self.1.take().unwrap().join().unwrap();
    }
}

#[test]
fn endless_turns_of_other_processes_delay_no_wait_past_its_deadline_or_stop_flag() {
    for discipline in other_disciplines().filter(|discipline| discipline.takes_turns()) {
        let (name, ring) = ring("endless-turns", discipline);
        let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
        let other = RemoteActor::attached(&name, "consumer");
        let number = ring.participants().last().unwrap().number;
        let (begin, turns) = (Instant::now(), EndlessTurns::of(&name, number));
        forge_tokens(&name, head::MUTEX_SEMAPHORE, 0);
        assert!(matches!(consumer.recv_timeout(Duration::from_millis(1)), Err(Error::TimedOut)));
        assert!(matches!(consumer.try_recv(), Err(Error::Empty)));
        // Without a turn, what is there is found, and what fits is sent.
        producer.try_send(b"one").unwrap();
        consumer.recv_timeout(Duration::from_millis(1)).unwrap().ack();
        while producer.try_send(b"x").is_ok() {}
        assert!(matches!(producer.send_timeout(b"x", Duration::from_millis(1)), Err(Error::TimedOut)));
        let stop = StopFlag::new();
        stop.raise();
        producer.set_stop_flag(stop);
        assert!(matches!(producer.send(b"x"), Err(Error::Interrupted)));
        assert!(begin.elapsed() < Duration::from_secs(2), "{:?} under {discipline}", begin.elapsed());
        drop((turns, producer, consumer, other));
        ring.remove().unwrap();
    }
}

#[test]
fn a_monitors_consumers_start_at_their_level_and_then_take_all_items() {
    let (name, ring) = ring("wake-at", monitor(5, Some(0)));
    let mut producer = ring.producer().unwrap();
    let mut customer = RemoteActor::attached(&name, "consumer");
    customer.told("recv");
    wait_until("the consumer waits", || {
        ring.participants().iter().any(|one| one.activity == Activity::WaitingForItems)
    });
    for text in ["1", "2", "3", "4"] {
        producer.send(text.as_bytes()).unwrap();
    }
    std::thread::sleep(SLICES);
    assert_eq!(ring.snapshot().unwrap().ready, 4, "below the level nothing is taken");
    producer.send(b"5").unwrap();
    for n in 1..=5 {
        assert_eq!(customer.answer(), format!("got 1 {n}"));
        assert_eq!(customer.does("ack"), "done");
        if n < 5 {
            customer.told("recv");
        }
    }
    drop(producer);
    ring.remove().unwrap();
}

#[test]
fn a_monitors_producers_resume_at_their_level() {
    let (_name, ring) = ring("resume-at", monitor(5, Some(2)));
    let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
    send(&mut producer, 0..5);
    assert!(matches!(producer.try_send(b"more"), Err(Error::Full)), "8 slots, but 5 is the level");
    receive(&mut consumer, 0..2);
    assert!(matches!(producer.try_send(b"more"), Err(Error::Full)), "3 still wait");
    receive(&mut consumer, 2..3);
    send(&mut producer, 5..8);
    assert!(matches!(producer.try_send(b"more"), Err(Error::Full)));
    receive(&mut consumer, 3..8);
    ring.remove().unwrap();
}

#[test]
fn items_below_a_monitors_level_are_delivered_when_the_last_producer_has_left() {
    for how in ["left", "killed", "closed"] {
        let (name, ring) = ring("short", monitor(5, Some(0)));
        let mut customer = RemoteActor::attached(&name, "consumer");
        customer.told("recv");
        let mut producer = RemoteActor::attached(&name, "producer");
        assert_eq!(producer.does("send only"), "sent");
        std::thread::sleep(SLICES);
        assert_eq!(ring.snapshot().unwrap().ready, 1);
        match how {
            "left" => assert_eq!(producer.does("leave"), "left"),
            "killed" => producer.signal(Signal::SIGKILL),
            _ => assert!(ring.close()),
        }
        assert_eq!(customer.answer(), "got 1 only", "{how}");
        assert_eq!(customer.does("ack"), "done");
        assert_eq!(customer.does("recv"), "Ended", "{how}");
        ring.remove().unwrap();
    }
}

#[test]
fn held_slots_that_keep_a_monitor_from_its_level_block_no_process() {
    let (name, ring) = ring("out-of-reach", monitor(8, Some(0)));
    let mut producer = ring.producer().unwrap();
    producer.send(b"held").unwrap();
    let mut holder = RemoteActor::attached(&name, "consumer");
    assert_eq!(holder.does("recv"), "got 1 held");
    holder.stop();
    let mut consumer = ring.consumer().unwrap();
    within("more than the ring holds goes through", move || {
        let sender = std::thread::spawn(move || (0..100).for_each(|n| producer.send(&[n]).unwrap()));
        receive(&mut consumer, 0..100);
        join_soon(sender);
    });
    holder.signal(Signal::SIGCONT);
    assert_eq!(holder.does("ack"), "done");
    ring.remove().unwrap();
}

#[test]
fn the_commands_follow_the_discipline_that_the_ring_was_made_with() {
    for discipline in other_disciplines() {
        let name = discipline.name();
        for exclusive in [false, true] {
            let mut options = vec!["--sync", name, "--capacity", "16"];
            options.extend(exclusive.then_some("--exclusive"));
            let ring = TestName::ring("follow", &options);
            assert_eq!(Ring::open(&ring.name).unwrap().discipline(), discipline);
            let seen = ring.inspect();
            assert_eq!(seen["sync"], name);
            let has_mutex = discipline.takes_turns() && !exclusive;
            assert_eq!(seen["semaphores"]["mutex"].is_object(), has_mutex, "{seen}");
            let lines: String = (1..=2000).map(|n| format!("{n}\n")).collect();
            std::thread::scope(|scope| {
                scope.spawn(|| ring.send_lines(&lines));
                let run = consumer(&ring, &[]).run().succeeds();
                assert!(run.stdout == lines.as_bytes(), "{name}, {run:?}");
            });
        }
    }
}

#[test]
fn bad_disciplines_thresholds_and_orders_are_usage_errors_that_say_what_is_expected() {
    let name = TestName::new("bad-sync");
    for (options, said) in [
        (vec!["--sync", "barrier"], "adaptive"),
        (vec!["--wake-at", "5"], "expected --sync monitor"),
        (vec!["--sync", "semaphore", "--resume-at", "0"], "expected --sync monitor"),
        (vec!["--sync", "monitor", "--capacity", "8", "--wake-at", "9"], "expected 1 to 8 slots"),
        (vec!["--sync", "monitor", "--wake-at", "0"], "expected 1 to"),
        (vec!["--sync", "monitor", "--wake-at", "5", "--resume-at", "5"], "expected 0 to 4 slots"),
        (vec!["--order", "lifo"], "expected fifo"),
    ] {
        let ended = ringctl(&[&["create", name.name.as_str()], options.as_slice()].concat()).with_code(2);
        assert!(ended.stderr.contains(said), "{options:?}: {}", ended.stderr);
        assert!(!name.path().exists());
    }
}

#[test]
fn a_producer_creates_a_ring_with_its_discipline_and_reports_a_different_one() {
    let name = TestName::new("producer-sync");
    let produce = |sync: &str| producer(&name, &["--item", "x", "--sync", sync]).run().succeeds();
    produce("polling");
    let ring = Ring::open(&name).unwrap();
    assert_eq!(ring.discipline(), Discipline::Polling);
    let said = produce("monitor").stderr;
    assert!(said.contains("polling") && said.contains("no effect"), "{said}");
    assert_eq!(ring.participants().iter().filter(|one| one.role == Role::Producer).count(), 0);
    ring.remove().unwrap();
}

/// How often a process, or with its own id this thread, has given the processor away to wait.
fn sleeps(status: &str) -> u64 {
    let text = std::fs::read_to_string(status).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.unwrap().trim().parse().unwrap()
}

#[test]
fn two_sides_of_a_monitor_that_both_wait_do_not_keep_each_other_awake() {
    let name = TestName::new("both-wait");
    let ring = RingOptions::new().capacity(4).slot_size(64).sync(monitor(1, None)).create(&name).unwrap();
    let [mut holder, mut other_holder] = [(); 2].map(|()| RemoteActor::attached(&name, "consumer"));
    let mut sender = RemoteActor::attached(&name, "producer");
    for n in 0..4 {
        assert_eq!(sender.does(&format!("send {n}")), "sent");
    }
    assert_eq!(holder.does("hold 2"), "got 1 0 1");
    assert_eq!(other_holder.does("hold 2"), "got 1 2 3");
    let mut customer = RemoteActor::attached(&name, "consumer");
    customer.told("recv");
    sender.told("send more");
    let waiting = |role, activity| {
        ring.participants().into_iter().find(|one| one.role == role && one.activity == activity)
    };
    let mut both = None;
    wait_until("both wait", || {
        both = waiting(Role::Producer, Activity::WaitingForRoom)
            .zip(waiting(Role::Consumer, Activity::WaitingForItems));
        both.is_some()
    });
    let (one, other) = both.unwrap();
    let count = || [one.pid, other.pid].map(|pid| sleeps(&format!("/proc/{pid}/status")));
    let before = count();
    std::thread::sleep(Duration::from_millis(500));
    for (before, after) in before.into_iter().zip(count()) {
        // A slice each 20 ms; thousands when they wake each other.
        assert!(after - before < 300, "woke {} times in half a second", after - before);
    }
    holder.told("ack");
    assert_eq!(sender.answer(), "sent");
    assert_eq!(customer.answer(), "got 1 more");
    assert_eq!(customer.does("ack"), "done");
    assert_eq!(holder.answer(), "done");
    assert_eq!(other_holder.does("ack"), "done");
    drop((holder, other_holder, sender, customer));
    ring.remove().unwrap();
}

#[test]
fn items_behind_a_slow_writer_are_taken_without_a_sleep_for_each() {
    for discipline in other_disciplines() {
        let name = TestName::new("backlog");
        let ring = RingOptions::new().capacity(256).slot_size(64).sync(discipline).create(&name).unwrap();
        let (mut slow, mut producer) = (ring.producer().unwrap(), ring.producer().unwrap());
        let mut consumer = ring.consumer().unwrap();
        // It has two slots: consumers do not pass its writer.
        let reservation = slow.reserve(100).unwrap();
        send(&mut producer, 0..200);
        // The tokens of what cannot be taken yet are used up.
        assert!(matches!(consumer.recv_timeout(SLICES), Err(Error::TimedOut)));
        reservation.commit();
        consumer.recv().unwrap().ack();
        let before = sleeps("/proc/thread-self/status");
        receive(&mut consumer, 0..200);
        let sleeps = sleeps("/proc/thread-self/status") - before;
        assert!(sleeps < 100 || !discipline.sleeps(), "{discipline}: {sleeps} sleeps for 200 items");
        ring.remove().unwrap();
    }
}

#[test]
fn tokens_do_not_accumulate_while_many_processes_work() {
    let (_name, ring) = ring("pile", Discipline::Semaphore);
    let senders: Vec<_> = (0..2)
        .map(|_| {
            let mut producer = ring.producer().unwrap();
            std::thread::spawn(move || (0..20_000_u32).for_each(|n| producer.send(&n.to_le_bytes()).unwrap()))
        })
        .collect();
    let receivers: Vec<_> = (0..2)
        .map(|n| {
            let mut consumer = ring.consumer().unwrap();
            std::thread::spawn(move || {
                let mut count = 0;
                while let Ok(batch) = consumer.recv_batch(1 + n * 3) {
                    count += batch.len();
                    batch.ack();
                }
                count
            })
        })
        .collect();
    senders.into_iter().for_each(join_soon);
    let received: usize = receivers.into_iter().map(join_soon).sum();
    assert_eq!(received, 40_000);
    let (items, room, mutex) = semaphores(&ring);
    // Each participant may have left a few behind: what it was about to take when the stream ended, and one for
    // each that was woken by the leaving of another.
    assert!(items <= 16 && room <= 8 + 16, "items {items}, room {room}");
    assert_eq!(mutex, 1);
    ring.remove().unwrap();
}

#[test]
fn a_producer_that_drops_the_oldest_does_not_wait_for_a_monitors_level() {
    let (_name, ring) = ring("drop-level", monitor(5, Some(0)));
    let mut producer = ring.producer().unwrap();
    producer.set_on_full(OnFull::DropOldest).unwrap();
    within("it goes on", move || send(&mut producer, 0..100));
    let mut consumer = ring.consumer().unwrap();
    receive(&mut consumer, 92..100);
    ring.remove().unwrap();
}

#[test]
fn a_refused_producer_lets_a_monitors_consumers_start_below_their_level() {
    let (name, ring) = ring("refused", monitor(8, None));
    let mut producer = ring.producer().unwrap();
    producer.send(b"held").unwrap();
    let mut holder = RemoteActor::attached(&name, "consumer");
    assert_eq!(holder.does("recv"), "got 1 held");
    holder.stop();
    let mut customer = RemoteActor::attached(&name, "consumer");
    customer.told("recv");
    wait_until("the consumer waits", || {
        ring.participants().iter().any(|one| one.activity == Activity::WaitingForItems)
    });
    let sent = (0..8_u8).take_while(|n| producer.try_send(&[b'a' + n]).is_ok()).count();
    assert_eq!(sent, 7, "one of eight slots is held");
    assert_eq!(customer.answer(), "got 1 a");
    assert_eq!(customer.does("ack"), "done");
    drop((holder, customer, producer));
    ring.remove().unwrap();
}

#[test]
fn a_mutex_with_wrong_tokens_delays_no_wait_past_its_deadline() {
    let (name, ring) = ring("lying-mutex", Discipline::Semaphore);
    forge(&name, head::MUTEX_OWNER, &0xfff0_u64.to_ne_bytes());
    forge_tokens(&name, head::MUTEX_SEMAPHORE, i32::MAX as u32);
    let others = ring.clone();
    within("the wait ends", move || {
        let mut consumer = others.consumer().unwrap();
        assert!(matches!(consumer.recv_timeout(Duration::from_millis(50)), Err(Error::TimedOut)));
    });
    ring.remove().unwrap();
}

/// What glibc counts as sleepers: the upper half of a semaphore's first word.
#[cfg(target_env = "gnu")]
fn sleepers(name: &TestName, semaphore: u64) -> u32 {
    let mut bytes = [0; 4];
    File::open(name.path()).unwrap().read_exact_at(&mut bytes, semaphore + 4).unwrap();
    u32::from_le_bytes(bytes)
}

#[test]
#[cfg(target_env = "gnu")]
fn after_a_sleeper_was_killed_later_posts_need_no_system_call() {
    let (name, ring) = ring("asleep", Discipline::Semaphore);
    let mut producer = ring.producer().unwrap();
    for _ in 0..3 {
        let mut victim = RemoteActor::attached(&name, "consumer");
        victim.told("recv");
        wait_until("it sleeps", || sleepers(&name, head::ITEMS_SEMAPHORE) > 0);
        victim.signal(Signal::SIGKILL);
        drop(victim);
        assert!(sleepers(&name, head::ITEMS_SEMAPHORE) > 0, "the C library does not notice");
        // The next participant in turn looks for dead ones.
        let mut consumer = ring.consumer().unwrap();
        wait_until("it is forgotten", || {
            send(&mut producer, 1..2);
            receive(&mut consumer, 1..2);
            assert!(consumer.recv_timeout(Duration::from_millis(1)).is_err());
            sleepers(&name, head::ITEMS_SEMAPHORE) == 0
        });
    }
    ring.remove().unwrap();
}

/// Two producers of small items keep a ring of 64 slots full, and a consumer takes one every two milliseconds.
fn among_busy_small_ones(discipline: Discipline, test: impl FnOnce(&Ring, &str)) {
    use std::sync::atomic::{AtomicBool, Ordering};

    /// Ends the others also when the test fails.
    struct Stop<'a>(&'a AtomicBool);

    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    let name = TestName::new("wide");
    let options = RingOptions::new().capacity(64).slot_size(64).sync(discipline);
    let ring = options.create(&name).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut small = ring.producer().unwrap();
                while !stop.load(Ordering::Relaxed) {
                    let _ = small.send_timeout(b"small", Duration::from_millis(100));
                }
            });
        }
        scope.spawn(|| {
            let mut consumer = ring.consumer().unwrap();
            while !stop.load(Ordering::Relaxed) {
                if let Ok(item) = consumer.recv_timeout(Duration::from_millis(100)) {
                    std::thread::sleep(Duration::from_millis(2));
                    item.ack();
                }
            }
        });
        let _stop = Stop(&stop);
        is_nearly_full(&ring);
        test(&ring, &name);
    });
    ring.remove().unwrap();
}

fn is_nearly_full(ring: &Ring) {
    wait_until("the ring is full", || ring.snapshot().unwrap().used_slots >= 60);
}

#[test]
fn an_item_of_several_slots_finds_room_among_busy_small_ones_under_every_discipline() {
    let (wide, deadline) = ([7; 2000], Duration::from_secs(20));
    for &discipline in Discipline::ALL {
        among_busy_small_ones(discipline, |ring, _| {
            let mut producer = ring.producer().unwrap();
            let alone = producer.send_timeout(&wide, deadline);
            assert!(alone.is_ok(), "{discipline}: {alone:?}");
            is_nearly_full(ring);
            let first_of_batch = producer.send_batch_timeout(&[&wide[..], b"x"], deadline);
            assert!(first_of_batch.is_ok(), "{discipline}: {first_of_batch:?}");
        });
    }
}

/// Its monotonic clock is a day ahead of the others'.
#[test]
fn a_process_in_another_time_namespace_finds_room_for_its_large_items() {
    use std::process::Command;

    let elsewhere = |command: &str| {
        let mut unshare = Command::new("unshare");
        unshare.args([
            "--user",
            "--map-root-user",
            "--fork",
            "--kill-child",
            "--time",
            "--monotonic",
            "100000",
        ]);
        unshare.args(["sh", "-c", command]);
        unshare
    };
    if !elsewhere("true").output().is_ok_and(|tried| tried.status.success()) {
        not_tested("no time namespaces here");
        return;
    }
    for &discipline in Discipline::ALL {
        among_busy_small_ones(discipline, |_, name| {
            // `timeout` has a clock of its own in there, and only measures with it.
            let script = "head -c 2000 /dev/zero | tr '\\0' x | timeout 20 \"$PRODUCER\" \"$RING\"";
            let mut sends = elsewhere(script);
            sends.env("PRODUCER", env!("CARGO_BIN_EXE_producer")).env("RING", name);
            let sent = Run::of(sends).run();
            assert_eq!(sent.code, Some(0), "{discipline}: {sent:?}");
        });
    }
}
