//! Splits an input into items, which are slices of one read buffer.
//!
//! The splitter reads bytes into the buffer, indexes the ends of the items in it, and lends items as slices
//! between those ends: without allocation or copy, with one index entry per item.
//!
//! ```text
//! buf   |  consumed  |  indexed, not consumed  |  incomplete item  |  free  |
//!       0          start                                         filled   len
//! ```
//!
//! It reads only when no indexed item is left, so lent items never move, and items that a short read completes are
//! lent at once.
use super::separators::Separators;
use super::{Framing, FramingError, PREFIX};
use std::io::{ErrorKind, Read};

/// The initial size of the buffer: a few times a pipe's capacity, and within a core's own cache.
const BUFFER: usize = 256 * 1024;
/// Items indexed at a time: enough to spread the cost of a block, few enough for the index to stay cached.
const BLOCK: usize = 1024;

/// What [`Splitter::fill`] achieved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    /// [`Splitter::items`] has at least one item.
    Ready,
    /// A signal interrupted the read. Nothing is lost: check the stop flag and call again.
    Interrupted,
    /// The input has ended and every item was consumed.
    End,
}

/// Splits the output of a reader into items.
///
/// The reader should not buffer, because the splitter does (for standard input, use a `File` over descriptor 0).
/// After a failed `fill`, the splitter keeps its state: the next call fails again, or continues if the read
/// succeeds.
///
/// ```
/// use ringpipe::internal::framing::{Fill, Framing, Splitter};
/// let mut splitter = Splitter::new(&b"one\ntwo\n\nfour"[..], Framing::Lines, 64);
/// let mut seen = Vec::new();
/// while splitter.fill()? == Fill::Ready {
///     seen.extend(splitter.items().map(<[u8]>::to_vec));
///     splitter.consume(splitter.items().len());
/// }
/// assert_eq!(seen, [&b"one"[..], b"two", b"", b"four"]);
/// assert!(splitter.lacked_last_separator());
/// # Ok::<(), ringpipe::internal::framing::FramingError>(())
/// ```
#[derive(Debug)]
pub struct Splitter<R> {
    reader: R,
    framing: Framing,
    limit: usize,
    /// The least length of an item: 0, or the limit if all items must have one length.
    least: usize,
    /// Grows to hold one item of `limit` bytes, and no further.
    buf: Vec<u8>,
    /// First byte of the first item that was not consumed.
    start: usize,
    /// Bytes before this were searched already.
    scanned: usize,
    /// Bytes before this were read already.
    filled: usize,
    /// Where the payloads of the indexed items end; those before `taken` are consumed.
    ends: Vec<usize>,
    taken: usize,
    /// Offset of `buf[0]` in the input.
    base: u64,
    consumed: u64,
    at_end: bool,
    whole_given: bool,
    lacked_last_separator: bool,
}

impl<R: Read> Splitter<R> {
    /// A splitter at the start of `reader`; `limit` is the largest item in bytes, without prefix and separator.
    pub fn new(reader: R, framing: Framing, limit: usize) -> Self {
        let (framing, size) = match framing {
            Framing::Raw { chunk } => {
                let chunk = chunk.min(limit).max(1);
                // A multiple of the chunk, so that a full buffer leaves no short piece at its end.
                (Framing::Raw { chunk }, (BUFFER / chunk).max(1) * chunk)
            }
            Framing::Blocks { size } => {
                let size = size.min(limit).max(1);
                (Framing::Blocks { size }, BUFFER.max(size))
            }
            other => (other, BUFFER),
        };
        Splitter {
            reader,
            framing,
            limit,
            least: 0,
            buf: vec![0; size],
            start: 0,
            scanned: 0,
            filled: 0,
            ends: Vec::with_capacity(BLOCK),
            taken: 0,
            base: 0,
            consumed: 0,
            at_end: false,
            whole_given: false,
            lacked_last_separator: false,
        }
    }

    /// The same splitter, before its first read, for items of exactly `bytes` bytes, at least 1: any other item is an
    /// error, and [`Framing::Raw`] cuts the input into pieces of that length.
    pub fn exactly(self, bytes: usize) -> Self {
        let framing = match self.framing {
            Framing::Raw { .. } => Framing::Raw { chunk: bytes },
            other => other,
        };
        Splitter { least: bytes, ..Splitter::new(self.reader, framing, bytes) }
    }

