//! The three commands. They use the library's public API as any other program could, and `sys::command`.
#![forbid(unsafe_code)]

pub mod common;
pub mod consumer;
pub mod ctl;
pub mod producer;
pub mod transport;
pub mod worker;
