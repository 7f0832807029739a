//! `ringctl watch` with a stream: sentences about what happened between two observations, or a JSON object for each.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::{Contents, Participant, StreamReport, not_found};
use crate::Role;
use crate::cli::common::exit::Failure;
use crate::cli::common::signals;
use crate::cli::common::start::End;
use crate::cli::common::stdout::{Cut, Output};
use crate::cli::common::stream_name::StreamName;
use crate::cli::common::ui::{Ui, json_line};
use crate::cli::ctl::picture::pause;
use crate::cli::ctl::show::{self, nanoseconds};
use crate::cli::transport::nats::admin::Admin;
use crate::cli::transport::nats::survey::{DENIED_FOR, Denials, Look, Member, Observed};

/// The pause between two observations while the stream is missing.
const MISSING: Duration = Duration::from_millis(300);
/// How long an observation may take before the server counts as silent.
const ANSWER: Duration = Duration::from_secs(5);
/// Items that wait for this many times `ack-wait` without progress are a sign of a fault.
const STUCK: u32 = 3;

/// How a stream is watched.
#[derive(Debug, Clone, Copy)]
pub struct Watching {
    /// Time between two observations.
    pub interval: Duration,
    /// Observations, if they are limited.
    pub count: Option<u64>,
    /// One, as text.
    pub once: bool,
    /// JSON objects in place of sentences.
    pub json: bool,
    /// Whether to wait until there is such a stream.
    pub wait: bool,
}

/// Observes a stream and writes lines, until it is removed, the output's reader has left, or a signal comes.
pub fn watch(name: &StreamName, watching: &Watching, ui: &Ui) -> Result<End, Failure> {
    let (report, stop) = super::reporter(ui)?;
    let Some(admin) = Admin::open(name, &report, &stop)? else { return Ok(signals::end()) };
    let first = loop {
        let look = match admin.look() {
            Err(_) if stop.is_raised() => return Ok(signals::end()),
            look => look?,
        };
        match look {
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
    let begin = Instant::now();
    let (mut changes, mut denials) = (Changes::new(name, first, begin), Denials::default());
    for number in 1.. {
        let text = if watching.json { changes.json(number, begin.elapsed())? } else { changes.text() };
        match out.write(text.as_bytes(), &[]).1 {
            None => {}
            Some(Cut::Closed) => return Ok(End::Done),
            Some(Cut::Stopped) => return Ok(signals::end()),
            Some(Cut::Failed(error)) => return Err(Failure::io("writing the output", &error)),
        }
        let is_last = watching.count.is_some_and(|most| number >= most);
        if changes.is_over || is_last || out.is_abandoned() {
            return Ok(End::Done);
        }
        let mut wait = pause(watching.interval, changes.took);
        loop {
            if !admin.sleep(wait) {
                return Ok(signals::end());
            }
            let start = Instant::now();
            let observed = admin.observe(ANSWER)?;
            if stop.is_raised() {
                return Ok(signals::end());
            }
            let is_missing = matches!(observed, Observed::Missing);
            let is_removed = denials.note(is_missing, start);
            if !is_missing || is_removed {
                changes.note(observed, start);
                break;
            }
            wait = DENIED_FOR / 4;
        }
    }
    Ok(End::Done)
}

/// A stream as it was last observed, and what happened since the observation before.
struct Changes<'a> {
    name: &'a StreamName,
    look: Look,
    at: Instant,
    /// How long the last observation took.
    took: Duration,
    /// Items per second, sent and acknowledged, between the last two observations.
    rates: Option<(f64, f64)>,
    /// When an item was last sent, delivered or acknowledged.
    moved_at: Instant,
    is_stuck: bool,
    /// Since when the server answers. `None`: it does not.
    answers_since: Option<Instant>,
    is_over: bool,
    events: Vec<String>,
}

#[derive(Serialize)]
struct Shown<'a> {
    schema: &'static str,
    ring: &'a str,
    look: u64,
    at_ns: u64,
    /// `open`, `closed`, `removed`, or `silent`: the server does not answer.
    state: &'static str,
    #[serde(flatten)]
    contents: Contents,
    #[serde(skip_serializing_if = "Option::is_none")]
    rates: Option<Rates>,
    participants: Vec<Participant>,
    events: &'a [String],
}

#[derive(Serialize)]
struct Rates {
    #[serde(rename = "in")]
    sent: f64,
    out: f64,
}

impl<'a> Changes<'a> {
    fn new(name: &'a StreamName, look: Look, at: Instant) -> Self {
        let mut events = vec![format!("{name} is {}: {}", look.state(), contents(&look))];
        events.extend(look.members.iter().map(|one| format!("{} is {}", title(one), liveness(one))));
        let (took, rates, is_stuck, is_over) = (at.elapsed(), None, false, false);
        // Its participants had time to give signs of life, as far as is known.
        let answers_since = at.checked_sub(Member::QUIET).or(Some(at));
        Changes { name, look, at, took, rates, moved_at: at, is_stuck, answers_since, is_over, events }
    }

