//! The names of rings and programs that a scenario defines, and what refers to them.

use super::node::Node;
use super::placeholders::{self, KNOWN, Part};
use super::values;
use super::wrong::{Wrong, one_of};

/// The names that are defined, in the order of the file.
#[derive(Debug)]
pub struct Names {
    /// Rings.
    pub rings: Vec<String>,
    /// Programs of all three kinds.
    pub programs: Vec<String>,
}

/// Fails if a name is not defined.
fn defined(node: Node<'_>, at: usize, what: &str, given: &str, known: &[String]) -> Result<(), Wrong> {
    if known.iter().any(|name| name == given) {
        return Ok(());
    }
    let known = known.iter().map(String::as_str);
    let problem = format!("{}: there is no {what} {given:?}", node.name);
    let expected = match known.len() {
        0 => format!("a table [{}.{given}]", if what == "ring" { "ring" } else { "process" }),
        _ => one_of(known.clone()),
    };
    Err(Wrong::unknown(at, problem, given, known, expected))
}

impl Names {
    /// A text that names a ring.
    ///
    /// # Errors
    /// It names none.
    pub fn ring(&self, node: Node<'_>) -> Result<String, Wrong> {
        let name = values::word(node)?;
        defined(node, node.at(), "ring", &name, &self.rings)?;
        Ok(name)
    }

    /// The ring that a key names, or else the only one.
    ///
    /// # Errors
    /// It names none; or no ring is named, and there is none or more than one.
    pub fn ring_or_only(&self, given: Option<Node<'_>>, table: Node<'_>) -> Result<String, Wrong> {
        match (given, &self.rings[..]) {
            (Some(node), _) => self.ring(node),
            (None, [only]) => Ok(only.clone()),
            (None, []) => Err(table.wrong("there is no ring", "a table such as [ring.jobs]")),
            (None, rings) => {
                let names = one_of(rings.iter().map(String::as_str));
                Err(table.wrong("the ring is missing", format!("ring = NAME, {names}")))
            }
        }
    }

    /// A text that names a program.
    ///
    /// # Errors
    /// It names none.
    pub fn program(&self, node: Node<'_>) -> Result<String, Wrong> {
        let name = values::word(node)?;
        self.is_program(node, node.at(), &name)?;
        Ok(name)
    }

    /// Fails if a name, at this byte of the file, is not a program's.
    ///
    /// # Errors
    /// It is none's.
    pub fn is_program(&self, node: Node<'_>, at: usize, name: &str) -> Result<(), Wrong> {
        defined(node, at, "program", name, &self.programs)
    }

    /// A text with placeholders.
    ///
    /// # Errors
    /// A placeholder is not known, or names a ring that does not exist, or a port without a name.
    pub fn template(&self, node: Node<'_>) -> Result<String, Wrong> {
        let text = values::text(node)?;
        self.placeholders(node, &text)?;
        Ok(text)
    }

    /// Checks the placeholders of a text.
    ///
    /// # Errors
    /// As [`template`](Self::template).
    pub fn placeholders(&self, node: Node<'_>, text: &str) -> Result<(), Wrong> {
        for part in placeholders::parts(text) {
            let Part::Placeholder(placeholder) = part else { continue };
            match placeholder.split_once('.') {
                Some(("ring", name)) => defined(node, node.at(), "ring", name, &self.rings)?,
                Some(("port", "")) => return Err(node.wrong("the port has no name", "{port.NAME}")),
                _ if placeholders::is_known(placeholder) => {}
                _ => {
                    let problem = format!("there is no placeholder {{{placeholder}}}");
                    let hint = placeholders::hint(placeholder, &self.rings);
                    return Err(node.wrong(problem, KNOWN).hint(hint).at_text(format!("{{{placeholder}}}")));
                }
            }
        }
        Ok(())
    }
}