    /// Makes at least one item available; reads only if none is left.
    ///
    /// Returns as soon as one read has completed an item. Items before a faulty one are lent first.
    ///
    /// # Errors
    /// - [`FramingError::TooLong`]: the next item exceeds the limit.
    /// - [`FramingError::OtherLength`]: with [`exactly`](Self::exactly), the next item has another length.
    /// - [`FramingError::TruncatedPrefix`], [`FramingError::TruncatedItem`]: the input ended too early.
    /// - [`FramingError::Read`]: the reader failed, other than by an interruption.
    pub fn fill(&mut self) -> Result<Fill, FramingError> {
        loop {
            if self.ends.is_empty() {
                self.index()?;
            }
            if !self.ends.is_empty() {
                return Ok(Fill::Ready);
            }
            if self.at_end {
                return self.index_rest();
            }
            if !self.read()? {
                return Ok(Fill::Interrupted);
            }
        }
    }

    /// One read into the free part of the buffer; false when it was interrupted.
    fn read(&mut self) -> Result<bool, FramingError> {
        if self.start > 0 {
            self.buf.copy_within(self.start..self.filled, 0);
            self.base += self.start as u64;
            self.filled -= self.start;
            self.scanned -= self.start;
            self.start = 0;
        }
        if self.filled == self.buf.len() {
            // One byte more than the limit: it distinguishes an item that just fits from one that does not.
            let most = self.limit.saturating_add(PREFIX + 1);
            self.buf.resize(self.buf.len().saturating_mul(2).min(most), 0);
        }
        match self.reader.read(&mut self.buf[self.filled..]) {
            Ok(0) => self.at_end = true,
            Ok(n) => self.filled += n,
            Err(e) if e.kind() == ErrorKind::Interrupted => return Ok(false),
            Err(source) => return Err(FramingError::Read { offset: self.base + self.filled as u64, source }),
        }
        Ok(true)
    }

    /// Indexes complete items, up to a block of them or to the first that is too long. That item is an error only
    /// when it comes first, so that the items before it are lent before the error is reported.
    fn index(&mut self) -> Result<(), FramingError> {
        match self.framing {
            Framing::Lines => self.index_separated(b'\n'),
            Framing::Null => self.index_separated(0),
            Framing::Delimiter(byte) => self.index_separated(byte),
            Framing::Raw { chunk } => {
                self.index_chunks(chunk);
                Ok(())
            }
            Framing::Blocks { size } => self.index_blocks(size),
            Framing::Len32 => self.index_prefixed(),
            Framing::WholeFile => self.check_rest(),
        }
    }

    fn index_separated(&mut self, separator: u8) -> Result<(), FramingError> {
        let searched = self.scanned;
        let mut from = self.start;
        for at in Separators::new(separator, &self.buf[searched..self.filled]) {
            let end = searched + at;
            if !self.fits(end - from) {
                return if self.ends.is_empty() {
                    Err(self.misfit((end - from) as u64, true))
                } else {
                    Ok(())
                };
            }
            self.ends.push(end);
            from = end + 1;
            self.scanned = from;
            if self.ends.len() == BLOCK {
                return Ok(());
            }
        }
        self.scanned = self.filled;
        if self.ends.is_empty() { self.check_rest() } else { Ok(()) }
    }

    fn index_chunks(&mut self, chunk: usize) {
        while self.scanned < self.filled && self.ends.len() < BLOCK {
            let end = self.filled.min(self.scanned + chunk);
            if end - self.scanned < self.least {
                return;
            }
            self.scanned = end;
            self.ends.push(self.scanned);
        }
    }

    fn index_blocks(&mut self, size: usize) -> Result<(), FramingError> {
        let mut from = self.start;
        while self.ends.len() < BLOCK {
            // There is no end of line before `scanned`.
            let searched = self.scanned.max(from);
            let until = self.filled.min(from + size).max(searched);
            let fitting = memchr::memrchr(b'\n', &self.buf[searched..until]);
            // A line that is longer than a block is a block of its own.
            let longer = || memchr::memchr(b'\n', &self.buf[until..self.filled]).map(|at| until + at);
            let Some(end) = fitting.map(|at| searched + at).or_else(longer) else {
                self.scanned = self.filled;
                break;
            };
            if !self.fits(end + 1 - from) {
                let length = (end + 1 - from) as u64;
                return if self.ends.is_empty() { Err(self.misfit(length, true)) } else { Ok(()) };
            }
            from = end + 1;
            self.ends.push(from);
            self.scanned = from;
        }
        if self.ends.is_empty() { self.check_rest() } else { Ok(()) }
    }

    fn index_prefixed(&mut self) -> Result<(), FramingError> {
        let mut from = self.start;
        while self.ends.len() < BLOCK
            && let Some((prefix, rest)) = self.buf[from..self.filled].split_first_chunk()
        {
            let length = u32::from_be_bytes(*prefix) as usize;
            let fits = self.fits(length);
            if !fits && self.ends.is_empty() {
                return Err(self.misfit(length as u64, true));
            }
            if !fits || rest.len() < length {
                break;
            }
            from += PREFIX + length;
            self.ends.push(from);
        }
        self.scanned = from;
        Ok(())
    }

