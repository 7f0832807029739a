//! What a task that waits is woken by, and what its waiting costs.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::{Duration, Instant};

use crate::support::options;
use futures_util::FutureExt;
use nix::sys::signal::Signal;
use ringpipe::{Activity, AsyncConsumer, Discipline, Error, OnFull, Role};

use super::{moment, run, runtimes};
use crate::support::actor::RemoteActor;
use crate::support::{Run, TestName, producer, seq, wait_until};

fn ringctl(args: &[&str]) {
    Run::new(env!("CARGO_BIN_EXE_ringctl")).args(args).run().with_code(0);
}

#[test]
fn a_waiting_task_gets_a_killed_processs_item() {
    for runtime in runtimes() {
        let ring = TestName::made("killed-reader", &options().capacity(4));
        ring.send(&["x"]);
        // It keeps the stream from ending.
        let _producer = RemoteActor::attached(&ring.name, "producer");
        let mut victim = RemoteActor::attached(&ring.name, "consumer");
        assert_eq!(victim.does("recv"), "got 1 x");
        run(&runtime, "what the dead one held", async {
            let mut consumer = ring.open().async_consumer().unwrap();
            let receiving = tokio::spawn(async move {
                let item = consumer.recv().await?;
                // An item may be held while its task waits for something else.
                moment().await;
                let seen = (item.to_vec(), item.attempt());
                item.ack();
                Ok::<_, Error>(seen)
            });
            moment().await;
            victim.signal(Signal::SIGKILL);
            assert_eq!(receiving.await.unwrap().unwrap(), (b"x".to_vec(), 2));
        });
    }
}

#[test]
fn a_waiting_task_passes_a_killed_writers_claim() {
    for runtime in runtimes() {
        let ring = TestName::made("killed-writer", &options().capacity(2));
        let mut victim = RemoteActor::attached(&ring.name, "producer");
        assert_eq!(victim.does("reserve half"), "reserved");
        ring.send(&["whole"]);
        run(&runtime, "room and items behind the dead", async {
            let mut producer = ring.open().async_producer().unwrap();
            let mut consumer = ring.open().async_consumer().unwrap();
            let sending = tokio::spawn(async move { producer.send(b"more").await });
            let receiving = tokio::spawn(async move {
                let mut texts = Vec::new();
                for _ in 0..2 {
                    let item = consumer.recv().await.unwrap();
                    texts.push(item.to_vec());
                    item.ack();
                }
                texts
            });
            moment().await;
            victim.signal(Signal::SIGKILL);
            sending.await.unwrap().unwrap();
            assert_eq!(receiving.await.unwrap(), [&b"whole"[..], b"more"]);
        });
    }
}

#[test]
fn closing_wakes_waiting_tasks() {
    for runtime in runtimes() {
        let (full, empty) = (TestName::new("close-full").stays(), TestName::new("close-empty").stays());
        for ring in [&full, &empty] {
            options().capacity(2).create(&ring.name).unwrap();
        }
        full.send(&["1", "2"]);
        run(&runtime, "the end", async {
            let mut producer = full.open().async_producer().unwrap();
            let mut consumer = empty.open().async_consumer().unwrap();
            let sending = tokio::spawn(async move { producer.send(b"3").await });
            let receiving = tokio::spawn(async move { consumer.recv().await.map(|item| item.ack()) });
            let waiting = tokio::task::spawn_blocking({
                let (full, empty) = (full.name.clone(), empty.name.clone());
                move || {
                    ringctl(&["close", &full]);
                    ringctl(&["rm", &empty]);
                }
            });
            waiting.await.unwrap();
            assert!(matches!(sending.await.unwrap(), Err(Error::Closed)));
            assert!(matches!(receiving.await.unwrap(), Err(Error::Ended)));
        });
    }
}

