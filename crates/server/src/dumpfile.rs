//! A dump file on its way to the disk: bytes through one buffer to a temporary file, which takes the old
//! dump's place only when it is whole and synced. Room can be reserved for what is written later. It knows
//! nothing of keys; page cache is given back as it goes.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use base::crc::{crc64, crc64_combine};
use rdb::{write_eof, write_header, write_padding};

use crate::disk::{AnyDisk, sync_folder, write_all_at};
use crate::log::reason;
use crate::runs::Runs;

/// What could not be done, as the log tells it.
#[derive(Debug)]
pub enum SaveError {
    Open {
        file: String,
        folder: String,
        error: io::Error,
    },
    Rename {
        file: String,
        target: String,
        folder: String,
        error: io::Error,
    },
    Write {
        operation: &'static str,
        error: io::Error,
    },
    /// The bytes are not those that were announced: the file would be no good.
    Inconsistent(&'static str),
    /// As many snapshots run as may.
    TooMany,
    /// A worker saves, and a script that has been running for too long holds what is to be saved.
    Busy,
    /// Somebody asked for it.
    Cancelled,
}

impl std::fmt::Display for SaveError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SaveError::Open { file, folder, error } => write!(
                f,
                "Failed opening the temp RDB file {file} (in server root dir {folder}) for saving: {}",
                reason(error)
            ),
            SaveError::Rename { file, target, folder, error } => write!(
                f,
                "Error moving temp DB file {file} on the final destination {target} (in server root dir \
                 {folder}): {}",
                reason(error)
            ),
            SaveError::Write { operation, error } => {
                write!(f, "Write error saving DB on disk({operation}): {}", reason(error))
            }
            SaveError::Inconsistent(what) => write!(f, "Internal error saving DB on disk: {what}"),
            SaveError::TooMany => write!(f, "Too many snapshots are being taken to save DB on disk"),
            SaveError::Busy => write!(f, "A script has been running for too long: DB not saved"),
            SaveError::Cancelled => write!(f, "Background saving cancelled"),
        }
    }
}

/// How a file is written.
#[derive(Clone, Copy, Debug)]
pub struct DumpOptions {
    pub checksum: bool,
    /// Write out and drop the page cache as the file grows.
    pub incremental_sync: bool,
}

/// The name of a file until it is whole.
struct Temporary {
    disk: AnyDisk,
    folder: PathBuf,
    path: PathBuf,
    committed: bool,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.committed {
            self.disk.remove(&self.path).ok();
        }
    }
}

/// A dump file that is being written. Dropped before [`DumpFile::commit`], it leaves nothing behind.
pub struct DumpFile {
    disk: AnyDisk,
    file: File,
    /// None if it never gets a name.
    temporary: Option<Temporary>,
    /// Bytes that come next in the file.
    pub buffer: Vec<u8>,
    /// Where the buffer goes.
    position: u64,
    /// Bytes whose write-out has begun; those before the last such range are on the disk.
    begun: u64,
    finished: u64,
    behind: Behind,
    /// Bytes written so far.
    written: u64,
    /// Of the bytes behind the header.
    runs: Runs,
    options: DumpOptions,
}

/// What was written behind the position, in room that had been reserved.
#[derive(Default)]
struct Behind {
    /// Bytes whose write-out has not begun, and where they are.
    len: u64,
    range: Range<u64>,
    /// Where those are whose write-out has.
    begun: Range<u64>,
}

/// Bytes gathered before they go to the file.
const BUFFER_LEN: usize = 256 << 10;
/// Bytes written before their write-out begins: dirty page cache stays at about twice this.
const SYNC_LEN: u64 = 2 << 20;
/// Bytes handed to the disk by one call: until it comes back, a kernel may let no worker have this
/// processor, which takes half a millisecond for 2 MB.
const STEP_LEN: u64 = 256 << 10;
/// What the file system writes at least.
const PAGE_LEN: u64 = 4096;
const HEADER_LEN: usize = rdb::format::MAGIC_LEN;

