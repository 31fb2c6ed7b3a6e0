//! Which slots of a segment a snapshot has already saved.
//!
//! Marks belong to one snapshot number and count as absent under any other, so that a snapshot begins and
//! ends without a pass over the segments. It never decides what is saved or when.

/// One bit per slot of a segment of the largest size.
#[derive(Clone, Default)]
pub(crate) struct Bits([u64; 16]);

impl Bits {
    pub fn set(&mut self, index: u16) {
        self.0[usize::from(index / 64)] |= 1 << (index % 64);
    }

    pub fn clear(&mut self, index: u16) {
        self.0[usize::from(index / 64)] &= !(1 << (index % 64));
    }

    pub fn test(&self, index: u16) -> bool {
        self.0[usize::from(index / 64)] >> (index % 64) & 1 == 1
    }

    /// The eight bits of one line of slots.
    pub fn line(&self, line: usize) -> u8 {
        self.0[line / 8].to_le_bytes()[line % 8]
    }
}

/// The done bits of one segment, for one snapshot.
#[derive(Default)]
pub(crate) struct Marks {
    bits: Option<Box<Bits>>,
    snapshot: u32,
    complete: bool,
}

impl Marks {
    /// Marks of snapshot `snapshot` with nothing done, or everything.
    pub fn new(snapshot: u32, complete: bool) -> Self {
        Marks { bits: None, snapshot, complete }
    }

    pub fn is_done(&self, snapshot: u32, index: u16) -> bool {
        self.snapshot == snapshot
            && (self.complete || self.bits.as_ref().is_some_and(|bits| bits.test(index)))
    }

    /// Whether every slot is done, those filled later too.
    pub fn is_complete(&self, snapshot: u32) -> bool {
        self.snapshot == snapshot && self.complete
    }

    pub fn complete(&mut self, snapshot: u32) {
        *self = Marks::new(snapshot, true);
    }

    pub fn mark(&mut self, snapshot: u32, index: u16) {
        self.adopt(snapshot);
        if !self.complete {
            self.bits.get_or_insert_default().set(index);
        }
    }

    /// The slot has become empty.
    pub fn clear(&mut self, index: u16) {
        if let Some(bits) = &mut self.bits {
            bits.clear(index);
        }
    }

    /// The item of slot `from` has moved to the empty slot `to`.
    pub fn shift(&mut self, from: u16, to: u16) {
        let Some(bits) = &mut self.bits else { return };
        if bits.test(from) {
            bits.set(to);
        } else {
            bits.clear(to);
        }
        bits.clear(from);
    }

    /// The done bits of one line of slots.
    pub fn line(&self, snapshot: u32, line: usize) -> u8 {
        match &self.bits {
            _ if self.snapshot != snapshot => 0,
            _ if self.complete => 0xff,
            Some(bits) => bits.line(line),
            None => 0,
        }
    }

    /// Bytes on the heap.
    pub fn memory(&self) -> usize {
        if self.bits.is_some() { size_of::<Bits>() } else { 0 }
    }

    /// Drops what an earlier snapshot left behind.
    fn adopt(&mut self, snapshot: u32) {
        if self.snapshot != snapshot {
            *self = Marks::new(snapshot, false);
        }
    }
}
