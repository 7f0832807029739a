//! `ringctl clean`.
use serde::Serialize;

use super::{
    list::living,
    output::{self, Paint, Table, Tone, cell, toned},
    show,
};
use crate::{Error, ErrorKind, Ring, RingName, Role, cli::exit::Failure};

/// Remove the rings that nobody lives on; without --yes, only list them
///
/// A ring is deserted when no living process takes part in it. One that has items in it stays unless
/// --with-items is given too. Somebody who comes at the very moment keeps the ring.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ringctl clean                      what would be removed
  ringctl clean --yes                remove deserted rings that are empty
  ringctl clean --yes --with-items   and those with items that nobody has received

Exit codes: 0 done, also when there was nothing to do; 1 a ring could not be removed.")]
pub struct Args {
    /// Remove them
    #[arg(short, long)]
    yes: bool,
    /// Also those with items in them
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
    /// Items that wait, or that the dead hold.
    items: u64,
    age_ns: u64,
    /// `would-remove`, `removed`, `kept`, or `failed`.
    action: &'static str,
    why: &'static str,
}

pub fn run(args: &Args, paint: Paint) -> Result<(), Failure> {
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
                text += &output::json_line(row)?;
            }
        }
        false if rows.is_empty() => text = "nothing to clean\n".into(),
        false => text = table(&rows, paint),
    }
    output::emit(text.as_bytes())?;
    if !args.json && rows.iter().any(|row| row.action == "would-remove") {
        output::note("nothing was removed; ringctl clean --yes does");
    }
    failed.map_or(Ok(()), Err)
}

/// What is done about one ring; `None` if somebody lives on it, or it cannot be used, or went.
fn deserted<'a>(name: &'a RingName, args: &Args) -> Result<Option<Row<'a>>, Error> {
    let ring = match Ring::look(name) {
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
        (_, true) => (act(&ring, args, true)?, "is over"),
        (true, _) if !args.with_items => ("kept", "has items; --with-items removes it too"),
        (true, _) => (act(&ring, args, true)?, "has items"),
        (false, _) => (act(&ring, args, false)?, "is empty"),
    };
    let age_ns = show::age_ns(snapshot.created_at);
    Ok(Some(Row { schema: "ringpipe.clean/1", ring: name.as_str(), items, age_ns, action, why }))
}

fn act(ring: &Ring, args: &Args, with_items: bool) -> Result<&'static str, Error> {
    if !args.yes {
        return Ok("would-remove");
    }
    // What the dead had half written is no item.
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
