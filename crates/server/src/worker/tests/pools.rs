//! Clients that together hold more than they may: the largest has to go, whatever it is that it holds.

use std::sync::atomic::Ordering;

use engine::clients::{Client, flag};
use engine::config::{Amount, DebugAccess};
use engine::memory::Look;

use super::*;

/// A server whose clients may hold a megabyte, and large arguments two.
fn small(workers: usize) -> Server {
    Server::start(workers, |config| {
        config.maxmemory_clients = Amount::Bytes(1 << 20);
        config.maxmemory_arguments = Amount::Bytes(2 << 20);
    })
}

fn evicted(server: &Server) -> u64 {
    server.engine.sum(|stats| stats.evicted_clients.value())
}

/// A connection does something again and again, until it is closed; one that holds little stays.
fn goes(begin: &[&[u8]], next: impl Fn(usize) -> Vec<u8>) {
    let server = small(1);
    let mut other = server.connect();
    other.call(&[b"PING"], "+PONG\r\n");
    let mut peer = server.connect();
    if !begin.is_empty() {
        peer.send(encode(begin));
    }
    let closed = (0..100_000).any(|index| {
        let Stream::Tcp(stream) = &mut peer.stream else { unreachable!("it came by TCP") };
        stream.write_all(&next(index)).is_err() || evicted(&server) > 0
    });
    assert!(closed, "a client that holds ever more is closed");
    server.wait_for_clients(1);
    assert_eq!(evicted(&server), 1);
    assert!(server.logged("Evicting client: id="));
    other.call(&[b"PING"], "+PONG\r\n");
}

fn name(index: usize) -> String {
    format!("{index:0>2000}")
}

#[test]
fn who_holds_most_goes() {
    let queued = |index| encode(&[b"SET", name(index).as_bytes(), b"value"]);
    goes(&[b"MULTI"], queued);
    goes(&[], |index| encode(&[b"WATCH", name(index).as_bytes()]));
    goes(&[], |index| encode(&[b"SUBSCRIBE", name(index).as_bytes()]));
    goes(&[], |index| encode(&[b"PSUBSCRIBE", name(index).as_bytes()]));
    goes(&[], |index| encode(&[b"CLIENT", b"TRACKING", b"ON", b"BCAST", b"PREFIX", name(index).as_bytes()]));
    // A request of many small arguments that never ends.
    goes(&[], |index| match index {
        0 => b"*100000\r\n$4\r\nMSET\r\n".to_vec(),
        _ => format!("$2000\r\n{}\r\n", name(index)).into_bytes(),
    });
    // Large arguments have a limit of their own.
    goes(&[], |index| match index {
        0 => b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$400000000\r\n".to_vec(),
        _ => vec![b'v'; 10_000],
    });
}

/// It listens to some tens of thousands of channels with short names. False if it was ended meanwhile.
fn subscribe(peer: &mut Peer, count: usize) -> bool {
    let names: Vec<String> = (0..count).map(|index| index.to_string()).collect();
    let chunk = |chunk: &[String]| {
        let words = ["SUBSCRIBE"].into_iter().chain(chunk.iter().map(String::as_str));
        peer.send(encode(&words.map(str::as_bytes).collect::<Vec<_>>()));
        let last = format!(":{}\r\n", chunk[chunk.len() - 1].parse::<usize>().expect("a number") + 1);
        let mut seen = Vec::new();
        while !seen.ends_with(last.as_bytes()) {
            let mut buffer = [0; 1 << 16];
            match peer.read(&mut buffer) {
                Ok(len @ 1..) => seen.extend_from_slice(&buffer[..len]),
                _ => return false,
            }
        }
        true
    };
    names.chunks(1000).all(chunk)
}

/// Of a short name that one client has brought, most is the registry's.
#[test]
fn who_has_many_short_names_goes() {
    let server = Server::start(1, |config| config.maxmemory_clients = Amount::Bytes(12 << 20));
    let (mut other, mut peer) = (server.connect(), server.connect());
    other.call(&[b"MULTI"], "+OK\r\n");
    (0..4).for_each(|_| other.call(&[b"SET", b"k", &pattern(900_000, 1)], "+QUEUED\r\n"));
    assert!(!subscribe(&mut peer, 100_000), "it is ended");
    server.wait_for_clients(1);
    assert_eq!(evicted(&server), 1);
    other.call(&[b"DISCARD"], "+OK\r\n");
}

