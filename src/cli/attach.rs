//! How the two sides come to their ring.

use std::time::{Duration, Instant};

use clap::Args;

use super::args::{ByteSize, Count, ModeArg};
use super::exit::{Failure, code};
use super::report::Report;
use super::signals;
use super::sync_args::{self, SyncArgs};
use crate::sys::segment::NameState;
use crate::{Consumer, Error, Liveness, Producer, Ring, RingName, RingOptions, Role, StopFlag};

/// Shortest and longest time between two looks for a ring that is waited for; in between, a sixteenth of the time
/// waited so far. A look costs microseconds. To be told of new names instead (inotify) would cost whoever leaves the
/// system's time to take that back: 15 ms, and seconds on a machine that is busy.
const LOOKS: (Duration, Duration) = (Duration::from_micros(500), Duration::from_millis(25));
const LOOK_SHARE: u32 = 16;
/// A wait longer than this is worth saying.
const PATIENCE: Duration = Duration::from_millis(200);

/// How the ring is made if it is missing.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "A ring that does not exist yet is made with")]
pub struct CreateArgs {
    /// Slots, 2 to 16777216, rounded up to a power of two [default: 8192; for --raw and --block 1024]
    #[arg(long, value_name = "COUNT")]
    capacity: Option<Count>,
    /// Bytes in a slot, rounded up to a multiple of 8; longer items span several slots, up to half of
    /// them [default: 64; for --raw and --block 1K]
    #[arg(long, value_name = "SIZE")]
    slot_size: Option<ByteSize>,
    /// Permissions in octal: who may write the segment may take part [default: 600]
    #[arg(long, value_name = "MODE")]
    mode: Option<ModeArg>,
    /// One producer and one consumer at a time, which is faster
    #[arg(long)]
    pub exclusive: bool,
    #[command(flatten)]
    sync: SyncArgs,
    /// The time of sending in each item
    #[arg(long)]
    timestamps: bool,
    /// No end of stream before N producers have come [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    producers: Option<u32>,
    /// Make no ring: a missing one is an error (exit code 3)
    #[arg(long)]
    no_create: bool,
}

/// The ring for pieces of a stream: in all 1 MiB, which stays in the cache. docs/PERFORMANCE.md has other sizes.
const PIECES_CAPACITY: u64 = 1024;
const PIECES_SLOT_SIZE: u64 = 1024;

impl CreateArgs {
    fn options(&self, in_pieces: bool) -> Result<RingOptions, Failure> {
        let mut options = RingOptions::new().ephemeral(true);
        if in_pieces {
            options = options.capacity(PIECES_CAPACITY).slot_size(PIECES_SLOT_SIZE);
        }
        if let Some(Count(slots)) = self.capacity {
            options = options.capacity(slots);
        }
        if let Some(ByteSize(bytes)) = self.slot_size {
            options = options.slot_size(bytes);
        }
        if let Some(ModeArg(mode)) = self.mode {
            options = options.mode(mode);
        }
        Ok(options
            .exclusive(self.exclusive)
            .timestamps(self.timestamps)
            .expected_producers(self.producers.unwrap_or(1))
            .sync(self.sync.discipline()?.unwrap_or_default()))
    }

    fn note_creation(&self, ring: &Ring, report: &Report) {
        let name = ring.name();
        let (slots, bytes) = (ring.capacity(), ring.slot_size());
        if let Some(Count(given)) = self.capacity.filter(|given| given.0 != slots) {
            report.note(format!("ring {name:?}: capacity {given} rounded up to {slots} slots"));
        }
        if let Some(ByteSize(given)) = self.slot_size.filter(|given| given.0 != bytes) {
            report.note(format!("ring {name:?}: slot size {given} rounded up to {bytes} bytes"));
        }
        report.detail(format!("made ring {name:?}: {slots} slots of {bytes} bytes"));
    }

    /// Says what was asked for and is otherwise in a ring that exists.
    fn note_differences(&self, ring: &Ring, report: &Report) {
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
            note(format!("slots of {bytes} bytes: --slot-size {given} has no effect"));
        }
        if self.exclusive && !ring.is_exclusive() {
            note("room for many: --exclusive has no effect".into());
        }
        let found = ring.discipline();
        // One that cannot be was refused before.
        if self.sync.discipline().ok().flatten().is_some_and(|given| given != found) {
            note(format!("--sync {}: what was asked for has no effect", sync_args::describe(found)));
        }
        if self.timestamps && !ring.has_timestamps() {
            note("no times in its items: --timestamps has no effect".into());
        }
        let expected = ring.expected_producers();
        if let Some(given) = self.producers.filter(|given| *given != expected) {
            note(format!("{expected} expected producers: --producers {given} has no effect"));
        }
        report.detail(format!("found ring {name:?}: {slots} slots of {bytes} bytes"));
    }
}

