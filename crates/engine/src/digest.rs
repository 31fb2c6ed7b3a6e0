//! Digests of values and of the whole data set (DEBUG DIGEST): equal for equal contents, in whatever order
//! and encoding they lie, and equal to Redis', so that servers can be compared.
//!
//! Ordered parts are mixed in: `d = sha1(d ^ sha1(part))`. Parts without an order are added: `d ^=
//! sha1(part)`.

use base::num::write_f64;
use base::sha1::sha1;
use ds::hash::HashRef;
use ds::sorted_set::SortedSetRef;
use ds::stream::StreamId;
use store::{DbIndex, EntryRef, Guard, Hash, Kind, List, Set, SortedSet, Stream, Text, Type};

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Digest(pub [u8; 20]);

impl Digest {
    fn add(&mut self, part: &[u8]) {
        self.0.iter_mut().zip(sha1(part)).for_each(|(own, other)| *own ^= other);
    }

    fn mix(&mut self, part: &[u8]) {
        self.add(part);
        self.0 = sha1(&self.0);
    }
}

/// Every key of every database. All shards are held; expired keys that are still there count.
pub fn of_dataset(guard: &mut Guard<'_>) -> Digest {
    let databases = guard.store().databases();
    (0..databases).fold(Digest::default(), |mut digest, db| {
        if guard.key_count(DbIndex(db)) > 0 {
            digest.mix(&u32::from(db).to_be_bytes());
            guard.shards().for_each(|(_, shard)| {
                shard.db(DbIndex(db)).table().for_each(|entry| digest.add(&of_entry(entry).0));
            });
        }
        digest
    })
}

fn of_entry(entry: EntryRef<'_>) -> Digest {
    let mut digest = Digest::default();
    digest.mix(entry.key());
    mix_value(&mut digest, entry);
    digest
}

/// The value alone, with whether it expires.
pub fn of_value(entry: EntryRef<'_>) -> Digest {
    let mut digest = Digest::default();
    mix_value(&mut digest, entry);
    digest
}

fn mix_value(digest: &mut Digest, entry: EntryRef<'_>) {
    digest.mix(&type_number(entry.kind()).to_be_bytes());
    match entry.kind() {
        Type::String => digest.mix(&Text::view(entry).bytes()),
        Type::Hash => add_fields(digest, Hash::view(entry)),
        Type::Set => Set::view(entry).iter().for_each(|member| digest.add(&member.to_vec())),
        Type::List => List::view(entry).for_each(|element| digest.mix(&element.to_vec())),
        Type::SortedSet => add_scores(digest, SortedSet::view(entry)),
        Type::Stream => mix_entries(digest, Stream::view(entry)),
    }
    if entry.expires_at().is_some() {
        digest.add(b"!!expire!!");
    }
}

/// The number that Redis has for a type.
fn type_number(kind: Type) -> u32 {
    match kind {
        Type::String => 0,
        Type::List => 1,
        Type::Set => 2,
        Type::SortedSet => 3,
        Type::Hash => 4,
        Type::Stream => 6,
    }
}

/// The groups that read a stream do not count.
fn mix_entries(digest: &mut Digest, stream: &ds::stream::Stream) {
    for entry in stream.entries().range(StreamId::MIN, StreamId::MAX) {
        digest.mix(format!("{}.{}", entry.id.ms, entry.id.seq).as_bytes());
        for (field, value) in entry.pairs() {
            digest.mix(&field.to_vec());
            digest.mix(&value.to_vec());
        }
    }
}

fn add_fields(digest: &mut Digest, hash: HashRef<'_>) {
    hash.for_each(i64::MIN, |pair| {
        let mut own = Digest::default();
        own.mix(&pair.field.to_vec());
        own.mix(&pair.value.to_vec());
        if pair.expires_at.is_some() {
            own.add(b"!!hexpire!!");
        }
        digest.add(&own.0);
    });
}

fn add_scores(digest: &mut Digest, set: SortedSetRef<'_>) {
    for item in set.iter() {
        let (mut own, mut score) = (Digest::default(), Vec::new());
        write_f64(&mut score, item.score);
        own.mix(&item.member.to_vec());
        own.mix(&score);
        digest.add(&own.0);
    }
}
