//! The text of the progress: its parts, and those of them that fit into a line of a terminal.

use std::time::Duration;

use indicatif::{BinaryBytes, HumanCount};

use super::Subject;
use super::gauge::{Count, Pace};

/// Columns that a bar needs at least, with what separates it from the text on both sides.
const BAR: usize = " [====>     ] ".len();

/// What the text is made of.
pub(super) struct Facts<'a> {
    pub subject: &'a Subject,
    pub count: Count,
    /// The values of the subject's counts, in their order.
    pub extras: &'a [u64],
    pub pace: Pace,
    /// Whether the goal is a number of items.
    pub is_in_items: bool,
    /// The part of the goal that is reached, and the time for the rest.
    pub reached: Option<f64>,
    pub left: Option<Duration>,
    pub elapsed: Duration,
    /// The fill of the ring, and why it is so.
    pub ring: Option<(u64, Option<&'static str>)>,
}

/// A line on a terminal, in which a bar may stand between two texts.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    WithBar(String, String),
    Plain(String),
}

/// A part of the text, without the commas.
struct Part {
    text: String,
    /// Parts with a higher rank are left out first.
    rank: Rank,
    /// Whether it stands before the bar.
    is_before: bool,
}

/// From the most important to the least.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Count,
    Reached,
    Left,
    /// One of the counts of the subject, the first ones before the others.
    Extra(usize),
    Rate,
    Bar,
    Ring,
    Why,
}

impl Facts<'_> {
    fn parts(&self) -> Vec<Part> {
        let before = |rank, text| Part { text, rank, is_before: true };
        let after = |rank, text| Part { text, rank, is_before: false };
        let Count { items, bytes, .. } = self.count;
        let (items, bytes) = (counted(items), short(bytes));
        let verb = self.subject.verb;
        let mut parts = match (self.subject.is_in_items || self.is_in_items, self.reached) {
            (true, _) => vec![before(Rank::Count, format!("{verb} {items}"))],
            (_, Some(_)) => vec![before(Rank::Count, format!("{verb} {bytes}"))],
            (_, None) => vec![before(Rank::Count, format!("{verb} {items}, {bytes}"))],
        };
        parts.push(before(Rank::Rate, self.rate(self.subject.is_in_items || self.is_in_items)));
        match self.reached {
            None => parts.push(after(Rank::Reached, whole_seconds(self.elapsed))),
            Some(part) => {
                parts.push(after(Rank::Reached, format!("{:.0}%", (part * 100.0).floor())));
                let left = match self.left {
                    Some(left) => Some(whole_seconds(left) + " left"),
                    None => self.is_stalled().then(|| "stalled".into()),
                };
                parts.extend(left.map(|left| after(Rank::Left, left)));
            }
        }
        let extras = self.subject.extras.iter().zip(self.extras).enumerate();
        for (n, (extra, &number)) in extras.filter(|(_, (_, number))| **number > 0) {
            parts.push(after(Rank::Extra(n), format!("{} {}", HumanCount(number), extra.word)));
        }
        if let Some((percent, why)) = self.ring {
            parts.push(after(Rank::Ring, format!("ring {percent}%")));
            parts.extend(why.map(|why| after(Rank::Why, why.into())));
        }
        parts
    }

    /// Whether nothing goes on, if nothing has passed for a while.
    fn is_stalled(&self) -> bool {
        let mut extras = self.subject.extras.iter().zip(self.extras);
        extras.all(|(extra, number)| extra.kind.is_total() || *number == 0)
    }

    fn rate(&self, is_in_items: bool) -> String {
        match is_in_items {
            true => per_second(self.pace.items),
            false => format!("{}/s", short(self.pace.bytes as u64)),
        }
    }

    /// A line on a terminal with this number of columns.
    pub fn line(&self, columns: usize) -> Line {
        let mut parts = self.parts();
        let mut has_bar = self.reached.is_some();
        loop {
            let length = |parts: &[Part]| parts.iter().map(|part| part.text.chars().count()).sum::<usize>();
            // The bar has the place of one comma.
            let separators = 2 * (parts.len() - 1);
            let wanted = length(&parts) + if has_bar { separators - 2 + BAR } else { separators };
            if wanted <= columns {
                break;
            }
            let last = parts.iter().enumerate().max_by_key(|(_, part)| part.rank);
            match last.map(|(at, part)| (at, part.rank)) {
                Some((_, rank)) if has_bar && rank < Rank::Bar => has_bar = false,
                // Narrower than the shortest text: the terminal cuts it.
                Some((_, Rank::Count)) | None => break,
                Some((at, _)) => drop(parts.remove(at)),
            }
        }
        let (before, after): (Vec<Part>, Vec<Part>) = parts.into_iter().partition(|part| part.is_before);
        match has_bar {
            true => Line::WithBar(joined(&before), joined(&after)),
            false => {
                Line::Plain(joined(&before) + if after.is_empty() { "" } else { ", " } + &joined(&after))
            }
        }
    }

    /// A line of a log, which has all parts.
    pub fn all(&self) -> String {
        let (items, bytes) = (counted(self.count.items), short(self.count.bytes));
        let count = if self.subject.is_in_items { items } else { format!("{items}, {bytes}") };
        let rate = self.rate(self.subject.is_in_items);
        let rest: Vec<Part> = self.parts().into_iter().filter(|part| !part.is_before).collect();
        format!("{count}, {rate}, {}", joined(&rest))
    }

    /// The totals at the end.
    pub fn totals(&self) -> String {
        let Count { items, bytes, .. } = self.count;
        let seconds = self.elapsed.as_secs_f64();
        let rate = |amount: u64| amount as f64 / seconds.max(1e-9);
        let rate = match self.subject.is_in_items {
            true => per_second(rate(items)),
            false => format!("{}/s", BinaryBytes(rate(bytes) as u64)),
        };
        let mut text = format!("{}, {} in {seconds:.1} s, {rate}", counted(items), BinaryBytes(bytes));
        for (extra, &number) in self.subject.extras.iter().zip(self.extras) {
            if extra.kind.is_total() && number > 0 {
                text += &format!(", {} {}", HumanCount(number), extra.word);
            }
        }
        text
    }
}