    /// Derives what happened from the observation that began at `start`.
    fn note(&mut self, observed: Observed, start: Instant) {
        self.events.clear();
        self.rates = None;
        self.took = start.elapsed();
        let mut look = match observed {
            Observed::Silent => {
                if self.answers_since.take().is_some() {
                    self.events.push("its server does not answer".into());
                }
                return;
            }
            Observed::Stream(look) if look.found.record.id == self.look.found.record.id => *look,
            // Another one of the same name is not this one.
            Observed::Stream(_) | Observed::Missing => {
                self.events.push(format!("{} was removed", self.name));
                self.is_over = true;
                return;
            }
        };
        if self.answers_since.is_none() {
            self.events.push("its server answers again".into());
            // No item can move while it does not.
            self.moved_at = start;
        }
        let since = *self.answers_since.get_or_insert(start);
        // While the server does not answer, no process can give a sign of life.
        for member in look.members.iter_mut().filter(|one| one.quiet >= Member::QUIET) {
            let before = self.look.members.iter().find(|one| is_same(one, member));
            if start.duration_since(since) < Member::QUIET && before.is_none_or(Member::is_alive) {
                member.quiet = start.duration_since(since);
            }
        }
        self.events.extend(between(&self.look, &look));
        let (sent, done) = flow(&self.look, &look);
        let seconds = start.duration_since(self.at).as_secs_f64().max(1e-9);
        self.rates = Some((sent as f64 / seconds, done as f64 / seconds));
        self.note_progress(&look, sent + done > 0, start);
        (self.look, self.at) = (look, start);
    }

    /// Notes whether items wait beside living consumers, and none moves.
    fn note_progress(&mut self, look: &Look, has_moved: bool, now: Instant) {
        let is_same = self.look.held == look.held && self.look.held_again == look.held_again;
        if has_moved || !is_same || look.waiting == 0 || look.alive(Role::Consumer) == 0 {
            (self.moved_at, self.is_stuck) = (now, false);
        }
        let still = now.duration_since(self.moved_at);
        if !self.is_stuck && still > look.found.ack_wait * STUCK {
            self.is_stuck = true;
            let (waiting, still) = (show::counted(look.waiting, "item"), show::duration(nanoseconds(still)));
            self.events.push(format!("no item moved for {still}: {waiting} waiting, consumers are alive"));
        }
    }

    fn text(&self) -> String {
        self.events.iter().map(|event| event.clone() + "\n").collect()
    }

    fn json(&self, number: u64, at: Duration) -> Result<String, Failure> {
        let look = &self.look;
        json_line(&Shown {
            schema: "ringpipe.watch-stream/1",
            ring: self.name.as_str(),
            look: number,
            at_ns: nanoseconds(at),
            state: match () {
                () if self.is_over => "removed",
                () if self.answers_since.is_none() => "silent",
                () => look.state(),
            },
            contents: Contents::of(look),
            rates: self.rates.map(|(sent, out)| Rates { sent, out }),
            participants: look.members.iter().map(Participant::of).collect(),
            events: &self.events,
        })
    }
}

/// Items that were sent, and that were acknowledged, between two observations.
fn flow(before: &Look, now: &Look) -> (u64, u64) {
    let done = now.acknowledged.saturating_sub(before.acknowledged);
    let all = |look: &Look| look.used + look.acknowledged;
    (all(now).saturating_sub(all(before)), done)
}

/// What happened between two observations, in sentences.
fn between(before: &Look, now: &Look) -> Vec<String> {
    let mut events = Vec::new();
    for one in &now.members {
        match before.members.iter().find(|other| is_same(other, one)) {
            None => events.push(format!("{} came", title(one))),
            Some(then) if then.is_alive() != one.is_alive() => {
                events.push(format!("{} is {}", title(one), liveness(one)));
            }
            Some(_) => {}
        }
    }
    let left = before.members.iter().filter(|one| !now.members.iter().any(|other| is_same(one, other)));
    events.extend(left.map(|one| format!("{} left", title(one))));
    if now.found.record.closed && !before.found.record.closed {
        events.push("it was closed".into());
    }
    let (sent, done) = flow(before, now);
    if sent + done > 0 || before.held != now.held || now.held_again > before.held_again {
        let (sent, done) = (show::counted(sent, "item"), show::count(done));
        events.push(format!("{sent} sent, {done} acknowledged: {}", contents(now)));
    }
    events
}

fn is_same(one: &Member, other: &Member) -> bool {
    (one.role, one.number, one.pid) == (other.role, other.number, other.pid)
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
