//! The order in which the process comes up and goes down: one function for each. What the steps do is
//! elsewhere.

use std::fs::{self, File};
use std::io::{self, IsTerminal, Write};
use std::process::exit;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use base::limits;
use engine::config::Config;
use engine::host::{AtDuplicate, Event, Shutdown, ShutdownSave, Wait, WorkerId};
use engine::{Engine, ONEFOLD_VERSION, REDIS_VERSION};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::acceptor::{self, Order};
use crate::aof::{self, Found};
use crate::arguments::Launch;
use crate::disk::HostDisk;
use crate::host::{Process, ServerHost, random, unix_now};
use crate::inbox::{Inbox, Message};
use crate::listener::{self, Listener};
use crate::load::{self, AtDamage, Dump, Loaded};
use crate::log::{LOG, path, reason};
use crate::persist::Saver;
use crate::supervise::{self, Supervision};
use crate::worker::{self, WorkerContext};
use crate::{aside, crash, facts, governor, signals, system, timer};

/// Why the process cannot start; printed before it ends.
pub struct Fatal(pub String);

impl From<io::Error> for Fatal {
    fn from(error: io::Error) -> Fatal {
        Fatal(format!("{}\n", reason(&error)))
    }
}

/// Starts the server and serves; returns only if that fails before the log works.
pub fn start(launch: Launch) -> Result<(), Fatal> {
    let config = configure(&launch)?;
    if config.daemonize && !supervise::is_detached() {
        return Ok(supervise::detach(&launch)?);
    } else if config.daemonize {
        supervise::leave_session();
    }
    system::share_library_heap();
    system::ignore_file_size_signal();
    base::hash::set_seed(random(), random());
    crash::enable(config.crash_log_enabled);
    crash::install()?;
    let supervision = supervise::supervision(&config);
    log_start(&launch);
    let config = limit_clients(config);
    supervise::write_pid_file(&config);
    supervise::set_title(&launch, &config);
    log_running(&config);
    let listeners = listen(&config);
    let process = assemble(launch, supervision, config)?;
    // It goes on if the kernel refuses: the log says so.
    process.oom_score.apply(&process.engine().config()).ok();
    signals::start(&process)?;
    let own = Arc::clone(&process);
    aside::spawn("stopwatch", move || own.stopwatch.calibrate())?;
    Saver::start_thread(&process)?;
    process.defragmenter.start(&process)?;
    LOG.notice("Server initialized");
    process.know_doors(&listeners);
    load_data(&process, listeners);
    log_ready(&process);
    base::alloc::forget_thread_cache();
    system::bring_in_few_pages();
    system::forget_program_pages();
    timer::run(&process)
}

/// The configuration in force: paths resolved, the log open.
fn configure(launch: &Launch) -> Result<Config, Fatal> {
    let cores = thread::available_parallelism().map_or(1, |cores| cores.get());
    let loaded = launch.configuration(Config::with_cores(cores)).map_err(Fatal)?;
    let mut config = loaded.config;
    config.available_memory = facts::available_memory();
    std::env::set_current_dir(path(&config.dir)).map_err(|error| {
        let dir = String::from_utf8_lossy(&config.dir);
        fatal(&format!("Can't chdir to '{dir}'"), &error)
    })?;
    config.dir = std::env::current_dir()?.into_os_string().into_encoded_bytes();
    LOG.configure(&config)
        .map_err(|error| Fatal(format!("Can't open the log file: {}\n", reason(&error))))?;
    loaded.warnings.iter().for_each(|warning| LOG.warning(warning));
    Ok(config)
}

/// What the configuration asks for cannot be done.
fn fatal(what: &str, error: &io::Error) -> Fatal {
    let header = format!("\n*** FATAL CONFIG FILE ERROR (Redis {REDIS_VERSION}) ***");
    Fatal(format!("{header}\n{what}: {}\n", reason(error)))
}

