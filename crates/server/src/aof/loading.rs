//! Loads the parts in their order: a base as a dump is loaded, requests through the one pipeline. What is cut
//! off at the very end is cut off the file too, if configuration allows that; whatever else is wrong is
//! refused with its place, and never passed over.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use aof::{Malformed, Manifest, Record, Scan, scan};
use base::bytes::escape;
use engine::config::AtRefusal;
use engine::replay::{Replay, Unplayable};
use engine::{Argv, Prepared};
use parking_lot::Mutex;
use resp::request::Span;

use super::Folder;
use crate::disk::AnyDisk;
use crate::host::Process;
use crate::load::{self, watch_over};
use crate::log::{LOG, reason};

/// What there was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    Yes,
    /// No append-only file.
    Absent,
}

/// Bytes read at once; a longer request makes the buffer grow.
const READ_LEN: usize = 1 << 20;
/// Requests whose keys are looked up together.
const BATCH: usize = 32;

/// Fills the keyspace, which is empty. If it takes long, `takes_long` is called, again and again.
pub fn load(process: &Arc<Process>, takes_long: &mut dyn FnMut()) -> Result<Found, String> {
    let config = process.engine().config();
    let folder = Folder::of(process.disk, &config);
    let mut manifest = folder.manifest()?;
    folder.adopt_single_file(&mut manifest)?;
    if manifest.is_empty() {
        return Ok(Found::Absent);
    }
    load_parts(process, &folder, &manifest, takes_long)?;
    Ok(Found::Yes)
}

fn load_parts(
    process: &Arc<Process>,
    folder: &Folder,
    manifest: &Manifest,
    takes_long: &mut dyn FnMut(),
) -> Result<(), String> {
    let sizes = folder.sizes(manifest)?;
    process.load.begin(process.now(), sizes.iter().sum());
    let mut before = 0;
    for (index, (part, size)) in manifest.parts().zip(&sizes).enumerate() {
        let begin = Instant::now();
        process.load.begin_file(before);
        // A part that was begun just before a loss of power has nothing yet.
        let is_last = sizes[index + 1..].iter().all(|size| *size == 0);
        let name = String::from_utf8_lossy(&part.name).into_owned();
        let file = folder.disk.open(&folder.file(&part.name));
        let file = file.map_err(|error| {
            format!("Fatal error: can't open the append log file {name} for reading: {}", reason(&error))
        })?;
        let load = PartLoad { process, folder, name: &name, file, size: *size, is_last };
        load.run(takes_long)?;
        let kind = if manifest.base.as_ref() == Some(part) { "base" } else { "incr" };
        let seconds = begin.elapsed().as_secs_f64();
        LOG.notice(&format!("DB loaded from {kind} file {name}: {seconds:.3} seconds"));
        before += size;
    }
    Ok(())
}

/// One file.
struct PartLoad<'a> {
    process: &'a Arc<Process>,
    folder: &'a Folder,
    name: &'a str,
    file: File,
    size: u64,
    is_last: bool,
}

/// Why reading requests ended before the file did.
enum Stop {
    /// The file ends inside a request or a transaction; it is whole up to there.
    CutOff { whole: u64 },
    /// No request: where, why, and up to where the file is whole.
    Damaged { at: u64, why: String, whole: u64 },
    /// The rest of the sentence about the file.
    Failed(String),
}

