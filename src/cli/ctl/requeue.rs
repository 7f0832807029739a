//! `ringctl requeue`: sends the items of dead letters again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::show;
use crate::cli::common::address::Address;
use crate::cli::common::args::{Count, DurationArg};
use crate::cli::common::create_args::CreateArgs;
use crate::cli::common::dead_letter::DeadLetter;
use crate::cli::common::escape;
use crate::cli::common::exit::{Failure, code};
use crate::cli::common::owner_args::OwnerArgs;
use crate::cli::common::relay::{self, Unsent, send_on};
use crate::cli::common::report::{ReportArgs, Reporter};
use crate::cli::common::run_log::{self, RunLog};
use crate::cli::common::signals;
use crate::cli::common::start::End;
use crate::cli::common::ui::{Ui, json_line};
use crate::cli::transport::logged::Logged;
#[cfg(feature = "nats")]
use crate::cli::transport::nats::Nats;
use crate::cli::transport::shm::Shm;
use crate::cli::transport::{Needs, Observe, Opening, Owned, Patience, Receiver, Transport};
use crate::{Error, ItemKey, RingName, StopFlag};

/// For items behind one that is being written: how long to try again, the least number of tries, and the
/// pause between two.
const BLOCKED: Duration = Duration::from_secs(1);
const BLOCKED_LOOKS: u32 = 10;
const BLOCKED_PAUSE: Duration = Duration::from_millis(1);

/// Send items that failed for good to a ring again
///
/// Takes the dead letters that workers (consumer --dead-letter) have put into ring FROM, and sends their
/// items unchanged to ring TO, or to the ring that they came from. An item keeps its producer and sequence,
/// and its failures count from 0 again. Its letter is acknowledged after the item was sent: if this command
/// is killed, at most one item is sent twice, and none is lost. Items that are not dead letters stay in FROM.
/// Ends when FROM is empty; waits for room in TO.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ringctl requeue failed                       each item to the ring that it came from
  ringctl requeue failed retry -n 100          the oldest 100 to the ring retry
  ringctl requeue failed --exit 75 --keep      items whose command exited with 75; keep letters

Exit codes: 0 sent, also when there was none; 1 runtime error; 2 usage; 3 no such ring; 4 no room in
TO (--timeout), or letters lie behind an item that its producer has not finished; 5 TO is closed;
6 damaged, or not a ring; 128+n ended by signal n.")]
pub struct Args {
    /// Ring with the dead letters
    #[arg(value_name = "FROM")]
    from: Address,
    /// Ring for the items, not one of fixed items; made if it is missing [default: the ring that each letter names]
    #[arg(value_name = "TO")]
    to: Option<Address>,
    /// Send at most COUNT items
    #[arg(short = 'n', long, value_name = "COUNT")]
    count: Option<Count>,
    /// Only items whose last command exited with this code
    #[arg(long, value_name = "N")]
    exit: Option<u8>,
    /// Only items whose letter has this in its reason, or in the end of standard error
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Leave the letters in FROM
    #[arg(long)]
    keep: bool,
    /// Wait at most this long, each time: for a place in a ring, and for room
    #[arg(long, value_name = "DURATION")]
    timeout: Option<DurationArg>,
    /// Make no ring: a missing one is an error (exit code 3)
    #[arg(long)]
    no_create: bool,
    #[command(flatten)]
    owner: OwnerArgs,
    /// Print one JSON object
    ///
    /// Its fields: schema (ringpipe.requeue/1), ring, sent (items), to (for each ring: ring, items), others (items that are
    /// not dead letters), not_chosen (dead letters that --exit or --reason leave out), kept (the letters of sent
    /// items stay: --keep).
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    schema: &'static str,
    ring: &'a str,
    sent: u64,
    to: Vec<Sent>,
    others: u64,
    not_chosen: u64,
    kept: bool,
}

#[derive(Serialize)]
struct Sent {
    ring: String,
    items: u64,
}

/// Runs the verb.
///
/// # Errors
/// The [`Failure`] that ends it.
pub fn run(args: &Args, ui: &Ui) -> Result<End, Failure> {
    match args.from {
        Address::Ring(_) => requeue_over::<Shm>(args, ui),
        #[cfg(feature = "nats")]
        Address::Stream(_) => requeue_over::<Nats>(args, ui),
    }
}

fn requeue_over<T: Transport>(args: &Args, ui: &Ui) -> Result<End, Failure> {
    match run_log::from_environment(ui.program())? {
        Some(log) => log.or_failure(requeue::<Logged<T>>(args, Some(&log), ui)),
        None => requeue::<T>(args, None, ui),
    }
}

