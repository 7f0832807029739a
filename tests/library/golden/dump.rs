//! A segment as text: one line for each field, one for each other word that is not 0.

use std::collections::BTreeMap;
use std::fmt::Write;

use ringpipe::internal::layout::geometry::{Geometry, HEAD_BYTES, PARTICIPANT_BYTES};
use ringpipe::internal::layout::preamble::Preamble;
use ringpipe::internal::layout::{entry, head, header, named};
use ringpipe::internal::protocol::word::{Codec, Tag, Word};

use crate::support::TestName;

/// What the bytes of a field are shown as.
#[derive(Clone, Copy, PartialEq)]
enum Show {
    /// A number, the most significant digit first.
    Number,
    /// Bytes in their order.
    Bytes,
    /// Nothing: they are others each time.
    Masked,
}

struct Field {
    name: String,
    len: u64,
    show: Show,
    comment: String,
}

/// The fields of one segment, and its bytes.
pub struct Dump {
    head: String,
    bytes: Vec<u8>,
    fields: BTreeMap<u64, Field>,
}

impl Dump {
    fn new(title: String, name: &TestName) -> Dump {
        let bytes = std::fs::read(name.path()).expect("the segment can be read");
        Dump { head: title, bytes, fields: BTreeMap::new() }
    }

    /// A ring.
    pub fn of_ring(name: &TestName, geometry: &Geometry) -> Dump {
        let title =
            format!("layout version {} of rings", ringpipe::internal::layout::preamble::LAYOUT_VERSION);
        let mut dump = Dump::new(title, name);
        dump.preamble();
        dump.head();
        for number in 0..geometry.participants {
            let at = HEAD_BYTES + u64::from(number) * PARTICIPANT_BYTES;
            if dump.word(at) != 0 {
                dump.entry(number, at);
            }
        }
        dump.slots(geometry);
        assert_eq!(dump.bytes.len() as u64, geometry.size);
        dump
    }

    /// A named object.
    pub fn of_object(name: &TestName, geometry: &named::ObjectLayout) -> Dump {
        let title = format!("layout version {} of named objects", named::OBJECT_VERSION);
        let mut dump = Dump::new(title, name);
        dump.object(geometry);
        assert_eq!(dump.bytes.len() as u64, geometry.size);
        dump
    }

    fn number(&mut self, name: impl Into<String>, at: usize, len: usize) {
        self.field(name, at as u64, len as u64, Show::Number);
    }

    fn field(&mut self, name: impl Into<String>, at: u64, len: u64, show: Show) {
        let field = Field { name: name.into(), len, show, comment: String::new() };
        let before = self.fields.insert(at, field);
        assert!(before.is_none(), "two fields at {at:#x}");
    }

    fn words(&mut self, group: &str, base: u64, words: &[(&str, u64, Show)]) {
        for (name, offset, show) in words {
            self.field(format!("{group}.{name}"), base + offset, 8, *show);
        }
    }

    fn comment(&mut self, at: u64, text: String) {
        self.fields.get_mut(&at).expect("a field").comment = text;
    }

    /// The word at an offset.
    pub fn word(&self, at: u64) -> u64 {
        u64::from_le_bytes(self.bytes[at as usize..][..8].try_into().expect("eight bytes"))
    }

    fn preamble(&mut self) {
        use std::mem::offset_of;
        self.field("preamble.magic", offset_of!(Preamble, magic) as u64, 8, Show::Bytes);
        self.number("preamble.version", offset_of!(Preamble, version), 4);
        self.number("preamble.abi", offset_of!(Preamble, abi), 4);
        self.field("preamble.id", offset_of!(Preamble, id) as u64, 16, Show::Masked);
        self.number("preamble.capacity", offset_of!(Preamble, capacity), 8);
        self.number("preamble.slot_size", offset_of!(Preamble, slot_size), 8);
        self.number("preamble.flags", offset_of!(Preamble, flags), 8);
        self.number("preamble.participants", offset_of!(Preamble, participants), 4);
        self.number("preamble.sync", offset_of!(Preamble, sync), 4);
        self.number("preamble.expected_producers", offset_of!(Preamble, expected_producers), 4);
        self.field("preamble.creator", offset_of!(Preamble, creator) as u64, 4, Show::Masked);
        self.field("preamble.created_at", offset_of!(Preamble, created_at) as u64, 8, Show::Masked);
        self.number("preamble.size", offset_of!(Preamble, size), 8);
        self.number("preamble.wake_at", offset_of!(Preamble, wake_at), 8);
        self.number("preamble.resume_at", offset_of!(Preamble, resume_at), 8);
        self.number("preamble.fixed", offset_of!(Preamble, fixed), 8);
    }

