//! The long options of `ringctl create`, `producer` and `consumer` as keys of a scenario file. They come from the
//! parser of the command line, so that none is forgotten.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Args, Command, CommandFactory, FromArgMatches};

use super::kind::Program;
use super::node::Node;
use super::values;
use super::wrong::Wrong;
use crate::cli::common::exit::Failure;
use crate::cli::common::usage;
use crate::cli::ctl::create;
use crate::cli::{consumer, producer};

/// An option.
#[derive(Debug)]
pub struct ProgramOption {
    /// Without its dashes.
    pub name: String,
    /// Its values.
    pub takes: Takes,
    /// Its help, in one line.
    pub help: String,
    /// Whether it is for a consumer that runs a command.
    pub is_of_worker: bool,
}

/// The values of an option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Takes {
    /// None: `true` gives it.
    Nothing,
    /// A text or a number.
    Value {
        /// Whether it is also an option without a value.
        optional: bool,
        /// Whether it may be given more than once.
        repeated: bool,
        /// The only texts, if they are listed.
        choices: Vec<String>,
        /// Whether it is the name of a ring of the scenario.
        is_ring: bool,
    },
}

impl Program {
    /// As it is typed.
    pub fn command_line(self) -> &'static str {
        match self {
            Program::Create => "ringctl create",
            Program::Producer => "producer",
            Program::Consumer => "consumer",
        }
    }

    /// Its parser, built: only then can its options be shown.
    fn command(self) -> Command {
        let mut command = match self {
            Program::Create => create::Args::augment_args(Command::new("ringctl create")),
            Program::Producer => producer::Options::command(),
            Program::Consumer => consumer::Options::command(),
        };
        command.build();
        command
    }

    /// Its options that are keys.
    pub fn options(self) -> Vec<ProgramOption> {
        let command = self.command();
        let arguments = command.get_arguments().filter_map(|arg| Some((arg.get_long()?, arg)));
        arguments
            .filter(|&(name, _)| self.why_left_out(name).is_none())
            .map(|(name, arg)| ProgramOption::new(name, arg))
            .collect()
    }

    /// Why an option is no key; `None`: it is one, or there is no such option.
    pub fn why_left_out(self, name: &str) -> Option<&'static str> {
        match (self, name) {
            (_, "help" | "version" | "color") | (Program::Create, "json") => {
                Some("only the output for people and scripts depends on this option")
            }
            (_, "log") => Some("a run writes the history itself"),
            (_, "count") => {
                Some("count is the number of instances; items limits what each of them sends or takes")
            }
            (_, "hold" | "hold-for") => Some("the process that holds the item would outlive the consumer"),
            _ => None,
        }
    }

    /// The option of this name.
    pub fn option(self, name: &str) -> Option<ProgramOption> {
        self.options().into_iter().find(|option| option.name == name)
    }

    /// Checks the type of an option's value; `None`: there is no such option.
    pub fn check(self, node: Node<'_>) -> Option<Result<(), Wrong>> {
        self.option(node.name).map(|option| option.arguments(node).map(drop))
    }

    /// Parses a command line as the program will: `arguments` follow its name and the ring.
    ///
    /// # Errors
    /// The first fault, at the option that it names, or else at the table `node`.
    pub fn parse(self, node: Node<'_>, options: &[Node<'_>], arguments: &[String]) -> Result<(), Wrong> {
        let command = self.command();
        // The names of rings are known when the scenario runs.
        let ring = |argument: &String| argument.replace("{ring.", "");
        let line = [self.command_line().to_string(), "ring".into()];
        let all = line.into_iter().chain(arguments.iter().map(ring));
        let parsed = command.clone().try_get_matches_from(all);
        let checked = parsed.and_then(|matches| match self {
            Program::Create => create::Args::from_arg_matches(&matches).map(Some),
            _ => Ok(None),
        });
        match checked {
            Ok(Some(create)) => create.check().map_err(|failure| {
                let named = |option: &&Node<'_>| failure.line.contains(&format!("{} ", option.name));
                let at = options.iter().find(named).map_or(node.at(), Node::at);
                self.wrong(at, node.name, failure)
            }),
            Ok(None) => Ok(()),
            Err(error) => {
                let name = named(&error);
                let is_value = matches!(error.kind(), ErrorKind::ValueValidation | ErrorKind::InvalidValue);
                let option = options.iter().find(|option| Some(option.name) == name.as_deref());
                let at =
                    option.map_or(node.at(), |option| if is_value { option.at() } else { option.key_at });
                let failure = usage::failure(error, &command, std::iter::empty());
                Err(self.wrong(at, node.name, failure))
            }
        }
    }

    /// The fault of a command line, about the keys instead of the options.
    fn wrong(self, at: usize, table: &str, failure: Failure) -> Wrong {
        let mut line = failure.line.replace("'[COMMAND]...'", "run");
        let command = self.command();
        let mut options: Vec<_> =
            command.get_arguments().filter_map(|arg| Some((arg.get_long()?, arg))).collect();
        // A name may begin with another one.
        options.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        for (name, arg) in options {
            for typed in [format!("'{arg}'"), arg.to_string(), format!("'--{name}'"), format!("--{name}")] {
                line = line.replace(&typed, name);
            }
        }
        Wrong::line(at, format!("{table}: {line}")).hint(format!("{} --help tells more", self.command_line()))
    }
}

