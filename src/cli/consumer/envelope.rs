//! Formats an item as a JSON object.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;

use crate::cli::common::{escape, no_producer};
use crate::cli::transport::Item;

/// The format of `consumer --json`: one object per line.
#[derive(Debug, Serialize)]
struct Envelope<'a> {
    /// Name and version of this format.
    schema: &'static str,
    /// Together with the producer's number it identifies the item.
    sequence: u64,
    /// `null` in a ring of fixed items.
    #[serde(with = "no_producer")]
    producer: u32,
    /// With `--hold`.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    attempt: u8,
    redelivered: bool,
    /// RFC 3339, with nanoseconds, UTC.
    time: String,
    /// The event at that time: `sent` or `received`.
    time_of: &'static str,
    /// The bytes, if they are UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    /// The bytes in base64, if they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

/// The facts about an item.
pub(super) struct About {
    pub producer: u32,
    pub sequence: u64,
    pub attempt: u8,
    pub sent_at: Option<u64>,
    pub token: Option<String>,
}

/// Appends `item`, received at `now`, and a newline to `out`; `bytes` is a buffer for the item's bytes.
pub(super) fn append(item: &impl Item, now: SystemTime, bytes: &mut Vec<u8>, out: &mut Vec<u8>) {
    bytes.clear();
    item.append_to(bytes);
    let about = About {
        producer: item.producer(),
        sequence: item.sequence(),
        attempt: item.attempt(),
        sent_at: item.sent_at(),
        token: None,
    };
    append_bytes(about, bytes, now, out);
}

/// Appends the item with these bytes, received at `now`, and a newline to `out`.
pub(super) fn append_bytes(about: About, bytes: &[u8], now: SystemTime, out: &mut Vec<u8>) {
    let sent = about.sent_at.and_then(|time| UNIX_EPOCH.checked_add(Duration::from_nanos(time)));
    let text = std::str::from_utf8(bytes).ok();
    let envelope = Envelope {
        schema: "ringpipe.item/1",
        sequence: about.sequence,
        producer: about.producer,
        token: about.token,
        attempt: about.attempt,
        redelivered: about.attempt > 1,
        time: rfc3339(sent.unwrap_or(now)),
        time_of: if sent.is_some() { "sent" } else { "received" },
        base64: text.is_none().then(|| BASE64_STANDARD.encode(bytes)),
        text,
    };
    // The object has no maps, so this cannot fail.
    let written = serde_json::to_string(&envelope);
    debug_assert!(written.is_ok());
    out.extend_from_slice(escape::json(written.unwrap_or_default()).as_bytes());
    out.push(b'\n');
}

fn rfc3339(time: SystemTime) -> String {
    humantime::format_rfc3339_nanos(time).to_string()
}
