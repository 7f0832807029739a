//! The faults of a run: when each is due, what it does, and whether it struck.
//!
//! | module | gives |
//! |---|---|
//! | `due` | whether the moment of a fault has come |
//! | `who` | the instances that it strikes |
//! | `traced` | faults that are carried out by tracing an instance |
//! | `plan` | what such a trace counts, and what it does |
//! | `records` | what has struck, and what has not |

mod due;
mod plan;
mod records;
mod traced;
mod who;

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use super::outcome::Strike as Record;
use super::stage::Stage;
use super::{Plan, after};
use crate::cli::common::exit::Failure;
use crate::cli::ctl::test::scenario::{Action, Scenario, When, Who};
use crate::testing::Follow;
use crate::testing::point::{self, Unit};
use plan::{below, named, strike_of};
use who::{choose, holders, is_meant};

/// All faults of a run.
pub struct Faults<'s> {
    scenario: &'s Scenario,
    plan: &'s Plan,
    random: fastrand::Rng,
    states: Vec<State>,
    /// Instances that are started again: when, and the place and number of their program.
    restarts: Vec<(Instant, usize, u32)>,
    /// Suspended instances that continue: when, and their places.
    resumes: Vec<(Instant, usize)>,
    records: Vec<Record>,
    points: Option<u64>,
}

/// One fault.
struct State {
    /// How often it may strike yet.
    left: u32,
    /// Not before this.
    not_before: Option<Instant>,
    /// Since all programs were ready.
    moment: Duration,
    /// The outputs in which a line is looked for, and how many were found.
    followed: BTreeMap<String, [Follow; 2]>,
    lines: u64,
    /// How often it has struck after a line or a number of items.
    done: u64,
    /// The numbers of the instances that are traced for it, and how often it may strike each yet.
    targets: BTreeMap<u32, u32>,
    /// That it struck fewer processes than it should have.
    short: Option<String>,
    /// Why it did not strike, as far as that is known.
    reason: Option<String>,
}

impl<'s> Faults<'s> {
    pub fn new(scenario: &'s Scenario, plan: &'s Plan) -> Self {
        // Another series than that of the items.
        let mut random = fastrand::Rng::with_seed(plan.seed ^ 0x6661_756c_7473);
        let states = scenario.faults.iter().enumerate().map(|(fault, spec)| {
            let moment = match spec.when {
                When::After(least, most) => least + (most - least).mul_f64(random.f64()),
                _ => Duration::ZERO,
            };
            let count = scenario.programs.iter().find(|one| one.name == spec.on).map_or(1, |one| one.count);
            let numbers = (1..=count).filter(|number| is_meant(spec.who, *number)).collect();
            State {
                left: if plan.omitted.contains(&fault) { 0 } else { spec.repeat.0 },
                not_before: None,
                moment,
                followed: BTreeMap::new(),
                lines: 0,
                done: 0,
                targets: choose(spec.who, numbers, &mut random)
                    .into_iter()
                    .map(|one| (one, spec.repeat.0))
                    .collect(),
                short: None,
                reason: None,
            }
        });
        let states = states.collect();
        let (restarts, resumes, records) = (Vec::new(), Vec::new(), Vec::new());
        Faults { scenario, plan, random, states, restarts, resumes, records, points: None }
    }

    /// Whether an instance will be started again.
    pub fn will_restart(&self) -> bool {
        !self.restarts.is_empty()
    }

    /// The points that were counted.
    pub fn points(&self) -> Option<u64> {
        self.points
    }

    /// Notes that a fault cannot strike.
    fn refuse(&mut self, fault: usize, reason: &str) {
        self.states[fault].reason = Some(reason.into());
    }

