//! The check of a file against the table of keys.

use super::kind::{KeyForm, Kind, Rest, Section, is_plain, percentile};
use super::node::Node;
use super::values;
use super::wrong::{Wrong, nearest, one_of};

impl Section {
    /// Checks a table and all that is in it.
    ///
    /// # Errors
    /// The first fault.
    pub fn check(&'static self, node: Node<'_>) -> Result<(), Wrong> {
        let table = node.table(self)?;
        for entry in node.entries().into_iter().flatten() {
            match (self.key(entry.name), self.rest) {
                (Some(key), _) => key.kind.check(entry)?,
                (None, Rest::Programs(kind)) => kind.check(entry)?,
                (None, Rest::Options(program)) => {
                    program.check(entry).unwrap_or_else(|| Err(self.unknown(entry)))?;
                }
                (None, Rest::Nothing) => return Err(self.unknown(entry)),
            }
        }
        if let Some(key) = self.keys.iter().find(|key| key.required && table.get(key.name).is_none()) {
            return Err(table.missing(key.name));
        }
        let given: Vec<_> = self.one_of.iter().filter_map(|key| table.get(key)).collect();
        match given[..] {
            [] if !self.one_of.is_empty() => {
                Err(node.wrong("a key is missing", one_of(self.one_of.iter().copied())))
            }
            [first, second, ..] => {
                let problem = format!("{} and {} exclude each other", first.name, second.name);
                Err(Wrong::new(second.key_at, problem, one_of(self.one_of.iter().copied())))
            }
            _ => Ok(()),
        }
    }

    fn unknown(&self, node: Node<'_>) -> Wrong {
        let own = self.keys.iter().map(|key| key.name);
        let problem = format!("unknown key {:?}", node.name);
        let expected = one_of(own.clone());
        let Rest::Options(program) = self.rest else {
            return Wrong::unknown(node.key_at, problem, node.name, own, expected);
        };
        let options = program.options();
        let names = own.clone().chain(options.iter().map(|option| option.name.as_str()));
        let command = program.command_line();
        let expected = match own.clone().next() {
            Some(_) => format!("{expected}, or a long option of {command} without its dashes"),
            None => format!("a long option of {command} without its dashes"),
        };
        let wrong = Wrong::unknown(node.key_at, problem, node.name, names.clone(), expected);
        match (program.why_left_out(node.name), nearest(node.name, names)) {
            (Some(why), _) => wrong.hint(why),
            (None, Some(_)) => wrong,
            (None, None) => wrong.hint(format!("{command} --help lists its options")),
        }
    }
}

impl Kind {
    /// The form of the value, for messages.
    pub fn form(&self) -> String {
        match self {
            Kind::Text | Kind::Word => "a text".into(),
            Kind::Truth => "true or false".into(),
            Kind::Whole(least, most) if *most > u64::from(u32::MAX) => {
                format!("a whole number from {least} up")
            }
            Kind::Whole(least, most) => format!("a whole number from {least} to {most}"),
            Kind::Duration => values::DURATION.into(),
            Kind::Span => values::SPAN.into(),
            Kind::Size => values::SIZE.into(),
            Kind::Sizes => values::SIZES.into(),
            Kind::Pattern => values::PATTERN.into(),
            Kind::Signal => values::SIGNAL.into(),
            Kind::Errno => values::ERRNO.into(),
            Kind::Call => values::CALL.into(),
            Kind::Exit => values::EXIT.into(),
            Kind::Sha256 => values::SHA256.into(),
            Kind::Choice(texts) => {
                texts.iter().map(|text| format!("{text:?}")).collect::<Vec<_>>().join(", ")
            }
            Kind::List(of, _) => format!("a list, each element {}", of.form()),
            Kind::Table(section) if !section.one_of.is_empty() => {
                format!("a table with {}", one_of(section.one_of.iter().copied()))
            }
            Kind::Table(section) => {
                format!("a table with keys such as {}", section.keys.first().map_or("", |key| key.name))
            }
            Kind::Map(_, of) => format!("a table, each value {}", of.form()),
            Kind::Either(kinds) => alternatives(kinds),
        }
    }

    /// Whether the TOML type of the value is a right one.
    fn has_type_of(&self, node: Node<'_>) -> bool {
        let value = node.value;
        match self {
            Kind::Text
            | Kind::Word
            | Kind::Pattern
            | Kind::Signal
            | Kind::Errno
            | Kind::Call
            | Kind::Sha256
            | Kind::Choice(_) => value.is_str(),
            Kind::Truth => value.is_bool(),
            Kind::Whole(..) => value.is_integer(),
            Kind::Duration | Kind::Span | Kind::Size | Kind::Sizes => {
                value.is_str() || value.is_integer() || value.is_float()
            }
            Kind::Exit => value.is_integer() || value.is_str(),
            Kind::List(..) => value.is_array(),
            Kind::Table(_) | Kind::Map(..) => value.is_table(),
            Kind::Either(kinds) => kinds.iter().any(|kind| kind.has_type_of(node)),
        }
    }

