//! How far a stream is saved that is saved in pieces: its nodes, then its groups. Several may save it at
//! once. It never changes what it saves.
//!
//! Each group and each consumer gets its place in the file when it is first come to, by the walk or by who
//! changes it. Pending entries are saved by chunks of their maps, in any order within their place: readers do
//! not mind. A chunk's mark tells whether it was changed, and so saved before, since a saving began.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use crate::gone::{Chunks, Gone, wanters};
use crate::saving::{GroupPart, Piece, Saver, Saving, Savings};
use crate::stream::group::{Consumer, ConsumerId, Group, ID_LEN, Kept, TIME_LEN};
use crate::stream::id::StreamId;
use crate::stream::node::Node;
use crate::stream::sorted::ChunkRef;
use crate::stream::{Form, Groups, LeftGroup, rdb_number_len};

/// All who are saving a stream.
#[derive(Default)]
pub(super) struct StreamSavings {
    savings: Savings<Progress>,
    /// How many were ever begun.
    begun: u32,
    /// Nodes that were taken out, with their master ids.
    gone: Gone<(StreamId, Node)>,
}

/// Nodes that were taken out, with their master ids.
type GoneNodes = Chunks<(StreamId, Node)>;

/// How far one of them has come.
pub(super) struct Progress {
    /// How many had been begun with it.
    pub begun: u32,
    form: Form,
    /// Nodes before are saved; `None`: all are.
    pub next_node: Option<StreamId>,
    /// Nodes behind came later.
    pub last_node: StreamId,
    /// Where the next group goes among the bytes of all.
    next_at: u64,
    /// Groups with names before are saved.
    next_group: Box<[u8]>,
    /// And so many of those that were removed.
    left_done: usize,
    /// Groups that are begun and not wholly saved, by their numbers.
    places: BTreeMap<u32, Place>,
}

/// Where the parts of one saving go.
struct Out<'a> {
    saver: &'a mut dyn Saver,
    begun: u32,
    form: Form,
}

/// A group that is begun.
struct Place {
    walk: Walk,
    /// Where the next pending entries go, the number of consumers, the next of them, the next ids of those
    /// that are begun, and the ids of entries given back.
    pending_at: u64,
    count_at: u64,
    consumers_at: u64,
    ids_at: BTreeMap<ConsumerId, u64>,
    returned_at: u64,
    consumer_count: usize,
    returned_len: usize,
    /// Chunks of entries given back that have changed: by the turn of the first, how many they were.
    returned: BTreeMap<i64, usize>,
}

/// What of a group the walk has saved.
enum Walk {
    /// Pending entries with ids below.
    Pending(StreamId),
    /// Consumers with names before, and of this one ids below.
    Consumers(Box<[u8]>, StreamId),
    /// Entries that were given back with turns below.
    Returned(i64),
    All,
}

impl Progress {
    /// Whether a node is still to be saved.
    pub fn needs(&self, master: StreamId, node: &Node) -> bool {
        self.next_node.is_some_and(|next| master >= next) && node.saved_for < self.begun
    }
}

impl StreamSavings {
    #[inline]
    pub fn any(&self) -> bool {
        self.savings.any()
    }

    /// For what changes or comes in now: all savings that go on have got what was before; 0 if none does.
    #[inline]
    pub fn mark(&self) -> u32 {
        if self.any() { self.begun } else { 0 }
    }

    /// `left`: how many groups are there that were removed before.
    pub fn begin(
        &mut self,
        number: u32,
        saver: Box<dyn Saver>,
        form: Form,
        last_node: StreamId,
        left: usize,
    ) {
        self.begun += 1;
        let progress = Progress {
            begun: self.begun,
            form,
            next_node: Some(StreamId::MIN),
            last_node,
            next_at: 0,
            next_group: Box::default(),
            left_done: left,
            places: BTreeMap::new(),
        };
        self.savings.begin(number, saver, progress);
    }

    /// Also hands back what was kept for this one alone.
    pub fn end(&mut self, number: u32) -> Option<(Box<dyn Saver>, GoneNodes)> {
        let kept = self.gone.forget(number);
        Some((self.savings.end(number)?, kept))
    }

    /// Whether nodes that are taken out are to be handed over as they are.
    #[inline]
    pub fn lack_room(&self) -> bool {
        self.any() && self.savings.lack_room()
    }

    /// Takes over a node that is out of the stream.
    pub fn take_node(&mut self, master: StreamId, node: Node) {
        let needed = self.savings.iter().filter(|saving| saving.progress.needs(master, &node));
        self.gone.put(wanters(needed.map(|saving| saving.number)), (master, node));
    }

