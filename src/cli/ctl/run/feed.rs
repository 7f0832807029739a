//! The inputs of a run, and how their items get to the producers.
use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Read, Write},
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::verify::{Digest, Hash128, Order};
use crate::RingObserver;
use crate::cli::common::exit::{Failure, code};
use crate::cli::common::input;
use crate::framing::{Fill, Framing, FramingError, Splitter};

/// The number of bytes that a producer gets at a time.
const BLOCK: usize = 64 << 10;

/// One input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A file.
    File(PathBuf),
    /// Standard input.
    Stdin,
    /// This many numbered lines, generated here; the numbers have leading zeros up to this width.
    Lines { count: u64, width: usize },
}

impl Input {
    fn open(&self) -> Result<Box<dyn Read + Send>, Failure> {
        Ok(match self {
            Input::File(path) => {
                Box::new(File::open(path).map_err(|error| Failure::io(path.display(), &error))?)
            }
            Input::Stdin => Box::new(io::stdin()),
            &Input::Lines { count, width } => {
                Box::new(Lines { next: 1, last: count, width, text: Vec::new(), at: 0 })
            }
        })
    }

    /// Fails if it cannot be read at all.
    pub fn check(&self) -> Result<(), Failure> {
        if let Input::File(path) = self {
            let found = std::fs::metadata(path).map_err(|error| Failure::io(path.display(), &error))?;
            // Only directories are checked: opening a FIFO would wait for its writer.
            if found.is_dir() {
                return Err(Failure::new(code::RUNTIME, format!("{}: is a directory", path.display())));
            }
            if found.is_file() {
                self.open()?;
            }
        }
        Ok(())
    }

    /// The number of its bytes, where that is known.
    pub fn size(&self) -> Option<u64> {
        match self {
            Input::File(path) => input::size(path),
            Input::Stdin => input::size(Path::new("-")),
            Input::Lines { .. } => None,
        }
    }

    /// Its name in messages.
    pub fn name(&self) -> String {
        match self {
            Input::File(path) => path.display().to_string(),
            Input::Stdin => "standard input".into(),
            Input::Lines { .. } => "numbered lines".into(),
        }
    }
}

/// The numbers from 1 on, a line each.
struct Lines {
    next: u64,
    last: u64,
    width: usize,
    text: Vec<u8>,
    at: usize,
}

impl Read for Lines {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.at == self.text.len() {
            self.text.clear();
            self.at = 0;
            while self.next <= self.last && self.text.len() < BLOCK {
                let number = self.next.to_string();
                self.text.resize(self.text.len() + self.width.saturating_sub(number.len()), b'0');
                writeln!(self.text, "{number}")?;
                self.next += 1;
            }
        }
        let len = out.len().min(self.text.len() - self.at);
        out[..len].copy_from_slice(&self.text[self.at..self.at + len]);
        self.at += len;
        Ok(len)
    }
}

/// Several inputs one after the other, for one producer or for several that share them.
pub struct Source {
    inputs: VecDeque<Input>,
    current: Option<(String, Splitter<Box<dyn Read + Send>>)>,
    framing: Framing,
    items: ItemSize,
}

/// The lengths of the items that a ring accepts, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct ItemSize {
    /// The largest.
    pub limit: usize,
    /// Of every item.
    pub exactly: Option<usize>,
}

impl ItemSize {
    /// Those of this ring.
    pub fn of(ring: &RingObserver) -> Self {
        let limit = usize::try_from(ring.max_item()).unwrap_or(usize::MAX);
        ItemSize { limit, exactly: ring.fixed().map(|_| limit) }
    }
}

/// Some items, framed as a producer reads them.
#[derive(Debug, Default)]
pub struct Block {
    bytes: Vec<u8>,
    items: Vec<Range<usize>>,
}

impl Block {
    /// The number of items.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// The bytes of all items, as a producer reads them.
    pub fn framed(&self) -> &[u8] {
        &self.bytes
    }

    /// The items without their framing.
    pub fn items(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.items.iter().map(|item| &self.bytes[item.clone()])
    }

    /// Appends an item.
    pub fn push(&mut self, item: &[u8], framing: Framing) -> Result<(), FramingError> {
        let prefix = framing.prefix(item.len())?;
        let start = self.bytes.len() + prefix.map_or(0, |prefix| prefix.len());
        framing.frame_into(item, &mut self.bytes)?;
        self.items.push(start..start + item.len());
        Ok(())
    }

