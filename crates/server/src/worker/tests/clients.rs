//! What happens to a client from outside: messages, kills, pauses, time, other listeners.

use std::sync::atomic::Ordering;

use super::*;

fn id(peer: &mut Peer) -> Vec<u8> {
    peer.send(encode(&[b"CLIENT", b"ID"]));
    let (mut id, mut byte) = (Vec::new(), [0]);
    while !id.ends_with(b"\r\n") {
        assert_eq!(peer.read(&mut byte).expect("a reply"), 1);
        id.push(byte[0]);
    }
    id[1..id.len() - 2].to_vec()
}

#[test]
fn messages_reach_their_subscribers_in_their_protocol() {
    let server = Server::start(2, |_| {});
    let (mut old, mut new, mut publisher) = (server.connect(), server.connect_unix(), server.connect());
    old.call(&[b"SUBSCRIBE", b"news"], "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n");
    new.send(encode(&[b"HELLO", b"3", b"SETNAME", b"x"]));
    new.send(encode(&[b"SUBSCRIBE", b"news"]));
    let subscribed = b">3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n";
    let mut seen = Vec::new();
    while !seen.ends_with(subscribed) {
        let mut byte = [0];
        assert_eq!(new.read(&mut byte).expect("a reply"), 1);
        seen.push(byte[0]);
    }
    for len in [0, 5, 5000, 300_000] {
        let text = pattern(len, len);
        publisher.call(&[b"PUBLISH", b"news", &text], ":2\r\n");
        let message = [b"3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n".as_slice(), &bulk(&text)].concat();
        old.expect([b"*".as_slice(), &message].concat());
        new.expect([b">".as_slice(), &message].concat());
    }
    for _ in 0..1000 {
        publisher.call(&[b"PUBLISH", b"news", b"x"], ":2\r\n");
    }
    let message = "3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$1\r\nx\r\n";
    old.expect(format!("*{message}").repeat(1000));
    new.expect(format!(">{message}").repeat(1000));
    drop(old);
    server.wait_for_clients(2);
    publisher.call(&[b"PUBLISH", b"news", b"x"], ":1\r\n");
}

/// In RESP2 a message that comes after the end of its subscription would be taken for something else.
#[test]
fn a_message_does_not_outlive_its_subscription() {
    let server = Server::one();
    let mut peer = server.connect();
    let requests: [&[&[u8]]; 7] = [
        &[b"MULTI"],
        &[b"SUBSCRIBE", b"a"],
        &[b"SUBSCRIBE", b"b"],
        &[b"PUBLISH", b"a", b"x"],
        &[b"UNSUBSCRIBE", b"a"],
        &[b"PUBLISH", b"b", b"y"],
        &[b"EXEC"],
    ];
    peer.send(requests.map(encode).concat());
    peer.expect(format!("+OK\r\n{}*5\r\n", "+QUEUED\r\n".repeat(5)));
    peer.expect("*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n");
    peer.expect("*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n");
    peer.expect(":1\r\n*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:1\r\n:1\r\n");
    peer.expect("*3\r\n$7\r\nmessage\r\n$1\r\nb\r\n$1\r\ny\r\n");
}

#[test]
fn a_killed_client_ends_and_is_forgotten() {
    let server = Server::start(2, |_| {});
    let (mut victim, mut killer) = (server.connect(), server.connect());
    let id = id(&mut victim);
    victim.call(&[b"SUBSCRIBE", b"news"], "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n");
    killer.call(&[b"CLIENT", b"KILL", b"ID", &id], ":1\r\n");
    victim.expect_end();
    server.wait_for_clients(1);
    killer.call(&[b"PUBLISH", b"news", b"x"], ":0\r\n");
    killer.call(&[b"CLIENT", b"KILL", b"ID", &id], ":0\r\n");
}

#[test]
fn who_kills_itself_hears_of_it() {
    let server = Server::one();
    let mut peer = server.connect();
    let id = id(&mut peer);
    peer.send([encode(&[b"CLIENT", b"KILL", b"ID", &id, b"SKIPME", b"no"]), encode(&[b"PING"])].concat());
    peer.expect(":1\r\n");
    peer.expect_end();
}

#[test]
fn monitors_see_commands() {
    let server = Server::one();
    let (mut monitor, mut other) = (server.connect(), server.connect());
    monitor.call(&[b"MONITOR"], "+OK\r\n");
    for _ in 0..100 {
        other.call(&[b"ECHO", b"hello"], "$5\r\nhello\r\n");
    }
    let mut text = Vec::new();
    while text.windows(7).filter(|window| *window == b"\"hello\"").count() < 100 {
        let mut buffer = [0; 4096];
        let len = monitor.read(&mut buffer).expect("lines");
        text.extend_from_slice(&buffer[..len]);
    }
}

