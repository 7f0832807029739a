//! Plays the steps of a script on a scene, and records pictures of it.

use std::time::{Duration, Instant};

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::record::Recorder;
use super::script::{SPACING, Script, Step};
use crate::StopFlag;
use crate::cli::common::exit::{Failure, code};
use crate::cli::common::signals;
use crate::cli::common::ui::Ui;
use crate::cli::ctl::picture::screen::{Outcome, Scene};
use crate::cli::ctl::picture::text::text;
use crate::cli::ctl::picture::view::Choices;
use crate::cli::ctl::show;

/// How long the picture may take to show a text, unless the script sets another limit.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a script is played with.
pub struct Player<'p> {
    pub area: Rect,
    pub choices: Choices,
    pub recorder: Option<Recorder>,
    pub ui: &'p Ui,
    pub stop: &'p StopFlag,
}

impl Player<'_> {
    /// Plays all steps. A script that records no picture records the last one.
    ///
    /// # Errors
    /// The [`Failure`] of the scene, of the output, or of a text that the picture does not show in time.
    pub fn play(&mut self, script: &Script, scene: &mut impl Scene) -> Result<Outcome, Failure> {
        let mut patience = PATIENCE;
        for (number, step) in &script.steps {
            if self.stop.is_raised() {
                return Ok(Outcome::Stopped);
            }
            let ended = match step {
                Step::Quit => break,
                Step::Limit(limit) => {
                    patience = *limit;
                    None
                }
                Step::Wait(wanted) => {
                    self.wait(wanted, patience, scene).map_err(|failure| match failure {
                        None => late(script, *number, wanted, patience),
                        Some(failure) => failure,
                    })?
                }
                Step::Film(lasts) => self.film(*lasts, scene)?,
                step => {
                    self.act(step, scene)?;
                    None
                }
            };
            if let Some(outcome) = ended {
                return Ok(outcome);
            }
        }
        // A key may have failed.
        let goes_on = scene.look_again()?;
        if let Some(recorder) = self.recorder.as_mut().filter(|recorder| recorder.is_empty()) {
            recorder.add(&recorder.look(scene, self.choices), SPACING);
        }
        Ok(match self.stop.is_raised() {
            true => Outcome::Stopped,
            false if goes_on => Outcome::Quit,
            false => Outcome::Gone,
        })
    }

    /// A step that takes no time.
    fn act(&mut self, step: &Step, scene: &mut impl Scene) -> Result<(), Failure> {
        if let Step::Key(key) = step {
            scene.key(*key);
        }
        match (step, &mut self.recorder) {
            (Step::Print, _) => {
                let picture = text(&self.draw(scene), self.choices.theme.has_colours());
                self.ui.emit(picture.as_bytes())?;
            }
            (Step::Key(key), Some(recorder)) => recorder.key(*key),
            (Step::Caption(caption), Some(recorder)) => recorder.caption(caption),
            (Step::Frame(lasts), Some(recorder)) => recorder.add(&recorder.look(scene, self.choices), *lasts),
            _ => {}
        }
        Ok(())
    }

    fn draw(&self, scene: &impl Scene) -> Buffer {
        let mut buffer = Buffer::empty(self.area);
        scene.draw(self.choices, self.area, &mut buffer);
        buffer
    }

    /// Waits for the next observation. The outcome, if there will be none.
    fn pause(&self, scene: &mut impl Scene) -> Result<Option<Outcome>, Failure> {
        if !signals::sleep(self.choices.interval, self.stop) {
            return Ok(Some(Outcome::Stopped));
        }
        Ok((!scene.look_again()?).then_some(Outcome::Gone))
    }

    /// Waits until a row of the picture has a text.
    ///
    /// # Errors
    /// The [`Failure`] of the scene; `None` if the wait took too long.
    fn wait(
        &self,
        wanted: &str,
        patience: Duration,
        scene: &mut impl Scene,
    ) -> Result<Option<Outcome>, Option<Failure>> {
        let start = Instant::now();
        while !text(&self.draw(scene), false).lines().any(|row| row.contains(wanted)) {
            if start.elapsed() > patience {
                return Err(None);
            }
            let ended = self.pause(scene)?;
            if ended.is_some() {
                return Ok(ended);
            }
        }
        Ok(None)
    }

    /// Records what happens in this time; without a recorder, lets it happen.
    fn film(&mut self, lasts: Duration, scene: &mut impl Scene) -> Result<Option<Outcome>, Failure> {
        let start = Instant::now();
        let mut begin = Duration::ZERO;
        while begin < lasts {
            let picture = self.recorder.as_ref().map(|recorder| recorder.look(scene, self.choices));
            let until = lasts.min(begin + SPACING);
            while start.elapsed() < until {
                let ended = self.pause(scene)?;
                if ended.is_some() {
                    return Ok(ended);
                }
            }
            let end = start.elapsed().min(lasts);
            if let Some((recorder, picture)) = self.recorder.as_mut().zip(picture) {
                recorder.add(&picture, end - begin);
            }
            begin = end;
        }
        Ok(None)
    }
}

fn late(script: &Script, number: usize, wanted: &str, patience: Duration) -> Failure {
    let (name, patience) = (&script.name, show::given(patience));
    let line = format!("{name}, line {number}: in {patience}, no row of the picture had {wanted:?}");
    Failure::new(code::FULL, line).hint("print before that line shows the picture")
}
