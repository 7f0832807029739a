//! What the processes of a run did with their items: written by them, read side by side, and checked.
//!
//! Each process writes a [`Log`] of its own. [`check`] reads all of them in the order of their times and reports what a
//! queue that keeps its promises cannot have done: items lost, delivered after their acknowledgement, held by two
//! consumers at once. It works for any queue. docs/reliability/history.md has the form of a line and the faults.
//!
//! ```
//! use ringpipe::testing::history::{self, Checker, Fault, Log};
//!
//! let folder = std::env::temp_dir().join(format!("doc-history-{}", std::process::id()));
//! std::fs::create_dir_all(&folder)?;
//! // Usually two processes. Item 17 of producer 1 is sent, received in its first delivery, and acknowledged.
//! let mut sending = Log::open(folder.join("producer.log"))?;
//! let mut receiving = Log::open(folder.join("consumer.log"))?;
//! sending.attempt(1, 17, b"hello")?; // then send it
//! sending.sent(1, 17)?;
//! receiving.got(1, 17, 1, b"hello")?;
//! receiving.acking(1, 17, 1)?; // then acknowledge it
//! receiving.acked(1, 17, 1)?;
//!
//! let report = history::check(&[&folder], Checker::new().capacity(64))?;
//! assert!(report.is_clean(), "{report}");
//! assert_eq!(report.counts.acknowledged, 1);
//!
//! // Another item is sent, and no consumer receives it.
//! sending.attempt(1, 18, b"hello")?;
//! sending.sent(1, 18)?;
//! let report = history::check(&[&folder], Checker::new())?;
//! assert_eq!(report.count(Fault::Lost), 1, "{report}");
//! # std::fs::remove_dir_all(&folder)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Which process and which producer
//!
//! PRODUCER and SEQUENCE together name an item in all logs, so the pair must be unique in the run, even where
//! the run has several rings, or makes a ring anew. [`producer_in_ring`] makes such a producer's number from
//! a ring's id and the producer's number there. PROCESS must differ between all processes of the run:
//! [`process_number`] differs even if the system uses a process id again.

mod checker;
mod event;
mod log;
mod logs;
mod report;

use std::path::Path;

pub use checker::Checker;
pub use event::{Event, EventKind, hash_of};
pub use log::{Entry, Log, process_number, producer_in_ring};
pub use logs::{HistoryError, Logs, Place};
pub use report::{Counts, Fault, Found, Report};

/// Checks these logs as one history. A folder stands for the files in it.
///
/// # Errors
/// [`HistoryError`] for a file that cannot be read, or a line that is not an event.
pub fn check<P: AsRef<Path>>(paths: &[P], mut checker: Checker) -> Result<Report, HistoryError> {
    let mut logs = Logs::open(paths)?;
    while let Some((event, place)) = logs.next()? {
        checker.take(&event, place);
    }
    let mut report = checker.finish();
    report.truncated = logs.truncated();
    report.files = logs.into_files();
    Ok(report)
}
