//! Streams of every kind of content. It knows nothing of how they are written.

use ds::stream::{IdempotenceLimits, NodeLimits, Pending, References, Stream, StreamId};

const LIMITS: NodeLimits = NodeLimits { bytes: 4096, entries: 10 };

pub fn id(ms: u64) -> StreamId {
    StreamId::new(ms, ms % 3)
}

/// A stream of `count` entries under ids of 10, 20, ... ms, some with other fields than the others.
pub fn entries(count: u64) -> Stream {
    let mut stream = Stream::default();
    for number in 1..=count {
        let value = number.to_string();
        let fields: &[&[u8]] = if number % 4 == 0 {
            &[b"field", value.as_bytes(), b"more", b"a longer value, again and again and again"]
        } else {
            &[b"field", value.as_bytes()]
        };
        stream.append(id(number * 10), fields.iter().copied(), LIMITS).expect("the id is above");
    }
    stream
}

/// A group with three consumers, of which the first two have entries pending, in turns.
pub fn add_group(stream: &mut Stream, name: &[u8], last: u64, pending: u64) {
    let mut group = stream.create_group(name, id(last), Some(last / 10)).expect("the group is new");
    let consumers = [b"alice", b"bobby", b"carol"]
        .map(|name| group.create_consumer(name, 1_700_000_000_000).expect("the consumer is new"));
    for number in 1..=pending {
        let consumer = Some(consumers[number as usize % 2]);
        let kept =
            Pending { consumer, delivered_at: 1_700_000_000_000 + number as i64, deliveries: 1 << number };
        group.set_pending(id(number * 10), kept);
    }
}

/// One of each kind of content, in a form that Redis 7.0 knows.
pub fn samples() -> Vec<Stream> {
    let mut grouped = entries(25);
    add_group(&mut grouped, b"g", 200, 20);
    add_group(&mut grouped, b"empty", 0, 0);
    let mut sparse = entries(35);
    for number in [1, 2, 5, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 35] {
        sparse.remove(id(number * 10), References::Keep);
    }
    let mut emptied = entries(3);
    for number in 1..=3 {
        emptied.remove(id(number * 10), References::Keep);
    }
    add_group(&mut emptied, b"g", 30, 3);
    vec![Stream::default(), entries(1), entries(100), grouped, sparse, emptied]
}

/// With what only newer forms hold.
pub fn newer_samples() -> Vec<(u32, Stream)> {
    let mut produced = entries(5);
    let producers = produced.producers_mut(IdempotenceLimits { duration_s: 300, max_size: 7 });
    for number in 1..=5u64 {
        producers.record(&[b'p', number as u8 % 2], format!("id{number}").as_bytes(), id(number * 10), 0);
    }
    producers.count_duplicate();
    let mut returned = entries(9);
    add_group(&mut returned, b"g", 90, 9);
    let (mut group, _) = returned.group_mut(b"g").expect("was added");
    for number in [7, 3, 5] {
        group.set_pending(id(number * 10), Pending { consumer: None, delivered_at: 0, deliveries: 2 });
    }
    vec![(13, produced), (14, returned)]
}
