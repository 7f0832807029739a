//! Faults of a scenario file.

use std::time::Duration;

use nix::libc::ENOSPC;
use nix::sys::signal::Signal::SIGTERM;

use super::keys::{FAULT, MOMENT, POINTS};
use super::names::Names;
use super::node::{Node, Table};
use super::wrong::{Wrong, place};
use super::{Action, FaultSpec, Lasting, ProgramSpec, Signal, When, Who, values};

const MOST_RUNS: u64 = 100;
const LONGEST: Duration = Duration::from_secs(60);

/// The system calls that write to a file or make an entry of a folder, and so need room on its disk. `open` is not
/// among them: it mostly opens files that exist.
const WRITING: [&str; 15] = [
    "copy_file_range",
    "fallocate",
    "fdatasync",
    "fsync",
    "linkat",
    "mkdirat",
    "mknodat",
    "pwrite64",
    "pwritev",
    "pwritev2",
    "renameat2",
    "sendfile",
    "symlinkat",
    "write",
    "writev",
];

/// The older ones of them, which newer architectures do not have.
const OLDER: [&str; 6] = ["link", "mkdir", "mknod", "rename", "renameat", "symlink"];

fn writing() -> Vec<String> {
    let older = OLDER.into_iter().filter(|_| cfg!(target_arch = "x86_64"));
    WRITING.into_iter().chain(older).map(str::to_string).collect()
}

/// The keys that belong to some actions only, and these actions.
const OF_ACTIONS: [(&str, &[&str]); 7] = [
    ("signal", &["signal"]),
    ("error", &["fail"]),
    ("calls", &["fail"]),
    ("times", &["fail"]),
    ("path", &["full-disk", "fail"]),
    ("for", &["stop", "full-disk", "fail", "restart"]),
    ("limit", &["memory"]),
];

/// The keys of `at` that belong to one of its events.
const OF_EVENTS: [(&str, &str); 4] =
    [("of", "line"), ("nth", "line"), ("ring", "acknowledged"), ("calls", "syscall")];

/// The faults.
///
/// # Errors
/// The first fault of the file.
pub fn read_faults(
    file: &Table<'_>,
    text: &str,
    names: &Names,
    programs: &[ProgramSpec],
) -> Result<Vec<FaultSpec>, Wrong> {
    let nodes: Vec<_> = file.get("fault").and_then(Node::elements).into_iter().flatten().collect();
    let mut faults = Vec::new();
    let mut has_every = false;
    for node in nodes {
        let table = node.table(&FAULT)?;
        let fault = read(&table, text, names, programs)?;
        if let Some(every) = table.get("every")
            && std::mem::replace(&mut has_every, true)
        {
            return Err(Wrong::new(every.key_at, "a second fault has every", "every in one fault"));
        }
        faults.push(fault);
    }
    Ok(faults)
}

fn read(table: &Table<'_>, text: &str, names: &Names, programs: &[ProgramSpec]) -> Result<FaultSpec, Wrong> {
    let action = table.need("do", values::word)?;
    for (key, actions) in OF_ACTIONS {
        if !actions.contains(&action.as_str()) {
            let doing: Vec<_> = actions.iter().map(|action| format!("do = {action:?}")).collect();
            table.refuse(&[key], &format!("{key} beside {}", doing.join(" or ")))?;
        }
    }
    let (on, number, program) = read_target(table, names, programs)?;
    let when = read_when(table, &action, &on, names)?;
    let at_point = matches!(when, When::Every { .. } | When::Syscall { .. });
    if !matches!(action.as_str(), "kill" | "restart") || !at_point && !matches!(when, When::Instruction(_)) {
        table.refuse(&["group"], "group beside a kill or a restart at a system call or an instruction")?;
    }
    let fault = FaultSpec {
        text: String::new(),
        line: u32::try_from(place(text, table.node.at()).0).unwrap_or(u32::MAX),
        action: read_action(table, &action, at_point, names)?,
        who: read_who(table, number, program)?,
        repeat: read_repeat(table)?,
        group: table.read("group", values::truth)?.unwrap_or(true),
        must_strike: table.read("must-strike", values::truth)?.unwrap_or(true),
        on,
        when,
    };
    check_point(table, &action, &fault)?;
    Ok(FaultSpec { text: describe(table, &action, &fault), ..fault })
}

/// The program, and the number of its instance if one is named.
fn read_target<'p>(
    table: &Table<'_>,
    names: &Names,
    programs: &'p [ProgramSpec],
) -> Result<(String, Option<u32>, &'p ProgramSpec), Wrong> {
    table.need("on", |node| {
        let target = values::word(node)?;
        let (name, number) = target.split_once('.').map_or((&target[..], None), |(name, n)| (name, Some(n)));
        names.is_program(node, node.at(), name)?;
        let Some(program) = programs.iter().find(|program| program.name == name) else {
            return Err(node.wrong("the program is unknown", "a program of the scenario"));
        };
        let Some(number) = number else { return Ok((name.into(), None, program)) };
        match number.parse::<u32>() {
            Ok(n) if (1..=program.count).contains(&n) => Ok((name.into(), Some(n), program)),
            _ => {
                let expected = match program.count {
                    1 => format!("{name} or {name}.1"),
                    count => format!("{name}, or {name}.1 to {name}.{count}"),
                };
                Err(node.wrong(format!("there is no instance {target:?}"), expected))
            }
        }
    })
}

