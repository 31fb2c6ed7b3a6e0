//! The process's allocator: jemalloc with size classes of 8 bytes and eight for each doubling, an arena of
//! its own for table segments, and jemalloc's statistics and controls. It must never decide how much memory
//! may be used; that is the broker's.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, handle_alloc_error};
use std::cell::Cell;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr::{NonNull, null, null_mut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use tikv_jemalloc_sys as jemalloc;

/// The global allocator. jemalloc is built with a quantum of 8 bytes, so `malloc` promises 8-byte alignment
/// and no more, whatever the size: every larger alignment is passed on explicitly.
pub struct Jemalloc;

// SAFETY: every method hands size and alignment to jemalloc unchanged (see `alignment_flags`), and jemalloc's
// malloc, mallocx, rallocx and sdallocx fulfil GlobalAlloc's contract for them; none of them unwinds.
unsafe impl GlobalAlloc for Jemalloc {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let flags = alignment_flags(layout.align());
        // SAFETY: the caller promises a size above 0, all that mallocx asks for.
        unsafe {
            if flags == 0 { jemalloc::malloc(layout.size()) } else { jemalloc::mallocx(layout.size(), flags) }
                .cast()
        }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let flags = alignment_flags(layout.align());
        // SAFETY: as in `alloc`.
        unsafe {
            if flags == 0 {
                jemalloc::calloc(1, layout.size()).cast()
            } else {
                jemalloc::mallocx(layout.size(), flags | jemalloc::MALLOCX_ZERO).cast()
            }
        }
    }

    #[inline]
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller promises that `ptr` came from this allocator with this layout.
        unsafe { jemalloc::sdallocx(ptr.cast(), layout.size(), alignment_flags(layout.align())) }
    }

    #[inline]
    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let flags = alignment_flags(layout.align());
        // SAFETY: the caller promises that `ptr` came from this allocator with this layout and `new_size` >
        // 0.
        unsafe {
            if flags == 0 {
                jemalloc::realloc(ptr.cast(), new_size).cast()
            } else {
                jemalloc::rallocx(ptr.cast(), new_size, flags).cast()
            }
        }
    }
}

/// The bytes the allocator really set aside for a block.
///
/// # Safety
/// `ptr` must be a live block of [`Jemalloc`] or of [`segment_alloc`].
#[inline]
pub unsafe fn usable_size(ptr: NonNull<u8>) -> usize {
    if cfg!(miri) {
        return 0;
    }
    // SAFETY: the caller promises a live jemalloc block.
    unsafe { jemalloc::sallocx(ptr.as_ptr().cast(), 0) }
}

/// The bytes the allocator would set aside for `len` bytes of alignment 8 or less.
#[inline]
pub fn size_class(len: usize) -> usize {
    if len <= EXACT_MOST || cfg!(miri) {
        return len.next_multiple_of(8);
    }
    // SAFETY: nallocx only computes; a length above 0 is all it asks for.
    unsafe { jemalloc::nallocx(len, 0) }
}

/// Up to this size there is a class for each multiple of 8 bytes.
const EXACT_MOST: usize = 128;

/// Asks the processor to bring the line of `ptr` near. Any pointer is fine: a prefetch never faults.
#[inline(always)]
pub fn prefetch<T>(ptr: *const T) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: prefetcht0 is part of every x86-64 and ignores addresses it cannot read.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(ptr.cast());
    }
    #[cfg(all(target_arch = "aarch64", not(miri)))]
    // SAFETY: prfm is a hint, has no effect a program can see, and ignores addresses it cannot read.
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{0}]", in(reg) ptr, options(nostack, preserves_flags, readonly));
    }
    #[cfg(any(miri, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
    let _ = ptr;
}

/// A zeroed block of `len` bytes at a multiple of 64, from the arena that gives freed pages back at once.
pub fn segment_alloc(len: usize) -> NonNull<u8> {
    assert!(len > 0, "a segment has a size");
    if let Some(ptr) = lock_pool().take(len) {
        // SAFETY: the block is `len` bytes long and nobody else holds it any more.
        unsafe { ptr.write_bytes(0, len) };
        return ptr;
    }
    let ptr = segment_block_alloc(len);
    assert!(ptr.as_ptr().addr().is_multiple_of(SEGMENT_ALIGN), "segments lie on cache lines");
    ptr
}

