//! Servers as child processes: each on a free loopback port, in a directory of its own; both are gone when
//! the `Server` is. Ends nothing but its own child.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::client::Client;
use crate::memory;

pub struct Server {
    program: PathBuf,
    arguments: Vec<String>,
    directory: PathBuf,
    port: u16,
    /// A program and its arguments, which becomes the server when it has changed what the server inherits.
    wrapper: Vec<String>,
    child: Option<Child>,
}

/// Our server: `ONEFOLD_SERVER`, or the one that `cargo build --profile quick` puts beside the workspace.
pub fn onefold() -> PathBuf {
    let built = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/quick/onefold-server");
    std::env::var_os("ONEFOLD_SERVER").map_or_else(built, PathBuf::from)
}

/// The installed Redis, to compare with.
pub fn redis() -> Option<PathBuf> {
    let path = PathBuf::from("/usr/bin/redis-server");
    path.exists().then_some(path)
}

/// The words that start a program without privileges; `None` where this process has them and cannot give
/// them up for `program`.
pub fn unprivileged(program: &Path) -> Option<&'static [&'static str]> {
    const NOBODY: &[&str] = &["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    if !rustix::process::geteuid().is_root() {
        return Some(&[]);
    }
    let mut command = Command::new(NOBODY[0]);
    command.args(&NOBODY[1..]).arg(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success()).then_some(NOBODY)
}

impl Server {
    /// Starts `program` and waits until it answers. `arguments` are further directives (`--save`, `""`...),
    /// in which `{dir}` stands for the server's directory. Panics with the log if it does not come up.
    pub fn start(program: impl AsRef<Path>, arguments: &[&str]) -> Self {
        Self::start_under(program, arguments, &[])
    }

    /// As `start`, after shell commands such as `ulimit`. The shell becomes the server.
    pub fn start_after(program: impl AsRef<Path>, arguments: &[&str], commands: &str) -> Self {
        let line = format!("{commands} && exec \"$0\" \"$@\"");
        Self::start_under(program, arguments, &["/bin/sh", "-c", &line])
    }

    /// As `start`, by a program that becomes the server (`setpriv`, `unshare`): its words stand before the
    /// server's. `{dir}` as in the arguments.
    pub fn start_under(program: impl AsRef<Path>, arguments: &[&str], wrapper: &[&str]) -> Self {
        for _ in 1..ATTEMPTS {
            let mut server = Self::new(program.as_ref(), arguments, wrapper);
            // Between choosing the port and listening on it someone else may have taken it: then try another.
            if server.spawn().is_ok() || !server.log().contains("in use") {
                server.wait_until_up();
                return server;
            }
        }
        let mut server = Self::new(program.as_ref(), arguments, wrapper);
        server.start_again();
        server
    }

