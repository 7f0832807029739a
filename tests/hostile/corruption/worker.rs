//! A process that uses the library in all its ways until its time is over, or the ring is of no use any more.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ringpipe::{Consumer, Error, ErrorKind, OnFull, Producer, Ring, StopFlag};

use crate::support::{Random, again, die_with_parent};

const WORKER: &str = "RINGPIPE_TEST_CORRUPTION_WORKER";

/// A worker that is to be started.
pub fn of(name: &str, seed: u64, time: Duration) -> Command {
    let mut command =
        again("corruption::another_process", WORKER, &format!("{name} {seed} {}", time.as_millis()));
    command.stderr(Stdio::piped());
    command
}

pub fn run_if_told() {
    let Ok(text) = std::env::var(WORKER) else { return };
    die_with_parent();
    ringpipe::survive_truncation().unwrap();
    let parts: Vec<&str> = text.split(' ').collect();
    let (mut random, time) = (Random::new(parts[1].parse().unwrap()), parts[2].parse().unwrap());
    let time = Duration::from_millis(time);
    let end = match work(parts[0], &mut random, time) {
        Ok(()) => "its time was over".to_string(),
        Err(error) => format!("{:?}", error.kind()),
    };
    let _ = writeln!(std::io::stderr(), "worker: {end}");
    std::process::exit(0);
}

fn work(name: &str, random: &mut Random, time: Duration) -> Result<(), Error> {
    let stop = StopFlag::new();
    let raise = stop.clone();
    std::thread::spawn(move || {
        std::thread::sleep(time);
        raise.raise();
    });
    let begin = Instant::now();
    while begin.elapsed() < time {
        let ring = Ring::open(name)?;
        let (mut producer, mut consumer) = (ring.producer()?, ring.consumer()?);
        producer.set_stop_flag(stop.clone());
        consumer.set_stop_flag(stop.clone());
        for _ in 0..200 {
            match act(&ring, &mut producer, &mut consumer, random) {
                Ok(()) => {}
                Err(Error::Interrupted) => return Ok(()),
                // It may be damaged for one thing, and not for the next: again with new handles, for a while.
                Err(error) if matches!(error.kind(), ErrorKind::Truncated | ErrorKind::Closed) => {
                    return Err(error);
                }
                Err(_) => {}
            }
        }
    }
    Ok(())
}

fn act(
    ring: &Ring,
    producer: &mut Producer,
    consumer: &mut Consumer,
    random: &mut Random,
) -> Result<(), Error> {
    let short = Duration::from_micros(random.below(3000));
    let bytes = vec![7; random.below(ring.max_item().min(5000) + 2) as usize];
    match random.below(12) {
        0 => producer.try_send(&bytes),
        1 => producer.send_timeout(&bytes, short),
        2 => producer.send_batch_timeout(&[&bytes[..], b"x", &bytes], short).map(drop),
        3 => {
            let mut reservation = producer.reserve_timeout(bytes.len() as u64, short)?;
            reservation.write_at(0, &bytes);
            reservation.commit();
            producer.check()
        }
        4 if !ring.is_exclusive() => {
            producer.set_on_full(OnFull::DropOldest)?;
            producer.send_timeout(&bytes, short)
        }
        // Without a limit: the stop flag ends it.
        5 if random.one_in(20) => producer.send(&bytes),
        5 | 6 => {
            let item = if random.one_in(20) { consumer.recv()? } else { consumer.recv_timeout(short)? };
            std::hint::black_box(item.iter().map(|byte| *byte as u64).sum::<u64>());
            item.check()?;
            item.ack();
            Ok(())
        }
        7 => consumer.try_recv().map(|item| drop(item.to_vec())),
        8 => {
            let mut batch = consumer.recv_batch_timeout(40, short)?;
            std::hint::black_box(batch.iter().map(|item| item.to_vec().len()).sum::<usize>());
            batch.ack_first();
            if random.one_in(3) {
                batch.give_back()
            } else {
                batch.ack()
            }
            Ok(())
        }
        9 => ring.snapshot().map(drop),
        10 => {
            ring.slots().for_each(|slot| drop(ring.slot_item(&slot, 20)));
            drop((ring.peek(5), ring.participants()));
            Ok(())
        }
        _ => {
            ring.repair();
            Ok(())
        }
    }
}