fn joined(parts: &[Part]) -> String {
    parts.iter().map(|part| part.text.as_str()).collect::<Vec<_>>().join(", ")
}

fn counted(items: u64) -> String {
    format!("{} {}", HumanCount(items), if items == 1 { "item" } else { "items" })
}

/// `40/s`, `0.3/s`.
fn per_second(rate: f64) -> String {
    let tenths = (rate * 10.0).round();
    match rate {
        _ if tenths == 0.0 => "0/s".into(),
        10.0.. => format!("{}/s", HumanCount(rate as u64)),
        _ => format!("{:.1}/s", tenths / 10.0),
    }
}

/// `791 KiB`, `30.9 MiB`: a number that changes all the time needs no more digits.
fn short(bytes: u64) -> String {
    let text = BinaryBytes(bytes).to_string();
    let (number, unit) = text.split_once(' ').unwrap_or((&text, ""));
    let digits = &number[..number.len().min(4)];
    format!("{} {unit}", digits.trim_end_matches('.'))
}

fn whole_seconds(time: Duration) -> String {
    humantime::format_duration(Duration::from_secs(time.as_secs())).to_string()
}

#[cfg(test)]
mod tests {
    use super::super::{Extra, Kind};
    use super::*;

    const WORK: Subject = Subject {
        verb: "done",
        is_in_items: true,
        extras: &[
            Extra { word: "failed", kind: Kind::Settled },
            Extra { word: "running", kind: Kind::AtWork },
            Extra { word: "delayed", kind: Kind::Now },
            Extra { word: "retried", kind: Kind::Total },
        ],
    };

