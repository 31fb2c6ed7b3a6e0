//! Every step that saving and loading do to files fails once, in a process of its own that is whole but for
//! its timer: the old dump stays, clients hear what Redis tells them, and the next try succeeds.

mod aof;
mod file;
mod loading;
mod power;
mod saving;

use std::fs::{self, File};
use std::io::{self, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use engine::Engine;
use engine::config::{Config, DebugAccess, SavePoint};
use engine::host::WorkerId;
use parking_lot::{Condvar, Mutex};
use rdb::{Item, ReadOptions, Reader};
use testkit::client::{error, ok};
use testkit::{Client, Value};

use crate::acceptor::{self, Order};
use crate::arguments::Launch;
use crate::disk::{Disk, HostDisk};
use crate::host::{Process, ServerHost, unix_now};
use crate::inbox::{Inbox, Message};
use crate::listener;
use crate::log::LOG;
use crate::persist::Saver;
use crate::supervise::Supervision;
use crate::worker::{self, WorkerContext};
use power::Power;

/// A step on a file; a folder is opened and synced by steps of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Open,
    OpenFolder,
    Create,
    CreateNew,
    CreateFolder,
    OpenToWrite,
    Truncate,
    Read,
    Seek,
    Write,
    BeginWriteOut,
    FinishWriteOut,
    DropCache,
    Sync,
    SyncFolder,
    Rename,
    Link,
    Remove,
}

/// How a step may fail; those of the second list do no harm.
fn errors(step: Step) -> (&'static [i32], &'static [i32]) {
    use libc::*;
    match step {
        Step::Open => (&[EACCES, EIO, EMFILE, ELOOP], &[]),
        Step::OpenFolder => (&[EACCES, ENOENT, EMFILE], &[]),
        Step::CreateFolder => (&[EACCES, ENOSPC, EROFS], &[]),
        Step::Truncate => (&[EIO, EROFS], &[]),
        Step::Create | Step::CreateNew | Step::OpenToWrite => {
            (&[ENOENT, EACCES, EROFS, ENOSPC, EIO, EMFILE, ENOTDIR, EDQUOT], &[])
        }
        Step::Read | Step::Seek => (&[EIO, EISDIR], &[]),
        Step::Write => (&[ENOSPC, EIO, EFBIG, EDQUOT, ENOMEM, EROFS], &[EINTR]),
        Step::BeginWriteOut | Step::FinishWriteOut => {
            (&[EIO, ENOSPC, EDQUOT], &[ENOSYS, EINVAL, ESPIPE, EOPNOTSUPP, EPERM])
        }
        Step::DropCache => (&[], &[EIO, EINVAL, ESPIPE, ENOSYS]),
        Step::Sync => (&[EIO, ENOSPC, EDQUOT, EROFS], &[]),
        Step::SyncFolder => (&[EIO, ENOSPC], &[EINVAL, EBADF]),
        Step::Rename => (&[EACCES, EROFS, ENOSPC, EIO, EXDEV, EISDIR, EBUSY, ENOENT], &[]),
        // What is copied instead.
        Step::Link => (&[], &[EPERM, EMLINK, EOPNOTSUPP]),
        Step::Remove => (&[], &[EIO, EACCES]),
    }
}

/// What is to go wrong, once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    /// The step of this number, in the way of this number of those it may fail in.
    At(usize, usize),
    /// The first step of a kind, with this error.
    First(Step, i32),
}

/// What became of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Met {
    step: Step,
    error: i32,
    /// The caller must fail.
    harmful: bool,
}

/// The host's disk with a folder of its own, of which chosen steps fail. What is synced stays in the cache:
/// the tests would take minutes otherwise.
struct FaultyDisk {
    folder: PathBuf,
    plan: Mutex<Plan>,
    /// A step that hung goes on.
    goes_on: Condvar,
    /// What would be left without power, while a test asks.
    power: Mutex<Option<Power>>,
}

#[derive(Default)]
struct Plan {
    faults: Vec<Fault>,
    met: Vec<Met>,
    steps: usize,
    /// The step of this number hangs until there is another plan; and whether it does by now.
    hangs_at: Option<usize>,
    is_hanging: bool,
    /// Only steps of the thread of this name are counted, if there is one.
    of_thread: Option<&'static str>,
    /// Steps of this kind fail always, and the caller has another way.
    never: Option<(Step, i32)>,
    /// Bytes that a write or a read takes at most; 0: no limit.
    at_once: usize,
    /// Bytes that the file seems to have: reading ends there.
    ends_at: Option<usize>,
    given: usize,
}