    /// Saves nodes that are out of the stream; false if there are none.
    pub fn save_gone(&mut self, number: u32) -> bool {
        let Some(Saving { saver, .. }) = self.savings.get_mut(number) else { return false };
        self.gone.save_on(number, |(master, node)| {
            saver.save(Piece::StreamNode { master: *master, node: node.bytes() })
        })
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Saving<Progress>> {
        self.savings.iter_mut()
    }

    pub fn get_mut(&mut self, number: u32) -> Option<&mut Saving<Progress>> {
        self.savings.get_mut(number)
    }

    pub fn saver(&self, number: u32) -> Option<&dyn Saver> {
        self.savings.saver(number)
    }

    /// A group is about to change, or to go: begins it where that is not done. False if nobody needs it any
    /// more.
    pub fn open(&mut self, name: &[u8], group: &Group) -> bool {
        let mut needed = false;
        for saving in self.iter_mut() {
            needed |= open(saving, name, group);
        }
        needed
    }

    /// The chunk where a pending entry is, or is put, is about to change; here and below the group is open.
    pub fn keep_pending(&mut self, group: &Group, id: StreamId) {
        self.each_place(group, |place, out| place.keep_pending(out, group, id));
    }

    /// What is said of a consumer, but not its ids.
    pub fn keep_consumer(&mut self, group: &Group, id: ConsumerId) {
        self.each_place(group, |place, out| place.keep_consumer(out, id, group.consumer(id)));
    }

    /// Where a pending entry is listed, or is put: with its owner, or with its turn among those given back.
    pub fn keep_listed(&mut self, group: &Group, id: StreamId, (owner, turn): (Option<ConsumerId>, i64)) {
        self.each_place(group, |place, out| match owner {
            Some(owner) => place.keep_owned(out, group, owner, id),
            None => place.keep_returned(out, group, turn),
        });
    }

    /// A consumer without entries is removed.
    pub fn forget_consumer(&mut self, group: &Group, id: ConsumerId) {
        self.each_place(group, |place, _| {
            place.ids_at.remove(&id);
        });
    }

    fn each_place(&mut self, group: &Group, mut keep: impl FnMut(&mut Place, &mut Out<'_>)) {
        for saving in self.iter_mut() {
            let (progress, mut out) = split(saving);
            if let Some(place) = progress.places.get_mut(&group.number) {
                keep(place, &mut out);
            }
        }
    }
}

/// Begins a group for one saving, if that is not done; false if it is saved, or came later.
fn open(saving: &mut Saving<Progress>, name: &[u8], group: &Group) -> bool {
    let (progress, mut out) = split(saving);
    if group.born >= progress.begun || name < &*progress.next_group {
        return false;
    }
    progress.places.entry(group.number).or_insert_with(|| {
        let place = Place::open(&mut out, progress.next_at, name, group);
        progress.next_at += group.rdb_len(name.len(), progress.form);
        place
    });
    true
}

/// Saves some parts of groups; false if none is left.
pub(super) fn save_groups(saving: &mut Saving<Progress>, groups: &Groups, left: &[LeftGroup]) -> bool {
    for _ in 0..PARTS_AT_ONCE {
        let from = (Bound::Included(&*saving.progress.next_group), Bound::Unbounded);
        let step = if let Some((name, group)) = groups.range::<[u8], _>(from).next() {
            let step = if open(saving, name, group) { step(saving, group) } else { None };
            if step.is_none() {
                saving.progress.next_group = behind(name);
            }
            step
        } else if let Some((_, group)) = left.get(saving.progress.left_done) {
            let step = step(saving, group);
            saving.progress.left_done += usize::from(step.is_none());
            step
        } else {
            return false;
        };
        if step.is_some_and(|step| step.is_break()) {
            break;
        }
    }
    true
}

/// Saves a part of a group that is begun; `None` if none is left.
fn step(saving: &mut Saving<Progress>, group: &Group) -> Option<ControlFlow<()>> {
    let (progress, mut out) = split(saving);
    let step = progress.places.get_mut(&group.number)?.step(&mut out, group);
    if step.is_none() {
        progress.places.remove(&group.number);
    }
    step
}

fn split(saving: &mut Saving<Progress>) -> (&mut Progress, Out<'_>) {
    let Saving { saver, progress, .. } = saving;
    let out = Out { saver: &mut **saver, begun: progress.begun, form: progress.form };
    (progress, out)
}

impl Out<'_> {
    /// Saves a part whose place begins at `at`, which goes on behind it.
    fn put(&mut self, at: &mut u64, len: u64, part: GroupPart<'_>) -> ControlFlow<()> {
        let piece = Piece::OfGroup { at: *at, part };
        *at += len;
        self.saver.save(piece)
    }

    fn put_count(&mut self, mut at: u64, count: usize) -> ControlFlow<()> {
        self.put(&mut at, rdb_number_len(count as u64), GroupPart::Count(count as u64))
    }

    fn put_ids(&mut self, at: &mut u64, chunk: &ChunkRef<'_, StreamId, ()>) -> ControlFlow<()> {
        let mut ids = chunk.entries.iter().map(|(id, ())| *id);
        self.put(at, chunk.entries.len() as u64 * ID_LEN, GroupPart::Ids(&mut ids))
    }

    /// Whether a chunk is as it was at the beginning.
    fn is_unchanged<K, V>(&self, chunk: &ChunkRef<'_, K, V>) -> bool {
        chunk.mark < self.begun
    }
}

impl Place {
    fn open(out: &mut Out<'_>, mut at: u64, name: &[u8], group: &Group) -> Place {
        // A writer saves what it has to.
        let _ = out.put(&mut at, group.head_len(name.len()), GroupPart::Head { name, group });
        let (consumer_count, returned_len) = (group.consumer_count(), group.returned_len());
        let count_at = at + group.pending_rdb_len();
        let consumers_at = count_at + rdb_number_len(consumer_count as u64);
        let returned_at =
            consumers_at + group.consumers_rdb_len(out.form) + rdb_number_len(returned_len as u64);
        Place {
            walk: Walk::Pending(StreamId::MIN),
            pending_at: at,
            count_at,
            consumers_at,
            ids_at: BTreeMap::new(),
            returned_at,
            consumer_count,
            returned_len,
            returned: BTreeMap::new(),
        }
    }

