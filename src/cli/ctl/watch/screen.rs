//! The terminal: the picture on a screen of its own, keys, and giving the terminal back however this ends.

use std::io::{self, Stdout};
use std::os::fd::AsFd;
use std::panic;
use std::sync::Once;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::crossterm::execute;
use ratatui::crossterm::style::force_color_output;
use ratatui::crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};

use super::model::Model;
use super::view::theme::Theme;
use super::view::{Choices, Screen};
use super::{Args, INTERVALS, failed, pause};
use crate::StopFlag;
use crate::cli::ctl::output::{self, Paint};
use crate::cli::exit::Failure;
use crate::cli::signals;
use crate::cli::start::End;

/// The picture changes at most so often, however often the ring is looked at.
const REDRAW: Duration = Duration::from_millis(40);
/// Longest sleep without a look at the stop flag.
const SLICE: Duration = Duration::from_millis(50);

/// Signals that belong to a process with a screen: it leaves the screen to be stopped, and comes back.
fn held() -> SigSet {
    [Signal::SIGTSTP, Signal::SIGCONT, Signal::SIGWINCH].into_iter().collect()
}

/// Holds them back, for this thread and those to come, to be read in their turn.
pub fn hold_signals() -> Result<(), Failure> {
    held().thread_block().map_err(|error| Failure::io("cannot hold signals", &error.into()))
}

/// Draws the ring until the viewer quits, the ring is gone, or a signal comes.
pub fn watch(mut model: Model, args: &Args, paint: Paint, stop: &StopFlag) -> Result<End, Failure> {
    // The paint has decided; the environment is not asked again.
    force_color_output(paint.is_on());
    let mut session = Session::new(paint, args).map_err(|error| terminal(&error))?;
    let outcome = session.run(&mut model, args, stop);
    drop(session);
    let outcome = outcome?;
    if outcome == Outcome::Gone
        && let Some(last) = model.events.back()
    {
        output::note(&format!("{:?}: {}", args.ring.as_str(), last.text));
    }
    Ok(if outcome == Outcome::Stopped { signals::end() } else { End::Done })
}

fn terminal(error: &io::Error) -> Failure {
    Failure::io("the terminal", error)
}

/// How watching ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// By a key, or all looks were taken.
    Quit,
    /// The ring is gone.
    Gone,
    /// By a signal, or with the terminal.
    Stopped,
}

/// A terminal that shows the picture. It is given back when this is dropped.
struct Session {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    signals: SignalFd,
    choices: Choices,
    /// Rows of the log, by which pages are scrolled.
    page: usize,
}

