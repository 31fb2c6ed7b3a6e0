//! `cargo xtask tcl`: the public Tcl suites of Redis and Valkey against our programs, in a copy of their
//! folders. Must never change a suite: what is not run stands in tests/tcl with its reason.

use crate::process::{self, find_program};
use crate::report::{Count, Step};
use crate::skips::{self, Skip};
use crate::workspace::{self, Profile, peers_home, root, target};
use crate::{Outcome, install};
use std::collections::VecDeque;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

pub fn run(arguments: &[String]) -> Outcome {
    let request = parse(arguments)?;
    let server = match request.server {
        Some(path) => std::path::absolute(path).map_err(|error| error.to_string())?,
        None => workspace::build_server(Profile::Quick)?,
    };
    if !request.suite.is_there() {
        install::peers(&[request.suite.part])?;
    }
    let mut units = chosen_units(request.suite, &request.units)?;
    units.iter_mut().for_each(|unit| unit.options.extend_from_slice(request.options));
    let count = run_jobs(&[request.suite], &server, jobs(request.suite, units))?;
    println!("{} passed, {} failed", count.passed, count.failed);
    if count.failed == 0 { Ok(()) } else { Err(String::new()) }
}

/// The listed units of both suites, as a step of `cargo xtask test`.
pub fn step(server: &Path) -> Step {
    if find_program("tclsh").is_none() {
        return Step::LeftOut("no tclsh".into());
    }
    let (there, missing): (Vec<&Suite>, Vec<&Suite>) = SUITES.iter().partition(|suite| suite.is_there());
    if let [missing, ..] = missing[..] {
        println!("!!!! LEFT OUT: the suite of {} is not there", missing.name);
    }
    if there.is_empty() {
        return Step::LeftOut("no suite".into());
    }
    let jobs = |suite: &&'static Suite| Ok(jobs(suite, chosen_units(suite, &[])?));
    let all: Result<Vec<Vec<Job>>, String> = there.iter().map(jobs).collect();
    all.and_then(|all| run_jobs(&there, server, all.concat())).into()
}

/// One public suite.
struct Suite {
    name: &'static str,
    /// The folder under $PEERS_HOME.
    folder: &'static str,
    part: &'static str,
    program_prefix: &'static str,
    units: &'static str,
    skips: &'static str,
}

impl Suite {
    fn home(&self) -> PathBuf {
        peers_home().join(self.folder)
    }

    fn is_there(&self) -> bool {
        process::is_program(&self.home().join("runtest"))
    }

    /// Each lane has a copy of its own: the suite empties its folder for temporary files when it starts.
    fn copy(&self, lane: usize) -> PathBuf {
        target().join("tcl").join(format!("{}-{lane}", self.name))
    }

    fn log(&self) -> PathBuf {
        target().join("tcl").join(format!("{}.log", self.name))
    }
}

struct Request<'a> {
    suite: &'static Suite,
    server: Option<&'a str>,
    units: Vec<String>,
    /// What follows `--` goes to runtest as it is.
    options: &'a [String],
}

fn parse(arguments: &[String]) -> Result<Request<'_>, String> {
    let end = arguments.iter().position(|word| word == "--").unwrap_or(arguments.len());
    let options = arguments.get(end + 1..).unwrap_or(&[]);
    let mut request = Request { suite: &SUITES[0], server: None, units: Vec::new(), options };
    let mut words = arguments[..end].iter().map(String::as_str);
    while let Some(word) = words.next() {
        if word == "--server" {
            request.server = Some(words.next().ok_or("--server needs a path")?);
        } else if let Some(suite) = SUITES.iter().find(|suite| suite.name == word) {
            request.suite = suite;
        } else if word.starts_with('-') {
            return Err(format!("unknown option {word}; options of runtest follow --"));
        } else {
            request.units.push(word.into());
        }
    }
    Ok(request)
}

/// One unit of one suite.
#[derive(Clone)]
struct Job {
    suite: &'static Suite,
    unit: Unit,
}

fn jobs(suite: &'static Suite, units: Vec<Unit>) -> Vec<Job> {
    units.into_iter().map(|unit| Job { suite, unit }).collect()
}

