//! Files that every server has: what a request costs it, and how long it takes.

use std::time::Duration;

use dipylon_testkit::measure::files::{FILES, upstream};
use dipylon_testkit::measure::in_turn::{Server, Turns};
use dipylon_testkit::measure::latency::{at_most, latencies};
use dipylon_testkit::measure::load::{CONNECTIONS, Load};
use dipylon_testkit::measure::nginx::Nginx;
use dipylon_testkit::measure::proxies::Asks;
use dipylon_testkit::measure::quartiles::Quartiles;
use tokio::runtime::Builder;

use crate::options::Options;
use crate::report::{Budget, Report, Table};

/// Rounds; each has every server twice.
const ROUNDS: usize = 16;
/// Requests to a server in a turn.
const REQUESTS: usize = 2_000;
const REQUESTS_OF_A_LARGE_FILE: usize = 10;
const REQUESTS_OF_A_SHORT_TURN: usize = 4;
/// Where time is measured: as many as `design.md` names.
const CONNECTIONS_OF_P99: usize = 32;
/// Each client's, in a round.
const REQUESTS_OF_P99: usize = 300;
/// What ninety-nine in a hundred requests may take more than nginx's.
const P99_MORE_MAX: Duration = Duration::from_millis(1);
/// What a file may cost beside nginx, in CPU time.
const TIMES_MAX: [f64; FILES.len()] = [1.0, 1.0, 1.0, 1.2, 1.5];
/// Longer than a run: what a list was found to be stays fresh.
const FRESH_FOR: (&str, &str) = ("DIPYLON_FRESH_FOR", "86400");

pub(crate) fn compare(options: &Options, report: &mut Report) -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let upstream = runtime.block_on(upstream());
    let asks = Asks { upstream: upstream.url(), checksums: "off".to_owned() };
    let mut running = Vec::new();
    for (number, program) in options.programs.iter().enumerate() {
        let mut program = program.clone();
        program.more.push((FRESH_FOR.0.to_owned(), FRESH_FOR.1.to_owned()));
        let proxy = program.start(&folder.path().join(number.to_string()), &asks);
        let mut client = Load::new(proxy.address, 1);
        for (_, path) in FILES {
            let mut body = Vec::new();
            client.body(path, &mut |bytes| body.extend_from_slice(bytes));
            if number == 0 {
                let file = folder.path().join("root").join(path.trim_start_matches('/'));
                let above = file.parent().expect("a file has a folder");
                std::fs::create_dir_all(above).map_err(|error| error.to_string())?;
                std::fs::write(file, body).map_err(|error| error.to_string())?;
            }
        }
        running.push((program.name, proxy));
    }
    let nginx = Nginx::start(folder.path()).ok_or("no nginx")?;
    let proxies = running.iter().map(|(name, proxy)| Server {
        name: name.clone(),
        pid: proxy.pid(),
        address: proxy.address,
    });
    let rival = Server { name: "nginx".to_owned(), pid: nginx.pid(), address: nginx.address };
    let servers: Vec<_> = proxies.chain([rival]).collect();
    costs(options, &servers, report);
    times(options, &servers, report);
    Ok(())
}

/// CPU time of the server for each request.
fn costs(options: &Options, servers: &[Server], report: &mut Report) {
    let names = servers.iter().map(|server| server.name.clone()).collect();
    let mut table = Table::new("warm", "CPU time of the server for each request", "µs", names);
    table.is_logarithmic = true;
    for ((name, path), most) in FILES.into_iter().zip(TIMES_MAX) {
        let requests = match name {
            _ if !options.is_full => REQUESTS_OF_A_SHORT_TURN,
            large if large.ends_with("MB") => REQUESTS_OF_A_LARGE_FILE,
            _ => REQUESTS,
        };
        let (rounds, connections) = (if options.is_full { ROUNDS } else { 1 }, CONNECTIONS);
        let rounds = Turns { servers, path, connections, requests, rounds }.measure();
        let of =
            |side: usize| Quartiles::of(rounds.iter().map(|round| round[side].as_secs_f64() * 1e6));
        table.row(name, (0..servers.len()).map(|side| Some(of(side))).collect());
        let nginx = servers.len() - 1;
        let ratio = |round: &Vec<Duration>| round[0].as_secs_f64() / round[nginx].as_secs_f64();
        report.budgets.push(Budget {
            what: format!("warm {name}, CPU of the server, beside nginx"),
            measured: Quartiles::of(rounds.iter().map(ratio)),
            most,
            unit: "×",
        });
    }
    report.tables.push(table);
}

/// What ninety-nine in a hundred requests take at most.
fn times(options: &Options, servers: &[Server], report: &mut Report) {
    let names = servers.iter().map(|server| server.name.clone()).collect();
    let what = format!("p99 of a request, {CONNECTIONS_OF_P99} connections, by the clock");
    let mut table = Table::new("p99", &what, "ms", names);
    let (rounds, requests) =
        if options.is_full { (ROUNDS, REQUESTS_OF_P99) } else { (1, REQUESTS_OF_A_SHORT_TURN) };
    for (name, path) in FILES.into_iter().filter(|(name, _)| !name.ends_with("MB")) {
        let mut sides = vec![Vec::new(); servers.len()];
        for _ in 0..rounds {
            for (side, server) in sides.iter_mut().zip(servers) {
                let all = latencies(server.address, path, CONNECTIONS_OF_P99, requests);
                side.push(at_most(&all, 0.99).as_secs_f64() * 1e3);
            }
        }
        let more = sides[0].iter().zip(&sides[servers.len() - 1]).map(|(ours, nginx)| ours - nginx);
        report.budgets.push(Budget {
            what: format!("warm {name}, p99 with {CONNECTIONS_OF_P99} connections, over nginx's"),
            measured: Quartiles::of(more),
            most: P99_MORE_MAX.as_secs_f64() * 1e3,
            unit: "ms",
        });
        table.row(name, sides.into_iter().map(|side| Some(Quartiles::of(side))).collect());
    }
    report.tables.push(table);
}
