//! Takes and restores the terminal, but only while this job is in the foreground. In the background, SIGTTOU stops
//! the job before it accesses the terminal. At all other times the signal is blocked, so that it does not stop the
//! job in the middle of a picture.

use std::io::{self, Stdout};
use std::panic;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::{Pid, getpgid, getpgrp, getppid, getsid, tcgetpgrp};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};

use crate::StopFlag;
use crate::cli::common::signals;

/// The terminal as the picture is drawn on it.
pub type Canvas = Terminal<CrosstermBackend<Stdout>>;

/// How often a job that SIGTTOU does not stop checks whether it is in the foreground.
const LOOK: Duration = Duration::from_millis(50);

/// Whether the terminal shows the picture.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Whether another job is in the foreground. A terminal that controls no session has no jobs.
pub fn is_in_background() -> bool {
    tcgetpgrp(io::stdin()).is_ok_and(|group| group != getpgrp())
}

/// Whether a shell can continue this job after it was stopped: the kernel does not stop orphaned jobs.
pub fn can_be_stopped() -> bool {
    let parent = getppid();
    getsid(Some(parent)) == getsid(None) && getpgid(Some(parent)) != Ok(getpgrp())
}

/// Stops until this job is in the foreground. False: the process must end.
pub fn wait_for_foreground(stop: &StopFlag) -> io::Result<bool> {
    while is_in_background() && !stop.is_raised() {
        stop_job(Signal::SIGTTOU)?;
        // A job that ignores the signal is not stopped, and checks again after a while.
        signals::sleep(LOOK, stop);
    }
    Ok(!stop.is_raised())
}

/// Stops the whole job by a blocked signal, as the terminal does for a key, until it is continued.
pub fn stop_job(signal: Signal) -> io::Result<()> {
    let stop: SigSet = [signal].into_iter().collect();
    kill(Pid::from_raw(0), signal)?;
    // Unblocked here, so that no other thread takes the signal at a later time.
    stop.thread_unblock()?;
    stop.thread_block()?;
    Ok(())
}

/// Takes the terminal; a panic restores it, too.
pub fn take() -> io::Result<Canvas> {
    give_back_on_panic();
    TAKEN.store(true, Relaxed); // Relaxed: only one thread uses it, except in a panic.
    // After a stop that did not restore the terminal, the library would think that it is still raw.
    let _ = disable_raw_mode();
    enable_raw_mode().inspect_err(|_| give_back())?;
    execute!(io::stdout(), EnterAlternateScreen, Clear(ClearType::All), Hide).inspect_err(|_| give_back())?;
    // A new one each time: clearing an old one would ask the terminal for its cursor, which not all terminals
    // answer.
    Terminal::new(CrosstermBackend::new(io::stdout())).inspect_err(|_| give_back())
}

/// Restores the terminal, if it is taken. Ignores errors of the terminal.
pub fn give_back() {
    if !TAKEN.swap(false, Relaxed) {
        return;
    }
    let _ = execute!(io::stdout(), Show, LeaveAlternateScreen);
    // In the background, the shell has set the modes.
    if !is_in_background() {
        let _ = disable_raw_mode();
    }
}

/// Prints a panic on the restored terminal, not on a screen that disappears.
fn give_back_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let tell = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            give_back();
            tell(info);
        }));
    });
}
