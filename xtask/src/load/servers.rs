//! The plans of what a load meets beside the servers of the stack: upstream, gateways, balancer, collector,
//! Prometheus with our rules.

use std::path::{Path, PathBuf};

use super::options::{Broken, Options};
use crate::stack::{self, Place, Plan, Probe, Start};

/// How often Prometheus asks the gateways, and goes through its rules. Alerts' windows are as in production.
const SCRAPE_SECS: u32 = 2;
const EVALUATE_SECS: u32 = 5;

/// One process on the place's first port.
fn single(place: &Place, program: PathBuf, args: Vec<String>, ready: &str) -> Plan {
    let process =
        Start { name: String::new(), port: place.ports[0], program, args, env: Vec::new() };
    let probes = vec![Probe::get(place.ports[0], ready)];
    Plan { processes: vec![process], probes, ..Plan::default() }
}

pub(super) fn upstream(
    place: &Place,
    program: &Path,
    tree: Option<&Path>,
    delay_ms: u128,
    broken: Option<Broken>,
) -> Plan {
    let mut args = vec![place.host(0), delay_ms.to_string()];
    match broken {
        Some(Broken::Errors) => args.push("errors".to_owned()),
        Some(Broken::Bytes) => args.push("bytes".to_owned()),
        Some(Broken::Lock) | None => {}
    }
    let mut plan = single(place, program.to_path_buf(), args, "/__counts");
    if let Some(tree) = tree {
        plan.processes[0].env.push(("DIPYLON_LOAD_TREE", tree.display().to_string()));
    }
    plan
}

/// What is the same for all gateways, beside the addresses of the servers. What a scenario wants comes after it, and
/// what a person gives last.
pub(super) fn gateway_settings(
    storage: &str,
    lock: &str,
    upstream: u16,
    collector: u16,
    options: &Options,
) -> Vec<(String, String)> {
    let lock = if options.broken == Some(Broken::Lock) { "memory" } else { lock };
    let upstream = format!("http://127.0.0.1:{upstream}");
    let collector = format!("http://127.0.0.1:{collector}");
    let ours = [
        ("ATHENS_STORAGE_TYPE", storage),
        ("ATHENS_SINGLE_FLIGHT_TYPE", lock),
        ("GOPROXY", &upstream),
        // Nobody vouches for modules that are made up.
        ("GOSUMDB", "off"),
        ("GO_BINARY_PATH", "no-go-command"),
        // As in production: what is measured is the gateway and not its log of every request.
        ("GO_ENV", "load"),
        ("ATHENS_LOG_LEVEL", "warning"),
        ("ATHENS_TRACE_EXPORTER", "otlp"),
        ("ATHENS_TRACE_EXPORTER_URL", &collector),
        ("DIPYLON_TRUSTED_PROXIES", "127.0.0.0/8"),
    ];
    ours.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

pub(super) fn gateway(place: &Place, program: &Path, settings: &[(String, String)]) -> Plan {
    let temporary = place.folder.join("tmp");
    let own = [
        ("ATHENS_PORT".to_owned(), place.host(0)),
        ("HOME".to_owned(), place.folder.display().to_string()),
        ("TMPDIR".to_owned(), temporary.display().to_string()),
    ];
    // `env -i` starts it with nothing of this shell's; the words are addresses and the stack's own
    // passwords, which are no secrets.
    let path = std::env::var("PATH").unwrap_or_default();
    let mut args = vec!["-i".to_owned(), format!("PATH={path}")];
    args.extend(own.iter().chain(settings).map(|(name, value)| format!("{name}={value}")));
    args.push(program.display().to_string());
    let plan = single(place, "env".into(), args, "/readyz");
    Plan { folders: vec![temporary], ..plan }
}

/// The balancer of `docker-compose.yml`, with its own configuration but for names, ports and folders.
///
/// # Errors
/// One line: a line that is to be replaced is not there.
pub(super) fn balancer_conf(
    shipped: &str,
    folder: &Path,
    listen: &str,
    gateways: &[u16],
) -> Result<String, String> {
    let folder = folder.display();
    let mut text = String::from("daemon off;\nmaster_process on;\nuser root;\n");
    let mut replaced = [false; 3];
    for line in shipped.lines() {
        let word = line.trim_start();
        if let Some(rest) = word.strip_prefix("server gateway-") {
            let options = rest.split_once(' ').map_or("", |(_, options)| options);
            if !replaced[0] {
                for port in gateways {
                    text += &format!("        server 127.0.0.1:{port} {options}\n");
                }
            }
            replaced[0] = true;
        } else if word.starts_with("listen ") {
            text += &format!("        listen {listen};\n");
            replaced[1] = true;
        } else if word.starts_with("pid ") {
            text += &format!("pid {folder}/nginx.pid;\n");
            replaced[2] = true;
        } else {
            text += line;
            text.push('\n');
            if word == "http {" {
                for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
                    text += &format!("    {kind}_temp_path {folder}/{kind};\n");
                }
            }
        }
    }
    match replaced {
        [true, true, true] => Ok(text),
        _ => Err("deploy/nginx.conf has no server gateway-…, no listen or no pid".to_owned()),
    }
}

