//! A bounded buffer between processes, in named shared memory, that survives `kill -9`.
#![deny(unsafe_code)]

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
mod error;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod framing;
pub mod sys;

pub use error::{Error, ErrorKind, Result};
pub use sys::name::RingName;