/// Runs every job, one for each core at a time, and adds up what they found.
fn run_jobs(suites: &[&'static Suite], server: &Path, jobs: Vec<Job>) -> Result<Count, String> {
    let lanes =
        std::thread::available_parallelism().map_or(1, usize::from).min(jobs.len()).clamp(1, MOST_LANES);
    let mut total = Count::default();
    for suite in suites {
        (0..lanes).try_for_each(|lane| prepare(suite, server, &suite.copy(lane)))?;
        std::fs::write(suite.log(), "").map_err(|error| format!("{}: {error}", suite.log().display()))?;
        let complaints = complaints(suite)?;
        complaints.iter().for_each(|complaint| println!("{}: {complaint}", suite.skips));
        total.failed += complaints.len();
    }
    let waiting = Mutex::new(VecDeque::from(jobs));
    let total = Mutex::new(total);
    std::thread::scope(|scope| {
        for lane in 0..lanes {
            let (waiting, total) = (&waiting, &total);
            scope.spawn(move || {
                while let Some(job) = pop(waiting) {
                    let started = Instant::now();
                    let count = job.run(lane).conclude(&job, started.elapsed());
                    total.lock().expect("no lane panics while it adds").add(count);
                }
            });
        }
    });
    for suite in suites {
        println!("suite {}: {}", suite.name, suite.log().display());
    }
    Ok(total.into_inner().expect("all lanes have ended"))
}

fn pop(waiting: &Mutex<VecDeque<Job>>) -> Option<Job> {
    waiting.lock().expect("no lane panics while it takes a job").pop_front()
}

impl Job {
    fn run(&self, lane: usize) -> Progress {
        let refused = read(&root().join(self.suite.skips)).unwrap_or_default();
        let refused = skips::parse(&refused).iter().filter_map(Skip::start).map(str::to_string).collect();
        let mut progress = Progress { refused, ..Progress::default() };
        if let Err(error) = process::lines(&mut self.command(lane), LIMIT, |line| progress.line(line)) {
            progress.say(&error);
        }
        progress
    }

    fn command(&self, lane: usize) -> Command {
        let mut command = Command::new("./runtest");
        let first_port = FIRST_PORT + lane * (LANE_PORTS + SPARE_PORTS);
        command.current_dir(self.suite.copy(lane)).env("TERM", "dumb").args(OPTIONS);
        command.args(["--baseport", &first_port.to_string(), "--portcount", &LANE_PORTS.to_string()]);
        command.args(["--skipfile", SKIP_FILE, "--single", &self.unit.name]).args(&self.unit.options);
        command
    }
}

/// One file of a suite, and how it is run.
#[derive(Clone, Debug, PartialEq)]
struct Unit {
    name: String,
    options: Vec<String>,
}

fn parse_units(list: &str) -> Vec<Unit> {
    let lines = list.lines().filter(|line| !line.starts_with('#'));
    let words = lines.map(|line| line.split_whitespace().map(str::to_string));
    words.filter_map(|mut words| Some(Unit { name: words.next()?, options: words.collect() })).collect()
}

/// The named units, with the options that the suite's list has for them; the whole list if none is named.
fn chosen_units(suite: &Suite, named: &[String]) -> Result<Vec<Unit>, String> {
    let listed = parse_units(&read(&root().join(suite.units))?);
    if named.is_empty() {
        return Ok(listed);
    }
    let names = if named == ["all"] { all_units(suite)? } else { named.to_vec() };
    let known = |name: &String| listed.iter().find(|unit| unit.name == *name).cloned();
    Ok(names.into_iter().map(|name| known(&name).unwrap_or(Unit { name, options: Vec::new() })).collect())
}

fn all_units(suite: &Suite) -> Result<Vec<String>, String> {
    let listing = process::output(Command::new("./runtest").arg("--list-tests").current_dir(suite.home()));
    let listing = listing.ok_or("runtest --list-tests failed")?;
    Ok(String::from_utf8_lossy(&listing).lines().map(str::to_string).collect())
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Copies the suite, links the programs it starts and writes the skip list without comments.
fn prepare(suite: &Suite, server: &Path, copy: &Path) -> Outcome {
    let _ = std::fs::remove_dir_all(copy);
    std::fs::create_dir_all(copy.join("src")).map_err(|error| error.to_string())?;
    let parts = ["runtest", "tests", "utils"].map(|part| suite.home().join(part));
    process::run(Command::new("cp").arg("-a").args(parts).arg(copy), LIMIT)?;
    let skips = read(&root().join(suite.skips))?;
    let written = std::fs::write(copy.join(SKIP_FILE), skips::to_skip_file(&skips::parse(&skips)));
    written.map_err(|error| error.to_string())?;
    add_memory_check(copy)?;
    PROGRAMS.iter().try_for_each(|program| link(suite, server, copy, program))
}

/// Whenever the copy ends a server, what that holds has to add up.
fn add_memory_check(copy: &Path) -> Outcome {
    let path = copy.join(SERVERS);
    let whole = read(&path)? + "\n" + &read(&root().join(MEMORY_CHECK))?;
    std::fs::write(&path, whole).map_err(|error| format!("{}: {error}", path.display()))
}

/// Ours where it exists, else the peer's: the suite needs all of them.
fn link(suite: &Suite, server: &Path, copy: &Path, program: &str) -> Outcome {
    let name = format!("{}{program}", suite.program_prefix);
    let ours = server.with_file_name(format!("onefold-{program}"));
    let candidates = [
        (program == "server").then(|| server.to_path_buf()),
        process::is_program(&ours).then_some(ours),
        find_program(&name),
        Some(peers_home().join("valkey").join(&name)).filter(|path| process::is_program(path)),
        find_program(&format!("redis-{program}")),
    ];
    let Some(program) = candidates.into_iter().flatten().next() else { return Ok(()) };
    let link = copy.join("src").join(name);
    std::os::unix::fs::symlink(program, &link).map_err(|error| format!("{}: {error}", link.display()))
}

/// What is wrong with the entries of the skip list.
fn complaints(suite: &Suite) -> Result<Vec<String>, String> {
    let list = read(&root().join(suite.skips))?;
    Ok(skips::check(&skips::parse(&list), &sources(&suite.home().join("tests"))))
}

fn sources(folder: &Path) -> Vec<String> {
    let (mut folders, mut texts) = (vec![folder.to_path_buf()], Vec::new());
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).into_iter().flatten().filter_map(Result::ok);
        for path in entries.map(|entry| entry.path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "tcl") {
                texts.extend(std::fs::read(&path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()));
            }
        }
    }
    texts
}

