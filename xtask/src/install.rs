//! Installs what the tests need beside Rust, where the machine allows it, and says what could not be had.
//! Must never install anything outside Debian's packages, $PEERS_HOME and .clients/.

use crate::process::{self, find_program};
use crate::workspace::{self, peers_home, root};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// Something the tests could not have.
pub struct Missing {
    what: &'static str,
    lost: &'static str,
    why: String,
}

/// Installs what is missing; returns what still is.
pub fn prepare() -> Vec<Missing> {
    NEEDS.iter().filter_map(provide).collect()
}

/// Says loudly what could not be had, and what is not tested for want of it.
pub fn announce(missing: &[Missing]) {
    for Missing { what, lost, why } in missing {
        println!("!!!! COULD NOT HAVE {what} ({why})");
        println!("!!!!     not tested: {lost}");
    }
}

/// The interpreter that has the Python clients.
pub fn python() -> Option<PathBuf> {
    let python = root().join(".clients/venv/bin/python");
    let has_redis = process::output(Command::new(&python).args(["-c", "import redis"])).is_some();
    has_redis.then_some(python)
}

/// The folder that has the Node clients.
pub fn node_modules() -> Option<PathBuf> {
    let modules = root().join(".clients/node/node_modules");
    let names = NODE_CLIENTS.iter().map(|client| client.split('@').next().unwrap_or(client));
    let are_there = names.map(|name| modules.join(name)).all(|folder| folder.is_dir());
    (find_program("node").is_some() && are_there).then_some(modules)
}

/// Runs peers/install for these parts.
pub fn peers(parts: &[&str]) -> Result<(), String> {
    if find_program("apt-get").is_none() || !is_root() {
        return Err("peers/install needs root and apt-get".into());
    }
    process::run(Command::new(root().join("peers/install")).args(parts), LIMIT)
}

struct Need {
    what: &'static str,
    lost: &'static str,
    present: fn() -> bool,
    install: fn() -> Result<(), String>,
}

fn provide(need: &Need) -> Option<Missing> {
    if (need.present)() {
        return None;
    }
    println!("installing {}", need.what);
    let installed = (need.install)();
    if (need.present)() {
        return None;
    }
    let why = installed.err().unwrap_or_else(|| "installing it changed nothing".into());
    Some(Missing { what: need.what, lost: need.lost, why })
}

fn is_root() -> bool {
    process::output(Command::new("id").arg("-u")).is_some_and(|id| id == b"0\n")
}

fn apt(packages: &[&str]) -> Result<(), String> {
    if find_program("apt-get").is_none() || !is_root() {
        return Err(format!("install {} yourself: that needs root and apt-get", packages.join(", ")));
    }
    let words = ["-q", "-o", "DPkg::Lock::Timeout=120"];
    let mut update = Command::new("apt-get");
    process::run(update.args(words).arg("update"), LIMIT)?;
    let mut install = Command::new("apt-get");
    process::run(
        install.args(words).args(["install", "-y"]).args(packages).env("DEBIAN_FRONTEND", "noninteractive"),
        LIMIT,
    )
}

fn has_redis() -> bool {
    ["redis-server", "redis-cli", "redis-benchmark"].iter().all(|name| find_program(name).is_some())
}

fn has_tcl() -> bool {
    find_program("tclsh").is_some()
}

fn in_peers(path: &str) -> bool {
    process::is_program(&peers_home().join(path))
}

/// The allocator is built from C by its own makefile.
fn has_build_tools() -> bool {
    ["make", "cc"].iter().all(|name| find_program(name).is_some())
}

fn has_rust_components() -> bool {
    let answers = |words: &[&str]| process::output(&mut workspace::cargo(words)).is_some();
    answers(&["fmt", "--version"]) && answers(&["clippy", "--version"])
}

fn install_rust_components() -> Result<(), String> {
    process::run(Command::new("rustup").args(["component", "add", "rustfmt", "clippy"]), LIMIT)
}

fn install_python_clients() -> Result<(), String> {
    let venv = root().join(".clients/venv");
    let python = find_program("python3").ok_or("no python3")?;
    let create = || process::run(Command::new(&python).args(["-m", "venv", "--clear"]).arg(&venv), LIMIT);
    create().or_else(|_| apt(&["python3-venv"]).and_then(|()| create()))?;
    process::run(Command::new(venv.join("bin/pip")).args(["install", "--quiet"]).args(PYTHON_CLIENTS), LIMIT)
}

fn install_node_clients() -> Result<(), String> {
    let npm = find_program("npm").ok_or("no npm")?;
    let folder = root().join(".clients/node");
    std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let words = ["install", "--no-audit", "--no-fund", "--loglevel=error", "--prefix"];
    process::run(Command::new(npm).args(words).arg(&folder).args(NODE_CLIENTS), LIMIT)
}

const LIMIT: Duration = Duration::from_secs(600);
const PYTHON_CLIENTS: &[&str] = &["redis>=5,<9"];
const NODE_CLIENTS: &[&str] = &["ioredis@5", "bullmq@6", "redlock@4"];

const NEEDS: &[Need] = &[
    Need {
        what: "a C compiler and make",
        lost: "anything: the allocator cannot be built",
        present: has_build_tools,
        install: || apt(&["gcc", "libc6-dev", "make"]),
    },
    Need {
        what: "rustfmt and clippy",
        lost: "format and lints",
        present: has_rust_components,
        install: install_rust_components,
    },
    Need {
        what: "redis-server, redis-cli and redis-benchmark",
        lost: "differences to Redis, files exchanged with Redis, Tcl units that use redis-cli",
        present: has_redis,
        install: || peers(&["redis"]),
    },
    Need { what: "tclsh", lost: "the public Tcl suites", present: has_tcl, install: || peers(&["redis"]) },
    Need {
        what: "the Tcl suite of Redis 7.0.15",
        lost: "the public Tcl suites",
        present: || in_peers("redis-7.0.15/runtest"),
        install: || peers(&["redis-suite"]),
    },
    Need {
        what: "Valkey 9",
        lost: "differences of the command table to Valkey, files exchanged with it",
        present: || in_peers("valkey/valkey-server"),
        install: || peers(&["valkey"]),
    },
    Need {
        what: "the Tcl suite of Valkey 9",
        lost: "the public Tcl suite of Valkey",
        present: || in_peers("valkey-source/runtest"),
        install: || peers(&["valkey-suite"]),
    },
    Need {
        what: "redis-py",
        lost: "tests/clients/*.py",
        present: || python().is_some(),
        install: install_python_clients,
    },
    Need {
        what: "ioredis, bullmq and redlock",
        lost: "tests/clients/*.js",
        present: || node_modules().is_some(),
        install: install_node_clients,
    },
];
