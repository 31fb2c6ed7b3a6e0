//! What saving and loading do to files, one plain call for each step. Nothing here decides or tries again:
//! whoever calls does. A test puts a disk in its place of which any step fails.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::num::NonZeroU64;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, Mode, OFlags, fadvise};

use crate::system;

/// The steps, each as the host does it.
pub trait Disk: Send + Sync {
    /// The folder of names that have none.
    fn folder(&self) -> PathBuf {
        // A folder that was removed has no name any more; opening a file in it gives the reason.
        std::env::current_dir().unwrap_or_else(|_| PathBuf::from("unknown"))
    }

    /// A file to be read, or a folder to be synced.
    fn open(&self, path: &Path) -> io::Result<File> {
        File::open(path)
    }

    /// A file to be written, empty.
    fn create(&self, path: &Path) -> io::Result<File> {
        File::create(path)
    }

    /// As `create`, where there is none yet; only the owner may read it.
    fn create_new(&self, path: &Path) -> io::Result<File> {
        File::options().write(true).create_new(true).mode(0o600).open(path)
    }

    /// A file to be written and read that has no name and is gone with whoever has it open. Where the file
    /// system makes none, it has the name for a moment.
    fn create_unnamed(&self, folder: &Path, name: &str) -> io::Result<File> {
        let (flags, mode) = (OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR);
        if let Ok(file) = rustix::fs::open(folder, flags, mode) {
            return Ok(file.into());
        }
        let path = folder.join(name);
        let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        fs::remove_file(&path)?;
        Ok(file)
    }

    /// A file to be written, as it is; made if there is none.
    fn open_to_write(&self, path: &Path) -> io::Result<File> {
        File::options().write(true).create(true).truncate(false).open(path)
    }

    /// A folder; one that is there already is as good.
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        match fs::create_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
            created => created,
        }
    }

    fn len(&self, file: &File) -> io::Result<u64> {
        Ok(file.metadata()?.len())
    }

    /// Whether it is found again: what has no name any more is gone with whoever has it open.
    fn has_name(&self, file: &File) -> io::Result<bool> {
        Ok(file.metadata()?.nlink() > 0)
    }

    fn truncate(&self, file: &File, len: u64) -> io::Result<()> {
        file.set_len(len)
    }

    fn read(&self, mut file: &File, room: &mut [u8]) -> io::Result<usize> {
        file.read(room)
    }

    fn seek(&self, mut file: &File, to: SeekFrom) -> io::Result<u64> {
        file.seek(to)
    }

    /// How many of the bytes were written.
    fn write_at(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<usize> {
        file.write_at(bytes, at)
    }

    /// Begins to write a range to the disk, without waiting.
    fn begin_write_out(&self, file: &File, from: u64, len: u64) -> io::Result<()> {
        system::begin_write_out(file, from, len)
    }

    /// Waits until a range has gone to the disk, so that its pages can be dropped.
    fn finish_write_out(&self, file: &File, from: u64, len: u64) -> io::Result<()> {
        system::finish_write_out(file, from, len)
    }

    /// Gives page cache back. A length of 0 means: to the end.
    fn drop_cache(&self, file: &File, from: u64, len: u64) -> io::Result<()> {
        Ok(fadvise(file, from, NonZeroU64::new(len), Advice::DontNeed)?)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    /// Without what nobody needs to read the file.
    fn sync_data(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    /// A second name for a file.
    fn link(&self, path: &Path, other: &Path) -> io::Result<()> {
        fs::hard_link(path, other)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
}

/// The host's own.
pub struct HostDisk;

impl Disk for HostDisk {}

/// A disk for as long as the process lives.
pub type AnyDisk = &'static dyn Disk;

/// A file that is read from its beginning.
pub struct FileReader {
    pub disk: AnyDisk,
    pub file: File,
}

impl Read for FileReader {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.disk.read(&self.file, room)
    }
}

impl Seek for FileReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.disk.seek(&self.file, to)
    }
}

/// Writes all of the bytes, however few are taken at a time.
pub fn write_all_at(disk: AnyDisk, file: &File, mut bytes: &[u8], mut at: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match disk.write_at(file, bytes, at) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(len) => (bytes, at) = (&bytes[len..], at + len as u64),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A name is on the disk only when its folder is. Some file systems sync no folders: there it is by itself.
pub fn sync_folder(disk: AnyDisk, folder: &Path) -> io::Result<()> {
    let folder = disk.open(folder)?;
    match disk.sync(&folder) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EBADF)) => Ok(()),
        synced => synced,
    }
}
