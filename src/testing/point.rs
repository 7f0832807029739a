//! Points in the life of a process, and what happens there.

pub use crate::sys::trace::{Begin, Calls, Lasting, Outcome, Plan, Strike, Struck, Trace, Unit};
