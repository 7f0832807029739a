//! Reports on the runs of scenarios: a table for people, and forms for other programs.

pub mod choice;
mod describe;
mod json;
mod junit;
mod live;
mod table;
mod tap;

use std::io;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use super::scenario::Scenario;
use super::series::{Event, Settings, Totals};
use crate::cli::common::color;
use crate::cli::common::exit::{Failure, code};
use crate::cli::common::paint::Paint;
use crate::cli::common::ui::Ui;
use crate::sys::command::stdio;
use choice::Choice;
use live::Live;

/// A report in one form.
trait Form: Send {
    /// Takes the next event.
    ///
    /// # Errors
    /// The [`Failure`] to write the report.
    fn take(&mut self, event: &Event<'_>) -> Result<(), Failure>;

    /// Completes the report.
    ///
    /// # Errors
    /// The [`Failure`] to write the report.
    fn end(&mut self, end: &End) -> Result<(), Failure>;
}

/// How the test has ended.
#[derive(Debug, Clone, Copy)]
struct End {
    totals: Totals,
    elapsed: Duration,
    is_interrupted: bool,
}

/// Where a form is written: lines do not mix with the live line of a terminal.
#[derive(Debug, Clone)]
struct Out {
    ui: Ui,
    live: Live,
    /// Standard error instead of standard output.
    is_aside: bool,
}

impl Out {
    fn write(&self, text: &str) -> Result<(), Failure> {
        self.live.suspend(|| match self.is_aside {
            // The report itself is on standard output: this one is not needed.
            true => self.ui.emit_aside(text.as_bytes()).or(Ok(())),
            false => self.ui.emit(text.as_bytes()),
        })
    }

    /// Colours, as the stream takes them.
    fn paint(&self) -> Paint {
        match self.is_aside {
            true => Paint::new(color::is_on(&io::stderr())),
            false => self.ui.paint(),
        }
    }

    /// The columns of the terminal. `None`: the stream is none.
    fn columns(&self) -> Option<usize> {
        let fd = if self.is_aside { io::stderr().as_raw_fd() } else { io::stdout().as_raw_fd() };
        stdio::columns_of(fd).map(usize::from)
    }
}

/// All reports of a test.
pub struct Reports<'s> {
    live: Live,
    forms: Vec<Box<dyn Form + 's>>,
    began: Instant,
}

impl<'s> Reports<'s> {
    /// The chosen reports. If none of them is on standard output, a table is; else the table goes to standard error, and has
    /// only what did not pass.
    ///
    /// # Errors
    /// Two reports on standard output were chosen, or a file cannot be made.
    pub fn new(
        ui: &Ui,
        choices: &[Choice],
        scenarios: &'s [Scenario],
        settings: &'s Settings,
    ) -> Result<Self, Failure> {
        let has = |choice| choices.contains(&choice);
        if has(Choice::Tap) && has(Choice::Json) {
            let line = "--report tap and --report json both write to standard output; expected one of them";
            return Err(Failure::new(code::USAGE, line));
        }
        let mut forms: Vec<Box<dyn Form + 's>> = Vec::new();
        for choice in choices {
            if let Choice::Junit(file) = choice {
                forms.push(Box::new(junit::Junit::new(file, scenarios, settings)?));
            }
        }
        let live = Live::new(scenarios.len(), settings.rounds);
        let out = |is_aside| Out { ui: *ui, live: live.clone(), is_aside };
        let is_aside = has(Choice::Tap) || has(Choice::Json);
        if has(Choice::Tap) {
            forms.push(Box::new(tap::Tap::new(out(false), settings)));
        }
        if has(Choice::Json) {
            forms.push(Box::new(json::Json::new(out(false), settings)));
        }
        forms.push(Box::new(table::Table::new(out(is_aside), scenarios, settings, is_aside)));
        Ok(Reports { live, forms, began: Instant::now() })
    }

    /// Tells all reports. Each gets the event, whether or not another one could be written.
    ///
    /// # Errors
    /// The first [`Failure`] to write one.
    pub fn take(&mut self, event: &Event<'_>) -> Result<(), Failure> {
        self.live.take(event);
        first_failure(self.forms.iter_mut().map(|form| form.take(event)))
    }

    /// Completes all reports.
    ///
    /// # Errors
    /// The first [`Failure`] to write one.
    pub fn end(mut self, totals: Totals, is_interrupted: bool) -> Result<(), Failure> {
        self.live.end();
        let end = End { totals, elapsed: self.began.elapsed(), is_interrupted };
        first_failure(self.forms.iter_mut().map(|form| form.end(&end)))
    }
}

fn first_failure(results: impl Iterator<Item = Result<(), Failure>>) -> Result<(), Failure> {
    let mut first = Ok(());
    for result in results {
        first = first.and(result);
    }
    first
}
