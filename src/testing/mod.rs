//! Tests of several processes (feature `testing`), for any programs.
//!
//! A [`Session`] starts processes, waits until they are ready, kills, suspends and continues them, and ends
//! all of them with the test. A [`point`] is a chosen system call or instruction at which a fault strikes.
//! [`history`] writes, reads and checks logs of what processes did with the items that they hand to each
//! other. `ringctl test` does all this for a scenario in a file.
//!
//! ```
//! use std::time::Duration;
//! use ringpipe::testing::{Ended, Program, Ready, Session};
//!
//! let session = Session::new()?;
//! let server = Program::shell("echo listening; exec sleep 1000").named("server");
//! let mut server = session.start(&server.ready(Ready::printed("listening")))?;
//! assert!(server.wait_ready(Duration::from_secs(10))?);
//! server.kill()?;
//! assert_eq!(server.wait(Duration::from_secs(10))?, Some(Ended::Signal(9)));
//! assert_eq!(server.stdout().text()?, "listening\n");
//! # Ok::<(), std::io::Error>(())
//! ```

mod connect;
pub mod history;
mod output;
pub mod point;
mod process;
mod program;
mod session;
#[cfg(test)]
mod tests;

pub use output::{Follow, Output};
pub use process::{Ended, Process};
pub use program::{Condition, Program, Ready};
pub use session::Session;

pub use crate::sys::tree::Observed;
