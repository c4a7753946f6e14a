//! Reads TOML values with a type, and collects every mistake with its place instead of stopping at the first.

use super::nearest::nearest;
use super::problem::Problem;
use crate::config::ConfigError;
use std::cell::RefCell;
use std::collections::BTreeMap;
use toml::de::{DeTable, DeValue};

/// Keys that are easily looked for at the top of the file, and where they are.
const SECTION_OF: [(&str, &str); 7] = [
    ("blocks", "announce"),
    ("cluster_id", "reflector"),
    ("endpoints", "etcd"),
    ("metric", "fib"),
    ("next_hops_max", "fib"),
    ("protocol", "fib"),
    ("socket", "admin"),
];

/// Collects what one file gets wrong. One per file; the [`Section`]s of the file share it.
pub(super) struct Reader<'a> {
    file: &'a str,
    text: &'a str,
    problems: RefCell<Vec<Problem>>,
    /// Byte offset of everything that was looked at, by key path.
    places: RefCell<BTreeMap<String, usize>>,
    /// Key path by the name that [`ConfigError`] uses.
    aliases: RefCell<BTreeMap<String, String>>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(file: &'a str, text: &'a str) -> Self {
        Self {
            file,
            text,
            problems: RefCell::default(),
            places: RefCell::default(),
            aliases: RefCell::default(),
        }
    }

    /// The whole file as a section.
    pub(super) fn root<'r>(&'r self, table: &'r DeTable<'r>) -> Section<'r> {
        Section { reader: self, table, path: String::new(), known: Vec::new() }
    }

    /// A mistake that is bound to a place rather than a key.
    pub(super) fn report_at(&self, offset: usize, key: &str, message: impl Into<String>) {
        let before = self.text.get(..offset).unwrap_or(self.text);
        self.problems.borrow_mut().push(Problem {
            file: self.file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before.rsplit('\n').next().unwrap_or("").chars().count() + 1,
            key: key.to_owned(),
            message: message.into(),
        });
    }

    /// A mistake at this key, or at the nearest enclosing one if the key itself is absent.
    pub(super) fn report(&self, path: &str, message: impl Into<String>) {
        let offset = self.offset(path);
        self.report_at(offset, path, message);
    }

    /// Whether a mistake at exactly this key is known.
    pub(super) fn has_reported(&self, path: &str) -> bool {
        self.problems.borrow().iter().any(|problem| problem.key == path)
    }

    /// The line of this key, from 1.
    pub(super) fn line(&self, path: &str) -> usize {
        self.text.get(..self.offset(path)).unwrap_or(self.text).matches('\n').count() + 1
    }

    /// Makes errors about `name` point to the key `path`.
    pub(super) fn alias(&self, name: String, path: &str) {
        self.aliases.borrow_mut().insert(name, path.to_owned());
    }

    /// A mistake that only the whole configuration shows.
    pub(super) fn report_config_error(&self, error: &ConfigError) {
        let text = error.to_string();
        let (field, message) = text.split_once(": ").unwrap_or(("", &text));
        let path = self
            .aliases
            .borrow()
            .iter()
            .filter_map(|(name, path)| Some((path, field.strip_prefix(name.as_str())?)))
            .find(|(_, rest)| rest.is_empty() || rest.starts_with('.'))
            .map_or_else(|| field.to_owned(), |(path, rest)| format!("{path}{rest}"));
        self.report(&path, message);
    }

    /// Everything that was reported, in the order of the file.
    pub(super) fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        problems.sort_by(|a, b| (a.line, a.column, &a.key).cmp(&(b.line, b.column, &b.key)));
        problems
    }

    fn note(&self, path: &str, offset: usize) {
        self.places.borrow_mut().insert(path.to_owned(), offset);
    }

    fn offset(&self, path: &str) -> usize {
        let places = self.places.borrow();
        let mut path = path;
        loop {
            if let Some(offset) = places.get(path) {
                return *offset;
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = &path[..end],
                None => return 0,
            }
        }
    }
}

/// One table of the file. Every key that is asked for is a known one; [`Section::finish`] reports the others.
pub(super) struct Section<'a> {
    reader: &'a Reader<'a>,
    table: &'a DeTable<'a>,
    path: String,
    known: Vec<&'static str>,
}

impl<'a> Section<'a> {
    /// Where this section is: `neighbors[2]`. Empty for the file itself.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The path of a key of this section.
    pub(super) fn key_path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Reports a mistake at a key of this section.
    pub(super) fn report(&self, key: &str, message: impl Into<String>) {
        self.reader.report(&self.key_path(key), message);
    }

