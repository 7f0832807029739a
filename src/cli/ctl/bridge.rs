//! `ringctl bridge`: moves items from a ring or stream to another one.

use std::mem;
use std::time::{Duration, Instant};

use crate::cli::common::address::Address;
use crate::cli::common::args::{Count, RateArg};
use crate::cli::common::create_args::CreateArgs;
use crate::cli::common::exit::{Failure, code};
use crate::cli::common::owner_args::OwnerArgs;
use crate::cli::common::pace::Pace;
use crate::cli::common::progress::{Goal, Progress, Subject};
use crate::cli::common::relay;
use crate::cli::common::report::{More, ReportArgs, Reporter, Stats};
use crate::cli::common::signals;
use crate::cli::common::start::End;
use crate::cli::common::ui::Ui;
#[cfg(feature = "nats")]
use crate::cli::transport::nats::Nats;
use crate::cli::transport::shm::Shm;
use crate::cli::transport::{
    Batch, Item, Moved, Needs, Observe, Opening, Patience, Receiver, Sender, Transport,
};
use crate::{Error, ItemKey, Role, StopFlag};

/// Items that are held at a time, and about the number of their bytes.
const MOST: usize = 512;
/// The longest wait without a check of the stop flag and of the ring's name.
const SLICE: Duration = Duration::from_millis(250);

/// Move the items of a ring or stream to another one, such as to a NATS server or from it
///
/// Items keep producer and sequence, and with one bridge their order. An item is acknowledged in FROM when TO has it: a
/// bridge that is killed loses nothing. Started again within two minutes, it doubles nothing in a stream of a server, if the
/// items have times (ringctl create, producer --timestamps, and all streams). In a ring, what was sent before the kill comes
/// twice, under the same key (consumer --dedup). If TO is full, the bridge waits, and FROM fills up. Ends when the stream of
/// FROM has ended; waits for a FROM that does not exist yet; makes a missing TO.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ringctl bridge jobs nats://localhost:4222/jobs
  ringctl bridge --follow --rate 1000/s nats://localhost:4222/jobs jobs

Exit codes: 0 all was moved, or -n items; 1 runtime error; 2 usage; 3 -n was not reached; 5 TO is
closed, or was removed; 6 damaged, or not a ring; 128+n ended by signal n.")]
pub struct Args {
    /// Where the items come from
    #[arg(value_name = "FROM")]
    from: Address,
    /// Where they go
    #[arg(value_name = "TO")]
    to: Address,
    /// Move at most COUNT items
    #[arg(short = 'n', long, value_name = "COUNT")]
    count: Option<Count>,
    /// Do not stop when every producer has left: only when FROM is closed or removed, or by a signal
    #[arg(long)]
    follow: bool,
    /// Move at most this many items per time: 1000, 1000/s, 90/m, 0.5/h
    #[arg(long, value_name = "RATE")]
    rate: Option<RateArg>,
    #[command(flatten)]
    owner: OwnerArgs,
    #[command(flatten)]
    report: ReportArgs,
}

/// Runs the verb.
///
/// # Errors
/// The [`Failure`] that ends it.
pub fn run(args: &Args, ui: &Ui) -> Result<End, Failure> {
    match (&args.from, &args.to) {
        (from, to) if from == to => {
            let line = format!("FROM and TO are both {:?}; expected two", to.as_str());
            Err(Failure::new(code::USAGE, line))
        }
        (Address::Ring(_), Address::Ring(_)) => bridge::<Shm, Shm>(args, ui),
        #[cfg(feature = "nats")]
        (Address::Ring(_), Address::Stream(_)) => bridge::<Shm, Nats>(args, ui),
        #[cfg(feature = "nats")]
        (Address::Stream(_), Address::Ring(_)) => bridge::<Nats, Shm>(args, ui),
        #[cfg(feature = "nats")]
        (Address::Stream(_), Address::Stream(_)) => bridge::<Nats, Nats>(args, ui),
    }
}