    fn head(&mut self) {
        use Show::{Masked, Number};
        self.words(
            "head",
            0,
            &[
                ("stream_state", head::STREAM_STATE, Number),
                ("events", head::EVENTS, Number),
                ("serial", head::SERIAL, Number),
                // Whether the kernel gave all processes asymmetric fences.
                ("fences", head::FENCES, Masked),
                ("numbers", head::NUMBERS, Number),
                ("framing", head::FRAMING, Number),
                ("tail", head::TAIL, Number),
                ("fairness_request", head::FAIRNESS, Number),
                ("head", head::HEAD, Number),
                ("items_waiting", head::ITEMS_WAITING, Number),
                // Changes with time.
                ("swept_at", head::SWEPT_AT, Masked),
                ("items_starts", head::ITEMS_STARTS, Number),
                ("room_waiting", head::ROOM_WAITING, Number),
                ("room_starts", head::ROOM_STARTS, Number),
                ("items_semaphore", head::ITEMS_SEMAPHORE, Number),
                ("items_semaphore.shared", head::ITEMS_SEMAPHORE + 8, Number),
                ("room_semaphore", head::ROOM_SEMAPHORE, Number),
                ("room_semaphore.shared", head::ROOM_SEMAPHORE + 8, Number),
                ("mutex_owner", head::MUTEX_OWNER, Number),
                ("mutex_semaphore", head::MUTEX_SEMAPHORE, Number),
                ("mutex_semaphore.shared", head::MUTEX_SEMAPHORE + 8, Number),
            ],
        );
        for (n, name) in COUNTERS.into_iter().enumerate() {
            self.number(format!("head.totals.{name}"), head::TOTALS as usize + 8 * n, 8);
        }
        for (n, name) in ["participants", "abandoned", "returned"].into_iter().enumerate() {
            self.number(format!("head.deaths.{name}"), head::DEATHS as usize + 8 * n, 8);
        }
        for n in 0..head::DEATH_MARKS_LEN {
            let at = head::DEATH_MARKS + 8 * n;
            if self.word(at) != 0 {
                self.number(format!("head.death_marks[{n}]"), at as usize, 8);
            }
        }
    }

    fn entry(&mut self, number: u32, base: u64) {
        use Show::{Masked, Number};
        self.words(
            &format!("entry[{number}]"),
            base,
            &[
                ("state", entry::STATE, Number),
                ("pid", entry::PID, Masked),
                ("start_time", entry::START_TIME, Masked),
                ("command", entry::COMMAND, Masked),
                ("command+8", entry::COMMAND + 8, Masked),
                ("attached_at", entry::ATTACHED_AT, Masked),
                ("activity", entry::ACTIVITY, Number),
                ("held_since", entry::HELD_SINCE, Masked),
            ],
        );
        for (n, name) in COUNTERS.into_iter().enumerate() {
            self.number(format!("entry[{number}].{name}"), (base + entry::COUNTERS) as usize + 8 * n, 8);
        }
    }

