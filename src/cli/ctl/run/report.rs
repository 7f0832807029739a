//! The summary of a run.
use serde::Serialize;

use super::verify::{Digest, Verdict};
use crate::cli::common::paint::{Paint, Tone};
use crate::cli::common::table::{Table, cell};
use crate::cli::ctl::check::CheckReport;
use crate::cli::ctl::show;

/// The result of a run.
#[derive(Serialize)]
pub struct RunReport {
    schema: &'static str,
    pub verified: bool,
    /// `kept`, `broken`, `unclear` (equal items from several producers), or `not checked` (several
    /// consumers).
    pub order: &'static str,
    seconds: f64,
    items_per_second: f64,
    sent: Traffic,
    received: Traffic,
    /// The check of the logs (`--log`).
    #[serde(skip_serializing_if = "Option::is_none")]
    history: Option<CheckReport>,
}

#[derive(Serialize)]
struct Traffic {
    items: u64,
    bytes: u64,
    /// Sum of the items' 128-bit hashes, under keys of this run.
    sum: String,
    processes: Vec<Share>,
}

#[derive(Serialize)]
struct Share {
    pid: u32,
    items: u64,
    bytes: u64,
    items_per_second: f64,
    bytes_per_second: f64,
}

impl RunReport {
    /// The report on what each process got or wrote.
    pub fn new(
        sent: &[(u32, Digest)],
        received: &[(u32, Digest)],
        order: Option<Verdict>,
        seconds: f64,
    ) -> Self {
        let total =
            |side: &[(u32, Digest)]| side.iter().fold(Digest::default(), |sum, (_, one)| sum.and(*one));
        let same = total(sent) == total(received);
        RunReport {
            schema: "ringpipe.run/1",
            verified: same && total(sent).items > 0 && order != Some(Verdict::Broken),
            order: match order {
                Some(Verdict::Kept) => "kept",
                Some(Verdict::Broken) => "broken",
                Some(Verdict::Unclear) => "unclear",
                None => "not checked",
            },
            seconds,
            items_per_second: rate(total(received).items, seconds),
            sent: Traffic::new(sent, total(sent), seconds),
            received: Traffic::new(received, total(received), seconds),
            history: None,
        }
    }

    /// Adds what the check of the logs found.
    pub fn add_history(&mut self, history: CheckReport) {
        self.verified &= history.is_clean();
        self.history = Some(history);
    }

    /// Whether nothing was sent and nothing arrived, so that there was nothing to verify.
    pub fn is_empty(&self) -> bool {
        self.sent.items == 0 && self.received.items == 0
    }

    /// What is wrong, in one line.
    pub fn complaint(&self) -> String {
        let (sent, received) = (self.sent.items, self.received.items);
        if let Some(complaint) = self.history.as_ref().and_then(CheckReport::complaint) {
            return format!("not verified: {complaint}");
        }
        if self.is_empty() {
            return "nothing was verified: the input had no items".into();
        }
        match received.cmp(&sent) {
            std::cmp::Ordering::Less => {
                format!("not verified: {} missing", show::counted(sent - received, "item"))
            }
            std::cmp::Ordering::Greater => {
                format!("not verified: {} more than were sent", show::counted(received - sent, "item"))
            }
            _ if self.sent.sum == self.received.sum => {
                "not verified: a producer's items came in another order".into()
            }
            _ => "not verified: other items were received than sent".into(),
        }
    }

    pub fn text(&self, paint: Paint) -> String {
        let seconds = self.seconds;
        let bytes = show::bytes(rate(self.received.bytes, seconds) as u64);
        let rate = show::count(self.items_per_second as u64);
        let mut text =
            self.sent.text("sent", "producer", paint) + &self.received.text("received", "consumer", paint);
        text += &format!("took      {:.3} s: {rate} items/s, {bytes}/s\n", seconds);
        if let Some(history) = &self.history {
            text += &format!("history   {}", history.text(paint));
        }
        let verdict = match self.verified {
            true => paint.text(Tone::Good, "verified: every item was received exactly once"),
            // Standard error says why.
            false if self.is_empty() => paint.text(Tone::Notable, "nothing verified"),
            false => paint.text(Tone::Bad, "not verified"),
        };
        text += &verdict;
        text += match self.order {
            _ if self.is_empty() => "",
            "kept" => "; each producer's items in order",
            "unclear" => "; order unclear: several producers had equal items",
            _ => "",
        };
        text + "\n"
    }
}

impl Traffic {
    fn new(shares: &[(u32, Digest)], total: Digest, seconds: f64) -> Self {
        let share = |(pid, digest): &(u32, Digest)| Share {
            pid: *pid,
            items: digest.items,
            bytes: digest.bytes,
            items_per_second: rate(digest.items, seconds),
            bytes_per_second: rate(digest.bytes, seconds),
        };
        Traffic {
            items: total.items,
            bytes: total.bytes,
            sum: format!("{:032x}", total.sum),
            processes: shares.iter().map(share).collect(),
        }
    }

    fn text(&self, verb: &str, role: &'static str, paint: Paint) -> String {
        let by = show::counted(self.processes.len() as u64, &format!("{role} process"));
        // The plural of "process" is irregular.
        let by = by.replace("processs", "processes");
        let (items, bytes) = (show::counted(self.items, "item"), show::bytes(self.bytes));
        let mut table = Table::new(&[">PID", ">ITEMS", ">BYTES", ">ITEMS/S", ">BYTES/S"]);
        for share in &self.processes {
            table.row(vec![
                cell(share.pid),
                cell(show::count(share.items)),
                cell(show::bytes(share.bytes)),
                cell(show::count(share.items_per_second as u64)),
                cell(show::bytes(share.bytes_per_second as u64)),
            ]);
        }
        format!("{verb:<9} {items}, {bytes}, by {by}\n{}", table.render("  ", paint))
    }
}

fn rate(number: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { number as f64 / seconds } else { 0.0 }
}
