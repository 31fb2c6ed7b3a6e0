//! The scripts that run: since when, whether they have written, and whether somebody wants their end. One
//! place for each worker, which it alone begins and ends; everybody reads. Runs nothing.

use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::args::OwnedArgv;
use crate::error::CmdError;
use crate::host::WorkerId;

/// How a script was called, and so which command ends it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ScriptKind {
    Eval,
    Function,
}

impl ScriptKind {
    /// What clients are told while such a script runs for too long.
    pub const fn busy(self) -> CmdError {
        match self {
            ScriptKind::Eval => CmdError::fixed(
                "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
            ),
            ScriptKind::Function => CmdError::fixed(
                "BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE.",
            ),
        }
    }

    /// What the script ends with.
    pub const fn killed(self) -> &'static str {
        match self {
            ScriptKind::Eval => "ERR Script killed by user with SCRIPT KILL...",
            ScriptKind::Function => "ERR Script killed by user with FUNCTION KILL...",
        }
    }

    pub const fn kill_command(self) -> &'static str {
        match self {
            ScriptKind::Eval => "SCRIPT KILL",
            ScriptKind::Function => "FUNCTION KILL",
        }
    }
}

/// All workers' scripts.
pub struct Running {
    places: Box<[Place]>,
    /// Scripts that have run for longer than `busy-reply-threshold`.
    busy: AtomicUsize,
}

/// A worker's script. The workers' places share no cache line.
#[derive(Default)]
#[repr(align(128))]
struct Place {
    /// Monotonic nanoseconds of its start; 0: none runs.
    since_ns: AtomicU64,
    state: AtomicU8,
    /// Its name and what called it, for those who ask; known once it has run for too long.
    details: Mutex<Option<Details>>,
}

#[derive(Clone)]
pub struct Details {
    pub name: Box<[u8]>,
    pub command: OwnedArgv,
}

/// A script that runs, for those who ask.
pub struct Shown {
    pub details: Details,
    pub kind: ScriptKind,
    pub elapsed_ns: u64,
}

/// Bits of a place's state.
const WROTE: u8 = 1;
const KILLED: u8 = 2;
const BUSY: u8 = 4;
const FUNCTION: u8 = 8;

const NOT_BUSY: CmdError = CmdError::fixed("NOTBUSY No scripts in execution right now.");
const UNKILLABLE: CmdError = CmdError::fixed(
    "UNKILLABLE Sorry the script already executed write commands against the dataset. You can either wait the \
     script termination or kill the server in a hard way using the SHUTDOWN NOSAVE command.",
);

impl Place {
    fn has(&self, bit: u8) -> bool {
        self.state.load(Ordering::Relaxed) & bit != 0
    }

    fn kind(&self) -> ScriptKind {
        if self.has(FUNCTION) { ScriptKind::Function } else { ScriptKind::Eval }
    }
}

impl Running {
    pub fn new(workers: usize) -> Running {
        Running { places: (0..workers.max(1)).map(|_| Place::default()).collect(), busy: AtomicUsize::new(0) }
    }

    fn place(&self, worker: WorkerId) -> &Place {
        &self.places[usize::from(worker.0)]
    }

    /// The worker's script begins.
    pub fn begin(&self, worker: WorkerId, kind: ScriptKind, now_ns: u64) {
        let place = self.place(worker);
        let kind = if kind == ScriptKind::Function { FUNCTION } else { 0 };
        place.state.store(kind, Ordering::Relaxed);
        place.since_ns.store(now_ns.max(1), Ordering::Relaxed);
    }

    pub fn end(&self, worker: WorkerId) {
        let place = self.place(worker);
        place.since_ns.store(0, Ordering::Relaxed);
        if place.has(BUSY) {
            self.busy.fetch_sub(1, Ordering::Relaxed);
            *place.details.lock() = None;
        }
    }

    /// The worker's script has been running for too long, and others may ask what it is; false if that was
    /// known.
    pub fn set_busy(&self, worker: WorkerId, details: impl FnOnce() -> Details) -> bool {
        let place = self.place(worker);
        if place.has(BUSY) {
            return false;
        }
        *place.details.lock() = Some(details());
        place.state.fetch_or(BUSY, Ordering::Relaxed);
        self.busy.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Some script has been running for too long.
    #[inline]
    pub fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed) != 0
    }

    /// What a request is answered meanwhile.
    #[cold]
    pub fn busy_error(&self) -> CmdError {
        self.longest().map_or(ScriptKind::Eval, Place::kind).busy()
    }

    /// Asks for the end of the script of a kind that has been running for too long, and longest of those that
    /// have not written.
    pub fn kill(&self, kind: ScriptKind) -> Result<(), CmdError> {
        let mut busy: Vec<&Place> = self.busy_places().collect();
        busy.sort_by_key(|place| place.since_ns.load(Ordering::Relaxed));
        let (mut refusal, mut is_ending) = (None, false);
        for place in busy {
            // A script that writes from now on finds that it was killed, and one that wrote before is found
            // out.
            let killed = place.state.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |state| {
                (state & (WROTE | BUSY | KILLED) == BUSY && place.kind() == kind).then_some(state | KILLED)
            });
            let Err(state) = killed else { return Ok(()) };
            // Another may have to end, too.
            if state & KILLED != 0 {
                is_ending |= place.kind() == kind;
                continue;
            }
            let reason = if state & WROTE != 0 { UNKILLABLE } else { place.kind().busy() };
            refusal.get_or_insert(reason);
        }
        match refusal {
            None if is_ending => Ok(()),
            refusal => Err(refusal.unwrap_or(NOT_BUSY)),
        }
    }

    /// The script that has been running for too long, and longest.
    pub fn shown(&self, now_ns: u64) -> Option<Shown> {
        let place = self.longest()?;
        let details = place.details.lock().clone()?;
        let elapsed_ns = now_ns.saturating_sub(place.since_ns.load(Ordering::Relaxed));
        Some(Shown { details, kind: place.kind(), elapsed_ns })
    }

    fn longest(&self) -> Option<&Place> {
        self.busy_places().min_by_key(|place| place.since_ns.load(Ordering::Relaxed))
    }

    fn busy_places(&self) -> impl Iterator<Item = &Place> {
        self.places.iter().filter(|place| place.since_ns.load(Ordering::Relaxed) != 0 && place.has(BUSY))
    }

    pub fn elapsed_ns(&self, worker: WorkerId, now_ns: u64) -> u64 {
        now_ns.saturating_sub(self.place(worker).since_ns.load(Ordering::Relaxed))
    }

    /// The worker's script is about to write; false: it was told to end and may not.
    pub fn begin_write(&self, worker: WorkerId) -> bool {
        let place = self.place(worker);
        place.has(WROTE) || place.state.fetch_or(WROTE, Ordering::Relaxed) & KILLED == 0
    }

    pub fn has_written(&self, worker: WorkerId) -> bool {
        self.place(worker).has(WROTE)
    }

    pub fn is_killed(&self, worker: WorkerId) -> bool {
        self.place(worker).has(KILLED)
    }
}
