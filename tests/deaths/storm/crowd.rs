//! The processes of one storm: forked, killed at random moments, stopped and continued, and replaced.

use std::time::{Duration, Instant};

use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, getpid, getppid};
use ringpipe::{Ring, Role};

use crate::storm::log::{Board, Call, Log};
use crate::storm::worker::{self, Orders};
use crate::support::{Random, times_slower};

/// No record by any process for this time is a hang.
pub const WATCHDOG: Duration = Duration::from_secs(20);
/// Checks without anything new that are a hang, if they took as long as the watchdog: a machine on which no
/// worker runs for so long lets this process not check, either.
const HANG_TURNS: u32 = 40_000;
/// The pause between two rounds of looking at the workers.
const TICK: Duration = Duration::from_micros(100);
/// A worker that has been in one call for so long waits in it.
const WAITS: Duration = Duration::from_micros(500);
/// Records that each place writes in peace before the end.
const CALM: usize = 40;

/// Where the dead were.
#[derive(Debug, Clone, Copy, Default)]
pub struct Deaths {
    /// By [`Call`]; what was not inside a call comes first.
    pub in_call: [u64; Call::MANY],
    /// Of those in a call: in it for longer than it takes without waiting.
    pub waiting: u64,
}

/// A place in the storm, which one worker after the other has.
struct Place {
    role: Role,
    worker: Option<Pid>,
    kill_at: Option<Instant>,
    stop_at: Option<Instant>,
    continue_at: Option<Instant>,
    /// The worker's mark, and since when.
    mark: (u64, Instant),
}

/// All workers of a storm.
pub struct Crowd<'r> {
    ring: &'r Ring,
    board: &'r Board,
    places: Vec<Place>,
    random: Random,
    next_worker: u32,
    pub kills: u64,
    pub stops: u64,
    pub deaths: Deaths,
    /// How long all logs were, and since when.
    progress: (usize, Patience),
}

/// Forks a process that runs `life`; a panic in it ends it with 101, which does not count as a kill.
pub fn forked(life: impl FnOnce()) -> Pid {
    let parent = getpid();
    // SAFETY: this process has one thread, and no participant of a ring.
    match unsafe { fork() }.expect("a process") {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            let live = || {
                prctl::set_pdeathsig(Signal::SIGKILL).expect("PR_SET_PDEATHSIG");
                assert_eq!(getppid(), parent);
                life();
            };
            let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(live)).map_or(101, |()| 0);
            // SAFETY: ends this process, and runs nothing of its parent's.
            unsafe { libc::_exit(code) }
        }
    }
}

/// How long nothing new has been seen.
struct Patience {
    since: Instant,
    turns: u32,
}

impl Patience {
    fn new() -> Self {
        Patience { since: Instant::now(), turns: 0 }
    }

    /// To be asked once a turn.
    fn is_over(&mut self) -> bool {
        self.turns += 1;
        self.turns > HANG_TURNS && self.since.elapsed() > WATCHDOG * times_slower()
    }
}

impl<'r> Crowd<'r> {
    pub fn new(ring: &'r Ring, roles: &[Role], board: &'r Board, random: Random) -> Self {
        let now = Instant::now();
        let place = |role: &Role| Place {
            role: *role,
            worker: None,
            kill_at: None,
            stop_at: None,
            continue_at: None,
            mark: (0, now),
        };
        let places = roles.iter().map(place).collect();
        let deaths = Deaths::default();
        Crowd {
            ring,
            board,
            places,
            random,
            next_worker: 1,
            kills: 0,
            stops: 0,
            deaths,
            progress: (0, Patience::new()),
        }
    }

    /// Storms until this number were killed, or a log is long, and answers whether it was the former.
    pub fn storm(&mut self, kills: u64) {
        self.progress.1 = Patience::new();
        while self.kills < kills && !self.board.logs().any(|log| log.is_long()) {
            self.reap();
            for n in 0..self.places.len() {
                self.replace(n, true);
                self.torment(n);
            }
            self.watch();
            std::thread::sleep(TICK);
        }
    }

    /// Lets all workers continue unharmed until each has done something more.
    pub fn calm(&mut self) {
        self.board.calm();
        for n in 0..self.places.len() {
            if self.places[n].continue_at.take().is_some() {
                self.signal(n, Signal::SIGCONT);
            }
            (self.places[n].kill_at, self.places[n].stop_at) = (None, None);
        }
        let before: Vec<usize> = self.board.logs().map(|log| log.len()).collect();
        let mut patience = Patience::new();
        let mut waiting: Vec<usize> = (0..self.places.len()).collect();
        while !waiting.is_empty() {
            // Alarms and counted choices of earlier workers still end some.
            self.reap();
            (0..self.places.len()).for_each(|n| self.replace(n, false));
            waiting.retain(|&n| self.board.log(n).len() < before[n] + CALM);
            if patience.is_over() {
                panic!("hang: nothing new from {waiting:?}\n{:#?}", self.ring.snapshot());
            }
            std::thread::sleep(TICK);
        }
    }

