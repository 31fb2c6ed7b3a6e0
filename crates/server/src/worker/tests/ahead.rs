//! Requests that change most of a value, or very many keys, while a snapshot runs: what waits in memory keeps
//! to its bound, others go on, and the request is answered.

use std::sync::atomic::AtomicBool;

use store::Plan;
use store::snapshot::Snapshot;

use super::*;

type Words = Vec<Vec<u8>>;

const ITEMS: usize = 20_000;
const LIMIT: usize = 1_000_000;

fn words(words: &[&str]) -> Words {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

fn item(index: usize) -> Vec<u8> {
    format!("item:{index}:{}", "v".repeat(150)).into_bytes()
}

fn id(index: usize) -> Vec<u8> {
    format!("{}-1", index + 1).into_bytes()
}

/// A request of these words, and those of every `step`th item.
fn of_items(command: &[&str], step: usize, of_item: impl Fn(usize) -> Words) -> Words {
    words(command).into_iter().chain((0..ITEMS).step_by(step).flat_map(of_item)).collect()
}

fn of_each(of_item: impl Fn(usize) -> Words) -> Vec<Words> {
    (0..ITEMS).map(of_item).collect()
}

fn bytes_of(requests: &[Words]) -> Vec<u8> {
    let encoded = requests.iter().map(|words| encode(&words.iter().map(Vec::as_slice).collect::<Vec<_>>()));
    encoded.flatten().collect()
}

/// Up to the reply to a PING, behind which nothing comes.
fn read_all(peer: &mut Peer) {
    let (mut buffer, mut last) = (vec![0; 1 << 16], Vec::new());
    while !last.ends_with(b"+PONG\r\n") {
        let len = peer.read(&mut buffer).expect("a reply");
        last.extend_from_slice(&buffer[..len]);
        last.drain(..last.len().saturating_sub(100));
    }
}

/// Fills the store, and makes the change while a snapshot runs whose disk waits for it. Meanwhile others are
/// served.
fn check(fill: &[Words], change: &[Words]) {
    check_beside(fill, change, |reader| {
        for _ in 0..10 {
            reader.call(&[b"GET", b"other"], "$-1\r\n");
        }
    });
}

/// As `check`, of a script that has all locks.
fn check_script(fill: &[Words], script: &str) {
    check_beside(fill, &[words(&["EVAL", script, "0"])], |_| {});
}

fn check_beside(fill: &[Words], change: &[Words], meanwhile: impl Fn(&mut Peer)) {
    let server = Server::one();
    server.stop_clock();
    let (mut writer, mut reader) = (server.connect(), server.connect());
    let end = words(&["PING"]);
    writer.send([bytes_of(fill), bytes_of(std::slice::from_ref(&end))].concat());
    read_all(&mut writer);
    let (store, client) = (&server.engine.store, server.oldest());
    let input = || client.total_input.load(Ordering::Relaxed);
    store.set_snapshot_limit(LIMIT);
    let mut snapshot = Snapshot::begin(&mut store.lock(&Plan::All)).expect("no other runs");
    let answered = AtomicBool::new(false);
    let bytes = bytes_of(change);
    let whole = input() + bytes.len() as u64;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            writer.send([bytes, bytes_of(&[end])].concat());
            read_all(&mut writer);
            answered.store(true, Ordering::Relaxed);
        });
        server.wait_until("the request to be there", || input() >= whole);
        // Now it runs or waits.
        meanwhile(&mut reader);
        while !answered.load(Ordering::Relaxed) {
            snapshot.next(store).into_iter().for_each(|output| snapshot.written(output));
        }
    });
    let peak = snapshot.backlog_peak();
    assert!(peak > 0 && peak < LIMIT, "{}: {peak} bytes waited", String::from_utf8_lossy(&change[0][0]));
    snapshot.cancel(store, &drop);
}

#[test]
fn strings() {
    let fill = [words(&["SETRANGE", "text", "8388607", "x"])];
    let set = |index: usize| words(&["SET", "u8", &(index * 419 * 8).to_string(), "1"]);
    check(&fill, &[of_items(&["BITFIELD", "text"], 100, set)]);
    check(&fill, &[words(&["SETRANGE", "text", "9", &"x".repeat(4 << 20)])]);
}

#[test]
fn a_list() {
    let element = |index: usize| if index.is_multiple_of(10) { words(&["same"]) } else { vec![item(index)] };
    let fill = [of_items(&["RPUSH", "list"], 1, element)];
    check(&fill, &[words(&["LREM", "list", "0", "same"])]);
}

#[test]
fn tables() {
    let field = |value: &'static str| move |index: usize| vec![item(index), value.into()];
    check(&[of_items(&["HSET", "hash"], 1, field("a"))], &[of_items(&["HSET", "hash"], 1, field("b"))]);
    let member = |score: &'static str| move |index: usize| vec![score.into(), item(index)];
    check(&[of_items(&["ZADD", "zset"], 1, member("1"))], &[of_items(&["ZADD", "zset"], 1, member("2"))]);
}

