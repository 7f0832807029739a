//! The Test Anything Protocol, version 13: a test point for each run, the plan at the end.

use super::describe::{self, Description};
use super::{End, Form, Out};
use crate::cli::common::escape;
use crate::cli::common::exit::Failure;
use crate::cli::ctl::test::run::outcome::Verdict;
use crate::cli::ctl::test::series::{Event, Settings, What};

/// The report.
pub struct Tap<'s> {
    out: Out,
    settings: &'s Settings,
    /// How many test points were written.
    points: u64,
    has_begun: bool,
}

impl<'s> Tap<'s> {
    /// Writes to `out`.
    pub fn new(out: Out, settings: &'s Settings) -> Self {
        Tap { out, settings, points: 0, has_begun: false }
    }

    fn write(&mut self, text: &str) -> Result<(), Failure> {
        let version = if self.has_begun { "" } else { "TAP version 13\n" };
        self.has_begun = true;
        self.out.write(&format!("{version}{text}"))
    }

    fn point(&mut self, is_ok: bool, name: &str, directive: &str, yaml: &Yaml) -> Result<(), Failure> {
        self.points += 1;
        let ok = if is_ok { "ok" } else { "not ok" };
        let text = format!("{ok} {} - {}{directive}\n{}", self.points, escaped(name), yaml.block());
        self.write(&text)
    }
}

impl Form for Tap<'_> {
    fn take(&mut self, event: &Event<'_>) -> Result<(), Failure> {
        let name = describe::name(event.scenario, event.round);
        let mut yaml = Yaml::default();
        match event.what {
            What::Begun | What::Ended => Ok(()),
            What::Skipped(why) => {
                let directive = format!(" # SKIP {}", escaped(&escape::text(why)));
                self.point(true, &name, &directive, &yaml)
            }
            What::Broken(failure) => {
                yaml.text("severity", "broken");
                yaml.text("message", &failure.line);
                if let Some(hint) = &failure.hint {
                    yaml.text("hint", hint);
                }
                self.point(false, &name, "", &yaml)
            }
            What::Interrupted => {
                yaml.text("severity", "interrupted");
                self.point(false, &name, "", &yaml)
            }
            What::Run(outcome, least) => {
                let name = describe::run_name(event.scenario, outcome, event.round);
                let is_ok = outcome.verdict() == Verdict::Passed;
                yaml.number("duration_ms", outcome.duration.as_millis());
                if !is_ok {
                    let description = Description::new(event.scenario, outcome, least, self.settings);
                    yaml.text("severity", outcome.verdict().word());
                    yaml.text("message", description.reason());
                    yaml.lines("complaints", &description.complaints);
                    yaml.lines("inconclusive", &description.gaps);
                    yaml.lines("struck", &description.struck);
                    for (word, fact) in description.facts() {
                        yaml.text(word, fact);
                    }
                    let output = |(name, lines): &(String, Vec<String>)| -> Vec<String> {
                        lines.iter().map(|line| format!("{name}: {line}")).collect()
                    };
                    yaml.lines(
                        "last_output",
                        &description.outputs.iter().flat_map(output).collect::<Vec<_>>(),
                    );
                }
                self.point(is_ok, &name, "", &yaml)
            }
        }
    }

    fn end(&mut self, end: &End) -> Result<(), Failure> {
        let stopped = if end.is_interrupted { "Bail out! interrupted\n" } else { "" };
        self.write(&format!("{stopped}1..{}\n", self.points))
    }
}

/// A name or a reason, which a number sign would end.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('#', "\\#")
}

/// The lines of a YAML block. Texts are in the form of JSON, which is YAML, too.
#[derive(Debug, Default)]
struct Yaml(String);

impl Yaml {
    fn number(&mut self, key: &str, number: u128) {
        self.0 += &format!("  {key}: {number}\n");
    }

    fn text(&mut self, key: &str, text: &str) {
        self.0 += &format!("  {key}: {}\n", quoted(text));
    }

    /// A block of lines. (The reader of Perl's `prove` takes quoted texts in a list for keys if they have a colon.)
    fn lines(&mut self, key: &str, lines: &[String]) {
        if !lines.is_empty() {
            let lines = lines.join("\n    ");
            // Blanks before the first line would count as those of all lines.
            self.0 += &format!("  {key}: |\n    {}\n", lines.trim_start());
        }
    }

    fn block(&self) -> String {
        if self.0.is_empty() { String::new() } else { format!("  ---\n{}  ...\n", self.0) }
    }
}

fn quoted(text: &str) -> String {
    escape::json(serde_json::Value::from(text).to_string())
}
