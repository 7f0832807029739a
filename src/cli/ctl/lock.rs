//! `ringctl lock`: runs a command while it holds a lock.

use std::env;
use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use nix::libc;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::signal::Signal;
use nix::sys::time::TimeSpec;

use super::objects::{ObjectArgs, TimeoutArg, failure};
use super::show;
use crate::cli::common::args::DurationArg;
use crate::cli::common::exit::{Failure, code};
use crate::cli::common::program::{find, not_started};
use crate::cli::common::signals;
use crate::cli::common::start::End;
use crate::cli::common::ui::Ui;
use crate::sync::{Lock, LockGuard};
use crate::sys::command::child::{Guard, Running, attach_in_group, copy_above, signal_of};
use crate::sys::command::process::is_in_foreground;
use crate::sys::command::relay::Relay;
use crate::sys::command::signal;
use crate::{Error, RingName, StopFlag};

/// Set to 1 for the command if the last holder of the lock died.
const RECOVERED: &str = "RINGCTL_LOCK_RECOVERED";
/// The number from which the command has a copy of the lock's descriptor: shells use lower ones.
const LEAST_DESCRIPTOR: i32 = 100;
/// Between two looks at the command where the system has no descriptor for its end (before Linux 5.3).
const SLICE: Duration = Duration::from_millis(20);

/// Run a command while holding a lock
///
/// One process at a time holds the lock NAME. It is made when it is missing, and removed by the last process
/// that uses it. The lock is released when COMMAND ends. If ringctl is killed, COMMAND is killed, too, and
/// then the next process gets the lock. A set-user-ID COMMAND is not killed, and keeps the lock until it
/// ends. If the last holder died, the next one is told: by a line on standard error, and its COMMAND by
/// RINGCTL_LOCK_RECOVERED=1 in the environment. The last holder died if ringctl was killed. It also died if a
/// signal ended COMMAND, unless ringctl got the same signal.
///
/// INT, TERM, HUP and QUIT are passed on to COMMAND. If ringctl is in the foreground of a terminal, or standard input is a
/// terminal, COMMAND stays in the process group of ringctl. Otherwise it has a group of its own, and all of that is killed
/// with ringctl.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ringctl lock db -- ./migrate                   one at a time, on this machine
  ringctl lock port-8080 --timeout 1m -- ./test  the tests that need this port
  ringctl lock tidy --no-wait -- ./tidy || true  not while another one does
  ringctl lock log -- sh -c 'date >> log'        with the shell's own syntax

