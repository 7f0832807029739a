//! The error type of the library, and its kinds.

use std::io;

use crate::sys::size::Size;

/// An error of the library. Its text is one line that says what is wrong and, where it helps, which form is expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The name is not a valid ring name.
    #[error(
        "bad ring name {given:?}: {why}; expected NAME, /NAME or shm:NAME, 1 to 250 bytes, no other slash, no NUL, not . or .."
    )]
    Name {
        /// The name as given.
        given: Box<str>,
        /// Which rule it breaks.
        why: &'static str,
    },
    /// An option, or a combination of options, is not valid.
    #[error("{0}")]
    Options(Box<str>),
    /// There is no ring, or no named object of [`sync`](crate::sync), with this name.
    #[error("{0:?} does not exist")]
    NotFound(Box<str>),
    /// A ring or named object with this name exists already.
    #[error("{0:?} exists already")]
    Exists(Box<str>),
    /// The name belongs to another kind of object, or to a ring or an object of another version, libc or word size.
    #[error("{name:?} cannot be used by this program: {why}")]
    Incompatible {
        /// The name of the object.
        name: Box<str>,
        /// What was found and what was expected.
        why: Box<str>,
    },
    /// The object belongs to a user that was not accepted as an owner: see [`Owners`](crate::Owners).
    #[error(
        "{name:?} belongs to user {owner}; expected the user of this process, root, or an owner that was accepted"
    )]
    Untrusted {
        /// The name of the object.
        name: Box<str>,
        /// The user id of its owner.
        owner: u32,
    },
    /// The bytes of the segment contradict the protocol.
    #[error("the shared memory is damaged: {0}")]
    Damaged(Box<str>),
    /// Another program truncated the shared memory while this handle used it; its content is lost. Only after a call of
    /// [`survive_truncation`](crate::survive_truncation); without that call the process ends by SIGBUS.
    #[error("the shared memory was truncated by another program, and its content is lost")]
    Truncated,
    /// The shared-memory file system has too little room for the ring.
    #[error("not enough shared memory: {} required, {} available", Size(*required), Size(*available))]
    NoSpace {
        /// Bytes that the ring needs.
        required: u64,
        /// Bytes that were free.
        available: u64,
    },
    /// A control group of this process allows too little memory for the ring: with that memory in use, the kernel would kill a
    /// process of the group.
    #[error(
        "not enough memory: {} required, {} left of the {} that {file} allows",
        Size(*required),
        Size(*available),
        Size(*limit)
    )]
    MemoryLimit {
        /// Bytes that the ring needs.
        required: u64,
        /// Bytes that the group may still use.
        available: u64,
        /// Bytes that the group may use in all.
        limit: u64,
        /// The file that states the limit.
        file: Box<str>,
    },
    /// The item is too large: an item may span up to half of the ring's slots.
    #[error(
        "an item of {} is too large: this ring takes up to {} (half of its slots); expected a shorter item, or a ring with more or larger slots",
        Size(*len),
        Size(*limit)
    )]
    TooLarge {
        /// Length of the item in bytes.
        len: u64,
        /// The largest item in bytes.
        limit: u64,
    },
    /// A received item is not a value of the requested type, and stays in the ring; or an item that was to be sent does not
    /// have the length of all items of a ring of fixed items.
    #[error("{}", mismatch(*len, *expected))]
    Mismatch {
        /// Length of the item in bytes.
        len: u64,
        /// Size of the type, or length of the ring's items, in bytes.
        expected: u64,
    },
    /// The ring is full, and the call does not wait.
    #[error("it is full")]
    Full,
    /// The ring is empty, and the call does not wait.
    #[error("the ring is empty")]
    Empty,
    /// The deadline passed before the call could finish.
    #[error("timed out")]
    TimedOut,
    /// The ring is closed: it accepts no more items.
    #[error("the ring is closed")]
    Closed,
    /// End of stream: every item was delivered and acknowledged, and every producer has left or died.
    #[error("end of stream")]
    Ended,
    /// The stop flag was raised during the wait.
    #[error("interrupted")]
    Interrupted,
    /// No place is free: an exclusive ring has a producer or consumer already, or all participant numbers are in use.
    #[error("{0}")]
    Busy(Box<str>),
    /// The handle was made before a `fork` and is used after it, in the child.
    #[error("this handle belongs to the parent process; open the ring again after fork")]
    Forked,
    /// The handle is no longer a participant: other code of this process closed its descriptors, for example by
    /// `close_range`, and so released the lock that shows that the handle is alive. Other processes get what it held.
    #[error(
        "other code of this process closed the handle's descriptors, so other processes count it as dead; open the ring again, and keep its descriptors open"
    )]
    Evicted,
    /// This ring or this system does not support the request.
    #[error("{0}")]
    Unsupported(Box<str>),
    /// A system call failed.
    #[error("{what}: {source}")]
    Io {
        /// The operation that failed.
        what: Box<str>,
        /// The error of the system.
        source: io::Error,
    },
}

