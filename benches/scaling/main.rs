//! How the CPU time of a request, and the memory of the process, grow with what is asked of the gateway: connections,
//! stored versions, the versions of one module, the size of a zip, cores. `cargo xtask scaling` runs it and draws it.
//!
//! Each line of standard output is one point: the picture, the line in it, x, y. The files are laid out by hand, in
//! Athens's names, and the gateway is offline: it answers from its store alone. The build that the tests use shows
//! with the smallest points that all of it runs.

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

mod store;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Instant;

use dipylon_testkit::gateway::{Builder, Gateway};
use dipylon_testkit::measure::load::{CONNECTIONS, Load};
use dipylon_testkit::measure::nginx::Nginx;
use dipylon_testkit::measure::used::Used;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::upstream::{Generator, Upstream};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::Runtime;

use store::{Store, VERSIONS_OF_A_MODULE, path};

const PROGRAM: &str = env!("CARGO_BIN_EXE_dipylon");
/// Measured rounds of a point, the servers in turn; the point is their median.
const ROUNDS: usize = 5;
/// Requests of a round at least, and bytes of answers at most, unless one request has more.
const REQUESTS: usize = 4_000;
const BYTES_OF_A_ROUND: usize = 1_000_000_000;
/// Connections that ask for zips: as many large answers at a time.
const ZIP_CONNECTIONS: usize = 4;
/// Most versions that are asked for, each twice, of a store that has more.
const ASKED_MAX: usize = 1_000_000;
/// Descriptors that this process needs beside one for each connection.
const SPARE_DESCRIPTORS: u64 = 200;