fn assemble(launch: Launch, supervision: Supervision, config: Config) -> Result<Arc<Process>, Fatal> {
    let workers = config.workers();
    let inboxes = (0..workers).map(|_| Inbox::new().map(Arc::new)).collect::<io::Result<Arc<[_]>>>()?;
    let process = Arc::new(Process::new(launch, &HostDisk, supervision, inboxes)?);
    let limit = config.memory_limit();
    let engine = Engine::new(config, Box::new(ServerHost(Arc::clone(&process))), workers, unix_now());
    engine.loading.store(true, Ordering::Relaxed);
    process.set_engine(Arc::new(engine));
    process.links.belong_to(&process);
    governor::set_limit(process.engine(), limit);
    Ok(process)
}

/// Address space for a worker's stack; only what is used becomes memory.
const WORKER_STACK: usize = 8 << 20;
/// Address space an arena of the allocator reserves ahead: one more large value does not cost a multiple of
/// it.
pub const RESERVE_LEN: usize = 32 << 20;

/// Starts the workers and who accepts for them, unless they run already.
fn start_workers(process: &Arc<Process>, listeners: &mut Option<Vec<Listener>>) -> io::Result<()> {
    let Some(listeners) = listeners.take() else { return Ok(()) };
    for (index, inbox) in process.inboxes.iter().enumerate() {
        let context = WorkerContext {
            engine: Arc::clone(process.engine()),
            id: WorkerId(index as u16),
            inbox: Arc::clone(inbox),
            links: Arc::clone(&process.links),
        };
        let own = Arc::clone(process);
        let work = move || {
            IN_WORKER.set(true);
            base::alloc::limit_reserve(RESERVE_LEN);
            let served = worker::run(context);
            served.expect("a poll loop that fails leaves clients without an answer: nobody could go on");
            own.workers.left();
        };
        process.workers.came();
        thread::Builder::new().name(format!("worker-{index}")).stack_size(WORKER_STACK).spawn(work)?;
    }
    let (engine, own) = (Arc::clone(process.engine()), Arc::clone(process));
    aside::spawn("accept", move || {
        let accepted = acceptor::run(engine, &own.entrance, Arc::clone(&own.inboxes), listeners);
        accepted.expect("without its poll loop nobody would be let in any more");
    })?;
    Ok(())
}

