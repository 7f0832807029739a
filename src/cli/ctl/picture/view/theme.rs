//! Words, letters and colours of the states of a slot, the same everywhere.

use ratatui::style::{Color, Modifier, Style};

use crate::SlotState;
use crate::cli::ctl::picture::steps::Mood;

/// With colours, or without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Theme {
    colours: bool,
}

impl Theme {
    pub fn new(colours: bool) -> Self {
        Theme { colours }
    }

    pub fn has_colours(self) -> bool {
        self.colours
    }

    fn fg(self, colour: Color) -> Style {
        if self.colours { Style::new().fg(colour) } else { Style::new() }
    }

    pub fn state(self, state: SlotState) -> Style {
        match state {
            SlotState::Free => self.dim(),
            SlotState::Writing => self.fg(Color::Yellow),
            SlotState::Ready => self.fg(Color::Green),
            SlotState::Reading => self.fg(Color::Cyan),
            SlotState::Redeliver => self.fg(Color::Magenta),
            SlotState::Late => self.fg(Color::LightRed),
            SlotState::Abandoned | SlotState::Damaged => self.fg(Color::Red),
        }
    }

    /// The border of a slot; dim for free slots.
    pub fn border(self, state: SlotState) -> Style {
        self.state(state)
    }

    pub fn mood(self, mood: Mood) -> Style {
        match mood {
            Mood::Note => Style::new(),
            Mood::Write => self.state(SlotState::Writing),
            Mood::Ready => self.state(SlotState::Ready),
            Mood::Take => self.state(SlotState::Reading),
            Mood::Done => self.dim(),
            Mood::Alarm => self.state(SlotState::Redeliver),
        }
    }

    /// The style of secondary text.
    pub fn dim(self) -> Style {
        if self.colours { Style::new().fg(Color::DarkGray) } else { Style::new().add_modifier(Modifier::DIM) }
    }

    /// The marks of head and tail.
    pub fn mark(self) -> Style {
        // A different colour than the border that contains them.
        Style::new().fg(Color::Reset).add_modifier(Modifier::BOLD)
    }

    pub fn heading(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    pub fn good(self) -> Style {
        self.fg(Color::Green)
    }

    pub fn bad(self) -> Style {
        self.fg(Color::Red).add_modifier(Modifier::BOLD)
    }

    pub fn notable(self) -> Style {
        self.fg(Color::Yellow)
    }
}

/// A letter for a state.
pub fn letter(state: SlotState) -> &'static str {
    match state {
        SlotState::Free => "·",
        SlotState::Writing => "W",
        SlotState::Ready => "R",
        SlotState::Reading => "T",
        SlotState::Redeliver => "D",
        SlotState::Late => "L",
        SlotState::Abandoned => "X",
        SlotState::Damaged => "?",
    }
}

/// A word for a state.
pub fn word(state: SlotState) -> &'static str {
    match state {
        SlotState::Free => "FREE",
        SlotState::Writing => "WRITING",
        SlotState::Ready => "READY",
        SlotState::Reading => "READING",
        SlotState::Redeliver => "REDELIVER",
        SlotState::Late => "LATE",
        SlotState::Abandoned => "ABANDONED",
        SlotState::Damaged => "DAMAGED",
    }
}
