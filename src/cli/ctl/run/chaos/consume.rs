//! Keeps one consumer at work, and reads what it and its successors write.
use std::io::Read;

use super::super::collect::write_on;
use super::super::feed::lock;
use super::super::verify::Digest;
use super::stage::{Ending, Life, Slot, Stage, Written};
use crate::Role;
use crate::cli::common::exit::{Failure, code};
use crate::cli::ctl::children::Process;
use crate::framing::{Fill, FramingError, Splitter};
use crate::testing::history::hash_of;

/// Runs consumers, one after the other, until one has come to the end of the stream.
///
/// # Errors
/// The [`Failure`] of a consumer that fails, or of the output.
pub fn consume(stage: &Stage, slot: &Slot) -> Result<Vec<Life>, Failure> {
    let mut lives = Vec::new();
    loop {
        let log = stage.new_log(Role::Consumer);
        let Some(pipe) = slot.start(stage, Role::Consumer, &log, Process::take_output)? else {
            return Ok(lives);
        };
        let collected = match pipe {
            Some(pipe) => collect(stage, pipe),
            None => Ok(Collected::default()),
        };
        let ending = slot.wait(stage);
        let Collected { written, is_torn } = collected?;
        let was_killed = match ending? {
            Ending::Over => return Ok(lives),
            ending => matches!(ending, Ending::Killed),
        };
        if is_torn && !was_killed {
            let line = "not verified: a consumer that was not killed ended within an item";
            return Err(Failure::new(code::ASSERTION, line));
        }
        lives.push(Life { log, was_killed, written });
        if !was_killed {
            return Ok(lives);
        }
    }
}

/// What one consumer wrote.
#[derive(Default)]
struct Collected {
    written: Vec<Written>,
    /// The output ends within an item, which is left out.
    is_torn: bool,
}

/// Reads a consumer's output to its end.
fn collect(stage: &Stage, pipe: impl Read) -> Result<Collected, Failure> {
    let shared = &stage.shared;
    let mut splitter = Splitter::new(pipe, shared.framing, stage.limit);
    let mut collected = Collected::default();
    let mut bytes = Vec::new();
    let failed =
        |error: FramingError| Failure::new(code::RUNTIME, format!("reading from a consumer: {error}"));
    loop {
        match splitter.fill() {
            Ok(Fill::End) => return Ok(collected),
            Ok(Fill::Interrupted) => continue,
            // A consumer ends each item by a separator.
            Ok(Fill::Ready) if !splitter.lacked_last_separator() => {}
            Ok(Fill::Ready)
            | Err(FramingError::TruncatedItem { .. } | FramingError::TruncatedPrefix { .. }) => {
                return Ok(Collected { is_torn: true, ..collected });
            }
            Err(error) => return Err(failed(error)),
        }
        let (mut digest, mut items) = (Digest::default(), 0);
        let mut out = lock(&shared.output);
        for item in splitter.items() {
            let hash = shared.hash.of(item);
            digest.add(item.len(), hash);
            collected.written.push(Written { len: item.len(), hash, logged: hash_of(item) });
            if out.is_some() {
                shared.framing.frame_into(item, &mut bytes).map_err(failed)?;
            }
            items += 1;
        }
        splitter.consume(items);
        write_on(&mut out, &mut bytes)?;
        drop(out);
        let mut received = lock(&shared.received);
        *received = received.and(digest);
    }
}
