//! A server of its own for each test, on loopback if not otherwise asked, that cannot outlive the test.

use std::env;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::{Kept, Run, not_tested, wait_until};

/// How the server stores what it acknowledges.
pub struct Server {
    process: Kept,
    port: u16,
    program: PathBuf,
    folder: tempfile::TempDir,
    more: Vec<String>,
}

/// The server's program.
fn program() -> Option<PathBuf> {
    if let Some(given) = env::var_os("RINGPIPE_NATS_SERVER").filter(|given| !given.is_empty()) {
        let given = PathBuf::from(given);
        assert!(given.is_file(), "RINGPIPE_NATS_SERVER: {} is no file", given.display());
        return Some(given);
    }
    let path = env::var_os("PATH")?;
    let folders = env::split_paths(&path).chain(["/usr/sbin".into()]);
    folders.map(|folder| folder.join("nats-server")).find(|file| file.is_file())
}

pub fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

impl Server {
    /// `None`, with a line that says so: there is no server to test with.
    pub fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    pub fn start_with(more: &[&str]) -> Option<Self> {
        let Some(program) = program() else {
            not_tested("no nats-server; RINGPIPE_NATS_SERVER names one");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let more: Vec<String> = more.iter().map(|arg| arg.to_string()).collect();
        let process = launch(&program, port, Some(&folder), &more);
        Some(Server { process, port, program, folder, more })
    }

    /// A server without JetStream.
    pub fn start_plain() -> Option<Self> {
        let mut server = Self::start()?;
        server.kill();
        server.process = launch(&server.program, server.port, None, &[]);
        Some(server)
    }

    /// The name of a stream of this server.
    pub fn name(&self, stream: &str) -> String {
        name_at(self.port, stream)
    }

    /// The name of this server.
    pub fn address(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again, on the same port and with the same store.
    pub fn restart(&mut self) {
        self.process = launch(&self.program, self.port, Some(&self.folder), &self.more);
    }
}

pub fn name_at(port: u16, stream: &str) -> String {
    format!("nats://127.0.0.1:{port}/{stream}")
}

/// With a folder for its items, the server has JetStream.
fn launch(program: &PathBuf, port: u16, folder: Option<&tempfile::TempDir>, more: &[String]) -> Kept {
    let mut command = Command::new(program);
    command.args(["-a", "127.0.0.1", "-p", &port.to_string()]).args(more);
    if let Some(folder) = folder {
        command.args(["-js", "-sd"]).arg(folder.path());
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    // SAFETY: prctl may be called between fork and exec.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            Ok(())
        });
    }
    let process = Kept(command.spawn().unwrap());
    wait_until("a server that greets", || {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
        stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        let mut greeting = [0; 4];
        stream.read_exact(&mut greeting).is_ok() && &greeting == b"INFO"
    });
    process
}

pub fn producer(name: &str, args: &[&str]) -> Run {
    Run::new(env!("CARGO_BIN_EXE_producer")).arg(name).args(args)
}

pub fn consumer(name: &str, args: &[&str]) -> Run {
    Run::new(env!("CARGO_BIN_EXE_consumer")).arg(name).args(args)
}

pub fn ringctl(args: &[&str]) -> Run {
    Run::new(env!("CARGO_BIN_EXE_ringctl")).args(args)
}

/// What a worker's commands wrote, a line each, sorted as numbers.
pub fn sorted(text: &str) -> Vec<u64> {
    let mut all: Vec<u64> = text.lines().map(|line| line.parse().unwrap()).collect();
    all.sort_unstable();
    all
}
