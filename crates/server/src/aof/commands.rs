//! A base as commands: made of a snapshot's file, record by record, and long records part by part, so that it
//! takes little memory. Values that no plain command makes again as they are become a RESTORE.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use base::num::write_f64;
use ds::hash::HashRef;
use ds::listpack::Element;
use engine::effects::write_command;
use engine::log::write_select;
use rdb::{ErrorKind, Item, Long, Object, Part, ReadOptions, Reader, Record, WriteOptions};
use store::DbIndex;

use crate::disk::{AnyDisk, FileReader, sync_folder, write_all_at};
use crate::log::reason;

/// Items that one command adds, Redis' number, and bytes of them above which it ends.
const ITEMS: usize = 64;
const ITEMS_LEN: usize = 256 << 10;
/// Bytes gathered before they go to the file.
const BUFFER_LEN: usize = 256 << 10;
/// Bytes written before they are forced to the disk, if that is not left to the end.
const SYNC_LEN: u64 = 4 << 20;

/// What a base is made of.
pub struct Source<'a> {
    pub disk: AnyDisk,
    pub snapshot: &'a Path,
    /// For the line before the first command: unix seconds.
    pub stamp: Option<i64>,
    pub incremental_sync: bool,
    /// Bytes that are held for this, told while it goes on.
    pub memory: &'a AtomicUsize,
}

impl Source<'_> {
    /// Writes the file `temporary`, which becomes `to` when it is whole and on the disk; returns its length.
    /// `is_cancelled` is asked before each record.
    pub fn write(&self, temporary: &Path, to: &Path, is_cancelled: &dyn Fn() -> bool) -> Result<u64, String> {
        let written = self.write_temporary(temporary, is_cancelled);
        let placed = written.and_then(|len| {
            let folder = to.parent().unwrap_or(Path::new("."));
            let renamed = self.disk.rename(temporary, to);
            renamed
                .and_then(|()| sync_folder(self.disk, folder))
                .map_err(|error| failed("rename", &error))?;
            Ok(len)
        });
        placed.inspect_err(|_| drop(self.disk.remove(temporary)))
    }

    fn write_temporary(&self, temporary: &Path, is_cancelled: &dyn Fn() -> bool) -> Result<u64, String> {
        let file = self.disk.open(self.snapshot).map_err(|error| failed("open", &error))?;
        let input = FileReader { disk: self.disk, file };
        let mut reader = Reader::new(input, &ReadOptions::default()).map_err(|error| error.to_string())?;
        let file = self.disk.create(temporary).map_err(|error| failed("create", &error))?;
        let mut output = Output {
            source: self,
            file,
            buffer: Vec::new(),
            len: 0,
            synced: 0,
            reading: reader.memory(),
            words: 0,
            is_cancelled,
        };
        if let Some(second) = self.stamp {
            output.buffer.extend_from_slice(format!("#TS:{second}\r\n").as_bytes());
        }
        loop {
            let Some(item) = next(&mut reader, &mut output)? else { continue };
            match item {
                Item::End => break,
                Item::SelectDb(db) => write_select(&mut output.buffer, DbIndex(db as u16)),
                Item::Record(record) => write_record(&mut output, &record)?,
                // The rest says something of the file or how it was made.
                Item::Aux { .. } | Item::ResizeDb { .. } | Item::SlotInfo { .. } => {}
                Item::Function(code) => {
                    let words = [b"FUNCTION".as_slice(), b"LOAD", &code];
                    write_command(&mut output.buffer, words.into_iter());
                    output.advance()?;
                }
                Item::ModuleAux { .. } => {
                    return Err("the snapshot holds what no command makes again".to_owned());
                }
            }
        }
        output.finish()
    }
}

/// The next item that is no long record: those are written.
fn next(reader: &mut Reader<FileReader>, output: &mut Output<'_>) -> Result<Option<Item>, String> {
    output.check_cancelled()?;
    let (mut parts, mut failure) = (Parts::default(), None);
    let begin = reader.offset();
    let item = reader.next_or_parts(&mut |key, part| {
        parts.write(output, key, part).map_err(|why| {
            failure = Some(why);
            // Only to end the reading: the caller has the reason.
            ErrorKind::Io(io::ErrorKind::Other.into())
        })
    });
    let item = item.map_err(|error| failure.unwrap_or_else(|| error.to_string()))?;
    // A value takes about as much as its record, unless that was written part by part.
    let record = if item.is_some() { reader.offset() - begin } else { 0 };
    output.reading = reader.memory() + record as usize;
    output.count();
    Ok(item)
}

