//! A script plays keys without a terminal, and waits for what the picture shows.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

use ratatui::buffer::Buffer;
use ratatui::crossterm::event::KeyCode;
use ratatui::layout::Rect;

use crate::StopFlag;
use crate::cli::common::args::{ArgError, DurationArg};
use crate::cli::common::exit::{Failure, code};
use crate::cli::common::signals;
use crate::cli::common::ui::Ui;
use crate::cli::ctl::picture::screen::{Outcome, Scene};
use crate::cli::ctl::picture::text::text;
use crate::cli::ctl::picture::view::Choices;
use crate::cli::ctl::show;

/// The largest script, in bytes.
const LARGEST: u64 = 1 << 20;
/// How long the picture may take to show a text, unless the script sets another limit.
const PATIENCE: Duration = Duration::from_secs(30);
/// The smallest and the largest number of columns or rows.
const SIZES: (u16, u16) = (1, 1000);
/// What a line may have.
const FORM: &str = "wait TEXT, limit DURATION, key NAME, print, quit, or a comment after #";

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

/// One line of a script.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Until the picture has this text in a row.
    Wait(String),
    /// Later waits take this long at most.
    Limit(Duration),
    Key(KeyCode),
    /// Prints the picture.
    Print,
    Quit,
}

/// A script, with the numbers of the lines.
#[derive(Debug)]
pub struct Script {
    name: String,
    steps: Vec<(usize, Step)>,
}

impl Script {
    /// Reads a script.
    ///
    /// # Errors
    /// The [`Failure`] of a file that cannot be read, or of the first line that is not a step.
    pub fn read(file: &Path) -> Result<Self, Failure> {
        let name = format!("script {file:?}");
        let mut text = String::new();
        let read = File::open(file).and_then(|file| file.take(LARGEST + 1).read_to_string(&mut text));
        if read.map_err(|error| Failure::io(&name, &error))? as u64 > LARGEST {
            return Err(Failure::new(
                code::USAGE,
                format!("{name} is too long; expected {LARGEST} bytes or less"),
            ));
        }
        let mut steps = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let step = step(line.trim()).map_err(|wrong| {
                Failure::new(code::USAGE, format!("{name}, line {number}: {wrong}"))
                    .hint("ringctl demo --help has an example")
            })?;
            steps.extend(step.map(|step| (number, step)));
        }
        Ok(Script { name, steps })
    }

    /// Plays all steps.
    ///
    /// # Errors
    /// The [`Failure`] of the scene, of the output, or of a text that the picture does not show in time.
    pub fn play(
        &self,
        scene: &mut impl Scene,
        SizeArg { columns, rows }: SizeArg,
        choices: Choices,
        ui: &Ui,
        stop: &StopFlag,
    ) -> Result<Outcome, Failure> {
        let area = Rect::new(0, 0, columns, rows);
        let draw = |scene: &dyn Scene| {
            let mut buffer = Buffer::empty(area);
            scene.draw(choices, area, &mut buffer);
            buffer
        };
        let mut patience = PATIENCE;
        for (number, step) in &self.steps {
            if stop.is_raised() {
                return Ok(Outcome::Stopped);
            }
            match step {
                Step::Limit(limit) => patience = *limit,
                Step::Key(key) => _ = scene.key(*key),
                Step::Print => ui.emit(text(&draw(scene), choices.theme.has_colours()).as_bytes())?,
                Step::Quit => break,
                Step::Wait(wanted) => {
                    let start = Instant::now();
                    while !text(&draw(scene), false).lines().any(|row| row.contains(wanted)) {
                        if start.elapsed() > patience {
                            return Err(self.late(*number, wanted, patience));
                        }
                        if !signals::sleep(choices.interval, stop) {
                            return Ok(Outcome::Stopped);
                        }
                        if !scene.look_again()? {
                            return Ok(Outcome::Gone);
                        }
                    }
                }
            }
        }
        // A key may have failed.
        let goes_on = scene.look_again()?;
        Ok(match stop.is_raised() {
            true => Outcome::Stopped,
            false if goes_on => Outcome::Quit,
            false => Outcome::Gone,
        })
    }

    fn late(&self, number: usize, wanted: &str, patience: Duration) -> Failure {
        let (name, patience) = (&self.name, show::given(patience));
        let line = format!("{name}, line {number}: in {patience}, no row of the picture had {wanted:?}");
        Failure::new(code::FULL, line).hint("print before that line shows the picture")
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
        ("limit", time) => {
            Step::Limit(time.parse::<DurationArg>().map_err(|error| format!("{time:?}: {error}"))?.0)
        }
        ("key", name) => Step::Key(key(name)?),
        ("print", "") => Step::Print,
        ("quit", "") => Step::Quit,
        _ => return Err(format!("{line:?}; expected {FORM}")),
    }))
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
            ("quit", Some(Step::Quit)),
        ] {
            assert_eq!(step(line), Ok(expected), "{line}");
        }
        for line in
            ["wait", "limit", "limit -1", "key", "key kk", "key K", "print 3", "quit now", "waits a", "k"]
        {
            assert!(step(line).unwrap_err().contains("expected"), "{line}");
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
