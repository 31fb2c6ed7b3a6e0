//! Configuration files and command lines to a `Config`. Texts come in, included ones through a closure; opens
//! nothing and prints nothing. A text is bytes: a comment or a value need not be UTF-8.

use std::collections::BTreeMap;

use base::bytes::escape;
use base::quoting::split_args;

use crate::REDIS_VERSION;
use crate::config::Config;
use crate::directives::{DIRECTIVES, Directive, Value, find};

/// Reads the files that an `include` names: one, or all that match its wildcards, each as its path and text.
/// The error says why one cannot be read; wildcards may match none.
pub type Include<'a> = dyn FnMut(&str) -> Result<Texts, String> + 'a;

/// Files' paths and what is in them.
pub type Texts = Vec<(String, Vec<u8>)>;

/// A configuration that was read.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub config: Config,
    /// For the log: what was set and has no effect.
    pub warnings: Vec<String>,
}

/// What the arguments of the server ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandLine {
    pub config_file: Option<String>,
    /// Standard input is to be read after the file.
    pub stdin: bool,
    /// The other arguments, as lines of a configuration file.
    pub options: String,
}

/// Reads one text. `source` is its name for errors.
pub fn parse(text: &str, source: &str, base: Config, include: &mut Include) -> Result<Loaded, String> {
    load(text.as_bytes(), source, "", base, include)
}

/// Reads a file's text, then the options of the command line. The error is what a server prints before it
/// ends.
pub fn load(
    text: &[u8],
    source: &str,
    options: &str,
    base: Config,
    include: &mut Include,
) -> Result<Loaded, String> {
    let options_line = text.iter().filter(|byte| **byte == b'\n').count() + 2;
    let options = OpenText::new("the command line", options.as_bytes(), options_line);
    let file = OpenText::new(source, text, 1);
    let mut reader = Reader { config: base, save_seen: false, unserved: BTreeMap::new(), includes: 0 };
    reader.read(vec![options, file], include)?;
    reader.finish()
}

/// Sorts out the server's arguments, the program's name left out.
pub fn command_line(args: &[String]) -> CommandLine {
    let mut line = CommandLine::default();
    let mut rest = args;
    if let [first, others @ ..] = args
        && !first.starts_with('-')
    {
        line.config_file = Some(first.clone());
        rest = others;
    }
    // A directive's name was read and no argument of it yet: what follows is one even if it begins with `--`.
    let mut awaits_value = false;
    for (index, arg) in rest.iter().enumerate() {
        let following = rest.get(index + 1);
        let at_an_end = following.is_none() || (index == 0 && line.config_file.is_none());
        if arg == "-" && at_an_end {
            line.stdin = true;
        } else if arg.starts_with("--") && !awaits_value {
            awaits_value = add_option(&mut line.options, arg, following);
        } else {
            line.options += &escape(arg.as_bytes());
            line.options.push(' ');
            awaits_value = false;
        }
    }
    line
}

/// Begins a line for `--name` or `--name value`; true if its value is still to come.
fn add_option(options: &mut String, arg: &str, following: Option<&String>) -> bool {
    if !options.is_empty() {
        options.push('\n');
    }
    options.push_str(&arg[2..]);
    options.push(' ');
    let alone = split_args(arg.as_bytes()).is_ok_and(|words| words.len() == 1);
    let no_value = following.is_none_or(|next| next.starts_with("--"));
    match arg.to_ascii_lowercase().as_str() {
        // Lists of arguments made by programs leave an empty value out.
        "--save" if no_value => {
            options.push_str("\"\"");
            false
        }
        _ => alone,
    }
}

/// A text that is being read.
struct OpenText {
    source: String,
    lines: std::vec::IntoIter<Vec<u8>>,
    /// The number of the line that comes next.
    line: usize,
}

/// Where a directive stood.
#[derive(Clone)]
struct Position {
    source: String,
    line: usize,
    text: Vec<u8>,
}

struct Reader {
    config: Config,
    /// The first `save` replaces the defaults, later ones add to it.
    save_seen: bool,
    /// Where each directive that is not served was set last.
    unserved: BTreeMap<&'static str, (&'static Directive, Position)>,
    includes: usize,
}

impl OpenText {
    fn new(source: &str, text: &[u8], line: usize) -> OpenText {
        let lines: Vec<_> = lines(text).map(<[u8]>::to_vec).collect();
        OpenText { source: source.to_string(), lines: lines.into_iter(), line }
    }