    /// The value of a key; `None` if it is absent, or wrong and reported.
    pub(super) fn read<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&DeValue<'_>) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.value(key)?;
        parse(value).map_err(|message| self.report(key, message)).ok()
    }

    /// The value of a key that must be there.
    pub(super) fn required<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&DeValue<'_>) -> Result<T, String>,
    ) -> Option<T> {
        if self.value(key).is_none() {
            self.report(key, "is missing");
        }
        self.read(key, parse)
    }

    /// The elements of an array that can be read, with their paths; the others are reported.
    pub(super) fn list<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&DeValue<'_>) -> Result<T, String>,
    ) -> Option<Vec<(String, T)>> {
        let elements = self.elements(key)?;
        let parsed = elements.into_iter().filter_map(|(path, element)| match parse(element) {
            Ok(value) => Some((path, value)),
            Err(message) => {
                self.reader.report(&path, message);
                None
            }
        });
        Some(parsed.collect())
    }

    /// A table, `None` if it is absent.
    pub(super) fn section(&mut self, key: &'static str) -> Option<Section<'a>> {
        let value = self.value(key)?;
        let path = self.key_path(key);
        self.as_section(value, path)
    }

    /// The elements of an array of tables.
    pub(super) fn sections(&mut self, key: &'static str) -> Vec<Section<'a>> {
        let elements = self.elements(key).unwrap_or_default();
        elements.into_iter().filter_map(|(path, element)| self.as_section(element, path)).collect()
    }

    /// The tables of a table, by names that the file chooses. The names that `refuse` has something against are
    /// reported.
    pub(super) fn named_sections(
        &mut self,
        key: &'static str,
        refuse: impl Fn(&str) -> Option<&'static str>,
    ) -> Vec<(&'a str, Section<'a>)> {
        let named = self.named(key, refuse);
        named
            .into_iter()
            .filter_map(|(name, path, value)| Some((name, self.as_section(value, path)?)))
            .collect()
    }

    /// The arrays of a table, by names that the file chooses, as [`Section::list`] reads each.
    pub(super) fn named_lists<T>(
        &mut self,
        key: &'static str,
        refuse: impl Fn(&str) -> Option<&'static str>,
        parse: impl Fn(&DeValue<'_>) -> Result<T, String>,
    ) -> Vec<(&'a str, Vec<T>)> {
        let named = self.named(key, refuse);
        let mut lists = Vec::new();
        for (name, path, value) in named {
            let elements = self.elements_of(value, &path).unwrap_or_default();
            let parsed = elements.into_iter().filter_map(|(path, element)| {
                parse(element).map_err(|message| self.reader.report(&path, message)).ok()
            });
            lists.push((name, parsed.collect()));
        }
        lists
    }

    /// Reports the keys that nobody asked for, and will.
    pub(super) fn finish(self) {
        self.report_unknown();
    }

    /// Reports the keys that nobody asked for until now.
    pub(super) fn report_unknown(&self) {
        for key in self.table.keys() {
            let name = key.get_ref().as_ref();
            if self.known.contains(&name) {
                continue;
            }
            let section = SECTION_OF.iter().find(|(key, _)| self.path.is_empty() && *key == name);
            let message = match (section, nearest(name, &self.known)) {
                (Some((_, section)), _) => {
                    format!("unknown key here; it belongs into the section [{section}]")
                }
                (None, Some(meant)) => format!("unknown key; did you mean \"{meant}\"?"),
                (None, None) => format!("unknown key; known keys here: {}", self.known.join(", ")),
            };
            self.reader.report_at(key.span().start, &self.key_path(name), message);
        }
    }

    fn value(&mut self, key: &'static str) -> Option<&'a DeValue<'a>> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        let value = self.table.get(key)?;
        self.reader.note(&self.key_path(key), value.span().start);
        Some(value.get_ref())
    }

    fn named(
        &mut self,
        key: &'static str,
        refuse: impl Fn(&str) -> Option<&'static str>,
    ) -> Vec<(&'a str, String, &'a DeValue<'a>)> {
        let Some(section) = self.section(key) else { return Vec::new() };
        let mut named = Vec::new();
        for (name, value) in section.table {
            let (offset, name) = (name.span().start, name.get_ref().as_ref());
            let path = section.key_path(name);
            self.reader.note(&path, offset);
            match refuse(name) {
                Some(message) => self.reader.report_at(offset, &path, message),
                None => named.push((name, path, value.get_ref())),
            }
        }
        named
    }

    fn elements(&mut self, key: &'static str) -> Option<Vec<(String, &'a DeValue<'a>)>> {
        let value = self.value(key)?;
        let path = self.key_path(key);
        self.elements_of(value, &path)
    }

    fn elements_of(&self, value: &'a DeValue<'a>, path: &str) -> Option<Vec<(String, &'a DeValue<'a>)>> {
        let Some(array) = value.as_array() else {
            self.reader.report(path, format!("expected an array, found {}", kind(value)));
            return None;
        };
        let elements = array.iter().enumerate().map(|(index, element)| {
            let path = format!("{path}[{index}]");
            self.reader.note(&path, element.span().start);
            (path, element.get_ref())
        });
        Some(elements.collect())
    }

    fn as_section(&self, value: &'a DeValue<'a>, path: String) -> Option<Section<'a>> {
        let Some(table) = value.as_table() else {
            self.reader.report(&path, format!("expected a table, found {}", kind(value)));
            return None;
        };
        Some(Section { reader: self.reader, table, path, known: Vec::new() })
    }
}

/// What a value is, for "expected ..., found ...".
pub(super) fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}
