//! A process that stays, and makes, opens, uses and leaves a ring all the time, through the library.

use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ringpipe::{ErrorKind, RingOptions};

use crate::support::{Kept, TestName, wait_until};

const RING: &str = "RINGPIPE_SOAK_REATTACH";
/// Told when it has used the ring so often.
const TURNS: u64 = 20;

pub struct Reattacher {
    child: Kept,
    orders: ChildStdin,
    ordered: u64,
    done: Arc<AtomicU64>,
}

impl Reattacher {
    pub fn start(ring: &TestName) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "--nocapture", "soak::reattach::process_that_attaches_again"])
            .env(RING, &ring.name);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = Kept(command.spawn().unwrap());
        let (orders, answers) = (child.0.stdin.take().unwrap(), child.0.stdout.take().unwrap());
        let done = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&done);
        std::thread::spawn(move || {
            let lines = BufReader::new(answers).lines().map_while(Result::ok);
            // Relaxed: a count, waited for.
            lines.filter(|line| line == "done").for_each(|_| {
                count.fetch_add(1, Ordering::Relaxed);
            });
        });
        Reattacher { child, orders, ordered: 0, done }
    }

    pub fn pid(&self) -> i32 {
        self.child.pid().as_raw()
    }

    /// Another few turns, unless it is at some.
    pub fn go_on(&mut self) {
        if self.done.load(Ordering::Relaxed) == self.ordered {
            self.orders.write_all(b"go\n").unwrap();
            self.ordered += 1;
        }
    }

    pub fn rest(&mut self) {
        wait_until("end of its turns", || self.done.load(Ordering::Relaxed) == self.ordered);
    }

    pub fn end(mut self) {
        drop(self.orders);
        assert!(self.child.ended().success());
    }
}

#[test]
fn process_that_attaches_again() {
    // Only where the soak has started it.
    let Ok(ring) = std::env::var(RING) else { return };
    for _ in std::io::stdin().lines() {
        for turn in 0..TURNS {
            if let Err(error) = use_it(&ring, turn) {
                // The ring is removed and made anew all the time.
                let goes = matches!(
                    error.kind(),
                    ErrorKind::Closed
                        | ErrorKind::NotFound
                        | ErrorKind::Ended
                        | ErrorKind::Exists
                        | ErrorKind::Full
                        | ErrorKind::Empty
                        | ErrorKind::TimedOut
                );
                assert!(goes, "{error}");
            }
        }
        println!("done");
    }
}

fn use_it(name: &str, turn: u64) -> ringpipe::Result<()> {
    let ring = RingOptions::new().capacity(64).ephemeral(true).open_or_create(name)?;
    let mut producer = ring.producer()?;
    producer.try_send(format!("attacher {turn}").as_bytes())?;
    let mut consumer = ring.consumer()?;
    consumer.try_recv()?.ack();
    ring.snapshot()?;
    Ok(())
}
