//! The folder, the rings and the processes of a run.

mod end;
mod launch;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Plan;
use super::instance::Instance;
use super::names::Names;
use super::ring::{RunRing, name_to_make, ring_name};
use crate::StopFlag;
use crate::cli::common::exit::{Failure, code};
use crate::cli::ctl::children;
use crate::cli::ctl::test::scenario::{ProgramSpec, Ready, Scenario};
use crate::sys::command::DIRECTORY;
use crate::testing::Session;

/// The time between two checks of the mapped segments.
const SEGMENTS: Duration = Duration::from_millis(20);

/// The processes of a run, and where they run.
#[derive(Debug)]
pub struct Stage<'s> {
    pub scenario: &'s Scenario,
    pub plan: &'s Plan,
    pub stop: &'s StopFlag,
    pub names: Names,
    pub rings: BTreeMap<String, Arc<RunRing>>,
    pub instances: Vec<Instance>,
    /// Ended after the pipes of the instances are closed.
    pub session: Session,
    /// How many instances of each program were started.
    started: Vec<u32>,
    /// Instances whose input was not complete in time.
    unstarted: Vec<String>,
    pub began: Instant,
    /// When all programs were ready.
    pub all_ready: Option<Instant>,
    /// The segments that existed before.
    pub segments_before: BTreeSet<String>,
    /// The segments that processes of the run were seen to have mapped.
    pub segments: BTreeSet<String>,
    segments_due: Instant,
    sizes_due: Instant,
}

impl<'s> Stage<'s> {
    /// Makes the folder and the rings.
    pub fn set(scenario: &'s Scenario, plan: &'s Plan, stop: &'s StopFlag) -> Result<Self, Failure> {
        let failed = |error: &io::Error| Failure::io(format!("folder of the run {:?}", plan.folder), error);
        let folder = plan.folder.join("dir");
        fs::create_dir_all(&folder).map_err(|error| failed(&error))?;
        let folder = folder.canonicalize().map_err(|error| failed(&error))?;
        let segments_before = segments();
        let place = |id: &str| {
            let path = |name: &String| Path::new(DIRECTORY).join(ring_name(id, name));
            let rings = scenario.rings.iter().filter(|_| plan.over.is_none());
            rings.map(|ring| path(&ring.name)).collect()
        };
        let session = Session::removing(&plan.folder, place)
            .map_err(|error| Failure::io("starting the guard of the processes", &error))?;
        let names = Names::new(scenario, plan, session.id(), folder);
        let mut stage = Stage {
            scenario,
            plan,
            stop,
            session,
            names,
            rings: BTreeMap::new(),
            instances: Vec::new(),
            started: vec![0; scenario.programs.len()],
            unstarted: Vec::new(),
            began: Instant::now(),
            all_ready: None,
            segments_before,
            segments: BTreeSet::new(),
            segments_due: Instant::now(),
            sizes_due: Instant::now(),
        };
        for ring in &scenario.rings {
            let observer = stage.make_ring(&ring.name, &ring.options)?;
            stage.rings.insert(ring.name.clone(), Arc::new(observer));
        }
        stage.began = Instant::now();
        Ok(stage)
    }

    fn make_ring(&self, name: &str, options: &[String]) -> Result<RunRing, Failure> {
        let (real, over) = (self.names.ring(name), self.plan.over.as_ref());
        // First the connection, whose end removes the stream: a signal may come at any moment.
        #[cfg(feature = "nats")]
        let stream = RunRing::stream(over, real, self.stop)?;
        let mut command = Command::new(children::this_program()?);
        command.arg("create").args(options).arg(name_to_make(over, real)).stdin(Stdio::null());
        let output = command.output().map_err(|error| Failure::io("starting ringctl create", &error))?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr);
            let line = text.lines().next().unwrap_or_default().trim_start_matches("ringctl: ");
            return Err(Failure::new(code::RUNTIME, format!("making ring {name:?}: {line}")));
        }
        #[cfg(feature = "nats")]
        if let Some(stream) = stream {
            return Ok(stream);
        }
        RunRing::memory(real)
    }

    /// The time that the run has.
    fn timeout(&self) -> Duration {
        self.plan.allowed(self.scenario.timeout)
    }

    /// The programs of the scenario.
    pub fn program(&self, instance: &Instance) -> &'s ProgramSpec {
        &self.scenario.programs[instance.program]
    }

    /// Whether all instances of these programs are started and ready.
    fn are_ready(&self, mut programs: impl Iterator<Item = usize>) -> bool {
        programs.all(|program| {
            let all = self.started[program] >= self.scenario.programs[program].count;
            all && self
                .instances
                .iter()
                .all(|one| one.program != program || one.ready.is_some() || one.was_struck_down())
        })
    }

    /// Whether all instances of these programs have ended.
    fn have_ended(&self, mut programs: impl Iterator<Item = usize>) -> bool {
        programs.all(|program| {
            let all = self.started[program] >= self.scenario.programs[program].count;
            all && !self.instances.iter().any(|one| one.program == program && one.is_active())
        })
    }

    /// The instances whose time has come to be started: their programs, and their numbers.
    pub fn take_due(&mut self, will_restart: bool) -> Vec<(usize, u32)> {
        let programs = &self.scenario.programs;
        let place = |name: &String| programs.iter().position(|one| one.name == *name);
        let mut due = Vec::new();
        for (program, spec) in programs.iter().enumerate() {
            if self.started[program] == 0
                && self.are_ready(spec.after.iter().filter_map(place))
                && (spec.after_end.is_empty() || !will_restart)
                && self.have_ended(spec.after_end.iter().filter_map(place))
            {
                due.extend((1..=spec.count).map(|number| (program, number)));
            }
        }
        // Not before: a program that waits for another one must not take it for started already.
        due.iter().for_each(|(program, number)| self.started[*program] = *number);
        due
    }

    /// The folder of the logs.
    pub fn history(&self) -> PathBuf {
        self.plan.folder.join("history")
    }

    /// Notes which instances have ended, and returns which have become ready.
    pub fn look(&mut self) -> Result<Vec<usize>, Failure> {
        let mut ready = Vec::new();
        for index in 0..self.instances.len() {
            let attaches = matches!(self.program(&self.instances[index]).ready, Some(Ready::Attached(_)));
            let instance = &mut self.instances[index];
            if instance.look(attaches).map_err(|error| Failure::io(instance.process.name(), &error))? {
                ready.push(index);
            }
        }
        let programs = &self.scenario.programs;
        let awaited = |program: &usize| programs[*program].after_end.is_empty();
        if self.all_ready.is_none() && self.are_ready((0..programs.len()).filter(awaited)) {
            self.all_ready = Some(Instant::now());
        }
        Ok(ready)
    }

    /// Notes from time to time which segments the processes have mapped, if none may be left.
    pub fn note_segments(&mut self) {
        let now = Instant::now();
        if self.scenario.expect.leftovers.is_some() && now >= self.segments_due {
            self.segments_due = now + SEGMENTS;
            self.segments.extend(self.session.segments());
        }
    }

    /// Kills what still runs.
    pub fn kill(&self) -> Result<(), Failure> {
        self.session.kill().map_err(|error| Failure::io("ending the processes of the run", &error))
    }

    /// The instances of a program, by its name in the file.
    pub fn instances_of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Instance> {
        self.instances.iter().filter(move |one| self.program(one).name == name)
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        // A producer that still runs would make a stream again.
        let _ = self.kill();
        self.rings.clear();
    }
}

/// The segments of shared memory that exist, by their names.
pub fn segments() -> BTreeSet<String> {
    let entries = fs::read_dir(DIRECTORY).into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
}
