//! `ringctl wait`: waits for a condition of a ring.
use std::{
    str::FromStr,
    thread,
    time::{Duration, Instant},
};

use serde::Serialize;

use super::show;
use crate::cli::common::address::Address;
use crate::cli::common::start::End;
use crate::cli::common::ui::Ui;
#[cfg(feature = "nats")]
use crate::cli::transport::nats::survey::Look;
use crate::{
    Error, Liveness, NameState, Result, Ring, RingName, RingObserver, Role,
    cli::common::{
        args::{Count, DurationArg},
        escape,
        exit::{Failure, code},
    },
    sys::command::clock::Deadline,
};

/// The shortest and longest pause between checks: short at first, for short waits.
const SLICES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));
/// Checking a large ring takes long: checks use at most this share of the time (1/50).
const SHARE: u32 = 50;
/// The longest pause: a process that was stopped during a check must not sleep for hours afterwards.
const MOST_PAUSE: Duration = Duration::from_secs(1);

/// Wait until something is true of a ring
///
/// The ring need not exist yet. Waiting changes nothing: the command looks at the ring up to 20 times a
/// second.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Conditions:
  exists        there is such a ring
  empty         no item waits, none is held, and none is being written
  items=N       N or more items wait to be received
  closed        it takes no more items
  gone          there is no such ring (any more)
  producers=N   exactly N living producers are attached; N+ means N or more
  consumers=N   the same for consumers

Examples:
  ringctl wait jobs --until exists --timeout 5s
  ringctl wait jobs --until consumers=3+ && seq 1000 | producer jobs
  ringctl wait jobs --until items=100 && consumer -n 100 jobs
  ringctl wait jobs --until producers=0 && ringctl close jobs

Exit codes: 0 it is true; 2 usage; 4 timed out; 6 damaged, or not a ring.")]
pub struct Args {
    /// Name of the ring
    ring: Address,
    /// What to wait for
    #[arg(long, value_name = "CONDITION")]
    until: Condition,
    /// Give up after this time, such as 250ms or 5s; a bare number is seconds
    #[arg(long, value_name = "DURATION")]
    timeout: Option<DurationArg>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Condition {
    Exists,
    Empty,
    Closed,
    Gone,
    /// At least this many items are to be received.
    Items(u64),
    Attached {
        role: Role,
        least: u64,
        most: u64,
    },
}

impl FromStr for Condition {
    type Err = String;

    fn from_str(given: &str) -> std::result::Result<Self, String> {
        let attached = |role, number: &str| {
            let (digits, or_more) = match number.strip_suffix('+') {
                Some(digits) => (digits, true),
                None => (number, false),
            };
            let least = digits.parse().ok()?;
            Some(Condition::Attached { role, least, most: if or_more { u64::MAX } else { least } })
        };
        match given.split_once('=') {
            None if given == "exists" => Some(Condition::Exists),
            None if given == "empty" => Some(Condition::Empty),
            None if given == "closed" => Some(Condition::Closed),
            None if given == "gone" => Some(Condition::Gone),
            Some(("items", number)) => {
                number.parse::<Count>().ok().map(|Count(least)| Condition::Items(least))
            }
            Some(("producers", number)) => attached(Role::Producer, number),
            Some(("consumers", number)) => attached(Role::Consumer, number),
            _ => None,
        }
        .ok_or_else(|| {
            "this is not a condition; expected exists, empty, closed, gone, items=N, producers=N or consumers=N"
                .into()
        })
    }
}

impl std::fmt::Display for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Condition::Exists => f.write_str("exists"),
            Condition::Empty => f.write_str("empty"),
            Condition::Closed => f.write_str("closed"),
            Condition::Gone => f.write_str("gone"),
            Condition::Items(least) => write!(f, "items={least}"),
            Condition::Attached { role, least, most } => {
                write!(f, "{role}s={least}{}", if least == most { "" } else { "+" })
            }
        }
    }
}

#[derive(Serialize)]
struct Waited<'a> {
    schema: &'static str,
    ring: &'a str,
    until: String,
    reached: bool,
    waited_ms: u64,
}