#[test]
fn names_that_are_shared_count_once() {
    let server = Server::start(1, |config| config.maxmemory_clients = Amount::Bytes(10 << 20));
    let mut peers = [server.connect(), server.connect()];
    assert!(peers.iter_mut().all(|peer| subscribe(peer, 40_000)));
    assert_eq!(evicted(&server), 0);
}

#[test]
fn who_has_a_long_name_goes() {
    let name = vec![b'n'; 3 << 19];
    let requests: [&[&[u8]]; 4] = [
        &[b"CLIENT", b"SETNAME", &name],
        &[b"HELLO", b"3", b"SETNAME", &name],
        &[b"CLIENT", b"SETINFO", b"LIB-NAME", &name],
        &[b"CLIENT", b"SETINFO", b"LIB-VER", &name],
    ];
    for request in requests {
        let server = small(1);
        let mut peer = server.connect();
        peer.call(&[b"PING"], "+PONG\r\n");
        peer.send(encode(request));
        server.wait_for_clients(0);
        assert_eq!(evicted(&server), 1, "{}", String::from_utf8_lossy(request[1]));
    }
}

#[test]
fn who_does_not_read_goes() {
    let server = small(1);
    let (mut slow, mut other) = (server.connect(), server.connect());
    slow.call(&[b"PING"], "+PONG\r\n");
    let client = server.oldest();
    let keys: Vec<String> = (0..10).map(name).collect();
    for (index, key) in keys.iter().enumerate() {
        other.call(&[b"SET", key.as_bytes(), &pattern(300_000, index)], "+OK\r\n");
    }
    let named = |command: &'static str| {
        let words = [command].into_iter().chain(keys.iter().map(String::as_str));
        encode(&words.map(str::as_bytes).collect::<Vec<_>>())
    };
    slow.send(named("MGET").repeat(100));
    server.wait_until("replies to wait", || client.output_shared.load(Ordering::Relaxed) > 1 << 20);
    // From here on the values are in memory for nothing but the replies.
    other.send(named("DEL"));
    other.expect(":10\r\n");
    server.wait_for_clients(1);
    assert_eq!(evicted(&server), 1);
}

#[test]
fn a_reply_larger_than_clients_may_hold_is_not_built() {
    let server = small(1);
    let (mut peer, mut other) = (server.connect(), server.connect());
    peer.send(encode(&[b"ECHO", &pattern(1_500_000, 1)]));
    server
        .wait_until("it to be closed", || server.engine.sum(|stats| stats.output_limit_closed.value()) == 1);
    other.call(&[b"PING"], "+PONG\r\n");
    server.wait_for_clients(1);
}

/// What a reply refers to is in memory anyhow, until it leaves the data.
#[test]
fn who_reads_a_large_value_stays() {
    const LEN: usize = 32 << 20;
    let server = Server::start(1, |config| {
        config.maxmemory_clients = Amount::Bytes(1 << 20);
        config.maxmemory_arguments = Amount::Bytes(64 << 20);
    });
    let (mut other, mut slow) = (server.connect(), server.connect());
    other.call(&[b"PING"], "+PONG\r\n");
    slow.call(&[b"SET", b"key", &pattern(LEN, 1)], "+OK\r\n");
    let client = server.newest();
    for whole in [true, false] {
        slow.send(encode(&[b"GET", b"key"]));
        server.wait_until("the reply to wait", || client.output_shared.load(Ordering::Relaxed) == LEN);
        assert_eq!(client.output_lent.load(Ordering::Relaxed), LEN);
        if whole {
            slow.expect(bulk(&pattern(LEN, 1)));
            server.wait_until("nothing to wait", || client.output_shared.load(Ordering::Relaxed) == 0);
        }
    }
    assert_eq!(evicted(&server), 0);
    other.call(&[b"DEL", b"key"], ":1\r\n");
    server.wait_for_clients(1);
    assert_eq!(evicted(&server), 1);
}

#[test]
fn who_must_not_be_evicted_stays() {
    let server = small(2);
    let mut peers: Vec<Peer> = (0..4).map(|_| server.connect()).collect();
    peers.iter_mut().for_each(|peer| peer.call(&[b"MULTI"], "+OK\r\n"));
    peers[0].call(&[b"DISCARD"], "+OK\r\n");
    peers[0].call(&[b"CLIENT", b"NO-EVICT", b"on"], "+OK\r\n");
    peers[0].call(&[b"MULTI"], "+OK\r\n");
    for (peer, len) in peers.iter_mut().zip([600_000, 100_000, 200_000, 300_000]) {
        peer.call(&[b"SET", b"key", &vec![b'v'; len]], "+QUEUED\r\n");
    }
    // On whatever workers they are, the largest of those that may go is the one.
    server.wait_for_clients(3);
    peers.pop();
    peers.iter_mut().for_each(|peer| peer.call(&[b"EXEC"], "*1\r\n+OK\r\n"));
    assert_eq!(evicted(&server), 1);
}

