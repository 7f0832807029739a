//! The process that does the measured work.

use std::any::Any;
use std::io::{self, Write};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::carrier::Carrier;
use crate::control::Control;
use crate::job::{Job, Role, Seat};
use crate::peer::Kind;
use crate::{inherit, links};

/// Does what `argument` says. The parent kills this process when all is counted.
pub fn run(argument: &str) -> Result<(), Box<dyn std::error::Error>> {
    // A killed parent leaves no process behind.
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    // One that cannot go on says why, and the others of this process need not wait for it.
    std::panic::set_hook(Box::new(|panic| {
        eprintln!("{}", panic.to_string().lines().last().unwrap_or_default());
        std::process::exit(101);
    }));
    let job: Job = serde_json::from_str(argument)?;
    let control = Control::inherited()?;
    let carrier = links::find(&job.carrier).ok_or("no such carrier")?;
    inherit::accept(&job.inherited);
    // A process that keeps nothing open and waits to be killed must not end before its threads.
    let _hosts = hosts(&carrier, &job);
    std::thread::scope(|scope| {
        for seat in &job.seats {
            let (carrier, job, control) = (&carrier, &job, &control);
            scope.spawn(move || sit(carrier, seat, job, control));
        }
    });
    Ok(())
}

/// The links between threads, which only this process can make.
fn hosts(carrier: &Carrier, job: &Job) -> Vec<Box<dyn Any>> {
    if carrier.about.kind != Kind::Threads {
        return Vec::new();
    }
    let trip = job.seats.iter().any(|seat| matches!(seat.role, Role::Ping(_)));
    let answers = trip.then(|| carrier.host(&job.answers(), &job.work));
    [Some(carrier.host(&job.link, &job.work)), answers].into_iter().flatten().collect()
}

fn sit(carrier: &Carrier, seat: &Seat, job: &Job, control: &Control) {
    pin(seat.core);
    if let Some(times) = carrier.sit(seat, job, control) {
        let buckets: Vec<[u64; 2]> =
            times.iter_recorded().map(|at| [at.value_iterated_to(), at.count_at_value()]).collect();
        let line = serde_json::to_string(&buckets).unwrap_or_default();
        let mut output = io::stdout().lock();
        let _ = writeln!(output, "{line}").and_then(|()| output.flush());
    }
    control.line(seat.line).finish();
    // Each thread that ends here, of several or alone, waits to be killed: a link may end with its ends.
    loop {
        std::thread::park();
    }
}

/// Binds this thread to one core. Where that is refused it runs where it may.
pub fn pin(core: usize) {
    let mut cores = CpuSet::new();
    if cores.set(core).is_ok() {
        let _ = sched_setaffinity(Pid::from_raw(0), &cores);
    }
}

/// Two cores that this process may use, or the only one twice.
pub fn two_cores() -> [usize; 2] {
    let allowed = sched_getaffinity(Pid::from_raw(0)).unwrap_or_default();
    let mut cores = (0..CpuSet::count()).filter(|core| allowed.is_set(*core).unwrap_or(false));
    let first = cores.next().unwrap_or(0);
    [first, cores.next().unwrap_or(first)]
}
