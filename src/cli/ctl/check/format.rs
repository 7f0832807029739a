//! Reads the events of a history, one per line, and merges several files in the order of their times.
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};

use crate::cli::common::exit::{Failure, code};

/// No event needs a longer line. The limit keeps a file without line breaks from being read into memory whole.
const LONGEST_LINE: u64 = 256;
/// Large enough that reading costs little, small enough for hundreds of files.
const BUFFER: usize = 256 * 1024;

const FORM: &str =
    "expected TIME PROCESS EVENT PRODUCER SEQUENCE [ATTEMPT [HASH]], as ringctl check --help has it";

/// The kinds of events. Those in -ing, and `attempt`, are written before the call that they describe; the others
/// after it returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    Attempt,
    Sent,
    Refused,
    Got,
    Acking,
    Acked,
    Returning,
}

impl EventKind {
    fn of(word: &[u8]) -> Option<Self> {
        Some(match word {
            b"attempt" => EventKind::Attempt,
            b"sent" => EventKind::Sent,
            b"refused" => EventKind::Refused,
            b"got" => EventKind::Got,
            b"acking" => EventKind::Acking,
            b"acked" => EventKind::Acked,
            b"returning" => EventKind::Returning,
            _ => return None,
        })
    }

    fn is_delivery(self) -> bool {
        matches!(self, EventKind::Got | EventKind::Acking | EventKind::Acked | EventKind::Returning)
    }

    fn is_before_its_call(self) -> bool {
        matches!(self, EventKind::Attempt | EventKind::Acking | EventKind::Returning)
    }
}

/// One line of a history.
#[derive(Debug, Clone, Copy)]
pub struct Event {
    pub time: u64,
    pub process: u64,
    pub kind: EventKind,
    pub producer: u64,
    pub sequence: u64,
    /// The number of the delivery, from 1; 0 in a producer's events.
    pub attempt: u8,
    pub hash: Option<u64>,
}

impl Event {
    /// The event on a line without its line break, or what is wrong with it.
    fn of(line: &[u8]) -> Result<Self, String> {
        let mut rest = Some(line);
        let mut field = || {
            let text = rest?;
            let end = memchr::memchr(b' ', text);
            rest = end.map(|end| &text[end + 1..]);
            Some(&text[..end.unwrap_or(text.len())])
        };
        let number = |what: &str, text: Option<&[u8]>| match text {
            Some(text) => decimal(text).ok_or_else(|| format!("{what} {}", quoted(text))),
            None => Err(format!("no {what}")),
        };
        let time = number("time", field())?;
        let process = number("process", field())?;
        let word = field().ok_or("no event")?;
        let kind = EventKind::of(word).ok_or_else(|| format!("event {}", quoted(word)))?;
        let producer = number("producer", field())?;
        let sequence = number("sequence", field())?;
        let attempt = match field() {
            None if kind.is_delivery() => return Err("no attempt".into()),
            None => 0,
            Some(text) => match decimal(text).and_then(|number| u8::try_from(number).ok()) {
                Some(attempt) if (attempt > 0) == kind.is_delivery() => attempt,
                _ => return Err(format!("attempt {}", quoted(text))),
            },
        };
        let hash = match field() {
            None => None,
            Some(text) => Some(hexadecimal(text).ok_or_else(|| format!("hash {}", quoted(text)))?),
        };
        match field() {
            Some(more) => Err(format!("more than was expected: {}", quoted(more))),
            None => Ok(Event { time, process, kind, producer, sequence, attempt, hash }),
        }
    }
}

fn decimal(text: &[u8]) -> Option<u64> {
    let digit = |number: u64, &byte: &u8| {
        let digit = byte.is_ascii_digit().then(|| (byte - b'0') as u64)?;
        number.checked_mul(10)?.checked_add(digit)
    };
    if text.is_empty() { None } else { text.iter().try_fold(0, digit) }
}

fn hexadecimal(text: &[u8]) -> Option<u64> {
    let digit = |number: u64, &byte: &u8| Some(number << 4 | (byte as char).to_digit(16)? as u64);
    if matches!(text.len(), 1..=16) { text.iter().try_fold(0, digit) } else { None }
}