impl PartLoad<'_> {
    fn run(self, takes_long: &mut dyn FnMut()) -> Result<(), String> {
        if self.size == 0 {
            return Ok(());
        }
        let mut head = [0; 6];
        let len =
            read_fully(self.folder.disk, &self.file, &mut head).map_err(|error| self.unreadable(&error))?;
        let is_dump = head[..len].starts_with(b"REDIS") || head[..len].starts_with(b"VALKEY");
        let begin = if is_dump { self.load_dump(takes_long)? } else { 0 };
        let position = io::SeekFrom::Start(begin);
        self.folder.disk.seek(&self.file, position).map_err(|error| self.unreadable(&error))?;
        let (ended, watched) = (Mutex::new(Ok(())), (&**self.process.engine(), &self.process.load));
        // On a thread of its own: whatever takes long in the file, clients hear that the server is loading.
        watch_over(1, watched, takes_long, || *ended.lock() = Requests::new(&self, begin).run());
        ended.into_inner().or_else(|stop| self.bear(stop))
    }

    /// The dump at the file's beginning; returns where it ends.
    fn load_dump(&self, takes_long: &mut dyn FnMut()) -> Result<u64, String> {
        LOG.notice("Reading RDB base file on AOF loading...");
        let disk = self.folder.disk;
        disk.seek(&self.file, io::SeekFrom::Start(0)).map_err(|error| self.unreadable(&error))?;
        let file = self.file.try_clone().map_err(|error| self.unreadable(&error))?;
        let (engine, progress) = (self.process.engine(), &self.process.load);
        load::load_file(engine, disk, file, progress, self.process.now(), takes_long).map_err(|error| {
            format!("Error reading the RDB base file {}, AOF loading aborted: {error}", self.name)
        })
    }

    fn unreadable(&self, error: &io::Error) -> String {
        format!("Unrecoverable error reading the append only file {}: {}", self.name, reason(error))
    }

    /// Goes on without the end of the file, or does not.
    fn bear(&self, stop: Stop) -> Result<(), String> {
        let config = self.process.engine().config();
        let name = self.name;
        match stop {
            Stop::CutOff { whole } if config.aof_load_truncated => {
                LOG.warning(&format!("!!! Warning: short read while loading the AOF file {name}!!!"));
                self.truncate(whole)?;
                LOG.warning(&format!("AOF {name} loaded anyway because aof-load-truncated is enabled"));
                Ok(())
            }
            Stop::CutOff { whole } => Err(format!(
                "Unexpected end of file reading the append only file {name}, which is whole up to offset \
                 {whole}. You can: 1) Make a backup of your AOF file, then use ./redis-check-aof --fix \
                 <filename.manifest>. 2) Alternatively you can set the 'aof-load-truncated' configuration \
                 option to yes and restart the server."
            )),
            Stop::Damaged { at, why, whole } => {
                let tail = self.size - whole;
                if tail > config.aof_load_corrupt_tail_max_size {
                    return Err(format!(
                        "Bad file format reading the append only file {name}: {why} at offset {at}. Make a \
                         backup of your AOF file, then use ./redis-check-aof --fix <filename.manifest>"
                    ));
                }
                LOG.warning(&format!("!!! Warning: the end of the AOF file {name} is damaged: {why} !!!"));
                self.truncate(whole)?;
                LOG.warning(&format!(
                    "AOF {name} loaded anyway because aof-load-corrupt-tail-max-size allows {tail} bytes"
                ));
                Ok(())
            }
            Stop::Failed(text) => Err(text),
        }
    }

    fn truncate(&self, whole: u64) -> Result<(), String> {
        let (disk, name) = (self.folder.disk, self.name);
        if !self.is_last {
            return Err("Fatal error: the truncated file is not the last file".to_owned());
        }
        LOG.warning(&format!("!!! Truncating the AOF {name} at offset {whole} !!!"));
        let file = disk.open_to_write(&self.folder.file(name.as_bytes()));
        let cut = file.and_then(|file| disk.truncate(&file, whole).and_then(|()| disk.sync(&file)));
        cut.map_err(|error| format!("Error truncating the AOF file {name}: {}", reason(&error)))
    }
}

/// The requests of a file, from some offset on.
struct Requests<'a> {
    part: &'a PartLoad<'a>,
    replay: Replay<'a>,
    buffer: Vec<u8>,
    /// Bytes of the buffer that are done, and where in the file it begins.
    done: usize,
    origin: u64,
    batch: Vec<Ahead>,
    /// Of all requests in the batch, and of the one that was scanned last.
    spans: Vec<Span>,
    scanned: Vec<Span>,
    /// Where the transaction began that is being read.
    transaction: u64,
}

/// A request that has not run.
struct Ahead {
    /// Where it begins in the buffer, and where its spans do among those of all.
    begin: usize,
    spans: usize,
    prepared: Prepared,
}

