//! Interleaved rounds: in each, every shape of work is given to every carrier, one after the other, so that
//! figures that are compared were taken within seconds of each other.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::args::Run;
use crate::carrier::Carrier;
use crate::measure::{Timing, measure};
use crate::plan::{self, Shape, Test};
use crate::report::json::{Head, Record};
use crate::{limits, links};

/// A carrier that was stuck so often in a shape of work is not given it again.
const PATIENCE: usize = 2;

/// Measures, and writes each record as it comes. An interrupt ends it after the measurement at hand.
pub fn run(arguments: &Run, file: &Path) -> io::Result<()> {
    let (rounds, seconds) = arguments.rounds_and_seconds();
    let measure = Duration::from_secs_f64(seconds);
    let timing = Timing { warm_up: measure / 3, measure };
    let carriers = chosen_carriers(arguments);
    let shapes = chosen_shapes(arguments);
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = interrupted.clone();
    // A carrier that cannot be made here is recorded, which is enough.
    std::panic::set_hook(Box::new(|_| {}));
    ctrlc::set_handler(move || flag.store(true, Ordering::Relaxed)).map_err(io::Error::other)?;

    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut output =
        Output { file: File::create(file)?, bar: bar(rounds * (shapes.len() * carriers.len() + 1)) };
    output.line(&Head::here(rounds, seconds))?;
    let mut failures = BTreeMap::new();
    for round in 0..rounds {
        for (number, shape) in shapes.iter().enumerate() {
            for carrier in &carriers {
                if interrupted.load(Ordering::Relaxed) {
                    return Ok(());
                }
                output.bar.set_message(format!("round {round}: {}: {}", shape.title(), carrier.about.name));
                let failed = failures.entry((number, carrier.about.name)).or_insert(0);
                output.one(carrier, shape, &timing, round, failed)?;
            }
        }
        if wanted(arguments, Test::Memory) {
            for record in limits::memory(round, timing.measure) {
                output.line(&record)?;
            }
        }
        output.bar.inc(1);
    }
    output.bar.finish_and_clear();
    Ok(())
}

fn bar(steps: usize) -> ProgressBar {
    let bar = ProgressBar::new(steps as u64);
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos}/{len} {eta} {msg}") {
        bar.set_style(style);
    }
    bar
}

struct Output {
    file: File,
    bar: ProgressBar,
}

impl Output {
    fn one(
        &mut self,
        carrier: &Carrier,
        shape: &Shape,
        timing: &Timing,
        round: usize,
        failed: &mut usize,
    ) -> io::Result<()> {
        self.bar.inc(1);
        let record = Record::new(&carrier.about, shape, round);
        let record = match carrier.refuses(shape) {
            // Once is enough.
            Some(_) if round > 0 => return Ok(()),
            Some(why) => record.refused(why),
            None if *failed >= PATIENCE => return Ok(()),
            None => match measure(carrier, shape, timing) {
                Ok(figures) => record.measured(figures),
                Err(why) => {
                    *failed += 1;
                    record.failed(why)
                }
            },
        };
        if let Some(note) = record.warning() {
            self.bar.suspend(|| eprintln!("{}: {}: {note}", shape.title(), carrier.about.name));
        }
        self.line(&record)
    }

    fn line(&mut self, record: &impl serde::Serialize) -> io::Result<()> {
        writeln!(self.file, "{}", serde_json::to_string(record)?)
    }
}

fn wanted(arguments: &Run, test: Test) -> bool {
    arguments.tests.is_empty() || arguments.tests.contains(&test)
}

fn chosen_carriers(arguments: &Run) -> Vec<Carrier> {
    let chosen = |carrier: &Carrier| {
        arguments.only.is_empty()
            || arguments.only.iter().any(|part| carrier.about.name.contains(part.as_str()))
    };
    links::carriers().into_iter().filter(chosen).collect()
}

fn chosen_shapes(arguments: &Run) -> Vec<Shape> {
    let chosen = |shape: &Shape| {
        wanted(arguments, shape.test)
            && (arguments.sizes.is_empty() || arguments.sizes.contains(&shape.work.size))
            && arguments.batch.is_none_or(|batch| batch == shape.work.batch)
    };
    plan::shapes().into_iter().filter(chosen).collect()
}
