//! Where things are and how they are built: the root, the target folder, cargo, the server under test.
//! Must never name a folder of one machine.

use crate::process;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The folder of the workspace. Cargo says at run time where this crate is, so a moved checkout still works.
pub fn root() -> PathBuf {
    let crate_folder = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let root = crate_folder.as_deref().and_then(Path::parent).map(Path::to_path_buf);
    root.or_else(|| std::env::current_dir().ok()).unwrap_or_else(|| PathBuf::from("."))
}

pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |path| root().join(path))
}

/// Where `peers/install` puts suites and other servers.
pub fn peers_home() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/onefold-peers");
    std::env::var_os("PEERS_HOME").map_or_else(home, PathBuf::from)
}

/// `cargo WORDS...` in the root.
pub fn cargo(words: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(words).current_dir(root());
    command
}

/// Builds the programs that tests start, and returns the server's path.
pub fn build_server(profile: Profile) -> Result<PathBuf, String> {
    let words = ["build", "--profile", profile.name(), "-p", "server", "-p", "tools"];
    process::run(&mut cargo(&words), BUILD_LIMIT)?;
    let server = target().join(profile.name()).join(SERVER);
    if process::is_program(&server) {
        Ok(server)
    } else {
        Err(format!("the build made no {}", server.display()))
    }
}

#[derive(Clone, Copy)]
pub enum Profile {
    Quick,
    Release,
}

impl Profile {
    fn name(self) -> &'static str {
        match self {
            Profile::Quick => "quick",
            Profile::Release => "release",
        }
    }
}

const SERVER: &str = "onefold-server";
pub const BUILD_LIMIT: Duration = Duration::from_secs(25 * 60);