    /// Appends the items of another block.
    pub fn append(&mut self, other: &Block) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&other.bytes);
        self.items.extend(other.items.iter().map(|item| item.start + start..item.end + start));
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.items.clear();
    }
}

impl Source {
    /// For a ring that accepts such items.
    pub fn new(inputs: impl IntoIterator<Item = Input>, framing: Framing, items: ItemSize) -> Self {
        Source { inputs: inputs.into_iter().collect(), current: None, framing, items }
    }

    /// Whether all inputs were read to their ends.
    pub fn is_exhausted(&self) -> bool {
        self.inputs.is_empty() && self.current.is_none()
    }

    /// Distributes inputs to `producers`. With at least as many inputs as producers, each gets whole inputs, in
    /// turn; otherwise all share them, a block of items at a time.
    pub fn deal(
        inputs: Vec<Input>,
        producers: usize,
        framing: Framing,
        items: ItemSize,
    ) -> Vec<Arc<Mutex<Self>>> {
        if inputs.len() < producers {
            let shared = Arc::new(Mutex::new(Source::new(inputs, framing, items)));
            return (0..producers).map(|_| shared.clone()).collect();
        }
        let share = |first| inputs.iter().skip(first).step_by(producers).cloned();
        (0..producers).map(|first| Arc::new(Mutex::new(Source::new(share(first), framing, items)))).collect()
    }

    /// Replaces the block by the next items: as many as are available, up to a block's worth. False: there are no
    /// more.
    pub fn next_block(&mut self, block: &mut Block) -> Result<bool, Failure> {
        block.clear();
        loop {
            if self.current.is_none() {
                let Some(input) = self.inputs.pop_front() else { return Ok(false) };
                let mut splitter = Splitter::new(input.open()?, self.framing, self.items.limit);
                if let Some(bytes) = self.items.exactly {
                    splitter = splitter.exactly(bytes);
                }
                self.current = Some((input.name(), splitter));
            }
            let Some((name, splitter)) = &mut self.current else { return Ok(false) };
            let failed = |error: FramingError| {
                let failure = Failure::new(code::RUNTIME, format!("{name}: {error}"));
                match error {
                    FramingError::TooLong { .. } => failure.hint("a larger --capacity or --slot-size"),
                    FramingError::OtherLength { .. } => failure.hint(
                        "--fixed is for items of that length; an item is a line without its line break",
                    ),
                    _ => failure,
                }
            };
            match splitter.fill().map_err(failed)? {
                Fill::End => self.current = None,
                Fill::Interrupted => {}
                Fill::Ready => {
                    let mut taken = 0;
                    for item in splitter.items() {
                        if taken > 0 && block.bytes.len() + item.len() > BLOCK {
                            break;
                        }
                        block.push(item, self.framing).map_err(failed)?;
                        taken += 1;
                    }
                    splitter.consume(taken);
                    return Ok(true);
                }
            }
        }
    }
}

/// Shared by all feeders and collectors.
#[derive(Clone)]
pub struct Check {
    pub hash: Hash128,
    /// `None` where the order cannot be checked: with several consumers.
    pub order: Option<Arc<Mutex<Order>>>,
}

/// Locks a mutex, even after a holder panicked: the verdict depends only on its content.
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Feeds one producer to the end of its source, and adds its items to `sent`. Stops if the producer ends early;
/// the producer's exit code says why.
pub fn feed(
    number: usize,
    source: &Mutex<Source>,
    mut pipe: impl Write,
    check: &Check,
    sent: &Mutex<Digest>,
) -> Result<(), Failure> {
    let mut block = Block::default();
    while lock(source).next_block(&mut block)? {
        let mut digest = Digest::default();
        // Held for the whole block: its items are recorded before any of them can arrive.
        let mut order = check.order.as_ref().map(|order| lock(order));
        for item in block.items() {
            let hash = check.hash.of(item);
            digest.add(item.len(), hash);
            if let Some(order) = &mut order {
                order.give(number, hash);
            }
        }
        drop(order);
        {
            let mut sent = lock(sent);
            *sent = sent.and(digest);
        }
        match pipe.write_all(block.framed()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            result => result.map_err(|error| Failure::io("feeding a producer", &error))?,
        }
    }
    Ok(())
}
