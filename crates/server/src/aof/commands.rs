//! A base as commands: made of a snapshot's file, record by record, so the largest value has to fit into
//! memory once more. Values that no plain command makes again as they are become a RESTORE.

use std::fs::File;
use std::path::Path;

use base::num::write_f64;
use ds::hash::HashRef;
use ds::listpack::Element;
use engine::effects::write_command;
use engine::log::write_select;
use rdb::{Item, Object, ReadOptions, Reader, Record, WriteOptions};
use store::DbIndex;

use crate::disk::{AnyDisk, FileReader, sync_folder, write_all_at};
use crate::log::reason;

/// Items that one command adds: Redis' number.
const ITEMS: usize = 64;
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
        let mut output = Output { source: self, file, buffer: Vec::new(), len: 0, synced: 0 };
        if let Some(second) = self.stamp {
            output.buffer.extend_from_slice(format!("#TS:{second}\r\n").as_bytes());
        }
        loop {
            match reader.next().map_err(|error| error.to_string())? {
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
            if is_cancelled() {
                return Err("cancelled".to_owned());
            }
        }
        output.finish()
    }
}

struct Output<'a> {
    source: &'a Source<'a>,
    file: File,
    buffer: Vec<u8>,
    /// Bytes written, and those of them that are on the disk.
    len: u64,
    synced: u64,
}

impl Output<'_> {
    /// To be called after each addition to the buffer; writes when enough has come together.
    fn advance(&mut self) -> Result<(), String> {
        if self.buffer.len() >= BUFFER_LEN { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), String> {
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
            let mut items = Items::new(b"RPUSH", key, 1);
            list.view().for_each(|element| items.add(output, element));
            items.finish(output)?;
        }
        Object::Set(set) => {
            let mut items = Items::new(b"SADD", key, 1);
            set.view().iter().for_each(|member| items.add(output, member));
            items.finish(output)?;
        }
        Object::SortedSet(set) => {
            let mut items = Items::new(b"ZADD", key, 2);
            for item in set.view().iter() {
                let mut score = Vec::new();
                write_f64(&mut score, item.score);
                items.add(output, Element::Bytes(&score));
                items.add(output, item.member);
            }
            items.finish(output)?;
        }
        Object::Hash(hash) if !expires(hash.view()) => {
            let mut items = Items::new(b"HMSET", key, 2);
            hash.view().for_each(i64::MIN, |pair| {
                items.add(output, pair.field);
                items.add(output, pair.value);
            });
            items.finish(output)?;
        }
        // Times of fields; what groups of a stream know of their consumers.
        value @ (Object::Hash(_) | Object::Stream(_)) => {
            let payload =
                rdb::dump(value.view(), rdb::format::VERSION_PLAIN, &WriteOptions { compress: true });
            write_command(&mut output.buffer, [&b"RESTORE"[..], key, b"0", &payload].into_iter());
        }
    }
    if let Some(time) = record.expires_at {
        let time = time.to_string();
        write_command(&mut output.buffer, [&b"PEXPIREAT"[..], key, time.as_bytes()].into_iter());
    }
    output.advance()
}

fn expires(hash: HashRef<'_>) -> bool {
    matches!(hash, HashRef::Table(table) if table.expiring_count() > 0)
}

/// The items of a collection on their way into commands of some items each.
struct Items<'a> {
    command: &'static [u8],
    key: &'a [u8],
    /// Words of an item.
    words_each: usize,
    words: Vec<Vec<u8>>,
    failure: Option<String>,
}

impl<'a> Items<'a> {
    fn new(command: &'static [u8], key: &'a [u8], words_each: usize) -> Items<'a> {
        Items { command, key, words_each, words: Vec::new(), failure: None }
    }

    fn add(&mut self, output: &mut Output<'_>, word: Element<'_>) {
        self.words.push(word.to_vec());
        if self.words.len() == ITEMS * self.words_each {
            self.write(output);
        }
    }

    fn write(&mut self, output: &mut Output<'_>) {
        let words: Vec<&[u8]> =
            [self.command, self.key].into_iter().chain(self.words.iter().map(Vec::as_slice)).collect();
        write_command(&mut output.buffer, words.into_iter());
        self.words.clear();
        // What comes after a failure goes nowhere.
        match self.failure {
            None => self.failure = output.advance().err(),
            Some(_) => output.buffer.clear(),
        }
    }

    fn finish(mut self, output: &mut Output<'_>) -> Result<(), String> {
        if !self.words.is_empty() {
            self.write(output);
        }
        self.failure.map_or(Ok(()), Err)
    }
}
