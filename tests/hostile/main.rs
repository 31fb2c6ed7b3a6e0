//! Everything that swells a server, at once, under `maxmemory`: the process stays within it, whatever clients
//! do. Writers whose values change in size, saves, readers that do not read, arguments of which only half is
//! sent, thousands of connections, client-side caching, long transactions, subscribers that do not listen,
//! scripts that take all the memory they get.
//!
//! It takes both cores: HOSTILE_MB is `maxmemory` in megabytes, HOSTILE_SECONDS how long it lasts, and
//! HOSTILE_CONNECTIONS how many are open. The longest wait for an answer is printed; a client may wait for
//! another one's script.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use base::random::Rng;
use testkit::memory::{check_memory, memory};
use testkit::{Client, Group, Server, Value, onefold};

/// What is not in `maxmemory`: stacks, the program, the allocator's tables.
const FIXED: u64 = 12 << 20;
/// What it takes to see that the limit holds; more of everything finds more.
const MEGABYTES: u64 = 256;
const CONNECTIONS: u64 = 500;
const SECONDS: u64 = 8;
const VALUE_LENS: [usize; 6] = [64, 256, 40, 1000, 4000, 150];
/// Subscribers that do not listen: so few that each of them comes to its own limit, and so many that all
/// come to the one of all clients first.
const DEAF: [u64; 2] = [20, 100];
const WAIT_MOST: Duration = Duration::from_millis(10);

struct Mix<'a> {
    server: &'a Server,
    limit: u64,
    lasts: Duration,
    over: AtomicBool,
    /// What came of attacks of which INFO has no count.
    invalidations: AtomicU64,
    failed_scripts: AtomicU64,
}

/// How long answers took.
#[derive(Default)]
struct Waits {
    count: u64,
    /// Of them, those over the bound.
    over: u64,
    longest: Duration,
}

impl Waits {
    fn add(&mut self, wait: Duration) {
        self.count += 1;
        self.over += u64::from(wait > WAIT_MOST);
        self.longest = self.longest.max(wait);
    }
}

impl std::fmt::Display for Waits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Waits { count, over, longest } = self;
        write!(f, "{count} times, at most {longest:?}, {over} times over {WAIT_MOST:?}")
    }
}

/// Ends the mix, in a panic too.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn maxmemory_holds_for_the_process_whatever_clients_do() {
    let limit = variable("HOSTILE_MB", MEGABYTES) << 20;
    let group = Group::create().filter(|group| group.limit_memory(limit + limit / 10));
    let enter = group.as_ref().map(Group::enter).unwrap_or_else(|| "true".into());
    let limit_text = limit.to_string();
    let policy = ["--maxmemory-policy", "allkeys-lru", "--maxmemory-clients", "10%", "--io-threads", "2"];
    let deaf_most = format!("pubsub {} 0 0", limit / 20 / DEAF[0]);
    let others = ["--save", "", "--enable-debug-command", "yes", "--maxmemory", &limit_text];
    let limits = ["--client-output-buffer-limit", &deaf_most];
    let server = Server::start_after(onefold(), &[&policy[..], &others, &limits].concat(), &enter);
    let mix = Mix {
        server: &server,
        limit,
        lasts: Duration::from_secs(variable("HOSTILE_SECONDS", SECONDS)),
        over: AtomicBool::new(false),
        invalidations: AtomicU64::new(0),
        failed_scripts: AtomicU64::new(0),
    };
    thread::scope(|scope| mix.run(scope));
    mix.check();
}

fn variable(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
}

