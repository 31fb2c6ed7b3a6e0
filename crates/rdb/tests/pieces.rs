//! Values written in pieces: exactly as many bytes as were announced, whatever happens to the value between
//! the first piece and the last, and what is read back is what was there at the beginning.

#[path = "../../store/tests/common/groups.rs"]
mod groups;

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use base::crc::crc64;
use base::random::Rng;
use ds::hash::{FieldTable, HashRef, Ttl};
use ds::list::{End, Limits, ListRef, PackedList};
use ds::saving::{Piece, Savable, Saver};
use ds::set::{MemberTable, SetRef};
use ds::sorted_set::{ScoredTable, SortedSetRef};
use ds::stream::{IdempotenceLimits, NodeLimits, Pending, References, Stream, StreamId};
use rdb::pieces::{Plan, Shape, place, plan, write_piece};
use rdb::{Attributes, Item, Object, ReadOptions, Reader, ValueRef, write_eof, write_header};

/// Puts a body together: pieces stand where they say, or one behind the other.
#[derive(Clone)]
struct Body(Arc<Mutex<Parts>>);

struct Parts {
    shape: Shape,
    bytes: Vec<Option<u8>>,
    next: usize,
}

impl Saver for Body {
    fn save(&mut self, piece: Piece<'_>) -> ControlFlow<()> {
        let mut parts = self.0.lock().expect("no panic");
        let own = place(&piece, parts.shape).map(|at| at as usize);
        let mut bytes = Vec::new();
        write_piece(&mut bytes, piece, parts.shape);
        let at = own.unwrap_or(parts.next);
        parts.next += if own.is_none() { bytes.len() } else { 0 };
        parts.put(at, &bytes);
        ControlFlow::Continue(())
    }

    /// Now it does and now it does not.
    fn lacks_room(&self) -> bool {
        self.0.lock().expect("no panic").next / 8 % 3 == 2
    }
}

impl Parts {
    fn put(&mut self, at: usize, bytes: &[u8]) {
        for (place, byte) in self.bytes[at..][..bytes.len()].iter_mut().zip(bytes) {
            assert_eq!(place.replace(*byte), None, "a byte comes once");
        }
    }
}

/// A saving, and what its file should say.
struct Running<E> {
    number: u32,
    body: Body,
    head: Vec<u8>,
    expected: E,
}

/// Saves a value several times at once while `disturb` changes it. Returns what is read back of each, and
/// what `look` saw when it began.
fn save<V: Savable, E>(
    value: &mut V,
    look: impl Fn(&V) -> (Plan, E),
    mut disturb: impl FnMut(&mut V),
) -> Vec<(Object, E)> {
    let (mut running, mut ended) = (Vec::new(), Vec::new());
    let mut begun = 0;
    for round in 0.. {
        if begun < SAVINGS && (round % 2 == 0 || running.is_empty()) {
            begun += 1;
            running.push(begin(value, begun, look(value)));
        }
        disturb(value);
        let index = round / 3 % running.len();
        if !value.save_on(running[index].number) {
            let Running { number, body, head, expected } = running.swap_remove(index);
            assert!(value.end_saving(number).is_some() && value.saver(number).is_none());
            ended.push((read(&head, &body), expected));
        }
        if running.is_empty() && begun == SAVINGS {
            break;
        }
    }
    ended
}

const SAVINGS: u32 = 3;

fn begin<V: Savable, E>(value: &mut V, number: u32, (planned, expected): (Plan, E)) -> Running<E> {
    let Plan { head, body_len, shape, fixed, .. } = planned;
    let mut parts = Parts { shape, bytes: vec![None; body_len as usize], next: 0 };
    fixed.iter().for_each(|(at, bytes)| parts.put(*at as usize, bytes));
    let body = Body(Arc::new(Mutex::new(parts)));
    value.begin_saving(number, Box::new(body.clone()));
    Running { number, body, head, expected }
}

/// What a file of this value says.
fn read(head: &[u8], body: &Body) -> Object {
    let parts = body.0.lock().expect("no panic");
    let body: Vec<u8> = parts.bytes.iter().map(|byte| byte.expect("every byte comes")).collect();
    let mut file = write_header(rdb::format::VERSION_FIELD_TTL).to_vec();
    file.extend_from_slice(head);
    file.extend_from_slice(&body);
    let crc = crc64(0, &file);
    write_eof(&mut file, Some(crc));
    let mut reader = Reader::new(file.as_slice(), &ReadOptions::default()).expect("a header");
    match reader.next().expect("a whole file") {
        Item::Record(record) => {
            assert_eq!((record.key.as_slice(), record.expires_at), (KEY, Some(9)));
            assert!(matches!(reader.next(), Ok(Item::End)));
            record.value
        }
        other => panic!("a record, not {other:?}"),
    }
}

