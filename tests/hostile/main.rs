//! Everything that swells a server, at once, under `maxmemory`: the process stays within it, whatever clients
//! do. Writers whose values change in size, saves, readers that do not read, arguments of which only half is
//! sent, thousands of connections, client-side caching, long transactions, subscribers that do not listen.
//!
//! It takes minutes and both cores: HOSTILE_MB asks for it, `maxmemory` in megabytes. HOSTILE_ROUNDS is how
//! long it lasts. The longest wait for an answer is printed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use base::random::Rng;
use testkit::memory::{check_memory, memory};
use testkit::{Client, Group, Server, Value, onefold};

/// What is not in `maxmemory`: stacks, the program, the allocator's tables.
const FIXED: u64 = 12 << 20;
const CONNECTIONS: usize = 2000;
const ROUNDS: u64 = 3000;

struct Mix<'a> {
    server: &'a Server,
    limit: u64,
    /// Batches of the writer that remain.
    rounds: u64,
    over: AtomicBool,
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
    let Some(megabytes) = variable("HOSTILE_MB") else {
        eprintln!("SKIPPED: HOSTILE_MB does not ask for it");
        return;
    };
    let limit = megabytes << 20;
    let group = Group::create().filter(|group| group.limit_memory(limit + limit / 10));
    let enter = group.as_ref().map(Group::enter).unwrap_or_else(|| "true".into());
    let limit_text = limit.to_string();
    let policy = ["--maxmemory-policy", "allkeys-lru", "--maxmemory-clients", "10%", "--io-threads", "2"];
    let others = ["--save", "", "--enable-debug-command", "yes", "--maxmemory", &limit_text];
    let server = Server::start_after(onefold(), &[&policy[..], &others].concat(), &enter);
    let mix = Mix {
        server: &server,
        limit,
        rounds: variable("HOSTILE_ROUNDS").unwrap_or(ROUNDS),
        over: AtomicBool::new(false),
    };
    thread::scope(|scope| mix.run(scope));
    mix.check();
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

impl<'a> Mix<'a> {
    fn run<'s>(&'s self, scope: &'s Scope<'s, '_>) {
        let pings = scope.spawn(|| self.ping());
        for swell in [
            Self::save,
            Self::read_nothing,
            Self::send_halves,
            Self::track,
            Self::queue,
            Self::publish,
            Self::connect,
        ] {
            scope.spawn(move || swell(self));
        }
        let end = Ends(&self.over);
        self.fill();
        self.write();
        drop(end);
        let longest_us = pings.join().expect("PING is always answered");
        println!("the longest PING took {longest_us} us");
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
        let rounds = self.rounds;
        for round in 0..rounds {
            let len = [64, 256, 40, 1000, 4000, 150][(round * 6 / rounds) as usize];
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
            client.run("DEBUG SLEEP 0.05");
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
        let mut client = self.server.client();
        for element in 0..20_000 {
            client.call(&["RPUSH", "list", &format!("{element:0>50}")]);
        }
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
            client.try_call(&["CLIENT", "TRACKING", "ON"])?;
            for _ in 0..1000 {
                client.try_call(&["GET", &format!("key:{}", rng.below(4_000_000))])?;
            }
            Ok(())
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
        self.again(|client, _| {
            let deaf = (0..50).map(|_| {
                let mut deaf = Client::try_connect(("127.0.0.1", self.server.port()))?;
                deaf.try_send_raw(b"SUBSCRIBE news\r\n").map(|()| deaf)
            });
            let _deaf: Vec<Client> = deaf.collect::<std::io::Result<_>>()?;
            (0..1000).try_for_each(|_| client.try_call(&["PUBLISH", "news", &message]).map(drop))
        });
    }

    fn connect(&self) {
        let mut idle = Vec::new();
        while self.goes_on() {
            if idle.len() == CONNECTIONS {
                idle.clear();
            }
            idle.extend(Client::try_connect(("127.0.0.1", self.server.port())).ok());
        }
    }

    /// The longest wait for an answer, in microseconds.
    fn ping(&self) -> u128 {
        let (mut client, mut longest_us) = (self.server.client(), 0);
        while self.goes_on() {
            let begin = Instant::now();
            assert_eq!(client.run("PING"), Value::Simple(b"PONG".to_vec()));
            longest_us = longest_us.max(begin.elapsed().as_micros());
        }
        longest_us
    }

    fn check(&self) {
        let mut client = self.server.client();
        let peak = self.server.status_bytes("VmHWM");
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
