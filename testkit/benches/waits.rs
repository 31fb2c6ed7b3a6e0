//! The longest that a client waits for its reply: while the keyspace grows to 10 million keys, while it is
//! saved and overwritten, and while one huge value is. One thread is all the load, so that no client waits
//! for another.
//!
//! `cargo bench -p testkit --bench waits [SERVER [KEYS]]`. A virtual machine has pauses of its own: every
//! figure stands beside the same work without a save, and of the longest wait for a huge value stands how
//! much of it this thread and the worker spent waiting for a processor.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use base::random::Rng;
use testkit::client::{Client, encode};
use testkit::server::{Server, onefold};

const GROWN_KEYS: usize = 10_000_000;
const SAVED_KEYS: u64 = 3_000_000;
const VALUE_LEN: usize = 400;
/// Connections that overwrite, each with one request at a time.
const WRITERS: usize = 20;
const PIPELINE: usize = 16;
const ROUNDS: usize = 3;
const QUIET: Duration = Duration::from_secs(5);

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let program = arguments.next().map_or_else(onefold, Into::into);
    let keys = arguments.next().map_or(SAVED_KEYS, |text| text.parse().expect("KEYS is a number"));
    println!("{}", program.display());
    HUGE.iter().for_each(|huge| saving_one(&program, huge, 3 * keys));
    saving(&program, keys);
    growing(&program);
}

/// Waits, by length.
#[derive(Default)]
struct Waits {
    count: usize,
    longest: Duration,
    /// Of the longest, where it was looked at.
    without_processor: Option<Duration>,
    over: [usize; STEPS_US.len()],
    /// Waits of so many steps of [`FINE_US`].
    fine: Vec<usize>,
}

const STEPS_US: [u128; 6] = [500, 1000, 2000, 3000, 5000, 10_000];
const FINE_US: usize = 10;

impl Waits {
    fn add(&mut self, wait: Duration) {
        self.count += 1;
        self.longest = self.longest.max(wait);
        let step = wait.as_micros() as usize / FINE_US;
        self.fine.resize(self.fine.len().max(step + 1), 0);
        self.fine[step] += 1;
        for (over, step) in self.over.iter_mut().zip(STEPS_US) {
            *over += usize::from(wait.as_micros() > step);
        }
    }

    /// What one in a thousand waits exceeds, in microseconds.
    fn one_in_a_thousand_us(&self) -> usize {
        let longer = |step: &usize| self.fine[*step..].iter().sum::<usize>() * 1000 <= self.count;
        (0..self.fine.len()).find(longer).unwrap_or(0) * FINE_US
    }

    fn print(&self, name: &str, took: Duration) {
        let steps: Vec<String> =
            STEPS_US.iter().zip(self.over).map(|(step, over)| format!(">{step}us {over}")).collect();
        println!(
            "{name:32} {:6.2} s, {:8} waits, 99.9 % in {:6} us, longest {:6} us; {}",
            took.as_secs_f64(),
            self.count,
            self.one_in_a_thousand_us(),
            self.longest.as_micros(),
            steps.join(", ")
        );
        if let Some(time) = self.without_processor {
            println!("{:32} {:6} us of the longest without a processor", "", time.as_micros());
        }
    }
}

/// A client inserts new keys, a pipeline at a time; another asks for a key all the while. Then the same keys
/// once more: nothing grows any more.
fn growing(program: &std::path::Path) {
    let server = Server::start(program, &["--save", "", "--io-threads", "1"]);
    let (mut writer, mut other) = (server.client(), server.client());
    for name in ["growing to 10 million keys", "the same keys again"] {
        let (mut waits, began) = (Waits::default(), Instant::now());
        for first in (0..GROWN_KEYS).step_by(PIPELINE) {
            let asked = Instant::now();
            writer.send_raw(&batch(first));
            other.send(&["GET", "key:000000000001"]);
            other.read_value();
            waits.add(asked.elapsed());
            (0..PIPELINE).for_each(|_| drop(writer.read_value()));
        }
        waits.print(name, began.elapsed());
    }
}

fn batch(first: usize) -> Vec<u8> {
    let set = |index| encode(&["SET", &format!("key:{index:012}"), "12345678x"]);
    (first..first + PIPELINE).flat_map(set).collect()
}

/// Every key is overwritten in random order, with and without a save running.
fn saving(program: &std::path::Path, keys: u64) {
    // One worker and this thread fill two cores; a second worker would only wait for a core itself.
    let server = Server::start(program, &["--save", "", "--io-threads", "1"]);
    fill(&mut server.client(), keys);
    let mut writers: Vec<Client> = (0..WRITERS).map(|_| server.client()).collect();
    let mut control = server.client();
    let mut rng = Rng::from_seed(1);
    for _ in 0..ROUNDS {
        let (mut waits, began) = (Waits::default(), Instant::now());
        while began.elapsed() < QUIET {
            overwrite(&mut writers, &mut rng, keys, &mut waits);
        }
        waits.print("overwriting", began.elapsed());
        let (mut waits, began) = (Waits::default(), Instant::now());
        control.run("BGSAVE");
        while is_saving(&mut control) {
            (0..ASK_EVERY).for_each(|_| overwrite(&mut writers, &mut rng, keys, &mut waits));
        }
        waits.print("overwriting while saved", began.elapsed());
    }
}

/// Rounds of requests between two looks at whether the save is over.
const ASK_EVERY: usize = 500;

fn fill(client: &mut Client, keys: u64) {
    for first in (0..keys).step_by(1000) {
        let requests: Vec<Vec<Vec<u8>>> = (first..keys.min(first + 1000)).map(set).collect();
        client.pipeline(&requests);
    }
}

