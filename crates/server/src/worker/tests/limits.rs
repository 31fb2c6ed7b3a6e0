//! What clients may cost, whatever they do.

use std::sync::atomic::Ordering;

use engine::config::{ClientClass, OutputLimit};

use super::*;

fn limit(config: &mut Config, class: ClientClass, hard_bytes: u64, soft_bytes: u64, soft_seconds: i64) {
    config.client_output_limits[class as usize] = OutputLimit { hard_bytes, soft_bytes, soft_seconds };
}

#[test]
fn who_does_not_read_cannot_make_memory_grow() {
    let server = Server::one();
    for len in [1_000_000, 20_000] {
        let value = pattern(len, 5);
        let (mut slow, mut other) = (server.connect(), server.connect());
        slow.call(&[b"SET", b"key", &value], "+OK\r\n");
        let client = server.oldest();
        let count = 200_000_000 / len;
        slow.send(encode(&[b"GET", b"key"]).repeat(count));
        let most = 4 << 20;
        for _ in 0..200 {
            other.call(&[b"PING"], "+PONG\r\n");
            let waits = client.output_bytes.load(Ordering::Relaxed);
            assert!(waits < most, "{waits} bytes wait for a client that does not read");
        }
        server.wait_until("the server to stop", || client.output_bytes.load(Ordering::Relaxed) > 1 << 20);
        assert!(
            client.total_commands.load(Ordering::Relaxed) < count as u64 / 2,
            "it runs no more than it can send"
        );
        let reply = bulk(&value);
        (0..count).for_each(|_| slow.expect(&reply));
        slow.call(&[b"PING"], "+PONG\r\n");
        assert_eq!(client.output_bytes.load(Ordering::Relaxed), 0);
        drop((slow, other));
        server.wait_for_clients(0);
    }
}

#[test]
fn too_many_clients_are_turned_away() {
    let server = Server::start(2, |config| config.maxclients = 3);
    let mut peers: Vec<Peer> = (0..3).map(|_| server.connect()).collect();
    peers.iter_mut().for_each(|peer| peer.call(&[b"PING"], "+PONG\r\n"));
    let mut late = server.connect();
    late.expect("-ERR max number of clients reached\r\n");
    late.expect_end();
    assert_eq!(server.engine.rejected_connections.load(Ordering::Relaxed), 1);
    peers.pop();
    server.wait_for_clients(2);
    server.connect().call(&[b"PING"], "+PONG\r\n");
}

#[test]
fn a_subscriber_that_does_not_read_is_closed() {
    let server = Server::start(2, |config| limit(config, ClientClass::Pubsub, 5_000_000, 0, 0));
    let (mut slow, mut publisher) = (server.connect(), server.connect());
    slow.call(&[b"SUBSCRIBE", b"news"], "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n");
    let text = pattern(1_000_000, 1);
    for _ in 0..100 {
        publisher.send(encode(&[b"PUBLISH", b"news", &text]));
        publisher.expect(":");
        let mut count = [0; 3];
        assert_eq!(publisher.read(&mut count).expect("a count"), 3);
    }
    server.wait_for_clients(1);
    assert!(server.logged("scheduled to be closed ASAP for overcoming of output buffer limits."));
    assert_eq!(server.engine.sum(|stats| stats.output_limit_closed.value()), 1);
    publisher.call(&[b"PUBLISH", b"news", b"x"], ":0\r\n");
}

/// Redis counts what its clients' own buffers of 16 KB do not take.
#[test]
fn a_limit_of_output_lets_small_replies_pass() {
    let server = Server::start(1, |config| limit(config, ClientClass::Normal, 1000, 0, 0));
    let mut peer = server.connect();
    let (small, large) = (pattern(5000, 1), pattern(20_000, 2));
    peer.call(&[b"MSET", b"small", &small, b"large", &large], "+OK\r\n");
    peer.call(&[b"GET", b"small"], bulk(&small));
    peer.send(encode(&[b"GET", b"large"]));
    peer.expect_end();
    assert!(server.logged("scheduled to be closed ASAP for overcoming of output buffer limits."));
}

