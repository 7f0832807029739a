//! Rings, processes, producers and consumers of a scenario file.

use std::collections::BTreeMap;
use std::time::Duration;

use nix::sys::signal::Signal::SIGTERM;

use super::keys::{CONSUMER, FILE, INPUT, LOGGING, PROCESS, PRODUCER, READINESS, RING, STOPPING};
use super::kind::{Program, Section};
use super::names::Names;
use super::node::{Node, Table};
use super::options::Takes;
use super::wrong::Wrong;
use super::{ProgramSpec, Ready, RingSpec, Run, Signal, Stdin, values};

/// The size of generated items that have no `size`.
const ITEM: (u64, u64) = (64, 64);
const GRACE: Duration = Duration::from_secs(5);
/// The most bytes of an output of which nothing is said.
const OUTPUT: u64 = 1 << 30;

/// The entries of `[ring]`, `[process]` and the like, in the order of the file.
fn entries<'t>(file: &Table<'t>, key: &str) -> Vec<Node<'t>> {
    file.get(key).and_then(Node::entries).into_iter().flatten().collect()
}

/// The names that the file defines.
///
/// # Errors
/// Two programs have one name.
pub fn names(file: &Table<'_>) -> Result<Names, Wrong> {
    let rings = entries(file, "ring").iter().map(|node| node.name.to_string()).collect();
    let mut names = Names { rings, programs: Vec::new() };
    for (_, node) in programs(file) {
        if names.programs.iter().any(|name| name == node.name) {
            let problem = format!("two programs have the name {:?}", node.name);
            return Err(Wrong::new(
                node.key_at,
                problem,
                "different names of processes, producers and consumers",
            ));
        }
        names.programs.push(node.name.to_string());
    }
    match names.programs.is_empty() {
        true => Err(Wrong::new(0, "the scenario starts no program", "a table such as [process.server]")),
        false => Ok(names),
    }
}

