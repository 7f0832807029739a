//! For the tests of programs that hand items from process to process (feature `testing`).
//!
//! [`history`] writes, reads and checks what the processes of a run did.

pub mod history;
