//! `consumer --hold`: a background process holds an item while a script works on it.
//!
//! The command forks before it attaches to the ring. Its child, the holder, waits for the item, holds it and answers
//! [`Request`]s. The command itself writes token and item, tells the holder that they were written, and exits.
//!
//! The holder gives the item back, and ends, if the command ends before it has written everything, or when the process
//! that the item is held for ends. If the holder is killed, the item is delivered again, as that of any consumer.

use std::io::{self, Read, Write};
use std::mem;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::exit;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use nix::errno::Errno;
use nix::libc::{ESRCH, SIGTERM};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, geteuid};
use serde::{Deserialize, Serialize};

use super::envelope::{self, About};
use super::{BLOCKED_LOOKS, BLOCKED_NO_WAIT, BLOCKED_PAUSE, Options, SLICE, framing, missing};
use crate::cli::common::address::Address;
use crate::cli::common::args::{Count, DurationArg};
use crate::cli::common::exit::{Failure, code};
use crate::cli::common::hold::{Answer, Facts, Request, Token, Told, receive, send};
use crate::cli::common::report::Reporter;
use crate::cli::common::run_log::RunLog;
use crate::cli::common::signals;
use crate::cli::common::start::End;
use crate::cli::common::stdout::{Cut, Output};
use crate::cli::common::ui::Ui;
use crate::cli::transport::logged::Logged;
#[cfg(feature = "nats")]
use crate::cli::transport::nats::Nats;
use crate::cli::transport::shm::Shm;
use crate::cli::transport::{Needs, Observe, Opening, Owned, Patience, Receiver, Transport};
use crate::sys::command::hold::{self, Lifeline, Side};
use crate::sys::command::stdio;
use crate::{Error, StopFlag};

/// The longest wait for the request of a process that has connected.
const REQUEST: Duration = Duration::from_secs(1);
/// The most requests that the holder still answers before it ends, of processes that connected earlier.
const LAST_REQUESTS: usize = 8;
/// The pause between two attempts to write to an output in the middle of another process's item.
const TURN: Duration = Duration::from_millis(1);
/// What the command sends when it has written token and item.
const WRITTEN: u8 = b'w';

/// What the holder tells the command.
#[derive(Debug, Serialize, Deserialize)]
enum Outcome {
    /// It holds an item, whose bytes follow.
    Held(String, Facts),
    /// It got none.
    Failed(Told),
}

/// Runs the command.
///
/// # Errors
/// The [`Failure`] that ends it.
pub(super) fn run(options: &Options, ui: &Ui) -> Result<End, Failure> {
    if let Some(Count(count)) = options.count.filter(|count| count.0 != 1) {
        return Err(Failure::new(code::USAGE, format!("-n {count}: expected 1 with --hold, or no -n")));
    }
    if !stdio::was_open(1) {
        return Err(Failure::closed("standard output"));
    }
    let report = Reporter::new(ui.program(), &options.process.report);
    options.process.affinity.apply()?;
    let lifeline = lifeline(options.hold_for)?;
    let failed = |error: io::Error| Failure::io("starting the process that holds the item", &error);
    let (link, theirs) = UnixStream::pair().map_err(failed)?;
    match hold::start([theirs.as_fd(), lifeline.as_fd()]).map_err(failed)? {
        Side::Command(holder) => {
            drop(theirs);
            Command { options, link, holder }.run()
        }
        Side::Holder => {
            // The holder has closed its descriptor already.
            mem::forget(link);
            hold_item(options, &report, theirs, lifeline);
            exit(0)
        }
    }
}

/// The process that the item is held for.
fn lifeline(pid: Option<i32>) -> Result<Lifeline, Failure> {
    match pid {
        Some(pid) => Lifeline::of(pid).map_err(|error| match error.raw_os_error() {
            Some(ESRCH) => {
                Failure::new(code::RUNTIME, format!("--hold-for {pid}: expected the id of a running process"))
            }
            _ => Failure::io(format!("--hold-for {pid}"), &error),
        }),
        None => {
            let parent = Lifeline::parent();
            let parent = parent.map_err(|error| Failure::io("--hold: the parent process", &error))?;
            parent.ok_or_else(|| {
                let line =
                    "--hold: expected to be started by a process of the same session, which the item is held for";
                Failure::new(code::RUNTIME, line).hint("--hold-for $$ names the script")
            })
        }
    }
}

