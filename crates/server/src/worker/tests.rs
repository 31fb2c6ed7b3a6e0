//! The network half against real sockets, with the real engine and a host that only keeps time and posts
//! messages.

mod ahead;
mod clients;
mod limits;
mod pieces;
mod pools;
mod put_off;
mod requests;
mod tracking;
mod waits;

use std::io::{self, Read, Write};
use std::net::{Shutdown as Half, SocketAddr, TcpStream};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base::time::UnixMs;
use engine::Engine;
use engine::clients::Client;
use engine::config::{Config, LogLevel};
use engine::engine::Busy;
use engine::host::{
    AtDuplicate, DumpContents, DumpStatus, Event, Heard, Host, Level, LoadStatus, LogFileStatus, NotReloaded,
    ProcessFacts, ReclaimCounts, SaveRefused, SaveStarted, SaveStatus, Shutdown, Wait, WorkerId,
};
use parking_lot::Mutex;
use store::Garbage;

use super::{WorkerContext, run};
use crate::acceptor::{self, Order};
use crate::disk::HostDisk;
use crate::inbox::{Inbox, Message};
use crate::listener;
use crate::persist::link::Links;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running server: workers and sockets, no process around it.
struct Server {
    engine: Arc<Engine>,
    inboxes: Arc<[Arc<Inbox>]>,
    entrance: Arc<Inbox<Order>>,
    acceptor: Option<JoinHandle<()>>,
    threads: Vec<JoinHandle<()>>,
    state: Arc<HostState>,
    address: SocketAddr,
    path: PathBuf,
}

#[derive(Default)]
struct HostState {
    lines: Mutex<Vec<String>>,
    /// Added to both clocks.
    ahead_us: AtomicI64,
    /// Where the monotonic clock stands still, but for that.
    stands_at_ns: OnceLock<u64>,
}

static SERVERS: AtomicU64 = AtomicU64::new(0);

impl Server {
    fn start(workers: usize, change: impl Fn(&mut Config)) -> Server {
        let number = SERVERS.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("onefold-{}-{number}.sock", std::process::id()));
        let (config, listeners) = (0..100)
            .find_map(|_| {
                let config = config(&path, &change);
                let listeners = listener::bind(&config).ok()?;
                Some((config, listeners))
            })
            .expect("one of a hundred free ports stays free");
        let address = SocketAddr::from(([127, 0, 0, 1], config.port as u16));
        let inboxes: Vec<_> =
            (0..workers).map(|_| Arc::new(Inbox::new().expect("an epoll descriptor"))).collect();
        let inboxes: Arc<[Arc<Inbox>]> = inboxes.into();
        let state = Arc::new(HostState::default());
        let host =
            TestHost { state: Arc::clone(&state), inboxes: Arc::clone(&inboxes), origin: Instant::now() };
        let now = UnixMs(host.unix_us() / 1000);
        let engine = Arc::new(Engine::new(config, Box::new(host), workers, now));
        let threads = (0..workers)
            .map(|id| {
                let context = WorkerContext {
                    engine: Arc::clone(&engine),
                    id: WorkerId(id as u16),
                    inbox: Arc::clone(&inboxes[id]),
                    links: Arc::new(Links::new(&HostDisk)),
                };
                std::thread::spawn(move || run(context).expect("the poll loop works"))
            })
            .collect();
        let entrance: Arc<Inbox<Order>> = Arc::new(Inbox::new().expect("an epoll descriptor"));
        let (orders, workers, own) = (Arc::clone(&entrance), Arc::clone(&inboxes), Arc::clone(&engine));
        let accept = move || acceptor::run(own, &orders, workers, listeners);
        let acceptor = Some(std::thread::spawn(|| accept().expect("its poll loop works")));
        Server { engine, inboxes, entrance, acceptor, threads, state, address, path }
    }

    fn one() -> Server {
        Server::start(1, |_| {})
    }

    fn connect(&self) -> Peer {
        let stream = TcpStream::connect(self.address).expect("the server listens");
        stream.set_nodelay(true).expect("an option of TCP");
        stream.set_read_timeout(Some(PATIENCE)).expect("an option");
        Peer { stream: Stream::Tcp(stream) }
    }

    fn connect_unix(&self) -> Peer {
        let stream = UnixStream::connect(&self.path).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("an option");
        Peer { stream: Stream::Unix(stream) }
    }

    /// The client that connected first.
    fn oldest(&self) -> Arc<Client> {
        self.wait_for("a client", || self.engine.clients.all().first().cloned())
    }

    /// The client that connected last.
    fn newest(&self) -> Arc<Client> {
        self.wait_for("a client", || self.engine.clients.all().last().cloned())
    }

    /// Looks until there is something; the server's threads need time that nobody can foretell.
    fn wait_for<T>(&self, what: &str, look: impl Fn() -> Option<T>) -> T {
        let begin = Instant::now();
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(begin.elapsed() < PATIENCE, "waited in vain for {what}");
            std::thread::yield_now();
        }
    }

    fn wait_until(&self, what: &str, look: impl Fn() -> bool) {
        self.wait_for(what, || look().then_some(()));
    }

    fn wait_for_clients(&self, count: usize) {
        self.wait_until("connections to come or go", || self.engine.clients.len() == count);
    }

    fn advance(&self, seconds: i64) {
        self.state.ahead_us.fetch_add(seconds * 1_000_000, Ordering::Relaxed);
    }

    /// From now on the monotonic clock goes by `advance` only: what a bound of time ends does not depend on
    /// how busy the machine is.
    fn stop_clock(&self) {
        assert_eq!(self.state.ahead_us.load(Ordering::Relaxed), 0, "it was not advanced before");
        self.state.stands_at_ns.set(self.engine.host.monotonic_ns()).expect("it went until now");
    }

    fn logged(&self, text: &str) -> bool {
        self.state.lines.lock().iter().any(|line| line.contains(text))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.entrance.post(Order::Stop);
        let accepted = self.acceptor.take().map(JoinHandle::join);
        self.inboxes.iter().for_each(|inbox| inbox.post(Message::Stop));
        let results: Vec<_> =
            accepted.into_iter().chain(self.threads.drain(..).map(JoinHandle::join)).collect();
        let _ = std::fs::remove_file(&self.path);
        if !std::thread::panicking() {
            assert!(results.iter().all(Result::is_ok), "a thread panicked");
            assert!(self.engine.clients.is_empty(), "clients stay behind");
        }
    }
}

