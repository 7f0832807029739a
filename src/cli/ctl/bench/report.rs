//! What is said: tables or JSON on standard output, progress on a terminal.
use std::io::{self, IsTerminal};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::cli::{
    ctl::output::{self, Paint},
    exit::Failure,
};

const SCHEMA: &str = "ringpipe.bench/1";

/// Says things.
pub struct Report {
    json: bool,
    paint: Paint,
    progress: ProgressBar,
}

#[derive(Serialize)]
struct Record<'a, T> {
    schema: &'static str,
    kind: &'static str,
    #[serde(flatten)]
    figures: &'a T,
}

impl Report {
    /// For so many steps.
    pub fn new(json: bool, paint: Paint, steps: usize) -> Self {
        let target = match io::stderr().is_terminal() {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        let progress = ProgressBar::with_draw_target(Some(steps as u64), target);
        // The template is a constant; were it wrong, the default style would serve.
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}, {eta} to go") {
            progress.set_style(style);
        }
        Report { json, paint, progress }
    }

    /// The next measurement begins.
    pub fn step(&self, what: &str) {
        self.progress.inc(1);
        self.progress.set_message(what.to_string());
    }

    /// Figures of one kind: each an object, or all together a text.
    pub fn emit<T: Serialize>(
        &self,
        kind: &'static str,
        figures: &[T],
        text: impl FnOnce(Paint) -> String,
    ) -> Result<(), Failure> {
        let mut out = String::new();
        if self.json {
            for figures in figures {
                out += &output::json_line(&Record { schema: SCHEMA, kind, figures })?;
            }
        } else {
            out = text(self.paint);
        }
        self.progress.suspend(|| output::emit(out.as_bytes()))
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        self.progress.finish_and_clear();
    }
}