/// Gives back a block of [`segment_alloc`].
///
/// # Safety
/// `ptr` must come from `segment_alloc(len)` with the same `len`, and not be used afterwards.
pub unsafe fn segment_free(ptr: NonNull<u8>, len: usize) {
    let evicted = lock_pool().put(Block { ptr, len });
    if let Some(block) = evicted {
        // SAFETY: the pool only holds blocks of `segment_alloc` and has let go of this one.
        unsafe { segment_block_free(block.ptr, block.len) };
    }
}

/// Moves a block of [`segment_alloc`] past the pool to the slab that is filled next.
///
/// # Safety
/// As for `segment_free`.
pub unsafe fn segment_move(from: NonNull<u8>, len: usize) -> NonNull<u8> {
    let to = segment_block_alloc(len);
    // SAFETY: both blocks have `len` bytes, and the caller gives up the old one.
    unsafe {
        to.copy_from_nonoverlapping(from, len);
        segment_block_free(from, len);
    }
    to
}

/// Returns the pooled segments to the arena, and with it to the system.
pub fn segment_pool_clear() {
    let blocks = std::mem::take(&mut lock_pool().blocks);
    for block in blocks {
        // SAFETY: as in `segment_free`.
        unsafe { segment_block_free(block.ptr, block.len) };
    }
}

/// Bytes of the segments that the pool keeps.
pub fn segment_pool_bytes() -> usize {
    lock_pool().blocks.iter().map(|block| block.len).sum()
}

/// jemalloc's own figures, all in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// What the program holds, rounded up to size classes.
    pub allocated: usize,
    /// Free blocks that threads keep for their next allocations.
    pub cached: usize,
    /// Of the allocated bytes, the tables of these blocks that each thread has.
    pub internal: usize,
    /// Pages that hold at least one allocation.
    pub active: usize,
    /// Pages mapped and, as far as jemalloc knows, backed by memory.
    pub resident: usize,
    /// jemalloc's own bookkeeping.
    pub metadata: usize,
    /// Pages that hold nothing and were not given back yet.
    pub unused: usize,
    /// Address space kept although its pages were given back.
    pub retained: usize,
    pub mapped: usize,
}

/// The figures of this moment.
pub fn stats() -> Stats {
    if cfg!(miri) {
        return Stats::default();
    }
    // jemalloc computes its figures once for each epoch; writing any value begins the next one.
    mallctl_write(c"epoch", 1u64);
    let figure = |name: &CStr| mallctl_read::<usize>(name).unwrap_or(0);
    let cached = figure(c"stats.arenas.4096.tcache_bytes");
    let reserved = RESERVED.load(Ordering::Relaxed);
    let unused_pages = figure(c"stats.arenas.4096.pdirty") + figure(c"stats.arenas.4096.pmuzzy");
    Stats {
        // To jemalloc a cached block is allocated.
        allocated: figure(c"stats.allocated").saturating_sub(cached + reserved),
        cached,
        internal: figure(c"stats.arenas.4096.internal"),
        active: figure(c"stats.active").saturating_sub(reserved),
        resident: figure(c"stats.resident").saturating_sub(reserved),
        metadata: figure(c"stats.metadata"),
        unused: unused_pages * figure(c"arenas.page"),
        retained: figure(c"stats.retained"),
        mapped: figure(c"stats.mapped"),
    }
}

/// Bytes that this thread has allocated less those that it has freed, whoever allocated them; rounded up to
/// size classes. A thread that frees what others allocated comes to a negative number.
pub fn thread_balance() -> i64 {
    THREAD_COUNTERS.with(|counters| {
        let Some([allocated, freed]) = counters.of_allocator else { return 0 };
        // SAFETY: jemalloc promises that the counters of a thread stay where they are as long as it lives,
        // and a thread-local value is read by its own thread only.
        let balance = unsafe { allocated.read().wrapping_sub(freed.read()) as i64 };
        balance - counters.reserved.get()
    })
}

/// Changes something, and adds to `bytes` what that allocated less what it freed: for structures that do not
/// say how large their blocks are.
pub fn counted<R>(bytes: &mut usize, change: impl FnOnce() -> R) -> R {
    let before = thread_balance();
    let result = change();
    *bytes = bytes.saturating_add_signed((thread_balance() - before) as isize);
    result
}

