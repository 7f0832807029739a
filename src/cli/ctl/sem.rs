//! `ringctl sem`: POSIX named semaphores, for shell scripts.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::show;
use crate::cli::common::args::{DurationArg, ModeArg};
use crate::cli::common::escape;
use crate::cli::common::exit::{Failure, code, code_of, plain, way_out_of};
use crate::cli::common::owner_args::OwnerArgs;
use crate::cli::common::signals;
use crate::cli::common::start::End;
use crate::cli::common::ui::{Ui, json_line};
use crate::sys::command::clock::Deadline;
use crate::sys::command::named_semaphore::{self, MOST, NamedSemaphore, RawSemaphore, Wake};
use crate::{Error, ErrorKind, Owners, RingName, StopFlag};

/// The longest sleep between two checks, at first and after half a second. A wake-up that is lost with a killed
/// process costs at most this time.
const SLICES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(80));
const SHORT: Duration = Duration::from_millis(500);

/// POSIX named semaphores: create, post, wait, read the value, remove
///
/// These are the semaphores of sem_open(3), under the same names; any other program may use them at the same
/// time. A token has no owner: if a process is killed after it has taken a token, that token is lost. The
/// library has locks that survive their holder's death: ringpipe::sync.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ringctl sem create done                        no token yet
  job && ringctl sem post done &
  ringctl sem wait done --timeout 30s            until the job has posted

  ringctl sem create slots --value 4             at most four at a time
  ringctl sem wait slots; job; ringctl sem post slots

Exit codes: 0 done; 1 it exists already, or the system refused; 2 usage; 3 not found, or no token
(--no-wait); 4 timed out, or as many tokens as there may be; 6 not a semaphore; 128+n ended by
signal n, no token taken.")]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Make a semaphore
    Create {
        /// Name of the semaphore
        name: RingName,
        /// Tokens to begin with
        #[arg(long, default_value_t = 0, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=i64::from(MOST)))]
        value: u32,
        /// Permissions in octal, whatever the umask: using it needs both read and write [default: 600]
        #[arg(long, value_name = "MODE")]
        mode: Option<ModeArg>,
    },
    /// Add tokens, and wake as many waiting processes
    Post {
        /// Name of the semaphore
        name: RingName,
        /// How many tokens
        #[arg(short = 'n', long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST)))]
        count: u32,
        #[command(flatten)]
        owner: OwnerArgs,
    },
    /// Take a token; wait until there is one
    Wait {
        /// Name of the semaphore
        name: RingName,
        /// Give up after this time, such as 250ms or 5s; a bare number is seconds
        #[arg(long, value_name = "DURATION", conflicts_with = "no_wait")]
        timeout: Option<DurationArg>,
        /// Give up at once if there is none
        #[arg(long)]
        no_wait: bool,
        #[command(flatten)]
        owner: OwnerArgs,
    },
    /// Print how many tokens there are
    Value {
        /// Name of the semaphore
        name: RingName,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Remove a semaphore's name; processes that have it open keep it
    Rm {
        /// Name of the semaphore
        name: RingName,
    },
}

#[derive(Serialize)]
struct Value<'a> {
    schema: &'static str,
    semaphore: &'a str,
    value: i32,
}

pub fn run(args: &Args, ui: &Ui) -> Result<End, Failure> {
    match &args.verb {
        Verb::Create { name, value, mode } => create(name, *value, mode.map_or(0o600, |ModeArg(mode)| mode)),
        Verb::Post { name, count, owner } => post(name, *count, owner.owners()),
        Verb::Wait { name, timeout, no_wait, owner } => {
            wait(name, timeout.map(|DurationArg(time)| time), *no_wait, owner.owners())
        }
        Verb::Value { name, json } => value(name, *json, ui),
        Verb::Rm { name } => NamedSemaphore::unlink(name).map(|()| End::Done).map_err(|e| failure(name, &e)),
    }
}

fn create(name: &RingName, value: u32, mode: u32) -> Result<End, Failure> {
    NamedSemaphore::create(name, value, mode).map(|_| End::Done).map_err(|error| failure(name, &error))
}

fn post(name: &RingName, count: u32, owners: Owners) -> Result<End, Failure> {
    let opened = open(name, owners)?;
    let semaphore = opened.semaphore();
    let full = |posted: u32| {
        let line =
            format!("semaphore {:?} can have {MOST} tokens: {posted} of {count} posted", name.as_str());
        Failure::new(code::FULL, line).hint(format!("ringctl sem value {}", argument(name)))
    };
    // Adds all tokens or none, unless others post at this moment.
    if i64::from(semaphore.value()) + i64::from(count) > i64::from(MOST) {
        return Err(full(0));
    }
    for posted in 0..count {
        if !semaphore.post().map_err(|error| failure(name, &error))? {
            return Err(full(posted));
        }
    }
    Ok(End::Done)
}