fn config(path: &std::path::Path, change: &impl Fn(&mut Config)) -> Config {
    let probe = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = i64::from(probe.local_addr().expect("it has an address").port());
    let mut config = Config {
        bind: vec![b"127.0.0.1".to_vec()],
        port,
        unixsocket: path.as_os_str().as_bytes().to_vec(),
        loglevel: LogLevel::Verbose,
        save: Vec::new(),
        ..Config::default()
    };
    change(&mut config);
    config
}

/// A client's end of a connection.
struct Peer {
    stream: Stream,
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Peer {
    fn send(&mut self, bytes: impl AsRef<[u8]>) {
        match &mut self.stream {
            Stream::Tcp(stream) => stream.write_all(bytes.as_ref()),
            Stream::Unix(stream) => stream.write_all(bytes.as_ref()),
        }
        .expect("the server reads");
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.stream {
            Stream::Tcp(stream) => stream.read(buffer),
            Stream::Unix(stream) => stream.read(buffer),
        }
    }

    /// These bytes come next.
    fn expect(&mut self, expected: impl AsRef<[u8]>) {
        let expected = expected.as_ref();
        let mut seen = vec![0; expected.len()];
        let mut filled = 0;
        while filled < seen.len() {
            match self.read(&mut seen[filled..]) {
                Ok(0) => panic!(
                    "the end, in place of {} after {}",
                    show(&expected[filled..]),
                    show(&seen[..filled])
                ),
                Ok(len) => filled += len,
                Err(error) => panic!(
                    "{error}, in place of {} after {}",
                    show(&expected[filled..]),
                    show(&seen[..filled])
                ),
            }
            assert!(
                seen[..filled] == expected[..filled],
                "{} in place of {}",
                show(&seen[..filled]),
                show(&expected[..filled])
            );
        }
    }

    /// The connection ends, and nothing comes before that.
    fn expect_end(&mut self) {
        let mut byte = [0; 64];
        match self.read(&mut byte) {
            Ok(0) => {}
            Ok(len) => panic!("{} in place of the end", show(&byte[..len])),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
        }
    }

    /// All that comes until the connection ends.
    fn rest(&mut self) -> Vec<u8> {
        let (mut all, mut buffer) = (Vec::new(), vec![0; 1 << 16]);
        while let Ok(len @ 1..) = self.read(&mut buffer) {
            all.extend_from_slice(&buffer[..len]);
        }
        all
    }

    fn call(&mut self, request: &[&[u8]], expected: impl AsRef<[u8]>) {
        self.send(encode(request));
        self.expect(expected);
    }

    /// Sends its last byte, and goes on reading.
    fn finish(&mut self) {
        match &self.stream {
            Stream::Tcp(stream) => stream.shutdown(Half::Write),
            Stream::Unix(stream) => stream.shutdown(Half::Write),
        }
        .expect("the connection is open");
    }
}

fn show(bytes: &[u8]) -> String {
    let shown = base::bytes::escape(&bytes[bytes.len().saturating_sub(200)..]);
    format!("{} bytes ending in {shown}", bytes.len())
}

fn encode(request: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", request.len()).into_bytes();
    for argument in request {
        bytes.extend_from_slice(&bulk(argument));
    }
    bytes
}

fn bulk(bytes: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

/// Bytes in which every stretch is told from its neighbours.
fn pattern(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|index| (index * 31 + index / 251 + seed) as u8).collect()
}

struct TestHost {
    state: Arc<HostState>,
    inboxes: Arc<[Arc<Inbox>]>,
    origin: Instant,
}

impl Host for TestHost {
    fn log(&self, _: Level, message: &str) {
        self.state.lines.lock().push(message.to_owned());
    }

