//! `ringctl close` and `ringctl rm`.
use serde::Serialize;

use super::output;
use crate::{
    Error, Ring, RingName,
    cli::exit::{Failure, code},
};

/// Close a ring: it takes no more items
///
/// Producers end with exit code 5; consumers receive what there is and then end with 0. Closing a ring that
/// is closed already is no error.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ringctl close jobs && ringctl wait jobs --until empty && ringctl rm jobs

Exit codes: 0 closed; 3 no such ring; 6 damaged, or not a ring.")]
pub struct CloseArgs {
    /// Name of the ring
    ring: RingName,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Close rings and remove their names
///
/// Whoever is attached is woken: producers end with exit code 5, consumers receive what there is and end.
/// What nobody then receives is gone. Only rings are removed, never an object of another program.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ringctl rm jobs
  ringctl rm -f jobs          no error if there is none; also what is damaged or half-made

Exit codes: 0 removed; 1 runtime error; 3 no such ring; 6 not a ring, or one that only -f removes.
With several rings, that of the first failure.")]
pub struct RmArgs {
    /// Names of the rings
    #[arg(required = true, value_name = "RING")]
    rings: Vec<RingName>,
    /// Ignore missing rings, and remove rings that are damaged, of another version, or whose creator died
    /// halfway
    #[arg(short, long)]
    force: bool,
    /// Print one JSON object for each ring
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Done<'a> {
    schema: &'static str,
    ring: &'a str,
    /// Whether this command did it.
    changed: bool,
}

pub fn close(args: &CloseArgs) -> Result<(), Failure> {
    let changed = super::look(&args.ring)?.close();
    let ring = args.ring.as_str();
    if args.json {
        return output::emit(
            output::json_line(&Done { schema: "ringpipe.close/1", ring, changed })?.as_bytes(),
        );
    }
    if !changed {
        output::note(&format!("ring {ring:?} was closed already"));
    }
    Ok(())
}

pub fn rm(args: &RmArgs) -> Result<(), Failure> {
    let mut first = None;
    for name in &args.rings {
        match remove(name, args.force) {
            Ok(changed) if args.json => {
                let done = Done { schema: "ringpipe.rm/1", ring: name.as_str(), changed };
                output::emit(output::json_line(&done)?.as_bytes())?;
            }
            Ok(_) => {}
            // All but the first are said here; the first ends the command.
            Err(failure) if first.is_some() => failure.print("ringctl"),
            Err(failure) => first = Some(failure),
        }
    }
    first.map_or(Ok(()), Err)
}

/// Whether this call removed something.
fn remove(name: &RingName, force: bool) -> Result<bool, Failure> {
    let result = match Ring::look(name).and_then(|ring| ring.remove()) {
        Err(Error::Incompatible { .. } | Error::Damaged(_)) if force => Ring::remove_leftover(name),
        result => result,
    };
    match result {
        Err(Error::NotFound(_)) if force => Ok(false),
        // Somebody else was quicker.
        Ok(false) if !force => Err(Error::NotFound(name.as_str().into())),
        result => result,
    }
    .map_err(|error| {
        let failure = Failure::of_ring(name.as_str(), &error);
        if force && failure.code == code::DAMAGED {
            failure.hint(format!("only what was a ring is removed here; if it is yours: rm /dev/shm/{name}"))
        } else {
            failure
        }
    })
}
