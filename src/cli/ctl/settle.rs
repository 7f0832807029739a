//! `ringctl done`, `fail` and `release`: decide about an item that `consumer --hold` keeps for a script.

use std::time::{Duration, SystemTime};

use crate::cli::common::create_args::CreateArgs;
use crate::cli::common::dead_letter::DeadLetter;
use crate::cli::common::exit::{Failure, code};
use crate::cli::common::hold::{Facts, Request, Token, ask};
use crate::cli::common::report::{ReportArgs, Reporter};
use crate::cli::common::signals;
use crate::cli::common::start::End;
use crate::cli::common::ui::Ui;
use crate::cli::transport::shm::Shm;
use crate::cli::transport::{Opening, Patience, Sender, Transport};
use crate::{Error, ItemKey, RingName};

/// The longest wait for room in the ring for dead letters without a check for a signal.
const SLICE: Duration = Duration::from_millis(100);

/// Acknowledge an item that `consumer --hold` keeps: it is not delivered again
///
/// Returns when it is acknowledged and its holder has left the ring.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  { read -r token; item=$(cat); } < <(consumer jobs --hold --hold-for $$)
  ./work \"$item\" && ringctl done \"$token\"

Exit codes: 0 acknowledged; 1 another user's token, or the system refused; 3 no holder: the token was used
before, or the holder has ended and the item is delivered again; 6 the ring was damaged, the item is not
acknowledged.")]
pub struct DoneArgs {
    /// What consumer --hold has printed on its first line
    token: Token,
}

/// Count a failure of an item that `consumer --hold` keeps, and give it back: it is delivered again
///
/// Returns when it was given back and its holder has left the ring. The next consumer sees the number of
/// failures, as do workers (--retries) and ringctl peek.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ringctl fail \"$token\"
  ringctl fail \"$token\" --dead-letter failed --retries 3 --reason 'no answer'

Exit codes: 0 given back, or sent to RING2 and acknowledged; 1 another user's token, or the system refused;
3 no holder: the token was used before, or the holder has ended and the item is delivered again; 5 RING2 is
closed; 6 a ring is damaged; 128+n ended by signal n. If it cannot be sent to RING2, its holder keeps it.")]
pub struct FailArgs {
    /// What consumer --hold has printed on its first line
    token: Token,
    /// Send the item to ring RING2, with the reason, and acknowledge it; RING2 is made when needed
    #[arg(long, value_name = "RING2")]
    dead_letter: Option<RingName>,
    /// With --dead-letter: give it back until it has failed more than RETRIES times [default: 0]
    #[arg(long, value_name = "RETRIES", requires = "dead_letter")]
    retries: Option<u8>,
    /// With --dead-letter: why it failed
    #[arg(long, value_name = "TEXT", requires = "dead_letter")]
    reason: Option<String>,
}

/// Give back an item that `consumer --hold` keeps: it is delivered again, and no failure is counted
///
/// Returns when it was given back and its holder has left the ring.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  trap 'ringctl release \"$token\"' EXIT

Exit codes: 0 given back; 1 another user's token, or the system refused; 3 no holder: the token was used
before, or the holder has ended and the item is delivered again.")]
pub struct ReleaseArgs {
    /// What consumer --hold has printed on its first line
    token: Token,
}

pub fn done(args: &DoneArgs) -> Result<End, Failure> {
    ask(&args.token, Request::Done).map(|_| End::Done)
}

pub fn release(args: &ReleaseArgs) -> Result<End, Failure> {
    ask(&args.token, Request::Release).map(|_| End::Done)
}

pub fn fail(args: &FailArgs, ui: &Ui) -> Result<End, Failure> {
    let Some(dead_letter) = &args.dead_letter else {
        return ask(&args.token, Request::Fail).map(|_| End::Done);
    };
    let (facts, bytes) = ask(&args.token, Request::Show)?;
    if facts.failures < args.retries.unwrap_or(0) {
        return ask(&args.token, Request::Fail).map(|_| End::Done);
    }
    // Sent first, so that a death in between loses nothing: what is then sent twice has the same key.
    match send(dead_letter, args, &facts, &bytes, ui)? {
        End::Done => ask(&args.token, Request::Done).map(|_| End::Done),
        end => Ok(end),
    }
}

/// Sends the item to the ring for dead letters; waits for room.
fn send(ring: &RingName, args: &FailArgs, facts: &Facts, bytes: &[u8], ui: &Ui) -> Result<End, Failure> {
    let stop = signals::catch()?;
    let report = Reporter::new(
        ui.program(),
        &ReportArgs { progress: false, stats: false, quiet: false, verbose: false },
    );
    let opening = Opening { name: ring, place: Patience::None, report: &report, stop: &stop };
    let Some(mut sender) = Shm::open_sender(&opening, &CreateArgs::default(), false)? else {
        return Ok(signals::end());
    };
    let key = ItemKey { producer: facts.producer, sequence: facts.sequence };
    let letter = DeadLetter {
        failures: facts.failures.saturating_add(1),
        reason: args.reason.clone().unwrap_or_else(|| "ringctl fail".into()),
        time: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        ..DeadLetter::new(&facts.ring, key)
    };
    let letter = letter.with(bytes);
    loop {
        match sender.send_as(key, &letter, SLICE) {
            Ok(()) => return Ok(End::Done),
            Err(Error::TimedOut) if !stop.is_raised() => {}
            Err(Error::TimedOut | Error::Interrupted) => return Ok(signals::end()),
            Err(error) => {
                let failure = Failure::of_ring(ring.as_str(), &error);
                // The codes of a missing item and of a missing token must not mean this, too.
                let code = if failure.code == code::EMPTY { code::RUNTIME } else { failure.code };
                return Err(Failure { code, ..failure });
            }
        }
    }
}