const KEY: &[u8] = b"the key";

fn planned(value: ValueRef<'_>) -> Plan {
    plan(KEY, Attributes { expires_at: Some(9), ..Attributes::default() }, value)
        .expect("it is written in pieces")
}

/// A number of any length up to so many bits.
fn number(rng: &mut Rng, bits: u64) -> u64 {
    let bits = rng.below(bits);
    rng.below(1 << bits)
}

/// Digits too, which must not become numbers, and every form of a length.
fn text(rng: &mut Rng) -> Vec<u8> {
    match rng.below(40) {
        0 => vec![b'a'; 16_000 + rng.below(1000) as usize],
        1..=10 => number(rng, 60).to_string().into_bytes(),
        11..=20 => vec![b'b'; 60 + rng.below(10) as usize],
        _ => vec![b'c'; rng.below(100) as usize],
    }
}

fn time(rng: &mut Rng) -> Option<i64> {
    (rng.below(3) == 0).then(|| number(rng, 62) as i64)
}

fn fields(table: &FieldTable) -> Vec<(Vec<u8>, Vec<u8>, Option<i64>)> {
    let mut all: Vec<_> = table.iter().map(|f| (f.field.to_vec(), f.value.to_vec(), f.expires_at)).collect();
    all.sort();
    all
}

#[test]
fn hashes() {
    for seed in 0..100 {
        let mut rng = Rng::from_seed(seed);
        let mut table = FieldTable::default();
        for field in 0..1 + rng.below(2000) {
            let expires_at = if seed % 2 == 0 { time(&mut rng) } else { None };
            table.insert_new(format!("{field}").as_bytes(), &text(&mut rng), expires_at);
        }
        let look = |table: &FieldTable| (planned(ValueRef::Hash(HashRef::Table(table))), fields(table));
        let saved = save(&mut table, look, |table| {
            for _ in 0..20 {
                let field = rng.below(2500).to_string().into_bytes();
                match rng.below(3) {
                    0 => drop(table.set(&field, &text(&mut rng), Ttl::Drop, 0)),
                    1 => drop(table.remove(&field)),
                    _ => drop(table.set_expiry(&field, time(&mut rng))),
                }
            }
        });
        for (object, expected) in saved {
            let Object::Hash(read) = object else { panic!("a hash") };
            let mut found = Vec::new();
            read.view().for_each(i64::MIN, |pair| {
                found.push((pair.field.to_vec(), pair.value.to_vec(), pair.expires_at));
            });
            found.sort();
            assert!(found == expected, "seed {seed}");
        }
        table.check_invariants();
    }
}

#[test]
fn sets_and_sorted_sets() {
    for seed in 0..100 {
        let mut rng = Rng::from_seed(seed);
        let (mut set, mut sorted) = (MemberTable::default(), ScoredTable::default());
        for _ in 0..1 + rng.below(2000) {
            let member = [rng.below(3000).to_string().into_bytes(), text(&mut rng)].concat();
            set.insert(&member);
            sorted.set(&member, rng.below(100) as f64 - 0.5);
        }
        let members: Vec<Vec<u8>> = set.iter().map(<[u8]>::to_vec).collect();
        let sort = |mut all: Vec<Vec<u8>>| {
            all.sort();
            all
        };
        let look = |set: &MemberTable| {
            let members = sort(set.iter().map(<[u8]>::to_vec).collect());
            (planned(ValueRef::Set(SetRef::Table(set))), members)
        };
        let saved = save(&mut set, look, |set| {
            let mut below = |bound| rng.below(bound);
            set.remove_sample(20, &mut below, &mut |_| {});
            set.insert(b"new");
        });
        for (object, expected) in saved {
            let Object::Set(read) = object else { panic!("a set") };
            let found = sort(read.view().iter().map(|member| member.to_vec()).collect());
            assert!(found == expected, "seed {seed}");
        }
        set.check_invariants();

        let scores = |set: SortedSetRef<'_>| -> Vec<(Vec<u8>, u64)> {
            set.iter().map(|item| (item.member.to_vec(), item.score.to_bits())).collect()
        };
        let look = |sorted: &ScoredTable| {
            let view = SortedSetRef::Table(sorted);
            (planned(ValueRef::SortedSet(view)), scores(view))
        };
        let saved = save(&mut sorted, look, |sorted| {
            for _ in 0..20 {
                let member = &members[rng.below(members.len() as u64) as usize];
                match rng.below(2) {
                    0 => drop(sorted.set(member, rng.below(100) as f64)),
                    _ => drop(sorted.remove(member)),
                }
            }
            sorted.remove_ranks(0..sorted.len() / 10, |_| {});
        });
        for (object, expected) in saved {
            let Object::SortedSet(read) = object else { panic!("a sorted set") };
            assert!(scores(read.view()) == expected, "seed {seed}");
        }
        sorted.check_invariants();
    }
}

