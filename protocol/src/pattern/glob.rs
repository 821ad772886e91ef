//! Go's `path.Match`, compiled.
//!
//! A pattern is a row of runs, each optionally behind a `*`. Matching works on bytes as Go's does:
//! after a `*` a run may begin inside a multi-byte character, where `?` takes single bytes. No
//! backtracking beyond the latest `*`, so the cost is at most pattern times name.

use super::BadPattern;

/// A well-formed pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Glob(Vec<Run>);

/// Operators that each take one character, and whether a `*` stands before them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Run {
    star: bool,
    operators: Vec<Operator>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Operator {
    Byte(u8),
    AnyButSlash,
    Class { negated: bool, ranges: Vec<(char, char)> },
}

impl Glob {
    pub(super) fn parse(pattern: &str) -> Result<Self, BadPattern> {
        let mut runs = Vec::new();
        let mut rest = pattern;
        while !rest.is_empty() {
            let body = rest.trim_start_matches('*');
            let star = body.len() < rest.len();
            let (operators, after) = parse_run(body)?;
            runs.push(Run { star, operators });
            rest = after;
        }
        Ok(Self(runs))
    }

    pub(super) fn matches(&self, name: &str) -> bool {
        let mut rest = name.as_bytes();
        for (index, run) in self.0.iter().enumerate() {
            let last = index + 1 == self.0.len();
            match run.find(rest, last) {
                Some(after) => rest = after,
                None => return false,
            }
        }
        rest.is_empty()
    }
}

impl Run {
    /// What is left of `name` after the first place where the run matches; without a `*` that can
    /// only be the front. The last run has to reach the end.
    fn find<'a>(&self, name: &'a [u8], last: bool) -> Option<&'a [u8]> {
        if self.star && self.operators.is_empty() {
            return (!name.contains(&b'/')).then_some(&[]);
        }
        let mut start = 0;
        loop {
            if let Some(after) = self.strip(&name[start..])
                && (!last || after.is_empty())
            {
                return Some(after);
            }
            if !self.star || name.get(start).is_none_or(|&byte| byte == b'/') {
                return None;
            }
            start += 1;
        }
    }

    /// Matches the run at the front of `name`.
    fn strip<'a>(&self, name: &'a [u8]) -> Option<&'a [u8]> {
        self.operators.iter().try_fold(name, |rest, operator| {
            let (&first, tail) = rest.split_first()?;
            match operator {
                Operator::Byte(byte) => (first == *byte).then_some(tail),
                Operator::AnyButSlash => (first != b'/').then(|| &rest[decode(rest).1..]),
                Operator::Class { negated, ranges } => {
                    let (character, width) = decode(rest);
                    let inside =
                        ranges.iter().any(|(low, high)| (*low..=*high).contains(&character));
                    (inside != *negated).then(|| &rest[width..])
                }
            }
        })
    }
}

/// Reads operators up to the next `*` outside a class.
fn parse_run(pattern: &str) -> Result<(Vec<Operator>, &str), BadPattern> {
    let mut operators = Vec::new();
    let mut rest = pattern;
    while let Some(character) = rest.chars().next() {
        match character {
            '*' => break,
            '?' => {
                operators.push(Operator::AnyButSlash);
                rest = &rest[1..];
            }
            '[' => {
                let (class, after) = parse_class(&rest[1..])?;
                operators.push(class);
                rest = after;
            }
            _ => {
                let (literal, after) = parse_character(rest)?;
                let mut buffer = [0; 4];
                operators.extend(literal.encode_utf8(&mut buffer).bytes().map(Operator::Byte));
                rest = after;
            }
        }
    }
    Ok((operators, rest))
}

/// Reads a class behind its `[`: at least one range, and a `]`.
fn parse_class(pattern: &str) -> Result<(Operator, &str), BadPattern> {
    let negated = pattern.starts_with('^');
    let mut rest = &pattern[usize::from(negated)..];
    let mut ranges = Vec::new();
    loop {
        if let Some(after) = rest.strip_prefix(']')
            && !ranges.is_empty()
        {
            return Ok((Operator::Class { negated, ranges }, after));
        }
        let (low, after) = parse_bound(rest)?;
        let (high, after) = match after.strip_prefix('-') {
            Some(after) => parse_bound(after)?,
            None => (low, after),
        };
        ranges.push((low, high));
        rest = after;
    }
}

/// One end of a range: a `-` or `]` has to be escaped here.
fn parse_bound(pattern: &str) -> Result<(char, &str), BadPattern> {
    if pattern.starts_with(['-', ']']) { Err(BadPattern) } else { parse_character(pattern) }
}

/// A character, taken literally behind a backslash.
fn parse_character(pattern: &str) -> Result<(char, &str), BadPattern> {
    let body = pattern.strip_prefix('\\').unwrap_or(pattern);
    let mut characters = body.chars();
    let character = characters.next().ok_or(BadPattern)?;
    Ok((character, characters.as_str()))
}

/// The character at the front and its width in bytes; the replacement character and one byte when
/// the front is the middle of a character.
fn decode(bytes: &[u8]) -> (char, usize) {
    let window = &bytes[..bytes.len().min(4)];
    let valid = match std::str::from_utf8(window) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&window[..error.valid_up_to()]).unwrap_or(""),
    };
    valid.chars().next().map_or((char::REPLACEMENT_CHARACTER, 1), |c| (c, c.len_utf8()))
}
