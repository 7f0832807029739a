//! What a command asks of the ring to which it attaches.

use super::patience::Patience;
use crate::StopFlag;
use crate::cli::common::address::Address;
use crate::cli::common::exit::{Failure, code};
use crate::cli::common::report::Reporter;
use crate::cli::common::run_log::RunLog;

/// The parameters of both ways to attach.
pub struct Opening<'a> {
    /// The ring.
    pub name: &'a Address,
    /// How long to wait for a place in it.
    pub place: Patience,
    /// Writes the notes.
    pub report: &'a Reporter,
    /// Ends the wait, and later waits of the attached end.
    pub stop: &'a StopFlag,
    /// Where [`logged`](super::logged) ends write what they do.
    pub log: Option<&'a RunLog>,
    /// What the items need.
    pub needs: Needs,
}

/// What items need that a ring of fixed items does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing.
    Nothing,
    /// The keys of other items: dead letters, answers.
    Keys,
    /// Different lengths: blocks of lines.
    Lengths,
}

impl Opening<'_> {
    /// Fails if the ring has fixed items, of this length, and cannot be used like this.
    ///
    /// # Errors
    /// A usage error.
    pub fn check(&self, fixed: Option<u64>) -> Result<(), Failure> {
        let Some(bytes) = fixed else { return Ok(()) };
        let (why, hint) = match (self.log, self.needs) {
            (Some(_), _) => (
                "whose keys are unknown before they are sent: it has no history",
                "leave out --log and RINGPIPE_LOG, or use a ring made without --fixed",
            ),
            (None, Needs::Keys) => (
                "which cannot keep the keys of dead letters, answers and requeued items",
                "use another ring, made without --fixed",
            ),
            (None, Needs::Lengths) => (
                "and --block makes items of different lengths",
                "without --block, an item is a line; with --raw, it is a piece of the ring's length",
            ),
            (None, Needs::Nothing) => return Ok(()),
        };
        let name = self.name.as_str();
        let line =
            format!("ring {name:?} has fixed items of {bytes} bytes, {why}; expected an ordinary ring");
        Err(Failure::new(code::USAGE, line).hint(hint))
    }
}