impl<'a> Mix<'a> {
    fn run<'s>(&'s self, scope: &'s Scope<'s, '_>) {
        let pings = scope.spawn(|| self.ping());
        let control = scope.spawn(|| self.sleep_shortly());
        for swell in [
            Self::save,
            Self::read_nothing,
            Self::send_halves,
            Self::track,
            Self::queue,
            Self::publish,
            Self::connect,
            Self::fill_lua,
            Self::bring_scripts,
        ] {
            scope.spawn(move || {
                stand_back();
                swell(self);
            });
        }
        let end = Ends(&self.over);
        stand_back();
        self.fill();
        self.write();
        drop(end);
        let waits = pings.join().expect("PING is always answered");
        println!("PING: {waits}");
        println!("control: {}", control.join().expect("it only sleeps"));
    }

    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::Relaxed)
    }

    /// Until something had to go.
    fn fill(&self) {
        let (mut client, value) = (self.server.client(), "x".repeat(4000));
        for key in (0..self.limit / 2000).step_by(200) {
            let set = |key: u64| vec!["SET".to_string(), format!("key:{key}"), value.clone()];
            let requests: Vec<Vec<String>> = (key..key + 200).map(set).collect();
            client.pipeline(&requests);
            if info(&mut client, "evicted_keys") > 0 {
                return;
            }
        }
    }

    /// Values of one size, then of another: what fits between the old ones changes all the time.
    fn write(&self) {
        let (mut client, mut rng) = (self.server.client(), Rng::from_seed(1));
        let begin = Instant::now();
        while begin.elapsed() < self.lasts {
            let past = begin.elapsed().as_secs_f64() / self.lasts.as_secs_f64();
            let len = VALUE_LENS[((past * VALUE_LENS.len() as f64) as usize).min(VALUE_LENS.len() - 1)];
            let value = "x".repeat(len);
            let requests: Vec<Vec<String>> = (0..200)
                .map(|_| vec!["SET".into(), format!("key:{}", rng.below(4_000_000)), value.clone()])
                .collect();
            for reply in client.pipeline(&requests) {
                let figures = || memory(&mut self.server.client());
                assert_eq!(reply, Value::Simple(b"OK".to_vec()), "{:#?}", figures());
            }
        }
    }

    fn save(&self) {
        let mut client = self.server.client();
        while self.goes_on() {
            // One may be running.
            client.run("BGSAVE");
            // A moment later; the others are served meanwhile.
            client.run("BLPOP nobody 0.05");
        }
    }

    /// A client that is closed for what it holds has done its part; another takes its place.
    fn again(&self, attack: impl Fn(&mut Client, &mut Rng) -> std::io::Result<()>) {
        let mut rng = Rng::from_seed(2);
        while self.goes_on() {
            let Ok(mut client) = Client::try_connect(("127.0.0.1", self.server.port())) else { continue };
            while self.goes_on() && attack(&mut client, &mut rng).is_ok() {}
        }
    }

    fn read_nothing(&self) {
        let push = |element| vec!["RPUSH".to_string(), "list".into(), format!("{element:0>50}")];
        self.server.client().pipeline(&(0..20_000).map(push).collect::<Vec<_>>());
        self.again(|client, _| {
            client.set_timeout(Some(Duration::from_millis(500)));
            let requests = b"*4\r\n$6\r\nLRANGE\r\n$4\r\nlist\r\n$1\r\n0\r\n$2\r\n-1\r\n".repeat(50);
            client.try_send_raw(&requests)?;
            wait_until_closed(self, client)
        });
    }

    fn send_halves(&self) {
        self.again(|client, rng| {
            let len = self.limit / 4 + rng.below(self.limit / 4);
            client.try_send_raw(format!("*3\r\n$3\r\nSET\r\n$4\r\nhalf\r\n${len}\r\n").as_bytes())?;
            let chunk = vec![b'x'; 1 << 20];
            (0..len >> 21).try_for_each(|_| client.try_send_raw(&chunk))?;
            Err(std::io::ErrorKind::ConnectionAborted.into())
        });
    }

    fn track(&self) {
        self.again(|client, rng| {
            let mut told = Client::try_connect(("127.0.0.1", self.server.port()))?;
            let id = told.try_call(&["CLIENT", "ID"])?.as_i64().expect("a number").to_string();
            told.try_call(&["SUBSCRIBE", "__redis__:invalidate"])?;
            client.try_call(&["CLIENT", "TRACKING", "ON", "REDIRECT", &id])?;
            for _ in 0..1000 {
                client.try_call(&["GET", &format!("key:{}", rng.below(4_000_000))])?;
            }
            // What came until then, with the answer behind it.
            told.try_send_raw(b"PING\r\n")?;
            while !is_pong(&told.try_read_value()?) {
                self.invalidations.fetch_add(1, Ordering::Relaxed);
            }
            client.try_call(&["CLIENT", "TRACKING", "OFF"]).map(drop)
        });
    }

    fn queue(&self) {
        let value = "y".repeat(10_000);
        self.again(|client, _| {
            client.try_call(&["MULTI"])?;
            for _ in 0..1000 {
                client.try_call(&["SET", "queued", &value])?;
            }
            client.try_call(&["DISCARD"]).map(drop)
        });
    }

    fn publish(&self) {
        let message = "z".repeat(10_000);
        self.again(|client, rng| {
            let count = DEAF[rng.below(2) as usize];
            let deaf = (0..count).map(|_| {
                let mut deaf = Client::try_connect(("127.0.0.1", self.server.port()))?;
                deaf.try_send_raw(b"SUBSCRIBE news\r\n").map(|()| deaf)
            });
            let _deaf: Vec<Client> = deaf.collect::<std::io::Result<_>>()?;
            (0..1000).try_for_each(|_| client.try_call(&["PUBLISH", "news", &message]).map(drop))
        });
    }

    /// Scripts that take all the memory they get.
    fn fill_lua(&self) {
        let bombs = [
            "local s = string.rep('x', 1000) while true do s = s .. s end",
            "local t = {} for i = 1, 1e9 do t[i] = string.rep('x', 1e6) .. i end",
            "return string.rep('x', 2e6)",
        ];
        self.again(|client, rng| {
            let bomb = bombs[rng.below(bombs.len() as u64) as usize];
            let failed = client.try_call(&["EVAL", bomb, "0"])?.is_error();
            self.failed_scripts.fetch_add(u64::from(failed), Ordering::Relaxed);
            Ok(())
        });
    }

    /// Scripts that are never called again, and each another one.
    fn bring_scripts(&self) {
        let comment = "c".repeat(10_000);
        self.again(|client, rng| {
            let script = format!("return {} -- {comment}", rng.below(1 << 40));
            client.try_call(&["EVAL", &script, "0"])?;
            client.try_call(&["SCRIPT", "LOAD", &format!("{script} too")]).map(drop)
        });
    }

    fn connect(&self) {
        let (mut idle, most) = (Vec::new(), variable("HOSTILE_CONNECTIONS", CONNECTIONS));
        while self.goes_on() {
            if idle.len() as u64 >= most {
                idle.clear();
            }
            idle.extend(Client::try_connect(("127.0.0.1", self.server.port())).ok());
        }
    }

    /// All waits for an answer, of clients of both workers in turn.
    fn ping(&self) -> Waits {
        let (mut clients, mut waits) = ([self.server.client(), self.server.client()], Waits::default());
        while self.goes_on() {
            for client in &mut clients {
                let begin = Instant::now();
                assert_eq!(client.run("PING"), Value::Simple(b"PONG".to_vec()));
                waits.add(begin.elapsed());
            }
        }
        waits
    }

    /// By how much a thread wakes up too late that only sleeps: what of a wait is not the server's.
    fn sleep_shortly(&self) -> Waits {
        let (mut waits, nap) = (Waits::default(), Duration::from_millis(1));
        while self.goes_on() {
            let begin = Instant::now();
            thread::park_timeout(nap);
            waits.add(begin.elapsed().saturating_sub(nap));
        }
        waits
    }

    /// An attack that did not take place has shown nothing.
    fn check_attacks(&self, client: &mut Client) {
        let counts = [
            "rdb_saves",
            "evicted_keys",
            "evicted_clients",
            "evicted_scripts",
            "client_output_buffer_limit_disconnections",
        ];
        let own = [("invalidations", &self.invalidations), ("scripts out of memory", &self.failed_scripts)];
        let own = own.map(|(name, count)| (name, count.load(Ordering::Relaxed)));
        for (name, count) in counts.map(|name| (name, info(client, name))).into_iter().chain(own) {
            println!("{name}: {count}");
            assert!(count > 0, "{name}: nothing of it took place");
        }
    }

    fn check(&self) {
        let mut client = self.server.client();
        self.check_attacks(&mut client);
        // The program's text is a file's.
        let peak = self.server.status_bytes("VmHWM") - self.server.status_bytes("RssFile");
        let over = peak.saturating_sub(FIXED) as f64 / self.limit as f64;
        println!("the process held {peak} bytes at most: {over:.3} of maxmemory beside the fixed ones");
        assert!(over <= 1.05, "{peak} bytes are more than maxmemory");
        check_memory(&mut client, "after the mix");
        let big = "b".repeat((self.limit * 45 / 100) as usize);
        assert_eq!(client.call(&["SET", "big", &big]), Value::Simple(b"OK".to_vec()));
        // The policy may have chosen it since.
        let found = client.call(&["GET", "big"]);
        assert!(found == Value::from(big.as_str()) || found.is_null(), "it comes back as it was");
    }
}

/// The threads that attack take the processors' time only when the server and who measures it leave some: a
/// dozen of them would otherwise be what an answer waits for.
fn stand_back() {
    // Without it the figures are worse, no more.
    let thread = rustix::thread::gettid().as_raw_nonzero().to_string();
    let arguments = ["--idle", "--pid", "0", &thread];
    let idle = Command::new("chrt").args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !idle.is_ok_and(|status| status.success()) {
        rustix::process::setpriority_process(None, 19).ok();
    }
}

fn is_pong(value: &Value) -> bool {
    matches!(value, Value::Array(Some(items)) if items.first() == Some(&Value::from("pong")))
}

/// Its replies are not read; it sends nothing more either.
fn wait_until_closed(mix: &Mix<'_>, client: &mut Client) -> std::io::Result<()> {
    while mix.goes_on() {
        client.try_send_raw(b"PING\r\n")?;
        thread::yield_now();
    }
    Ok(())
}

/// A number of INFO.
fn info(client: &mut Client, name: &str) -> u64 {
    let Value::Bulk(Some(text)) = client.run("INFO everything") else { panic!("INFO answers a text") };
    let text = String::from_utf8_lossy(&text).into_owned();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("INFO has no {name}"))
}
