//! Shows the picture on a terminal, handles keys and signals, and restores the terminal at every kind of end.
pub mod terminal;

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::crossterm::style::force_color_output;
use ratatui::layout::Rect;

use super::view::theme::Theme;
use super::view::{Choices, Guide, help};
use super::{INTERVALS, pause};
use crate::StopFlag;
use crate::cli::common::exit::Failure;
use crate::cli::common::paint::Paint;
use terminal::Canvas;

/// The shortest time between two drawings, however often the ring is observed.
const REDRAW: Duration = Duration::from_millis(40);
/// The longest sleep without a check of the stop flag.
const SLICE: Duration = Duration::from_millis(50);

/// Signals that are read from a descriptor: before it stops, a process must leave its screen, and afterwards
/// restore it.
fn read_in_turn() -> SigSet {
    [Signal::SIGTSTP, Signal::SIGCONT, Signal::SIGWINCH].into_iter().collect()
}

/// Blocks signals for this thread and for later ones: those that are read from a descriptor, and the one that
/// stops a background process which accesses the terminal.
pub fn hold_signals() -> Result<(), Failure> {
    let mut held = read_in_turn();
    held.add(Signal::SIGTTOU);
    held.thread_block().map_err(|error| Failure::io("cannot hold signals", &error.into()))
}

/// What a session shows.
pub trait Scene {
    /// Observes again. False: what is shown is gone, and this was the last observation.
    ///
    /// # Errors
    /// The [`Failure`] that ends the session.
    fn look_again(&mut self) -> Result<bool, Failure>;

    /// Whether there is no more to show.
    fn is_over(&self) -> bool {
        false
    }

    /// The number of events that are kept, and of all so far.
    fn events(&self) -> (usize, u64);

    /// Draws everything.
    fn draw(&self, choices: Choices, area: Rect, buf: &mut Buffer);

    /// Acts on a key. False: the key means nothing to the scene.
    fn key(&mut self, _key: KeyCode) -> bool {
        false
    }
}

/// Whether there is a terminal to draw on, with keys. A background job that no shell can bring to the foreground gets
/// no screen.
pub fn is_possible() -> bool {
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb" || term.is_empty());
    let has_screen = io::stdin().is_terminal() && io::stdout().is_terminal() && !dumb;
    has_screen && (terminal::can_be_stopped() || !terminal::is_in_background())
}

/// Draws the scene until the viewer quits, its subject is gone, or a signal comes.
pub fn show(
    scene: &mut impl Scene,
    guide: &'static Guide,
    interval: Duration,
    paint: Paint,
    stop: &StopFlag,
) -> Result<Outcome, Failure> {
    // `paint` has decided about colours, so the environment must not be checked again.
    force_color_output(paint.is_on());
    if !terminal::wait_for_foreground(stop).map_err(|error| refused(&error))? {
        return Ok(Outcome::Stopped);
    }
    let choices = Choices::new(Theme::new(paint.is_on()), interval, guide);
    let mut session = Session::new(choices, stop).map_err(|error| refused(&error))?;
    session.run(scene)
}

fn refused(error: &io::Error) -> Failure {
    Failure::io("the terminal", error)
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// By a key, or after the last requested observation.
    Quit,
    /// What was shown is gone.
    Gone,
    /// By a signal, or because the terminal is gone.
    Stopped,
}

/// A terminal that shows the picture. Dropping this restores it.
struct Session<'s> {
    canvas: Canvas,
    signals: SignalFd,
    stop: &'s StopFlag,
    choices: Choices,
    /// The number of rows by which a page scrolls.
    page: u16,
}

