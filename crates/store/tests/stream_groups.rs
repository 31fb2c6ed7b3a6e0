//! What a snapshot takes at once of a stream's groups does not depend on how much is pending.
#![cfg(not(feature = "shuttle"))]

mod common;

use ds::stream::{Pending, StreamId};
use store::snapshot::{Output, Snapshot};
use store::value::Place;
use store::{Db, DbIndex, Key, Kind, Plan, Store, Stream, Thresholds};

/// A store whose only value is a stream of two groups, one of them with so many pending entries.
fn store_with(pending: u64) -> Store {
    let store = Store::new(1, 1);
    change(&store, |stream| {
        for name in [b"group", b"other"] {
            let mut group = stream.create_group(name, StreamId::MIN, None).expect("is new");
            let consumers = [b"one", b"two"].map(|name| group.create_consumer(name, 1).expect("is new"));
            for number in 1..=if name == b"group" { pending } else { 100 } {
                let consumer = Some(consumers[number as usize % 2]);
                let id = StreamId::new(number, 0);
                group.set_pending(id, Pending { consumer, delivered_at: 3, deliveries: 1 });
            }
        }
    });
    store
}

fn change<R>(store: &Store, change: impl FnOnce(&mut ds::stream::Stream) -> R) -> R {
    let key = Key::new(b"stream");
    let mut guard = store.lock(&Plan::All);
    let db: &mut Db = guard.db(DbIndex(0), key.hash);
    let slot = db.find(key).unwrap_or_else(|| {
        Stream::create(db, key, 0);
        db.find(key).expect("was made")
    });
    let place = Place { db, slot, thresholds: &Thresholds::DEFAULT, now: 0 };
    Stream::edit(place).edit(change)
}

/// Every value of the cut is saved in pieces.
fn begin(store: &Store) -> Snapshot {
    Snapshot::begin_with(&mut store.lock(&Plan::All), 1).expect("none runs")
}

/// Bytes that wait to be written after each of some changes, of which the first begins the save; and the most
/// that one step of the walk adds.
fn taken_at_once(pending: u64) -> (Vec<usize>, usize) {
    let store = store_with(pending);
    let mut snapshot = begin(&store);
    let changes: [fn(&mut ds::stream::Stream); 5] = [
        |stream| stream.set_added(7),
        |stream| stream.group_mut(b"group").expect("is there").0.last_id = StreamId::new(9, 9),
        |stream| {
            let (mut group, _) = stream.group_mut(b"group").expect("is there");
            assert!(group.remove_pending(StreamId::new(500, 0)).is_some());
        },
        |stream| assert!(stream.remove_group(b"group")),
        |stream| assert!(stream.remove_group(b"other")),
    ];
    let taken = changes.map(|one| {
        change(&store, one);
        store.snapshot_backlog()
    });
    let (mut most, mut before, mut written) = (0, store.snapshot_backlog(), 0);
    while let Some(output) = snapshot.next(&store) {
        most = most.max(store.snapshot_backlog().saturating_sub(before));
        if let Output::Piece(piece) = &output {
            written += piece.bytes(&mut Vec::new()).len() as u64;
        }
        snapshot.written(output);
        before = store.snapshot_backlog();
    }
    assert!(written > pending * (25 + 16), "all of it comes: {written}");
    assert_eq!(store.snapshot_memory(), 0);
    (taken.to_vec(), most)
}

#[test]
fn what_is_taken_at_once_does_not_grow_with_pending_entries() {
    let (few, _) = taken_at_once(1000);
    let (many, most) = taken_at_once(300_000);
    for (few, many) in few.iter().zip(&many) {
        // A number or two takes more bytes.
        assert!((*few..few + 20).contains(many), "{many} bytes instead of {few}");
    }
    assert!(*many.last().expect("there were changes") < 12_000, "{many:?}");
    assert!(most < 80_000, "{most}");
}

/// Removed while it is saved, a group is kept until that is done, and no longer.
#[test]
fn a_removed_group_is_kept_until_it_is_saved() {
    let store = store_with(100_000);
    let memory = || change(&store, |stream| stream.memory());
    let mut snapshot = begin(&store);
    let before = memory();
    change(&store, |stream| assert!(stream.remove_group(b"group")));
    // And what it is kept in.
    assert!((before..before + 128).contains(&memory()), "{} after {before}", memory());
    while let Some(output) = snapshot.next(&store) {
        snapshot.written(output);
    }
    assert!(memory() < before / 100);
}
