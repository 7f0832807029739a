//! What becomes of an item, by how its command ended.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use nix::sys::signal::Signal;

use crate::cli::common::args::ArgError;

/// What becomes of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is acknowledged.
    Done,
    /// It failed; it is tried again if it has attempts left.
    Retry,
    /// It failed for good.
    Dead,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// It exited with this code.
    Exited(i32),
    /// A signal ended it.
    Signalled(i32),
    /// It ran for longer than `--item-timeout` and was killed.
    TimedOut,
    /// It could not be started with this item: why.
    NotRun(String),
    /// A standing command gave this answer, in its own words; or what it wrote is not an answer.
    Told(Verdict, String),
    /// A standing command exited with this code before it answered.
    Left(i32),
    /// It was not started: earlier attempts have failed as often as they may.
    Exhausted,
}

impl Ending {
    /// Whether it was ended by a signal that processes get when the machine or a service is stopped.
    pub fn is_by_request(&self) -> bool {
        let signals = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGKILL];
        matches!(self, Ending::Signalled(number) if signals.iter().any(|signal| *signal as i32 == *number))
    }

    /// Exit code and signal for the job log; -1 stands for an end without an exit code.
    pub fn codes(&self) -> (i32, i32) {
        match *self {
            Ending::Exited(code) => (code, 0),
            Ending::Signalled(signal) => (0, signal),
            Ending::Told(Verdict::Done, _) => (0, 0),
            // Exit code 0 would mean that the item is done.
            Ending::Left(code) => (if code == 0 { -1 } else { code }, 0),
            Ending::TimedOut | Ending::NotRun(_) | Ending::Told(..) | Ending::Exhausted => (-1, 0),
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ending::Exited(code) => write!(f, "exit {code}"),
            Ending::Signalled(number) => match Signal::try_from(*number) {
                Ok(signal) => write!(f, "signal {number} ({})", signal.as_str().trim_start_matches("SIG")),
                Err(_) => write!(f, "signal {number}"),
            },
            Ending::TimedOut => f.write_str("time limit"),
            Ending::NotRun(why) | Ending::Told(_, why) => f.write_str(why),
            Ending::Left(code) => write!(f, "exit {code} without an answer"),
            Ending::Exhausted => f.write_str("no attempt left"),
        }
    }
}

/// The value of `--on-exit`: the verdict for exit codes, as in `3=dead,4-6=retry,7=ack,*=retry`.
///
/// A code that is given twice has the last verdict. `*` stands for all codes that are not given, except 0. Without it,
/// 0 is done, 65 (EX_DATAERR) dead, and all others are tried again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OnExit {
    codes: Vec<(RangeInclusive<u8>, Verdict)>,
    others: Option<Verdict>,
}

/// EX_DATAERR of sysexits.h: the input data was incorrect.
const DATA_ERROR: u8 = 65;

impl OnExit {
    /// The verdict for a command that ended like this. A signal or the time limit is always tried again; an item with
    /// which no command can be started is dead.
    pub fn verdict(&self, ending: &Ending) -> Verdict {
        match ending {
            // The system reports exit codes from 0 to 255 only.
            Ending::Exited(code) => u8::try_from(*code).map_or(Verdict::Retry, |code| self.of_code(code)),
            Ending::Signalled(_) | Ending::TimedOut | Ending::Left(_) => Verdict::Retry,
            Ending::NotRun(_) | Ending::Exhausted => Verdict::Dead,
            Ending::Told(verdict, _) => *verdict,
        }
    }

    fn of_code(&self, code: u8) -> Verdict {
        let given = self.codes.iter().rev().find(|(codes, _)| codes.contains(&code));
        match (given, self.others) {
            (Some((_, verdict)), _) => *verdict,
            (None, _) if code == 0 => Verdict::Done,
            (None, Some(verdict)) => verdict,
            (None, None) if code == DATA_ERROR => Verdict::Dead,
            (None, None) => Verdict::Retry,
        }
    }
}

impl FromStr for OnExit {
    type Err = ArgError;

    fn from_str(given: &str) -> Result<Self, ArgError> {
        let bad = |problem: String| {
            ArgError::new(
                problem,
                "CODES=ack, retry or dead with commas between, such as 3=dead,4-6=retry,*=dead",
            )
        };
        let mut on_exit = OnExit::default();
        for rule in given.split(',') {
            let (codes, verdict) = rule.split_once('=').ok_or_else(|| bad(format!("{rule:?} has no '='")))?;
            let verdict = match verdict {
                "ack" => Verdict::Done,
                "retry" => Verdict::Retry,
                "dead" => Verdict::Dead,
                _ => return Err(bad(format!("{verdict:?} is not a verdict"))),
            };
            if codes == "*" {
                on_exit.others = Some(verdict);
                continue;
            }
            let (first, last) = codes.split_once('-').unwrap_or((codes, codes));
            match (code(first), code(last)) {
                (Some(first), Some(last)) if first <= last => on_exit.codes.push((first..=last, verdict)),
                _ => {
                    return Err(bad(format!(
                        "{codes:?} is neither a code from 0 to 255 nor a range of them"
                    )));
                }
            }
        }
        Ok(on_exit)
    }
}

