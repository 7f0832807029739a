//! Ends a worker early, by how many of its jobs ended or failed.

use std::str::FromStr;

use crate::cli::common::args::ArgError;

/// What happens to the commands that run when a worker ends early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// They run to their end; no other command starts.
    Soon,
    /// They are killed, and their items given back.
    Now,
}

/// The value of `--halt`, with the jobs counted so far: `never`, or `soon` or `now` with `fail=N`, `fail=N%` or
/// `done=N`. The forms, and the least number of jobs for a percentage, are those of GNU parallel's option `--halt`
/// (its manual page).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Halt {
    rule: Option<(When, Why)>,
    done: u64,
    failed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    Failed(u64),
    FailedPercent(u64),
    Done(u64),
}

/// The number of jobs before which a percentage of them means little.
const LEAST_FOR_PERCENT: u64 = 3;

impl Halt {
    /// Counts a job that has ended; `failed` if its command did not succeed. Says how the worker should end, if the
    /// bound is reached; also for each job that ends after that.
    pub fn note(&mut self, failed: bool) -> Option<When> {
        self.done += 1;
        self.failed += u64::from(failed);
        let (when, why) = self.rule?;
        let is_reached = match why {
            Why::Failed(most) => self.failed >= most,
            Why::FailedPercent(most) => {
                let share = u128::from(self.failed) * 100 >= u128::from(self.done) * u128::from(most);
                self.done >= LEAST_FOR_PERCENT && self.failed > 0 && share
            }
            Why::Done(most) => self.done >= most,
        };
        is_reached.then_some(when)
    }
}

impl FromStr for Halt {
    type Err = ArgError;

    fn from_str(given: &str) -> Result<Self, ArgError> {
        let bad = |problem: String| {
            ArgError::new(
                problem,
                "never, or soon or now with fail=N, fail=N% or done=N, such as soon,fail=1",
            )
        };
        if given == "never" {
            return Ok(Halt::default());
        }
        let (when, why) = given.split_once(',').ok_or_else(|| bad(format!("{given:?} has no ','")))?;
        let when = match when {
            "soon" => When::Soon,
            "now" => When::Now,
            _ => return Err(bad(format!("{when:?} is neither soon nor now"))),
        };
        let (what, bound) = why.split_once('=').ok_or_else(|| bad(format!("{why:?} has no '='")))?;
        let (digits, is_percent) = bound.strip_suffix('%').map_or((bound, false), |digits| (digits, true));
        let is_number = digits.bytes().all(|b| b.is_ascii_digit());
        let number = digits.parse().ok().filter(|number| is_number && *number > 0);
        let number = number.ok_or_else(|| bad(format!("{bound:?} is not a number above 0")))?;
        let why = match (what, is_percent) {
            ("fail", false) => Why::Failed(number),
            ("fail", true) if number <= 100 => Why::FailedPercent(number),
            ("fail", true) => return Err(bad(format!("{bound:?} is above 100%"))),
            ("done", false) => Why::Done(number),
            ("done", true) => return Err(bad("done takes no percentage".into())),
            _ => return Err(bad(format!("{what:?} is neither fail nor done"))),
        };
        Ok(Halt { rule: Some((when, why)), ..Halt::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said after each job; `x` is one that failed.
    fn answers(given: &str, jobs: &str) -> Vec<Option<When>> {
        let mut halt: Halt = given.parse().unwrap();
        jobs.chars().map(|job| halt.note(job == 'x')).collect()
    }

    #[test]
    fn a_worker_ends_when_the_bound_is_reached_and_says_so_from_then_on() {
        let (soon, now) = (Some(When::Soon), Some(When::Now));
        assert_eq!(answers("never", "xxx"), [None; 3]);
        assert_eq!(answers("soon,fail=1", ".x."), [None, soon, soon]);
        assert_eq!(answers("now,fail=2", "x.xx"), [None, None, now, now]);
        assert_eq!(answers("soon,done=2", "x.x"), [None, soon, soon]);
        assert_eq!(answers("now,done=1", "."), [now]);
    }

    #[test]
    fn a_percentage_counts_from_three_jobs_on() {
        let now = Some(When::Now);
        assert_eq!(answers("now,fail=50%", "xx.."), [None, None, now, now]);
        assert_eq!(answers("now,fail=50%", "xx..."), [None, None, now, now, None]);
        assert_eq!(answers("now,fail=50%", "..xx"), [None, None, None, now]);
        assert_eq!(answers("now,fail=100%", "xxx"), [None, None, now]);
        assert_eq!(answers("now,fail=1%", "...."), [None; 4]);
    }

    #[test]
    fn other_forms_are_refused_with_the_expected_one() {
        for (bad, problem) in [
            ("", "\"\" has no ','"),
            ("soon", "\"soon\" has no ','"),
            ("later,fail=1", "\"later\" is neither soon nor now"),
            ("soon,fail", "\"fail\" has no '='"),
            ("soon,fail=0", "\"0\" is not a number above 0"),
            ("soon,fail=+1", "\"+1\" is not a number above 0"),
            ("soon,fail=", "\"\" is not a number above 0"),
            ("soon,fail=%", "\"%\" is not a number above 0"),
            ("soon,fail=101%", "\"101%\" is above 100%"),
            ("soon,done=10%", "done takes no percentage"),
            ("soon,success=1", "\"success\" is neither fail nor done"),
        ] {
            let error = bad.parse::<Halt>().unwrap_err().to_string();
            assert!(error.starts_with(problem) && error.contains("; expected never"), "{bad:?}: {error}");
        }
    }
}
