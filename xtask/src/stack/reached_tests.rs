//! What `cargo xtask test` tells suites is true: the server is there, and is the one that it should be.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use super::probe::Probe;

/// The value of `DIPYLON_TEST_NAME`, which whoever met the need has set.
fn told(name: &str) -> String {
    let variable = format!("DIPYLON_TEST_{name}");
    std::env::var(&variable).unwrap_or_else(|_| panic!("{variable} is not set"))
}

/// The port in a URL or in `host:port`.
fn port(address: &str) -> u16 {
    let host = address.rsplit_once('@').map_or(address, |(_, host)| host);
    let host = host.split_once("://").map_or(host, |(_, host)| host);
    let host = host.split('/').next().unwrap();
    host.rsplit_once(':').unwrap().1.parse().unwrap()
}

fn answers(name: &str, path: &str) {
    for address in told(name).split(',') {
        assert!(Probe::get(port(address), path).holds(), "{address} does not answer {path}");
    }
}

/// What a server of this machine answers to one question, head and all; nothing when it does not.
fn body(port: u16, path: &str) -> String {
    let mut answer = String::new();
    let asked = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).and_then(|mut stream| {
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n\r\n")?;
        stream.read_to_string(&mut answer)
    });
    asked.map(|_| answer).unwrap_or_default()
}

#[test]
fn a_port_is_found_in_every_form_of_address() {
    assert_eq!(port("http://user:word@127.0.0.1:81"), 81);
    assert_eq!(port("redis://:word@127.0.0.1:82"), 82);
    assert_eq!(port("http://127.0.0.1:83/account"), 83);
    assert_eq!(port("127.0.0.1:84"), 84);
}

#[test]
#[ignore = "needs minio: run by cargo xtask test"]
fn minio_is_reached() {
    answers("MINIO", "/minio/health/live");
}

#[test]
#[ignore = "needs versitygw: run by cargo xtask test"]
fn versitygw_is_reached() {
    answers("VERSITYGW", "/health");
}

#[test]
#[ignore = "needs redis: run by cargo xtask test"]
fn redis_is_reached_with_its_password() {
    let url = told("REDIS");
    let password = url.split([':', '@']).nth(2).unwrap().to_owned().leak();
    assert!(Probe::redis(port(&url), password, "PING", "+PONG").holds());
    assert!(!Probe::redis(port(&url), "another", "PING", "+PONG").holds());
}

#[test]
#[ignore = "needs sentinel: run by cargo xtask test"]
fn three_sentinels_agree_on_their_server() {
    let (name, password) = (told("SENTINEL_NAME"), told("SENTINEL_PASSWORD").leak());
    let sentinels = told("SENTINEL");
    let sentinels: Vec<&str> = sentinels.split(',').collect();
    assert_eq!(sentinels.len(), 3);
    for sentinel in sentinels {
        let asked = format!("SENTINEL CKQUORUM {name}");
        assert!(Probe::redis(port(sentinel), password, &asked, "+OK 3").holds(), "{sentinel}");
    }
}

#[test]
#[ignore = "needs etcd, etcd3: run by cargo xtask test"]
fn etcd_is_reached_alone_and_as_three() {
    answers("ETCD", "/health");
    assert_eq!(told("ETCD3").split(',').count(), 3);
    answers("ETCD3", "/health");
}

#[test]
#[ignore = "needs mongo: run by cargo xtask test"]
fn mongo_accepts_connections() {
    assert!(Probe::Connect { port: port(&told("MONGO")) }.holds());
}

#[test]
#[ignore = "needs gcs: run by cargo xtask test"]
fn gcs_has_a_bucket_for_people() {
    answers("GCS", "/storage/v1/b/dipylon");
}

#[test]
#[ignore = "needs azurite: run by cargo xtask test"]
fn azurite_accepts_connections() {
    assert!(Probe::Connect { port: port(&told("AZURITE")) }.holds());
}

#[test]
#[ignore = "needs jaeger: run by cargo xtask test"]
fn jaeger_answers_queries() {
    answers("JAEGER", "/api/services");
}

#[test]
#[ignore = "needs prometheus: run by cargo xtask test"]
fn prometheus_answers_queries() {
    answers("PROMETHEUS", "/api/v1/query?query=up");
}

#[test]
#[ignore = "needs alertmanager and prometheus: run by cargo xtask test"]
fn prometheus_tells_the_alertmanager_of_the_stack() {
    answers("ALERTMANAGER", "/api/v2/status");
    // Prometheus looks for it every two seconds.
    let began = Instant::now();
    let (prometheus, alertmanager) = (port(&told("PROMETHEUS")), port(&told("ALERTMANAGER")));
    let place = format!("127.0.0.1:{alertmanager}/api/v2/alerts");
    while !body(prometheus, "/api/v1/alertmanagers").contains(&place) {
        assert!(began.elapsed().as_secs() < 20, "Prometheus knows no Alertmanager");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
#[ignore = "needs toxiproxy: run by cargo xtask test"]
fn toxiproxy_is_reached() {
    answers("TOXIPROXY", "/proxies");
}

#[test]
#[ignore = "needs the k6 program, the toxiproxy program: run by cargo xtask test"]
fn a_program_lies_where_it_is_said_to() {
    for variable in ["DIPYLON_PROGRAM_K6", "DIPYLON_PROGRAM_TOXIPROXY"] {
        let path = std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set"));
        assert!(std::path::Path::new(&path).is_file(), "{variable} is {path}");
    }
}
