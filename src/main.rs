//! `dipylon`: parses the command line, loads the configuration, runs the subcommand.

use std::process::ExitCode;
use std::time::Duration;

use dipylon::cli::{self, Command, Options, USAGE};
use dipylon::config::{Config, LoadArgs, Loaded, ProcessEnv};
use dipylon::explain::{self, Question};
use dipylon::serve;

#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[cfg(all(feature = "mimalloc", not(feature = "jemalloc")))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let command = match cli::parse(std::env::args_os().skip(1)) {
        Ok(command) => command,
        Err(mistake) => {
            eprint!("dipylon: {mistake}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let result = match command {
        Command::Help => {
            print!("{USAGE}");
            Ok(())
        }
        Command::Version => {
            print!("{}", dipylon::build_details());
            Ok(())
        }
        Command::Check(options) => load(options).and_then(|loaded| {
            print!("{}", loaded.effective.to_toml());
            install_tls()?;
            serve::check(&loaded.config, &ProcessEnv)
        }),
        Command::Healthcheck(options) => {
            load(options).and_then(|loaded| serve::healthcheck(&loaded.config))
        }
        Command::Serve(options) => load(options)
            .and_then(|loaded| run(&loaded.config, serve::serve(&loaded.config, &ProcessEnv))),
        Command::ExternalStorage(options) => external_storage(options),
        Command::Explain(options, question) => return explain(options, &question),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("dipylon: {reason}");
            ExitCode::FAILURE
        }
    }
}

/// Loads the configuration; warnings go to standard error, all errors at once.
fn load(options: Options) -> Result<Loaded, String> {
    let cwd = std::env::current_dir().map_err(|error| format!("no working directory: {error}"))?;
    let args = LoadArgs { config_file: options.config_file, cwd };
    let loaded = Config::load(args, &ProcessEnv)
        .map_err(|errors| format!("Could not load config file:\n{errors}"))?;
    for warning in &loaded.warnings {
        eprintln!("dipylon: warning: {warning}");
    }
    if loaded.file.is_none() {
        eprintln!("dipylon: no configuration file: running in dev mode with default settings");
    }
    Ok(loaded)
}

/// 0 where what is asked about can be had, 1 where it cannot, 2 where nobody could say.
fn explain(options: Options, question: &Question) -> ExitCode {
    match load(options).and_then(|loaded| explain::explain(&loaded.config, question)) {
        Ok(explained) => {
            print!("{}", explained.text);
            if explained.is_had { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(reason) => {
            eprintln!("dipylon: {reason}");
            ExitCode::from(2)
        }
    }
}

fn install_tls() -> Result<(), String> {
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| "another TLS provider is installed".to_owned())
}

/// Threads for storage calls, tokio's own default; each zip on its way in holds one more, so that misses
/// never take those of hits.
const HIT_THREADS: usize = 512;

/// How long the end of the program waits for work on blocking threads.
const LEFTOVER_WAIT_MAX: Duration = Duration::from_millis(500);

#[cfg(feature = "external")]
fn external_storage(options: Options) -> Result<(), String> {
    let listen = options.listen.clone();
    let Loaded { config, .. } = load(options)?;
    run(&config, serve::external_storage(&config, listen.as_deref(), &ProcessEnv))
}

#[cfg(not(feature = "external"))]
fn external_storage(_: Options) -> Result<(), String> {
    Err(dipylon::storage::not_built("external").to_string())
}

fn run(config: &Config, serving: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    install_tls()?;
    // Last to go: what is said until then is written.
    let _logs = serve::init_logs(config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(HIT_THREADS + config.go_get_workers as usize)
        .build()
        .map_err(|error| format!("cannot start the runtime: {error}"))?;
    let result = runtime.block_on(serving);
    // Tasks that still run are dropped, and with them the directories of this process. Blocking work
    // that is left (a hash, a file) is not waited for any longer.
    runtime.shutdown_timeout(LEFTOVER_WAIT_MAX);
    result
}
