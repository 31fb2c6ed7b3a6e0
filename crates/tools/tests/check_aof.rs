//! `onefold-check-aof` beside redis-check-aof: files that are whole, cut off and damaged, manifests and
//! single files; what is cut off at the end, and what is never touched.

mod common;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use common::Folder;

/// What it prints, and whether it ends with success. The answer to a question is `answer`.
fn run(program: &str, arguments: &[&str], file: &Path, answer: &str) -> (String, bool) {
    let (text, _, good) = run_apart(program, arguments, file, answer);
    (text, good)
}

/// As `run`, with what it prints as an error apart.
fn run_apart(program: &str, arguments: &[&str], file: &Path, answer: &str) -> (String, String, bool) {
    let mut child = Command::new(program)
        .args(arguments)
        .arg(file)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    // Who asks nothing may have ended.
    child.stdin.take().expect("a pipe").write_all(answer.as_bytes()).ok();
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr), output.status.success())
}

const OURS: &str = env!("CARGO_BIN_EXE_onefold-check-aof");

fn ours(arguments: &[&str], file: &Path) -> (String, bool) {
    run(OURS, arguments, file, "y\n")
}

fn redis_check() -> Option<&'static str> {
    let path = "/usr/bin/redis-check-aof";
    if Path::new(path).exists() {
        return Some(path);
    }
    eprintln!("SKIPPED: redis-check-aof is not installed, nothing was compared");
    None
}

fn requests(lines: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in lines {
        if line.starts_with('#') {
            bytes.extend_from_slice(format!("{line}\r\n").as_bytes());
            continue;
        }
        let words: Vec<_> = line.split(' ').collect();
        bytes.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
        for word in words {
            bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
        }
    }
    bytes
}

const SETS: &[&str] = &["SELECT 0", "SET a 1", "MULTI", "SET b 1", "SET c 1", "EXEC"];

/// An empty dump, as at the beginning of a base.
fn dump() -> Vec<u8> {
    let mut bytes = b"REDIS0009".to_vec();
    let crc = base::crc::crc64(0, &bytes);
    rdb::write_eof(&mut bytes, Some(crc));
    bytes
}

const MANIFEST: &str = "file base seq 1 type b\nfile one seq 1 type i\nfile two seq 2 type i\n";

#[test]
fn whole_files_are_told_as_by_redis() {
    let folder = Folder::new("whole");
    let sets = requests(SETS);
    folder.write("base", &[&dump()[..], &sets].concat());
    folder.write("one", &sets);
    folder.write("two", b"");
    let manifest = folder.write("manifest", MANIFEST.as_bytes());
    let single = folder.write("single", &requests(&["#TS:5", "SELECT 0", "#TS:9", "SET a 1"]));
    for file in [&manifest, &single] {
        let (text, good) = ours(&[], file);
        assert!(good, "{text}");
        let Some(redis) = redis_check() else { continue };
        let theirs = run(redis, &[], file, "").0;
        let lines = |text: &str| -> Vec<String> {
            // The line number of Redis goes on from file to file, and it says more of the dump.
            let lines = text.lines().filter(|line| !line.starts_with(['[', '0']));
            lines.map(|line| line.split(", ok_up_to_line").next().unwrap_or(line).to_owned()).collect()
        };
        assert_eq!(lines(&text), lines(&theirs));
    }
}

#[test]
fn an_end_that_is_not_whole_is_found_and_cut_off_wherever_it_begins() {
    let folder = Folder::new("cut");
    let sets = requests(SETS);
    let transaction = requests(&SETS[..2]).len();
    for len in 1..sets.len() {
        let file = folder.write("single", &sets[..len]);
        let (_, good) = ours(&[], &file);
        assert_eq!(folder.read("single"), sets[..len], "a check changes nothing");
        if let Some(redis) = redis_check() {
            assert_eq!(run(redis, &[], &file, "").1, good, "{len}");
        }
        if good {
            continue;
        }
        assert!(!run(OURS, &["--fix"], &file, "n\n").1);
        assert_eq!(folder.read("single"), sets[..len], "it was not agreed");
        let (text, fixed) = ours(&["--fix"], &file);
        assert!(fixed && text.contains("Successfully truncated AOF"), "{text}");
        let left = folder.read("single").len();
        assert!(left <= len && (len < transaction || left == transaction), "{len}: {left}");
        assert!(ours(&[], &file).1);
    }
}

