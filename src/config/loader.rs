//! Finds, reads and checks the value of each key, and remembers where it came from.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::effective::{Effective, EffectiveEntry};
use super::env::Env;
use super::file::{ConfigFile, Entry, read_text};
use super::key::{Catalogue, EmptyVariable, Key, KeyInfo, Table, TableInfo};
use super::problem::{ConfigError, Origin, Warning, shorten};
use super::values::{Setting, Wrong};

/// The largest file that a `…_FILE` variable may name, in bytes.
const MAX_SECRET_BYTES: u64 = 64 * 1024;

/// The table whose keys only this program has; its variables have no long name.
const OWN_TABLE: &str = "Dipylon";

/// Goes over all tables once, key by key.
pub(super) struct Loader<'a> {
    env: &'a dyn Env,
    file: Option<&'a ConfigFile>,
    section: Vec<&'static str>,
    pub(super) catalogue: Catalogue,
    pub(super) effective: Effective,
    pub(super) errors: Vec<ConfigError>,
    pub(super) warnings: Vec<Warning>,
    origins: BTreeMap<String, Origin>,
}

/// A value as it was found.
enum Found<'f> {
    Text(String, Origin),
    Toml(&'f Entry, Origin),
}

impl<'a> Loader<'a> {
    pub(super) fn new(env: &'a dyn Env, file: Option<&'a ConfigFile>) -> Self {
        Self {
            env,
            file,
            section: Vec::new(),
            catalogue: Catalogue::default(),
            effective: Effective::default(),
            errors: Vec::new(),
            warnings: Vec::new(),
            origins: BTreeMap::new(),
        }
    }

    /// Loads a table within the current one.
    pub(super) fn table<T: Table>(&mut self, name: &'static str) -> T {
        self.section.push(name);
        let table = T::load_table(self);
        self.section.pop();
        table
    }

    /// Says what the current table is for.
    pub(super) fn describe(&mut self, doc: &str) {
        let doc = doc.split_whitespace().collect::<Vec<_>>().join(" ");
        let path = self.section.join(".");
        self.catalogue.tables.push(TableInfo { path, doc, keys: Vec::new() });
    }

    /// Loads a key of the current table. A wrong value becomes an error, and the default stands in
    /// for it so that every other key is looked at too.
    pub(super) fn key<T: Setting>(&mut self, key: Key<T>) -> T {
        let info = self.inform(&key);
        let loaded = match self.find(&info, key.empty_variable) {
            Ok(Some(found)) => self.read(&info, &key, &found),
            Ok(None) => Ok((key.default.clone(), Origin::Default)),
            Err(error) => Err(error),
        };
        let loaded = loaded.and_then(|(value, origin)| {
            if key.required && value.is_empty() {
                return Err(missing(&info, origin));
            }
            Ok((value, origin))
        });
        let value = match loaded {
            Ok((value, origin)) => {
                self.origins.insert(info.path.clone(), origin.clone());
                self.note(&info, value.show(), origin);
                value
            }
            Err(error) => {
                // Should the error be set aside, the default is what is in force.
                self.note(&info, key.default.show(), Origin::Default);
                self.errors.push(error);
                key.default
            }
        };
        if let Some(table) =
            self.catalogue.tables.iter_mut().rev().find(|t| t.path == info_table(&info.path))
        {
            table.keys.push(info);
        }
        value
    }

    /// Whether a key's value was read and stands.
    pub(super) fn is_sound(&self, path: &str) -> bool {
        self.origins.contains_key(path)
    }

    /// Where a key's value comes from; `Default` for a value that was refused.
    pub(super) fn origin(&self, path: &str) -> Origin {
        self.origins.get(path).cloned().unwrap_or(Origin::Default)
    }

    /// The value of a key as it is shown, for messages about several keys.
    pub(super) fn shown(&self, path: &str) -> String {
        let entry = self.effective.entries().iter().find(|entry| entry.key == path);
        entry.map_or_else(String::new, |entry| shorten(entry.value.clone()))
    }