Exit codes: that of COMMAND, 128+n if signal n ended it; before COMMAND: 1 the system refused;
2 usage; 3 held by another (--no-wait); 4 timed out; 6 not a lock; 126 COMMAND cannot be
executed; 127 it was not found.")]
pub struct Args {
    /// Name of the lock
    name: RingName,
    #[command(flatten)]
    timeout: TimeoutArg,
    /// Give up at once if another process holds it
    #[arg(long, conflicts_with = "timeout")]
    no_wait: bool,
    /// Do not say that the last holder died
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    object: ObjectArgs,
    /// The program to run, and its arguments
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

pub fn run(args: &Args, ui: &Ui) -> Result<End, Failure> {
    let Some((program, arguments)) = args.command.split_first() else {
        return Err(Failure::new(code::USAGE, "there is no command; expected -- COMMAND [ARG]..."));
    };
    let mut command = Command::new(find(program, env::var_os("PATH").as_deref(), "sh -c")?);
    command.args(arguments).env_remove(RECOVERED);
    // A group of its own could not use the terminal: it would be stopped, and the shell would not know. A job that was
    // started in the background may be brought to the foreground.
    let in_group = io::stdin().is_terminal() || is_in_foreground();
    // Before the lock is opened: the guard is a copy of this process.
    let guard = match in_group {
        true => None,
        false => Some(Guard::start(1).map_err(|error| Failure::io("starting the guard process", &error))?),
    };
    let stop = signals::catch()?;
    let failed = |error: Error| failure("lock", &args.name, &error);
    let mut lock = args.object.options().ephemeral(true).lock(args.name.as_str()).map_err(failed)?;
    lock.set_stop_flag(stop.clone());
    let held = match take(&mut lock, args) {
        Ok(Some(held)) => held,
        Ok(None) => return Err(held_by_another(args)),
        Err(Error::Interrupted) => return Ok(signals::end()),
        Err(Error::TimedOut) => return Err(held_by_another(args)),
        Err(error) => return Err(failed(error)),
    };
    let recovered = held.is_abandoned();
    if recovered && !args.quiet {
        let name = args.name.as_str();
        ui.note(&format!(
            "the last holder of lock {name:?} died: what the lock protects may be half changed"
        ));
    }
    let started = Relay::catch(in_group).map_err(|error| Failure::io("cannot catch signals", &error));
    // A signal that came before: the command does not begin.
    let started = started.and_then(|relay| match stop.is_raised() {
        true => Ok(None),
        false => {
            if recovered {
                command.env(RECOVERED, "1");
            }
            // While the command or a process that it has started has this open, the lock is held, even if ringctl was
            // killed.
            let copy = copy_above(held.descriptor().map_err(failed)?, LEAST_DESCRIPTOR)
                .map_err(|error| Failure::io("copying a descriptor", &error))?;
            let running = match &guard {
                Some(guard) => guard.attach(&command, program, copy.as_fd()),
                None => attach_in_group(&command, program, copy.as_fd()),
            };
            let running = running.map_err(|error| not_started(program, &error))?;
            if in_group {
                relay.has_command(running.id());
            }
            Ok(Some((running, relay)))
        }
    });
    let (mut running, relay) = match started {
        Ok(Some(started)) => started,
        other => {
            // What the last holder left is still there for the next one.
            if recovered {
                held.abandon();
            }
            return other.map(|_| signals::end());
        }
    };
    let ended = match wait(&mut running, &relay, &stop) {
        Ok(ended) => ended,
        Err(error) => {
            // Kills the command.
            drop(running);
            held.abandon();
            return Err(Failure::io("waiting for the command", &error));
        }
    };
    match signal_of(ended) {
        // It was killed or has crashed, and that signal did not ask ringctl to end.
        Some(signal) if !relay.has_seen(signal) => held.abandon(),
        _ => drop(held),
    }
    Ok(end_of(ended))
}

/// Takes the lock. `None`: another process holds it, and there is no wait.
fn take<'a>(lock: &'a mut Lock, args: &Args) -> Result<Option<LockGuard<'a>>, Error> {
    match args.timeout.timeout {
        _ if args.no_wait => lock.try_lock(),
        Some(DurationArg(time)) => lock.lock_timeout(time).map(Some),
        None => lock.lock().map(Some),
    }
}

fn held_by_another(args: &Args) -> Failure {
    let name = args.name.as_str();
    match args.timeout.timeout {
        Some(DurationArg(time)) => {
            let line = format!("lock {name:?} is held by another process, waited {}", show::given(time));
            Failure::new(code::FULL, line)
        }
        None => Failure::new(code::EMPTY, format!("lock {name:?} is held by another process"))
            .hint("without --no-wait it waits for the lock"),
    }
}

/// Waits until the command ends, and passes signals on to it.
fn wait(running: &mut Running, relay: &Relay, stop: &StopFlag) -> io::Result<ExitStatus> {
    // An interrupt that came before `relay` was there may be noted by another thread a little later.
    let mut early = None;
    loop {
        if early.is_none() && stop.is_raised() {
            early = signal::first();
            early.into_iter().for_each(|signal| relay.add(signal));
        }
        for signal in relay.take() {
            running.signal(signal);
            if signal == Signal::SIGTSTP {
                relay.stop()?;
                running.signal(Signal::SIGCONT);
            }
        }
        if running.has_ended() {
            return running.leave();
        }
        let ended = running.ended_fd();
        let mut fds = Vec::from([PollFd::new(relay.wake_fd(), PollFlags::POLLIN)]);
        let noted = signal::wake_fd().filter(|_| early.is_none());
        fds.extend(ended.into_iter().chain(noted).map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        let slice = if ended.is_some() { None } else { Some(TimeSpec::from_duration(SLICE)) };
        // After an interruption or an error, look again.
        if ppoll(&mut fds, slice, None).is_err() {
            std::thread::yield_now();
        }
    }
}

/// Ends as the command did: by the same signal, if a shell must see that, or with its code.
fn end_of(ended: ExitStatus) -> End {
    match (signal_of(ended), ended.code()) {
        (Some(signal @ (libc::SIGINT | libc::SIGTERM | libc::SIGHUP | libc::SIGQUIT)), _) => {
            End::Signal(signal)
        }
        (Some(signal), _) => End::Code(128 + signal as u8),
        (None, code) => End::Code(code.unwrap_or(1) as u8),
    }
}
