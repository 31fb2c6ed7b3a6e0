//! A value that grows leaves few holes behind: what it outgrows is used again by what grows next.
#![cfg(not(miri))]

use base::alloc;
use ds::sorted_set::ScoredTable;

#[global_allocator]
static ALLOCATOR: alloc::Jemalloc = alloc::Jemalloc;

/// Scores that fall between those before them as evenly as can be: leaves split all at once, if they are cut
/// all alike.
#[test]
fn leaves_of_a_sorted_set_that_grows_evenly_do_not_all_grow_at_once() {
    const COUNT: u64 = 1_000_000;
    assert!(alloc::thread_cache_off());
    let (mut set, mut most) = (ScoredTable::default(), 0.0_f64);
    for item in 0..COUNT {
        set.set(format!("f{item:011}").as_bytes(), (item * 381_966 % 1_000_003) as f64);
        if item >= COUNT / 2 && item % 2000 == 0 {
            alloc::stats();
            let leaves = alloc::slabs().into_iter().filter(|size| (512..=1024).contains(&size.slot_len));
            let free = leaves.map(|size| size.free_bytes()).sum::<usize>();
            most = most.max(free as f64 / set.memory() as f64);
        }
    }
    assert!(most < 0.03, "at one moment {most:.3} of the set's memory were free slots of leaves");
}