/// What a unit's output has said so far.
#[derive(Default)]
struct Progress {
    count: Count,
    is_done: bool,
    output: String,
    /// What is worth showing of it.
    told: String,
    /// Lines of the last failure that still are.
    detail_lines: usize,
    /// Lines of configuration with which no server starts.
    refused: Vec<String>,
    /// A server that did not start, while the suite shows its configuration.
    start: Option<Start>,
    /// Folders of servers that need not start: the suite says of each later one there that it did not start,
    /// because it finds what the first one said. Whether it did, its tests show.
    tainted: Vec<String>,
}

struct Start {
    /// Where it stands in what is told.
    told_at: usize,
    folder: String,
    /// It need not start.
    is_refused: bool,
}

impl Progress {
    fn line(&mut self, line: &str) {
        self.output.push_str(line);
        self.output.push('\n');
        match event(line) {
            Event::Passed => {
                (self.count.passed, self.detail_lines) = (self.count.passed + 1, 0);
                self.start = None;
            }
            Event::Failed => {
                (self.count.failed, self.detail_lines) = (self.count.failed + 1, DETAIL_LINES);
                let start = Start { told_at: self.told.len(), folder: String::new(), is_refused: false };
                self.start = line.starts_with(NO_START).then_some(start);
            }
            Event::Done => self.is_done = true,
            Event::Other => (self.detail_lines, self.start) = (0, None),
            Event::Text => self.forgive(line.trim()),
        }
        if self.detail_lines > 0 {
            self.detail_lines -= 1;
            self.say(line);
        }
    }