/// The command's own process.
struct Command<'o> {
    options: &'o Options,
    link: UnixStream,
    holder: Pid,
}

impl Command<'_> {
    fn run(self) -> Result<End, Failure> {
        let result = self.relay();
        if !matches!(result, Ok(End::Done)) {
            // The holder sees that, gives back what it has, and leaves the ring: then this process ends, too.
            drop(self.link);
            while waitpid(self.holder, None) == Err(Errno::EINTR) {}
        }
        result
    }

    /// Waits for the item, and writes it.
    fn relay(&self) -> Result<End, Failure> {
        let stop = signals::catch()?;
        let mut output = Output::stdout(&stop)?;
        let lost = |_| Failure::new(code::RUNTIME, "the process that holds the item ended unexpectedly");
        if !signals::ready(self.link.as_fd(), PollFlags::POLLIN, &stop).map_err(lost)? {
            return Ok(signals::end());
        }
        let (outcome, bytes) = receive(&self.link).map_err(lost)?;
        let (token, facts) = match outcome {
            Outcome::Held(token, facts) => (token, facts),
            Outcome::Failed(told) => return Err(told.into()),
        };
        let bytes = self.format(token, facts, &bytes)?;
        // As one item: no bytes of another process come in between.
        while !output.lock() {
            if !signals::sleep(TURN, &stop) {
                return Ok(signals::end());
            }
        }
        let (_, cut) = output.write(&bytes, &[bytes.len()]);
        output.unlock();
        match cut {
            None => {
                // If the holder has ended, another command has settled the item already, or it is delivered again.
                let _ = (&self.link).write_all(&[WRITTEN]);
                Ok(End::Done)
            }
            Some(Cut::Stopped) => Ok(signals::end()),
            Some(Cut::Closed) => {
                let line = "standard output: its reader has left; the item was given back";
                Err(Failure::new(code::RUNTIME, line))
            }
            Some(Cut::Failed(error)) => {
                let failure = Failure::io("standard output", &error);
                Err(Failure { line: format!("{}; the item was given back", failure.line), ..failure })
            }
        }
    }

    /// The token and the item as they are written.
    fn format(&self, token: String, facts: Facts, bytes: &[u8]) -> Result<Vec<u8>, Failure> {
        let mut out = Vec::new();
        if self.options.json {
            let Facts { producer, sequence, attempt, sent_at, .. } = facts;
            let about = About { producer, sequence, attempt, sent_at, token: Some(token) };
            envelope::append_bytes(about, bytes, SystemTime::now(), &mut out);
            return Ok(out);
        }
        out.extend_from_slice(token.as_bytes());
        out.push(b'\n');
        let framed = self.options.framing.framing().frame_into(bytes, &mut out);
        framed.map_err(|error| Failure::new(code::RUNTIME, error.to_string()))?;
        Ok(out)
    }
}

/// The life of the holder.
fn hold_item(options: &Options, report: &Reporter, link: UnixStream, lifeline: Lifeline) {
    let mut told = false;
    let result = match options.ring {
        Address::Ring(_) => hold_over::<Shm>(options, report, &link, lifeline, &mut told),
        #[cfg(feature = "nats")]
        Address::Stream(_) => hold_over::<Nats>(options, report, &link, lifeline, &mut told),
    };
    match result {
        // The holder has left the ring. If the asking process has ended, it needs no answer.
        Ok(Some((stream, answer))) => drop(send(&stream, &answer, &[])),
        Ok(None) => {}
        Err(failure) if !told => drop(send(&link, &Outcome::Failed(failure.into()), &[])),
        Err(_) => {}
    }
}

