//! What the three binaries share: typed arguments and the pace of items.
#![forbid(unsafe_code)]

pub mod args;
pub mod ctl;
pub mod exit;
pub mod pace;
