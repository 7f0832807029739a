//! `ringctl close`: closes a ring.
use serde::Serialize;

use crate::cli::common::address::Address;
use crate::cli::common::exit::Failure;
use crate::cli::common::owner_args::OwnerArgs;
use crate::cli::common::start::End;
use crate::cli::common::ui::Ui;

/// Close a ring: it takes no more items
///
/// Producers end with exit code 5; consumers receive the remaining items and then end with 0. Closing a ring
/// that is closed already is not an error.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ringctl close jobs && ringctl wait jobs --until empty && ringctl rm jobs

Exit codes: 0 closed; 1 another user's (--owner, --shared), or the system refused; 3 no such ring;
6 damaged, or not a ring.")]
pub struct Args {
    /// Name of the ring
    ring: Address,
    #[command(flatten)]
    owner: OwnerArgs,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Closed<'a> {
    schema: &'static str,
    ring: &'a str,
    /// Whether this command closed it.
    changed: bool,
}

pub fn run(args: &Args, ui: &Ui) -> Result<End, Failure> {
    let changed = match &args.ring {
        Address::Ring(ring) => super::open(ring, &args.owner)?.close(),
        #[cfg(feature = "nats")]
        Address::Stream(stream) => match super::streams::close(stream, ui)? {
            Some(changed) => changed,
            None => return Ok(crate::cli::common::signals::end()),
        },
    };
    let ring = args.ring.as_str();
    if args.json {
        ui.emit_json(&Closed { schema: "ringpipe.close/1", ring, changed })?;
    } else if !changed {
        ui.note(&format!("ring {ring:?} was closed already"));
    }
    Ok(End::Done)
}
