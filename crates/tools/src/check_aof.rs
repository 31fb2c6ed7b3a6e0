//! Reads the requests of an append-only file from end to end and tells up to where they are whole, and what
//! is wrong behind that. It knows no command but those that begin and end a transaction, and writes nothing.
//!
//! The largest request must fit into memory; a false length costs nothing.

pub mod options;
pub mod run;

use std::io::{self, Read};

use aof::{Malformed, Record, Scan, scan};
use resp::request::Span;

/// What came of it. Offsets count from the beginning of the file.
#[derive(Debug)]
pub struct Checked {
    /// Up to here no record is cut off or damaged and no transaction is open.
    pub whole: u64,
    /// Lines up to there, from 1 on: those that frame arguments, whatever is in these.
    pub line: u64,
    pub requests: u64,
    pub transactions: u64,
    /// The first and the last stamp of time, unix seconds.
    pub stamps: Option<(i64, i64)>,
    pub end: End,
}

/// Why reading ended.
#[derive(Debug)]
pub enum End {
    /// All is whole.
    Sound,
    Fault {
        offset: u64,
        text: &'static str,
    },
    /// A stamp is later than was asked for; what is whole stands before it.
    Later,
    Unreadable(io::Error),
}

/// Checks requests that begin at the offset `from` of a file of `size` bytes, up to the first stamp later
/// than `until`. The input begins at `from` too.
pub fn check<R: Read>(input: R, (from, size): (u64, u64), until: Option<i64>) -> Checked {
    let mut check = Check {
        input,
        size,
        until,
        buffer: Vec::new(),
        done: 0,
        origin: from,
        spans: Vec::new(),
        in_transaction: false,
        line: 1,
        checked: Checked {
            whole: from,
            line: 1,
            requests: 0,
            transactions: 0,
            stamps: None,
            end: End::Sound,
        },
    };
    let end = check.run();
    Checked { end, ..check.checked }
}

/// Bytes read at once; a longer request makes the buffer grow.
const READ_LEN: usize = 1 << 20;

struct Check<R> {
    input: R,
    size: u64,
    until: Option<i64>,
    buffer: Vec<u8>,
    /// Bytes of the buffer that are done, and where in the file it begins.
    done: usize,
    origin: u64,
    spans: Vec<Span>,
    in_transaction: bool,
    line: u64,
    checked: Checked,
}

impl<R: Read> Check<R> {
    fn run(&mut self) -> End {
        loop {
            let end = match scan(&self.buffer[self.done..], &mut self.spans) {
                Ok(Scan::Whole { record, len }) => self.take(record, len),
                Ok(Scan::Short { least }) => match self.fill(least) {
                    Ok(true) => None,
                    Ok(false) => Some(self.end()),
                    Err(error) => Some(End::Unreadable(error)),
                },
                Err(Malformed { at, text }) => Some(End::Fault { offset: self.offset() + at as u64, text }),
            };
            if let Some(end) = end {
                return end;
            }
        }
    }

    fn take(&mut self, record: Record, len: usize) -> Option<End> {
        match record {
            Record::Annotation(Some(second)) if self.until.is_some_and(|until| second > until) => {
                return Some(End::Later);
            }
            Record::Annotation(Some(second)) => {
                let (first, _) = self.checked.stamps.unwrap_or((second, second));
                self.checked.stamps = Some((first, second));
            }
            Record::Annotation(None) => {}
            Record::Request => {
                if let Some(text) = self.misplaced() {
                    return Some(End::Fault { offset: self.offset(), text });
                }
                self.line += 1 + 2 * self.spans.len() as u64;
                self.checked.requests += 1;
            }
        }
        self.done += len;
        if !self.in_transaction {
            (self.checked.whole, self.checked.line) = (self.offset(), self.line);
        }
        None
    }

