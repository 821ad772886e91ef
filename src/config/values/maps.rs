//! Maps from name to text: connection parameters, and headers that are secret.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;

use super::super::gotext::split_map;
use super::super::problem::quote;
use super::super::redact::{HIDDEN, names_a_secret, redact_url};
use super::text::Secret;
use super::{Raw, Setting, Wrong};

/// Parameters of a database connection. Values whose name announces a secret are not printed.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Params(BTreeMap<String, String>);

impl Params {
    /// Parameters from pairs.
    pub(in crate::config) fn of(pairs: &[(&str, &str)]) -> Self {
        Self(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    }
}

impl Deref for Params {
    type Target = BTreeMap<String, String>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.show())
    }
}

impl Setting for Params {
    fn accepted() -> String {
        ACCEPTED.to_owned()
    }

    fn from_text(text: &str) -> Result<Self, Wrong> {
        from_variable(text).map(|pairs| Self(pairs.into_iter().collect()))
    }

    fn from_toml(raw: &Raw) -> Result<Self, Wrong> {
        from_table(raw).map(|pairs| Self(pairs.into_iter().collect()))
    }

    fn show(&self) -> String {
        table(self.0.iter().map(|(name, value)| {
            let hidden = names_a_secret(name);
            (name, if hidden { HIDDEN.to_owned() } else { redact_url(value).into_owned() })
        }))
    }

    /// A pair that cannot be split cannot be told from a password either.
    fn show_text(_text: &str) -> String {
        HIDDEN.to_owned()
    }

    fn over(self, default: &Self) -> Self {
        let mut merged = default.0.clone();
        merged.extend(self.0);
        Self(merged)
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Names and secret values, such as the headers that authenticate to a collector.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SecretMap(BTreeMap<String, Secret>);

impl Deref for SecretMap {
    type Target = BTreeMap<String, Secret>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Setting for SecretMap {
    const SECRET: bool = true;
    const FROM_FILE: bool = true;

    fn accepted() -> String {
        ACCEPTED.to_owned()
    }

    fn from_text(text: &str) -> Result<Self, Wrong> {
        from_variable(text).map(secret)
    }

    fn from_toml(raw: &Raw) -> Result<Self, Wrong> {
        from_table(raw).map(secret)
    }

    fn show(&self) -> String {
        table(self.0.keys().map(|name| (name, HIDDEN.to_owned())))
    }

    fn show_text(_text: &str) -> String {
        HIDDEN.to_owned()
    }

    fn show_toml(_raw: &Raw) -> String {
        HIDDEN.to_owned()
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

const ACCEPTED: &str = "is a table of texts (in the environment: name:value,name=value)";

fn secret(pairs: Vec<(String, String)>) -> SecretMap {
    SecretMap(pairs.into_iter().map(|(name, value)| (name, Secret::new(value))).collect())
}

fn from_variable(text: &str) -> Result<Vec<(String, String)>, Wrong> {
    split_map(text).map_err(|pair| Wrong::form().because(format!("pair {pair} is not name:value")))
}

fn from_table(raw: &Raw) -> Result<Vec<(String, String)>, Wrong> {
    let Raw::Table(entries) = raw else {
        return Err(Wrong::type_of(raw));
    };
    entries
        .iter()
        .map(|(name, value)| match value {
            Raw::Text(text) => Ok((name.clone(), text.clone())),
            other => {
                let detail = format!("{} is {}, not a text", quote(name), other.kind());
                Err(Wrong::form().because(detail))
            }
        })
        .collect()
}

fn table<'a>(entries: impl Iterator<Item = (&'a String, String)>) -> String {
    let pairs: Vec<String> =
        entries.map(|(name, shown)| format!("{} = {}", quote(name), quote(&shown))).collect();
    if pairs.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", pairs.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_from_the_file_join_the_defaults_and_win() {
        let default = Params::of(&[("parseTime", "true"), ("timeout", "30s")]);
        let given = Params::of(&[("timeout", "5s"), ("tls", "true")]);
        let want = Params::of(&[("parseTime", "true"), ("timeout", "5s"), ("tls", "true")]);
        assert_eq!(given.over(&default), want);
    }

    #[test]
    fn secret_values_are_not_shown() {
        let params = Params::of(&[("password", "hunter2"), ("timeout", "5s")]);
        assert_eq!(params.show(), r#"{ "password" = "***", "timeout" = "5s" }"#);
        let headers = SecretMap::from_text("Authorization:hunter2").expect("one pair");
        assert!(!format!("{headers:?}{}{params:?}", headers.show()).contains("hunter2"));
        assert_eq!(headers["Authorization"].expose(), "hunter2");
    }

    #[test]
    fn a_table_of_something_else_is_refused() {
        let raw = Raw::Table(vec![("a".to_owned(), Raw::Whole(1))]);
        assert!(
            Params::from_toml(&raw).is_err_and(|w| w.detail.is_some_and(|d| d.contains("\"a\"")))
        );
    }
}