struct Output<'a> {
    source: &'a Source<'a>,
    file: File,
    buffer: Vec<u8>,
    /// Bytes written, and those of them that are on the disk.
    len: u64,
    synced: u64,
    /// Bytes held for what is read, and for words that wait for the end of their command.
    reading: usize,
    words: usize,
    is_cancelled: &'a dyn Fn() -> bool,
}

impl Output<'_> {
    fn check_cancelled(&self) -> Result<(), String> {
        if (self.is_cancelled)() { Err("cancelled".to_owned()) } else { Ok(()) }
    }

    fn count(&self) {
        let all = self.buffer.capacity() + self.reading + self.words;
        self.source.memory.store(all, Ordering::Relaxed);
    }

    /// To be called after each addition to the buffer; writes when enough has come together.
    fn advance(&mut self) -> Result<(), String> {
        self.count();
        if self.buffer.len() >= BUFFER_LEN { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), String> {
        self.check_cancelled()?;
        let Source { disk, incremental_sync, .. } = *self.source;
        write_all_at(disk, &self.file, &self.buffer, self.len).map_err(|error| failed("write", &error))?;
        self.len += self.buffer.len() as u64;
        self.buffer.clear();
        self.buffer.shrink_to(2 * BUFFER_LEN);
        if incremental_sync && self.len - self.synced >= SYNC_LEN {
            disk.sync_data(&self.file).map_err(|error| failed("fsync", &error))?;
            self.synced = self.len;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<u64, String> {
        self.flush()?;
        self.source.disk.sync(&self.file).map_err(|error| failed("fsync", &error))?;
        Ok(self.len)
    }
}

impl Drop for Output<'_> {
    fn drop(&mut self) {
        self.source.memory.store(0, Ordering::Relaxed);
    }
}

fn failed(operation: &str, error: &std::io::Error) -> String {
    format!("Write error writing append only file on disk: {operation}: {}", reason(error))
}

fn write_record(output: &mut Output<'_>, record: &Record) -> Result<(), String> {
    let key = &record.key[..];
    match &record.value {
        Object::Bytes(value) => write_command(&mut output.buffer, [&b"SET"[..], key, value].into_iter()),
        Object::Int(number) => {
            let value = number.to_string();
            write_command(&mut output.buffer, [&b"SET"[..], key, value.as_bytes()].into_iter());
        }
        Object::List(list) => {
            let mut items = Items::new(b"RPUSH", 1);
            list.view().for_each(|element| items.add(output, key, element));
            items.finish(output, key)?;
        }
        Object::Set(set) => {
            let mut items = Items::new(b"SADD", 1);
            set.view().iter().for_each(|member| items.add(output, key, member));
            items.finish(output, key)?;
        }
        Object::SortedSet(set) => {
            let mut items = Items::new(b"ZADD", 2);
            for item in set.view().iter() {
                items.add(output, key, Element::Bytes(&score(item.score)));
                items.add(output, key, item.member);
            }
            items.finish(output, key)?;
        }
        Object::Hash(hash) if !expires(hash.view()) => {
            let mut items = Items::new(b"HMSET", 2);
            hash.view().for_each(i64::MIN, |pair| {
                items.add(output, key, pair.field);
                items.add(output, key, pair.value);
            });
            items.finish(output, key)?;
        }
        // Times of fields; what groups of a stream know of their consumers.
        value @ (Object::Hash(_) | Object::Stream(_)) => {
            let payload =
                rdb::dump(value.view(), rdb::format::VERSION_PLAIN, &WriteOptions { compress: true });
            write_command(&mut output.buffer, [&b"RESTORE"[..], key, b"0", &payload].into_iter());
        }
    }
    write_expiry(output, key, record.expires_at);
    output.advance()
}

fn write_expiry(output: &mut Output<'_>, key: &[u8], expires_at: Option<i64>) {
    if let Some(time) = expires_at {
        let time = time.to_string();
        write_command(&mut output.buffer, [&b"PEXPIREAT"[..], key, time.as_bytes()].into_iter());
    }
}

fn score(score: f64) -> Vec<u8> {
    let mut text = Vec::new();
    write_f64(&mut text, score);
    text
}

/// A record that comes part by part.
#[derive(Default)]
struct Parts {
    items: Option<Items>,
    /// An argument is being written.
    in_text: bool,
}

impl Parts {
    fn write(&mut self, output: &mut Output<'_>, key: &[u8], part: Part<'_>) -> Result<(), String> {
        if self.in_text && !matches!(part, Part::Bytes(_)) {
            output.buffer.extend_from_slice(b"\r\n");
            self.in_text = false;
        }
        match part {
            Part::Begin(long) => self.begin(output, key, long),
            Part::Text(len) => {
                output.buffer.extend_from_slice(format!("${len}\r\n").as_bytes());
                self.in_text = true;
            }
            Part::Bytes(bytes) => output.buffer.extend_from_slice(bytes),
            Part::Element(element) => self.add(output, key, b"RPUSH", &[element]),
            Part::Member(member) => self.add(output, key, b"SADD", &[member]),
            Part::Scored(member, number) => self.add(output, key, b"ZADD", &[&score(number), member]),
            Part::Pair(field, value) => self.add(output, key, b"HMSET", &[field, value]),
            Part::End(expires_at) => {
                if let Some(items) = self.items.take() {
                    items.finish(output, key)?;
                }
                write_expiry(output, key, expires_at);
            }
        }
        match self.items.as_mut().and_then(|items| items.failure.take()) {
            Some(why) => Err(why),
            None => output.advance(),
        }
    }

    /// A command of its own, up to the texts that follow.
    fn begin(&mut self, output: &mut Output<'_>, key: &[u8], long: Long) {
        if let Some(items) = &mut self.items {
            items.write(output, key);
        }
        let text;
        let (words, texts): (&[&[u8]], usize) = match long {
            Long::String => (&[b"SET", key], 1),
            Long::Payload => (&[b"RESTORE", key, b"0"], 1),
            Long::Element => (&[b"RPUSH", key], 1),
            Long::Member => (&[b"SADD", key], 1),
            Long::Scored(number) => {
                text = score(number);
                (&[b"ZADD", key, &text], 1)
            }
            Long::Pair => (&[b"HMSET", key], 2),
        };
        write_beginning(&mut output.buffer, words, texts);
    }

    fn add(&mut self, output: &mut Output<'_>, key: &[u8], command: &'static [u8], words: &[&[u8]]) {
        let items = self.items.get_or_insert_with(|| Items::new(command, words.len()));
        words.iter().for_each(|word| items.add(output, key, Element::Bytes(word)));
    }
}

/// A command of which `missing` arguments are still to be written.
fn write_beginning(out: &mut Vec<u8>, words: &[&[u8]], missing: usize) {
    out.extend_from_slice(format!("*{}\r\n", words.len() + missing).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

fn expires(hash: HashRef<'_>) -> bool {
    matches!(hash, HashRef::Table(table) if table.expiring_count() > 0)
}

/// The items of a collection on their way into commands of some items each.
struct Items {
    command: &'static [u8],
    /// Words of an item.
    words_each: usize,
    words: Vec<Vec<u8>>,
    /// Bytes of the words.
    len: usize,
    failure: Option<String>,
}

impl Items {
    fn new(command: &'static [u8], words_each: usize) -> Items {
        Items { command, words_each, words: Vec::new(), len: 0, failure: None }
    }

    fn add(&mut self, output: &mut Output<'_>, key: &[u8], word: Element<'_>) {
        let word = word.to_vec();
        self.len += word.len();
        output.words = self.memory();
        output.count();
        self.words.push(word);
        let is_whole = self.words.len().is_multiple_of(self.words_each);
        if is_whole && (self.words.len() == ITEMS * self.words_each || self.len >= ITEMS_LEN) {
            self.write(output, key);
        }
    }

    fn memory(&self) -> usize {
        self.len + self.words.capacity() * size_of::<Vec<u8>>()
    }

    fn write(&mut self, output: &mut Output<'_>, key: &[u8]) {
        if self.words.is_empty() {
            return;
        }
        let head = [self.command, key].into_iter();
        let words: Vec<&[u8]> = head.chain(self.words.iter().map(Vec::as_slice)).collect();
        write_command(&mut output.buffer, words.into_iter());
        self.words.clear();
        self.len = 0;
        output.words = self.memory();
        // What comes after a failure goes nowhere.
        match self.failure {
            None => self.failure = output.advance().err(),
            Some(_) => output.buffer.clear(),
        }
    }

    fn finish(mut self, output: &mut Output<'_>, key: &[u8]) -> Result<(), String> {
        self.write(output, key);
        output.words = 0;
        self.failure.map_or(Ok(()), Err)
    }
}
