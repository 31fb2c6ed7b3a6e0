//! The project's own tool: `cargo xtask COMMAND`. Chooses the command and turns its outcome into an exit
//! code. Must never become part of what is shipped; nothing imports this crate.
#![forbid(unsafe_code)]

mod bench;
mod ci;
mod clients;
mod docs;
mod fuzz;
mod install;
mod layers;
mod lengths;
mod process;
mod report;
mod rules;
mod skips;
mod source;
mod tcl;
mod test;
mod tidy;
mod tree;
mod workspace;

use std::process::ExitCode;

/// What every command returns: nothing, or the reason for a failing exit code; empty if it has been printed.
pub type Outcome = Result<(), String>;

struct Entry {
    name: &'static str,
    arguments: &'static str,
    about: &'static str,
    run: fn(&[String]) -> Outcome,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let name = arguments.first().map(String::as_str).unwrap_or("help");
    let Some(entry) = ENTRIES.iter().find(|entry| entry.name == name) else {
        return usage(name);
    };
    match (entry.run)(&arguments[1..]) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            if !reason.is_empty() {
                eprintln!("xtask {name}: {reason}");
            }
            ExitCode::FAILURE
        }
    }
}

fn usage(name: &str) -> ExitCode {
    println!("usage: cargo xtask COMMAND [argument...]\n");
    for entry in ENTRIES {
        println!("  {:<6} {:<44} {}", entry.name, entry.arguments, entry.about);
    }
    if matches!(name, "help" | "--help" | "-h") { ExitCode::SUCCESS } else { ExitCode::from(2) }
}

const ENTRIES: &[Entry] = &[
    Entry {
        name: "test",
        arguments: "",
        about: "everything: format, tidy, lints, tests, clients, Tcl units",
        run: test::run,
    },
    Entry { name: "ci", arguments: "", about: "test; what could not be installed fails", run: ci::run },
    Entry {
        name: "tidy",
        arguments: "",
        about: "the project's own rules, and function lengths",
        run: tidy::run,
    },
    Entry {
        name: "docs",
        arguments: "[--check]",
        about: "writes the generated pages, or compares them",
        run: docs::run,
    },
    Entry {
        name: "tcl",
        arguments: "[--server PATH] [redis|valkey] [unit...]",
        about: "a public Tcl suite against our programs",
        run: tcl::run,
    },
    Entry {
        name: "fuzz",
        arguments: "[target...] [seconds]",
        about: "the fuzz targets, 60 s each unless told",
        run: fuzz::run,
    },
    Entry {
        name: "bench",
        arguments: "[workload...] [option...]",
        about: "release build against the peers, side by side",
        run: bench::run,
    },
];
