//! Messages about changed keys over sockets: their form, and their order with replies.

use super::*;

const HELLO: &[&[u8]] = &[b"HELLO", b"3"];
const TRACK: &[&[u8]] = &[b"CLIENT", b"TRACKING", b"ON"];
const TOLD: &str = ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n";

/// A client that speaks RESP3 and has sent a request that is answered by OK.
fn caching(server: &Server, request: &[&[u8]]) -> Peer {
    let mut peer = server.connect();
    peer.send(encode(HELLO));
    // The last pair of the reply.
    skip_to(&mut peer, b"$7\r\nmodules\r\n*0\r\n");
    peer.call(request, "+OK\r\n");
    peer
}

pub fn skip_to(peer: &mut Peer, end: &[u8]) {
    let (mut seen, mut byte) = (Vec::new(), [0]);
    while !seen.ends_with(end) {
        assert_eq!(peer.read(&mut byte).expect("a reply"), 1);
        seen.push(byte[0]);
    }
}

/// Whoever has seen the reply to a change finds that others hear of it before they are answered.
#[test]
fn messages_come_before_later_replies() {
    let server = Server::start(2, |_| {});
    let mut writer = server.connect();
    let mut caches = [caching(&server, TRACK), caching(&server, TRACK)];
    let mut broadcast = caching(&server, &[b"CLIENT", b"TRACKING", b"ON", b"BCAST"]);
    for _ in 0..200 {
        caches.iter_mut().for_each(|cache| cache.call(&[b"GETRANGE", b"k", b"5", b"9"], "$0\r\n\r\n"));
        writer.call(&[b"SET", b"k", b"x"], "+OK\r\n");
        caches.iter_mut().for_each(|cache| cache.call(&[b"PING"], format!("{TOLD}+PONG\r\n")));
        broadcast.call(&[b"PING"], format!("{TOLD}+PONG\r\n"));
    }
}

#[test]
fn own_changes_and_those_of_a_batch() {
    let server = Server::one();
    let mut cache = caching(&server, TRACK);
    let mut broadcast = caching(&server, &[b"CLIENT", b"TRACKING", b"ON", b"BCAST", b"PREFIX", b"k"]);
    let requests: [&[&[u8]]; 5] = [
        &[b"GET", b"k"],
        &[b"SET", b"k", b"1"],
        &[b"SET", b"k2", b"1"],
        &[b"SET", b"x", b"1"],
        &[b"INCR", b"k"],
    ];
    cache.send(requests.map(encode).concat());
    cache.expect(format!("_\r\n+OK\r\n{TOLD}+OK\r\n+OK\r\n:2\r\n"));
    broadcast.expect(">2\r\n$10\r\ninvalidate\r\n*2\r\n$1\r\nk\r\n$2\r\nk2\r\n");
    broadcast.call(&[b"SET", b"k", b"x"], format!("+OK\r\n{TOLD}"));
}

/// The table of keys is full, so reading a long list has another key forgotten while the reply is under way.
#[test]
fn a_long_reply_is_not_interrupted() {
    const COUNT: usize = 100_000;
    let server = Server::start(1, |config| config.tracking_table_max_keys = 1);
    let mut cache = caching(&server, TRACK);
    let mut push: Vec<&[u8]> = vec![b"RPUSH", b"l"];
    push.resize(COUNT + 2, b"x");
    cache.call(&push, format!(":{COUNT}\r\n"));
    cache.call(&[b"GET", b"k"], "_\r\n");
    cache.send(encode(&[b"LRANGE", b"l", b"0", b"-1"]));
    cache.expect(format!("*{COUNT}\r\n{}", "$1\r\nx\r\n".repeat(COUNT)));
    // Either key.
    cache.expect(">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\n");
}

#[test]
fn a_subscriber_takes_messages_of_others() {
    let server = Server::start(2, |_| {});
    let mut target = server.connect();
    let id = server.newest().id.0.to_string();
    target.call(&[b"SUBSCRIBE", b"c"], "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n");
    let mut cache = caching(&server, &[b"CLIENT", b"TRACKING", b"ON", b"REDIRECT", id.as_bytes()]);
    let mut writer = server.connect();
    cache.call(&[b"GET", b"k"], "_\r\n");
    writer.call(&[b"SET", b"k", b"x"], "+OK\r\n");
    let head = "*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n";
    target.expect(format!("{head}*1\r\n$1\r\nk\r\n"));
    writer.call(&[b"FLUSHALL"], "+OK\r\n");
    target.expect(format!("{head}$-1\r\n"));
    target.call(&[b"QUIT"], "+OK\r\n");
    cache.call(&[b"GET", b"k"], "_\r\n");
    writer.call(&[b"SET", b"k", b"x"], "+OK\r\n");
    cache.expect(format!(">2\r\n$21\r\ntracking-redir-broken\r\n:{id}\r\n"));
}

/// Who asks to be told of everything and does not read cannot make memory grow.
#[test]
fn who_does_not_read_is_closed() {
    let server = Server::start(1, |config| config.client_output_limits[2].hard_bytes = 1 << 20);
    let _deaf = caching(&server, &[b"CLIENT", b"TRACKING", b"ON", b"BCAST"]);
    let mut writer = server.connect();
    server.wait_for_clients(2);
    let name = pattern(60_000, 1);
    let mut sent = 0;
    while server.engine.clients.len() == 2 {
        writer.call(&[b"SET", &name, b"x"], "+OK\r\n");
        sent += 1;
        assert!(sent < 10_000, "it is never closed");
    }
    assert!(server.logged("overcoming of output buffer limits"));
}
