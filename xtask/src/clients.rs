//! Runs the scripts in tests/clients against our server: real client libraries, as users' programs use them.
//! Each script gets a server of its own, named by ONEFOLD_PORT; it must never see a user's server.

use crate::report::{Count, Step};
use crate::{install, process, workspace};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Runs every `*.py` with the Python clients and every `*.js` with the Node ones.
pub fn step(server: &Path) -> Step {
    let scripts = scripts();
    if scripts.is_empty() {
        return Step::LeftOut("tests/clients has no scripts".into());
    }
    let mut total = Count::default();
    let mut left_out = Vec::new();
    for script in &scripts {
        match interpreter(script) {
            Some(command) => total.add(run(command, script, server)),
            None => left_out.push(script.file_name().unwrap_or_default().to_string_lossy().into_owned()),
        }
    }
    if total == Count::default() {
        return Step::LeftOut(format!("no interpreter or client library for {}", left_out.join(", ")));
    }
    if !left_out.is_empty() {
        println!("LEFT OUT: no interpreter or client library for {}", left_out.join(", "));
    }
    Step::Counted(total)
}

fn scripts() -> Vec<PathBuf> {
    let folder = std::fs::read_dir(workspace::root().join("tests/clients"));
    let files = folder.into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
    let mut scripts: Vec<PathBuf> = files.filter(|path| matches!(extension(path), "py" | "js")).collect();
    scripts.sort();
    scripts
}

fn extension(path: &Path) -> &str {
    path.extension().and_then(|extension| extension.to_str()).unwrap_or("")
}

fn interpreter(script: &Path) -> Option<Command> {
    if extension(script) == "py" {
        return install::python().map(Command::new);
    }
    let modules = install::node_modules()?;
    let mut command = Command::new(process::find_program("node")?);
    command.env("NODE_PATH", modules);
    Some(command)
}

/// A server of its own for one script, on a free port; ended when dropped.
struct Served {
    child: Child,
    port: u16,
}

impl Served {
    fn start(server: &Path) -> std::io::Result<Served> {
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let folder = workspace::root().join("target/clients");
        std::fs::create_dir_all(&folder)?;
        let mut command = Command::new(server);
        command.args(["--port", &port.to_string(), "--save", "", "--dir"]).arg(&folder).stdout(Stdio::null());
        let served = Served { child: command.spawn()?, port };
        for _ in 0..START_TRIES {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(served)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let ended = self.child.kill().and_then(|()| self.child.wait().map(drop));
        if let Err(error) = ended {
            println!("the clients' server could not be ended: {error}");
        }
    }
}

/// A script that prints `N passed, N failed` is counted by that; another is one test.
fn run(mut command: Command, script: &Path, server: &Path) -> Count {
    println!("-- {}", script.display());
    let served = match Served::start(server) {
        Ok(served) => served,
        Err(error) => {
            println!("the server did not start: {error}");
            return Count { passed: 0, failed: 1 };
        }
    };
    let mut counted = None;
    command.arg(script).env("ONEFOLD_PORT", served.port.to_string());
    let ended = process::lines(&mut command, LIMIT, |line| {
        println!("{line}");
        counted = parse_count(line).or(counted);
    });
    let mut count = counted.unwrap_or(Count { passed: usize::from(ended == Ok(true)), failed: 0 });
    if ended != Ok(true) && count.failed == 0 {
        count.failed = 1;
    }
    count
}

fn parse_count(line: &str) -> Option<Count> {
    let (passed, rest) = line.trim().split_once(" passed, ")?;
    let failed = rest.strip_suffix(" failed")?;
    Some(Count { passed: passed.parse().ok()?, failed: failed.parse().ok()? })
}

const START_TRIES: usize = 250;
const LIMIT: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, wanted: Option<(usize, usize)>) {
        assert_eq!(parse_count(line), wanted.map(|(passed, failed)| Count { passed, failed }), "{line}");
    }

    #[test]
    fn counts_are_read() {
        check("12 passed, 0 failed", Some((12, 0)));
        check(" 3 passed, 1 failed\r", Some((3, 1)));
        check("3 passed", None);
        check("many passed, 1 failed", None);
    }
}
