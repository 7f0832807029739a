//! The ring's own code under loom: every order of steps of small stories, with the weak orders of memory that the
//! language allows. Work in progress.

mod explore;
#[path = "../heap/mod.rs"]
mod heap;
mod orders;
mod world;

use std::io::Write;
use std::time::Instant;

use explore::explore;
use heap::scenarios;

/// Past the test harness, which would keep it to itself.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "loom: {text}");
}

/// Most runs of each story.
fn most_runs(default: usize) -> usize {
    std::env::var("RINGPIPE_LOOM").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn every_story_ends_well() {
    let filter = std::env::var("RINGPIPE_LOOM_ONLY").unwrap_or_default();
    for scenario in scenarios::all().filter(|scenario| scenario.name.contains(&filter)) {
        let begin = Instant::now();
        let explored = explore(scenario, most_runs(2_000))
            .unwrap_or_else(|wrong| panic!("{}: {wrong}\n{}", scenario.name, heap::tale::end()));
        let end = match (explored.finished, scenario.preemptions) {
            (true, None) => "complete".to_string(),
            (true, Some(bound)) => format!("complete to {bound} preemptions"),
            (false, _) => "bounded".to_string(),
        };
        let time = begin.elapsed().as_secs_f32();
        say(&format!("{}: {} runs, {end}, {time:.1} s", scenario.name, explored.runs));
    }
}

#[test]
fn every_weakened_order_is_noticed() {
    orders::hunt_all(most_runs(2_000));
}
