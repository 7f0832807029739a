//! `ringctl repair`: recovers what dead participants hold.
use serde::Serialize;

use super::show;
use crate::cli::common::address::Address;
use crate::cli::common::exit::Failure;
use crate::cli::common::owner_args::OwnerArgs;
use crate::cli::common::start::End;
use crate::cli::common::ui::{Ui, json_line};
use crate::{Liveness, Repaired, Role};

/// Recover what dead processes hold, and report it
///
/// Waiting producers and consumers do the same within milliseconds; run this when none is waiting. A live process
/// keeps what it holds, even if it is stopped.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ringctl repair jobs
  ringctl repair jobs --json | jq .items_returned

Exit codes: 0 repaired, also when there was nothing to fix; 1 another user's (--owner, --shared), or
the system refused; 3 no such ring; 6 damaged, or not a ring.")]
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
struct RepairReport<'a> {
    schema: &'static str,
    ring: &'a str,
    participants_freed: u64,
    writes_given_up: u64,
    items_returned: u64,
    dead: Vec<Dead>,
}

/// A participant that was found dead.
#[derive(Serialize)]
struct Dead {
    number: u32,
    role: &'static str,
    pid: u32,
    command: String,
}

pub fn run(args: &Args, ui: &Ui) -> Result<End, Failure> {
    let ring = super::open(args.ring.ring()?, &args.owner)?;
    let dead = ring.participants().into_iter().filter(|one| one.liveness == Liveness::Dead);
    let dead: Vec<Dead> = dead
        .map(|one| Dead {
            number: one.number,
            role: match one.role {
                Role::Producer => "producer",
                Role::Consumer => "consumer",
            },
            pid: one.pid,
            command: one.command,
        })
        .collect();
    let Repaired { participants, abandoned, returned } = ring.repair();
    let report = RepairReport {
        schema: "ringpipe.repair/1",
        ring: args.ring.as_str(),
        participants_freed: participants,
        writes_given_up: abandoned,
        items_returned: returned,
        dead,
    };
    let text = if args.json { json_line(&report)? } else { report.text() };
    ui.emit(text.as_bytes())?;
    Ok(End::Done)
}

impl RepairReport<'_> {
    fn text(&self) -> String {
        let name = show::name(self.ring);
        if self.participants_freed + self.writes_given_up + self.items_returned == 0 {
            return format!("{name}: nothing to fix\n");
        }
        let mut text = String::new();
        for Dead { number, role, pid, command } in &self.dead {
            let command = show::name(command);
            text += &format!("{name}: {role} {number} was dead (process {pid}, {command})\n");
        }
        text + &format!(
            "{name}: {} freed, {} given up, {} returned to be delivered again\n",
            show::counted(self.participants_freed, "participant"),
            show::counted(self.writes_given_up, "half-written item"),
            show::counted(self.items_returned, "item"),
        )
    }
}