impl Session {
    fn new(paint: Paint, args: &Args) -> io::Result<Self> {
        let signals = SignalFd::with_flags(&held(), SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        give_back_on_panic();
        enter()?;
        let choices = Choices {
            theme: Theme::new(paint.is_on()),
            interval: args.interval.0,
            paused: false,
            help: false,
            back: 0,
            keys: true,
        };
        let terminal = Terminal::new(CrosstermBackend::new(io::stdout())).inspect_err(|_| leave())?;
        Ok(Session { terminal, signals, choices, page: 10 })
    }

    fn run(&mut self, model: &mut Model, args: &Args, stop: &StopFlag) -> Result<Outcome, Failure> {
        let mut due = Instant::now() + self.choices.interval;
        let mut drawn: Option<Instant> = None;
        let mut changed = true;
        loop {
            if changed && drawn.is_none_or(|last| last.elapsed() >= REDRAW) {
                if self.draw(model).is_err() {
                    // A terminal that takes nothing has gone.
                    return Ok(Outcome::Stopped);
                }
                (drawn, changed) = (Some(Instant::now()), false);
            }
            if args.count.is_some_and(|most| model.looks >= most.0) {
                let _ = self.draw(model);
                return Ok(Outcome::Quit);
            }
            let until = if changed { due.min(Instant::now() + REDRAW) } else { due };
            match self.wait(until, model).map_err(|error| terminal(&error))? {
                Step::Nothing => {}
                Step::Changed => (drawn, changed) = (None, true),
                Step::Quit => return Ok(Outcome::Quit),
                Step::Lost => return Ok(Outcome::Stopped),
            }
            if stop.is_raised() {
                return Ok(Outcome::Stopped);
            }
            let start = Instant::now();
            if !self.choices.paused && start >= due {
                let before = model.told;
                if !model.look_again().map_err(|error| failed(args, &error))? {
                    return Ok(Outcome::Gone);
                }
                if self.choices.back > 0 {
                    // What is read stays where it is.
                    self.choices.back += (model.told - before) as usize;
                }
                due = Instant::now() + pause(self.choices.interval, start.elapsed());
                changed = true;
            }
        }
    }

    fn draw(&mut self, model: &Model) -> io::Result<()> {
        let choices = self.choices;
        self.terminal.draw(|frame| frame.render_widget(Screen { model, choices }, frame.area()))?;
        Ok(())
    }

    /// Waits until then, for a key, or for a signal.
    fn wait(&mut self, until: Instant, model: &Model) -> io::Result<Step> {
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
        // Asked for a key of a terminal that has gone, the library would not come back.
        if keys.intersects(PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL) {
            return Ok(Step::Lost);
        }
        if signals.contains(PollFlags::POLLIN) {
            return self.signal();
        }
        let mut step = Step::Nothing;
        while keys.contains(PollFlags::POLLIN) && event::poll(Duration::ZERO)? {
            match self.event(&event::read()?, model)? {
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
                // Stopped by something that cannot be held back: the terminal may have been used since.
                Signal::SIGCONT => {
                    leave();
                    self.come_back()?;
                }
                _ => {}
            }
        }
        Ok(Step::Changed)
    }

    /// Gives the terminal back, is stopped, and goes on when somebody says so.
    fn suspend(&mut self) -> io::Result<()> {
        leave();
        let stop: SigSet = [Signal::SIGTSTP].into_iter().collect();
        // The whole job, as the terminal does it for a key.
        kill(Pid::from_raw(0), Signal::SIGTSTP)?;
        stop.thread_unblock()?;
        stop.thread_block()?;
        self.come_back()
    }

    fn come_back(&mut self) -> io::Result<()> {
        enter()?;
        // Anew: to clear the old one would ask the terminal where its cursor is, and not all answer.
        self.terminal = Terminal::new(CrosstermBackend::new(io::stdout()))?;
        Ok(())
    }

    fn event(&mut self, event: &Event, model: &Model) -> io::Result<Step> {
        match event {
            Event::Key(key) if key.kind != KeyEventKind::Release => self.key(*key, model),
            Event::Resize(..) => Ok(Step::Changed),
            _ => Ok(Step::Nothing),
        }
    }

    fn key(&mut self, key: KeyEvent, model: &Model) -> io::Result<Step> {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        let choices = &mut self.choices;
        let farthest = model.events.len();
        match key.code {
            KeyCode::Char('c') if control => return Ok(Step::Quit),
            KeyCode::Char('z') if control => self.suspend()?,
            _ if choices.help => choices.help = false,
            KeyCode::Char('q' | 'Q') | KeyCode::Esc => return Ok(Step::Quit),
            KeyCode::Char('?' | 'h') | KeyCode::F(1) => choices.help = true,
            KeyCode::Char(' ') => choices.paused = !choices.paused,
            KeyCode::Char('+' | '=') => choices.interval = (choices.interval / 2).max(INTERVALS.0),
            KeyCode::Char('-' | '_') => choices.interval = (choices.interval * 2).min(INTERVALS.1),
            KeyCode::Up => choices.back = (choices.back + 1).min(farthest),
            KeyCode::Down => choices.back = choices.back.saturating_sub(1),
            KeyCode::PageUp => choices.back = (choices.back + self.page).min(farthest),
            KeyCode::PageDown => choices.back = choices.back.saturating_sub(self.page),
            KeyCode::Home => choices.back = farthest,
            KeyCode::End => choices.back = 0,
            _ => return Ok(Step::Nothing),
        }
        Ok(Step::Changed)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        leave();
    }
}

/// What came of waiting.
enum Step {
    Nothing,
    Changed,
    Quit,
    /// The terminal has gone.
    Lost,
}

fn enter() -> io::Result<()> {
    enable_raw_mode()?;
    execute!(io::stdout(), EnterAlternateScreen, Clear(ClearType::All), Hide).inspect_err(|_| leave())
}

/// Gives the terminal back. One that takes nothing is nobody's loss.
fn leave() {
    let _ = execute!(io::stdout(), Show, LeaveAlternateScreen);
    let _ = disable_raw_mode();
}

/// A panic is told on the terminal as it was, not on a screen that vanishes.
fn give_back_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let tell = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            leave();
            tell(info);
        }));
    });
}
