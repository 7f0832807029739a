//! What a task that waits is woken by, and what its waiting costs.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::{Duration, Instant};

use crate::processes::options;
use futures_util::FutureExt;
use nix::sys::signal::Signal;
use ringpipe::{Activity, AsyncConsumer, Discipline, Error, OnFull, Role};

use super::common::{Run, TestRing, producer, seq, wait_until};
use super::processes::puppet::Puppet;
use super::{moment, run, runtimes};

fn ringctl(args: &[&str]) {
    Run::new(env!("CARGO_BIN_EXE_ringctl")).args(args).run().with_code(0);
}

#[test]
fn what_a_killed_process_held_is_delivered_to_a_waiting_task() {
    for runtime in runtimes() {
        let ring = TestRing::made("killed-reader", &options().capacity(4));
        ring.send(&["x"]);
        // It keeps the stream from ending.
        let _producer = Puppet::attached(&ring.name, "producer");
        let mut victim = Puppet::attached(&ring.name, "consumer");
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
fn a_killed_writer_stands_in_no_waiting_tasks_way() {
    for runtime in runtimes() {
        let ring = TestRing::made("killed-writer", &options().capacity(2));
        let mut victim = Puppet::attached(&ring.name, "producer");
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
fn a_ring_that_is_closed_wakes_those_who_send_and_those_who_receive() {
    for runtime in runtimes() {
        let (full, empty) = (TestRing::new("close-full").stays(), TestRing::new("close-empty").stays());
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
fn a_waiting_task_is_seen_to_wait_and_a_dropped_future_to_do_so_no_longer() {
    let ring = TestRing::made("seen", &options().capacity(2));
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
fn what_was_chosen_for_full_rings_applies_to_tasks() {
    let ring = TestRing::made("policies", &options().capacity(2));
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
        // What somebody holds is not dropped: it waits for that one.
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
        let ring = TestRing::made("fifty", &options().capacity(64));
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
fn a_task_that_always_finds_an_item_leaves_the_others_their_turn() {
    let ring = TestRing::made("budget", &options().capacity(8192));
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
    let ring = TestRing::made("idle", &options());
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
    let most = match ring.open().discipline() {
        Discipline::Polling => elapsed,
        // 25 slices of 20 ms, then slices of 80 ms.
        _ => 25 + (elapsed - 500) / 80 + 1,
    };
    assert!((2..=most).contains(&seen), "woken {seen} times, at most {most} expected");
}

#[test]
fn a_handle_goes_from_one_runtime_to_the_next_with_its_wait() {
    let ring = TestRing::made("moves", &options());
    let mut consumer = ring.open().async_consumer().unwrap();
    for runtime in runtimes() {
        runtime.block_on(async {
            let late = tokio::time::timeout(Duration::from_millis(2), consumer.recv()).await;
            assert!(late.is_err());
        });
        // It ends while somebody sleeps for the handle.
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
fn a_blocking_pool_of_one_thread_serves_several_who_wait() {
    let ring = TestRing::made("narrow", &options());
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
