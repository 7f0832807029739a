//! The ring's own code under loom: every order of steps of small stories, with the weak orders of memory that the
//! language allows. Work in progress.

#[path = "../heap/mod.rs"]
mod heap;
mod world;

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use heap::scenarios::{ALL, Scenario};

/// What an exploration came to.
struct Explored {
    runs: u64,
    complete: bool,
}

fn explore(scenario: &Scenario, limit: Duration) -> Explored {
    let mut explored = Explored { runs: 0, complete: true };
    for steps in 0..scenario.deaths.max(1) {
        let runs = Arc::new(AtomicU64::new(0));
        let mut model = loom::model::Builder::new();
        model.preemption_bound = scenario.preemptions;
        model.max_branches = 20_000;
        model.max_duration = Some(limit);
        model.checkpoint_interval = 256;
        let begin = Instant::now();
        let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| model.check({
            let (runs, run) = (runs.clone(), scenario.run);
            move || {
                runs.fetch_add(1, Relaxed);
                heap::tale::begin();
                run(steps)
            }
        })));
        if let Err(p) = checked {
            println!("{}", heap::tale::end());
            std::panic::resume_unwind(p);
        }
        explored.runs += runs.load(Relaxed);
        explored.complete &= begin.elapsed() < limit;
    }
    explored
}

#[test]
fn every_story_ends_well() {
    let filter = std::env::var("RINGPIPE_LOOM_ONLY").unwrap_or_default();
    let seconds = std::env::var("RINGPIPE_LOOM_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(5);
    for scenario in ALL.iter().filter(|scenario| scenario.name.contains(&filter)) {
        let begin = Instant::now();
        let explored = explore(scenario, Duration::from_secs(seconds));
        let end = match (explored.complete, scenario.preemptions) {
            (true, None) => "complete".to_string(),
            (true, Some(bound)) => format!("complete to {bound} preemptions"),
            (false, _) => "bounded".to_string(),
        };
        let _ = writeln!(
            std::io::stderr(),
            "loom: {}: {} runs, {end}, {:.1} s",
            scenario.name,
            explored.runs,
            begin.elapsed().as_secs_f32()
        );
    }
}
