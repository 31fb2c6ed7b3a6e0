//! The process among others: detached or under a supervisor, its pid file, its title. Best effort
//! throughout: none of it is a reason not to serve.

use std::env;
use std::fs;
use std::io::{self, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use engine::config::{Config, Supervisor};
use rustix::fs::{Access, access};
use rustix::process::{Signal, getpid, kill_process, setsid};

use crate::arguments::Launch;
use crate::log::{LOG, path, reason};
use crate::system;

/// Who watches over the process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Supervision {
    None,
    Upstart,
    Systemd,
}

/// In the environment of a process that was started again in the background.
const DETACHED: &str = "ONEFOLD_DETACHED";
const DEFAULT_PID_FILE: &str = "/var/run/redis.pid";

/// Finds out who supervises, and says hello.
pub fn supervision(config: &Config) -> Supervision {
    let has = |name| env::var_os(name).is_some();
    let wanted = match config.supervised {
        Supervisor::Auto if has("UPSTART_JOB") => Supervisor::Upstart,
        Supervisor::Auto if has("NOTIFY_SOCKET") => Supervisor::Systemd,
        other => other,
    };
    match wanted {
        Supervisor::Upstart if has("UPSTART_JOB") => {
            LOG.notice("supervised by upstart, will stop to signal readiness.");
            kill_process(getpid(), Signal::STOP).ok();
            Supervision::Upstart
        }
        Supervisor::Upstart => {
            LOG.warning("upstart supervision requested, but UPSTART_JOB not found!");
            Supervision::None
        }
        Supervisor::Systemd => greet_systemd(),
        Supervisor::Auto | Supervisor::No => Supervision::None,
    }
}

fn greet_systemd() -> Supervision {
    if let Err(error) = notify("STATUS=Redis is loading...\n") {
        LOG.warning(&format!("systemd supervision error: {}", reason(&error)));
        return Supervision::None;
    }
    LOG.notice(
        "Supervised by systemd. Please make sure you set appropriate values for TimeoutStartSec and \
         TimeoutStopSec \
         in your service unit.",
    );
    Supervision::Systemd
}

impl Supervision {
    /// Tells systemd a state; the others do not ask.
    pub fn tell(self, state: &str) {
        if self == Supervision::Systemd
            && let Err(error) = notify(state)
        {
            LOG.warning(&format!("systemd supervision error: {}", reason(&error)));
        }
    }
}

/// One datagram to the socket that systemd names; `@` stands for the abstract namespace.
fn notify(state: &str) -> io::Result<()> {
    let name = env::var_os("NOTIFY_SOCKET").ok_or_else(|| io::Error::other("NOTIFY_SOCKET not found!"))?;
    let address = match name.as_bytes() {
        [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest)?,
        _ => SocketAddr::from_pathname(&name)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address).map(drop)
}

/// Whether this process is the one in the background already.
pub fn is_detached() -> bool {
    env::var_os(DETACHED).is_some()
}

/// Starts the program again in the background, with the same arguments; the caller then ends. A fork
/// without exec would leave the child with one thread and whatever locks the others held.
pub fn detach(launch: &Launch) -> io::Result<()> {
    let stdin = if launch.stdin.is_some() { Stdio::piped() } else { Stdio::null() };
    let mut child = again(launch)?
        .env(DETACHED, "yes")
        .stdin(stdin)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    if let (Some(mut pipe), Some(text)) = (child.stdin.take(), &launch.stdin) {
        pipe.write_all(text)?;
    }
    Ok(())
}

/// Leaves the terminal's session.
pub fn leave_session() {
    setsid().ok();
}

/// Runs the program again in the place of this process. Returns only if that fails.
pub fn exec_again(launch: &Launch) -> io::Error {
    match again(launch) {
        Ok(mut command) => command.exec(),
        Err(error) => error,
    }
}

/// The program with the same arguments, where it was called: by now the folder may be another. Who may not
/// enter it had no use for it in the first place.
fn again(launch: &Launch) -> io::Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    command.arg0(&launch.program).args(&launch.arguments);
    if access(&launch.folder, Access::EXEC_OK).is_ok() {
        command.current_dir(&launch.folder);
    }
    Ok(command)
}

/// The file that holds the process's number, if one is wanted.
fn pid_file(config: &Config) -> Option<std::path::PathBuf> {
    match (config.pidfile.is_empty(), config.daemonize) {
        (false, _) => Some(path(&config.pidfile)),
        (true, true) => Some(DEFAULT_PID_FILE.into()),
        (true, false) => None,
    }
}

pub fn write_pid_file(config: &Config) {
    if let Some(path) = pid_file(config) {
        fs::write(path, format!("{}\n", std::process::id())).ok();
    }
}

pub fn remove_pid_file(config: &Config) {
    if let Some(path) = pid_file(config) {
        LOG.notice("Removing the pid file.");
        fs::remove_file(path).ok();
    }
}

/// Shows the configured title in the list of processes.
pub fn set_title(launch: &Launch, config: &Config) {
    if config.set_proc_title {
        system::set_title(title(launch, config).trim());
    }
}

/// The title's template with its variables filled in.
fn title(launch: &Launch, config: &Config) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let bound = config.bind.first().map_or("*".into(), |address| text(address));
    let address = match config.port {
        0 => format!("unixsocket:{}", text(&config.unixsocket)),
        port => format!("{bound}:{port}"),
    };
    let file = launch.config_file.as_ref().map_or("-".into(), |path| path.display().to_string());
    let variables = [
        ("{title}", launch.program.clone()),
        ("{listen-addr}", address),
        ("{server-mode}", String::new()),
        ("{config-file}", file),
        ("{port}", config.port.to_string()),
        ("{tls-port}", "0".to_string()),
        ("{unixsocket}", text(&config.unixsocket)),
    ];
    let template = text(&config.proc_title_template);
    variables.iter().fold(template, |title, (name, value)| title.replace(name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_filled_in() {
        let launch = Launch { program: "redis-server".into(), ..Launch::default() };
        let check = |template: &str, port, expected: &str| {
            let proc_title_template = template.into();
            let config = Config { port, proc_title_template, unixsocket: b"/s".into(), ..Config::default() };
            assert_eq!(title(&launch, &config).trim(), expected);
        };
        check("{title} {listen-addr} {server-mode}", 6379, "redis-server *:6379");
        check("{title} {listen-addr}", 0, "redis-server unixsocket:/s");
        check("TEST {config-file} {port} {tls-port} {unixsocket}", 7, "TEST - 7 0 /s");
    }

    #[test]
    fn a_pid_file_is_only_for_those_who_want_it() {
        assert_eq!(pid_file(&Config::default()), None);
        let daemon = Config { daemonize: true, ..Config::default() };
        assert_eq!(pid_file(&daemon), Some(DEFAULT_PID_FILE.into()));
        assert_eq!(pid_file(&Config { pidfile: b"/p".into(), ..daemon }), Some("/p".into()));
    }
}
