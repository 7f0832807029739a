//! The three commands, as processes: what they read, write and say, how they end, what they survive.
#![cfg(feature = "cli")]

#[path = "../support/mod.rs"]
mod support;

mod at_once;
mod attach;
mod consumer;
mod consumer_output;
mod consumer_read;
mod consumer_shared;
mod dedup;
mod fixed;
mod framing;
mod histories;
mod hold;
mod inputs;
mod machines;
mod messages;
mod outputs;
mod owners;
mod pipeline;
mod producer;
mod producer_input;
mod producer_resume;
mod producer_waits;
mod progress;
mod raw;
mod readme;
mod requeue;
mod ringctl;
mod ringctl_barrier;
mod ringctl_bench;
mod ringctl_chaos;
mod ringctl_check;
mod ringctl_demo;
mod ringctl_event;
mod ringctl_holders;
mod ringctl_lock;
mod ringctl_namespaces;
mod ringctl_run;
mod ringctl_sem;
mod ringctl_test;
mod ringctl_watch;
mod signals;
mod strangers;
mod svg;
mod terminals;
mod waiting_consumers;
mod worker;
mod worker_coprocess;

/// Not a test: what the remote actors run.
#[test]
fn remote_actor() {
    support::actor::run_if_told();
}
