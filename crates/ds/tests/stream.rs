//! The stream against a map of entries, and its groups against maps of what is pending.

use std::collections::BTreeMap;

use ds::stream::{
    AppendError, ConsumerId, IdempotenceLimits, NodeLimits, Pending, References, Removal, Stream, StreamId,
    Trim, TrimTo,
};
use proptest::prelude::*;

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// What a stream should be.
#[derive(Default, Clone)]
struct Model {
    entries: BTreeMap<StreamId, Fields>,
    last_id: StreamId,
    max_deleted_id: StreamId,
    added: u64,
    groups: BTreeMap<Vec<u8>, ModelGroup>,
}

#[derive(Default, Clone)]
struct ModelGroup {
    last_id: StreamId,
    /// Owner's name, time, deliveries.
    pending: BTreeMap<StreamId, (Option<Vec<u8>>, i64, u64)>,
    returned: Vec<StreamId>,
    consumers: Vec<Vec<u8>>,
}

#[derive(Clone, Debug)]
enum Op {
    Append(u8, Fields),
    Remove(usize, References),
    Trim(Trim, References),
    Group(u8, GroupOp),
}

#[derive(Clone, Debug)]
enum GroupOp {
    Create(usize),
    Destroy,
    Consumer(u8),
    RemoveConsumer(u8),
    Read(u8, usize),
    Acknowledge(usize),
    Claim(usize, u8, i64),
    Return(usize),
    Sort,
}

fn fields() -> impl Strategy<Value = Fields> {
    let name = prop_oneof![3 => Just(b"f".to_vec()), 1 => Just(b"17".to_vec()), 1 => Just(b"other".to_vec())];
    let value = prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..12),
        2 => any::<i32>().prop_map(|value| value.to_string().into_bytes()),
        1 => (60..300usize).prop_map(|len| vec![b'v'; len]),
    ];
    prop::collection::vec((name, value), 1..4)
}

fn references() -> impl Strategy<Value = References> {
    prop_oneof![Just(References::Keep), Just(References::Drop), Just(References::Acked)]
}

fn trim() -> impl Strategy<Value = Trim> {
    let to = prop_oneof![
        (0..60u64).prop_map(TrimTo::Len),
        (0..600u64, 0..3u64).prop_map(|(ms, seq)| TrimTo::Id(StreamId::new(ms, seq))),
    ];
    (to, any::<bool>(), 0..30u64).prop_map(|(to, approximate, limit)| Trim {
        to,
        approximate,
        limit: if approximate { limit } else { 0 },
    })
}

fn group_op() -> impl Strategy<Value = GroupOp> {
    prop_oneof![
        2 => (0..100usize).prop_map(GroupOp::Create),
        1 => Just(GroupOp::Destroy),
        2 => (0..4u8).prop_map(GroupOp::Consumer),
        1 => (0..4u8).prop_map(GroupOp::RemoveConsumer),
        8 => (0..4u8, 1..20usize).prop_map(|(consumer, count)| GroupOp::Read(consumer, count)),
        6 => (0..200usize).prop_map(GroupOp::Acknowledge),
        3 => (0..200usize, 0..4u8, 0..50i64).prop_map(|(at, consumer, time)| {
            GroupOp::Claim(at, consumer, time)
        }),
        3 => (0..200usize).prop_map(GroupOp::Return),
        1 => Just(GroupOp::Sort),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => (0..4u8, fields()).prop_map(|(step, fields)| Op::Append(step, fields)),
        4 => (0..200usize, references()).prop_map(|(at, references)| Op::Remove(at, references)),
        1 => (trim(), references()).prop_map(|(trim, references)| Op::Trim(trim, references)),
        8 => (0..2u8, group_op()).prop_map(|(group, op)| Op::Group(group, op)),
    ]
}

fn parts(fields: &Fields) -> impl Iterator<Item = &[u8]> + Clone {
    fields.iter().flat_map(|(field, value)| [&field[..], &value[..]])
}

fn nth(ids: &mut dyn Iterator<Item = StreamId>, at: usize) -> Option<StreamId> {
    let ids: Vec<_> = ids.collect();
    (!ids.is_empty()).then(|| ids[at % ids.len()])
}