fn read_who(table: &Table<'_>, number: Option<u32>, program: &ProgramSpec) -> Result<Who, Wrong> {
    let Some(node) = table.get("who") else { return Ok(number.map_or(Who::Some(1), Who::Number)) };
    if number.is_some() {
        return Err(Wrong::new(node.key_at, "who has no meaning beside an instance", "on = NAME"));
    }
    match node.value.as_str() {
        Some("all") => Ok(Who::All),
        Some(_) => Ok(Who::Some(1)),
        None => match values::small(node)? {
            number if number <= program.count => Ok(Who::Some(number)),
            number => Err(node.wrong(
                format!("{number} instances of {:?} do not exist", program.name),
                format!("1 to {}", program.count),
            )),
        },
    }
}

fn read_repeat(table: &Table<'_>) -> Result<(u32, Duration), Wrong> {
    if table.get("repeat").is_none() {
        table.refuse(&["pause"], "pause beside repeat")?;
    }
    let pause = table.read("pause", values::duration)?.unwrap_or_default();
    Ok((table.read("repeat", values::small)?.unwrap_or(1), pause))
}

fn read_action(table: &Table<'_>, action: &str, at_point: bool, names: &Names) -> Result<Action, Wrong> {
    let time = table.read("for", values::duration)?;
    let path = || table.read("path", |node| names.template(node));
    Ok(match action {
        "kill" => Action::Kill,
        "stop" => Action::Stop(time),
        "term" => Action::Send(Signal(SIGTERM)),
        "signal" => Action::Send(table.need("signal", values::signal)?),
        "restart" => Action::Restart(time.unwrap_or_default()),
        "full-disk" => Action::Fail {
            errno: ENOSPC,
            calls: writing(),
            // Pipes and devices have no disk.
            path: Some(path()?.unwrap_or("{dir}".into())),
            lasting: time.map_or(Lasting::Always, Lasting::For),
        },
        "memory" => Action::Memory(table.need("limit", values::size)?),
        _ => Action::Fail {
            errno: table.need("error", values::errno)?,
            calls: read_calls(table.get("calls").ok_or_else(|| table.missing("calls"))?)?,
            path: path()?,
            lasting: read_lasting(table, time, at_point)?,
        },
    })
}

fn read_lasting(table: &Table<'_>, time: Option<Duration>, at_point: bool) -> Result<Lasting, Wrong> {
    match (table.get("times"), time) {
        (Some(times), Some(_)) => {
            Err(Wrong::new(times.key_at, "times and for exclude each other", "one of times, for"))
        }
        (Some(times), None) => values::whole(times).map(Lasting::Times),
        (None, Some(time)) => Ok(Lasting::For(time)),
        (None, None) if at_point => Ok(Lasting::Times(1)),
        (None, None) => Ok(Lasting::Always),
    }
}

fn read_calls(node: Node<'_>) -> Result<Vec<String>, Wrong> {
    values::each(node, values::call)
}

fn read_when(table: &Table<'_>, action: &str, on: &str, names: &Names) -> Result<When, Wrong> {
    if let Some(every) = table.get("every") {
        return read_every(table, every, action);
    }
    table.refuse(&["max", "within"], "every = ... beside it")?;
    table.need("at", |node| match node.value.is_table() {
        true => read_moment(table, node.table(&MOMENT)?, action, on, names),
        false => values::span(node).map(|(least, most)| When::After(least, most)),
    })
}

/// The calls of a fault that makes calls fail: these are the ones that are counted.
fn failing_calls(table: &Table<'_>, action: &str) -> Result<Option<Vec<String>>, Wrong> {
    match action {
        "fail" => table.read("calls", read_calls),
        "full-disk" => Ok(Some(writing())),
        _ => Ok(None),
    }
}

fn read_every(table: &Table<'_>, every: Node<'_>, action: &str) -> Result<When, Wrong> {
    let failing = failing_calls(table, action)?;
    let calls = match every.value.is_table() {
        true => every.table(&POINTS)?.need("syscall", |node| match failing {
            Some(_) => Err(given_twice(node)),
            None => read_calls(node),
        })?,
        false => failing.unwrap_or_default(),
    };
    Ok(When::Every {
        instructions: every.value.as_str() == Some("instruction"),
        calls,
        max: table.read("max", values::whole)?.unwrap_or(MOST_RUNS),
        within: table.read("within", values::positive)?.unwrap_or(LONGEST),
    })
}

fn given_twice(node: Node<'_>) -> Wrong {
    let problem = "the fault says already which calls fail";
    Wrong::new(node.key_at, problem, "no other list: the failing calls are counted")
}