struct ThreadCounters {
    /// Bytes allocated, and bytes freed.
    of_allocator: Option<[*const u64; 2]>,
    /// By how much this thread has changed what is reserved.
    reserved: Cell<i64>,
}

thread_local! {
    static THREAD_COUNTERS: ThreadCounters = ThreadCounters::new();
}

impl ThreadCounters {
    fn new() -> ThreadCounters {
        let pointer = |name| mallctl_read::<usize>(name).map(|at| at as *const u64);
        let pair = || Some([pointer(c"thread.allocatedp")?, pointer(c"thread.deallocatedp")?]);
        let of_allocator = pair().filter(|pair| pair.iter().all(|at| !at.is_null()));
        ThreadCounters { of_allocator, reserved: Cell::new(0) }
    }
}

/// What of a large block is left for bytes to come. Its pages are no memory before something is written to
/// them, so until then nobody counts them as allocated.
#[derive(Debug, Default)]
pub struct Reserve(usize);

impl Reserve {
    #[inline]
    pub fn bytes(&self) -> usize {
        self.0
    }

    /// So much of the block is left now.
    pub fn set(&mut self, bytes: usize) {
        let before = std::mem::replace(&mut self.0, bytes);
        // Wraps round where it shrinks.
        RESERVED.fetch_add(bytes.wrapping_sub(before), Ordering::Relaxed);
        let grown = bytes as i64 - before as i64;
        THREAD_COUNTERS.with(|counters| counters.reserved.set(counters.reserved.get() + grown));
    }
}

impl Drop for Reserve {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// Gives every unused page of every arena back to the system. False if jemalloc refused.
pub fn purge() -> bool {
    segment_pool_clear();
    mallctl_call(&arena_control(ALL_ARENAS, "purge"))
}

/// Sets after how many milliseconds unused pages go back to the system (0: at once, -1: never), for the
/// arenas that exist and those to come; the segments' arena stays at 0. False if jemalloc refused the
/// default.
pub fn arena_dirty_decay(decay_ms: isize) -> bool {
    for arena in 0..mallctl_read::<u32>(c"arenas.narenas").unwrap_or(0) {
        if segment_arena() != Some(arena) {
            // An arena not in use yet refuses; it will start with the default set below.
            mallctl_write(&arena_control(arena, "dirty_decay_ms"), decay_ms);
        }
    }
    mallctl_write(c"arenas.dirty_decay_ms", decay_ms)
}

/// Lets unused pages go back to the system whose time has come, in arenas whose threads are idle too.
pub fn purge_due() -> bool {
    mallctl_call(&arena_control(ALL_ARENAS, "decay"))
}

/// Gives back what this thread's cache keeps, and pages that nobody uses: for a thread that has done its
/// great work.
pub fn forget_thread_cache() {
    flush_thread_cache();
    purge();
}

/// Gives the free blocks that this thread keeps back to their slabs. False if jemalloc refused.
pub fn flush_thread_cache() -> bool {
    mallctl_call(c"thread.tcache.flush")
}

/// This thread allocates and frees without a cache of its own from now on: what it frees is free for all at
/// once, and what it allocates comes from the slabs that are to be filled first.
pub fn thread_cache_off() -> bool {
    mallctl_write(c"thread.tcache.enabled", false)
}

/// While it lives, this thread allocates and frees as one without a cache of its own, in another arena: for
/// who moves blocks now and then.
pub struct CacheOff {
    /// Where it allocated before.
    own_arena: Option<u32>,
}

impl CacheOff {
    /// In its own arena if none is given.
    pub fn begin(arena: Option<u32>) -> CacheOff {
        thread_cache_off();
        let own_arena = mallctl_read(c"thread.arena");
        let has_moved = arena.is_some_and(join_arena);
        CacheOff { own_arena: own_arena.filter(|_| has_moved) }
    }
}

impl Drop for CacheOff {
    fn drop(&mut self) {
        if let Some(arena) = self.own_arena {
            join_arena(arena);
        }
        mallctl_write(c"thread.tcache.enabled", true);
    }
}

/// This thread allocates from now on where the process's first one does. An arena of its own, which it got
/// with its first allocation, is left to the next thread.
pub fn join_first_arena() -> bool {
    join_arena(0)
}

/// This thread allocates from now on in that arena.
pub fn join_arena(arena: u32) -> bool {
    mallctl_write(c"thread.arena", arena)
}

/// Where most small blocks are, as of the last [`stats`]: what is moved there fills free slots. In an arena
/// of its own a thread would begin new slabs, and all that it moves would be there twice before the first old
/// slab is empty.
pub fn fullest_arena() -> Option<u32> {
    let arenas = 0..mallctl_read::<u32>(c"arenas.narenas").unwrap_or(0);
    arenas.filter(|&arena| segment_arena() != Some(arena)).max_by_key(|&arena| small_bytes(arena))
}

/// Bytes of small blocks in an arena.
fn small_bytes(arena: u32) -> usize {
    mallctl_read(&stats_control(arena, "small.allocated")).unwrap_or(0)
}

/// The slabs of one size of slots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slabs {
    pub slot_len: usize,
    /// Slots in each slab.
    pub slots_each: usize,
    /// Slabs, and those of them with free slots that are not being filled now.
    pub count: usize,
    pub partial: usize,
    /// Slabs that are being filled, at most: each arena has one, full or not.
    pub current: usize,
    /// Slots in use.
    pub used: usize,
}

