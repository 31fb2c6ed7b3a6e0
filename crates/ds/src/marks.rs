//! Which slots of a segment the running snapshots have already saved.
//!
//! A snapshot has a lane of its table while it runs. Marks belong to a lane and a snapshot number and count
//! as absent under any other number, so that a snapshot begins and ends without a pass over the segments. It
//! never decides what is saved or when.

use base::alloc::prefetch;
use base::limits::{SNAPSHOTS, SNAPSHOTS_MOST as LANES};

/// Words of a cache line.
const LINE_WORDS: usize = 8;

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

/// The numbers of the snapshots that run over one table, by lane; 0 in a free one.
#[derive(Default)]
pub(crate) struct Running(Option<Box<[u32; LANES]>>);

/// A running snapshot, and where its marks are.
#[derive(Clone, Copy)]
pub(crate) struct Lane {
    index: usize,
    number: u32,
}

impl Running {
    pub const fn none() -> Running {
        Running(None)
    }

    #[inline]
    pub fn any(&self) -> bool {
        SNAPSHOTS && self.0.is_some()
    }

    pub fn begin(&mut self, number: u32) {
        assert!(number != 0 && self.lane(number).is_none(), "snapshot numbers are not used twice");
        let numbers = self.0.get_or_insert_default();
        let free = numbers.iter_mut().find(|number| **number == 0);
        *free.expect("whoever begins snapshots keeps to their bound") = number;
    }

    pub fn end(&mut self, number: u32) {
        let Some(numbers) = &mut self.0 else { return };
        numbers.iter_mut().filter(|own| **own == number).for_each(|own| *own = 0);
        if numbers.iter().all(|own| *own == 0) {
            self.0 = None;
        }
    }

    pub fn lane(&self, number: u32) -> Option<Lane> {
        self.lanes().find(|lane| lane.number == number)
    }

    pub fn lanes(&self) -> impl Iterator<Item = Lane> {
        let numbers = self.0.iter().flat_map(|numbers| numbers.iter().enumerate());
        numbers.filter(|(_, number)| **number != 0).map(|(index, &number)| Lane { index, number })
    }
}

/// The done bits of one segment. Those of the first lane are at hand; the others' are made when a snapshot
/// runs in them.
#[derive(Default)]
pub(crate) struct Marks {
    first: Mark,
    others: Option<Box<[Mark; LANES - 1]>>,
}

/// The done bits of one segment, for one snapshot.
#[derive(Default)]
struct Mark {
    bits: Option<Box<Bits>>,
    snapshot: u32,
    complete: bool,
}

impl Marks {
    pub fn is_done(&self, lane: Lane, index: u16) -> bool {
        let is_set = |mark: &Mark| mark.complete || mark.bits.as_ref().is_some_and(|bits| bits.test(index));
        self.of(lane).is_some_and(is_set)
    }

    /// Whether every slot is done, those filled later too.
    pub fn is_complete(&self, lane: Lane) -> bool {
        self.of(lane).is_some_and(|mark| mark.complete)
    }

    /// Every slot is done. What snapshots left behind that do not run any more is dropped.
    pub fn complete(&mut self, lane: Lane, running: &Running) {
        self.forget_ended(running);
        *self.of_mut(lane) = Mark { bits: None, snapshot: lane.number, complete: true };
    }

    pub fn mark(&mut self, lane: Lane, index: u16) {
        let mark = self.of_mut(lane);
        if !mark.complete {
            mark.bits.get_or_insert_default().set(index);
        }
    }

    /// The slot has become empty.
    pub fn clear(&mut self, index: u16) {
        self.all_bits().for_each(|bits| bits.clear(index));
    }

    /// The item of slot `from` has moved to the empty slot `to`.
    pub fn shift(&mut self, from: u16, to: u16) {
        for bits in self.all_bits() {
            if bits.test(from) {
                bits.set(to);
            } else {
                bits.clear(to);
            }
            bits.clear(from);
        }
    }

    /// The done bits of one line of slots.
    pub fn line(&self, lane: Lane, line: usize) -> u8 {
        match self.of(lane) {
            Some(Mark { complete: true, .. }) => 0xff,
            Some(Mark { bits: Some(bits), .. }) => bits.line(line),
            _ => 0,
        }
    }

    /// Fetches the bits.
    pub fn prefetch(&self) {
        for bits in self.all().filter_map(|mark| mark.bits.as_deref()) {
            bits.0.chunks(LINE_WORDS).for_each(|line| prefetch(line.as_ptr()));
        }
    }

    /// Bytes on the heap.
    pub fn memory(&self) -> usize {
        let bits = self.all().filter(|mark| mark.bits.is_some()).count() * size_of::<Bits>();
        bits + self.others.as_ref().map_or(0, |others| size_of_val(&**others))
    }

    /// The marks of a lane's snapshot, if it has any here.
    fn of(&self, lane: Lane) -> Option<&Mark> {
        let mark = match lane.index.checked_sub(1) {
            None => &self.first,
            Some(other) => &self.others.as_ref()?[other],
        };
        (mark.snapshot == lane.number).then_some(mark)
    }

    /// As `of`; drops what an earlier snapshot left behind.
    fn of_mut(&mut self, lane: Lane) -> &mut Mark {
        let mark = match lane.index.checked_sub(1) {
            None => &mut self.first,
            Some(other) => &mut self.others.get_or_insert_default()[other],
        };
        if mark.snapshot != lane.number {
            *mark = Mark { snapshot: lane.number, ..Mark::default() };
        }
        mark
    }

    fn forget_ended(&mut self, running: &Running) {
        let is_over = |mark: &Mark| running.lanes().all(|lane| lane.number != mark.snapshot);
        let marks = self.others.iter_mut().flat_map(|others| others.iter_mut());
        marks.chain([&mut self.first]).filter(|mark| is_over(mark)).for_each(|mark| *mark = Mark::default());
        self.others.take_if(|others| others.iter().all(is_over));
    }

    fn all(&self) -> impl Iterator<Item = &Mark> {
        [&self.first].into_iter().chain(self.others.iter().flat_map(|others| others.iter()))
    }

    fn all_bits(&mut self) -> impl Iterator<Item = &mut Bits> {
        let others = self.others.iter_mut().flat_map(|others| others.iter_mut());
        [&mut self.first].into_iter().chain(others).filter_map(|mark| mark.bits.as_deref_mut())
    }
}
