//! `ringctl list`.
use std::io::{self, IsTerminal};

use serde::Serialize;

use super::{
    output::{self, Paint, Table, Tone, cell, toned},
    show,
};
use crate::{ErrorKind, Liveness, Ring, RingName, Role, Snapshot, cli::exit::Failure};

/// List the rings in shared memory
///
/// A ring is known by the first bytes of its object; objects of other programs are left out. Looking changes
/// nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
ITEMS counts the items that wait, of so many slots; PRODUCERS and CONSUMERS those alive.
STATE is open, closed, over (only the name is left), or unusable (damaged, of another version,
or not yours).

Examples:
  ringctl list
  ringctl list -n | xargs -r ringctl rm
  ringctl list --json | jq -r 'select(.items > 0).ring'

Exit codes: 0 listed, also when there is none; 1 runtime error.")]
pub struct Args {
    /// Bare names, one a line
    #[arg(short = 'n', long)]
    names: bool,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Row<'a> {
    schema: &'static str,
    ring: &'a str,
    state: &'static str,
    #[serde(flatten)]
    figures: Option<Figures>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Serialize)]
struct Figures {
    items: u64,
    held: u64,
    capacity: u64,
    slot_size: u64,
    producers: u64,
    consumers: u64,
    dead: u64,
    size: u64,
    age_ns: u64,
}

pub fn run(args: &Args, paint: Paint) -> Result<(), Failure> {
    let names = Ring::names().map_err(|error| Failure::of_ring("", &error))?;
    let mut text = String::new();
    if args.names {
        // One that has a line break in its name would be read as two.
        let whole = names.iter().filter(|name| !name.as_str().contains('\n'));
        whole.for_each(|name| text += &format!("{name}\n"));
        return output::emit(text.as_bytes());
    }
    let mut table =
        Table::new(&["NAME", ">ITEMS", ">SLOT", ">PRODUCERS", ">CONSUMERS", "STATE", ">SIZE", ">AGE"]);
    for name in &names {
        let Some(row) = Row::of(name) else { continue };
        match args.json {
            true => text += &output::json_line(&row)?,
            false => table.row(row.cells()),
        }
    }
    if !table.is_empty() {
        text = table.render("", paint);
    } else if !args.json && io::stdout().is_terminal() {
        output::note("no rings");
    }
    output::emit(text.as_bytes())
}

impl<'a> Row<'a> {
    /// `None` if the ring went while it was looked at.
    fn of(name: &'a RingName) -> Option<Self> {
        let row = |state, figures, error| {
            Some(Row { schema: "ringpipe.list/1", ring: name.as_str(), state, figures, error })
        };
        let (ring, snapshot) = match Ring::look(name).and_then(|ring| Ok((ring.clone(), ring.snapshot()?))) {
            Ok(both) => both,
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            Err(error) => return row("unusable", None, Some(error.to_string())),
        };
        row(state(&ring), Some(Figures::of(&snapshot)), None)
    }

    fn cells(&self) -> Vec<output::Cell> {
        let state = match self.state {
            "open" => toned(Tone::Good, self.state),
            "unusable" => toned(Tone::Bad, self.state),
            _ => toned(Tone::Notable, self.state),
        };
        let name = cell(show::name(self.ring));
        let Some(figures) = &self.figures else {
            let unknown = || cell("-");
            return vec![name, unknown(), unknown(), unknown(), unknown(), state, unknown(), unknown()];
        };
        vec![
            name,
            cell(format!("{}/{}", figures.items, figures.capacity)),
            cell(figures.slot_size),
            cell(figures.producers),
            cell(figures.consumers),
            state,
            cell(show::bytes(figures.size)),
            cell(show::duration(figures.age_ns)),
        ]
    }
}

impl Figures {
    fn of(snapshot: &Snapshot) -> Self {
        let alive = |role| living(snapshot, role);
        Figures {
            items: snapshot.ready,
            held: snapshot.held.len() as u64,
            capacity: snapshot.capacity,
            slot_size: snapshot.slot_size,
            producers: alive(Role::Producer),
            consumers: alive(Role::Consumer),
            dead: snapshot.participants.iter().filter(|one| one.liveness == Liveness::Dead).count() as u64,
            size: snapshot.size,
            age_ns: show::age_ns(snapshot.created_at),
        }
    }
}

/// Participants of this role that may be alive.
pub fn living(snapshot: &Snapshot, role: Role) -> u64 {
    let alive = |one: &&crate::ParticipantInfo| one.role == role && one.liveness != Liveness::Dead;
    snapshot.participants.iter().filter(alive).count() as u64
}

/// Open, closed or over.
pub fn state(ring: &Ring) -> &'static str {
    match () {
        _ if ring.is_over() => "over",
        _ if ring.is_closed() => "closed",
        _ => "open",
    }
}
