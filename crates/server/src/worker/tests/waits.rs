//! Requests that wait for keys, as clients see them: each is answered once, and those behind it go on.

use engine::clients::flag;
use store::Plan;
use store::snapshot::Snapshot;

use super::tracking::skip_to;
use super::*;

#[test]
fn a_wait_ends_with_its_time() {
    let server = Server::one();
    let mut peer = server.connect();
    peer.call(&[b"BLPOP", b"l", b"0.02"], "*-1\r\n");
    peer.call(&[b"XREAD", b"BLOCK", b"20", b"STREAMS", b"x", b"$"], "*-1\r\n");
    peer.send([encode(&[b"BLPOP", b"l", b"0.02"]), encode(&[b"PING"])].concat());
    peer.expect("*-1\r\n+PONG\r\n");
}

#[test]
fn an_entry_comes_of_age_while_somebody_waits_for_it() {
    let server = Server::start(2, |_| {});
    let mut reader = server.connect();
    reader.call(&[b"XADD", b"x", b"1-1", b"f", b"v"], "$3\r\n1-1\r\n");
    reader.call(&[b"XGROUP", b"CREATE", b"x", b"g", b"0"], "+OK\r\n");
    let entry = "*1\r\n*2\r\n$1\r\nx\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n";
    reader.call(&[b"XREADGROUP", b"GROUP", b"g", b"a", b"STREAMS", b"x", b">"], entry);
    let mut waiting = server.connect();
    waiting.call(&[b"PING"], "+PONG\r\n");
    let read: [&[u8]; 10] =
        [b"XREADGROUP", b"GROUP", b"g", b"b", b"BLOCK", b"0", b"CLAIM", b"60000", b"STREAMS", b"x"];
    waiting.send(encode(&[&read[..], &[b">"]].concat()));
    let client = server.newest();
    server.wait_until("the request to wait", || client.blocked.lock().is_some());
    server.advance(60);
    waiting.expect(entry.replace("*2\r\n$3\r\n1-1", "*4\r\n$3\r\n1-1"));
    server.wait_until("the wait to end", || client.blocked.lock().is_none());
    reader.call(&[b"XPENDING", b"x", b"g", b"-", b"+", b"10", b"a"], "*0\r\n");
}

/// Its last byte came together with the request, or while that was held by a pause.
#[test]
fn who_left_before_its_request_began_to_wait_takes_nothing() {
    let server = Server::one();
    let mut other = server.connect();
    other.call(&[b"PING"], "+PONG\r\n");
    let (wait, ping) = (encode(&[b"BLPOP", b"l", b"0"]), encode(&[b"PING"]));
    for paused in [false, true] {
        // Those that are not there yet do not count as having left.
        let mut peers: Vec<Peer> = (0..12).map(|_| server.connect()).collect();
        peers.iter_mut().for_each(|peer| peer.call(&[b"PING"], "+PONG\r\n"));
        if paused {
            other.call(&[b"CLIENT", b"PAUSE", b"1000000", b"ALL"], "+OK\r\n");
        }
        let scripts = [wait.clone(), [&wait[..], &ping].concat(), [&ping[..], &wait, &wait].concat()];
        for (peer, script) in peers.iter_mut().zip(scripts.iter().cycle()) {
            peer.send(script);
            peer.finish();
        }
        if paused {
            server.wait_until("all to be paused", || {
                let clients = server.engine.clients.all();
                clients.iter().filter(|client| client.has_flag(flag::BLOCKED)).count() == 12
            });
            other.call(&[b"CLIENT", b"UNPAUSE"], "+OK\r\n");
        }
        server.wait_for_clients(1);
        drop(peers);
        other.call(&[b"RPUSH", b"l", b"v"], ":1\r\n");
        other.call(&[b"DEL", b"l"], ":1\r\n");
    }
}

/// A message fills the output beyond its bound, and then the socket takes all of it at once: nothing else
/// happens to the connection, and the request that was held meanwhile is answered all the same.
#[test]
fn what_waited_behind_a_message_goes_on() {
    let server = Server::one();
    let (mut peer, mut other) = (server.connect(), server.connect());
    peer.send(encode(&[b"HELLO", b"3"]));
    peer.send(encode(&[b"SUBSCRIBE", b"c"]));
    let subscribed = b">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n";
    skip_to(&mut peer, subscribed);
    let client = server.oldest();
    let message = |text: &[u8]| [b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n", &bulk(text)[..]].concat();
    // The socket's window grows with what goes through it.
    for _ in 0..2 {
        let large = pattern(3_000_000, 1);
        other.call(&[b"PUBLISH", b"c", &large], ":1\r\n");
        peer.expect(message(&large));
    }
    let text = pattern(1_200_000, 2);
    for _ in 0..20 {
        peer.send([encode(&[b"BLPOP", b"l", b"0"]), encode(&[b"PING"])].concat());
        server.wait_until("the request to wait", || client.blocked.lock().is_some());
        let requests: [&[&[u8]]; 4] =
            [&[b"MULTI"], &[b"PUBLISH", b"c", &text], &[b"RPUSH", b"l", b"v"], &[b"EXEC"]];
        other.send(requests.map(encode).concat());
        other.expect("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:1\r\n:1\r\n");
        peer.expect([&message(&text)[..], b"*2\r\n$1\r\nl\r\n$1\r\nv\r\n+PONG\r\n"].concat());
    }
}

/// Half of what may wait for a snapshot's thread waits: nothing is added, and whoever adds nothing is served.
/// A disk that hangs holds them up once, however much they have sent.
#[test]
fn who_writes_waits_for_a_snapshot_and_others_go_on() {
    const KEYS: usize = 64;
    let server = Server::one();
    let (mut writer, mut reader) = (server.connect(), server.connect());
    let set = |key: usize, len: usize| encode(&[b"SET", key.to_string().as_bytes(), &pattern(len, key)]);
    let all = |len: usize| (0..KEYS).flat_map(|key| set(key, len)).collect::<Vec<u8>>();
    writer.call(&[b"PING"], "+PONG\r\n");
    let (client, store) = (server.oldest(), &server.engine.store);
    let commands = || client.total_commands.load(Ordering::Relaxed);
    let delays = || server.engine.sum(|stats| stats.snapshot_delays.value());
    store.set_snapshot_limit(1_000_000);
    for hangs in [false, true] {
        writer.send(all(100_000));
        writer.expect("+OK\r\n".repeat(KEYS));
        let mut snapshot = Snapshot::begin(&mut store.lock(&Plan::All)).expect("no other runs");
        let (before, delays_before) = (commands(), delays());
        writer.send(all(1));
        server.wait_until("it to be full", || store.snapshot_backlog() > 500_000);
        for _ in 0..100 {
            reader.call(&[b"STRLEN", b"63"], ":100000\r\n");
        }
        let ran = commands() - before;
        assert!(ran < 20, "{ran} ran with {} waiting", store.snapshot_backlog());
        if hangs {
            server.advance(5);
        } else {
            while let Some(output) = snapshot.next(store) {
                snapshot.written(output);
            }
        }
        writer.expect("+OK\r\n".repeat(KEYS));
        assert!(delays() > delays_before);
        snapshot.cancel(store, &drop);
    }
}
