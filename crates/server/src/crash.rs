//! The last words of a process that dies of a bug: a report in the log, then the end. A handler only notes
//! what it sees and wakes the thread that writes; that thread was started before, so no stack is too small
//! for the report.
#![allow(unsafe_code)]

use std::backtrace::Backtrace;
use std::ffi::{CStr, c_int, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::panic::PanicHookInfo;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use engine::{ONEFOLD_VERSION, REDIS_VERSION};
use rustix::process::{Signal, getpid, kill_process};

use crate::aside;
use crate::log::LOG;

const FRAMES: usize = 64;
const SIGNALS: [c_int; 5] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGABRT];
/// How long a dying thread waits for its report.
const REPORT_WAIT_S: u32 = 5;

/// What a handler saw. Written once, by the thread that won `TAKEN`; read after the pipe was read.
struct Seen {
    signal: AtomicI32,
    code: AtomicI32,
    address: AtomicUsize,
    sender: AtomicI32,
    frames: [AtomicUsize; FRAMES],
    count: AtomicUsize,
}

static SEEN: Seen = Seen {
    signal: AtomicI32::new(0),
    code: AtomicI32::new(0),
    address: AtomicUsize::new(0),
    sender: AtomicI32::new(0),
    frames: [const { AtomicUsize::new(0) }; FRAMES],
    count: AtomicUsize::new(0),
};
/// Somebody reports already.
static TAKEN: AtomicBool = AtomicBool::new(false);
static ENABLED: AtomicBool = AtomicBool::new(true);
/// The write end of the pipe to the reporting thread.
static PIPE: AtomicI32 = AtomicI32::new(-1);

/// Whether a crash is reported (`crash-log-enabled`).
pub fn enable(on: bool) {
    ENABLED.store(on, Ordering::Relaxed);
}

/// Installs the handlers and starts the reporting thread.
pub fn install() -> io::Result<()> {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    PIPE.store(std::os::fd::IntoRawFd::into_raw_fd(writer), Ordering::Relaxed);
    aside::spawn("crash", move || {
        let mut byte = [0];
        if rustix::io::read(&reader, &mut byte) == Ok(1) {
            report_signal();
        }
    })?;
    std::panic::set_hook(Box::new(on_panic));
    SIGNALS.iter().for_each(|&signal| handle(signal));
    Ok(())
}

fn handle(signal: c_int) {
    // The first call of backtrace loads a library, which a handler must not do.
    let mut frame = [null_mut(); 1];
    // SAFETY: `frame` has room for one address.
    unsafe { libc::backtrace(frame.as_mut_ptr(), 1) };
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: an all-zero sigaction is valid, and so is every field set here; `on_signal` has the
    // signature that SA_SIGINFO asks for and keeps to what a handler may do.
    unsafe {
        let action = action.assume_init_mut();
        action.sa_sigaction = on_signal as extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER | libc::SA_RESETHAND;
        libc::sigaction(signal, action, null_mut());
    }
}

/// Notes what there is to see, wakes the reporting thread, and waits for it to end the process.
/// SA_RESETHAND: the same signal ends the process if it comes again.
extern "C" fn on_signal(signal: c_int, info: *mut libc::siginfo_t, _context: *mut c_void) {
    if ENABLED.load(Ordering::Relaxed) && !TAKEN.swap(true, Ordering::SeqCst) {
        note(signal, info);
        // SAFETY: write, sleep and raise may be called in a handler; the byte lives through the call.
        unsafe {
            libc::write(PIPE.load(Ordering::Relaxed), c"!".as_ptr().cast(), 1);
            libc::sleep(REPORT_WAIT_S);
        }
    }
    // SAFETY: as above.
    unsafe { libc::raise(signal) };
}

fn note(signal: c_int, info: *mut libc::siginfo_t) {
    let mut frames = [null_mut(); FRAMES];
    // SAFETY: `frames` has FRAMES addresses; the kernel hands a valid siginfo to a SA_SIGINFO handler, and
    // the two accessors only read the union's first words, which every kind of signal has.
    unsafe {
        let count = libc::backtrace(frames.as_mut_ptr(), FRAMES as c_int);
        SEEN.count.store(count.max(0) as usize, Ordering::Relaxed);
        SEEN.code.store((*info).si_code, Ordering::Relaxed);
        SEEN.address.store((*info).si_addr().addr(), Ordering::Relaxed);
        SEEN.sender.store((*info).si_pid(), Ordering::Relaxed);
    }
    for (slot, frame) in SEEN.frames.iter().zip(frames) {
        slot.store(frame.addr(), Ordering::Relaxed);
    }
    SEEN.signal.store(signal, Ordering::SeqCst);
}