/// What is measured: all, or in the build that the tests use the smallest of it.
const fn up_to<T, const N: usize>(all: &'static [T; N], few: usize) -> &'static [T] {
    if cfg!(debug_assertions) { all.split_at(few).0 } else { all }
}

const CONNECTION_COUNTS: &[usize] = up_to(&[1, 10, 100, 1_000, 10_000], 2);
const VERSION_COUNTS: &[usize] = up_to(&[10, 100, 1_000, 10_000, 100_000, 1_000_000], 2);
const LIST_COUNTS: &[usize] = up_to(&[10, 100, 1_000, 10_000], 2);
const ZIP_BYTES: &[usize] =
    up_to(&[1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 500_000_000], 2);

fn main() {
    if std::env::args().any(|arg| arg == "--list") {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let runtime = Runtime::new().expect("a runtime");
    let bench = Bench { folder: folder.path(), runtime };
    bench.connections();
    bench.cores();
    bench.zips();
    bench.lists();
    bench.versions();
    println!("Success");
}

/// One point of a picture.
fn point(picture: &str, line: &str, x: usize, y: f64) {
    println!("SCALING\t{picture}\t{line}\t{x}\t{y}");
}

/// A server that is measured.
struct Server {
    name: &'static str,
    pid: u32,
    address: SocketAddr,
}

impl Server {
    fn of(gateway: &Gateway) -> Self {
        Self { name: "dipylon", pid: gateway.pid(), address: gateway.address() }
    }

    fn of_nginx(nginx: &Nginx) -> Self {
        Self { name: "nginx", pid: nginx.pid(), address: nginx.address }
    }

    /// CPU time of each request in microseconds.
    fn cost(&self, load: &mut Load, path: &str, requests: usize) -> f64 {
        let before = Used::now(self.pid);
        load.get(path, requests);
        Used::now(self.pid).since(&before).as_secs_f64() * 1e6 / requests as f64
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// What the kernel says of a process, in MB.
fn resident_mb(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux says it");
    let kib: f64 = line.trim().trim_end_matches(" kB").trim().parse().expect("a number");
    kib * 1024.0 / 1e6
}

/// Raises the limit of descriptors, which servers inherit; how many connections that allows.
fn connections_max() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { ..limit }) {
        eprintln!("the limit of descriptors cannot be raised: {error}");
    }
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(limit.saturating_sub(SPARE_DESCRIPTORS)).unwrap_or(usize::MAX)
}

/// An upstream's one module, of so many versions.
struct Listed(usize);

impl Generator for Listed {
    fn module(&self, _: &str, _: &str) -> Option<FakeModule> {
        None
    }

    fn versions(&self, _: &str) -> Vec<String> {
        (0..self.0).map(|number| format!("v1.{number}.0")).collect()
    }
}

struct Bench<'a> {
    folder: &'a Path,
    runtime: Runtime,
}

impl Bench<'_> {
    fn store(&self, name: &str) -> Store {
        Store::new(self.folder.join(name))
    }

    /// Before an upstream, or offline.
    fn start(&self, builder: Builder, store: &Store, upstream: Option<&Upstream>) -> Gateway {
        let goproxy = upstream.map_or("off".to_owned(), Upstream::url);
        let settings = [
            ("ATHENS_STORAGE_TYPE", "disk"),
            ("ATHENS_NETWORK_MODE", if upstream.is_some() { "strict" } else { "offline" }),
            ("GOPROXY", goproxy.as_str()),
            ("GOSUMDB", "off"),
            ("GO_BINARY_PATH", "there-is-no-go"),
            ("GO_ENV", "bench"),
            ("ATHENS_LOG_LEVEL", "info"),
            ("ATHENS_LOG_FORMAT", "json"),
            ("DIPYLON_FRESH_FOR", "86400"),
        ];
        let root = store.root().display().to_string();
        let builder =
            settings.iter().fold(builder, |builder, (name, value)| builder.env(name, value));
        self.runtime.block_on(builder.env("ATHENS_DISK_STORAGE_ROOT", &root).start())
    }

    fn gateway(&self, store: &Store) -> Gateway {
        self.start(Gateway::builder(PROGRAM), store, None)
    }

    /// nginx with the answers to these paths, if it is there.
    fn nginx(&self, store: &Store, gateway: &Gateway, paths: &[&str]) -> Option<Nginx> {
        let folder = store.beside();
        for path in paths {
            let file = folder.join("root").join(path.trim_start_matches('/'));
            std::fs::create_dir_all(file.parent().expect("a file has a folder")).expect("a folder");
            let answer = self.runtime.block_on(gateway.get(path));
            assert_eq!(answer.status, 200, "{path}");
            std::fs::write(file, answer.body).expect("a file");
        }
        let nginx = Nginx::start(&folder);
        if nginx.is_none() {
            println!("LEFT OUT: nginx (Debian: apt-get install nginx-light)");
        }
        nginx
    }

    /// A request for a small file, over ever more connections, and what those take of memory.
    fn connections(&self) {
        let most = connections_max();
        let store = self.store("connections");
        store.lay_out(10);
        let gateway = self.gateway(&store);
        let wanted = path(0, "info");
        let nginx = self.nginx(&store, &gateway, &[&wanted]);
        let servers: Vec<_> = [Server::of(&gateway)]
            .into_iter()
            .chain(nginx.as_ref().map(Server::of_nginx))
            .collect();
        for &count in CONNECTION_COUNTS {
            if count > most {
                println!("LEFT OUT: {count} connections; `ulimit -n` allows {most}");
                continue;
            }
            let requests = REQUESTS.max(2 * count);
            let mut costs = vec![Vec::new(); servers.len()];
            for round in 0..=ROUNDS {
                for (server, costs) in servers.iter().zip(&mut costs) {
                    // No more than one server has them at a time, so that this process has descriptors enough.
                    let mut load = Load::new(server.address, count);
                    load.get(&wanted, count);
                    costs.push(server.cost(&mut load, &wanted, requests));
                    if round == ROUNDS {
                        point("memory", server.name, count, resident_mb(server.pid));
                    }
                }
            }
            for (server, costs) in servers.iter().zip(costs) {
                point("connections", server.name, count, median(costs[1..].to_vec()));
            }
        }
    }

    /// The same request with the gateway on one core, and on two: what it costs, and how many there are in a second.
    fn cores(&self) {
        let store = self.store("cores");
        store.lay_out(10);
        let wanted = path(0, "info");
        for (cores, list) in [(1, "0"), (2, "0,1")] {
            let builder = Gateway::builder("taskset").arg("-c").arg(list).arg(PROGRAM);
            let gateway = self.start(builder, &store, None);
            let server = Server::of(&gateway);
            let mut load = Load::new(server.address, CONNECTIONS);
            let (mut costs, mut rates) = (Vec::new(), Vec::new());
            for _ in 0..=ROUNDS {
                let began = Instant::now();
                costs.push(server.cost(&mut load, &wanted, REQUESTS));
                rates.push(REQUESTS as f64 / began.elapsed().as_secs_f64());
            }
            point("cores", "µs of CPU a request", cores, median(costs[1..].to_vec()));
            point("cores", "requests a second", cores, median(rates[1..].to_vec()));
        }
    }

    /// Zips of ever more bytes.
    fn zips(&self) {
        for (number, &bytes) in ZIP_BYTES.iter().enumerate() {
            let store = self.store(&format!("zip-{number}"));
            store.lay_out_zip(bytes);
            let gateway = self.gateway(&store);
            let wanted = path(0, "zip");
            let nginx = self.nginx(&store, &gateway, &[&wanted]);
            let servers =
                [Server::of(&gateway)].into_iter().chain(nginx.as_ref().map(Server::of_nginx));
            let mut sides: Vec<_> = servers
                .map(|server| (Load::new(server.address, ZIP_CONNECTIONS), server, Vec::new()))
                .collect();
            let requests = (BYTES_OF_A_ROUND / bytes).clamp(ZIP_CONNECTIONS, REQUESTS);
            for _ in 0..=ROUNDS {
                for (load, server, costs) in &mut sides {
                    costs.push(server.cost(load, &wanted, requests));
                }
            }
            for (_, server, costs) in sides {
                point("zips", server.name, bytes, median(costs[1..].to_vec()));
            }
            store.remove();
        }
    }

    /// The list of a module of ever more versions, all of which are stored: asked of upstream and of the store for the
    /// first time, from memory from then on; and offline, where the store alone is asked, each time.
    fn lists(&self) {
        for (number, &count) in LIST_COUNTS.iter().enumerate() {
            let store = self.store(&format!("list-{number}"));
            store.lay_out_module(count);
            let upstream = self.runtime.block_on(Upstream::start());
            upstream.generate(Listed(count));
            let wanted = "/example.com/scaling/m0/@v/list";
            let (mut first, mut again, mut offline) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                // Each time a process that has not seen it yet.
                let gateway = self.start(Gateway::builder(PROGRAM), &store, Some(&upstream));
                let server = Server::of(&gateway);
                let mut load = Load::new(server.address, 1);
                first.push(server.cost(&mut load, wanted, 1));
                again.push(server.cost(&mut load, wanted, REQUESTS / 4));
                let gateway = self.gateway(&store);
                let server = Server::of(&gateway);
                let mut load = Load::new(server.address, 1);
                load.get(wanted, 1);
                offline.push(server.cost(&mut load, wanted, 10));
            }
            for (line, costs) in [("first", first), ("again", again), ("offline, again", offline)] {
                point("lists", line, count, median(costs));
            }
            store.remove();
        }
    }

    /// Ever more versions in the store, each `.info` of which is asked for once, and once more.
    fn versions(&self) {
        let store = self.store("versions");
        for &count in VERSION_COUNTS {
            store.lay_out(count);
            let gateway = self.gateway(&store);
            let server = Server::of(&gateway);
            let asked = count.min(ASKED_MAX);
            let mut load = Load::new(server.address, CONNECTIONS);
            // Spread over all modules: neighbours are not asked for one after the other.
            let step = VERSIONS_OF_A_MODULE + 1;
            let paths: Vec<_> =
                (0..asked).map(|number| path(number * step % count, "info")).collect();
            // Where they are few they are asked for as often as makes a time that can be measured.
            let requests = asked.max(REQUESTS);
            for (line, requests) in [("for the first time", asked), ("once more", requests)] {
                let before = Used::now(server.pid);
                load.get_each(|number| &paths[number % asked], requests);
                let used = Used::now(server.pid).since(&before).as_secs_f64();
                point("versions", line, count, used * 1e6 / requests as f64);
            }
            point("kept", "dipylon", count, resident_mb(server.pid));
        }
        store.remove();
    }
}
