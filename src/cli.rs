//! The command line: Athens's two flags, with one dash or two, and subcommands.

use std::ffi::OsString;
use std::path::PathBuf;

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Serve; also without any subcommand.
    Serve(Options),
    /// Validate the configuration and print it.
    Check(Options),
    /// Ask a running gateway whether it is alive.
    Healthcheck(Options),
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
}

/// The usage, for `-h` and for mistakes.
pub const USAGE: &str = "\
usage: dipylon [serve | check | healthcheck] [-config_file PATH]
       dipylon -version

  serve         run the gateway (the default)
  check         validate the configuration and print each value with its origin
  healthcheck   ask the gateway of this configuration whether it is alive
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
    let mut subcommand = None;
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
            Some(_) => return Err(format!("unknown flag {text:?}")),
            None if subcommand.is_some() => return Err(format!("unexpected argument {text:?}")),
            None => subcommand = Some(text),
        }
    }
    match subcommand.as_deref() {
        None | Some("serve") => Ok(Command::Serve(options)),
        Some("check") => Ok(Command::Check(options)),
        Some("healthcheck") => Ok(Command::Healthcheck(options)),
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
        let with = |path: &str| Options { config_file: Some(path.into()) };
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
    fn a_mistake_is_named() {
        assert!(parsed(&["-config"]).unwrap_err().contains("\"-config\""));
        assert!(parsed(&["srve"]).unwrap_err().contains("\"srve\""));
        assert!(parsed(&["serve", "now"]).unwrap_err().contains("\"now\""));
        assert!(parsed(&["-config_file"]).is_err());
    }
}
