//! The report on a history.
use serde::Serialize;
use serde_json::{Map, Value};

use crate::cli::common::exit::{Failure, code};
use crate::cli::common::paint::{Paint, Tone};
use crate::cli::ctl::show;
use crate::testing::history::{Counts, Fault, Report};

/// The outcome, as `--json` has it.
#[derive(Serialize)]
pub struct CheckReport {
    schema: &'static str,
    clean: bool,
    files: u64,
    /// Files that end in the middle of a line.
    truncated: u64,
    #[serde(flatten, with = "CountsDef")]
    counts: Counts,
    /// How often each fault was found.
    faults: Map<String, Value>,
    /// The first faults.
    found: Vec<Row>,
}

/// The counts of a history, apart from faults.
#[derive(Serialize)]
#[serde(remote = "Counts")]
pub struct CountsDef {
    events: u64,
    attempts: u64,
    sent: u64,
    refused: u64,
    forwarded: u64,
    acknowledged: u64,
    dropped: u64,
    recovered: u64,
    redelivered: u64,
    unsure: u64,
    most_at_once: u64,
}

#[derive(Serialize)]
struct Row {
    /// As `faults` names it.
    fault: String,
    producer: u64,
    sequence: u64,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
}

impl CheckReport {
    /// The report of a checker.
    pub fn new(report: Report) -> Self {
        let file =
            |file: u32| report.files.get(file as usize).map(|path| path.to_string_lossy().into_owned());
        let rows = report.found.iter().map(|found| Row {
            fault: key(found.fault),
            producer: found.producer,
            sequence: found.sequence,
            text: found.text.clone(),
            file: found.place.and_then(|place| file(place.file)),
            line: found.place.map(|place| place.line),
        });
        CheckReport {
            schema: "ringpipe.check/1",
            clean: report.is_clean(),
            files: report.files.len() as u64,
            truncated: report.truncated,
            faults: Fault::ALL.into_iter().map(|fault| (key(fault), report.count(fault).into())).collect(),
            found: rows.collect(),
            counts: report.counts,
        }
    }

    /// Whether there are no faults.
    pub fn is_clean(&self) -> bool {
        self.clean
    }

    /// In words, several lines.
    pub fn text(&self, paint: Paint) -> String {
        let Counts { attempts, sent, refused, acknowledged, recovered, redelivered, unsure, .. } =
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
        if self.counts.forwarded + self.counts.dropped > 0 {
            let Counts { forwarded, dropped, .. } = self.counts;
            text += &format!(
                "{} dropped to make room, {} sent under the key of another\n",
                n(dropped),
                n(forwarded)
            );
        }
        if self.truncated > 0 {
            text += &format!("{} within a line, which was left out\n", ends(self.truncated));
        }
        for row in &self.found {
            let fault = paint.text(Tone::Bad, &row.fault.replace('_', " "));
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
    pub fn complaint(&self) -> Option<String> {
        let some = self.faults.iter().filter(|(_, count)| count.as_u64() != Some(0));
        let list: Vec<String> =
            some.map(|(fault, count)| format!("{count} {}", fault.replace('_', " "))).collect();
        (!self.clean).then(|| format!("the history is not clean: {}", list.join(", ")))
    }

    /// The failure of a history that is not clean.
    pub fn failure(&self) -> Option<Failure> {
        self.complaint().map(|line| Failure::new(code::ASSERTION, line))
    }
}

fn ends(files: u64) -> String {
    if files == 1 { "1 file ends".into() } else { format!("{} files end", show::count(files)) }
}

/// The name of a fault in JSON.
fn key(fault: Fault) -> String {
    fault.name().replace(' ', "_")
}
