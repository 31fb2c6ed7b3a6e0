//! The process as the engine sees it: log, inboxes, clocks, files, saving, the end. Every answer is real;
//! what takes long is done by the modules named here, never in this one.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base::time::UnixMs;
use engine::Engine;
use engine::clients::Client;
use engine::config::{BeyondMemory, Config};
use engine::engine::Busy;
use engine::host::{
    AtDuplicate, DumpContents, DumpStatus, Event, Heard, Host, Level, LoadStatus, LogFileStatus, NotReloaded,
    ProcessFacts, ReclaimCounts, SaveRefused, SaveStarted, SaveStatus, Shutdown, Wait, WorkerId,
};
use parking_lot::{Condvar, Mutex};
use store::Garbage;

use crate::acceptor::Order;
use crate::aof::{self, Aof, Found};
use crate::arguments::Launch;
use crate::defrag::Defragmenter;
use crate::disk::AnyDisk;
use crate::inbox::{Inbox, Message};
use crate::lazyfree::Reclaimer;
use crate::listener::{Door, Listener};
use crate::load::{self, AtDamage, Dump, Loaded, Progress};
use crate::log::{LOG, path, reason};
use crate::oom_score::OomScore;
use crate::persist::Saver;
use crate::persist::link::Links;
use crate::stopwatch::Stopwatch;
use crate::supervise::{self, Supervision};
use crate::{boot, crash, facts, governor, listener, system, worker};

/// What the threads of the process share.
pub struct Process {
    pub launch: Launch,
    pub disk: AnyDisk,
    pub supervision: Supervision,
    pub saver: Saver,
    pub links: Arc<Links>,
    pub aof: Aof,
    pub load: Progress,
    pub reclaimer: Reclaimer,
    pub defragmenter: Defragmenter,
    pub inboxes: Arc<[Arc<Inbox>]>,
    /// Of the thread that accepts.
    pub entrance: Inbox<Order>,
    /// Workers that have not returned.
    pub workers: Workers,
    /// Somebody is ending the process.
    pub stopping: AtomicBool,
    /// Nothing holds that up any more.
    pub leaving: AtomicBool,
    listening: Mutex<Listening>,
    doors: Mutex<Vec<Door>>,
    engine: OnceLock<Arc<Engine>>,
    pub stopwatch: Stopwatch,
    pub oom_score: OomScore,
}

/// Where the open listeners listen.
#[derive(Default, PartialEq, Eq)]
struct Listening {
    port: i64,
    addresses: Vec<Vec<u8>>,
    described: Vec<String>,
}

impl Listening {
    fn of(config: &Config) -> Listening {
        Listening { port: config.port, addresses: config.bind.clone(), described: listener::describe(config) }
    }
}

/// Counts the workers that still run.
#[derive(Default)]
pub struct Workers {
    running: Mutex<usize>,
    returned: Condvar,
}

impl Workers {
    pub fn came(&self) {
        *self.running.lock() += 1;
    }

    pub fn left(&self) {
        *self.running.lock() -= 1;
        self.returned.notify_all();
    }

    /// Waits until at most `rest` run, but not for long.
    pub fn wait(&self, rest: usize, patience: Duration) {
        let mut running = self.running.lock();
        let end = Instant::now() + patience;
        while *running > rest && !self.returned.wait_until(&mut running, end).timed_out() {}
    }
}

impl Process {
    pub fn new(
        launch: Launch,
        disk: AnyDisk,
        supervision: Supervision,
        inboxes: Arc<[Arc<Inbox>]>,
    ) -> io::Result<Process> {
        Ok(Process {
            launch,
            disk,
            supervision,
            saver: Saver::new(disk, unix_now()),
            links: Arc::new(Links::new(disk)),
            aof: Aof::new(disk, unix_now()),
            load: Progress::default(),
            reclaimer: Reclaimer::start()?,
            defragmenter: Defragmenter::default(),
            inboxes,
            entrance: Inbox::new()?,
            workers: Workers::default(),
            stopping: AtomicBool::new(false),
            leaving: AtomicBool::new(false),
            listening: Mutex::default(),
            doors: Mutex::default(),
            engine: OnceLock::new(),
            stopwatch: Stopwatch::new(),
            oom_score: OomScore::default(),
        })
    }

