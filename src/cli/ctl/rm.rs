//! `ringctl rm`: closes and removes rings.
use serde::Serialize;

use super::{list::living, show};
use crate::cli::common::address::Address;
use crate::cli::common::start::End;
use crate::cli::common::ui::Ui;
use crate::{
    Error, Owners, Ring, RingName, RingOptions, Role,
    cli::common::escape,
    cli::common::exit::{Failure, code},
};

/// Close rings and remove their names
///
/// Attached processes are woken: producers end with exit code 5, consumers receive the remaining items and
/// end. Without a live consumer, the items in the ring are discarded, and a line on standard error says how
/// many. Only rings are removed, never an object of another program.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ringctl rm jobs
  ringctl rm -f jobs          no error if there is none; also a damaged or unfinished ring

Exit codes: 0 removed; 1 runtime error; 3 no such ring; 6 not a ring, or one that only -f removes.
With several rings, that of the first failure.")]
pub struct Args {
    /// Names of the rings
    #[arg(required = true, value_name = "RING")]
    rings: Vec<Address>,
    /// Ignore missing rings, and remove rings that are damaged, of another version, or whose creator died
    /// halfway
    #[arg(short, long)]
    force: bool,
    /// Print one JSON object for each ring
    ///
    /// Its fields: schema (ringpipe.rm/1), ring, changed (whether this command removed it), discarded (items that no
    /// consumer receives any more; null where the ring could not be read).
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Removed<'a> {
    schema: &'static str,
    ring: &'a str,
    /// Whether this command removed it.
    changed: bool,
    discarded: Option<u64>,
}

pub fn run(args: &Args, ui: &Ui) -> Result<End, Failure> {
    let mut first = None;
    for name in &args.rings {
        let ring = name.as_str();
        let removed = match name {
            Address::Ring(name) => remove(name, args.force),
            #[cfg(feature = "nats")]
            Address::Stream(name) => super::streams::remove(name, args.force, ui),
        };
        match removed {
            Ok((changed, discarded)) if args.json => {
                ui.emit_json(&Removed { schema: "ringpipe.rm/1", ring, changed, discarded })?;
            }
            Ok((_, Some(items @ 1..))) => {
                ui.note(&format!("ring {ring:?}: {} discarded", show::counted(items, "item")));
            }
            Ok(_) => {}
            // The first failure ends the command; further ones are printed here.
            Err(failure) if first.is_some() => failure.print(ui.program()),
            Err(failure) => first = Some(failure),
        }
    }
    first.map_or(Ok(End::Done), Err)
}

/// Items that were in a ring when it was removed and that no consumer will receive: all of them, unless a live
/// consumer is attached, which receives the rest. `None`: the ring cannot be read.
fn discarded(ring: &Ring) -> Option<u64> {
    let snapshot = ring.snapshot().ok()?;
    if living(&snapshot, Role::Consumer) > 0 {
        return Some(0);
    }
    let held = snapshot.held.iter().filter(|held| !held.writing).count() as u64;
    Some(snapshot.ready + held)
}

/// Whether this call removed the ring, and the items that were lost by that.
fn remove(name: &RingName, force: bool) -> Result<(bool, Option<u64>), Failure> {
    // Counted after the removal, when the ring is closed.
    let removed =
        |ring: Ring| ring.remove().map(|done| (done, if done { discarded(&ring) } else { Some(0) }));
    // A ring of any owner: as for a file, the system decides who may remove it.
    let result = match RingOptions::new().owners(Owners::Any).look(name).and_then(removed) {
        Err(Error::Incompatible { .. } | Error::Damaged(_)) if force => {
            Ring::remove_leftover(name).map(|done| (done, None))
        }
        result => result,
    };
    match result {
        Err(Error::NotFound(_)) if force => Ok((false, Some(0))),
        // Another process removed it first.
        Ok((false, _)) if !force => Err(Error::NotFound(name.as_str().into())),
        result => result,
    }
    .map_err(|error| {
        let failure = Failure::of_ring(name.as_str(), &error);
        if force && failure.code == code::DAMAGED {
            let path = escape::argument(name.as_str());
            failure.hint(format!("ringctl rm removes only rings; if the file is yours: rm /dev/shm/{path}"))
        } else {
            failure
        }
    })
}
