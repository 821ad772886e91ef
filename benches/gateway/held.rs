//! An upstream that holds every request for as long as it is told to, and then says that nothing exists: so
//! misses hang, and end without a failure that would have the gateway leave it alone.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// The longest that a state is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
const ANSWER: &[u8] =
    b"HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: 10\r\n\r\nnot found\n";

#[derive(Default)]
struct Gate {
    is_shut: bool,
    held: usize,
}

/// The upstream; it ends with the process.
pub(crate) struct Held {
    gate: Arc<(Mutex<Gate>, Condvar)>,
    pub(crate) url: String,
}

impl Held {
    /// Answers at once until it is shut.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("a bound socket"));
        let gate: Arc<(Mutex<Gate>, Condvar)> = Arc::default();
        let shared = Arc::clone(&gate);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let gate = Arc::clone(&shared);
                // As many threads as the gateway has connections, which it bounds.
                std::thread::spawn(move || serve(stream, &gate));
            }
        });
        Self { gate, url }
    }

    /// Requests are held from now on.
    pub(crate) fn shut(&self) {
        self.gate.0.lock().is_shut = true;
    }

    /// All that are held are answered.
    pub(crate) fn open(&self) {
        self.gate.0.lock().is_shut = false;
        self.gate.1.notify_all();
    }

    /// Waits until so many are held, or no more than so many.
    pub(crate) fn until(&self, what: &str, is_so: impl Fn(usize) -> bool) {
        let began = Instant::now();
        while !is_so(self.gate.0.lock().held) {
            let held = self.gate.0.lock().held;
            assert!(began.elapsed() < PATIENCE, "{what}: {held} requests are held");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Answers the requests of one connection, each in its turn.
fn serve(stream: TcpStream, (gate, opened): &(Mutex<Gate>, Condvar)) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut writer = stream;
    loop {
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
        }
        {
            let mut gate = gate.lock();
            gate.held += 1;
            opened.wait_while(&mut gate, |gate| gate.is_shut);
            gate.held -= 1;
        }
        writer.write_all(ANSWER).ok()?;
    }
}