/// Attaches a producer to the ring, which is made if it is missing and may be; for pieces of a stream, if so.
/// Answers also whether it was made.
///
/// # Errors
/// The [`Failure`] of whatever is refused; a usage error for a ring that cannot be made as asked, also
/// when there is one already.
pub fn producer(
    name: &RingName,
    create: &CreateArgs,
    in_pieces: bool,
    report: &Report,
) -> Result<(Ring, Producer, bool), Failure> {
    // The slash keeps a name that begins with "shm:" as it is: the library reads it anew.
    let (name, id) = (name.as_str(), name.os_id());
    let failed = |error: Error| Failure::of_ring(name, &error);
    let options = create.options(in_pieces)?;
    options.size().map_err(failed)?;
    loop {
        let (ring, made) = match Ring::open(&id) {
            Err(Error::NotFound(_)) if !create.no_create => match options.create(&id) {
                // Somebody else was faster.
                Err(Error::Exists(_)) => continue,
                result => (result.map_err(failed)?, true),
            },
            result => (result.map_err(failed)?, false),
        };
        match ring.producer() {
            // The last one out has just removed it.
            Err(Error::NotFound(_)) => continue,
            Err(error) => return Err(failed(error)),
            Ok(producer) => {
                let note = if made { CreateArgs::note_creation } else { CreateArgs::note_differences };
                note(create, &ring, report);
                return Ok((ring, producer, made));
            }
        }
    }
}

/// How long to wait for a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Not at all.
    None,
    /// So long.
    Limited(Duration),
    /// Until a signal comes.
    Unlimited,
}

/// Attaches a consumer to the ring, which is waited for. `None`: the stop flag was raised first.
///
/// # Errors
/// The [`Failure`] of whatever is refused: not found with [`Patience::None`], timed out with
/// [`Patience::Limited`].
pub fn consumer(
    name: &RingName,
    patience: Patience,
    report: &Report,
    stop: &StopFlag,
) -> Result<Option<(Ring, Consumer)>, Failure> {
    let start = Instant::now();
    let mut said = false;
    loop {
        let waited = start.elapsed();
        // Not found by attaching: the last one out has just removed it.
        let found = Ring::open(&name.os_id()).and_then(|ring| Ok((ring.consumer()?, ring)));
        match found {
            Ok((consumer, ring)) => {
                let (slots, bytes) = (ring.capacity(), ring.slot_size());
                report.detail(format!("found ring \"{name}\": {slots} slots of {bytes} bytes"));
                return Ok(Some((ring, consumer)));
            }
            Err(Error::NotFound(_)) if patience != Patience::None => {}
            Err(error) => return Err(Failure::of_ring(name.as_str(), &error)),
        }
        let mut pause = (waited / LOOK_SHARE).clamp(LOOKS.0, LOOKS.1);
        if let Patience::Limited(limit) = patience {
            if waited >= limit {
                return Err(missing(name, limit));
            }
            pause = pause.min(limit - waited);
        }
        if waited >= PATIENCE && !said {
            report.note(format!("waiting for ring \"{name}\", which does not exist yet"));
            said = true;
        }
        if !signals::sleep(pause, stop) {
            return Ok(None);
        }
    }
}

/// Whether the name stands for this ring no more: who comes now does not find it.
pub fn is_nameless(ring: &Ring) -> bool {
    ring.name_state().is_ok_and(|state| state != NameState::Current)
}

/// A failure, unless the reason is that somebody has cut the ring short: that is said instead.
pub fn explained(ring: &Ring, failure: Failure) -> Failure {
    match ring.check() {
        Err(error @ Error::Truncated) => Failure::of_ring(ring.name(), &error),
        _ => failure,
    }
}

/// Whether some participant with this role is, or may be, alive.
pub fn has_live(ring: &Ring, role: Role) -> bool {
    ring.participants().iter().any(|one| one.role == role && one.liveness != Liveness::Dead)
}

fn missing(name: &RingName, waited: Duration) -> Failure {
    let waited = humantime::format_duration(waited);
    Failure::new(code::FULL, format!("ring \"{name}\" does not exist, waited {waited}"))
        .hint(format!("producer {name} or ringctl create {name} makes it"))
}
