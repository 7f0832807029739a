//! Attaches a producer or a consumer to the ring named on the command line, and creates the ring if it is missing.

use std::time::Duration;

use super::{Shm, ShmReceiver, ShmSender};
use crate::cli::common::args::{ByteSize, Count, FixedArg, ModeArg};
use crate::cli::common::create_args::{CreateArgs, shaped};
use crate::cli::common::escape;
use crate::cli::common::exit::{Failure, code};
use crate::cli::common::owner_args::OwnerArgs;
use crate::cli::common::report::Reporter;
use crate::cli::common::sync_args;
use crate::cli::transport::patience::{Attempts, Over, Patience};
use crate::cli::transport::{Opening, Transport};
use crate::sys::command::{Awaited, Size, check_directory};
use crate::{Error, Ring, RingName, RingOptions};

/// The default ring for pieces of a stream: 1 MiB in all, which stays in the cache. docs/PERFORMANCE.md has other
/// sizes.
const PIECES_CAPACITY: u64 = 1024;
const PIECES_SLOT_SIZE: u64 = 1024;

impl CreateArgs {
    fn options(&self, in_pieces: bool) -> Result<RingOptions, Failure> {
        let mut options = RingOptions::new().ephemeral(true).owners(self.owner.owners());
        if in_pieces && self.fixed.is_none() {
            options = options.capacity(PIECES_CAPACITY).slot_size(PIECES_SLOT_SIZE);
        }
        Ok(shaped(options, self.capacity, self.slot_size, self.fixed, self.mode)
            .exclusive(self.exclusive)
            .timestamps(self.timestamps)
            .expected_producers(self.producers.unwrap_or(1))
            .sync(self.sync.discipline()?.unwrap_or_default()))
    }

    fn note_creation(&self, ring: &Ring, report: &Reporter) {
        let name = ring.name();
        let (slots, bytes) = (ring.capacity(), ring.slot_size());
        if let Some(Count(given)) = self.capacity.filter(|given| given.0 != slots) {
            report.note(format!("ring {name:?}: capacity {given} rounded up to {slots} slots"));
        }
        if let Some(ByteSize(given)) = self.slot_size.filter(|given| given.0 != bytes) {
            report.note(format!("ring {name:?}: slot size {given} rounded up to {bytes} bytes"));
        }
        report.detail(format!("made ring {name:?}: {}", shape(ring)));
    }

    /// Fails if the existing ring does not have the items that --fixed promises. The input is cut into items accordingly, so
    /// a note would come too late.
    fn check_fixed(&self, ring: &Ring) -> Result<(), Failure> {
        let Some(FixedArg(given)) = self.fixed.filter(|given| ring.fixed() != Some(given.0)) else {
            return Ok(());
        };
        let name = ring.name();
        let found = match ring.fixed() {
            Some(bytes) => format!("fixed items of {bytes} bytes"),
            None => "items of any length".into(),
        };
        let line =
            format!("ring {name:?} exists with {found}; expected fixed items of {given} bytes (--fixed)");
        Err(Failure::new(code::USAGE, line)
            .hint(format!("without --fixed it is used as it is; ringctl inspect {}", escape::argument(name))))
    }

    /// Notes which of the options differ from the existing ring.
    fn note_differences(&self, ring: &Ring, report: &Reporter) {
        let name = ring.name();
        let note = |text: String| report.note(format!("ring {name:?} exists with {text}"));
        let (slots, bytes) = (ring.capacity(), ring.slot_size());
        if let Some(Count(given)) = self.capacity
            && RingOptions::new().capacity(given).rounded_capacity() != slots
        {
            note(format!("{slots} slots: --capacity {given} has no effect"));
        }
        if let Some(ByteSize(given)) = self.slot_size
            && given.next_multiple_of(8) != bytes
        {
            note(format!("slots of {}: --slot-size {given} has no effect", Size(bytes)));
        }
        if self.exclusive && !ring.is_exclusive() {
            note("room for many: --exclusive has no effect".into());
        }
        let found = ring.discipline();
        // An invalid combination was refused before.
        if self.sync.discipline().ok().flatten().is_some_and(|given| given != found) {
            note(format!("--sync {}: the given discipline has no effect", sync_args::describe(found)));
        }
        if self.timestamps && !ring.has_timestamps() {
            note("no times in its items: --timestamps has no effect".into());
        }
        let expected = ring.expected_producers();
        if let Some(given) = self.producers.filter(|given| *given != expected) {
            note(format!("{expected} expected producers: --producers {given} has no effect"));
        }
        report.detail(format!("found ring {name:?}: {}", shape(ring)));
    }
}

/// `8192 slots of 64 bytes`.
fn shape(ring: &Ring) -> String {
    let slots = ring.capacity();
    match ring.fixed() {
        Some(bytes) => format!("{slots} fixed items of {bytes} bytes"),
        None => format!("{slots} slots of {}", Size(ring.slot_size())),
    }
}

impl Transport for Shm {
    type Sender = ShmSender;
    type Receiver = ShmReceiver;

    fn check(opening: &Opening<'_>) -> Result<(), Failure> {
        match Ring::observe(opening.name.ring()?) {
            Ok(ring) => opening.check(ring.fixed()),
            // Opening it tells what is wrong, if anything is.
            Err(_) => Ok(()),
        }
    }

