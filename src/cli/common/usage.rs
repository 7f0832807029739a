//! Formats a usage error like all other failures: one line, and a hint.

use std::ffi::OsString;

use clap::Command;
use clap::error::{ContextKind, ContextValue};

use super::escape;
use super::exit::{Failure, code};

/// The maximum number of an argument's characters that a message repeats.
const MOST_SHOWN: usize = 60;
/// The maximum length of a message. Its end, with the expected form, is always kept.
const LONGEST_LINE: usize = 400;
const LONGEST_END: usize = 200;

/// The failure for a command line that `command` refused. `arguments` are the arguments after the program's
/// name.
pub fn failure(
    mut error: clap::Error,
    command: &Command,
    arguments: impl Iterator<Item = OsString>,
) -> Failure {
    let texts: Vec<_> = error
        .context()
        .filter_map(|(kind, value)| match value {
            ContextValue::String(text) if kind != ContextKind::Usage => {
                Some((kind, shown(&without_secret(text))))
            }
            _ => None,
        })
        .collect();
    for (kind, text) in texts {
        error.insert(kind, ContextValue::String(text));
    }
    let text = error.render().to_string();
    let (mut line, mut listed) = (String::new(), String::new());
    let (mut tips, mut usage, mut in_first) = (Vec::new(), None, true);
    for part in text.lines().map(str::trim) {
        if part.is_empty() {
            in_first = false;
        } else if let Some(tip) = part.strip_prefix("tip: ") {
            tips.push(tip);
        } else if let Some(form) = part.strip_prefix("Usage: ") {
            usage = Some(format!("usage: {form}"));
        } else if let Some(values) = part.strip_prefix("[possible values: ").filter(|_| in_first) {
            listed = format!("; expected {}", values.trim_end_matches(']'));
        } else if in_first && line.is_empty() {
            line = part.strip_prefix("error: ").unwrap_or(part).into();
        } else if in_first {
            listed += if listed.is_empty() { " " } else { ", " };
            listed += part;
        }
    }
    let help = format!("{} --help tells more", path(command, arguments));
    let first = if tips.is_empty() { usage } else { Some(tips.join("; ")) };
    let hint = first.map(|first| format!("{first}; {help}")).unwrap_or(help);
    Failure::new(code::USAGE, shortened(line + &listed)).hint(hint)
}

/// An address without the user and the password in it.
fn without_secret(text: &str) -> String {
    match text.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?.1))) {
        Some((scheme, host)) => format!("{scheme}://***@{host}"),
        None => text.into(),
    }
}

/// The program and its verbs, as far as the arguments contain them.
fn path(command: &Command, arguments: impl Iterator<Item = OsString>) -> String {
    let (mut path, mut at) = (command.get_name().to_string(), command);
    for argument in arguments {
        if let Some(verb) = argument.to_str().and_then(|name| at.find_subcommand(name)) {
            path = format!("{path} {}", verb.get_name());
            at = verb;
        }
    }
    path
}

/// Cuts the middle out of a long line: reasons may repeat an argument, too.
fn shortened(line: String) -> String {
    let length = line.chars().count();
    if length <= LONGEST_LINE {
        return line;
    }
    let begin: String = line.chars().take(LONGEST_LINE - LONGEST_END).collect();
    begin + "..." + &line.chars().skip(length - LONGEST_END).collect::<String>()
}

/// An argument on one line, shortened if it is long.
fn shown(text: &str) -> String {
    let mut chars = text.chars();
    let begin: String = chars.by_ref().take(MOST_SHOWN).collect();
    escape::text(&begin) + if chars.next().is_some() { "..." } else { "" }
}
