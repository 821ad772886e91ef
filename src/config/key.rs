//! What a key is, and the macro that declares a table of them.

use std::collections::BTreeSet;
use std::time::Duration;

use super::loader::Loader;
use super::values::{MAX_SECONDS, Setting, UrlText, WebUrl};

/// A condition on a value that its type alone does not express.
pub(super) struct Check<T> {
    /// What is accepted, as the end of a sentence; it takes the place of the type's own words.
    pub(super) accepted: String,
    /// Whether a value fulfils it.
    pub(super) holds: Box<dyn Fn(&T) -> bool>,
}

impl<T> Check<T> {
    fn new(accepted: String, holds: impl Fn(&T) -> bool + 'static) -> Self {
        Self { accepted, holds: Box::new(holds) }
    }
}

/// A count within bounds, both included.
pub(super) fn count(least: u32, most: u32) -> Check<u32> {
    let accepted = format!("is a whole number from {least} to {most}");
    Check::new(accepted, move |number| (least..=most).contains(number))
}

/// A number of bytes within bounds, both included.
pub(super) fn bytes(least: u64, most: u64) -> Check<u64> {
    let accepted = format!("is a number of bytes from {least} to {most}");
    Check::new(accepted, move |number| (least..=most).contains(number))
}

/// A TCP port of another server.
pub(super) fn port() -> Check<u16> {
    Check::new("is a port from 1 to 65535".to_owned(), |port| *port > 0)
}

/// At least one second.
pub(super) fn positive_seconds() -> Check<Duration> {
    let accepted = format!("is a whole number of seconds from 1 to {MAX_SECONDS}");
    Check::new(accepted, |duration: &Duration| !duration.is_zero())
}

/// A number of seconds within bounds, both included.
pub(super) fn seconds_within((least, most): (u64, u64)) -> Check<Duration> {
    let accepted = format!("is a whole number of seconds from {least} to {most}");
    Check::new(accepted, move |time: &Duration| (least..=most).contains(&time.as_secs()))
}

/// A share from nothing to all.
pub(super) fn fraction() -> Check<f64> {
    Check::new("is a number from 0 to 1".to_owned(), |share| (0.0..=1.0).contains(share))
}

/// A URL with one of these schemes, or nothing.
pub(super) fn scheme(schemes: &'static [&'static str]) -> Check<UrlText> {
    let accepted = format!("is a URL that begins with {}", schemes.join(" or "));
    Check::new(accepted, move |url: &UrlText| {
        let text = url.as_str();
        url.is_empty() || schemes.iter().any(|s| text.len() > s.len() && text.starts_with(s))
    })
}

/// An `http` or `https` URL, or nothing.
pub(super) fn web_url() -> Check<UrlText> {
    Check::new("is a URL that begins with http:// or https://".to_owned(), |url: &UrlText| {
        url.is_empty() || WebUrl::parse(url.as_str()).is_some()
    })
}

/// How a set but empty environment variable counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EmptyVariable {
    /// As any other value: it is the empty text.
    Counts,
    /// A variable that comes later and is not empty wins over it.
    LastResort,
    /// As one that is not set.
    Ignored,
}

/// One key: its names, its default and its conditions.
pub(super) struct Key<T> {
    pub(super) name: &'static str,
    pub(super) aliases: &'static [&'static str],
    pub(super) variables: &'static [&'static str],
    pub(super) default: T,
    pub(super) checks: Vec<Check<T>>,
    pub(super) required: bool,
    pub(super) empty_variable: EmptyVariable,
    pub(super) empty_is_default: bool,
    pub(super) doc: String,
}

impl<T: Setting> Key<T> {
    /// A key without conditions.
    pub(super) fn new(
        name: &'static str,
        variables: &'static [&'static str],
        default: T,
        doc: &str,
    ) -> Self {
        let doc = doc.split_whitespace().collect::<Vec<_>>().join(" ");
        Self {
            name,
            aliases: &[],
            variables,
            default,
            checks: Vec::new(),
            required: false,
            empty_variable: EmptyVariable::Counts,
            empty_is_default: false,
            doc,
        }
    }

    /// Adds a condition.
    pub(super) fn check(mut self, check: Check<T>) -> Self {
        self.checks.push(check);
        self
    }

    /// The value must not be empty (checked only if the key's table is in use).
    pub(super) fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// Another name in the file for the same thing.
    pub(super) fn alias(mut self, names: &'static [&'static str]) -> Self {
        self.aliases = names;
        self
    }

    /// Chooses what a set but empty variable means.
    pub(super) fn empty_variable(mut self, meaning: EmptyVariable) -> Self {
        self.empty_variable = meaning;
        self
    }

    /// The empty text means the default.
    pub(super) fn empty_is_default(mut self) -> Self {
        self.empty_is_default = true;
        self
    }

    /// What is accepted, as the end of a sentence.
    pub(super) fn accepted(&self) -> String {
        match self.checks.as_slice() {
            [] => T::accepted(),
            checks => checks.iter().map(|c| c.accepted.as_str()).collect::<Vec<_>>().join(" and "),
        }
    }
}

