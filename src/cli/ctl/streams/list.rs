//! `ringctl list` with the name of a server.

use serde::Serialize;

use crate::Role;
use crate::cli::common::exit::Failure;
use crate::cli::common::signals;
use crate::cli::common::start::End;
use crate::cli::common::stream_name::{ServerName, StreamName};
use crate::cli::common::table::{Cell, Table, cell};
use crate::cli::common::ui::{Ui, json_line};
use crate::cli::ctl::show;
use crate::cli::transport::nats::survey::{self, Look};

#[derive(Serialize)]
struct Row<'a> {
    schema: &'static str,
    ring: &'a str,
    /// `open`, `closed` or `unusable`.
    state: &'static str,
    #[serde(flatten)]
    figures: Option<Figures>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

#[derive(Serialize)]
struct Figures {
    used: u64,
    items_waiting: u64,
    items_held: u64,
    capacity: u64,
    producers: u64,
    consumers: u64,
    dead: u64,
    bytes: u64,
    replicas: usize,
}

/// Lists the streams of a server that this program made.
pub fn list(server: &ServerName, only_names: bool, json: bool, ui: &Ui) -> Result<End, Failure> {
    let (report, stop) = super::reporter(ui)?;
    let mut text = String::new();
    if only_names {
        let Some(names) = survey::names(server, &report, &stop)? else { return Ok(signals::end()) };
        names.iter().for_each(|name| text += &format!("{}\n", name.to_open()));
        return ui.emit(text.as_bytes()).map(|()| End::Surveyed);
    }
    let Some(found) = survey::list(server, &report, &stop)? else { return Ok(signals::end()) };
    let mut table =
        Table::new(&["NAME", ">ITEMS", ">HELD", ">PRODUCERS", ">CONSUMERS", "STATE", ">SIZE", ">REPLICAS"]);
    for (name, look) in &found {
        let row = Row::of(name, look);
        match json {
            true => text += &json_line(&row)?,
            false => table.row(row.cells()),
        }
    }
    if !table.is_empty() {
        text = table.render("", ui.paint());
    }
    ui.emit(text.as_bytes()).map(|()| End::Surveyed)
}

impl<'a> Row<'a> {
    fn of(name: &'a StreamName, look: &'a Result<Look, String>) -> Self {
        let (state, figures, error) = match look {
            Ok(look) => (look.state(), Some(Figures::of(look)), None),
            Err(why) => ("unusable", None, Some(why.as_str())),
        };
        Row { schema: "ringpipe.list-stream/1", ring: name.as_str(), state, figures, error }
    }

    fn cells(&self) -> Vec<Cell> {
        let state = show::state(self.state);
        let name = cell(show::name(self.ring));
        let Some(figures) = &self.figures else { return show::unusable(name, state) };
        vec![
            name,
            cell(format!("{}/{}", figures.items_waiting, figures.capacity)),
            cell(figures.items_held),
            cell(figures.producers),
            cell(figures.consumers),
            state,
            cell(show::bytes(figures.bytes)),
            cell(figures.replicas),
        ]
    }
}

impl Figures {
    fn of(look: &Look) -> Self {
        Figures {
            used: look.used,
            items_waiting: look.waiting,
            items_held: look.held,
            capacity: look.found.capacity,
            producers: look.alive(Role::Producer),
            consumers: look.alive(Role::Consumer),
            dead: look.members.iter().filter(|member| !member.is_alive()).count() as u64,
            bytes: look.bytes,
            replicas: look.found.replicas,
        }
    }
}
