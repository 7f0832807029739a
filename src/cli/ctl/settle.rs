//! `ringctl done`, `fail` and `release`: decide about an item that `consumer --hold` keeps for a script.

use std::time::SystemTime;

use crate::ItemKey;
use crate::cli::common::address::Address;
use crate::cli::common::dead_letter::{DeadLetter, for_letters};
use crate::cli::common::exit::{Failure, code};
use crate::cli::common::hold::{Facts, Request, Token, ask};
use crate::cli::common::relay::{self, Unsent, send_on};
use crate::cli::common::report::{ReportArgs, Reporter};
use crate::cli::common::run_log::{self, RunLog};
use crate::cli::common::signals;
use crate::cli::common::start::End;
use crate::cli::common::ui::Ui;
use crate::cli::transport::logged::Logged;
#[cfg(feature = "nats")]
use crate::cli::transport::nats::Nats;
use crate::cli::transport::shm::Shm;
use crate::cli::transport::{Needs, Opening, Patience, Transport};

/// Acknowledge an item that `consumer --hold` keeps: it is not delivered again
///
/// Returns when the item is acknowledged and its holder has left the ring.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  { read -r token; item=$(cat); } < <(consumer jobs --hold --hold-for $$)
  ./work \"$item\" && ringctl done \"$token\"

Exit codes: 0 acknowledged; 1 another user's token, or the system refused; 3 no holder: the token
was used before, or the holder has ended and the item is delivered again; 6 the ring was damaged,
the item is not acknowledged.")]
pub struct DoneArgs {
    /// What consumer --hold has printed on its first line
    token: Token,
}

/// Count a failure of an item that `consumer --hold` keeps, and give it back: it is delivered again
///
/// Returns when the item was given back and its holder has left the ring. The next consumer sees the number
/// of failures, as do workers (--retries) and ringctl peek.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ringctl fail \"$token\"
  ringctl fail \"$token\" --dead-letter failed --retries 3 --reason 'no answer'

Exit codes: 0 given back, or sent to RING2 and acknowledged; 1 another user's token, or the system
refused; 2 RING2 is the ring of the item; 3 no holder: the token was used before, or the holder has
ended and the item is delivered again; 5 RING2 is closed; 6 a ring is damaged; 128+n ended by
signal n. If the item cannot be sent to RING2, its holder keeps it.")]
pub struct FailArgs {
    /// What consumer --hold has printed on its first line
    token: Token,
    /// Send the item to ring RING2, with the reason, and acknowledge it; RING2 is made when needed
    #[arg(long, value_name = "RING2")]
    dead_letter: Option<Address>,
    /// With --dead-letter: give the item back until it has failed more than RETRIES times [default: 0]
    #[arg(long, value_name = "RETRIES", requires = "dead_letter")]
    retries: Option<u8>,
    /// With --dead-letter: why the item failed
    #[arg(long, value_name = "TEXT", requires = "dead_letter")]
    reason: Option<String>,
}

/// Give back an item that `consumer --hold` keeps: it is delivered again, and no failure is counted
///
/// Returns when the item was given back and its holder has left the ring.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  trap 'ringctl release \"$token\"' EXIT

Exit codes: 0 given back; 1 another user's token, or the system refused; 3 no holder: the token was
used before, or the holder has ended and the item is delivered again.")]
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
    if dead_letter.as_str() == facts.ring {
        let line = format!("--dead-letter {:?} is the ring of the item; expected another one", facts.ring);
        return Err(Failure::new(code::USAGE, line));
    }
    if facts.failures < args.retries.unwrap_or(0) {
        return ask(&args.token, Request::Fail).map(|_| End::Done);
    }
    let log = run_log::from_environment(ui.program())?;
    // Sent first, so that a death in between loses nothing: what is then sent twice has the same key.
    let failed = FailedItem { ring: dead_letter, args, facts: &facts, bytes: &bytes, ui };
    let sent = match dead_letter {
        Address::Ring(_) => failed.send_over::<Shm>(log.as_ref()),
        #[cfg(feature = "nats")]
        Address::Stream(_) => failed.send_over::<Nats>(log.as_ref()),
    };
    match sent? {
        End::Done => ask(&args.token, Request::Done).map(|_| End::Done),
        end => Ok(end),
    }
}

/// An item that has failed too often, and the ring that it is sent to.
struct FailedItem<'a> {
    ring: &'a Address,
    args: &'a FailArgs,
    facts: &'a Facts,
    bytes: &'a [u8],
    ui: &'a Ui,
}

impl FailedItem<'_> {
    fn send_over<T: Transport>(&self, log: Option<&RunLog>) -> Result<End, Failure> {
        match log {
            Some(log) => log.or_failure(self.send::<Logged<T>>(Some(log))),
            None => self.send::<T>(None),
        }
    }

    /// Sends it as a dead letter; waits for room.
    fn send<T: Transport>(&self, log: Option<&RunLog>) -> Result<End, Failure> {
        let stop = signals::catch()?;
        let report = Reporter::new(self.ui.program(), &ReportArgs::default());
        let opening = Opening {
            name: self.ring,
            place: Patience::None,
            report: &report,
            stop: &stop,
            log,
            needs: Needs::Keys,
        };
        let Some(mut sender) = relay::open::<T>(&opening, &for_letters(self.bytes.len() as u64))? else {
            return Ok(signals::end());
        };
        let key = ItemKey { producer: self.facts.producer, sequence: self.facts.sequence };
        let letter = DeadLetter {
            failures: self.facts.failures.saturating_add(1),
            reason: self.args.reason.clone().unwrap_or_else(|| "ringctl fail".into()),
            time: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            ..DeadLetter::new(&self.facts.ring, key)
        };
        let sent = send_on(&mut sender, key, &letter.with(self.bytes), None, &stop);
        let result = match sent {
            Ok(()) => Ok(End::Done),
            Err(Unsent::Stopped | Unsent::NoRoom) => Ok(signals::end()),
            Err(Unsent::Refused(error)) => {
                let failure = relay::refusal(&sender, &error);
                // The exit code EMPTY means a missing item or token here, and must not mean this, too.
                let code = if failure.code == code::EMPTY { code::RUNTIME } else { failure.code };
                Err(Failure { code, ..failure })
            }
        };
        relay::close(sender);
        result
    }
}