fn set(key: u64) -> Vec<Vec<u8>> {
    vec![b"SET".to_vec(), format!("key:{key:012}").into_bytes(), vec![b'x'; VALUE_LEN]]
}

/// One request on every connection; each waits until all before it in the row have been answered, at most.
fn overwrite(writers: &mut [Client], rng: &mut Rng, keys: u64, waits: &mut Waits) {
    let mut asked = Vec::with_capacity(writers.len());
    for writer in writers.iter_mut() {
        let request = encode(&set(rng.below(keys)));
        asked.push(Instant::now());
        writer.send_raw(&request);
    }
    for (writer, asked) in writers.iter_mut().zip(asked) {
        writer.read_value();
        waits.add(asked.elapsed());
    }
}

/// A value of which an item is written in random places: how the item of a number comes in first, and how it
/// is written again.
struct Huge {
    name: &'static str,
    first: fn(u64) -> Vec<Vec<u8>>,
    again: fn(u64) -> Vec<Vec<u8>>,
}

const HUGE: [Huge; 4] = [
    Huge { name: "a hash", first: |item| hset(item, b'a'), again: |item| hset(item, b'b') },
    Huge { name: "a sorted set", first: |item| zadd(item, item), again: |item| zadd(item, item ^ 0xfff) },
    Huge {
        name: "a list",
        first: |item| words(&["RPUSH", "key", &format!("element:{item:040}")]),
        again: |item| words(&["LSET", "key", &item.to_string(), &format!("changed:{item:040}")]),
    },
    Huge { name: "a string", first: |item| setrange(item, b'a'), again: |item| setrange(item, b'b') },
];

fn words(words: &[&str]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

fn hset(item: u64, byte: u8) -> Vec<Vec<u8>> {
    words(&["HSET", "key", &format!("field:{item:010}"), &char::from(byte).to_string().repeat(64)])
}

fn zadd(item: u64, score: u64) -> Vec<Vec<u8>> {
    words(&["ZADD", "key", &score.to_string(), &format!("member:{item:010}")])
}

/// Of a string an item is 50 bytes.
fn setrange(item: u64, byte: u8) -> Vec<Vec<u8>> {
    words(&["SETRANGE", "key", &(item * 50).to_string(), &char::from(byte).to_string().repeat(50)])
}

/// One value of so many items is written in random places, with and without a save running; and the most that
/// the process grows by meanwhile.
fn saving_one(program: &std::path::Path, huge: &Huge, items: u64) {
    let server = Server::start(program, &["--save", "", "--io-threads", "1"]);
    let (mut writer, mut control) = (server.client(), server.client());
    for first in (0..items).step_by(1000) {
        let requests: Vec<_> = (first..items.min(first + 1000)).map(huge.first).collect();
        writer.pipeline(&requests);
    }
    let (mut rng, queues) = (Rng::from_seed(1), Queues::open(&server));
    let mut write = |waits: &mut Waits| {
        let request = encode(&(huge.again)(rng.below(items)));
        let (queued, asked) = (queues.waited(), Instant::now());
        writer.send_raw(&request);
        writer.read_value();
        let wait = asked.elapsed();
        if wait > waits.longest {
            waits.without_processor = Some(queues.waited() - queued);
        }
        waits.add(wait);
    };
    let (mut waits, began) = (Waits::default(), Instant::now());
    while began.elapsed() < QUIET {
        write(&mut waits);
    }
    waits.print(huge.name, began.elapsed());
    fs::write(format!("/proc/{}/clear_refs", server.pid()), "5").expect("an own process");
    let before = kilobytes(&server, "VmRSS");
    let (mut waits, began) = (Waits::default(), Instant::now());
    control.run("BGSAVE");
    while is_saving(&mut control) {
        (0..ASK_EVERY).for_each(|_| write(&mut waits));
    }
    waits.print("  while saved", began.elapsed());
    let grown = kilobytes(&server, "VmHWM").saturating_sub(before);
    println!("{:32} {before} kB resident before, {grown} more at most", "");
}

/// How long this thread and the server's worker have been ready to run while others had the processors.
struct Queues([File; 2]);

impl Queues {
    fn open(server: &Server) -> Queues {
        let threads = fs::read_dir(format!("/proc/{}/task", server.pid())).expect("it runs");
        let is_worker = |path: &PathBuf| {
            fs::read_to_string(path.join("comm")).is_ok_and(|name| name.trim() == "worker-0")
        };
        let worker = threads.flatten().map(|entry| entry.path()).find(is_worker).expect("it has a worker");
        let open = |path: PathBuf| File::open(path).expect("the kernel keeps account of threads");
        Queues([open("/proc/thread-self/schedstat".into()), open(worker.join("schedstat"))])
    }

    fn waited(&self) -> Duration {
        let waited = |file: &File| {
            let mut text = [0; 80];
            let len = file.read_at(&mut text, 0).expect("the thread lives");
            let text = str::from_utf8(&text[..len]).expect("digits");
            text.split_whitespace().nth(1).and_then(|field| field.parse::<u64>().ok()).expect("three numbers")
        };
        Duration::from_nanos(self.0.iter().map(waited).sum())
    }
}

/// A figure of the process's status.
fn kilobytes(server: &Server, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).expect("the kernel tells it")
}

fn is_saving(client: &mut Client) -> bool {
    let info = client.run("INFO persistence").as_text().unwrap_or_default();
    info.contains("rdb_bgsave_in_progress:1")
}