#[test]
fn sums_follow_every_connection() {
    let server = small(2);
    let sum = || {
        let clients = server.engine.clients.all();
        clients.iter().map(|client| Client::memory(client) as u64).sum::<u64>()
    };
    let counted = || {
        server.engine.sum(|stats| stats.clients_bytes.value())
            + server.engine.sum(|stats| stats.arguments_bytes.value())
    };
    let mut peers: Vec<Peer> = (0..6).map(|_| server.connect()).collect();
    for (index, peer) in peers.iter_mut().enumerate() {
        peer.call(&[b"WATCH", name(index).as_bytes()], "+OK\r\n");
        peer.call(&[b"MULTI"], "+OK\r\n");
        peer.call(&[b"GET", name(index).as_bytes()], "+QUEUED\r\n");
        peer.send(format!("*2\r\n$3\r\nGET\r\n${}\r\nhalf", 10 + index * 20_000).into_bytes());
    }
    server.wait_until("the halves to come", || {
        server.engine.clients.all().iter().all(|client| client.input_bytes.load(Ordering::Relaxed) > 4)
    });
    server.wait_until("the sums to follow", || counted() == sum());
    peers.truncate(3);
    server.wait_for_clients(3);
    server.wait_until("the sums to follow", || counted() == sum());
    peers.clear();
    server.wait_until("nothing to be held", || counted() == 0);
}

