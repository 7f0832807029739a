//! `ringctl check`: checks the logs of a run.
pub mod report;

use std::path::PathBuf;

use crate::cli::common::exit::{Failure, code};
use crate::cli::common::start::End;
use crate::cli::common::ui::{Ui, json_line};
use crate::testing::history::{self, Checker, HistoryError};
pub use report::CheckReport;

/// Check the logs of a run: nothing lost, doubled, out of order, or held by two
///
/// Reads the logs that producers and consumers wrote, and reports events that a correct queue cannot have
/// produced. At the end of the run the queue must be empty: an item that was sent and not acknowledged by then
/// is lost.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A log has one event a line, its fields separated by one space; empty lines and lines that
begin with # are left out:

  TIME PROCESS EVENT PRODUCER SEQUENCE [ATTEMPT [HASH]]

  TIME       nanoseconds of a clock that all processes share (CLOCK_MONOTONIC), never going back
             within a file; the files are read side by side in the order of these times
  PROCESS    the number of the process that writes the line
  EVENT      attempt    before the call that sends the item
             sent       after this call succeeded
             refused    after this call failed; the number may be used again
             forwarding before the call that sends the item under the key of another one, perhaps
                        several times: of this key, the check finds only whether it is received
                        and acknowledged at all
             got        after the item was received
             acking     before the call that acknowledges the item
             acked      after this call returned
             returning  before the item is given back
             dropping   before a producer takes the item out of the ring to make room
             dropped    after that
  PRODUCER   the number of the item's producer, and
  SEQUENCE   the item's number there, rising in the order of sending; in all logs, both together
             name the item
  ATTEMPT    which delivery, from 1; 255 may stand for all deliveries after some number; in events
             of producers 0, or left out
  HASH       of the item's bytes, up to 16 hexadecimal digits

Write each line by one write(2), and each process to a file of its own, so that a killed process
leaves whole lines. An incomplete last line is left out and counted. producer --log, consumer --log
and RINGPIPE_LOG write such logs.

Faults: lost, unexpected (received, and not sent), corrupted (another hash), duplicated (received
after it was acknowledged), acknowledged twice, held twice, out of order (first deliveries of one
producer's items to one process), over capacity, renamed (two items with one number).

Examples:
  ringctl check logs                              all files in the folder
  ringctl check --capacity 1024 logs/*.log        never more than 1024 items at once
  ringctl check --json logs | jq .faults

Exit codes: 0 clean, 1 a file could not be read, 2 usage, 6 a line that is not an event,
10 not clean.")]
pub struct Args {
    /// Logs of the run, in any order; a folder stands for the files in it
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How many items the ring has room for [default: not checked]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    capacity: Option<u64>,
    /// How many faults are described; all are counted
    #[arg(long, value_name = "N", default_value_t = 10)]
    describe: usize,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// Checks the logs of a run.
///
/// # Errors
/// The [`Failure`] of a file that cannot be read, or of a line that is not an event.
pub fn judge(files: &[PathBuf], checker: Checker) -> Result<CheckReport, Failure> {
    history::check(files, checker).map(CheckReport::new).map_err(failure)
}

/// The [`Failure`] of a history that cannot be read.
pub fn failure(error: HistoryError) -> Failure {
    let HistoryError { file, line, wrong, expected, source, .. } = error;
    match (source, line, expected) {
        (None, Some(line), Some(form)) => {
            let line =
                format!("{file:?}, line {line}: {wrong}; expected {form}, as ringctl check --help has it");
            Failure::new(code::DAMAGED, line)
        }
        (Some(source), ..) => Failure::io(format!("reading {file:?}"), &source),
        _ => Failure::new(code::DAMAGED, format!("{file:?}: {wrong}")),
    }
}

/// Runs `ringctl check`.
pub fn run(args: &Args, ui: &Ui) -> Result<End, Failure> {
    let checker = Checker::new().describe(args.describe);
    let checker = args.capacity.into_iter().fold(checker, Checker::capacity);
    let report = judge(&args.files, checker)?;
    let text = if args.json { json_line(&report)? } else { report.text(ui.paint()) };
    ui.emit(text.as_bytes())?;
    report.failure().map_or(Ok(End::Done), Err)
}
