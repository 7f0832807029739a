//! That breakpoints and steps bring a victim to the same instruction: of operations without waits, one victim is brought
//! to a point in the one way, one in the other, and both are stepped from there to the end.

use crate::kills::scenario::{self, Scenario, kinds};
use crate::kills::trace::{Stage, Victim};
use crate::kills::trail::Trail;
use crate::kills::worker::{Experiment, Part, course, is_exclusive};
use crate::registers;
use crate::support::report;

/// Points of each operation.
const POINTS: u64 = 12;
/// How often a point is tried until both ways agree: the kernel's clock sometimes takes some instructions more.
const TRIES: usize = 5;

/// Where a victim is, and all that it does from there to the end of its operation.
#[derive(Debug, PartialEq, Eq)]
struct Arrival {
    pc: u64,
    sp: u64,
    left: Vec<u64>,
    /// After how many instructions more the segment is another.
    changes: Vec<u64>,
}

pub fn run(stage: &Stage) {
    let wanted = [
        ("send", "empty"),
        ("send_batch", "around the end"),
        ("send, spanning", "empty"),
        ("recv", "one there"),
        ("recv_batch", "four there"),
        ("recv, ack", "one there"),
        ("ack", "one held"),
        ("give back, batch", "of four"),
        ("leave", "consumer"),
    ];
    let all =
        [scenario::sending(), scenario::receiving(), scenario::acknowledging(), scenario::coming_and_going()]
            .concat();
    let is_wanted = |one: &&Scenario| wanted.contains(&(one.operation, one.path));
    let part = Part { part: 0, parts: 1 };
    for (kind, options) in kinds() {
        let exclusive = is_exclusive(&options);
        for scenario in all.iter().filter(is_wanted).filter(|one| !(exclusive && one.many_only)) {
            one(&Experiment::new(stage, kind, &options, *scenario, part));
        }
    }
}

fn one(experiment: &Experiment<'_>) {
    let Experiment { scenario: Scenario { operation, path, .. }, kind, .. } = *experiment;
    let (course, mut trail) = experiment.course();
    if !trail.is_known() {
        return report("arrivals: NOT TRIED: this processor's registers are not known");
    }
    // Breakpoints bring no victim to what has been stepped over once.
    arrival(experiment, course.instructions, &mut trail);
    let last = trail.reach(course.instructions);
    assert!(last > 0, "{operation}, {path}, {kind}: no run was like the first");
    for n in 0..POINTS {
        let point = 1 + n * (last - 1) / (POINTS - 1);
        let what = format!("{operation}, {path}, {kind}, after {point} of {}", course.instructions);
        let agree = |_| {
            let by_breakpoints = trail.arrivals.by_breakpoints;
            let one = arrival(experiment, point, &mut trail);
            if trail.arrivals.by_breakpoints == by_breakpoints {
                report(&format!("{what}: gone astray"));
                return false;
            }
            let other = arrival(experiment, point, &mut Trail::default());
            // One instruction less or more is seen here.
            let before = arrival(experiment, point - 1, &mut Trail::default());
            let is_same = one == other;
            if !is_same {
                report(&format!("{what}: {one:x?}, by steps {other:x?}"));
            }
            assert!(one != before, "{what}: as after {}", point - 1);
            is_same
        };
        assert!((0..TRIES).any(agree), "{what}: breakpoints and steps do not come to the same");
    }
}

/// What a victim does that this trail has brought to `point`.
fn arrival(experiment: &Experiment<'_>, point: u64, trail: &mut Trail) -> Arrival {
    let (world, mut victim) = experiment.interrupted(point, trail, |_| {});
    let pid = victim.pid();
    let state = registers::state(pid);
    let mut left = Vec::new();
    let segment = world.segment();
    let (rest, _) = course(&segment, pid, false, |seen| to_the_end(experiment, &mut victim, &mut left, seen));
    experiment.discard(world, victim);
    let (pc, sp) = state.map_or((0, 0), |state| (state.pc, state.sp));
    Arrival { pc, sp, left, changes: rest.changes }
}

fn to_the_end(
    experiment: &Experiment<'_>,
    victim: &mut Victim<'_>,
    left: &mut Vec<u64>,
    seen: &mut dyn FnMut(u64),
) -> u64 {
    while experiment.stage.result().is_none() {
        victim.step(None);
        left.push(registers::pc(victim.pid()).expect("known"));
        seen(left.len() as u64);
    }
    left.len() as u64
}
