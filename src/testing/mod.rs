//! For the tests of programs that hand items from process to process (feature `testing`).
//!
//! | module | gives |
//! |---|---|
//! | [`history`] | what the processes of a run did: written, read and checked |
//! | [`point`] | faults at chosen system calls and instructions of any program |

pub mod history;
pub mod point;