impl Slabs {
    pub fn slots(&self) -> usize {
        self.count * self.slots_each
    }

    /// Bytes of free slots.
    pub fn free_bytes(&self) -> usize {
        self.slots().saturating_sub(self.used) * self.slot_len
    }
}

/// The slabs of every size, over all arenas, as of the last [`stats`].
pub fn slabs() -> Vec<Slabs> {
    let sizes = mallctl_read::<u32>(c"arenas.nbins").unwrap_or(0);
    let arenas = arenas_in_use();
    (0..sizes).map(|size| slabs_of(size, arenas)).collect()
}

/// Arenas from which threads allocate.
fn arenas_in_use() -> usize {
    let threads = |arena| mallctl_read::<u32>(&stats_control(arena, "nthreads")).unwrap_or(0);
    let arenas = mallctl_read::<u32>(c"arenas.narenas").unwrap_or(0);
    (0..arenas).filter(|&arena| threads(arena) > 0).count()
}

fn slabs_of(size: u32, arenas: usize) -> Slabs {
    let name = |text: String| CString::new(text).expect("neither a number nor a name has a NUL");
    let figure = |of: &str| {
        mallctl_read::<usize>(&stats_control(ALL_ARENAS, &format!("bins.{size}.{of}"))).unwrap_or(0)
    };
    let (count, partial) = (figure("curslabs"), figure("nonfull_slabs"));
    Slabs {
        slot_len: mallctl_read::<usize>(&name(format!("arenas.bin.{size}.size"))).unwrap_or(0),
        slots_each: mallctl_read::<u32>(&name(format!("arenas.bin.{size}.nregs"))).unwrap_or(0) as usize,
        count,
        partial,
        current: arenas.min(count.saturating_sub(partial)),
        used: figure("curregs"),
    }
}

/// How full the slab is in which a block lies, as jemalloc tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct SlabUse {
    /// Free slots.
    pub free: usize,
    /// All slots; 1 for a block in no slab.
    pub slots: usize,
    /// Bytes of all slots.
    pub len: usize,
}

impl SlabUse {
    /// Bytes of one slot; 0 if the block is not in a slab.
    pub fn slot_len(&self) -> usize {
        if self.slots > 1 { self.len / self.slots } else { 0 }
    }
}

/// Looks up the slabs of some blocks. Other threads may change meanwhile what the slabs hold.
///
/// # Safety
/// Each address must lie in a slab, or at the start of a block, of [`Jemalloc`] or of [`segment_alloc`].
/// The block is in use and stays so: what was freed may be gone. jemalloc looks up its own pages only.
pub unsafe fn slab_use(blocks: &[*const u8], slabs: &mut [SlabUse]) {
    assert_eq!(blocks.len(), slabs.len(), "one answer for each question");
    let Some(control) = BATCH_QUERY.get_or_init(|| control_of(c"experimental.utilization.batch_query"))
    else {
        return;
    };
    let mut len = size_of_val(slabs);
    // SAFETY: the control reads `blocks` as an array of addresses, which it only looks up, as the caller
    // promises that it can, and writes three numbers for each: a SlabUse. It checks both lengths.
    unsafe {
        jemalloc::mallctlbymib(
            control.as_ptr(),
            control.len(),
            slabs.as_mut_ptr().cast(),
            &mut len,
            blocks.as_ptr().cast_mut().cast(),
            size_of_val(blocks),
        );
    }
}

