//! The modules of a real program through a proxy that has none of them yet: eight clients, the upstream on loopback,
//! as it is and with 50 ms before every answer. Each round has every server once, and each proxy begins with an empty
//! store.

use std::path::Path;
use std::time::{Duration, Instant};

use dipylon_testkit::measure::crawl::{CLIENTS, compare as compare_bytes, crawl};
use dipylon_testkit::measure::graph::Graph;
use dipylon_testkit::measure::nginx::Nginx;
use dipylon_testkit::measure::proxies::{Asks, Kind, Program};
use dipylon_testkit::measure::quartiles::Quartiles;
use dipylon_testkit::measure::used::in_all;
use dipylon_testkit::services::line::Line;
use serde_json::json;

use crate::options::Options;
use crate::report::{Budget, Report, Table};

/// What a cold crawl may take beside one that goes straight to the upstream.
const TIMES_MAX: f64 = 2.5;
/// The same where every answer of the upstream comes 50 ms later.
const TIMES_MAX_LATE: f64 = 1.1;
const LATE_MS: u32 = 50;
/// Others may take a minute each.
const ROUNDS_OF_OTHERS: usize = 3;
/// Modules of a graph that is made up.
const FEW_MODULES: usize = 12;
/// What a proxy does behind its last answer is over when it uses no CPU for so long.
const IDLE: Duration = Duration::from_millis(300);
/// The longest that is waited for that.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// What a checksum database says of itself is shorter.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;
const IDLE_PAUSE: Duration = Duration::from_millis(20);

/// One crawl: seconds until the last byte, and CPU seconds of the server until it is idle.
#[derive(Clone, Copy)]
struct Ran {
    wall: f64,
    cpu: f64,
}

/// Where crawls go.
struct Upstream {
    /// Where nothing stands between.
    nginx: Nginx,
    /// Through toxiproxy, where there is one.
    late: Option<Line>,
    /// With a checksum database behind it, where one can be reached.
    with_sums: Option<(Nginx, String)>,
}

pub(crate) fn compare(options: &Options, report: &mut Report) -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let graph = if options.is_full {
        Graph::fetched(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("graph"))?
    } else {
        Graph::made_up(&folder.path().join("graph"), FEW_MODULES)
    };
    let upstream = upstream(options, &graph, folder.path())?;
    compare_bytes(&graph, upstream.nginx.address);
    let crawls = Crawls { graph: &graph, folder: folder.path() };
    // What is done once, such as the checksum database's answers that come from afar, is over after this; and every
    // byte was looked at.
    crawls.proven(&options.programs[0], &asks(&upstream.nginx));
    if let Some((nginx, sums)) = &upstream.with_sums {
        let asks = Asks { checksums: sums.clone(), ..asks(nginx) };
        crawls.through(&options.programs[0], &asks);
    }
    let mut all = All::new(options, &upstream);
    for round in 0..options.crawl_rounds {
        all.round(&crawls, options, &upstream, round);
    }
    all.report(&graph, options, report);
    Ok(())
}

fn upstream(options: &Options, graph: &Graph, folder: &Path) -> Result<Upstream, String> {
    let start = |name: &str, http: &str, server: &str| {
        let at = folder.join(name);
        std::fs::create_dir_all(&at).map_err(|error| error.to_string())?;
        let http = http.replace("FOLDER", &at.display().to_string());
        Nginx::serving(&at, graph.root(), &http, server).ok_or("no nginx".to_owned())
    };
    let nginx = start("upstream", "", "")?;
    let late = match std::env::var("DIPYLON_TEST_TOXIPROXY") {
        Ok(_) => {
            let line = Line::to(&nginx.address.to_string());
            line.poison("latency", "downstream", &json!({ "latency": LATE_MS }));
            Some(line)
        }
        Err(_) => {
            println!(
                "LEFT OUT: crawl of a late upstream: DIPYLON_TEST_TOXIPROXY names no toxiproxy"
            );
            None
        }
    };
    let with_sums = match sums().filter(|_| options.is_full) {
        Some((url, name)) => {
            let cache = "proxy_cache_path FOLDER/sums keys_zone=sums:16m max_size=1g inactive=1d;";
            let location = format!(
                "location /sumdb/ {{ proxy_pass {url}; proxy_http_version 1.1; proxy_ssl_server_name on; \
                 proxy_set_header Connection \"\"; proxy_cache sums; proxy_cache_valid 200 1d; \
                 proxy_cache_lock on; }}"
            );
            let nginx = start("with-sums", cache, &location)?;
            // A name alone is no sign that it can be asked.
            let path = format!("/sumdb/{name}/supported");
            can_be_had(&nginx, &path).then_some((nginx, name))
        }
        None => None,
    };
    if with_sums.is_none() {
        println!("LEFT OUT: crawl with checksums: no checksum database can be reached from here");
    }
    Ok(Upstream { nginx, late, with_sums })
}

