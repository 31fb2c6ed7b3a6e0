//! The folder of the append-only file: its manifest, its parts, and each change of them in an order in which
//! a crash between any two steps leaves a folder that loads. Writes no record, and reads none.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use aof::{Manifest, Part};
use engine::config::Config;

use crate::disk::{AnyDisk, FileReader, sync_folder, write_all_at};
use crate::log::{LOG, path, reason};

/// Where it is, and how its files are called.
#[derive(Clone)]
pub struct Folder {
    pub disk: AnyDisk,
    /// The folder around it, where a single file of old times is.
    outer: PathBuf,
    pub path: PathBuf,
    /// `appendfilename`.
    pub file_name: Vec<u8>,
    /// `appenddirname`, for the log.
    shown: String,
}

/// A manifest longer than this is none.
const MANIFEST_LEN: u64 = 16 << 20;

impl Folder {
    pub fn of(disk: AnyDisk, config: &Config) -> Folder {
        let outer = disk.folder();
        let path = outer.join(path(&config.appenddirname));
        let shown = String::from_utf8_lossy(&config.appenddirname).into_owned();
        Folder { disk, outer, path, file_name: config.appendfilename.clone(), shown }
    }

    pub fn file(&self, name: &[u8]) -> PathBuf {
        self.path.join(path(name))
    }

    fn manifest_name(&self) -> Vec<u8> {
        [&self.file_name, &b".manifest"[..]].concat()
    }

    pub fn temporary_increment(&self) -> Vec<u8> {
        [&b"temp-"[..], &self.file_name, b".incr"].concat()
    }

    pub fn create(&self) -> Result<(), String> {
        let created = self.disk.create_folder(&self.path).and_then(|()| sync_folder(self.disk, &self.outer));
        created.map_err(|error| {
            format!("Can't open or create append-only dir {}: {}", self.shown, reason(&error))
        })
    }

