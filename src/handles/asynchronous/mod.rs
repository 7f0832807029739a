//! Handles for asynchronous tasks. Where a handle's own thread would sleep, a thread of the runtime's blocking
//! pool sleeps and wakes the task.
//!
//! | | the task, in a poll | a blocking thread |
//! |---|---|---|
//! | owns | the handle, and with it every claim | a [`BlockingSleep`](blocking_sleep::BlockingSleep): the mapping and an announced sleeper |
//! | does | looks; announces; looks thoroughly; hands the announcement over | sleeps on the signal, at most a slice; wakes the task |
//!
//! Only the poll that returns a claim makes it, so a future can be dropped at any moment. The dropped future may
//! have received a wake-up that other sleepers need too; it passes that one on.

mod blocking_sleep;
mod consumer;
mod producer;
mod task_wait;

pub use consumer::AsyncConsumer;
pub use producer::AsyncProducer;
