//! A ring of a run, as the test observes it: in shared memory, or a stream of a server.

use std::path::PathBuf;
#[cfg(feature = "nats")]
use std::sync::{Mutex, PoisonError};
#[cfg(feature = "nats")]
use std::time::{Duration, Instant};
use std::{env, fmt};

use crate::cli::common::address::Server;
use crate::cli::common::exit::Failure;
use crate::cli::ctl::test::scenario::{Run, Scenario, When};
use crate::{Ring, RingName, RingObserver};
#[cfg(feature = "nats")]
use crate::{
    StopFlag,
    cli::common::{
        args::ArgError,
        exit::code,
        report::{ReportArgs, Reporter},
        ui::Ui,
    },
    cli::transport::nats::admin::Admin,
};

/// The options of `ringctl create` that a stream can have.
const OF_STREAMS: [&str; 2] = ["--capacity", "--producers"];
/// The options of producers and consumers that no stream has.
const IN_MEMORY: [&str; 9] = [
    "--exclusive",
    "--fixed",
    "--sync",
    "--wake-at",
    "--resume-at",
    "--slot-size",
    "--mode",
    "--owner",
    "--shared",
];
/// How long the server waits for a sign of the process that holds an item: short, since tests kill processes.
#[cfg(feature = "nats")]
const ACK_WAIT: &str = "ack-wait=2s";
/// The time between two observations of the same figures of a stream.
#[cfg(feature = "nats")]
const INTERVAL: Duration = Duration::from_millis(20);
/// How long one may take: meanwhile no fault strikes.
#[cfg(feature = "nats")]
const ANSWER: Duration = Duration::from_secs(1);

/// A ring, or a stream in its place.
pub enum RunRing {
    /// A ring in shared memory.
    Memory(RingObserver),
    /// A stream of a server, which is removed when this is dropped.
    #[cfg(feature = "nats")]
    Stream(Box<Stream>),
}

/// A stream, and what was last seen of it.
#[cfg(feature = "nats")]
pub struct Stream {
    admin: Admin,
    name: String,
    counts: Recent<Counts>,
    processes: Recent<Vec<u32>>,
}

/// What was last seen, and when it was asked for.
#[cfg(feature = "nats")]
type Recent<T> = Mutex<Option<(Instant, Option<T>)>>;

/// Figures of a ring.
#[derive(Debug, Clone, Copy)]
pub struct Counts {
    /// Items that were sent, and those that were acknowledged.
    pub sent: u64,
    pub acknowledged: u64,
    /// Slots in use, and all.
    pub used: u64,
    pub capacity: u64,
}

/// The name in the system of a ring of the session with this id.
pub fn ring_name(id: &str, name: &str) -> String {
    format!("ringpipe-test-{id}-{name}")
}

/// The name under which the programs of a run find a ring.
pub fn name_of(over: Option<&Server>, id: &str, name: &str) -> String {
    let real = ring_name(id, name);
    match over {
        #[cfg(feature = "nats")]
        Some(server) => server.stream(&real).map_or(real, |mut stream| {
            let context = stream.server.context.take();
            stream.server.context =
                context.map(|context| match absolute("NATS_CONTEXT", context.as_ref().into()) {
                    Some(path) => path.to_string_lossy().into(),
                    None => context,
                });
            stream.to_open()
        }),
        _ => real,
    }
}

/// The name with which the ring is made.
pub fn name_to_make(over: Option<&Server>, name: &str) -> String {
    match over {
        #[cfg(feature = "nats")]
        Some(_) => format!("{name}{}{ACK_WAIT}", if name.contains('?') { '&' } else { '?' }),
        _ => name.into(),
    }
}

/// What a scenario needs that streams do not have.
pub fn only_in_memory(scenario: &Scenario) -> Option<String> {
    for ring in &scenario.rings {
        let other = |option: &&String| option.starts_with("--") && !OF_STREAMS.contains(&name_in(option));
        if let Some(option) = ring.options.iter().find(other) {
            return Some(format!("ring {} has {option}, which no stream has", ring.name));
        }
    }
    for program in &scenario.programs {
        let (Run::Producer(arguments) | Run::Consumer(arguments)) = &program.run else { continue };
        // What follows is the command of a worker.
        let mut options = arguments.iter().take_while(|argument| *argument != "--");
        let in_memory =
            |option: &&String| IN_MEMORY.contains(&name_in(option)) || *option == "--on-full=drop-oldest";
        if let Some(option) = options.find(in_memory) {
            return Some(format!("{} has {option}, which no stream has", program.name));
        }
    }
    let held = scenario.faults.iter().find(|fault| matches!(fault.when, When::Held(_)));
    held.map(|fault| format!("line {}: a server does not tell which process holds an item", fault.line))
}

/// The name of an option, without its value.
fn name_in(option: &str) -> &str {
    option.split('=').next().unwrap_or_default()
}

