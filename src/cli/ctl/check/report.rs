//! The report on a history.
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    checker::{Checker, Fault, ItemCounts},
    format::Logs,
};
use crate::cli::common::exit::Failure;
use crate::cli::common::paint::{Paint, Tone};
use crate::cli::ctl::show;

/// The outcome, as `--json` has it.
#[derive(Serialize)]
pub struct CheckReport {
    schema: &'static str,
    clean: bool,
    files: u64,
    /// Files that end in the middle of a line.
    truncated: u64,
    #[serde(flatten)]
    counts: ItemCounts,
    /// How often each fault was found.
    faults: Map<String, Value>,
    /// The first faults.
    found: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    fault: Fault,
    producer: u64,
    sequence: u64,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
}

impl CheckReport {
    /// The report of a checker on these files.
    pub fn new(checker: &Checker, logs: &Logs, files: u64) -> Self {
        let rows = checker.found.iter().map(|found| Row {
            fault: found.fault,
            producer: found.producer,
            sequence: found.sequence,
            text: found.text.clone(),
            file: found.place.map(|place| logs.name(place.file).into()),
            line: found.place.map(|place| place.line),
        });
        CheckReport {
            schema: "ringpipe.check/1",
            clean: checker.is_clean(),
            files,
            truncated: logs.truncated(),
            counts: checker.counts,
            faults: checker.faults().map(|(fault, count)| (key(fault), count.into())).collect(),
            found: rows.collect(),
        }
    }

    /// In words, several lines.
    pub fn text(&self, paint: Paint) -> String {
        let ItemCounts { attempts, sent, refused, acknowledged, recovered, redelivered, unsure, .. } =
            self.counts;
        let n = show::count;
        let mut text = format!(
            "{} in {}: {} attempts, {} sent, {} refused, {} acknowledged, {} recovered, {} redelivered, {} unsure\n\
             at least {} in the ring at once\n",
            show::counted(self.counts.events, "event"),
            show::counted(self.files, "file"),
            n(attempts),
            n(sent),
            n(refused),
            n(acknowledged),
            n(recovered),
            n(redelivered),
            n(unsure),
            show::counted(self.counts.most_at_once, "item"),
        );
        if self.truncated > 0 {
            text += &format!("{} within a line, which was left out\n", ends(self.truncated));
        }
        for row in &self.found {
            let fault = paint.text(Tone::Bad, &key(row.fault).replace('_', " "));
            text += &format!("{fault}: item {} of producer {}: {}", row.sequence, row.producer, row.text);
            if let (Some(file), Some(line)) = (&row.file, row.line) {
                text += &format!(" ({}, line {line})", show::name(file));
            }
            text.push('\n');
        }
        match self.clean {
            true => text + &paint.text(Tone::Good, "clean") + "\n",
            false => text,
        }
    }

    /// The faults on one line, if there are any.
    pub fn failure(&self) -> Option<Failure> {
        let some = self.faults.iter().filter(|(_, count)| count.as_u64() != Some(0));
        let list: Vec<String> =
            some.map(|(fault, count)| format!("{count} {}", fault.replace('_', " "))).collect();
        let code = crate::cli::common::exit::code::ASSERTION;
        (!self.clean).then(|| Failure::new(code, format!("the history is not clean: {}", list.join(", "))))
    }
}

fn ends(files: u64) -> String {
    if files == 1 { "1 file ends".into() } else { format!("{} files end", show::count(files)) }
}

/// The name of a fault in JSON.
fn key(fault: Fault) -> String {
    match serde_json::to_value(fault) {
        Ok(Value::String(name)) => name,
        _ => format!("{fault:?}"),
    }
}