thread_local! {
    /// The thread is a worker: whoever waits for all workers from here waits for itself, and while it waits
    /// for anything its clients wait too.
    static IN_WORKER: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

pub fn is_worker() -> bool {
    IN_WORKER.get()
}

fn listen(config: &Config) -> Vec<Listener> {
    let listeners = listener::bind(config).unwrap_or_else(|error| {
        LOG.warning(&error.to_string());
        LOG.warning(&format!("Failed listening on port {} (TCP), aborting.", config.port));
        exit(1)
    });
    if listeners.is_empty() {
        LOG.warning("Configured to not listen anywhere, exiting.");
        exit(1);
    }
    listeners
}

/// Brings the data in; damage ends the process. Clients are served from then on, or earlier if it takes
/// long: then they hear so.
fn load_data(process: &Arc<Process>, listeners: Vec<Listener>) {
    let (engine, begin) = (process.engine(), Instant::now());
    let stats = base::alloc::stats();
    engine.used_memory_startup.store(stats.allocated.saturating_sub(stats.internal), Ordering::Relaxed);
    let mut listeners = Some(listeners);
    let mut serve = || {
        if let Err(error) = start_workers(process, &mut listeners) {
            LOG.warning(&format!("Fatal: can't start the threads that serve: {}", reason(&error)));
            exit(1);
        }
    };
    let appends = engine.config().appendonly;
    if !appends || !load_append_only_file(process, &mut serve) {
        load_dump(process, begin, &mut serve);
    }
    if appends && let Err(error) = process.aof.begin(process) {
        LOG.warning(&error);
        exit(1);
    }
    engine.loading.store(false, Ordering::Relaxed);
    serve();
}

/// False if there is none: then a dump is loaded, with which the file begins.
fn load_append_only_file(process: &Arc<Process>, serve: &mut dyn FnMut()) -> bool {
    let begin = Instant::now();
    match aof::load(process, serve) {
        Ok(Found::Yes) => {
            let seconds = begin.elapsed().as_secs_f64();
            LOG.notice(&format!("DB loaded from append only file: {seconds:.3} seconds"));
            true
        }
        Ok(Found::Absent) => false,
        Err(error) => {
            LOG.warning(&error);
            exit(1);
        }
    }
}

fn load_dump(process: &Arc<Process>, begin: Instant, serve: &mut dyn FnMut()) {
    let engine = process.engine();
    let file = path(&engine.config().dbfilename);
    let at_damage = if process.launch.recover { AtDamage::Recover } else { AtDamage::Refuse };
    let beyond = engine.config().load_beyond_maxmemory;
    let at_duplicate = AtDuplicate::Refuse;
    let dump = Dump { disk: process.disk, path: &file, at_damage, at_duplicate, beyond };
    match load::load(engine, dump, &process.load, process.now(), serve) {
        Ok(Loaded::Yes) => {
            let seconds = begin.elapsed().as_secs_f64();
            LOG.notice(&format!("DB loaded from disk: {seconds:.3} seconds"));
        }
        Ok(Loaded::Absent) => {}
        Err(error) => {
            LOG.warning(&error);
            LOG.warning(&format!(
                "Fatal error loading the DB, check server logs. Exiting. ({})",
                file.display()
            ));
            exit(1);
        }
    }
}

fn log_start(launch: &Launch) {
    let pid = std::process::id();
    LOG.notice("oO0OoO0OoO0Oo Redis is starting oO0OoO0OoO0Oo");
    LOG.notice(&format!(
        "Redis version={REDIS_VERSION}, bits=64, commit=00000000, modified=0, pid={pid}, just started \
         (Onefold {ONEFOLD_VERSION})"
    ));
    if launch.arguments.is_empty() {
        LOG.warning(&format!(
            "Warning: no config file specified, using the default config. \
             In order to specify a config file use {} /path/to/redis.conf",
            launch.program
        ));
    } else {
        LOG.notice("Configuration loaded");
    }
}

/// One line, or a banner where somebody looks on. Test suites wait for the banner's ` PID: `.
fn log_running(config: &Config) {
    let terminal = config.logfile.is_empty() && !config.syslog_enabled && io::stdout().is_terminal();
    if !terminal && !config.always_show_logo {
        LOG.notice(&format!("Running mode=standalone, port={}.", config.port));
        return;
    }
    let (port, pid) = (config.port, std::process::id());
    LOG.raw(&format!(
        "\n      .--------.
      |  .--.  |   Onefold {ONEFOLD_VERSION} (Redis {REDIS_VERSION}) 64 bit
      |  |  |  |   Running in standalone mode
      |  '--'  |   Port: {port}
      '--------'   PID: {pid}\n\n"
    ));
}

fn log_ready(process: &Process) {
    let config = process.engine().config();
    if config.port != 0 {
        LOG.notice("Ready to accept connections tcp");
    }
    if !config.unixsocket.is_empty() {
        let socket = String::from_utf8_lossy(&config.unixsocket);
        LOG.notice(&format!("The server is now ready to accept connections at {socket}"));
        LOG.notice("Ready to accept connections unix");
    }
    process.supervision.tell("STATUS=Ready to accept connections\n");
    process.supervision.tell("READY=1\n");
    let limit = config.memory_limit();
    if limit > 0 && limit < 1 << 20 {
        LOG.warning(&format!(
            "WARNING: You specified a maxmemory value that is less than 1MB (current value is {limit} \
             bytes). Are \
             you sure this is what you really want?"
        ));
    }
}

/// Descriptors that are no clients: files, listeners, a poll loop with its waker for each worker, and what
/// dumps for clients are written to and sent by.
fn reserved_descriptors(config: &Config) -> u64 {
    32 + 4 * config.workers() as u64 + (limits::DUMPS_MOST + limits::DUMPS_AT_ONCE) as u64
}

/// Raises the limit of descriptors for `maxclients`; where the system forbids that, there are fewer
/// clients.
fn limit_clients(mut config: Config) -> Config {
    let (reserved, wanted) = (reserved_descriptors(&config), config.maxclients as u64);
    let before = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let now = raise_descriptors(wanted + reserved);
    if now >= wanted + reserved {
        if now > before {
            LOG.notice(&format!(
                "Increased maximum number of open files to {now} (it was originally set to {before})."
            ));
        }
        return config;
    }
    if now <= reserved {
        LOG.warning(&format!(
            "Your current 'ulimit -n' of {now} is not enough for the server to start. Please increase \
             your open \
             file limit to at least {}. Exiting.",
            wanted + reserved
        ));
        exit(1);
    }
    config.maxclients = (now - reserved) as i64;
    LOG.warning(&format!(
        "You requested maxclients of {wanted} requiring at least {} max file descriptors.",
        wanted + reserved
    ));
    LOG.warning(&format!(
        "Current maximum open files is {now}. maxclients has been reduced to {} to compensate for low \
         ulimit. If \
         you need higher maxclients increase 'ulimit -n'.",
        config.maxclients
    ));
    config
}

/// As `limit_clients`, for CONFIG SET: the error says how many clients there can be.
pub fn admit_clients(config: &Config) -> Result<(), String> {
    let (reserved, wanted) = (reserved_descriptors(config), config.maxclients as u64);
    let now = raise_descriptors(wanted + reserved);
    if now >= wanted + reserved {
        return Ok(());
    }
    let possible = now.saturating_sub(reserved);
    Err(format!(
        "The operating system is not able to handle the specified number of clients, try with {possible}"
    ))
}

/// The limit of descriptors, raised to `wanted` or as far as it goes; the table of them has room then.
fn raise_descriptors(wanted: u64) -> u64 {
    let limit = raise_limit(wanted);
    make_table(wanted.min(limit).min(TABLE_MOST));
    limit
}

/// Has the kernel make its table of descriptors for so many: where a process has threads, whoever needs a
/// larger one waits for tens of milliseconds, and a worker would while it accepts.
fn make_table(count: u64) {
    let Ok(any) = File::open("/dev/null") else { return };
    // Closed at once; the table stays.
    rustix::io::fcntl_dupfd_cloexec(any, count.saturating_sub(1) as i32).ok();
}

/// Descriptors for which there is room in advance: half a megabyte of the kernel's memory.
const TABLE_MOST: u64 = 65_536;

fn raise_limit(wanted: u64) -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let current = limit.current.unwrap_or(u64::MAX);
    if current >= wanted {
        return current;
    }
    // Only the privileged may raise the hard limit; the others get as far as that.
    let hard = limit.maximum.unwrap_or(u64::MAX);
    for attempt in [(wanted, hard.max(wanted)), (wanted.min(hard), hard)] {
        let raised = Rlimit { current: Some(attempt.0), maximum: Some(attempt.1) };
        if setrlimit(Resource::Nofile, raised).is_ok() {
            return attempt.0;
        }
    }
    current
}