/// A control's number, by which it is found faster than by its name.
fn control_of<const PARTS: usize>(name: &CStr) -> Option<[usize; PARTS]> {
    let (mut control, mut len) = ([0; PARTS], PARTS);
    if cfg!(miri) {
        return None;
    }
    // SAFETY: `name` ends in NUL, and `len` says how many numbers there is room for.
    let status = unsafe { jemalloc::mallctlnametomib(name.as_ptr(), control.as_mut_ptr(), &mut len) };
    (status == 0 && len == PARTS).then_some(control)
}

/// jemalloc's long report, as MEMORY MALLOC-STATS shows it.
pub fn malloc_stats_text() -> String {
    // Room at the start, so that the report rarely changes what it reports on.
    let mut text = Vec::with_capacity(64 * 1024);
    if !cfg!(miri) {
        // SAFETY: `append_text` gets back the pointer to `text`, which lives through the call.
        unsafe { jemalloc::malloc_stats_print(Some(append_text), (&raw mut text).cast(), null()) };
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// Bounds the address space that the allocator reserves ahead in each arena that is in use: a process under a
/// limit of its address space can then fill it with data. An arena comes into use with a thread's first
/// allocation, so threads that keep data call it when they start.
pub fn limit_reserve(bytes: usize) {
    for arena in 0..mallctl_read::<u32>(c"arenas.narenas").unwrap_or(0) {
        let name = std::ffi::CString::new(format!("arena.{arena}.retain_grow_limit"));
        mallctl_write(&name.expect("digits and letters have no NUL"), bytes);
    }
}

/// A type that jemalloc's controls carry. Sealed: each is plain data of a fixed size, which jemalloc checks.
pub trait Control: Copy + Default + sealed::Sealed {}

/// Reads a control; `None` when there is none of this name and type.
pub fn mallctl_read<T: Control>(name: &CStr) -> Option<T> {
    let mut value = T::default();
    let mut len = size_of::<T>();
    if cfg!(miri) {
        return None;
    }
    // SAFETY: `name` ends in NUL; `value` has `len` bytes, and jemalloc refuses a read of any other length.
    let status =
        unsafe { jemalloc::mallctl(name.as_ptr(), (&raw mut value).cast(), &mut len, null_mut(), 0) };
    (status == 0).then_some(value)
}

/// Writes a control; false when there is none of this name and type, or the value is refused.
pub fn mallctl_write<T: Control>(name: &CStr, mut value: T) -> bool {
    // SAFETY: `name` ends in NUL; jemalloc reads `size_of::<T>()` bytes of `value`, or refuses another
    // length.
    !cfg!(miri)
        && unsafe {
            jemalloc::mallctl(name.as_ptr(), null_mut(), null_mut(), (&raw mut value).cast(), size_of::<T>())
        } == 0
}

/// Runs a control that neither takes nor gives a value.
pub fn mallctl_call(name: &CStr) -> bool {
    // SAFETY: `name` ends in NUL; null pointers say that nothing is read or written.
    !cfg!(miri) && unsafe { jemalloc::mallctl(name.as_ptr(), null_mut(), null_mut(), null_mut(), 0) } == 0
}

#[inline(always)]
fn alignment_flags(align: usize) -> c_int {
    if align > 8 { jemalloc::MALLOCX_ALIGN(align) } else { 0 }
}

struct Block {
    ptr: NonNull<u8>,
    len: usize,
}

// SAFETY: a pooled block belongs to nobody; whoever takes it out becomes its only owner.
unsafe impl Send for Block {}

/// Freed segments kept for the next split, newest last.
struct Pool {
    blocks: Vec<Block>,
}

impl Pool {
    fn take(&mut self, len: usize) -> Option<NonNull<u8>> {
        let found = self.blocks.iter().rposition(|block| block.len == len)?;
        Some(self.blocks.remove(found).ptr)
    }

    /// Keeps `block`; a full pool lets go of its oldest one.
    fn put(&mut self, block: Block) -> Option<Block> {
        let evicted = (self.blocks.len() >= POOL_COUNT).then(|| self.blocks.remove(0));
        self.blocks.push(block);
        evicted
    }
}

fn lock_pool() -> std::sync::MutexGuard<'static, Pool> {
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The segments' arena, made on first use; `None` (jemalloc then chooses) if it could not be made.
fn segment_arena() -> Option<u32> {
    *SEGMENT_ARENA.get_or_init(|| {
        let arena = mallctl_read::<u32>(c"arenas.create")?;
        mallctl_write(&arena_control(arena, "dirty_decay_ms"), 0isize);
        mallctl_write(&arena_control(arena, "muzzy_decay_ms"), 0isize);
        Some(arena)
    })
}

fn arena_control(arena: u32, control: &str) -> CString {
    CString::new(format!("arena.{arena}.{control}")).expect("neither a number nor a control's name has a NUL")
}

fn stats_control(arena: u32, control: &str) -> CString {
    CString::new(format!("stats.arenas.{arena}.{control}")).expect("neither a number nor a name has a NUL")
}

#[cfg(not(miri))]
fn segment_block_alloc(len: usize) -> NonNull<u8> {
    let arena = segment_arena().map_or(0, |arena| jemalloc::MALLOCX_ARENA(arena as usize));
    // SAFETY: `len` is above 0.
    let ptr = unsafe { jemalloc::mallocx(len, SEGMENT_FLAGS | jemalloc::MALLOCX_ZERO | arena) };
    NonNull::new(ptr.cast()).unwrap_or_else(|| handle_alloc_error(segment_layout(len)))
}

/// # Safety
/// `ptr` must come from `segment_block_alloc(len)` and not be used afterwards.
#[cfg(not(miri))]
unsafe fn segment_block_free(ptr: NonNull<u8>, len: usize) {
    // SAFETY: size and alignment are those of the allocation.
    unsafe { jemalloc::sdallocx(ptr.as_ptr().cast(), len, SEGMENT_FLAGS) }
}

#[cfg(miri)]
fn segment_block_alloc(len: usize) -> NonNull<u8> {
    // SAFETY: `len` is above 0.
    let ptr = unsafe { std::alloc::alloc_zeroed(segment_layout(len)) };
    NonNull::new(ptr).unwrap_or_else(|| handle_alloc_error(segment_layout(len)))
}

/// # Safety
/// `ptr` must come from `segment_block_alloc(len)` and not be used afterwards.
#[cfg(miri)]
unsafe fn segment_block_free(ptr: NonNull<u8>, len: usize) {
    // SAFETY: size and alignment are those of the allocation.
    unsafe { std::alloc::dealloc(ptr.as_ptr(), segment_layout(len)) }
}

fn segment_layout(len: usize) -> Layout {
    Layout::from_size_align(len, SEGMENT_ALIGN).expect("no segment comes near the address space's size")
}

unsafe extern "C" fn append_text(opaque: *mut c_void, message: *const c_char) {
    // SAFETY: `opaque` is the vector that `malloc_stats_text` passed, and jemalloc's messages end in NUL.
    let (text, message) = unsafe { (&mut *opaque.cast::<Vec<u8>>(), CStr::from_ptr(message)) };
    text.extend_from_slice(message.to_bytes());
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for bool {}
    impl Sealed for u32 {}
    impl Sealed for u64 {}
    impl Sealed for usize {}
    impl Sealed for isize {}
}

impl Control for bool {}
impl Control for u32 {}
impl Control for u64 {}
impl Control for usize {}
impl Control for isize {}

/// Segments are arrays of cache lines.
const SEGMENT_ALIGN: usize = 64;

/// No thread cache: a cached segment would be memory that neither the pool nor the system has.
#[cfg(not(miri))]
const SEGMENT_FLAGS: c_int = jemalloc::MALLOCX_ALIGN(SEGMENT_ALIGN) | jemalloc::MALLOCX_TCACHE_NONE;

/// Freed segments kept: enough for a burst of splits, half a megabyte at most for segments of 8 KB.
const POOL_COUNT: usize = 64;

/// jemalloc's name for every arena at once (MALLCTL_ARENAS_ALL).
const ALL_ARENAS: u32 = 4096;

/// The number of the control that tells how full slabs are.
static BATCH_QUERY: OnceLock<Option<[usize; 3]>> = OnceLock::new();
static POOL: Mutex<Pool> = Mutex::new(Pool { blocks: Vec::new() });
static SEGMENT_ARENA: OnceLock<Option<u32>> = OnceLock::new();
/// Bytes of all reserves.
static RESERVED: AtomicUsize = AtomicUsize::new(0);

#[cfg(test)]
mod tests;
