//! The experiments: each runs in a process of its own, so that forking is safe and a crash is seen.

use std::cell::Cell;
use std::fs::File;
use std::os::unix::fs::FileExt;

use nix::unistd::Pid;

use crate::kills::arrivals;
use crate::kills::check;
use crate::kills::lives;
use crate::kills::pairs;
use crate::kills::scenario::{self, Kind, Scenario, disciplines, kinds};
use crate::kills::table::{Row, Share};
use crate::kills::textbook;
use crate::kills::trace::{Stage, Victim};
use crate::kills::trail::{Trail, WAYS};
use crate::kills::world::{self, Effect, Fate, Outcome, World};
use crate::support::die_with_parent;

/// The variable that says what a worker is to do: group, part, of how many parts.
pub const ORDERS: &str = "RINGPIPE_KILLS_WORKER";

/// Instructions after which a victim that polls is helped.
const POLLING: u64 = 3_000;

/// Does nothing by itself; in a process made by the tests, it does its part of an experiment.
pub fn run_if_told() {
    let Ok(orders) = std::env::var(ORDERS) else { return };
    die_with_parent();
    let words: Vec<&str> = orders.split(' ').collect();
    let [group, part, parts] = words[..] else { panic!("orders: {orders}") };
    let part = Part { part: part.parse().expect("a number"), parts: parts.parse().expect("a number") };
    pin(part.part);
    let chosen = Chosen::of_env();
    let stage = Stage::new();
    if group == "textbook" {
        if part.has(0) {
            textbook::run(&stage, part);
        }
        return;
    }
    if group == "arrivals" {
        return arrivals::run(&stage);
    }
    if group == "pairs" {
        return pairs::run(part, &chosen);
    }
    let stops = |all: Vec<Scenario>| all.into_iter().filter(|one| one.stops).collect();
    let scenarios: Vec<Scenario> = match group {
        "sending" => scenario::sending(),
        "receiving" => scenario::receiving(),
        "acknowledging" => scenario::acknowledging(),
        "coming-and-going" => scenario::coming_and_going(),
        "recovery" => scenario::to_be_recovered(),
        "stopped" => stops([scenario::sending(), scenario::receiving(), scenario::acknowledging()].concat()),
        _ => panic!("group {group}"),
    };
    let sample = Share::of_env().is_sample();
    let mut rows = 0;
    // What a sample has time for: a discipline changes what surrounds these.
    let classic = !sample || ["sending", "receiving", "acknowledging"].contains(&group);
    let kinds = kinds().into_iter().chain(classic.then(disciplines).into_iter().flatten());
    for (n, kind) in kinds.enumerate() {
        let tried = |(m, one): &(usize, &Scenario)| Share::of_env().tries(n, &kind, *m, one.fixed_only);
        let tried = scenarios.iter().enumerate().filter(tried).map(|(_, one)| one);
        for one in tried.filter(|one| one.fits(&kind) && !(sample && one.long)) {
            if !chosen.has(&format!("{} {} {}", one.operation, one.path, kind.name)) {
                continue;
            }
            rows += 1;
            if !part.has(rows) {
                continue;
            }
            let experiment = Experiment::new(&stage, &kind, *one, part);
            match group {
                "recovery" => experiment.recoverers(),
                "stopped" => experiment.stopped(),
                _ => experiment.killed(),
            }
        }
    }
}

/// Which rows are tried, by their names.
pub struct Chosen(String);

impl Chosen {
    fn of_env() -> Self {
        Chosen(std::env::var("RINGPIPE_KILLS_ONLY").unwrap_or_default())
    }

    pub fn has(&self, row: &str) -> bool {
        match self.0.strip_prefix('!') {
            Some(left_out) => !row.contains(left_out),
            None => row.contains(&self.0),
        }
    }
}

