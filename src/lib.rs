//! A bounded buffer between processes, in named shared memory, that survives `kill -9`.
#![deny(unsafe_code)]

mod error;
#[doc(hidden)]
pub mod sys;

pub use error::{Error, ErrorKind, Result};
pub use sys::name::RingName;