    /// A line of the configuration of a server that did not start; behind the last one it is known whether
    /// that is a failure.
    fn forgive(&mut self, line: &str) {
        let Some(start) = &mut self.start else { return };
        start.is_refused |= self.refused.iter().any(|refused| refused == line);
        if line.starts_with("dir ") {
            start.folder = line.to_owned();
        }
        if line == CONFIGURATION_END && (start.is_refused || self.tainted.contains(&start.folder)) {
            self.told.truncate(start.told_at);
            self.tainted.push(std::mem::take(&mut start.folder));
            (self.count.failed, self.detail_lines, self.start) = (self.count.failed - 1, 0, None);
        }
    }

    fn say(&mut self, line: &str) {
        self.told.push_str(line);
        self.told.push('\n');
    }

    /// Prints and keeps what there is to say; the count, with one failure more if the unit never came to its
    /// end.
    fn conclude(mut self, job: &Job, took: Duration) -> Count {
        if !self.is_done {
            self.say("did not finish");
            self.count.failed += 1;
        }
        let Count { passed, failed } = self.count;
        let name = format!("{} {}", job.suite.name, job.unit.name);
        println!("{}{name}: {passed} passed, {failed} failed, {} s", self.told, took.as_secs());
        let log = std::fs::OpenOptions::new().append(true).open(job.suite.log());
        let kept = log.and_then(|mut log| log.write_all(self.output.as_bytes()));
        kept.unwrap_or_else(|error| println!("{}: {error}", job.suite.log().display()));
        self.count
    }
}

#[derive(Debug, PartialEq)]
enum Event {
    Passed,
    Failed,
    Done,
    /// A message of another kind; it ends a failure's details.
    Other,
    /// Continues the message before.
    Text,
}

fn event(line: &str) -> Event {
    let Some((kind, _)) = line.strip_prefix('[').and_then(|rest| rest.split_once("]: ")) else {
        return if line.trim() == "The End" { Event::Other } else { Event::Text };
    };
    match kind {
        "ok" => Event::Passed,
        "err" | "exception" | "TIMEOUT" => Event::Failed,
        _ if kind.ends_with(" done") => Event::Done,
        _ => Event::Other,
    }
}