impl FaultyDisk {
    fn new(name: &str) -> &'static FaultyDisk {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("onefold-faults-{name}-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).expect("a temporary folder");
        Box::leak(Box::new(FaultyDisk {
            folder,
            plan: Mutex::default(),
            goes_on: Condvar::new(),
            power: Mutex::default(),
        }))
    }

    fn plan(&self, faults: &[Fault]) {
        *self.plan.lock() = Plan { faults: faults.to_vec(), ..Plan::default() };
    }

    /// The faults that came to pass; from here on all is well.
    fn met(&self) -> Vec<Met> {
        std::mem::take(&mut *self.plan.lock()).met
    }

    /// From now on; what hangs goes on.
    fn hang_at(&self, index: usize) {
        *self.plan.lock() = Plan { hangs_at: Some(index), ..Plan::default() };
        self.goes_on.notify_all();
    }

    /// As `hang_at`, with the steps that rewrites take.
    fn hang_in_rewrite_at(&self, index: usize) {
        let (hangs_at, of_thread) = (Some(index), Some("aof-rewrite"));
        *self.plan.lock() = Plan { hangs_at, of_thread, ..Plan::default() };
    }

    fn is_hanging(&self) -> bool {
        self.plan.lock().is_hanging
    }

    fn go_on(&self) {
        *self.plan.lock() = Plan::default();
        self.goes_on.notify_all();
    }

    fn step(&self, step: Step) -> io::Result<()> {
        let mut plan = self.plan.lock();
        if plan.of_thread.is_some_and(|name| thread::current().name() != Some(name)) {
            return Ok(());
        }
        let index = plan.steps;
        plan.steps += 1;
        if plan.hangs_at == Some(index) {
            plan.is_hanging = true;
            self.goes_on.wait_while(&mut plan, |plan| plan.is_hanging);
        }
        if let Some((_, error)) = plan.never.filter(|(never, _)| *never == step) {
            // A fault meant for this step changes nothing.
            let meant = plan.faults.contains(&Fault::At(index, 0));
            plan.met.extend(meant.then_some(Met { step, error, harmful: false }));
            return Err(io::Error::from_raw_os_error(error));
        }
        let Some(position) = plan.faults.iter().position(|fault| match fault {
            Fault::At(at, _) => *at == index,
            Fault::First(first, _) => *first == step,
        }) else {
            return Ok(());
        };
        let (harmful, harmless) = errors(step);
        let ways = [harmful, harmless].concat();
        let error = match plan.faults.remove(position) {
            Fault::At(_, way) if way >= ways_to_try(step, index, ways.len()) => return Ok(()),
            Fault::At(_, way) => ways[(way + index) % ways.len()],
            Fault::First(_, error) => error,
        };
        plan.met.push(Met { step, error, harmful: harmful.contains(&error) });
        Err(io::Error::from_raw_os_error(error))
    }

    fn watch_power(&self, note: impl FnOnce(&mut Power)) {
        if let Some(power) = &mut *self.power.lock() {
            note(power);
        }
    }

    /// How much of `len` bytes is written or read at once.
    fn share(&self, len: usize) -> usize {
        match self.plan.lock().at_once {
            0 => len,
            most => len.min(most),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn dump(&self) -> Vec<u8> {
        fs::read(self.path("dump.rdb")).expect("there is a dump")
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.folder).expect("the folder is there").flatten();
        let mut names: Vec<_> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.retain(|name| name != SOCKET);
        names.sort();
        names
    }
}

const SOCKET: &str = "socket";

/// Of many steps alike, each fails in another way.
fn ways_to_try(step: Step, index: usize, ways: usize) -> usize {
    if matches!(step, Step::Write | Step::Read) && index > ways { 1 } else { ways }
}

fn is_folder(file: &File) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.is_dir())
}

impl Disk for FaultyDisk {
    fn folder(&self) -> PathBuf {
        self.folder.clone()
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        self.step(if path.is_dir() { Step::OpenFolder } else { Step::Open })?;
        HostDisk.open(path)
    }

    fn create(&self, path: &Path) -> io::Result<File> {
        self.step(Step::Create)?;
        self.watch_power(|power| power.created(path));
        HostDisk.create(path)
    }

