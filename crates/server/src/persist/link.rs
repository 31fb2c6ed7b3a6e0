//! Dumps for clients (SYNC): a snapshot is written to a file without a name, and the file sent when it is
//! whole, by a thread of its own. A client that reads slowly holds up nobody: what waits for it is in the
//! file, and of that 64 KB are in memory. It never follows what changes after the cut.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::thread;
use std::time::{Duration, Instant};

use base::limits::{DUMP_BUFFER_LEN, DUMPS_AT_ONCE, DUMPS_MOST};
use base::time::UnixMs;
use engine::Engine;
use engine::clients::{Client, ClientId};
use engine::host::{DumpContents, DumpStatus, Event, SaveRefused};
use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{SendFlags, Shutdown, send, shutdown};

use super::SAVE_NICENESS;
use super::walk::{self, Cut, Facts, Purpose, Watch, cancel};
use crate::aside;
use crate::disk::AnyDisk;
use crate::dumpfile::{DumpFile, DumpOptions, SaveError};
use crate::host::Process;
use crate::log::{LOG, reason};

/// All clients that have asked for a dump.
pub struct Links {
    disk: AnyDisk,
    /// In the order in which they asked.
    links: Mutex<Vec<Arc<Link>>>,
    begun: AtomicU64,
    sent_bytes: AtomicU64,
    /// Known once there is an engine.
    process: OnceLock<Weak<Process>>,
}

/// One of them.
struct Link {
    client: Arc<Client>,
    contents: DumpContents,
    /// The connection is closed: nobody wants the dump any more.
    gone: AtomicBool,
    /// Set once all earlier replies are out.
    socket: OnceLock<OwnedFd>,
    state: Mutex<State>,
}

struct State {
    stage: Stage,
    /// When it was last told that it is not forgotten.
    told: Instant,
    keys_done: u64,
    keys_total: u64,
    snapshot_bytes: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Until it is its turn.
    Waiting,
    Taking(UnixMs),
    Sending,
}

/// Why a client does not get all of its dump.
enum LinkError {
    Save(SaveError),
    Gone,
    /// It takes nothing for too long.
    Stuck,
    Socket(io::Error),
    /// The dump cannot be read again.
    File(String),
}

/// A dump that is whole.
struct Dump {
    file: File,
    len: u64,
}

const TOO_MANY: SaveRefused = "ERR Too many clients wait for a dump, try again later";
const ENDING: SaveRefused = "ERR The server is shutting down";
/// So often a client whose dump is not begun yet gets an empty line, by which it knows that the server lives:
/// Redis' number.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// How long to wait for another snapshot to end.
const FULL_PAUSE: Duration = Duration::from_millis(20);
/// How often whoever waits for a socket looks whether to go on waiting.
const LOOK: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

impl Links {
    pub fn new(disk: AnyDisk) -> Links {
        Links {
            disk,
            links: Mutex::default(),
            begun: AtomicU64::new(0),
            sent_bytes: AtomicU64::new(0),
            process: OnceLock::new(),
        }
    }

    /// Once, before any client comes.
    pub fn belong_to(&self, process: &Arc<Process>) {
        assert!(self.process.set(Arc::downgrade(process)).is_ok(), "there is one process");
    }

