//! A gateway's life: open, listen, serve, drain.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dipylon_middleware::telemetry::Telemetry;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{timeout, timeout_at};

use crate::adapters::Adapters;
use crate::app::App;
use crate::config::{self, Config, Env};
use crate::credentials;
use crate::http::{Bodies, Listener, Server, ServerConfig, Tls, serve_profiles};
use crate::policy::reload::Reload;
use crate::telemetry::logs::{self, Form, Logs};
use crate::telemetry::traces::{self, TraceConfig, Traces};
use tracing::level_filters::LevelFilter;

#[cfg(feature = "external")]
mod external;

#[cfg(feature = "external")]
pub use external::external_storage;

/// How long taking leave of the lock service may take.
const LOCK_CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Logs as the configuration says, from here on.
///
/// # Errors
/// When logging is set up already.
pub fn init_logs(config: &Config) -> Result<Logs, String> {
    let form = match (config.cloud_runtime, config.log_format) {
        (config::CloudRuntime::Gcp, _) => Form::Gcp,
        (_, config::LogFormat::Json) => Form::Json,
        _ => Form::Plain,
    };
    let level = match config.log_level {
        config::LogLevel::Debug => LevelFilter::DEBUG,
        config::LogLevel::Info => LevelFilter::INFO,
        config::LogLevel::Warn => LevelFilter::WARN,
        config::LogLevel::Error => LevelFilter::ERROR,
    };
    logs::init(form, level)
}

/// Serves until SIGINT or SIGTERM, then drains within `ShutdownTimeout`. SIGHUP reads the download-mode
/// file again.
///
/// # Errors
/// One line: what could not be opened, or that the drain took too long.
pub async fn serve(config: &Config, env: &(dyn Env + Sync)) -> Result<(), String> {
    let (stop, hangups) = (signals()?, hangups()?);
    let (telemetry, traces) = telemetry(config, env)?;
    // Before anything runs that looks for credentials in the home directory.
    let home = env.get("HOME").map(std::path::PathBuf::from);
    credentials::install(config, home.as_deref())?;
    let adapters =
        Adapters::open(config, env, &telemetry).await.map_err(|error| error.to_string())?;
    if let Err(error) = adapters.check_upstream() {
        tracing::warn!(%error, "only what is stored can be served");
    }
    let changes = adapters.reload.as_ref().map(|reload| reload.changes());
    let reloads = tokio::spawn(reload(adapters.reload.clone(), hangups));
    let mut app = App::new(config, adapters, telemetry);
    let listener = listen(config).await?;
    let profiles = profiles(config).await?;
    let tls = tls_config(config)?;
    tracing::info!(address = listener.address(), tls = tls.is_some(), "Starting application");
    app.resume();
    let follows = changes.map(|changes| tokio::spawn(app.follow(changes)));
    let server_config = ServerConfig { connections: app.connections.clone(), tls };
    let server = Server::new(server_config, app.edge.clone(), &app.telemetry)
        .keeping_bodies(Bodies::OfPosts);
    let serving = server.run(listener, stop.wait());
    let drained = run(serving, &stop, app.tasks.clone(), config.shutdown_timeout).await;
    reloads.abort();
    if let Some(follows) = follows {
        follows.abort();
    }
    app.leave().await;
    if let (Err(_), Some(go_runs)) = (&drained, &app.go_runs)
        && !go_runs.end().await
    {
        tracing::error!("go commands or their temporary directories are left behind");
    }
    if let Some(lock) = &app.lock
        && timeout(LOCK_CLOSE_TIMEOUT, lock.close()).await.is_err()
    {
        tracing::warn!(kind = lock.kind(), "the lock service did not take leave: leases lapse");
    }
    if let Some(profiles) = profiles {
        profiles.abort();
    }
    traces.flush().await;
    drained
}

/// Runs the server; from the signal on, the requests and the background work have the timeout.
async fn run(
    serving: impl Future<Output = ()>,
    stop: &Stop,
    tasks: tokio_util::task::TaskTracker,
    shutdown_timeout: Duration,
) -> Result<(), String> {
    let mut serving = std::pin::pin!(serving);
    // With no connection open the server may end at the signal itself; it must not be asked again.
    let ended = tokio::select! {
        () = &mut serving => true,
        () = stop.wait() => false,
    };
    tracing::info!("Shutting down server");
    let deadline = tokio::time::Instant::now() + shutdown_timeout;
    // At once, however long the requests take: what waits on disk is not begun any more. Requests that are under way
    // may still spawn tasks.
    tasks.close();
    let drain = async {
        if !ended {
            serving.await;
        }
        tasks.wait().await;
    };
    timeout_at(deadline, drain).await.map_err(|_| {
        format!(
            "Could not shut down server: requests or fetches were still running after \
             ShutdownTimeout ({} s)",
            shutdown_timeout.as_secs()
        )
    })
}

/// Metrics, and traces as the keys say, or the standard variables where they say nothing.
fn telemetry(config: &Config, env: &dyn Env) -> Result<(Telemetry, Traces), String> {
    // Where nobody can read them, metrics are not counted.
    let is_read = config.stats_exporter == config::StatsExporter::Prometheus;
    let mut telemetry = match is_read {
        true => Telemetry::new().and_then(Telemetry::with_process),
        false => Telemetry::silent(),
    };
    if is_read && config.dipylon.athens_metrics {
        telemetry = telemetry.and_then(Telemetry::with_athens);
    }
    let telemetry = logs::log_of(telemetry.map_err(|error| error.to_string())?);
    let variable = |name: &str| env.get(name).and_then(|value| value.into_string().ok());
    let traces = traces::init(&trace_config(config), &variable, &telemetry).map_err(|error| {
        format!("traces cannot be sent (TraceExporterURL, TraceHeaders): {error}")
    })?;
    Ok((telemetry.traced(traces.tracer()), traces))
}

