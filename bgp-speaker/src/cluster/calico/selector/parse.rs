//! From text to expression, by recursive descent. Bounded in length and in depth.

use super::{Expression, Selector, SelectorError, Test};

/// Longest label, in bytes.
const LABEL_LENGTH_MAX: usize = 512;

pub(super) fn parse(text: &str) -> Result<Expression, SelectorError> {
    if text.len() > Selector::LENGTH_MAX {
        return Err(SelectorError {
            offset: Selector::LENGTH_MAX,
            expected: "the end: selectors are shorter",
        });
    }
    let mut parser = Parser { text, at: 0 };
    parser.skip_space();
    if parser.rest().is_empty() {
        return Ok(Expression::All);
    }
    let expression = parser.or(0)?;
    if parser.rest().is_empty() { Ok(expression) } else { Err(parser.expected("\"&&\", \"||\" or the end")) }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

type Parsed<T> = Result<T, SelectorError>;

/// Every method leaves the parser behind the white space that follows what it read.
impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn expected(&self, expected: &'static str) -> SelectorError {
        SelectorError { offset: self.at, expected }
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t']).len();
    }

    /// Takes `token` if it is next.
    fn take(&mut self, token: &str) -> bool {
        let is_next = self.rest().starts_with(token);
        if is_next {
            self.at += token.len();
            self.skip_space();
        }
        is_next
    }

    /// Takes words, with or without space between them; the last may not run into a label.
    fn take_words(&mut self, words: &[&str]) -> bool {
        let before = self.at;
        let are_next = words.iter().all(|word| self.take(word));
        let runs_on = self.text[..self.at].ends_with(is_label_char) && self.rest().starts_with(is_label_char);
        if !are_next || runs_on {
            self.at = before;
            return false;
        }
        true
    }

    fn require(&mut self, token: &str, expected: &'static str) -> Parsed<()> {
        if self.take(token) { Ok(()) } else { Err(self.expected(expected)) }
    }

    fn or(&mut self, depth: usize) -> Parsed<Expression> {
        let mut any = vec![self.and(depth)?];
        while self.take("||") {
            any.push(self.and(depth)?);
        }
        Ok(if any.len() == 1 { any.remove(0) } else { Expression::Or(any) })
    }

    fn and(&mut self, depth: usize) -> Parsed<Expression> {
        let mut all = vec![self.unary(depth)?];
        while self.take("&&") {
            all.push(self.unary(depth)?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Expression::And(all) })
    }

    fn unary(&mut self, depth: usize) -> Parsed<Expression> {
        let mut is_negated = false;
        while self.take("!") {
            is_negated = !is_negated;
        }
        let primary = self.primary(depth)?;
        Ok(if is_negated { Expression::Not(Box::new(primary)) } else { primary })
    }

    fn primary(&mut self, depth: usize) -> Parsed<Expression> {
        if self.rest().starts_with('(') {
            if depth == Selector::DEPTH_MAX {
                return Err(self.expected("fewer parentheses inside each other"));
            }
            self.take("(");
            let inner = self.or(depth + 1)?;
            self.require(")", "\")\"")?;
            return Ok(inner);
        }
        if self.take("all(") || self.take("global(") {
            self.require(")", "\")\"")?;
            return Ok(Expression::All);
        }
        if self.take("has(") {
            let label = self.label()?;
            self.require(")", "\")\"")?;
            return Ok(Expression::Has(label));
        }
        let label = self.label()?;
        let test = self.test()?;
        Ok(Expression::Test { label, test })
    }

    fn label(&mut self) -> Parsed<String> {
        let rest = self.rest();
        let length = rest.find(|c| !is_label_char(c)).unwrap_or(rest.len());
        if !(1..=LABEL_LENGTH_MAX).contains(&length) {
            return Err(self.expected("a label of 1 to 512 of A-Z a-z 0-9 _ . / -"));
        }
        self.at += length;
        self.skip_space();
        Ok(rest[..length].to_owned())
    }

    fn test(&mut self) -> Parsed<Test> {
        if self.take("==") {
            self.string().map(Test::Equals)
        } else if self.take("!=") {
            self.string().map(Test::NotEquals)
        } else if self.take_words(&["contains"]) {
            self.string().map(Test::Contains)
        } else if self.take_words(&["starts", "with"]) {
            self.string().map(Test::StartsWith)
        } else if self.take_words(&["ends", "with"]) {
            self.string().map(Test::EndsWith)
        } else if self.take_words(&["not", "in"]) {
            self.set().map(Test::NotIn)
        } else if self.take_words(&["in"]) {
            self.set().map(Test::In)
        } else {
            Err(self.expected("==, !=, in, not in, contains, starts with or ends with"))
        }
    }

    fn set(&mut self) -> Parsed<Vec<String>> {
        self.require("{", "\"{\"")?;
        let mut set = Vec::new();
        while !self.take("}") {
            set.push(self.string()?);
            if !self.take(",") {
                self.require("}", "\",\" or \"}\"")?;
                break;
            }
        }
        Ok(set)
    }

    fn string(&mut self) -> Parsed<String> {
        let quote = self.rest().chars().next().filter(|c| matches!(c, '\'' | '"'));
        let quote = quote.ok_or_else(|| self.expected("a string in quotes"))?;
        let body = &self.rest()[1..];
        let length = body.find(quote).ok_or_else(|| self.expected("a string that ends"))?;
        self.at += length + 2;
        self.skip_space();
        Ok(body[..length].to_owned())
    }
}

fn is_label_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '-')
}
