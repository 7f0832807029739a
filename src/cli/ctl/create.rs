//! `ringctl create`.
use serde::Serialize;

use super::{output, show};
use crate::{
    RingName, RingOptions,
    cli::{
        args::{ByteSize, Count, ModeArg},
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
  ringctl create classic --sync semaphore
  ringctl create batches --sync monitor --wake-at 5 --resume-at 0

Exit codes: 0 made; 1 it exists already, or there is too little memory; 2 usage.")]
pub struct Args {
    /// Name of the ring
    ring: RingName,
    /// Number of slots, 2 to 16777216, rounded up to a power of two [default: 8192]
    #[arg(long, value_name = "SLOTS")]
    capacity: Option<Count>,
    /// Bytes in a slot, rounded up to a multiple of 8; longer items take several slots, up to half of
    /// them [default: 64]
    #[arg(long, value_name = "BYTES")]
    slot_size: Option<ByteSize>,
    /// Permissions: who may write the ring may take part [default: 600]
    #[arg(long)]
    mode: Option<ModeArg>,
    /// Most producers and consumers at a time, 2 to 1024 [default: 1024]
    #[arg(long, value_name = "N", conflicts_with = "exclusive")]
    participants: Option<u32>,
    /// No end of stream before so many producers have come [default: 1]
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
    max_item: u64,
    size: u64,
    exclusive: bool,
    timestamps: bool,
    sync: String,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let name = args.ring.as_str();
    let options = args.options()?;
    let failed = |error| Failure::of_ring(name, &error);
    let size = options.size().map_err(failed)?;
    // `create` reads the name anew: the slash keeps one that begins with "shm:" as it is.
    let ring = options.create(&args.ring.os_id()).map_err(failed)?;
    args.say_rounding(ring.capacity(), ring.slot_size());
    if !args.json {
        return Ok(());
    }
    let created = Created {
        schema: "ringpipe.create/1",
        ring: name,
        id: super::hex(ring.id()),
        capacity: ring.capacity(),
        slot_size: ring.slot_size(),
        max_item: ring.max_item(),
        size,
        exclusive: ring.is_exclusive(),
        timestamps: ring.has_timestamps(),
        sync: ring.discipline().to_string(),
    };
    let told = output::json_line(&created).and_then(|line| output::emit(line.as_bytes()));
    if told.is_err() {
        // A command that fails leaves no ring, unless somebody was quick to use it.
        let _ = ring.remove_if_deserted(false);
    }
    told
}

impl Args {
    fn options(&self) -> Result<RingOptions, Failure> {
        let mut options = RingOptions::new()
            .exclusive(self.exclusive)
            .timestamps(!self.no_timestamps)
            .prefault(self.prefault);
        if let Some(Count(slots)) = self.capacity {
            options = options.capacity(slots);
        }
        if let Some(ByteSize(bytes)) = self.slot_size {
            options = options.slot_size(bytes);
        }
        if let Some(ModeArg(mode)) = self.mode {
            options = options.mode(mode);
        }
        if let Some(most) = self.participants {
            options = options.participants(most);
        }
        if let Some(producers) = self.producers {
            options = options.expected_producers(producers);
        }
        Ok(options.sync(self.sync.discipline()?.unwrap_or_default()))
    }

    fn say_rounding(&self, capacity: u64, slot_size: u64) {
        if let Some(Count(given)) = self.capacity
            && given != capacity
        {
            let (given, rounded) = (show::count(given), show::count(capacity));
            output::note(&format!("capacity {given} rounded up to {rounded} slots, a power of two"));
        }
        if let Some(ByteSize(given)) = self.slot_size
            && given != slot_size
        {
            output::note(&format!("slot size {given} rounded up to {slot_size} bytes, a multiple of 8"));
        }
    }
}
