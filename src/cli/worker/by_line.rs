//! Output by line (`--line-buffer`).

use super::finish::{Finisher, TAIL};
use super::print::{Partial, Stream};
use super::supervise::{Collected, Sink};
use crate::cli::common::stdout::Cut;

/// Writes each line of a command when it is complete.
pub struct ByLine<'a, 'o, S> {
    pub finisher: &'a Finisher<'o, S>,
    pub label: &'a str,
    /// The beginnings of the next lines, of both streams.
    pub partial: [Partial; 2],
    /// For `--results`.
    pub kept: Option<&'a mut Collected>,
    /// The end of standard error, for a dead letter.
    pub tail: &'a mut Vec<u8>,
    /// Bytes of standard output.
    pub received: u64,
}

impl<S> ByLine<'_, '_, S> {
    pub fn flush(&mut self) -> Result<(), Cut> {
        let mut printer = self.finisher.printer.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for (stream, partial) in [Stream::Out, Stream::Err].into_iter().zip(&mut self.partial) {
            printer.flush_partial(self.label, stream, partial)?;
        }
        Ok(())
    }
}

impl<S> Sink for ByLine<'_, '_, S> {
    fn take(&mut self, stream: Stream, bytes: &[u8]) -> Result<(), Cut> {
        if let Some(kept) = &mut self.kept {
            kept.take(stream, bytes)?;
        }
        match stream {
            Stream::Out => self.received += bytes.len() as u64,
            Stream::Err => {
                self.tail.extend_from_slice(&bytes[bytes.len().saturating_sub(TAIL)..]);
                self.tail.drain(..self.tail.len().saturating_sub(TAIL));
            }
        }
        let partial = &mut self.partial[usize::from(stream == Stream::Err)];
        let mut printer = self.finisher.printer.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        printer.lines(self.label, stream, partial, bytes)
    }
}
