//! Control groups, in which a server and what it starts are bounded and counted together: memory with page
//! cache, and writes to a disk. Version 1 and 2 of the kernel's interface; where neither may be used there is
//! no group. Removed with the value; processes that are in it still are put out of it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// A group of its own, with no limit.
pub struct Group {
    memory: PathBuf,
    disk: PathBuf,
    interface: Interface,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Interface {
    /// A tree for each resource.
    V1,
    /// One tree.
    V2,
}

const ROOT: &str = "/sys/fs/cgroup";

impl Group {
    /// Fails where the process may not make groups, or the kernel has none.
    pub fn create() -> Option<Group> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("onefold-test-{}-{number}", std::process::id());
        let root = Path::new(ROOT);
        let unified = root.join("cgroup.controllers").exists();
        let group = match unified {
            true => {
                fs::write(root.join("cgroup.subtree_control"), "+memory +io").ok();
                let folder = root.join(name);
                Group { memory: folder.clone(), disk: folder, interface: Interface::V2 }
            }
            false => Group {
                memory: root.join("memory").join(&name),
                disk: root.join("blkio").join(&name),
                interface: Interface::V1,
            },
        };
        for folder in group.folders() {
            fs::create_dir(folder).ok()?;
        }
        group.usage().map(|_| group)
    }

    fn folders(&self) -> Vec<&Path> {
        match self.interface {
            Interface::V1 => vec![&self.memory, &self.disk],
            Interface::V2 => vec![&self.memory],
        }
    }

    /// Shell commands by which a process enters the group.
    pub fn enter(&self) -> String {
        let enter = |folder: &&Path| format!("echo $$ > {}/cgroup.procs", folder.display());
        self.folders().iter().map(enter).collect::<Vec<_>>().join(" && ")
    }

    /// Bounds memory with page cache; false if that is not possible.
    pub fn limit_memory(&self, bytes: u64) -> bool {
        let file = if self.interface == Interface::V1 { "memory.limit_in_bytes" } else { "memory.max" };
        fs::write(self.memory.join(file), bytes.to_string()).is_ok()
    }

    /// Bounds what is written in a second to the disk that holds `folder`; false if that is not possible.
    pub fn limit_writes(&self, folder: &Path, bytes_per_second: u64) -> bool {
        let Ok(metadata) = fs::metadata(folder) else { return false };
        let device = format!("{}:{}", rustix::fs::major(metadata.dev()), rustix::fs::minor(metadata.dev()));
        let (file, line) = match self.interface {
            Interface::V1 => ("blkio.throttle.write_bps_device", format!("{device} {bytes_per_second}")),
            Interface::V2 => ("io.max", format!("{device} wbps={bytes_per_second}")),
        };
        fs::write(self.disk.join(file), line).is_ok()
    }

    /// Bytes of memory with page cache, now.
    pub fn usage(&self) -> Option<u64> {
        let file = if self.interface == Interface::V1 { "memory.usage_in_bytes" } else { "memory.current" };
        fs::read_to_string(self.memory.join(file)).ok()?.trim().parse().ok()
    }

    /// Runs `work` and tells the most memory, with page cache, that was in use meanwhile.
    pub fn peak_during<T>(&self, work: impl FnOnce() -> T) -> (T, u64) {
        let stop = std::sync::atomic::AtomicBool::new(false);
        thread::scope(|scope| {
            let watch = || {
                let mut peak = 0;
                while !stop.load(Ordering::Relaxed) {
                    peak = peak.max(self.usage().unwrap_or(0));
                    thread::sleep(SAMPLE_EVERY);
                }
                peak
            };
            let watcher = scope.spawn(watch);
            let stopper = Stopper(&stop);
            let result = work();
            drop(stopper);
            (result, watcher.join().expect("it only reads"))
        })
    }
}

/// Also when the work panics: else the watcher would be waited for for ever.
struct Stopper<'a>(&'a std::sync::atomic::AtomicBool);

impl Drop for Stopper<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let begin = Instant::now();
        for folder in self.folders() {
            // Processes that were killed leave a little later.
            while fs::remove_dir(folder).is_err() && folder.exists() && begin.elapsed() < PATIENCE {
                put_out(folder);
                thread::sleep(SAMPLE_EVERY);
            }
        }
    }
}

/// Moves the processes of a group to the one above it.
fn put_out(folder: &Path) {
    let processes = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    for process in processes.lines() {
        // One that has ended meanwhile needs no other place.
        fs::write(folder.with_file_name("cgroup.procs"), process).ok();
    }
}

const SAMPLE_EVERY: Duration = Duration::from_millis(2);
const PATIENCE: Duration = Duration::from_secs(5);
