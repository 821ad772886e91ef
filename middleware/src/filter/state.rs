//! The rules of a filter file, read once and asked often. Pure: text in, answers out.

use std::collections::HashMap;

use dipylon_protocol::semver;

/// What a rule says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// `+`: served as usual.
    Include,
    /// `-`: refused.
    Exclude,
    /// `D`: the client is sent to the global endpoint.
    Direct,
}

/// What is to be done with a module, and by which rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ruling<'a> {
    /// What is to be done.
    pub sign: Sign,
    /// The path of the rule; nothing where no rule names the module, or one above it.
    pub path: Option<&'a str>,
    /// The line of the rule, counted from 1; nothing where no line says so.
    pub line: Option<usize>,
}

/// A line that is no rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct BadRule {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong and what is accepted.
    pub reason: String,
}

/// A part of a rule that is accepted, as in Athens, and can never apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idle {
    /// Counted from 1.
    pub line: usize,
    /// What never applies, and why.
    pub reason: String,
}

/// All rules of a file.
#[derive(Clone, Debug)]
pub struct Rules {
    everything: Sign,
    /// Where that is said, if it is.
    everything_line: Option<usize>,
    by_path: HashMap<String, Rule>,
    idle: Vec<Idle>,
}

#[derive(Clone, Debug)]
struct Rule {
    sign: Sign,
    /// Counted from 1.
    line: usize,
    /// Empty: every version.
    versions: Vec<Versions>,
}

/// One entry of a version list.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Versions {
    /// `*`
    Every,
    /// `v1.2.*`, or `v1.2`, kept as `v1.2.`
    Prefix(String),
    /// `v1.2.3`, without its build metadata, which does not count.
    One(String),
    /// `~v1.2.3`: its minor version, from it upwards.
    Patches(String),
    /// `^v1.2.3`: its major version, from it upwards.
    Minors(String),
    /// `<v1.2.3`
    Below(String),
    /// Something that matches no version.
    Nothing,
}

const ACCEPTED: &str = "want a sign (+, - or D), then optionally a module path, then optionally a \
                        comma-separated list of versions";

impl Rules {
    /// Reads the text of a filter file. Empty lines and lines that begin with `#` do not count; a
    /// later rule for the same path takes the place of an earlier one.
    ///
    /// # Errors
    /// The first line that is no rule.
    pub fn parse(text: &str) -> Result<Self, BadRule> {
        let mut rules = Self {
            everything: Sign::Include,
            everything_line: None,
            by_path: HashMap::new(),
            idle: Vec::new(),
        };
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                let bad = |reason| BadRule { line: index + 1, reason };
                rules.add(index + 1, line).map_err(bad)?;
            }
        }
        Ok(rules)
    }

    fn add(&mut self, line: usize, text: &str) -> Result<(), String> {
        let mut fields = text.split_whitespace();
        let sign = match fields.next() {
            Some("+") => Sign::Include,
            Some("-") => Sign::Exclude,
            Some("D") => Sign::Direct,
            other => {
                return Err(format!("no rule begins with {:?}: {ACCEPTED}", other.unwrap_or("")));
            }
        };
        let (path, versions) = (fields.next(), fields.next());
        if let Some(extra) = fields.next() {
            return Err(format!("{extra:?} is one field too many: {ACCEPTED}, without blanks"));
        }
        let path = path.map_or("", |path| path.trim_matches('/'));
        if path.is_empty() {
            return match versions {
                Some(_) => Err(format!("a version list needs a module path: {ACCEPTED}")),
                None => {
                    (self.everything, self.everything_line) = (sign, Some(line));
                    Ok(())
                }
            };
        }
        let versions = versions.map_or(Ok(Vec::new()), version_list)?;
        if let Some(reason) = idle_path(path) {
            self.idle.push(Idle { line, reason });
        }
        if versions.contains(&Versions::Nothing) {
            let reason = "an entry of its version list matches no version: want v1, v1.2, v1.2.*, \
                          v1.2.3, *, or one of ~ ^ < before three numbers"
                .to_owned();
            self.idle.push(Idle { line, reason });
        }
        self.by_path.insert(path.to_owned(), Rule { sign, line, versions });
        Ok(())
    }

    /// What to do with a module. Without a version (list, latest) version lists do not count.
    pub fn sign(&self, module: &str, version: Option<&str>) -> Sign {
        self.ruling(module, version).sign
    }

    /// The same, and which line says so.
    pub fn ruling<'a>(&self, module: &'a str, version: Option<&str>) -> Ruling<'a> {
        let mut prefix = Some(module);
        while let Some(path) = prefix {
            if let Some(rule) = self.by_path.get(path)
                && version.is_none_or(|version| rule.applies(version))
            {
                return Ruling { sign: rule.sign, path: Some(path), line: Some(rule.line) };
            }
            prefix = path.rsplit_once('/').map(|(parent, _)| parent);
        }
        Ruling { sign: self.everything, path: None, line: self.everything_line }
    }

    /// What can never apply: worth a warning at start.
    pub fn idle(&self) -> &[Idle] {
        &self.idle
    }
}