impl DumpFile {
    /// Begins a file of the lowest version; the real one is known at the end.
    pub fn create(disk: AnyDisk, options: DumpOptions) -> Result<DumpFile, SaveError> {
        // One save at a time, so one name is enough.
        let name = format!("temp-{}.rdb", std::process::id());
        DumpFile::create_in(disk, disk.folder(), name, options)
    }

    /// As `create`, in another folder and with another name on the way.
    pub fn create_in(
        disk: AnyDisk,
        folder: PathBuf,
        name: String,
        options: DumpOptions,
    ) -> Result<DumpFile, SaveError> {
        let path = folder.join(&name);
        let file = disk.create(&path).map_err(not_opened(name, &folder))?;
        let temporary = Temporary { disk, folder, path, committed: false };
        Ok(DumpFile::begin(disk, file, Some(temporary), options))
    }

    /// One that is read by whoever writes it, and by nobody else: nothing is left of it, whatever happens.
    pub fn create_unnamed(disk: AnyDisk, name: String, options: DumpOptions) -> Result<DumpFile, SaveError> {
        let folder = disk.folder();
        let file = disk.create_unnamed(&folder, &name).map_err(not_opened(name, &folder))?;
        Ok(DumpFile::begin(disk, file, None, options))
    }

    fn begin(disk: AnyDisk, file: File, temporary: Option<Temporary>, options: DumpOptions) -> DumpFile {
        let mut buffer = Vec::with_capacity(BUFFER_LEN);
        buffer.extend_from_slice(&write_header(rdb::format::VERSION_PLAIN));
        DumpFile {
            disk,
            file,
            temporary,
            buffer,
            position: 0,
            begun: 0,
            finished: 0,
            behind: Behind::default(),
            written: 0,
            runs: Runs::new(options.checksum),
            options,
        }
    }

    /// Bytes written so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Bytes that it keeps in memory about what was written.
    pub fn memory(&self) -> usize {
        self.runs.memory()
    }

    /// To be called after each addition to the buffer; writes when enough has come together.
    pub fn advance(&mut self) -> Result<(), SaveError> {
        if self.buffer.len() >= BUFFER_LEN { self.flush() } else { Ok(()) }
    }