    /// Once, before any thread asks for it.
    pub fn set_engine(&self, engine: Arc<Engine>) {
        *self.listening.lock() = Listening::of(&engine.config());
        assert!(self.engine.set(engine).is_ok(), "there is one engine");
    }

    pub fn engine(&self) -> &Arc<Engine> {
        self.engine.get().expect("boot makes the engine before it starts any thread")
    }

    pub fn now(&self) -> UnixMs {
        unix_now()
    }

    /// Tells all workers, and wakes them.
    pub fn post_to_all(&self, message: impl Fn() -> Message) {
        self.inboxes.iter().for_each(|inbox| inbox.post(message()));
    }

    /// What is closed when the process ends, before any connection is.
    pub fn know_doors(&self, listeners: &[Listener]) {
        let mut doors = self.doors.lock();
        doors.retain(|door| !door.is_gone());
        doors.extend(listeners.iter().map(Listener::door));
    }

    pub fn close_doors(&self) {
        self.doors.lock().iter().for_each(Door::close);
    }

    /// Opens the listening sockets again, as another configuration asks for. `refusal` is for the client.
    fn listen(&self, config: &Config, refusal: &str) -> Result<(), String> {
        let wanted = Listening::of(config);
        let port = {
            let listening = self.listening.lock();
            if *listening == wanted {
                return Ok(());
            }
            listening.port
        };
        // Only a port that is this process' own is shared, and not one where another process listens.
        let bind = if port == config.port { listener::rebind_tcp } else { listener::bind_tcp };
        let listeners = bind(config).map_err(|error| {
            LOG.warning(&error.to_string());
            refusal.to_string()
        })?;
        *self.listening.lock() = wanted;
        self.know_doors(&listeners);
        self.entrance.post(Order::Listeners(listeners));
        Ok(())
    }
}

pub fn unix_now() -> UnixMs {
    UnixMs(unix_us() / 1000)
}

fn unix_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64)
}

/// The process, owned by the engine.
pub struct ServerHost(pub Arc<Process>);

impl Host for ServerHost {
    fn log(&self, level: Level, message: &str) {
        LOG.line(level, message);
    }

    fn post(&self, worker: WorkerId, event: Event) {
        self.0.inboxes[worker.0 as usize].post(Message::Event(event));
    }

    fn reclaim(&self, garbage: Garbage) {
        self.0.reclaimer.reclaim(garbage);
    }

    fn reclaim_counts(&self) -> ReclaimCounts {
        self.0.reclaimer.counts()
    }

    fn wake_defragmenter(&self) {
        self.0.defragmenter.wake();
    }

    fn save_in_background(&self, schedule: bool) -> Result<SaveStarted, SaveRefused> {
        self.0.saver.start(&self.0, schedule)
    }

    fn save_now(&self) -> Result<(), SaveRefused> {
        self.0.saver.save_now(&self.0)
    }

    fn cancel_save(&self, wait: Wait) -> bool {
        self.0.saver.cancel(&self.0, wait)
    }

    fn begin_dump(&self, client: &Arc<Client>, contents: DumpContents) -> Result<(), SaveRefused> {
        self.0.links.begin(client, contents)
    }

    /// How far a snapshot is, is told of the base of an append-only file as well, and of dumps for clients.
    fn save_status(&self) -> SaveStatus {
        let dumps = self.0.links.status();
        let own = SaveStatus { dumps, ..self.0.saver.status() };
        if dumps.started.is_some() && !own.in_progress {
            let DumpStatus { keys_done, keys_total, snapshot_bytes, .. } = dumps;
            return SaveStatus { keys_done, keys_total, snapshot_bytes, ..own };
        }
        match self.0.aof.base_status() {
            Some(SaveStatus { keys_done, keys_total, snapshot_bytes, .. }) if !own.in_progress => {
                SaveStatus { keys_done, keys_total, snapshot_bytes, ..own }
            }
            _ => own,
        }
    }

    fn log_file_status(&self) -> LogFileStatus {
        self.0.aof.status()
    }

    fn reset_counts(&self) {
        self.0.saver.reset_counts();
        self.0.links.reset_counts();
        self.0.aof.reset_counts();
    }

    fn await_log(&self) {
        self.0.aof.await_durable(&self.0);
    }

    fn await_log_turn(&self) {
        self.0.aof.await_turn();
    }