/// The variables with paths of credentials, as absolute paths: the programs of a run have another working directory.
pub fn credentials() -> Vec<(&'static str, PathBuf)> {
    let names = ["NATS_CONTEXT", "NATS_CREDS", "NATS_NKEY", "NATS_CA", "NATS_CERT", "NATS_KEY"];
    let given = |name| Some((name, absolute(name, env::var_os(name)?.into())?));
    names.into_iter().filter_map(given).collect()
}

/// The absolute path of a file with credentials. `None`: it is the name of a context, or an nkey's seed, and no path.
fn absolute(variable: &str, given: PathBuf) -> Option<PathBuf> {
    let is_name = variable == "NATS_CONTEXT" && given.components().count() < 2;
    if is_name || !given.exists() {
        return None;
    }
    std::path::absolute(given).ok()
}

impl RunRing {
    /// The ring in shared memory of this name, which exists.
    ///
    /// # Errors
    /// It cannot be observed.
    pub fn memory(name: &str) -> Result<Self, Failure> {
        let found = RingName::parse(name).and_then(|name| Ring::observe(&name));
        found.map(RunRing::Memory).map_err(|error| Failure::of_ring(name, &error))
    }

    /// The stream of this name, which is about to be made. `None`: this is no run over a server, or the stop flag was raised.
    ///
    /// # Errors
    /// The server cannot be reached.
    #[cfg(feature = "nats")]
    pub fn stream(over: Option<&Server>, name: &str, stop: &StopFlag) -> Result<Option<Self>, Failure> {
        if over.is_none() {
            return Ok(None);
        }
        let bad = |error: ArgError| Failure::new(code::USAGE, error.to_string());
        let report = Reporter::new("ringctl", &ReportArgs::default());
        let admin = Admin::open(&name.parse().map_err(bad)?, &report, stop)?;
        let (counts, processes) = (Mutex::default(), Mutex::default());
        Ok(admin
            .map(|admin| RunRing::Stream(Box::new(Stream { admin, name: name.into(), counts, processes }))))
    }

    /// Its figures. `None`: they are not known now.
    ///
    /// # Errors
    /// It cannot be observed.
    pub fn counts(&self, name: &str) -> Result<Option<Counts>, Failure> {
        match self {
            RunRing::Memory(ring) => {
                let seen = ring.snapshot().map_err(|error| Failure::of_ring(name, &error))?;
                let (totals, used) = (seen.totals, seen.used_slots);
                let (sent, acknowledged) = (totals.sent, totals.acknowledged);
                Ok(Some(Counts { sent, acknowledged, used, capacity: seen.capacity }))
            }
            #[cfg(feature = "nats")]
            RunRing::Stream(stream) => recent(&stream.counts, || {
                let seen = stream.admin.counts(ANSWER)?;
                Ok(seen.map(|seen| Counts {
                    sent: seen.used + seen.acknowledged,
                    acknowledged: seen.acknowledged,
                    used: seen.used,
                    capacity: seen.capacity,
                }))
            }),
        }
    }

    /// Whether a process is attached, as far as is known.
    pub fn has(&self, pid: u32) -> bool {
        match self {
            RunRing::Memory(ring) => ring.participants().iter().any(|one| one.pid == pid),
            #[cfg(feature = "nats")]
            RunRing::Stream(stream) => {
                let seen = recent(&stream.processes, || stream.admin.processes(ANSWER));
                seen.is_ok_and(|seen| seen.is_some_and(|pids| pids.contains(&pid)))
            }
        }
    }

    /// The ids of the consumers that hold an item. Of a stream, none is known.
    ///
    /// # Errors
    /// It cannot be observed.
    pub fn holders(&self, name: &str) -> Result<Vec<u32>, Failure> {
        match self {
            RunRing::Memory(ring) => {
                let seen = ring.snapshot().map_err(|error| Failure::of_ring(name, &error))?;
                let holds = |number: u32| seen.held.iter().any(|held| held.owner == number && !held.writing);
                Ok(seen.participants.iter().filter(|one| holds(one.number)).map(|one| one.pid).collect())
            }
            #[cfg(feature = "nats")]
            RunRing::Stream(_) => Ok(Vec::new()),
        }
    }
}

/// What was seen a moment ago, or is seen now; if nothing is, what was last seen.
#[cfg(feature = "nats")]
fn recent<T: Clone>(
    kept: &Recent<T>,
    observe: impl FnOnce() -> Result<Option<T>, Failure>,
) -> Result<Option<T>, Failure> {
    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((at, seen)) = &*kept
        && at.elapsed() < INTERVAL
    {
        return Ok(seen.clone());
    }
    let before = kept.take().and_then(|(_, seen)| seen);
    let seen = observe()?.or(before);
    *kept = Some((Instant::now(), seen.clone()));
    Ok(seen)
}

#[cfg(feature = "nats")]
impl Drop for Stream {
    fn drop(&mut self) {
        if let Err(failure) = self.admin.remove(true) {
            Ui::new("ringctl").note(&format!("stream {} was not removed: {}", self.name, failure.line));
        }
    }
}

impl fmt::Debug for RunRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunRing::Memory(ring) => ring.fmt(f),
            #[cfg(feature = "nats")]
            RunRing::Stream(_) => f.write_str("Stream"),
        }
    }
}
