//! Records the pictures that a script asks for, as one SVG file.

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::crossterm::event::KeyCode;
use ratatui::layout::Rect;

use crate::cli::common::exit::Failure;
use crate::cli::ctl::picture::screen::Scene;
use crate::cli::ctl::picture::svg::{Banner, Film};
use crate::cli::ctl::picture::view::Choices;
use crate::cli::ctl::picture::view::theme::Theme;
use crate::cli::ctl::svg_file::SvgFile;

/// The pictures so far.
#[derive(Debug)]
pub struct Recorder {
    file: SvgFile,
    area: Rect,
    film: Film,
    /// What is said above the next picture.
    banner: Banner,
    /// All captions.
    captions: Vec<String>,
}

impl Recorder {
    /// Begins a recording.
    ///
    /// # Errors
    /// The [`Failure`] of a file that cannot be written.
    pub fn new(file: &SvgFile, area: Rect) -> Result<Self, Failure> {
        file.check()?;
        let banner = Banner { keys: Vec::new(), caption: "ringctl demo".into() };
        Ok(Recorder { file: file.clone(), area, film: Film::new(area), banner, captions: Vec::new() })
    }

    /// A key was pressed: the next picture says so.
    pub fn key(&mut self, key: KeyCode) {
        self.banner.keys.push(key.to_string().to_lowercase());
    }

    /// The next pictures have this caption.
    pub fn caption(&mut self, caption: &str) {
        self.banner.caption = caption.into();
        if !caption.is_empty() {
            self.captions.push(caption.into());
        }
    }

    /// What the scene shows now.
    pub fn look(&self, scene: &impl Scene, choices: Choices) -> Buffer {
        let mut buffer = Buffer::empty(self.area);
        scene.draw(Choices { theme: Theme::new(true), ..choices }, self.area, &mut buffer);
        buffer
    }

    /// Adds a picture.
    pub fn add(&mut self, picture: &Buffer, lasts: Duration) {
        self.film.add(picture, &self.banner, lasts);
        self.banner.keys.clear();
    }

    pub fn is_empty(&self) -> bool {
        self.film.is_empty()
    }

    /// Writes the file.
    ///
    /// # Errors
    /// The [`Failure`] that says why not.
    pub fn write(&self) -> Result<(), Failure> {
        self.file.write(&self.film.document("ringctl demo", &self.captions.join(". ")))
    }
}