/// The reply to a SHUTDOWN that did not come to an end.
const NOT_STOPPED: &str = "ERR Errors trying to SHUTDOWN. Check logs.";
/// How long replies that are being written hold up the end.
const WORKER_PATIENCE: Duration = Duration::from_millis(100);

/// Ends the process; returns only if the data set cannot be saved, and then everything goes on. While
/// somebody saves for the end, another end without a save does not wait for that.
pub fn stop(process: &Arc<Process>, how: Shutdown) -> Result<(), String> {
    let config = process.engine().config();
    // A keyspace that is half loaded is never saved.
    let saves = saves_at_end(how, &config) && !process.engine().is_loading();
    let is_first = !process.stopping.swap(true, Ordering::SeqCst);
    if !is_first && saves {
        return Err(NOT_STOPPED.into());
    }
    LOG.warning("User requested shutdown...");
    process.supervision.tell("STOPPING=1\n");
    if process.saver.status().in_progress {
        LOG.warning("There is a background save running. Cancelling it!");
    }
    if process.aof.is_without_base() {
        // While a script runs the base may never come, and who does not save knows what is lost.
        let is_hopeless = how.save == ShutdownSave::Never && process.engine().scripts.running.is_busy();
        if !how.force && !is_hopeless {
            LOG.warning("Writing initial AOF, can't exit.");
            return Err(go_on(process, is_first));
        }
        LOG.warning("Writing initial AOF. Exit anyway.");
    }
    if saves && !save_finally(process) {
        if !how.force {
            LOG.warning("Error trying to save the DB, can't exit.");
            process.supervision.tell("STATUS=Error trying to save the DB, can't exit.\n");
            return Err(go_on(process, is_first));
        }
        LOG.warning("Error trying to save the DB. Exit anyway.");
    }
    leave(process, &config)
}

