//! `ringctl list`: lists the rings of this machine, or the streams of a server.
use std::io::{self, IsTerminal};

use nix::libc;
use serde::Serialize;

use super::show;
use crate::cli::common::address::Server;
use crate::cli::common::start::End;
use crate::cli::common::table::{Cell, Table, cell};
use crate::cli::common::ui::{Ui, json_line};
use crate::{
    Error, ErrorKind, Liveness, Ring, RingName, RingObserver, Role, Snapshot, cli::common::exit::Failure,
};

/// List the rings in shared memory, or the streams of a server
///
/// The first bytes of an object show whether it is a ring; objects of other programs are left out. Of a NATS
/// server, the streams that this program made are listed. Listing changes nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
ITEMS is the number of items to be received, of all slots; PRODUCERS and CONSUMERS count live ones.
SLOT is the size of a slot in bytes, or the length of each item of a ring of fixed items.
STATE is open, closed, over (only the name is left), or unusable (damaged, of another version,
or no permission to read it). Of a stream, ITEMS wait, and HELD is the number of items that consumers hold.
JSON has the schema ringpipe.list/1, with items, held, capacity, slot_size, producers, consumers, dead, size
and age_ns; of a stream ringpipe.list-stream/1, with used (slots), items_waiting, items_held, capacity,
producers, consumers, dead, bytes and replicas.

Examples:
  ringctl list
  ringctl list -n | xargs -r ringctl rm
  ringctl list --json | jq -r 'select(.items > 0).ring'
  ringctl list nats://localhost:4222

Exit codes: 0 listed, also when there is none; 1 runtime error.")]
pub struct Args {
    /// A NATS server, nats://HOST:PORT: its streams in place of the rings of this machine
    #[arg(value_name = "SERVER")]
    server: Option<Server>,
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
    /// The length of each item, if all have one.
    fixed: Option<u64>,
    producers: u64,
    consumers: u64,
    dead: u64,
    size: u64,
    age_ns: u64,
}

pub fn run(args: &Args, ui: &Ui) -> Result<End, Failure> {
    match &args.server {
        None => {}
        #[cfg(feature = "nats")]
        Some(server) => return super::streams::list(server, args.names, args.json, ui),
        #[cfg(not(feature = "nats"))]
        Some(server) => match *server {},
    }
    let names = Ring::names().map_err(|error| Failure::of_ring("", &error))?;
    let mut text = String::new();
    if args.names {
        // A name with a line break would be read as two names.
        let whole = names.iter().filter(|name| !name.as_str().contains('\n'));
        let on_terminal = io::stdout().is_terminal();
        let shown = |name: &RingName| if on_terminal { show::name(name.as_str()) } else { name.to_string() };
        whole.for_each(|name| text += &format!("{}\n", shown(name)));
        return ui.emit(text.as_bytes()).map(|()| End::Surveyed);
    }
    let mut table =
        Table::new(&["NAME", ">ITEMS", ">SLOT", ">PRODUCERS", ">CONSUMERS", "STATE", ">SIZE", ">AGE"]);
    for name in &names {
        let Some(row) = Row::of(name)? else { continue };
        match args.json {
            true => text += &json_line(&row)?,
            false => table.row(row.cells()),
        }
    }
    if !table.is_empty() {
        text = table.render("", ui.paint());
    } else if !args.json && io::stdout().is_terminal() {
        ui.note("no rings");
    }
    ui.emit(text.as_bytes()).map(|()| End::Surveyed)
}

impl<'a> Row<'a> {
    /// `None` if the ring was removed while it was read.
    fn of(name: &'a RingName) -> Result<Option<Self>, Failure> {
        let row = |state, figures, error| {
            Ok(Some(Row { schema: "ringpipe.list/1", ring: name.as_str(), state, figures, error }))
        };
        let (ring, snapshot) = match Ring::observe(name).and_then(|ring| Ok((ring.clone(), ring.snapshot()?)))
        {
            Ok(both) => both,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            // This error says nothing about the ring.
            Err(error) if is_shortage(&error) => return Err(Failure::of_ring(name.as_str(), &error)),
            Err(error) => return row("unusable", None, Some(error.to_string())),
        };
        row(state(&ring), Some(Figures::of(&snapshot)), None)
    }

    fn cells(&self) -> Vec<Cell> {
        let state = show::state(self.state);
        let name = cell(show::name(self.ring));
        let Some(figures) = &self.figures else { return show::unusable(name, state) };
        vec![
            name,
            cell(format!("{}/{}", figures.items, figures.capacity)),
            cell(figures.fixed.map_or(figures.slot_size.to_string(), |bytes| format!("{bytes} fixed"))),
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
            fixed: snapshot.fixed,
            producers: alive(Role::Producer),
            consumers: alive(Role::Consumer),
            dead: snapshot.participants.iter().filter(|one| one.liveness == Liveness::Dead).count() as u64,
            size: snapshot.size,
            age_ns: show::age_ns(snapshot.created_at),
        }
    }
}

/// Whether this process or the system ran out of descriptors or memory, so that nothing is known about the ring.
fn is_shortage(error: &Error) -> bool {
    let Error::Io { source, .. } = error else { return false };
    matches!(source.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM))
}

/// Participants of this role that may be alive.
pub fn living(snapshot: &Snapshot, role: Role) -> u64 {
    let alive = |one: &&crate::ParticipantInfo| one.role == role && one.liveness != Liveness::Dead;
    snapshot.participants.iter().filter(alive).count() as u64
}

/// Open, closed or over.
pub fn state(ring: &RingObserver) -> &'static str {
    match () {
        _ if ring.is_over() => "over",
        _ if ring.is_closed() => "closed",
        _ => "open",
    }
}
