//! `ringctl clean`: removes rings that no live process is attached to.
use serde::Serialize;

use super::{list::living, show};
use crate::cli::common::paint::{Paint, Tone};
use crate::cli::common::start::End;
use crate::cli::common::table::{Table, cell, toned};
use crate::cli::common::ui::{Ui, json_line};
use crate::{Error, ErrorKind, Owners, Ring, RingName, RingOptions, Role, cli::common::exit::Failure};

/// Remove rings that no live process is attached to; without --yes, only list them
///
/// A ring is deserted when no live process is attached to it. A ring with items stays unless --with-items is
/// given too. A process that attaches at the same moment keeps the ring.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ringctl clean                      list what would be removed
  ringctl clean --yes                remove deserted rings that are empty
  ringctl clean --yes --with-items   also rings with items that no consumer has received

Exit codes: 0 done, also when there was nothing to do; 1 a ring could not be removed.")]
pub struct Args {
    /// Remove the rings
    #[arg(short, long)]
    yes: bool,
    /// Also rings with items in them
    #[arg(long)]
    with_items: bool,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Row<'a> {
    schema: &'static str,
    ring: &'a str,
    /// Items to be received, or held by dead processes.
    items: u64,
    age_ns: u64,
    /// `would-remove`, `removed`, `kept`, or `failed`.
    action: &'static str,
    why: &'static str,
}

pub fn run(args: &Args, ui: &Ui) -> Result<End, Failure> {
    let names = Ring::names().map_err(|error| Failure::of_ring("", &error))?;
    let (mut rows, mut failed) = (Vec::new(), None);
    for name in &names {
        match deserted(name, args) {
            Ok(row) => rows.extend(row),
            Err(error) => failed = Some(Failure::of_ring(name.as_str(), &error)),
        }
    }
    let mut text = String::new();
    match args.json {
        true => {
            for row in &rows {
                text += &json_line(row)?;
            }
        }
        // No message if a ring could not be read.
        false if rows.is_empty() && failed.is_some() => {}
        false if rows.is_empty() => text = "nothing to clean\n".into(),
        false => text = table(&rows, ui.paint()),
    }
    ui.emit(text.as_bytes())?;
    if !args.json && rows.iter().any(|row| row.action == "would-remove") {
        ui.note("nothing was removed; ringctl clean --yes removes them");
    }
    failed.map_or(Ok(End::Surveyed), Err)
}

/// Handles one ring; `None` if a live process is attached to it, or it cannot be used, or it is gone.
fn deserted<'a>(name: &'a RingName, args: &Args) -> Result<Option<Row<'a>>, Error> {
    let ring = match Ring::observe(name) {
        Ok(ring) => ring,
        Err(error) if matches!(error.kind(), ErrorKind::Io) => return Err(error),
        Err(_) => return Ok(None),
    };
    let snapshot = ring.snapshot()?;
    if living(&snapshot, Role::Producer) + living(&snapshot, Role::Consumer) > 0 {
        return Ok(None);
    }
    let held = snapshot.held.iter().filter(|held| !held.writing).count() as u64;
    let items = snapshot.ready + held;
    let (action, why) = match (items > 0, ring.is_over()) {
        _ if !ring.may_be_removed()? => ("kept", "may be removed by its owner only"),
        (_, true) => (act(name, args, true)?, "is over"),
        (true, _) if !args.with_items => ("kept", "has items; --with-items removes it too"),
        (true, _) => (act(name, args, true)?, "has items"),
        (false, _) => (act(name, args, false)?, "is empty"),
    };
    let age_ns = show::age_ns(snapshot.created_at);
    Ok(Some(Row { schema: "ringpipe.clean/1", ring: name.as_str(), items, age_ns, action, why }))
}

fn act(name: &RingName, args: &Args, with_items: bool) -> Result<&'static str, Error> {
    if !args.yes {
        return Ok("would-remove");
    }
    // A ring of any owner: as for a file, the system decides who may remove it.
    let ring = RingOptions::new().owners(Owners::Any).look(name)?;
    // An incomplete item of a dead producer is not an item.
    ring.repair();
    Ok(if ring.remove_if_deserted(with_items)? { "removed" } else { "kept" })
}

fn table(rows: &[Row], paint: Paint) -> String {
    let mut table = Table::new(&["NAME", ">AGE", "ACTION", "WHY"]);
    for row in rows {
        let tone = if row.action == "kept" { Tone::Notable } else { Tone::Plain };
        let why = match row.items {
            0 => row.why.to_string(),
            items => row.why.replacen("items", &show::counted(items, "item"), 1),
        };
        let (name, age) = (show::name(row.ring), show::duration(row.age_ns));
        table.row(vec![cell(name), cell(age), toned(tone, row.action), cell(why)]);
    }
    table.render("", paint)
}
