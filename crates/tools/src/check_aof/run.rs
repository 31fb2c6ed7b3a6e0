//! Goes through the files of an append-only file, says what it finds as redis-check-aof does, and cuts off an
//! end that is not whole or not wanted, if that was asked for. Nothing but the end of the last file is ever
//! changed.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use aof::Manifest;

use super::options::Options;
use super::{Checked, End, check};
use crate::check_rdb::json::quote;
use crate::check_rdb::progress::{Bar, Watched};
use crate::check_rdb::{self, AtFault, report};
use crate::printer::{Printer, reason};

/// A manifest longer than this is none.
const MANIFEST_LEN: u64 = 16 << 20;
/// As is a line longer than this.
const LINE_LEN: u64 = 1025;

/// Checks what the command line names.
pub fn run(options: &Options) -> ExitCode {
    let mut run = Run { options, printer: Printer::default(), parts: Vec::new() };
    let result = run.check_all();
    if let Err(why) = &result {
        run.say(&format!("{why}\n"));
    }
    if options.json {
        let object = run.json(result.as_ref().err());
        run.printer.print(&object);
    }
    run.printer.end(if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Run<'a> {
    options: &'a Options,
    printer: Printer,
    /// A JSON object for each file.
    parts: Vec<String>,
}

/// One file, and whether its end is the end of all.
struct Part {
    name: String,
    path: PathBuf,
    role: &'static str,
    is_last: bool,
}

/// What became of a file that is good, or good now.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Valid,
    Empty,
    Truncated,
    TruncatedToTimestamp,
}

