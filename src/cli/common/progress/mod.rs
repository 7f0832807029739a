//! `--progress`: shows how much has passed, how fast, how long the rest will take, and which side of the ring is
//! slow.
//!
//! A separate thread shows it, so that it stays correct while the command waits for its input or for the ring. The
//! command only stores two numbers.

mod gauge;

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use indicatif::{BinaryBytes, HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

use self::gauge::{Count, Gauge, Pace};
pub use self::gauge::{Fill, Goal};

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

#[derive(Debug, Default)]
struct Shared {
    items: AtomicU64,
    bytes: AtomicU64,
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
    start: Instant,
}

impl Progress {
    /// Shows nothing.
    pub fn hidden() -> Self {
        let shared = Arc::default();
        Progress {
            shared,
            is_on: false,
            thread: None,
            bar: None,
            prefix: String::new(),
            start: Instant::now(),
        }
    }

    /// Shows the progress of a ring on standard error, after `prefix`: redrawn on a terminal, elsewhere as lines.
    /// If the system refuses a thread, only the final line is shown.
    ///
    /// `verb` says what happens to the items: "sent", "received". `look` reads how full the ring is, on the thread
    /// that shows the progress. Times and the first rates count from `since`.
    pub fn start(
        prefix: &str,
        verb: &'static str,
        look: impl Fn() -> Option<Fill> + Send + 'static,
        goal: Goal,
        since: Instant,
    ) -> Self {
        let mut progress = Self::hidden();
        (progress.is_on, progress.prefix, progress.start) = (true, prefix.into(), since);
        let display = match io::stderr().is_terminal() {
            true => {
                let bar = new_bar(goal);
                progress.bar = Some(bar.clone());
                Display::Bar(bar)
            }
            false => Display::Lines { next: LINE_EVERY },
        };
        let (shared, prefix, start) = (progress.shared.clone(), prefix.to_string(), progress.start);
        let shower = Shower { shared, prefix, verb, look, goal, display, start, gauge: Gauge::default() };
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

    /// Ends the display. A line states the totals, unless another one will.
    pub fn finish(&mut self, is_told: bool) {
        self.stop();
        if !self.is_on || is_told {
            return;
        }
        let Count { items, bytes } = self.shared.count();
        let took = self.start.elapsed();
        let per_second = (bytes as f64 / took.as_secs_f64().max(1e-9)) as u64;
        let text = format!(
            "{}: {}, {} in {:.1} s, {}/s\n",
            self.prefix,
            counted(items),
            BinaryBytes(bytes),
            took.as_secs_f64(),
            BinaryBytes(per_second)
        );
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
    fn count(&self) -> Count {
        Count { items: self.items.load(Relaxed), bytes: self.bytes.load(Relaxed) }
    }
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
    verb: &'static str,
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
            self.gauge.count(now, self.shared.count());
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
        let (count, pace) = (self.shared.count(), self.gauge.pace());
        let reached = self.goal.reached(count);
        match &mut self.display {
            Display::Bar(bar) => {
                let mut text = String::new();
                let is_in_items = reached.is_some() && self.goal.items.is_some();
                let _ = match (is_in_items, reached) {
                    (true, _) => write!(text, "{}, {}/s", counted(count.items), counted(pace.items as u64)),
                    (_, Some(_)) => write!(text, "{}", bytes_and_rate(count, pace)),
                    (_, None) => write!(text, "{}, {}", counted(count.items), bytes_and_rate(count, pace)),
                };
                bar.set_message(format!("{} {text}", self.verb));
                bar.set_prefix(rest(reached, self.goal.left(count, pace), now, self.gauge.ring()));
                if bar.is_hidden() {
                    bar.set_draw_target(ProgressDrawTarget::stderr());
                }
                bar.set_position((reached.unwrap_or_default() * STEPS as f64) as u64);
                bar.tick();
            }
            Display::Lines { next } => {
                if now < *next {
                    return;
                }
                *next = now + (now / 10).clamp(LINE_EVERY, LINE_AT_LEAST_EVERY);
                let (items, bytes) = (counted(count.items), bytes_and_rate(count, pace));
                let rest = rest(reached, self.goal.left(count, pace), now, self.gauge.ring());
                let text = format!("{}: {items}, {bytes}, {rest}\n", self.prefix);
                let _ = io::stderr().write_all(text.as_bytes());
            }
        }
    }
}

fn new_bar(goal: Goal) -> ProgressBar {
    // Gets a draw target when there is something to draw.
    let bar = ProgressBar::with_draw_target(Some(STEPS), ProgressDrawTarget::hidden());
    let template = match goal.items.or(goal.bytes) {
        Some(_) => "{msg} [{wide_bar}] {prefix}",
        None => "{msg}, {prefix}",
    };
    // The template is a constant. If it were wrong, the default style would be used.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}

fn counted(items: u64) -> String {
    format!("{} {}", HumanCount(items), if items == 1 { "item" } else { "items" })
}

fn bytes_and_rate(count: Count, pace: Pace) -> String {
    format!("{}, {}/s", short(count.bytes), short(pace.bytes as u64))
}

/// `791 KiB`, `30.9 MiB`: a number that changes all the time needs no more digits.
fn short(bytes: u64) -> String {
    let text = BinaryBytes(bytes).to_string();
    let (number, unit) = text.split_once(' ').unwrap_or((&text, ""));
    let digits = &number[..number.len().min(4)];
    format!("{} {unit}", digits.trim_end_matches('.'))
}

/// `45%, 12s left, ring 98%, consumers slow`; without a goal the time since the start.
fn rest(reached: Option<f64>, left: Option<Duration>, elapsed: Duration, ring: Option<String>) -> String {
    let mut text = match (reached, left) {
        (None, _) => whole_seconds(elapsed),
        (Some(part), Some(left)) => format!("{:.0}%, {} left", (part * 100.0).floor(), whole_seconds(left)),
        (Some(part), None) => format!("{:.0}%, stalled", (part * 100.0).floor()),
    };
    if let Some(ring) = ring {
        text = format!("{text}, {ring}");
    }
    text
}

fn whole_seconds(time: Duration) -> String {
    humantime::format_duration(Duration::from_secs(time.as_secs())).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changing_numbers_have_three_digits() {
        let bytes = [0, 1023, 31_660, 949_000, 4_860_000, 1_072_000];
        let texts = ["0 B", "1023 B", "30.9 KiB", "926 KiB", "4.63 MiB", "1.02 MiB"];
        assert_eq!(bytes.map(short), texts);
    }
}
