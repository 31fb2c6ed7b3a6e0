//! `cargo xtask test`: everything that must hold, in one run, with one line at the end that counts it.
//! Must never stop at the first failure, and never pass in silence over what it could not test.

use crate::report::{Count, Report, Step};
use crate::workspace::{BUILD_LIMIT, Profile, build_server, cargo};
use crate::{Outcome, clients, docs, fuzz, install, process, tcl, tidy};
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
    run_steps(&mut report, settings);
    report.print();
    install::announce(&missing);
    let Count { passed, failed } = report.total();
    println!("{passed} passed, {failed} failed");
    if failed == 0 { Ok(()) } else { Err(String::new()) }
}

fn run_steps(report: &mut Report, settings: &Settings) {
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
    report.step("cargo", || cargo_tests(command(TESTS), server).into());
    for (name, words) in SCHEDULES {
        report.step(name, || cargo_tests(command(words), server).into());
    }
    report.step("fuzz", fuzz::step);
    report.step("clients", || with_server(server, clients::step));
    report.step("tcl", || with_server(server, tcl::step));
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

/// Runs cargo's tests and adds up their result lines; a crate that does not compile is one failure.
fn cargo_tests(mut command: Command, server: Option<&Path>) -> Result<Count, String> {
    if let Some(server) = server {
        command.env("ONEFOLD_SERVER", server);
    }
    let mut total = Count::default();
    let ended_well = process::lines(&mut command, BUILD_LIMIT, |line| {
        println!("{line}");
        total.add(parse_result(line).unwrap_or_default());
    })?;
    if !ended_well && total.failed == 0 {
        total.failed = 1;
    }
    Ok(total)
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
}
