//! The upstream of the load test: a GOPROXY that makes its modules up, always the same ones, and counts.
//!
//! `load_upstream LISTEN DELAY_MS [errors|bytes]` serves until it is killed. Its modules are those of
//! `dipylon_testkit::load`, with those of the folder that `DIPYLON_LOAD_TREE` names.
//!
//! - `GET /__counts`: a line for each path that was asked for, `COUNT PATH`.
//! - `GET /__digest/PATH`: length and SHA-256 of the right answer to a path.
//! - `errors` answers every zip with 500, `bytes` with a sound zip of the right length that is another
//!   one: the load test must notice both.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use dipylon_testkit::load::Modules;
use dipylon_testkit::upstream::{Fault, Upstream, When};

/// Names the folder of real modules.
const TREE: &str = "DIPYLON_LOAD_TREE";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match start(&args, std::env::var_os(TREE).map(PathBuf::from)) {
        Ok(_upstream) => loop {
            std::thread::park();
        },
        Err(why) => {
            eprintln!("load_upstream: {why}");
            ExitCode::from(2)
        }
    }
}

fn start(args: &[String], tree: Option<PathBuf>) -> Result<Upstream, String> {
    let (listen, delay, broken) = match args {
        [listen, delay] => (listen, delay, None),
        [listen, delay, broken] => (listen, delay, Some(broken.as_str())),
        _ => return Err("usage: load_upstream LISTEN DELAY_MS [errors|bytes]".to_owned()),
    };
    let listen: SocketAddr = listen.parse().map_err(|error| format!("{listen}: {error}"))?;
    let delay: u64 = delay.parse().map_err(|error| format!("{delay}: {error}"))?;
    let fault = match broken {
        None => None,
        Some("errors") => Some(Fault::Status(500, "text/plain", Bytes::from_static(b"broken\n"))),
        Some("bytes") => Some(Fault::OtherContent),
        Some(other) => return Err(format!("{other}: neither errors nor bytes")),
    };
    if let Some(tree) = tree.as_ref().filter(|tree| !tree.is_dir()) {
        return Err(format!("{TREE}={}: this is no folder", tree.display()));
    }
    let upstream = Upstream::start_on(listen);
    upstream.generate(Modules { tree });
    upstream.latency(Duration::from_millis(delay));
    if let Some(fault) = fault {
        upstream.fault(When::suffix(".zip"), fault);
    }
    Ok(upstream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_word_is_refused() {
        let refused = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            start(&words, None).err()
        };
        assert!(refused(&["127.0.0.1:0"]).is_some());
        assert!(refused(&["127.0.0.1:0", "soon"]).is_some());
        assert!(refused(&["127.0.0.1:0", "0", "sideways"]).is_some());
        assert!(refused(&["127.0.0.1:0", "0", "bytes"]).is_none());
    }
}
