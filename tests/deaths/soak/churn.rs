//! Processes that start, work, and leave or are killed.

use std::cell::RefCell;
use std::sync::Arc;

use crate::soak::lines::Account;
use crate::support::{Run, Running, TestName};

/// This number of them at a time.
const PLACES: usize = 6;

struct Worker {
    process: Running,
    /// The name in its lines, and how many it sends; not for processes whose ring is removed.
    sends: Option<(String, u64)>,
}

pub struct Churn {
    ring: String,
    other: String,
    workers: Vec<Worker>,
    random: fastrand::Rng,
    next: u64,
    pub kills: u64,
    pub left: u64,
    /// The senders that have sent all of their lines, and how many.
    well: RefCell<Vec<(String, u64)>>,
    /// All processes that may have sent something.
    all: RefCell<Vec<String>>,
    account: Arc<Account>,
}

impl Churn {
    pub fn new(ring: &TestName, other: &TestName, account: &Arc<Account>) -> Self {
        Churn {
            ring: ring.name.clone(),
            other: other.name.clone(),
            workers: Vec::new(),
            random: fastrand::Rng::with_seed(11),
            next: 0,
            kills: 0,
            left: 0,
            well: RefCell::default(),
            all: RefCell::default(),
            account: Arc::clone(account),
        }
    }

    /// Kills one of the running processes, and replaces all that have ended.
    pub fn kill_one_and_replace(&mut self) {
        self.reap();
        if !self.workers.is_empty() {
            let mut victim = self.workers.swap_remove(self.random.usize(..self.workers.len()));
            // Now and then it is asked, and takes its time.
            let signal = if self.random.u8(..) < 40 { libc::SIGTERM } else { libc::SIGKILL };
            if victim.process.is_running() {
                victim.process.signal(signal);
                self.kills += u64::from(signal == libc::SIGKILL);
            }
            victim.process.ended();
            self.left += 1;
        }
        if self.random.u8(..) < 12 {
            // The other ring is removed although it is in use; the next process creates it again.
            let run = Run::new(env!("CARGO_BIN_EXE_ringctl")).args(&["rm", "-f", &self.other]).run();
            assert_eq!(run.code, Some(0), "{}", run.stderr);
        }
        while self.workers.len() < PLACES {
            self.start();
        }
    }

    fn reap(&mut self) {
        let mut at = 0;
        while at < self.workers.len() {
            if self.workers[at].process.is_running() {
                at += 1;
                continue;
            }
            let mut worker = self.workers.swap_remove(at);
            let status = worker.process.ended();
            // Of a ring that goes: closed, or not there.
            let fine = [0, 3, 5].map(Some).contains(&status.code());
            assert!(fine, "{status}: {}", worker.process.messages());
            if let Some(sends) = worker.sends.filter(|_| status.success()) {
                self.well.borrow_mut().push(sends);
            }
            self.left += 1;
        }
    }

    fn start(&mut self) {
        self.next += 1;
        let on_other = self.random.u8(..) < 64;
        let ring = if on_other { self.other.clone() } else { self.ring.clone() };
        let most = self.random.u64(1..3000).to_string();
        if self.random.bool() {
            let (name, lines) = (format!("visitor{}", self.next), self.random.u64(1..3000));
            let text: String = (0..lines).map(|n| format!("{name} {n}\n")).collect();
            let options: &[&str] = [&[][..], &["--rate", "9000"]][self.random.usize(..2)];
            let process =
                Run::new(env!("CARGO_BIN_EXE_producer")).arg(&ring).args(options).input(text).spawn();
            let sends = (!on_other).then(|| (name.clone(), lines));
            self.all.borrow_mut().push(name);
            self.workers.push(Worker { process, sends });
        } else {
            let some = ["-n", &most];
            let options: &[&str] = [&some[..], &["--follow"], &["--rate", "900"]][self.random.usize(..3)];
            let mut process =
                Run::new(env!("CARGO_BIN_EXE_consumer")).arg(&ring).args(options).uncollected().spawn();
            self.account.read(process.take_stdout());
            self.workers.push(Worker { process, sends: None });
        }
    }

    /// Kills all running processes.
    pub fn end(&mut self) {
        self.reap();
        for mut worker in self.workers.drain(..) {
            if worker.process.is_running() {
                worker.process.signal(libc::SIGKILL);
                self.kills += 1;
            }
            worker.process.ended();
            self.left += 1;
        }
    }

    pub fn sent_well(&self) -> impl Iterator<Item = (String, u64)> {
        self.well.borrow().clone().into_iter()
    }

    pub fn senders(&self) -> impl Iterator<Item = String> {
        self.all.borrow().clone().into_iter()
    }

    /// What they sent has come, and is forgotten.
    pub fn settled(&self) {
        self.well.borrow_mut().clear();
        self.all.borrow_mut().clear();
    }
}
