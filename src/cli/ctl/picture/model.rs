//! The model of a watched ring: the latest observation, what is kept of earlier ones, and the sentences about
//! them.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::changes::{self, Tally};
use super::observation::{Observation, Watched, items_of};
use super::steps::Mood;
use crate::{NameState, ParticipantInfo, Result, RingObserver};

/// The time over which rates are computed.
const RATE_SPAN: Duration = Duration::from_secs(4);
/// The shortest time between two records of the counters.
const RATE_STEP: Duration = Duration::from_millis(100);
/// The number of sentences that are kept.
const MOST_EVENTS: usize = 5_000;

/// A sentence about what changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The time since watching began.
    pub at: Duration,
    pub mood: Mood,
    pub text: String,
}

/// Items in and out per second: in total, and per participant, by its serial number.
#[derive(Debug, Clone, Default)]
pub struct Rates {
    pub sent: f64,
    pub received: f64,
    pub of: HashMap<u32, f64>,
}

/// The counters at some moment.
#[derive(Debug)]
struct Counted {
    at: Instant,
    sent: u64,
    received: u64,
    of: Vec<(u32, u64)>,
}

impl Counted {
    fn new(look: &Observation) -> Self {
        let count = |one: &ParticipantInfo| (one.serial, items_of(one));
        Counted {
            at: look.at,
            sent: look.snapshot.totals.sent,
            received: look.snapshot.totals.received,
            of: look.snapshot.participants.iter().map(count).collect(),
        }
    }
}

/// Everything that is known of a watched ring.
#[derive(Debug)]
pub struct Model {
    pub watched: Watched,
    pub events: VecDeque<Event>,
    /// The number of sentences so far, including those that are no longer kept.
    pub told: u64,
    pub looks: u64,
    is_gone: bool,
    pub began: Instant,
    history: VecDeque<Counted>,
    pub tally: Tally,
}

impl Model {
    /// The first look.
    ///
    /// # Errors
    /// As [`RingObserver::snapshot`].
    pub fn new(ring: RingObserver) -> Result<Self> {
        let watched = Watched::new(ring)?;
        let last = &watched.last;
        let mut tally = Tally::new(last);
        let first = changes::at_first(&watched, &mut tally);
        let (began, history) = (last.at, VecDeque::from([Counted::new(last)]));
        let events = VecDeque::new();
        let mut model = Model { watched, events, told: 0, looks: 1, is_gone: false, began, history, tally };
        first.into_iter().for_each(|(mood, text)| model.tell(mood, text));
        Ok(model)
    }

    /// Observes the ring again, and describes what changed. False: the ring is gone, and this was the last
    /// observation.
    ///
    /// # Errors
    /// As [`RingObserver::snapshot`].
    pub fn look_again(&mut self) -> Result<bool> {
        // Checked before the observation, so that everything before the end is described.
        let gone = self.why_gone()?;
        let before = self.watched.observe()?;
        self.looks += 1;
        for (mood, text) in changes::between(&before, &self.watched, &mut self.tally) {
            self.tell(mood, text);
        }
        self.count();
        if let Some(why) = gone {
            self.tell(Mood::Alarm, why.into());
            self.is_gone = true;
        }
        Ok(gone.is_none())
    }

    fn why_gone(&self) -> Result<Option<&'static str>> {
        Ok(match self.watched.ring.name_state()? {
            NameState::Replaced => Some("the ring was removed, and another one has its name"),
            NameState::Current if !self.watched.ring.is_over() => None,
            _ => Some("the ring was removed"),
        })
    }

    /// `open`, `closed`, or `removed`.
    pub fn state(&self) -> &'static str {
        match (self.is_gone, self.watched.last.snapshot.closed) {
            (true, _) => "removed",
            (false, true) => "closed",
            (false, false) => "open",
        }
    }

    /// Adds a sentence.
    pub fn tell(&mut self, mood: Mood, text: String) {
        if self.events.len() == MOST_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(Event { at: self.watched.last.at - self.began, mood, text });
        self.told += 1;
    }

    /// The sentences after the first `known` ones, as far as they are kept.
    pub fn events_after(&self, known: u64) -> impl Iterator<Item = &Event> {
        let new = (self.told - known).min(self.events.len() as u64) as usize;
        self.events.iter().skip(self.events.len() - new)
    }

    fn count(&mut self) {
        let now = self.watched.last.at;
        if self.history.back().is_none_or(|last| now - last.at >= RATE_STEP) {
            self.history.push_back(Counted::new(&self.watched.last));
        }
        // One record that is older than the span is kept, as the beginning of the rates.
        while self.history.get(1).is_some_and(|second| now - second.at >= RATE_SPAN) {
            self.history.pop_front();
        }
    }

    /// The rates of the last seconds; `None` after the first observation.
    pub fn rates(&self) -> Option<Rates> {
        let first = self.history.front()?;
        let time = Some((self.watched.last.at - first.at).as_secs_f64()).filter(|time| *time > 0.0)?;
        let rate = |now: u64, then: u64| now.saturating_sub(then) as f64 / time;
        let before = |serial: u32| first.of.iter().find(|(one, _)| *one == serial).map_or(0, |(_, n)| *n);
        let totals = &self.watched.last.snapshot.totals;
        let participants = self.watched.last.snapshot.participants.iter();
        Some(Rates {
            sent: rate(totals.sent, first.sent),
            received: rate(totals.received, first.received),
            of: participants.map(|one| (one.serial, rate(items_of(one), before(one.serial)))).collect(),
        })
    }
}
