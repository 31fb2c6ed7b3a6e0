//! The server's log: lines in Redis' form to a file, standard output and syslog. It never fails the caller:
//! a line that cannot be written is lost. A log file is opened for each line, so that it can be moved away
//! at any time.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use engine::config::{Config, LogLevel, SyslogFacility};
use engine::host::Level;
use parking_lot::Mutex;

use crate::system::local_time;

/// The process's log: needed before there is a server, and by whatever reports a crash.
pub static LOG: Log =
    Log { threshold: AtomicU8::new(Level::Notice as u8), target: Mutex::new(Target::STDOUT) };

pub struct Log {
    threshold: AtomicU8,
    target: Mutex<Target>,
}

/// Where lines go.
struct Target {
    /// Standard output if there is none.
    file: Option<PathBuf>,
    syslog: Option<Syslog>,
}

struct Syslog {
    /// Where the system's log listens.
    place: PathBuf,
    socket: Option<UnixDatagram>,
    ident: String,
    facility: u8,
}

impl Target {
    const STDOUT: Target = Target { file: None, syslog: None };
}

impl Log {
    /// Takes over the level, the file and the system log of a configuration.
    pub fn configure(&self, config: &Config) -> io::Result<()> {
        let file = (!config.logfile.is_empty()).then(|| path(&config.logfile));
        if let Some(file) = &file {
            // Later failures would go unseen.
            OpenOptions::new().create(true).append(true).open(file)?;
        }
        let syslog = config.syslog_enabled.then(|| Syslog::new(config, "/dev/log".into()));
        *self.target.lock() = Target { file, syslog };
        self.threshold.store(level(config.loglevel) as u8, Ordering::Relaxed);
        Ok(())
    }

    pub fn debug(&self, message: &str) {
        self.line(Level::Debug, message);
    }

    pub fn verbose(&self, message: &str) {
        self.line(Level::Verbose, message);
    }

    pub fn notice(&self, message: &str) {
        self.line(Level::Notice, message);
    }

    pub fn warning(&self, message: &str) {
        self.line(Level::Warning, message);
    }

    pub fn line(&self, level: Level, message: &str) {
        if (level as u8) < self.threshold.load(Ordering::Relaxed) {
            return;
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let text = format_line(since.as_secs() as i64, since.subsec_millis(), level, message);
        let mut target = self.target.lock();
        target.write(text.as_bytes());
        if let Some(syslog) = &mut target.syslog {
            syslog.send(since.as_secs() as i64, level, message);
        }
    }

    /// Text as it is, whatever the level.
    pub fn raw(&self, text: &str) {
        self.target.lock().write(text.as_bytes());
    }

    /// As [`Log::raw`], for a process that is crashing: a thread that holds the lock may never give it
    /// back.
    pub fn raw_or_stderr(&self, text: &str) {
        match self.target.try_lock_for(CRASH_PATIENCE) {
            Some(target) => target.write(text.as_bytes()),
            None => drop(io::stderr().write_all(text.as_bytes())),
        }
    }

    /// A whole line, under the same condition.
    pub fn crash_line(&self, message: &str) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.raw_or_stderr(&format_line(
            since.as_secs() as i64,
            since.subsec_millis(),
            Level::Warning,
            message,
        ));
    }
}

const CRASH_PATIENCE: std::time::Duration = std::time::Duration::from_millis(200);

impl Target {
    fn write(&self, bytes: &[u8]) {
        let written = match &self.file {
            None => io::stdout().write_all(bytes).and_then(|()| io::stdout().flush()),
            Some(path) => append(path, bytes),
        };
        // Nobody is left to be told.
        written.ok();
    }
}

fn append(path: &PathBuf, bytes: &[u8]) -> io::Result<()> {
    OpenOptions::new().create(true).append(true).open(path)?.write_all(bytes)
}

impl Syslog {
    fn new(config: &Config, place: PathBuf) -> Syslog {
        let ident = String::from_utf8_lossy(&config.syslog_ident).into_owned();
        Syslog { socket: None, place, ident, facility: facility_code(config.syslog_facility) }
    }