    /// Kills all workers.
    pub fn end(&mut self) {
        for n in 0..self.places.len() {
            self.signal(n, Signal::SIGKILL);
        }
        while self.places.iter().any(|place| place.worker.is_some()) {
            self.reap();
            std::thread::yield_now();
        }
    }

    /// Counts the dead.
    fn reap(&mut self) {
        loop {
            let status = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) | Err(nix::errno::Errno::ECHILD) => return,
                status => status.expect("workers of ours"),
            };
            let n = self.places.iter().position(|place| place.worker == status.pid());
            let n = n.expect("a worker of ours");
            let place = &mut self.places[n];
            let killed = matches!(status, WaitStatus::Signaled(_, Signal::SIGKILL, _));
            let (role, name) = (place.role, self.ring.name_state());
            assert!(killed, "{role} {n} ended by itself: {status:?}; the ring's name is {name:?}");
            place.worker = None;
            self.kills += 1;
            let mark = self.board.log(n).mark();
            let call = (mark & 0xff) as usize;
            self.deaths.in_call[call] += 1;
            let long = place.mark.0 == mark && place.mark.1.elapsed() > WAITS;
            self.deaths.waiting += (call != Call::None as usize && long) as u64;
        }
    }

    /// Puts a new worker in the place of a dead one.
    fn replace(&mut self, n: usize, doomed: bool) {
        if self.places[n].worker.is_some() {
            return;
        }
        let place = &mut self.places[n];
        let now = Instant::now();
        let moment = |random: &mut Random, most: u64| Duration::from_micros(random.below(most));
        let (worker, seed) = (self.next_worker, self.random.next());
        let mut orders = Orders { role: place.role, worker, seed, alarm: None, choices: None };
        (place.kill_at, place.stop_at, place.continue_at) = (None, None, None);
        match self.random.below(8) {
            _ if !doomed => {}
            // While it starts and attaches.
            0 => place.kill_at = Some(now + moment(&mut self.random, 1_000)),
            1 => place.kill_at = Some(now + moment(&mut self.random, 30_000)),
            2 => orders.alarm = Some(self.random.below(5_000)),
            _ => orders.choices = Some(self.random.below(200)),
        }
        if doomed && self.random.one_in(10) {
            place.stop_at = Some(now + moment(&mut self.random, 5_000));
        }
        self.next_worker += 1;
        let (name, log): (&str, Log<'_>) = (self.ring.name(), self.board.log(n));
        log.clear_mark();
        place.worker = Some(forked(|| worker::live(name, log, &orders)));
    }

    /// Kills, stops or continues a worker whose moment has come.
    fn torment(&mut self, n: usize) {
        let now = Instant::now();
        let mark = self.board.log(n).mark();
        let place = &mut self.places[n];
        if place.mark.0 != mark {
            place.mark = (mark, now);
        }
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if due(place.kill_at) {
            place.kill_at = None;
            self.signal(n, Signal::SIGKILL);
        } else if due(place.stop_at) {
            place.stop_at = None;
            let most = if self.random.one_in(4) { 25_000 } else { 3_000 };
            place.continue_at = Some(now + Duration::from_micros(self.random.below(most)));
            self.stops += 1;
            self.signal(n, Signal::SIGSTOP);
        } else if due(place.continue_at) {
            place.continue_at = None;
            self.signal(n, Signal::SIGCONT);
        }
    }

    fn signal(&self, n: usize, signal: Signal) {
        if let Some(worker) = self.places[n].worker {
            kill(worker, signal).expect("it is not reaped yet");
        }
    }

    fn watch(&mut self) {
        let written = self.board.logs().map(|log| log.len()).sum();
        if written != self.progress.0 {
            self.progress = (written, Patience::new());
        }
        if self.progress.1.is_over() {
            panic!("hang: no worker has done anything for 20 s\n{:#?}", self.ring.snapshot());
        }
    }
}

impl Drop for Crowd<'_> {
    /// No worker outlives the storm, however it ends.
    fn drop(&mut self) {
        for place in &self.places {
            if let Some(worker) = place.worker {
                let _ = kill(worker, Signal::SIGKILL);
                let _ = waitpid(worker, None);
            }
        }
    }
}
