//! The operating system and nothing else.
pub mod name;
