//! A bounded buffer between processes, in named shared memory, that survives `kill -9`.
//!
//! A [`Ring`] is a named POSIX shared-memory segment that holds slots. A [`Producer`] and a [`Consumer`]
//! attach to it from any process; each item goes to one consumer, which acknowledges it. What a process held
//! that dies is delivered again, and what it had half written vanishes; the others go on.
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
//! - [`RingOptions`] says how a ring is made: slots, their size, for many or exclusively for one producer and
//!   one consumer.
//! - [`Producer`]: `send`, `try_send`, `send_timeout`, `send_batch`, `reserve`; what to do when the ring is full.
//! - [`Consumer`]: `recv`, `try_recv`, `recv_timeout`, `recv_batch`, `items`; guards that give back on drop.
//! - `AsyncProducer` and `AsyncConsumer`, with the feature `tokio`: the same for asynchronous tasks, as a `Sink`
//!   and a `Stream`.
//! - [`Ring`]: closing, removing, repairing, and looking without changing anything.
//! - [`sync`]: locks, semaphores, conditions and events between processes, by themselves.
//! - [`Error`] and its [`ErrorKind`].
//!
//! The floors, from the top: `cli` (the three commands), `framing`, [`handles`], `ring` (the protocol, generic
//! over its memory), `sync` (waiting), `layout` (the segment's bytes), `sys` (the operating system). Imports go
//! downwards only. docs/PROTOCOL.md has the table of states and what a death at each step leaves.
#![deny(unsafe_code)]

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
mod error;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod framing;
pub mod handles;
#[doc(hidden)]
pub mod layout;
#[doc(hidden)]
pub mod ring;
pub mod sync;
#[doc(hidden)]
pub mod sys;

pub use error::{Error, ErrorKind, Result};
pub use handles::*;
pub use layout::discipline::{Discipline, Thresholds};
pub use sync::StopFlag;
pub use sys::name::RingName;
pub use sys::truncation::survive_truncation;

/// The README's example is tested.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// So is that of docs/PRIMITIVES.md.
#[cfg(doctest)]
#[doc = include_str!("../docs/PRIMITIVES.md")]
struct Primitives;
