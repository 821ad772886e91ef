//! The command line: Athens's two flags, with one dash or two, and subcommands.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::explain::Question;

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Serve; also without any subcommand.
    Serve(Options),
    /// Validate the configuration and print it.
    Check(Options),
    /// Ask a running gateway whether it is alive.
    Healthcheck(Options),
    /// Ask a running gateway what it knows of a module or a version.
    Explain(Options, Question),
    /// Serve the configured store over Athens's external storage protocol.
    ExternalStorage(Options),
    /// Print the version.
    Version,
    /// Print the usage.
    Help,
}

/// What every subcommand takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `-config_file`
    pub config_file: Option<PathBuf>,
    /// `-listen`, of `external-storage` alone
    pub listen: Option<String>,
}

/// The usage, for `-h` and for mistakes.
pub const USAGE: &str = "\
usage: dipylon [serve | check | healthcheck] [-config_file PATH]
       dipylon explain MODULE[@VERSION] [-url URL] [-config_file PATH]
       dipylon external-storage [-listen HOST:PORT] [-config_file PATH]
       dipylon -version

  serve         run the gateway (the default)
  check         validate the configuration and print each value with its origin
  healthcheck   ask the gateway of this configuration whether it is alive
  explain       ask the gateway of this configuration, or that at -url, where
                something is, why, and what would happen on a request now; its
                exit code is 0 where it can be had, 1 where it cannot, and 2
                where the gateway could not be asked
  external-storage
                serve the configured StorageType over Athens's external storage
                protocol, for Athens and for other gateways
  -listen       where, in place of Port: HOST:PORT, or :PORT for every address
  -config_file  the configuration file; without it athens.toml in the working
                directory, if it is there
  -version      print the version
";

/// Parses the arguments after the program's name.
///
/// # Errors
/// One line that names the argument.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, String> {
    let mut arguments = arguments.into_iter();
    let mut options = Options::default();
    let (mut subcommand, mut what, mut url) = (None, None, None);
    while let Some(argument) = arguments.next() {
        let text = argument.to_string_lossy().into_owned();
        let flag = text.strip_prefix("--").or_else(|| text.strip_prefix('-'));
        match flag.map(|flag| flag.split_once('=').map_or((flag, None), |(f, v)| (f, Some(v)))) {
            Some(("version", None)) => return Ok(Command::Version),
            Some(("h" | "help", None)) => return Ok(Command::Help),
            Some(("config_file", value)) => {
                let path = value.map(OsString::from).or_else(|| arguments.next());
                let path = path.ok_or("-config_file needs a path")?;
                options.config_file = (!path.is_empty()).then(|| path.into());
            }
            Some(("listen", value)) => {
                let address = value.map(str::to_owned);
                let next = || arguments.next().map(|text| text.to_string_lossy().into_owned());
                let address = address.or_else(next).filter(|address| !address.is_empty());
                options.listen = Some(address.ok_or("-listen needs HOST:PORT")?);
            }
            Some(("url", value)) => {
                let next = || arguments.next().map(|text| text.to_string_lossy().into_owned());
                let given = value.map(str::to_owned).or_else(next).filter(|url| !url.is_empty());
                url = Some(given.ok_or("-url needs the gateway's URL: http://HOST:PORT")?);
            }
            Some(_) => return Err(format!("unknown flag {text:?}")),
            None if subcommand.as_deref() == Some("explain") && what.is_none() => what = Some(text),
            None if subcommand.is_some() => return Err(format!("unexpected argument {text:?}")),
            None => subcommand = Some(text),
        }
    }
    if options.listen.is_some() && subcommand.as_deref() != Some("external-storage") {
        return Err("-listen is a flag of external-storage alone; elsewhere it is Port".to_owned());
    }
    if url.is_some() && subcommand.as_deref() != Some("explain") {
        return Err("-url is a flag of explain alone".to_owned());
    }
    match subcommand.as_deref() {
        Some("explain") => {
            let what = what.ok_or("explain needs a module: dipylon explain MODULE[@VERSION]")?;
            Ok(Command::Explain(options, Question { what, url }))
        }
        None | Some("serve") => Ok(Command::Serve(options)),
        Some("check") => Ok(Command::Check(options)),
        Some("healthcheck") => Ok(Command::Healthcheck(options)),
        Some("external-storage") => Ok(Command::ExternalStorage(options)),
        Some(other) => Err(format!("unknown subcommand {other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Command, String> {
        parse(arguments.iter().map(OsString::from))
    }

    #[test]
    fn athens_flags_work_with_one_dash_and_two() {
        let with = |path: &str| Options { config_file: Some(path.into()), listen: None };
        assert_eq!(parsed(&[]), Ok(Command::Serve(Options::default())));
        assert_eq!(parsed(&["-config_file", "a.toml"]), Ok(Command::Serve(with("a.toml"))));
        assert_eq!(parsed(&["--config_file=a.toml"]), Ok(Command::Serve(with("a.toml"))));
        assert_eq!(parsed(&["check", "-config_file=a"]), Ok(Command::Check(with("a"))));
        assert_eq!(parsed(&["-config_file", ""]), Ok(Command::Serve(Options::default())));
        assert_eq!(parsed(&["-version"]), Ok(Command::Version));
        assert_eq!(parsed(&["--version"]), Ok(Command::Version));
        assert_eq!(parsed(&["-h"]), Ok(Command::Help));
    }

    #[test]
    fn external_storage_may_listen_elsewhere() {
        let at = |listen: &str| {
            let options = Options { config_file: None, listen: Some(listen.to_owned()) };
            Ok(Command::ExternalStorage(options))
        };
        assert_eq!(parsed(&["external-storage", "-listen", ":3200"]), at(":3200"));
        assert_eq!(parsed(&["external-storage", "--listen=127.0.0.1:1"]), at("127.0.0.1:1"));
        assert_eq!(parsed(&["external-storage"]), Ok(Command::ExternalStorage(Options::default())));
        assert!(parsed(&["serve", "-listen", ":3200"]).unwrap_err().contains("external-storage"));
        assert!(parsed(&["external-storage", "-listen"]).is_err());
    }

    #[test]
    fn explain_takes_what_to_explain_and_where_to_ask() {
        let asks = |what: &str, url: Option<&str>| {
            let question = Question { what: what.to_owned(), url: url.map(str::to_owned) };
            Ok(Command::Explain(Options::default(), question))
        };
        assert_eq!(parsed(&["explain", "a.b/c@v1.0.0"]), asks("a.b/c@v1.0.0", None));
        let url = "http://localhost:3000";
        assert_eq!(parsed(&["explain", "a.b/c", "--url", url]), asks("a.b/c", Some(url)));
        assert_eq!(
            parsed(&["explain", "-url=http://localhost:3000", "a.b/c"]),
            asks("a.b/c", Some(url))
        );
        assert!(parsed(&["explain"]).unwrap_err().contains("MODULE[@VERSION]"));
        assert!(parsed(&["explain", "a.b/c", "a.b/d"]).unwrap_err().contains("a.b/d"));
        assert!(parsed(&["explain", "a.b/c", "-url"]).is_err());
        assert!(parsed(&["serve", "-url", url]).unwrap_err().contains("explain"));
    }

    #[test]
    fn a_mistake_is_named() {
        assert!(parsed(&["-config"]).unwrap_err().contains("\"-config\""));
        assert!(parsed(&["srve"]).unwrap_err().contains("\"srve\""));
        assert!(parsed(&["serve", "now"]).unwrap_err().contains("\"now\""));
        assert!(parsed(&["-config_file"]).is_err());
    }
}
