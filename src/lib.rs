//! A bounded buffer between processes, in named shared memory, that survives `kill -9`.
//!
//! A [`Ring`] is a named POSIX shared-memory segment that holds slots. A [`Producer`] and a [`Consumer`]
//! attach to it from any process; each item goes to one consumer, which acknowledges it. When a process dies, the
//! items that it held are delivered again, an item that it had half written vanishes, and all other processes continue.
//!
//! ```
//! use ringpipe::RingOptions;
//! # let name = format!("doc-crate-{}", std::process::id());
//!
//! let ring = RingOptions::new().create(&name)?;
//! let mut producer = ring.producer()?;
//! producer.send(b"hello")?;
//!
//! let mut consumer = ring.consumer()?;
//! let item = consumer.recv()?;
//! assert_eq!(&*item, b"hello");
//! item.ack();
//! ring.remove()?;
//! # Ok::<(), ringpipe::Error>(())
//! ```
//!
//! # Where to start
//!
//! - [`RingOptions`] makes a ring: its slots and their size; for many producers and consumers, or exclusively for one
//!   of each.
//! - [`RingOptions::fixed`] makes a ring whose items all have one length, [`RingOptions::typed`] one for values of a type. Such
//!   a ring has no headers, and is faster for short items.
//! - [`Producer`] sends: `send`, `try_send`, `send_timeout`, `send_batch`, `reserve`. [`OnFull`] chooses what happens when
//!   the ring is full.
//! - [`Consumer`] receives: `recv`, `try_recv`, `recv_timeout`, `recv_batch`, `items`. An item that is dropped without
//!   `ack` is delivered again.
//! - [`Item::into_owned`] makes an [`OwnedItem`], which does not borrow its consumer: see below. [`Postponed`] keeps such
//!   items until they are tried again.
//! - [`ItemKey`] identifies an item; [`Producer::send_as`] sends an answer under the key of its question.
//! - `AsyncProducer` and `AsyncConsumer` (feature `tokio`) do the same in asynchronous tasks, also as a `Sink` and a
//!   `Stream`.
//! - [`Ring`] closes, removes and repairs a ring; [`RingObserver`] reads it and changes nothing.
//! - [`sync`] has locks, semaphores, conditions, events and barriers between processes, without a ring.
//! - [`Error`] and its [`ErrorKind`] say what went wrong.
//!
//! # Several items at a time
//!
//! An [`Item`] borrows its [`Consumer`], and a [`Batch`] is acknowledged from the front. A program that works on several
//! items at once, on threads or in child processes, and finishes them in any order, makes each an [`OwnedItem`]. It can be
//! kept, sent to another thread and acknowledged there. If this process dies, other consumers get its owned items; until
//! they are acknowledged, the streams of other consumers do not end.
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `cli` | yes | the three programs `producer`, `consumer` and `ringctl`; without it (`default-features = false`), the library alone |
//! | `testing` | with `cli` | `testing::Session`: processes that end with their test; `testing::history`: histories of what the processes of a run did, for any queue; `testing::point`: faults at chosen system calls and instructions of any program |
//! | `tokio` | no | `AsyncProducer` and `AsyncConsumer` |
//!
//! # Limits
//!
//! 64-bit Linux. An item spans at most half of the ring's slots. An item is delivered again after its
//! consumer died, so its effects can happen twice: [`Item::attempt`] is then 2 or more. A handle works in one
//! thread at a time, and not in a forked child. A reboot destroys all rings. The repository's README has the
//! guarantees, with the experiments that show them.
//!
//! # How it is built
//!
//! Each module uses only the modules after it in this list: `cli` (the three commands), `testing` (sessions,
//! histories, faults), `framing`, `handles` (the types above), [`sync`], `membership` (participants, and
//! recovery after a death), `wait` (how processes wait), `protocol` (the ring, generic over its memory),
//! `layout` (the segment's bytes), `sys` (the operating system). docs/ARCHITECTURE.md describes them;
//! docs/PROTOCOL.md has the table of states, and what a death at each step leaves.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![deny(unsafe_code)]

#[cfg(feature = "cli")]
mod cli;
mod error;
#[cfg(feature = "cli")]
mod framing;
mod handles;
mod layout;
mod membership;
mod protocol;
pub mod sync;
mod sys;
#[cfg(feature = "testing")]
#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
pub mod testing;
mod wait;

pub use error::{Error, ErrorKind, Result};
pub use handles::*;
pub use layout::discipline::{Discipline, Thresholds};
pub use layout::preamble::LAYOUT_VERSION;
pub use sys::name::RingName;
pub use sys::owners::Owners;
pub use sys::segment::{Attributes, NameState};
pub use sys::truncation::survive_truncation;
pub use wait::StopFlag;

/// What the commands, tests, benches and fuzz targets of this repository need of the modules below the public ones.
/// It promises nothing, and changes without notice.
#[doc(hidden)]
pub mod internal {
    /// The commands.
    #[cfg(feature = "cli")]
    pub mod cli {
        pub use crate::cli::*;
    }
    /// Bytes to items.
    #[cfg(feature = "cli")]
    pub mod framing {
        pub use crate::framing::*;
    }
    /// The segment's bytes.
    pub mod layout {
        pub use crate::layout::*;
    }
    /// The ring's protocol, for any memory.
    pub mod protocol {
        pub use crate::protocol::*;
    }
    /// The operating system.
    pub mod sys {
        pub use crate::sys::*;
    }
    /// How processes wait.
    pub mod wait {
        pub use crate::wait::*;
    }
}

/// The example of README.md is tested.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// The example of docs/TESTING.md is tested.
#[cfg(all(doctest, feature = "testing"))]
#[doc = include_str!("../docs/TESTING.md")]
struct Testing;

/// The example of docs/PRIMITIVES.md is tested.
#[cfg(doctest)]
#[doc = include_str!("../docs/PRIMITIVES.md")]
struct Primitives;