fn requeue<T: Transport>(args: &Args, log: Option<&RunLog>, ui: &Ui) -> Result<End, Failure> {
    if let Some(to) = args.to.as_ref().filter(|to| to.as_str() == args.from.as_str()) {
        let line = format!("FROM and TO are both ring {:?}; expected two rings", to.as_str());
        return Err(Failure::new(code::USAGE, line));
    }
    let stop = signals::catch()?;
    let report = Reporter::new(ui.program(), &ReportArgs::default());
    let opening = opening(args, &args.from, &report, &stop, log, Needs::Nothing);
    if let Some(to) = &args.to {
        T::check(&self::opening(args, to, &report, &stop, log, Needs::Keys))?;
    }
    let Some(receiver) = T::open_receiver(&opening, Patience::None, &args.owner)? else {
        return Ok(signals::end());
    };
    let mut run = Run::<T> {
        args,
        report: &report,
        stop: &stop,
        log,
        receiver,
        senders: BTreeMap::new(),
        left: Vec::new(),
        others: 0,
        not_chosen: 0,
    };
    let result = run.send_all();
    let report = run.end();
    match result {
        Ok(end) => {
            let text = if args.json { json_line(&report)? } else { report.text() };
            ui.emit(text.as_bytes())?;
            Ok(end)
        }
        Err(failure) => {
            let (sent, from) = (show::counted(report.sent, "item"), args.from.as_str());
            let line = format!("{}; {sent} sent before, ring {from:?} keeps the others", failure.line);
            Err(Failure { line, ..failure })
        }
    }
}

fn opening<'a>(
    args: &Args,
    name: &'a Address,
    report: &'a Reporter,
    stop: &'a StopFlag,
    log: Option<&'a RunLog>,
    needs: Needs,
) -> Opening<'a> {
    Opening { name, place: Patience::of_place(args.timeout), report, stop, log, needs }
}

/// The state of one run.
struct Run<'a, T: Transport> {
    args: &'a Args,
    report: &'a Reporter,
    stop: &'a StopFlag,
    log: Option<&'a RunLog>,
    receiver: T::Receiver,
    /// By the names of their rings, with the number of items sent.
    senders: BTreeMap<String, (T::Sender, u64)>,
    /// Items that stay in the ring. They are given back at the end; if given back earlier, they would be
    /// received again.
    left: Vec<<T::Receiver as Receiver>::Owned>,
    others: u64,
    not_chosen: u64,
}

impl<'a, T: Transport> Run<'a, T> {
    fn sent(&self) -> u64 {
        self.senders.values().map(|(_, items)| items).sum()
    }

    fn send_all(&mut self) -> Result<End, Failure> {
        let wanted = self.args.count.map_or(u64::MAX, |Count(count)| count);
        let mut blocked: Option<(Instant, u32)> = None;
        while self.sent() < wanted {
            if self.stop.is_raised() {
                return Ok(signals::end());
            }
            match self.receiver.receive_owned(Duration::ZERO) {
                Ok(item) => {
                    blocked = None;
                    if !self.process(item)? {
                        return Ok(signals::end());
                    }
                }
                Err(Error::TimedOut | Error::Empty) if !self.receiver.observe().has_items() => break,
                // The library moves past a slow writer.
                Err(Error::TimedOut | Error::Empty) => {
                    let (since, looks) = blocked.unwrap_or((Instant::now(), 0));
                    blocked = Some((since, looks + 1));
                    if looks >= BLOCKED_LOOKS && since.elapsed() >= BLOCKED {
                        return Err(self.is_blocked());
                    }
                    signals::sleep(BLOCKED_PAUSE, self.stop);
                }
                Err(Error::Ended) => break,
                Err(Error::Interrupted) => return Ok(signals::end()),
                Err(error) => return Err(self.failure(&error)),
            }
        }
        Ok(End::Done)
    }

    fn failure(&self, error: &Error) -> Failure {
        Failure::of_ring(self.args.from.as_str(), error)
    }

    fn is_blocked(&self) -> Failure {
        let from = self.args.from.as_str();
        let line = format!("ring {from:?} has items behind one that its producer has not finished");
        Failure::new(code::FULL, line).hint(format!("ringctl inspect {}", escape::argument(from)))
    }