/// An append whose id is one later, or some milliseconds.
fn append(stream: &mut Stream, model: &mut Model, step: u8, fields: Fields, limits: NodeLimits) {
    let id = match step {
        0 => model.last_id.next().expect("ids are small"),
        step => StreamId::new(model.last_id.ms + u64::from(step), 0),
    };
    assert_eq!(stream.append(id, parts(&fields), limits), Ok(()));
    assert_eq!(stream.append(id, parts(&fields), limits), Err(AppendError::NotAbove));
    (model.last_id, model.added) = (id, model.added + 1);
    model.entries.insert(id, fields);
}

impl Model {
    fn is_done(&self, id: StreamId) -> bool {
        self.groups.values().all(|group| id <= group.last_id && !group.pending.contains_key(&id))
    }

    fn forget(&mut self, id: StreamId) {
        for group in self.groups.values_mut() {
            group.drop_pending(id);
        }
    }

    fn remove(&mut self, id: StreamId, references: References) -> Removal {
        if references == References::Drop {
            self.forget(id);
        }
        match self.entries.contains_key(&id) {
            false => Removal::Absent,
            true if references == References::Acked && !self.is_done(id) => Removal::Referenced,
            true => {
                self.entries.remove(&id);
                self.max_deleted_id = self.max_deleted_id.max(id);
                Removal::Removed
            }
        }
    }

    /// Entries that an exact trim removes.
    fn trimmed(&self, to: TrimTo, references: References) -> Vec<StreamId> {
        let goes = |id: &&StreamId| references != References::Acked || self.is_done(**id);
        match to {
            TrimTo::Id(min) => self.entries.range(..min).map(|(id, _)| id).filter(goes).copied().collect(),
            TrimTo::Len(max) => {
                let surplus = self.entries.len().saturating_sub(max as usize);
                self.entries.keys().filter(goes).take(surplus).copied().collect()
            }
        }
    }
}

impl ModelGroup {
    fn drop_pending(&mut self, id: StreamId) -> bool {
        self.returned.retain(|other| *other != id);
        self.pending.remove(&id).is_some()
    }
}

fn trim_both(stream: &mut Stream, model: &mut Model, trim: Trim, references: References) {
    let wanted = model.trimmed(trim.to, references);
    let trimmed = stream.trim(trim, references);
    let gone: Vec<_> = model.entries.keys().filter(|id| !stream.entries().contains(**id)).copied().collect();
    assert_eq!(gone.len() as u64, trimmed.removed);
    assert!(gone.iter().eq(wanted.iter().take(gone.len())), "from the front: {gone:?} of {wanted:?}");
    assert!(trim.approximate || gone.len() == wanted.len());
    assert!(trim.limit == 0 || trimmed.removed <= trim.limit);
    let exact = match (trim.to, trimmed.stopped_at) {
        (TrimTo::Id(_), Some(at)) if trim.approximate => TrimTo::Id(at),
        (TrimTo::Len(_), _) => TrimTo::Len((model.entries.len() - gone.len()) as u64),
        (to, _) => to,
    };
    assert_eq!(gone, model.trimmed(exact, references), "an exact trim does the same");
    for id in gone {
        model.entries.remove(&id);
        if references == References::Drop {
            model.forget(id);
        }
    }
}

fn apply(stream: &mut Stream, model: &mut Model, op: Op, limits: NodeLimits) {
    match op {
        Op::Append(step, fields) => append(stream, model, step, fields, limits),
        Op::Remove(at, references) => {
            let id = nth(&mut model.entries.keys().copied(), at).unwrap_or(StreamId::new(3, 1));
            assert_eq!(stream.remove(id, references), model.remove(id, references));
            assert_ne!(stream.remove(id, References::Keep), model.remove(id, References::Keep).not());
        }
        Op::Trim(trim, references) => trim_both(stream, model, trim, references),
        Op::Group(group, op) => apply_to_group(stream, model, &[b'g', group], op),
    }
}

trait Not {
    fn not(self) -> Removal;
}

impl Not for Removal {
    /// Something else than itself.
    fn not(self) -> Removal {
        if self == Removal::Absent { Removal::Removed } else { Removal::Absent }
    }
}

