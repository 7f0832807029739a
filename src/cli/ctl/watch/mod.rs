//! `ringctl watch`: shows a ring while items move through it.
mod plain;
mod watching;

use std::io::{self, IsTerminal};
use std::time::Duration;

use crate::cli::common::address::Address;
use crate::cli::common::args::{Count, DurationArg};
use crate::cli::common::exit::{Failure, code};
use crate::cli::common::signals;
use crate::cli::common::start::End;
use crate::cli::common::ui::Ui;
use crate::cli::ctl::picture::model::Model;
use crate::cli::ctl::picture::{INTERVALS, screen};
use crate::{Error, ErrorKind, Ring, RingObserver, StopFlag};

/// How often to check whether the ring exists.
const WAIT_LOOK: Duration = Duration::from_millis(50);

/// The time between two looks, if the command line does not say; a look at a stream is several requests to its server.
const INTERVAL: Duration = Duration::from_millis(100);
#[cfg(feature = "nats")]
const STREAM_INTERVAL: Duration = Duration::from_secs(1);

/// Watch a ring: slots, semaphores, processes, and events, as items move
///
/// On a terminal, shows a picture of the ring that changes with it; elsewhere, and with --events, prints a
/// sentence per line for each event. As a background job of a terminal, it is stopped until it is brought to
/// the front (fg), like other programs with a screen; with --events, it continues. Looking changes nothing.
/// Events between two looks are derived from the traces that they leave. Of a ring that is too fast for that,
/// it shows how many items went through. Of a stream of a NATS server it prints sentences only; its JSON has the
/// schema ringpipe.watch-stream/1.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Keys: q quits, space pauses, + and - change the pace, arrows and Page Up/Down scroll the events,
? explains the picture, and scrolls, too.

Try it, in three shells:
  ringctl create demo --capacity 8 && ringctl watch demo
  seq 1000 | producer --rate 4/s demo
  consumer --rate 2/s demo

More:
  ringctl watch demo --interval 10ms --events    events, a sentence a line
  ringctl watch demo --once                      one picture, as text
  ringctl watch demo --json -n 10                ten looks, for programs

Exit codes: 0 the ring was removed, q was pressed, or all looks were taken; 1 the output could not
be written; 3 no such ring; 6 damaged, or not a ring; 128+n ended by signal n.")]
pub struct Args {
    /// Name of the ring
    ring: Address,
    /// Time between two looks, from 1ms to 1h [default: 100ms, 1s for a stream]
    #[arg(long, value_name = "DURATION", value_parser = interval)]
    interval: Option<DurationArg>,
    /// Stop after COUNT looks
    #[arg(short = 'n', long, value_name = "COUNT", conflicts_with = "once")]
    count: Option<Count>,
    /// Print one picture as text
    #[arg(long, conflicts_with_all = ["json", "events"])]
    once: bool,
    /// Print a JSON object per look
    ///
    /// Its fields: schema (ringpipe.watch/1), ring, look (from 1), at_ns (since watching began), state (open,
    /// closed, removed), capacity, sync, head, tail, states (slots in each), semaphores, rates (items per
    /// second), participants, recovered (deaths so far, with the recovered items and unfinished claims),
    /// deaths (found by this look: role, pid, command, items, claims), items (of rings of up to 1,024 slots:
    /// slot, slots, state, pid, producer, sequence, attempt, bytes, beginning as text or base64), events
    /// (sentences since the last look). Of a stream: ringpipe.watch-stream/1, with ring, look, at_ns, state (also silent:
    /// the server does not answer), capacity, used (slots), bytes, items_waiting, items_held, items_held_again,
    /// acknowledged, rates, participants, events.
    #[arg(long, conflicts_with = "events")]
    json: bool,
    /// Print events, a sentence per line, also on a terminal
    #[arg(long)]
    events: bool,
    /// Wait until there is such a ring
    #[arg(long)]
    wait: bool,
}

impl Args {
    /// Between two looks at a ring.
    fn interval(&self) -> Duration {
        self.interval.map_or(INTERVAL, |DurationArg(interval)| interval)
    }

    #[cfg(feature = "nats")]
    fn of_stream(&self) -> super::streams::Watching {
        super::streams::Watching {
            interval: self.interval.map_or(STREAM_INTERVAL, |DurationArg(interval)| interval),
            count: self.count.map(|Count(count)| count),
            once: self.once,
            json: self.json,
            wait: self.wait,
        }
    }
}

fn interval(given: &str) -> Result<DurationArg, String> {
    let interval: DurationArg =
        given.parse().map_err(|error: crate::cli::common::args::ArgError| error.to_string())?;
    match interval.0 {
        time if time < INTERVALS.0 => Err("this is too short; expected 1ms or more".into()),
        time if time > INTERVALS.1 => Err("this is too long; expected 1h or less".into()),
        _ => Ok(interval),
    }
}

pub fn run(args: &Args, ui: &Ui) -> Result<End, Failure> {
    #[cfg(feature = "nats")]
    if let Address::Stream(stream) = &args.ring {
        return super::streams::watch(stream, &args.of_stream(), ui);
    }
    let lines = args.once || args.json || args.events;
    let on_screen = !lines && screen::is_possible();
    if on_screen {
        // Before a second thread exists, which would get the signals.
        screen::hold_signals()?;
    }
    let stop = signals::catch()?;
    let Some(ring) = find(args, ui, &stop)? else { return Ok(signals::end()) };
    let model = Model::new(ring).map_err(|error| failed(args, &error))?;
    if args.once {
        return plain::once(&model, args, ui.paint(), &stop);
    }
    match on_screen {
        true => watching::watch(model, args, ui, &stop),
        false => plain::watch(model, args, &stop),
    }
}

/// The ring; waits until it exists if that was requested. `None`: a signal came first.
fn find(args: &Args, ui: &Ui, stop: &StopFlag) -> Result<Option<RingObserver>, Failure> {
    let mut told = false;
    loop {
        let found = match Ring::observe(args.ring.ring()?) {
            Ok(ring) if ring.is_over() => Err(Error::NotFound(args.ring.as_str().into())),
            found => found,
        };
        match found {
            Err(error) if args.wait && error.kind() == ErrorKind::NotFound => {}
            found => return found.map(Some).map_err(|error| failed(args, &error)),
        }
        if !told && io::stderr().is_terminal() {
            ui.note(&format!("waiting for ring {:?}", args.ring.as_str()));
            told = true;
        }
        if !signals::sleep(WAIT_LOOK, stop) {
            return Ok(None);
        }
    }
}

fn failed(args: &Args, error: &Error) -> Failure {
    let failure = Failure::of_ring(args.ring.as_str(), error);
    match error.kind() {
        ErrorKind::NotFound => {
            debug_assert_eq!(failure.code, code::EMPTY);
            failure.hint("ringctl list shows the rings that exist; --wait waits for one")
        }
        _ => failure,
    }
}