impl<'s> Session<'s> {
    fn new(choices: Choices, stop: &'s StopFlag) -> io::Result<Self> {
        let signals = SignalFd::with_flags(&read_in_turn(), SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        settle(&signals)?;
        Ok(Session { canvas: terminal::take()?, signals, stop, choices, page: 10 })
    }

    fn run(&mut self, scene: &mut impl Scene) -> Result<Outcome, Failure> {
        let mut due = Instant::now() + self.choices.interval;
        let mut drawn: Option<Instant> = None;
        let mut changed = true;
        loop {
            if changed && drawn.is_none_or(|last| last.elapsed() >= REDRAW) {
                if self.draw(scene).is_err() {
                    // The terminal is gone.
                    return Ok(Outcome::Stopped);
                }
                (drawn, changed) = (Some(Instant::now()), false);
            }
            if scene.is_over() {
                let _ = self.draw(scene);
                return Ok(Outcome::Quit);
            }
            let until = if changed { due.min(Instant::now() + REDRAW) } else { due };
            match self.wait(until, scene).map_err(|error| refused(&error))? {
                Step::Nothing => {}
                Step::Changed => (drawn, changed) = (None, true),
                Step::Quit => return Ok(Outcome::Quit),
                Step::Lost => return Ok(Outcome::Stopped),
            }
            if self.stop.is_raised() {
                return Ok(Outcome::Stopped);
            }
            let start = Instant::now();
            if !self.choices.paused && start >= due {
                let (_, before) = scene.events();
                if !scene.look_again()? {
                    return Ok(Outcome::Gone);
                }
                if self.choices.back > 0 {
                    // Keeps the lines that the user is reading in place.
                    self.choices.back += (scene.events().1 - before) as usize;
                }
                due = Instant::now() + pause(self.choices.interval, start.elapsed());
                changed = true;
            }
        }
    }

    fn draw(&mut self, scene: &impl Scene) -> io::Result<()> {
        let choices = self.choices;
        self.canvas.draw(|frame| scene.draw(choices, frame.area(), frame.buffer_mut()))?;
        Ok(())
    }

    /// Waits until the given time, for a key, or for a signal.
    fn wait(&mut self, until: Instant, scene: &mut impl Scene) -> io::Result<Step> {
        let left = until.saturating_duration_since(Instant::now()).min(SLICE);
        let timeout = PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::ZERO);
        let stdin = io::stdin();
        let mut fds = [
            PollFd::new(stdin.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, timeout) {
            Err(nix::errno::Errno::EINTR) => return Ok(Step::Nothing),
            result => result?,
        };
        let [keys, signals] = fds.map(|fd| fd.revents().unwrap_or(PollFlags::empty()));
        // If the terminal is gone, the library's wait for a key would never return.
        if keys.intersects(PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL) {
            return Ok(Step::Lost);
        }
        if signals.contains(PollFlags::POLLIN) {
            return self.signal();
        }
        let mut step = Step::Nothing;
        // A process that must end reads no more keys: in the background, a read would stop it.
        while keys.contains(PollFlags::POLLIN) && !self.stop.is_raised() && event::poll(Duration::ZERO)? {
            match self.event(&event::read()?, scene)? {
                Step::Nothing => {}
                Step::Changed => step = Step::Changed,
                last => return Ok(last),
            }
        }
        Ok(step)
    }

    fn signal(&mut self) -> io::Result<Step> {
        while let Some(signal) = self.signals.read_signal()? {
            match Signal::try_from(signal.ssi_signo as i32)? {
                Signal::SIGTSTP => self.suspend()?,
                // The process was stopped by a signal that cannot be blocked: other programs may have used the
                // terminal since.
                Signal::SIGCONT => {
                    terminal::give_back();
                    self.come_back()?;
                }
                _ => {}
            }
        }
        Ok(Step::Changed)
    }

    /// Restores the terminal, stops, and continues when a signal says so.
    fn suspend(&mut self) -> io::Result<()> {
        terminal::give_back();
        terminal::stop_job(Signal::SIGTSTP)?;
        self.come_back()
    }

    /// Takes the terminal again once this job is in the foreground, unless the process must end.
    fn come_back(&mut self) -> io::Result<()> {
        if terminal::wait_for_foreground(self.stop)? {
            settle(&self.signals)?;
            self.canvas = terminal::take()?;
        }
        Ok(())
    }

    fn event(&mut self, event: &Event, scene: &mut impl Scene) -> io::Result<Step> {
        match event {
            Event::Key(key) if key.kind != KeyEventKind::Release => self.key(*key, scene),
            Event::Resize(..) => Ok(Step::Changed),
            _ => Ok(Step::Nothing),
        }
    }

    fn key(&mut self, key: KeyEvent, scene: &mut impl Scene) -> io::Result<Step> {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c') if control => return Ok(Step::Quit),
            KeyCode::Char('z') if control => self.suspend()?,
            code if self.choices.help.is_some() => self.key_in_help(code)?,
            code if scene.key(code) => {}
            code => return Ok(self.key_in_picture(code, scene)),
        }
        Ok(Step::Changed)
    }

    fn key_in_picture(&mut self, code: KeyCode, scene: &impl Scene) -> Step {
        let choices = &mut self.choices;
        let page = usize::from(self.page);
        let (farthest, _) = scene.events();
        match code {
            KeyCode::Char('q' | 'Q') | KeyCode::Esc => return Step::Quit,
            KeyCode::Char('?' | 'h') | KeyCode::F(1) => choices.help = Some(0),
            KeyCode::Char(' ') => choices.paused = !choices.paused,
            KeyCode::Char('+' | '=') => choices.interval = (choices.interval / 2).max(INTERVALS.0),
            KeyCode::Char('-' | '_') => choices.interval = (choices.interval * 2).min(INTERVALS.1),
            KeyCode::Up => choices.back = (choices.back + 1).min(farthest),
            KeyCode::Down => choices.back = choices.back.saturating_sub(1),
            KeyCode::PageUp => choices.back = (choices.back + page).min(farthest),
            KeyCode::PageDown => choices.back = choices.back.saturating_sub(page),
            KeyCode::Home => choices.back = farthest,
            KeyCode::End => choices.back = 0,
            _ => return Step::Nothing,
        }
        Step::Changed
    }

    /// Scrolls the help, or closes it.
    fn key_in_help(&mut self, code: KeyCode) -> io::Result<()> {
        let top = self.choices.help.unwrap_or(0);
        let last = help::last_top(self.choices, self.canvas.size()?.into());
        // On a screen that has become larger, fewer lines are above it.
        let top = top.min(last);
        self.choices.help = match code {
            KeyCode::Up => Some(top.saturating_sub(1)),
            KeyCode::Down => Some((top + 1).min(last)),
            KeyCode::PageUp => Some(top.saturating_sub(self.page)),
            KeyCode::PageDown => Some((top + self.page).min(last)),
            KeyCode::Home => Some(0),
            KeyCode::End => Some(last),
            _ => None,
        };
        Ok(())
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        terminal::give_back();
    }
}

/// Discards the signals that came before the terminal is taken: the one that continued this job, and new sizes.
fn settle(signals: &SignalFd) -> io::Result<()> {
    while signals.read_signal()?.is_some() {}
    Ok(())
}

/// The result of a wait.
enum Step {
    Nothing,
    Changed,
    Quit,
    /// The terminal is gone.
    Lost,
}