    /// Appends bytes of any number, a buffer's worth at a time.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), SaveError> {
        for piece in bytes.chunks(BUFFER_LEN) {
            self.buffer.extend_from_slice(piece);
            self.advance()?;
        }
        Ok(())
    }

    /// Adds what it takes for a page of the file to begin behind `len` bytes that come next.
    pub fn pad_before(&mut self, len: usize) {
        let end = self.position + (self.buffer.len() + rdb::PADDING_LEAST + len) as u64;
        let more = end.next_multiple_of(PAGE_LEN) - end;
        write_padding(&mut self.buffer, rdb::PADDING_LEAST + more as usize);
    }

    /// Leaves room for `len` bytes behind what was added so far, and returns where it begins.
    pub fn reserve(&mut self, len: u64) -> Result<u64, SaveError> {
        self.flush()?;
        let start = self.position;
        self.position += len;
        Ok(start)
    }

    /// Writes a part of room that was reserved.
    pub fn fill(&mut self, from: u64, bytes: &[u8]) -> Result<(), SaveError> {
        self.write_at(from, bytes)?;
        let (end, behind) = (from + bytes.len() as u64, &mut self.behind);
        behind.range = match behind.len {
            0 => from..end,
            _ => behind.range.start.min(from)..behind.range.end.max(end),
        };
        behind.len += bytes.len() as u64;
        if self.options.incremental_sync && behind.len >= SYNC_LEN {
            self.write_out_behind()?;
        }
        Ok(())
    }

    fn write_at(&mut self, from: u64, bytes: &[u8]) -> Result<(), SaveError> {
        if !self.runs.add(from, bytes) {
            return Err(SaveError::Inconsistent("a part of the file would be written twice"));
        }
        self.written += bytes.len() as u64;
        self.write_plain(from, bytes)
    }

    fn write_plain(&self, from: u64, bytes: &[u8]) -> Result<(), SaveError> {
        write_all_at(self.disk, &self.file, bytes, from).map_err(failed("write"))
    }

    fn flush(&mut self) -> Result<(), SaveError> {
        let buffer = std::mem::take(&mut self.buffer);
        // The header is written anew at the end, and counts only then.
        let header = HEADER_LEN.saturating_sub(self.position as usize).min(buffer.len());
        self.write_plain(self.position, &buffer[..header])?;
        self.write_at(self.position + header as u64, &buffer[header..])?;
        self.position += buffer.len() as u64;
        self.buffer = buffer;
        self.buffer.clear();
        self.buffer.shrink_to(2 * BUFFER_LEN);
        if self.options.incremental_sync && self.position - self.begun >= SYNC_LEN {
            self.write_out()?;
        }
        Ok(())
    }

    /// Begins to write out what is new, and waits for what was begun before, so that its pages can be
    /// dropped.
    fn write_out(&mut self) -> Result<(), SaveError> {
        self.begin_write_out(self.begun..self.position)?;
        self.finish_write_out(self.finished..self.begun)?;
        (self.finished, self.begun) = (self.begun, self.position);
        Ok(())
    }

    /// As `write_out`, for what lies behind.
    fn write_out_behind(&mut self) -> Result<(), SaveError> {
        let Behind { range, begun, .. } = std::mem::take(&mut self.behind);
        self.begin_write_out(range.clone())?;
        self.finish_write_out(begun)?;
        self.behind.begun = range;
        Ok(())
    }

    fn begin_write_out(&self, range: Range<u64>) -> Result<(), SaveError> {
        for from in range.clone().step_by(STEP_LEN as usize) {
            let begun = self.disk.begin_write_out(&self.file, from, STEP_LEN.min(range.end - from));
            written_out(begun).map_err(failed("sync_file_range"))?;
        }
        Ok(())
    }

    fn finish_write_out(&self, range: Range<u64>) -> Result<(), SaveError> {
        if range.is_empty() {
            return Ok(());
        }
        let finished = self.disk.finish_write_out(&self.file, range.start, range.end - range.start);
        written_out(finished).map_err(failed("sync_file_range"))?;
        // The page in which the range before ended is whole only now: a part of one stays in the cache.
        let start = range.start - range.start % PAGE_LEN;
        self.drop_cache(start, range.end - start);
        Ok(())
    }

    /// A hint; the file is right without it. A length of 0 means: to the end.
    fn drop_cache(&self, from: u64, len: u64) {
        self.disk.drop_cache(&self.file, from, len).ok();
    }

    /// Ends the file: checksum, the header with its real version, sync, and the change of names. Returns
    /// its size.
    pub fn commit(mut self, version: u32, name: &Path) -> Result<u64, SaveError> {
        self.end(version)?;
        self.disk.sync(&self.file).map_err(failed("fsync"))?;
        self.drop_cache(0, 0);
        let mut temporary = self.temporary.expect("a file without a name never gets one");
        temporary.rename(name)?;
        sync_folder(self.disk, &temporary.folder).map_err(failed("fsyncFileDir"))?;
        Ok(self.position)
    }

    /// Ends a file that has no name; it is read from its beginning. Returns its size too.
    pub fn into_file(mut self, version: u32) -> Result<(File, u64), SaveError> {
        self.end(version)?;
        Ok((self.file, self.position))
    }

    fn end(&mut self, version: u32) -> Result<(), SaveError> {
        self.flush()?;
        let header = write_header(version);
        let len = self.position - HEADER_LEN as u64;
        let Some(crc) = self.runs.whole(HEADER_LEN as u64, self.position) else {
            return Err(SaveError::Inconsistent("a part of the file was not written"));
        };
        let whole = crc64_combine(crc64(0, &header), crc, len);
        write_eof(&mut self.buffer, self.options.checksum.then_some(whole));
        self.flush()?;
        self.write_plain(0, &header)
    }
}