fn trace_config(config: &Config) -> TraceConfig {
    // In development everything is kept, as in Athens. The default is no word of the operator's.
    let fraction = config.trace_sampling_fraction;
    let is_said = config.go_env != "development" && fraction < 1.0;
    TraceConfig {
        export: config.trace_exporter == config::TraceExporter::Otlp,
        url: config.trace_exporter_url.as_str().to_owned(),
        http: config.dipylon.otlp_protocol == config::OtlpProtocol::Http,
        headers: config
            .dipylon
            .trace_headers
            .iter()
            .map(|(name, value)| (name.clone(), value.expose().to_owned()))
            .collect(),
        fraction: is_said.then_some(fraction),
        keeps_notable: config.dipylon.trace_keep_notable,
        slow: config.dipylon.trace_slow.if_any(),
    }
}

async fn listen(config: &Config) -> Result<Listener, String> {
    if let Some(path) = &config.unix_socket {
        return Listener::unix(path).map_err(|error| {
            format!("Could not listen on Unix domain socket {:?}: {error}", path.display())
        });
    }
    tcp(&config.port.to_string()).await
}

async fn tcp(address: &str) -> Result<Listener, String> {
    Listener::tcp(address)
        .await
        .map_err(|error| format!("Could not listen on TCP port {address:?}: {error}"))
}

async fn profiles(config: &Config) -> Result<Option<tokio::task::JoinHandle<()>>, String> {
    if !config.enable_pprof {
        return Ok(None);
    }
    let listener = tcp(&config.pprof_port.to_string()).await?;
    tracing::info!(address = listener.address(), "profiles are served, without authentication");
    Ok(Some(tokio::spawn(async {
        if let Err(error) = serve_profiles(listener).await {
            tracing::error!(%error, "pprof server failed");
        }
    })))
}

/// Resolves, for everybody who waits, at the first SIGINT or SIGTERM.
struct Stop(tokio_util::sync::CancellationToken);

impl Stop {
    fn wait(&self) -> impl Future<Output = ()> + use<> {
        self.0.clone().cancelled_owned()
    }
}

fn catch(kind: SignalKind) -> Result<Signal, String> {
    signal(kind).map_err(|error| format!("cannot catch signals: {error}"))
}

/// From here on SIGHUP does not end the process, whether or not there is a file to read again.
fn hangups() -> Result<Signal, String> {
    catch(SignalKind::hangup())
}

/// Follows the download-mode file; without one it only says so at each SIGHUP.
async fn reload(file: Option<Arc<Reload>>, mut hangups: Signal) {
    match file {
        Some(file) => file.run(hangups).await,
        None => {
            while hangups.recv().await.is_some() {
                tracing::info!(
                    "SIGHUP: DownloadMode names no file, so there is nothing to read again"
                );
            }
        }
    }
}

fn signals() -> Result<Stop, String> {
    let (mut interrupt, mut terminate) =
        (catch(SignalKind::interrupt())?, catch(SignalKind::terminate())?);
    let token = tokio_util::sync::CancellationToken::new();
    let stop = Stop(token.clone());
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        token.cancel();
    });
    Ok(stop)
}

fn tls_config(config: &Config) -> Result<Option<Tls>, String> {
    let (Some(certificate), Some(key)) = (&config.tls_cert_file, &config.tls_key_file) else {
        return Ok(None);
    };
    Tls::open(certificate, key).map(Some).map_err(|error| format!("TLS is refused: {error}"))
}

/// Validates what the configuration names, beyond the configuration itself: files, upstreams, kinds.
///
/// # Errors
/// What would keep the program from starting.
pub fn check(config: &Config, env: &(dyn Env + Sync)) -> Result<(), String> {
    tls_config(config)?;
    credentials::check(config)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start the runtime: {error}"))?;
    runtime.block_on(Adapters::check(config, env)).map_err(|error| error.to_string())
}

/// Asks the gateway that this configuration describes whether it is alive: one plain HTTP request, or
/// a connection where it speaks TLS.
///
/// # Errors
/// What it answered, or why it could not be asked.
pub fn healthcheck(config: &Config) -> Result<(), String> {
    use std::io::{Read as _, Write as _};
    /// The longest silence of the answer to a health check.
    const PATIENCE: Duration = Duration::from_secs(5);
    let prefix = config.path_prefix.as_str().trim_end_matches('/');
    let request =
        format!("GET {prefix}/healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let mut answer = String::new();
    let io = |error: std::io::Error| error.to_string();
    if let Some(path) = &config.unix_socket {
        let mut stream = unix_stream(path)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(io)?;
        stream.write_all(request.as_bytes()).map_err(io)?;
        stream.take(1024).read_to_string(&mut answer).map_err(io)?;
    } else {
        let address = config.port.to_string();
        let local = if address.starts_with(':') { format!("localhost{address}") } else { address };
        let mut stream = std::net::TcpStream::connect(&local)
            .map_err(|error| format!("cannot connect to {local}: {error}"))?;
        if config.tls_cert_file.is_some() {
            return Ok(());
        }
        stream.set_read_timeout(Some(PATIENCE)).map_err(io)?;
        stream.write_all(request.as_bytes()).map_err(io)?;
        stream.take(1024).read_to_string(&mut answer).map_err(io)?;
    }
    let status = answer.lines().next().unwrap_or_default();
    if status.starts_with("HTTP/1.1 200") { Ok(()) } else { Err(format!("it answered {status:?}")) }
}

fn unix_stream(path: &Path) -> Result<std::os::unix::net::UnixStream, String> {
    std::os::unix::net::UnixStream::connect(path)
        .map_err(|error| format!("cannot connect to {}: {error}", path.display()))
}