/// Rules match whole path elements as they are written.
fn idle_path(path: &str) -> Option<String> {
    let reason = if path.split('/').any(str::is_empty) {
        "has an empty element"
    } else if path.contains(['*', '?', '[', '!', ':', '\\']) {
        "has characters that no module path has: patterns, escapes and URLs do not work here"
    } else {
        return None;
    };
    Some(format!("module path {path:?} matches nothing: it {reason}"))
}

fn version_list(text: &str) -> Result<Vec<Versions>, String> {
    text.split(',')
        .map(|entry| match entry {
            "" => Err(format!("the version list {text:?} has an empty entry: remove a comma")),
            entry => Ok(Versions::parse(entry)),
        })
        .collect()
}

impl Rule {
    fn applies(&self, version: &str) -> bool {
        self.versions.is_empty() || self.versions.iter().any(|entry| entry.matches(version))
    }
}

impl Versions {
    fn parse(entry: &str) -> Self {
        let text = entry.trim_end_matches('*');
        let wild = text.len() < entry.len();
        let compared = |with: fn(String) -> Self| match release(&with_v(&text[1..])) {
            Some(limit) if !wild => with(limit),
            _ => Self::Nothing,
        };
        match text.as_bytes().first() {
            Some(b'~') => compared(Self::Patches),
            Some(b'^') => compared(Self::Minors),
            Some(b'<') => compared(Self::Below),
            _ => Self::plain(text, wild),
        }
    }

    /// A version, or the beginning of one; `wild` where stars were cut off.
    fn plain(text: &str, wild: bool) -> Self {
        let numbers = text.strip_prefix('v').unwrap_or(text);
        if numbers.is_empty() && wild {
            return Self::Every;
        }
        if !numbers.starts_with(|c: char| c.is_ascii_digit()) {
            return Self::Nothing;
        }
        let text = with_v(text);
        let partial = text.matches('.').count() < 2;
        match semver::canonical(&text) {
            _ if text.ends_with('.') || (wild && !partial) => Self::Prefix(text),
            _ if partial => Self::Prefix(text + "."),
            Some(one) => Self::One(one),
            None => Self::Nothing,
        }
    }

    /// The three that compare take releases only, as in Athens.
    fn matches(&self, version: &str) -> bool {
        let released = || release(version).is_some();
        match self {
            Self::Every => true,
            Self::Nothing => false,
            Self::Prefix(prefix) => version.starts_with(prefix.as_str()),
            // A short form such as v1.2 is a query, not the version v1.2.0.
            Self::One(one) => {
                version.matches('.').count() >= 2
                    && semver::canonical(version).as_deref() == Some(one.as_str())
            }
            Self::Patches(from) => {
                released()
                    && semver::major_minor(version) == semver::major_minor(from)
                    && semver::compare(version, from).is_ge()
            }
            Self::Minors(from) => {
                released()
                    && semver::major(version) == semver::major(from)
                    && semver::compare(version, from).is_ge()
            }
            Self::Below(limit) => released() && semver::compare(version, limit).is_lt(),
        }
    }
}

fn with_v(text: &str) -> String {
    if text.starts_with('v') { text.to_owned() } else { format!("v{text}") }
}

/// The three numbers of a release, build metadata cut off; `None` for short forms and prereleases.
fn release(version: &str) -> Option<String> {
    let plain = semver::canonical(version)?;
    let whole = version.strip_suffix(semver::build(version)).unwrap_or(version) == plain;
    (whole && semver::prerelease(&plain).is_empty()).then_some(plain)
}
