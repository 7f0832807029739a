//! `ringctl wait`.
use std::{
    str::FromStr,
    thread,
    time::{Duration, Instant},
};

use serde::Serialize;

use super::{output, show};
use crate::{
    Error, Liveness, Result, Ring, RingName, Role,
    cli::{
        args::DurationArg,
        exit::{Failure, code},
    },
    sys::{clock::Deadline, segment::NameState},
};

/// How often to look: often at first, for short waits, and never more rarely than this.
const SLICES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));
/// A look at a large ring takes long: looking may take this share of the time, one in so many.
const SHARE: u32 = 50;

/// Wait until something is true of a ring
///
/// The ring need not exist yet. Waiting changes nothing, and looks up to 20 times a second.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Conditions:
  exists        there is such a ring
  empty         no item waits, none is held, and none is being written
  closed        it takes no more items
  gone          there is no such ring (any more)
  producers=N   exactly N living producers are attached; N+ means N or more
  consumers=N   the same for consumers

Examples:
  ringctl wait jobs --until exists --timeout 5s
  ringctl wait jobs --until consumers=3+ && seq 1000 | producer jobs
  ringctl wait jobs --until producers=0 && ringctl close jobs

Exit codes: 0 it is true; 2 usage; 4 timed out; 6 damaged, or not a ring.")]
pub struct Args {
    /// Name of the ring
    ring: RingName,
    /// What to wait for
    #[arg(long, value_name = "CONDITION")]
    until: Condition,
    /// Give up after this time, such as 250ms or 5s
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
    Attached { role: Role, least: u64, most: u64 },
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
            Some(("producers", number)) => attached(Role::Producer, number),
            Some(("consumers", number)) => attached(Role::Consumer, number),
            _ => None,
        }
        .ok_or_else(|| {
            "this is no condition; expected exists, empty, closed, gone, producers=N or consumers=N".into()
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

pub fn run(args: &Args) -> std::result::Result<(), Failure> {
    let start = Instant::now();
    let deadline = args.timeout.map_or(Deadline::never(), |DurationArg(wait)| Deadline::after(wait));
    let name = args.ring.as_str();
    let reached = wait(&args.ring, &args.until, deadline).map_err(|error| Failure::of_ring(name, &error))?;
    if args.json {
        let until = args.until.to_string();
        let waited_ms = start.elapsed().as_millis() as u64;
        let waited = Waited { schema: "ringpipe.wait/1", ring: name, until, reached, waited_ms };
        output::emit(output::json_line(&waited)?.as_bytes())?;
    }
    if reached {
        return Ok(());
    }
    let waited = show::given(args.timeout.map_or(Duration::ZERO, |DurationArg(wait)| wait));
    Err(Failure::new(code::FULL, format!("ring {name:?}: not {} after {waited}", args.until))
        .hint(format!("ringctl inspect {name}")))
}

/// False: the deadline passed.
fn wait(name: &RingName, until: &Condition, deadline: Deadline) -> Result<bool> {
    let (mut slice, longest) = SLICES;
    let mut ring = None;
    loop {
        let look = Instant::now();
        if is_true(name, &mut ring, until)? {
            return Ok(true);
        }
        let pause = slice.max(look.elapsed() * SHARE);
        let left = deadline.remaining().unwrap_or(pause);
        if left.is_zero() {
            return Ok(false);
        }
        thread::sleep(pause.min(left));
        slice = longest.min(slice * 2);
    }
}

/// Looks once. `known` keeps the ring between looks: to open it each time would cost more.
fn is_true(name: &RingName, known: &mut Option<Ring>, until: &Condition) -> Result<bool> {
    if known.is_none() {
        match Ring::look(name) {
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
        // Of a ring that was removed, nothing is left to wait for.
        Condition::Empty => ring.is_drained() || !there,
        Condition::Attached { role, least, most } => {
            let alive = |one: &&crate::ParticipantInfo| one.role == role && one.liveness != Liveness::Dead;
            let number = ring.participants().iter().filter(alive).count() as u64;
            (least..=most).contains(&number)
        }
    };
    // What a look at lost memory says is nothing.
    ring.check()?;
    if name_state == NameState::Replaced {
        // The next look is at the one that has the name by now.
        *known = None;
    }
    Ok(holds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_read_back_as_they_are_shown() {
        for given in ["exists", "empty", "closed", "gone", "producers=0", "consumers=3", "producers=2+"] {
            assert_eq!(given.parse::<Condition>().unwrap().to_string(), given);
        }
        for bad in ["", "full", "producers", "producers=", "producers=x", "exists=1", "consumers=-1"] {
            assert!(bad.parse::<Condition>().unwrap_err().contains("expected exists"), "{bad}");
        }
    }
}
