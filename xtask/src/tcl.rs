//! `cargo xtask tcl`: the public Tcl suites of Redis and Valkey against our programs, in a copy of their
//! folders. Must never change a suite: what is not run stands in tests/tcl with its reason.

use crate::process::{self, find_program};
use crate::report::{Count, Step};
use crate::workspace::{self, Profile, peers_home, root, target};
use crate::{Outcome, install, skips};
use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

pub fn run(arguments: &[String]) -> Outcome {
    let request = parse(arguments)?;
    let server = match request.server {
        Some(path) => std::path::absolute(path).map_err(|error| error.to_string())?,
        None => workspace::build_server(Profile::Quick)?,
    };
    let count = run_units(request.suite, &server, &request.units, request.options)?;
    println!("{} passed, {} failed", count.passed, count.failed);
    if count.failed == 0 { Ok(()) } else { Err(String::new()) }
}

/// The units of tests/tcl/units.txt, as a step of `cargo xtask test`.
pub fn step(server: &Path) -> Step {
    let suite = &SUITES[0];
    if find_program("tclsh").is_none() || !process::is_program(&suite.home().join("runtest")) {
        return Step::LeftOut("no tclsh or no suite".into());
    }
    run_units(suite, server, &[], &[]).into()
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

    fn copy(&self) -> PathBuf {
        target().join("tcl").join(self.name)
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

/// Runs the units with those that have the same options together.
fn run_units(suite: &Suite, server: &Path, named: &[String], options: &[String]) -> Result<Count, String> {
    prepare(suite, server)?;
    let complaints = write_skip_file(suite)?;
    complaints.iter().for_each(|complaint| println!("{}: {complaint}", suite.skips));
    let log = target().join("tcl").join(format!("{}.log", suite.name));
    let mut progress = Progress::new(&log)?;
    let mut units = chosen_units(suite, named)?;
    units.iter_mut().for_each(|unit| unit.options.extend_from_slice(options));
    units.sort_by(|left, right| left.options.cmp(&right.options));
    for group in units.chunk_by(|left, right| left.options == right.options) {
        run_group(suite, group, &mut progress)?;
    }
    let mut count = progress.conclude(&units);
    count.failed += complaints.len();
    println!("suite {}: {} passed, {} failed; {}", suite.name, count.passed, count.failed, log.display());
    Ok(count)
}

/// Runs units until each has been started once: an exception in one ends the suite's own run.
fn run_group(suite: &Suite, units: &[Unit], progress: &mut Progress) -> Outcome {
    let mut waiting: Vec<&Unit> = units.iter().collect();
    while !waiting.is_empty() {
        let before = waiting.len();
        process::lines(&mut runtest(suite, &waiting), LIMIT, |line| progress.line(line))?;
        waiting.retain(|unit| !progress.started.contains(&unit.name));
        if waiting.len() == before {
            break;
        }
    }
    Ok(())
}

fn runtest(suite: &Suite, units: &[&Unit]) -> Command {
    let mut command = Command::new("./runtest");
    command.current_dir(suite.copy()).env("TERM", "dumb").args(OPTIONS).args(["--skipfile", SKIP_FILE]);
    units.iter().for_each(|unit| {
        command.args(["--single", &unit.name]);
    });
    command.args(units.iter().take(1).flat_map(|unit| &unit.options));
    command
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
    let listing = process::output(Command::new("./runtest").arg("--list-tests").current_dir(suite.copy()));
    let listing = listing.ok_or("runtest --list-tests failed")?;
    Ok(String::from_utf8_lossy(&listing).lines().map(str::to_string).collect())
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Copies the suite and links the programs it starts.
fn prepare(suite: &Suite, server: &Path) -> Outcome {
    if !process::is_program(&suite.home().join("runtest")) {
        install::peers(&[suite.part])?;
    }
    let copy = suite.copy();
    let _ = std::fs::remove_dir_all(&copy);
    std::fs::create_dir_all(copy.join("src")).map_err(|error| error.to_string())?;
    let parts = ["runtest", "tests", "utils"].map(|part| suite.home().join(part));
    process::run(Command::new("cp").arg("-a").args(parts).arg(&copy), LIMIT)?;
    PROGRAMS.iter().try_for_each(|program| link(suite, server, program))
}

/// Ours where it exists, else the peer's: the suite needs all of them.
fn link(suite: &Suite, server: &Path, program: &str) -> Outcome {
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
    let link = suite.copy().join("src").join(name);
    std::os::unix::fs::symlink(program, &link).map_err(|error| format!("{}: {error}", link.display()))
}

/// Writes the skip list without comments; returns complaints about its entries.
fn write_skip_file(suite: &Suite) -> Result<Vec<String>, String> {
    let list = read(&root().join(suite.skips))?;
    let skips = skips::parse(&list);
    let written = std::fs::write(suite.copy().join(SKIP_FILE), skips::to_skip_file(&skips));
    written.map_err(|error| error.to_string())?;
    Ok(skips::check(&skips, &sources(&suite.copy().join("tests"))))
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

/// What the suite's output has said so far.
struct Progress {
    count: Count,
    started: BTreeSet<String>,
    done: BTreeSet<String>,
    log: std::fs::File,
    /// Lines of the last failure that are still worth showing.
    detail_lines: usize,
}

impl Progress {
    fn new(log: &Path) -> Result<Progress, String> {
        let log = std::fs::File::create(log).map_err(|error| format!("{}: {error}", log.display()))?;
        Ok(Progress {
            count: Count::default(),
            started: BTreeSet::new(),
            done: BTreeSet::new(),
            log,
            detail_lines: 0,
        })
    }

    fn line(&mut self, line: &str) {
        let _ = writeln!(self.log, "{line}");
        match event(line) {
            Event::Passed => (self.count.passed, self.detail_lines) = (self.count.passed + 1, 0),
            Event::Failed => (self.count.failed, self.detail_lines) = (self.count.failed + 1, DETAIL_LINES),
            Event::Started(unit) => {
                self.started.insert(unit.into());
            }
            Event::Done(unit) => {
                self.done.insert(unit.into());
                println!("{line}");
            }
            Event::Other => self.detail_lines = 0,
            Event::Text => {}
        }
        if self.detail_lines > 0 {
            self.detail_lines -= 1;
            println!("{line}");
        }
    }

    /// The count, with one failure more for each unit that never came to its end.
    fn conclude(&self, units: &[Unit]) -> Count {
        let mut count = self.count;
        for unit in units.iter().filter(|unit| !self.done.contains(&unit.name)) {
            println!("{} did not finish", unit.name);
            count.failed += 1;
        }
        count
    }
}

#[derive(Debug, PartialEq)]
enum Event<'a> {
    Passed,
    Failed,
    Started(&'a str),
    Done(&'a str),
    /// A message of another kind; it ends a failure's details.
    Other,
    /// Continues the message before.
    Text,
}

fn event(line: &str) -> Event<'_> {
    if let Some(unit) = line.strip_prefix("Testing ") {
        return Event::Started(unit);
    }
    let Some((kind, rest)) = line.strip_prefix('[').and_then(|rest| rest.split_once("]: ")) else {
        return if line.trim() == "The End" { Event::Other } else { Event::Text };
    };
    match kind {
        "ok" => Event::Passed,
        "err" | "exception" | "TIMEOUT" => Event::Failed,
        _ if kind.ends_with(" done") => Event::Done(rest.split(' ').next().unwrap_or(rest)),
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
const OPTIONS: &[&str] =
    &["--clients", "2", "--baseport", "26000", "--portcount", "3000", "--timeout", "300", "--durable"];
const SKIP_FILE: &str = "skip.txt";
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
        check("[3/14 done]: unit/type/string (12 seconds)", Event::Done("unit/type/string"));
        check("Testing unit/type/hash", Event::Started("unit/type/hash"));
        check("[skip]: SET", Event::Other);
        check("*** [err]: SET in tests/unit/type/string.tcl", Event::Text);
        check("Expected 'a' to be equal to 'b'", Event::Text);
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
