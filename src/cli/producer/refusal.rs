//! The failures and hints of a producer whose ring accepts no items, or whose input gives none.

use super::Job;
use super::waits::Halt;
use crate::cli::common::escape;
use crate::cli::common::exit::{Failure, code};
use crate::cli::common::start::End;
use crate::cli::transport::{Observe, Sender};
use crate::framing::{Framing, FramingError};
use crate::{Error, Liveness, Role};

/// A hint for an item that does not have the ring's length.
const ANY_LENGTH: &str = "a ring that is made without --fixed takes items of any length";

impl<S: Sender> Job<'_, S> {
    /// `ring "jobs" is full (64/64)`.
    pub(super) fn fill(&self) -> String {
        let (name, capacity) = (self.sender.observe().name(), self.sender.observe().capacity());
        if let Some(reason) = self.sender.observe().refusal_reason() {
            return format!("ring {name:?}: {reason}");
        }
        match self.sender.observe().counts() {
            Some(seen) => format!("ring {name:?} is full ({}/{capacity})", seen.used_slots),
            None => format!("ring {name:?} is full"),
        }
    }

    /// A hint for a full ring.
    pub(super) fn advice(&self) -> String {
        let name = escape::argument(self.sender.observe().name());
        let consumers = self.sender.observe().peers(Role::Consumer);
        let alive: Vec<_> = consumers.iter().filter(|one| one.liveness != Liveness::Dead).collect();
        match alive.iter().all(|one| one.liveness == Liveness::Stopped) {
            true if alive.is_empty() => format!("no live consumer; ringctl inspect {name}"),
            true => format!("process {} is stopped; ringctl inspect {name}", alive[0].pid),
            false => format!("ringctl inspect {name} shows which side is slow"),
        }
    }

    /// The failure that ends a producer for this reason.
    pub(super) fn halted(&self, halt: Halt) -> Failure {
        let name = self.sender.observe().name();
        match halt {
            // Callers end by the signal instead.
            Halt::Signal => self.refused(&Error::Interrupted),
            Halt::Refused(error) => self.refused(&error),
            Halt::Unreachable => {
                let left = self.undelivered();
                let line = format!("ring {name:?} was removed and has no consumer: {left}");
                Failure::new(code::CLOSED, line)
            }
            Halt::ConsumersGone => {
                let line = format!("ring {name:?}: all consumers have left: {}", self.undelivered());
                Failure::new(code::CLOSED, line)
            }
        }
    }

    /// Checks the result of a producer that has succeeded so far: items in a ring without a name and without
    /// consumers are lost.
    pub(super) fn check_delivery(&self, end: End) -> Result<End, Failure> {
        if !self.has_lost_items() {
            return Ok(end);
        }
        let failure = self.halted(Halt::Unreachable);
        match end {
            End::Signal(_) => {
                self.report.note(failure.line);
                Ok(end)
            }
            End::Done | End::Surveyed | End::Code(_) => Err(failure),
        }
    }

    /// `12 items were not received`.
    fn undelivered(&self) -> String {
        match self.sender.undelivered() {
            Some(1) => "1 item was not received".into(),
            Some(items) => format!("{items} items were not received"),
            None => "items were not received".into(),
        }
    }

    fn refused(&self, error: &Error) -> Failure {
        let waited = match (error, self.timeout) {
            (Error::TimedOut, Some(limit)) if !limit.is_zero() => {
                format!(", waited {}", humantime::format_duration(limit))
            }
            (Error::Full | Error::TimedOut, _) => String::new(),
            (Error::Closed, _) if self.sender.observe().is_nameless() => {
                let line = format!("ring {:?} was removed", self.sender.observe().name());
                return Failure::new(code::CLOSED, line);
            }
            _ => return Failure::of_ring(self.sender.observe().name(), error),
        };
        Failure::new(code::FULL, self.fill() + &waited).hint(self.advice())
    }

    pub(super) fn bad_input(&self, name: &str, error: &FramingError) -> Failure {
        match error {
            FramingError::Read { source, .. } => Failure::io(name, source),
            FramingError::TooLong { .. } => {
                let ring = self.sender.observe().name();
                let (what, more) = self.sender.observe().item_limit();
                let line = format!("{name}: {error} ({what} of ring {ring:?})");
                Failure::new(code::RUNTIME, line).hint(more)
            }
            FramingError::OtherLength { .. } => {
                let ring = self.sender.observe().name();
                let line = format!("{name}: {error}, the length of each item of ring {ring:?}");
                Failure::new(code::RUNTIME, line).hint(self.length_advice())
            }
            _ => Failure::new(code::RUNTIME, format!("{name}: {error}")),
        }
    }

    /// The failure of the item `number`, counted from 0, of the command line, which does not have the ring's length.
    pub(super) fn misfit(&self, number: usize, len: usize) -> Failure {
        let (ring, expected) = (self.sender.observe().name(), self.sender.max_item());
        let bytes = if len == 1 { "1 byte".into() } else { format!("{len} bytes") };
        let line = format!(
            "--item number {} has {bytes}; expected exactly {expected}, the length of each item of ring {ring:?}",
            number + 1
        );
        Failure::new(code::RUNTIME, line).hint(ANY_LENGTH)
    }

    /// A hint for an input whose items do not have the ring's length.
    fn length_advice(&self) -> String {
        match self.options.framing.framing() {
            Framing::Raw { .. } => {
                let size = self.sender.max_item();
                format!("truncate -s %{size} FILE makes a file longer, to a multiple of {size} bytes")
            }
            Framing::Lines => {
                "an item is a line without its line break; --raw cuts the input into items of that length"
                    .into()
            }
            _ => ANY_LENGTH.into(),
        }
    }
}
