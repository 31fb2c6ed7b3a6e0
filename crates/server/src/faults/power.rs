//! What a disk holds after a loss of power: names and bytes that were synced for certain, and of the rest any
//! beginning. Pictures are taken at each step, of a folder that the test fills while it goes.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use base::random::Rng;

/// A folder as it may be found: names and bytes, and how much was acknowledged when the power went.
pub struct Picture {
    pub files: BTreeMap<OsString, Vec<u8>>,
    pub acknowledged: u64,
}

type Id = usize;

pub struct Power {
    folder: PathBuf,
    /// By name, what is there now.
    live: BTreeMap<OsString, Id>,
    /// By name, what is there for certain.
    durable: BTreeMap<OsString, Id>,
    /// Each file's bytes that are on the disk for certain, and those that it had when it lost its name.
    bytes: Vec<(Vec<u8>, Vec<u8>)>,
    pub acknowledged: u64,
    pub pictures: Vec<Picture>,
    /// Syncs of bytes since the last step of another kind.
    syncs: usize,
    rng: Rng,
}

/// Of many syncs in a row, each like the other, so many are looked at.
const SYNCS: usize = 5;

impl Power {
    /// All that is in the folder is there for certain.
    pub fn watch(folder: &Path) -> Power {
        let mut power = Power {
            folder: folder.to_path_buf(),
            live: BTreeMap::new(),
            durable: BTreeMap::new(),
            bytes: Vec::new(),
            acknowledged: 0,
            pictures: Vec::new(),
            syncs: 0,
            rng: Rng::from_seed(1),
        };
        for entry in fs::read_dir(folder).expect("the folder is there").flatten() {
            power.created(&entry.path());
            power.synced_bytes(&entry.path());
        }
        power.durable = power.live.clone();
        power
    }

    /// The name of a file in the folder.
    fn name(&self, path: &Path) -> Option<OsString> {
        (path.parent() == Some(&self.folder)).then(|| path.file_name().map(OsString::from))?
    }

    pub fn created(&mut self, path: &Path) {
        let Some(name) = self.name(path) else { return };
        let bytes = &mut self.bytes;
        self.live.entry(name).or_insert_with(|| {
            bytes.push(Default::default());
            bytes.len() - 1
        });
        self.syncs = 0;
    }

    /// About to happen.
    pub fn renames(&mut self, from: &Path, to: &Path) {
        let (Some(from), Some(to)) = (self.name(from), self.name(to)) else { return };
        self.take_pictures();
        self.removed(&to);
        let id = self.live.remove(&from).expect("it was created");
        self.live.insert(to, id);
    }

    /// About to happen.
    pub fn removes(&mut self, path: &Path) {
        let Some(name) = self.name(path) else { return };
        self.take_pictures();
        self.removed(&name);
    }

    fn removed(&mut self, name: &OsString) {
        if let Some(id) = self.live.remove(name) {
            self.bytes[id].1 = fs::read(self.folder.join(name)).expect("it is there still");
        }
        self.syncs = 0;
    }

    /// About to happen, to a file or to the folder.
    pub fn syncs(&mut self, file: &File) {
        let link = format!("/proc/self/fd/{}", file.as_raw_fd());
        let path = fs::read_link(link).expect("the descriptor is open");
        if path == self.folder {
            self.take_pictures();
            self.durable = self.live.clone();
            self.syncs = 0;
        } else if self.name(&path).is_some() {
            self.syncs += 1;
            if self.syncs <= SYNCS {
                self.take_pictures();
            }
            self.synced_bytes(&path);
        }
    }

    fn synced_bytes(&mut self, path: &Path) {
        let id = self.name(path).and_then(|name| self.live.get(&name).copied());
        if let Some(id) = id {
            self.bytes[id].0 = fs::read(path).expect("it is there");
        }
    }

    /// Names and bytes, each as it is for certain and as it may be.
    fn take_pictures(&mut self) {
        for names in [self.durable.clone(), self.live.clone()] {
            for is_torn in [false, true] {
                let files =
                    names.iter().map(|(name, id)| (name.clone(), self.bytes_of(*id, is_torn))).collect();
                self.pictures.push(Picture { files, acknowledged: self.acknowledged });
            }
        }
    }

    /// With some beginning of what is not synced.
    fn bytes_of(&mut self, id: Id, is_torn: bool) -> Vec<u8> {
        let (durable, last) = &self.bytes[id];
        let mut bytes = durable.clone();
        if is_torn {
            let name = self.live.iter().find(|(_, other)| **other == id).map(|(name, _)| name);
            let now = name
                .map_or_else(|| last.clone(), |name| fs::read(self.folder.join(name)).unwrap_or_default());
            let more = now.len().saturating_sub(bytes.len());
            let kept = self.rng.below(more as u64 + 1) as usize;
            bytes.extend_from_slice(now.get(durable.len()..durable.len() + kept).unwrap_or_default());
        }
        bytes
    }
}