    /// Follows transactions; says what is wrong if the request cannot stand here.
    fn misplaced(&mut self) -> Option<&'static str> {
        let name = self.spans[0].of(&self.buffer[self.done..]);
        if name.eq_ignore_ascii_case(b"multi") {
            if self.in_transaction {
                return Some("Unexpected MULTI");
            }
            self.in_transaction = true;
        } else if name.eq_ignore_ascii_case(b"exec") {
            if !self.in_transaction {
                return Some("Unexpected EXEC");
            }
            self.in_transaction = false;
            self.checked.transactions += 1;
        }
        None
    }

    /// No record follows.
    fn end(&self) -> End {
        let offset = self.offset();
        if offset < self.size {
            return End::Fault { offset, text: "the file ends inside a record" };
        }
        match self.in_transaction {
            true => End::Fault { offset, text: "Reached EOF before reading EXEC for MULTI" },
            false => End::Sound,
        }
    }

    fn offset(&self) -> u64 {
        self.origin + self.done as u64
    }

    /// Makes the record at the front `least` bytes longer at least; false if the file has no more.
    fn fill(&mut self, least: u64) -> io::Result<bool> {
        if self.offset() + least > self.size {
            return Ok(false);
        }
        self.origin = self.offset();
        self.buffer.drain(..std::mem::take(&mut self.done));
        let held = self.buffer.len();
        let most = (self.size - self.origin) as usize;
        let len = (least as usize).max(held + READ_LEN).min(most);
        self.buffer.shrink_to(len.max(2 * READ_LEN));
        self.buffer.resize(len, 0);
        self.input.read_exact(&mut self.buffer[held..])?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Up to where it is whole, and what is said.
    fn check_text(text: &str, until: Option<i64>) -> (u64, String) {
        let text = text.replace('\n', "\r\n");
        let checked = check(text.as_bytes(), (0, text.len() as u64), until);
        let said = match checked.end {
            End::Sound => "sound".to_owned(),
            End::Fault { offset, text } => format!("{offset} {text}"),
            End::Later => "later".to_owned(),
            End::Unreadable(error) => error.to_string(),
        };
        (checked.whole, said)
    }

    #[test]
    fn verdicts() {
        const SET: &str = "*2\n$4\nincr\n$1\na\n";
        const MULTI: &str = "*1\n$5\nMULTI\n";
        const EXEC: &str = "*1\n$4\nexec\n";
        let (set, multi) = (21, 15);
        let check = |parts: &[&str], until, whole, said: &str| {
            assert_eq!(check_text(&parts.concat(), until), (whole, said.to_owned()), "{parts:?}");
        };
        check(&[], None, 0, "sound");
        check(&[SET], None, set, "sound");
        check(&[SET, "*2\n$3\nSE"], None, set, "21 the file ends inside a record");
        check(&[SET, "x"], None, set, "21 a request begins with '*'");
        check(&[SET, MULTI, SET], None, set, "57 Reached EOF before reading EXEC for MULTI");
        check(&[SET, MULTI, SET, EXEC], None, 2 * set + multi + 14, "sound");
        check(&[SET, MULTI, MULTI], None, set, "36 Unexpected MULTI");
        check(&[SET, EXEC], None, set, "21 Unexpected EXEC");
        check(&["#TS:5\n", SET, "#TS:9\n", SET], None, 2 * (set + 7), "sound");
        check(&["#TS:5\n", SET, "#TS:9\n", SET], Some(8), set + 7, "later");
        check(&["#TS:5\n", SET, "#TS:9\n", SET], Some(9), 2 * (set + 7), "sound");
        check(&["#TS:5\n", SET], Some(4), 0, "later");
    }

    #[test]
    fn a_request_that_is_longer_than_what_is_read_at_once() {
        let value = "x".repeat(3 * READ_LEN);
        let text = format!("*2\r\n$4\r\nECHO\r\n${}\r\n{value}\r\n", value.len());
        let bytes = [text.as_bytes(), text.as_bytes()].concat();
        let checked = check(&bytes[..], (7, 7 + bytes.len() as u64), None);
        assert!(matches!(checked.end, End::Sound), "{:?}", checked.end);
        assert_eq!((checked.whole, checked.requests), (7 + bytes.len() as u64, 2));
        assert_eq!(checked.line, 11);
    }
}