fn bridge<F: Transport, T: Transport>(args: &Args, ui: &Ui) -> Result<End, Failure> {
    let report = Reporter::new(ui.program(), &args.report);
    let stop = signals::catch()?;
    let opening =
        |name, needs| Opening { name, place: Patience::None, report: &report, stop: &stop, log: None, needs };
    T::check(&opening(&args.to, Needs::Keys))?;
    // A server knows no owners of its streams.
    let own = OwnerArgs::default();
    let owner = |address: &Address| if address.ring().is_ok() { args.owner } else { own };
    let from =
        F::open_receiver(&opening(&args.from, Needs::Nothing), Patience::Unlimited, &owner(&args.from))?;
    let Some(mut receiver) = from else { return Ok(signals::end()) };
    receiver.set_follow(args.follow);
    // A ring takes the longest item of FROM.
    let ring = receiver.observe();
    let largest = ring.fixed().unwrap_or_else(|| (ring.capacity() / 2).saturating_mul(ring.slot_size()));
    let create = CreateArgs { owner: owner(&args.to), ..relay::for_items(largest) };
    let to = relay::open::<T>(&opening(&args.to, Needs::Keys), &create)?;
    let Some(sender) = to else { return Ok(signals::end()) };
    let goal = Goal { items: args.count.map(|Count(count)| count), ..Goal::default() };
    let progress = report.progress(ring.name(), Subject::new("moved"), ring.gauge(), goal);
    let mut bridge = Bridge {
        source: ring.id(),
        receiver,
        sender,
        pace: Pace::new(args.rate, None, fastrand::Rng::new()),
        left: args.count.map_or(u64::MAX, |Count(count)| count),
        tally: Tally::default(),
        progress,
        report: &report,
        stop: &stop,
    };
    let start = Instant::now();
    let result = bridge.move_all();
    let Bridge { mut progress, tally, receiver, sender, .. } = bridge;
    progress.finish(args.report.stats);
    let told = match args.report.stats {
        true => report.stats(
            &Stats {
                schema: "ringpipe.bridge/1",
                ring: receiver.observe().name(),
                items: tally.items,
                bytes: tally.bytes,
                seconds: start.elapsed().as_secs_f64(),
                more: More::Consumer {
                    redelivered: tally.redelivered,
                    returned: receiver.returned(),
                    duplicates: None,
                },
            },
            false,
        ),
        false => Ok(()),
    };
    relay::close(sender);
    match result? {
        End::Done => {
            told?;
            match args.count {
                Some(Count(wanted)) if tally.items < wanted => {
                    let (name, items) = (args.from.as_str(), tally.items);
                    let line = format!("ring {name:?}: the stream ended after {items} of {wanted} items");
                    Err(Failure::new(code::EMPTY, line))
                }
                _ => Ok(End::Done),
            }
        }
        end => Ok(end),
    }
}

#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    items: u64,
    bytes: u64,
    /// Items that were delivered before.
    redelivered: u64,
}

/// An item, copied out of its batch.
struct Copied {
    key: ItemKey,
    sent_at: Option<u64>,
    attempt: u8,
    bytes: Vec<u8>,
}

/// Items that were taken.
struct Taken<H> {
    items: Vec<Copied>,
    /// Whether the bytes are those of the items.
    read: Result<(), Error>,
    held: H,
}

impl<H> Taken<H> {
    fn of(batch: impl Batch<Held = H>) -> Self {
        let mut items = Vec::new();
        for item in batch.items(0) {
            let mut bytes = Vec::with_capacity(item.len());
            item.append_to(&mut bytes);
            items.push(Copied { key: item.key(), sent_at: item.sent_at(), attempt: item.attempt(), bytes });
        }
        let read = batch.check();
        Taken { items, read, held: batch.set_aside() }
    }
}

struct Bridge<'a, R, S> {
    /// Identifies FROM.
    source: [u8; 16],
    receiver: R,
    sender: S,
    pace: Pace,
    /// Items that may still be moved.
    left: u64,
    tally: Tally,
    progress: Progress,
    report: &'a Reporter,
    stop: &'a StopFlag,
}

