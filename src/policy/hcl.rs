//! HCL with positions: every complaint names the file, the line and the column.
//!
//! `hcl_edit` parses, because it knows where each node stands; `hcl` evaluates, because operators and
//! templates are allowed. Never serde: it takes a number for a text, and loses one of two blocks with
//! the same label.

use std::num::NonZeroU32;

use dipylon_middleware::{Error, ErrorKind};
use hcl::eval::{Context, ErrorKind as Mistake, Evaluate as _};
use hcl_edit::Span;
use hcl_edit::expr::Expression;
use hcl_edit::structure::{Attribute, Body};

/// An HCL text and the name of the place it comes from.
pub(super) struct Source<'a> {
    place: &'a str,
    text: &'a str,
}

impl<'a> Source<'a> {
    pub(super) fn new(place: &'a str, text: &'a str) -> Self {
        Self { place, text: text.strip_prefix('\u{feff}').unwrap_or(text) }
    }

    /// The text as a tree. Nesting and operators are bounded by the parser.
    pub(super) fn parse(&self) -> Result<Body, Error> {
        hcl_edit::parser::parse_body(self.text).map_err(|error| {
            if let Some(open) = super::quotes::unclosed(self.text) {
                let (line, column) = self.position(open);
                return self.refuse(line, column, "this text is not closed: want a \" on its line");
            }
            let (line, column) = (error.location().line(), error.location().column());
            let mut reason = error.message().to_owned();
            // The parser says what it expected where there is but one thing to expect.
            if !reason.contains("; expected") {
                reason.push_str(": want NAME = VALUE, a block, or its end");
            }
            self.refuse(line, column, &reason)
        })
    }

    /// A complaint about a node: about its first character.
    pub(super) fn at(&self, node: &impl Span, reason: impl AsRef<str>) -> Error {
        let (line, column) = self.position(node.span().map_or(0, |span| span.start));
        self.refuse(line, column, reason.as_ref())
    }

    /// A complaint about what is not there.
    pub(super) fn missing(&self, reason: impl AsRef<str>) -> Error {
        self.refuse(1, 1, reason.as_ref())
    }

    fn refuse(&self, line: usize, column: usize, reason: &str) -> Error {
        let text = format!("{}:{line}:{column}: {reason}", self.place);
        Error::new(ErrorKind::Unsupported, text)
    }

    /// Line and column, in characters, both from 1.
    fn position(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line = before.rsplit('\n').next().unwrap_or_default();
        (before.matches('\n').count() + 1, line.chars().count() + 1)
    }

    /// The value of an attribute, which must be a text.
    pub(super) fn string(&self, attribute: &Attribute) -> Result<String, Error> {
        self.text(attribute, &attribute.value)
    }

    /// The value of an attribute that is one text, or a list of them.
    pub(super) fn texts<'b>(&self, attribute: &'b Attribute) -> Result<Texts<'b>, Error> {
        let (at, wanted) = (&attribute.value, "want a text in quotes, or a list of such");
        if let Some(list) = at.as_array() {
            let entry = |value| Ok((self.text(attribute, value)?, value));
            return list.iter().map(entry).collect::<Result<_, Error>>().map(Texts::List);
        }
        // What a condition chose stands nowhere by itself: the whole is pointed at.
        let entry = |value| match value {
            hcl::Value::String(text) => Ok((text, at)),
            other => Err(self.wrong_kind(attribute, at, &other, TEXT)),
        };
        match self.evaluate(attribute, at, wanted)? {
            hcl::Value::String(text) => Ok(Texts::One(text)),
            hcl::Value::Array(list) => {
                list.into_iter().map(entry).collect::<Result<_, Error>>().map(Texts::List)
            }
            other => Err(self.wrong_kind(attribute, at, &other, wanted)),
        }
    }

    /// The value of an attribute, which must be a whole number from 1 to `most`.
    pub(super) fn whole_number(
        &self,
        attribute: &Attribute,
        most: u32,
    ) -> Result<NonZeroU32, Error> {
        let (name, at) = (attribute.key.as_str(), &attribute.value);
        let wanted = format!("want a whole number from 1 to {most}");
        let number = match self.evaluate(attribute, at, &wanted)? {
            hcl::Value::Number(number) => number,
            other => return Err(self.wrong_kind(attribute, at, &other, &wanted)),
        };
        let within = number.as_u64().and_then(|number| u32::try_from(number).ok());
        let within = within.filter(|number| *number <= most).and_then(NonZeroU32::new);
        within.ok_or_else(|| self.at(at, format!("{name} cannot be {number}: {wanted}")))
    }

    fn text(&self, of: &Attribute, at: &Expression) -> Result<String, Error> {
        match self.evaluate(of, at, TEXT)? {
            hcl::Value::String(text) => Ok(text),
            other => Err(self.wrong_kind(of, at, &other, TEXT)),
        }
    }

    /// Operators, conditions and templates are evaluated. There are no variables and no functions.
    fn evaluate(&self, of: &Attribute, at: &Expression, wanted: &str) -> Result<hcl::Value, Error> {
        hcl::Expression::from(at.clone()).evaluate(&Context::new()).map_err(|error| {
            let reason = match error.kind() {
                Mistake::UndefinedVar(variable) => format!("there is no variable {variable}"),
                Mistake::UndefinedFunc(function) => format!("there is no function {function}"),
                other => other.to_string(),
            };
            self.at(at, format!("{}: {reason}: {wanted}", of.key.as_str()))
        })
    }

    fn wrong_kind(
        &self,
        of: &Attribute,
        at: &Expression,
        value: &hcl::Value,
        wanted: &str,
    ) -> Error {
        self.at(at, format!("{} is {}: {wanted}", of.key.as_str(), kind(value)))
    }
}

/// What most attributes want.
const TEXT: &str = "want a text in quotes";

/// One text, or several of which each knows where it stands.
pub(super) enum Texts<'b> {
    /// `"…"`
    One(String),
    /// `["…", …]`
    List(Vec<(String, &'b Expression)>),
}

fn kind(value: &hcl::Value) -> &'static str {
    match value {
        hcl::Value::Null => "null",
        hcl::Value::Bool(_) => "a boolean",
        hcl::Value::Number(_) => "a number",
        hcl::Value::String(_) => "a text",
        hcl::Value::Array(_) => "a list",
        hcl::Value::Object(_) => "an object",
    }
}