impl<'a> Requests<'a> {
    fn new(part: &'a PartLoad<'a>, origin: u64) -> Requests<'a> {
        Requests {
            part,
            replay: Replay::new(part.process.engine()),
            buffer: Vec::new(),
            done: 0,
            origin,
            batch: Vec::new(),
            spans: Vec::new(),
            scanned: Vec::new(),
            transaction: 0,
        }
    }

    fn run(mut self) -> Result<(), Stop> {
        loop {
            let (end, behind) = self.gather();
            self.replay.look_ahead(self.batch.iter().map(|ahead| &ahead.prepared));
            for index in 0..self.batch.len() {
                self.request(index)?;
            }
            self.done = end;
            self.part.process.load.reach(self.offset());
            match behind {
                Ok(None) => {}
                Ok(Some(least)) => {
                    if !self.fill(least)? {
                        break;
                    }
                }
                Err(Malformed { at, text }) => {
                    let at = self.offset() + at as u64;
                    return Err(Stop::Damaged { at, why: text.to_owned(), whole: self.whole() });
                }
            }
        }
        if self.offset() < self.part.size || self.replay.is_in_transaction() {
            return Err(Stop::CutOff { whole: self.whole() });
        }
        if self.replay.refused > 0 {
            let (refused, name) = (self.replay.refused, self.part.name);
            LOG.warning(&format!("{refused} requests of the append only file {name} were refused"));
        }
        Ok(())
    }

    /// The next requests that are whole, and where they end. What stands behind them: more of them, a record
    /// that has at least so many bytes, or none.
    fn gather(&mut self) -> (usize, Result<Option<u64>, Malformed>) {
        let mut end = self.done;
        self.batch.clear();
        self.spans.clear();
        while self.batch.len() < BATCH {
            match scan(&self.buffer[end..], &mut self.scanned) {
                Ok(Scan::Whole { record, len }) => {
                    if record == Record::Request {
                        let argv = Argv::new(&self.buffer[end..], &self.scanned, &[]);
                        let prepared = self.replay.prepare(&argv);
                        self.batch.push(Ahead { begin: end, spans: self.spans.len(), prepared });
                        self.spans.extend_from_slice(&self.scanned);
                    }
                    end += len;
                }
                Ok(Scan::Short { least }) => return (end, Ok(Some(least))),
                Err(malformed) => return (end, Err(malformed)),
            }
        }
        (end, Ok(None))
    }

    /// Runs a request of the batch.
    fn request(&mut self, index: usize) -> Result<(), Stop> {
        let Ahead { begin, spans, prepared } = &self.batch[index];
        let spans_end = self.batch.get(index + 1).map_or(self.spans.len(), |next| next.spans);
        let argv = Argv::new(&self.buffer[*begin..], &self.spans[*spans..spans_end], &[]);
        let offset = self.origin + *begin as u64;
        if argv.is(0, "multi") && !self.replay.is_in_transaction() {
            self.transaction = offset;
        }
        let before = self.replay.refused;
        let ran = self.replay.run(prepared, &argv);
        if let (0, Some(why)) = (before, &self.replay.refusal) {
            let (name, config) = (self.part.name, self.part.process.engine().config());
            let why = config.for_log(why.clone());
            let what = format!("The append only file {name} holds what is refused at offset {offset}: {why}");
            if config.propagation_error_behavior == AtRefusal::End {
                return Err(Stop::Failed(what));
            }
            LOG.warning(&what);
        }
        ran.map_err(|error| {
            let config = self.part.process.engine().config();
            let (what, why) = match error {
                Unplayable::UnknownCommand(told) => {
                    let name = escape(argv.at(0)).trim_matches('"').to_owned();
                    (format!("Unknown command '{}'", config.for_log(name)), told)
                }
                Unplayable::Libraries(reason) => {
                    ("A library of functions was refused".to_owned(), String::from_utf8_lossy(&reason).into())
                }
            };
            let (name, why) = (self.part.name, config.for_log(why));
            Stop::Failed(format!("{what} reading the append only file {name} at offset {offset}: {why}"))
        })
    }

    /// Where the front of the buffer is in the file.
    fn offset(&self) -> u64 {
        self.origin + self.done as u64
    }

    /// Up to where the file is whole.
    fn whole(&self) -> u64 {
        if self.replay.is_in_transaction() { self.transaction } else { self.offset() }
    }

    /// Makes the record at the front `least` bytes longer at least; false if the file has no more.
    fn fill(&mut self, least: u64) -> Result<bool, Stop> {
        if self.offset() + least > self.part.size {
            return Ok(false);
        }
        self.origin += self.done as u64;
        self.buffer.drain(..std::mem::take(&mut self.done));
        let held = self.buffer.len();
        let most = (self.part.size - self.origin) as usize;
        let len = (least as usize).max(held + READ_LEN).min(most);
        self.buffer.shrink_to(len.max(2 * READ_LEN));
        self.buffer.resize(len, 0);
        let read = read_fully(self.part.folder.disk, &self.part.file, &mut self.buffer[held..])
            .map_err(|error| Stop::Failed(self.part.unreadable(&error)))?;
        if held + read < len {
            let name = self.part.name;
            return Err(Stop::Failed(format!(
                "The append only file {name} became shorter while it was read"
            )));
        }
        Ok(true)
    }
}

/// Fills the room, unless the file ends.
fn read_fully(disk: AnyDisk, file: &File, room: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < room.len() {
        match disk.read(file, &mut room[filled..]) {
            Ok(0) => break,
            Ok(len) => filled += len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