    /// Goes on with the walk; `None` if it is at its end.
    fn step(&mut self, out: &mut Out<'_>, group: &Group) -> Option<ControlFlow<()>> {
        match std::mem::replace(&mut self.walk, Walk::All) {
            Walk::Pending(from) => Some(self.step_pending(out, group, from)),
            Walk::Consumers(name, from) => Some(self.step_consumers(out, group, &name, from)),
            Walk::Returned(from) => Some(self.step_returned(out, group, from)),
            Walk::All => None,
        }
    }

    fn step_pending(&mut self, out: &mut Out<'_>, group: &Group, from: StreamId) -> ControlFlow<()> {
        let chunk = group.pending.chunk_from(&from);
        let next = chunk.as_ref().and_then(|chunk| chunk.last().next());
        let saved = match chunk.filter(|chunk| out.is_unchanged(chunk)) {
            Some(chunk) => self.put_pending(out, &chunk),
            None => ControlFlow::Continue(()),
        };
        self.walk = match next {
            Some(next) => Walk::Pending(next),
            None => {
                let _ = out.put_count(self.count_at, self.consumer_count);
                Walk::Consumers(Box::default(), StreamId::MIN)
            }
        };
        saved
    }

    fn step_consumers(
        &mut self,
        out: &mut Out<'_>,
        group: &Group,
        name: &[u8],
        from: StreamId,
    ) -> ControlFlow<()> {
        let Some((found, id)) = group.consumer_from(name) else {
            self.walk = Walk::Returned(i64::MIN);
            if out.form == Form::Returned {
                let at = self.returned_at - rdb_number_len(self.returned_len as u64);
                return out.put_count(at, self.returned_len);
            }
            return ControlFlow::Continue(());
        };
        let consumer = group.consumer(id);
        let from = if found == name { from } else { StreamId::MIN };
        let chunk = consumer.pending.chunk_from(&from).filter(|_| consumer.born < out.begun);
        let next = chunk.as_ref().and_then(|chunk| chunk.last().next());
        let mut saved = ControlFlow::Continue(());
        if consumer.born < out.begun {
            let at = self.begin_consumer(out, id, consumer);
            if let Some(chunk) = chunk.filter(|chunk| out.is_unchanged(chunk)) {
                saved = out.put_ids(at, &chunk);
            }
        }
        self.walk = match next {
            Some(next) => Walk::Consumers(found.into(), next),
            None => {
                self.ids_at.remove(&id);
                Walk::Consumers(behind(found), StreamId::MIN)
            }
        };
        saved
    }

    fn step_returned(&mut self, out: &mut Out<'_>, group: &Group, from: i64) -> ControlFlow<()> {
        let Some(chunk) = group.returned.chunk_from(&from) else { return ControlFlow::Continue(()) };
        let saved = match out.is_unchanged(&chunk) {
            true => self.put_returned(out, group, &chunk),
            false => ControlFlow::Continue(()),
        };
        self.walk = chunk.last().checked_add(1).map_or(Walk::All, Walk::Returned);
        saved
    }

