//! Values of a scenario file: from TOML to durations, sizes, signals and patterns.

use std::str::FromStr;
use std::time::Duration;

use nix::errno::Errno;
use regex_lite::{Regex, RegexBuilder};
use toml::de::DeValue;

use super::node::Node;
use super::wrong::Wrong;
use super::{Exit, Signal};
use crate::cli::common::args::{ByteSize, DelayArg, DurationArg};

pub const DURATION: &str = "a duration such as \"250ms\", \"5s\" or \"2m\", or seconds";
pub const SPAN: &str = "a duration such as \"200ms\", or a range of durations such as \"100ms..2s\"";
pub const SIZE: &str = "a number of bytes such as 4096 or \"64K\"";
pub const SIZES: &str = "a number of bytes such as 64 or \"1K\", or a range such as \"10..1000\"";
pub const SIGNAL: &str = "the name of a signal such as \"TERM\", \"INT\" or \"HUP\"";
pub const ERRNO: &str = "the name of an error such as \"EIO\", \"ENOSPC\" or \"EMFILE\"";
pub const CALL: &str = "the name of a system call such as \"write\" or \"openat\"";
pub const EXIT: &str = "an exit code from 0 to 255, or the name of a signal such as \"KILL\"";
pub const SHA256: &str = "a SHA-256 checksum: 64 hexadecimal digits";
pub const PATTERN: &str = "a regular expression";

/// A text.
///
/// # Errors
/// It is none.
pub fn text(node: Node<'_>) -> Result<String, Wrong> {
    node.value.as_str().map(str::to_string).ok_or_else(|| node.mistyped("a text"))
}

/// A text that is not empty.
///
/// # Errors
/// It is none.
pub fn word(node: Node<'_>) -> Result<String, Wrong> {
    let text = text(node)?;
    if text.is_empty() { Err(node.wrong("this is empty", "a text")) } else { Ok(text) }
}

/// True or false.
///
/// # Errors
/// It is neither.
pub fn truth(node: Node<'_>) -> Result<bool, Wrong> {
    node.value.as_bool().ok_or_else(|| node.mistyped("true or false"))
}

/// A whole number of 64 bits with its sign.
fn integer(node: Node<'_>) -> Option<i64> {
    let number = node.value.as_integer()?;
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

/// A whole number of 0 or more.
///
/// # Errors
/// It is none.
pub fn whole(node: Node<'_>) -> Result<u64, Wrong> {
    let expected = "a whole number, 0 or more";
    if !node.value.is_integer() {
        return Err(node.mistyped(expected));
    }
    let number = integer(node).and_then(|number| u64::try_from(number).ok());
    number.ok_or_else(|| node.wrong("the number is too small or too large", expected))
}

/// A whole number that fits into 32 bits.
///
/// # Errors
/// It is none.
pub fn small(node: Node<'_>) -> Result<u32, Wrong> {
    u32::try_from(whole(node)?)
        .map_err(|_| node.wrong("the number is too large", "a whole number below 4294967296"))
}

/// A number or a text as the command line would have it.
///
/// # Errors
/// It is neither.
pub fn scalar(node: Node<'_>) -> Result<String, Wrong> {
    match node.value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(_) => match integer(node) {
            Some(number) => Ok(number.to_string()),
            None => Err(node.wrong("the number is too large", "at most 9223372036854775807")),
        },
        DeValue::Float(number) => Ok(number.as_str().into()),
        _ => Err(node.mistyped("a text or a number")),
    }
}

/// What `T` reads from a text or a number, as on the command line.
fn argument<T: FromStr>(node: Node<'_>, expected: &str) -> Result<T, Wrong> {
    if !matches!(node.value, DeValue::String(_) | DeValue::Integer(_) | DeValue::Float(_)) {
        return Err(node.mistyped(expected));
    }
    let given = scalar(node)?;
    given.parse().map_err(|_| node.wrong(format!("{given:?} is not understood"), expected))
}

/// A duration.
///
/// # Errors
/// It is none.
pub fn duration(node: Node<'_>) -> Result<Duration, Wrong> {
    argument(node, DURATION).map(|DurationArg(duration)| duration)
}

/// A duration above 0.
///
/// # Errors
/// It is none.
pub fn positive(node: Node<'_>) -> Result<Duration, Wrong> {
    match duration(node)? {
        Duration::ZERO => Err(node.wrong("this is no time at all", "a duration above 0 such as \"5s\"")),
        duration => Ok(duration),
    }
}

/// A duration or a range of durations.
///
/// # Errors
/// It is neither.
pub fn span(node: Node<'_>) -> Result<(Duration, Duration), Wrong> {
    argument(node, SPAN).map(|DelayArg { min, max }| (min, max))
}