#[test]
fn a_task_counts_as_waiting_until_its_future_is_dropped() {
    let ring = TestName::made("seen", &options().capacity(2));
    let activity = |role| ring.open().participants().into_iter().find(|p| p.role == role).unwrap().activity;
    run(&runtimes()[1], "activities", async {
        let mut producer = ring.open().async_producer().unwrap();
        let mut consumer = ring.open().async_consumer().unwrap();
        tokio::select! {
            biased;
            _ = consumer.recv() => panic!("nothing was sent"),
            () = async {
                moment().await;
                assert_eq!(activity(Role::Consumer), Activity::WaitingForItems);
            } => {}
        }
        assert_eq!(activity(Role::Consumer), Activity::Busy);
        producer.send(b"1").await.unwrap();
        producer.send(b"2").await.unwrap();
        tokio::select! {
            biased;
            _ = producer.send(b"3") => panic!("there is no room"),
            () = async {
                moment().await;
                assert_eq!(activity(Role::Producer), Activity::WaitingForRoom);
            } => {}
        }
        assert_eq!(activity(Role::Producer), Activity::Busy);
    });
}

#[test]
fn the_policy_for_full_rings_applies_to_tasks() {
    let ring = TestName::made("policies", &options().capacity(2));
    run(&runtimes()[0], "policies", async {
        let with = |on_full| {
            let mut producer = ring.open().producer().unwrap();
            producer.set_on_full(on_full).unwrap();
            ringpipe::AsyncProducer::from(producer)
        };
        let mut fails = with(OnFull::Fail);
        fails.send_batch(&["1"]).await.unwrap();
        fails.send(b"2").await.unwrap();
        assert!(matches!(fails.send(b"3").await, Err(Error::Full)));
        let mut newest = with(OnFull::DropNewest);
        newest.send(b"4").await.unwrap();
        assert_eq!(newest.get_ref().totals().dropped_newest, 1);
        let mut oldest = with(OnFull::DropOldest);
        oldest.send(b"5").await.unwrap();
        assert_eq!(oldest.get_ref().totals().dropped_oldest, 1);
        // A held item is not dropped: the producer waits for its consumer.
        let mut consumers = [(); 2].map(|()| ring.open().async_consumer().unwrap());
        let [one, two] = &mut consumers;
        let (one, two) = (one.recv().await.unwrap(), two.recv().await.unwrap());
        assert!(oldest.send(b"6").now_or_never().is_none());
        assert_eq!((&*one, &*two), (&b"2"[..], &b"5"[..]));
        one.ack();
        oldest.send(b"7").await.unwrap();
        let too_large = vec![0; 1000];
        assert!(matches!(oldest.send(&too_large).await, Err(Error::TooLarge { .. })));
    });
}

#[test]
fn a_task_that_waits_to_drop_the_oldest_drops_what_is_given_back_meanwhile() {
    let ring = TestName::made("given-back", &options().capacity(2));
    run(&runtimes()[0], "given back", async {
        let mut producer = ring.open().producer().unwrap();
        producer.set_on_full(OnFull::DropOldest).unwrap();
        let mut producer = ringpipe::AsyncProducer::from(producer);
        producer.send(b"1").await.unwrap();
        producer.send(b"2").await.unwrap();
        let mut consumers = [(); 2].map(|()| ring.open().async_consumer().unwrap());
        let [one, two] = &mut consumers;
        let (one, two) = (one.recv().await.unwrap(), two.recv().await.unwrap());
        let giving_back = async {
            moment().await;
            drop(one);
        };
        let (sent, ()) = tokio::join!(producer.send(b"3"), giving_back);
        sent.unwrap();
        assert_eq!(producer.get_ref().totals().dropped_oldest, 1);
        two.ack();
    });
}

