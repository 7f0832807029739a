//! A value of a scenario file with its name and its place.

use std::borrow::Cow;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::kind::Section;
use super::wrong::Wrong;

/// A value of the file.
#[derive(Debug, Clone, Copy)]
pub struct Node<'t> {
    /// Its key; for an element of a list, the key of the list.
    pub name: &'t str,
    /// The value.
    pub value: &'t DeValue<'t>,
    /// The byte at which the key begins; for an element of a list, the value.
    pub key_at: usize,
    value_at: usize,
}

impl<'t> Node<'t> {
    /// The whole file.
    pub fn root(value: &'t DeValue<'t>) -> Self {
        Node { name: "the file", value, key_at: 0, value_at: 0 }
    }

    /// A value and its key.
    pub fn new(key: &'t Spanned<Cow<'t, str>>, value: &'t Spanned<DeValue<'t>>) -> Self {
        Node {
            name: key.get_ref(),
            value: value.get_ref(),
            key_at: key.span().start,
            value_at: value.span().start,
        }
    }

    /// The byte at which it is wrong: the value's first, but for a table its name's.
    pub fn at(&self) -> usize {
        if self.value.is_table() { self.key_at } else { self.value_at }
    }

    /// The same, with faults at its key.
    pub fn of_key(mut self) -> Self {
        self.value_at = self.key_at;
        self
    }

    /// Its value is wrong.
    pub fn wrong(&self, problem: impl AsRef<str>, expected: impl AsRef<str>) -> Wrong {
        Wrong::new(self.at(), format!("{}: {}", self.name, problem.as_ref()), expected)
    }

    /// Its value has the wrong type.
    pub fn mistyped(&self, expected: impl AsRef<str>) -> Wrong {
        self.wrong(format!("this is {}", type_of(self.value)), expected)
    }

    /// The elements, if it is a list.
    pub fn elements(self) -> Option<impl Iterator<Item = Node<'t>>> {
        let list = self.value.as_array()?;
        Some(list.iter().map(move |value| {
            let at = value.span().start;
            Node { name: self.name, value: value.get_ref(), key_at: at, value_at: at }
        }))
    }

    /// The keys and values, if it is a table, in the order of the file.
    pub fn entries(self) -> Option<impl Iterator<Item = Node<'t>>> {
        self.value.as_table().map(|table| table.iter().map(|(key, value)| Node::new(key, value)))
    }

    /// The table, which `section` describes.
    ///
    /// # Errors
    /// It is no table.
    pub fn table(self, section: &'static Section) -> Result<Table<'t>, Wrong> {
        match self.value.as_table() {
            Some(table) => Ok(Table { node: self, table, section }),
            None => Err(self.mistyped("a table")),
        }
    }
}

/// The type of a value, with its article.
fn type_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a decimal number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or a time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// A table of the file, and the section that describes it.
#[derive(Debug, Clone, Copy)]
pub struct Table<'t> {
    /// The table itself.
    pub node: Node<'t>,
    table: &'t DeTable<'t>,
    section: &'static Section,
}

impl<'t> Table<'t> {
    /// The value of a key of the section.
    pub fn get(&self, key: &str) -> Option<Node<'t>> {
        debug_assert!(self.section.key(key).is_some(), "{key} is not in the table of keys");
        self.table.get_key_value(key).map(|(key, value)| Node::new(key, value))
    }

    /// Reads the value of a key, if there is one.
    ///
    /// # Errors
    /// As `read`.
    pub fn read<T>(
        &self,
        key: &str,
        read: impl FnOnce(Node<'t>) -> Result<T, Wrong>,
    ) -> Result<Option<T>, Wrong> {
        self.get(key).map(read).transpose()
    }

    /// Reads the value of a key that must be there.
    ///
    /// # Errors
    /// There is none, or as `read`.
    pub fn need<T>(&self, key: &str, read: impl FnOnce(Node<'t>) -> Result<T, Wrong>) -> Result<T, Wrong> {
        match self.get(key) {
            Some(node) => read(node),
            None => Err(self.missing(key)),
        }
    }

    /// A key that must be there is not.
    pub fn missing(&self, key: &str) -> Wrong {
        self.node.wrong(format!("{key} is missing"), self.section.form_of(key))
    }

    /// The entries whose keys the section does not list: options, or names of the user's choice.
    pub fn rest(&self) -> impl Iterator<Item = Node<'t>> {
        let section = self.section;
        self.table
            .iter()
            .map(|(key, value)| Node::new(key, value))
            .filter(|node| section.key(node.name).is_none())
    }

    /// Fails if `key` is given without a key that it belongs to.
    ///
    /// # Errors
    /// `expected` says what it belongs to.
    pub fn refuse(&self, keys: &[&str], expected: &str) -> Result<(), Wrong> {
        match keys.iter().find_map(|key| self.get(key)) {
            Some(node) => {
                Err(Wrong::new(node.key_at, format!("{} has no meaning here", node.name), expected))
            }
            None => Ok(()),
        }
    }
}