    fn put_pending(&mut self, out: &mut Out<'_>, chunk: &ChunkRef<'_, StreamId, Kept>) -> ControlFlow<()> {
        let counts = chunk.entries.iter().map(|(_, kept)| rdb_number_len(kept.deliveries)).sum::<u64>();
        let len = chunk.entries.len() as u64 * (ID_LEN + TIME_LEN) + counts;
        let mut entries = chunk.entries.iter().map(|(id, kept)| (*id, kept.shown()));
        out.put(&mut self.pending_at, len, GroupPart::Pending(&mut entries))
    }

    /// Entries given back are saved in their order.
    fn put_returned(
        &self,
        out: &mut Out<'_>,
        group: &Group,
        chunk: &ChunkRef<'_, i64, StreamId>,
    ) -> ControlFlow<()> {
        let first = chunk.first();
        let before = group.returned.chunks().take_while(|chunk| chunk.first() < first);
        let unchanged = before.filter(|chunk| out.is_unchanged(chunk)).map(|chunk| chunk.entries.len());
        let before = unchanged.chain(self.returned.range(..first).map(|(_, len)| *len)).sum::<usize>();
        let mut at = self.returned_at + before as u64 * ID_LEN;
        let mut ids = chunk.entries.iter().map(|(_, id)| *id);
        out.put(&mut at, chunk.entries.len() as u64 * ID_LEN, GroupPart::Ids(&mut ids))
    }

    /// Where the consumer's next ids go.
    fn begin_consumer(&mut self, out: &mut Out<'_>, id: ConsumerId, consumer: &Consumer) -> &mut u64 {
        let Place { consumers_at, ids_at, .. } = self;
        ids_at.entry(id).or_insert_with(|| {
            let _ = out.put(consumers_at, consumer.head_len(out.form), GroupPart::Consumer(consumer));
            let ids_at = *consumers_at;
            *consumers_at += consumer.pending_len() as u64 * ID_LEN;
            ids_at
        })
    }

    /// The id from which on the walk has still to look at the consumer's; `None` if it has seen all.
    fn unsaved_of(&self, consumer: &Consumer) -> Option<StreamId> {
        match &self.walk {
            Walk::Pending(_) => Some(StreamId::MIN),
            Walk::Consumers(name, from) => match consumer.name().cmp(name) {
                Ordering::Less => None,
                Ordering::Equal => Some(*from),
                Ordering::Greater => Some(StreamId::MIN),
            },
            Walk::Returned(_) | Walk::All => None,
        }
    }

    fn keep_pending(&mut self, out: &mut Out<'_>, group: &Group, id: StreamId) {
        let Walk::Pending(from) = self.walk else { return };
        let chunk = group.pending.chunk_for(&id).filter(|chunk| out.is_unchanged(chunk));
        if let Some(chunk) = chunk.filter(|chunk| chunk.last() >= from) {
            let _ = self.put_pending(out, &chunk);
        }
    }

    fn keep_consumer(&mut self, out: &mut Out<'_>, id: ConsumerId, consumer: &Consumer) {
        if consumer.born < out.begun && self.unsaved_of(consumer).is_some() {
            self.begin_consumer(out, id, consumer);
        }
    }

    fn keep_owned(&mut self, out: &mut Out<'_>, group: &Group, owner: ConsumerId, id: StreamId) {
        let consumer = group.consumer(owner);
        let Some(from) = self.unsaved_of(consumer).filter(|_| consumer.born < out.begun) else { return };
        let at = self.begin_consumer(out, owner, consumer);
        let chunk = consumer.pending.chunk_for(&id).filter(|chunk| out.is_unchanged(chunk));
        if let Some(chunk) = chunk.filter(|chunk| chunk.last() >= from) {
            let _ = out.put_ids(at, &chunk);
        }
    }

    fn keep_returned(&mut self, out: &mut Out<'_>, group: &Group, turn: i64) {
        let from = match self.walk {
            Walk::Returned(from) => from,
            Walk::All => return,
            Walk::Pending(_) | Walk::Consumers(..) => i64::MIN,
        };
        let Some(chunk) = group.returned.chunk_for(&turn).filter(|chunk| out.is_unchanged(chunk)) else {
            return;
        };
        if chunk.last() >= from {
            let _ = self.put_returned(out, group, &chunk);
        }
        self.returned.insert(chunk.first(), chunk.entries.len());
    }
}

/// The name that comes next in order.
fn behind(name: &[u8]) -> Box<[u8]> {
    [name, &[0]].concat().into()
}

/// Chunks, or heads of consumers, looked at in one go: some 50 KB.
const PARTS_AT_ONCE: usize = 16;
