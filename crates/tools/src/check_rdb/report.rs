//! The report in the lines of redis-check-rdb, with what it does not tell behind them. Whoever reads that
//! program's output can read this.

use std::fmt::Write;

use base::bytes::{escape, printable};
use rdb::format::TypeName;
use rdb::{ErrorKind, Stage};

use super::statistics::{Count, Statistics};
use super::{Checked, Checksum, Event, Fault};

/// The line of an event; empty for one that has none.
pub fn event(offset: u64, event: &Event<'_>) -> String {
    match event {
        Event::Aux { key, value } => {
            format!("[offset {offset}] AUX FIELD {} = '{}'\n", shown(key), shown(value))
        }
        Event::Db(db) => format!("[offset {offset}] Selecting DB ID {db}\n"),
        Event::ModuleAux(module) => format!("[offset {offset}] MODULE AUX for: {module}\n"),
        Event::Fault(fault) => self::fault(fault),
        Event::Whole { .. } => String::new(),
    }
}

/// The first line.
pub fn begin(file: &str) -> String {
    format!("[offset 0] Checking RDB file {file}\n")
}

/// The last lines: the verdict, and what the file holds.
pub fn end(checked: &Checked, trailing: u64) -> String {
    let (mut out, offset) = (String::new(), checked.offset);
    let sum = match checked.checksum {
        Checksum::Holds => "Checksum OK",
        Checksum::Disabled => "RDB file was saved with checksum disabled: no check performed.",
        Checksum::None | Checksum::Unknown => "",
    };
    if !sum.is_empty() {
        line(&mut out, &format!("[offset {offset}] {sum}"));
    }
    if checked.is_sound() {
        line(&mut out, &format!("[offset {offset}] \\o/ RDB looks OK! \\o/"));
    }
    out += &counts(&checked.statistics);
    if trailing > 0 && checked.ended {
        line(&mut out, &format!("[info] {trailing} bytes follow the end of the RDB data"));
    }
    out
}

fn fault(fault: &Fault) -> String {
    let (mut out, error) = (String::from("--- RDB ERROR DETECTED ---\n"), &fault.error);
    line(&mut out, &format!("[offset {}] {}", error.offset, reason(&error.kind)));
    line(&mut out, &format!("[additional info] While doing: {}", doing(error.stage)));
    if let Some(key) = &error.key {
        line(
            &mut out,
            &format!("[additional info] Reading key '{}'", shown(&key[..key.len().min(KEY_SHOWN)])),
        );
    }
    if let Some(name) = fault.type_name() {
        line(&mut out, &format!("[additional info] Reading type {} ({})", name.code, type_name(name)));
        let db = fault.db.map_or(String::new(), |db| format!(", in DB ID {db}"));
        line(&mut out, &format!("[additional info] It begins at offset {}{db}", error.item_offset));
    }
    if let ErrorKind::Checksum { .. } = error.kind {
        line(&mut out, &format!("[additional info] In detail: {}", error.kind));
    }
    out
}

/// What was read, by type.
fn counts(statistics: &Statistics) -> String {
    let mut out = String::new();
    line(&mut out, &format!("[info] {} keys read", statistics.keys()));
    line(&mut out, &format!("[info] {} expires", statistics.expires()));
    line(&mut out, &format!("[info] {} already expired", statistics.already_expired));
    line(&mut out, &format!("[info] {} functions", statistics.functions));
    for (name, Count { keys, elements, bytes, expires }) in statistics.by_type() {
        if keys > 0 {
            let text = format!("{keys} keys, {elements} elements, {bytes} bytes, {expires} expires");
            line(&mut out, &format!("[info] {name}: {text}"));
        }
    }
    out
}

fn line(out: &mut String, text: &str) {
    writeln!(out, "{text}").expect("a string takes everything");
}

/// As it is where that can be printed, else escaped.
fn shown(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if printable(bytes) => text.to_owned(),
        _ => escape(bytes),
    }
}

/// In the words of redis-check-rdb where it has some.
pub fn reason(kind: &ErrorKind) -> String {
    match kind {
        ErrorKind::Truncated => "Unexpected EOF reading RDB file".into(),
        ErrorKind::NotRdb => "Wrong signature trying to load DB from file".into(),
        ErrorKind::UnsupportedVersion(version) => format!("Can't handle RDB format version {version}"),
        ErrorKind::UnknownType(code) => format!("Invalid object type: {code}"),
        ErrorKind::Checksum { .. } => "RDB CRC error".into(),
        ErrorKind::Corrupt(_) | ErrorKind::UnsupportedType(_) | ErrorKind::Io(_) => kind.to_string(),
    }
}

pub fn doing(stage: Stage) -> &'static str {
    match stage {
        Stage::Header => "start",
        Stage::Opcode => "read-type",
        Stage::Key(_) => "read-key",
        Stage::Value(_) => "read-object-value",
        Stage::Checksum => "check-sum",
        Stage::Field("AUX") => "read-aux",
        Stage::Field("MODULE_AUX") => "read-module-aux",
        Stage::Field("FUNCTION2") => "read-functions",
        Stage::Field("SELECTDB" | "RESIZEDB" | "SLOT_INFO") => "read-len",
        Stage::Field(_) => "read-expire",
    }
}

/// What redis-check-rdb calls a type; younger ones by the name that the format has for them.
pub fn type_name(name: TypeName) -> &'static str {
    NAMES.get(usize::from(name.code)).copied().filter(|known| !known.is_empty()).unwrap_or(name.name)
}

const NAMES: [&str; 22] = [
    "string",
    "list-linked",
    "set-hashtable",
    "zset-v1",
    "hash-hashtable",
    "zset-v2",
    "module-pre-release",
    "module-value",
    "",
    "hash-zipmap",
    "list-ziplist",
    "set-intset",
    "zset-ziplist",
    "hash-ziplist",
    "quicklist",
    "stream",
    "hash-listpack",
    "zset-listpack",
    "quicklist-v2",
    "stream-v2",
    "set-listpack",
    "stream-v3",
];
/// A key is at most this many bytes of a report.
pub const KEY_SHOWN: usize = 1024;
