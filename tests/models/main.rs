//! The protocol's own source, explored: in every order of steps (`model`), in the weak orders of memory (`loom`), among
//! more threads in random orders (`shuttle`), and by real threads, for Miri and ThreadSanitizer (`threads`).
//!
//! The last three tell the same stories (`tests/support/heap`), each on words and threads of its own (`world`).

#[path = "../support/scale.rs"]
#[allow(dead_code, reason = "each test binary uses its part")]
mod scale;

mod loom;
mod model;
mod shuttle;
mod threads;
