//! Requests that wait for the next round: others are served meanwhile, and each runs once, in its order.

use engine::config::DebugAccess;
use store::Plan;

use super::*;

/// A script of another worker's may hold all shards for long; a PING needs none of them.
#[test]
fn who_needs_shards_that_are_held_keeps_nobody_waiting() {
    let server = Server::one();
    let (mut writer, mut script, mut other) = (server.connect(), server.connect(), server.connect());
    [&mut writer, &mut script, &mut other].into_iter().for_each(|peer| peer.call(&[b"PING"], "+PONG\r\n"));
    let held = server.engine.store.lock(&Plan::All);
    let requests: [&[&[u8]]; 4] = [&[b"PING"], &[b"INCR", b"n"], &[b"PING"], &[b"GET", b"n"]];
    writer.send(requests.map(encode).concat());
    script.send(encode(&[b"EVAL", b"return redis.call('INCR', 'm')", b"0"]));
    writer.expect("+PONG\r\n");
    for _ in 0..10 {
        other.call(&[b"PING"], "+PONG\r\n");
    }
    drop(held);
    writer.expect(":1\r\n+PONG\r\n$1\r\n1\r\n");
    script.expect(":1\r\n");
}

/// Requests that take long, 32 of them beside each other: the worker looks for other clients in between.
#[test]
fn a_client_with_much_to_do_gives_way() {
    const BATCHES: usize = 10;
    let server = Server::start(1, |config| config.enable_debug_command = DebugAccess::Yes);
    let mut peer = server.connect();
    peer.call(&[b"PING"], "+PONG\r\n");
    let ticks = || server.engine.sum(|stats| stats.ticks.value());
    let before = ticks();
    let batch = [encode(&[b"DEBUG", b"SLEEP", b"0.003"]), encode(&[b"INCR", b"n"]).repeat(31)].concat();
    peer.send(batch.repeat(BATCHES));
    for index in 0..BATCHES * 31 {
        let sleeps = if index % 31 == 0 { "+OK\r\n" } else { "" };
        peer.expect(format!("{sleeps}:{}\r\n", index + 1));
    }
    let passed = ticks() - before;
    assert!(passed >= BATCHES as u64 - 1, "{passed} rounds");
}