    /// Sends what is in a letter, and acknowledges the letter. False: a signal came first.
    fn process(&mut self, item: <T::Receiver as Receiver>::Owned) -> Result<bool, Failure> {
        let parsed = DeadLetter::parse(item.bytes());
        // Discard what was read from lost memory.
        item.check().map_err(|error| self.failure(&error))?;
        // With the slash, a name that begins with "shm:" stays as it is.
        let letter = parsed.and_then(|(letter, bytes)| {
            let to = match &self.args.to {
                Some(to) => Some(to.clone()),
                None => origin(&self.args.from, &letter.ring),
            };
            to.map(|to| (letter, bytes, to))
        });
        let Some((letter, bytes, to)) = letter else {
            self.others += 1;
            self.left.push(item);
            return Ok(true);
        };
        if !self.args.chooses(&letter) {
            self.not_chosen += 1;
            self.left.push(item);
            return Ok(true);
        }
        if to.as_str() == self.args.from.as_str() {
            let (from, key) = (to.as_str(), item.key());
            let line = format!("ring {from:?}: the dead letter of item {key} names this ring itself");
            let hint = format!("ringctl requeue {} TO sends the items to ring TO", escape::argument(from));
            return Err(Failure::new(code::USAGE, format!("{line}; expected a ring TO")).hint(hint));
        }
        if !self.send(&to, item.key(), bytes)? {
            return Ok(false);
        }
        match self.args.keep {
            true => self.left.push(item),
            false => item.acknowledge().map_err(|error| self.failure(&error))?,
        }
        Ok(true)
    }

    /// Sends an item; waits for room. False: a signal came first.
    fn send(&mut self, to: &Address, key: ItemKey, bytes: &[u8]) -> Result<bool, Failure> {
        if !self.senders.contains_key(to.as_str()) {
            let opening = opening(self.args, to, self.report, self.stop, self.log, Needs::Keys);
            let create = CreateArgs {
                no_create: self.args.no_create,
                owner: self.args.owner,
                // With room for this item at least.
                ..relay::for_items(bytes.len() as u64)
            };
            let Some(sender) = relay::open::<T>(&opening, &create)? else { return Ok(false) };
            self.senders.insert(to.as_str().to_string(), (sender, 0));
        }
        let Some((sender, sent)) = self.senders.get_mut(to.as_str()) else { return Ok(false) };
        let limit = self.args.timeout.map(|DurationArg(limit)| limit);
        match send_on(sender, key, bytes, limit, self.stop) {
            Ok(()) => {
                *sent += 1;
                Ok(true)
            }
            Err(Unsent::Stopped) => Ok(false),
            Err(Unsent::NoRoom) => Err(full(to.as_str(), limit.unwrap_or_default())),
            Err(Unsent::Refused(error)) => Err(relay::refusal(sender, &error)),
        }
    }

    /// Gives back what stays, and leaves all rings.
    fn end(self) -> Report<'a> {
        let sent = self.sent();
        self.left.into_iter().for_each(Owned::give_back);
        let mut to = Vec::new();
        for (ring, (sender, items)) in self.senders {
            relay::close(sender);
            to.push(Sent { ring, items });
        }
        Report {
            schema: "ringpipe.requeue/1",
            ring: self.args.from.as_str(),
            sent,
            to,
            others: self.others,
            not_chosen: self.not_chosen,
            kept: self.args.keep,
        }
    }
}

/// The ring that a letter in `from` names. `None`: it names none, or a stream of another server, which must not get the
/// credentials for this one.
fn origin(from: &Address, ring: &str) -> Option<Address> {
    match from {
        Address::Ring(_) => RingName::parse(&format!("/{ring}")).ok().map(Address::Ring),
        #[cfg(feature = "nats")]
        Address::Stream(from) => from.beside(ring).map(Address::Stream),
    }
}

fn full(ring: &str, waited: Duration) -> Failure {
    let waited = if waited.is_zero() { String::new() } else { format!(", waited {}", show::given(waited)) };
    Failure::new(code::FULL, format!("ring {ring:?} is full{waited}"))
        .hint(format!("ringctl inspect {} shows which side is slow", escape::argument(ring)))
}

impl Args {
    fn chooses(&self, letter: &DeadLetter) -> bool {
        let has = |text: &String| letter.reason.contains(text) || letter.stderr.contains(text);
        self.exit.is_none_or(|code| letter.exit == Some(code.into())) && self.reason.as_ref().is_none_or(has)
    }
}

impl Report<'_> {
    fn text(&self) -> String {
        let mut parts: Vec<String> = self
            .to
            .iter()
            .map(|Sent { ring, items }| {
                format!("{} sent to {}", show::counted(*items, "item"), show::name(ring))
            })
            .collect();
        if parts.is_empty() {
            parts.push("nothing to send".into());
        }
        if self.not_chosen > 0 {
            parts.push(format!("{} not chosen", show::counted(self.not_chosen, "dead letter")));
        }
        match self.others {
            0 => {}
            1 => parts.push("1 item that is not a dead letter stays".into()),
            others => parts.push(format!("{} items that are not dead letters stay", show::count(others))),
        }
        format!("{}: {}\n", show::name(self.ring), parts.join(", "))
    }
}
