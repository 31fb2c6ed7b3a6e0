//! What the program was asked to do: its name, its arguments, and the configuration they lead to. Reads the
//! configuration's files; starts nothing.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use base::glob::{Case, matches};
use engine::config::Config;
use engine::config_file::{self, Loaded, Texts};
use engine::{ONEFOLD_VERSION, REDIS_VERSION, directives};

use crate::log::reason;

/// What to do.
pub enum Invocation {
    Serve(Box<Launch>),
    /// Print and end with success.
    Print(String),
    /// Print to standard error and end with failure.
    Refuse(String),
    /// Run this program, which stands beside the server's, in its place.
    Become(&'static str, Vec<String>),
}

/// Programs that check files; they stand beside the server. With the ends of the names that stand for them.
const CHECKERS: [(&str, &str); 2] = [("onefold-check-rdb", "check-rdb"), ("onefold-check-aof", "check-aof")];

/// How the server was started.
#[derive(Clone, Debug, Default)]
pub struct Launch {
    /// As it was called.
    pub program: String,
    pub arguments: Vec<String>,
    /// Where it was called: what the arguments name is looked for there.
    pub folder: PathBuf,
    /// Absolute.
    pub config_file: Option<PathBuf>,
    /// What came on standard input, kept for a process that is started again.
    pub stdin: Option<Vec<u8>>,
    /// Load what is whole of a damaged dump.
    pub recover: bool,
    /// The other arguments, as lines of a configuration file.
    pub options: String,
}

/// Understands a command line, the program's name first.
pub fn understand(mut arguments: Vec<String>) -> Invocation {
    let program = if arguments.is_empty() { String::new() } else { arguments.remove(0) };
    let name = program.rsplit('/').next().unwrap_or_default();
    for (checker, ending) in CHECKERS {
        if name == checker {
            return Invocation::Refuse(format!(
                "{checker} is a program of its own: this file is onefold-server.\n"
            ));
        }
        if name.ends_with(ending) {
            return Invocation::Become(checker, arguments);
        }
    }
    if OTHER_TOOLS.iter().any(|tool| name.ends_with(tool)) {
        return Invocation::Refuse(no_such_tool(name));
    }
    if arguments.iter().any(|argument| argument == SENTINEL) {
        return Invocation::Refuse(no_such_tool("redis-sentinel"));
    }
    match arguments.first().map(String::as_str) {
        Some("-v" | "--version") => Invocation::Print(version()),
        Some("-h" | "--help") => Invocation::Refuse(USAGE.into()),
        Some("--test-memory") => Invocation::Refuse(NO_MEMORY_TEST.into()),
        Some("--check-system") => Invocation::Print(String::new()),
        Some("--dump-docs") => dump_docs(arguments.get(1).map_or("", String::as_str)),
        _ => launch(program, arguments),
    }
}

fn no_such_tool(name: &str) -> String {
    format!("{name}: this tool is not part of Onefold {ONEFOLD_VERSION} yet.\n")
}

fn launch(program: String, arguments: Vec<String>) -> Invocation {
    let (recovery, directives): (Vec<_>, Vec<_>) =
        arguments.iter().cloned().partition(|argument| argument == RECOVER);
    let line = config_file::command_line(&directives);
    let stdin = match line.stdin.then(|| read_all(io::stdin())).transpose() {
        Ok(text) => text,
        Err(error) => return Invocation::Refuse(format!("Can't read standard input: {}\n", reason(&error))),
    };
    let config_file = line.config_file.map(|path| std::path::absolute(&path).unwrap_or_else(|_| path.into()));
    let (recover, options) = (!recovery.is_empty(), line.options);
    let folder = std::env::current_dir().unwrap_or_else(|_| ".".into());
    Invocation::Serve(Box::new(Launch { program, arguments, folder, config_file, stdin, recover, options }))
}

impl Launch {
    /// The program's path as INFO shows it.
    pub fn executable(&self) -> String {
        std::path::absolute(&self.program).map_or(self.program.clone(), |path| path.display().to_string())
    }

