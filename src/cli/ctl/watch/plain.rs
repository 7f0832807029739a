//! Writes lines: sentences, JSON objects, or one picture as text.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::Instant;

use base64::{Engine, prelude::BASE64_STANDARD};
use ratatui::buffer::Buffer;
use ratatui::crossterm::terminal;
use ratatui::layout::Rect;
use ratatui::widgets::Widget;
use serde::Serialize;

use super::{Args, failed};
use crate::cli::common::escape;
use crate::cli::common::exit::Failure;
use crate::cli::common::no_producer;
use crate::cli::common::paint::Paint;
use crate::cli::common::signals;
use crate::cli::common::start::End;
use crate::cli::common::stdout::{Cut, Output};
use crate::cli::common::ui::json_line;
use crate::cli::ctl::picture::deaths::Death;
use crate::cli::ctl::picture::model::Model;
use crate::cli::ctl::picture::observation::{Observation, STATES, Seen, items_of};
use crate::cli::ctl::picture::pause;
use crate::cli::ctl::picture::text::text;
use crate::cli::ctl::picture::view::theme::{Theme, word};
use crate::cli::ctl::picture::view::{Choices, Guide, Screen};
use crate::cli::ctl::recovery_report::RecoveryReport;
use crate::cli::ctl::semaphores::Semaphores;
use crate::cli::ctl::show;
use crate::{ParticipantInfo, SlotState, StopFlag};

/// The width of a picture that does not go to a terminal.
const COLUMNS: u16 = 100;

/// Observes, and writes lines, until the ring is gone, the output's reader has left, or a signal comes.
pub fn watch(mut model: Model, args: &Args, stop: &StopFlag) -> Result<End, Failure> {
    let mut out = Output::stdout(stop)?;
    let mut told = 0;
    let mut go_on = true;
    let mut took = model.began.elapsed();
    loop {
        let text = if args.json { json(&model, told)? } else { sentences(&model, told) };
        told = model.told;
        if let Some(end) = write(&mut out, text.as_bytes())? {
            return Ok(end);
        }
        if !go_on || args.count.is_some_and(|most| model.looks >= most.0) {
            return Ok(End::Done);
        }
        if out.is_abandoned() {
            return Ok(End::Done);
        }
        if !signals::sleep(pause(args.interval(), took), stop) {
            return Ok(signals::end());
        }
        let start = Instant::now();
        go_on = model.look_again().map_err(|error| failed(args, &error))?;
        took = start.elapsed();
    }
}

/// Writes one picture.
pub fn once(model: &Model, args: &Args, paint: Paint, stop: &StopFlag) -> Result<End, Failure> {
    let mut out = Output::stdout(stop)?;
    let width = match terminal::size() {
        Ok((width, _)) if std::io::stdout().is_terminal() && width > 0 => width,
        _ => std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok()).unwrap_or(COLUMNS),
    };
    let choices = Choices::new(Theme::new(paint.is_on()), args.interval(), &Guide::SILENT);
    let screen = Screen::new(model, choices);
    // A limit of memory: larger than any picture that is really printed.
    let area =
        Rect { x: 0, y: 0, width: width.clamp(1, 1000), height: screen.height(width).clamp(1, 10_000) };
    let mut buffer = Buffer::empty(area);
    screen.render(area, &mut buffer);
    write(&mut out, text(&buffer, paint.is_on()).as_bytes()).map(|end| end.unwrap_or(End::Done))
}

/// `None`: all of it was written.
fn write(out: &mut Output, bytes: &[u8]) -> Result<Option<End>, Failure> {
    match out.write(bytes, &[]).1 {
        None => Ok(None),
        Some(Cut::Closed) => Ok(Some(End::Done)),
        Some(Cut::Stopped) => Ok(Some(signals::end())),
        Some(Cut::Failed(error)) => Err(Failure::io("writing the output", &error)),
    }
}

fn sentences(model: &Model, told: u64) -> String {
    model.events_after(told).map(|event| event.text.clone() + "\n").collect()
}

