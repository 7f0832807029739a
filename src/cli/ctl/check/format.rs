//! The events of a history, one a line, and several files of them as one, in the order of their times.
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};

use crate::cli::exit::{Failure, code};

/// No event needs a longer line; a file without line breaks is not read into memory whole.
const LONGEST_LINE: u64 = 256;
/// Large enough that reading costs little, small enough for hundreds of files.
const BUFFER: usize = 256 * 1024;

const FORM: &str =
    "expected TIME PROCESS EVENT PRODUCER SEQUENCE [ATTEMPT [HASH]], as ringctl check --help has it";

/// What is told about an item. Those in -ing, and `attempt`, are written before the call that they tell
/// of; the others after it came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Attempt,
    Sent,
    Refused,
    Got,
    Acking,
    Acked,
    Returning,
}

impl Kind {
    fn of(word: &[u8]) -> Option<Self> {
        Some(match word {
            b"attempt" => Kind::Attempt,
            b"sent" => Kind::Sent,
            b"refused" => Kind::Refused,
            b"got" => Kind::Got,
            b"acking" => Kind::Acking,
            b"acked" => Kind::Acked,
            b"returning" => Kind::Returning,
            _ => return None,
        })
    }

    fn is_delivery(self) -> bool {
        matches!(self, Kind::Got | Kind::Acking | Kind::Acked | Kind::Returning)
    }

    fn is_before_its_call(self) -> bool {
        matches!(self, Kind::Attempt | Kind::Acking | Kind::Returning)
    }
}

/// One line of a history.
#[derive(Debug, Clone, Copy)]
pub struct Event {
    pub time: u64,
    pub process: u64,
    pub kind: Kind,
    pub producer: u64,
    pub sequence: u64,
    /// Which delivery, from 1; 0 where a producer speaks.
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
        let kind = Kind::of(word).ok_or_else(|| format!("event {}", quoted(word)))?;
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

/// Text that may be anything, short and on one line.
fn quoted(text: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(&text[..text.len().min(40)]))
}

/// Where an event stands.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    pub file: u32,
    pub line: u64,
}

/// One file, at its next event.
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
                // Its writer was killed; what is there of a number may not be all of it.
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
    /// Which file is next. What was written before a call goes before what was written after one: of two
    /// events at the same time, that is the order which a right history can have.
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

    /// The next event in the order of time, and where it stands; `None` at the end of all files.
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

    /// How many files end within a line.
    pub fn truncated(&self) -> u64 {
        self.logs.iter().filter(|log| log.truncated).count() as u64
    }
}