/// A number of bytes.
///
/// # Errors
/// It is none.
pub fn size(node: Node<'_>) -> Result<u64, Wrong> {
    argument(node, SIZE).map(|ByteSize(bytes)| bytes)
}

/// A number of bytes, or a range.
struct Sizes(u64, u64);

impl FromStr for Sizes {
    type Err = ();

    fn from_str(given: &str) -> Result<Self, ()> {
        let (least, most) = given.split_once("..").unwrap_or((given, given));
        let bytes = |text: &str| text.trim().parse().map(|ByteSize(bytes)| bytes).map_err(drop);
        let (least, most) = (bytes(least)?, bytes(most)?);
        if least <= most { Ok(Sizes(least, most)) } else { Err(()) }
    }
}

/// The smallest and the largest of some sizes.
///
/// # Errors
/// It is neither a size nor a range of sizes.
pub fn sizes(node: Node<'_>) -> Result<(u64, u64), Wrong> {
    argument(node, SIZES).map(|Sizes(least, most)| (least, most))
}

/// A regular expression.
///
/// # Errors
/// It is none.
pub fn pattern(node: Node<'_>) -> Result<Regex, Wrong> {
    let text = node.value.as_str().ok_or_else(|| node.mistyped(PATTERN))?;
    // As line by line: outputs are matched whole.
    let pattern = RegexBuilder::new(text).multi_line(true).build();
    pattern.map_err(|error| node.wrong(format!("{text:?} is not understood: {error}"), PATTERN))
}

fn named_signal(name: &str) -> Option<Signal> {
    let full = if name.starts_with("SIG") { name.to_string() } else { format!("SIG{name}") };
    full.parse().ok().map(Signal)
}

/// A signal by its name, with or without SIG.
///
/// # Errors
/// There is none of this name.
pub fn signal(node: Node<'_>) -> Result<Signal, Wrong> {
    let name = node.value.as_str().ok_or_else(|| node.mistyped(SIGNAL))?;
    named_signal(name).ok_or_else(|| node.wrong(format!("there is no signal {name:?}"), SIGNAL))
}

/// An error of a system call by its name.
///
/// # Errors
/// There is none of this name.
pub fn errno(node: Node<'_>) -> Result<i32, Wrong> {
    let name = node.value.as_str().ok_or_else(|| node.mistyped(ERRNO))?;
    let proper = match name {
        "EWOULDBLOCK" => "EAGAIN",
        "EDEADLOCK" => "EDEADLK",
        "ENOTSUP" => "EOPNOTSUPP",
        name => name,
    };
    let found = (1..=133).find(|&number| format!("{:?}", Errno::from_raw(number)) == proper);
    found.ok_or_else(|| node.wrong(format!("there is no error {name:?}"), ERRNO))
}

/// The name of a system call.
///
/// # Errors
/// It cannot be one.
pub fn call(node: Node<'_>) -> Result<String, Wrong> {
    let name = node.value.as_str().ok_or_else(|| node.mistyped(CALL))?;
    let is_name = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'));
    if is_name { Ok(name.into()) } else { Err(node.wrong(format!("{name:?} is not a name"), CALL)) }
}

/// The end of a process.
///
/// # Errors
/// It is neither a code nor a signal.
pub fn exit(node: Node<'_>) -> Result<Exit, Wrong> {
    match node.value {
        DeValue::Integer(_) => match integer(node) {
            Some(code @ 0..=255) => Ok(Exit::Code(code as i32)),
            _ => Err(node.wrong("there is no such exit code", EXIT)),
        },
        DeValue::String(name) => match named_signal(name) {
            Some(signal) => Ok(Exit::Signal(signal)),
            None => Err(node.wrong(format!("there is no signal {name:?}"), EXIT)),
        },
        _ => Err(node.mistyped(EXIT)),
    }
}

/// A checksum, in small letters.
///
/// # Errors
/// It is none.
pub fn sha256(node: Node<'_>) -> Result<String, Wrong> {
    let digits = node.value.as_str().ok_or_else(|| node.mistyped(SHA256))?;
    let is_hash = digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hash {
        Ok(digits.to_ascii_lowercase())
    } else {
        Err(node.wrong("these are not 64 hexadecimal digits", SHA256))
    }
}

/// Reads each element of a list, or one value that stands for a list of one.
///
/// # Errors
/// As `read`.
pub fn each<'t, T>(node: Node<'t>, read: impl Fn(Node<'t>) -> Result<T, Wrong>) -> Result<Vec<T>, Wrong> {
    match node.elements() {
        Some(elements) => elements.map(read).collect(),
        None => read(node).map(|one| vec![one]),
    }
}