    fn create_new(&self, path: &Path) -> io::Result<File> {
        self.step(Step::CreateNew)?;
        HostDisk.create_new(path)
    }

    fn create_unnamed(&self, folder: &Path, name: &str) -> io::Result<File> {
        self.step(Step::Create)?;
        HostDisk.create_unnamed(folder, name)
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        self.step(Step::CreateFolder)?;
        HostDisk.create_folder(path)
    }

    fn open_to_write(&self, path: &Path) -> io::Result<File> {
        self.step(Step::OpenToWrite)?;
        self.watch_power(|power| power.created(path));
        HostDisk.open_to_write(path)
    }

    fn truncate(&self, file: &File, len: u64) -> io::Result<()> {
        self.step(Step::Truncate)?;
        HostDisk.truncate(file, len)
    }

    fn sync_data(&self, file: &File) -> io::Result<()> {
        self.step(Step::Sync)?;
        self.watch_power(|power| power.syncs(file));
        Ok(())
    }

    fn read(&self, file: &File, room: &mut [u8]) -> io::Result<usize> {
        self.step(Step::Read)?;
        let mut share = self.share(room.len());
        let (ends_at, given) = {
            let plan = self.plan.lock();
            (plan.ends_at, plan.given)
        };
        if let Some(end) = ends_at {
            share = share.min(end.saturating_sub(given));
        }
        let len = HostDisk.read(file, &mut room[..share])?;
        self.plan.lock().given += len;
        Ok(len)
    }

    fn seek(&self, file: &File, to: SeekFrom) -> io::Result<u64> {
        self.step(Step::Seek)?;
        HostDisk.seek(file, to)
    }

    fn write_at(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<usize> {
        self.step(Step::Write)?;
        HostDisk.write_at(file, &bytes[..self.share(bytes.len())], at)
    }

    fn begin_write_out(&self, _: &File, _: u64, _: u64) -> io::Result<()> {
        self.step(Step::BeginWriteOut)
    }

    fn finish_write_out(&self, _: &File, _: u64, _: u64) -> io::Result<()> {
        self.step(Step::FinishWriteOut)
    }

    fn drop_cache(&self, _: &File, _: u64, _: u64) -> io::Result<()> {
        self.step(Step::DropCache)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        self.step(if is_folder(file) { Step::SyncFolder } else { Step::Sync })?;
        self.watch_power(|power| power.syncs(file));
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(Step::Rename)?;
        // Another thread's sync must not look at the folder between the two.
        let mut power = self.power.lock();
        if let Some(power) = &mut *power {
            power.renames(from, to);
        }
        HostDisk.rename(from, to)
    }

    fn link(&self, path: &Path, other: &Path) -> io::Result<()> {
        self.step(Step::Link)?;
        HostDisk.link(path, other)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.step(Step::Remove)?;
        self.watch_power(|power| power.removes(path));
        HostDisk.remove(path)
    }
}

/// Calls `attempt` with each fault there can be, step after step, until no step is left. It returns what it
/// met. Returns all that was met, which is not nothing.
fn with_each_fault(mut attempt: impl FnMut(Fault) -> Option<Met>) -> Vec<Met> {
    let mut all = Vec::new();
    for index in 0.. {
        for way in 0.. {
            let Some(met) = attempt(Fault::At(index, way)) else {
                // One way more than the step has, or one step more than there are.
                if way == 0 {
                    assert!(index > 0, "nothing came to the disk");
                    return all;
                }
                break;
            };
            all.push(met);
        }
    }
    all
}

/// A process without a timer: its workers, and who accepts for them, behind a socket in the disk's folder.
struct Running {
    process: Arc<Process>,
    disk: &'static FaultyDisk,
    acceptor: Option<JoinHandle<()>>,
    workers: Vec<JoinHandle<()>>,
    client: Client,
}

impl Running {
    /// With one worker, and one save point, which any change reaches after two seconds.
    fn start(name: &str) -> Running {
        Running::with_workers(name, 1)
    }