    fn post(&self, worker: WorkerId, event: Event) {
        self.inboxes[usize::from(worker.0)].post(Message::Event(event));
    }

    fn reclaim(&self, garbage: Garbage) {
        drop(garbage);
    }

    fn wake_defragmenter(&self) {}

    fn reclaim_counts(&self) -> ReclaimCounts {
        ReclaimCounts::default()
    }

    fn save_in_background(&self, _: bool) -> Result<SaveStarted, SaveRefused> {
        Err("ERR refused")
    }

    fn save_now(&self) -> Result<(), SaveRefused> {
        Err("ERR refused")
    }

    fn cancel_save(&self, _: Wait) -> bool {
        false
    }

    fn save_status(&self) -> SaveStatus {
        SaveStatus {
            in_progress: false,
            scheduled: false,
            last_save: UnixMs(0),
            last_ok: true,
            last_seconds: None,
            started: None,
            saves: 0,
            keys_done: 0,
            keys_total: 0,
            last_snapshot_bytes: 0,
            snapshot_bytes: 0,
            cut_us: 0,
            cuts: 0,
            dumps: DumpStatus::default(),
        }
    }

    fn begin_dump(&self, _: &Arc<Client>, _: DumpContents) -> Result<(), SaveRefused> {
        Err("ERR refused")
    }

    fn log_file_status(&self) -> LogFileStatus {
        LogFileStatus::default()
    }

    fn reset_counts(&self) {}

    fn await_log(&self) {}

    fn await_log_turn(&self) {}

    fn is_log_behind(&self) -> bool {
        false
    }

    fn note_log_delay(&self) {}

    fn rewrite_log(&self, _: bool) -> Result<SaveStarted, SaveRefused> {
        Err("ERR there are no files here")
    }

    fn reload_log(&self, _: &dyn Fn() -> Result<(), Busy>) -> Result<(), NotReloaded> {
        Err(NotReloaded::Failed)
    }

    fn load_status(&self) -> LoadStatus {
        LoadStatus::default()
    }

    fn reload(&self, _: AtDuplicate, _: &dyn Fn() -> Result<(), Busy>) -> Result<(), NotReloaded> {
        Err(NotReloaded::Failed)
    }

    fn shutdown(&self, _: Shutdown) -> Result<(), String> {
        Ok(())
    }

    fn cancel_shutdown(&self) -> bool {
        false
    }

    fn apply(&self, _: &str, _: &Config) -> Result<(), String> {
        Ok(())
    }

    fn read_config_file(&self) -> Result<Vec<u8>, String> {
        Err("there is none".into())
    }

    fn write_config_file(&self, _: &[u8]) -> Result<(), String> {
        Ok(())
    }

    fn facts(&self) -> ProcessFacts {
        ProcessFacts::default()
    }

    fn unix_us(&self) -> i64 {
        let real = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_micros() as i64;
        real + self.state.ahead_us.load(Ordering::Relaxed)
    }

    fn monotonic_ns(&self) -> u64 {
        let ahead = self.state.ahead_us.load(Ordering::Relaxed) as u64 * 1000;
        let elapsed_ns = self.origin.elapsed().as_nanos() as u64;
        self.state.stands_at_ns.get().copied().unwrap_or(elapsed_ns) + ahead
    }

    fn processor_ns(&self) -> u64 {
        self.monotonic_ns()
    }

    fn attend(&self) {}

    fn say(&self, _: &[u8]) {}

    fn hear(&self, _: &mut Vec<u8>) -> Heard {
        Heard::End
    }

    fn sleep_us(&self, us: u64) {
        if self.state.stands_at_ns.get().is_none() {
            self.state.ahead_us.fetch_add(us as i64, Ordering::Relaxed);
        }
        std::thread::yield_now();
    }

    fn crash(&self, _: &str) {}

    fn random(&self) -> u64 {
        0x0123_4567_89ab_cdef
    }
}
