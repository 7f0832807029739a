//! The one error type of the library, and its kinds.

use std::io;

/// What can go wrong, one line each: what was wrong and, where it helps, the expected form.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A ring name that no shared-memory object can have.
    #[error(
        "bad ring name {given:?}: {why}; expected NAME, /NAME or shm:NAME, 1 to 250 bytes, no other slash, no NUL, not . or .."
    )]
    Name {
        /// The name as given.
        given: Box<str>,
        /// Which rule it breaks.
        why: &'static str,
    },
    /// An option that no ring can be made with.
    #[error("{0}")]
    Options(Box<str>),
    /// No ring, or no named object of [`sync`](crate::sync), of this name.
    #[error("{0:?} does not exist")]
    NotFound(Box<str>),
    /// The name is taken.
    #[error("{0:?} exists already")]
    Exists(Box<str>),
    /// The name belongs to something else than expected, or to a ring or an object of another version, libc or
    /// word size.
    #[error("{name:?} cannot be used by this program: {why}")]
    Incompatible {
        /// The name of the object.
        name: Box<str>,
        /// What was found and what was expected.
        why: Box<str>,
    },
    /// The bytes of the segment contradict the protocol.
    #[error("the shared memory is damaged: {0}")]
    Damaged(Box<str>),
    /// Somebody cut the shared memory short while it was in use, and what was in it is lost to this handle. Only
    /// after [`survive_truncation`](crate::survive_truncation); without it, a process dies of it.
    #[error("the shared memory was truncated by another program, and what was in it is lost")]
    Truncated,
    /// The shared-memory file system has too little room for the ring.
    #[error("not enough shared memory: {required} bytes required, {available} available")]
    NoSpace {
        /// Bytes that the ring needs.
        required: u64,
        /// Bytes that were free.
        available: u64,
    },
    /// The item does not fit: an item may span up to half of the ring's slots.
    #[error(
        "an item of {len} bytes is too large: this ring takes up to {limit} bytes (half of its slots); make it with more slots (--capacity) or larger ones (--slot-size)"
    )]
    TooLarge {
        /// Length of the item in bytes.
        len: u64,
        /// The largest item in bytes.
        limit: u64,
    },
    /// The item's bytes are no value of the type that was asked for.
    #[error(
        "an item of {len} bytes is no value of the {expected}-byte type asked for; it stays in the ring, for an untyped consumer"
    )]
    Mismatch {
        /// Length of the item in bytes.
        len: u64,
        /// Size of the type in bytes.
        expected: u64,
    },
    /// No room now, and waiting was not asked for.
    #[error("it is full")]
    Full,
    /// No item now, and waiting was not asked for.
    #[error("the ring is empty")]
    Empty,
    /// The deadline passed.
    #[error("timed out")]
    TimedOut,
    /// The ring was closed: it takes no more items.
    #[error("the ring is closed")]
    Closed,
    /// Every item was delivered and acknowledged, and every producer has left: end of stream.
    #[error("end of stream")]
    Ended,
    /// The stop flag was raised while waiting.
    #[error("interrupted")]
    Interrupted,
    /// The place is taken: an exclusive ring's other producer or consumer, or all participant numbers.
    #[error("{0}")]
    Busy(Box<str>),
    /// The handle was made before a `fork` and is used after it, in the child.
    #[error("this handle belongs to the parent process; open the ring anew after fork")]
    Forked,
    /// What was asked for cannot be had on this ring or this system.
    #[error("{0}")]
    Unsupported(Box<str>),
    /// The system refused.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: Box<str>,
        /// The system's answer.
        source: io::Error,
    },
}

/// The kinds of [`Error`], for programs that act on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A name or an option of the wrong form.
    Usage,
    /// There is no such ring.
    NotFound,
    /// There is such a ring already.
    Exists,
    /// Not a ring, or one of another version or ABI.
    Incompatible,
    /// The segment's bytes contradict the protocol.
    Damaged,
    /// The segment was cut short.
    Truncated,
    /// Too little shared memory.
    NoSpace,
    /// The item is larger than half of the ring.
    TooLarge,
    /// The item is no value of the type.
    Mismatch,
    /// No room.
    Full,
    /// No item.
    Empty,
    /// The deadline passed.
    TimedOut,
    /// The ring takes no more items.
    Closed,
    /// End of stream.
    Ended,
    /// The stop flag was raised.
    Interrupted,
    /// The place is taken.
    Busy,
    /// Used after fork.
    Forked,
    /// Not to be had here.
    Unsupported,
    /// The system refused.
    Io,
}

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// The kind of this error.
    ///
    /// ```
    /// use ringpipe::{ErrorKind, RingName};
    /// let error = RingName::parse("a/b").unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::Usage);
    /// ```
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::Name { .. } | Error::Options(_) => ErrorKind::Usage,
            Error::NotFound(_) => ErrorKind::NotFound,
            Error::Exists(_) => ErrorKind::Exists,
            Error::Incompatible { .. } => ErrorKind::Incompatible,
            Error::Damaged(_) => ErrorKind::Damaged,
            Error::Truncated => ErrorKind::Truncated,
            Error::NoSpace { .. } => ErrorKind::NoSpace,
            Error::TooLarge { .. } => ErrorKind::TooLarge,
            Error::Mismatch { .. } => ErrorKind::Mismatch,
            Error::Full => ErrorKind::Full,
            Error::Empty => ErrorKind::Empty,
            Error::TimedOut => ErrorKind::TimedOut,
            Error::Closed => ErrorKind::Closed,
            Error::Ended => ErrorKind::Ended,
            Error::Interrupted => ErrorKind::Interrupted,
            Error::Busy(_) => ErrorKind::Busy,
            Error::Forked => ErrorKind::Forked,
            Error::Unsupported(_) => ErrorKind::Unsupported,
            Error::Io { .. } => ErrorKind::Io,
        }
    }

    /// The system's refusal of `what`.
    pub(crate) fn io(what: impl Into<Box<str>>, source: impl Into<io::Error>) -> Self {
        Error::Io { what: what.into(), source: source.into() }
    }
}