#[test]
fn idle_clients_are_closed_but_not_listeners() {
    let server = Server::start(1, |config| config.timeout_seconds = 10);
    let (mut idle, mut listening) = (server.connect(), server.connect());
    idle.call(&[b"PING"], "+PONG\r\n");
    listening.call(&[b"SUBSCRIBE", b"news"], "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n");
    server.advance(9);
    idle.call(&[b"PING"], "+PONG\r\n");
    server.advance(9);
    idle.call(&[b"PING"], "+PONG\r\n");
    server.advance(12);
    idle.expect_end();
    assert!(server.logged("Closing idle client"));
    let mut other = server.connect();
    other.call(&[b"PUBLISH", b"news", b"x"], ":1\r\n");
    listening.expect("*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$1\r\nx\r\n");
}

#[test]
fn a_pause_holds_requests_and_their_order() {
    let server = Server::start(2, |_| {});
    let (mut writer, mut reader, mut control) = (server.connect(), server.connect(), server.connect());
    control.call(&[b"CLIENT", b"PAUSE", b"1000000", b"WRITE"], "+OK\r\n");
    let big = pattern(100_000, 9);
    let script = [
        encode(&[b"GET", b"a"]),
        encode(&[b"SET", b"a", b"1"]),
        encode(&[b"GET", b"a"]),
        encode(&[b"SET", b"b", &big]),
        encode(&[b"PING"]).repeat(100),
        encode(&[b"GET", b"b"]),
    ]
    .concat();
    for _ in 0..3 {
        writer.send(&script);
    }
    writer.expect("$-1\r\n");
    reader.call(&[b"GET", b"a"], "$-1\r\n");
    control.call(&[b"CLIENT", b"UNPAUSE"], "+OK\r\n");
    let after =
        [b"+OK\r\n$1\r\n1\r\n+OK\r\n".as_slice(), "+PONG\r\n".repeat(100).as_bytes(), &bulk(&big)].concat();
    writer.expect(&after);
    writer.expect([b"$1\r\n1\r\n".as_slice(), &after].concat());
    writer.expect([b"$1\r\n1\r\n".as_slice(), &after].concat());
}

#[test]
fn a_pause_ends_by_itself() {
    let server = Server::one();
    let (mut writer, mut control) = (server.connect(), server.connect());
    control.call(&[b"CLIENT", b"PAUSE", b"60000", b"ALL"], "+OK\r\n");
    writer.send(encode(&[b"SET", b"a", b"1"]));
    writer.send(encode(&[b"GET", b"a"]));
    let client = server.oldest();
    server.wait_until("the server to read", || client.total_input.load(Ordering::Relaxed) > 0);
    server.advance(61);
    writer.expect("+OK\r\n$1\r\n1\r\n");
}

#[test]
fn a_client_that_leaves_during_a_pause_leaves_nothing() {
    let server = Server::one();
    let (mut writer, mut control) = (server.connect(), server.connect());
    control.call(&[b"CLIENT", b"PAUSE", b"1000000", b"ALL"], "+OK\r\n");
    writer.send(encode(&[b"SET", b"a", b"1"]));
    let client = server.oldest();
    server.wait_until("the server to read", || client.total_input.load(Ordering::Relaxed) > 0);
    control.call(&[b"CLIENT", b"KILL", b"ID", client.id.0.to_string().as_bytes()], ":1\r\n");
    writer.expect_end();
    server.wait_for_clients(1);
    control.call(&[b"CLIENT", b"UNPAUSE"], "+OK\r\n");
    control.call(&[b"GET", b"a"], "$-1\r\n");
}

#[test]
fn connections_spread_over_the_workers() {
    let server = Server::start(3, |_| {});
    let mut peers: Vec<Peer> = (0..30).map(|_| server.connect()).collect();
    peers.iter_mut().for_each(|peer| peer.call(&[b"PING"], "+PONG\r\n"));
    let counts: Vec<usize> = server.inboxes.iter().map(|inbox| inbox.connections()).collect();
    assert_eq!(counts, [10, 10, 10]);
    assert_eq!(server.engine.connections_received.load(Ordering::Relaxed), 30);
    drop(peers);
    server.wait_for_clients(0);
    assert!(server.inboxes.iter().all(|inbox| inbox.connections() == 0));
}

#[test]
fn listeners_can_be_replaced() {
    let mut server = Server::one();
    let mut before = server.connect();
    before.call(&[b"PING"], "+PONG\r\n");
    let old = server.address;
    let free =
        std::net::TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("an address");
    let moved =
        Config { bind: vec![b"127.0.0.1".to_vec()], port: i64::from(free.port()), ..Config::default() };
    let listeners = listener::bind_tcp(&moved).expect("the port was free");
    server.entrance.post(Order::Listeners(listeners));
    server.address = free;
    server.connect().call(&[b"PING"], "+PONG\r\n");
    server.connect_unix().call(&[b"PING"], "+PONG\r\n");
    before.call(&[b"PING"], "+PONG\r\n");
    assert!(TcpStream::connect(old).is_err(), "the old port is closed");
}
