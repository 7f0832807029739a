//! Formats items for the output.

use super::Options;
use crate::ItemKey;
use crate::cli::common::seen::Seen;
use crate::cli::consumer::envelope;
use crate::cli::transport::{Batch, Item};
use crate::framing::{Framing, FramingError};

/// Bytes that are framed before a write, unless an item is longer.
const BLOCK: usize = 256 * 1024;
/// Items of at least this many bytes are written straight from the slots, if they need no framing bytes.
const LEAST_DIRECT: usize = 4096;

/// Formats items for the output.
pub(super) struct Framer {
    framing: Framing,
    json: bool,
    /// A run of framed items.
    pub bytes: Vec<u8>,
    /// Where each item ends.
    pub ends: Vec<usize>,
    /// A buffer for one item, for JSON.
    item: Vec<u8>,
    /// Whether any item contained the separator byte.
    pub is_ambiguous: bool,
    /// The items that were framed (`--dedup`).
    seen: Option<Seen>,
    /// Which of the items in `ends` were framed before: they have no bytes now.
    pub duplicates: Vec<usize>,
}

impl Framer {
    pub fn new(options: &Options) -> Self {
        let framing = options.framing.framing();
        let (bytes, ends, item) = (Vec::new(), Vec::new(), Vec::new());
        let seen = options.dedup.then(Seen::default);
        let (json, is_ambiguous, duplicates) = (options.json, false, Vec::new());
        Framer { framing, json, bytes, ends, item, is_ambiguous, seen, duplicates }
    }

    /// Whether an item was written before; from now on, it was.
    pub fn is_duplicate(&mut self, key: ItemKey) -> bool {
        self.seen.as_mut().is_some_and(|seen| !seen.insert(key))
    }

    /// Item `index` of a batch, if it must be written straight from the slots: it is long, and needs no framing
    /// bytes.
    pub fn bare_item<'b, B: Batch>(&self, batch: &'b B, index: usize) -> Option<B::Item<'b>> {
        let bare = <B::Item<'b>>::WRITES_IN_PLACE && self.framing.is_bare() && !self.json;
        let first = if bare { batch.items(index).next() } else { None };
        first.filter(|item| item.len() >= LEAST_DIRECT)
    }

    /// Frames the items of a batch from `first` on, up to a block of bytes.
    pub fn frame(&mut self, batch: &impl Batch, first: usize) -> Result<(), FramingError> {
        self.bytes.clear();
        self.ends.clear();
        self.duplicates.clear();
        let separator = self.framing.separator();
        if self.seen.is_none() && !self.json && self.framing.prefix(0)?.is_none() {
            batch.append_separated(first, BLOCK, separator, &mut self.bytes, &mut self.ends);
        } else {
            self.frame_each(batch, first)?;
        }
        if let Some(separator) = separator.filter(|_| !self.json && !self.is_ambiguous) {
            self.is_ambiguous =
                memchr::memchr_iter(separator, &self.bytes).count() > self.ends.len() - self.duplicates.len();
        }
        Ok(())
    }

    /// As [`frame`](Self::frame), for items that need more than a separator.
    fn frame_each(&mut self, batch: &impl Batch, first: usize) -> Result<(), FramingError> {
        let (separator, now) = (self.framing.separator(), self.json.then(std::time::SystemTime::now));
        for item in batch.items(first) {
            if self.seen.is_some() && self.is_duplicate(item.key()) {
                self.duplicates.push(self.ends.len());
            } else if let Some(now) = now {
                envelope::append(&item, now, &mut self.item, &mut self.bytes);
            } else {
                if let Some(prefix) = self.framing.prefix(item.len())? {
                    self.bytes.extend_from_slice(&prefix);
                }
                item.append_to(&mut self.bytes);
                self.bytes.extend(separator);
            }
            self.ends.push(self.bytes.len());
            if self.bytes.len() >= BLOCK {
                break;
            }
        }
        Ok(())
    }
}