fn apply_to_group(stream: &mut Stream, model: &mut Model, name: &[u8], op: GroupOp) {
    if let GroupOp::Create(at) = op {
        let last_id = nth(&mut model.entries.keys().copied(), at).unwrap_or_default();
        let made = stream.create_group(name, last_id, None).is_some();
        assert_eq!(made, !model.groups.contains_key(name));
        model.groups.entry(name.to_vec()).or_insert(ModelGroup { last_id, ..ModelGroup::default() });
        return;
    }
    if let GroupOp::Destroy = op {
        assert_eq!(stream.remove_group(name), model.groups.remove(name).is_some());
        return;
    }
    let entries: Vec<StreamId> = model.entries.keys().copied().collect();
    let Some(group) = model.groups.get_mut(name) else {
        assert!(stream.group(name).is_none());
        return;
    };
    change_group(stream, group, &entries, name, op);
}

fn change_group(stream: &mut Stream, model: &mut ModelGroup, entries: &[StreamId], name: &[u8], op: GroupOp) {
    let (mut group, own_entries) = stream.group_mut(name).expect("both have the group");
    let pending_id = |at| nth(&mut model.pending.keys().copied(), at);
    match op {
        GroupOp::Create(_) | GroupOp::Destroy => unreachable!("the caller did it"),
        GroupOp::Consumer(number) => {
            let created = group.create_consumer(&[b'c', number], 5).is_some();
            assert_eq!(created, !model.consumers.contains(&vec![b'c', number]));
            if created {
                model.consumers.push(vec![b'c', number]);
            }
        }
        GroupOp::RemoveConsumer(number) => {
            let Some(id) = group.consumer_named(&[b'c', number]) else { return };
            let own: Vec<_> = owned_by(model, &[b'c', number]);
            assert_eq!(group.remove_consumer(id), own.len());
            own.iter().for_each(|id| assert!(model.drop_pending(*id)));
            model.consumers.retain(|name| name[1] != number);
        }
        GroupOp::Read(number, count) => {
            let Some(consumer) = group.consumer_named(&[b'c', number]) else { return };
            for &id in entries.iter().filter(|id| **id > model.last_id).take(count) {
                group.advance(own_entries, id);
                let pending = Pending { consumer: Some(consumer), delivered_at: 7, deliveries: 1 };
                group.set_pending(id, pending);
                model.pending.insert(id, (Some(vec![b'c', number]), 7, 1));
            }
            let read = entries.iter().filter(|id| **id > model.last_id).take(count).max();
            model.last_id = read.copied().unwrap_or(model.last_id);
        }
        GroupOp::Acknowledge(at) => {
            let Some(id) = pending_id(at) else { return };
            assert!(group.remove_pending(id).is_some() && model.drop_pending(id));
            assert!(group.remove_pending(id).is_none());
        }
        GroupOp::Claim(at, number, time) => {
            let Some(consumer) = group.consumer_named(&[b'c', number]) else { return };
            let Some(id) = pending_id(at) else { return };
            let pending =
                Pending { consumer: Some(consumer), delivered_at: time, deliveries: 1 << (time / 3) };
            group.set_pending(id, pending);
            model.drop_pending(id);
            model.pending.insert(id, (Some(vec![b'c', number]), time, 1 << (time / 3)));
        }
        GroupOp::Return(at) => {
            let Some(id) = pending_id(at) else { return };
            group.set_pending(id, Pending { consumer: None, delivered_at: 9, deliveries: 3 });
            if !model.returned.contains(&id) {
                model.returned.push(id);
            }
            model.pending.insert(id, (None, 0, 3));
        }
        GroupOp::Sort => {
            let mut due: Vec<_> =
                model.pending.iter().filter(|(_, kept)| kept.0.is_some() && kept.1 <= 20).collect();
            due.sort_by_key(|(id, kept)| (kept.1, **id));
            let expected = model.returned.iter().copied().chain(due.into_iter().map(|(id, _)| *id));
            assert!(expected.take(25).eq(group.claimable(20, 25)));
        }
    }
}