#[test]
fn an_argument_without_room_is_not_kept() {
    let server = Server::one();
    let mut peer = server.connect();
    peer.call(&[b"SET", b"key", b"before"], "+OK\r\n");
    server.engine.memory.refresh(Look { allocated: 2, resident: 2, limit: 1, ..Look::default() }, 0);
    let large = pattern(3_000_000, 9);
    let (first, rest) = large.split_at(1_000_000);
    peer.send(b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$3000000\r\n");
    peer.send(first);
    let client = server.newest();
    server.wait_until("it to be dropped", || {
        client.total_input.load(Ordering::Relaxed) > 1_000_000 && client.memory() < 200_000
    });
    peer.send(rest);
    peer.send(b"\r\n");
    peer.expect("-OOM command not allowed when used memory > 'maxmemory'.\r\n");
    peer.call(&[b"GET", b"key"], "$6\r\nbefore\r\n");
    peer.call(&[b"MULTI"], "+OK\r\n");
    peer.send(encode(&[b"SET", b"key", &large]));
    peer.expect("-OOM command not allowed when used memory > 'maxmemory'.\r\n");
    peer.call(&[b"EXEC"], "-EXECABORT Transaction discarded because of previous errors.\r\n");
    server.engine.memory.refresh(Look::default(), 0);
    peer.call(&[b"SET", b"key", &large], "+OK\r\n");
}

#[test]
fn an_argument_waits_while_pages_come_free() {
    let server = Server::one();
    let mut peer = server.connect();
    peer.call(&[b"PING"], "+PONG\r\n");
    server.engine.memory.refresh(SWOLLEN, 0);
    let request = encode(&[b"SET", b"key", &pattern(900_000, 9)]);
    let (first, rest) = request.split_at(100_000);
    peer.send(first);
    let (client, ticks) = (server.newest(), || server.engine.sum(|stats| stats.ticks.value()));
    let read = || client.total_input.load(Ordering::Relaxed);
    server.wait_until("its beginning", || read() > 1000);
    let begin = ticks();
    server.wait_until("it to wait", || ticks() > begin + 5);
    assert!(read() < 100_000, "{} bytes were read", read());
    server.engine.memory.refresh(Look { resident: 1, ..SWOLLEN }, 0);
    peer.send(rest);
    peer.expect("+OK\r\n");
}

/// What a look finds while pages come free.
const SWOLLEN: Look = {
    const LIMIT: usize = 1 << 30;
    Look {
        allocated: 1,
        resident: LIMIT + LIMIT / 60,
        returning: LIMIT,
        waiting: 0,
        freed: 0,
        reserved: 0,
        limit: LIMIT as u64,
    }
};

/// Small values take no less than large ones if there are many. Who needs no memory goes on, and nobody waits
/// for long for pages that stay, nor again at once.
#[test]
fn who_needs_memory_waits_while_pages_come_free() {
    let server = Server::one();
    server.stop_clock();
    let (mut writer, mut other) = (server.connect(), server.connect());
    writer.call(&[b"PING"], "+PONG\r\n");
    let client = server.oldest();
    let delays = || server.engine.sum(|stats| stats.page_delays.value());
    let requests: [(&[&[u8]], &str); 3] = [
        (&[b"SET", b"key", b"value"], "+OK\r\n"),
        (&[b"EVAL", b"return redis.call('SET', 'key', 'value')", b"0"], "+OK\r\n"),
        (&[b"RPUSH", b"key", b"value"], ":1\r\n"),
    ];
    for (times, (request, reply)) in requests.into_iter().enumerate() {
        server.engine.memory.refresh(SWOLLEN, 0);
        let request = encode(request);
        let whole = client.total_input.load(Ordering::Relaxed) + request.len() as u64;
        writer.send(request);
        server.wait_until("it to come", || client.total_input.load(Ordering::Relaxed) == whole);
        other.call(&[b"EXISTS", b"key"], ":0\r\n");
        other.call(&[b"EVAL_RO", b"return redis.call('EXISTS', 'key')", b"0"], ":0\r\n");
        other.call(&[b"DEL", b"key"], ":0\r\n");
        match times {
            0 => server.advance(1),
            _ => server.engine.memory.refresh(Look { resident: 1, ..SWOLLEN }, 0),
        }
        writer.expect(reply);
        if times == 0 {
            other.call(&[b"APPEND", b"key", b"more"], ":9\r\n");
            server.advance(1);
        }
        other.call(&[b"DEL", b"key"], ":1\r\n");
        assert_eq!(delays(), times as u64 + 1);
    }
}

/// Each of them has a request that takes longer than a round should.
#[test]
fn those_that_have_waited_go_on_in_turn() {
    const PEERS: usize = 8;
    let server = Server::start(1, |config| config.enable_debug_command = DebugAccess::Yes);
    let mut peers: Vec<_> = (0..PEERS).map(|_| server.connect()).collect();
    peers.iter_mut().for_each(|peer| peer.call(&[b"PING"], "+PONG\r\n"));
    let (ticks, read) = (
        || server.engine.sum(|stats| stats.ticks.value()),
        || {
            server
                .engine
                .clients
                .all()
                .iter()
                .map(|client| client.total_input.load(Ordering::Relaxed))
                .sum::<u64>()
        },
    );
    server.engine.memory.refresh(SWOLLEN, 0);
    let request = [encode(&[b"SET", b"key", b"value"]), encode(&[b"DEBUG", b"SLEEP", b"0.003"])].concat();
    let all = read() + (request.len() * PEERS) as u64;
    peers.iter_mut().for_each(|peer| peer.send(&request));
    server.wait_until("all to wait", || read() == all);
    let before = ticks();
    server.engine.memory.refresh(Look { resident: 1, ..SWOLLEN }, 0);
    peers.iter_mut().for_each(|peer| peer.expect("+OK\r\n+OK\r\n"));
    let passed = ticks() - before;
    assert!(passed >= PEERS as u64 - 1, "{passed} rounds");
}

/// Whatever the thread does whose work it is: here there is none.
#[test]
fn a_worker_whose_clients_wait_for_pages_makes_them_free() {
    let server = Server::one();
    server.stop_clock();
    let mut peer = server.connect();
    peer.call(&[b"PING"], "+PONG\r\n");
    let helps = || server.engine.defrag.is_helped(server.engine.host.monotonic_ns());
    assert!(!helps());
    server.engine.memory.refresh(SWOLLEN, 0);
    peer.send(encode(&[b"SET", b"key", b"value"]));
    server.wait_until("the worker to help", helps);
    server.engine.memory.refresh(Look { resident: 1, ..SWOLLEN }, 0);
    peer.expect("+OK\r\n");
}

/// What was read behind a request that waits does so in memory. Enough of them, and clients had to go for it.
#[test]
fn little_is_read_behind_a_request_that_waits_for_pages() {
    const TIMES: usize = 1000;
    let server = Server::one();
    server.stop_clock();
    let mut writer = server.connect();
    writer.call(&[b"PING"], "+PONG\r\n");
    let client = server.oldest();
    server.engine.memory.refresh(SWOLLEN, 0);
    writer.send(encode(&[b"SET", b"key", b"value"]).repeat(TIMES));
    let read = || client.total_input.load(Ordering::Relaxed);
    server.wait_until("it to wait", || read() > 1000);
    server.connect().call(&[b"PING"], "+PONG\r\n");
    assert!(read() < 10_000, "{} bytes were read", read());
    server.engine.memory.refresh(Look { resident: 1, ..SWOLLEN }, 0);
    writer.expect("+OK\r\n".repeat(TIMES));
}

/// Sums are not looked at again while nobody's changes, but for a limit that has.
#[test]
fn a_lowered_limit_counts_before_anybody_hears_of_it() {
    let server = small(1);
    let mut control = server.connect();
    for times in 1..=20 {
        control.call(&[b"CONFIG", b"SET", b"maxmemory-clients", b"4mb"], "+OK\r\n");
        let mut peer = server.connect();
        peer.call(&[b"MULTI"], "+OK\r\n");
        peer.call(&[b"SET", b"key", &pattern(1_500_000, 1)], "+QUEUED\r\n");
        control.call(&[b"CONFIG", b"SET", b"maxmemory-clients", b"1mb"], "+OK\r\n");
        assert_eq!(evicted(&server), times);
    }
}

#[test]
fn a_limit_set_too_low_can_be_raised_again() {
    let server = Server::start(1, |config| config.maxmemory = Amount::Bytes(100));
    let mut peer = server.connect();
    peer.call(&[b"PING"], "+PONG\r\n");
    peer.call(&[b"CONFIG", b"SET", b"maxmemory", b"0"], "+OK\r\n");
    peer.call(&[b"SET", b"key", b"value"], "+OK\r\n");
    assert_eq!(evicted(&server), 0);
}

#[test]
fn a_monitor_that_does_not_read_goes() {
    let server = small(1);
    let (mut monitor, mut other) = (server.connect(), server.connect());
    monitor.call(&[b"MONITOR"], "+OK\r\n");
    let value = pattern(30_000, 1);
    let gone = (0..10_000).any(|_| {
        other.call(&[b"SET", b"key", &value], "+OK\r\n");
        evicted(&server) > 0
    });
    assert!(gone, "what waits for it counts");
    server.wait_for_clients(1);
    other.call(&[b"PING"], "+PONG\r\n");
    assert_eq!(evicted(&server), 1);
}

/// Large arguments have a limit of their own, whole or not.
#[test]
fn an_argument_that_waits_to_run_is_no_clients_memory() {
    let server = small(1);
    let (mut peer, mut control) = (server.connect(), server.connect());
    control.call(&[b"CLIENT", b"PAUSE", b"1000000", b"ALL"], "+OK\r\n");
    let value = pattern(1_500_000, 1);
    peer.send(encode(&[b"SET", b"key", &value]));
    let client = server.oldest();
    server.wait_until("the request to be held", || client.has_flag(flag::BLOCKED));
    control.call(&[b"CLIENT", b"UNPAUSE"], "+OK\r\n");
    peer.expect("+OK\r\n");
    peer.call(&[b"STRLEN", b"key"], ":1500000\r\n");
    assert_eq!(evicted(&server), 0);
}

#[test]
fn who_must_not_be_evicted_is_not_weighed_again_and_again() {
    let server = small(1);
    let (mut peer, mut other) = (server.connect(), server.connect());
    for peer in [&mut peer, &mut other] {
        peer.call(&[b"CLIENT", b"NO-EVICT", b"on"], "+OK\r\n");
    }
    peer.call(&[b"MULTI"], "+OK\r\n");
    for _ in 0..2 {
        peer.call(&[b"SET", b"key", &pattern(1_500_000, 1)], "+QUEUED\r\n");
    }
    let weighings = || server.engine.sum(|stats| stats.client_weighings.value());
    let ticks = || server.engine.sum(|stats| stats.ticks.value());
    let (before, ticks_before) = (weighings(), ticks());
    for _ in 0..2_000 {
        other.call(&[b"PING"], "+PONG\r\n");
    }
    let (looks, ticks) = (weighings() - before, ticks() - ticks_before);
    assert!(looks * 10 < ticks, "{looks} looks in {ticks} ticks");
    let _third = server.connect();
    server.wait_until("whoever may go to go", || evicted(&server) == 1);
}