    fn next(&mut self) -> Option<Position> {
        let text = self.lines.next()?;
        self.line += 1;
        Some(Position { source: self.source.clone(), line: self.line - 1, text })
    }
}

impl Position {
    /// The error's whole text.
    fn fatal(&self, error: &str) -> String {
        self.fatal_with_hint(error, "")
    }

    fn fatal_with_hint(&self, error: &str, hint: &str) -> String {
        let Position { source, line, text } = self;
        let text = String::from_utf8_lossy(text);
        format!(
            "*** FATAL CONFIG FILE ERROR (Redis {REDIS_VERSION}) ***\n\
             Reading the configuration file, at line {line}\n>>> '{text}'\n{error}\n(in {source}{hint})"
        )
    }
}

impl Reader {
    /// Reads texts, the last one first; what they include comes in between.
    fn read(&mut self, mut open: Vec<OpenText>, include: &mut Include) -> Result<(), String> {
        while let Some(text) = open.last_mut() {
            let Some(position) = text.next() else {
                open.pop();
                continue;
            };
            if position.text.is_empty() || position.text.starts_with(b"#") {
                continue;
            }
            let included = self.line(&position, include)?;
            open.extend(included.iter().rev().map(|(source, text)| OpenText::new(source, text, 1)));
        }
        Ok(())
    }

    /// Carries out one line; returns the texts it includes.
    fn line(&mut self, at: &Position, include: &mut Include) -> Result<Texts, String> {
        let args = split_args(&at.text);
        let args = args.map_err(|_| at.fatal("Unbalanced quotes in configuration line"))?;
        let [name, args @ ..] = &args[..] else { return Ok(Vec::new()) };
        let name = name.to_ascii_lowercase();
        if let Some((_, row)) = find(&name) {
            self.directive(row, args, at).map_err(|error| at.fatal(&error))?;
            return Ok(Vec::new());
        }
        match (&name[..], args) {
            (b"include", [path]) => self.include(path, at, include),
            _ => self.statement(&name, args, at).map(|()| Vec::new()),
        }
    }

    fn directive(&mut self, row: &'static Directive, args: &[Vec<u8>], at: &Position) -> Result<(), String> {
        let value = match args {
            [one] if row.shape.takes_many() && !one.is_empty() => {
                let words = split_args(one).map_err(|_| "Unbalanced quotes in configuration line")?;
                row.shape.parse(&words, &row.value(&self.config))?
            }
            _ => row.shape.parse(args, &row.value(&self.config))?,
        };
        match value {
            Value::Save(points) if self.save_seen && !points.is_empty() => self.config.save.extend(points),
            value => row.store(&mut self.config, value),
        }
        self.save_seen |= row.name == "save";
        self.unserved.insert(row.name, (row, at.clone()));
        Ok(())
    }

    fn include(&mut self, path: &[u8], at: &Position, include: &mut Include) -> Result<Texts, String> {
        self.includes += 1;
        if self.includes > INCLUDES_MAX {
            return Err(at.fatal("Too many included files; does one include itself?"));
        }
        let path = String::from_utf8_lossy(path);
        include(&path)
            .map_err(|error| at.fatal(&format!("Fatal error, can't open config file '{path}': {error}")))
    }

    /// What can stand in a file and is no directive.
    fn statement(&self, name: &[u8], args: &[Vec<u8>], at: &Position) -> Result<(), String> {
        let error = match (name, args.len()) {
            (b"list-max-ziplist-entries" | b"list-max-ziplist-value" | b"lua-replicate-commands", 1) => {
                return Ok(());
            }
            (b"user", 1..) if is_unrestricted(args) => return Ok(()),
            (b"sentinel", _) => "sentinel directive while not in sentinel mode",
            (b"user", 1..) => "'user' has no effect yet: users and their rights are not served yet",
            (b"rename-command", 2) => "'rename-command' has no effect yet: commands cannot be renamed",
            (b"loadmodule", 1..) => "'loadmodule' has no effect yet: modules cannot be loaded",
            (_, 0) if name.contains(&b'.') => "Module config specified without value",
            _ if name.contains(&b'.') => {
                "Module Configuration detected without loadmodule directive or no ApplyConfig call: aborting"
            }
            _ => {
                let hint = nearest(name).map(|known| format!("; did you mean '{known}'?"));
                return Err(at.fatal_with_hint(BAD_DIRECTIVE, &hint.unwrap_or_default()));
            }
        };
        Err(at.fatal(error))
    }