/// Digits only; `parse` alone would accept "+3".
fn code(given: &str) -> Option<u8> {
    given.bytes().all(|b| b.is_ascii_digit()).then(|| given.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::Verdict::{Dead, Done, Retry};
    use super::*;

    fn verdicts<const N: usize>(given: &str, codes: [i32; N]) -> [Verdict; N] {
        let on_exit: OnExit = given.parse().unwrap();
        codes.map(|code| on_exit.verdict(&Ending::Exited(code)))
    }

    #[test]
    fn without_the_option_zero_is_done_wrong_data_is_dead_and_all_else_is_tried_again() {
        let on_exit = OnExit::default();
        for code in 0..256 {
            let expected =
                [(0, Done), (65, Dead)].iter().find(|(c, _)| *c == code).map_or(Retry, |(_, v)| *v);
            assert_eq!(on_exit.verdict(&Ending::Exited(code)), expected, "{code}");
        }
    }

    #[test]
    fn codes_ranges_and_all_others_have_the_given_verdict() {
        assert_eq!(
            verdicts("3=dead,4-6=retry,7=ack", [2, 3, 4, 6, 7, 65]),
            [Retry, Dead, Retry, Retry, Done, Dead]
        );
        assert_eq!(verdicts("*=dead", [0, 1, 65, 255]), [Done, Dead, Dead, Dead]);
        assert_eq!(verdicts("*=retry", [0, 1, 65]), [Done, Retry, Retry]);
        assert_eq!(verdicts("*=ack,65=retry,0=dead", [0, 1, 65]), [Dead, Done, Retry]);
        assert_eq!(verdicts("0-255=dead,9=ack", [0, 9, 255]), [Dead, Done, Dead]);
    }

    #[test]
    fn signals_and_the_time_limit_are_tried_again_and_an_item_that_no_command_takes_is_dead() {
        for given in ["*=dead", "*=ack", "9=dead"] {
            let on_exit: OnExit = given.parse().unwrap();
            assert_eq!(on_exit.verdict(&Ending::Signalled(9)), Retry);
            assert_eq!(on_exit.verdict(&Ending::TimedOut), Retry);
            assert_eq!(on_exit.verdict(&Ending::NotRun("too long".into())), Dead);
            assert_eq!(on_exit.verdict(&Ending::Left(9)), Retry);
            for verdict in [Done, Retry, Dead] {
                assert_eq!(on_exit.verdict(&Ending::Told(verdict, String::new())), verdict);
            }
        }
    }

    #[test]
    fn other_forms_are_refused_with_the_expected_one() {
        for (bad, problem) in [
            ("", "\"\" has no '='"),
            ("3", "\"3\" has no '='"),
            ("3=dead,", "\"\" has no '='"),
            ("3=drop", "\"drop\" is not a verdict"),
            ("3= dead", "\" dead\" is not a verdict"),
            ("256=dead", "\"256\" is neither"),
            ("+3=dead", "\"+3\" is neither"),
            ("-3=dead", "\"-3\" is neither"),
            ("6-4=dead", "\"6-4\" is neither"),
            ("4-=dead", "\"4-\" is neither"),
            ("=dead", "\"\" is neither"),
        ] {
            let error = bad.parse::<OnExit>().unwrap_err().to_string();
            assert!(error.starts_with(problem) && error.contains("; expected CODES="), "{bad:?}: {error}");
        }
    }

    #[test]
    fn an_ending_is_told_in_a_few_words_and_as_codes() {
        for (ending, text, codes) in [
            (Ending::Exited(3), "exit 3", (3, 0)),
            (Ending::Signalled(9), "signal 9 (KILL)", (0, 9)),
            (Ending::Signalled(40), "signal 40", (0, 40)),
            (Ending::TimedOut, "time limit", (-1, 0)),
            (Ending::NotRun("argument list too long".into()), "argument list too long", (-1, 0)),
            (Ending::Told(Done, "ok".into()), "ok", (0, 0)),
            (Ending::Told(Dead, "no such page".into()), "no such page", (-1, 0)),
            (Ending::Left(3), "exit 3 without an answer", (3, 0)),
            (Ending::Left(0), "exit 0 without an answer", (-1, 0)),
        ] {
            assert_eq!((ending.to_string(), ending.codes()), (text.into(), codes));
        }
    }
}