    fn note(&mut self, info: &KeyInfo, value: String, origin: Origin) {
        self.effective.push(EffectiveEntry { key: info.path.clone(), value, origin });
    }

    fn inform<T: Setting>(&self, key: &Key<T>) -> KeyInfo {
        let within = |name: &str| match self.section.as_slice() {
            [] => name.to_owned(),
            section => format!("{}.{name}", section.join(".")),
        };
        let variables = self.variables(key.variables);
        let file_variables = match T::FROM_FILE {
            true => variables.iter().map(|name| format!("{name}_FILE")).collect(),
            false => Vec::new(),
        };
        KeyInfo {
            path: within(key.name),
            aliases: key.aliases.iter().map(|name| within(name)).collect(),
            variable: key.variables.first().copied().unwrap_or_default().to_owned(),
            variables,
            file_variables,
            default: key.default.show(),
            secret: T::SECRET,
            required: key.required,
            accepted: key.accepted(),
            doc: key.doc.clone(),
        }
    }

    /// The variables of a key in the order in which they win. Athens's library first looks for
    /// `ATHENS_`, the path of tables and the short name, all joined; then for the short name.
    fn variables(&self, short: &[&str]) -> Vec<String> {
        let own = self.section.first() == Some(&OWN_TABLE);
        let long = short.first().filter(|_| !own).map(|first| {
            let tables = self.section.iter().map(|name| format!("{}_", name.to_ascii_uppercase()));
            format!("ATHENS_{}{first}", tables.collect::<String>())
        });
        long.into_iter().chain(short.iter().map(|name| (*name).to_owned())).collect()
    }