/// A connection's name is what its client has chosen.
#[test]
fn the_log_names_a_client_unless_that_is_hidden() {
    for hide in [false, true] {
        let server = Server::start(1, |config| {
            limit(config, ClientClass::Normal, 1000, 0, 0);
            config.hide_user_data_from_log = hide;
        });
        let mut peer = server.connect();
        peer.call(&[b"CLIENT", b"SETNAME", b"secret"], "+OK\r\n");
        peer.call(&[b"SET", b"large", &pattern(20_000, 2)], "+OK\r\n");
        peer.send(encode(&[b"GET", b"large"]));
        peer.expect_end();
        assert_eq!(server.logged(" name=secret "), !hide);
        assert_eq!(server.logged(" name=*redacted* "), hide);
    }
}

#[test]
fn a_soft_limit_closes_after_its_time() {
    let server = Server::start(1, |config| limit(config, ClientClass::Normal, 0, 100_000, 10));
    let mut slow = server.connect();
    slow.call(&[b"SET", b"key", &pattern(1_000_000, 2)], "+OK\r\n");
    slow.send(encode(&[b"GET", b"key"]).repeat(100));
    let client = server.newest();
    server.wait_until("replies to wait", || client.output_bytes.load(Ordering::Relaxed) > 1 << 20);
    server.advance(9);
    server.connect().call(&[b"PING"], "+PONG\r\n");
    server.wait_until("the test's own connection to go", || server.engine.clients.len() == 1);
    server.advance(5);
    server.wait_for_clients(0);
    assert!(server.logged("overcoming of output buffer limits"));
}

#[test]
fn a_reply_over_the_hard_limit_is_not_sent() {
    let server = Server::start(1, |config| limit(config, ClientClass::Normal, 100_000, 0, 0));
    let mut peer = server.connect();
    peer.call(&[b"SET", b"key", &pattern(60_000, 2)], "+OK\r\n");
    peer.call(&[b"GET", b"key"], bulk(&pattern(60_000, 2)));
    peer.send(encode(&[b"MGET", b"key", b"key"]));
    peer.expect_end();
}

#[test]
fn a_request_over_its_limit_is_not_read_to_the_end() {
    let server = Server::start(1, |config| config.client_query_buffer_limit = 1 << 20);
    let mut peer = server.connect();
    let mut request = b"*1000000\r\n".to_vec();
    request.extend_from_slice(&b"$8\r\nargument\r\n".repeat(200_000));
    let begin = encode(&[b"SET", b"key", &vec![b'x'; 3_000_000]]);
    for bytes in [&request, &begin] {
        let mut writer = server.connect();
        // The server may close before all is written.
        let _ = match &mut writer.stream {
            Stream::Tcp(stream) => stream.write_all(bytes),
            Stream::Unix(stream) => stream.write_all(bytes),
        };
        writer.expect_end();
    }
    peer.call(&[b"PING"], "+PONG\r\n");
    assert!(server.logged("Closing client that reached max query buffer length: id="));
    assert_eq!(server.engine.sum(|stats| stats.input_limit_closed.value()), 2);
}

#[test]
fn strangers_are_kept_out_of_an_unprotected_server() {
    // An address of this machine that is not the loopback; without one there is nothing to test.
    let probe = std::net::UdpSocket::bind("0.0.0.0:0").expect("a socket");
    let own = probe.connect("192.0.2.1:9").and_then(|()| probe.local_addr()).map(|own| own.ip());
    let Some(own) = own.ok().filter(|own| !own.is_loopback()) else {
        return println!("SKIPPED: this machine has no other address");
    };
    let server = Server::start(1, |config| config.bind = vec![b"*".to_vec()]);
    let stream = TcpStream::connect((own, server.address.port())).expect("the server listens everywhere");
    let mut peer = Peer { stream: Stream::Tcp(stream) };
    peer.expect(
        "-DENIED Redis is running in protected mode because protected mode is enabled and no password",
    );
    peer.rest();
    server.connect().call(&[b"PING"], "+PONG\r\n");
}

