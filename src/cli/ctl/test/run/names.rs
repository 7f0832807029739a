//! The placeholders of a scenario file.

use std::collections::BTreeMap;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::Plan;
use super::ring::name_of;
use crate::cli::ctl::test::scenario::Scenario;
use crate::cli::ctl::test::scenario::placeholders::{Part, parts};

/// What the placeholders of one run stand for.
#[derive(Debug)]
pub struct Names {
    /// `{ring.NAME}`
    rings: BTreeMap<String, String>,
    /// `{dir}`
    folder: PathBuf,
    /// `{file}`
    file: PathBuf,
    /// `{seed}`
    seed: u64,
    /// `{port.NAME}`, chosen when it is first used. Another process may take the port before the program does.
    ports: Mutex<BTreeMap<String, u16>>,
}

impl Names {
    /// For a run in `folder`, of the session with this id.
    pub fn new(scenario: &Scenario, plan: &Plan, id: &str, folder: PathBuf) -> Self {
        let real = |name: &String| (name.clone(), name_of(plan.over.as_ref(), id, name));
        let file = scenario.path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
        Names {
            rings: scenario.rings.iter().map(|ring| real(&ring.name)).collect(),
            folder,
            file: file.canonicalize().unwrap_or_else(|_| file.into()),
            seed: plan.seed,
            ports: Mutex::default(),
        }
    }

    /// The name of a ring in this run.
    pub fn ring<'a>(&'a self, name: &'a str) -> &'a str {
        self.rings.get(name).map_or(name, String::as_str)
    }

    /// The working directory.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A text with its placeholders replaced. `number` is that of the instance.
    ///
    /// # Errors
    /// The system has no free port.
    pub fn fill(&self, text: &str, number: u32) -> io::Result<String> {
        let mut filled = String::new();
        for part in parts(text) {
            match part {
                Part::Text(text) => filled += text,
                // The reader of the file knows the same names.
                Part::Placeholder(name) => filled += &self.value(name, number)?.unwrap_or_default(),
            }
        }
        Ok(filled)
    }

    fn value(&self, name: &str, number: u32) -> io::Result<Option<String>> {
        Ok(match name.split_once('.') {
            None if name == "dir" => Some(self.folder.display().to_string()),
            None if name == "file" => Some(self.file.display().to_string()),
            None if name == "seed" => Some(self.seed.to_string()),
            None if name == "n" => Some(number.to_string()),
            Some(("ring", ring)) => self.rings.get(ring).cloned(),
            Some(("port", port)) => Some(self.port(port)?.to_string()),
            _ => None,
        })
    }

    fn port(&self, name: &str) -> io::Result<u16> {
        let mut ports = self.ports.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(port) = ports.get(name) {
            return Ok(*port);
        }
        let port = loop {
            let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
            if !ports.values().any(|other| *other == port) {
                break port;
            }
        };
        ports.insert(name.into(), port);
        Ok(port)
    }
}