pub(super) fn balancer(place: &Place, program: &Path, conf: &str) -> Plan {
    let file = place.folder.join("nginx.conf");
    let log = place.folder.join("error.log").display().to_string();
    let args = ["-e", &log, "-c", &file.display().to_string()].map(str::to_owned).into();
    let plan = single(place, program.to_path_buf(), args, "/balancer/healthz");
    Plan { files: vec![(file, conf.to_owned())], ..plan }
}

/// Takes traces over gRPC and writes them to `traces.jsonl`.
pub(super) fn collector(place: &Place, program: &Path) -> Plan {
    let (file, traces) = (place.folder.join("collector.yml"), place.folder.join("traces.jsonl"));
    let text = format!(
        "receivers:\n  otlp:\n    protocols:\n      grpc: {{endpoint: \"{}\"}}\n\
         processors:\n  batch: {{timeout: 200ms}}\n\
         exporters:\n  file: {{path: {}, flush_interval: 500ms}}\n\
         service:\n  telemetry: {{metrics: {{level: none}}}}\n  pipelines:\n    \
         traces: {{receivers: [otlp], processors: [batch], exporters: [file]}}\n",
        place.host(0),
        traces.display()
    );
    let args = vec!["--config".to_owned(), file.display().to_string()];
    let mut plan = single(place, program.to_path_buf(), args, "/");
    plan.files.push((file, text));
    plan.probes = vec![Probe::Connect { port: place.ports[0] }];
    plan
}

/// Prometheus with the rules that are shipped, and the gateways by their names.
pub(super) fn prometheus(place: &Place, program: &Path, rules: &Path, gateways: &[u16]) -> Plan {
    let (file, host, rules) = (place.folder.join("prometheus.yml"), place.host(0), rules.display());
    let mut text = format!(
        "global: {{scrape_interval: {SCRAPE_SECS}s, scrape_timeout: {SCRAPE_SECS}s, \
         evaluation_interval: {EVALUATE_SECS}s}}\n\
         rule_files: [\"{rules}/recording.yml\", \"{rules}/alerts.yml\"]\n\
         scrape_configs:\n- job_name: dipylon\n  static_configs:\n"
    );
    for (number, port) in gateways.iter().enumerate() {
        text += &format!(
            "  - {{targets: [\"127.0.0.1:{port}\"], labels: {{instance: gateway-{}}}}}\n",
            number + 1
        );
    }
    let args = [
        format!("--config.file={}", file.display()),
        format!("--storage.tsdb.path={}", place.folder.join("data").display()),
        format!("--web.listen-address={host}"),
        "--storage.tsdb.retention.size=512MB".to_owned(),
        "--log.level=warn".to_owned(),
    ];
    let plan = single(place, program.to_path_buf(), args.into(), "/-/ready");
    Plan { files: vec![(file, text)], ..plan }
}

/// A program of the stack, installed if it is not there.
///
/// # Errors
/// One line: it cannot be had.
pub(super) fn program(name: &str) -> Result<PathBuf, String> {
    Ok(stack::ensure(stack::component(name)?)?.program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_balancer_keeps_every_setting_but_names_ports_and_folders() {
        let shipped = crate::workspace_root().join("deploy/nginx.conf");
        let shipped = std::fs::read_to_string(shipped).unwrap();
        let conf = balancer_conf(&shipped, Path::new("/d"), "127.0.0.1:7", &[1, 2, 3]).unwrap();
        assert_eq!(conf.matches("server 127.0.0.1:").count(), 3, "{conf}");
        assert!(conf.contains("server 127.0.0.1:3 max_fails="), "{conf}");
        assert!(conf.contains("listen 127.0.0.1:7;") && !conf.contains("gateway-1:"));
        assert!(conf.contains("proxy_next_upstream error timeout"));
        assert!(balancer_conf("http {\n}\n", Path::new("/d"), "a", &[]).is_err());
    }
}