impl Run<'_> {
    /// For people.
    fn say(&mut self, text: &str) {
        if !self.options.json {
            self.printer.print(text);
        }
    }

    /// What waits for an answer is shown at once, and in no report for programs.
    fn ask(&mut self, question: &str) {
        if self.options.json {
            eprint!("{question}");
        } else {
            self.printer.print(question);
            self.printer.flush();
        }
    }

    fn check_all(&mut self) -> Result<(), String> {
        let path = &self.options.file;
        if let Some(text) = manifest_text(path)? {
            return self.check_parts(&text);
        }
        self.say("Start checking Old-Style AOF\n");
        let name = path.display().to_string();
        let part = Part { name, path: path.clone(), role: "single", is_last: true };
        let verdict = self.check_file(&part)?;
        self.tell(verdict, "AOF", &part.name);
        Ok(())
    }

    fn check_parts(&mut self, text: &[u8]) -> Result<(), String> {
        self.say("Start checking Multi Part AOF\n");
        let manifest = Manifest::parse(text).map_err(|error| {
            let place = error.line.map_or(String::new(), |(number, line)| {
                format!("\nReading the manifest file, at line {number}\n>>> '{line}'")
            });
            format!("\n*** FATAL AOF MANIFEST FILE ERROR ***{place}\n{}", error.text)
        })?;
        let parts = self.parts_of(&manifest)?;
        let mut role = "";
        for part in &parts {
            let is_base = part.role == BASE;
            if std::mem::replace(&mut role, part.role) == part.role {
                // Has been said.
            } else if is_base {
                let format = if is_dump(&open(&part.path)?, &part.name)? { "RDB" } else { "RESP" };
                self.say(&format!("Start to check BASE AOF ({format} format).\n"));
            } else {
                self.say("Start to check INCR files.\n");
            }
            let verdict = self.check_file(part)?;
            self.tell(verdict, if is_base { "BASE AOF" } else { "INCR AOF" }, &part.name);
        }
        self.say("All AOF files and manifest are valid\n");
        Ok(())
    }

    /// A part behind which only empty ones stand is the last one: they were begun just before a loss of
    /// power.
    fn parts_of(&self, manifest: &Manifest) -> Result<Vec<Part>, String> {
        let folder = self.options.file.parent().unwrap_or(Path::new(""));
        let (mut parts, mut is_last) = (Vec::new(), true);
        for listed in manifest.parts().collect::<Vec<_>>().into_iter().rev() {
            let path = folder.join(OsStr::from_bytes(&listed.name));
            let name = String::from_utf8_lossy(&listed.name).into_owned();
            let role = if manifest.base.as_ref() == Some(listed) { BASE } else { INCREMENT };
            let size = len(&open(&path)?, &name)?;
            parts.insert(0, Part { name, path, role, is_last });
            is_last &= size == 0;
        }
        Ok(parts)
    }

    fn check_file(&mut self, part: &Part) -> Result<Verdict, String> {
        let name = &part.name;
        let mut file = open(&part.path)?;
        let size = len(&file, name)?;
        if size == 0 {
            self.parts.push(part.json("empty", size, None));
            return Ok(Verdict::Empty);
        }
        let from = if is_dump(&file, name)? { self.check_dump(part, &file, size)? } else { 0 };
        file.seek(SeekFrom::Start(from)).map_err(|error| unreadable(name, &error))?;
        let checked = check(Watched::new(file, bar(size)), (from, size), self.options.until);
        self.parts.push(part.json(if from == 0 { "resp" } else { "rdb" }, size, Some(&checked)));
        self.judge(part, size, &checked)
    }

    /// The dump at the file's beginning; returns where it ends.
    fn check_dump(&mut self, part: &Part, file: &File, size: u64) -> Result<u64, String> {
        self.say(&report::begin(&part.name));
        let mut input = file.try_clone().map_err(|error| unreadable(&part.name, &error))?;
        input.rewind().map_err(|error| unreadable(&part.name, &error))?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as i64);
        let input = Watched::new(input, bar(size));
        let checked = check_rdb::check(input, now, AtFault::Stop, &mut |offset, event| {
            self.say(&report::event(offset, &event));
        });
        self.say(&report::end(&checked, 0));
        if !checked.is_sound() {
            self.parts.push(part.json("rdb", size, None));
            return Err("RDB preamble of AOF file is not sane, aborting.".into());
        }
        self.say("RDB preamble is OK, proceeding with AOF tail...\n");
        Ok(checked.offset)
    }

    /// Says what was found, and cuts off what is to go.
    fn judge(&mut self, part: &Part, size: u64, checked: &Checked) -> Result<Verdict, String> {
        let (name, whole) = (&part.name, checked.whole);
        let until = self.options.until.unwrap_or_default();
        match &checked.end {
            End::Unreadable(error) => return Err(unreadable(name, error)),
            End::Later if whole == 0 => {
                return Err(format!("AOF {name} has nothing before timestamp {until}, aborting..."));
            }
            End::Later if !part.is_last => {
                return Err(format!(
                    "Failed to truncate AOF {name} to timestamp {until} to offset {whole} because it is not \
                     the last file.\nWhat follows it in the manifest has to be removed first, the files and \
                     their lines."
                ));
            }
            End::Later => {
                truncate(part, whole)?;
                return Ok(Verdict::TruncatedToTimestamp);
            }
            End::Sound if self.options.until.is_some() => {
                self.say(&format!("Truncate nothing in AOF {name} to timestamp {until}\n"));
                return Ok(Verdict::Valid);
            }
            End::Sound => {}
            End::Fault { offset, text } => self.say(&format!("0x{offset:16x}: {text}\n")),
        }
        let (line, diff) = (checked.line, size - whole);
        self.say(&format!(
            "AOF analyzed: filename={name}, size={size}, ok_up_to={whole}, ok_up_to_line={line}, \
             diff={diff}\n"
        ));
        match diff {
            0 => Ok(Verdict::Valid),
            _ if self.options.fix => self.fix(part, size, whole),
            _ => Err(format!("AOF {name} is not valid. Use the --fix option to try fixing it.")),
        }
    }

    fn fix(&mut self, part: &Part, size: u64, whole: u64) -> Result<Verdict, String> {
        let name = &part.name;
        if !part.is_last {
            return Err(format!("Failed to truncate AOF {name} because it is not the last file"));
        }
        let diff = size - whole;
        self.ask(&format!(
            "This will shrink the AOF {name} from {size} bytes, with {diff} bytes, to {whole} bytes\n\
             Continue? [y/N]: "
        ));
        let mut answer = String::new();
        // Who cannot be asked has not agreed.
        io::stdin().lock().read_line(&mut answer).ok();
        if !answer.starts_with(['y', 'Y']) {
            return Err("Aborting...".into());
        }
        truncate(part, whole)?;
        Ok(Verdict::Truncated)
    }

    fn tell(&mut self, verdict: Verdict, word: &str, name: &str) {
        let until = self.options.until.unwrap_or_default();
        self.say(&match verdict {
            Verdict::Valid => format!("{word} {name} is valid\n"),
            Verdict::Empty => format!("{word} {name} is empty\n"),
            Verdict::Truncated => format!("Successfully truncated AOF {name}\n"),
            Verdict::TruncatedToTimestamp => {
                format!("Successfully truncated AOF {name} to timestamp {until}\n")
            }
        });
    }

    fn json(&self, why: Option<&String>) -> String {
        let members = [
            ("file", quote(&self.options.file.display().to_string())),
            ("sound", why.is_none().to_string()),
            ("reason", why.map_or("null".into(), |why| quote(why))),
            ("parts", format!("[{}]", self.parts.join(","))),
        ];
        format!("{}\n", object(&members))
    }
}