/// The module proxy and the checksum database that `go` is set up with, where the first can be reached.
fn sums() -> Option<(String, String)> {
    use std::net::ToSocketAddrs as _;
    let said =
        std::process::Command::new("go").args(["env", "GOPROXY", "GOSUMDB"]).output().ok()?;
    let said = String::from_utf8(said.stdout).ok()?;
    let (proxies, name) = said.trim().split_once('\n')?;
    let url = proxies.split([',', '|']).find(|entry| entry.starts_with("http"))?;
    let (scheme, rest) = url.split_once("://")?;
    let host = rest.split('/').next()?;
    let port = if scheme == "https" { 443 } else { 80 };
    let address = match host.split_once(':') {
        Some(_) => host.to_socket_addrs().ok()?.next()?,
        None => (host, port).to_socket_addrs().ok()?.next()?,
    };
    std::net::TcpStream::connect_timeout(&address, Duration::from_secs(5)).ok()?;
    // Without a path nginx passes its own on.
    let url = match rest.split_once('/') {
        Some((_, path)) if !path.is_empty() => format!("{}/sumdb/", url.trim_end_matches('/')),
        _ => url.trim_end_matches('/').to_owned(),
    };
    (name != "off").then(|| (url, name.to_owned()))
}

fn can_be_had(nginx: &Nginx, path: &str) -> bool {
    use std::io::{Read as _, Write as _};
    let asked = || {
        let mut stream = std::net::TcpStream::connect(nginx.address)?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
        Ok::<_, std::io::Error>(answer)
    };
    asked().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

fn asks(nginx: &Nginx) -> Asks {
    Asks { upstream: format!("http://{}", nginx.address), checksums: "off".to_owned() }
}

struct Crawls<'a> {
    graph: &'a Graph,
    folder: &'a Path,
}

impl Crawls<'_> {
    fn store(&self) -> tempfile::TempDir {
        tempfile::tempdir_in(self.folder).expect("a folder for a store")
    }

    /// Every file, byte for byte.
    fn proven(&self, program: &Program, asks: &Asks) {
        let folder = self.store();
        compare_bytes(self.graph, program.start(folder.path(), asks).address);
    }

    fn straight(&self, nginx: &Nginx, address: &str) -> Ran {
        let before = in_all(nginx.pid());
        let wall = self.crawl(address);
        Ran { wall, cpu: (in_all(nginx.pid()) - before).as_secs_f64() }
    }

    fn crawl(&self, address: &str) -> f64 {
        let (kept, address) = (self.store(), address.parse().expect("a socket's address"));
        let crawled = crawl(self.graph, address, kept.path());
        assert_eq!(crawled.bytes, self.graph.total_bytes(), "bytes of all answers");
        crawled.took.as_secs_f64()
    }

    /// Through a proxy with an empty store.
    fn through(&self, program: &Program, asks: &Asks) -> Ran {
        let folder = self.store();
        let proxy = program.start(folder.path(), asks);
        let before = in_all(proxy.pid());
        let wall = if program.kind == Kind::Dipylon {
            self.crawl(&proxy.address.to_string())
        } else {
            // Others write an info of their own.
            crawl(self.graph, proxy.address, self.store().path()).took.as_secs_f64()
        };
        Ran { wall, cpu: (idle(proxy.pid()) - before).as_secs_f64() }
    }
}

/// What it has used when it uses nothing any more.
fn idle(pid: u32) -> Duration {
    let (began, mut since, mut used) = (Instant::now(), Instant::now(), in_all(pid));
    while since.elapsed() < IDLE && began.elapsed() < IDLE_MAX {
        std::thread::sleep(IDLE_PAUSE);
        let now = in_all(pid);
        if now > used {
            (since, used) = (Instant::now(), now);
        }
    }
    used
}

/// One way to crawl, and its runs.
struct Way {
    name: String,
    plain: Vec<Ran>,
    late: Vec<Ran>,
}

struct All {
    straight: Way,
    with_sums: Vec<Ran>,
    /// As the programs stand in the options.
    through: Vec<Way>,
}

impl All {
    fn new(options: &Options, _: &Upstream) -> Self {
        let way = |name: &str| Way { name: name.to_owned(), plain: Vec::new(), late: Vec::new() };
        let through = options.programs.iter().map(|program| way(&program.name)).collect();
        Self { straight: way("straight"), with_sums: Vec::new(), through }
    }

