//! Starts the processes of a run, with their input.

use std::cell::RefCell;
use std::env;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use super::Stage;
use super::end::SIZES;
use crate::Role;
use crate::cli::common::exit::{Failure, code};
use crate::cli::common::run_log;
use crate::cli::ctl::children;
use crate::cli::ctl::test::run::after;
use crate::cli::ctl::test::run::instance::Instance;
use crate::cli::ctl::test::run::ring::credentials;
use crate::cli::ctl::test::scenario::{ProgramSpec, Ready, Run, Stdin};
use crate::testing::point::{self, Trace};
use crate::testing::{self, Program};

/// How many bytes are generated between two checks of the time, of the sizes of outputs, and for signals.
const CHECKED: usize = 64 << 10;

/// Tells a program the number of the descriptor for its history.
const DESCRIPTOR: &str = "RINGPIPE_LOG_FD";

impl Stage<'_> {
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
                    // The next check, which is due by then, says which output it is.
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