    fn is_log_behind(&self) -> bool {
        self.0.aof.is_behind(&self.0)
    }

    fn note_log_delay(&self) {
        self.0.aof.note_delay();
    }

    fn rewrite_log(&self, later: bool) -> Result<SaveStarted, SaveRefused> {
        self.0.aof.rewrite(&self.0, later)
    }

    fn reload_log(&self, empty: &dyn Fn() -> Result<(), Busy>) -> Result<(), NotReloaded> {
        let _loading = Loading::begin(self.0.engine())?;
        self.0.aof.flush(&self.0);
        self.0.aof.forget_parts();
        empty()?;
        match aof::load(&self.0, &mut worker::attend) {
            Ok(Found::Yes) => Ok(()),
            Ok(Found::Absent) => Err(not_reloaded("There is no append-only file")),
            Err(error) => Err(not_reloaded(&error)),
        }
    }

    fn load_status(&self) -> LoadStatus {
        self.0.load.status()
    }

    fn reload(
        &self,
        at_duplicate: AtDuplicate,
        prepare: &dyn Fn() -> Result<(), Busy>,
    ) -> Result<(), NotReloaded> {
        let engine = self.0.engine();
        let _loading = Loading::begin(engine)?;
        prepare()?;
        let name = path(&engine.config().dbfilename);
        // What was there a moment ago comes back whole.
        let beyond = BeyondMemory::Load;
        let at_damage = AtDamage::Refuse;
        let dump = Dump { disk: self.0.disk, path: &name, at_damage, at_duplicate, beyond };
        match load::load(engine, dump, &self.0.load, unix_now(), &mut worker::attend) {
            Ok(Loaded::Yes) => Ok(()),
            Ok(Loaded::Absent) => Err(not_reloaded(&format!("There is no file {}", name.display()))),
            Err(error) => Err(not_reloaded(&error)),
        }
    }

    fn shutdown(&self, how: Shutdown) -> Result<(), String> {
        boot::stop(&self.0, how)
    }

    fn cancel_shutdown(&self) -> bool {
        let pending = self.0.engine().shutdown_at_ms.swap(0, Ordering::Relaxed) != 0;
        if pending {
            LOG.notice("Shutdown manually aborted.");
        }
        pending
    }

    fn apply(&self, directive: &str, config: &Config) -> Result<(), String> {
        match directive {
            "port" => self.0.listen(config, NO_PORT),
            "bind" => self.0.listen(config, NO_ADDRESSES),
            "logfile" | "loglevel" | "syslog-enabled" | "syslog-ident" | "syslog-facility" => {
                LOG.configure(config).map_err(|error| format!("Can't open the log file: {}", reason(&error)))
            }
            "dir" => std::env::set_current_dir(path(&config.dir)).map_err(|error| reason(&error)),
            "appendonly" | "appendfsync" | "aof-timestamp-enabled" | "aof-disable-auto-gc" => {
                self.0.aof.configure(&self.0, config)
            }
            "maxclients" => boot::admit_clients(config),
            "maxmemory" => {
                governor::set_limit(self.0.engine(), config.memory_limit());
                Ok(())
            }
            "oom-score-adj" | "oom-score-adj-values" => self
                .0
                .oom_score
                .apply(config)
                .map_err(|_| "Failed to set current oom_score_adj. Check server logs.".to_string()),
            "set-proc-title" | "proc-title-template" => {
                supervise::set_title(&self.0.launch, config);
                Ok(())
            }
            "crash-log-enabled" => {
                crash::enable(config.crash_log_enabled);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn read_config_file(&self) -> Result<Vec<u8>, String> {
        let path = self.0.launch.config_file.as_ref().ok_or(NO_CONFIG_FILE)?;
        match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            read => read.map_err(|error| reason(&error)),
        }
    }

    fn write_config_file(&self, text: &[u8]) -> Result<(), String> {
        let path = self.0.launch.config_file.as_ref().ok_or(NO_CONFIG_FILE)?;
        replace_file(path, text).map_err(|error| reason(&error))
    }

    fn facts(&self) -> ProcessFacts {
        let process = &self.0;
        let (times, main) = (facts::times(), facts::main_thread_times());
        let config_file = process.launch.config_file.as_ref();
        ProcessFacts {
            pid: std::process::id(),
            resident_bytes: facts::resident_bytes(),
            cpu_system_s: times.system_s,
            cpu_user_s: times.user_s,
            cpu_system_main_thread_s: main.system_s,
            cpu_user_main_thread_s: main.user_s,
            system_memory_bytes: facts::system_memory_bytes(),
            os: facts::os(),
            executable: process.launch.executable(),
            config_file: config_file.map(|path| path.display().to_string()).unwrap_or_default(),
            supervised: process.supervision != Supervision::None,
            listeners: process.listening.lock().described.clone(),
        }
    }

    fn unix_us(&self) -> i64 {
        unix_us()
    }

    #[inline]
    fn monotonic_ns(&self) -> u64 {
        self.0.stopwatch.ns()
    }

    fn processor_ns(&self) -> u64 {
        system::thread_time().as_nanos() as u64
    }

    fn attend(&self) {
        worker::attend();
    }

    fn say(&self, shown: &[u8]) {
        worker::say(shown);
    }

    fn hear(&self, input: &mut Vec<u8>) -> Heard {
        match self.0.stopping.load(Ordering::Relaxed) {
            true => Heard::End,
            false => worker::hear(input),
        }
    }

    fn sleep_us(&self, us: u64) {
        std::thread::sleep(Duration::from_micros(us));
    }

    fn crash(&self, how: &str) {
        match how {
            "restart" => boot::restart(&self.0, boot::Restart::Graceful),
            "crash-and-recover" => boot::restart(&self.0, boot::Restart::AsAfterCrash),
            _ => crash::on_purpose(how),
        }
    }

    fn random(&self) -> u64 {
        random()
    }
}

const NO_PORT: &str = "Unable to listen on this port. Check server logs.";
const NO_ADDRESSES: &str = "Failed to bind to specified addresses.";
const NO_CONFIG_FILE: &str = "The server is running without a config file";

/// Unpredictable bits.
pub fn random() -> u64 {
    let mut bytes = [0; 8];
    match File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)) {
        Ok(()) => u64::from_ne_bytes(bytes),
        // Keys of the standard library's maps: seeded by the kernel too, once for each thread.
        Err(_) => std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), bytes),
    }
}