fn hold_over<T: Transport>(
    options: &Options,
    report: &Reporter,
    link: &UnixStream,
    lifeline: Lifeline,
    told: &mut bool,
) -> Result<Option<(UnixStream, Answer)>, Failure> {
    match options.process.log.open("consumer")? {
        Some(log) => {
            let held = hold_until_settled::<Logged<T>>(options, report, link, lifeline, told, Some(&log));
            log.or_failure(held)
        }
        None => hold_until_settled::<T>(options, report, link, lifeline, told, None),
    }
}

/// Waits for an item, tells the command, and holds the item until a request settles it: then returns the process to
/// answer. `None`: it was given back.
fn hold_until_settled<T: Transport>(
    options: &Options,
    report: &Reporter,
    link: &UnixStream,
    lifeline: Lifeline,
    told: &mut bool,
    log: Option<&RunLog>,
) -> Result<Option<(UnixStream, Answer)>, Failure> {
    let stop = signals::catch()?;
    let token = Token::new()?;
    let listener = hold::listen(&token.socket());
    let listener = listener.map_err(|error| Failure::io("the holder's socket", &error))?;
    let theirs = link.try_clone().map_err(|error| Failure::io("the holder's socket", &error))?;
    let watch = thread::Builder::new().spawn(move || watch(&theirs, &lifeline));
    watch.map_err(|error| {
        Failure::io("starting a thread", &error)
            .hint("ulimit -u limits the processes and threads of this user")
    })?;
    let place = Patience::of_place(options.wait.timeout);
    let wait = match options.wait.timeout {
        _ if options.wait.no_wait => Patience::None,
        Some(DurationArg(limit)) => Patience::Limited(limit),
        None => Patience::Unlimited,
    };
    let opening = Opening { name: &options.ring, place, report, stop: &stop, log, needs: Needs::Nothing };
    let Some(mut receiver) = T::open_receiver(&opening, wait, &options.owner)? else { return Ok(None) };
    receiver.set_follow(options.follow);
    let Some(item) = wait_for_item(options, &mut receiver, &stop)? else { return Ok(None) };
    framing::Notes::new(options).tell_difference(receiver.observe(), report);
    let ring = receiver.observe().name().to_string();
    let facts = Facts {
        producer: item.key().producer,
        sequence: item.key().sequence,
        attempt: item.attempt(),
        failures: item.failures(),
        sent_at: item.sent_at(),
        ring,
    };
    item.bytes();
    item.check().map_err(|error| Failure::of_ring(&facts.ring, &error))?;
    hold::release_stderr().map_err(|error| Failure::io("standard error", &error))?;
    *told = true;
    let outcome = Outcome::Held(token.to_string(), facts.clone());
    if send(link, &outcome, item.bytes()).is_err() {
        // The command has ended.
        return Ok(None);
    }
    Ok(serve(item, &facts, &listener, &stop))
}

/// Waits for an item. `None`: the holder is to end.
fn wait_for_item<R: Receiver>(
    options: &Options,
    receiver: &mut R,
    stop: &StopFlag,
) -> Result<Option<R::Owned>, Failure> {
    let (timeout, no_wait) = (options.wait.timeout, options.wait.no_wait);
    let (start, mut looks, mut waited, mut deserted) = (Instant::now(), 0, Duration::ZERO, false);
    while !stop.is_raised() {
        let left = timeout.map_or(SLICE, |DurationArg(limit)| limit.saturating_sub(waited).min(SLICE));
        let wait = if no_wait { Duration::ZERO } else { left };
        let error = match receiver.receive_owned(wait) {
            Ok(item) => return Ok(Some(item)),
            Err(error) => error,
        };
        let ring = receiver.observe();
        match error {
            Error::Interrupted => return Ok(None),
            Error::Ended => {
                return Err(no_item(ring, missing::forced_end(ring).unwrap_or("the stream ended")));
            }
            Error::TimedOut | Error::Empty if no_wait => {
                if !ring.has_items() {
                    return Err(Failure::of_ring(ring.name(), &Error::Empty));
                }
                // The library moves past a slow writer.
                looks += 1;
                if looks > BLOCKED_LOOKS && start.elapsed() >= BLOCKED_NO_WAIT {
                    return Err(missing::blocked(ring, code::EMPTY));
                }
                signals::sleep(BLOCKED_PAUSE, stop);
            }
            Error::TimedOut | Error::Empty => {
                waited += wait.max(Duration::from_nanos(1));
                if let Some(DurationArg(limit)) = timeout.filter(|limit| waited >= limit.0) {
                    return Err(missing::timed_out(ring, limit));
                }
                // Checked twice in a row, so that items that a producer sent before it left are received.
                let is_deserted = missing::is_deserted(ring);
                if mem::replace(&mut deserted, is_deserted) && is_deserted {
                    return Err(no_item(ring, "it was removed"));
                }
            }
            error => return Err(ring.explained(Failure::of_ring(ring.name(), &error))),
        }
    }
    Ok(None)
}

