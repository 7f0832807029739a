//! The commands that there are, from the parser's own tree, and how each of them is called so that it does
//! something and ends.

use std::ffi::OsString;

use clap::{Arg, ArgAction, Command, CommandFactory};
use ringpipe::internal::cli::{consumer, ctl, producer};

use crate::support::Run;

/// A command that does something: a program, or one of its verbs.
pub struct Leaf {
    pub program: &'static str,
    pub verbs: Vec<String>,
    pub command: Command,
}

/// All of them. The hidden ones are called by the others, and may be called by users.
pub fn leaves() -> Vec<Leaf> {
    let mut leaves = Vec::new();
    for (program, mut command) in [
        ("producer", producer::Options::command()),
        ("consumer", consumer::Options::command()),
        ("ringctl", ctl::command()),
    ] {
        command.build();
        collect(program, &mut Vec::new(), command, &mut leaves);
    }
    assert!(leaves.len() > 20, "the tree of commands was not found");
    leaves
}

fn collect(program: &'static str, verbs: &mut Vec<String>, command: Command, leaves: &mut Vec<Leaf>) {
    if !command.has_subcommands() {
        leaves.push(Leaf { program, verbs: verbs.clone(), command });
        return;
    }
    for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help") {
        verbs.push(verb.get_name().into());
        collect(program, verbs, verb.clone(), leaves);
        verbs.pop();
    }
}

pub fn path(program: &str) -> &'static str {
    match program {
        "producer" => env!("CARGO_BIN_EXE_producer"),
        "consumer" => env!("CARGO_BIN_EXE_consumer"),
        "ringctl" => env!("CARGO_BIN_EXE_ringctl"),
        _ => panic!("there is no program {program}"),
    }
}

