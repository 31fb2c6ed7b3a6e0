//! The rules that are checked line by line. Each says what to write instead. Must never look at more than one
//! file.

use crate::source::{Source, find_words};
use crate::tree::{File, crate_of};

/// Complaints about any text file.
pub fn check_text(file: &File) -> Vec<String> {
    let mut found = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        let mut complain = |what: &str| found.push(format!("{}:{}: {what}", file.path, index + 1));
        if wants_ascii(&file.path) && !line.is_ascii() {
            complain("not ASCII; write it in plain letters or as an escape");
        }
        if let Some(path) = MACHINE_PATHS.iter().find(|path| names_path(line, path)) {
            complain(&format!("names {path}, a folder of one machine"));
        }
        if let Some(host) = HOSTS.iter().find(|host| line.contains(**host)) {
            complain(&format!("names {host}; what is installed from where is the machine's choice"));
        }
        if file.path == "Cargo.lock" && line.starts_with("source = ") && line != LOCK_SOURCE {
            complain("a dependency from elsewhere than the standard index");
        }
    }
    found
}

/// Complaints about a Rust file.
pub fn check_rust(file: &File, source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    if !file.text.starts_with("//!") {
        found.push(format!(
            "{}:1: opens without `//!`: what it is responsible for, what it must never do",
            file.path
        ));
    }
    for (index, (line, code)) in source.text.lines().zip(source.code.lines()).enumerate() {
        let place = Place {
            crate_name: crate_of(&file.path),
            in_bench: file.path.contains("/benches/"),
            in_test: source.in_test(index),
        };
        let mut complain = |what: &str| found.push(format!("{}:{}: {what}", file.path, index + 1));
        if line.chars().count() > LINE_LEN && !is_one_literal(line) {
            complain("longer than 110 characters");
        }
        if line.contains(UNFINISHED) {
            complain("unfinished work is an issue, not a comment");
        }
        for ban in BANS.iter().filter(|ban| place.is_in(ban.reach) && ban.stands_in(code)) {
            complain(&format!("{}: {}", ban.call, ban.instead));
        }
    }
    found
}

/// A line that is long because of one text: breaking it would hide the text from a search.
fn is_one_literal(line: &str) -> bool {
    let longest = line.split('"').skip(1).step_by(2).map(|text| text.chars().count()).max();
    longest.is_some_and(|len| len >= LITERAL_LEN) || line.ends_with('\\')
}

struct Place<'a> {
    crate_name: &'a str,
    in_bench: bool,
    in_test: bool,
}

/// Where a call is banned.
#[derive(Clone, Copy)]
enum Reach {
    Everywhere,
    /// Below the server nothing touches the outer world; tests and benches may.
    BelowServer,
    Structures,
    Tests,
}

impl Place<'_> {
    fn is_in(&self, reach: Reach) -> bool {
        let open = matches!(self.crate_name, "server" | "tools" | "testkit" | "xtask" | "fuzz" | "");
        match reach {
            Reach::Everywhere => true,
            Reach::BelowServer => !open && !self.in_test && !self.in_bench,
            Reach::Structures => self.crate_name == "ds" && !self.in_test,
            Reach::Tests => self.in_test,
        }
    }
}

struct Ban {
    call: &'static str,
    reach: Reach,
    instead: &'static str,
}

impl Ban {
    fn stands_in(&self, code: &str) -> bool {
        let starts_with_word = self.call.starts_with(|first: char| first.is_ascii_alphabetic());
        let ends_with_word = self.call.ends_with(|last: char| last.is_ascii_alphabetic());
        if starts_with_word && ends_with_word {
            !find_words(code, self.call).is_empty()
        } else {
            code.contains(self.call)
        }
    }
}

fn wants_ascii(path: &str) -> bool {
    ASCII_ENDINGS.iter().any(|ending| path.ends_with(ending))
}

/// A path that begins here, not the middle of a longer one.
fn names_path(line: &str, path: &str) -> bool {
    let continues = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./}".contains(&byte);
    let bytes = line.as_bytes();
    line.match_indices(path).any(|(at, _)| {
        let after = bytes.get(at + path.len()).copied().unwrap_or(b' ');
        let begins = at == 0 || !continues(bytes[at - 1]);
        begins && !(after.is_ascii_alphanumeric() || b"_-.".contains(&after))
    })
}

const LINE_LEN: usize = 110;
/// From this length on a text may make its line too long.
const LITERAL_LEN: usize = 40;
const ASCII_ENDINGS: &[&str] = &[".rs", ".toml", ".py", ".md", ".conf", ".txt", ".js", ".tcl", ".yml"];
const LOCK_SOURCE: &str = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";

