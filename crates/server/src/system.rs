//! The few services of the C library and the kernel that have no safe form elsewhere: local time, processor
//! times, reads into memory that nobody has filled, writing out a file's range, pages of the program that are
//! given back, the process's title. Each is one small safe function; nothing here keeps state.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use base::time::{Civil, civil};

/// The calendar in the time zone that TZ or /etc/localtime names; UTC if the C library does not know.
pub fn local_time(unix_s: i64) -> Civil {
    let mut broken_down = MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: both pointers are valid for the call; localtime_r writes the whole structure or returns null,
    // and an all-zero `tm` is a valid value either way.
    let (known, tm) = unsafe {
        let known = !libc::localtime_r(&raw const unix_s, broken_down.as_mut_ptr()).is_null();
        (known, broken_down.assume_init())
    };
    if !known {
        return civil(unix_s);
    }
    Civil {
        year: i64::from(tm.tm_year) + 1900,
        month: tm.tm_mon as u32 + 1,
        day: tm.tm_mday as u32,
        hour: tm.tm_hour as u32,
        minute: tm.tm_min as u32,
        second: tm.tm_sec as u32,
    }
}

/// Seconds of processor time.
#[derive(Clone, Copy, Default, Debug)]
pub struct ProcessorTimes {
    pub system_s: f64,
    pub user_s: f64,
}

/// What the whole process has used.
pub fn process_times() -> ProcessorTimes {
    let usage = usage_of(libc::RUSAGE_SELF);
    ProcessorTimes { system_s: seconds(usage.ru_stime), user_s: seconds(usage.ru_utime) }
}

/// How often the calling thread has given up its processor to wait for something.
pub fn sleeps() -> u64 {
    usage_of(libc::RUSAGE_THREAD).ru_nvcsw as u64
}

/// For how long the calling thread has had a processor. Other ways to ask end the process where the kernel's
/// own clock is hidden from it, as by valgrind.
pub fn thread_time() -> Duration {
    let mut time = MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: the pointer is valid for the call, and an all-zero `timespec` is a valid value if it fails.
    let time = unsafe {
        libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, time.as_mut_ptr());
        time.assume_init()
    };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn usage_of(who: libc::c_int) -> libc::rusage {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is valid for the call, and an all-zero `rusage` is a valid value if it fails.
    unsafe {
        libc::getrusage(who, usage.as_mut_ptr());
        usage.assume_init()
    }
}

