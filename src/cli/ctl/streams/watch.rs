//! `ringctl watch` with a stream: sentences about what happened between two looks, or a JSON object for each look.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::super::show;
use super::{Participant, StreamReport, not_found};
use crate::Role;
use crate::cli::common::exit::Failure;
use crate::cli::common::report::{ReportArgs, Reporter};
use crate::cli::common::signals;
use crate::cli::common::start::End;
use crate::cli::common::stdout::{Cut, Output};
use crate::cli::common::stream_name::StreamName;
use crate::cli::common::ui::{Ui, json_line};
use crate::cli::ctl::picture::pause;
use crate::cli::transport::nats::admin::{Admin, Look, Member};

/// The pause between two looks while the stream is missing.
const MISSING: Duration = Duration::from_millis(300);
/// Items that wait for this many times `ack-wait` without progress are a sign of a fault.
const STUCK: u32 = 3;

/// How a stream is watched.
#[derive(Debug, Clone, Copy)]
pub struct Watching {
    /// Time between two looks.
    pub interval: Duration,
    /// Looks, if they are limited.
    pub count: Option<u64>,
    /// One look, as text.
    pub once: bool,
    /// JSON objects in place of sentences.
    pub json: bool,
    /// Whether to wait until there is such a stream.
    pub wait: bool,
}

/// Looks at a stream and writes lines, until it is removed, the output's reader has left, or a signal comes.
pub fn watch(name: &StreamName, watching: &Watching, ui: &Ui) -> Result<End, Failure> {
    let stop = signals::catch()?;
    let report = Reporter::new(ui.program(), &ReportArgs::default());
    let Some(admin) = Admin::open(name, &report, &stop)? else { return Ok(signals::end()) };
    let first = loop {
        match admin.look()? {
            Some(look) => break look,
            None if !watching.wait => return Err(not_found(name)),
            None if admin.sleep(MISSING) => {}
            None => return Ok(signals::end()),
        }
    };
    if watching.once {
        let text = StreamReport::of(name, &first, admin.version()).text();
        return ui.emit(text.as_bytes()).map(|()| End::Done);
    }
    let mut out = Output::stdout(&stop)?;
    let start = Instant::now();
    let mut story = Story::new(name, first, start);
    for number in 1.. {
        let text = if watching.json { story.json(number, start.elapsed())? } else { story.text() };
        match out.write(text.as_bytes(), &[]).1 {
            None => {}
            Some(Cut::Closed) => return Ok(End::Done),
            Some(Cut::Stopped) => return Ok(signals::end()),
            Some(Cut::Failed(error)) => return Err(Failure::io("writing the output", &error)),
        }
        let is_last = watching.count.is_some_and(|most| number >= most);
        if story.look.is_none() || is_last || out.is_abandoned() {
            return Ok(End::Done);
        }
        if !admin.sleep(pause(watching.interval, story.took)) {
            return Ok(signals::end());
        }
        let start = Instant::now();
        let look = match admin.look()? {
            Some(look) => Some(look),
            None => admin.look_until_denied()?,
        };
        story.go_on(look, start);
    }
    Ok(End::Done)
}

/// A stream at the last look, and what happened since the one before.
struct Story<'a> {
    name: &'a StreamName,
    /// `None`: it was removed.
    look: Option<Look>,
    at: Instant,
    /// How long the last look took.
    took: Duration,
    /// Items per second, sent and acknowledged, between the last two looks.
    rates: Option<(f64, f64)>,
    /// When an item was last sent, delivered or acknowledged.
    moved_at: Instant,
    is_stuck: bool,
    events: Vec<String>,
}

#[derive(Serialize)]
struct Shown<'a> {
    schema: &'static str,
    ring: &'a str,
    look: u64,
    at_ns: u64,
    /// `open`, `closed` or `removed`.
    state: &'static str,
    #[serde(flatten)]
    figures: Option<Figures>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rates: Option<Rates>,
    participants: Vec<Participant>,
    events: &'a [String],
}

#[derive(Serialize)]
struct Figures {
    capacity: u64,
    used: u64,
    bytes: u64,
    items_waiting: u64,
    items_held: u64,
    items_held_again: u64,
    acknowledged: u64,
}

#[derive(Serialize)]
struct Rates {
    #[serde(rename = "in")]
    sent: f64,
    out: f64,
}

impl<'a> Story<'a> {
    fn new(name: &'a StreamName, look: Look, at: Instant) -> Self {
        let mut events = vec![format!("{name} is {}: {}", state(Some(&look)), contents(&look))];
        events.extend(look.members.iter().map(|one| format!("{} is {}", title(one), liveness(one))));
        let took = at.elapsed();
        Story { name, look: Some(look), at, took, rates: None, moved_at: at, is_stuck: false, events }
    }

