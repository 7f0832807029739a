//! The protocol under a model checker: the ring's own code, not a copy of it, with every access to shared
//! memory as one step, in every order, and a kill before any of them.
//!
//! What is explored: the scenarios of `scenarios.rs`, breadth first. After each step the results are
//! checked (`system.rs`); when no process can continue, and in every state after killing or stopping all
//! of them, a survivor recovers the dead, drains the ring, fills it to the last slot and drains it again
//! (`survivor.rs`). `mutation.rs` has memories that misbehave; each must be detected.
//!
//! Not explored: weak memory orders (every access here is sequentially consistent), the sleeping and
//! waking around the ring, and attaching.
//!
//! `cargo test --test models model::` ends each exploration after a bounded number of states and says so.
//! `RINGPIPE_MODEL=full cargo test --release --test models model::` goes some 50 times further,
//! in half an hour and a few GiB; RINGPIPE_MODEL_STEPS and RINGPIPE_MODEL_SEED say how far and where
//! the random walks go.

mod checks;
mod memory;
mod mutation;
mod process;
mod scenarios;
mod survivor;
mod system;
mod walk;

use std::io::Write;
use std::time::Instant;

use stateright::{Checker, Model};

use system::{Action, Scenario};

/// Explores a scenario and prints what it came to. The shortest way to a fault, if there is one.
fn explore(scenario: &Scenario) -> Option<Vec<Action>> {
    let begin = Instant::now();
    let checker = scenario.clone().checker().target_state_count(scenario.limit).spawn_bfs().join();
    let path = checker.discovery("sound").map(|path| path.into_actions());
    let end = match &path {
        Some(path) => format!("fault after {} steps", path.len()),
        None if checker.is_done() && checker.state_count() < scenario.limit => "complete".to_string(),
        None => "bounded".to_string(),
    };
    let mutation = scenario.mutation.map(|mutation| format!(", {mutation:?}")).unwrap_or_default();
    // Past the test harness, which would keep it to itself.
    let _ = writeln!(
        std::io::stderr(),
        "model: {}{mutation}: {} states, depth {}, {end}, {:.1} s",
        scenario.name,
        checker.unique_state_count(),
        checker.max_depth(),
        begin.elapsed().as_secs_f32()
    );
    path
}

/// Prints a path access by access, and what is wrong at its end.
fn narrate(scenario: &Scenario, path: Vec<Action>) -> String {
    println!("{}, {:?}", scenario.name, scenario.mutation);
    let mut state = scenario.initial();
    for action in path {
        match action {
            Action::Step(p) => scenario.step(&mut state, p, true),
            _ => {
                println!("  {action:?}");
                state = scenario.next_state(&state, action).expect("a crash or a stop changes the state");
            }
        }
    }
    let fault = scenario.fault(&state, true).expect("the path leads to a fault");
    println!("  FAULT: {fault}");
    fault
}

/// Whether what takes long is tried, too: in full, and at the scale of the gate.
fn is_full() -> bool {
    crate::scale::is_ci() || std::env::var_os("RINGPIPE_MODEL").is_some_and(|value| value == "full")
}

fn assert_sound(scenarios: Vec<Scenario>) {
    for scenario in scenarios {
        if let Some(path) = explore(&scenario) {
            let fault = narrate(&scenario, path);
            panic!("{}: {fault}", scenario.name);
        }
    }
}

#[test]
fn single_items_survive_every_interleaving_and_crash() {
    assert_sound(scenarios::single());
}

#[test]
fn a_suspended_process_costs_only_the_slots_it_holds() {
    assert_sound(scenarios::stopped());
}

#[test]
fn wide_items_pass_a_held_slot() {
    assert_sound(scenarios::past_held());
}

#[test]
fn batches_and_wide_items_survive_every_interleaving_and_crash() {
    assert_sound(scenarios::runs());
}

#[test]
fn rows_survive_every_interleaving_and_crash() {
    assert_sound(scenarios::rows());
}

#[test]
fn items_keep_their_names() {
    assert_sound(scenarios::named());
}

#[test]
fn words_of_any_age_are_read_correctly() {
    assert_sound(scenarios::aged());
}

#[test]
fn exclusive_rings_survive_crashes_and_continue_with_successors() {
    assert_sound(scenarios::exclusive());
}

#[test]
fn large_systems_survive_random_walks() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seed = number("RINGPIPE_MODEL_SEED").unwrap_or(1);
    let usual = if crate::scale::is_ci() { 100_000 } else { 25_000 };
    let steps = number("RINGPIPE_MODEL_STEPS").unwrap_or(usual);
    for scenario in walk::large() {
        walk::wander(&scenario, seed, steps as usize);
    }
}

#[test]
fn every_mutation_is_detected() {
    let mut unnoticed = Vec::new();
    let tried =
        |scenario: &Scenario| is_full() || !scenario.mutation.is_some_and(mutation::Mutation::takes_long);
    for scenario in mutation::mutated().into_iter().filter(tried) {
        match explore(&scenario) {
            Some(path) => {
                let _ = narrate(&scenario, path);
            }
            None => unnoticed.push(scenario.mutation),
        }
    }
    assert!(unnoticed.is_empty(), "the checker has no teeth for {unnoticed:?}");
}