/// The kinds of [`Error`], for programs that act on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A name or an option is not valid.
    Usage,
    /// There is no such ring.
    NotFound,
    /// A ring with this name exists already.
    Exists,
    /// The object is not a ring, or one of another version or ABI.
    Incompatible,
    /// The owner was not accepted.
    Untrusted,
    /// The segment's bytes contradict the protocol.
    Damaged,
    /// The segment was truncated.
    Truncated,
    /// There is too little memory.
    NoSpace,
    /// The item is larger than half of the ring.
    TooLarge,
    /// The item is not a value of the requested type, or does not have the length of the ring's fixed items.
    Mismatch,
    /// The ring is full.
    Full,
    /// The ring is empty.
    Empty,
    /// The deadline passed.
    TimedOut,
    /// The ring is closed.
    Closed,
    /// End of stream.
    Ended,
    /// The stop flag was raised.
    Interrupted,
    /// No place is free.
    Busy,
    /// The handle was used in a forked child.
    Forked,
    /// The handle's descriptors were closed by other code.
    Evicted,
    /// Not supported here.
    Unsupported,
    /// A system call failed.
    Io,
}

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

fn mismatch(len: u64, expected: u64) -> String {
    let bytes = |number| if number == 1 { "1 byte".to_string() } else { format!("{number} bytes") };
    match len == expected {
        true => format!(
            "an item of {} is not a value of the requested type; it stays in the ring, for an untyped consumer",
            bytes(len)
        ),
        false => format!(
            "an item of {} does not fit; expected {}, the length of the ring's fixed items or of the requested type",
            bytes(len),
            bytes(expected)
        ),
    }
}

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
            Error::Untrusted { .. } => ErrorKind::Untrusted,
            Error::Damaged(_) => ErrorKind::Damaged,
            Error::Truncated => ErrorKind::Truncated,
            Error::NoSpace { .. } | Error::MemoryLimit { .. } => ErrorKind::NoSpace,
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
            Error::Evicted => ErrorKind::Evicted,
            Error::Unsupported(_) => ErrorKind::Unsupported,
            Error::Io { .. } => ErrorKind::Io,
        }
    }

    /// The error for callers of [`std::io`]. Does not map a raised stop flag to `Interrupted`, on which the standard
    /// library would retry for ever.
    pub(crate) fn into_io(self) -> io::Error {
        let kind = match self.kind() {
            ErrorKind::Closed => io::ErrorKind::BrokenPipe,
            ErrorKind::Full | ErrorKind::Empty => io::ErrorKind::WouldBlock,
            ErrorKind::TimedOut => io::ErrorKind::TimedOut,
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, self)
    }

    /// The failed system call in `what`.
    pub(crate) fn io(what: impl Into<Box<str>>, source: impl Into<io::Error>) -> Self {
        Error::Io { what: what.into(), source: source.into() }
    }
}
