//! Recalling the free blocks that threads keep for their next allocations: one of them is enough to hold a
//! slab. Who wants slabs empty asks; each thread that looks gives back its own. It waits for nobody.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::alloc;

/// Asks the threads that look for it to give back the free blocks that they keep.
pub fn recall_caches() {
    RECALLS.fetch_add(1, Ordering::Relaxed);
}

/// The last recall that a thread has heard of.
#[derive(Default, Debug)]
pub struct HeardRecall(usize);

impl HeardRecall {
    /// Gives back what this thread keeps if that was asked for since the last time.
    pub fn heed(&mut self) {
        let recalls = RECALLS.load(Ordering::Relaxed);
        if std::mem::replace(&mut self.0, recalls) != recalls {
            alloc::flush_thread_cache();
        }
    }
}

/// How often caches have been recalled.
static RECALLS: AtomicUsize = AtomicUsize::new(0);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(not(miri))]
    #[allow(unsafe_code)]
    fn what_is_recalled_goes_back_to_its_slab() {
        let mut heard = HeardRecall::default();
        heard.heed();
        // Of a size that nobody else uses. One of them stays: a slab that is empty may be gone.
        let mut blocks: Vec<Box<[u8; 7000]>> = (0..16).map(|_| Box::new([1; 7000])).collect();
        blocks.truncate(1);
        let unused = || {
            let mut slab = [alloc::SlabUse::default()];
            // SAFETY: the block is in use, and the tests' global allocator is jemalloc.
            unsafe { alloc::slab_use(&[blocks[0].as_ptr()], &mut slab) };
            (slab[0].free, slab[0].slots)
        };
        let (kept, slots) = unused();
        heard.heed();
        assert_eq!(unused(), (kept, slots), "nobody has asked");
        recall_caches();
        heard.heed();
        assert_eq!(unused(), (slots - 1, slots));
        assert!(kept < slots - 1);
    }
}
