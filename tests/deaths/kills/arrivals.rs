//! That breakpoints and steps bring a victim to the same instruction: of operations without waits, one victim is brought
//! to a point in the one way, one in the other, and both are stepped from there to the end.

use crate::kills::scenario::{self, Scenario, kinds};
use crate::kills::table::Share;
use crate::kills::trace::{Stage, Victim};
use crate::kills::trail::{Trail, clock_code};
use crate::kills::worker::{Experiment, Part, course};
use crate::kills::world::World;
use crate::registers::{self, State};
use crate::support::report;

/// How often a point is tried until both ways agree: the course is not always the same.
const TRIES: usize = 40;
/// After as many tries, with another first run.
const EACH: usize = 4;

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
        ("give back, batch", "of four"),
        ("send_batch", "around the end"),
        ("recv", "one there"),
        ("recv_batch", "four there"),
    ];
    // A sample has time for the short ones, on one kind of ring.
    let sample = Share::of_env().is_sample();
    let (wanted, most) = if sample { (&wanted[..2], 1) } else { (&wanted[..], usize::MAX) };
    let all = [scenario::sending(), scenario::receiving(), scenario::acknowledging()].concat();
    let is_wanted = |one: &&Scenario| wanted.contains(&(one.operation, one.path));
    let part = Part { part: 0, parts: 1 };
    for kind in kinds().iter().take(most) {
        for scenario in all.iter().filter(is_wanted).filter(|one| one.fits(kind)) {
            one(&Experiment::new(stage, kind, *scenario, part));
        }
    }
}

fn one(experiment: &Experiment<'_>) {
    let Experiment { scenario: Scenario { operation, path, .. }, kind, .. } = *experiment;
    let kind = &kind.name;
    let mut trail = confirmed(experiment);
    if !trail.is_known() {
        return report("arrivals: NOT TRIED: this processor's registers are not known");
    }
    let points = if Share::of_env().is_sample() { 4 } else { 20 };
    for n in 0..points {
        let what = format!("{operation}, {path}, {kind}, part {n} of {points}");
        let agree = |attempt| {
            let agreed = is_same(experiment, &mut trail, n, points - 1, &what);
            // A victim that went astray has made the trail better; if that does not help, its first run was a rare one.
            if !agreed && attempt % EACH == EACH - 1 {
                trail = confirmed(experiment);
            }
            agreed
        };
        assert!((0..TRIES).any(agree), "{what}: breakpoints and steps do not come to the same");
    }
    // One instruction more or less is seen.
    let last = trail.reach(u64::MAX);
    let one = arrival(experiment, last - 1, &mut trail);
    let other = arrival_by_steps(experiment, trail.without_clock(last));
    assert!(one != other, "{operation}, {path}, {kind}: the same after {last} and one less");
}

/// A trail that a second run has confirmed.
fn confirmed(experiment: &Experiment<'_>) -> Trail {
    let (course, mut trail) = experiment.course();
    if trail.is_known() {
        // Breakpoints bring no victim to what has been stepped over once.
        (0..TRIES).find(|_| {
            let (world, victim) = experiment.interrupted(course.instructions, &mut trail, |_| {});
            experiment.discard(world, victim);
            trail.reach(u64::MAX) > 1
        });
    }
    trail
}

/// Whether breakpoints and steps come to the same at the point `n` of `most`.
fn is_same(experiment: &Experiment<'_>, trail: &mut Trail, n: u64, most: u64, what: &str) -> bool {
    let last = trail.reach(u64::MAX);
    let steps = 1 + n * last.saturating_sub(1) / most;
    // Every second point is one to which hits of a breakpoint are counted, if there is any.
    let counting = trail.counting(steps).filter(|_| n % 2 == 1);
    let point = counting.unwrap_or_else(|| trail.before_clock(steps));
    let by_breakpoints = trail.arrivals.by_breakpoints;
    let one = arrival(experiment, point, trail);
    if trail.arrivals.by_breakpoints == by_breakpoints {
        report(&format!("{what}: gone astray on the way to {point}"));
        return false;
    }
    let other = arrival_by_steps(experiment, trail.without_clock(point));
    if one != other {
        let (many, others) = (one.left.len(), other.left.len());
        report(&format!(
            "{what}: after {point} at {:x}, by steps at {:x}; {many} left, by steps {others}",
            one.pc, other.pc
        ));
    }
    one == other
}

/// What a victim does that this trail has brought to `point`.
fn arrival(experiment: &Experiment<'_>, point: u64, trail: &mut Trail) -> Arrival {
    let (world, victim) = experiment.interrupted(point, trail, |_| {});
    rest(experiment, world, victim)
}

/// What a victim does that has taken this number of steps, those of the clock's own code not counted: they are not
/// always as many. No trail has a part in it.
fn arrival_by_steps(experiment: &Experiment<'_>, steps: u64) -> Arrival {
    let mut world = experiment.prepared();
    let mut victim = experiment.victim(&mut world);
    victim.begin();
    let mut taken = 0;
    while taken < steps && experiment.stage.result().is_none() {
        victim.step(None);
        taken += !is_in_clock(&victim) as u64;
    }
    rest(experiment, world, victim)
}

fn is_in_clock(victim: &Victim<'_>) -> bool {
    clock_code().contains(&registers::pc(victim.pid()).expect("known"))
}

fn rest(experiment: &Experiment<'_>, world: World, mut victim: Victim<'_>) -> Arrival {
    let pid = victim.pid();
    let Some(State { pc, sp, .. }) = registers::state(pid) else { panic!("known") };
    let mut left = Vec::new();
    let (rest, _) =
        course(&world.segment(), pid, false, |seen| to_the_end(experiment, &mut victim, &mut left, seen));
    experiment.discard(world, victim);
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
        if !is_in_clock(victim) {
            left.push(registers::pc(victim.pid()).expect("known"));
        }
        seen(left.len() as u64);
    }
    left.len() as u64
}