    /// The value that wins, before it is read.
    fn find(&self, info: &KeyInfo, empty: EmptyVariable) -> Result<Option<Found<'a>>, ConfigError> {
        let from_variable = self.variable(info, empty)?;
        let from_file = self.secret_file(info);
        match (from_variable, from_file) {
            (Some((variable, _)), Some((other, _))) => Err(ConfigError::Conflict {
                key: info.path.clone(),
                shown: "…".to_owned(),
                origin: Origin::Environment { variable: variable.to_owned() },
                reason: format!("{other} is set as well; set one of the two"),
            }),
            (Some((variable, text)), None) => {
                let origin = Origin::Environment { variable: variable.to_owned() };
                Ok(Some(Found::Text(text, origin)))
            }
            (None, Some((variable, path))) => secret(variable, path).map(Some),
            (None, None) => self.entry(info),
        }
    }

    /// The first variable that is set.
    fn variable<'i>(
        &self,
        info: &'i KeyInfo,
        empty: EmptyVariable,
    ) -> Result<Option<(&'i str, String)>, ConfigError> {
        let mut last_resort = None;
        for variable in &info.variables {
            let Some(value) = self.env.get(variable) else { continue };
            let text = value.into_string().map_err(|_| ConfigError::Form {
                key: info.path.clone(),
                shown: "…".to_owned(),
                origin: Origin::Environment { variable: variable.clone() },
                reason: "the value is not UTF-8; write it in UTF-8".to_owned(),
            })?;
            match empty {
                _ if !text.is_empty() => return Ok(Some((variable, text))),
                EmptyVariable::Counts => return Ok(Some((variable, text))),
                EmptyVariable::LastResort => {
                    last_resort.get_or_insert((variable.as_str(), text));
                }
                EmptyVariable::Ignored => {}
            }
        }
        Ok(last_resort)
    }

    /// The first `…_FILE` variable that is set and not empty.
    fn secret_file<'i>(&self, info: &'i KeyInfo) -> Option<(&'i str, PathBuf)> {
        info.file_variables.iter().find_map(|variable| {
            let value = self.env.get(variable).filter(|value| !value.is_empty())?;
            Some((variable.as_str(), PathBuf::from(value)))
        })
    }

    fn entry(&self, info: &KeyInfo) -> Result<Option<Found<'a>>, ConfigError> {
        let Some(file) = self.file else { return Ok(None) };
        let paths = std::iter::once(&info.path).chain(&info.aliases);
        let mut entries = paths.filter_map(|path| file.get(path));
        let Some(entry) = entries.next() else { return Ok(None) };
        if let Some(other) = entries.find(|other| other.value != entry.value) {
            return Err(ConfigError::Conflict {
                key: entry.written.clone(),
                shown: shorten(entry.value.literal()),
                origin: file.origin(entry),
                reason: format!(
                    "{} in line {} says otherwise; keep one of the two",
                    other.written, other.line
                ),
            });
        }
        Ok(Some(Found::Toml(entry, file.origin(entry))))
    }

    /// Reads a found value and holds it against the key's conditions.
    fn read<T: Setting>(
        &mut self,
        info: &KeyInfo,
        key: &Key<T>,
        found: &Found<'_>,
    ) -> Result<(T, Origin), ConfigError> {
        let (read, shown, origin) = match found {
            Found::Text(text, origin) if text.is_empty() && key.empty_is_default => {
                return Ok((key.default.clone(), origin.clone()));
            }
            Found::Text(text, origin) => (T::from_text(text), T::show_text(text), origin),
            Found::Toml(entry, origin) => {
                if key.empty_is_default && entry.value.is_empty_text() {
                    return Ok((key.default.clone(), origin.clone()));
                }
                let read = T::from_toml(&entry.value).map(|value| value.over(&key.default));
                (read, T::show_toml(&entry.value), origin)
            }
        };
        let read = read.and_then(|value| {
            let holds = key.checks.iter().all(|check| (check.holds)(&value));
            if holds { Ok(value) } else { Err(Wrong::range()) }
        });
        match read {
            Ok(value) => {
                self.caution::<T>(info, found, &shown, origin);
                Ok((value, origin.clone()))
            }
            Err(wrong) => Err(refuse(info, shorten(shown), origin.clone(), wrong)),
        }
    }

    fn caution<T: Setting>(
        &mut self,
        info: &KeyInfo,
        found: &Found<'_>,
        shown: &str,
        origin: &Origin,
    ) {
        let caution = match found {
            Found::Text(text, _) => T::caution(text),
            Found::Toml(entry, _) => entry.value.as_text().and_then(T::caution),
        };
        if let Some(caution) = caution {
            let shown = shorten(shown.to_owned());
            self.warnings
                .push(Warning(format!("{} = {shown} (from {origin}): {caution}", info.path)));
        }
    }
}

/// The table of a key.
fn info_table(path: &str) -> &str {
    path.rsplit_once('.').map_or("", |(table, _)| table)
}

fn secret(variable: &str, path: PathBuf) -> Result<Found<'static>, ConfigError> {
    let mut text = read_text(&path, MAX_SECRET_BYTES).map_err(|reason| ConfigError::File {
        path: path.clone(),
        reason: format!("(from environment {variable}) {reason}"),
    })?;
    // Editors and `echo` end a file with a line end that is no part of the secret.
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(Found::Text(text, Origin::SecretFile { variable: variable.to_owned(), path }))
}

fn missing(info: &KeyInfo, origin: Origin) -> ConfigError {
    ConfigError::Missing {
        key: info.path.clone(),
        origin,
        variable: info.variable.clone(),
        why: String::new(),
    }
}

fn refuse(info: &KeyInfo, shown: String, origin: Origin, wrong: Wrong) -> ConfigError {
    let mut reason = wrong.detail.map(|detail| format!("{detail}; ")).unwrap_or_default();
    reason.push_str("accepted ");
    reason.push_str(&info.accepted);
    if let Some(hint) = wrong.hint {
        reason.push_str("; ");
        reason.push_str(&hint);
    }
    let key = info.path.clone();
    match wrong.range {
        true => ConfigError::Range { key, shown, origin, reason },
        false => ConfigError::Form { key, shown, origin, reason },
    }
}
