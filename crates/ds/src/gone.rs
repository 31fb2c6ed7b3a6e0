//! Parts that have been taken out of a value and that some of its snapshots have not saved: as they are, in
//! place of copies, so that a command may take out any number of them while there is no room for copies. It
//! does not know what the parts are.

use std::ops::ControlFlow;

use base::limits::SNAPSHOTS_MOST;

/// The numbers of those who still need a part; 0 stands for nobody.
pub(crate) type Wanters = [u32; SNAPSHOTS_MOST];

pub(crate) struct Gone<T>(Vec<Heap<T>>);

/// Parts that the same snapshots need. Never empty.
struct Heap<T> {
    wanters: Wanters,
    chunks: Chunks<T>,
}

/// None is empty, and none has more than [`CHUNK_PARTS`].
pub(crate) type Chunks<T> = Vec<Vec<T>>;

impl<T> Default for Gone<T> {
    fn default() -> Self {
        Gone(Vec::new())
    }
}

const NOBODY: Wanters = [0; SNAPSHOTS_MOST];

fn without(wanters: Wanters, number: u32) -> Wanters {
    wanters.map(|wanter| if wanter == number { 0 } else { wanter })
}

/// Of so many snapshots at most.
pub(crate) fn wanters(numbers: impl Iterator<Item = u32>) -> Wanters {
    let mut wanters = Wanters::default();
    wanters.iter_mut().zip(numbers).for_each(|(wanter, number)| *wanter = number);
    wanters
}

impl<T> Gone<T> {
    /// Keeps a part until all of these have it; drops it at once if there is none.
    pub fn put(&mut self, wanters: Wanters, part: T) {
        if wanters == NOBODY {
            return;
        }
        let chunks = self.chunks_for(wanters);
        if chunks.last().is_none_or(|chunk| chunk.len() == CHUNK_PARTS) {
            chunks.push(Vec::with_capacity(CHUNK_PARTS));
        }
        chunks.last_mut().expect("one was pushed").push(part);
    }

    /// Shows some parts to a snapshot that needs them, until it has enough; false if there are none.
    pub fn save_on(&mut self, number: u32, mut save: impl FnMut(&T) -> ControlFlow<()>) -> bool {
        for _ in 0..PARTS_AT_ONCE {
            let Some((others, part)) = self.take(number) else { return false };
            let enough = save(&part).is_break();
            self.put(others, part);
            if enough {
                break;
            }
        }
        true
    }

    /// The snapshot needs nothing any more; what nobody else does is handed back, to be freed.
    #[must_use]
    pub fn forget(&mut self, number: u32) -> Chunks<T> {
        let mut rest = Vec::new();
        for Heap { wanters, chunks } in std::mem::take(&mut self.0) {
            match without(wanters, number) {
                NOBODY => rest.extend(chunks),
                others => self.chunks_for(others).extend(chunks),
            }
        }
        rest
    }

    fn chunks_for(&mut self, wanters: Wanters) -> &mut Chunks<T> {
        let at = self.0.iter().position(|heap| heap.wanters == wanters).unwrap_or_else(|| {
            self.0.push(Heap { wanters, chunks: Vec::new() });
            self.0.len() - 1
        });
        &mut self.0[at].chunks
    }

    /// A part that this one needs, and who else does.
    fn take(&mut self, number: u32) -> Option<(Wanters, T)> {
        let at = self.0.iter().position(|heap| heap.wanters.contains(&number))?;
        let Heap { wanters, chunks } = &mut self.0[at];
        let others = without(*wanters, number);
        let chunk = chunks.last_mut().expect("a heap is never empty");
        let part = chunk.pop().expect("a chunk is never empty");
        if chunk.is_empty() {
            chunks.pop();
        }
        if chunks.is_empty() {
            self.0.swap_remove(at);
        }
        Some((others, part))
    }
}

/// Parts behind one pointer: with small ones it adds little to theirs.
const CHUNK_PARTS: usize = 512;

/// Parts shown in one go, at most: as many as a walk looks at.
const PARTS_AT_ONCE: usize = 256;
