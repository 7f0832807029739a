//! The faults of a run: when each is due, what it does, and whether it struck.

use std::collections::BTreeMap;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use super::instance::{Instance, ended_text};
use super::outcome::{Point, Strike as Record};
use super::stage::Stage;
use super::{Plan, after};
use crate::cli::common::exit::{Failure, code};
use crate::cli::ctl::test::scenario::{self, Action, FaultSpec, Scenario, When, Who};
use crate::testing::point::{self, Calls, Lasting, Outcome, Strike, Struck, Trace, Unit};
use crate::testing::{Ended, Follow};

/// How long a run that is over waits for its traces to say what they have counted.
const PATIENCE: Duration = Duration::from_secs(2);

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
    fn attach(&mut self, fault: usize, plan: point::Plan, instance: &mut Instance) {
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

    /// Notes what the traces say that are over.
    fn collect(&mut self, stage: &mut Stage<'s>) {
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

    fn record(&mut self, fault: usize, instance: &Instance, at: Duration, place: Option<String>) {
        let (action, instance) = (word(&self.scenario.faults[fault].action), instance.process.name().into());
        self.records.push(Record { fault, action, instance, at, place });
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

    fn is_due(&mut self, fault: usize, stage: &Stage<'s>, ready: Instant) -> Result<bool, Failure> {
        let spec = &self.scenario.faults[fault];
        let state = &mut self.states[fault];
        let snapshot = |ring: &String| match stage.rings.get(ring) {
            Some(observer) => observer.snapshot().map(Some).map_err(|error| Failure::of_ring(ring, &error)),
            None => Ok(None),
        };
        Ok(match &spec.when {
            When::After(..) => ready.elapsed() >= state.moment,
            When::Line { of, pattern, nth } => {
                for instance in stage.instances_of(of) {
                    let process = &instance.process;
                    let outputs = || [process.stdout().follow(), process.stderr().follow()];
                    let followed = state.followed.entry(process.name().into()).or_insert_with(outputs);
                    for output in followed {
                        let lines =
                            output.next_lines().map_err(|error| Failure::io(process.name(), &error))?;
                        let lines = lines.unwrap_or_default();
                        state.lines += lines.iter().filter(|line| pattern.is_match(line)).count() as u64;
                    }
                }
                state.lines >= nth.saturating_mul(state.done + 1)
            }
            When::Acknowledged { ring, items } => snapshot(ring)?
                .is_some_and(|ring| ring.totals.acknowledged >= items.saturating_mul(state.done + 1)),
            When::Full(ring) => snapshot(ring)?.is_some_and(|ring| ring.used_slots >= ring.capacity),
            // Empty again: at first it is.
            When::Empty(ring) => {
                snapshot(ring)?.is_some_and(|ring| ring.totals.sent > 0 && ring.used_slots == 0)
            }
            When::Held(ring) => !holders(stage, ring)?.is_empty(),
            When::Syscall { .. } | When::Instruction(_) | When::Every { .. } => false,
        })
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

    /// Gives up what has not struck, once the run is over.
    pub fn finish(&mut self, stage: &mut Stage<'s>) {
        let start = Instant::now();
        while stage.instances.iter().any(|one| one.ended.is_some() && !one.traces.is_empty())
            && start.elapsed() < PATIENCE
        {
            self.collect(stage);
            thread::sleep(Duration::from_millis(1));
        }
        self.collect(stage);
        for instance in &stage.instances {
            for (fault, trace) in &instance.traces {
                trace.release();
                let reason = format!("{} or a child of it still ran", instance.process.name());
                self.states[*fault].reason.get_or_insert(reason);
            }
        }
        // A process that had ended before it was killed was not struck. What a trace strikes may be a child of it.
        for instance in &mut stage.instances {
            let Some((ended @ Ended::Code(_), _)) = instance.ended else { continue };
            let name = instance.process.name();
            let missed = |record: &Record| {
                let kills = ["kill", "restart"].contains(&&*record.action);
                record.instance == name && record.place.is_none() && kills
            };
            let states = &mut self.states;
            self.records.retain(|record| {
                let is_missed = missed(record);
                if is_missed {
                    states[record.fault].reason = Some(format!("{name} {} meanwhile", ended_text(ended)));
                }
                !is_missed
            });
            instance.struck = self.records.iter().any(|other| other.instance == name);
        }
        self.records.sort_by_key(|record| record.at);
    }

    /// The strikes, and the faults that did not strike.
    pub fn into_records(self) -> (Vec<Record>, Vec<String>) {
        let counts = |spec: &FaultSpec| {
            matches!((&spec.when, self.plan.point), (When::Every { .. }, None | Some(Point::Count)))
        };
        let short = |(fault, spec): (usize, &FaultSpec)| {
            let state = &self.states[fault];
            let struck = self.records.iter().any(|record| record.fault == fault);
            if !struck || !spec.must_strike || counts(spec) {
                return None;
            }
            let some_left = state.targets.values().any(|left| *left == spec.repeat.0);
            let why = match &state.short {
                Some(short) => short.clone(),
                None if is_traced(&spec.when) && some_left => "did not strike all processes".into(),
                None => return None,
            };
            Some(format!("the fault in line {} {why} ({})", spec.line, spec.text))
        };
        let short: Vec<String> = self.scenario.faults.iter().enumerate().filter_map(short).collect();
        let missed = self.scenario.faults.iter().enumerate().filter(|(fault, spec)| {
            let struck = self.records.iter().any(|record| record.fault == *fault);
            !struck && !counts(spec) && spec.must_strike && !self.plan.omitted.contains(fault)
        });
        let text = |(fault, spec): (usize, &FaultSpec)| {
            let state = &self.states[fault];
            let moment = match spec.when {
                When::After(..) => {
                    format!("the run was over before its moment, {:?} after all were ready", state.moment)
                }
                _ => "its moment did not come".into(),
            };
            let reason = state.reason.as_ref().unwrap_or(&moment);
            format!("the fault in line {} did not strike ({}): {reason}", spec.line, spec.text)
        };
        let uncounted = self.scenario.faults.iter().enumerate().filter(|(_, spec)| {
            matches!(spec.when, When::Every { .. })
                && self.plan.point == Some(Point::Count)
                && self.points.is_none()
        });
        let uncounted = uncounted.filter_map(|(fault, _)| self.states[fault].reason.as_ref());
        let uncounted = uncounted.map(|reason| format!("the points could not be counted: {reason}"));
        let gaps = missed.map(text).chain(short).chain(uncounted).collect();
        (self.records, gaps)
    }
}

/// Whether an instance with this number may be struck.
fn is_meant(who: Who, number: u32) -> bool {
    !matches!(who, Who::Number(only) if only != number)
}

/// Some of these, as `who` says.
fn choose<T>(who: Who, mut all: Vec<T>, random: &mut fastrand::Rng) -> Vec<T> {
    if let Who::Some(count) = who {
        random.shuffle(&mut all);
        all.truncate(count as usize);
    }
    all
}

/// The process ids of the consumers that hold an item of a ring.
fn holders(stage: &Stage<'_>, ring: &String) -> Result<Vec<u32>, Failure> {
    let Some(observer) = stage.rings.get(ring) else { return Ok(Vec::new()) };
    let snapshot = observer.snapshot().map_err(|error| Failure::of_ring(ring, &error))?;
    let holds = |number: u32| snapshot.held.iter().any(|held| held.owner == number && !held.writing);
    Ok(snapshot.participants.iter().filter(|one| holds(one.number)).map(|one| one.pid).collect())
}

/// The system calls of these names: for an action that makes calls fail, its own. Without names: all, or for a full disk
/// those that need room on it.
fn named(spec: &FaultSpec, calls: &[String]) -> Calls {
    let fails = matches!(spec.action, Action::Fail { .. });
    let calls = match &spec.action {
        Action::Fail { calls, .. } => calls,
        _ => calls,
    };
    match (calls, fails) {
        ([], true) => Calls::NeedRoom,
        ([], false) => Calls::All,
        // The reader of the file knows the same names.
        (calls, _) => Calls::named(calls).unwrap_or(Calls::Numbers(Vec::new())),
    }
}

fn strike_of(spec: &FaultSpec) -> Result<Strike, Failure> {
    Ok(match &spec.action {
        Action::Kill | Action::Restart(_) if !spec.group => Strike::Kill,
        // As at a time: an instance is a process group.
        Action::Kill | Action::Restart(_) => Strike::KillGroup,
        Action::Stop(time) => Strike::Stop { resume_after: *time },
        Action::Send(signal) => Strike::Signal(signal.0 as i32),
        Action::Fail { errno, lasting, .. } => {
            let lasting = match *lasting {
                scenario::Lasting::Always => Lasting::Always,
                scenario::Lasting::For(time) => Lasting::For(time),
                scenario::Lasting::Times(times) => Lasting::Times(times),
            };
            Strike::Fail { errno: *errno, lasting }
        }
        Action::Memory(_) => {
            let line = format!("line {}: memory is limited at a time or an event, not at a point", spec.line);
            return Err(Failure::new(code::USAGE, line));
        }
    })
}

/// The plan, for the files below the folder of a fault only.
fn below(
    plan: point::Plan,
    spec: &FaultSpec,
    stage: &Stage<'_>,
    number: u32,
) -> Result<point::Plan, Failure> {
    let Action::Fail { path: Some(path), .. } = &spec.action else { return Ok(plan) };
    let path = stage.names.fill(path, number).map_err(|error| Failure::io("a port", &error))?;
    Ok(plan.below(stage.names.folder().join(path)))
}

/// The word for an action in reports.
fn word(action: &Action) -> String {
    match action {
        Action::Kill => "kill".into(),
        Action::Stop(_) => "stop".into(),
        Action::Send(signal) => signal.name().to_lowercase(),
        Action::Restart(_) => "restart".into(),
        Action::Fail { errno, .. } => format!("{:?}", nix::errno::Errno::from_raw(*errno)),
        Action::Memory(_) => "memory".into(),
    }
}

/// Whether a fault is carried out by tracing from the beginning.
fn is_traced(when: &When) -> bool {
    matches!(when, When::Syscall { .. } | When::Instruction(_) | When::Every { .. })
}
