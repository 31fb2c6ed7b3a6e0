//! `cargo xtask test`: everything that must hold, in one run, with one line at the end that counts it.
//! Must never stop at the first failure, and never pass in silence over what it could not test.

use crate::report::{Count, Report, Step};
use crate::workspace::{BUILD_LIMIT, Profile, build_server, cargo, peers_home};
use crate::{Outcome, clients, docs, fuzz, install, process, tcl, tidy};
use std::env;
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

pub struct Settings {
    /// What could not be tested counts as failed.
    pub strict: bool,
    pub environment: &'static [(&'static str, &'static str)],
}

pub fn run(_: &[String]) -> Outcome {
    everything(&Settings { strict: false, environment: &[] })
}

pub fn everything(settings: &Settings) -> Outcome {
    let missing = install::prepare();
    install::announce(&missing);
    let mut report = Report::new(settings.strict);
    if settings.strict {
        report.step("install", || Step::Counted(Count { passed: 0, failed: missing.len() }));
    }
    let left_out = run_steps(&mut report, settings);
    if settings.strict {
        report.step("left out", || Step::Counted(Count { passed: 0, failed: left_out.len() }));
    }
    report.print();
    install::announce(&missing);
    left_out.iter().for_each(|test| println!("!!!! NOT TESTED: {test}"));
    let Count { passed, failed } = report.total();
    println!("{passed} passed, {failed} failed");
    if failed == 0 { Ok(()) } else { Err(String::new()) }
}

/// Returns what tests left out.
fn run_steps(report: &mut Report, settings: &Settings) -> Vec<String> {
    let command = |words: &[&str]| with_environment(cargo(words), settings);
    report.step("format", || single(process::run(&mut command(&["fmt", "--all", "--check"]), BUILD_LIMIT)));
    report.step("tidy", || single(tidy::check_files()));
    report.step("lints", || single(process::run(&mut command(LINTS), BUILD_LIMIT)));
    let mut server = Err(String::new());
    report.step("build", || {
        server = build_server(Profile::Quick);
        single(server.clone().map(drop))
    });
    let server = server.as_deref().ok();
    report.step("docs", || with_server(server, |server| single(docs::check(server))));
    let mut left_out = Vec::new();
    report.step("cargo", || cargo_tests(command(TESTS), server, &mut left_out).into());
    for (name, words) in SCHEDULES {
        report.step(name, || cargo_tests(command(words), server, &mut left_out).into());
    }
    report.step("fuzz", fuzz::step);
    report.step("clients", || with_server(server, clients::step));
    report.step("tcl", || with_server(server, tcl::step));
    left_out
}

fn with_environment(mut command: Command, settings: &Settings) -> Command {
    command.envs(settings.environment.iter().copied());
    command
}

fn single(outcome: Outcome) -> Step {
    outcome.map(|()| Count::ONE).into()
}

fn with_server(server: Option<&Path>, work: impl FnOnce(&Path) -> Step) -> Step {
    server.map_or_else(|| Step::Broken("there is no server to test".into()), work)
}

/// Runs cargo's tests and adds up their result lines; a crate that does not compile is one failure. What they
/// could not test is added to `left_out`.
fn cargo_tests(
    mut command: Command,
    server: Option<&Path>,
    left_out: &mut Vec<String>,
) -> Result<Count, String> {
    if let Some(server) = server {
        command.env("ONEFOLD_SERVER", server);
    }
    if let Some(path) = path_with_peers() {
        command.env("PATH", path);
    }
    let mut said = Said::default();
    command.args(["--", "--show-output"]);
    let ended_well = process::lines(&mut command, BUILD_LIMIT, |line| {
        if said.line(line) {
            println!("{line}");
        }
    })?;
    left_out.append(&mut said.left_out);
    if !ended_well && said.total.failed == 0 {
        said.total.failed = 1;
    }
    Ok(said.total)
}

/// Valkey is unpacked beside the programs that are installed, and found behind them.
fn path_with_peers() -> Option<OsString> {
    let path = env::var_os("PATH")?;
    env::join_paths(env::split_paths(&path).chain([peers_home().join("valkey")])).ok()
}

/// What the harness has said so far.
#[derive(Default)]
struct Said {
    total: Count,
    left_out: Vec<String>,
    /// It tells what tests that passed have printed, now that of this one.
    of_passed: bool,
    test: String,
}

impl Said {
    /// Takes a line; whether somebody wants to read it.
    fn line(&mut self, line: &str) -> bool {
        self.total.add(parse_result(line).unwrap_or_default());
        match line {
            "successes:" => self.of_passed = true,
            "failures:" => self.of_passed = false,
            _ if line.starts_with("test result: ") => self.of_passed = false,
            _ => {}
        }
        if !self.of_passed {
            return true;
        }
        let name = line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----"));
        if let Some(name) = name {
            self.test = name.to_owned();
        }
        if let Some(reason) = line.strip_prefix("SKIPPED: ") {
            self.left_out.push(format!("{}: {reason}", self.test));
        }
        false
    }
}

/// `test result: ok. 12 passed; 0 failed; ...`
fn parse_result(line: &str) -> Option<Count> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let number = |word| counts.split("; ").find_map(|part| part.strip_suffix(word)?.trim().parse().ok());
    Some(Count { passed: number("passed")?, failed: number("failed")? })
}

const LINTS: &[&str] = &[
    "clippy",
    "--workspace",
    "--all-targets",
    "--",
    "-D",
    "warnings",
    "-D",
    "clippy::undocumented_unsafe_blocks",
];
/// Tests in which a scheduler chooses every step of every thread.
const SCHEDULES: [(&str, &[&str]); 2] = [
    ("schedules of the store", &["test", "-p", "store", "--features", "shuttle", "--test", "schedules"]),
    (
        "schedules of the inbox",
        &["test", "-p", "server", "--features", "shuttle", "--bin", "onefold-server", "schedules"],
    ),
];
const TESTS: &[&str] = &["test", "--workspace", "--no-fail-fast"];

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, wanted: Option<(usize, usize)>) {
        assert_eq!(parse_result(line), wanted.map(|(passed, failed)| Count { passed, failed }), "{line}");
    }

    #[test]
    fn result_lines_are_read() {
        check("test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out", Some((12, 0)));
        check("test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured", Some((3, 2)));
        check("test a::b ... ok", None);
        check("test result: odd", None);
    }

    #[test]
    fn what_passed_without_a_test_is_told() {
        let mut said = Said::default();
        let lines = [
            ("test a::b ... ok", true),
            ("successes:", false),
            ("---- a::b stdout ----", false),
            ("a figure", false),
            ("SKIPPED: there is no peer", false),
            ("failures:", true),
            ("---- a::c stdout ----", true),
            ("test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured", true),
        ];
        lines.into_iter().for_each(|(line, shown)| assert_eq!(said.line(line), shown, "{line}"));
        assert_eq!(said.left_out, ["a::b: there is no peer"]);
        assert_eq!(said.total, Count { passed: 1, failed: 1 });
    }
}