fn owned_by(group: &ModelGroup, name: &[u8]) -> Vec<StreamId> {
    let own = group.pending.iter().filter(|(_, kept)| kept.0.as_deref() == Some(name));
    own.map(|(id, _)| *id).collect()
}

fn rdb_len(len: usize) -> u64 {
    len as u64
        + match len {
            0..64 => 1,
            64..16_384 => 2,
            _ => 5,
        }
}

fn check(stream: &Stream, model: &Model) {
    stream.check_invariants();
    let entries = stream.entries();
    assert_eq!(entries.len(), model.entries.len() as u64);
    assert_eq!((entries.last_id(), entries.max_deleted_id()), (model.last_id, model.max_deleted_id));
    assert_eq!(entries.added(), model.added);
    assert_eq!(entries.first_id(), model.entries.keys().next().copied().unwrap_or_default());
    assert_eq!(entries.last_entry_id(), model.entries.keys().next_back().copied());
    let middle = StreamId::new(model.last_id.ms / 2, 0);
    for (from, to) in [(StreamId::MIN, StreamId::MAX), (middle, StreamId::MAX), (StreamId::MIN, middle)] {
        let shown = || entries.range(from, to);
        let wanted = || model.entries.range(from..=to);
        assert!(shown().map(|entry| entry.id).eq(wanted().map(|(id, _)| *id)));
        assert!(shown().rev().map(|entry| entry.id).eq(wanted().rev().map(|(id, _)| *id)));
    }
    assert_eq!(entries.range(StreamId::MAX, StreamId::MIN).count(), 0);
    for (id, fields) in &model.entries {
        let entry = entries.get(*id).expect("is there");
        let pairs = entry.pairs().map(|(field, value)| (field.to_vec(), value.to_vec()));
        assert!(pairs.eq(fields.iter().cloned()) && entry.len() == fields.len());
    }
    assert!(stream.groups().map(|(name, _)| name).eq(model.groups.keys().map(Vec::as_slice)));
    for (name, group) in &model.groups {
        check_group(stream, name, group);
    }
}

fn check_group(stream: &Stream, name: &[u8], model: &ModelGroup) {
    let group = stream.group(name).expect("is there");
    let owner = |id: ConsumerId| group.consumer(id).name().to_vec();
    let shown = |pending: Pending| (pending.consumer.map(owner), pending.delivered_at, pending.deliveries);
    let pending = group.pending_from(StreamId::MIN).map(|(id, pending)| (id, shown(pending)));
    assert!(pending.eq(model.pending.iter().map(|(id, kept)| (*id, kept.clone()))));
    assert!(group.returned_ids().eq(model.returned.iter().copied()));
    assert_eq!((group.pending_len(), group.returned_len()), (model.pending.len(), model.returned.len()));
    let mut names = model.consumers.clone();
    names.sort();
    assert!(group.consumers().map(|(_, consumer)| consumer.name()).eq(names.iter().map(Vec::as_slice)));
    for (_, consumer) in group.consumers() {
        let own = owned_by(model, consumer.name());
        assert!(consumer.pending_ids(StreamId::MIN).eq(own));
    }
}

/// A stream of the same nodes, as a file brings them.
fn reload(stream: &Stream) -> Stream {
    let mut copy = Stream::default();
    for (master, bytes) in stream.entries().nodes() {
        copy.load_node(master, bytes.to_vec()).expect("its own nodes are sound");
    }
    let entries = stream.entries();
    copy.load_ids(entries.last_id(), entries.max_deleted_id(), entries.added());
    copy
}

