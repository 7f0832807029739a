//! The ring's own code over words in heap memory, which threads share instead of processes. What a word, a cell
//! and a thread are, each test binary says in its `world`: loom's, or shuttle's.

pub mod faults;
pub mod life;
pub mod ring;
pub mod scenarios;
pub mod tale;
pub mod waking;