fn wait(name: &RingName, timeout: Option<Duration>, no_wait: bool, owners: Owners) -> Result<End, Failure> {
    let opened = open(name, owners)?;
    let semaphore = opened.semaphore();
    let failed = |error: Error| failure(name, &error);
    if no_wait {
        if semaphore.try_wait().map_err(failed)? {
            return Ok(End::Done);
        }
        let line = format!("semaphore {:?} has no token", name.as_str());
        return Err(Failure::new(code::EMPTY, line)
            .hint(format!("without --no-wait it waits for one: {}", argument(name))));
    }
    let stop = signals::catch()?;
    let deadline = timeout.map_or(Deadline::never(), Deadline::after);
    match take(&semaphore, deadline, &stop) {
        Ok(()) => Ok(End::Done),
        Err(Error::Interrupted) => Ok(signals::end()),
        Err(Error::TimedOut) => {
            let waited = show::given(timeout.unwrap_or_default());
            let line = format!("semaphore {:?} has no token, waited {waited}", name.as_str());
            Err(Failure::new(code::FULL, line).hint(format!("ringctl sem post {} adds one", argument(name))))
        }
        Err(error) => Err(failed(error)),
    }
}

/// Takes a token. A wake-up is lost if it goes to a process that is killed at that moment, so no sleep is long.
/// The token itself is not lost: the next check finds it.
fn take(semaphore: &RawSemaphore<'_>, deadline: Deadline, stop: &StopFlag) -> crate::Result<()> {
    let start = Instant::now();
    loop {
        // Once a token is taken, the command has succeeded, even if a signal came meanwhile.
        if semaphore.try_wait()? {
            return Ok(());
        }
        if stop.is_raised() {
            return Err(Error::Interrupted);
        }
        if deadline.passed() {
            return Err(Error::TimedOut);
        }
        let slice = if start.elapsed() < SHORT { SLICES.0 } else { SLICES.1 };
        if semaphore.wait_for(deadline.remaining().map_or(slice, |left| left.min(slice)))? == Wake::Posted {
            return Ok(());
        }
    }
}

fn value(name: &RingName, json: bool, ui: &Ui) -> Result<End, Failure> {
    let value = open(name, Owners::Any)?.semaphore().value();
    let text = if json {
        json_line(&Value { schema: "ringpipe.sem-value/1", semaphore: name.as_str(), value })?
    } else {
        format!("{value}\n")
    };
    ui.emit(text.as_bytes())?;
    Ok(End::Done)
}

fn open(name: &RingName, owners: Owners) -> Result<NamedSemaphore, Failure> {
    NamedSemaphore::open(name, owners).map_err(|error| failure(name, &error))
}

fn argument(name: &RingName) -> String {
    escape::argument(name.as_str())
}

/// A library error about a semaphore.
fn failure(name: &RingName, error: &Error) -> Failure {
    let line = match error {
        Error::Untrusted { .. } => {
            let Failure { line, hint, code } = Failure::of_ring(name.as_str(), error);
            return Failure { line: line.replacen("ring", "semaphore", 1), hint, code };
        }
        Error::NotFound(_) | Error::Exists(_) | Error::Incompatible { .. } => format!("semaphore {error}"),
        Error::Io { what, source } if what.contains("semaphore") => format!("{what}: {}", plain(source)),
        Error::Io { what, source } => format!("semaphore {:?}: {what}: {}", name.as_str(), plain(source)),
        _ => format!("semaphore {:?}: {error}", name.as_str()),
    };
    let failure = Failure::new(code_of(error.kind()), line);
    let argument = argument(name);
    match error.kind() {
        ErrorKind::NotFound => failure.hint(format!("ringctl sem create {argument}")),
        ErrorKind::Exists => {
            failure.hint(format!("ringctl sem value {argument}, or ringctl sem rm {argument}"))
        }
        ErrorKind::Incompatible | ErrorKind::Damaged => {
            let path = named_semaphore::path(name);
            failure.hint(format!("if it is yours and unused: rm {}", path.display()))
        }
        _ => match way_out_of(error) {
            Some(hint) => failure.hint(hint),
            None => failure,
        },
    }
}