    /// A client has asked for a dump; its socket follows.
    pub fn begin(&self, client: &Arc<Client>, contents: DumpContents) -> Result<(), SaveRefused> {
        let process = self.process.get().and_then(Weak::upgrade).ok_or(ENDING)?;
        if process.stopping.load(Ordering::Relaxed) {
            return Err(ENDING);
        }
        let mut links = self.links.lock();
        if links.len() >= DUMPS_MOST {
            return Err(TOO_MANY);
        }
        let (stage, told) = (Stage::Waiting, Instant::now());
        links.push(Arc::new(Link {
            client: Arc::clone(client),
            contents,
            gone: AtomicBool::new(false),
            socket: OnceLock::new(),
            state: Mutex::new(State { stage, told, keys_done: 0, keys_total: 0, snapshot_bytes: 0 }),
        }));
        self.begun.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// All earlier replies to a client are out: from here on its socket is written to by nobody else.
    pub fn hand_over(&self, client: ClientId, socket: &OwnedFd) -> io::Result<()> {
        let Some(link) = self.links.lock().iter().find(|link| link.client.id == client).cloned() else {
            return Ok(());
        };
        link.socket.set(socket.try_clone()?).expect("a socket is handed over once");
        let Some(process) = self.process.get().and_then(Weak::upgrade) else { return Ok(()) };
        let Some(first) = self.take_turn(&process) else { return Ok(()) };
        let (turn, mut next) = (Arc::clone(&first), Some(first));
        let work = move || {
            // As for the thread that saves.
            rustix::process::setpriority_process(None, SAVE_NICENESS).ok();
            while let Some(link) = next {
                process.links.serve(&process, &link);
                next = process.links.take_turn(&process);
            }
        };
        // Without a thread it waits on, for whoever comes next.
        aside::spawn("dump", work).map(drop).inspect_err(|_| turn.state.lock().stage = Stage::Waiting)
    }

    /// The next one that waits, if it is its turn: the caller has to serve it.
    fn take_turn(&self, process: &Process) -> Option<Arc<Link>> {
        let links = self.links.lock();
        let waits = |link: &Link| link.state.lock().stage == Stage::Waiting;
        if links.iter().filter(|link| !waits(link)).count() >= DUMPS_AT_ONCE {
            return None;
        }
        let link = links.iter().find(|link| waits(link) && link.socket.get().is_some())?;
        link.state.lock().stage = Stage::Taking(process.now());
        Some(Arc::clone(link))
    }

    /// A connection is closed.
    pub fn leave(&self, client: ClientId) {
        let mut links = self.links.lock();
        let Some(index) = links.iter().position(|link| link.client.id == client) else { return };
        let link = &links[index];
        link.gone.store(true, Ordering::Relaxed);
        // Ends a wait for it.
        link.socket.get().map(|socket| shutdown(socket, Shutdown::Both));
        if link.state.lock().stage == Stage::Waiting {
            links.remove(index);
        }
    }

    /// The timer's part: who waits for its dump hears that the server has not forgotten it.
    pub fn tick(&self) {
        for link in self.links.lock().iter() {
            let mut state = link.state.lock();
            let socket = link.socket.get().filter(|_| state.stage != Stage::Sending);
            if let Some(socket) = socket.filter(|_| state.told.elapsed() >= TELL_EVERY) {
                state.told = Instant::now();
                // It is not needed, and who does not take it has others to read.
                send(socket, b"\n", SendFlags::NOSIGNAL | SendFlags::DONTWAIT).ok();
            }
        }
    }

    pub fn status(&self) -> DumpStatus {
        let mut status = DumpStatus {
            begun: self.begun.load(Ordering::Relaxed),
            sent_bytes: self.sent_bytes.load(Ordering::Relaxed),
            ..DumpStatus::default()
        };
        for link in self.links.lock().iter() {
            let state = link.state.lock();
            match state.stage {
                Stage::Waiting => {}
                Stage::Taking(since) => {
                    status.started = Some(status.started.map_or(since, |first| first.min(since)));
                    status.keys_done += state.keys_done;
                    status.keys_total += state.keys_total;
                    status.snapshot_bytes += state.snapshot_bytes;
                }
                Stage::Sending => status.buffer_bytes += DUMP_BUFFER_LEN,
            }
        }
        status
    }

    pub fn reset_counts(&self) {
        self.begun.store(0, Ordering::Relaxed);
        self.sent_bytes.store(0, Ordering::Relaxed);
    }

    /// Takes a client's dump and sends it; then its connection is closed.
    fn serve(&self, process: &Process, link: &Link) {
        let (engine, name) = (process.engine(), &link.client.peer);
        LOG.notice(&format!("Starting a dump for SYNC of replica {name}"));
        let begin = Instant::now();
        let taken = self.take(engine, link).map_err(LinkError::Save);
        let (took, begin) = (begin.elapsed(), Instant::now());
        let sent = taken.and_then(|dump| self.send(engine, link, dump));
        match sent {
            Ok(len) => LOG.notice(&format!(
                "Dump of {len} bytes sent to replica {name}: {:.3} seconds to take it, {:.3} to send it",
                took.as_secs_f64(),
                begin.elapsed().as_secs_f64()
            )),
            Err(error) => fail(link, &error),
        }
        self.links.lock().retain(|other| other.client.id != link.client.id);
        // Once more for who has left before.
        engine.host.post(link.client.worker, Event::Kill { client: link.client.id });
    }

    fn take(&self, engine: &Engine, link: &Link) -> Result<Dump, SaveError> {
        let options = DumpOptions { checksum: engine.config().rdbchecksum, incremental_sync: true };
        let name = format!("temp-{}-sync-{}.rdb", std::process::id(), link.client.id.0);
        let dump = (DumpFile::create_unnamed(self.disk, name, options)?, Purpose::Dump);
        let written = if link.contents == DumpContents::Everything {
            let Cut { mut snapshot, facts, .. } = make_cut(engine, link)?;
            link.state.lock().keys_total = snapshot.keys_total() as u64;
            let written = walk::write(engine, &facts, Some(&mut snapshot), dump, link);
            if written.is_err() {
                cancel(engine, snapshot);
            }
            written
        } else {
            let wants_functions = link.contents == DumpContents::Functions;
            let libraries = wants_functions.then(|| engine.functions.snapshot());
            let (config, at) = (engine.config(), UnixMs(engine.host.unix_us() / 1000));
            walk::write(engine, &Facts { config, at, libraries }, None, dump, link)
        };
        let (dump, version) = written?;
        let (file, len) = dump.into_file(version)?;
        Ok(Dump { file, len })
    }

    /// Returns how many bytes the dump has.
    fn send(&self, engine: &Engine, link: &Link, Dump { file, len }: Dump) -> Result<u64, LinkError> {
        link.state.lock().stage = Stage::Sending;
        self.send_bytes(engine, link, format!("${len}\r\n").as_bytes())?;
        let (mut room, mut sent) = (vec![0; DUMP_BUFFER_LEN], 0);
        while sent < len {
            let read = self.disk.read(&file, &mut room).map_err(|error| LinkError::File(reason(&error)))?;
            if read == 0 {
                return Err(LinkError::File("it is shorter than what was written".to_owned()));
            }
            self.send_bytes(engine, link, &room[..read])?;
            // A hint; where it is not heard, the kernel drops the pages later.
            self.disk.drop_cache(&file, sent, read as u64).ok();
            sent += read as u64;
        }
        Ok(len)
    }

    fn send_bytes(&self, engine: &Engine, link: &Link, mut bytes: &[u8]) -> Result<(), LinkError> {
        let socket = link.socket.get().ok_or(LinkError::Gone)?;
        let client = &link.client;
        let mut moved = Instant::now();
        while !bytes.is_empty() {
            if link.is_cancelled() {
                return Err(LinkError::Gone);
            }
            match send(socket, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Ok(len) => {
                    (bytes, moved) = (&bytes[len..], Instant::now());
                    self.sent_bytes.fetch_add(len as u64, Ordering::Relaxed);
                    client.total_output.fetch_add(len as u64, Ordering::Relaxed);
                    client.last_interaction_ms.store(engine.host.unix_us() / 1000, Ordering::Relaxed);
                }
                Err(Errno::AGAIN) => {
                    let most = Duration::from_secs(engine.config().repl_timeout_seconds as u64);
                    if moved.elapsed() >= most {
                        return Err(LinkError::Stuck);
                    }
                    await_room(socket).map_err(LinkError::Socket)?;
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(LinkError::Socket(error.into())),
            }
        }
        Ok(())
    }
}

impl Watch for Link {
    fn is_cancelled(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    fn note_progress(&self, keys: usize, backlog_peak: usize) {
        let mut state = self.state.lock();
        state.keys_done += keys as u64;
        state.snapshot_bytes = backlog_peak as u64;
    }
}

/// The cut, as soon as fewer snapshots run than may.
fn make_cut(engine: &Engine, link: &Link) -> Result<Cut, SaveError> {
    loop {
        match Cut::make(engine, &|| walk::check_cancelled(link)) {
            Err(SaveError::TooMany) => thread::sleep(FULL_PAUSE),
            made => return made,
        }
    }
}

/// Waits until the socket may take more, for a moment.
fn await_room(socket: &impl AsFd) -> io::Result<()> {
    match poll(&mut [PollFd::new(socket, PollFlags::OUT)], Some(&LOOK)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Says why, to the log and, where it expects no dump yet, to the client.
fn fail(link: &Link, error: &LinkError) {
    let name = &link.client.peer;
    match error {
        LinkError::Gone | LinkError::Save(SaveError::Cancelled) => {
            LOG.notice(&format!("Connection with replica {name} lost."));
        }
        LinkError::Stuck => LOG.warning(&format!("Disconnecting timedout replica (full sync): {name}")),
        LinkError::Socket(error) => {
            LOG.notice(&format!("Connection with replica {name} lost: {}", reason(error)));
        }
        LinkError::File(why) => {
            LOG.warning(&format!("SYNC of replica {name} failed. The dump cannot be read: {why}"));
        }
        LinkError::Save(error) => {
            LOG.warning(&format!("SYNC of replica {name} failed. {error}"));
            let socket = link.socket.get().filter(|_| link.state.lock().stage != Stage::Sending);
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            // The end of the connection says the same.
            socket.map(|socket| send(socket, format!("-ERR {error}\r\n").as_bytes(), flags));
        }
    }
}