    fn with_workers(name: &str, count: usize) -> Running {
        let disk = FaultyDisk::new(name);
        let config = Config {
            port: 0,
            unixsocket: disk.path(SOCKET).as_os_str().as_bytes().to_vec(),
            logfile: b"/dev/null".to_vec(),
            enable_debug_command: DebugAccess::Yes,
            enable_protected_configs: DebugAccess::Yes,
            save: vec![SavePoint { seconds: 1, changes: 1 }],
            rdbcompression: false,
            ..Config::with_cores(1)
        };
        LOG.configure(&config).expect("it can be opened");
        let listeners = listener::bind(&config).expect("the folder is new");
        let inbox = |_| Arc::new(Inbox::new().expect("an epoll descriptor"));
        let inboxes: Arc<[_]> = (0..count).map(inbox).collect();
        let process = Process::new(Launch::default(), disk, Supervision::None, Arc::clone(&inboxes));
        let process = Arc::new(process.expect("a thread for garbage"));
        let host = Box::new(ServerHost(Arc::clone(&process)));
        let engine = Arc::new(Engine::new(config, host, count, unix_now()));
        process.set_engine(Arc::clone(&engine));
        process.links.belong_to(&process);
        Saver::start_thread(&process).expect("a thread");
        let (own, acceptors) = (Arc::clone(&process), Arc::clone(&engine));
        let accept = move || acceptor::run(acceptors, &own.entrance, Arc::clone(&own.inboxes), listeners);
        let acceptor = Some(thread::spawn(|| accept().expect("its poll loop works")));
        let start = |(index, inbox): (usize, &Arc<Inbox>)| {
            let (engine, inbox) = (Arc::clone(&engine), Arc::clone(inbox));
            let links = Arc::clone(&process.links);
            let context = WorkerContext { engine, id: WorkerId(index as _), inbox, links };
            thread::spawn(move || worker::run(context).expect("the poll loop works"))
        };
        let workers = inboxes.iter().enumerate().map(start).collect();
        let mut client = Client::connect_unix(disk.path(SOCKET));
        client.set_timeout(Some(PATIENCE));
        Running { process, disk, acceptor, workers, client }
    }

    fn info(&mut self, field: &str) -> String {
        let text = self.client.run("INFO everything").as_text().unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("INFO has no {field}")).to_string()
    }

    /// Fills the keyspace: records of a few buffers, and a value that is saved in pieces.
    fn fill(&mut self, records: usize, large: usize) {
        let value = "v".repeat(4000);
        let set = |key: usize| vec!["SET".into(), format!("key:{key}"), value.clone()];
        let mut requests: Vec<Vec<String>> = (0..records).map(set).collect();
        requests.push(vec!["SET".into(), "large".into(), "l".repeat(large)]);
        self.client.pipeline(&requests).into_iter().for_each(ok);
    }

    fn save_in_background(&mut self) {
        assert_eq!(self.client.run("BGSAVE"), Value::Simple(b"Background saving started".to_vec()));
        self.wait_for_end();
    }

    fn wait_for_end(&mut self) {
        let begin = Instant::now();
        while self.process.saver.status().in_progress {
            assert!(begin.elapsed() < PATIENCE, "the save does not end");
            thread::yield_now();
        }
    }

    /// All is well: a write is taken, a save succeeds and holds it, and nothing is left beside the dump.
    fn check_good(&mut self) {
        ok(self.client.run("SET check good"));
        let keys = self.client.run("DBSIZE");
        self.save_in_background();
        assert_eq!(self.info("rdb_last_bgsave_status"), "ok");
        assert_eq!(self.info("rdb_changes_since_last_save"), "0");
        assert_eq!(Value::Integer(count_keys(&self.disk.dump())), keys);
        assert_eq!(self.disk.names(), ["dump.rdb"]);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.disk.go_on();
        self.process.entrance.post(Order::Stop);
        let accepted = self.acceptor.take().map(JoinHandle::join);
        self.process.inboxes.iter().for_each(|inbox| inbox.post(Message::Stop));
        let served: Vec<_> = self.workers.drain(..).map(JoinHandle::join).collect();
        fs::remove_dir_all(&self.disk.folder).ok();
        let all_ended = accepted.into_iter().chain(served).all(|result| result.is_ok());
        assert!(thread::panicking() || all_ended, "a thread panicked");
    }
}

fn count_keys(dump: &[u8]) -> i64 {
    let mut reader = Reader::new(dump, &ReadOptions::default()).expect("a header");
    let mut count = 0;
    loop {
        match reader.next().expect("a whole file") {
            Item::Record(_) => count += 1,
            Item::End => return count,
            _ => {}
        }
    }
}

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(120);
