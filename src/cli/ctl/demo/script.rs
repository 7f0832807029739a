//! A script: the keys to play without a terminal, what to wait for, and which pictures to record.

use std::fs::File;
use std::io::Read;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use ratatui::crossterm::event::KeyCode;
use ratatui::layout::Rect;

use crate::cli::common::args::{ArgError, DurationArg};
use crate::cli::common::exit::{Failure, code};

/// The largest script, in bytes.
const LARGEST: u64 = 1 << 20;
/// The smallest and the largest number of columns or rows.
const SIZES: (u16, u16) = (1, 1000);
/// How long a picture of a recording may last.
const LASTS: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(60);
/// The time between two pictures of a film.
pub const SPACING: Duration = Duration::from_millis(200);
/// The largest number of pictures of a recording.
const MOST: usize = 1000;
/// What a line may have.
const FORM: &str = "wait TEXT, limit DURATION, key NAME, print, caption TEXT, frame DURATION, film DURATION, quit, or a comment after #";

/// The size of a picture: `80x24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SizeArg {
    columns: u16,
    rows: u16,
}

impl std::str::FromStr for SizeArg {
    type Err = ArgError;

    fn from_str(given: &str) -> Result<Self, ArgError> {
        let number = |digits: &str| {
            let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit());
            let number = digits.parse().ok().filter(|_| is_plain);
            number.filter(|number| (SIZES.0..=SIZES.1).contains(number))
        };
        let size = given.split_once('x').and_then(|(columns, rows)| Some((number(columns)?, number(rows)?)));
        let (columns, rows) = size.ok_or_else(|| {
            ArgError::new("this is not a size", "columns and rows such as 80x24, from 1x1 to 1000x1000")
        })?;
        Ok(SizeArg { columns, rows })
    }
}

impl SizeArg {
    pub fn area(self) -> Rect {
        Rect::new(0, 0, self.columns, self.rows)
    }
}

/// One line of a script.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Until the picture has this text in a row.
    Wait(String),
    /// Later waits take this long at most.
    Limit(Duration),
    Key(KeyCode),
    /// Prints the picture.
    Print,
    /// Later pictures of the recording have this caption.
    Caption(String),
    /// Records the picture, which lasts for this time.
    Frame(Duration),
    /// Records the pictures of the next time, as they change.
    Film(Duration),
    Quit,
}

impl Step {
    /// The largest number of pictures that it can record.
    fn frames(&self) -> usize {
        match self {
            Step::Frame(_) => 1,
            Step::Film(lasts) => lasts.as_millis().div_ceil(SPACING.as_millis()) as usize,
            _ => 0,
        }
    }
}

/// A script, with the numbers of the lines.
#[derive(Debug)]
pub struct Script {
    pub name: String,
    pub steps: Vec<(usize, Step)>,
}

impl Script {
    /// Reads a script.
    ///
    /// # Errors
    /// The [`Failure`] of a file that cannot be read, or of the first line that is not a step.
    pub fn read(file: &Path) -> Result<Self, Failure> {
        let name = format!("script {file:?}");
        let mut bytes = Vec::new();
        let read = File::open(file).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes));
        if read.map_err(|error| Failure::io(&name, &error))? as u64 > LARGEST {
            return Err(Failure::new(
                code::USAGE,
                format!("{name} is too long; expected {LARGEST} bytes or less"),
            ));
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
            Failure::new(code::USAGE, format!("{name}, line {line}: this is not text; expected UTF-8"))
        })?;
        let mut steps: Vec<(usize, Step)> = Vec::new();
        let mut frames = 0;
        for (number, line) in (1..).zip(text.lines()) {
            let wrong = |wrong: String| {
                Failure::new(code::USAGE, format!("{name}, line {number}: {wrong}"))
                    .hint("ringctl demo --help has an example")
            };
            let Some(step) = step(line.trim()).map_err(wrong)? else { continue };
            frames += step.frames();
            if frames > MOST {
                let lines = format!("more than {MOST} pictures; expected frames and films of fewer");
                return Err(wrong(format!(
                    "{lines} (a second of a film has {})",
                    1000 / SPACING.as_millis()
                )));
            }
            steps.push((number, step));
        }
        Ok(Script { name, steps })
    }
}