/// The option that an error is about, without its dashes.
fn named(error: &clap::Error) -> Option<String> {
    let text = match error.get(ContextKind::InvalidArg)? {
        ContextValue::String(text) => text.clone(),
        ContextValue::Strings(texts) => texts.first()?.clone(),
        _ => return None,
    };
    let name = text.strip_prefix("--")?;
    Some(name.split([' ', '=', '[']).next()?.to_string())
}

impl ProgramOption {
    fn new(name: &str, arg: &Arg) -> Self {
        let takes = match arg.get_action() {
            action if action.takes_values() => Takes::Value {
                optional: arg.get_num_args().is_some_and(|values| values.min_values() == 0),
                repeated: matches!(action, ArgAction::Append),
                choices: arg.get_possible_values().iter().map(|value| value.get_name().into()).collect(),
                is_ring: arg.get_value_names().is_some_and(|names| names.iter().any(|name| name == "RING2")),
            },
            _ => Takes::Nothing,
        };
        ProgramOption {
            name: name.into(),
            takes,
            help: arg.get_help().map(|help| help.to_string()).unwrap_or_default(),
            is_of_worker: arg.get_help_heading().is_some_and(|heading| heading.starts_with("With a COMMAND")),
        }
    }

    /// The arguments for this value of the key.
    ///
    /// # Errors
    /// The value has the wrong type.
    pub fn arguments(&self, node: Node<'_>) -> Result<Vec<String>, Wrong> {
        let flag = format!("--{}", self.name);
        let alone = |given: bool| if given { vec![flag.clone()] } else { Vec::new() };
        let (optional, repeated, is_ring) = match self.takes {
            Takes::Nothing => return values::truth(node).map(alone),
            Takes::Value { optional, repeated, is_ring, .. } => (optional, repeated, is_ring),
        };
        if optional && node.value.is_bool() {
            return values::truth(node).map(alone);
        }
        if node.value.is_array() && !repeated {
            return Err(node.mistyped("a text or a number"));
        }
        let value = |node| {
            let value = values::scalar(node)?;
            Ok(if is_ring { format!("{flag}={{ring.{value}}}") } else { format!("{flag}={value}") })
        };
        values::each(node, value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_long_option_is_a_key_or_left_out_for_a_reason() {
        for program in [Program::Create, Program::Producer, Program::Consumer] {
            let command = program.command();
            let options = program.options();
            for name in command.get_arguments().filter_map(Arg::get_long) {
                let is_key = options.iter().any(|option| option.name == name);
                assert!(is_key != program.why_left_out(name).is_some(), "{program:?} --{name}");
            }
            assert!(options.len() > 8, "{program:?} has {} options", options.len());
        }
    }

    #[test]
    fn an_option_that_names_a_ring_or_takes_no_value_is_known_as_such() {
        let takes = |program: Program, name: &str| program.option(name).unwrap().takes;
        assert_eq!(takes(Program::Create, "exclusive"), Takes::Nothing);
        for (name, ring) in [("dead-letter", true), ("reply", true), ("jobs", false)] {
            let Takes::Value { is_ring, .. } = takes(Program::Consumer, name) else { panic!("{name}") };
            assert_eq!(is_ring, ring, "{name}");
        }
        let Takes::Value { optional, choices, .. } = takes(Program::Consumer, "coprocess") else { panic!() };
        assert!(optional && choices == ["line", "length"]);
    }
}