/// On the reporting thread.
fn report_signal() {
    let signal = SEEN.signal.load(Ordering::SeqCst);
    let code = SEEN.code.load(Ordering::Relaxed);
    LOG.raw_or_stderr(START);
    LOG.crash_line(&format!("Redis {REDIS_VERSION} crashed by signal: {signal}, si_code: {code}"));
    if code <= 0 {
        LOG.crash_line(&format!("Killed by PID: {}", SEEN.sender.load(Ordering::Relaxed)));
    } else if [libc::SIGSEGV, libc::SIGBUS].contains(&signal) {
        LOG.crash_line(&format!("Accessing address: {:#x}", SEEN.address.load(Ordering::Relaxed)));
    }
    LOG.raw_or_stderr("\n------ STACK TRACE ------\n\nBacktrace:\n");
    LOG.raw_or_stderr(&frames());
    LOG.raw_or_stderr(&end());
    if let Some(signal) = Signal::from_named_raw(signal) {
        kill_process(getpid(), signal).ok();
    }
}

/// The noted frames, one on a line, as `program(+offset) [address]`.
fn frames() -> String {
    let count = SEEN.count.load(Ordering::Relaxed).min(FRAMES);
    let addresses: Vec<*mut c_void> =
        SEEN.frames[..count].iter().map(|frame| frame.load(Ordering::Relaxed) as *mut c_void).collect();
    // SAFETY: `addresses` has `count` addresses, which are only looked up; the result is null or that many
    // strings in one block, which is left to the end of the process.
    unsafe {
        let symbols = libc_symbols(addresses.as_ptr(), count as c_int);
        if symbols.is_null() {
            return addresses.iter().map(|address| format!("[{address:p}]\n")).collect();
        }
        (0..count).map(|at| format!("{}\n", CStr::from_ptr(*symbols.add(at)).to_string_lossy())).collect()
    }
}

unsafe extern "C" {
    /// `char **backtrace_symbols(void *const *, int)` of execinfo.h.
    #[link_name = "backtrace_symbols"]
    fn libc_symbols(addresses: *const *mut c_void, count: c_int) -> *mut *mut std::ffi::c_char;
}

/// A broken assertion: report it from where it stands, then end the process with SIGABRT. No thread
/// survives alone.
fn on_panic(info: &PanicHookInfo<'_>) {
    let message = info.payload_as_str().unwrap_or("no message");
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    if ENABLED.load(Ordering::Relaxed) && !TAKEN.swap(true, Ordering::SeqCst) {
        let name = thread::current().name().unwrap_or("unnamed").to_string();
        LOG.raw_or_stderr(START);
        LOG.crash_line("=== ASSERTION FAILED ===");
        LOG.crash_line(&format!("==> {place} '{message}' in thread {name}"));
        LOG.crash_line(&format!("Guru Meditation: {message} #{place}"));
        LOG.raw_or_stderr("\n------ STACK TRACE ------\n\nBacktrace:\n");
        LOG.raw_or_stderr(&Backtrace::force_capture().to_string());
        LOG.raw_or_stderr(&end());
    } else {
        eprintln!("{place}: {message}");
    }
    std::process::abort();
}

/// DEBUG SEGFAULT and its like.
pub fn on_purpose(how: &str) {
    match how {
        "panic" => panic!("called by Unittest code"),
        "assert" => panic!("1 == 2 is not true"),
        "oom" => std::alloc::handle_alloc_error(std::alloc::Layout::new::<[u8; 1 << 40]>()),
        _ => drop(kill_process(getpid(), Signal::SEGV)),
    }
    thread::sleep(Duration::from_secs(u64::from(REPORT_WAIT_S)));
    std::process::abort();
}

const START: &str = "\n\n=== REDIS BUG REPORT START: Cut & paste starting from here ===\n";

fn end() -> String {
    format!(
        "\n------ PROGRAM ------\n\nOnefold {ONEFOLD_VERSION}, serving Redis {REDIS_VERSION}, pid {}\n\n\
         === REDIS BUG REPORT END. Make sure to include from START to END. ===\n\n\
         \x20      Please report the crash to the makers of Onefold, with everything between the two \
         lines.\n",
        std::process::id()
    )
}
