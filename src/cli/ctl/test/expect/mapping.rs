//! Makes a history of the output of programs that do not log one.
//!
//! Lines of outputs have no times. So the history has all sends first, then what was received: first by processes that a
//! fault struck, then by the others. This is an order that a correct queue can have had, if there is one.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, ErrorKind};
use std::path::PathBuf;

use regex_lite::Regex;

use crate::cli::common::exit::Failure;
use crate::cli::ctl::test::beside::beside;
use crate::cli::ctl::test::run::instance::Instance;
use crate::cli::ctl::test::run::stage::Stage;
use crate::cli::ctl::test::scenario::{Duplicated, Mapping, Scenario};
use crate::testing::Output;
use crate::testing::history::{Event, EventKind};

/// The group of a pattern that names the item.
const ITEM: &str = "id";

/// What the output calls each item, by its producer and its number there.
pub type Names = HashMap<(u64, u64), String>;

/// What a line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Sent,
    Received,
    Acknowledged,
}

/// The outputs of a process that a mapping reads.
struct Source {
    mapping: Mapping,
    outputs: Vec<Output>,
    process: u64,
    /// Its program, and its number there.
    instance: (usize, u32),
    is_struck: bool,
}

/// What a process has done, in its order.
struct Done {
    process: u64,
    is_struck: bool,
    acknowledges: bool,
    events: Vec<(Word, String)>,
}

/// Writes the history, and returns its file, the names of its items, and why it may be
/// wrong; `None`: no line matches.
///
/// # Errors
/// An output cannot be read, or the file cannot be written; or a signal has come.
pub fn write(
    scenario: &Scenario,
    stage: &Stage<'_>,
) -> Result<Option<(PathBuf, Names, Option<String>)>, Failure> {
    let may_redeliver = scenario.expect.duplicated == Some(Duplicated::Redelivered);
    let (sources, doubt) = sources(scenario, stage, may_redeliver)?;
    let path = stage.plan.folder.join("mapped.log");
    let failed = |error: io::Error| Failure::io(format!("{path:?}"), &error);
    let read = beside(stage.stop, move || read(sources, may_redeliver, doubt)).map_err(failed)?;
    let history = read?;
    if history.text.is_empty() {
        return Ok(None);
    }
    fs::write(&path, history.text).map_err(failed)?;
    let names = history.items.into_iter().map(|(id, (producer, sequence, _))| ((producer, sequence), id));
    Ok(Some((path, names.collect(), history.doubt)))
}

/// What is read, and why the history of it may be wrong.
fn sources(
    scenario: &Scenario,
    stage: &Stage<'_>,
    may_redeliver: bool,
) -> Result<(Vec<Source>, Option<String>), Failure> {
    let (mut sources, mut doubt, mut files) = (Vec::new(), None, BTreeSet::new());
    for instance in &stage.instances {
        let name = &stage.program(instance).name;
        for (place, mapping) in scenario.history.iter().enumerate() {
            if !mapping.of.is_empty() && !mapping.of.contains(name) {
                continue;
            }
            let mut outputs = outputs(mapping, stage, instance)?;
            // Several instances may write to one file: then it is not known which line is whose.
            let all = outputs.len();
            outputs.retain(|output| files.insert((place, output.path().to_owned())));
            if outputs.len() < all && may_redeliver && mapping.acknowledged.is_none() {
                let name = instance.process.name();
                let line = format!("[history] reads a file of {name} that another process writes, too");
                doubt.get_or_insert(line + ": without acknowledged, it is not known what was in hand");
            }
            sources.push(Source {
                mapping: mapping.clone(),
                outputs,
                process: instance.process.id().into(),
                instance: (instance.program, instance.number),
                is_struck: instance.struck,
            });
        }
    }
    Ok((sources, doubt))
}

/// Reads the outputs, and makes a history of them.
fn read(sources: Vec<Source>, may_redeliver: bool, doubt: Option<String>) -> Result<History, Failure> {
    let (mut history, mut all) = (History { doubt, ..History::default() }, Vec::new());
    for Source { mapping, outputs, process, instance, is_struck } in sources {
        let mut events = Vec::new();
        for output in &outputs {
            let read = each_line(output, |line| events.extend(words(&mapping, line)));
            read.map_err(|error| Failure::io(format!("{:?}", output.path()), &error))?;
        }
        let sent = events.iter().filter(|(word, _)| *word == Word::Sent);
        sent.for_each(|(_, id)| history.sent(process, instance, id));
        all.push(Done { process, is_struck, acknowledges: mapping.acknowledged.is_some(), events });
    }
    // A stable sort: struck processes come first.
    all.sort_by_key(|done| !done.is_struck);
    // Acknowledgements by a process that did not receive the item.
    let mut others = Vec::new();
    for Done { process, is_struck, acknowledges, events } in &all {
        let last = events.iter().rposition(|(word, _)| *word == Word::Received);
        let mut received = HashSet::new();
        for (place, (word, id)) in events.iter().enumerate() {
            match word {
                Word::Sent => {}
                Word::Acknowledged if received.contains(id) => history.acknowledged(*process, id),
                Word::Acknowledged => others.push(id),
                Word::Received => {
                    history.received(*process, id);
                    received.insert(id);
                    // The last one may still have been in hand when the process was struck.
                    let in_hand = *is_struck && may_redeliver && Some(place) == last;
                    if !acknowledges && !in_hand {
                        history.acknowledged(*process, id);
                    }
                }
            }
        }
    }
    for id in others {
        let process = history.receivers.get(id).copied().unwrap_or(0);
        history.acknowledged(process, id);
    }
    Ok(history)
}

