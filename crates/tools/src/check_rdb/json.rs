//! The report as one JSON object. It keeps the first faults and fields only: a file full of damage does not
//! fill memory.

use std::fmt::Write;

use base::bytes::escape;
use rdb::Dialect;

use super::report::{self, KEY_SHOWN};
use super::statistics::Count;
use super::{Checked, Checksum, Event, Fault};

/// What is gathered along the way.
#[derive(Default)]
pub struct Gathered {
    aux: Vec<String>,
    faults: Vec<String>,
}

impl Gathered {
    pub fn note(&mut self, event: &Event<'_>) {
        match event {
            Event::Aux { key, value } if self.aux.len() < KEPT && key.len().max(value.len()) <= KEY_SHOWN => {
                self.aux.push(format!("{}:{}", text(key), text(value)));
            }
            Event::Fault(one) if self.faults.len() < KEPT => self.faults.push(fault(one)),
            _ => {}
        }
    }

    /// The object, and a line end.
    pub fn finish(&self, file: &str, size: u64, checked: &Checked, repaired: Option<(&str, u64)>) -> String {
        let statistics = &checked.statistics;
        let types = statistics.by_type().filter(|(_, count)| count.keys > 0);
        let types: Vec<_> = types.map(|(name, count)| format!("\"{name}\":{}", counts(count))).collect();
        let members = [
            ("file", quote(file)),
            ("size", size.to_string()),
            ("sound", checked.is_sound().to_string()),
            ("format", checked.version.map_or("null".into(), |(dialect, _)| quote(dialect_name(dialect)))),
            ("version", checked.version.map_or("null".into(), |(_, version)| version.to_string())),
            ("offset", checked.offset.to_string()),
            ("checksum", quote(checksum_name(checked.checksum))),
            ("keys", statistics.keys().to_string()),
            ("expires", statistics.expires().to_string()),
            ("already_expired", statistics.already_expired.to_string()),
            ("functions", statistics.functions.to_string()),
            ("types", format!("{{{}}}", types.join(","))),
            ("aux", format!("{{{}}}", self.aux.join(","))),
            ("fault_count", checked.fault_count.to_string()),
            ("faults", format!("[{}]", self.faults.join(","))),
            ("repaired", repaired.map_or("null".into(), |(file, size)| repaired_object(file, size))),
        ];
        let members: Vec<_> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        format!("{{{}}}\n", members.join(","))
    }
}

/// The object in place of the report if there is none: whether the file is sound is not known.
pub fn failure(file: &str, reason: &str) -> String {
    format!("{{\"file\":{},\"sound\":null,\"reason\":{}}}\n", quote(file), quote(reason))
}

fn repaired_object(file: &str, size: u64) -> String {
    format!("{{\"file\":{},\"size\":{size}}}", quote(file))
}

fn counts(count: Count) -> String {
    let Count { keys, elements, bytes, expires } = count;
    format!("{{\"keys\":{keys},\"elements\":{elements},\"bytes\":{bytes},\"expires\":{expires}}}")
}

fn fault(fault: &Fault) -> String {
    let error = &fault.error;
    let mut out = format!(
        "{{\"offset\":{},\"record_offset\":{},\"reason\":{},\"detail\":{},\"doing\":\"{}\"",
        error.offset,
        error.item_offset,
        quote(&report::reason(&error.kind)),
        quote(&error.kind.to_string()),
        report::doing(error.stage)
    );
    let mut member = |name: &str, value: Option<String>| {
        write!(out, ",\"{name}\":{}", value.unwrap_or_else(|| "null".into()))
            .expect("a string takes everything");
    };
    member("db", fault.db.map(|db| db.to_string()));
    member("key", error.key.as_ref().map(|key| text(&key[..key.len().min(KEY_SHOWN)])));
    member("type_code", fault.type_name().map(|name| name.code.to_string()));
    member("type", fault.type_name().map(|name| quote(report::type_name(name))));
    out.push('}');
    out
}

fn dialect_name(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Redis => "redis",
        Dialect::Valkey => "valkey",
    }
}

fn checksum_name(checksum: Checksum) -> &'static str {
    match checksum {
        Checksum::Unknown => "unknown",
        Checksum::None => "none",
        Checksum::Disabled => "disabled",
        Checksum::Holds => "ok",
    }
}

/// Bytes that are UTF-8 as they are; others as redis-cli shows them, without the quotes.
fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => quote(text),
        Err(_) => quote(escape(bytes).trim_matches('"')),
    }
}

/// A JSON string.
pub fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\0'..'\x20' | '\x7f' => {
                write!(out, "\\u{:04x}", u32::from(letter)).expect("a string takes everything");
            }
            _ => out.push(letter),
        }
    }
    out.push('"');
    out
}

/// Faults and fields that are listed; all are counted.
const KEPT: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        let check = |bytes: &[u8], expected: &str| assert_eq!(text(bytes), expected);
        check(b"", "\"\"");
        check(b"a\"b\\c\n\x7f", "\"a\\\"b\\\\c\\u000a\\u007f\"");
        check("\u{e9}".as_bytes(), "\"\u{e9}\"");
        check(b"\xff", "\"\\\\xff\"");
    }
}
