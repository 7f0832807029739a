//! From a batch to the output: straight from the slots, or framed first.

use super::{Options, Tally};
use crate::cli::envelope;
use crate::cli::output::{Cut, Output};
use crate::framing::{Framing, FramingError};
use crate::{Batch, BatchItem};

/// Bytes framed before they are written, unless an item is longer.
const BLOCK: usize = 256 * 1024;
/// Items of so many bytes are written straight from the slots, where nothing goes with them.
const LEAST_DIRECT: usize = 4096;

/// Writes the items of a batch, acknowledges those that were written completely, and gives the others back.
pub(super) fn write_batch(
    mut batch: Batch<'_>,
    output: &mut Output,
    framer: &mut Framer,
    tally: &mut Tally,
) -> Result<Option<Cut>, FramingError> {
    tally.redelivered += batch.iter().filter(BatchItem::redelivered).count() as u64;
    while let Some(item) = framer.bare_item(&batch) {
        let (len, (written, cut)) = (item.len(), output.write_item(&item));
        if batch.check().is_err() {
            // What was written may be zeros: it counts as nothing, and whoever asks for more is told why.
            return Ok(None);
        }
        if written == len {
            tally.items += 1;
            tally.bytes += len as u64;
            batch.ack_first();
        }
        if cut.is_some() {
            return Ok(cut);
        }
    }
    while !batch.is_empty() {
        framer.frame(&batch)?;
        if batch.check().is_err() {
            // What was read is not theirs, and whoever asks for more is told why.
            return Ok(None);
        }
        let (written, cut) = output.write(&framer.bytes, &framer.ends);
        let complete = framer.ends.partition_point(|&end| end <= written);
        tally.items += complete as u64;
        tally.bytes += batch.iter().take(complete).map(|item| item.len() as u64).sum::<u64>();
        if complete == batch.len() {
            batch.ack();
            return Ok(cut);
        }
        for _ in 0..complete {
            batch.ack_first();
        }
        if cut.is_some() {
            return Ok(cut);
        }
    }
    Ok(None)
}

/// Puts items in the form in which they go out.
pub(super) struct Framer {
    framing: Framing,
    json: bool,
    /// A run of framed items.
    bytes: Vec<u8>,
    /// Where each of them ends.
    ends: Vec<usize>,
    /// One item, for JSON.
    item: Vec<u8>,
}

impl Framer {
    pub fn new(options: &Options) -> Self {
        let framing = options.framing.framing();
        Framer { framing, json: options.json, bytes: Vec::new(), ends: Vec::new(), item: Vec::new() }
    }

    /// The first item of a batch, if it is to go out straight from the slots: it is long, and its bytes are
    /// all that goes out.
    fn bare_item<'b>(&self, batch: &'b Batch<'_>) -> Option<BatchItem<'b>> {
        let bare = matches!(self.framing, Framing::Raw { .. } | Framing::Blocks { .. } | Framing::WholeFile)
            && !self.json;
        let first = if bare { batch.iter().next() } else { None };
        first.filter(|item| item.len() >= LEAST_DIRECT)
    }

    /// Frames the first items of a batch, up to a block of bytes.
    fn frame(&mut self, batch: &Batch<'_>) -> Result<(), FramingError> {
        self.bytes.clear();
        self.ends.clear();
        let (separator, now) = (self.framing.separator(), self.json.then(std::time::SystemTime::now));
        for item in batch.iter() {
            if let Some(now) = now {
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