    /// The manifest; an empty one if there is none.
    pub fn manifest(&self) -> Result<Manifest, String> {
        let name = self.manifest_name();
        let file = match self.disk.open(&self.file(&name)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Manifest::default()),
            Err(error) => {
                let (name, why) = (String::from_utf8_lossy(&name), reason(&error));
                return Err(format!(
                    "Fatal error: can't open the AOF manifest file {name} for reading: {why}"
                ));
            }
        };
        let mut text = Vec::new();
        let read = FileReader { disk: self.disk, file }.take(MANIFEST_LEN).read_to_end(&mut text);
        read.map_err(|error| format!("Read AOF manifest failed: {}", reason(&error)))?;
        Manifest::parse(&text).map_err(|error| {
            let place = error.line.map_or(String::new(), |(number, line)| {
                format!("\nReading the manifest file, at line {number}\n>>> '{line}'")
            });
            format!("\n*** FATAL AOF MANIFEST FILE ERROR ***{place}\n{}", error.text)
        })
    }

    /// Puts `next` in the place of the manifest there is, whole or not at all. If that fails at the last step
    /// it is in place, but the disk may have either: no file of either may go.
    pub fn store(&self, manifest: &mut Manifest, next: Manifest) -> Result<(), String> {
        let failed = |error: io::Error| format!("Can't write the AOF manifest file: {}", reason(&error));
        let name = self.manifest_name();
        let temporary = self.file(&[&b"temp-"[..], &name].concat());
        self.write(&temporary, &next.text()).map_err(failed)?;
        self.disk.rename(&temporary, &self.file(&name)).map_err(failed)?;
        *manifest = next;
        sync_folder(self.disk, &self.path).map_err(failed)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let file = self.disk.create(path)?;
        write_all_at(self.disk, &file, bytes, 0)?;
        self.disk.sync(&file)
    }

    /// Bytes of all parts that are loaded. A part that is missing is a fault.
    pub fn sizes(&self, manifest: &Manifest) -> Result<Vec<u64>, String> {
        manifest.parts().map(|part| self.size(part)).collect()
    }

    fn size(&self, part: &Part) -> Result<u64, String> {
        let size = self.disk.open(&self.file(&part.name)).and_then(|file| self.disk.len(&file));
        size.map_err(|error| {
            let name = String::from_utf8_lossy(&part.name);
            format!("Unable to obtain the AOF file {name} length. stat: {}", reason(&error))
        })
    }

    /// A file with the name that an increment will have, empty.
    pub fn create_increment(&self, name: &[u8]) -> Result<File, String> {
        let created = self.disk.create(&self.file(name));
        created.map_err(|error| cannot_open(name, &error))
    }

    /// An increment that goes on, and its length.
    pub fn open_increment(&self, name: &[u8]) -> Result<(File, u64), String> {
        let opened = self.disk.open_to_write(&self.file(name));
        let measured = opened.and_then(|file| self.disk.len(&file).map(|len| (file, len)));
        measured.map_err(|error| cannot_open(name, &error))
    }

    /// An increment gets the name under which the manifest will know it.
    pub fn rename_increment(&self, old: &[u8], new: &[u8]) -> Result<(), String> {
        self.disk.rename(&self.file(old), &self.file(new)).map_err(|error| {
            let (old, new) = (String::from_utf8_lossy(old), String::from_utf8_lossy(new));
            let why = reason(&error);
            format!("Error trying to rename the temporary AOF incr file {old} into {new}: {why}")
        })
    }

    /// Moves a single file of old times into the folder, as the base. After a crash on the way this is done
    /// once more.
    pub fn adopt_single_file(&self, manifest: &mut Manifest) -> Result<(), String> {
        let (old, new) = (self.outer.join(path(&self.file_name)), self.file(&self.file_name));
        let is_alone = manifest.increments.is_empty();
        let begun = is_alone && manifest.base.as_ref().is_some_and(|base| base.name == self.file_name);
        if !(manifest.is_empty() || begun && !self.is_there(&new)?) || !self.is_there(&old)? {
            return Ok(());
        }
        self.create()?;
        let mut next = manifest.clone();
        next.adopt_single_file(&self.file_name);
        self.store(manifest, next)?;
        let name = String::from_utf8_lossy(&self.file_name);
        self.disk
            .rename(&old, &new)
            .and_then(|()| sync_folder(self.disk, &self.path))
            .and_then(|()| sync_folder(self.disk, &self.outer))
            .map_err(|error| {
                let (dir, why) = (&self.shown, reason(&error));
                format!("Error trying to move the old AOF file {name} into dir {dir}: {why}")
            })?;
        LOG.notice(&format!(
            "Successfully migrated an old-style AOF file ({name}) into the AOF directory ({}).",
            self.shown
        ));
        Ok(())
    }

    fn is_there(&self, path: &Path) -> Result<bool, String> {
        match self.disk.open(path) {
            Ok(file) => Ok(file.metadata().is_ok_and(|metadata| metadata.is_file())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(format!("Can't open {}: {}", path.display(), reason(&error))),
        }
    }

    /// Removes what is no longer needed. What remains of it costs room, nothing else.
    pub fn remove_history(&self, manifest: &mut Manifest) {
        // The manifest on the disk must be the one that needs them no more.
        if manifest.history.is_empty() || sync_folder(self.disk, &self.path).is_err() {
            return;
        }
        let mut next = manifest.clone();
        let is_needed = |name: &[u8]| manifest.parts().any(|part| part.name == name);
        for part in std::mem::take(&mut next.history) {
            // Redis may have given a name twice.
            if is_needed(&part.name) {
                continue;
            }
            LOG.notice(&format!("Removing the history file {}", String::from_utf8_lossy(&part.name)));
            self.remove(&part.name);
        }
        if let Err(error) = self.store(manifest, next) {
            LOG.warning(&error);
        }
    }

    pub fn remove(&self, name: &[u8]) {
        self.disk.remove(&self.file(name)).ok();
    }
}

fn cannot_open(name: &[u8], error: &io::Error) -> String {
    let name = String::from_utf8_lossy(name);
    format!("Can't open the append-only file {name}: {}", reason(error))
}