impl Leaf {
    /// As it is typed.
    pub fn name(&self) -> String {
        std::iter::once(self.program)
            .chain(self.verbs.iter().map(String::as_str))
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// A call of it with these arguments after its verbs.
    pub fn run(&self, arguments: &[OsString]) -> Run {
        let run = self.verbs.iter().fold(Run::new(path(self.program)), |run, verb| run.arg(verb));
        let run = arguments.iter().fold(run, Run::arg);
        match self.needs_command(arguments) {
            true => run.args(&["--", "true"]),
            false => run,
        }
    }

    /// Whether there is no command, and it needs one: always, or with an option for the commands of a worker.
    fn needs_command(&self, arguments: &[OsString]) -> bool {
        let is_worker =
            |arg: &&Arg| arg.get_help_heading().is_some_and(|heading| heading.starts_with("With a COMMAND"));
        let options: Vec<String> = self
            .command
            .get_arguments()
            .filter(is_worker)
            .map(|arg| spelled(arg).into_string().unwrap())
            .collect();
        if self.name() == "ringctl lock" {
            return !arguments.iter().any(|one| one == "--");
        }
        let names = |given: &str| options.iter().any(|option| given.split('=').next() == Some(option));
        arguments.iter().any(|one| names(&one.to_string_lossy())) && !arguments.iter().any(|one| one == "--")
    }

    /// What it cannot do without: its names and files, and the options that it insists on.
    pub fn required(&self, ring: &str) -> Vec<OsString> {
        self.required_but(None, ring)
    }

    /// The same, without this one.
    pub fn required_but(&self, left_out: Option<&Arg>, ring: &str) -> Vec<OsString> {
        let mut arguments = Vec::new();
        let is_left_out = |arg: &Arg| left_out.is_some_and(|other| other.get_id() == arg.get_id());
        let required = self.command.get_arguments().filter(|arg| arg.is_required_set());
        for arg in required.filter(|arg| !is_left_out(arg)) {
            if !arg.is_positional() {
                arguments.push(spelled(arg));
            }
            arguments.push(match value_name(arg).as_str() {
                "RING" | "NAME" => ring.into(),
                name => good_values(name)[0].into(),
            });
        }
        arguments
    }

    /// What makes the call end by itself and soon, where it is not given already.
    pub fn bounds(&self, given: &[OsString]) -> Vec<OsString> {
        let bounds: &[&[&str]] = match self.name().as_str() {
            "producer" | "ringctl producer" => &[&["--item", "x"], &["--on-full", "fail"]],
            "consumer" | "ringctl consumer" => &[&["--count", "1"], &["--idle-exit", "1ms"]],
            "ringctl wait" | "ringctl sem wait" | "ringctl barrier" | "ringctl event" => {
                &[&["--timeout", "1ms"]]
            }
            "ringctl watch" => &[&["--json"], &["--count", "1"]],
            "ringctl demo" => &[&["--script", "/dev/null"]],
            "ringctl run" => &[&["--lines", "3"], &["--producers", "1"], &["--consumers", "1"]],
            "ringctl bench" => &[
                &["--only", "throughput"],
                &["--rounds", "1"],
                &["--seconds", "0.001"],
                &["--size", "8"],
                &["--producers", "1"],
                &["--consumers", "1"],
            ],
            _ => &[],
        };
        let is_given = |option: &str| given.iter().any(|one| one.to_string_lossy().starts_with(option));
        let missing = bounds.iter().filter(|bound| !is_given(bound[0]));
        missing.flat_map(|bound| bound.iter().map(OsString::from)).collect()
    }

    /// Its options and names that take a value.
    pub fn valued(&self) -> impl Iterator<Item = &Arg> {
        self.command.get_arguments().filter(|arg| arg.get_action().takes_values())
    }

    /// Its options that take none, without --help and the like, which print a text.
    pub fn flags(&self) -> impl Iterator<Item = &Arg> {
        let is_flag = |arg: &&Arg| matches!(arg.get_action(), ArgAction::SetTrue | ArgAction::Count);
        self.command.get_arguments().filter(is_flag)
    }
}

/// The option as it is typed, in its long form where it has one.
pub fn spelled(arg: &Arg) -> OsString {
    match (arg.get_long(), arg.get_short()) {
        (Some(long), _) => format!("--{long}").into(),
        (None, Some(short)) => format!("-{short}").into(),
        (None, None) => panic!("{} is not an option", arg.get_id()),
    }
}

/// The option with a value, in one argument: also an empty value, and one that begins with a hyphen.
pub fn with_value(arg: &Arg, value: &std::ffi::OsStr) -> OsString {
    if arg.is_positional() {
        return value.into();
    }
    let mut text = spelled(arg);
    if arg.get_long().is_some() {
        text.push("=");
    }
    text.push(value);
    text
}

/// What kind of value it takes, as its help says it.
pub fn value_name(arg: &Arg) -> String {
    match arg.get_value_names() {
        Some([name]) => name.to_string(),
        _ => arg.get_id().as_str().to_uppercase(),
    }
}

/// The listed values of an option, if it has any.
pub fn listed_values(arg: &Arg) -> Option<Vec<String>> {
    let values = arg.get_possible_values();
    (!values.is_empty()).then(|| values.iter().map(|value| value.get_name().to_string()).collect())
}

/// Values of each kind that are right everywhere, the harmless one first.
pub fn good_values(kind: &str) -> &'static [&'static str] {
    match kind {
        "COUNT" | "N" | "SLOTS" => &["2", "1", "64"],
        "LINE" => &["2"],
        "SIZE" | "BYTES" => &["64", "1K"],
        "DURATION" => &["1ms", "2ms"],
        "RATE" => &["1000", "5000/s"],
        "MODE" => &["600"],
        "USER" => &["root", "0"],
        "BYTE" => &[",", "\\x1e"],
        "COLUMNSxROWS" => &["80x24", "1x1"],
        "CONDITION" => &["gone", "exists", "empty", "closed", "items=0", "producers=0", "consumers=1+"],
        "SECONDS" => &["0.001"],
        "FILE.svg" => &["inputs.svg"],
        "FILE" | "DIR" | "SCENARIO" => &["/dev/null"],
        "FORM" => &["tap", "json", "junit=/dev/null"],
        "SHELL" => &["bash", "zsh", "fish"],
        "TEXT" => &["text", ""],
        "DISCIPLINE" => &["adaptive", "semaphore"],
        "RING" | "NAME" | "FROM" => &["inputs-no-such-ring"],
        "TO" => &["inputs-no-ring-either"],
        // A program without NATS refuses it; no server answers there.
        "SERVER" => &["nats://127.0.0.1:1"],
        "JOB" => &["{}"],
        "RING2" => &["inputs-second-ring"],
        "COMMAND" => &["true"],
        "ACTION" => &["wait"],
        "TOKEN" => &["0-00000000000000000000000000000001"],
        "PID" => &["1"],
        "JOBS" => &["2", "100%"],
        "FD" => &["3", "255"],
        "RETRIES" => &["0", "3"],
        "LOAD" => &["1000000", "100000%"],
        "FREE" => &["1", "1K"],
        "CODES" => &["3=dead", "4-6=retry,7=ack,*=retry"],
        "MIN..MAX" => &["1ms", "1ms..2ms"],
        "WHEN" => &["soon,fail=1", "now,fail=50%", "soon,done=3", "never"],
        _ => panic!("no test knows values of the kind {kind}: see good_values and bad_values"),
    }
}
