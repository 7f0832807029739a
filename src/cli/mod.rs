//! What the three binaries share: arguments, exit codes, signals, reports; and what each of them does.
#![forbid(unsafe_code)]

pub mod affinity;
pub mod args;
pub mod attach;
pub mod consumer;
pub mod ctl;

mod envelope;
pub mod exit;
pub mod framing_args;
pub mod input;
pub mod output;
pub mod pace;
pub mod producer;
pub mod report;
pub mod signals;
pub mod start;
pub mod sync_args;
