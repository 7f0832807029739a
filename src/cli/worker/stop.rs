//! Why a worker stops before the end of its stream.

use super::halt::When;
use crate::cli::common::exit::Failure;
use crate::cli::common::stdout::Cut;

/// Why a worker stops before the end of its stream.
#[derive(Debug)]
pub enum Stop {
    /// The reader of its output has left.
    Unread,
    /// A signal came.
    Stopped,
    /// `--halt` says so.
    Halted(When),
    /// It cannot go on.
    Failed(Failure),
}

impl From<Cut> for Stop {
    fn from(cut: Cut) -> Self {
        match cut {
            Cut::Closed => Stop::Unread,
            Cut::Stopped => Stop::Stopped,
            Cut::Failed(error) => Stop::Failed(Failure::io("output of a command", &error)),
        }
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Stop::Failed(failure)
    }
}
