//! Changes of a stream's consumer groups by chance: every kind that commands make, of one entry and of many.

use base::random::Rng;
use ds::stream::{ConsumerId, GroupMut, Pending, References, Stream, StreamId};

/// Enough pending entries, and entries that were given back, for several chunks.
pub fn fill_groups(stream: &mut Stream, rng: &mut Rng) {
    for _ in 0..1 + rng.below(3) {
        create(stream, rng);
    }
    for _ in 0..3 {
        with_group(stream, rng, |group, rng| {
            for _ in 0..1 + rng.below(4) {
                deliver(group, rng);
            }
            if rng.below(3) == 0 {
                give_back(group, rng);
            }
        });
    }
}

/// One change.
pub fn change_groups(stream: &mut Stream, rng: &mut Rng) {
    match rng.below(24) {
        0 => create(stream, rng),
        1 => {
            stream.remove_group(&group_name(rng));
        }
        2 => {
            stream.remove(id(rng), References::Drop);
        }
        3..=5 => with_group(stream, rng, |group, rng| {
            consumer(group, rng);
        }),
        6 => with_group(stream, rng, |group, rng| {
            let removed = group.consumer_named(&consumer_name(rng));
            removed.map(|id| group.remove_consumer(id));
        }),
        7 => with_group(stream, rng, |group, rng| {
            group.last_id = id(rng);
            group.entries_read = (rng.below(2) == 0).then(|| number(rng));
        }),
        8..=9 => with_group(stream, rng, |group, rng| {
            let consumer = consumer(group, rng);
            group.consumer_mut(consumer).seen_at = rng.below(1 << 40) as i64;
        }),
        10..=12 => with_group(stream, rng, deliver),
        13..=15 => with_group(stream, rng, |group, rng| {
            acknowledge(group, run(group, rng));
        }),
        16..=18 => with_group(stream, rng, |group, rng| {
            let owner = consumer(group, rng);
            let time = rng.below(100) as i64;
            for id in run(group, rng) {
                let deliveries = number(rng);
                group.set_pending(id, Pending { consumer: Some(owner), delivered_at: time, deliveries });
            }
        }),
        19..=20 => with_group(stream, rng, give_back),
        21..=22 => with_group(stream, rng, |group, rng| {
            let owner = consumer(group, rng);
            for id in group.claimable(-1, 1 + rng.below(200) as usize) {
                group.set_pending(id, Pending { consumer: Some(owner), delivered_at: 1, deliveries: 2 });
            }
        }),
        _ => with_group(stream, rng, |group, rng| {
            let (returned, rank) = (group.returned_len() as u64, rng.below(2));
            let skipped = if rank == 0 { 0 } else { rng.below(returned + 1) as usize };
            let ids: Vec<_> = group.returned_ids().skip(skipped).take(1 + rng.below(150) as usize).collect();
            acknowledge(group, ids);
        }),
    }
}

fn create(stream: &mut Stream, rng: &mut Rng) {
    let entries_read = (rng.below(2) == 0).then(|| number(rng));
    stream.create_group(&group_name(rng), id(rng), entries_read);
}

fn with_group(stream: &mut Stream, rng: &mut Rng, change: impl FnOnce(&mut GroupMut<'_>, &mut Rng)) {
    if let Some((mut group, _)) = stream.group_mut(&group_name(rng)) {
        change(&mut group, rng);
    }
}

/// Among them the empty name, digits and a long one.
fn group_name(rng: &mut Rng) -> Vec<u8> {
    [b"".to_vec(), b"group".to_vec(), b"17".to_vec(), vec![b'g'; 70]][rng.below(4) as usize].clone()
}

fn consumer_name(rng: &mut Rng) -> Vec<u8> {
    match rng.below(8) {
        0 => Vec::new(),
        1 => vec![b'c'; 64],
        index => index.to_string().into_bytes(),
    }
}

fn consumer(group: &mut GroupMut<'_>, rng: &mut Rng) -> ConsumerId {
    let name = consumer_name(rng);
    let made = group.create_consumer(&name, rng.below(1 << 40) as i64);
    made.or_else(|| group.consumer_named(&name)).expect("it was made or is there")
}

/// Entries that nobody else has, or others have, are given to a consumer.
fn deliver(group: &mut GroupMut<'_>, rng: &mut Rng) {
    let consumer = Some(consumer(group, rng));
    let (first, step) = (rng.below(IDS), 1 + rng.below(3));
    for index in 0..rng.below(200) {
        let (id, deliveries) = (StreamId::new(first + index * step, 1), number(rng));
        group.set_pending(id, Pending { consumer, delivered_at: rng.below(1 << 40) as i64, deliveries });
    }
}

fn give_back(group: &mut GroupMut<'_>, rng: &mut Rng) {
    for id in run(group, rng) {
        let deliveries = number(rng);
        group.set_pending(id, Pending { consumer: None, delivered_at: 0, deliveries });
    }
}

fn acknowledge(group: &mut GroupMut<'_>, ids: Vec<StreamId>) {
    for id in ids {
        assert!(group.remove_pending(id).is_some());
    }
}

/// Pending entries that are neighbours, one of them at times.
fn run(group: &GroupMut<'_>, rng: &mut Rng) -> Vec<StreamId> {
    let count = if rng.below(2) == 0 { 1 } else { rng.below(300) };
    group.pending_from(id(rng)).take(count as usize).map(|(id, _)| id).collect()
}

fn id(rng: &mut Rng) -> StreamId {
    StreamId::new(rng.below(IDS), rng.below(3))
}

/// Of any length in a file.
fn number(rng: &mut Rng) -> u64 {
    match rng.below(20) {
        0 => rng.below(1 << 40),
        1..=3 => rng.below(20_000),
        _ => rng.below(70),
    }
}

/// Few enough that entries are met again.
const IDS: u64 = 1500;
