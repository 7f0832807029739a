//! A bounded buffer between processes, in named shared memory, that survives `kill -9`.
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
#[doc(hidden)]
pub mod sync;
#[doc(hidden)]
pub mod sys;

pub use error::{Error, ErrorKind, Result};
pub use handles::*;
pub use sync::StopFlag;
pub use sys::name::RingName;