    /// Derives what happened from the look that began at `start`. `None`: the stream was removed.
    fn go_on(&mut self, look: Option<Look>, start: Instant) {
        self.events.clear();
        self.rates = None;
        self.took = start.elapsed();
        if let (Some(before), Some(now)) = (&self.look, &look) {
            let (sent, done) = flow(before, now);
            let seconds = start.duration_since(self.at).as_secs_f64().max(1e-9);
            self.rates = Some((sent as f64 / seconds, done as f64 / seconds));
            self.events = between(before, now);
            let has_moved = sent + done > 0 || before.held != now.held || before.held_again != now.held_again;
            if has_moved || now.waiting == 0 || now.alive(Role::Consumer) == 0 {
                (self.moved_at, self.is_stuck) = (start, false);
            }
            let still = start.duration_since(self.moved_at);
            if !self.is_stuck && still > now.found.ack_wait * STUCK {
                self.is_stuck = true;
                let (waiting, still) =
                    (show::counted(now.waiting, "item"), show::duration(nanoseconds(still)));
                self.events
                    .push(format!("{waiting} waited for {still} beside living consumers: no progress"));
            }
        } else {
            self.events.push(format!("{} was removed", self.name));
        }
        (self.look, self.at) = (look, start);
    }

    fn text(&self) -> String {
        self.events.iter().map(|event| event.clone() + "\n").collect()
    }

    fn json(&self, number: u64, at: Duration) -> Result<String, Failure> {
        let look = self.look.as_ref();
        json_line(&Shown {
            schema: "ringpipe.watch-stream/1",
            ring: self.name.as_str(),
            look: number,
            at_ns: nanoseconds(at),
            state: state(look),
            figures: look.map(|look| Figures {
                capacity: look.found.capacity,
                used: look.used,
                bytes: look.bytes,
                items_waiting: look.waiting,
                items_held: look.held,
                items_held_again: look.held_again,
                acknowledged: look.acknowledged,
            }),
            rates: self.rates.map(|(sent, out)| Rates { sent, out }),
            participants: look.map_or(vec![], |look| look.members.iter().map(Participant::of).collect()),
            events: &self.events,
        })
    }
}

/// Items that were sent, and that were acknowledged, between two looks.
fn flow(before: &Look, now: &Look) -> (u64, u64) {
    let done = now.acknowledged.saturating_sub(before.acknowledged);
    let all = |look: &Look| look.used + look.acknowledged;
    (all(now).saturating_sub(all(before)), done)
}

/// What happened between two looks, in sentences.
fn between(before: &Look, now: &Look) -> Vec<String> {
    let mut events = Vec::new();
    let members = |look: &Look| -> BTreeMap<(bool, u64), Member> {
        let key = |one: &Member| (one.role == Role::Consumer, one.number);
        look.members.iter().map(|one| (key(one), one.clone())).collect()
    };
    let (old, new) = (members(before), members(now));
    for (key, one) in &new {
        match old.get(key) {
            None => events.push(format!("{} came", title(one))),
            Some(then) if then.is_alive() != one.is_alive() => {
                events.push(format!("{} is {}", title(one), liveness(one)));
            }
            Some(_) => {}
        }
    }
    let left = old.iter().filter(|(key, _)| !new.contains_key(key));
    events.extend(left.map(|(_, one)| format!("{} left", title(one))));
    if now.found.record.closed && !before.found.record.closed {
        events.push("it was closed".into());
    }
    let (sent, done) = flow(before, now);
    let again = now.held_again > before.held_again;
    if sent + done > 0 || before.held != now.held || again {
        events.push(format!(
            "{} sent, {} acknowledged: {}",
            show::counted(sent, "item"),
            show::count(done),
            contents(now)
        ));
    }
    events
}

fn state(look: Option<&Look>) -> &'static str {
    match look {
        Some(look) if look.found.record.closed => "closed",
        Some(_) => "open",
        None => "removed",
    }
}

/// `12 of 8,192 items, 3 held (1 delivered before)`.
fn contents(look: &Look) -> String {
    let again = match look.held_again {
        0 => String::new(),
        again => format!(" ({} delivered before)", show::count(again)),
    };
    let (used, capacity) = (show::count(look.used), show::count(look.found.capacity));
    format!("{used} of {capacity} items, {} held{again}", show::count(look.held))
}

fn title(one: &Member) -> String {
    format!("{} {} (process {} on {})", one.role, one.number, one.pid, show::name(&one.host))
}

fn liveness(one: &Member) -> String {
    match one.is_alive() {
        true => "alive".into(),
        false => format!("dead: its last sign was {} ago", show::duration(nanoseconds(one.quiet))),
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
