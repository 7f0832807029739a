//! The processes of one test.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use nix::unistd::Pid;

use super::output::Output;
use super::process::{Process, Waiting};
use super::program::{Input, Program, Ready};
use crate::sys::descriptors::{memory_file, set_nonblocking};
use crate::sys::tree::{Observed, Tree, observe, segments};

/// The processes of one test, with a folder for what they write.
///
/// All of them end when the session is dropped, and when the process of the test is killed. So do their
/// descendants, even in another process group or session. A process escapes only if it was started with an
/// empty environment by a process that has left its group, on a system where this process may not make a
/// control group.
#[derive(Debug)]
pub struct Session {
    // Dropped before the folder is removed.
    tree: Tree,
    folder: PathBuf,
    /// Whether the folder is removed in the end.
    temporary: bool,
    /// How many processes of each name were started.
    started: Mutex<HashMap<String, u32>>,
}

impl Session {
    /// A session with a new folder among the temporary files, which is removed with it, except in a panic.
    ///
    /// # Errors
    /// The error of the system.
    pub fn new() -> io::Result<Self> {
        let tree = Tree::new()?;
        let folder = std::env::temp_dir().join(format!("ringpipe-test-{}", tree.id()));
        fs::create_dir(&folder)?;
        Ok(Session { tree, folder, temporary: true, started: Mutex::default() })
    }

    /// A session with this folder, which is made if it is missing, and stays.
    ///
    /// # Errors
    /// The error of the system.
    pub fn in_folder(folder: impl Into<PathBuf>) -> io::Result<Self> {
        Session::removing(folder, |_| Vec::new())
    }

    /// As [`in_folder`](Self::in_folder). When its processes have ended, the session also removes these files, such as
    /// shared memory that they have made, and these folders with the files in them, even if the process of the test is
    /// killed. `files` gets the session's id.
    ///
    /// # Errors
    /// The error of the system.
    pub fn removing(
        folder: impl Into<PathBuf>,
        files: impl FnOnce(&str) -> Vec<PathBuf>,
    ) -> io::Result<Self> {
        let folder = folder.into();
        // The guard first: the folder may be among what it removes.
        let tree = Tree::removing(files)?;
        fs::create_dir_all(&folder)?;
        let folder = folder.canonicalize()?;
        Ok(Session { tree, folder, temporary: false, started: Mutex::default() })
    }

    /// Its id, 16 hexadecimal digits: unique, for names of rings and files.
    pub fn id(&self) -> &str {
        self.tree.id()
    }

    /// The folder in which its processes run, and where their output is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts a process. Its output goes to the files NAME-N.stdout and NAME-N.stderr in the folder.
    ///
    /// # Errors
    /// The error of the system, also of executing the program. `InvalidInput`: a number of a descriptor cannot be given to
    /// it.
    pub fn start(&self, program: &Program) -> io::Result<Process> {
        self.start_prepared(program, None)
    }

    /// Starts a process, and calls `prepare` with its id before it executes its program: for a
    /// [`Trace`](super::point::Trace) from the first instruction on.
    ///
    /// # Errors
    /// As [`start`](Self::start), or the error of `prepare`: then the program is not executed.
    pub fn start_prepared(
        &self,
        program: &Program,
        prepare: Option<&dyn Fn(u32) -> io::Result<()>>,
    ) -> io::Result<Process> {
        program.check_descriptors()?;
        let name = self.next_name(&program.name);
        let output = |stream| Output::new(self.folder.join(format!("{name}.{stream}")));
        let (stdout, stderr) = (output("stdout"), output("stderr"));
        let create = |output: &Output| OpenOptions::new().create(true).append(true).open(output.path());
        let mut command = Command::new(&program.program);
        command.args(&program.arguments).envs(&program.environment);
        command.current_dir(program.folder.as_deref().unwrap_or(&self.folder));
        command.stdin(input(&program.input)?).stdout(create(&stdout)?).stderr(create(&stderr)?);
        let (mut pipe, mut also) = (None, Vec::new());
        if let Ready::Descriptor(number) = program.ready {
            let (reader, writer) = io::pipe()?;
            set_nonblocking(&reader)?;
            pipe = Some(reader);
            also.push((writer.into(), number));
        }
        let mut log = None;
        if let Some((number, folder)) = &program.log {
            fs::create_dir_all(folder)?;
            let file = Output::new(folder.join(format!("{name}.fd.log")));
            also.push((create(&file)?.into(), *number));
            log = Some(file);
        }
        let before = |pid: Pid| prepare.map_or(Ok(()), |prepare| prepare(pid.as_raw() as u32));
        let before: Option<&dyn Fn(Pid) -> io::Result<()>> =
            if prepare.is_some() { Some(&before) } else { None };
        let waiting = Waiting::new(&program.ready, &stdout, &stderr, pipe);
        let started = Instant::now();
        let child = self.tree.start(command, also, before)?;
        Ok(Process { name, child, started, stdout, stderr, log, waiting })
    }

    fn next_name(&self, name: &str) -> String {
        let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        let number = started.entry(name.into()).or_insert(0);
        *number += 1;
        format!("{name}-{number}")
    }

    /// The ids of the processes that run: those that were started, and their descendants.
    pub fn survivors(&self) -> Vec<u32> {
        self.tree.survivors().into_iter().map(|pid| pid.as_raw() as u32).collect()
    }

    /// The names of the segments of shared memory that its processes have mapped now.
    pub fn segments(&self) -> BTreeSet<String> {
        self.tree.survivors().into_iter().flat_map(segments).collect()
    }

    /// What each process that runs is doing.
    pub fn observe(&self) -> Vec<Observed> {
        self.tree.survivors().into_iter().filter_map(observe).collect()
    }

    /// Kills all processes by SIGKILL, and waits until they have ended.
    ///
    /// # Errors
    /// `TimedOut`: the kernel has not ended them within ten seconds.
    pub fn kill(&self) -> io::Result<()> {
        self.tree.kill()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.temporary && !std::thread::panicking() {
            let _ = self.tree.kill();
            // What cannot be removed stays among the temporary files.
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

fn input(input: &Input) -> io::Result<Stdio> {
    Ok(match input {
        Input::Nothing => Stdio::null(),
        Input::File(file) => File::open(file)?.into(),
        Input::Bytes(bytes) => {
            let mut file = memory_file()?;
            file.write_all(bytes)?;
            file.rewind()?;
            file.into()
        }
    })
}
