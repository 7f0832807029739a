//! Faults that are carried out by tracing an instance, from its first instruction or from a moment on.

use std::time::Duration;

use super::Faults;
use super::plan::{below, is_traced, named, strike_of};
use crate::cli::common::exit::{Failure, code};
use crate::cli::ctl::test::run::instance::Instance;
use crate::cli::ctl::test::run::outcome::Point;
use crate::cli::ctl::test::run::stage::Stage;
use crate::cli::ctl::test::scenario::{Action, FaultSpec, When};
use crate::testing::point::{self, Outcome, Struck, Trace, Unit};

impl<'s> Faults<'s> {
    /// Starts an instance, traced if a fault needs that from its first instruction on.
    pub fn start(&mut self, stage: &mut Stage<'s>, program: usize, number: u32) -> Result<(), Failure> {
        let traced = match self.scenario.programs[program].is_ready_at_once() {
            true => self.traces(stage, program, number, true)?,
            false => Vec::new(),
        };
        stage.start(program, number, traced)
    }

    /// Traces an instance that has become ready, if a fault needs that from then on.
    pub fn ready(&mut self, stage: &mut Stage<'s>, index: usize) -> Result<(), Failure> {
        let Instance { program, number, .. } = stage.instances[index];
        if self.scenario.programs[program].is_ready_at_once() {
            return Ok(());
        }
        for (fault, plan) in self.traces(stage, program, number, false)? {
            self.attach(fault, plan, &mut stage.instances[index]);
        }
        Ok(())
    }

    /// Traces an instance that runs. If the system refuses, the fault does not strike.
    pub(super) fn attach(&mut self, fault: usize, plan: point::Plan, instance: &mut Instance) {
        let name = instance.process.name();
        if !matches!(instance.process.ended(), Ok(None)) {
            return self.refuse(fault, &format!("{name} had ended by then"));
        }
        match Trace::attach(instance.process.id(), plan) {
            Ok(trace) => instance.traces.push((fault, trace)),
            Err(error) => self.refuse(fault, &format!("{name}: {error}")),
        }
    }

    /// The traces that an instance needs: from its first instruction on, or from the moment at which it is ready.
    fn traces(
        &mut self,
        stage: &Stage<'_>,
        program: usize,
        number: u32,
        at_start: bool,
    ) -> Result<Vec<(usize, point::Plan)>, Failure> {
        let name = &self.scenario.programs[program].name;
        let mut wanted = Vec::new();
        for (fault, spec) in self.scenario.faults.iter().enumerate() {
            let state = &self.states[fault];
            let is_omitted = self.plan.omitted.contains(&fault);
            if is_omitted || spec.on != *name || state.targets.get(&number).is_none_or(|left| *left == 0) {
                continue;
            }
            let Some((unit, at)) = self.traced(spec, at_start) else { continue };
            let plan = point::Plan::count(unit);
            let plan = if at_start { plan } else { plan.from_now() };
            let plan = match at {
                None => plan,
                Some(at) => plan.at(at, strike_of(spec)?),
            };
            wanted.push((fault, below(plan, spec, stage, number)?));
            if matches!(spec.when, When::After(..)) {
                // From the first instruction on, so not at a time as well.
                self.states[fault].left = 0;
                self.states[fault].done = spec.repeat.0.into();
                self.spend(fault, number);
            }
        }
        if wanted.len() > 1 {
            let line = format!("{name}-{number} is traced for {} faults; expected one", wanted.len());
            return Err(Failure::new(code::USAGE, line));
        }
        Ok(wanted)
    }

    /// What is counted for a fault that is carried out by tracing from the beginning, and where it strikes.
    fn traced(&self, spec: &FaultSpec, at_start: bool) -> Option<(Unit, Option<u64>)> {
        match &spec.when {
            When::Syscall { nth, calls } => Some((Unit::Syscall(named(spec, calls)), Some(*nth))),
            When::Instruction(nth) => Some((Unit::Instruction, Some(*nth))),
            When::Every { instructions, calls, .. } => {
                let unit = if *instructions { Unit::Instruction } else { Unit::Syscall(named(spec, calls)) };
                match self.plan.point? {
                    Point::Count => Some((unit, None)),
                    Point::At(nth) => Some((unit, Some(nth))),
                }
            }
            // From the first instruction on.
            When::After(Duration::ZERO, Duration::ZERO) if at_start => match &spec.action {
                Action::Fail { calls, .. } => Some((Unit::Syscall(named(spec, calls)), Some(1))),
                _ => None,
            },
            _ => None,
        }
    }

    /// Notes what the traces say that are over.
    pub(super) fn collect(&mut self, stage: &mut Stage<'s>) {
        for index in 0..stage.instances.len() {
            let (over, left): (Vec<_>, Vec<_>) = std::mem::take(&mut stage.instances[index].traces)
                .into_iter()
                .partition(|(_, trace)| trace.is_over());
            stage.instances[index].traces = left;
            for (fault, trace) in over {
                match trace.outcome() {
                    Ok(Outcome { struck: Some(struck), .. }) => {
                        self.traced_strike(fault, index, &struck, stage)
                    }
                    Ok(Outcome { count, .. }) => {
                        let spec = &self.scenario.faults[fault];
                        if matches!(spec.when, When::Every { .. }) {
                            self.points = Some(self.points.unwrap_or(0).max(count));
                        }
                        let name = stage.instances[index].process.name();
                        self.refuse(fault, &format!("{name} ended after {count} of the counted points"));
                    }
                    Err(error) => self.refuse(fault, &format!("tracing: {error}")),
                }
            }
        }
    }

    fn traced_strike(&mut self, fault: usize, index: usize, struck: &Struck, stage: &mut Stage<'s>) {
        let spec = &self.scenario.faults[fault];
        let is_instruction = match &spec.when {
            When::Instruction(_) => true,
            When::Every { instructions, .. } => *instructions,
            _ => false,
        };
        let unit = if is_instruction { "instruction" } else { "system call" };
        let call = struck.call.as_ref().map(|call| format!(" ({call})")).unwrap_or_default();
        let code = struck.place.as_ref().map(|place| format!(" at {place}")).unwrap_or_default();
        let place = format!("before {unit} {}{call}{code}", struck.number);
        let at = struck.at.saturating_duration_since(stage.all_ready.unwrap_or(stage.began));
        self.record(fault, &stage.instances[index], at, Some(place));
        if !matches!(spec.when, When::After(..)) && is_traced(&spec.when) {
            self.spend(fault, stage.instances[index].number);
        }
        self.follow_up(fault, index, stage);
    }

    /// Notes that a fault has struck an instance that is traced for it.
    fn spend(&mut self, fault: usize, number: u32) {
        if let Some(left) = self.states[fault].targets.get_mut(&number) {
            *left = left.saturating_sub(1);
        }
    }
}