/// How long the calling thread runs at a stretch while others want its processor; `None`: as is usual. The
/// shorter, the sooner it comes to run. Kernels before Linux 6.12 take no notice.
pub fn set_slice(slice: Option<Duration>) -> io::Result<()> {
    let mut attributes = scheduling()?;
    if ![libc::SCHED_OTHER, libc::SCHED_BATCH].contains(&(attributes.sched_policy as libc::c_int)) {
        // Who runs it by other rules has said how long.
        return Err(io::ErrorKind::Unsupported.into());
    }
    attributes.sched_runtime = slice.map_or(0, |slice| slice.as_nanos() as u64);
    // SAFETY: the kernel reads as many bytes as the structure says that it has.
    let done = unsafe { libc::syscall(libc::SYS_sched_setattr, OWN_THREAD, &raw const attributes, 0) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// How the calling thread is scheduled.
fn scheduling() -> io::Result<libc::sched_attr> {
    let size = size_of::<libc::sched_attr>() as u32;
    let mut attributes = MaybeUninit::<libc::sched_attr>::zeroed();
    // SAFETY: the kernel writes no more than so many bytes, and an all-zero structure is a valid one.
    unsafe {
        match libc::syscall(libc::SYS_sched_getattr, OWN_THREAD, attributes.as_mut_ptr(), size, 0) {
            0 => Ok(attributes.assume_init()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

const OWN_THREAD: libc::pid_t = 0;

fn seconds(time: libc::timeval) -> f64 {
    time.tv_sec as f64 + time.tv_usec as f64 / 1e6
}

/// One read behind what `bytes` holds: of `most` bytes, and of no more than it has room for.
pub fn read_at_most(from: impl AsFd, bytes: &mut Vec<u8>, most: usize) -> rustix::io::Result<usize> {
    let spare = bytes.spare_capacity_mut();
    let most = most.min(spare.len());
    let (read, _) = rustix::io::read(from, &mut spare[..most])?;
    let read = read.len();
    // SAFETY: the bytes behind the vector's end, of its own capacity, were filled by the call above.
    unsafe { bytes.set_len(bytes.len() + read) };
    Ok(read)
}

/// Begins to write a range of a file to the disk, without waiting.
pub fn begin_write_out(file: &File, from: u64, len: u64) -> io::Result<()> {
    write_out(file, from, len, libc::SYNC_FILE_RANGE_WRITE)
}

/// Waits until a range of a file is on its way to the disk no more, so that its pages can be dropped.
pub fn finish_write_out(file: &File, from: u64, len: u64) -> io::Result<()> {
    let wait =
        libc::SYNC_FILE_RANGE_WAIT_BEFORE | libc::SYNC_FILE_RANGE_WRITE | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    write_out(file, from, len, wait)
}

/// A write that fails here is told here and nowhere else: a later fsync of the same descriptor succeeds.
fn write_out(file: &File, from: u64, len: u64, flags: libc::c_uint) -> io::Result<()> {
    // SAFETY: the descriptor is open for as long as `file` is borrowed; no memory is passed.
    let done = unsafe { libc::sync_file_range(file.as_raw_fd(), from as i64, len as i64, flags) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A file may reach its limit (RLIMIT_FSIZE): the write fails, which says so, and the process goes on.
pub fn ignore_file_size_signal() {
    // SAFETY: no handler is installed; SIG_IGN is a valid disposition for this signal.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

/// Has the kernel bring in few pages with each that the program needs. It brings in sixteen, but no more than
/// one mapping has, and neighbours are not one mapping if one of them is left out of core dumps. What is in
/// files is left out anyhow, but for the first page of each.
pub fn bring_in_few_pages() {
    for segment in program_segments() {
        for start in segment.clone().skip(BROUGHT_IN).step_by(2 * BROUGHT_IN) {
            advise(start, BROUGHT_IN.min(segment.end - start), libc::MADV_DONTDUMP);
        }
    }
}

/// Bytes that are brought in together.
const BROUGHT_IN: usize = 16 << 10;

/// Gives back the pages of programs and libraries that were read so far: much that was touched, at the start
/// above all, is never needed again. What is needed is there again at the next touch, without reading the
/// disk.
pub fn forget_program_pages() {
    for segment in program_segments() {
        advise(segment.start, segment.len(), libc::MADV_DONTNEED);
    }
}

/// Tells the kernel something about a range of one of `program_segments`.
fn advise(start: usize, len: usize, advice: libc::c_int) {
    // SAFETY: the range is a private mapping of a file that nobody has written to: it reads the same whatever
    // is done with its pages.
    unsafe { libc::madvise(std::ptr::with_exposed_provenance_mut(start), len, advice) };
}

/// Where programs and libraries lie that are as they are in their files.
fn program_segments() -> Vec<Range<usize>> {
    let mut segments = Vec::<Range<usize>>::new();
    // SAFETY: the callback gets `segments` and keeps to what it is promised, and the list of objects does not
    // change under it.
    unsafe { libc::dl_iterate_phdr(Some(add_segments), (&raw mut segments).cast()) };
    segments
}

/// Adds the segments of an object that are never written.
unsafe extern "C" fn add_segments(
    object: *mut libc::dl_phdr_info,
    _: libc::size_t,
    segments: *mut libc::c_void,
) -> libc::c_int {
    // SAFETY: the loader passes an object with as many headers as it says, and the vector it was given.
    let (base, headers, segments) = unsafe {
        let object = &*object;
        let headers = std::slice::from_raw_parts(object.dlpi_phdr, usize::from(object.dlpi_phnum));
        (object.dlpi_addr, headers, &mut *segments.cast::<Vec<Range<usize>>>())
    };
    let constant =
        headers.iter().filter(|header| header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W == 0);
    segments.extend(constant.map(|header| {
        let start = (base + header.p_vaddr).next_multiple_of(PAGE);
        start as usize..((base + header.p_vaddr + header.p_memsz) / PAGE * PAGE) as usize
    }));
    segments.retain(|segment| segment.start < segment.end);
    0
}

/// Pages are at least as large; where they are larger, the kernel refuses what is no whole page.
const PAGE: u64 = 4096;

/// Keeps the C library from reserving 64 MB of address space for each thread: its own allocator serves next
/// to nothing here.
pub fn share_library_heap() {
    // SAFETY: mallopt only sets a parameter of the C library's allocator.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
}

/// Changes what the list of processes shows as this process's command. Where the kernel does not allow it,
/// nothing happens.
pub fn set_title(title: &str) {
    let Some(mut map) = MemoryMap::of_this_process() else { return };
    let mut text = title.as_bytes().to_vec();
    text.push(0);
    // The kernel reads it from here as long as the process lives.
    let text: &'static [u8] = text.leak();
    map.arg_start = text.as_ptr().addr() as u64;
    map.arg_end = map.arg_start + text.len() as u64;
    // SAFETY: the kernel reads `size_of::<MemoryMap>()` bytes of `map`, checks them, and notes addresses;
    // only those of the arguments differ from what it has, and they lie in a block that is never freed.
    unsafe {
        libc::prctl(libc::PR_SET_MM, libc::PR_SET_MM_MAP, &raw const map, size_of::<MemoryMap>(), 0);
    }
}

/// `struct prctl_mm_map` of linux/prctl.h.
#[repr(C)]
struct MemoryMap {
    start_code: u64,
    end_code: u64,
    start_data: u64,
    end_data: u64,
    start_brk: u64,
    brk: u64,
    start_stack: u64,
    arg_start: u64,
    arg_end: u64,
    env_start: u64,
    env_end: u64,
    auxv: u64,
    auxv_size: u32,
    exe_fd: u32,
}

impl MemoryMap {
    /// What the kernel has now: fields of /proc/self/stat, numbered as in proc(5).
    fn of_this_process() -> Option<MemoryMap> {
        let line = std::fs::read_to_string("/proc/self/stat").ok()?;
        let (_, rest) = line.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        // SAFETY: sbrk(0) changes nothing and returns the current end.
        let brk = unsafe { libc::sbrk(0) }.addr() as u64;
        Some(MemoryMap {
            start_code: field(26)?,
            end_code: field(27)?,
            start_data: field(45)?,
            end_data: field(46)?,
            start_brk: field(47)?,
            brk,
            start_stack: field(28)?,
            arg_start: field(48)?,
            arg_end: field(49)?,
            env_start: field(50)?,
            env_end: field(51)?,
            auxv: 0,
            auxv_size: 0,
            exe_fd: u32::MAX,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn local_time_is_within_a_day_of_universal_time() {
        let now = 1_700_000_000;
        let local = local_time(now);
        let days = [now - 86_400, now, now + 86_400].map(|at| civil(at).day);
        assert!(days.contains(&local.day), "{local:?}");
        assert!(local.hour < 24 && local.minute < 60 && local.second <= 60);
    }

    #[test]
    fn the_threads_time_goes_on_while_it_works() {
        let begin = thread_time();
        while thread_time() == begin {}
        assert!(thread_time() > begin);
    }

    /// Reads a byte of every so many of the program's and its libraries'; how much of them is in memory then.
    fn touch_program(step: usize) -> u64 {
        for address in program_segments().into_iter().flat_map(|segment| segment.step_by(step)) {
            // SAFETY: the address lies in a mapping that is never written and never goes.
            unsafe { std::ptr::with_exposed_provenance::<u8>(address).read_volatile() };
        }
        resident_program()
    }

    /// Kilobytes of these segments that are in memory, whatever other tests have there.
    fn resident_program() -> u64 {
        let segments = program_segments();
        let maps = fs::read_to_string("/proc/self/smaps").expect("it is there");
        let (mut is_program, mut sum) = (false, 0);
        for line in maps.lines() {
            let range = line.split_once(' ').and_then(|(range, _)| range.split_once('-'));
            let hex = |text: &str| usize::from_str_radix(text, 16).ok();
            if let Some((Some(start), Some(end))) = range.map(|(start, end)| (hex(start), hex(end))) {
                is_program = segments.iter().any(|segment| segment.start < end && start < segment.end);
            } else if let Some(rest) = line.strip_prefix("Rss:").filter(|_| is_program) {
                let number = rest.trim().trim_end_matches(" kB");
                sum += number.parse::<u64>().expect("a number");
            }
        }
        sum
    }

    #[test]
    fn pages_of_the_program_go_and_few_come_back() {
        let all = touch_program(PAGE as usize);
        bring_in_few_pages();
        forget_program_pages();
        let left = resident_program();
        assert!(left < all / 2, "{left} KB of {all} left");
        let back = touch_program(64 << 10);
        assert!(back < all / 2, "{back} KB of {all} came back");
    }

    #[test]
    fn a_thread_asks_for_short_slices_and_nothing_else() {
        let of = |attributes: libc::sched_attr| (attributes.sched_policy, attributes.sched_nice);
        let before = scheduling().expect("it may be asked");
        let usual = before.sched_runtime;
        set_slice(Some(Duration::from_micros(100))).expect("everybody may");
        let short = scheduling().expect("it may be asked");
        assert_eq!(of(short), of(before));
        // A kernel that knows slices says how long they are.
        assert!(usual == 0 || short.sched_runtime == 100_000, "{}", short.sched_runtime);
        set_slice(None).expect("everybody may");
        assert_eq!(scheduling().expect("it may be asked").sched_runtime, usual);
    }

    #[test]
    fn sleeps_are_counted() {
        let before = sleeps();
        let (to, from) = std::os::unix::net::UnixStream::pair().expect("there are descriptors");
        from.set_read_timeout(Some(Duration::from_millis(1))).expect("it is a time");
        let timed_out = std::io::Read::read(&mut &from, &mut [0]);
        assert!(timed_out.is_err());
        assert!(sleeps() > before);
        drop(to);
    }

    #[test]
    fn processor_time_grows() {
        let before = process_times();
        let mut sum = 0u64;
        while process_times().user_s + process_times().system_s <= before.user_s + before.system_s {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
    }
}