/// Puts a new text in the place of a file, whole or not at all.
fn replace_file(path: &Path, text: &[u8]) -> io::Result<()> {
    let temporary = PathBuf::from(format!("{}.{}.tmp", path.display(), std::process::id()));
    let written = write_synced(&temporary, path, text).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        fs::remove_file(&temporary).ok();
        return written;
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn write_synced(temporary: &Path, model: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = File::create(temporary)?;
    let mode = fs::metadata(model).map_or(0o644, |metadata| metadata.permissions().mode());
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.write_all(text)?;
    file.sync_all()
}

/// As long as it lives, commands learn that data is being loaded.
struct Loading<'a>(&'a Engine);

impl<'a> Loading<'a> {
    fn begin(engine: &'a Engine) -> Result<Loading<'a>, NotReloaded> {
        match engine.loading.swap(true, Ordering::Relaxed) {
            true => Err(NotReloaded::Loading),
            false => Ok(Loading(engine)),
        }
    }
}

impl Drop for Loading<'_> {
    fn drop(&mut self) {
        self.0.loading.store(false, Ordering::Relaxed);
    }
}

fn not_reloaded(why: &str) -> NotReloaded {
    LOG.warning(why);
    NotReloaded::Failed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_and_keeps_its_mode() {
        let path = std::env::temp_dir().join(format!("onefold-replace-{}.conf", std::process::id()));
        fs::write(&path, "old").expect("a small file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("our own file");
        replace_file(&path, b"new").expect("a small file");
        assert_eq!(fs::read_to_string(&path).expect("it is there"), "new");
        assert_eq!(fs::metadata(&path).expect("it is there").permissions().mode() & 0o777, 0o600);
        fs::remove_file(&path).expect("it is there");
        assert!(replace_file(Path::new("/nonexistent/a.conf"), b"new").is_err());
    }

    #[test]
    fn random_numbers_differ() {
        assert_ne!(random(), random());
    }

    #[test]
    fn workers_are_waited_for_with_patience() {
        let workers = Workers::default();
        workers.came();
        workers.wait(1, Duration::from_secs(60));
        workers.wait(0, Duration::from_millis(1));
        workers.left();
        workers.wait(0, Duration::from_secs(60));
    }
}