    /// Checks a value and all that is in it.
    ///
    /// # Errors
    /// The first fault.
    pub fn check(&self, node: Node<'_>) -> Result<(), Wrong> {
        if !self.has_type_of(node) {
            return Err(match self {
                Kind::List(Kind::Table(_), _) => {
                    node.mistyped(format!("a list of tables, each below a line [[{}]]", node.name))
                }
                _ => node.mistyped(self.form()),
            });
        }
        match self {
            Kind::Text | Kind::Truth => Ok(()),
            Kind::Word => values::word(node).map(drop),
            Kind::Whole(least, most) => match values::whole(node) {
                Ok(number) if (*least..=*most).contains(&number) => Ok(()),
                _ => Err(node.wrong("the number is too small or too large", self.form())),
            },
            Kind::Duration => values::duration(node).map(drop),
            Kind::Span => values::span(node).map(drop),
            Kind::Size => values::size(node).map(drop),
            Kind::Sizes => values::sizes(node).map(drop),
            Kind::Pattern => values::pattern(node).map(drop),
            Kind::Signal => values::signal(node).map(drop),
            Kind::Errno => values::errno(node).map(drop),
            Kind::Call => values::call(node).map(drop),
            Kind::Exit => values::exit(node).map(drop),
            Kind::Sha256 => values::sha256(node).map(drop),
            Kind::Choice(texts) => check_choice(node, texts, &self.form()),
            Kind::List(of, least) => check_list(node, of, *least),
            Kind::Table(section) => section.check(node),
            Kind::Map(names, of) => node.entries().into_iter().flatten().try_for_each(|entry| {
                names.check(entry)?;
                of.check(entry)
            }),
            Kind::Either(kinds) => check_either(node, kinds, &self.form()),
        }
    }
}

/// The forms of these kinds, without saying anything twice.
fn alternatives(kinds: &[Kind]) -> String {
    let mut forms: Vec<String> = Vec::new();
    for kind in kinds {
        forms.push(match kind {
            Kind::List(of, _) if forms.contains(&of.form()) => "a list of these".into(),
            Kind::Map(_, of) if of.form() == forms.join(", or ") => "a table of these".into(),
            kind => kind.form(),
        });
    }
    forms.join(", or ")
}

fn check_choice(node: Node<'_>, texts: &[&str], form: &str) -> Result<(), Wrong> {
    match node.value.as_str() {
        Some(given) if texts.contains(&given) => Ok(()),
        Some(given) => {
            let problem = format!("{}: unknown value {given:?}", node.name);
            Err(Wrong::unknown(node.at(), problem, given, texts.iter().copied(), form))
        }
        None => Err(node.mistyped(form)),
    }
}

fn check_list(node: Node<'_>, of: &Kind, least: usize) -> Result<(), Wrong> {
    let mut number = 0;
    for element in node.elements().into_iter().flatten() {
        of.check(element)?;
        number += 1;
    }
    if number < least {
        let plural = if least == 1 { "element" } else { "elements" };
        return Err(node.wrong("the list is too short", format!("at least {least} {plural}")));
    }
    Ok(())
}

/// The value fits one of the kinds. If its type leaves one only, the fault is that kind's.
fn check_either(node: Node<'_>, kinds: &[Kind], form: &str) -> Result<(), Wrong> {
    let typed: Vec<_> = kinds.iter().filter(|kind| kind.has_type_of(node)).collect();
    match typed[..] {
        [Kind::Choice(texts)] => check_choice(node, texts, form),
        [only] => only.check(node),
        _ if typed.iter().any(|kind| kind.check(node).is_ok()) => Ok(()),
        _ => Err(node.wrong("this is not understood", form)),
    }
}

impl KeyForm {
    /// Checks the key of an entry.
    ///
    /// # Errors
    /// It has not this form.
    pub fn check(self, entry: Node<'_>) -> Result<(), Wrong> {
        let (fits, form) = match self {
            KeyForm::Any => (!entry.name.is_empty(), "a name that is not empty"),
            KeyForm::Plain => (is_plain(entry.name), "letters, digits, - and _"),
            KeyForm::Percentile => {
                (percentile(entry.name).is_some(), "max, or a percentile such as p50, p99 or \"p99.9\"")
            }
        };
        match fits {
            true => Ok(()),
            false => Err(Wrong::new(entry.key_at, format!("{:?} is no name here", entry.name), form)),
        }
    }
}
