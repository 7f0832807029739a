//! `ringctl event`: waits for an event, sets it, resets it, removes it.

use clap::ValueEnum;

use super::objects::{ObjectArgs, TimeoutArg, failure};
use super::show;
use crate::cli::common::args::DurationArg;
use crate::cli::common::escape;
use crate::cli::common::exit::{Failure, code};
use crate::cli::common::signals;
use crate::cli::common::start::End;
use crate::cli::common::ui::Ui;
use crate::sync::Event;
use crate::{Error, RingName};

/// Wait for an event, set it, reset it, remove it
///
/// Once set, an event stays set until it is reset: all waiting processes continue, and so does each process
/// that waits later. The event is made when it is missing, whichever side comes first, and stays until it is
/// removed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  (make && ringctl event built set) & ringctl event built wait --timeout 10m && ./deploy
  ringctl event built rm

Exit codes: 0 done; 1 the system refused; 2 usage; 3 not set (wait --no-wait), or not found
(rm); 4 timed out; 6 not an event; 128+n ended by signal n.")]
pub struct Args {
    /// Name of the event
    name: RingName,
    /// What to do
    #[arg(value_name = "ACTION")]
    action: Action,
    #[command(flatten)]
    timeout: TimeoutArg,
    /// With wait: give up at once if it is not set
    #[arg(long, conflicts_with = "timeout")]
    no_wait: bool,
    #[command(flatten)]
    object: ObjectArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Action {
    /// Wait until it is set, and leave it set
    Wait,
    /// Set it, and wake all waiting processes
    Set,
    /// Make it wait again
    Reset,
    /// Remove its name; processes that wait keep it
    Rm,
}

pub fn run(args: &Args, _: &Ui) -> Result<End, Failure> {
    if args.action != Action::Wait && (args.no_wait || args.timeout.timeout.is_some()) {
        let line = "--timeout and --no-wait are for `wait` alone; expected ringctl event NAME wait";
        return Err(Failure::new(code::USAGE, line));
    }
    let name = args.name.as_str();
    let failed = |error: Error| failure("event", &args.name, &error);
    let options = args.object.options();
    match args.action {
        Action::Wait if args.no_wait => match options.existing_event(name) {
            Ok(event) if event.is_set() => Ok(End::Done),
            Ok(_) | Err(Error::NotFound(_)) => {
                let argument = escape::argument(name);
                let line = format!("event {name:?} is not set");
                Err(Failure::new(code::EMPTY, line).hint(format!("ringctl event {argument} set sets it")))
            }
            Err(error) => Err(failed(error)),
        },
        Action::Wait => wait(args, options.event(name).map_err(failed)?),
        Action::Set => options.event(name).and_then(|event| event.set()).map(|_| End::Done).map_err(failed),
        Action::Reset => {
            options.event(name).and_then(|event| event.reset()).map(|_| End::Done).map_err(failed)
        }
        Action::Rm => {
            let removed = options.existing_event(name).and_then(|event| event.remove());
            removed.map(|_| End::Done).map_err(failed)
        }
    }
}

fn wait(args: &Args, mut event: Event) -> Result<End, Failure> {
    event.set_stop_flag(signals::catch()?);
    let name = args.name.as_str();
    let waited = match args.timeout.timeout {
        Some(DurationArg(time)) => event.wait_timeout(time),
        None => event.wait(),
    };
    match (waited, args.timeout.timeout) {
        (Ok(()), _) => Ok(End::Done),
        (Err(Error::Interrupted), _) => Ok(signals::end()),
        (Err(Error::TimedOut), Some(DurationArg(time))) => {
            let line = format!("event {name:?} is not set, waited {}", show::given(time));
            let argument = escape::argument(name);
            Err(Failure::new(code::FULL, line).hint(format!("ringctl event {argument} set sets it")))
        }
        (Err(error), _) => Err(failure("event", &args.name, &error)),
    }
}
