//! Writes results: tables or JSON on standard output, progress on a terminal.
use std::io::{self, IsTerminal};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::cli::common::exit::Failure;
use crate::cli::common::paint::Paint;
use crate::cli::common::ui::{Ui, json_line};

const SCHEMA: &str = "ringpipe.bench/1";

/// The output of `bench`.
pub struct BenchReport {
    json: bool,
    ui: Ui,
    progress: ProgressBar,
}

#[derive(Serialize)]
struct Record<'a, T> {
    schema: &'static str,
    kind: &'static str,
    #[serde(flatten)]
    figures: &'a T,
}

impl BenchReport {
    /// A report of `steps` measurements.
    pub fn new(json: bool, ui: Ui, steps: usize) -> Self {
        let target = match io::stderr().is_terminal() {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        let progress = ProgressBar::with_draw_target(Some(steps as u64), target);
        // The template is a constant. If it were wrong, the default style would be used.
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}, {eta} to go") {
            progress.set_style(style);
        }
        BenchReport { json, ui, progress }
    }

    /// Shows that the next measurement begins.
    pub fn step(&self, what: &str) {
        self.progress.inc(1);
        self.progress.set_message(what.to_string());
    }

    /// A note to standard error.
    pub fn note(&self, text: &str) {
        self.progress.suspend(|| self.ui.note(text));
    }

    /// Writes figures of one kind: an object each, or one text for all.
    pub fn emit<T: Serialize>(
        &self,
        kind: &'static str,
        figures: &[T],
        text: impl FnOnce(Paint) -> String,
    ) -> Result<(), Failure> {
        let mut out = String::new();
        if self.json {
            for figures in figures {
                out += &json_line(&Record { schema: SCHEMA, kind, figures })?;
            }
        } else {
            out = text(self.ui.paint());
        }
        self.progress.suspend(|| self.ui.emit(out.as_bytes()))
    }
}

impl Drop for BenchReport {
    fn drop(&mut self) {
        self.progress.finish_and_clear();
    }
}
