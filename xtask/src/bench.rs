//! `cargo xtask bench`: builds the release server and measures it beside the peers. Must never change a
//! figure: bench/compare.py measures and prints.

use crate::{Outcome, process, workspace};
use std::process::Command;
use std::time::Duration;

pub fn run(arguments: &[String]) -> Outcome {
    let server = workspace::build_server(workspace::Profile::Release)?;
    let python = process::find_program("python3").ok_or("python3 is needed for bench/compare.py")?;
    let mut command = Command::new(python);
    command
        .arg(workspace::root().join("bench/compare.py"))
        .args(workloads(arguments))
        .arg("--ours")
        .arg(server);
    process::run(&mut command, LIMIT)
}

/// Without arguments: a first look at everything.
fn workloads(arguments: &[String]) -> Vec<String> {
    if arguments.is_empty() { vec!["all".into(), "--quick".into()] } else { arguments.to_vec() }
}

const LIMIT: Duration = Duration::from_secs(4 * 3600);
