//! The ring's own code over words in heap memory, which threads share instead of processes. What a word, a cell
//! and a thread are, the module that includes this says in its `world`: loom's, shuttle's, or the machine's.

pub mod faults;
pub mod life;
pub mod observing;
pub mod ring;
pub mod scenarios;
pub mod trace;
pub mod waking;

use super::world;