fn no_item(ring: &impl Observe, why: &str) -> Failure {
    Failure::new(code::EMPTY, format!("ring {:?}: {why} after 0 of 1 items", ring.name()))
}

/// Ends the holder, as TERM does, when the process that the item is held for ends, or when the command ends before it has
/// written everything. The life of a thread.
fn watch(link: &UnixStream, lifeline: &Lifeline) {
    let mut is_written = false;
    loop {
        let mut fds =
            [PollFd::new(lifeline.as_fd(), PollFlags::POLLIN), PollFd::new(link.as_fd(), PollFlags::POLLIN)];
        let watched = if is_written { 1 } else { 2 };
        match poll(&mut fds[..watched], PollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            // Without a watch, the item must not stay held.
            Err(_) => break,
            Ok(_) => {}
        }
        if fds[0].any() != Some(false) {
            break;
        }
        let mut byte = [0];
        match (&*link).read(&mut byte) {
            Ok(1) if byte == [WRITTEN] => is_written = true,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            _ => break,
        }
    }
    signals::note_beside(SIGTERM);
}

/// Holds the item until a request settles it, or the stop flag is raised.
fn serve<O: Owned>(
    item: O,
    facts: &Facts,
    listener: &UnixListener,
    stop: &StopFlag,
) -> Option<(UnixStream, Answer)> {
    let mut last = LAST_REQUESTS;
    // Requests that came before the stop flag was raised are answered.
    while last > 0 && signals::ready(listener.as_fd(), PollFlags::POLLIN, stop).unwrap_or(false) {
        last -= usize::from(stop.is_raised());
        let Some((stream, request)) = next_request(listener) else { continue };
        let done = Answer::Ok(facts.clone());
        match request {
            Request::Show => drop(send(&stream, &done, item.bytes())),
            Request::Fail => {
                item.record_failure();
                item.give_back();
                return Some((stream, done));
            }
            Request::Release => {
                item.give_back();
                return Some((stream, done));
            }
            Request::Done => {
                // What was read from lost memory must not count as done.
                let answer = match item.check().and_then(|()| item.acknowledge()) {
                    Ok(()) => done,
                    Err(error) => Answer::Failed(Failure::of_ring(&facts.ring, &error).into()),
                };
                return Some((stream, answer));
            }
        }
    }
    item.give_back();
    None
}

/// The request of the next process that has connected. `None`: it is another user's, or makes none.
fn next_request(listener: &UnixListener) -> Option<(UnixStream, Request)> {
    let (stream, _) = listener.accept().ok()?;
    let user = hold::peer_user(&stream).ok()?;
    if user != geteuid().as_raw() && user != 0 {
        return None;
    }
    // A process that asks for nothing must not keep the others waiting.
    stream.set_read_timeout(Some(REQUEST)).ok()?;
    stream.set_write_timeout(Some(REQUEST)).ok()?;
    let (request, _) = receive(&stream).ok()?;
    Some((stream, request))
}