const SUITES: &[Suite] = &[
    Suite {
        name: "redis",
        folder: "redis-7.0.15",
        part: "redis-suite",
        program_prefix: "redis-",
        units: "tests/tcl/units.txt",
        skips: "tests/tcl/skip-redis.txt",
    },
    Suite {
        name: "valkey",
        folder: "valkey-source",
        part: "valkey-suite",
        program_prefix: "valkey-",
        units: "tests/tcl/units-valkey.txt",
        skips: "tests/tcl/skip-valkey.txt",
    },
];
const PROGRAMS: &[&str] = &["server", "cli", "benchmark", "check-rdb", "check-aof", "sentinel"];
/// `--durable`: an error reply fails its test, not the whole run.
const OPTIONS: &[&str] = &["--clients", "1", "--timeout", "300", "--durable"];
const FIRST_PORT: usize = 26_000;
const LANE_PORTS: usize = 600;
/// The suite's own server takes a port of the 32 before the first.
const SPARE_PORTS: usize = 100;
/// As many as have ports below those that the system gives to clients.
const MOST_LANES: usize = 8;
const SKIP_FILE: &str = "skip.txt";
/// Where a suite starts and ends servers, and what comes behind that.
const SERVERS: &str = "tests/support/server.tcl";
const MEMORY_CHECK: &str = "tests/tcl/memory.tcl";
/// With it begins what the suite says of a server that does not start; its configuration follows.
const NO_START: &str = "[err]: Can't start ";
const CONFIGURATION_END: &str = "ERROR:";
const DETAIL_LINES: usize = 8;
const LIMIT: Duration = Duration::from_secs(3 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, wanted: Event) {
        assert_eq!(event(line), wanted, "{line}");
    }

    #[test]
    fn output_lines() {
        check("[ok]: SET and GET an item (1 ms)", Event::Passed);
        check("[err]: SET in tests/unit/type/string.tcl", Event::Failed);
        check("[exception]: Executing test client: ERR.", Event::Failed);
        check("[1/1 done]: unit/type/string (12 seconds)", Event::Done);
        check("Testing unit/type/hash", Event::Text);
        check("[skip]: SET", Event::Other);
        check("*** [err]: SET in tests/unit/type/string.tcl", Event::Text);
        check("Expected 'a' to be equal to 'b'", Event::Text);
    }

    #[test]
    fn a_server_that_need_not_start() {
        let check = |lines: &[&str], failed: usize, told: &str| {
            let mut progress = Progress { refused: vec!["user default off".into()], ..Progress::default() };
            lines.iter().for_each(|line| progress.line(line));
            assert_eq!((progress.count.failed, progress.told.as_str()), (failed, told), "{lines:?}");
        };
        let start = "[err]: Can't start ./server";
        let forgiven = [start, "dir x", "user default off", "ERROR:", "it ended"];
        check(&forgiven, 0, "");
        check(&[&forgiven[..], &[start, "dir x", "ERROR:"]].concat(), 0, "");
        check(
            &[&forgiven[..], &[start, "dir y", "ERROR:"]].concat(),
            1,
            &format!("{start}\ndir y\nERROR:\n"),
        );
        check(&[start, "user default on", "ERROR:"], 1, &format!("{start}\nuser default on\nERROR:\n"));
        check(&["[err]: SET", "user default off", "ERROR:"], 1, "[err]: SET\nuser default off\nERROR:\n");
        check(&[start, "[ok]: SET", "user default off", "ERROR:"], 1, &format!("{start}\n"));
    }

    #[test]
    fn what_a_server_tells_of_its_memory_is_judged() {
        let folder = std::env::temp_dir().join(format!("onefold-tcl-{}", std::process::id()));
        let servers = folder.join(SERVERS);
        std::fs::create_dir_all(servers.parent().expect("it has one")).expect("a writable folder");
        std::fs::write(&servers, "proc kill_server config {}").expect("a writable folder");
        add_memory_check(&folder).expect("the check is there");
        let Some(tclsh) = find_program("tclsh") else { return eprintln!("SKIPPED: no tclsh") };
        let check = |reply: &str, adds_up: bool| {
            let script = servers.with_file_name("judge.tcl");
            let reply = format!("[subst -novariables -nocommands {{{}}}]", reply.escape_default());
            let text = format!("source {}\nputs [memory_adds_up {reply}]", servers.display());
            std::fs::write(&script, text).expect("a writable folder");
            let judged = process::output(Command::new(&tclsh).arg(&script)).expect("it runs");
            assert_eq!(String::from_utf8_lossy(&judged).trim() == "1", adds_up, "{reply}");
        };
        let told = |shared: u64, sum: u64, allocated: u64| {
            let figures = [("clients.shared", shared), ("sum", sum), ("allocated", allocated)];
            let lines = figures.map(|(name, bytes)| format!("${}\r\n{name}\r\n:{bytes}\r\n", name.len()));
            format!("*6\r\n{}", lines.concat())
        };
        check(&told(0, 10_000_000, 10_000_000), true);
        check(&told(0, 10_165_536, 10_000_000), true);
        check(&told(0, 10_165_537, 10_000_000), false);
        check(&told(0, 9_834_464, 10_000_000), true);
        check(&told(0, 9_834_463, 10_000_000), false);
        check(&told(1, 9_834_463, 10_000_000), true);
        check("-NOAUTH Authentication required.\r\n", true);
        check("", true);
        std::fs::remove_dir_all(folder).expect("it is there");
    }

    #[test]
    fn unit_lists() {
        let units = parse_units("# head\nunit/a\n\nunit/b --tags -x\n");
        let unit = |name: &str, options: &[&str]| Unit {
            name: name.into(),
            options: options.iter().map(|option| option.to_string()).collect(),
        };
        assert_eq!(units, [unit("unit/a", &[]), unit("unit/b", &["--tags", "-x"])]);
    }

    #[test]
    fn arguments() {
        let words: Vec<String> =
            ["valkey", "unit/a", "--server", "x", "--", "--only", "y"].map(String::from).to_vec();
        let request = parse(&words).expect("well formed");
        assert_eq!(
            (request.suite.name, request.server, request.units.as_slice()),
            ("valkey", Some("x"), &["unit/a".to_string()][..])
        );
        assert_eq!(request.options, ["--only", "y"]);
        assert!(parse(&["--what".to_string()]).is_err());
    }
}
