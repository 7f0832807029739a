//! The folder, the rings and the processes of a run.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio as Standard};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{env, thread};

use super::instance::{Instance, ended_text};
use super::names::Names;
use super::outcome::Cut;
use super::ring::{RunRing, credentials, name_to_make, ring_name};
use super::{Ended, Plan, after};
use crate::cli::common::exit::{Failure, code};
use crate::cli::common::run_log;
use crate::cli::ctl::children;
use crate::cli::ctl::test::scenario::{ProgramSpec, Ready, Run, Scenario, Stdin};
use crate::sys::command::DIRECTORY;
use crate::testing::point::{self, Trace};
use crate::testing::{self, Program, Session};
use crate::{Role, StopFlag};

/// The time between two checks of a process that was asked to end.
const POLL: Duration = Duration::from_millis(1);

/// The time between two looks at the sizes of the outputs.
const SIZES: Duration = Duration::from_millis(20);

/// The time between two looks at the mapped segments.
const SEGMENTS: Duration = Duration::from_millis(20);

/// How many bytes are generated between two looks at the time, at the sizes of outputs, and for signals.
const CHECKED: usize = 64 << 10;

/// Tells a program the number of the descriptor for its history.
const DESCRIPTOR: &str = "RINGPIPE_LOG_FD";

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
        command.arg("create").args(options).arg(name_to_make(over, real)).stdin(Standard::null());
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

    /// Starts one instance, traced for these faults from its first instruction on.
    pub fn start(
        &mut self,
        program: usize,
        number: u32,
        traced: Vec<(usize, point::Plan)>,
    ) -> Result<(), Failure> {
        let spec = &self.scenario.programs[program];
        let failed = |error: &io::Error| Failure::io(format!("starting {}-{number}", spec.name), error);
        let launched = match self.launch(spec, number) {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                self.unstarted.push(format!("{}-{number}", spec.name));
                return Ok(());
            }
            launched => launched.map_err(|error| failed(&error))?,
        };
        let traces = RefCell::new(Vec::new());
        let prepare = |pid: u32| {
            for (fault, plan) in &traced {
                traces.borrow_mut().push((*fault, Trace::attach(pid, plan.clone())?));
            }
            Ok(())
        };
        let prepare: Option<&dyn Fn(u32) -> io::Result<()>> =
            if traced.is_empty() { None } else { Some(&prepare) };
        let process = self.session.start_prepared(&launched, prepare).map_err(|error| {
            let failure = failed(&error);
            match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => {
                    Failure { code: code::USAGE, ..failure }
                        .hint("run = [PROGRAM, ...] takes a path, or a name that is found in PATH")
                }
                _ => failure,
            }
        })?;
        self.instances.push(Instance::new(program, number, process, traces.into_inner()));
        Ok(())
    }

    fn launch(&self, spec: &ProgramSpec, number: u32) -> io::Result<Program> {
        let fill = |text: &String| self.names.fill(text, number);
        let fill_all = |texts: &[String]| texts.iter().map(fill).collect::<io::Result<Vec<_>>>();
        let failed = |failure: Failure| io::Error::other(failure.line);
        let mut program = match &spec.run {
            Run::Shell(line) => Program::shell(fill(line)?),
            Run::Arguments(words) => {
                let words = fill_all(words)?;
                let (first, rest) = words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
                Program::new(first).args(rest)
            }
            Run::Producer(arguments) => own(Role::Producer).map_err(failed)?.args(fill_all(arguments)?),
            Run::Consumer(arguments) => own(Role::Consumer).map_err(failed)?.args(fill_all(arguments)?),
        };
        program = program.named(&spec.name).env("PATH", path().map_err(failed)?);
        program = program.env(run_log::VARIABLE, self.history());
        if self.plan.over.is_some() {
            program =
                credentials().into_iter().fold(program, |program, (name, path)| program.env(name, path));
        }
        if let Some(number) = spec.history {
            program = program.log(number, self.history()).env(DESCRIPTOR, number.to_string());
        }
        for (name, value) in &spec.env {
            program = program.env(name, fill(value)?);
        }
        let folder = spec.cwd.as_ref().map(fill).transpose()?;
        let folder =
            folder.map(|folder| there(self.names.folder().join(folder), Path::is_dir)).transpose()?;
        program = program.current_dir(folder.map_or(self.names.folder().into(), PathBuf::from));
        program = match &spec.stdin {
            Stdin::Null => program,
            Stdin::Text(text) => program.stdin(fill(text)?),
            Stdin::File(file) => {
                program.stdin_file(there(self.names.folder().join(fill(file)?), Path::is_file)?)
            }
            Stdin::Items { count, size } => program.stdin_file(self.items(spec, number, *count, *size)?),
        };
        program = match &spec.ready {
            None => program,
            Some(ready) => program.ready(self.readiness(ready, number)?),
        };
        Ok(program)
    }

    fn readiness(&self, ready: &Ready, number: u32) -> io::Result<testing::Ready> {
        Ok(match ready {
            Ready::Stdout(pattern) => {
                let pattern = pattern.clone();
                testing::Ready::Stdout(Arc::new(move |line| pattern.is_match(line)))
            }
            Ready::Stderr(pattern) => {
                let pattern = pattern.clone();
                testing::Ready::Stderr(Arc::new(move |line| pattern.is_match(line)))
            }
            Ready::File(file) => {
                testing::Ready::File(self.names.folder().join(self.names.fill(file, number)?))
            }
            Ready::Tcp(address) => testing::Ready::Tcp(self.names.fill(address, number)?),
            Ready::Descriptor(number) => testing::Ready::Descriptor(*number),
            Ready::Attached(ring) => match self.rings.get(ring) {
                None => testing::Ready::Started,
                Some(ring) => {
                    let ring = Arc::clone(ring);
                    testing::Ready::When(Arc::new(move |pid| ring.has(*pid)))
                }
            },
        })
    }

    /// Writes the generated lines of an instance to a file.
    ///
    /// # Errors
    /// The error of the system; `TimedOut`: the run takes too long, or an output is too large; `Interrupted`: a signal has
    /// come.
    fn items(&self, spec: &ProgramSpec, number: u32, count: u64, size: (u64, u64)) -> io::Result<PathBuf> {
        let path = self.plan.folder.join(format!("{}-{number}.stdin", spec.name));
        let name = spec.name.bytes().fold(0u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        let mut random = fastrand::Rng::with_seed(self.plan.seed ^ name ^ u64::from(number) << 32);
        let (mut file, mut line) = (BufWriter::new(File::create(&path)?), String::new());
        let (deadline, mut unchecked) = (after(self.began, self.timeout()), 0);
        let mut sizes_due = self.sizes_due;
        for item in 1..=count {
            let size = random.u64(size.0..=size.1) as usize;
            line.clear();
            // A string takes any text.
            let _ = write!(line, "{}-{number}-{item}", spec.name);
            while line.len() < size {
                line.push('.');
            }
            // The end of a long name is what differs.
            writeln!(file, "{}", &line[line.len() - size..])?;
            unchecked += line.len();
            if unchecked > CHECKED {
                unchecked = 0;
                let now = Instant::now();
                match () {
                    () if self.stop.is_raised() => return Err(io::ErrorKind::Interrupted.into()),
                    () if now >= deadline => return Err(io::ErrorKind::TimedOut.into()),
                    // The next look, which is due by then, says which output it is.
                    () if now >= sizes_due && !matches!(self.flooded(), Ok(None)) => {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                    () if now >= sizes_due => sizes_due = now + SIZES,
                    () => {}
                }
            }
        }
        file.flush()?;
        Ok(path)
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

    /// Whether the run is over, and why.
    pub fn has_ended(&mut self, will_restart: bool) -> Result<Option<Ended>, Failure> {
        let ended = self.end(will_restart);
        let now = Instant::now();
        if now >= self.sizes_due || ended.is_some() {
            self.sizes_due = now + SIZES;
            if let Some(why) = self.flooded()? {
                return Ok(Some(Ended::Cut(Cut::Output, why)));
            }
        }
        Ok(ended)
    }

    fn end(&self, will_restart: bool) -> Option<Ended> {
        let failed = |one: &&Instance| one.ready.is_none() && one.ended.is_some() && !one.was_struck_down();
        // Until its trace has said whether a fault struck it, that is open.
        if let Some(one) = self.instances.iter().find(failed).filter(|one| one.traces.is_empty()) {
            let how = one.ended.map(|(ended, _)| ended_text(ended)).unwrap_or_default();
            let why = format!("{} {how} before it was ready", one.process.name());
            return Some(Ended::Cut(Cut::Unready, why));
        }
        let started =
            self.started.iter().zip(&self.scenario.programs).all(|(count, one)| *count == one.count);
        let waits = |one: &Instance| !self.program(one).background && one.is_active();
        // A process that was started again must come to be ready, or end.
        let becomes_ready = |one: &Instance| one.ready.is_none() && one.ended.is_none();
        let runs = self.instances.iter().any(|one| waits(one) || becomes_ready(one));
        if started && !runs && !will_restart && self.unstarted.is_empty() {
            return Some(Ended::Over);
        }
        let timeout = self.timeout();
        if Instant::now() < after(self.began, timeout) {
            return None;
        }
        let names = |is_meant: &dyn Fn(&Instance) -> bool| {
            let meant = self.instances.iter().filter(|one| is_meant(one));
            meant.map(|one| one.process.name()).collect::<Vec<_>>().join(", ")
        };
        let part = |what: &str, names: String| {
            if names.is_empty() { String::new() } else { format!(", {what}: {names}") }
        };
        let unready = part("not ready", names(&|one| one.ready.is_none() && one.ended.is_none()));
        let running = part("still running", names(&waits));
        let unstarted = part("not started, for want of its input", self.unstarted.join(", "));
        Some(Ended::Cut(Cut::TimedOut, format!("not over after {timeout:?}{unstarted}{unready}{running}")))
    }

    /// Whether an output is too large, as far as it was looked at.
    pub fn is_flooded(&mut self) -> bool {
        let now = Instant::now();
        let is_due = now >= self.sizes_due;
        if is_due {
            self.sizes_due = now + SIZES;
        }
        is_due && !matches!(self.flooded(), Ok(None))
    }

    /// The first output that has more bytes than its limit, in words.
    ///
    /// # Errors
    /// The size of an output is not known.
    pub fn flooded(&self) -> Result<Option<String>, Failure> {
        for one in &self.instances {
            let Some(most) = self.program(one).output_limit else { continue };
            let process = &one.process;
            let history = process.log().map(|log| ("the descriptor of its history", log));
            let streams = [("standard output", process.stdout()), ("standard error", process.stderr())];
            for (stream, output) in streams.into_iter().chain(history) {
                let failed = |error| Failure::io(format!("{:?}", output.path()), &error);
                let size = output.size().map_err(failed)?;
                if size > most {
                    let name = process.name();
                    let line = format!(
                        "{name} wrote {size} bytes to {stream}, expected at most {most} (output-limit)"
                    );
                    return Ok(Some(line));
                }
            }
        }
        Ok(None)
    }

    /// Asks the processes of the background to end, and kills those that do not.
    pub fn end_background(&mut self) {
        let begin = Instant::now();
        let specs: Vec<&ProgramSpec> = self.instances.iter().map(|one| self.program(one)).collect();
        for (one, spec) in self.instances.iter_mut().zip(&specs) {
            one.descriptors = one.descriptors.filter(|_| one.ended.is_none());
            if one.is_active() && spec.background {
                // Fails only if it has ended meanwhile.
                let _ = one.process.signal(spec.stop.0.0 as i32);
                let _ = one.process.resume();
            }
        }
        for (place, spec) in specs.iter().enumerate() {
            while self.instances[place].is_active() && begin.elapsed() < spec.stop.1 && !self.stop.is_raised()
            {
                match self.instances[place].process.ended() {
                    Ok(Some(ended)) => self.instances[place].ended = Some((ended, Instant::now())),
                    // The caller sees that an output is too large.
                    Ok(None) if self.is_flooded() => return,
                    Ok(None) => thread::sleep(POLL),
                    Err(_) => break,
                }
            }
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

/// The path, if it is of the right kind: the system's own error would not say which path is missing.
fn there(path: PathBuf, is_right: fn(&Path) -> bool) -> io::Result<PathBuf> {
    match is_right(&path) || path.exists() && !path.is_dir() && !path.is_file() {
        true => Ok(path),
        false if path.exists() => Err(io::Error::other(format!("{path:?} is of another kind"))),
        false => Err(io::Error::other(format!("{path:?} does not exist"))),
    }
}

/// `producer` or `consumer` of this program's build.
fn own(role: Role) -> Result<Program, Failure> {
    let command = children::command(role)?;
    Ok(Program::new(command.get_program()).args(command.get_args()))
}

/// The search path of the programs: first the folder of this program.
fn path() -> Result<OsString, Failure> {
    let this = children::this_program()?;
    let folder = this.parent().unwrap_or(Path::new("/")).to_owned();
    let inherited = env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    let all = [folder].into_iter().chain(env::split_paths(&inherited));
    env::join_paths(all).map_err(|error| Failure::new(code::RUNTIME, format!("PATH: {error}")))
}

/// The segments of shared memory that exist, by their names.
pub fn segments() -> BTreeSet<String> {
    let entries = fs::read_dir(DIRECTORY).into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
}