/// What is known of a key without any configuration: the source of the reference page, of the
/// search for unknown names, and of the tests that walk all keys.
#[derive(Debug, Clone)]
pub struct KeyInfo {
    /// The path in the file, such as `Storage.Disk.RootPath`.
    pub path: String,
    /// Other paths in the file for the same thing.
    pub aliases: Vec<String>,
    /// The environment variables in the order in which they win; the long name comes first.
    pub variables: Vec<String>,
    /// The variable that the reference page shows.
    pub variable: String,
    /// The `…_FILE` variables that name a file with the value; empty for keys without credentials.
    pub file_variables: Vec<String>,
    /// The default as TOML.
    pub default: String,
    /// The value is never shown.
    pub secret: bool,
    /// The value must not be empty where its table is in use.
    pub required: bool,
    /// What is accepted, as the end of a sentence.
    pub accepted: String,
    /// What the key means.
    pub doc: String,
}

/// A table of the file: its path, and what it is for.
#[derive(Debug, Clone)]
pub struct TableInfo {
    /// The path in the file; empty for the top level.
    pub path: String,
    /// What the table is for.
    pub doc: String,
    /// Its own keys, those of tables within it excluded.
    pub keys: Vec<KeyInfo>,
}

/// Every table with its keys, in the order of declaration.
#[derive(Debug, Clone, Default)]
pub struct Catalogue {
    /// The tables; the top level is the first.
    pub tables: Vec<TableInfo>,
}

impl Catalogue {
    /// Every key of every table.
    pub fn keys(&self) -> impl Iterator<Item = &KeyInfo> {
        self.tables.iter().flat_map(|table| &table.keys)
    }

    /// Every variable that is read, `…_FILE` variables included.
    pub(super) fn variables(&self) -> BTreeSet<&str> {
        self.keys()
            .flat_map(|key| key.variables.iter().chain(&key.file_variables))
            .map(String::as_str)
            .collect()
    }
}

/// A struct that is a table of the file.
pub(super) trait Table: Sized {
    /// Reads every key, declares it on the way.
    fn load_table(loader: &mut Loader<'_>) -> Self;
}

/// Declares a table: the struct with its fields, and how each is loaded. A line reads
/// `field: Type = "Key", ["VARIABLE", …], default, condition(…), …;` and its doc comment is both
/// the field's documentation and the key's text on the reference page.
macro_rules! table {
    (
        $(#[doc = $table_doc:literal])+
        pub struct $name:ident {
            $(
                $(#[doc = $doc:literal])+
                $field:ident: $type:ty = $key:literal, $variables:expr, $default:expr
                    $(, $rule:ident ( $($argument:expr),* ) )*;
            )*
            $( tables {
                $( $(#[doc = $sub_doc:literal])+ $sub:ident: $sub_type:ty = $sub_key:literal; )+
            } )?
        }
    ) => {
        $(#[doc = $table_doc])+
        #[derive(Debug, Clone)]
        pub struct $name {
            $( $(#[doc = $doc])+ pub $field: $type, )*
            $( $( $(#[doc = $sub_doc])+ pub $sub: $sub_type, )+ )?
        }

        impl $crate::config::key::Table for $name {
            fn load_table(loader: &mut $crate::config::loader::Loader<'_>) -> Self {
                loader.describe(concat!($($table_doc, "\n"),+));
                Self {
                    $( $field: loader.key(
                        $crate::config::key::Key::<$type>::new(
                            $key, &$variables, $default, concat!($($doc, "\n"),+),
                        ) $( .$rule($($argument),*) )*
                    ), )*
                    $( $( $sub: loader.table::<$sub_type>($sub_key), )+ )?
                }
            }
        }
    };
}
pub(super) use table;
