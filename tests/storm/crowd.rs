//! The processes of one storm: killed at random moments, stopped now and then, and replaced.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use ringpipe::{Ring, Role};

use crate::processes::{Kept, Random, again};
use crate::worker::{ORDERS, Orders};

/// No record by anybody for so long is a hang.
const WATCHDOG: Duration = Duration::from_secs(20);
/// The pause between two rounds of looking at the workers.
const TICK: Duration = Duration::from_micros(300);

/// A place in the storm, which one worker after the other has.
struct Place {
    role: Role,
    log: PathBuf,
    worker: Option<Kept>,
    kill_at: Option<Instant>,
    stop_at: Option<Instant>,
    continue_at: Option<Instant>,
}

/// All workers of a storm.
pub struct Crowd<'r> {
    ring: &'r Ring,
    places: Vec<Place>,
    random: Random,
    next_worker: u32,
    pub kills: u64,
    pub stops: u64,
    /// How long all logs were, and since when.
    progress: (u64, Instant),
}

impl<'r> Crowd<'r> {
    pub fn new(ring: &'r Ring, roles: &[Role], logs: &std::path::Path, random: Random) -> Self {
        let place = |(n, role): (usize, &Role)| {
            let log = logs.join(format!("{n}-{role}"));
            Place { role: *role, log, worker: None, kill_at: None, stop_at: None, continue_at: None }
        };
        let places = roles.iter().enumerate().map(place).collect();
        let progress = (0, Instant::now());
        Crowd { ring, places, random, next_worker: 1, kills: 0, stops: 0, progress }
    }

    pub fn logs(&self) -> impl Iterator<Item = &PathBuf> {
        self.places.iter().map(|place| &place.log)
    }

    /// Storms until so many more were killed.
    pub fn storm(&mut self, kills: u64) {
        let until = self.kills + kills;
        self.progress.1 = Instant::now();
        while self.kills < until {
            for n in 0..self.places.len() {
                self.replace(n, true);
                self.torment(n);
            }
            self.watch();
            std::thread::sleep(TICK);
        }
    }

    /// Lets everybody go on unharmed until each has done something more.
    pub fn calm(&mut self) {
        for n in 0..self.places.len() {
            if self.places[n].continue_at.take().is_some() {
                self.signal(n, Signal::SIGCONT);
            }
            (self.places[n].kill_at, self.places[n].stop_at) = (None, None);
        }
        let before: Vec<u64> = self.places.iter().map(|place| len(&place.log)).collect();
        let begin = Instant::now();
        let mut waiting: Vec<usize> = (0..self.places.len()).collect();
        while !waiting.is_empty() {
            // Alarms and counted choices of those that were there before still end some.
            (0..self.places.len()).for_each(|n| self.replace(n, false));
            waiting.retain(|&n| len(&self.places[n].log) < before[n] + 32 * 40);
            if begin.elapsed() > WATCHDOG {
                let places: Vec<_> = waiting.iter().map(|&n| &self.places[n].log).collect();
                panic!("hang: nothing new from {places:?}\n{:#?}", self.ring.snapshot());
            }
            std::thread::sleep(TICK);
        }
    }

    /// Kills everybody.
    pub fn end(&mut self) {
        for place in &mut self.places {
            let Some(mut worker) = place.worker.take() else { continue };
            worker.signal(Signal::SIGKILL);
            let status = worker.0.wait().expect("a worker of ours");
            assert_eq!(status.signal(), Some(9), "a worker of {:?} ended by itself: {status}", place.log);
            self.kills += 1;
        }
    }

    /// Puts a new worker in the place of a dead one.
    fn replace(&mut self, n: usize, doomed: bool) {
        let place = &mut self.places[n];
        if let Some(worker) = &mut place.worker {
            let Some(status) = worker.0.try_wait().expect("a worker of ours") else { return };
            let name = self.ring.name_state();
            assert_eq!(
                status.signal(),
                Some(9),
                "a worker of {:?} ended by itself: {status}; the ring's name is {name:?}",
                place.log
            );
            self.kills += 1;
        }
        let now = Instant::now();
        let moment = |random: &mut Random, most: u64| Duration::from_micros(random.below(most));
        let mut orders = Orders {
            ring: self.ring.name().into(),
            log: place.log.display().to_string(),
            role: place.role,
            worker: self.next_worker,
            seed: self.random.next(),
            alarm: None,
            choices: None,
        };
        (place.kill_at, place.stop_at, place.continue_at) = (None, None, None);
        match self.random.below(8) {
            _ if !doomed => {}
            // While it starts and attaches.
            0 => place.kill_at = Some(now + moment(&mut self.random, 6_000)),
            1 | 2 => place.kill_at = Some(now + moment(&mut self.random, 100_000)),
            3 => orders.alarm = Some(self.random.below(80_000)),
            _ => orders.choices = Some(self.random.below(300)),
        }
        if doomed && self.random.one_in(10) {
            place.stop_at = Some(now + moment(&mut self.random, 60_000));
        }
        self.next_worker += 1;
        let mut command = again("worker", ORDERS, &orders.to_text());
        command.stderr(Stdio::inherit());
        place.worker = Some(Kept(command.spawn().expect("a process")));
    }

    /// Kills, stops or continues a worker whose moment has come.
    fn torment(&mut self, n: usize) {
        let now = Instant::now();
        let place = &mut self.places[n];
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if due(place.kill_at) {
            place.kill_at = None;
            self.signal(n, Signal::SIGKILL);
        } else if due(place.stop_at) {
            place.stop_at = None;
            place.continue_at = Some(now + Duration::from_micros(self.random.below(25_000)));
            self.stops += 1;
            self.signal(n, Signal::SIGSTOP);
        } else if due(place.continue_at) {
            place.continue_at = None;
            self.signal(n, Signal::SIGCONT);
        }
    }

    fn signal(&self, n: usize, signal: Signal) {
        if let Some(worker) = &self.places[n].worker {
            worker.signal(signal);
        }
    }

    fn watch(&mut self) {
        let written = self.logs().map(|log| len(log)).sum();
        if written != self.progress.0 {
            self.progress = (written, Instant::now());
        }
        if self.progress.1.elapsed() > WATCHDOG {
            panic!("hang: nobody has done anything for 20 s\n{:#?}", self.ring.snapshot());
        }
    }
}

fn len(log: &std::path::Path) -> u64 {
    std::fs::metadata(log).map_or(0, |metadata| metadata.len())
}