/// Takes everything, and counts.
async fn drain(mut consumer: AsyncConsumer) -> Vec<u64> {
    let mut numbers = Vec::new();
    loop {
        match consumer.recv().await {
            Ok(item) => {
                numbers.push(std::str::from_utf8(&item).unwrap().parse().unwrap());
                item.ack();
            }
            Err(Error::Ended) => return numbers,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn fifty_consumers_of_one_runtime_share_the_items_and_all_see_the_end() {
    for runtime in runtimes() {
        let ring = TestName::made("fifty", &options().capacity(64));
        run(&runtime, "fifty ends", async {
            let consumers = (0..50).map(|_| ring.open().async_consumer().unwrap());
            let tasks: Vec<_> = consumers.map(|consumer| tokio::spawn(drain(consumer))).collect();
            // All of them wait when the first item comes.
            moment().await;
            let sender = producer(&ring, &["--rate", "20000/s"]).input(seq(5_000)).spawn();
            let mut all = Vec::new();
            for task in tasks {
                all.extend(task.await.unwrap());
            }
            all.sort_unstable();
            assert!(all.iter().copied().eq(1..=5_000));
            sender.end().with_code(0);
        });
    }
}

#[test]
fn a_task_that_always_finds_an_item_yields_to_other_tasks() {
    let ring = TestName::made("budget", &options().capacity(8192));
    run(&runtimes()[0], "turns", async {
        let mut producer = ring.open().producer().unwrap();
        (0..8192).for_each(|n: u64| producer.send(n.to_string().as_bytes()).unwrap());
        drop(producer);
        let ring = ring.open();
        let turns = Arc::new(AtomicU64::new(0));
        let other = tokio::spawn({
            let turns = Arc::clone(&turns);
            async move {
                loop {
                    turns.fetch_add(1, Ordering::Relaxed);
                    tokio::task::yield_now().await;
                }
            }
        });
        assert_eq!(drain(ring.async_consumer().unwrap()).await.len(), 8192);
        // Tokio grants 128 steps at a time.
        assert!(turns.load(Ordering::Relaxed) >= 8192 / 128);
        other.abort();
    });
}

/// Counts how often its task was woken.
#[derive(Default)]
struct Alarm(AtomicU64);

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_task_that_waits_is_polled_once_in_a_slice() {
    let ring = TestName::made("idle", &options());
    let runtime = &runtimes()[0];
    let _inside = runtime.enter();
    let mut consumer = ring.open().async_consumer().unwrap();
    let alarm = Arc::new(Alarm::default());
    let waker = Waker::from(Arc::clone(&alarm));
    let mut receiving = pin!(consumer.recv());
    let (begin, mut seen) = (Instant::now(), 0);
    assert!(receiving.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    while begin.elapsed() < Duration::from_secs(2) {
        let woken = alarm.0.load(Ordering::Relaxed);
        if woken != seen {
            // It is woken once for each poll.
            assert_eq!(woken, seen + 1);
            seen = woken;
            assert!(receiving.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let elapsed = begin.elapsed().as_millis() as u64;
    // 25 slices of 20 ms, then slices of 80 ms.
    let most = if ring.open().discipline().sleeps() { 25 + (elapsed - 500) / 80 + 1 } else { elapsed };
    assert!((2..=most).contains(&seen), "woken {seen} times, at most {most} expected");
}

#[test]
fn a_handle_moves_to_another_runtime_with_its_wait() {
    let ring = TestName::made("moves", &options());
    let mut consumer = ring.open().async_consumer().unwrap();
    for runtime in runtimes() {
        runtime.block_on(async {
            let late = tokio::time::timeout(Duration::from_millis(2), consumer.recv()).await;
            assert!(late.is_err());
        });
        // It ends while a thread of the pool sleeps for the handle.
        drop(runtime);
    }
    // Outside of any runtime one may look, and is told where to wait.
    wait_until("a look without a sleep", || {
        let answer = consumer.recv().now_or_never();
        matches!(answer, Some(Err(Error::Unsupported(_))))
    });
    ring.send(&["x"]);
    assert_eq!(&*consumer.recv().now_or_never().unwrap().unwrap(), b"x");
}

#[test]
fn a_blocking_pool_of_one_thread_serves_several_waiting_tasks() {
    let ring = TestName::made("narrow", &options());
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().max_blocking_threads(1).build().unwrap();
    run(&runtime, "all items", async {
        let consumers = (0..8).map(|_| ring.open().async_consumer().unwrap());
        let tasks: Vec<_> = consumers.map(|consumer| tokio::spawn(drain(consumer))).collect();
        moment().await;
        let sender = producer(&ring, &["--rate", "1000/s"]).input(seq(200)).spawn();
        let mut count = 0;
        for task in tasks {
            count += task.await.unwrap().len();
        }
        assert_eq!(count, 200);
        sender.end().with_code(0);
    });
}

/// In disciplines with turns, the turns of a live process follow each other without end.
#[test]
fn a_poll_does_not_wait_for_another_processs_turn() {
    use ringpipe::internal::layout::head::MUTEX_OWNER;
    use std::os::unix::fs::FileExt;
    use std::sync::atomic::AtomicBool;
    for discipline in Discipline::ALL.iter().copied().filter(|discipline| discipline.takes_turns()) {
        let ring = TestName::made("turns", &ringpipe::RingOptions::new().capacity(2).sync(discipline));
        let ring = ring.open();
        let other = ring.consumer().unwrap();
        let (mut consumer, mut producer) = (ring.async_consumer().unwrap(), ring.async_producer().unwrap());
        let number = ring.participants()[0].number;
        let file = std::fs::File::options().write(true).open(format!("/dev/shm/{}", ring.name())).unwrap();
        let over = AtomicBool::new(false);
        let (begun, begins) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for turn in 1..20_000_u64 {
                    file.write_all_at(&(turn << 16 | (number + 1) as u64).to_ne_bytes(), MUTEX_OWNER)
                        .unwrap();
                    let _ = begun.send(());
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                    std::thread::sleep(Duration::from_micros(200));
                }
            });
            begins.recv().unwrap();
            let begin = Instant::now();
            run(&runtimes()[0], "polls that wait", async {
                assert!(consumer.recv().now_or_never().is_none());
                for _ in 0..2 {
                    producer.send(b"x").now_or_never().expect("there is room").unwrap();
                }
                assert!(producer.send(b"x").now_or_never().is_none());
                consumer.recv().now_or_never().expect("there is an item").unwrap().ack();
            });
            let took = begin.elapsed();
            over.store(true, Ordering::Relaxed);
            assert!(took < Duration::from_secs(2), "{took:?} under {discipline}");
        });
        file.write_all_at(&[0; 8], MUTEX_OWNER).unwrap();
        drop((other, consumer, producer));
    }
}

/// As of the handles that wait themselves, in `tests/library/disciplines.rs`.
#[test]
fn an_item_of_several_slots_finds_room_among_busy_small_ones() {
    use std::sync::atomic::AtomicBool;

    let ring = TestName::made("wide", &options().capacity(64).slot_size(64));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut small = ring.open().producer().unwrap();
                while !stop.load(Ordering::Relaxed) {
                    let _ = small.send_timeout(b"small", Duration::from_millis(100));
                }
            });
        }
        scope.spawn(|| {
            let mut consumer = ring.open().consumer().unwrap();
            while !stop.load(Ordering::Relaxed) {
                if let Ok(item) = consumer.recv_timeout(Duration::from_millis(100)) {
                    std::thread::sleep(Duration::from_millis(2));
                    item.ack();
                }
            }
        });
        let sent: Vec<_> = runtimes()
            .iter()
            .map(|runtime| {
                runtime.block_on(async {
                    wait_until("the ring is full", || ring.open().snapshot().unwrap().used_slots >= 60);
                    let mut producer = ring.open().async_producer().unwrap();
                    tokio::time::timeout(Duration::from_secs(20), producer.send(&[7; 2000])).await
                })
            })
            .collect();
        stop.store(true, Ordering::Relaxed);
        assert!(sent.iter().all(|sent| matches!(sent, Ok(Ok(())))), "{sent:?}");
    });
}