    fn slots(&mut self, geometry: &Geometry) {
        let codec = Codec::new(geometry.capacity);
        for slot in 0..geometry.capacity {
            let at = geometry.words + 8 * slot;
            self.number(format!("word[{slot}]"), at as usize, 8);
            let word = Word(self.word(at));
            let free = matches!(word.tag(), Tag::Free | Tag::Damaged);
            let run = if free { String::new() } else { format!(", run {}", codec.run(word)) };
            let owner = if word.is_owned() { format!(", owner {}", word.owner()) } else { String::new() };
            let attempt =
                if word.attempt() > 0 { format!(", attempt {}", word.attempt()) } else { String::new() };
            self.comment(at, format!("{:?}{run}{owner}{attempt}", word.tag()));
        }
        for slot in 0..geometry.capacity {
            let base = geometry.headers + geometry.header_stride * slot;
            let group = format!("header[{slot}]");
            let length = geometry.lengths + 4 * slot;
            let has_length = geometry.fixed == 0 && self.bytes[length as usize..][..4] != [0; 4];
            let written = has_length || (0..geometry.header_stride / 8).any(|n| self.word(base + 8 * n) != 0);
            if written && geometry.fixed > 0 {
                self.field(format!("{group}.name"), base + header::NAME, 7, Show::Number);
                self.field(format!("{group}.failures"), base + header::NAME + 7, 1, Show::Number);
            } else if written {
                self.field(format!("length[{slot}]"), length, 4, Show::Number);
                self.field(format!("{group}.producer"), base + header::PRODUCER, 8, Show::Number);
                // The word's top byte is its last: little-endian.
                self.field(format!("{group}.sequence"), base + header::SEQUENCE, 7, Show::Number);
                self.field(format!("{group}.failures"), base + header::SEQUENCE + 7, 1, Show::Number);
                if geometry.has_timestamps() {
                    self.field(format!("{group}.time"), base + header::TIME, 8, Show::Masked);
                }
            }
        }
        for slot in 0..geometry.capacity {
            let base = geometry.payload + geometry.slot_size * slot;
            let bytes = &self.bytes[base as usize..][..geometry.slot_size as usize];
            if bytes.iter().any(|byte| *byte != 0) {
                let comment = bytes.escape_ascii().to_string();
                self.field(format!("payload[{slot}]"), base, geometry.slot_size, Show::Bytes);
                self.comment(base, comment);
            }
        }
    }

    fn object(&mut self, geometry: &named::ObjectLayout) {
        use Show::{Masked, Number};
        use named::ObjectPreamble;
        use std::mem::offset_of;
        self.field("preamble.magic", offset_of!(ObjectPreamble, magic) as u64, 8, Show::Bytes);
        self.number("preamble.version", offset_of!(ObjectPreamble, version), 4);
        self.number("preamble.abi", offset_of!(ObjectPreamble, abi), 4);
        self.field("preamble.id", offset_of!(ObjectPreamble, id) as u64, 16, Masked);
        self.number("preamble.kind", offset_of!(ObjectPreamble, kind), 4);
        self.number("preamble.limit", offset_of!(ObjectPreamble, limit), 4);
        self.number("preamble.size", offset_of!(ObjectPreamble, size), 8);
        // Of the condition, a notified participant is about to wait for the lock.
        let lock_wait = if geometry.kind == named::ObjectKind::Condition { Masked } else { Number };
        self.words(
            "head",
            0,
            &[
                ("owner", named::head::OWNER, Number),
                ("event", named::head::EVENT, Number),
                ("passed", named::head::PASSED, Number),
                ("serial", named::head::SERIAL, Number),
                ("numbers", named::head::NUMBERS, Number),
                ("fences", named::head::FENCES, Masked),
                ("swept_at", named::head::SWEPT_AT, Masked),
                ("ticket", named::head::TICKET, Number),
                ("events", named::head::EVENTS, Number),
                ("waiting", named::head::WAITING, lock_wait),
                ("semaphore", named::head::SEMAPHORE, lock_wait),
                ("semaphore.shared", named::head::SEMAPHORE + 8, Number),
            ],
        );
        if geometry.kind == named::ObjectKind::Barrier {
            self.words(
                "gate",
                0,
                // A waiting participant announces itself again and again.
                &[
                    ("waiting", named::head::GATE_WAITING, Masked),
                    ("semaphore", named::head::GATE, Masked),
                    ("semaphore.shared", named::head::GATE + 8, Number),
                ],
            );
        }
        for number in 0..geometry.participants {
            let base = geometry.entry(number);
            if self.word(base) == 0 {
                continue;
            }
            self.number(format!("entry[{number}].state"), (base + named::entry::STATE) as usize, 8);
            if geometry.kind == named::ObjectKind::Barrier {
                self.words(&format!("entry[{number}]"), base, &[("wait", named::entry::WAIT, Number)]);
            }
            if geometry.kind == named::ObjectKind::Condition {
                self.words(
                    &format!("entry[{number}]"),
                    base,
                    // A waiting participant announces itself again and again.
                    &[
                        ("wait", named::entry::WAIT, Number),
                        ("sleeping", named::entry::SLEEPING, Masked),
                        ("semaphore", named::entry::SEMAPHORE, Masked),
                        ("semaphore.shared", named::entry::SEMAPHORE + 8, Number),
                    ],
                );
            }
        }
        let permits = if geometry.kind == named::ObjectKind::Semaphore { geometry.limit } else { 0 };
        for index in 0..permits {
            self.number(format!("permit[{index}]"), geometry.permit(index) as usize, 8);
        }
    }

