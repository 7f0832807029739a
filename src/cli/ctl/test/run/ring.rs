//! A ring of a run, as the test observes it: in shared memory, or a stream of a server.

use std::fmt;
#[cfg(feature = "nats")]
use std::sync::Mutex;
#[cfg(feature = "nats")]
use std::time::{Duration, Instant};

use crate::cli::common::address::Server;
use crate::cli::common::exit::Failure;
#[cfg(feature = "nats")]
use crate::cli::common::report::{ReportArgs, Reporter};
use crate::cli::ctl::test::scenario::{Scenario, When};
#[cfg(feature = "nats")]
use crate::cli::transport::nats::admin::Admin;
use crate::{Ring, RingName, RingObserver, StopFlag};

/// The options of `ringctl create` that a stream can have.
const OF_STREAMS: [&str; 2] = ["--capacity", "--producers"];
/// How long the server waits for a sign of the process that holds an item: short, since tests kill processes.
#[cfg(feature = "nats")]
const ACK_WAIT: &str = "ack-wait=2s";
/// Between two looks at the same figures of a stream.
#[cfg(feature = "nats")]
const LOOKS: Duration = Duration::from_millis(20);

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
    counts: Mutex<Option<(Instant, Counts)>>,
    processes: Mutex<Option<(Instant, Vec<u32>)>>,
}

/// Figures of a ring.
#[derive(Debug, Clone, Copy, Default)]
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
        None => real,
        #[cfg(feature = "nats")]
        Some(server) => {
            let context = server.context.as_ref().map(|context| format!("?context={context}"));
            format!("{}/{real}{}", server.as_str(), context.unwrap_or_default())
        }
        #[cfg(not(feature = "nats"))]
        Some(server) => match *server {},
    }
}

/// The name with which the ring is made.
pub fn name_to_make(over: Option<&Server>, name: &str) -> String {
    match over {
        None => name.into(),
        #[cfg(feature = "nats")]
        Some(_) if name.contains('?') => format!("{name}&{ACK_WAIT}"),
        #[cfg(feature = "nats")]
        Some(_) => format!("{name}?{ACK_WAIT}"),
        #[cfg(not(feature = "nats"))]
        Some(server) => match *server {},
    }
}

/// What a scenario needs that streams do not have.
pub fn only_in_memory(scenario: &Scenario) -> Option<String> {
    for ring in &scenario.rings {
        let option = ring.options.iter().find(|option| {
            let name = option.split('=').next().unwrap_or_default();
            option.starts_with("--") && !OF_STREAMS.contains(&name)
        });
        if let Some(option) = option {
            return Some(format!("ring {} has {option}, which no stream has", ring.name));
        }
    }
    let held = scenario.faults.iter().find(|fault| matches!(fault.when, When::Held(_)));
    held.map(|fault| format!("line {}: a server does not tell which process holds an item", fault.line))
}

impl RunRing {
    /// The ring of this name, which exists. `None`: the stop flag was raised first.
    ///
    /// # Errors
    /// It cannot be observed.
    pub fn open(over: Option<&Server>, name: &str, stop: &StopFlag) -> Result<Option<Self>, Failure> {
        match over {
            None => {
                let _ = stop;
                let found = RingName::parse(name).and_then(|name| Ring::observe(&name));
                found.map(|ring| Some(RunRing::Memory(ring))).map_err(|error| Failure::of_ring(name, &error))
            }
            #[cfg(feature = "nats")]
            Some(_) => {
                let report = Reporter::new("ringctl", &ReportArgs::default());
                let bad = |error: crate::cli::common::args::ArgError| {
                    Failure::new(crate::cli::common::exit::code::USAGE, error.to_string())
                };
                let admin = Admin::open(&name.parse().map_err(bad)?, &report, stop)?;
                Ok(admin.map(|admin| {
                    let (counts, processes) = (Mutex::default(), Mutex::default());
                    RunRing::Stream(Box::new(Stream { admin, counts, processes }))
                }))
            }
            #[cfg(not(feature = "nats"))]
            Some(server) => match *server {},
        }
    }

    /// Its figures.
    ///
    /// # Errors
    /// It cannot be observed.
    pub fn counts(&self, name: &str) -> Result<Counts, Failure> {
        match self {
            RunRing::Memory(ring) => {
                let seen = ring.snapshot().map_err(|error| Failure::of_ring(name, &error))?;
                let (totals, used) = (seen.totals, seen.used_slots);
                let (sent, acknowledged) = (totals.sent, totals.acknowledged);
                Ok(Counts { sent, acknowledged, used, capacity: seen.capacity })
            }
            #[cfg(feature = "nats")]
            RunRing::Stream(stream) => recent(&stream.counts, || {
                // A stream that is gone had what was last seen.
                let look = stream.admin.look()?;
                Ok(look.map(|look| Counts {
                    sent: look.used + look.acknowledged,
                    acknowledged: look.acknowledged,
                    used: look.used,
                    capacity: look.found.capacity,
                }))
            }),
        }
    }

    /// The ids of the processes that are attached.
    pub fn processes(&self) -> Vec<u32> {
        match self {
            RunRing::Memory(ring) => ring.participants().iter().map(|one| one.pid).collect(),
            // While the server does not answer, none is known.
            #[cfg(feature = "nats")]
            RunRing::Stream(stream) => recent(&stream.processes, || {
                let look = stream.admin.look()?;
                Ok(look.map(|look| look.members.iter().map(|one| one.pid).collect()))
            })
            .unwrap_or_default(),
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

/// What was seen a moment ago, or is seen now. `look` returns `None` if there is nothing to see any more.
#[cfg(feature = "nats")]
fn recent<T: Clone + Default>(
    kept: &Mutex<Option<(Instant, T)>>,
    look: impl FnOnce() -> Result<Option<T>, Failure>,
) -> Result<T, Failure> {
    let mut kept = kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    match &*kept {
        Some((at, seen)) if at.elapsed() < LOOKS => Ok(seen.clone()),
        _ => {
            let before = kept.take().map(|(_, seen)| seen).unwrap_or_default();
            let seen = look()?.unwrap_or(before);
            *kept = Some((Instant::now(), seen.clone()));
            Ok(seen)
        }
    }
}

#[cfg(feature = "nats")]
impl Drop for Stream {
    fn drop(&mut self) {
        // A server that does not answer keeps it, under a name that says what it was.
        let _ = self.admin.remove(true);
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