// In pieces, so that this file keeps its own rules.
const UNFINISHED: &str = concat!("FIX", "ME");
const MACHINE_PATHS: &[&str] = &[concat!("/", "work"), concat!("/", "root")];
const HOSTS: &[&str] = &[
    concat!("deb.", "debian.org"),
    concat!("pypi", ".org"),
    concat!("files.pythonhosted", ".org"),
    concat!("registry.npmjs", ".org"),
    concat!("index.crates", ".io"),
    concat!("static.crates", ".io"),
];

const BANS: &[Ban] = &[
    Ban {
        call: ".unwrap()",
        reach: Reach::Everywhere,
        instead: "expect(\"why it holds\"), or return the error",
    },
    Ban { call: "dbg!", reach: Reach::Everywhere, instead: "remove it" },
    Ban { call: "todo!", reach: Reach::Everywhere, instead: "write it, or leave the row out" },
    Ban { call: "unimplemented!", reach: Reach::Everywhere, instead: "write it, or leave the row out" },
    Ban { call: "#[ignore", reach: Reach::Everywhere, instead: "repair the test or delete it" },
    Ban {
        call: "thread::sleep",
        reach: Reach::Tests,
        instead: "advance a ManualClock, or wait with the testkit",
    },
    Ban {
        call: "thread::spawn",
        reach: Reach::BelowServer,
        instead: "threads are the server's: a slow lane there",
    },
    Ban {
        call: "thread::Builder",
        reach: Reach::BelowServer,
        instead: "threads are the server's: a slow lane there",
    },
    Ban { call: "Instant::now", reach: Reach::BelowServer, instead: "time comes in: base::time::Clock" },
    Ban { call: "SystemTime::now", reach: Reach::BelowServer, instead: "time comes in: base::time::Clock" },
    Ban {
        call: "std::fs",
        reach: Reach::BelowServer,
        instead: "files are the server's: take a Read, a Write or bytes",
    },
    Ban {
        call: "std::net",
        reach: Reach::BelowServer,
        instead: "core::net has addresses; sockets are the server's",
    },
    Ban { call: "HashMap", reach: Reach::Structures, instead: "the table of this crate: no rehash pause" },
];

#[cfg(test)]
mod tests {
    use super::*;

    fn check_lines(path: &str, text: &str, complaints: usize) {
        let file = File { path: path.into(), text: format!("//! Head.\n{text}\n") };
        let source = Source::new(path, file.text.clone());
        let found = check_rust(&file, &source);
        assert_eq!(found.len(), complaints, "{path}: {text}: {found:?}");
    }

    #[test]
    fn banned_calls() {
        check_lines("crates/store/src/a.rs", "let t = std::time::Instant::now();", 1);
        check_lines("crates/store/benches/a.rs", "let t = std::time::Instant::now();", 0);
        check_lines("crates/server/src/a.rs", "let t = std::time::Instant::now();", 0);
        check_lines("crates/store/src/a.rs", "// Instant::now() in a comment, \"std::fs\"", 0);
        check_lines("crates/store/tests/a.rs", "use std::fs;", 0);
        check_lines("crates/store/src/a.rs", "use std::fs;\nuse core::net::IpAddr;", 1);
        check_lines("crates/ds/src/a.rs", "use std::collections::HashMap;", 1);
        check_lines("crates/ds/src/a.rs", "#[cfg(test)]\nmod tests {\n use std::collections::HashMap;\n}", 0);
        check_lines("crates/ds/src/a.rs", "#[cfg(test)]\nmod tests {\n fn f() { thread::sleep(d) }\n}", 1);
        check_lines("crates/server/src/a.rs", "x.unwrap();\ny.unwrap_or(1);", 1);
        check_lines("crates/server/src/a.rs", concat!("// FIX", "ME later"), 1);
        check_lines("crates/server/src/a.rs", &"x".repeat(111), 1);
    }

    fn check_any(path: &str, text: &str, complaints: usize) {
        let found = check_text(&File { path: path.into(), text: text.into() });
        assert_eq!(found.len(), complaints, "{path}: {text}: {found:?}");
    }

    #[test]
    fn texts() {
        check_any("a.md", concat!("see /", "work/x"), 1);
        check_any("a.md", concat!("see /", "root."), 0);
        check_any("a.md", concat!("see /", "root/.cache"), 1);
        check_any("peers/install", concat!("$home/valkey/", "root/usr and /", "workload"), 0);
        check_any("a.md", concat!("from pypi", ".org"), 1);
        check_any("a.rs", "caf\u{e9}", 1);
        check_any("data.csv", "caf\u{e9}", 0);
        check_any("Cargo.lock", "source = \"registry+https://example.com\"", 1);
        check_any("Cargo.lock", LOCK_SOURCE, 0);
    }

    #[test]
    fn a_header_is_needed() {
        let file = File { path: "crates/ds/src/a.rs".into(), text: "use x;\n".into() };
        let source = Source::new(&file.path, file.text.clone());
        assert_eq!(check_rust(&file, &source).len(), 1);
    }
}