impl<R: Receiver, S: Sender> Bridge<'_, R, S> {
    fn move_all(&mut self) -> Result<End, Failure> {
        let mut deserted = false;
        while self.left > 0 {
            if self.stop.is_raised() {
                return Ok(signals::end());
            }
            let most = match self.pace.is_unlimited() {
                true => MOST.min(usize::try_from(self.left).unwrap_or(usize::MAX)),
                false => 1,
            };
            // Half of a small ring, so that its producers have room meanwhile.
            let half = (self.receiver.observe().capacity() / 2).max(1);
            let most = most.min(usize::try_from(half).unwrap_or(usize::MAX));
            let received = self.receiver.receive(most, SLICE).map(Taken::of);
            let Taken { items, read, held } = match received {
                Ok(taken) => taken,
                Err(Error::TimedOut | Error::Empty) => {
                    // Checked twice in a row, so that items that a producer sent before it left are received.
                    let ring = self.receiver.observe();
                    let is_deserted = ring.is_nameless() && !ring.has_live(Role::Producer);
                    if mem::replace(&mut deserted, is_deserted) && is_deserted {
                        return Ok(End::Done);
                    }
                    continue;
                }
                Err(Error::Ended) => return Ok(End::Done),
                Err(Error::Interrupted) => return Ok(signals::end()),
                Err(error) => {
                    let ring = self.receiver.observe();
                    return Err(ring.explained(Failure::of_ring(ring.name(), &error)));
                }
            };
            deserted = false;
            self.tally.redelivered += items.iter().filter(|item| item.attempt > 1).count() as u64;
            // What was read from lost memory must not be sent.
            read.map_err(|error| Failure::of_ring(self.receiver.observe().name(), &error))?;
            if let Some(end) = self.pass_on(&items, held)? {
                return Ok(end);
            }
        }
        Ok(End::Done)
    }

    /// Sends items, and acknowledges those that were sent. `Some`: a signal came, and the others were given back.
    fn pass_on(&mut self, items: &[Copied], held: R::Held) -> Result<Option<End>, Failure> {
        let moved: Vec<Moved<'_>> =
            items.iter().map(|one| Moved { key: one.key, sent_at: one.sent_at, bytes: &one.bytes }).collect();
        let (sent, stopped) = self.send(&moved);
        let mut batch = self.receiver.resume(held);
        let acknowledged = match sent == moved.len() {
            true => batch.acknowledge(),
            false => batch.acknowledge_first(sent).map(|()| batch.give_back()),
        };
        acknowledged.map_err(|error| Failure::of_ring(self.receiver.observe().name(), &error))?;
        self.tally.items += sent as u64;
        self.tally.bytes += moved[..sent].iter().map(|item| item.bytes.len() as u64).sum::<u64>();
        self.left -= sent as u64;
        self.progress.update(self.tally.items, self.tally.bytes);
        match stopped {
            None => Ok(None),
            Some(Error::Interrupted) => Ok(Some(signals::end())),
            Some(error) => Err(relay::refusal(&self.sender, &error)),
        }
    }

    /// Sends items until all are sent, or until the stop flag is raised while there is no room. Returns how many were sent,
    /// and why not all.
    fn send(&mut self, items: &[Moved<'_>]) -> (usize, Option<Error>) {
        let (mut sent, mut said) = (0, false);
        let start = Instant::now();
        while sent < items.len() {
            if !self.pace.is_unlimited() && !signals::sleep(self.pace.wait(Instant::now()), self.stop) {
                return (sent, Some(Error::Interrupted));
            }
            match self.sender.send_moved(self.source, &items[sent..], SLICE) {
                Ok(more) => sent += more,
                Err(Error::TimedOut | Error::Full) if self.stop.is_raised() => {
                    return (sent, Some(Error::Interrupted));
                }
                Err(Error::TimedOut | Error::Full) => {
                    if !mem::replace(&mut said, true) {
                        let (to, waited) = (self.sender.observe().name(), start.elapsed());
                        let waited =
                            humantime::format_duration(Duration::from_millis(waited.as_millis() as u64));
                        self.report.detail(format!("ring {to:?} takes nothing, waited {waited}: waiting"));
                    }
                }
                Err(error) => return (sent, Some(error)),
            }
        }
        (sent, None)
    }
}
