//! The transport over NATS JetStream: a stream of a server in place of a ring in shared memory.
//!
//! A stream with work-queue retention keeps an item until it is acknowledged, and with `discard: new` and `max_msgs` it
//! refuses further ones while it has that many, the held ones included, as a ring does with its slots. docs/SCALING.md
//! says what differs for users.

mod access;
pub(in crate::cli) mod admin;
mod holder;
mod link;
mod members;
mod observe;
mod receive;
mod received;
mod reply;
mod requests;
mod send;
mod state;
mod stream;
pub(in crate::cli) mod survey;

use std::time::{Duration, Instant};

pub(in crate::cli) use self::access::check_name;
use self::link::{Link, may_pass};
use self::members::Membership;
use self::observe::Stream;
use self::receive::NatsReceiver;
use self::send::NatsSender;
use self::state::Record;
use self::stream::Found;
use super::patience::{Attempts, Over, Patience};
use super::{Needs, Opening, Transport};
use crate::cli::common::args::Count;
use crate::cli::common::create_args::CreateArgs;
use crate::cli::common::escape;
use crate::cli::common::exit::{Failure, code};
use crate::cli::common::owner_args::OwnerArgs;
use crate::cli::common::report::Reporter;
use crate::cli::common::stream_name::{ServerName, StreamName};
use crate::{Error, Owners, Role, StopFlag};

/// Items that a stream takes, if the command line does not say; for large pieces, `PIECES`.
const CAPACITY: u64 = 8192;
const PIECES: u64 = 1024;

/// How long a command without `--timeout` tries to open a stream, or a verb to do its work.
const OPENING: Duration = Duration::from_secs(20);
/// The pause between two attempts.
const PAUSE: Duration = Duration::from_millis(100);

/// The transport over NATS JetStream.
pub struct Nats;

impl Transport for Nats {
    type Sender = NatsSender;
    type Receiver = NatsReceiver;

    fn check(opening: &Opening<'_>) -> Result<(), Failure> {
        opening.name.stream().map(drop)
    }

    fn open_sender(
        opening: &Opening<'_>,
        create: &CreateArgs,
        in_pieces: bool,
    ) -> Result<Option<NatsSender>, Failure> {
        let &Opening { report, stop, .. } = opening;
        let name = opening.name.stream()?;
        check_create(create, opening.needs)?;
        let limit = Limit::of(opening.place);
        let Some(link) = connect(&name.server, opening.place, report, stop)? else { return Ok(None) };
        let failed = |error: Error| Failure::of_ring(name.as_str(), &error);
        loop {
            let found = ask(&link, limit, || stream::find(&link, name)).map_err(failed)?;
            let (found, is_made) = match found {
                Some(found) => (found, false),
                None if create.no_create => return Err(failed(Error::NotFound(name.as_str().into()))),
                None => {
                    let default = if in_pieces { PIECES } else { CAPACITY };
                    let capacity = create.capacity.map_or(default, |Count(given)| given);
                    let expected = create.producers.unwrap_or(1).into();
                    // One record, so that an attempt whose answer was lost finds its own.
                    let record = Record::new(expected);
                    ask(&link, limit, || stream::make(&link, name, capacity, &record)).map_err(failed)?
                }
            };
            let (buckets, stream) = (&found.buckets, name.stream());
            let entered = Membership::enter(&link, buckets, stream, Role::Producer, limit.left());
            // It was removed meanwhile.
            let Some(membership) = entered.map_err(failed)? else { continue };
            note(name, &found, is_made.then_some(()), create, report);
            let stream = Stream::new(name, &link, &found, &membership);
            return Ok(Some(NatsSender::new(stream, membership, is_made, &found)));
        }
    }

    fn open_receiver(
        opening: &Opening<'_>,
        ring: Patience,
        owner: &OwnerArgs,
    ) -> Result<Option<NatsReceiver>, Failure> {
        let &Opening { report, stop, .. } = opening;
        let name = opening.name.stream()?;
        check_owner(owner)?;
        let Some(link) = connect(&name.server, opening.place, report, stop)? else { return Ok(None) };
        let failed = |error: Error| Failure::of_ring(name.as_str(), &error);
        let mut attempts = Attempts::new(report, stop);
        loop {
            // The wait for the ring is another one.
            let limit = Limit::of(opening.place);
            if let Some(found) = ask(&link, limit, || stream::find(&link, name)).map_err(failed)? {
                let (buckets, stream) = (&found.buckets, name.stream());
                let entered = Membership::enter(&link, buckets, stream, Role::Consumer, limit.left());
                if let Some(membership) = entered.map_err(failed)? {
                    report.detail(format!("found stream {name}: {} items", found.capacity));
                    let stream = Stream::new(name, &link, &found, &membership);
                    return Ok(Some(NatsReceiver::new(stream, membership)));
                }
            }
            if ring == Patience::None {
                return Err(failed(Error::NotFound(name.as_str().into())));
            }
            match attempts.pause(ring, format!("ring {:?}, which does not exist yet", name.as_str())) {
                Ok(()) => {}
                Err(Over::Expired(limit)) => {
                    let waited = humantime::format_duration(limit);
                    let line = format!("ring {:?} does not exist, waited {waited}", name.as_str());
                    return Err(Failure::new(code::FULL, line)
                        .hint(format!("producer {} makes it", escape::argument(name.as_str()))));
                }
                Err(Over::Stopped) => return Ok(None),
            }
        }
    }
}

