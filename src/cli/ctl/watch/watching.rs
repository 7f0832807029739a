//! The picture of a watched ring on a terminal.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::widgets::Widget;

use super::{Args, failed};
use crate::StopFlag;
use crate::cli::common::exit::Failure;
use crate::cli::common::signals;
use crate::cli::common::start::End;
use crate::cli::common::ui::Ui;
use crate::cli::ctl::picture::model::Model;
use crate::cli::ctl::picture::screen::{self, Outcome, Scene};
use crate::cli::ctl::picture::view::{Choices, Guide, Screen};

/// The keys of `ringctl watch`.
const GUIDE: Guide = Guide {
    keys: &[("q", "quit"), ("?", "help"), ("space", "pause"), ("↑ ↓", "scroll"), ("+ -", "pace")],
    help: "q, Ctrl-C: quit. Space: pause the picture, not the ring. + and -: look more or less often. Arrows, \
        Page Up and Down, Home, End: scroll the list of events, and this help, which any other key closes.",
};

/// A watched ring.
struct Watching<'a> {
    model: Model,
    args: &'a Args,
}

impl Scene for Watching<'_> {
    fn look_again(&mut self) -> Result<bool, Failure> {
        self.model.look_again().map_err(|error| failed(self.args, &error))
    }

    fn is_over(&self) -> bool {
        self.args.count.is_some_and(|most| self.model.looks >= most.0)
    }

    fn events(&self) -> (usize, u64) {
        (self.model.events.len(), self.model.told)
    }

    fn draw(&self, choices: Choices, area: Rect, buf: &mut Buffer) {
        Screen::new(&self.model, choices).render(area, buf);
    }
}

/// Draws the ring until the viewer quits, the ring is gone, or a signal comes.
pub fn watch(model: Model, args: &Args, ui: &Ui, stop: &StopFlag) -> Result<End, Failure> {
    let mut watching = Watching { model, args };
    let outcome = screen::show(&mut watching, &GUIDE, args.interval(), ui.paint(), stop)?;
    if outcome == Outcome::Gone
        && let Some(last) = watching.model.events.back()
    {
        ui.note(&format!("{:?}: {}", args.ring.as_str(), last.text));
    }
    Ok(if outcome == Outcome::Stopped { signals::end() } else { End::Done })
}