/// On one processor with its victims, handing over takes a third of the time.
fn pin(part: u64) {
    use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
    // The library asks once how many there are, and is to know of all.
    ringpipe::internal::sys::process::processors();
    let Ok(allowed) = sched_getaffinity(Pid::from_raw(0)) else { return };
    let cpus: Vec<usize> = (0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu).unwrap_or(false)).collect();
    let mut mine = CpuSet::new();
    if mine.set(cpus[part as usize % cpus.len()]).is_ok() {
        // Where the system refuses, it only takes longer.
        let _ = sched_setaffinity(Pid::from_raw(0), &mine);
    }
}

/// Which of the points of each row are this process'.
#[derive(Clone, Copy)]
pub struct Part {
    pub part: u64,
    pub parts: u64,
}

impl Part {
    pub fn of<P>(self, points: Vec<P>) -> Vec<P> {
        match Share::of_env() {
            Share::Few | Share::Sample => points,
            _ => points.into_iter().skip(self.part as usize).step_by(self.parts as usize).collect(),
        }
    }

    /// Whether this process has to do with a row: of a sample each has some rows, in full each some points.
    pub fn has(self, row: usize) -> bool {
        !Share::of_env().is_sample() || row as u64 % self.parts == self.part
    }
}

/// The instructions of an operation, and after which of them the segment was another.
pub struct Course {
    pub instructions: u64,
    pub changes: Vec<u64>,
}

pub struct Experiment<'a> {
    pub stage: &'a Stage,
    pub kind: &'a Kind,
    pub scenario: Scenario,
    part: Part,
    /// The fewest instructions after which others have helped a waiting victim. Breakpoints bring it no further.
    helped: Cell<u64>,
}

impl<'a> Experiment<'a> {
    pub fn new(stage: &'a Stage, kind: &'a Kind, scenario: Scenario, part: Part) -> Self {
        Experiment { stage, kind, scenario, part, helped: Cell::new(u64::MAX) }
    }
}