    /// Lets the faults strike that are due.
    pub fn look(&mut self, stage: &mut Stage<'s>) -> Result<(), Failure> {
        let now = Instant::now();
        let due;
        (due, self.resumes) = self.resumes.iter().partition(|(at, _)| *at <= now);
        for (_, instance) in due {
            // Fails only if it has ended.
            let _ = stage.instances[instance].process.resume();
        }
        let due;
        (due, self.restarts) = self.restarts.iter().partition(|(at, ..)| *at <= now);
        for (_, program, number) in due {
            self.start(stage, program, number)?;
        }
        self.collect(stage);
        let Some(ready) = stage.all_ready else { return Ok(()) };
        for fault in 0..self.states.len() {
            let state = &self.states[fault];
            if state.left > 0
                && state.not_before.is_none_or(|at| at <= now)
                && self.is_due(fault, stage, ready)?
            {
                self.strike(fault, stage)?;
            }
        }
        Ok(())
    }

    /// What follows a strike.
    fn follow_up(&mut self, fault: usize, index: usize, stage: &mut Stage<'s>) {
        let instance = &mut stage.instances[index];
        instance.struck = true;
        match self.scenario.faults[fault].action {
            Action::Restart(pause) => {
                let at = after(Instant::now(), pause);
                self.restarts.push((at, instance.program, instance.number));
            }
            Action::Stop(None) => instance.stopped_for_good = true,
            _ => {}
        }
    }

    fn strike(&mut self, fault: usize, stage: &mut Stage<'s>) -> Result<(), Failure> {
        let spec = &self.scenario.faults[fault];
        let holds = match &spec.when {
            When::Held(ring) => Some(holders(stage, ring)?),
            _ => None,
        };
        let may = |index: &usize| {
            let one = &stage.instances[*index];
            stage.program(one).name == spec.on
                && one.is_active()
                && is_meant(spec.who, one.number)
                && holds.as_ref().is_none_or(|pids| pids.contains(&one.process.id()))
                && matches!(one.process.ended(), Ok(None))
        };
        let candidates: Vec<usize> = (0..stage.instances.len()).filter(may).collect();
        let chosen = choose(spec.who, candidates, &mut self.random);
        if chosen.is_empty() {
            let reason = format!("no process of {} ran when it was due", spec.on);
            self.states[fault].reason.get_or_insert(reason);
            return Ok(());
        }
        let state = &mut self.states[fault];
        if let Who::Some(count) = spec.who
            && chosen.len() < count as usize
        {
            state.short = Some(format!("struck {} of {count} processes, as no more ran", chosen.len()));
        }
        state.left -= 1;
        state.done += 1;
        state.not_before = Some(after(Instant::now(), spec.repeat.1));
        for index in chosen {
            self.act(fault, index, stage)?;
        }
        Ok(())
    }

    fn act(&mut self, fault: usize, index: usize, stage: &mut Stage<'s>) -> Result<(), Failure> {
        let spec = &self.scenario.faults[fault];
        let process = &stage.instances[index].process;
        let done: io::Result<()> = match &spec.action {
            Action::Kill | Action::Restart(_) => process.kill(),
            Action::Stop(time) => {
                self.resumes.extend(time.map(|time| (after(Instant::now(), time), index)));
                process.stop()
            }
            Action::Send(signal) => process.signal(signal.0 as i32),
            Action::Memory(bytes) => process.limit_memory(*bytes),
            // It strikes when a call fails, which its trace tells.
            Action::Fail { calls, .. } => {
                let number = stage.instances[index].number;
                let plan = point::Plan::count(Unit::Syscall(named(spec, calls))).from_now();
                let plan = below(plan.at(1, strike_of(spec)?), spec, stage, number)?;
                self.attach(fault, plan, &mut stage.instances[index]);
                return Ok(());
            }
        };
        match done {
            Ok(()) => {
                let at = stage.all_ready.map(|ready| ready.elapsed()).unwrap_or_default();
                self.record(fault, &stage.instances[index], at, None);
                self.follow_up(fault, index, stage);
            }
            Err(error) => {
                let name = stage.instances[index].process.name().to_owned();
                self.refuse(fault, &format!("{name}: {error}"));
            }
        }
        Ok(())
    }
}
