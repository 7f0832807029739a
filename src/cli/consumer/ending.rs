//! Ends a consumer at the end of the stream, and says why.

use super::{Job, missing};
use crate::cli::common::exit::Failure;
use crate::cli::common::start::End;
use crate::cli::transport::{Observe, Receiver};

impl<R: Receiver> Job<'_, R> {
    /// Ends at the end of the stream. Notes an end that was caused by removing or closing the ring; notes the
    /// ordinary one, after the last producer, only with -v.
    pub(super) fn stream_ended(&self) -> Result<End, Failure> {
        let forced = missing::forced_end(self.observe());
        let why = forced.unwrap_or("the stream ended");
        let end = self.short_of_count(why)?;
        let line =
            format!("ring {:?}: {why}; items received: {}", self.observe().name(), self.delivery.tally.items);
        match forced {
            Some(_) => self.report.note(line),
            None => self.report.detail(line),
        }
        Ok(end)
    }
}
