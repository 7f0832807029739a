//! Runs a command for each item, and acknowledges the item by what the command did.
#![allow(dead_code)]

pub mod backoff;
pub mod halt;
pub mod joblog;
pub mod limits;
pub mod print;
pub mod spool;
pub mod template;
pub mod verdict;
