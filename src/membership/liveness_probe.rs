//! The probe through which a handle asks the kernel which participants are alive.

use std::os::fd::BorrowedFd;

use crate::Result;
use crate::sys::liveness::{Observer, ParticipantLock};

/// The file description that a handle uses to query the kernel.
#[derive(Debug)]
pub(crate) enum LivenessProbe {
    /// The file description that holds the handle's own number.
    Participant(ParticipantLock),
    /// A file description that holds no number.
    Observer(Observer),
}

impl LivenessProbe {
    /// Whether the descriptor that held this participant's number was found to refer to a different file.
    pub fn is_lost(&self) -> bool {
        matches!(self, LivenessProbe::Participant(lock) if lock.is_lost())
    }

    /// Asks the kernel whether this participant's number is still locked through its descriptor.
    pub fn holds_number(&self) -> bool {
        matches!(self, LivenessProbe::Participant(lock) if lock.is_held())
    }

    /// The descriptor that holds this participant's number, if it still does.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match self {
            LivenessProbe::Participant(lock) => lock.descriptor(),
            LivenessProbe::Observer(_) => None,
        }
    }

    /// Releases this participant's number.
    pub fn release(&self) {
        if let LivenessProbe::Participant(lock) = self {
            lock.release();
        }
    }

    /// Whether no living process holds this number, in a table of `participants`. A number beyond the table
    /// belongs to no participant: a word that names it is damaged, and counts as held for ever. If the system
    /// refuses the query, the answer is false.
    pub fn is_dead(&self, number: u32, participants: u32) -> bool {
        number < participants && matches!(self.is_alive(number), Ok(false))
    }

    fn is_alive(&self, number: u32) -> Result<bool> {
        match self {
            LivenessProbe::Participant(lock) => lock.is_alive(number),
            LivenessProbe::Observer(observer) => observer.is_held(number),
        }
    }
}
