//! Requests that wait for keys, as clients see them: each is answered once, and those behind it go on.

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
