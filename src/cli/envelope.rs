//! An item as a JSON object.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;

use crate::BatchItem;

/// The form of `consumer --json`: one object per line.
#[derive(Debug, Serialize)]
struct Envelope<'a> {
    /// Name and version of this form.
    schema: &'static str,
    /// With the producer's number it names the item.
    sequence: u64,
    producer: u32,
    attempt: u8,
    redelivered: bool,
    /// RFC 3339, with nanoseconds, UTC.
    time: String,
    /// What happened at that time: `sent` or `received`.
    time_of: &'static str,
    /// The bytes, if they are UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    /// The bytes, if they are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

/// Appends `item`, received at `now`, and a newline to `out`; its bytes are copied to `bytes` on the way.
pub(super) fn append(item: &BatchItem<'_>, now: SystemTime, bytes: &mut Vec<u8>, out: &mut Vec<u8>) {
    bytes.clear();
    item.append_to(bytes);
    let sent = item.sent_at().and_then(|time| UNIX_EPOCH.checked_add(Duration::from_nanos(time)));
    let text = std::str::from_utf8(bytes).ok();
    let envelope = Envelope {
        schema: "ringpipe.item/1",
        sequence: item.sequence(),
        producer: item.producer(),
        attempt: item.attempt(),
        redelivered: item.redelivered(),
        time: rfc3339(sent.unwrap_or(now)),
        time_of: if sent.is_some() { "sent" } else { "received" },
        base64: text.is_none().then(|| BASE64_STANDARD.encode(&bytes)),
        text,
    };
    // Into a Vec, and without maps: nothing that could fail.
    let written = serde_json::to_writer(&mut *out, &envelope);
    debug_assert!(written.is_ok());
    out.push(b'\n');
}

fn rfc3339(time: SystemTime) -> String {
    humantime::format_rfc3339_nanos(time).to_string()
}