/// How long a command may take to open a stream, or a verb to do its work.
#[derive(Clone, Copy)]
struct Limit {
    start: Instant,
    whole: Duration,
}

impl Limit {
    fn of(place: Patience) -> Self {
        let whole = match place {
            // A command that does not wait for others waits for the server.
            Patience::Limited(limit) if limit.is_zero() => link::ANSWER,
            Patience::Limited(limit) => limit,
            Patience::None | Patience::Unlimited => OPENING,
        };
        Limit { start: Instant::now(), whole }
    }

    fn left(&self) -> Duration {
        self.whole.saturating_sub(self.start.elapsed())
    }
}

/// Waits for the answer to several requests. If the connection is lost, or the server says that it cannot answer yet, asks
/// all of them again: they must be such that this changes nothing.
fn ask<T, F>(link: &Link, limit: Limit, mut work: impl FnMut() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let mut failed = None;
    loop {
        let left = limit.left();
        match link.answer_within(left, work()).flatten() {
            Err(error) if may_pass(&error) => {
                let lacks = link.lacks_jetstream();
                if lacks {
                    return Err(link.needs_jetstream());
                }
                // The first error says more than that the time is over.
                let error = failed.get_or_insert(error);
                if limit.left() < PAUSE {
                    return Err(std::mem::replace(error, link.silent()));
                }
                if !link.sleep(PAUSE) {
                    return Err(Error::Interrupted);
                }
            }
            result => return result,
        }
    }
}

/// Connects. With a limit for the wait, tries again until then. `None`: the stop flag was raised first.
fn connect(
    server: &ServerName,
    place: Patience,
    report: &Reporter,
    stop: &StopFlag,
) -> Result<Option<Link>, Failure> {
    let (mut attempts, limit) = (Attempts::new(report, stop), Limit::of(place));
    loop {
        match Link::connect(server, report, stop, limit.left()) {
            Ok(link) => return Ok(Some(link)),
            Err(_) if stop.is_raised() => return Ok(None),
            Err(failure) if failure.code == code::USAGE => return Err(failure),
            Err(failure) => match attempts.pause(place, server.as_str()) {
                Ok(()) => {}
                Err(Over::Expired(_)) => return Err(failure),
                Err(Over::Stopped) => return Ok(None),
            },
        }
    }
}

/// Fails for options that only a ring in shared memory can have.
fn check_create(create: &CreateArgs, needs: Needs) -> Result<(), Failure> {
    check_owner(&create.owner)?;
    let discipline = create.sync.discipline()?;
    let options = [
        ("--fixed", create.fixed.is_some(), "a server stores a length with each item anyway"),
        ("--exclusive", create.exclusive, "a server does not know which producer is the only one"),
        ("--sync", discipline.is_some(), "processes wait for the server"),
        ("--mode", create.mode.is_some(), "the server's accounts and permissions decide access to it"),
        // Rings for dead letters are made with slots for these.
        (
            "--slot-size",
            create.slot_size.is_some() && needs != Needs::Keys,
            "each item takes one place, whatever its length",
        ),
    ];
    match options.into_iter().find(|(_, is_given, _)| *is_given) {
        Some((option, _, why)) => Err(only_in_memory(option, why)),
        None => Ok(()),
    }
}

fn check_owner(owner: &OwnerArgs) -> Result<(), Failure> {
    match owner.owners() {
        Owners::Own => Ok(()),
        _ => Err(only_in_memory(
            "--owner and --shared",
            "the server's accounts and permissions decide access to a stream",
        )),
    }
}

fn only_in_memory(option: &str, why: &str) -> Failure {
    Failure::new(code::USAGE, format!("{option}: only for rings in shared memory: {why}"))
}

/// Notes that the stream was made, or which options differ from an existing one.
fn note(name: &StreamName, found: &Found, made: Option<()>, create: &CreateArgs, report: &Reporter) {
    let Found { capacity, record, ack_wait, replicas, .. } = found;
    let shape = format!(
        "{capacity} items, replicas {replicas}, redelivery {} after the last sign of a holder",
        humantime::format_duration(*ack_wait)
    );
    if made.is_some() {
        return report.detail(format!("made stream {name}: {shape}"));
    }
    let note = |text: String| report.note(format!("ring {:?} exists with {text}", name.as_str()));
    if let Some(Count(given)) = create.capacity.filter(|given| given.0 != *capacity) {
        note(format!("{capacity} slots: --capacity {given} has no effect"));
    }
    if let Some(given) = create.producers.filter(|given| u64::from(*given) != record.expected) {
        note(format!("{} expected producers: --producers {given} has no effect", record.expected));
    }
    report.detail(format!("found stream {name}: {shape}"));
}
