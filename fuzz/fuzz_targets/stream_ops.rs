//! The stream against a map of entries, and a group of it against a map of what is pending.
#![no_main]

use std::collections::BTreeMap;

use ds::stream::{NodeLimits, Pending, References, Removal, Stream, StreamId, Trim, TrimTo};
use fuzz::Choices;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices::new(data);
    let limits = NodeLimits { bytes: choices.below(600), entries: u64::from(choices.byte() % 20) };
    let mut state = State::new(limits);
    while !choices.is_empty() {
        state.step(&mut choices);
    }
    state.check();
});

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

struct State {
    stream: Stream,
    entries: BTreeMap<StreamId, Fields>,
    /// Consumer, 0 for none, and deliveries.
    pending: BTreeMap<StreamId, (usize, u64)>,
    last_id: StreamId,
    limits: NodeLimits,
}

impl State {
    fn new(limits: NodeLimits) -> State {
        let mut stream = Stream::default();
        let mut group = stream.create_group(b"g", StreamId::MIN, None).expect("it is the first");
        for name in CONSUMERS {
            group.create_consumer(name, 0).expect("names differ");
        }
        State { stream, entries: BTreeMap::new(), pending: BTreeMap::new(), last_id: StreamId::MIN, limits }
    }

    fn step(&mut self, choices: &mut Choices<'_>) {
        match choices.byte() % 8 {
            0..=3 => self.append(choices),
            4 => self.remove(choices),
            5 => self.trim(choices),
            6 => self.set_pending(choices),
            _ => self.acknowledge(choices),
        }
    }

    fn append(&mut self, choices: &mut Choices<'_>) {
        let step = choices.byte();
        let id = match step % 4 {
            0 => StreamId::new(self.last_id.ms + u64::from(step), u64::from(choices.byte())),
            _ => self.last_id.next().expect("ids stay small"),
        };
        let fields: Fields = (0..=choices.byte() % 3)
            .map(|_| (choices.bytes(3).to_vec(), choices.bytes(if step > 200 { 300 } else { 20 }).to_vec()))
            .collect();
        let parts = fields.iter().flat_map(|(field, value)| [&field[..], &value[..]]);
        let added = self.stream.append(id, parts, self.limits).is_ok();
        assert_eq!(added, id > self.last_id);
        if added {
            self.last_id = id;
            self.entries.insert(id, fields);
        }
    }

    fn any_id(&self, choices: &mut Choices<'_>) -> StreamId {
        let at = choices.below(self.entries.len() + 1);
        self.entries.keys().nth(at).copied().unwrap_or(StreamId::new(at as u64, 7))
    }

    fn remove(&mut self, choices: &mut Choices<'_>) {
        let id = self.any_id(choices);
        let references = if choices.is_true() { References::Drop } else { References::Keep };
        let removed = self.stream.remove(id, references) == Removal::Removed;
        assert_eq!(removed, self.entries.remove(&id).is_some());
        if references == References::Drop {
            self.pending.remove(&id);
        }
    }

    fn trim(&mut self, choices: &mut Choices<'_>) {
        let to = match choices.is_true() {
            true => TrimTo::Len(choices.below(100) as u64),
            false => TrimTo::Id(self.any_id(choices)),
        };
        let approximate = choices.is_true();
        let before = self.entries.len() as u64;
        let trimmed = self.stream.trim(Trim { to, approximate, limit: 0 }, References::Keep);
        let stream = &self.stream;
        self.entries.retain(|id, _| stream.entries().contains(*id));
        assert_eq!(before - self.entries.len() as u64, trimmed.removed);
        match to {
            TrimTo::Len(max) if !approximate => assert_eq!(self.entries.len() as u64, before.min(max)),
            TrimTo::Len(max) => assert!(self.entries.len() as u64 >= before.min(max)),
            TrimTo::Id(min) => assert!(approximate || self.entries.keys().all(|id| *id >= min)),
        }
    }

    fn set_pending(&mut self, choices: &mut Choices<'_>) {
        let (id, owner) = (self.any_id(choices), choices.below(CONSUMERS.len() + 1));
        let (time, deliveries) = (i64::from(choices.byte()), u64::from(choices.byte()));
        let (mut group, _) = self.stream.group_mut(b"g").expect("it was made");
        let consumer = owner.checked_sub(1).and_then(|index| group.consumer_named(CONSUMERS[index]));
        group.set_pending(id, Pending { consumer, delivered_at: time, deliveries });
        self.pending.insert(id, (owner, deliveries));
        if choices.is_true() {
            let due = group.claimable(100, 10);
            assert!(due.iter().all(|id| self.pending.contains_key(id)));
        }
    }

    fn acknowledge(&mut self, choices: &mut Choices<'_>) {
        let at = choices.below(self.pending.len() + 1);
        let Some(id) = self.pending.keys().nth(at).copied() else { return };
        let (mut group, _) = self.stream.group_mut(b"g").expect("it was made");
        assert_eq!(
            group.remove_pending(id).map(|pending| pending.deliveries),
            self.pending.remove(&id).map(|kept| kept.1)
        );
    }

    fn check(&self) {
        self.stream.check_invariants();
        let all = self.stream.entries().range(StreamId::MIN, StreamId::MAX);
        assert!(all.clone().map(|entry| entry.id).eq(self.entries.keys().copied()));
        assert!(all.clone().rev().map(|entry| entry.id).eq(self.entries.keys().rev().copied()));
        for entry in all {
            let pairs = entry.pairs().map(|(field, value)| (field.to_vec(), value.to_vec()));
            assert!(pairs.eq(self.entries[&entry.id].iter().cloned()));
        }
        let group = self.stream.group(b"g").expect("it was made");
        assert!(group.pending_from(StreamId::MIN).map(|(id, _)| id).eq(self.pending.keys().copied()));
        for (index, name) in CONSUMERS.iter().enumerate() {
            let consumer = group.consumer_named(name).expect("it was made");
            let own = self.pending.iter().filter(|(_, kept)| kept.0 == index + 1).map(|(id, _)| *id);
            assert!(group.consumer(consumer).pending_ids(StreamId::MIN).eq(own));
        }
    }
}

const CONSUMERS: [&[u8]; 3] = [b"a", b"b", b"c"];