/// An observation. Times are nanoseconds.
#[derive(Serialize)]
struct Shown<'m> {
    schema: &'static str,
    ring: &'m str,
    look: u64,
    at_ns: u64,
    state: &'static str,
    capacity: u64,
    sync: &'static str,
    head: u64,
    tail: u64,
    states: BTreeMap<String, u64>,
    semaphores: Semaphores,
    #[serde(skip_serializing_if = "Option::is_none")]
    rates: Option<Flow>,
    participants: Vec<Participant<'m>>,
    /// All deaths so far, and those that this observation found.
    recovered: RecoveryReport,
    deaths: Vec<Dead<'m>>,
    items: Vec<Item>,
    events: Vec<&'m str>,
}

#[derive(Serialize)]
struct Flow {
    #[serde(rename = "in")]
    sent: f64,
    out: f64,
}

#[derive(Serialize)]
struct Participant<'m> {
    number: u32,
    role: String,
    pid: u32,
    command: &'m str,
    state: &'static str,
    pid_namespace: Option<&'static str>,
    activity: &'static str,
    items: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<f64>,
}

/// A process that died, and what it held.
#[derive(Serialize)]
struct Dead<'m> {
    role: String,
    pid: u32,
    command: &'m str,
    items: u64,
    claims: u64,
}

/// An item, or a claim that may become one.
#[derive(Serialize)]
struct Item {
    slot: u64,
    slots: u64,
    position: u64,
    state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    attempt: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    producer: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

fn name(state: SlotState) -> String {
    word(state).to_lowercase()
}

fn json(model: &Model, told: u64) -> Result<String, Failure> {
    let (look, rates) = (&model.watched.last, model.rates());
    let snapshot = &look.snapshot;
    let participant =
        |one: &'_ ParticipantInfo| rates.as_ref().and_then(|rates| rates.of.get(&one.serial).copied());
    let shown = Shown {
        schema: "ringpipe.watch/1",
        ring: model.watched.ring.name(),
        look: model.looks,
        at_ns: (look.at - model.began).as_nanos() as u64,
        state: model.state(),
        capacity: snapshot.capacity,
        sync: snapshot.discipline.name(),
        head: snapshot.head,
        tail: snapshot.tail,
        states: STATES.iter().map(|&state| (name(state), look.census.of(state))).collect(),
        semaphores: Semaphores::of(snapshot, model.watched.ring.is_exclusive()),
        rates: rates.as_ref().map(|rates| Flow { sent: rates.sent, out: rates.received }),
        participants: snapshot
            .participants
            .iter()
            .map(|one| Participant::new(one, participant(one)))
            .collect(),
        recovered: snapshot.recovered.into(),
        deaths: model.tally.deaths.found(look).map(Dead::new).collect(),
        items: look
            .firsts()
            .filter(|seen| seen.slot.state != SlotState::Free)
            .map(|seen| Item::new(seen, look))
            .collect(),
        events: model.events_after(told).map(|event| event.text.as_str()).collect(),
    };
    json_line(&shown)
}

impl<'m> Participant<'m> {
    fn new(one: &'m ParticipantInfo, rate: Option<f64>) -> Self {
        Participant {
            number: one.number,
            role: one.role.to_string(),
            pid: one.pid,
            command: &one.command,
            state: show::liveness(one.liveness),
            pid_namespace: one.pid_namespace.map(show::pid_namespace),
            activity: show::activity(one.activity),
            items: items_of(one),
            rate,
        }
    }
}

impl<'m> Dead<'m> {
    fn new(death: &'m Death) -> Self {
        Dead {
            role: death.info.role.to_string(),
            pid: death.info.pid,
            command: &death.info.command,
            items: death.items,
            claims: death.claims,
        }
    }
}

impl Item {
    fn new(seen: &Seen, look: &Observation) -> Self {
        let item = seen.item.as_ref();
        let text = item.and_then(|item| {
            let whole = item.len as usize == item.beginning.len();
            // As drawn, unless the text would have to be escaped.
            let plain = escape::bytes(&item.beginning, whole);
            item.beginning.starts_with(plain.as_bytes()).then_some(plain)
        });
        let slot = &seen.slot;
        Item {
            slot: slot.number,
            slots: slot.parts,
            position: slot.position,
            state: name(slot.state),
            pid: slot.owner.and_then(|number| look.participant(number)).map(|one| one.pid),
            attempt: slot.attempt,
            producer: item.and_then(|item| no_producer::known(item.producer)),
            sequence: item.map(|item| item.sequence),
            bytes: item.map(|item| item.len),
            base64: item.filter(|_| text.is_none()).map(|item| BASE64_STANDARD.encode(&item.beginning)),
            text,
        }
    }
}
