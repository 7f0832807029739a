//! The ring's own code under loom: small stories of some handles in every order of steps, with the weak orders of memory that
//! the language allows. A missing order shows as a data race of the payload, as a lost or doubled item, or as a sleep without
//! end.
//!
//! `cargo test --test models loom::` makes a bounded number of runs of each story, and tries the faults (`orders.rs`) that must be
//! noticed. `RINGPIPE_LOOM=100000 cargo test --test models loom:: -- --nocapture` makes up to this number of each, says which stories were
//! explored completely, and tries the faults that are known for harmless as well. With RINGPIPE_LOOM_ONLY only stories with that
//! text in their name are told, and with RINGPIPE_TRACE one that goes wrong is told access by access.
//!
//! What loom leaves out: an exchange that fails reads the newest value; a thread of loom has no signal handlers and no deaths but
//! those of `heap/life.rs`; five threads at most.

mod explore;
mod harmless;
#[path = "../../support/heap/mod.rs"]
#[allow(clippy::duplicate_mod, reason = "the same stories on other words and threads")]
#[allow(dead_code, reason = "each model uses its part")]
mod heap;
mod orders;
mod world;

use std::io::Write;
use std::time::Instant;

use explore::{Explored, explore, explore_story};
use heap::scenarios;
use heap::waking::{self, Both, NoHeavy, NoLight};
use orders::{Map, Mutant};

/// Past the test harness, which would keep it to itself.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "loom: {text}");
}

/// The runs that were asked for, of each story.
fn asked_runs() -> Option<usize> {
    std::env::var("RINGPIPE_LOOM").ok().and_then(|text| text.parse().ok())
}

/// What the name of a story, or the line of a fault, must contain.
fn only() -> String {
    std::env::var("RINGPIPE_LOOM_ONLY").unwrap_or_default()
}

/// How far an exploration came.
fn end(explored: Explored, preemptions: Option<usize>) -> String {
    match (explored.finished, preemptions) {
        (true, None) => "complete".to_string(),
        (true, Some(bound)) => format!("complete to {bound} preemptions"),
        (false, _) => "bounded".to_string(),
    }
}

#[test]
fn every_scenario_passes() {
    for scenario in scenarios::all().filter(|scenario| scenario.name.contains(&only())) {
        let begin = Instant::now();
        let usual = if crate::scale::is_ci() { 500 } else { 200 };
        let explored = explore(scenario, asked_runs().unwrap_or(usual))
            .unwrap_or_else(|wrong| panic!("{}: {wrong}\n{}", scenario.name, heap::trace::end()));
        let end = end(explored, scenario.preemptions);
        let time = begin.elapsed().as_secs_f32();
        say(&format!("{}: {} runs, {end}, {time:.1} s", scenario.name, explored.runs));
    }
}

#[test]
fn no_thread_sleeps_for_ever() {
    let most = asked_runs().unwrap_or(2_000);
    for (name, preemptions, story) in [
        ("a consumer is woken", None, waking::consumer_is_woken::<Both> as fn()),
        ("a producer is woken", None, waking::producer_is_woken::<Both>),
        ("two consumers are woken", Some(2), waking::two_are_woken::<Both>),
        ("a survivor is woken", None, waking::a_survivor_is_woken::<Both>),
        ("two survivors are woken", Some(2), waking::survivors_are_woken::<Both>),
    ] {
        let explored = explore_story(preemptions, most, story);
        let explored = explored.unwrap_or_else(|wrong| panic!("{name}: {wrong}\n{}", heap::trace::end()));
        say(&format!("{name}: {} runs, {}", explored.runs, end(explored, preemptions)));
    }
}

#[test]
fn an_observer_accepts_a_torn_copy_only_if_a_fence_is_left_out() {
    use heap::observing::a_copy_is_whole_or_refused as story;
    explore_story(None, usize::MAX, story::<Both>).unwrap_or_else(|wrong| panic!("{wrong}"));
    for (name, story) in [("the producer's", story::<NoLight> as fn()), ("the observer's", story::<NoHeavy>)]
    {
        let wrong = explore_story(None, usize::MAX, story).expect_err(name);
        assert!(wrong.contains("torn"), "without {name} fence: {wrong}");
    }
}

#[test]
fn a_fence_that_is_left_out_is_noticed() {
    for (name, story) in [
        ("a consumer is woken, without the waker's fence", waking::consumer_is_woken::<NoLight> as fn()),
        ("a consumer is woken, without the sleeper's fence", waking::consumer_is_woken::<NoHeavy>),
        ("a producer is woken, without the waker's fence", waking::producer_is_woken::<NoLight>),
        ("a producer is woken, without the sleeper's fence", waking::producer_is_woken::<NoHeavy>),
        ("a survivor is woken, without the waker's fence", waking::a_survivor_is_woken::<NoLight>),
        ("a survivor is woken, without the sleeper's fence", waking::a_survivor_is_woken::<NoHeavy>),
    ] {
        let wrong = explore_story(None, usize::MAX, story).expect_err(name);
        assert!(wrong.contains("deadlock"), "{name}: {wrong}");
    }
}

/// Tries each fault, and prints what notices it. Returns the faults that no scenario notices without a known reason.
fn hunt(map: &Map, mutants: Vec<Mutant>) -> Vec<String> {
    let most = asked_runs().unwrap_or(3_000);
    let (mut unnoticed, mut harmless) = (Vec::new(), 0);
    for mutant in mutants.iter().filter(|mutant| mutant.to_string().contains(&only())) {
        if mutant.harmless().is_some() && asked_runs().is_none() {
            harmless += 1;
            continue;
        }
        match (map.hunt(*mutant, most), mutant.harmless()) {
            (Some((story, wrong, time)), _) => {
                let wrong = wrong.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
                say(&format!("{mutant}\n    noticed by {story:?}, {:.1} s: {wrong}", time.as_secs_f32()));
            }
            (None, Some(why)) => {
                harmless += 1;
                say(&format!("{mutant}\n    not noticed, and harmless: {why}"));
            }
            (None, None) => {
                say(&format!("{mutant}\n    NOT NOTICED"));
                unnoticed.push(mutant.to_string());
            }
        }
    }
    say(&format!("{} faults, {harmless} harmless, {} not noticed", mutants.len(), unnoticed.len()));
    unnoticed
}

#[test]
fn every_weakened_order_is_noticed_or_harmless() {
    let map = orders::map();
    let missing = map.not_reached();
    assert!(missing.is_empty(), "no story comes to {missing:#?}");
    let unnoticed = hunt(&map, map.weakened());
    assert!(unnoticed.is_empty(), "{unnoticed:#?}");
}

#[test]
fn every_change_that_is_left_out_is_noticed_or_harmless() {
    let map = orders::map();
    let unnoticed = hunt(&map, map.left_out());
    assert!(unnoticed.is_empty(), "{unnoticed:#?}");
}