#[test]
fn only_the_end_of_the_last_part_is_cut_off() {
    let folder = Folder::new("parts");
    let (sets, torn) = (requests(SETS), [&requests(SETS)[..], b"*2\r\n$3"].concat());
    let manifest = folder.write("manifest", MANIFEST.as_bytes());
    folder.write("base", &sets);
    folder.write("one", &torn);
    folder.write("two", &sets);
    let (text, good) = ours(&["--fix"], &manifest);
    assert!(!good && text.contains("Failed to truncate AOF one because it is not the last file"), "{text}");
    assert_eq!(folder.read("one"), torn);
    folder.write("two", b"");
    let (text, good) = ours(&["--fix"], &manifest);
    assert!(good && text.contains("INCR AOF two is empty"), "{text}");
    assert_eq!(folder.read("one"), sets);
    fs::remove_file(folder.0.join("two")).expect("it is there");
    let (text, good) = ours(&[], &manifest);
    assert!(!good && text.contains("two: No such file or directory, aborting..."), "{text}");
    let manifest = folder.write("manifest", b"file ../x seq 1 type b\n");
    let (text, good) = ours(&[], &manifest);
    assert!(!good && text.contains("FATAL AOF MANIFEST FILE ERROR"), "{text}");
}

#[test]
fn what_came_later_is_cut_off() {
    let folder = Folder::new("later");
    let lines = ["#TS:5", "SET a 1", "#TS:7", "SET b 1", "#TS:9", "SET c 1"];
    let bytes = requests(&lines);
    for (until, lines_left) in [("9", 6), ("8", 4), ("7", 4), ("6", 2)] {
        let file = folder.write("single", &bytes);
        let (text, good) = ours(&["--truncate-to-timestamp", until], &file);
        assert!(good, "{text}");
        assert_eq!(folder.read("single"), requests(&lines[..lines_left]), "{until}");
        if let Some(redis) = redis_check() {
            let theirs = folder.write("theirs", &bytes);
            run(redis, &["--truncate-to-timestamp", until], &theirs, "");
            assert_eq!(folder.read("theirs"), folder.read("single"), "{until}");
        }
    }
    let file = folder.write("single", &bytes);
    let (text, good) = ours(&["--truncate-to-timestamp", "4"], &file);
    assert!(!good && text.contains("nothing before timestamp 4, aborting..."), "{text}");
    assert_eq!(folder.read("single"), bytes);
}

#[test]
fn reports_as_json() {
    let folder = Folder::new("json");
    let sets = requests(SETS);
    let file = folder.write("single", &[&requests(&["#TS:5"])[..], &sets, b"x"].concat());
    let (text, good) = ours(&["--json"], &file);
    assert!(!good);
    let (whole, name) = (sets.len() + 7, file.display());
    let expected = format!(
        "{{\"file\":\"{name}\",\"sound\":false,\"reason\":\"AOF {name} is not valid. Use the --fix option \
         to try fixing it.\",\"parts\":[{{\"file\":\"{name}\",\"role\":\"single\",\"format\":\"resp\",\"size\":{},\
         \"whole\":{whole},\"requests\":6,\"transactions\":1,\"first_timestamp\":5,\"last_timestamp\":5,\
         \"fault\":{{\"offset\":{whole},\"reason\":\"a request begins with '*'\"}}}}]}}\n",
        whole + 1
    );
    assert_eq!(text, expected);
    let (text, question, good) = run_apart(OURS, &["--json", "--fix"], &file, "y\n");
    assert!(good && text.starts_with("{\"file\"") && text.contains("\"sound\":true"), "{text}");
    assert!(question.ends_with("Continue? [y/N]: "), "whoever has to answer was asked: {question:?}");
}