    /// One message in the form of RFC 3164.
    fn send(&mut self, unix_s: i64, level: Level, message: &str) {
        let severity = [7, 6, 5, 4][level as usize];
        let (priority, time) = (self.facility * 8 + severity, local_time(unix_s));
        let (month, day) = (month(time.month), time.day);
        let clock = format!("{:02}:{:02}:{:02}", time.hour, time.minute, time.second);
        let (ident, pid) = (&self.ident, std::process::id());
        let datagram = format!("<{priority}>{month} {day:2} {clock} {ident}[{pid}]: {message}");
        let sent = self.socket.as_ref().is_some_and(|socket| socket.send(datagram.as_bytes()).is_ok());
        if !sent {
            // Whoever listens there may have been started again.
            self.socket = self.connect().ok().inspect(|socket| drop(socket.send(datagram.as_bytes())));
        }
    }

    fn connect(&self) -> io::Result<UnixDatagram> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(&self.place).map(|()| socket)
    }
}

/// `PID:M dd Mon yyyy HH:MM:SS.mmm * message`
fn format_line(unix_s: i64, ms: u32, level: Level, message: &str) -> String {
    let time = local_time(unix_s);
    let (pid, role, mark) = (std::process::id(), ROLE, ['.', '-', '*', '#'][level as usize]);
    let (day, month, year) = (time.day, month(time.month), time.year);
    let clock = format!("{:02}:{:02}:{:02}.{ms:03}", time.hour, time.minute, time.second);
    format!("{pid}:{role} {day:02} {month} {year} {clock} {mark} {message}\n")
}

/// A master. Redis marks replicas S, children C and sentinels X.
const ROLE: char = 'M';

fn month(number: u32) -> &'static str {
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"][number as usize - 1]
}

fn level(configured: LogLevel) -> Level {
    match configured {
        LogLevel::Debug => Level::Debug,
        LogLevel::Verbose => Level::Verbose,
        LogLevel::Notice => Level::Notice,
        LogLevel::Warning => Level::Warning,
    }
}

/// As syslog.h numbers them.
fn facility_code(facility: SyslogFacility) -> u8 {
    match facility {
        SyslogFacility::User => 1,
        SyslogFacility::Local0 => 16,
        SyslogFacility::Local1 => 17,
        SyslogFacility::Local2 => 18,
        SyslogFacility::Local3 => 19,
        SyslogFacility::Local4 => 20,
        SyslogFacility::Local5 => 21,
        SyslogFacility::Local6 => 22,
        SyslogFacility::Local7 => 23,
    }
}

/// A path from a directive.
pub fn path(bytes: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    PathBuf::from(std::ffi::OsStr::from_bytes(bytes))
}

/// The reason alone: `No such file or directory`, as strerror says it.
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error ") {
        Some(end) => text[..end].to_string(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_form_of_redis() {
        let line = format_line(1_700_000_000, 7, Level::Notice, "Ready");
        let pid = std::process::id();
        assert!(line.starts_with(&format!("{pid}:M 1")), "{line}");
        assert!(line.ends_with(".007 * Ready\n") && line.contains(" Nov 2023 "), "{line}");
    }

    #[test]
    fn the_systems_log_may_be_started_again() {
        let place = std::env::temp_dir().join(format!("onefold-syslog-{}", std::process::id()));
        let mut syslog = Syslog::new(&Config::default(), place.clone());
        syslog.send(0, Level::Notice, "nobody listens yet");
        for text in ["first", "second"] {
            let listens = UnixDatagram::bind(&place).expect("the name is free");
            syslog.send(0, Level::Notice, text);
            syslog.send(0, Level::Notice, "another");
            for expected in [text, "another"] {
                let mut datagram = [0; 200];
                listens.set_nonblocking(true).expect("an option");
                let len = listens.recv(&mut datagram).expect("a line has come");
                let line = String::from_utf8_lossy(&datagram[..len]);
                assert!(line.starts_with("<133>") && line.ends_with(&format!(": {expected}")), "{line}");
            }
            std::fs::remove_file(&place).expect("it is there");
        }
    }

    #[test]
    fn the_reason_is_the_systems_own_text() {
        assert_eq!(reason(&io::Error::from_raw_os_error(2)), "No such file or directory");
        assert_eq!(reason(&io::Error::other("odd")), "odd");
    }
}