fn read_moment(
    fault: &Table<'_>,
    moment: Table<'_>,
    action: &str,
    on: &str,
    names: &Names,
) -> Result<When, Wrong> {
    for (key, event) in OF_EVENTS {
        if moment.get(event).is_none() {
            moment.refuse(&[key], &format!("{key} beside {event}"))?;
        }
    }
    if let Some(pattern) = moment.read("line", values::pattern)? {
        let of = moment.read("of", |node| names.program(node))?.unwrap_or(on.into());
        return Ok(When::Line { of, pattern, nth: moment.read("nth", values::whole)?.unwrap_or(1) });
    }
    if let Some(items) = moment.read("acknowledged", values::whole)? {
        return Ok(When::Acknowledged { ring: names.ring_or_only(moment.get("ring"), moment.node)?, items });
    }
    if let Some(ring) = moment.read("full", |node| names.ring(node))? {
        return Ok(When::Full(ring));
    }
    if let Some(ring) = moment.read("empty", |node| names.ring(node))? {
        return Ok(When::Empty(ring));
    }
    if let Some(ring) = moment.read("held", |node| names.ring(node))? {
        return Ok(When::Held(ring));
    }
    if let Some(nth) = moment.read("syscall", values::whole)? {
        let failing = failing_calls(fault, action)?;
        let calls = match (moment.get("calls"), failing) {
            (Some(node), Some(_)) => return Err(given_twice(node)),
            (Some(node), None) => read_calls(node)?,
            (None, failing) => failing.unwrap_or_default(),
        };
        return Ok(When::Syscall { nth, calls });
    }
    moment.need("instruction", values::whole).map(When::Instruction)
}

/// Fails if the action is not possible at a point of the program, or not there on these instances.
fn check_point(table: &Table<'_>, action: &str, fault: &FaultSpec) -> Result<(), Wrong> {
    let (point, is_instruction) = match fault.when {
        When::Every { instructions, .. } => ("every", instructions),
        When::Syscall { .. } => ("at", false),
        When::Instruction(_) => ("at", true),
        _ => return Ok(()),
    };
    let at = table.get(point).map_or(table.node.at(), |node| node.key_at);
    if action == "memory" {
        let expected = "at = a time or an event of rings or lines";
        return Err(Wrong::new(at, "memory is not limited at a point of the program", expected));
    }
    if is_instruction && matches!(fault.action, Action::Fail { .. }) {
        return Err(Wrong::new(at, "an instruction does not fail as a system call does", "syscall"));
    }
    if point == "every" {
        table.refuse(&["repeat"], "no repeat beside every: each run strikes once")?;
        if !matches!(fault.who, Who::Some(1) | Who::Number(_)) {
            let at = table.get("who").map_or(at, |node| node.key_at);
            return Err(Wrong::new(at, "every strikes one instance", "who = \"one\" or on = NAME.NUMBER"));
        }
    }
    Ok(())
}

/// The fault in reports, such as `kill worker at 200ms`.
fn describe(table: &Table<'_>, action: &str, fault: &FaultSpec) -> String {
    let doing = match &fault.action {
        Action::Send(signal) if action == "signal" => format!("signal {}", signal.name()),
        Action::Fail { .. } if action == "fail" => {
            let error = table.get("error").and_then(|node| node.value.as_str()).unwrap_or_default();
            let calls: Vec<_> = table
                .get("calls")
                .and_then(Node::elements)
                .into_iter()
                .flatten()
                .filter_map(|node| node.value.as_str())
                .collect();
            format!("fail {} with {error} in", calls.join(", "))
        }
        Action::Memory(bytes) => format!("limit memory to {bytes} bytes in"),
        Action::Fail { .. } => "full-disk in".into(),
        _ => action.to_string(),
    };
    let whom = match fault.who {
        Who::Some(1) => fault.on.clone(),
        Who::Some(number) => format!("{number} of {}", fault.on),
        Who::All => format!("all of {}", fault.on),
        Who::Number(number) => format!("{}.{number}", fault.on),
    };
    format!("{doing} {whom} {}", moment(&fault.when))
}

fn moment(when: &When) -> String {
    let time = |time: &Duration| humantime::format_duration(*time).to_string();
    match when {
        When::After(least, most) if least == most => format!("at {}", time(least)),
        When::After(least, most) => format!("at {}..{}", time(least), time(most)),
        When::Line { of, pattern, nth: 1 } => format!("at a line of {of} like {:?}", pattern.as_str()),
        When::Line { of, pattern, nth } => format!("at line {nth} of {of} like {:?}", pattern.as_str()),
        When::Acknowledged { ring, items } => format!("when {items} items of {ring} are acknowledged"),
        When::Full(ring) => format!("when {ring} is full"),
        When::Empty(ring) => format!("when {ring} is empty"),
        When::Held(ring) => format!("when it holds an item of {ring}"),
        When::Syscall { nth, calls } => format!("at system call {nth}{}", among(calls)),
        When::Instruction(nth) => format!("at instruction {nth}"),
        When::Every { instructions: true, .. } => "at every instruction".into(),
        When::Every { calls, .. } => format!("at every system call{}", among(calls)),
    }
}

fn among(calls: &[String]) -> String {
    match calls {
        [] => String::new(),
        _ if calls == writing() => " that writes".into(),
        _ => format!(" of {}", calls.join(", ")),
    }
}