impl Experiment<'_> {
    fn row(&self, course: &Course, operation: String) -> Row {
        let Scenario { path, .. } = self.scenario;
        let states = course.changes.len() as u64;
        Row::new(operation, path, &self.kind.name, course.instructions, states)
    }

    pub fn prepared(&self) -> World {
        let mut world = World::new(&self.kind.options, self.scenario.role);
        (self.scenario.before)(&mut world);
        world.identify_all();
        world
    }

    /// A victim at its mark, with all other processes in their places.
    pub fn victim(&self, world: &mut World) -> Victim<'_> {
        let (life, name) = (self.scenario.life, world.name.to_string());
        let live = |stage: &Stage| life(stage, &world::open(&name));
        let victim = Victim::start(self.stage, live).expect("tracing was tried before");
        if let Some(hook) = self.scenario.at_mark {
            hook(world);
        }
        if let Some(role) = self.scenario.sleeper {
            world.put_to_sleep(role, check::SLEEPERS);
        }
        victim
    }

    /// Runs a victim that has run `done` instructions on to `steps`.
    fn run(
        &self,
        world: &mut World,
        victim: &mut Victim<'_>,
        done: u64,
        steps: u64,
        mut seen: impl FnMut(u64),
    ) -> u64 {
        let mut seen = |n| seen(done + n);
        let more = steps - done;
        match self.scenario.when_blocked {
            None => done + victim.run(more, None, seen),
            // A polling process never sleeps.
            Some(hook) if !world.ring.discipline().sleeps() => {
                let first = victim.run(more.min(POLLING - done), None, &mut seen);
                if done + first < POLLING {
                    return done + first;
                }
                self.helped.set(POLLING);
                hook(world);
                POLLING + victim.run(more - first, None, |n| seen(first + n))
            }
            Some(hook) => {
                let (mut helped, taken) = (false, Cell::new(done));
                let mut help = || {
                    if !std::mem::replace(&mut helped, true) {
                        self.helped.set(self.helped.get().min(taken.get()));
                        hook(world);
                    }
                };
                let seen = |n| {
                    taken.set(done + n);
                    seen(n);
                };
                done + victim.run(more, Some(&mut help), seen)
            }
        }
    }

    /// A victim that has run this number of instructions of the operation, in a world of its own. `at_mark` is called
    /// before the first of them.
    pub fn interrupted(
        &self,
        steps: u64,
        trail: &mut Trail,
        mut at_mark: impl FnMut(&World),
    ) -> (World, Victim<'_>) {
        for way in WAYS {
            let mut world = self.prepared();
            let mut victim = self.victim(&mut world);
            at_mark(&world);
            let (segment, helped) = (world.segment(), self.helped.get());
            let run = |victim: &mut Victim<'_>, done, seen: &mut dyn FnMut(u64)| {
                self.run(&mut world, victim, done, steps, seen);
            };
            if way.run_with(trail, &mut victim, (steps, helped), &segment, run).is_ok() {
                return (world, victim);
            }
            self.discard(world, victim);
        }
        unreachable!("a victim that takes steps does not go astray");
    }

    /// Of a run that is there to be looked at, and comes to no verdict.
    pub fn discard(&self, mut world: World, victim: Victim<'_>) {
        victim.kill();
        self.settle(&mut world, self.stage.result());
        let _ = check::survivors(world);
    }

    /// What must become of the items, the operation having returned with `result`, or not.
    fn settle(&self, world: &mut World, result: Option<u64>) {
        for (effect, ids) in self.scenario.effects {
            for (n, id) in ids.iter().enumerate() {
                let done = result.map(|result| (n as u64) < result);
                let is_mine = matches!(effect, Effect::Sends | Effect::Sent);
                if is_mine || world.ledger.fates.contains_key(id) {
                    world.ledger.fates.insert(*id, effect.fate(done));
                }
            }
        }
    }

    /// Runs the operation once, to its end.
    pub fn course(&self) -> (Course, Trail) {
        let mut world = self.prepared();
        let mut victim = self.victim(&mut world);
        let pid = victim.pid();
        let segment = world.segment();
        victim.begin();
        let found = course(&segment, pid, self.scenario.timed, |seen| {
            self.run(&mut world, &mut victim, 0, u64::MAX, seen)
        });
        // Its verdict comes with that of the last point.
        self.discard(world, victim);
        found
    }

    fn killed(&self) {
        let (course, mut trail) = self.course();
        let mut row = self.row(&course, self.scenario.operation.into());
        for point in self.part.of(Share::of_env().points(&course)) {
            row.count(point, self.kill_at(point, &mut trail));
        }
        row.arrivals.add(trail.arrivals);
        row.print();
    }

    fn kill_at(&self, point: u64, trail: &mut Trail) -> Outcome {
        let (mut world, victim) = self.interrupted(point, trail, |_| {});
        victim.kill();
        self.settle(&mut world, self.stage.result());
        check::survivors(world)
    }

    /// The victim is killed where it leaves something new, and a recoverer at every instruction after that.
    fn recoverers(&self) {
        let share = Share::of_env();
        let mut total: Option<Row> = None;
        let (course_of_victim, mut trail) = self.course();
        // A process has all points of some deaths, since each death has a course of recovery.
        for crash in self.part.of(share.crashes(&course_of_victim.changes)) {
            let (course, mut recovery) = self.course_of_recovery(crash, &mut trail);
            let row = total.get_or_insert_with(|| {
                self.row(&course, format!("repair after {}", self.scenario.operation))
            });
            row.longest(&course);
            recovery.share_with(&mut trail);
            for point in share.points_of_recovery(&course) {
                let (world, recoverer) = self.recovering(crash, &mut trail, point, &mut recovery);
                recoverer.kill();
                row.count(crash * 1_000_000 + point, check::survivors(world));
            }
            row.arrivals.add(recovery.arrivals);
        }
        if let Some(row) = &mut total {
            row.arrivals.add(trail.arrivals);
            row.print();
        }
    }

    fn course_of_recovery(&self, crash: u64, trail: &mut Trail) -> (Course, Trail) {
        let (mut world, mut recoverer) = self.crashed(crash, trail);
        let pid = recoverer.pid();
        let segment = world.segment();
        recoverer.begin();
        let found = course(&segment, pid, false, |seen| recoverer.run(u64::MAX, None, seen));
        recoverer.kill();
        world.let_go();
        let _ = check::survivors(world);
        found
    }

    /// A recoverer that has run this number of instructions after a death at `crash`.
    fn recovering(
        &self,
        crash: u64,
        trail: &mut Trail,
        steps: u64,
        recovery: &mut Trail,
    ) -> (World, Victim<'_>) {
        for way in WAYS {
            let (world, mut recoverer) = self.crashed(crash, trail);
            if way.run(recovery, &mut recoverer, steps, &world.segment()).is_ok() {
                return (world, recoverer);
            }
            recoverer.kill();
            let _ = check::survivors(world);
        }
        unreachable!("a recoverer that takes steps does not go astray");
    }

    /// The world after a death at `crash`, with a recoverer at its mark.
    fn crashed(&self, crash: u64, trail: &mut Trail) -> (World, Victim<'_>) {
        let (mut world, victim) = self.interrupted(crash, trail, |_| {});
        victim.kill();
        self.settle(&mut world, self.stage.result());
        let name = world.name.to_string();
        let live = |stage: &Stage| lives::repair(stage, &world::open(&name));
        let recoverer = Victim::start(self.stage, live).expect("tracing was tried before");
        (world, recoverer)
    }

    fn stopped(&self) {
        let (course, mut trail) = self.course();
        let mut row = self.row(&course, format!("{}, stopped", self.scenario.operation));
        for point in self.part.of(Share::of_env().points(&course)) {
            row.count(point, self.stop_at(point, &mut trail));
        }
        row.arrivals.add(trail.arrivals);
        row.print();
    }

    fn stop_at(&self, point: u64, trail: &mut Trail) -> Outcome {
        let mut attached = 0;
        let (mut world, victim) = self.interrupted(point, trail, |world| {
            attached = world.ring.participants().len() as u32;
        });
        victim.stop();
        // Others may take now what it was to take.
        for (effect, ids) in self.scenario.effects {
            let fate = if *effect == Effect::Acknowledges { Fate::Never } else { Fate::Once };
            world.ledger.fates.extend(ids.iter().map(|id| (*id, fate)));
        }
        world
            .ledger
            .fates
            .values_mut()
            .filter(|fate| **fate == Fate::First)
            .for_each(|fate| *fate = Fate::Once);
        let for_many = !world.ring.is_exclusive();
        let outcome = check::while_stopped(&mut world, attached, for_many);
        if let Some(role) = self.scenario.role {
            check::feed(&mut world, role);
        }
        let ended = victim.go_on();
        let outcome = outcome.and(if ended { Ok(()) } else { Err(check::hangs()) });
        outcome.and(check::survivors(world))
    }
}

/// Runs a victim that has begun by `run`, which is to call what it is given after each single step.
pub fn course(
    segment: &File,
    victim: Pid,
    timed: bool,
    run: impl FnOnce(&mut dyn FnMut(u64)) -> u64,
) -> (Course, Trail) {
    let length = segment.metadata().expect("the segment").len() as usize;
    let (mut before, mut now) = (vec![0; length], vec![0; length]);
    let (mut changes, mut trail) = (Vec::new(), Trail::default());
    segment.read_exact_at(&mut before, 0).expect("the segment");
    trail.see(0, victim);
    trail.segment_is(0, &before);
    let mut seen = |step| {
        trail.see(step, victim);
        segment.read_exact_at(&mut now, 0).expect("the segment");
        if now != before {
            changes.push(step);
            trail.segment_is(step, &now);
            std::mem::swap(&mut now, &mut before);
        }
    };
    let instructions = run(&mut seen);
    trail.close(timed);
    (Course { instructions, changes }, trail)
}
