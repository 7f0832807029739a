//! `ringctl create`: creates a ring.
use serde::Serialize;

use super::show;
use crate::cli::common::address::Address;
use crate::cli::common::create_args::shaped;
#[cfg(feature = "nats")]
use crate::cli::common::exit::code;
use crate::cli::common::start::End;
#[cfg(feature = "nats")]
use crate::cli::common::stream_name::StreamName;
use crate::cli::common::ui::Ui;
use crate::{
    RingOptions,
    cli::common::{
        args::{ByteSize, Count, FixedArg, ModeArg},
        exit::Failure,
        sync_args::SyncArgs,
    },
};

/// Make a ring that stays until it is removed
///
/// Memory for the whole ring is reserved at once: if there is too little, nothing is made. A ring of this
/// name must not exist.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ringctl create jobs
  ringctl create jobs --capacity 1_000_000 --slot-size 256
  ringctl create group-jobs --mode 660
  ringctl create readings --fixed 16
  ringctl create classic --sync semaphore
  ringctl create batches --sync monitor --wake-at 5 --resume-at 0

Exit codes: 0 made; 1 it exists already, or there is too little memory; 2 usage.")]
pub struct Args {
    /// Name of the ring
    ring: Address,
    /// Number of slots, 2 to 16777216, rounded up to a power of two [default: 8192]
    #[arg(long, value_name = "SLOTS")]
    capacity: Option<Count>,
    /// Bytes in a slot, rounded up to a multiple of 8; longer items take several slots, up to half of
    /// them [default: 64]
    #[arg(long, value_name = "BYTES")]
    slot_size: Option<ByteSize>,
    /// Items of exactly SIZE bytes each, without headers: faster for short ones
    ///
    /// An item of another length is refused. Items have no producers and times, and keep no keys of other items:
    /// docs/COMMANDS.md says what follows.
    #[arg(long, value_name = "SIZE", conflicts_with = "slot_size")]
    fixed: Option<FixedArg>,
    /// Permissions in octal: attaching needs write permission [default: 600]
    #[arg(long)]
    mode: Option<ModeArg>,
    /// Most producers and consumers at a time, 2 to 1024 [default: 1024]
    #[arg(long, value_name = "N", conflicts_with = "exclusive")]
    participants: Option<u32>,
    /// Do not end the stream before N producers have attached [default: 1]
    #[arg(long, value_name = "N")]
    producers: Option<u32>,
    /// One producer and one consumer have the ring to themselves, which is faster
    #[arg(long)]
    exclusive: bool,
    #[command(flatten)]
    sync: SyncArgs,
    /// Items do not carry the time at which they were sent: faster, but inspect shows no ages
    #[arg(long)]
    no_timestamps: bool,
    /// Have the kernel map all of the memory before this command ends
    #[arg(long)]
    prefault: bool,
    /// Print one JSON object: the ring that was made
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Created<'a> {
    schema: &'static str,
    ring: &'a str,
    id: String,
    capacity: u64,
    slot_size: u64,
    /// The length of each item, if all have one.
    fixed: Option<u64>,
    max_item: u64,
    size: u64,
    exclusive: bool,
    timestamps: bool,
    sync: String,
}

pub fn run(args: &Args, ui: &Ui) -> Result<End, Failure> {
    #[cfg_attr(not(feature = "nats"), allow(clippy::infallible_destructuring_match))]
    let ring = match &args.ring {
        Address::Ring(ring) => ring,
        #[cfg(feature = "nats")]
        Address::Stream(stream) => return args.create_stream(stream, ui),
    };
    let name = ring.as_str();
    let options = args.options()?;
    let failed = |error| Failure::of_ring(name, &error);
    let size = options.size().map_err(failed)?;
    // `create` parses the name again: the slash keeps a name that begins with "shm:" as it is.
    let ring = options.create(&ring.os_id()).map_err(failed)?;
    args.note_rounding(ui, ring.capacity(), ring.slot_size());
    if !args.json {
        return Ok(End::Done);
    }
    let created = Created {
        schema: "ringpipe.create/1",
        ring: name,
        id: super::hex(ring.id()),
        capacity: ring.capacity(),
        slot_size: ring.slot_size(),
        fixed: ring.fixed(),
        max_item: ring.max_item(),
        size,
        exclusive: ring.is_exclusive(),
        timestamps: ring.has_timestamps(),
        sync: ring.discipline().to_string(),
    };
    let told = ui.emit_json(&created);
    if told.is_err() {
        // A command that fails leaves no ring, unless another process attached to it meanwhile.
        let _ = ring.remove_if_deserted(false);
    }
    told.map(|()| End::Done)
}

impl Args {
    /// Whether a ring can be made like this, apart from memory and the name.
    pub fn check(&self) -> Result<(), Failure> {
        let size = self.options()?.size();
        size.map(drop).map_err(|error| Failure::of_ring(self.ring.as_str(), &error))
    }

    #[cfg(feature = "nats")]
    fn create_stream(&self, stream: &StreamName, ui: &Ui) -> Result<End, Failure> {
        let options = [
            ("--slot-size", self.slot_size.is_some()),
            ("--fixed", self.fixed.is_some()),
            ("--mode", self.mode.is_some()),
            ("--participants", self.participants.is_some()),
            ("--exclusive", self.exclusive),
            ("--sync", self.sync.discipline()?.is_some()),
            ("--no-timestamps", self.no_timestamps),
            ("--prefault", self.prefault),
        ];
        if let Some((option, _)) = options.iter().find(|(_, is_given)| *is_given) {
            let line = format!(
                "{option}: only for rings in shared memory; expected --capacity, --producers or --json"
            );
            return Err(Failure::new(code::USAGE, line));
        }
        let capacity = self.capacity.map(|Count(capacity)| capacity);
        super::streams::create(stream, capacity, self.producers, self.json, ui)
    }

    fn options(&self) -> Result<RingOptions, Failure> {
        let mut options = shaped(RingOptions::new(), self.capacity, self.slot_size, self.fixed, self.mode)
            .exclusive(self.exclusive)
            // Fixed items have no place for a time.
            .timestamps(!self.no_timestamps && self.fixed.is_none())
            .prefault(self.prefault);
        if let Some(most) = self.participants {
            options = options.participants(most);
        }
        if let Some(producers) = self.producers {
            options = options.expected_producers(producers);
        }
        Ok(options.sync(self.sync.discipline()?.unwrap_or_default()))
    }

    fn note_rounding(&self, ui: &Ui, capacity: u64, slot_size: u64) {
        if let Some(Count(given)) = self.capacity
            && given != capacity
        {
            let (given, rounded) = (show::count(given), show::count(capacity));
            ui.note(&format!("capacity {given} rounded up to {rounded} slots, a power of two"));
        }
        if let Some(ByteSize(given)) = self.slot_size
            && given != slot_size
        {
            ui.note(&format!("slot size {given} rounded up to {slot_size} bytes, a multiple of 8"));
        }
    }
}
