//! Lines that must arrive, the processes that send and receive them for the whole test, and the account of them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::soak::churn::Churn;
use crate::support::{Running, TestName, consumer, producer, watchdog};

/// Which numbers have come: all below `next`, and those ahead of it. As many come as are on their way: few.
#[derive(Default, Debug)]
pub struct Came {
    next: u64,
    ahead: BTreeSet<u64>,
}

impl Came {
    /// False: it had come before.
    fn note(&mut self, number: u64) -> bool {
        if number < self.next || !self.ahead.insert(number) {
            return false;
        }
        while self.ahead.remove(&self.next) {
            self.next += 1;
        }
        true
    }
}

/// What has arrived from each sender, over all consumers: lines are `SENDER NUMBER`, the numbers from 0.
#[derive(Default)]
pub struct Account {
    came: Mutex<BTreeMap<String, Came>>,
    received: AtomicU64,
    again: AtomicU64,
}

impl Account {
    /// Reads a consumer's lines to its end. One that a kill has torn comes again.
    pub fn read(self: &Arc<Self>, pipe: impl Read + Send + 'static) {
        let account = Arc::clone(self);
        thread::spawn(move || {
            let mut pipe = BufReader::new(pipe);
            let mut line = String::new();
            while pipe.read_line(&mut line).is_ok_and(|n| n > 0) {
                if let Some(whole) = line.strip_suffix('\n') {
                    account.note(whole);
                }
                line.clear();
            }
        });
    }

    fn note(&self, line: &str) {
        let (sender, number) = line.split_once(' ').unwrap_or_else(|| panic!("{line:?} was never sent"));
        let number = number.parse().unwrap_or_else(|_| panic!("{line:?} was never sent"));
        let mut came = self.came.lock().unwrap();
        let first = match came.get_mut(sender) {
            Some(came) => came.note(number),
            None => came.entry(sender.into()).or_default().note(number),
        };
        // Relaxed: counts for display.
        self.received.fetch_add(1, Ordering::Relaxed);
        self.again.fetch_add(u64::from(!first), Ordering::Relaxed);
    }

    /// What is missing of the first `lines` of the sender, if anything is.
    fn missing(&self, sender: &str, lines: u64) -> Option<String> {
        let came = self.came.lock().unwrap();
        let (next, ahead) = came.get(sender).map_or((0, 0), |came| (came.next, came.ahead.len()));
        (next < lines).then(|| format!("{sender}: {next} of {lines} came, and {ahead} after a gap"))
    }

    fn forget(&self, sender: &str) {
        self.came.lock().unwrap().remove(sender);
    }
}

/// The thread that feeds a producer, and how many lines it has given.
struct Feed {
    name: String,
    given: Arc<AtomicU64>,
}

/// The processes that stay.
pub struct Residents {
    pub account: Arc<Account>,
    senders: Vec<Running>,
    receivers: Vec<Running>,
    feeds: Vec<Feed>,
    works: Arc<AtomicBool>,
    over: Arc<AtomicBool>,
    feeders: Vec<thread::JoinHandle<()>>,
}

impl Residents {
    pub fn start(ring: &TestName) -> Self {
        let account = Arc::<Account>::default();
        let (works, over) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let mut residents = Residents {
            account,
            senders: Vec::new(),
            receivers: Vec::new(),
            feeds: Vec::new(),
            works,
            over,
            feeders: Vec::new(),
        };
        for options in [&[][..], &["--json", "--rate", "20000"], &["--progress"]] {
            residents.add_sender(ring, options);
        }
        for options in [&["--follow"][..], &["--follow", "--progress"]] {
            let mut run = consumer(ring, options).uncollected().spawn();
            residents.account.read(run.take_stdout());
            residents.receivers.push(run);
        }
        residents
    }

    fn add_sender(&mut self, ring: &TestName, options: &[&str]) {
        let mut sender = producer(ring, options).uncollected().open_input().spawn();
        let mut input = sender.stdin.take().unwrap();
        let name = format!("resident{}", self.feeds.len());
        let given = Arc::new(AtomicU64::new(0));
        let (works, over) = (Arc::clone(&self.works), Arc::clone(&self.over));
        let (own_name, own_given) = (name.clone(), Arc::clone(&given));
        self.feeders.push(thread::spawn(move || {
            let mut number = 0;
            while !over.load(Ordering::Relaxed) {
                if !works.load(Ordering::Relaxed) {
                    thread::sleep(Duration::from_millis(1));
                    continue;
                }
                // Counted first, so that at rest all that was counted must come.
                let lines: String = (number..number + 20).map(|n| format!("{own_name} {n}\n")).collect();
                number += 20;
                own_given.store(number, Ordering::Relaxed);
                input.write_all(lines.as_bytes()).expect("a producer that reads");
            }
        }));
        self.feeds.push(Feed { name, given });
        self.senders.push(sender);
    }

    pub fn received(&self) -> u64 {
        self.account.received.load(Ordering::Relaxed)
    }

    pub fn again(&self) -> u64 {
        self.account.again.load(Ordering::Relaxed)
    }

    pub fn work(&self) {
        self.works.store(true, Ordering::Relaxed);
    }

    /// Waits until every line has come, of the processes that stay and of the ones that came and left well, and
    /// no other process is there.
    pub fn rest(&mut self, ring: &TestName, churn: &Churn) {
        self.works.store(false, Ordering::Relaxed);
        let start = std::time::Instant::now();
        loop {
            let residents =
                self.feeds.iter().map(|feed| (feed.name.clone(), feed.given.load(Ordering::Relaxed)));
            let sent = residents.chain(churn.sent_well());
            let missing: Vec<String> =
                sent.filter_map(|(name, lines)| self.account.missing(&name, lines)).collect();
            if missing.is_empty() {
                break;
            }
            let late = start.elapsed() > watchdog();
            assert!(!late, "watchdog: did not come: {missing:#?}\n{:#?}", ring.open().snapshot());
            thread::sleep(Duration::from_millis(2));
        }
        churn.senders().for_each(|sender| self.account.forget(&sender));
        churn.settled();
        let staying = self.senders.len() + self.receivers.len();
        loop {
            let snapshot = ring.open().snapshot().unwrap();
            if snapshot.used_slots == 0 && snapshot.participants.len() == staying {
                return;
            }
            let what = "the ring is not empty, or has others than its residents";
            assert!(start.elapsed() < watchdog(), "watchdog: {what}: {snapshot:#?}");
            thread::sleep(Duration::from_millis(2));
        }
    }

    pub fn processes(&self) -> impl Iterator<Item = (&'static str, i32)> {
        let senders = self.senders.iter().map(|process| ("producer", process.pid()));
        senders.chain(self.receivers.iter().map(|process| ("consumer", process.pid())))
    }

    /// Ends the processes that stay, and the ring.
    pub fn end(mut self, ring: &TestName) {
        self.over.store(true, Ordering::Relaxed);
        self.feeders.drain(..).for_each(|feeder| feeder.join().unwrap());
        // Their inputs are closed by that.
        self.senders.drain(..).for_each(|mut sender| assert!(sender.ended().success()));
        for mut receiver in self.receivers.drain(..) {
            receiver.signal(libc::SIGTERM);
            receiver.ended();
        }
        let snapshot = ring.open().snapshot().unwrap();
        assert_eq!((snapshot.used_slots, snapshot.participants.len()), (0, 0), "{snapshot:?}");
    }
}