/// The tables of all programs, in the order of the file.
fn programs<'t>(file: &Table<'t>) -> Vec<(&'static Section, Node<'t>)> {
    let kinds: [(&str, &'static Section); 3] =
        [("process", &PROCESS), ("producer", &PRODUCER), ("consumer", &CONSUMER)];
    let mut all: Vec<_> = kinds
        .into_iter()
        .flat_map(|(key, section)| entries(file, key).into_iter().map(move |node| (section, node)))
        .collect();
    all.sort_by_key(|(_, node)| node.key_at);
    all
}

/// The rings.
///
/// # Errors
/// The first fault.
pub fn read_rings(file: &Table<'_>, names: &Names) -> Result<Vec<RingSpec>, Wrong> {
    let read = |node: Node<'_>| {
        let options = read_options(&node.table(&RING)?, Program::Create, names, &[], &[])?;
        Ok(RingSpec { name: node.name.into(), options })
    };
    entries(file, "ring").into_iter().map(read).collect()
}

/// The programs.
///
/// # Errors
/// The first fault.
pub fn read_programs(file: &Table<'_>, names: &Names) -> Result<Vec<ProgramSpec>, Wrong> {
    let tables = programs(file);
    let specs: Vec<_> = tables
        .iter()
        .map(|(section, node)| read(node.table(section)?, section, names))
        .collect::<Result<_, _>>()?;
    check_order(&specs, &tables)?;
    check_ends(&specs, &tables)?;
    check_histories(file, names, &tables)?;
    if specs.iter().all(|program| program.background) {
        let node = file.get("process").or(file.get("producer")).or(file.get("consumer"));
        let node = node.unwrap_or(file.node);
        let problem = "all programs are in the background, so the run ends at once";
        return Err(Wrong::new(node.key_at, problem, "a program without background = true"));
    }
    Ok(specs)
}

/// Fails if programs wait for each other.
fn check_order(specs: &[ProgramSpec], tables: &[(&'static Section, Node<'_>)]) -> Result<(), Wrong> {
    let mut started: Vec<&str> = Vec::new();
    while started.len() < specs.len() {
        let is_next = |program: &&ProgramSpec| {
            !started.contains(&program.name.as_str())
                && program.waits_for().all(|name| started.contains(&name))
        };
        match specs.iter().find(is_next) {
            Some(program) => started.push(&program.name),
            None => {
                let waits = |(_, node): &&(_, Node<'_>)| !started.contains(&node.name);
                let Some((section, node)) = tables.iter().find(waits) else { break };
                let table = node.table(section)?;
                let after = table.get("after").or(table.get("after-end")).unwrap_or(*node);
                return Err(after.wrong("these programs wait for each other", "an order without a circle"));
            }
        }
    }
    Ok(())
}

/// Fails if a program waits for the end of one in the background, which ends last.
fn check_ends(specs: &[ProgramSpec], tables: &[(&'static Section, Node<'_>)]) -> Result<(), Wrong> {
    for (spec, (section, node)) in specs.iter().zip(tables) {
        let endless = specs.iter().find(|one| one.background && spec.after_end.contains(&one.name));
        if let Some(endless) = endless {
            let after = node.table(section)?.get("after-end").unwrap_or(*node);
            let problem = format!("{:?} runs in the background, and ends after all others", endless.name);
            return Err(after.wrong(problem, "a program that ends by itself"));
        }
    }
    Ok(())
}

/// Fails if a producer or a consumer, which writes a history, uses a ring of fixed items, which has none.
fn check_histories(
    file: &Table<'_>,
    names: &Names,
    tables: &[(&'static Section, Node<'_>)],
) -> Result<(), Wrong> {
    for (section, node) in tables.iter().filter(|(section, _)| !std::ptr::eq(*section, &raw const PROCESS)) {
        let table = node.table(section)?;
        let name = names.ring_or_only(table.get("ring"), table.node)?;
        let ring = entries(file, "ring").into_iter().find(|ring| ring.name == name);
        let Some(ring) = ring else { continue };
        if let Some(fixed) = ring.table(&RING)?.rest().find(|option| option.name == "fixed") {
            let problem = format!("{:?} writes a history, and a ring of fixed items has none", node.name);
            let expected = format!("programs of your own at ring {name:?}, or no fixed");
            return Err(Wrong::new(fixed.key_at, problem, expected));
        }
    }
    Ok(())
}

fn read(table: Table<'_>, section: &'static Section, names: &Names) -> Result<ProgramSpec, Wrong> {
    let ring = match std::ptr::eq(section, &raw const PROCESS) {
        true => None,
        false => Some(names.ring_or_only(table.get("ring"), table.node)?),
    };
    let (run, stdin) = match &ring {
        None => (read_run(&table, names)?, table.read("stdin", |node| read_stdin(node, names))?),
        Some(ring) if std::ptr::eq(section, &raw const PRODUCER) => read_producer(&table, ring, names)?,
        Some(ring) => (
            Run::Consumer(read_consumer(&table, ring, names)?),
            table.read("stdin", |node| read_stdin(node, names))?,
        ),
    };
    let ready = table.read("ready", |node| read_ready(node, names))?;
    let history = table.read("history", |node| read_log(node, ready.as_ref()))?;
    Ok(ProgramSpec {
        name: table.node.name.into(),
        run,
        count: table.read("count", values::small)?.unwrap_or(1),
        env: table.read("env", |node| read_environment(node, names))?.unwrap_or_default(),
        cwd: table.read("cwd", |node| names.template(node))?,
        stdin: stdin.unwrap_or(Stdin::Null),
        ready: ready.or(ring.map(Ready::Attached)),
        history,
        after: table.read("after", |node| values::each(node, |one| names.program(one)))?.unwrap_or_default(),
        after_end: table
            .read("after-end", |node| values::each(node, |one| names.program(one)))?
            .unwrap_or_default(),
        background: table.read("background", values::truth)?.unwrap_or(false),
        stop: table.read("stop", read_stop)?.unwrap_or((Signal(SIGTERM), GRACE)),
        output_limit: table.read("output-limit", read_limit)?.unwrap_or(Some(OUTPUT)),
    })
}

fn read_run(table: &Table<'_>, names: &Names) -> Result<Run, Wrong> {
    table.need("run", |node| match node.value.is_array() {
        true => read_arguments(node, names).map(Run::Arguments),
        false => names.template(node).map(Run::Shell),
    })
}

/// A program and its arguments.
fn read_arguments(node: Node<'_>, names: &Names) -> Result<Vec<String>, Wrong> {
    let arguments = values::each(node, |one| names.template(one))?;
    match arguments.first().is_some_and(|program| !program.is_empty()) {
        true => Ok(arguments),
        false => Err(node.wrong("the name of the program is empty", "a program and its arguments")),
    }
}

fn read_environment(node: Node<'_>, names: &Names) -> Result<BTreeMap<String, String>, Wrong> {
    let mut environment = BTreeMap::new();
    for entry in node.entries().into_iter().flatten() {
        if entry.name.contains(['=', '\0']) {
            let problem = format!("{:?} is no name of a variable", entry.name);
            return Err(Wrong::new(entry.key_at, problem, "a name without ="));
        }
        environment.insert(entry.name.into(), names.template(entry)?);
    }
    Ok(environment)
}

fn read_stdin(node: Node<'_>, names: &Names) -> Result<Stdin, Wrong> {
    if node.value.is_str() {
        return names.template(node).map(Stdin::Text);
    }
    let table = node.table(&INPUT)?;
    match table.read("file", |node| names.template(node))? {
        Some(file) => {
            table.refuse(&["size"], "size beside items")?;
            Ok(Stdin::File(file))
        }
        None => {
            let count = table.need("items", values::whole)?;
            Ok(Stdin::Items { count, size: table.read("size", values::sizes)?.unwrap_or(ITEM) })
        }
    }
}

fn read_ready(node: Node<'_>, names: &Names) -> Result<Ready, Wrong> {
    let table = node.table(&READINESS)?;
    if let Some(pattern) = table.read("stdout", values::pattern)? {
        return Ok(Ready::Stdout(pattern));
    }
    if let Some(pattern) = table.read("stderr", values::pattern)? {
        return Ok(Ready::Stderr(pattern));
    }
    if let Some(file) = table.read("file", |node| names.template(node))? {
        return Ok(Ready::File(file));
    }
    if let Some(address) = table.read("tcp", |node| read_address(node, names))? {
        return Ok(Ready::Tcp(address));
    }
    // The kind of the key is 3 to 255.
    table.need("fd", values::small).map(|descriptor| Ready::Descriptor(descriptor as i32))
}

/// The descriptor of the history.
fn read_log(node: Node<'_>, ready: Option<&Ready>) -> Result<i32, Wrong> {
    node.table(&LOGGING)?.need("fd", |fd| match (values::small(fd)? as i32, ready) {
        (number, Some(Ready::Descriptor(other))) if number == *other => {
            Err(fd.wrong(format!("ready has descriptor {number} already"), "another number from 3 to 255"))
        }
        (number, _) => Ok(number),
    })
}

fn read_address(node: Node<'_>, names: &Names) -> Result<String, Wrong> {
    let address = names.template(node)?;
    let is_port = |port: &str| port.contains('{') || port.parse::<u16>().is_ok_and(|port| port > 0);
    // The dot of a placeholder is before its colon, which it has none of.
    match address.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && is_port(port) => Ok(address),
        _ => Err(node.wrong(
            format!("{address:?} is no address"),
            "HOST:PORT such as 127.0.0.1:8080 or 127.0.0.1:{port.http}",
        )),
    }
}

fn read_stop(node: Node<'_>) -> Result<(Signal, Duration), Wrong> {
    if node.value.is_str() {
        return values::signal(node).map(|signal| (signal, GRACE));
    }
    let table = node.table(&STOPPING)?;
    let signal = table.read("signal", values::signal)?.unwrap_or(Signal(SIGTERM));
    Ok((signal, table.read("grace", values::duration)?.unwrap_or(GRACE)))
}

fn read_limit(node: Node<'_>) -> Result<Option<u64>, Wrong> {
    match node.value.as_str() {
        Some("none") => Ok(None),
        _ => values::size(node).map(Some),
    }
}

/// What a producer runs, and what it reads.
fn read_producer(table: &Table<'_>, ring: &str, names: &Names) -> Result<(Run, Option<Stdin>), Wrong> {
    let sources: Vec<_> = table
        .rest()
        .filter(|node| node.name == "item")
        .chain(table.get("items"))
        .chain(table.get("stdin"))
        .collect();
    match sources[..] {
        [] => {
            let expected = "items = NUMBER, item = TEXT or stdin = ...";
            return Err(table.node.wrong("the producer has nothing to send", expected));
        }
        [first, second, ..] => {
            let problem = format!("{} and {} exclude each other", first.name, second.name);
            return Err(Wrong::new(second.key_at, problem, "one of items, item, stdin"));
        }
        [_] => {}
    }
    if table.get("items").is_none() {
        table.refuse(&["size"], "size beside items")?;
    }
    let stdin = match table.read("items", values::whole)? {
        Some(count) => Some(Stdin::Items { count, size: table.read("size", values::sizes)?.unwrap_or(ITEM) }),
        None => table.read("stdin", |node| read_stdin(node, names))?,
    };
    let first = [format!("{{ring.{ring}}}")];
    Ok((Run::Producer(read_options(table, Program::Producer, names, &first, &[])?), stdin))
}

/// The arguments of a consumer.
fn read_consumer(table: &Table<'_>, ring: &str, names: &Names) -> Result<Vec<String>, Wrong> {
    let mut first = vec![format!("{{ring.{ring}}}")];
    first.extend(table.read("items", values::whole)?.map(|items| format!("--count={items}")));
    let mut command = Vec::new();
    if let Some(run) = table.get("run") {
        command.push("--".into());
        match run.value.is_array() {
            true => command.extend(read_arguments(run, names)?),
            false => {
                first.push("--shell".into());
                command.push(names.template(run)?);
            }
        }
    } else {
        let is_of_worker =
            |node: &Node<'_>| Program::Consumer.option(node.name).is_some_and(|option| option.is_of_worker);
        if let Some(node) = table.rest().find(is_of_worker) {
            let problem = format!("{} is an option of workers", node.name);
            return Err(Wrong::new(node.key_at, problem, "run = [COMMAND, ...] beside it"));
        }
    }
    if let Some(shell) = table.rest().find(|node| node.name == "shell") {
        let problem = "shell has no meaning here";
        return Err(Wrong::new(shell.key_at, problem, "run = \"a line for /bin/sh\" instead"));
    }
    read_options(table, Program::Consumer, names, &first, &command)
}

/// The arguments of a program: `first`, its options, `last`; as the program's own parser accepts them.
fn read_options(
    table: &Table<'_>,
    program: Program,
    names: &Names,
    first: &[String],
    last: &[String],
) -> Result<Vec<String>, Wrong> {
    let nodes: Vec<_> = table.rest().collect();
    let mut options = Vec::new();
    for &node in &nodes {
        let Some(option) = program.option(node.name) else { continue };
        if matches!(option.takes, Takes::Value { is_ring: true, .. }) {
            names.ring(node)?;
        }
        for argument in option.arguments(node)? {
            names.placeholders(node, &argument)?;
            options.push(argument);
        }
    }
    // The ring is not known yet: the parser gets a name of its own instead of it.
    let after_ring = first.iter().skip(1).chain(&options).chain(last).cloned().collect::<Vec<_>>();
    program.parse(table.node, &nodes, &after_ring)?;
    Ok([first, &options, last].concat())
}

/// The table of the file.
pub fn file<'t>(root: Node<'t>) -> Result<Table<'t>, Wrong> {
    root.table(&FILE)
}
