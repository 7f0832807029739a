//! One measurement: workers are started, watched, asked to stop, and accounted for.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::panic::{self, AssertUnwindSafe};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

use crate::carrier::Carrier;
use crate::control::{Control, Phase};
use crate::job::{self, Job, Role, Seat, WORKER};
use crate::message::Faults;
use crate::peer::Kind;
use crate::plan::{Place, Shape};
use crate::{inherit, worker};

/// How long workers may take to attach.
const ATTACH: Duration = Duration::from_secs(10);
/// How long nothing may move before a worker counts as stuck.
const STUCK: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(1);

/// How long a measurement takes.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    pub warm_up: Duration,
    pub measure: Duration,
}

/// What came out.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// Messages (or round trips) a second.
    pub rate: f64,
    /// Seconds of processor time of all workers, for each second.
    pub cpu: f64,
    pub faults: Faults,
    /// Nanoseconds of round trips, and how often each was seen.
    pub times: Vec<[u64; 2]>,
    /// What was wrong with the figures, if anything.
    pub note: Option<String>,
}

/// Measures one carrier on one shape of work.
///
/// # Errors
/// One line that says why there is no figure.
pub fn measure(carrier: &Carrier, shape: &Shape, timing: &Timing) -> Result<Figures, String> {
    if let Some(external) = carrier.measures_itself() {
        return (external.measure)(&shape.work, timing.measure.as_secs_f64(), worker::two_cores());
    }
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let link = format!("peers-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let names = [Some(link.clone()), shape.trip.map(|_| job::answers(&link))];
    let mut hosts = Vec::new();
    if carrier.about.kind != Kind::Threads {
        for name in names.into_iter().flatten() {
            let host = panic::catch_unwind(AssertUnwindSafe(|| carrier.host(&name, &shape.work)));
            hosts.push(host.map_err(|panic| format!("cannot make the link: {}", panic_text(&*panic)))?);
        }
    }
    let text = |error: io::Error| error.to_string();
    let mut workers = Workers::start(carrier, shape, link).map_err(text)?;
    let result = workers.measure(shape, timing);
    // Workers first: a link may mind if its host goes before its ends.
    let note = workers.kill();
    drop(hosts);
    result.map_err(|error| note.map_or(error.clone(), |note| format!("{error}; {note}")))
}

/// What a panic said, in one line.
pub fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").lines().collect::<Vec<_>>().join(" ")
}

/// The worker processes of a measurement.
struct Workers {
    control: Control,
    children: Vec<Child>,
    seats: Vec<Seat>,
    /// What they write to their standard output and error.
    output: File,
    errors: File,
}

impl Workers {
    fn start(carrier: &Carrier, shape: &Shape, link: String) -> io::Result<Workers> {
        let (control, shared) = Control::create()?;
        let file = || Ok::<_, io::Error>(File::from(memfd_create("output", MFdFlags::MFD_CLOEXEC)?));
        let seats = seats(shape);
        let together = if carrier.about.kind == Kind::Threads { seats.len() } else { 1 };
        let mut workers =
            Workers { control, children: Vec::new(), seats: seats.clone(), output: file()?, errors: file()? };
        for seats in seats.chunks(together) {
            let job = Job {
                carrier: carrier.about.name.into(),
                link: link.clone(),
                work: shape.work,
                seats: seats.into(),
                inherited: inherit::offers(),
            };
            let child = Command::new(std::env::current_exe()?)
                .arg(WORKER)
                .arg(serde_json::to_string(&job)?)
                // What they say last is their reason, not where they were.
                .env("RUST_BACKTRACE", "0")
                .stdin(Stdio::from(shared.try_clone()?))
                .stdout(Stdio::from(workers.output.try_clone()?))
                .stderr(Stdio::from(workers.errors.try_clone()?))
                .spawn();
            match child {
                Ok(child) => workers.children.push(child),
                Err(error) => {
                    workers.kill();
                    return Err(error);
                }
            }
        }
        Ok(workers)
    }

    fn measure(&mut self, shape: &Shape, timing: &Timing) -> Result<Figures, String> {
        let attached = self.wait(ATTACH, |workers| workers.lines(|_| true).all(|line| line.is_attached()))?;
        if !attached {
            return Err("stuck while attaching".into());
        }
        self.control.set_phase(Phase::WarmUp);
        // Some connect when they first send.
        if !self.wait(STUCK, |workers| workers.received().0 > 0)? {
            return Err("stuck: nothing came".into());
        }
        std::thread::sleep(timing.warm_up);
        self.control.set_phase(Phase::Measure);
        let (start, before, cpu_before) = (Instant::now(), self.received().0, self.cpu_time());
        std::thread::sleep(timing.measure);
        // Where nothing came in this time, it takes as long as it takes.
        self.wait(STUCK, |workers| workers.received().0 > before)?;
        let (after, cpu, seconds) =
            (self.received().0, self.cpu_time() - cpu_before, start.elapsed().as_secs_f64());
        self.control.set_phase(Phase::Stop);
        let mut figures = Figures {
            rate: (after - before) as f64 / seconds,
            cpu: cpu / seconds,
            note: self.account(shape)?,
            ..Figures::default()
        };
        for line in self.lines(is_checked) {
            let faults = line.faults();
            figures.faults.corrupted += faults.corrupted;
            figures.faults.lost += faults.lost;
            figures.faults.doubled += faults.doubled;
        }
        if shape.trip.is_some() {
            figures.times = self.times()?;
        }
        match after - before {
            0 => Err("nothing came while it was measured".into()),
            _ => Ok(figures),
        }
    }