#[test]
fn lists() {
    for seed in 0..200 {
        let mut rng = Rng::from_seed(seed);
        let (size, depth) = ([1, 2, 5, -2][seed as usize % 4], seed as usize / 4 % 3);
        let mut list = PackedList::new(Limits::new(size, depth));
        for _ in 0..1 + rng.below(1000) {
            list.push(End::Back, &text(&mut rng));
        }
        let elements = |list: ListRef<'_>| {
            let mut all = Vec::new();
            list.for_each(|element| all.push(element.to_vec()));
            all
        };
        let look = |list: &PackedList| {
            let view = ListRef::Nodes(list);
            (planned(ValueRef::List(view)), elements(view))
        };
        let saved = save(&mut list, look, |list| {
            for _ in 0..rng.below(30) {
                let index = rng.below(list.len() as u64 + 1) as usize;
                match rng.below(6) {
                    0 => list.push(End::Front, &text(&mut rng)),
                    1 => list.push(End::Back, &text(&mut rng)),
                    2 => list.insert(index, &text(&mut rng)),
                    3 if index < list.len() => list.replace(index, &text(&mut rng)),
                    4 => list.remove(index, rng.below(40) as usize),
                    _ => list.remove(0, 1),
                }
            }
            if list.is_empty() {
                list.push(End::Back, b"no list is empty");
            }
            list.check_invariants();
        });
        for (object, expected) in saved {
            let Object::List(read) = object else { panic!("a list") };
            assert!(elements(read.view()) == expected, "seed {seed}");
        }
    }
}

/// The chunk behind which another one begins does not change.
#[test]
fn pending_entries_behind_full_chunks() {
    for count in 120..=270 {
        let mut stream = Stream::default();
        let set = |stream: &mut Stream, range: std::ops::Range<u64>| {
            let mut group = stream.group_mut(b"group").expect("is there").0;
            let consumer = group.consumer_named(b"consumer");
            for number in range {
                let consumer = consumer.filter(|_| number % 2 == 0);
                let id = StreamId::new(number, 0);
                group.set_pending(id, Pending { consumer, delivered_at: 3, deliveries: 1 });
            }
        };
        let mut group = stream.create_group(b"group", StreamId::MIN, None).expect("is new");
        group.create_consumer(b"consumer", 1);
        set(&mut stream, 0..count);
        let bytes = |stream: &Stream| rdb::dump(ValueRef::Stream(stream), VERSION, &PLAIN);
        let look = |stream: &Stream| (planned(ValueRef::Stream(stream)), bytes(stream));
        let mut next = count;
        let saved = save(&mut stream, look, |stream| {
            set(stream, next..next + 2);
            next += 2;
        });
        for (object, expected) in saved {
            let Object::Stream(read) = object else { panic!("a stream") };
            assert!(bytes(&read) == expected, "{count}");
        }
    }
}

#[test]
fn streams() {
    for seed in 0..400 {
        let mut rng = Rng::from_seed(seed);
        let mut stream = Stream::default();
        let add = |stream: &mut Stream, rng: &mut Rng| {
            let (value, last) = (text(rng), stream.entries().last_id());
            let id = StreamId::new(last.ms + rng.below(3), last.seq + 1);
            let content = [b"field".as_slice(), &value];
            let limits = NodeLimits { bytes: 400, entries: 7 };
            stream.append(id, content.into_iter(), limits).expect("the id is above");
        };
        (0..1 + rng.below(500)).for_each(|_| add(&mut stream, &mut rng));
        let ids: Vec<StreamId> =
            stream.entries().range(StreamId::MIN, StreamId::MAX).map(|entry| entry.id).collect();
        groups::fill_groups(&mut stream, &mut rng);
        if seed % 5 == 0 {
            stream.producers_mut(IdempotenceLimits::default()).record(b"producer", b"id", ids[0], 0);
        }
        let bytes = |stream: &Stream| rdb::dump(ValueRef::Stream(stream), VERSION, &PLAIN);
        let look = |stream: &Stream| (planned(ValueRef::Stream(stream)), bytes(stream));
        let saved = save(&mut stream, look, |stream| {
            add(stream, &mut rng);
            for _ in 0..5 {
                stream.remove(ids[rng.below(ids.len() as u64) as usize], References::Drop);
            }
            (0..rng.below(8)).for_each(|_| groups::change_groups(stream, &mut rng));
            stream.check_invariants();
        });
        for (object, expected) in saved {
            let Object::Stream(read) = object else { panic!("a stream") };
            assert!(bytes(&read) == expected, "seed {seed}");
        }
    }
}

const VERSION: u32 = rdb::format::VERSION_FIELD_TTL;
const PLAIN: rdb::WriteOptions = rdb::WriteOptions { compress: false };
