//! Loads what is whole of a damaged file, one record after the other. The file keeps a second name, under
//! which nothing overwrites it; what is wrong with it stands in the log.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use base::bytes::escape;
use rdb::{Error, ErrorKind, Item, Stage};
use store::DbIndex;

use super::room::RoomMaker;
use super::{Arrivals, Dump, Input, Load};
use crate::disk::{AnyDisk, FileReader, sync_folder, write_all_at};
use crate::log::{LOG, reason};

/// What could not be loaded.
#[derive(Default)]
struct Losses {
    /// Records that are damaged inside.
    records: u64,
    /// Keys that came a second time.
    duplicates: u64,
    functions: u64,
    /// Keys that the file says it has, in the databases seen.
    announced: u64,
    /// Whatever was wrong.
    faults: u64,
    /// Where reading had to end before the file's end.
    gave_up_at: Option<u64>,
}

/// Fills the keyspace from a file. Only what no file can help against is a fault.
pub(super) fn run(load: &Load<'_>, dump: Dump<'_>) {
    let mut losses = Losses::default();
    let (mut input, mut arrivals) = (load.input.lock(), load.no_arrivals());
    let mut rooms = RoomMaker::new(load.engine, load.beyond);
    while !input.ended {
        if let Err((offset, text)) = step(load, &mut input, &mut arrivals, &mut losses) {
            return load.fail(offset, text);
        }
        if let Err(text) = rooms.make_room(load.engine, &load.engine.config(), load.now) {
            return load.fail(input.reader.offset(), text);
        }
    }
    let empty = input.reader.empty_count();
    drop(input);
    load.progress.keys_empty.fetch_add(empty, Ordering::Relaxed);
    if losses.faults > 0 {
        losses.report(load);
        if let Err(error) = set_aside(dump, load.now.seconds()) {
            load.fail(0, format!("The damaged file cannot be given a second name: {}", reason(&error)));
        }
    }
}

/// One item, or one fault.
fn step(
    load: &Load<'_>,
    input: &mut Input,
    arrivals: &mut Arrivals,
    losses: &mut Losses,
) -> Result<(), (u64, String)> {
    let item = input.reader.next();
    let offset = input.reader.offset();
    load.progress.reach(offset);
    match item {
        Ok(Item::End) => input.ended = true,
        Ok(Item::Record(record)) => insert(load, input.db, record, arrivals, losses),
        Ok(Item::Function(code)) => {
            if let Err(reason) = load.load_library(&code) {
                losses.functions += 1;
                losses.tell(&reason);
            }
        }
        Ok(item) => {
            if let Item::ResizeDb { keys, .. } = item {
                losses.announced = losses.announced.saturating_add(keys);
            }
            load.note(item, input).map_err(|text| (offset, text))?;
        }
        Err(error) => return pass(load, input, error, losses),
    }
    Ok(())
}

fn insert(load: &Load<'_>, db: DbIndex, record: rdb::Record, arrivals: &mut Arrivals, losses: &mut Losses) {
    let key = load.arrive_decoded(record, arrivals);
    if load.insert_all(db, arrivals).is_err() {
        arrivals.count = 0;
        losses.duplicates += 1;
        let key = load.engine.config().for_log(escape(&key));
        losses.tell(&format!("RDB has duplicated key {key} in DB {}", db.0));
    }
}

/// Goes on behind a fault, or ends. An input that cannot be read is none that is damaged.
fn pass(load: &Load<'_>, input: &mut Input, error: Error, losses: &mut Losses) -> Result<(), (u64, String)> {
    if let ErrorKind::Io(_) = error.kind {
        return Err((error.offset, load.told(error)));
    }
    let in_record = matches!(error.stage, Stage::Key(_) | Stage::Value(_));
    let passed = in_record.then(|| input.reader.pass_damaged(&error));
    let goes_on = matches!(passed, Some(Ok(())));
    if let Some(Err(second)) = passed
        && let ErrorKind::Io(_) = second.kind
    {
        return Err((second.offset, load.told(second)));
    }
    if goes_on {
        losses.records += 1;
        losses.tell(&load.told(error));
    } else {
        input.ended = true;
        losses.gave_up_at = (error.stage != Stage::Checksum).then_some(error.item_offset);
        losses.faults += 1;
        LOG.warning(&load.told(error));
    }
    Ok(())
}

impl Losses {
    fn tell(&mut self, text: &str) {
        if self.faults < SHOWN {
            LOG.warning(text);
        }
        self.faults += 1;
    }

    fn report(&self, load: &Load<'_>) {
        let status = load.progress.status();
        let (kept, expired) = (status.keys_loaded, status.keys_expired);
        let Losses { records, duplicates, functions, announced, .. } = self;
        LOG.warning(&format!(
            "Recovered what is whole of a damaged RDB file: {kept} keys kept, {expired} expired; lost {records} \
             damaged records, {duplicates} duplicates, {functions} function libraries."
        ));
        if let Some(offset) = self.gave_up_at {
            let empty = load.progress.keys_empty.load(Ordering::Relaxed);
            let known = kept + expired + records + duplicates + empty;
            let missing = match announced.checked_sub(known) {
                Some(missing) if *announced > 0 => format!("at least {missing} keys are"),
                _ => "it is not known how many keys are".into(),
            };
            let bytes = status.total_bytes.saturating_sub(offset);
            LOG.warning(&format!(
                "From offset {offset} on nothing could be read: {missing} lost with the last {bytes} bytes."
            ));
        }
    }
}

/// Gives the file a second name beside its own, which nobody else has.
fn set_aside(dump: Dump<'_>, seconds: i64) -> io::Result<()> {
    let (disk, path) = (dump.disk, dump.disk.folder().join(dump.path));
    for attempt in 0..NAMES {
        let other = aside_name(&path, seconds, attempt);
        match disk.link(&path, &other) {
            Ok(()) => {
                sync_name(disk, &other)?;
                LOG.warning(&format!("The damaged file is kept as {} too.", other.display()));
                return Ok(());
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            // Not everywhere may a file have two names. It never loses its own: without that, the next start
            // would be an empty one.
            Err(_) => match copy(disk, &path, &other) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                copied => {
                    copied?;
                    LOG.warning(&format!("A copy of the damaged file is kept as {}.", other.display()));
                    return Ok(());
                }
            },
        }
    }
    Err(io::Error::from(io::ErrorKind::AlreadyExists))
}

/// Copies a file to a name that nobody has, and waits for the disk; a part of a copy is removed again.
fn copy(disk: AnyDisk, path: &Path, other: &Path) -> io::Result<()> {
    let file = disk.open(path)?;
    let copy = disk.create_new(other)?;
    let (mut source, mut room, mut at) = (FileReader { disk, file }, vec![0; COPY_LEN], 0);
    let mut write = || -> io::Result<()> {
        loop {
            match source.read(&mut room) {
                Ok(0) => break,
                Ok(len) => write_all_at(disk, &copy, &room[..len], at).map(|()| at += len as u64)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        disk.sync(&copy)?;
        sync_name(disk, other)
    };
    write().inspect_err(|_| drop(disk.remove(other)))
}

fn sync_name(disk: AnyDisk, path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    sync_folder(disk, folder.unwrap_or(Path::new(".")))
}

fn aside_name(path: &Path, seconds: i64, attempt: u32) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".damaged-{seconds}"));
    if attempt > 0 {
        name.push(format!("-{attempt}"));
    }
    path.with_file_name(name)
}

const NAMES: u32 = 100;
const COPY_LEN: usize = 256 << 10;
/// Faults that the log tells of one by one.
const SHOWN: u64 = 100;