    const FACTS: Facts<'static> = Facts {
        subject: &WORK,
        count: Count { items: 120, bytes: 791 << 10, others: 1, acknowledged: 0 },
        extras: &[1, 4, 2, 3],
        pace: Pace { items: 40.0, bytes: 4_860_000.0, settled: 40.0, acknowledged: 0.0 },
        is_in_items: true,
        reached: Some(0.459),
        left: Some(Duration::from_secs(12)),
        elapsed: Duration::from_secs(3),
        ring: Some((98, Some("consumers slow"))),
    };

    fn line(facts: &Facts<'_>, columns: usize) -> String {
        match facts.line(columns) {
            Line::WithBar(before, after) => format!("{before} [=>] {after}"),
            Line::Plain(text) => text,
        }
    }

    #[test]
    fn a_narrow_terminal_shows_the_most_important_parts() {
        let texts = [
            (
                200,
                "done 120 items, 40/s [=>] 45%, 12s left, 1 failed, 4 running, 2 delayed, 3 retried, ring 98%, consumers slow",
            ),
            (
                110,
                "done 120 items, 40/s [=>] 45%, 12s left, 1 failed, 4 running, 2 delayed, 3 retried, ring 98%",
            ),
            (95, "done 120 items, 40/s [=>] 45%, 12s left, 1 failed, 4 running, 2 delayed, 3 retried"),
            (80, "done 120 items, 40/s, 45%, 12s left, 1 failed, 4 running, 2 delayed, 3 retried"),
            (75, "done 120 items, 45%, 12s left, 1 failed, 4 running, 2 delayed, 3 retried"),
            (60, "done 120 items, 45%, 12s left, 1 failed, 4 running"),
            (40, "done 120 items, 45%, 12s left, 1 failed"),
            (20, "done 120 items, 45%"),
            (5, "done 120 items"),
        ];
        for (columns, text) in texts {
            assert_eq!(line(&FACTS, columns), text, "{columns} columns");
        }
    }

    #[test]
    fn a_line_is_never_longer_than_the_terminal_is_wide() {
        for columns in "done 120 items".len()..200 {
            let length = match FACTS.line(columns) {
                Line::WithBar(before, after) => before.len() + BAR + after.len(),
                Line::Plain(text) => text.len(),
            };
            assert!(length <= columns, "{length} in {columns}");
        }
    }

    #[test]
    fn bytes_are_shown_where_they_are_what_is_known() {
        let subject = Subject::new("sent");
        let bytes = Facts { subject: &subject, is_in_items: false, ..FACTS };
        assert_eq!(
            line(&bytes, 200),
            "sent 791 KiB, 4.63 MiB/s [=>] 45%, 12s left, ring 98%, consumers slow"
        );
        assert_eq!(bytes.all(), "120 items, 791 KiB, 4.63 MiB/s, 45%, 12s left, ring 98%, consumers slow");
        assert_eq!(bytes.totals(), "120 items, 791.00 KiB in 3.0 s, 263.67 KiB/s");
        let unknown = Facts { reached: None, left: None, ring: Some((50, None)), ..bytes };
        assert_eq!(line(&unknown, 200), "sent 120 items, 791 KiB, 4.63 MiB/s, 3s, ring 50%");
        let stalled = Facts { left: None, ring: None, ..unknown };
        assert_eq!(
            line(&Facts { reached: Some(1.0), ..stalled }, 45),
            "sent 791 KiB, 4.63 MiB/s, 100%, stalled"
        );
    }

    #[test]
    fn work_that_goes_on_or_waits_for_its_time_is_not_stalled() {
        let text = |extras| Facts { extras, left: None, ring: None, ..FACTS }.all();
        assert_eq!(text(&[0, 4, 0, 0]), "120 items, 40/s, 45%, 4 running");
        assert_eq!(text(&[0, 0, 2, 3]), "120 items, 40/s, 45%, 2 delayed, 3 retried");
        assert_eq!(text(&[1, 0, 0, 3]), "120 items, 40/s, 45%, stalled, 1 failed, 3 retried");
    }

    #[test]
    fn counts_are_shown_unless_they_are_zero() {
        assert_eq!(
            FACTS.all(),
            "120 items, 40/s, 45%, 12s left, 1 failed, 4 running, 2 delayed, 3 retried, ring 98%, consumers slow"
        );
        assert_eq!(FACTS.totals(), "120 items, 791.00 KiB in 3.0 s, 40/s, 1 failed, 3 retried");
        let none = Facts { extras: &[0; 4], ring: None, ..FACTS };
        assert_eq!(none.all(), "120 items, 40/s, 45%, 12s left");
        assert_eq!(none.totals(), "120 items, 791.00 KiB in 3.0 s, 40/s");
    }

    #[test]
    fn slow_rates_have_a_digit_more() {
        let texts = [
            (0.0, "0/s"),
            (0.04, "0/s"),
            (0.31, "0.3/s"),
            (9.94, "9.9/s"),
            (12.7, "12/s"),
            (40_000.0, "40,000/s"),
        ];
        for (rate, text) in texts {
            assert_eq!(per_second(rate), text);
        }
    }

    #[test]
    fn changing_numbers_have_three_digits() {
        let bytes = [0, 1023, 31_660, 949_000, 4_860_000, 1_072_000];
        let texts = ["0 B", "1023 B", "30.9 KiB", "926 KiB", "4.63 MiB", "1.02 MiB"];
        assert_eq!(bytes.map(short), texts);
    }
}