impl Temporary {
    fn rename(&mut self, name: &Path) -> Result<(), SaveError> {
        self.disk.rename(&self.path, &self.folder.join(name)).map_err(|error| SaveError::Rename {
            file: self.path.display().to_string(),
            target: name.display().to_string(),
            folder: self.folder.display().to_string(),
            error,
        })?;
        self.committed = true;
        Ok(())
    }
}

fn not_opened(file: String, folder: &Path) -> impl FnOnce(io::Error) -> SaveError {
    let folder = folder.display().to_string();
    move |error| SaveError::Open { file, folder, error }
}

/// A file system or a sandbox that has no such call loses nothing: the file is synced at its end. Whatever
/// else goes wrong is a write that failed.
fn written_out(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.raw_os_error().is_some_and(|number| NOT_SERVED.contains(&number)) => Ok(()),
        done => done,
    }
}

const NOT_SERVED: [i32; 5] = [libc::ENOSYS, libc::EINVAL, libc::ESPIPE, libc::EOPNOTSUPP, libc::EPERM];

fn failed(operation: &'static str) -> impl FnOnce(io::Error) -> SaveError {
    move |error| SaveError::Write { operation, error }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    use crate::disk::Disk;
    use rdb::{Item, ReadOptions, Reader, ValueRef, WriteOptions, write_record, write_select_db};

    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("onefold-dump-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a temporary folder");
        path
    }

    struct Folder(PathBuf);

    impl Disk for Folder {
        fn folder(&self) -> PathBuf {
            self.0.clone()
        }
    }

    fn disk(folder: &Path) -> AnyDisk {
        Box::leak(Box::new(Folder(folder.to_path_buf())))
    }

    fn write(folder: &Path, checksum: bool, keys: usize) -> u64 {
        let options = DumpOptions { checksum, incremental_sync: true };
        let mut dump = DumpFile::create(disk(folder), options).expect("the folder is there");
        write_select_db(&mut dump.buffer, 0);
        for key in 0..keys {
            let value = vec![b'v'; 5000];
            let key = format!("key:{key}");
            let options = WriteOptions { compress: false };
            write_record(&mut dump.buffer, key.as_bytes(), None, ValueRef::Bytes(&value), &options);
            dump.advance().expect("there is room");
        }
        dump.commit(12, Path::new("dump.rdb")).expect("there is room")
    }

    fn check(checksum: bool, keys: usize) {
        let folder = folder(&format!("{checksum}-{keys}"));
        let size = write(&folder, checksum, keys);
        let path = folder.join("dump.rdb");
        assert_eq!(fs::metadata(&path).expect("it was written").len(), size);
        let file = File::open(&path).expect("it was written");
        let mut reader = Reader::new(file, &ReadOptions::default()).expect("a header");
        let mut found = 0;
        loop {
            match reader.next().expect("a whole file") {
                Item::Record(_) => found += 1,
                Item::End => break,
                _ => {}
            }
        }
        assert_eq!((found, reader.version()), (keys, 12));
        assert_eq!(fs::read_dir(&folder).expect("it is there").count(), 1, "no temporary file is left");
        fs::remove_dir_all(&folder).expect("it is there");
    }

    #[test]
    fn what_is_written_is_read() {
        for checksum in [true, false] {
            for keys in [0, 1, 3000] {
                check(checksum, keys);
            }
        }
    }

    #[test]
    fn a_file_given_up_leaves_nothing() {
        let folder = folder("given-up");
        let options = DumpOptions { checksum: true, incremental_sync: false };
        drop(DumpFile::create(disk(&folder), options).expect("the folder is there"));
        assert_eq!(fs::read_dir(&folder).expect("it is there").count(), 0);
        fs::remove_dir_all(&folder).expect("it is there");
        let error = DumpFile::create(disk(&folder), options).err().expect("the folder is gone");
        let expected = format!(
            "Failed opening the temp RDB file temp-{}.rdb (in server root dir {}) for saving: No such \
             file or directory",
            std::process::id(),
            folder.display()
        );
        assert_eq!(error.to_string(), expected);
    }
}