/// The process goes on, unless somebody else is ending it: what to tell whoever asked for the end.
fn go_on(process: &Process, is_first: bool) -> String {
    LOG.warning("Errors trying to shut down the server. Check the logs for more information.");
    if is_first {
        process.stopping.store(false, Ordering::SeqCst);
    }
    NOT_STOPPED.into()
}

fn saves_at_end(how: Shutdown, config: &Config) -> bool {
    match how.save {
        ShutdownSave::Always => true,
        ShutdownSave::Never => false,
        ShutdownSave::AsConfigured => !config.save.is_empty(),
    }
}

/// Writes wait from here on, so that every one that was answered is in the file. If saving fails they go
/// on.
fn save_finally(process: &Arc<Process>) -> bool {
    LOG.notice("Saving the final RDB snapshot before exiting.");
    process.supervision.tell("STATUS=Saving the final RDB snapshot\n");
    let pause = &process.engine().pause;
    pause.set_ending(true);
    let saved = save_all_writes(process);
    if process.leaving.load(Ordering::SeqCst) {
        // Somebody else does not wait for the save, and nothing may be answered any more.
        rest();
    }
    if !saved {
        pause.set_ending(false);
        process.post_to_all(|| Message::Event(Event::Resume));
    }
    saved
}

const SAVE_ATTEMPTS: usize = 3;

/// What the clock deletes can still come after a cut if it was past the pause when that began: then once
/// more. False if something is in memory only.
fn save_all_writes(process: &Arc<Process>) -> bool {
    for _ in 0..SAVE_ATTEMPTS {
        process.saver.cancel(process, Wait::ForEnd);
        if process.saver.save_now(process).is_err() {
            return false;
        } else if process.engine().changes_since_save() == 0 {
            return true;
        }
    }
    LOG.warning("Changes go on that are not in the dump.");
    false
}

/// Until the process ends.
fn rest() -> ! {
    loop {
        thread::park();
    }
}

/// The last steps, which cannot fail.
fn leave(process: &Process, config: &Config) -> ! {
    if process.leaving.swap(true, Ordering::SeqCst) {
        rest();
    }
    process.close_doors();
    process.entrance.post(Order::Stop);
    process.saver.close();
    supervise::remove_pid_file(config);
    process.post_to_all(|| Message::Stop);
    process.workers.wait(usize::from(is_worker()), WORKER_PATIENCE);
    process.aof.close(process);
    if !config.unixsocket.is_empty() {
        LOG.notice("Removing the unix socket file.");
        fs::remove_file(path(&config.unixsocket)).ok();
    }
    LOG.warning("Redis is now ready to exit, bye bye...");
    exit(0)
}

/// A second interrupt: no saving, no goodbye. What a save left behind is removed.
pub fn leave_at_once(process: &Process) -> ! {
    process.saver.close();
    exit(1)
}

/// How DEBUG RESTART treats the data.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// As SHUTDOWN would, then start again.
    Graceful,
    AsAfterCrash,
}

/// Starts the program again in the place of this process.
pub fn restart(process: &Arc<Process>, how: Restart) {
    if process.stopping.swap(true, Ordering::SeqCst) {
        LOG.warning("Can't restart: the server is shutting down");
        return;
    }
    process.saver.cancel(process, Wait::ForEnd);
    let config = process.engine().config();
    if how == Restart::Graceful && !config.save.is_empty() && !save_finally(process) {
        LOG.warning("Can't restart: error preparing for shutdown");
        process.stopping.store(false, Ordering::SeqCst);
        return;
    }
    io::stdout().flush().ok();
    let error = supervise::exec_again(&process.launch);
    LOG.warning(&format!("Can't restart: {}", reason(&error)));
    exit(1);
}