/// The files whose lines a mapping reads.
fn outputs(mapping: &Mapping, stage: &Stage<'_>, instance: &Instance) -> Result<Vec<Output>, Failure> {
    let mut outputs = Vec::new();
    if mapping.files.is_empty() {
        outputs.push(instance.process.stdout().clone());
    }
    for file in &mapping.files {
        let file = stage.names.fill(file, instance.number).map_err(|error| Failure::io(file, &error))?;
        outputs.push(Output::new(stage.names.folder().join(file)));
    }
    Ok(outputs)
}

/// Takes each line of an output, without its end. A missing file has none.
fn each_line(output: &Output, mut take: impl FnMut(&str)) -> io::Result<()> {
    let mut reader = match File::open(output.path()) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        opened => BufReader::new(opened?),
    };
    let mut line = Vec::new();
    loop {
        line.clear();
        reader.read_until(b'\n', &mut line)?;
        // Without its end, a line may be incomplete.
        match line.strip_suffix(b"\n") {
            Some(text) => take(&String::from_utf8_lossy(text)),
            None => return Ok(()),
        }
    }
}

/// What a line says, and of which item.
fn words(mapping: &Mapping, line: &str) -> Vec<(Word, String)> {
    let patterns = [
        (Word::Sent, &mapping.sent),
        (Word::Received, &mapping.received),
        (Word::Acknowledged, &mapping.acknowledged),
    ];
    let item =
        |pattern: &Option<Regex>| Some(pattern.as_ref()?.captures(line)?.name(ITEM)?.as_str().to_string());
    patterns.into_iter().filter_map(|(word, pattern)| Some((word, item(pattern)?))).collect()
}

/// A history that is written.
#[derive(Debug, Default)]
struct History {
    text: Vec<u8>,
    time: u64,
    /// The producer and the number of each item that was sent, and how often it was received.
    items: HashMap<String, (u64, u64, u64)>,
    sequences: HashMap<u64, u64>,
    /// The program and the number of the instance that sent each item.
    senders: HashMap<String, (usize, u32)>,
    /// Why the history may be wrong.
    doubt: Option<String>,
    /// The process that received each item last.
    receivers: HashMap<String, u64>,
}

impl History {
    fn event(&mut self, process: u64, kind: EventKind, (producer, sequence, received): (u64, u64, u64)) {
        self.time += 1;
        let attempt = if kind.is_delivery() { received.clamp(1, u8::MAX.into()) as u8 } else { 0 };
        Event { time: self.time, process, kind, producer, sequence, attempt, hash: None }
            .append_to(&mut self.text);
    }

    fn sent(&mut self, process: u64, sender: (usize, u32), id: &str) {
        // A producer that does not know whether its item has arrived sends it again.
        if let Some(first) = self.senders.get(id) {
            if *first != sender {
                self.doubt.get_or_insert_with(|| {
                    format!(
                        "two processes sent an item {id:?}: names must differ in the whole run ([history])"
                    )
                });
            }
            return;
        }
        self.senders.insert(id.into(), sender);
        let sequence = self.sequences.entry(process).or_insert(0);
        let item = (process, *sequence, 0);
        *sequence += 1;
        self.items.insert(id.into(), item);
        self.event(process, EventKind::Attempt, item);
        self.event(process, EventKind::Sent, item);
    }

    /// The item; one that was not sent gets a number of its own, under a producer that does not exist.
    fn item(&mut self, id: &str) -> &mut (u64, u64, u64) {
        let next = self.items.len() as u64;
        self.items.entry(id.into()).or_insert((u64::from(u32::MAX), next, 0))
    }

    fn received(&mut self, process: u64, id: &str) {
        let item = self.item(id);
        item.2 += 1;
        let item = *item;
        self.receivers.insert(id.into(), process);
        self.event(process, EventKind::Got, item);
    }

    fn acknowledged(&mut self, process: u64, id: &str) {
        let item = *self.item(id);
        self.event(process, EventKind::Acking, item);
        self.event(process, EventKind::Acked, item);
    }
}