    /// After the stop: waits until every message that was sent was received. Answers what is missing.
    fn account(&mut self, shape: &Shape) -> Result<Option<String>, String> {
        if shape.trip.is_some() {
            let ended = self.wait_for_progress(|workers| workers.control.line(0).is_finished())?;
            return if ended { Ok(None) } else { Err("stuck: an answer did not come".into()) };
        }
        let stopped =
            self.wait_for_progress(|workers| workers.lines(sends).all(|line| line.is_finished()))?;
        if !stopped {
            return Err("stuck: a sender did not get rid of its message".into());
        }
        let everything = self.wait_for_progress(|workers| workers.received() == workers.sent())?;
        let ((sent, sum), (received, received_sum)) = (self.sent(), self.received());
        Ok(match () {
            () if everything => None,
            () if sent > received => Some(format!("{} of {sent} messages did not arrive", sent - received)),
            () if sent < received => Some(format!("{} messages more than {sent} arrived", received - sent)),
            () if sum != received_sum => Some("others arrived than were sent".into()),
            () => None,
        })
    }

    /// Waits as long as messages arrive. Answers whether `done` came true.
    fn wait_for_progress(&mut self, done: impl Fn(&Workers) -> bool) -> Result<bool, String> {
        loop {
            let before = self.received();
            if self.wait(STUCK, &done)? {
                return Ok(true);
            }
            if self.received() == before {
                return Ok(false);
            }
        }
    }

    /// Waits at most so long. Answers whether `done` came true.
    fn wait(&mut self, most: Duration, done: impl Fn(&Workers) -> bool) -> Result<bool, String> {
        let start = Instant::now();
        while !done(self) {
            if start.elapsed() > most {
                return Ok(false);
            }
            for child in &mut self.children {
                if let Ok(Some(status)) = child.try_wait() {
                    return Err(format!("a worker ended: {status}"));
                }
            }
            std::thread::sleep(POLL);
        }
        Ok(true)
    }

    fn lines(&self, which: fn(Role) -> bool) -> impl Iterator<Item = &crate::control::Line> {
        let seats = self.seats.iter().filter(move |seat| which(seat.role));
        seats.map(|seat| self.control.line(seat.line))
    }

    fn sent(&self) -> (u64, u64) {
        total(self.lines(sends).map(|line| line.counted()))
    }

    fn received(&self) -> (u64, u64) {
        total(self.lines(is_checked).map(|line| line.counted()))
    }

    /// Seconds that all workers have had a processor.
    fn cpu_time(&self) -> f64 {
        let time = |child: &Child| {
            let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(child.id() as i32)).ok()?;
            let time = Duration::from(clock_gettime(clock).ok()?);
            Some(time.as_secs_f64())
        };
        self.children.iter().filter_map(time).sum()
    }

    fn times(&mut self) -> Result<Vec<[u64; 2]>, String> {
        let text = text(&mut self.output).map_err(|error| error.to_string())?;
        let last = text.lines().last().unwrap_or_default();
        serde_json::from_str(last).map_err(|_| "a worker gave no times".into())
    }

    /// Ends all workers. Answers the last thing that one of them said on its standard error.
    fn kill(&mut self) -> Option<String> {
        for child in &mut self.children {
            // One that has ended is only waited for.
            let _ = child.kill();
            let _ = child.wait();
        }
        let said = text(&mut self.errors).unwrap_or_default();
        let mut said = said.lines().filter(|line| !line.starts_with("note: run with"));
        said.next_back().map(str::to_owned).filter(|line| !line.is_empty())
    }
}

fn text(file: &mut File) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn total(counts: impl Iterator<Item = (u64, u64)>) -> (u64, u64) {
    counts.fold((0, 0), |all, one| (all.0 + one.0, all.1.wrapping_add(one.1)))
}

fn sends(role: Role) -> bool {
    matches!(role, Role::Send(_))
}

/// Whether this worker counts what is measured, and checks it.
fn is_checked(role: Role) -> bool {
    matches!(role, Role::Receive | Role::Ping(_))
}

/// The workers and their cores.
fn seats(shape: &Shape) -> Vec<Seat> {
    let cores = worker::two_cores();
    let core = |sends: bool, number: usize| match shape.place {
        Place::Apart => cores[usize::from(!sends)],
        Place::Mixed => cores[(number + usize::from(!sends)) % 2],
        Place::Together => cores[0],
    };
    let roles: Vec<(Role, usize)> = match shape.trip {
        Some(trip) => {
            vec![(Role::Ping(trip.pause()), core(true, 0)), (Role::Pong(trip.pause()), core(false, 0))]
        }
        None => {
            let senders = (0..shape.work.senders).map(|number| (Role::Send(number), core(true, number)));
            let receivers = (0..shape.work.receivers).map(|number| (Role::Receive, core(false, number)));
            senders.chain(receivers).collect()
        }
    };
    roles.into_iter().enumerate().map(|(line, (role, core))| Seat { line, core, role }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan;

    #[test]
    fn each_of_two_cores_has_as_many_senders_as_receivers_when_mixed() {
        let [first, second] = worker::two_cores();
        for shape in plan::shapes().into_iter().filter(|shape| shape.place == Place::Mixed && first != second)
        {
            for core in [first, second] {
                let here: Vec<_> = seats(&shape).into_iter().filter(|seat| seat.core == core).collect();
                let senders = here.iter().filter(|seat| sends(seat.role)).count();
                assert_eq!(2 * senders, here.len(), "{}", shape.title());
            }
        }
    }
}