/// Arbitrary text, shortened and on one line.
fn quoted(text: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(&text[..text.len().min(40)]))
}

/// The place of an event.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    pub file: u32,
    pub line: u64,
}

/// One file, positioned at its next event.
struct Log {
    name: String,
    reader: BufReader<File>,
    bytes: Vec<u8>,
    line: u64,
    time: u64,
    truncated: bool,
}

impl Log {
    fn open(name: &str) -> Result<Self, Failure> {
        let file = File::open(name).map_err(|error| Failure::io(format!("reading {name:?}"), &error))?;
        let reader = BufReader::with_capacity(BUFFER, file);
        Ok(Log { name: name.into(), reader, bytes: Vec::new(), line: 0, time: 0, truncated: false })
    }

    /// The next event; `None` at the end.
    fn next(&mut self) -> Result<Option<Event>, Failure> {
        loop {
            self.bytes.clear();
            let read = (&mut self.reader).take(LONGEST_LINE).read_until(b'\n', &mut self.bytes);
            let read = read.map_err(|error| Failure::io(format!("reading {:?}", self.name), &error))?;
            if read == 0 {
                return Ok(None);
            }
            self.line += 1;
            let Some((b'\n', text)) = self.bytes.split_last() else {
                if read as u64 == LONGEST_LINE {
                    return Err(self.garbage(&format!("a line of {LONGEST_LINE} bytes or more")));
                }
                // Its writer was killed; the numbers on this line may be incomplete.
                self.truncated = true;
                return Ok(None);
            };
            if text.is_empty() || text[0] == b'#' {
                continue;
            }
            let event = Event::of(text).map_err(|wrong| self.garbage(&wrong))?;
            if event.time < self.time {
                let wrong =
                    format!("time {} after {}, and times never go back in a file", event.time, self.time);
                return Err(self.garbage(&wrong));
            }
            self.time = event.time;
            return Ok(Some(event));
        }
    }

    fn garbage(&self, wrong: &str) -> Failure {
        let line = format!("{:?}, line {}: {wrong}; {FORM}", self.name, self.line);
        Failure::new(code::DAMAGED, line)
    }
}

/// Several files as one history.
pub struct Logs {
    logs: Vec<Log>,
    next: Vec<Option<Event>>,
    /// The order of the files by their next event. Of two events at the same time, one written before a call comes
    /// before one written after it: a correct history can have that order.
    order: BinaryHeap<Reverse<(u64, bool, u32)>>,
}

impl Logs {
    /// Opens all of them, and reads the first event of each.
    pub fn open(names: &[String]) -> Result<Self, Failure> {
        let logs: Vec<Log> = names.iter().map(|name| Log::open(name)).collect::<Result<_, _>>()?;
        let mut all = Logs { next: vec![None; logs.len()], logs, order: BinaryHeap::new() };
        for file in 0..all.logs.len() {
            all.next[file] = all.logs[file].next()?;
            all.order.extend(all.key(file as u32));
        }
        Ok(all)
    }

    fn key(&self, file: u32) -> Option<Reverse<(u64, bool, u32)>> {
        let event = self.next[file as usize]?;
        Some(Reverse((event.time, !event.kind.is_before_its_call(), file)))
    }

    /// The next event in the order of time, and its place; `None` at the end of all files.
    pub fn next(&mut self) -> Result<Option<(Event, Place)>, Failure> {
        let Some(Reverse((_, _, file))) = self.order.pop() else { return Ok(None) };
        let log = &mut self.logs[file as usize];
        let place = Place { file, line: log.line };
        let event = std::mem::replace(&mut self.next[file as usize], log.next()?);
        self.order.extend(self.key(file));
        Ok(event.map(|event| (event, place)))
    }

    /// The name of a file.
    pub fn name(&self, file: u32) -> &str {
        &self.logs[file as usize].name
    }

    /// The number of files that end in the middle of a line.
    pub fn truncated(&self) -> u64 {
        self.logs.iter().filter(|log| log.truncated).count() as u64
    }
}
