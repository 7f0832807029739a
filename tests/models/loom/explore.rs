//! Running a story in every order, as far as its bounds allow.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Once;

use crate::loom::heap::faults;
use crate::loom::heap::scenarios::Scenario;
use crate::loom::heap::trace;

/// What an exploration came to.
#[derive(Clone, Copy, Debug)]
pub struct Explored {
    pub runs: u64,
    /// Whether all runs within the bound of preemptions were made.
    pub finished: bool,
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs a story until something is wrong, a limited number of times, and says what. A story with a death is run so often
/// for each.
pub fn explore(scenario: &Scenario, limit: usize) -> Result<Explored, String> {
    let mut explored = Explored { runs: 0, finished: true };
    for steps in 0..scenario.deaths.max(1) {
        let run = scenario.run;
        let part = explore_story(scenario.preemptions, limit, move || run(steps))?;
        explored.runs += part.runs;
        explored.finished &= part.finished;
    }
    Ok(explored)
}

/// The same for anything.
pub fn explore_story(
    preemptions: Option<usize>,
    limit: usize,
    story: impl Fn() + Send + Sync + 'static,
) -> Result<Explored, String> {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = preemptions;
    model.max_branches = 20_000;
    model.max_permutations = Some(limit);
    // The limit is checked once in this number of runs.
    model.checkpoint_interval = limit;
    let runs = Counter::default();
    let counted = {
        let runs = runs.clone();
        move || {
            runs.add();
            trace::begin();
            story();
        }
    };
    quietly(|| model.check(counted))?;
    let runs = runs.0.get();
    Ok(Explored { runs, finished: runs < limit as u64 - 1 })
}

/// A count that loom's closures may have: its threads are all one.
#[derive(Clone, Default)]
struct Counter(Rc<Cell<u64>>);

// SAFETY: loom explores in the thread that asks it to.
unsafe impl Send for Counter {}
// SAFETY: as above.
unsafe impl Sync for Counter {}

impl Counter {
    fn add(&self) {
        self.0.set(self.0.get() + 1);
    }
}

/// Runs what may panic, and answers with the panic's words instead of printing them.
fn quietly(work: impl FnOnce()) -> Result<(), String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                usual(info);
            }
        }));
    });
    QUIET.set(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    QUIET.set(false);
    result.map_err(|payload| {
        let text = payload.downcast_ref::<String>().cloned();
        text.or_else(|| payload.downcast_ref::<&str>().map(|text| text.to_string())).unwrap_or_default()
    })
}

/// Explores with a fault at one site: what was wrong, if it was noticed.
pub fn explore_with(fault: faults::Fault, scenario: &Scenario, limit: usize) -> Result<Explored, String> {
    faults::set(Some(fault));
    let result = explore(scenario, limit);
    faults::set(None);
    result
}
