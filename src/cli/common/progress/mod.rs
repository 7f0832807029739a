//! `--progress`: shows how much has passed, how fast, how long the rest will take, and which side of the ring is
//! slow.
//!
//! A separate thread shows it, so that it stays correct while the command waits for its input or for the ring. The
//! command only stores numbers.

mod gauge;
mod text;

use std::io::{self, IsTerminal, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use self::gauge::{Count, Gauge};
pub use self::gauge::{Emptied, Fill, Goal};
use self::text::{Facts, Line};
use crate::sys::command::stdio;

/// How often the progress is redrawn on a terminal.
const REDRAW_EVERY: Duration = Duration::from_millis(200);
/// Elsewhere a line follows after this time, and again when the command has run for a tenth longer ...
const LINE_EVERY: Duration = Duration::from_secs(1);
/// ... or for this long.
const LINE_AT_LEAST_EVERY: Duration = Duration::from_secs(60);
/// Reading the fill of a large ring takes long: it uses at most this share of the time (1/50).
const LOOK_SHARE: u32 = 50;
/// Steps of the bar.
const STEPS: u64 = 10_000;

/// The columns assumed for a terminal that does not report them.
const COLUMNS: u16 = 80;

/// What the progress is about.
#[derive(Debug, Clone, Copy)]
pub struct Subject {
    /// What happens to the items: "sent", "received".
    pub verb: &'static str,
    /// Rates are in items, not in bytes, whatever the goal.
    pub is_in_items: bool,
    /// Further counts, the most important first.
    pub extras: &'static [Extra],
}

impl Subject {
    /// Items and bytes, and nothing else.
    pub const fn new(verb: &'static str) -> Self {
        Subject { verb, is_in_items: false, extras: &[] }
    }
}

/// A count that is shown while it is not zero.
#[derive(Debug, Clone, Copy)]
pub struct Extra {
    /// What it counts: "failed".
    pub word: &'static str,
    /// How it changes.
    pub kind: Kind,
}

/// How a count changes, and what it says about the goal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// How many there are at present; while there are some, the work is not stalled.
    Now,
    /// The same; and while there are some, items are on their way, however slowly.
    AtWork,
    /// How many there were.
    Total,
    /// How many items there were that are settled, so that they count for the goal.
    Settled,
}

impl Kind {
    fn is_total(self) -> bool {
        matches!(self, Kind::Total | Kind::Settled)
    }
}

#[derive(Debug)]
struct Shared {
    items: AtomicU64,
    bytes: AtomicU64,
    extras: Vec<AtomicU64>,
    over: AtomicBool,
}

/// Shows the progress until it is dropped.
#[derive(Debug)]
pub struct Progress {
    shared: Arc<Shared>,
    /// Whether it was asked for.
    is_on: bool,
    thread: Option<JoinHandle<()>>,
    bar: Option<ProgressBar>,
    prefix: String,
    subject: Subject,
    start: Instant,
}

impl Progress {
    /// Shows nothing.
    pub fn hidden() -> Self {
        Self::of("", Subject::new(""), Instant::now())
    }

    fn of(prefix: &str, subject: Subject, start: Instant) -> Self {
        Progress {
            shared: Arc::new(Shared::new(&subject)),
            is_on: false,
            thread: None,
            bar: None,
            prefix: prefix.into(),
            subject,
            start,
        }
    }

    /// Shows the progress of a ring on standard error, after `prefix`: redrawn on a terminal, elsewhere as lines.
    /// If the system refuses a thread, only the final line is shown.
    ///
    /// `look` reads how full the ring is, on the thread that shows the progress. Times and the first rates count from
    /// `since`.
    pub fn start(
        prefix: &str,
        subject: Subject,
        look: impl Fn() -> Option<Fill> + Send + 'static,
        goal: Goal,
        since: Instant,
    ) -> Self {
        let mut progress = Self::of(prefix, subject, since);
        progress.is_on = true;
        let display = match io::stderr().is_terminal() {
            true => {
                // Gets a draw target when there is something to draw.
                let bar = ProgressBar::with_draw_target(Some(STEPS), ProgressDrawTarget::hidden());
                progress.bar = Some(bar.clone());
                Display::Bar(bar)
            }
            false => Display::Lines { next: LINE_EVERY },
        };
        let (shared, prefix, start) = (progress.shared.clone(), prefix.to_string(), progress.start);
        let shower = Shower { shared, prefix, subject, look, goal, display, start, gauge: Gauge::default() };
        progress.thread = thread::Builder::new().spawn(move || shower.run()).ok();
        progress
    }

    /// Whether anything is shown.
    pub fn is_on(&self) -> bool {
        self.is_on
    }

    /// The bar on the terminal, if there is one: other lines are written while it is suspended.
    pub fn bar(&self) -> Option<&ProgressBar> {
        self.bar.as_ref()
    }

    /// Sets the totals so far.
    pub fn update(&self, items: u64, bytes: u64) {
        // Relaxed: for display.
        self.shared.items.store(items, Relaxed);
        self.shared.bytes.store(bytes, Relaxed);
    }

