//! `ringctl guarantees`: what holds for a ring in shared memory, and what for a stream of a NATS server.

use serde::Serialize;

use crate::cli::common::address::Address;
use crate::cli::common::exit::Failure;
use crate::cli::common::start::End;
use crate::cli::common::ui::Ui;

/// Show what holds for a ring in shared memory, or for a stream of a NATS server
///
/// Neither the ring nor the server need exist: the promises are those of the engine that the name chooses.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ringctl guarantees jobs
  ringctl guarantees nats://localhost:4222/jobs

Exit codes: 0 shown; 1 the output could not be written; 2 usage.")]
pub struct Args {
    /// Name of the ring
    ring: Address,
    /// Print one JSON object
    ///
    /// Its fields: schema (ringpipe.guarantees/1), ring, engine (shared memory, or nats), guarantees (for each: subject,
    /// text).
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    schema: &'static str,
    ring: &'a str,
    engine: &'static str,
    guarantees: &'a [Guarantee],
}

#[derive(Serialize)]
struct Guarantee {
    subject: &'static str,
    text: &'static str,
}

const fn of(subject: &'static str, text: &'static str) -> Guarantee {
    Guarantee { subject, text }
}

const IN_MEMORY: [Guarantee; 7] = [
    of("delivery", "at least once; each item goes to one consumer at a time"),
    of("redelivery", "when the process that holds an item dies, about 0.5 ms later; never by time"),
    of("stopped process", "keeps its items until it continues or dies"),
    of("order", "per producer on first delivery"),
    of("bound", "slots, items that consumers hold included; a full ring makes producers wait, fail or drop"),
    of("survives", "kill -9 of any process; not a reboot"),
    of("end of stream", "when all producers have left or died and all items were acknowledged"),
];

#[cfg(feature = "nats")]
const OF_A_SERVER: [Guarantee; 9] = [
    of(
        "delivery",
        "at least once; each item goes to one consumer at a time, unless its redelivery overtakes it",
    ),
    of(
        "redelivery",
        "when the server has had no sign of the process that holds an item for the ack-wait of the stream (10 s by default; \
         a third of it between signs); at once when an item is given back",
    ),
    of("stopped process", "loses its items after the same time: they are delivered again"),
    of("order", "per producer on first delivery: the server stores an item only behind the one before it"),
    of(
        "bound",
        "items (max_msgs with discard new), items that consumers hold included; no dropping of the oldest",
    ),
    of(
        "doubled sends",
        "an item that is sent again, since the answer was lost, is stored once, if that is within 2 minutes and the server was \
         not started again in between",
    ),
    of(
        "survives",
        "kill -9 of any process, of the server, and its restart; a power cut only where the server has sync_interval: always \
         (by default it syncs every 2 minutes), or with replicas on other machines",
    ),
    of(
        "end of stream",
        "when all producers have left, or gave no sign of life for about 14 s, and all items were acknowledged; the stream stays \
         on the server until ringctl rm",
    ),
    of("costs", "a round trip to the server for each item of a worker"),
];

/// Runs the verb.
///
/// # Errors
/// The [`Failure`] that ends it.
pub fn run(args: &Args, ui: &Ui) -> Result<End, Failure> {
    let (engine, guarantees): (_, &[Guarantee]) = match args.ring {
        Address::Ring(_) => ("shared memory", &IN_MEMORY),
        #[cfg(feature = "nats")]
        Address::Stream(_) => ("nats", &OF_A_SERVER),
    };
    if args.json {
        let ring = args.ring.as_str();
        ui.emit_json(&Report { schema: "ringpipe.guarantees/1", ring, engine, guarantees })?;
        return Ok(End::Done);
    }
    let lines = guarantees.iter().map(|Guarantee { subject, text }| format!("{subject}: {text}\n"));
    ui.emit(lines.collect::<String>().as_bytes())?;
    Ok(End::Done)
}
