//! `cargo xtask fuzz`: builds the fuzz targets with coverage, by the stable compiler, and runs them. What one
//! finds stays in fuzz/artifacts, what it learns in fuzz/corpus. Must never call a target passed that did not
//! run.

use crate::report::{Count, Step};
use crate::workspace::{self, BUILD_LIMIT, cargo, root};
use crate::{Outcome, process};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

pub fn run(arguments: &[String]) -> Outcome {
    let (seconds, names): (Vec<_>, Vec<_>) = arguments.iter().partition(|word| word.parse::<u64>().is_ok());
    let seconds = seconds.first().and_then(|word| word.parse().ok()).unwrap_or(SECONDS);
    let known = targets();
    if let Some(name) = names.iter().find(|name| !known.contains(name)) {
        return Err(format!("there is no target {name}: {}", known.join(", ")));
    }
    let wanted = known.iter().filter(|name| names.is_empty() || names.contains(name));
    let count = fuzz(wanted, seconds, &[])?;
    println!("{} passed, {} failed", count.passed, count.failed);
    if count.failed == 0 { Ok(()) } else { Err(String::new()) }
}

/// Every target for a moment: enough to see that it runs, and that old findings stay repaired. The inputs are
/// the same each time, so that what fails here fails again; `cargo xtask fuzz` looks for new ones.
pub fn step() -> Step {
    if process::find_program("c++").is_none() {
        return Step::LeftOut("libFuzzer needs a C++ compiler".into());
    }
    fuzz(targets().iter(), SECONDS_IN_TESTS, &REPEATABLE).into()
}

fn fuzz<'a>(names: impl Iterator<Item = &'a String>, seconds: u64, more: &[&str]) -> Result<Count, String> {
    let binaries = build()?;
    let mut count = Count::default();
    for name in names {
        println!("fuzzing {name} for {seconds} s");
        match run_one(&binaries, name, seconds, more) {
            Ok(()) => count.add(Count::ONE),
            Err(reason) => {
                println!("{name}: {reason}; see fuzz/artifacts");
                count.add(Count { passed: 0, failed: 1 });
            }
        }
    }
    Ok(count)
}

/// The names of all targets, sorted.
fn targets() -> Vec<String> {
    let entries = std::fs::read_dir(root().join("fuzz/fuzz_targets")).into_iter().flatten();
    let files = entries.filter_map(Result::ok).map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<_> = files.filter_map(|file| Some(file.strip_suffix(".rs")?.to_string())).collect();
    names.sort();
    names
}

/// Builds all targets; returns the folder they are in. Only what is built for an explicit target gets the
/// flags: build scripts do without coverage.
fn build() -> Result<PathBuf, String> {
    let (host, folder) = (host()?, workspace::target().join("fuzz"));
    let mut command = cargo(&["build", "--release", "--manifest-path", "fuzz/Cargo.toml", "--target", &host]);
    command.arg("--target-dir").arg(&folder).env("RUSTFLAGS", FLAGS);
    process::run(&mut command, BUILD_LIMIT)?;
    Ok(folder.join(host).join("release"))
}

fn host() -> Result<String, String> {
    let text = process::output(Command::new("rustc").arg("-vV")).ok_or("there is no rustc")?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| "rustc does not name its host".into())
}

fn run_one(binaries: &Path, name: &str, seconds: u64, more: &[&str]) -> Outcome {
    let folder = root().join("fuzz");
    let (corpus, artifacts) = (folder.join("corpus").join(name), folder.join("artifacts"));
    for needed in [&corpus, &artifacts] {
        std::fs::create_dir_all(needed).map_err(|error| format!("{}: {error}", needed.display()))?;
    }
    let mut command = Command::new(binaries.join(name));
    command.arg(corpus).arg(folder.join("seeds").join(name)).args(LIMITS).args(more);
    command.arg(format!("-artifact_prefix={}/{name}-", artifacts.display()));
    command.arg(format!("-max_total_time={seconds}")).current_dir(folder);
    // libFuzzer says much, and all of it here; only what it says of a finding is of interest.
    let log = artifacts.join(format!("{name}.log"));
    let file = std::fs::File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
    let outcome = process::run(command.stderr(file), Duration::from_secs(seconds) + PATIENCE);
    if outcome.is_err() {
        print_finding(&log);
    }
    outcome
}

/// The end of a log, from the panic on if there is one.
fn print_finding(log: &Path) {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let panic = text.find("panicked at").and_then(|at| text[..at].rfind('\n'));
    let lines = text[panic.unwrap_or(0)..].lines();
    lines.take(FINDING_LINES).for_each(|line| println!("{line}"));
}

const SECONDS: u64 = 60;
const SECONDS_IN_TESTS: u64 = 5;
const REPEATABLE: [&str; 2] = ["-seed=1", "-runs=20000"];
/// Reading the corpus and ending may take so much longer.
const PATIENCE: Duration = Duration::from_secs(120);

const FINDING_LINES: usize = 60;

/// What cargo-fuzz sets, without the sanitizers, for which it needs another compiler.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
                     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
                     -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares";

/// Seconds for one input, megabytes for the process, bytes of an input.
const LIMITS: [&str; 4] = ["-timeout=10", "-rss_limit_mb=1024", "-max_len=4096", "-verbosity=0"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_is_built_and_has_seeds() {
        let manifest =
            std::fs::read_to_string(root().join("fuzz/Cargo.toml")).expect("the manifest is there");
        let names = targets();
        assert!(!names.is_empty());
        for name in names {
            assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name} is not built");
            let mut seeds = std::fs::read_dir(root().join("fuzz/seeds").join(&name)).expect("it has seeds");
            assert!(seeds.next().is_some(), "{name} has no seeds");
        }
    }

    #[test]
    fn the_host_is_known() {
        assert!(host().expect("rustc is there").contains('-'));
    }
}
