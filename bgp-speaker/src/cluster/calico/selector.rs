//! Calico's selectors: which objects an object is about, by their labels.
//!
//! ```text
//! selector = [ or ]                                  empty = all()
//! or       = and { "||" and }
//! and      = unary { "&&" unary }
//! unary    = { "!" } primary
//! primary  = "(" or ")" | "all(" ")" | "global(" ")" | "has(" label ")"
//!          | label ( "==" | "!=" | "contains" | "starts" "with" | "ends" "with" ) string
//!          | label [ "not" ] "in" "{" [ string { "," string } [ "," ] ] "}"
//! ```
//!
//! White space is space and tab. Strings are in single or double quotes and know no escapes.

mod labels;
mod parse;
#[cfg(test)]
mod tests;

pub use labels::Labels;

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::str::FromStr;

/// A condition on labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector(Expression);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Expression {
    All,
    /// At least two.
    And(Vec<Expression>),
    Has(String),
    Not(Box<Expression>),
    /// At least two.
    Or(Vec<Expression>),
    Test {
        label: String,
        test: Test,
    },
}

/// What the value of a label must be.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    Contains(String),
    EndsWith(String),
    Equals(String),
    In(Vec<String>),
    NotEquals(String),
    NotIn(Vec<String>),
    StartsWith(String),
}

/// A text that is no selector. Its author is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no selector: at byte {offset}, expected {expected}")]
pub struct SelectorError {
    /// Where, in bytes from the start.
    pub offset: usize,
    /// What would have been right there.
    pub expected: &'static str,
}

impl Selector {
    /// Longest text that is read, in bytes.
    pub const LENGTH_MAX: usize = 16 << 10;
    /// Deepest nesting of parentheses.
    pub const DEPTH_MAX: usize = 64;

    /// Matches everything.
    pub fn all() -> Self {
        Self(Expression::All)
    }

    /// Does it match an object with these labels?
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0.matches(labels)
    }
}

impl Expression {
    fn matches(&self, labels: &Labels) -> bool {
        match self {
            Expression::All => true,
            Expression::And(all) => all.iter().all(|expression| expression.matches(labels)),
            Expression::Has(label) => labels.value(label).is_some(),
            Expression::Not(expression) => !expression.matches(labels),
            Expression::Or(any) => any.iter().any(|expression| expression.matches(labels)),
            Expression::Test { label, test } => test.holds(labels.value(label)),
        }
    }
}

impl Test {
    /// An absent label is not equal to anything, and in no set; nothing else holds for it.
    fn holds(&self, value: Option<&str>) -> bool {
        let is = |condition: &dyn Fn(&str) -> bool| value.is_some_and(condition);
        match self {
            Test::Contains(part) => is(&|value| value.contains(part.as_str())),
            Test::EndsWith(end) => is(&|value| value.ends_with(end.as_str())),
            Test::Equals(text) => is(&|value| value == text),
            Test::In(set) => is(&|value| set.iter().any(|text| text == value)),
            Test::NotEquals(text) => !is(&|value| value == text),
            Test::NotIn(set) => !is(&|value| set.iter().any(|text| text == value)),
            Test::StartsWith(start) => is(&|value| value.starts_with(start.as_str())),
        }
    }
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse::parse(text).map(Self)
    }
}

impl<'de> Deserialize<'de> for Selector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// A text that reads back as the same selector.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expression::All => f.write_str("all()"),
            Expression::And(all) => joined(f, all, " && "),
            Expression::Has(label) => write!(f, "has({label})"),
            Expression::Not(expression) => write!(f, "!{expression}"),
            Expression::Or(any) => joined(f, any, " || "),
            Expression::Test { label, test } => write!(f, "{label} {test}"),
        }
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Test::Contains(text) => write!(f, "contains {}", Quoted(text)),
            Test::EndsWith(text) => write!(f, "ends with {}", Quoted(text)),
            Test::Equals(text) => write!(f, "== {}", Quoted(text)),
            Test::In(set) => write!(f, "in {}", Set(set)),
            Test::NotEquals(text) => write!(f, "!= {}", Quoted(text)),
            Test::NotIn(set) => write!(f, "not in {}", Set(set)),
            Test::StartsWith(text) => write!(f, "starts with {}", Quoted(text)),
        }
    }
}

fn joined(f: &mut fmt::Formatter<'_>, parts: &[Expression], operator: &str) -> fmt::Result {
    f.write_str("(")?;
    for (index, part) in parts.iter().enumerate() {
        write!(f, "{}{part}", if index == 0 { "" } else { operator })?;
    }
    f.write_str(")")
}

struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quote = if self.0.contains('\'') { '"' } else { '\'' };
        write!(f, "{quote}{}{quote}", self.0)
    }
}

struct Set<'a>(&'a [String]);

impl fmt::Display for Set<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (index, text) in self.0.iter().enumerate() {
            write!(f, "{}{}", if index == 0 { "" } else { ", " }, Quoted(text))?;
        }
        f.write_str("}")
    }
}
