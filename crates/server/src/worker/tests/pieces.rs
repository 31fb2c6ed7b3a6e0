//! Replies that go out in pieces.

use std::sync::atomic::Ordering;

use engine::config::{Amount, ClientClass};

use super::*;

const COUNT: usize = 400_000;
const LRANGE: [&[u8]; 4] = [b"LRANGE", b"list", b"0", b"-1"];

fn element(number: usize) -> Vec<u8> {
    format!("element:{number:08}").into_bytes()
}

/// Fills a list and returns the reply that has all of it.
fn fill(peer: &mut Peer) -> Vec<u8> {
    let elements: Vec<Vec<u8>> = (0..COUNT).map(element).collect();
    for (number, some) in elements.chunks(1000).enumerate() {
        let mut request: Vec<&[u8]> = vec![b"RPUSH", b"list"];
        request.extend(some.iter().map(Vec::as_slice));
        peer.call(&request, format!(":{}\r\n", (number + 1) * 1000));
    }
    let mut reply = format!("*{COUNT}\r\n").into_bytes();
    elements.iter().for_each(|element| reply.extend(bulk(element)));
    reply
}

#[test]
fn a_slow_reader_of_a_long_reply_costs_little_and_holds_nobody_up() {
    for workers in [1, 2] {
        let server = Server::start(workers, |_| {});
        let mut slow = server.connect();
        let client = server.oldest();
        let mut other = server.connect();
        let reply = fill(&mut other);
        slow.send([encode(&LRANGE), encode(&[b"PING"])].concat());
        server.wait_until("the reply to begin", || client.output_bytes.load(Ordering::Relaxed) > 0);
        for number in 0..300 {
            other.call(&[b"LSET", b"list", format!("{}", number * 7).as_bytes(), b"other"], "+OK\r\n");
            let waits = client.output_bytes.load(Ordering::Relaxed);
            assert!(waits < 256 * 1024, "{waits} bytes wait for a client that does not read");
        }
        other.call(&[b"DEL", b"list"], ":1\r\n");
        slow.expect(&reply);
        slow.expect("+PONG\r\n");
        slow.call(&LRANGE, "*0\r\n");
    }
}

#[test]
fn messages_wait_for_the_end_of_a_long_reply() {
    let server = Server::start(2, |_| {});
    let mut slow = server.connect();
    let client = server.oldest();
    let mut other = server.connect();
    let reply = fill(&mut other);
    slow.send(encode(&[b"HELLO", b"3"]));
    slow.send(encode(&[b"SUBSCRIBE", b"news"]));
    slow.send(encode(&LRANGE));
    server.wait_until("the reply to begin", || client.output_bytes.load(Ordering::Relaxed) > 0);
    (0..5).for_each(|_| other.call(&[b"PUBLISH", b"news", b"now"], ":1\r\n"));
    slow.send(encode(&[b"PING"]));
    let message = b">3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$3\r\nnow\r\n".repeat(5);
    let mut seen = vec![0; 1 << 16];
    let mut all = Vec::new();
    while !all.ends_with(b"+PONG\r\n") {
        let len = slow.read(&mut seen).expect("more comes");
        assert!(len > 0, "the end after {}", show(&all));
        all.extend_from_slice(&seen[..len]);
    }
    let expected = [reply, message, b"+PONG\r\n".to_vec()].concat();
    assert!(all.ends_with(&expected), "{}", show(&all));
}

#[test]
fn who_has_sent_its_last_byte_gets_the_whole_reply() {
    let server = Server::one();
    let (mut one, mut other) = (server.connect(), server.connect());
    let reply = fill(&mut other);
    one.send(encode(&LRANGE));
    one.finish();
    assert!(one.rest() == reply);
    server.wait_for_clients(1);
}

#[test]
fn a_client_may_go_in_the_middle_of_its_reply() {
    let server = Server::start(2, |_| {});
    let mut other = server.connect();
    fill(&mut other);
    for number in 0..2_000 {
        let request: [&[u8]; 4] = [b"HSET", b"hash", &element(number), &pattern(100, number)];
        other.call(&request, ":1\r\n");
    }
    let requests: [&[&[u8]]; 2] = [&LRANGE, &[b"HGETALL", b"hash"]];
    for request in requests {
        let mut gone = server.connect();
        server.wait_for_clients(2);
        let mut killed = server.connect();
        server.wait_for_clients(3);
        let client = server.newest();
        gone.send(encode(request));
        killed.send(encode(request));
        server.wait_until("the reply to begin", || client.total_output.load(Ordering::Relaxed) > 0);
        drop(gone);
        other.call(&[b"CLIENT", b"KILL", b"TYPE", b"normal", b"SKIPME", b"yes"], ":");
        let mut count = [0; 3];
        other.read(&mut count).expect("a count");
        killed.rest();
        server.wait_for_clients(1);
        assert!(!server.engine.readings.any());
        other.call(&[b"PING"], "+PONG\r\n");
    }
}

/// Fills a hash, which `slow` begins to read and then reads no more.
fn stall(server: &Server, slow: &mut Peer, other: &mut Peer) {
    for number in 0..2_000 {
        let request: [&[u8]; 4] = [b"HSET", b"hash", &element(number), &pattern(10_000, number)];
        other.call(&request, ":1\r\n");
    }
    let client = server.oldest();
    slow.send(encode(&[b"HGETALL", b"hash"]));
    server.wait_until("the reply to begin", || client.output_bytes.load(Ordering::Relaxed) > 0);
}

/// What a client reads belongs to nobody else any more: it is held for that client alone.
#[test]
fn who_does_not_read_on_goes_when_it_holds_too_much() {
    let limits: [fn(&mut Config); 3] = [
        |config| config.maxmemory_clients = Amount::Bytes(5 << 20),
        |config| config.client_output_limits[ClientClass::Normal as usize].hard_bytes = 5 << 20,
        |config| config.client_output_limits[ClientClass::Normal as usize].soft_bytes = 5 << 20,
    ];
    for (number, limit) in limits.into_iter().enumerate() {
        let server = Server::start(1, limit);
        let (mut slow, mut other) = (server.connect(), server.connect());
        slow.call(&[b"PING"], "+PONG\r\n");
        stall(&server, &mut slow, &mut other);
        let closed =
            || server.engine.sum(|stats| stats.evicted_clients.value() + stats.output_limit_closed.value());
        assert_eq!(closed(), 0, "what it reads is in memory anyhow");
        other.call(&[b"DEL", b"hash"], ":1\r\n");
        server.wait_for_clients(1);
        assert_eq!(closed(), 1, "limit {number}");
        assert!(!server.engine.readings.any());
    }
}

#[test]
fn a_client_may_send_on_before_it_reads_a_long_reply() {
    const LEN: usize = 10_000;
    const COUNT: usize = 4_000;
    let server = Server::start(1, |config| config.available_memory = 1 << 30);
    let mut peer = server.connect();
    let value = pattern(LEN, 3);
    for _ in 0..COUNT {
        peer.send(encode(&[b"RPUSH", b"list", &value]));
    }
    (1..=COUNT).for_each(|count| peer.expect(format!(":{count}\r\n")));
    // More than the sockets hold in both directions.
    peer.send(encode(&[b"LRANGE", b"list", b"0", b"-1"]));
    peer.send(encode(&[b"ECHO", &value]).repeat(COUNT));
    peer.expect(format!("*{COUNT}\r\n"));
    let reply = bulk(&value);
    (0..2 * COUNT).for_each(|_| peer.expect(&reply));
    peer.call(&[b"PING"], "+PONG\r\n");
}
