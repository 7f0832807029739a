//! The ring's own code under shuttle: larger stories than loom can take, in random orders. Half of the runs are of
//! shuttle's PCT scheduler, which makes few, well-placed changes of thread.
//!
//! `cargo test --test models shuttle::` makes some hundred runs of each story; RINGPIPE_SHUTTLE=100000 makes that many. A run that goes
//! wrong prints its schedule, with which `shuttle::replay` makes it again.

#[path = "../../support/heap/mod.rs"]
#[allow(clippy::duplicate_mod, reason = "the same stories on other words and threads")]
#[allow(dead_code, reason = "each model uses its part")]
mod heap;
mod larger;
mod world;

use std::io::Write;
use std::time::Instant;

use heap::scenarios;
use heap::waking::{self, Both};

/// Runs of each story.
fn runs() -> usize {
    std::env::var("RINGPIPE_SHUTTLE").ok().and_then(|text| text.parse().ok()).unwrap_or(200)
}

fn explore(name: &str, story: impl Fn() + Send + Sync + Copy + 'static) {
    let (begin, runs) = (Instant::now(), runs());
    shuttle::check_random(story, runs / 2);
    shuttle::check_pct(story, runs / 2, 3);
    let time = begin.elapsed().as_secs_f32();
    // Past the test harness, which would keep it to itself.
    let _ = writeln!(std::io::stderr(), "shuttle: {name}: {runs} runs, {time:.1} s");
}

#[test]
fn the_small_scenarios_pass() {
    for scenario in scenarios::all() {
        let (run, deaths) = (scenario.run, scenario.deaths.max(1));
        explore(scenario.name, move || {
            use shuttle::rand::Rng;
            let steps = shuttle::rand::thread_rng().gen_range(0..deaths);
            run(steps)
        });
    }
}

#[test]
fn the_larger_scenarios_pass() {
    for (name, story) in larger::ALL {
        explore(name, *story);
    }
}

#[test]
fn no_thread_sleeps_for_ever() {
    explore("a consumer is woken", waking::consumer_is_woken::<Both>);
    explore("a producer is woken", waking::producer_is_woken::<Both>);
    explore("two consumers are woken", waking::two_are_woken::<Both>);
    explore("a survivor is woken", waking::a_survivor_is_woken::<Both>);
    explore("two survivors are woken", waking::survivors_are_woken::<Both>);
    explore("two producers and two consumers wait for each other", || waking::all_wait::<Both>(2, 2, 3));
    explore("one producer and three consumers wait for each other", || waking::all_wait::<Both>(1, 3, 6));
    explore("three producers and one consumer wait for each other", || waking::all_wait::<Both>(3, 1, 2));
}