    /// Looks at the directives that are not served, now that the last word about each is known.
    fn finish(self) -> Result<Loaded, String> {
        let mut warnings = Vec::new();
        for (row, at) in self.unserved.values() {
            if let Some(error) = row.unserved(&self.config) {
                return Err(at.fatal(&error));
            }
            warnings.extend(row.warning(&self.config));
        }
        Ok(Loaded { config: self.config, warnings })
    }
}

/// The lines of a text, without the blanks around them.
pub fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n').map(trim)
}

fn trim(mut line: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = line
        && BLANKS.contains(first)
    {
        line = rest;
    }
    while let [rest @ .., last] = line
        && BLANKS.contains(last)
    {
        line = rest;
    }
    line
}

/// The definition of the default user that CONFIG REWRITE of Redis writes where nobody defined any users.
fn is_unrestricted(user: &[Vec<u8>]) -> bool {
    let [name, rights @ ..] = user else { return false };
    let unrestricted = |right: &Vec<u8>| UNRESTRICTED.contains(&&right[..]);
    name == b"default" && rights.iter().all(unrestricted)
}

/// The known name that looks most like `name`, if one does.
fn nearest(name: &[u8]) -> Option<&'static str> {
    if name.len() > NAME_LEN_MAX {
        return None;
    }
    let known = DIRECTIVES.iter().filter(|row| !row.hidden).flat_map(Directive::names);
    let known = known.chain(STATEMENTS.iter().map(|statement| statement.name));
    let (distance, nearest) = known.map(|known| (distance(name, known.as_bytes()), known)).min()?;
    (distance <= 1 + name.len() / 4).then_some(nearest)
}

/// How many bytes must be put in, taken out or changed to make one name from the other.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

const BAD_DIRECTIVE: &str = "Bad directive or wrong number of arguments";
const BLANKS: &[u8] = b" \t\r\n";

/// What may stand in a file and is no directive.
pub struct Statement {
    pub name: &'static str,
    /// CONFIG REWRITE leaves it where it stands; others it takes for unknown words, as Redis does.
    pub is_kept: bool,
    /// What becomes of it.
    pub doc: &'static str,
}

pub const STATEMENTS: [Statement; 8] = [
    Statement {
        name: "include",
        is_kept: true,
        doc: "Served: another file is read in this place. With wildcards all that match are read, in the order \
              of their names; there may be none. CONFIG REWRITE writes none of them.",
    },
    Statement { name: "rename-command", is_kept: true, doc: "Refused: commands cannot be renamed." },
    Statement {
        name: "user",
        is_kept: true,
        doc: "Refused: users and their rights are not served. Only a default user without a password, and \
              with every right, is accepted: the line that CONFIG REWRITE of Redis writes where nobody \
              defined users.",
    },
    Statement {
        name: "loadmodule",
        is_kept: true,
        doc: "Refused: modules cannot be loaded. So is each name with a dot, the setting of a module.",
    },
    Statement { name: "sentinel", is_kept: true, doc: "Refused: Sentinel is not served." },
    Statement {
        name: "list-max-ziplist-entries",
        is_kept: false,
        doc: "Accepted without effect, as in Redis.",
    },
    Statement {
        name: "list-max-ziplist-value",
        is_kept: false,
        doc: "Accepted without effect, as in Redis.",
    },
    Statement {
        name: "lua-replicate-commands",
        is_kept: false,
        doc: "Accepted without effect, as in Redis: scripts are logged by their effects.",
    },
];
const UNRESTRICTED: [&[u8]; 7] =
    [b"on", b"nopass", b"sanitize-payload", b"~*", b"&*", b"+@all", b"allcommands"];

/// Included files in all: far more than anybody writes, and soon reached if a file includes itself.
const INCLUDES_MAX: usize = 256;

