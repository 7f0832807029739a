//! What a producer says of a ring that takes nothing, and of an input that gives nothing.

use super::Sender;
use crate::cli::attach;
use crate::cli::exit::{Failure, code};
use crate::framing::FramingError;
use crate::{Error, Liveness, Role};

impl Sender<'_> {
    /// `ring "jobs" is full (64/64)`.
    pub(super) fn fill(&self) -> String {
        let (name, capacity) = (self.ring.name(), self.ring.capacity());
        match self.ring.snapshot() {
            Ok(seen) => format!("ring {name:?} is full ({}/{capacity})", seen.used_slots),
            Err(_) => format!("ring {name:?} is full"),
        }
    }

    /// What may be done about a full ring.
    pub(super) fn advice(&self) -> String {
        let name = self.ring.name();
        let consumers = self.ring.participants().into_iter().filter(|one| one.role == Role::Consumer);
        let alive: Vec<_> = consumers.filter(|one| one.liveness != Liveness::Dead).collect();
        match alive.iter().all(|one| one.liveness == Liveness::Stopped) {
            true if alive.is_empty() => format!("no live consumer; ringctl inspect {name}"),
            true => format!("process {} is stopped; ringctl inspect {name}", alive[0].pid),
            false => format!("ringctl inspect {name} shows who is slow"),
        }
    }

    pub(super) fn refused(&self, error: &Error) -> Failure {
        let waited = match (error, self.timeout) {
            (Error::TimedOut, Some(limit)) if !limit.is_zero() => {
                format!(", waited {}", humantime::format_duration(limit))
            }
            (Error::Full | Error::TimedOut, _) => String::new(),
            (Error::Closed, _) if attach::is_nameless(&self.ring) => {
                let line = format!("ring {:?} was removed", self.ring.name());
                return Failure::new(code::CLOSED, line);
            }
            _ => return Failure::of_ring(self.ring.name(), error),
        };
        Failure::new(code::FULL, self.fill() + &waited).hint(self.advice())
    }

    pub(super) fn bad_input(&self, name: &str, error: &FramingError) -> Failure {
        match error {
            FramingError::Read { source, .. } => Failure::io(name, source),
            FramingError::TooLong { .. } => {
                let ring = self.ring.name();
                let line = format!("{name}: {error} (half of the slots of ring {ring:?})");
                let hint = "make the ring with more slots (--capacity) or larger ones (--slot-size)";
                Failure::new(code::RUNTIME, line).hint(hint)
            }
            _ => Failure::new(code::RUNTIME, format!("{name}: {error}")),
        }
    }
}
