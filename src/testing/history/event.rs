//! The events of a history, and their form: one on a line.

use std::io::Write;

/// Every event's line is shorter than this, in bytes. The limit keeps a file without line breaks from being
/// read into memory whole.
pub(super) const LONGEST_LINE: u64 = 256;

/// The form, for messages.
pub(super) const FORM: &str = "TIME PROCESS EVENT PRODUCER SEQUENCE [ATTEMPT [HASH]]";

/// The kinds of events. `attempt` and the events in -ing are written before the call that they describe, the
/// others after the call has returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// An item is about to be sent.
    Attempt,
    /// The send returned success.
    Sent,
    /// The send failed, or the producer dropped the item instead. Another attempt may use its number.
    Refused,
    /// An item is about to be sent under the key of another one, which may happen several times: an answer, a
    /// dead letter, or an item that is sent again. The checker then checks only that the item is received and
    /// acknowledged at all.
    Forwarding,
    /// An item was received.
    Got,
    /// An item is about to be acknowledged.
    Acking,
    /// The acknowledgement returned.
    Acked,
    /// An item is about to be given back.
    Returning,
    /// A producer is about to drop this item to make room for its own.
    Dropping,
    /// The item was dropped.
    Dropped,
}

impl EventKind {
    /// All kinds.
    pub const ALL: [EventKind; 10] = {
        use EventKind::*;
        [Attempt, Sent, Refused, Forwarding, Got, Acking, Acked, Returning, Dropping, Dropped]
    };

    /// The word on a line.
    pub const fn word(self) -> &'static str {
        match self {
            EventKind::Attempt => "attempt",
            EventKind::Sent => "sent",
            EventKind::Refused => "refused",
            EventKind::Forwarding => "forwarding",
            EventKind::Got => "got",
            EventKind::Acking => "acking",
            EventKind::Acked => "acked",
            EventKind::Returning => "returning",
            EventKind::Dropping => "dropping",
            EventKind::Dropped => "dropped",
        }
    }

    fn of(word: &[u8]) -> Option<Self> {
        EventKind::ALL.into_iter().find(|kind| kind.word().as_bytes() == word)
    }

    /// Whether the event is about one delivery, and has the number of that delivery.
    pub const fn is_delivery(self) -> bool {
        use EventKind::*;
        matches!(self, Got | Acking | Acked | Returning | Dropping | Dropped)
    }

    /// Whether the event is written before the call that it describes.
    pub const fn is_before_its_call(self) -> bool {
        use EventKind::*;
        matches!(self, Attempt | Forwarding | Acking | Returning | Dropping)
    }
}

/// One line of a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// Nanoseconds of a clock that all processes share.
    pub time: u64,
    /// The process that writes.
    pub process: u64,
    /// What it does or did.
    pub kind: EventKind,
    /// The item's producer.
    pub producer: u64,
    /// The item's number at its producer. Producer and number together identify the item.
    pub sequence: u64,
    /// The number of the delivery, from 1; 255 may stand for all deliveries after some number. 0 in a producer's
    /// events.
    pub attempt: u8,
    /// The hash of the item's bytes, by a function that is the same in all logs.
    pub hash: Option<u64>,
}

impl Event {
    /// Reads a line without its line break.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(line: &[u8]) -> Result<Self, String> {
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

    /// Appends the event's line, with its line break.
    pub fn append_to(&self, out: &mut Vec<u8>) {
        let Event { time, process, kind, producer, sequence, attempt, hash } = *self;
        // Writing to a vector cannot fail.
        let _ = write!(out, "{time} {process} {} {producer} {sequence} {attempt}", kind.word());
        if let Some(hash) = hash {
            let _ = write!(out, " {hash:x}");
        }
        out.push(b'\n');
    }
}

/// The hash of an item's bytes that [`Log`](super::Log) writes: FNV-1a, 64 bits.
pub fn hash_of(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_it_was_written() {
        for (n, kind) in (0..).zip(EventKind::ALL) {
            let attempt = if kind.is_delivery() { u8::MAX - n } else { 0 };
            let hash = [None, Some(0), Some(u64::MAX)][n as usize % 3];
            let event = Event {
                time: u64::MAX,
                process: 1,
                kind,
                producer: u64::MAX - 1,
                sequence: n.into(),
                attempt,
                hash,
            };
            let mut line = Vec::new();
            event.append_to(&mut line);
            assert_eq!(line.pop(), Some(b'\n'));
            assert_eq!(Event::parse(&line), Ok(event));
        }
    }

    #[test]
    fn the_hash_is_fnv_1a() {
        assert_eq!(hash_of(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(hash_of(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