    /// Indexes the rest of the input, after it has ended and all complete items are consumed.
    fn index_rest(&mut self) -> Result<Fill, FramingError> {
        let rest = &self.buf[self.start..self.filled];
        let is_item = match self.framing {
            Framing::WholeFile => !self.whole_given,
            Framing::Len32 => false,
            _ => !rest.is_empty(),
        };
        if is_item && !self.fits(rest.len()) {
            return Err(self.misfit(rest.len() as u64, true));
        }
        match self.framing {
            Framing::WholeFile if !self.whole_given => self.whole_given = true,
            Framing::Lines | Framing::Null | Framing::Delimiter(_) if !rest.is_empty() => {
                self.lacked_last_separator = true;
            }
            Framing::Blocks { .. } if !rest.is_empty() => self.lacked_last_separator = true,
            Framing::Len32 if !rest.is_empty() => return Err(self.truncated()),
            _ => return Ok(Fill::End),
        }
        self.ends.push(self.filled);
        Ok(Fill::Ready)
    }

    /// The items that are complete and not yet consumed, oldest first: at most 1024, at least one after
    /// [`Fill::Ready`].
    pub fn items(&self) -> Items<'_> {
        let (head, tail) = match self.framing {
            Framing::Len32 => (PREFIX, 0),
            framing => (0, usize::from(framing.separator().is_some())),
        };
        Items { buf: &self.buf, ends: self.ends[self.taken..].iter(), from: self.start, head, tail }
    }

    /// Drops the first `n` of the items; the others stay for the next call.
    ///
    /// # Panics
    /// When there are fewer than `n` items.
    pub fn consume(&mut self, n: usize) {
        let left = self.ends.len() - self.taken;
        assert!(n <= left, "consumed {n} items of {left}");
        if n == 0 {
            return;
        }
        self.taken += n;
        self.consumed += n as u64;
        // The last item of an input may lack its separator.
        let tail = usize::from(self.framing.separator().is_some());
        self.start = (self.ends[self.taken - 1] + tail).min(self.filled);
        if self.taken == self.ends.len() {
            self.ends.clear();
            self.taken = 0;
        }
    }

    /// Items consumed so far.
    pub fn consumed(&self) -> u64 {
        self.consumed
    }

    /// Bytes that were read and are not part of a consumed item.
    pub fn unconsumed(&self) -> u64 {
        (self.filled - self.start) as u64
    }

    /// The reader.
    pub fn reader(&self) -> &R {
        &self.reader
    }

    /// The reader. Do not read from it.
    pub fn reader_mut(&mut self) -> &mut R {
        &mut self.reader
    }

    /// Whether the input's last item has no separator, as in a file without a final newline.
    pub fn lacked_last_separator(&self) -> bool {
        self.lacked_last_separator
    }

    fn check_rest(&self) -> Result<(), FramingError> {
        let length = self.filled - self.start;
        if length > self.limit { Err(self.misfit(length as u64, false)) } else { Ok(()) }
    }

    /// Whether an item may have this length.
    fn fits(&self, length: usize) -> bool {
        (self.least..=self.limit).contains(&length)
    }

    /// The error of an item that does not fit.
    fn misfit(&self, length: u64, complete: bool) -> FramingError {
        let (item, offset) = self.place();
        match self.least {
            0 => FramingError::TooLong { item, offset, length, complete, limit: self.limit },
            expected => FramingError::OtherLength { item, offset, length, complete, expected },
        }
    }

    fn truncated(&self) -> FramingError {
        let (item, offset) = self.place();
        let rest = &self.buf[self.start..self.filled];
        match rest.split_first_chunk() {
            None => FramingError::TruncatedPrefix { item, offset, expected: PREFIX, found: rest.len() },
            Some((prefix, payload)) => FramingError::TruncatedItem {
                item,
                offset,
                expected: u32::from_be_bytes(*prefix) as usize,
                found: payload.len(),
            },
        }
    }

    /// Number and offset of the next item.
    fn place(&self) -> (u64, u64) {
        (self.consumed + 1, self.base + self.start as u64)
    }
}

/// The complete items of a [`Splitter`], as slices of its buffer.
#[derive(Debug, Clone)]
pub struct Items<'a> {
    buf: &'a [u8],
    ends: std::slice::Iter<'a, usize>,
    from: usize,
    /// Bytes before each payload.
    head: usize,
    /// Bytes after each payload.
    tail: usize,
}

impl<'a> Iterator for Items<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let end = *self.ends.next()?;
        let item = &self.buf[self.from + self.head..end];
        self.from = end + self.tail;
        Some(item)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.ends.size_hint()
    }
}

impl ExactSizeIterator for Items<'_> {}