proptest! {
    #[test]
    fn a_stream_agrees_with_maps(
        ops in prop::collection::vec(op(), 0..300),
        limits in prop_oneof![Just((4096, 100)), Just((0, 7)), Just((300, 0)), Just((1, 1))],
    ) {
        let limits = NodeLimits { bytes: limits.0, entries: limits.1 };
        let (mut stream, mut model) = (Stream::default(), Model::default());
        for op in ops {
            apply(&mut stream, &mut model, op, limits);
        }
        check(&stream, &model);
        check(&stream.duplicate(), &model);
        check(&reload(&stream), &Model { groups: BTreeMap::new(), ..model.clone() });
        let nodes: u64 = stream.entries().nodes().map(|(_, bytes)| 17 + rdb_len(bytes.len())).sum();
        prop_assert_eq!(reload(&stream).rdb_len(), nodes);
        for id in model.entries.keys().copied().collect::<Vec<_>>() {
            prop_assert_eq!(stream.remove(id, References::Keep), model.remove(id, References::Keep));
        }
        check(&stream, &model);
        prop_assert_eq!(stream.entries().node_count(), 0);
    }

    #[test]
    fn damaged_nodes_are_refused_or_sound(
        fields in prop::collection::vec(fields(), 1..20),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let mut stream = Stream::default();
        for (number, fields) in fields.iter().enumerate() {
            let id = StreamId::new(5, number as u64);
            stream.append(id, parts(fields), NodeLimits::default()).expect("fits");
        }
        let (master, bytes) = stream.entries().nodes().next().expect("one");
        let mut bytes = bytes.to_vec();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let mut other = Stream::default();
        if other.load_node(master, bytes).is_ok() {
            other.load_ids(StreamId::MIN, StreamId::MIN, 0);
            other.check_invariants();
            let all = other.entries().range(StreamId::MIN, StreamId::MAX);
            let ids: Vec<_> = all.map(|entry| entry.id).collect();
            let back = other.entries().range(StreamId::MIN, StreamId::MAX).rev();
            prop_assert!(back.filter(|entry| entry.pairs().count() == entry.len()).count() == ids.len());
            for id in ids {
                prop_assert_eq!(other.remove(id, References::Keep), Removal::Removed);
                other.check_invariants();
            }
        }
    }
}

/// As Redis 7.0 lays it out: the master entry, an entry with its fields, one with others.
#[test]
fn a_node_is_redis_bytes() {
    let mut stream = Stream::default();
    let limits = NodeLimits::default();
    let append = |stream: &mut Stream, id, parts: &[&[u8]]| {
        stream.append(id, parts.iter().copied(), limits).expect("the id is above");
    };
    append(&mut stream, StreamId::new(1000, 5), &[b"a", b"1"]);
    append(&mut stream, StreamId::new(1001, 0), &[b"a", b"xy"]);
    append(&mut stream, StreamId::new(1002, 7), &[b"b", b"2"]);
    stream.remove(StreamId::new(1001, 0), References::Keep);
    let expected: &[u8] = &[
        56, 0, 0, 0, 22, 0, // bytes, elements
        2, 1, 1, 1, 1, 1, 0x81, b'a', 2, 0, 1, // live, deleted, one field: a
        2, 1, 0, 1, 0, 1, 1, 1, 4, 1, // same fields, 1000-5
        3, 1, 1, 1, 0xdf, 0xfb, 2, 0x82, b'x', b'y', 3, 4,
        1, // deleted, 1001-0: the sequence number is less
        0, 1, 2, 1, 2, 1, 1, 1, 0x81, b'b', 2, 2, 1, 6, 1, // 1002-7 with its own field
        0xff,
    ];
    let nodes: Vec<_> = stream.entries().nodes().collect();
    assert_eq!(nodes, [(StreamId::new(1000, 5), expected)]);
}

#[test]
fn nodes_end_at_the_limits() {
    let check = |limits: NodeLimits, value_len: usize, expected: usize| {
        let mut stream = Stream::default();
        let value = vec![b'v'; value_len];
        for number in 1..=1000 {
            let content = [&b"field"[..], &value];
            stream.append(StreamId::new(number, 0), content.into_iter(), limits).expect("the id is above");
        }
        assert_eq!(stream.entries().node_count(), expected);
        stream.check_invariants();
    };
    check(NodeLimits::default(), 10, 10);
    check(NodeLimits { bytes: 0, entries: 0 }, 10, 1);
    check(NodeLimits { bytes: 0, entries: 300 }, 10, 4);
    check(NodeLimits { bytes: 1, entries: 0 }, 10, 1000);
    check(NodeLimits { bytes: 4096, entries: 100 }, 5000, 1000);
}