    fn round(&mut self, crawls: &Crawls<'_>, options: &Options, upstream: &Upstream, round: usize) {
        let Upstream { nginx, late, with_sums } = upstream;
        let programs = || {
            let all = options.programs.iter().enumerate();
            all.filter(move |(number, _)| *number == 0 || round < ROUNDS_OF_OTHERS)
        };
        self.straight.plain.push(crawls.straight(nginx, &nginx.address.to_string()));
        for (number, program) in programs() {
            self.through[number].plain.push(crawls.through(program, &asks(nginx)));
        }
        if let Some((nginx, sums)) = with_sums {
            let asks = Asks { checksums: sums.clone(), ..asks(nginx) };
            self.with_sums.push(crawls.through(&options.programs[0], &asks));
        }
        if let Some(line) = late {
            self.straight.late.push(crawls.straight(nginx, &line.address));
            let asks = Asks { upstream: format!("http://{}", line.address), ..asks(nginx) };
            for (number, program) in programs() {
                self.through[number].late.push(crawls.through(program, &asks));
            }
        }
        println!("round {} of {}: {}", round + 1, options.crawl_rounds, self.last());
    }

    /// What the last round has shown, in words.
    fn last(&self) -> String {
        let mut words = String::new();
        for way in [&self.straight].into_iter().chain(&self.through) {
            for (what, runs) in [("", &way.plain), (" late", &way.late)] {
                if let Some(Ran { wall, cpu }) = runs.last() {
                    words += &format!("{}{what} {wall:.3} s ({cpu:.2} s CPU); ", way.name);
                }
            }
        }
        if let Some(Ran { wall, cpu }) = self.with_sums.last() {
            words += &format!("with checksums {wall:.3} s ({cpu:.2} s CPU)");
        }
        words
    }

    fn report(self, graph: &Graph, options: &Options, report: &mut Report) {
        let megabytes = graph.total_bytes() / 1_000_000;
        let what = format!("{} modules, {megabytes} MB, {CLIENTS} clients", graph.modules());
        let ways: Vec<&Way> = [&self.straight].into_iter().chain(&self.through).collect();
        let names: Vec<String> = ways.iter().map(|way| way.name.clone()).collect();
        let of = |runs: &[Ran], which: fn(&Ran) -> f64| {
            (!runs.is_empty()).then(|| Quartiles::of(runs.iter().map(which)))
        };
        for (id, title, which) in [
            ("crawl", "time of a cold crawl", (|ran: &Ran| ran.wall) as fn(&Ran) -> f64),
            ("crawl-cpu", "CPU time of the server in a cold crawl", |ran: &Ran| ran.cpu),
        ] {
            let mut table = Table::new(id, &format!("{title}: {what}"), "s", names.clone());
            table.is_logarithmic = options.programs.len() > 1;
            table.row("as it is", ways.iter().map(|way| of(&way.plain, which)).collect());
            if !self.straight.late.is_empty() {
                let late = format!("{LATE_MS} ms late");
                table.row(&late, ways.iter().map(|way| of(&way.late, which)).collect());
            }
            if let Some(ran) = of(&self.with_sums, which) {
                let mut cells = vec![None; names.len()];
                cells[1] = Some(ran);
                table.row("with checksums", cells);
            }
            report.tables.push(table);
        }
        let ours = &self.through[0];
        let kinds = [
            ("the upstream on loopback", &ours.plain, &self.straight.plain, TIMES_MAX),
            ("50 ms before every answer", &ours.late, &self.straight.late, TIMES_MAX_LATE),
        ];
        for (kind, ours, straight, most) in kinds {
            if ours.is_empty() {
                continue;
            }
            let ratio = |(ours, straight): (&Ran, &Ran)| ours.wall / straight.wall;
            report.budgets.push(Budget {
                what: format!("cold crawl, {kind}, beside straight"),
                measured: Quartiles::of(ours.iter().zip(straight).map(ratio)),
                most,
                unit: "×",
            });
        }
        if !self.with_sums.is_empty() {
            let ratio = |(ours, straight): (&Ran, &Ran)| ours.wall / straight.wall;
            let Quartiles { low, median, high } =
                Quartiles::of(self.with_sums.iter().zip(&self.straight.plain).map(ratio));
            report.notes.push(format!(
                "With the checksum database on, the crawl takes {median:.2} × ({low:.2} to {high:.2}) what it takes \
                 straight from the upstream: every zip is inflated and hashed. The database's answers come from \
                 nginx's cache on loopback."
            ));
        }
    }
}
