//! The allocator's figures against what was allocated.

use super::*;

#[cfg(not(miri))]
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn check_layout(size: usize, align: usize) {
    let layout = Layout::from_size_align(size, align).expect("a valid layout");
    let bigger = Layout::from_size_align(size * 3, align).expect("a valid layout");
    // SAFETY: sizes are above 0; each block is freed once with the layout it has by then.
    unsafe {
        let ptr = std::alloc::alloc(layout);
        let zeroed = std::alloc::alloc_zeroed(layout);
        assert!(ptr.addr().is_multiple_of(align) && zeroed.addr().is_multiple_of(align), "{layout:?}");
        assert!(std::slice::from_raw_parts(zeroed, size).iter().all(|&byte| byte == 0), "{layout:?}");
        ptr.write_bytes(0xA5, size);
        let grown = std::alloc::realloc(ptr, layout, size * 3);
        assert!(grown.addr().is_multiple_of(align), "{layout:?}");
        assert!(std::slice::from_raw_parts(grown, size).iter().all(|&byte| byte == 0xA5), "{layout:?}");
        std::alloc::dealloc(grown, bigger);
        std::alloc::dealloc(zeroed, layout);
    }
}

#[test]
fn alignment_holds_for_every_size() {
    for size in (1..=400).chain([1000, 4096, 20_000, 100_000]) {
        for align in [1, 2, 4, 8, 16, 32, 64, 128, 4096] {
            check_layout(size, align);
        }
    }
}

#[test]
#[cfg(not(miri))]
fn classes_are_eight_bytes_apart_and_eight_to_a_doubling() {
    for (len, class) in [
        (1, 8),
        (8, 8),
        (9, 16),
        (17, 24),
        (33, 40),
        (49, 56),
        (64, 64),
        (65, 72),
        (121, 128),
        (129, 144),
        (161, 176),
        (193, 208),
        (257, 288),
        (4097, 4608),
        (14_337, 15_360),
        (65_537, 73_728),
    ] {
        assert_eq!(size_class(len), class, "{len}");
        let block = vec![0u8; len].into_boxed_slice();
        let ptr = NonNull::from(&block[0]);
        // SAFETY: `block` is alive and came from the global allocator, which is Jemalloc here.
        assert_eq!(unsafe { usable_size(ptr) }, class, "{len}");
    }
}

#[test]
fn segments_come_zeroed_and_aligned_again_and_again() {
    for len in [4096, 5120, 6144, 7168, 8192, 64, 65_536] {
        for _ in 0..3 {
            let blocks: Vec<_> = (0..POOL_COUNT + 8).map(|_| segment_alloc(len)).collect();
            for ptr in blocks {
                // SAFETY: the block is ours until it is freed, and `len` bytes long.
                unsafe {
                    assert!(std::slice::from_raw_parts(ptr.as_ptr(), len).iter().all(|&byte| byte == 0));
                    ptr.write_bytes(0xFF, len);
                    segment_free(ptr, len);
                }
            }
        }
    }
    assert!(lock_pool().blocks.len() <= POOL_COUNT);
    segment_pool_clear();
}

#[test]
#[cfg(not(miri))]
fn what_is_reserved_counts_when_it_is_used() {
    const LEN: usize = 64 << 20;
    let before = thread_balance();
    let (block, mut reserve) = (Vec::<u8>::with_capacity(LEN), Reserve::default());
    reserve.set(LEN);
    assert_eq!((thread_balance() - before, reserve.bytes()), (0, LEN));
    reserve.set(LEN / 4);
    assert_eq!(thread_balance() - before, (LEN - LEN / 4) as i64);
    drop(reserve);
    assert_eq!(thread_balance() - before, LEN as i64);
    drop(block);
    assert_eq!(thread_balance(), before);
}

#[test]
#[cfg(not(miri))]
fn who_joins_an_arena_fills_its_slabs() {
    const COUNT: usize = 200_000;
    let fill = || (0..COUNT).map(|_| Box::new([1u64; 16])).collect::<Vec<_>>();
    let held = std::thread::spawn(fill).join().expect("memory for it");
    let grown = std::thread::spawn(move || {
        assert!(thread_cache_off());
        stats();
        let arena = fullest_arena().expect("there is one");
        let before = small_bytes(arena);
        assert!(join_arena(arena));
        let more = fill();
        stats();
        let grown = small_bytes(arena).saturating_sub(before);
        drop(more);
        grown
    });
    let grown = grown.join().expect("memory for it");
    assert!(grown >= size_of_val(&*held[0]) * held.len() / 2, "{grown} bytes more");
}

#[test]
#[cfg(not(miri))]
fn who_does_without_a_cache_has_it_again() {
    let state = || (mallctl_read::<bool>(c"thread.tcache.enabled"), mallctl_read::<u32>(c"thread.arena"));
    let states = std::thread::spawn(move || {
        let before = state();
        let other = u32::from(before.1 == Some(0));
        let off = CacheOff::begin(Some(other));
        let meanwhile = state();
        drop(off);
        (before, meanwhile == (Some(false), Some(other)), state())
    });
    let (before, is_off, after) = states.join().expect("the thread ends");
    assert!(before.0 == Some(true) && is_off && after == before, "{before:?}, then {after:?}");
}

#[test]
#[cfg(not(miri))]
fn controls_answer() {
    let held = vec![1u8; 10_000_000];
    let figures = stats();
    assert!(figures.allocated >= held.len() && figures.active >= figures.allocated, "{figures:?}");
    assert!(figures.mapped >= figures.active && figures.metadata > 0, "{figures:?}");
    assert!(purge() && purge_due());
    assert!(arena_dirty_decay(1000));
    assert_eq!(mallctl_read::<isize>(c"arenas.dirty_decay_ms"), Some(1000));
    assert_eq!(mallctl_read::<usize>(c"arenas.quantum"), Some(8));
    assert_eq!(mallctl_read::<usize>(c"no.such.control"), None);
    assert!(!mallctl_write(c"epoch", true), "a wrong type is refused");
    assert!(malloc_stats_text().contains("jemalloc statistics"));
    prefetch(null::<u8>());
    prefetch(held.as_ptr());
}