/// A worker that is kept does not hear of messages: they have the bound of what waits for a client.
#[test]
fn messages_to_a_worker_that_is_kept_are_bounded() {
    let server = Server::start(2, |config| {
        limit(config, ClientClass::Pubsub, 1 << 20, 0, 0);
        config.busy_reply_threshold_ms = 0;
    });
    let connected = (0..4).map(|_| {
        let mut peer = server.connect();
        peer.call(&[b"PING"], "+PONG\r\n");
        (server.newest(), peer)
    });
    let (mut kept, mut free): (Vec<_>, Vec<_>) =
        connected.partition(|(client, _)| client.worker == WorkerId(0));
    kept[0].1.call(&[b"SUBSCRIBE", b"c"], "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n");
    let script = b"local end_s = os.clock() + 1000 while os.clock() < end_s do end";
    kept[1].1.send(encode(&[b"EVAL", script, b"0"]));
    let waiting = &kept[1].0;
    server.wait_until("the request to come", || waiting.total_input.load(Ordering::Relaxed) > 14);
    let message = pattern(100_000, 1);
    for _ in 0..50 {
        free[0].1.call(&[b"PUBLISH", b"c", &message], ":1\r\n");
    }
    let client = &kept[0].0;
    assert!(client.killed.load(Ordering::Relaxed));
    assert!((1 << 20..1_200_000).contains(&client.memory()), "{}", client.memory());
    server.advance(1001);
    server.wait_for_clients(3);
    assert!(server.logged("overcoming of output buffer limits"));
    assert_eq!(server.engine.sum(|stats| stats.output_limit_closed.value()), 1);
}

#[test]
fn a_client_may_send_all_before_it_reads() {
    const LEN: usize = 1000;
    const COUNT: usize = 64_000;
    let server = Server::start(1, |config| config.available_memory = 1 << 30);
    let mut peer = server.connect();
    let value = pattern(LEN, 3);
    // More than the sockets hold in both directions.
    peer.send(encode(&[b"ECHO", &value]).repeat(COUNT));
    let reply = bulk(&value);
    (0..COUNT).for_each(|_| peer.expect(&reply));
    let client = server.oldest();
    assert_eq!(client.output_bytes.load(Ordering::Relaxed), 0);
    peer.call(&[b"PING"], "+PONG\r\n");
}

#[test]
fn who_does_not_read_takes_no_more_than_there_is_room_for() {
    const LEN: usize = 10_000;
    const COUNT: usize = 20_000;
    const ROOM: usize = 16 << 20;
    let server = Server::start(1, |config| config.available_memory = 4 * ROOM as u64);
    let (mut slow, mut other) = (server.connect(), server.connect());
    let value = pattern(LEN, 5);
    slow.call(&[b"SET", b"key", &value], "+OK\r\n");
    let client = server.oldest();
    assert_eq!(server.engine.config().replies_room(), ROOM as u64);
    slow.send(encode(&[b"GET", b"key"]).repeat(COUNT));
    let waits = || client.output_bytes.load(Ordering::Relaxed);
    server.wait_until("the room to be taken", || waits() > ROOM - (2 << 20));
    for _ in 0..200 {
        other.call(&[b"PING"], "+PONG\r\n");
        assert!(waits() < ROOM + (4 << 20), "{} bytes wait for a client that does not read", waits());
    }
    let reply = bulk(&value);
    (0..COUNT).for_each(|_| slow.expect(&reply));
    slow.call(&[b"PING"], "+PONG\r\n");
    assert_eq!(waits(), 0);
}