    /// Sets the further counts, in the order of the subject.
    pub fn update_extras<const N: usize>(&self, numbers: [u64; N]) {
        // Relaxed: for display.
        self.shared.extras.iter().zip(numbers).for_each(|(extra, number)| extra.store(number, Relaxed));
    }

    /// Ends the display. A line states the totals, unless another one will.
    pub fn finish(&mut self, is_told: bool) {
        self.stop();
        if !self.is_on || is_told {
            return;
        }
        let extras = self.shared.extras();
        let facts = Facts {
            subject: &self.subject,
            count: self.shared.count(&self.subject, &extras),
            extras: &extras,
            pace: Default::default(),
            is_in_items: false,
            reached: None,
            left: None,
            elapsed: self.start.elapsed(),
            ring: None,
        };
        let text = format!("{}: {}\n", self.prefix, facts.totals());
        let _ = io::stderr().write_all(text.as_bytes());
    }

    fn stop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        self.shared.over.store(true, Relaxed);
        thread.thread().unpark();
        // If the thread has failed, less was shown; nothing else is lost.
        let _ = thread.join();
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn new(subject: &Subject) -> Self {
        let extras = subject.extras.iter().map(|_| AtomicU64::new(0)).collect();
        Shared { items: AtomicU64::new(0), bytes: AtomicU64::new(0), extras, over: AtomicBool::new(false) }
    }

    fn extras(&self) -> Vec<u64> {
        self.extras.iter().map(|extra| extra.load(Relaxed)).collect()
    }

    fn count(&self, subject: &Subject, extras: &[u64]) -> Count {
        let others = of_kind(Kind::Settled, subject, extras);
        Count { items: self.items.load(Relaxed), bytes: self.bytes.load(Relaxed), others, acknowledged: 0 }
    }
}

/// The sum of the counts of this kind.
fn of_kind(kind: Kind, subject: &Subject, extras: &[u64]) -> u64 {
    subject.extras.iter().zip(extras).filter(|(extra, _)| extra.kind == kind).map(|(_, number)| number).sum()
}

#[derive(Debug)]
enum Display {
    Bar(ProgressBar),
    /// The time from the start to the next line.
    Lines {
        next: Duration,
    },
}

/// The state of the thread that shows the progress.
struct Shower<L> {
    shared: Arc<Shared>,
    prefix: String,
    subject: Subject,
    look: L,
    goal: Goal,
    display: Display,
    start: Instant,
    gauge: Gauge,
}

impl<L: Fn() -> Option<Fill>> Shower<L> {
    fn run(mut self) {
        let mut look_due = Duration::ZERO;
        while !self.shared.over.load(Relaxed) {
            thread::park_timeout(REDRAW_EVERY);
            let now = self.start.elapsed();
            let extras = self.shared.extras();
            let is_at_work = of_kind(Kind::AtWork, &self.subject, &extras) > 0;
            self.gauge.count(now, self.shared.count(&self.subject, &extras), is_at_work);
            if now >= look_due {
                self.look(now);
                look_due = now + (self.start.elapsed() - now) * LOOK_SHARE;
            }
            self.show(now);
        }
    }

    fn look(&mut self, now: Duration) {
        if let Some(fill) = (self.look)() {
            self.gauge.fill(now, fill);
        }
    }

    fn show(&mut self, now: Duration) {
        if self.shared.over.load(Relaxed) {
            return;
        }
        let (extras, pace) = (self.shared.extras(), self.gauge.pace());
        let count = self.shared.count(&self.subject, &extras);
        let count = Count { acknowledged: self.gauge.acknowledged(), ..count };
        let goal = self.goal.with_ring(count, self.gauge.last_fill());
        let facts = Facts {
            subject: &self.subject,
            count,
            extras: &extras,
            pace,
            is_in_items: goal.items.is_some(),
            reached: goal.reached(count),
            left: goal.left(count, pace),
            elapsed: now,
            ring: self.gauge.ring(),
        };
        match &mut self.display {
            Display::Bar(bar) => {
                draw(bar, facts.line(stdio::columns().unwrap_or(COLUMNS).into()));
                bar.set_position((facts.reached.unwrap_or_default() * STEPS as f64) as u64);
                if bar.is_hidden() {
                    bar.set_draw_target(ProgressDrawTarget::stderr());
                }
                bar.tick();
            }
            Display::Lines { next } => {
                if now < *next {
                    return;
                }
                *next = now + (now / 10).clamp(LINE_EVERY, LINE_AT_LEAST_EVERY);
                let _ = io::stderr().write_all(format!("{}: {}\n", self.prefix, facts.all()).as_bytes());
            }
        }
    }
}

fn draw(bar: &ProgressBar, line: Line) {
    let (template, before, after) = match line {
        Line::WithBar(before, after) => ("{msg} [{wide_bar}] {prefix}", before, after),
        Line::Plain(text) => ("{msg}", text, String::new()),
    };
    // The template is a constant. If it were wrong, the default style would be used.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_message(before);
    bar.set_prefix(after);
}