impl Part {
    fn json(&self, format: &str, size: u64, checked: Option<&Checked>) -> String {
        let number = |value: Option<u64>| value.map_or("null".into(), |value| value.to_string());
        let stamp = |value: Option<i64>| value.map_or("null".into(), |value| value.to_string());
        let stamps = checked.and_then(|checked| checked.stamps);
        let fault = match checked.map(|checked| &checked.end) {
            Some(End::Fault { offset, text }) => {
                object(&[("offset", offset.to_string()), ("reason", quote(text))])
            }
            _ => "null".into(),
        };
        object(&[
            ("file", quote(&self.name)),
            ("role", quote(self.role)),
            ("format", quote(format)),
            ("size", size.to_string()),
            ("whole", number(checked.map(|checked| checked.whole))),
            ("requests", number(checked.map(|checked| checked.requests))),
            ("transactions", number(checked.map(|checked| checked.transactions))),
            ("first_timestamp", stamp(stamps.map(|(first, _)| first))),
            ("last_timestamp", stamp(stamps.map(|(_, last)| last))),
            ("fault", fault),
        ])
    }
}

const BASE: &str = "base";
const INCREMENT: &str = "incr";

fn object(members: &[(&str, String)]) -> String {
    let members: Vec<_> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", members.join(","))
}

/// What the file says if it is a manifest: its first line that is no comment begins with `file`.
fn manifest_text(path: &Path) -> Result<Option<Vec<u8>>, String> {
    let (mut text, name) = (Vec::new(), path.display().to_string());
    let mut lines = BufReader::new(open(path)?).take(MANIFEST_LEN);
    loop {
        let begin = text.len();
        let read = lines.by_ref().take(LINE_LEN).read_until(b'\n', &mut text);
        let line = match read.map_err(|error| unreadable(&name, &error))? {
            0 => return Ok(None),
            _ => &text[begin..],
        };
        if line.get(..4).is_some_and(|word| word.eq_ignore_ascii_case(b"file")) {
            break;
        } else if !line.starts_with(b"#") {
            return Ok(None);
        }
    }
    lines.read_to_end(&mut text).map_err(|error| unreadable(&name, &error))?;
    Ok(Some(text))
}

/// Whether a dump stands at its beginning. The position is behind that.
fn is_dump(file: &File, name: &str) -> Result<bool, String> {
    let mut head = Vec::new();
    file.take(6).read_to_end(&mut head).map_err(|error| unreadable(name, &error))?;
    Ok(head.starts_with(b"REDIS") || head == b"VALKEY")
}

fn open(path: &Path) -> Result<File, String> {
    File::open(path)
        .map_err(|error| format!("Cannot open file {}: {}, aborting...", path.display(), reason(&error)))
}

fn len(file: &File, name: &str) -> Result<u64, String> {
    let metadata = file.metadata().map_err(|_| format!("Cannot stat file: {name}, aborting..."))?;
    Ok(metadata.len())
}

fn unreadable(name: &str, error: &io::Error) -> String {
    format!("Failed to read from AOF {name}: {}, aborting...", reason(error))
}

fn bar(size: u64) -> Option<Bar> {
    if io::stderr().is_terminal() { Bar::for_size(size) } else { None }
}

fn truncate(part: &Part, whole: u64) -> Result<(), String> {
    let file = File::options().write(true).open(&part.path);
    let cut = file.and_then(|file| file.set_len(whole).and_then(|()| file.sync_all()));
    cut.map_err(|error| format!("Failed to truncate AOF {}: {}", part.name, reason(&error)))
}