    fn line(&self, at: u64, field: &Field) -> String {
        let bytes = &self.bytes[at as usize..(at + field.len) as usize];
        let value = match field.show {
            Show::Masked => "(varies)".into(),
            Show::Bytes => hex(bytes.iter()),
            Show::Number => hex(bytes.iter().rev()),
        };
        let comment = if field.comment.is_empty() { String::new() } else { format!(" ; {}", field.comment) };
        format!("{at:#07x} {:<30} {value}{comment}\n", field.name)
    }

    /// All of it. Words without a name are shown if they are not 0; of such words at equal distances with equal
    /// values, the first and the last are.
    pub fn text(&self) -> String {
        let mut text = format!("{}\n{} bytes; words without a name are 0\n", self.head, self.bytes.len());
        let mut unnamed: Vec<(u64, String)> = Vec::new();
        let mut at = 0;
        while at < self.bytes.len() as u64 {
            if let Some(field) = self.fields.get(&at) {
                text += &lines(std::mem::take(&mut unnamed));
                text += &self.line(at, field);
                at += field.len;
                continue;
            }
            let next = self.fields.range(at..).next().map_or(u64::MAX, |(next, _)| *next);
            let end = (at + 8).min(next).min(self.bytes.len() as u64);
            let bytes = &self.bytes[at as usize..end as usize];
            if bytes.iter().any(|byte| *byte != 0) {
                unnamed.push((at, hex(bytes.iter().rev())));
            }
            at = end;
        }
        text + &lines(unnamed)
    }
}

/// Lines for words without a name.
fn lines(words: Vec<(u64, String)>) -> String {
    let mut text = String::new();
    let mut rest = &words[..];
    while let [(at, value), more @ ..] = rest {
        let _ = writeln!(text, "{at:#07x} {:<30} {value}", "(no name)");
        rest = more;
        let Some((second, _)) = more.first() else { break };
        let step = second - at;
        let as_first =
            |(n, word): &(usize, &(u64, String))| word.0 == at + step * (*n as u64 + 1) && word.1 == *value;
        let same = more.iter().enumerate().take_while(as_first).count();
        if same > 1 {
            let _ = writeln!(
                text,
                "{:#07x} (no name, every {step:#x} bytes until here) {value}",
                more[same - 1].0
            );
            rest = &more[same..];
        }
    }
    text
}

fn hex<'a>(bytes: impl Iterator<Item = &'a u8>) -> String {
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

/// In the order of the words.
const COUNTERS: [&str; head::TOTALS_LEN as usize] = [
    "sent",
    "received",
    "acknowledged",
    "returned",
    "dropped_newest",
    "dropped_oldest",
    "bytes_sent",
    "bytes_received",
];
