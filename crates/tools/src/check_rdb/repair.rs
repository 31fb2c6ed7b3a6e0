//! Writes a file of all that is whole in another: the bytes of its records as they are, behind the same
//! header, with a checksum of their own. The name is given only to a file that is complete and on the disk;
//! the damaged file is never changed.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use base::crc::crc64;
use rdb::VersionCheck;
use rdb::format::MAGIC_LEN;

pub struct Repair {
    source: File,
    target: PathBuf,
    temporary: PathBuf,
    output: File,
    buffer: Vec<u8>,
    /// Whole bytes of the source that are not copied yet.
    from: u64,
    to: u64,
    crc: u64,
    written: u64,
    /// The first thing that went wrong.
    failure: Option<io::Error>,
    finished: bool,
}

impl Repair {
    /// Begins the file that shall become `target`, which must not be the source.
    pub fn begin(source: File, target: &Path) -> io::Result<Repair> {
        let own = source.metadata()?;
        if !own.is_file() {
            return Err(io::Error::other("only a regular file can be repaired"));
        }
        if fs::metadata(target).is_ok_and(|other| (other.dev(), other.ino()) == (own.dev(), own.ino())) {
            return Err(io::Error::other("the repaired file must not replace the damaged one"));
        }
        let mut name =
            target.file_name().ok_or_else(|| io::Error::other("the name is a folder's"))?.to_owned();
        name.push(format!(".temp-{}", std::process::id()));
        let temporary = target.with_file_name(name);
        let output = File::options().write(true).create_new(true).open(&temporary)?;
        let to = MAGIC_LEN as u64;
        let (target, buffer) = (target.to_path_buf(), Vec::with_capacity(BUFFER_LEN));
        let (crc, written, failure, finished) = (0, 0, None, false);
        Ok(Repair { source, target, temporary, output, buffer, from: 0, to, crc, written, failure, finished })
    }

    /// Takes over the source's bytes from `from` to `to`; calls go forward.
    pub fn keep(&mut self, from: u64, to: u64) {
        if from > self.to {
            self.copy();
            self.from = from;
        }
        self.to = self.to.max(to);
    }

    /// Ends the file and gives it its name. Returns its size.
    pub fn finish(mut self) -> io::Result<u64> {
        self.copy();
        if let Some(error) = self.failure.take() {
            return Err(error);
        }
        // Versions without a checksum have nothing behind the end mark.
        rdb::write_eof(&mut self.buffer, Some(self.crc));
        if !self.has_checksum()? {
            self.buffer.truncate(1);
        }
        self.output.write_all(&self.buffer)?;
        self.written += self.buffer.len() as u64;
        self.output.sync_all()?;
        fs::rename(&self.temporary, &self.target)?;
        self.finished = true;
        let folder = self.target.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
        Ok(self.written)
    }

    fn has_checksum(&self) -> io::Result<bool> {
        let mut magic = [0; MAGIC_LEN];
        self.source.read_exact_at(&mut magic, 0)?;
        Ok(match rdb::format::parse_magic(&magic, VersionCheck::Strict) {
            rdb::format::Magic::Readable(_, version) => version >= rdb::format::VERSION_CHECKSUM,
            _ => true,
        })
    }

    /// Copies what is waiting.
    fn copy(&mut self) {
        while self.from < self.to && self.failure.is_none() {
            if let Err(error) = self.copy_piece() {
                self.failure = Some(error);
            }
        }
        self.buffer.clear();
    }

    fn copy_piece(&mut self) -> io::Result<()> {
        let len = (self.to - self.from).min(BUFFER_LEN as u64);
        self.buffer.resize(len as usize, 0);
        self.source.read_exact_at(&mut self.buffer, self.from)?;
        self.output.write_all(&self.buffer)?;
        self.crc = crc64(self.crc, &self.buffer);
        self.from += len;
        self.written += len;
        Ok(())
    }
}

impl Drop for Repair {
    fn drop(&mut self) {
        if !self.finished {
            fs::remove_file(&self.temporary).ok();
        }
    }
}

const BUFFER_LEN: usize = 256 << 10;
