//! `ringctl peek`: shows items without taking them.

use std::io::{self, IsTerminal};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Serialize;

use super::show;
use crate::cli::common::address::Address;
#[cfg(feature = "nats")]
use crate::cli::common::signals;
use crate::cli::common::start::End;
use crate::cli::common::ui::{Ui, json_line};
use crate::{
    ItemKey, Peeked,
    cli::common::{
        args::{Count, DelimiterArg},
        dead_letter::DeadLetter,
        escape,
        exit::{Failure, code},
        no_producer,
    },
    framing::Framing,
};

/// Show items that wait, oldest first, without taking them
///
/// The items stay in the ring and are delivered as usual. An item that a consumer takes while it is copied is
/// left out. On a terminal, control characters and bytes that are not text are escaped. A note on standard
/// error names each item that a worker has failed to process. Before the bytes of an item that failed for
/// good (consumer --dead-letter), a line says which item it was, why and when it failed, and has the last
/// line of standard error; --raw shows the letter as it is in the ring.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ringctl peek jobs                  the oldest 10 items, one a line
  ringctl peek jobs -n 1 --json      the oldest, with its producer, sequence number and time

Exit codes: 0 shown; 3 no such ring, or it is empty; 6 damaged, or not a ring.")]
pub struct Args {
    /// Name of the ring
    ring: Address,
    /// Show at most N items
    #[arg(short = 'n', long, default_value = "10", value_name = "N")]
    count: Count,
    /// A NUL byte after each item instead of a line break
    #[arg(short = '0', long, conflicts_with_all = ["delimiter", "json"])]
    null: bool,
    /// This byte after each item instead of a line break
    #[arg(short, long, value_name = "BYTE", conflicts_with = "json")]
    delimiter: Option<DelimiterArg>,
    /// The bytes unchanged, also on a terminal
    #[arg(long, conflicts_with = "json")]
    raw: bool,
    /// One JSON object a line; bytes that are not UTF-8 in base64
    ///
    /// Its fields: schema (ringpipe.peek/1), ring, producer (null in a ring of fixed items), sequence, attempt, failures, sent_at_ns, bytes (their
    /// number), text or base64. Of an item that failed for good, the bytes are those of the item, and dead_letter has ring,
    /// producer, sequence, failures, reason, exit, signal, time and stderr.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Shown<'a> {
    schema: &'static str,
    ring: &'a str,
    #[serde(with = "no_producer")]
    producer: u32,
    sequence: u64,
    attempt: u8,
    failures: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    sent_at_ns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dead_letter: Option<DeadLetter>,
    bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

pub fn run(args: &Args, ui: &Ui) -> Result<End, Failure> {
    let name = args.ring.as_str();
    let items: Vec<Waiting> = match &args.ring {
        Address::Ring(ring) => {
            let items = super::observe(ring)?.peek(usize::try_from(args.count.0).unwrap_or(usize::MAX));
            items.into_iter().map(Waiting::from).collect()
        }
        #[cfg(feature = "nats")]
        Address::Stream(stream) => match super::streams::peek(stream, args.count.0, ui)? {
            Some(items) => items.into_iter().map(Waiting::from).collect(),
            None => return Ok(signals::end()),
        },
    };
    if items.is_empty() && args.count.0 > 0 {
        return Err(Failure::new(code::EMPTY, format!("ring {name:?} is empty: no item waits")));
    }
    let escapes = !args.raw && io::stdout().is_terminal();
    let mut out = Vec::new();
    for item in &items {
        if args.json {
            out.extend_from_slice(json_line(&Shown::of(name, item))?.as_bytes());
            continue;
        }
        let letter = if args.raw { None } else { DeadLetter::parse(&item.bytes) };
        let bytes = letter.as_ref().map_or(&item.bytes[..], |(_, bytes)| bytes);
        let mut shown = letter.as_ref().map_or(Vec::new(), |(letter, _)| headline(letter).into_bytes());
        match escapes {
            true => shown.extend_from_slice(escape::bytes(bytes, true).as_bytes()),
            false => shown.extend_from_slice(bytes),
        }
        args.framing()
            .frame_into(&shown, &mut out)
            .map_err(|error| Failure::new(code::RUNTIME, error.to_string()))?;
    }
    ui.emit(&out)?;
    // Beside the items: standard output has their bytes and nothing else.
    let failed = |item: &&Waiting| item.failures > 0 && !args.json;
    for &Waiting { producer, sequence, failures, .. } in items.iter().filter(failed) {
        let times = show::counted(u64::from(failures), "failure");
        ui.note(&format!("ring {name:?}: item {} has {times}", ItemKey { producer, sequence }));
    }
    Ok(End::Done)
}

/// An item that waits.
struct Waiting {
    producer: u32,
    sequence: u64,
    attempt: u8,
    failures: u8,
    sent_at: Option<u64>,
    bytes: Vec<u8>,
}

impl From<Peeked> for Waiting {
    fn from(Peeked { producer, sequence, attempt, failures, sent_at, bytes, .. }: Peeked) -> Self {
        Waiting { producer, sequence, attempt, failures, sent_at, bytes }
    }
}

#[cfg(feature = "nats")]
impl From<crate::cli::transport::nats::admin::Waiting> for Waiting {
    fn from(item: crate::cli::transport::nats::admin::Waiting) -> Self {
        let ItemKey { producer, sequence } = item.key;
        // A server does not tell how often it has delivered an item.
        let attempt = item.failures.saturating_add(1);
        Waiting {
            producer,
            sequence,
            attempt,
            failures: item.failures,
            sent_at: Some(item.sent_at),
            bytes: item.bytes,
        }
    }
}

impl Args {
    fn framing(&self) -> Framing {
        match self.delimiter {
            Some(DelimiterArg(byte)) => Framing::Delimiter(byte),
            None if self.null => Framing::Null,
            None => Framing::Lines,
        }
    }
}

/// What a letter says about its item, on a line.
fn headline(letter: &DeadLetter) -> String {
    let DeadLetter { ring, producer, sequence, failures, reason, time, stderr, .. } = letter;
    let key = ItemKey { producer: *producer, sequence: *sequence };
    let times = if *failures == 1 { "once".into() } else { format!("{failures} times") };
    let mut line = format!("{ring:?} {key} failed {times}, {reason}, {time}");
    if let Some(last) = stderr.lines().rfind(|last| !last.trim().is_empty()) {
        line += &format!(": {last}");
    }
    escape::text(&line) + "\n"
}

impl<'a> Shown<'a> {
    fn of(ring: &'a str, item: &'a Waiting) -> Self {
        let (dead_letter, bytes) = match DeadLetter::parse(&item.bytes) {
            Some((letter, bytes)) => (Some(letter), bytes),
            None => (None, &item.bytes[..]),
        };
        let text = std::str::from_utf8(bytes).ok();
        Shown {
            schema: "ringpipe.peek/1",
            ring,
            producer: item.producer,
            sequence: item.sequence,
            attempt: item.attempt,
            failures: item.failures,
            sent_at_ns: item.sent_at,
            dead_letter,
            bytes: bytes.len(),
            text,
            base64: text.is_none().then(|| BASE64_STANDARD.encode(bytes)),
        }
    }
}