pub fn run(args: &Args, ui: &Ui) -> std::result::Result<End, Failure> {
    let start = Instant::now();
    let name = args.ring.as_str();
    let reached = match &args.ring {
        Address::Ring(ring) => {
            let deadline = args.timeout.map_or(Deadline::never(), |DurationArg(wait)| Deadline::after(wait));
            wait(ring, &args.until, deadline).map_err(|error| Failure::of_ring(name, &error))?
        }
        #[cfg(feature = "nats")]
        Address::Stream(stream) => {
            let limit = args.timeout.map(|DurationArg(limit)| limit);
            let reached = super::streams::wait(stream, limit, |look| holds(look, &args.until), ui)?;
            let Some(reached) = reached else { return Ok(crate::cli::common::signals::end()) };
            reached
        }
    };
    if args.json {
        let until = args.until.to_string();
        let waited_ms = start.elapsed().as_millis() as u64;
        let waited = Waited { schema: "ringpipe.wait/1", ring: name, until, reached, waited_ms };
        ui.emit_json(&waited)?;
    }
    if reached {
        return Ok(End::Done);
    }
    let waited = show::given(args.timeout.map_or(Duration::ZERO, |DurationArg(wait)| wait));
    Err(Failure::new(code::FULL, format!("ring {name:?}: not {} after {waited}", args.until))
        .hint(format!("ringctl inspect {}", escape::argument(name))))
}

/// Whether the condition holds of a stream, or of its absence.
#[cfg(feature = "nats")]
fn holds(look: Option<&Look>, until: &Condition) -> bool {
    let Some(look) = look else { return matches!(until, Condition::Gone) };
    match *until {
        Condition::Exists => true,
        Condition::Gone => false,
        Condition::Closed => look.found.record.closed,
        Condition::Empty => look.used == 0,
        Condition::Items(least) => look.waiting >= least,
        Condition::Attached { role, least, most } => (least..=most).contains(&look.alive(role)),
    }
}

/// Waits for the condition. False: the deadline passed.
fn wait(name: &RingName, until: &Condition, deadline: Deadline) -> Result<bool> {
    let (mut slice, longest) = SLICES;
    let mut ring = None;
    loop {
        let look = Instant::now();
        if is_true(name, &mut ring, until)? {
            return Ok(true);
        }
        let pause = pause_after(look.elapsed(), slice);
        let left = deadline.remaining().unwrap_or(pause);
        if left.is_zero() {
            return Ok(false);
        }
        thread::sleep(pause.min(left));
        slice = longest.min(slice * 2);
    }
}

fn pause_after(look: Duration, slice: Duration) -> Duration {
    slice.max(look.saturating_mul(SHARE).min(MOST_PAUSE))
}

/// Checks once. `known` keeps the ring between checks: opening it each time would cost more.
fn is_true(name: &RingName, known: &mut Option<RingObserver>, until: &Condition) -> Result<bool> {
    if known.is_none() {
        match Ring::observe(name) {
            Ok(ring) => *known = Some(ring),
            Err(Error::NotFound(_)) => return Ok(*until == Condition::Gone),
            Err(error) => return Err(error),
        }
    }
    let Some(ring) = known else { return Ok(false) };
    let name_state = ring.name_state()?;
    let there = !ring.is_over() && name_state == NameState::Current;
    let holds = match *until {
        Condition::Exists => there,
        Condition::Gone => !there,
        // A ring that was removed was closed before.
        Condition::Closed => ring.is_closed(),
        // A ring that was removed has nothing left to wait for.
        Condition::Empty => ring.is_drained() || !there,
        Condition::Items(least) => ring.snapshot()?.ready >= least,
        Condition::Attached { role, least, most } => {
            let alive = |one: &&crate::ParticipantInfo| one.role == role && one.liveness != Liveness::Dead;
            let number = ring.participants().iter().filter(alive).count() as u64;
            (least..=most).contains(&number)
        }
    };
    // Discard the result if the segment was truncated meanwhile.
    ring.check()?;
    if name_state == NameState::Replaced {
        // The next check opens the ring that has the name by then.
        *known = None;
    }
    Ok(holds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_during_which_the_process_was_stopped_delays_the_next_by_a_second_at_most() {
        let slice = Duration::from_millis(50);
        assert_eq!(pause_after(Duration::from_micros(10), slice), slice);
        assert_eq!(pause_after(Duration::from_millis(4), slice), Duration::from_millis(200));
        assert_eq!(pause_after(Duration::MAX, slice), MOST_PAUSE);
    }

    #[test]
    fn conditions_read_back_as_they_are_shown() {
        for given in [
            "exists",
            "empty",
            "closed",
            "gone",
            "items=0",
            "items=1000",
            "producers=0",
            "consumers=3",
            "producers=2+",
        ] {
            assert_eq!(given.parse::<Condition>().unwrap().to_string(), given);
        }
        for bad in [
            "",
            "full",
            "producers",
            "producers=",
            "producers=x",
            "exists=1",
            "consumers=-1",
            "items",
            "items=",
            "items=5+",
            "items=-1",
        ] {
            assert!(bad.parse::<Condition>().unwrap_err().contains("expected exists"), "{bad}");
        }
    }
}