#[test]
fn a_stream() {
    let mut fill = of_each(|index| vec![b"XADD".into(), b"x".into(), id(index), b"f".into(), item(index)]);
    fill.push(words(&["XGROUP", "CREATE", "x", "g", "0"]));
    fill.push(words(&["XREADGROUP", "GROUP", "g", "c", "STREAMS", "x", ">"]));
    check(&fill, &[of_items(&["XDEL", "x"], 20, |index| vec![id(index)])]);
    check(&fill, &[of_items(&["XACK", "x", "g"], 20, |index| vec![id(index)])]);
    check(&fill, &[words(&["XREADGROUP", "GROUP", "g", "c", "STREAMS", "x", "0"])]);
    check(&fill, &[words(&["XAUTOCLAIM", "x", "g", "c", "0", "0", "COUNT", "20000", "JUSTID"])]);
}

#[test]
fn many_keys() {
    let set = |value: &'static str| move |index: usize| vec![b"SET".into(), item(index), value.into()];
    let fill = of_each(set("a"));
    check(&fill, &[of_items(&["MSET"], 1, |index| vec![item(index), b"b".into()])]);
    check(&fill, &[of_items(&["DEL"], 1, |index| vec![item(index)])]);
    let mut transaction = vec![words(&["MULTI"])];
    transaction.extend(of_each(set("b")));
    transaction.push(words(&["EXEC"]));
    check(&fill, &transaction);
    let script = "for _, key in ipairs(KEYS) do redis.call('DEL', key) end";
    check(&fill, &[of_items(&["EVAL", script, &ITEMS.to_string()], 1, |index| vec![item(index)])]);
}

/// What scripts change that they have not declared waits under their locks.
#[test]
fn keys_of_scripts() {
    let names = format!("local function item(i) return 'item:' .. i .. ':{}' end ", "v".repeat(150));
    let each = |change: &str| format!("{names} for i = 0, {} do {change} end", ITEMS - 1);
    let set = of_each(|index| vec![b"SET".into(), item(index), b"a".into()]);
    check_script(&set, &each("redis.call('SET', item(i), 'b')"));
    check_script(&set, &each("redis.call(i % 2 == 0 and 'DEL' or 'PERSIST', item(i))"));
    let hash = of_items(&["HSET", "hash"], 1, |index| vec![item(index), b"a".into()]);
    check_script(std::slice::from_ref(&hash), &each("redis.call('HSET', 'hash', item(i), 'b')"));
    let many = "local fields = {} \
                for i = 0, 3000 do fields[2 * i + 1] = item(i) fields[2 * i + 2] = 'b' end \
                redis.call('HSET', 'hash', unpack(fields))";
    check_script(&[hash], &format!("{names} {many}"));
    let element = |index: usize| if index.is_multiple_of(10) { words(&["same"]) } else { vec![item(index)] };
    let list = of_items(&["RPUSH", "list"], 1, element);
    check_script(&[list], "redis.call('LREM', 'list', 0, 'same')");
    check_script(
        &[words(&["SETRANGE", "text", "8388607", "x"])],
        &format!("redis.call('SETRANGE', 'text', 9, string.rep('x', {}))", 4 << 20),
    );
}

#[test]
fn a_disk_that_hangs_holds_a_script_up_once() {
    let server = Server::one();
    let (mut writer, store) = (server.connect(), &server.engine.store);
    let fill = of_items(&["MSET"], 1, |index| vec![item(index), b"a".into()]);
    writer.send([bytes_of(&[fill]), bytes_of(&[words(&["PING"])])].concat());
    read_all(&mut writer);
    store.set_snapshot_limit(LIMIT);
    let snapshot = Snapshot::begin(&mut store.lock(&Plan::All)).expect("no other runs");
    let delays = || server.engine.sum(|stats| stats.snapshot_delays.value());
    let (before, answered) = (delays(), AtomicBool::new(false));
    let script = "for _, key in ipairs(redis.call('KEYS', '*')) do redis.call('APPEND', key, 'b') end";
    std::thread::scope(|scope| {
        scope.spawn(|| {
            writer.send(bytes_of(&[words(&["EVAL", script, "0"]), words(&["PING"])]));
            read_all(&mut writer);
            answered.store(true, Ordering::Relaxed);
        });
        server.wait_until("it to be full", || store.snapshots_are_behind());
        server.wait_until("the script's end", || {
            server.advance(5);
            answered.load(Ordering::Relaxed)
        });
    });
    assert_eq!(delays() - before, 1);
    assert!(snapshot.backlog_peak() > LIMIT, "it went on");
    snapshot.cancel(store, &drop);
}