#[test]
fn ids_of_ones_own_making() {
    let mut stream = Stream::default();
    assert_eq!(stream.entries().next_id(0), Some(StreamId::new(0, 1)));
    assert_eq!(stream.entries().next_id(9), Some(StreamId::new(9, 0)));
    stream.set_last_id(StreamId::new(10, 3));
    assert_eq!(stream.entries().next_id(9), Some(StreamId::new(10, 4)));
    stream.set_last_id(StreamId::MAX);
    assert_eq!(stream.entries().next_id(9), None);
}

/// How far a group is behind, by what happened to the stream; as XINFO GROUPS of Redis 7.0 tells it.
#[test]
fn lag() {
    let stream = |ids: &[u64]| {
        let mut stream = Stream::default();
        for &ms in ids {
            stream
                .append(StreamId::new(ms, 0), [&b"f"[..], b"v"].into_iter(), NodeLimits::default())
                .expect("above");
        }
        stream
    };
    let check = |stream: &mut Stream, last: u64, read: Option<u64>, expected: Option<i64>| {
        stream.create_group(b"g", StreamId::new(last, 0), read);
        assert_eq!(stream.group(b"g").map(|group| group.lag(stream.entries())), Some(expected));
        stream.remove_group(b"g");
    };
    let mut five = stream(&[1, 2, 3, 4, 5]);
    check(&mut Stream::default(), 0, None, Some(0));
    check(&mut five, 0, None, Some(5));
    check(&mut five, 1, None, Some(4));
    check(&mut five, 3, None, None);
    check(&mut five, 3, Some(3), Some(2));
    check(&mut five, 5, None, Some(0));
    check(&mut five, 9, None, None);
    five.remove(StreamId::new(2, 0), References::Keep);
    check(&mut five, 0, None, None);
    check(&mut five, 1, Some(1), None);
    check(&mut five, 3, Some(3), Some(2));
    check(&mut five, 5, None, Some(0));
    five.remove(StreamId::new(1, 0), References::Keep);
    check(&mut five, 0, None, Some(5 - 2));
    five.trim(Trim { to: TrimTo::Len(0), approximate: false, limit: 0 }, References::Keep);
    check(&mut five, 0, None, Some(0));
}

#[test]
fn memory_of_a_million_pending_entries() {
    let mut stream = Stream::default();
    let mut group = stream.create_group(b"g", StreamId::MIN, None).expect("is new");
    let consumer = group.create_consumer(b"c", 0);
    for number in 1..=1_000_000 {
        group.set_pending(StreamId::new(number, 0), Pending { consumer, delivered_at: 5, deliveries: 1 });
    }
    let each = stream.memory() as f64 / 1e6;
    assert!(each < 60.0, "{each} bytes");
    assert!(stream.free_effort() > 10_000);
}

#[test]
fn producers() {
    let limits = IdempotenceLimits { duration_s: 10, max_size: 3 };
    let mut stream = Stream::default();
    assert!(stream.producers().is_none());
    let producers = stream.producers_mut(limits);
    let id = |ms: i64| StreamId::new(ms as u64, 0);
    for (number, name) in [b"a", b"b", b"c", b"d"].into_iter().enumerate() {
        producers.record(b"p", name, id(1000 + number as i64), 1000);
    }
    assert_eq!((producers.find(b"p", b"a", 1000), producers.find(b"p", b"d", 1000)), (None, Some(id(1003))));
    assert_eq!((producers.len(), producers.tracked(), producers.totals()), (1, 3, (4, 0)));
    assert_eq!(producers.find(b"q", b"d", 1000), None);
    assert_eq!(
        (producers.find(b"p", b"d", 11_002), producers.find(b"p", b"d", 11_003)),
        (Some(id(1003)), None)
    );
    producers.record(b"q", b"a", id(11_002), 11_002);
    assert_eq!((producers.len(), producers.tracked()), (2, 2));
    producers.record(b"q", b"b", id(11_003), 11_003);
    assert_eq!((producers.len(), producers.tracked()), (1, 2));
    producers.set_limits(limits);
    assert_eq!(producers.tracked(), 2);
    producers.set_limits(IdempotenceLimits { duration_s: 11, ..limits });
    assert_eq!((producers.tracked(), producers.totals()), (0, (6, 0)));
    stream.check_invariants();
}