    /// The configuration: file, standard input, options, in this order; the last word counts. The error is
    /// what to print before the process ends.
    pub fn configuration(&self, base: Config) -> Result<Loaded, String> {
        let mut text = Vec::new();
        if let Some(path) = &self.config_file {
            text = read_file(path).map_err(|error| unreadable(path, &error))?;
        }
        if let Some(stdin) = &self.stdin {
            text.push(b'\n');
            text.extend_from_slice(stdin);
        }
        let source = self.config_file.as_deref().unwrap_or(Path::new("standard input"));
        let source = source.to_string_lossy();
        config_file::load(&text, &source, &self.options, base, &mut |path| include(path))
            .map_err(|error| format!("\n{error}\n"))
    }
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    read_all(fs::File::open(path)?)
}

fn read_all(mut source: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.read_to_end(&mut bytes).map(|_| bytes)
}

fn unreadable(path: &Path, error: &io::Error) -> String {
    format!("Fatal error, can't open config file '{}': {}\n", path.display(), reason(error))
}

/// The files an `include` names. Wildcards stand for what is there, in the order of names.
fn include(path: &str) -> Result<Texts, String> {
    let paths = if path.contains(WILDCARDS) { expand(path) } else { vec![PathBuf::from(path)] };
    let read = |path: &PathBuf| {
        let text = read_file(path).map_err(|error| reason(&error))?;
        Ok((path.to_string_lossy().into_owned(), text))
    };
    paths.iter().map(read).collect()
}

const WILDCARDS: [char; 3] = ['*', '?', '['];

/// Paths that a pattern matches, component by component; names that begin with a dot only match patterns
/// that do.
fn expand(pattern: &str) -> Vec<PathBuf> {
    let root = if pattern.starts_with('/') { PathBuf::from("/") } else { PathBuf::new() };
    let mut found = vec![root];
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        found = found.iter().flat_map(|folder| expand_part(folder, part)).collect();
    }
    found.retain(|path| path.is_file());
    found
}

fn expand_part(folder: &Path, part: &str) -> Vec<PathBuf> {
    if !part.contains(WILDCARDS) {
        return vec![folder.join(part)];
    }
    let listed = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let Ok(entries) = fs::read_dir(listed) else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let visible = names.filter(|name| !name.starts_with('.') || part.starts_with('.'));
    let mut names: Vec<_> =
        visible.filter(|name| matches(part.as_bytes(), name.as_bytes(), Case::Sensitive)).collect();
    names.sort();
    names.iter().map(|name| folder.join(name)).collect()
}

/// Tests and programs read the first words; the rest is what is really running.
fn version() -> String {
    format!(
        "Redis server v={REDIS_VERSION} sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=0 \
         (Onefold v={ONEFOLD_VERSION})\n"
    )
}

fn dump_docs(page: &str) -> Invocation {
    match page {
        "config" => Invocation::Print(directives::reference_page()),
        "commands" => Invocation::Print(engine::docs::commands_page()),
        "info" => Invocation::Print(engine::info::reference_page()),
        "conf" => Invocation::Print(directives::shipped_conf()),
        _ => Invocation::Refuse(format!(
            "There is no generated page '{page}': commands, config, info, conf.\n"
        )),
    }
}

/// Names under which the same program will be other tools.
const OTHER_TOOLS: [&str; 6] =
    ["redis-sentinel", "valkey-sentinel", "redis-cli", "valkey-cli", "redis-benchmark", "valkey-benchmark"];

/// Asks for the other program that Redis' server is, wherever it stands among the arguments.
const SENTINEL: &str = "--sentinel";

const NO_MEMORY_TEST: &str = "The server does not test memory: use memtest86 or memtester.\n";

/// Not a directive: it belongs to one start, not into a configuration file.
const RECOVER: &str = "--recover";

const USAGE: &str = "\
Usage: onefold-server [/path/to/onefold.conf] [options] [-]
       onefold-server [/path/to/onefold.conf] --recover [options] (load what is whole of a damaged dump)
       onefold-server - (read the configuration from standard input)
       onefold-server -v or --version
       onefold-server -h or --help

Every directive of the configuration file is an option: --directive value...
The file comes first, then standard input, then options; the last word counts.

Examples:
       onefold-server (the defaults)
       echo 'maxmemory 128mb' | onefold-server -
       onefold-server /etc/onefold/6379.conf
       onefold-server --port 7777
       onefold-server /etc/onefold.conf --loglevel verbose -
       onefold-server /etc/onefold.conf --loglevel verbose
";

#[cfg(test)]
mod tests {
    use super::*;

