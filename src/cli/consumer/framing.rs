//! Notes once that items are not written as they were sent.

use super::Options;
use crate::cli::common::report::Reporter;
use crate::cli::transport::Observe;
use crate::framing::Framing;

/// The notes that are still to be made.
#[derive(Debug)]
pub(super) struct Notes {
    framing: Framing,
    /// Whether the producers' framing was checked.
    has_looked: bool,
    has_told_ambiguity: bool,
}

impl Notes {
    /// With JSON no note is needed: it shows each item as it was sent.
    pub fn new(options: &Options) -> Self {
        let framing = options.framing.framing();
        Notes { framing, has_looked: options.json, has_told_ambiguity: options.json }
    }

    /// Notes that the producers of the first items use another framing.
    pub fn tell_difference(&mut self, ring: &impl Observe, report: &Reporter) {
        if std::mem::replace(&mut self.has_looked, true) {
            return;
        }
        let (told, framing) = (ring.framing(), self.framing);
        if !told.fits(framing) {
            let name = ring.name();
            report
                .note(format!("ring {name:?}: its producers' framing is {told}, and the output's {framing}"));
        }
    }

    /// Notes that an item contains the byte that separates items.
    pub fn tell_ambiguity(&mut self, ring: &impl Observe, is_ambiguous: bool, report: &Reporter) {
        if !is_ambiguous || std::mem::replace(&mut self.has_told_ambiguity, true) {
            return;
        }
        let (name, byte) = (ring.name(), self.framing.separator().unwrap_or_default().escape_ascii());
        let line = format!("ring {name:?}: an item holds '{byte}', which ends each item in the output");
        report.note(format!("{line}; --frame len32 and --json keep them apart"));
    }
}
