//! Colours of text by its meaning.

/// The colours of compared things: blue, yellow, magenta, cyan.
const SERIES: [&str; 4] = ["34", "33", "35", "36"];

/// Colours text, or leaves it unchanged.
#[derive(Debug, Clone, Copy)]
pub struct Paint {
    on: bool,
}

/// The meaning of a piece of text, which determines its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tone {
    /// No colour.
    #[default]
    Plain,
    /// A heading.
    Heading,
    /// All is well.
    Good,
    /// Worth the reader's attention.
    Notable,
    /// A death or damage.
    Bad,
}

impl Paint {
    /// Colours text if `on`, and otherwise leaves it as it is.
    pub fn new(on: bool) -> Self {
        Paint { on }
    }

    /// Whether text is coloured.
    pub fn is_on(self) -> bool {
        self.on
    }

    /// The text in the colour of its tone.
    pub fn text(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Heading => "1",
            Tone::Good => "32",
            Tone::Notable => "33",
            Tone::Bad => "1;31",
            Tone::Plain => return text.into(),
        };
        self.coded(code, text)
    }

    /// The text in colour `number` of the series that distinguishes compared things.
    pub fn series(self, number: usize, text: &str) -> String {
        self.coded(SERIES[number % SERIES.len()], text)
    }

    fn coded(self, code: &str, text: &str) -> String {
        if self.on && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.into() }
    }
}