    fn serve(arguments: &[&str]) -> Launch {
        match understand(arguments.iter().map(|argument| argument.to_string()).collect()) {
            Invocation::Serve(launch) => *launch,
            Invocation::Print(text) | Invocation::Refuse(text) => panic!("{text}"),
            Invocation::Become(program, _) => panic!("becomes {program}"),
        }
    }

    fn refusal(arguments: &[&str]) -> String {
        match understand(arguments.iter().map(|argument| argument.to_string()).collect()) {
            Invocation::Refuse(text) => text,
            _ => panic!("{arguments:?} is not refused"),
        }
    }

    #[test]
    fn options_make_a_configuration() {
        let loaded =
            serve(&["redis-server", "--port", "7000", "--save", "60", "1"]).configuration(Config::default());
        let config = loaded.expect("valid options").config;
        assert_eq!((config.port, config.save.len()), (7000, 1));
    }

    #[test]
    fn errors_are_told_before_the_process_ends() {
        let error = serve(&["onefold-server", "--prot", "7000"]).configuration(Config::default());
        let error = error.expect_err("there is no such directive");
        assert!(error.starts_with("\n*** FATAL CONFIG FILE ERROR (Redis 7.2.4) ***\n"), "{error}");
        let error = serve(&["onefold-server", "/nonexistent.conf"]).configuration(Config::default());
        let error = error.expect_err("there is no such file");
        assert_eq!(
            error,
            "Fatal error, can't open config file '/nonexistent.conf': No such file or directory\n"
        );
    }

    #[test]
    fn other_tools_are_refused() {
        assert!(refusal(&["/usr/bin/redis-cli", "PING"]).contains("not part of Onefold"));
        for arguments in [&["--sentinel"][..], &["a.conf", "--port", "7000", "--sentinel"]] {
            let sentinel = refusal(&[&["onefold-server"], arguments].concat());
            assert_eq!(sentinel, refusal(&["redis-sentinel"]), "it would serve data in its place");
        }
        assert!(refusal(&["onefold-server", "--help"]).starts_with("Usage:"));
        assert!(version().starts_with("Redis server v=7.2.4 sha="));
    }

    #[test]
    fn a_name_may_stand_for_another_program() {
        for (name, program) in [
            ("/usr/bin/redis-check-rdb", "onefold-check-rdb"),
            ("valkey-check-rdb", "onefold-check-rdb"),
            ("redis-check-aof", "onefold-check-aof"),
        ] {
            match understand(vec![name.into(), "file".into()]) {
                Invocation::Become(found, arguments) => {
                    assert_eq!((found, arguments), (program, vec!["file".to_owned()]));
                }
                _ => panic!("{name} is not understood"),
            }
        }
        // Standing in for itself, it would do so again and again.
        let own = understand(vec!["/usr/bin/onefold-check-rdb".into(), "dump.rdb".into()]);
        assert!(matches!(own, Invocation::Refuse(reason) if reason.contains("onefold-server")));
    }

    #[test]
    fn recovery_is_no_directive() {
        for arguments in [&["--recover", "--port", "7000"][..], &["--port", "7000", "--recover"]] {
            let launch = serve(&[&["onefold-server"], arguments].concat());
            assert!(launch.recover);
            assert_eq!(launch.arguments.len(), 3, "a process that is started again recovers too");
            assert_eq!(launch.configuration(Config::default()).expect("valid options").config.port, 7000);
        }
        assert_eq!(
            serve(&["onefold-server", "--recover", "a.conf"]).config_file,
            serve(&["onefold-server", "a.conf"]).config_file
        );
        assert!(!serve(&["onefold-server", "--port", "7000"]).recover);
    }

    #[test]
    fn includes_follow_wildcards() {
        let folder = std::env::temp_dir().join(format!("onefold-include-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a temporary folder");
        for name in ["b.conf", "a.conf", ".hidden.conf", "other.txt"] {
            fs::write(folder.join(name), name).expect("a small file");
        }
        let found = include(&format!("{}/*.conf", folder.display())).expect("all can be read");
        fs::remove_dir_all(&folder).expect("it is there");
        assert_eq!(found.iter().map(|(_, text)| &text[..]).collect::<Vec<_>>(), [b"a.conf", b"b.conf"]);
        assert_eq!(include("/nonexistent/*.conf"), Ok(Vec::new()));
        assert!(include("/nonexistent/a.conf").is_err());
    }
}