    fn new(program: &Path, arguments: &[&str], wrapper: &[&str]) -> Self {
        let directory = fresh_directory();
        let shown = directory.to_str().expect("the temporary directory's name is text");
        let placed = |words: &[&str]| words.iter().map(|word| word.replace("{dir}", shown)).collect();
        Self {
            program: program.to_path_buf(),
            arguments: placed(arguments),
            wrapper: placed(wrapper),
            directory,
            port: free_port(),
            child: None,
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn dir(&self) -> &Path {
        &self.directory
    }

    /// The child's process id. Panics if it was stopped.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the server was not stopped").id()
    }

    /// A figure of /proc/PID/status, in bytes.
    pub fn status_bytes(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("the server runs");
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kilobytes = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        kilobytes.unwrap_or_else(|| panic!("no {name} in\n{status}")) * 1024
    }

    /// A new connection.
    pub fn client(&self) -> Client {
        Client::connect(("127.0.0.1", self.port))
    }

    /// All that the server has printed, over all its starts.
    pub fn log(&self) -> String {
        fs::read(self.log_path())
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Asks the server to end, as an operator does, and waits until it has.
    pub fn stop(&mut self) {
        let Some(child) = &mut self.child else { return };
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        // It may have ended by itself; it is not reaped before the wait below, so the id is still its own.
        kill_process(pid, Signal::TERM).ok();
        if !wait_for(|| !matches!(child.try_wait(), Ok(None))) {
            panic!("the server does not end:\n{}", self.log());
        }
        self.child = None;
    }

    /// Ends the server without a chance to save anything.
    pub fn kill_hard(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            child.wait().ok();
        }
    }

    /// Starts a server that was stopped or killed, with the same port, directory and arguments.
    pub fn start_again(&mut self) {
        assert!(self.child.is_none(), "the server is still running");
        self.spawn().ok();
        self.wait_until_up();
    }

    pub fn restart(&mut self) {
        self.stop();
        self.start_again();
    }

    /// Waits until the server has ended by itself; true if it reported success.
    pub fn wait_for_end(&mut self) -> bool {
        let mut child = self.child.take().expect("the server was not stopped");
        assert!(
            wait_for(|| !matches!(child.try_wait(), Ok(None))),
            "the server does not end:\n{}",
            self.log()
        );
        child.wait().is_ok_and(|status| status.success())
    }

    /// Starts the child and waits until it answers or has ended.
    fn spawn(&mut self) -> Result<(), ()> {
        let log =
            File::options().create(true).append(true).open(self.log_path()).expect("a writable directory");
        let mut command = self.command();
        command
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"])
            .arg("--dir")
            .arg(&self.directory);
        command.args(&self.arguments).current_dir(&self.directory).stdin(Stdio::null());
        command.stderr(log.try_clone().expect("a second handle of the log")).stdout(log);
        let child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", self.program.display()));
        self.child = Some(child);
        wait_for(|| self.has_ended() || self.answers());
        if self.has_ended() { Err(()) } else { Ok(()) }
    }

    fn command(&self) -> Command {
        let Some((first, rest)) = self.wrapper.split_first() else { return Command::new(&self.program) };
        let mut command = Command::new(first);
        command.args(rest).arg(&self.program);
        command
    }

    fn wait_until_up(&mut self) {
        if self.has_ended() || !self.answers() {
            panic!("{} does not come up:\n{}", self.program.display(), self.log());
        }
    }

    fn has_ended(&mut self) -> bool {
        self.child.as_mut().is_none_or(|child| !matches!(child.try_wait(), Ok(None)))
    }

    /// Any reply will do: a server that loads its data or wants a password is up.
    fn answers(&self) -> bool {
        Client::try_connect(("127.0.0.1", self.port))
            .and_then(|mut client| client.try_call(&["PING"]))
            .is_ok()
    }

    fn log_path(&self) -> PathBuf {
        self.directory.join("stdout.log")
    }

    /// What it holds, if that is not what it has allocated; as far as it still runs and tells.
    fn memory_at_odds(&self) -> Option<memory::Figures> {
        self.child.as_ref()?;
        let mut client = Client::try_connect(("127.0.0.1", self.port)).ok()?;
        client.set_timeout(Some(LAST_WORD));
        memory::at_odds(&mut client).ok()?
    }
}

/// Every test of a server that may use DEBUG ends with a look at its memory.
impl Drop for Server {
    fn drop(&mut self) {
        let at_odds = if thread::panicking() { None } else { self.memory_at_odds() };
        self.kill_hard();
        if thread::panicking() {
            let log = self.log();
            let from = log.lines().count().saturating_sub(LOG_LINES_SHOWN);
            let tail: Vec<&str> = log.lines().skip(from).collect();
            eprintln!("{} at port {} printed:\n{}", self.program.display(), self.port, tail.join("\n"));
        }
        fs::remove_dir_all(&self.directory).ok();
        if let Some(figures) = at_odds {
            panic!("in the end the sum is not what is allocated: {figures:#?}");
        }
    }
}

fn fresh_directory() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("onefold-test-{}-{number}", std::process::id()));
    fs::create_dir_all(&path).expect("a writable temporary directory");
    path
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("a bound address").port()
}

/// Looks again and again until `done` or the deadline; true if done.
fn wait_for(mut done: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + DEADLINE;
    while Instant::now() < deadline {
        if done() {
            return true;
        }
        thread::sleep(PAUSE);
    }
    false
}

const ATTEMPTS: u32 = 5;
/// A server that was stopped or does something long says nothing in the end.
const LAST_WORD: Duration = Duration::from_secs(2);
const DEADLINE: Duration = Duration::from_secs(30);
/// Processes cannot be waited for together with sockets; a short pause keeps the looking cheap.
const PAUSE: Duration = Duration::from_millis(5);
const LOG_LINES_SHOWN: usize = 50;