/// Longer than any name, so that looking for a similar one stays cheap.
const NAME_LEN_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{LogLevel, SavePoint};

    fn none(path: &str) -> Result<Texts, String> {
        Err(format!("{path} is not expected to be included"))
    }

    fn read(text: &str) -> Result<Loaded, String> {
        parse(text, "test.conf", Config::default(), &mut none)
    }

    fn point(seconds: i64, changes: i64) -> SavePoint {
        SavePoint { seconds, changes }
    }

    #[test]
    fn values() {
        let text = "# comment\n\r\n  PORT 7000 \r\nloglevel Debug\nbind 127.0.0.1 \"-::1\"\nport 7001\n\
                    requirepass \"a b\\x00\"\nunixsocketperm 755\nmaxmemory 1gb\nhz 100000\n\
                    client-output-buffer-limit pubsub 1mb 1kb 5\nlist-max-ziplist-entries 5\n\
                    shutdown-on-sigterm nosave now\nslave-priority 7\nuser default on nopass ~* &* +@all";
        let config = read(text).expect("a valid file").config;
        assert_eq!((config.port, config.loglevel, config.hz), (7001, LogLevel::Debug, 500));
        assert_eq!(config.bind, [b"127.0.0.1".to_vec(), b"-::1".to_vec()]);
        assert_eq!(config.requirepass, b"a b\0");
        assert_eq!((config.unixsocketperm, config.memory_limit()), (0o755, 1 << 30));
        assert_eq!(config.client_output_limits[2].hard_bytes, 1 << 20);
        assert_eq!(config.client_output_limits[1].hard_bytes, 256 << 20);
        assert!(config.shutdown_on_sigterm.nosave && config.shutdown_on_sigterm.now);
        assert_eq!(config.unserved["replica-priority"], b"7");
    }

    #[test]
    fn bytes_that_are_no_text() {
        let file = b"# caf\xe9\n \trequirepass \xe9\xff \r\nport 7";
        let config = load(file, "f", "", Config::default(), &mut none).expect("a valid file").config;
        assert_eq!((&config.requirepass[..], config.port), (&b"\xe9\xff"[..], 7));
        let error = load(b"\n\xe9 1", "f", "", Config::default(), &mut none).expect_err("no directive");
        assert!(error.contains("at line 2\n>>> '\u{fffd} 1'\n"), "{error}");
    }

    #[test]
    fn save_points() {
        let check = |text: &str, expected: &[SavePoint]| {
            assert_eq!(read(text).expect("a valid file").config.save, expected, "{text:?}");
        };
        check("", &Config::default().save);
        check("save 60 1", &[point(60, 1)]);
        check("save 60 1\nsave 300 10", &[point(60, 1), point(300, 10)]);
        check("save 60 1 300 10\nsave \"30 5\"", &[point(60, 1), point(300, 10), point(30, 5)]);
        check("save 60 1\nsave \"\"", &[]);
        check("save \"\"\nsave 60 1", &[point(60, 1)]);
    }

    #[test]
    fn errors() {
        let check = |text: &str, line: usize, shown: &str, error: &str| {
            let expected = format!(
                "*** FATAL CONFIG FILE ERROR (Redis {REDIS_VERSION}) ***\n\
                 Reading the configuration file, at line {line}\n>>> '{shown}'\n{error}"
            );
            let found = read(text).expect_err(text);
            assert_eq!(found.rsplit_once("\n(in test.conf").map(|(found, _)| found), Some(&expected[..]));
        };
        check("port 1\n\n  foo bar ", 3, "foo bar", BAD_DIRECTIVE);
        check("port 1 2", 1, "port 1 2", "wrong number of arguments");
        check("port", 1, "port", "wrong number of arguments");
        check("port \"a", 1, "port \"a", "Unbalanced quotes in configuration line");
        check("port 65536", 1, "port 65536", "argument must be between 0 and 65535 inclusive");
        check("hz x", 1, "hz x", "argument couldn't be parsed into an integer");
        check("save 60", 1, "save 60", "Invalid save parameters");
        check("unixsocketperm 9", 1, "unixsocketperm 9", "argument couldn't be parsed as an octal number");
        check("include", 1, "include", BAD_DIRECTIVE);
        check("sentinel x y", 1, "sentinel x y", "sentinel directive while not in sentinel mode");
        check("sentinel", 1, "sentinel", "sentinel directive while not in sentinel mode");
        check("module.x", 1, "module.x", "Module config specified without value");
        check("appendonly maybe", 1, "appendonly maybe", "argument must be 'yes' or 'no'");
        check(
            "cluster-enabled yes\nport 1",
            1,
            "cluster-enabled yes",
            "'cluster-enabled yes' has no effect yet: the cluster is not served yet",
        );
        check(
            "rename-command CONFIG \"\"",
            1,
            "rename-command CONFIG \"\"",
            "'rename-command' has no effect yet: commands cannot be renamed",
        );
        check(
            "user joe on",
            1,
            "user joe on",
            "'user' has no effect yet: users and their rights are not served yet",
        );
    }

    #[test]
    fn statements_are_told_of_as_they_are() {
        for Statement { name, doc, .. } in STATEMENTS {
            let arguments = if name == "rename-command" { "a b" } else { "a" };
            let text = format!("{name} {arguments}");
            let read = parse(&text, "test.conf", Config::default(), &mut |_: &str| Ok(Vec::new()));
            assert_eq!(read.is_err(), doc.starts_with("Refused"), "{name}");
            let error = read.err().unwrap_or_default();
            assert!(find(name.as_bytes()).is_none() && !error.contains(BAD_DIRECTIVE), "{name}: {error}");
        }
    }

    #[test]
    fn hints() {
        let check = |name: &str, hint: Option<&str>| assert_eq!(nearest(name.as_bytes()), hint, "{name}");
        check("prot", Some("port"));
        check("maxmemroy", Some("maxmemory"));
        check("require-pass", Some("requirepass"));
        check("hash-max-listpack-entry", Some("hash-max-listpack-entries"));
        check("foo", None);
        check(&"x".repeat(1000), None);
        let error = read("prot 1").expect_err("an unknown directive");
        assert!(error.ends_with("\n(in test.conf; did you mean 'port'?)"), "{error}");
    }

    #[test]
    fn the_last_word_counts() {
        assert!(
            load(b"cluster-enabled yes", "f", "cluster-enabled no", Config::default(), &mut none).is_ok()
        );
        let error = load(b"port 1\n", "f", "\nfoo", Config::default(), &mut none).expect_err("a bad option");
        assert!(error.contains("at line 4") && error.ends_with("(in the command line)"), "{error}");
    }

    #[test]
    fn warnings() {
        let loaded = read("disable-thp no\nrepl-timeout 60\nmasterauth secret").expect("a valid file");
        let expected = [
            "'disable-thp no' has no effect: huge pages do not hurt a server that never forks",
            "'masterauth' has no effect: replication is not served yet",
        ];
        assert_eq!(loaded.warnings, expected);
    }

    #[test]
    fn includes() {
        let mut files = |path: &str| match path {
            "a.d/*" => Ok(vec![("1".into(), "port 1\nhz 20".into()), ("2".into(), "port 2".into())]),
            "none/*" => Ok(Vec::new()),
            "self" => Ok(vec![("self".into(), "include self".into())]),
            _ => Err("No such file or directory".to_string()),
        };
        let mut read = |text: &str| parse(text, "main.conf", Config::default(), &mut files);
        let config = read("port 9\ninclude a.d/*\ninclude none/*\nhz 30").expect("readable files").config;
        assert_eq!((config.port, config.hz), (2, 30));
        let missing = read("include x").expect_err("a missing file");
        assert!(missing.contains("Fatal error, can't open config file 'x': No such file or directory"));
        assert!(read("include self").is_err());
    }

    #[test]
    fn command_lines() {
        let check = |args: &[&str], file: Option<&str>, stdin: bool, options: &str| {
            let args: Vec<_> = args.iter().map(|arg| arg.to_string()).collect();
            let options = options.to_string();
            let expected = CommandLine { config_file: file.map(str::to_string), stdin, options };
            assert_eq!(command_line(&args), expected, "{args:?}");
        };
        check(&[], None, false, "");
        check(&["a.conf"], Some("a.conf"), false, "");
        check(&["a.conf", "-"], Some("a.conf"), true, "");
        check(&["-", "--port", "1"], None, true, "port \"1\" ");
        check(&["--port", "1", "--hz", "2"], None, false, "port \"1\" \nhz \"2\" ");
        check(&["--port 1", "--hz", "2"], None, false, "port 1 \nhz \"2\" ");
        check(
            &["--save", "60", "1", "--save", "300 10"],
            None,
            false,
            "save \"60\" \"1\" \nsave \"300 10\" ",
        );
        check(&["--save", "", "--port", "1"], None, false, "save \"\" \nport \"1\" ");
        check(&["--save", "--port", "1"], None, false, "save \"\"\nport \"1\" ");
        check(&["--port", "1", "--save"], None, false, "port \"1\" \nsave \"\"");
        check(&["--requirepass", "--secret"], None, false, "requirepass \"--secret\" ");
    }
}