    fn open_sender(
        opening: &Opening<'_>,
        create: &CreateArgs,
        in_pieces: bool,
    ) -> Result<Option<ShmSender>, Failure> {
        let &Opening { place, report, stop, .. } = opening;
        let name = opening.name.ring()?;
        // Before a ring is made.
        opening.check(create.fixed.map(|FixedArg(bytes)| bytes))?;
        // The slash keeps a name that begins with "shm:" as it is: the library parses the name again.
        let (name, id) = (name.as_str(), name.os_id());
        let failed = |error: Error| Failure::of_ring(name, &error);
        let options = create.options(in_pieces)?;
        options.size().map_err(failed)?;
        let mut attempts = Attempts::new(report, stop);
        loop {
            let (ring, made) = match options.open(&id) {
                Err(Error::NotFound(_)) if !create.no_create => match options.create(&id) {
                    // Another process created it first.
                    Err(Error::Exists(_)) => continue,
                    result => (result.map_err(failed)?, true),
                },
                result => (result.map_err(failed)?, false),
            };
            if !made {
                // Before this producer counts as one that came.
                opening.check(ring.fixed())?;
                create.check_fixed(&ring)?;
            }
            match ring.producer() {
                // The last participant that left has just removed it.
                Err(Error::NotFound(_)) => continue,
                Err(error @ Error::Busy(_)) => {
                    match attempts.pause(place, format!("a place in ring {name:?}")) {
                        Ok(()) => {}
                        Err(Over::Expired(_)) => return Err(busy(name, &error, place)),
                        Err(Over::Stopped) => return Ok(None),
                    }
                }
                Err(error) => {
                    if made {
                        // A command that fails leaves no ring, unless another process has attached to it
                        // meanwhile.
                        let _ = ring.remove_if_deserted(false);
                    }
                    return Err(failed(error));
                }
                Ok(mut producer) => {
                    producer.set_stop_flag(stop.clone());
                    let note = if made { CreateArgs::note_creation } else { CreateArgs::note_differences };
                    note(create, &ring, report);
                    create.owner.note_differences(&ring, create.mode.map(|ModeArg(mode)| mode), report);
                    return Ok(Some(ShmSender { ring, producer, made }));
                }
            }
        }
    }

    fn open_receiver(
        opening: &Opening<'_>,
        ring: Patience,
        owner: &OwnerArgs,
    ) -> Result<Option<ShmReceiver>, Failure> {
        let &Opening { place, report, stop, .. } = opening;
        let name = opening.name.ring()?;
        let options = RingOptions::new().owners(owner.owners());
        if opening.log.is_some() {
            // Before this process counts as a consumer that came.
            Self::check(opening)?;
        }
        let mut attempts = Attempts::new(report, stop);
        // Announced before the first attempt, so that the last process to leave a short-lived ring leaves it to
        // this consumer. If the system refuses this, the ring may come and go between two attempts.
        let awaited = if ring == Patience::None { None } else { Awaited::new(name).ok() };
        let over = loop {
            // If attaching fails with `NotFound`, the last participant has just removed the ring.
            let found = options.open(&name.os_id());
            if let Ok(ring) = &found
                && let Err(failure) = opening.check(ring.fixed())
            {
                break Some(failure);
            }
            let found = found.and_then(|ring| Ok((ring.consumer()?, ring)));
            let paused = match found {
                Ok((mut consumer, ring)) => {
                    consumer.set_stop_flag(stop.clone());
                    report.detail(format!("found ring {:?}: {}", name.as_str(), shape(&ring)));
                    owner.note_differences(&ring, None, report);
                    return Ok(Some(ShmReceiver { ring, consumer }));
                }
                // Without the directory of rings, waiting is useless.
                Err(Error::NotFound(_)) if ring != Patience::None => {
                    let what = format!("ring {:?}, which does not exist yet", name.as_str());
                    let failed = |error| Some(Failure::of_ring(name.as_str(), &error));
                    check_directory().map_err(failed).and_then(|()| {
                        attempts.pause(ring, what).map_err(|over| match over {
                            Over::Expired(limit) => Some(missing(name, limit)),
                            Over::Stopped => None,
                        })
                    })
                }
                Err(error @ Error::Busy(_)) => attempts
                    .pause(place, format!("a place in ring {:?}", name.as_str()))
                    .map_err(|over| match over {
                        Over::Expired(_) => Some(busy(name.as_str(), &error, place)),
                        Over::Stopped => None,
                    }),
                Err(error) => Err(Some(Failure::of_ring(name.as_str(), &error))),
            };
            if let Err(over) = paused {
                break over;
            }
        };
        if awaited.is_some() {
            drop(awaited);
            take_leave(name, &options);
        }
        over.map_or(Ok(None), Err)
    }
}

/// Stops waiting for a ring. If other processes have left a finished ring to this one meanwhile, removes it.
fn take_leave(name: &RingName, options: &RingOptions) {
    // The last participant that leaves removes the ring.
    drop(options.open(&name.os_id()).and_then(|ring| ring.consumer()));
}

fn missing(name: &RingName, waited: Duration) -> Failure {
    let (waited, argument) = (humantime::format_duration(waited), escape::argument(name.as_str()));
    Failure::new(code::FULL, format!("ring {:?} does not exist, waited {waited}", name.as_str()))
        .hint(format!("producer {argument} or ringctl create {argument} makes it"))
}

/// The failure for a ring that had no place during the whole time of `place`.
fn busy(name: &str, error: &Error, place: Patience) -> Failure {
    let (failure, argument) = (Failure::of_ring(name, error), escape::argument(name));
    let Patience::Limited(limit) = place else {
        return failure
            .hint(format!("--timeout waits for a place; ringctl inspect {argument} lists its processes"));
    };
    let line = format!("{}, waited {}", failure.line, humantime::format_duration(limit));
    Failure { code: code::FULL, line, ..failure }
}
