//! Shared by the three commands: arguments, framing, exit codes, signals, start, pace, tables, JSON.

pub mod affinity;
pub mod args;
pub mod color;
pub mod create_args;
pub mod dead_letter;
pub mod end_args;
pub mod escape;
pub mod exit;
pub mod framing_args;
pub mod hold;
pub mod input;
pub mod owner_args;
pub mod pace;
pub mod paint;
pub mod progress;
pub mod relay;
pub mod report;
pub mod seen;
pub mod signals;
pub mod start;
pub mod stdout;
pub mod sync_args;
pub mod table;
pub mod ui;
mod usage;
pub mod users;
pub mod version;