/// The step of a line; `None` for a comment or an empty line.
fn step(line: &str) -> Result<Option<Step>, String> {
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim();
    Ok(Some(match (word, rest) {
        ("", _) => return Ok(None),
        _ if line.starts_with('#') => return Ok(None),
        ("wait", "") => return Err("wait without a text; expected wait TEXT".into()),
        ("wait", text) => {
            // Quotes keep spaces.
            let quoted = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
            Step::Wait(quoted.unwrap_or(text).into())
        }
        ("limit", time) => Step::Limit(duration(time)?),
        // Without a text: no caption.
        ("caption", text) => Step::Caption(text.into()),
        ("frame", time) => Step::Frame(lasting(time)?),
        ("film", time) => Step::Film(lasting(time)?),
        ("key", name) => Step::Key(key(name)?),
        ("print", "") => Step::Print,
        ("quit", "") => Step::Quit,
        _ => return Err(format!("{line:?}; expected {FORM}")),
    }))
}

fn duration(time: &str) -> Result<Duration, String> {
    Ok(time.parse::<DurationArg>().map_err(|error| format!("{time:?}: {error}"))?.0)
}

/// How long a picture lasts.
fn lasting(time: &str) -> Result<Duration, String> {
    let lasts = duration(time)?;
    match LASTS.contains(&lasts) {
        true => Ok(lasts),
        false => Err(format!("{time:?}; expected a duration from 10ms to 60s")),
    }
}

fn key(name: &str) -> Result<KeyCode, String> {
    Ok(match name {
        "k" | "s" | "c" | "r" | "t" | "1" | "2" | "3" | "4" => {
            KeyCode::Char(name.chars().next().unwrap_or_default())
        }
        "tab" => KeyCode::Tab,
        "left" => KeyCode::Left,
        "right" => KeyCode::Right,
        _ => return Err(format!("key {name:?}; expected k, s, c, r, t, 1 to 4, tab, left or right")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_has_one_form() {
        for (line, expected) in [
            ("", None),
            ("# wait for nothing", None),
            ("wait  two words", Some(Step::Wait("two words".into()))),
            ("wait \" to \"", Some(Step::Wait(" to ".into()))),
            ("wait \"", Some(Step::Wait("\"".into()))),
            ("limit 2m", Some(Step::Limit(Duration::from_secs(120)))),
            ("key k", Some(Step::Key(KeyCode::Char('k')))),
            ("key tab", Some(Step::Key(KeyCode::Tab))),
            ("print", Some(Step::Print)),
            ("caption a worker", Some(Step::Caption("a worker".into()))),
            ("caption", Some(Step::Caption(String::new()))),
            ("frame 1.5s", Some(Step::Frame(Duration::from_millis(1500)))),
            ("film 2", Some(Step::Film(Duration::from_secs(2)))),
            ("quit", Some(Step::Quit)),
        ] {
            assert_eq!(step(line), Ok(expected), "{line}");
        }
        for line in
            ["wait", "limit", "limit -1", "key", "key kk", "key K", "print 3", "quit now", "waits a", "k"]
                .into_iter()
                .chain(["frame", "frame 0", "frame 61s", "film", "film 9ms", "film 2h", "frames 1s"])
        {
            assert!(step(line).unwrap_err().contains("expected"), "{line}");
        }
    }

    #[test]
    fn a_script_is_text_and_not_too_long() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let read = |bytes: &[u8]| {
            std::fs::write(file.path(), bytes).unwrap();
            Script::read(file.path()).map(|script| script.steps.len())
        };
        let largest = LARGEST as usize;
        let comment = |bytes: usize| format!("# {}", "é".repeat(bytes / 2 - 1)).into_bytes();
        assert_eq!(read("quit\n# é".as_bytes()).unwrap(), 1);
        assert_eq!(read(&comment(largest)).unwrap(), 0);
        // The last byte that is read is the first of a character.
        for (bytes, why) in [
            (&b"quit\n# \xff"[..], "line 2: this is not text; expected UTF-8"),
            (&comment(largest + 2), "is too long; expected 1048576 bytes or less"),
            (&comment(2 * largest), "is too long; expected 1048576 bytes or less"),
            (&[0xff; (LARGEST + 1) as usize], "is too long; expected 1048576 bytes or less"),
        ] {
            let failure = read(bytes).unwrap_err();
            assert!(failure.line.contains(why) && failure.code == code::USAGE, "{failure:?}");
        }
    }

    #[test]
    fn a_size_has_columns_and_rows() {
        assert_eq!("80x24".parse(), Ok(SizeArg { columns: 80, rows: 24 }));
        for wrong in
            ["", "80", "x", "80x", "0x24", "80x0", "1001x24", "+80x24", "80x24x1", "80X24", "80 x 24"]
        {
            assert!(wrong.parse::<SizeArg>().is_err(), "{wrong}");
        }
    }
}
