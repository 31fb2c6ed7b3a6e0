//! Requests arrive in any pieces and any order of events; replies leave complete and in order.

use std::sync::atomic::Ordering;

use base::random::Rng;

use super::*;

/// Sends the pieces one by one, each when the server has read the one before; then the replies are these.
fn check_pieces(server: &Server, pieces: &[&[u8]], expected: &[u8]) {
    let mut peer = server.connect_unix();
    peer.call(&[b"PING"], "+PONG\r\n");
    let client = server.newest();
    let mut sent = client.total_input.load(Ordering::Relaxed);
    for piece in pieces {
        peer.send(piece);
        sent += piece.len() as u64;
        server.wait_until("the server to read", || client.total_input.load(Ordering::Relaxed) == sent);
    }
    peer.expect(expected);
    peer.finish();
    peer.expect_end();
    server.wait_for_clients(0);
}

#[test]
fn requests_cut_at_every_byte() {
    let server = Server::one();
    let script = [
        encode(&[b"SET", b"key", b"value"]).as_slice(),
        b"GET key\r\n",
        &encode(&[b"GET", b"key"]),
        b"\r\n*0\r\n*-1\r\n",
        b"echo \"two words\\x41\" \r\n",
        &encode(&[b"ECHO", b""]),
        b"*2\r\n$4\r\nECHO\r\n$3\r\nend\r\n",
    ]
    .concat();
    let replies = b"+OK\r\n$5\r\nvalue\r\n$5\r\nvalue\r\n$10\r\ntwo wordsA\r\n$0\r\n\r\n$3\r\nend\r\n";
    check_pieces(&server, &[&script], replies);
    for cut in 1..script.len() {
        check_pieces(&server, &[&script[..cut], &script[cut..]], replies);
    }
    let bytes: Vec<&[u8]> = script.chunks(1).collect();
    check_pieces(&server, &bytes, replies);
}

#[test]
fn big_arguments_come_through() {
    let server = Server::one();
    for len in [16_383, 16_384, 32_767, 32_768, 65_500, 65_536, 70_000, 1 << 20, (1 << 20) + 1, 9_000_001] {
        let value = pattern(len, len);
        let request = encode(&[b"SET", b"key", &value]);
        let get = encode(&[b"GET", b"key"]);
        let replies = [b"+OK\r\n".as_slice(), &bulk(&value), b"+PONG\r\n"].concat();
        let whole = [request.as_slice(), &get, b"PING\r\n"].concat();
        let head = request.len() - len - 2;
        check_pieces(&server, &[&whole[..head + 1], &whole[head + 1..]], &replies);
        check_pieces(&server, &[&whole[..head], &whole[head..head + len], &whole[head + len..]], &replies);
        check_pieces(&server, &[&whole[..head + len + 1], &whole[head + len + 1..]], &replies);
        let mut peer = server.connect();
        peer.send(&whole);
        peer.expect(&replies);
        drop(peer);
        server.wait_for_clients(0);
    }
}

#[test]
fn a_big_argument_comes_in_turns() {
    const LEN: usize = 16 << 20;
    let server = Server::one();
    let mut peer = server.connect();
    peer.call(&[b"SET", b"key", &pattern(LEN, 1)], "+OK\r\n");
    let reads = server.engine.sum(|stats| stats.reads.value());
    assert!(reads >= (LEN / (256 << 10)) as u64, "{reads} reads");
}

#[test]
fn many_big_arguments_in_one_request() {
    let server = Server::one();
    let values: Vec<Vec<u8>> = (0..20).map(|index| pattern(20_000 * index + 7, index)).collect();
    let names: Vec<Vec<u8>> = (0..20).map(|index| format!("key{index}").into_bytes()).collect();
    let mut request: Vec<&[u8]> = vec![b"MSET"];
    for (name, value) in names.iter().zip(&values) {
        request.extend([name.as_slice(), value.as_slice()]);
    }
    let mut peer = server.connect();
    for _ in 0..3 {
        peer.call(&request, "+OK\r\n");
        let mut get: Vec<&[u8]> = vec![b"MGET"];
        get.extend(names.iter().map(Vec::as_slice));
        let replies: Vec<u8> = values.iter().flat_map(|value| bulk(value)).collect();
        peer.call(&get, [b"*20\r\n".as_slice(), &replies].concat());
    }
}

#[test]
fn a_request_of_many_arguments_grows_in_its_own_buffer() {
    let server = Server::one();
    let names: Vec<Vec<u8>> = (0..100_000).map(|index| format!("key:{index}").into_bytes()).collect();
    let mut request: Vec<&[u8]> = vec![b"EXISTS"];
    request.extend(names.iter().map(Vec::as_slice));
    let request = encode(&request);
    let script = [request.as_slice(), b"PING\r\n", &request, b"PING\r\n"].concat();
    let replies = b":0\r\n+PONG\r\n:0\r\n+PONG\r\n";
    let mut peer = server.connect();
    peer.send(&script);
    peer.expect(replies);
    drop(peer);
    server.wait_for_clients(0);
    let pieces: Vec<&[u8]> = script.chunks(100_003).collect();
    check_pieces(&server, &pieces, replies);
}

/// Random sizes, random pieces, several connections at once, on two workers.
#[test]
fn echoes_in_random_pieces() {
    let server = Server::start(2, |_| {});
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    std::thread::scope(|scope| {
        for number in 0..6 {
            let peer = if number % 2 == 0 { server.connect() } else { server.connect_unix() };
            scope.spawn(move || echo_at_random(peer, seed + number));
        }
    });
}

/// The same while all are made to wait again and again.
#[test]
fn echoes_through_many_pauses() {
    let server = Server::start(2, |_| {});
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let done = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for number in 0..3 {
            let (peer, done) = (server.connect(), &done);
            scope.spawn(move || {
                echo_at_random(peer, seed + number);
                done.fetch_add(1, Ordering::Relaxed);
            });
        }
        let mut control = server.connect();
        while done.load(Ordering::Relaxed) < 3 {
            control.call(&[b"CLIENT", b"PAUSE", b"100000", b"ALL"], "+OK\r\n");
            (0..20).for_each(|_| std::thread::yield_now());
            control.call(&[b"CLIENT", b"UNPAUSE"], "+OK\r\n");
            assert!(server.threads.iter().all(|worker| !worker.is_finished()), "a worker ended");
        }
    });
}

fn echo_at_random(mut peer: Peer, seed: u64) {
    let mut rng = Rng::from_seed(seed);
    for round in 0..30 {
        let (mut script, mut replies) = (Vec::new(), Vec::new());
        for _ in 0..1 + rng.below(100) {
            let most = [10, 300, 20_000, 200_000][(rng.below(8) as usize).saturating_sub(4)];
            let text = pattern(rng.below(most) as usize, round);
            script.extend_from_slice(&encode(&[b"ECHO", &text]));
            replies.extend_from_slice(&bulk(&text));
        }
        let writer = peer.writer();
        let cuts = Rng::from_seed(rng.below(u64::MAX));
        std::thread::scope(|scope| {
            scope.spawn(|| send_in_pieces(writer, &script, cuts));
            peer.expect(&replies);
        });
    }
}

fn send_in_pieces(mut peer: Peer, mut rest: &[u8], mut rng: Rng) {
    while !rest.is_empty() {
        let most = if rng.below(2) == 0 { 50 } else { 100_000 };
        let (piece, after) = rest.split_at(rest.len().min(1 + rng.below(most) as usize));
        peer.send(piece);
        rest = after;
    }
}

impl Peer {
    fn writer(&self) -> Peer {
        let stream = match &self.stream {
            Stream::Tcp(stream) => Stream::Tcp(stream.try_clone().expect("a descriptor")),
            Stream::Unix(stream) => Stream::Unix(stream.try_clone().expect("a descriptor")),
        };
        Peer { stream }
    }
}

#[test]
fn long_pipelines_keep_their_order() {
    let server = Server::start(2, |_| {});
    let mut peers: Vec<Peer> = (0..5).map(|_| server.connect()).collect();
    let (mut script, mut replies) = (Vec::new(), Vec::new());
    for index in 0..3000 {
        let (key, value) = (format!("key:{}", index % 97), format!("{index}"));
        script.extend_from_slice(&encode(&[b"SET", key.as_bytes(), value.as_bytes()]));
        script.extend_from_slice(&encode(&[b"ECHO", value.as_bytes()]));
        replies.extend_from_slice(b"+OK\r\n");
        replies.extend_from_slice(&bulk(value.as_bytes()));
    }
    for _ in 0..3 {
        peers.iter_mut().for_each(|peer| peer.send(&script));
        peers.iter_mut().for_each(|peer| peer.expect(&replies));
    }
}

#[test]
fn what_a_request_changes_holds_for_the_next_one() {
    let check = |script: &[u8], expected: &[u8]| {
        let server = Server::start(1, |config| config.requirepass = b"secret".to_vec());
        let mut peer = server.connect();
        peer.send(script);
        peer.finish();
        assert_eq!(show(&peer.rest()), show(expected), "{}", show(script));
    };
    let auth = "AUTH secret\r\n";
    let long = "x".repeat(20_000);
    let set = encode(&[b"SET", b"a", long.as_bytes()]);
    check(&[auth.as_bytes(), &set].concat(), b"+OK\r\n+OK\r\n");
    check(&[&set, auth.as_bytes()].concat(), b"-ERR Protocol error: unauthenticated bulk length\r\n");
    check(
        b"GET a\r\n*11\r\n",
        b"-NOAUTH Authentication required.\r\n-ERR Protocol error: unauthenticated multibulk length\r\n",
    );
    let check = |script: &str, expected: &str| {
        check(format!("{auth}{script}").as_bytes(), format!("+OK\r\n{expected}").as_bytes())
    };
    check("SET a 1\r\nSELECT 1\r\nGET a\r\nSELECT 0\r\nGET a\r\n", "+OK\r\n+OK\r\n$-1\r\n+OK\r\n$1\r\n1\r\n");
    check(
        "MULTI\r\nINCR a\r\nINCR a\r\nEXEC\r\nGET a\r\n",
        "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:1\r\n:2\r\n$1\r\n2\r\n",
    );
    check(
        "PING\r\nMULTI\r\nNOSUCH\r\nEXEC\r\nPING\r\n",
        &[
            "+PONG\r\n+OK\r\n-ERR unknown command 'NOSUCH', with args beginning with: \r\n",
            "-EXECABORT Transaction discarded because of previous errors.\r\n+PONG\r\n",
        ]
        .concat(),
    );
    check(
        "PING\r\nMULTI\r\nEXEC 1\r\nPING\r\n",
        &[
            "+PONG\r\n+OK\r\n",
            "-EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command\r\n",
            "+PONG\r\n",
        ]
        .concat(),
    );
    check("CLIENT REPLY OFF\r\nPING\r\nSET a 1\r\nCLIENT REPLY ON\r\nGET a\r\n", "+OK\r\n$1\r\n1\r\n");
    check("PING\r\nCLIENT REPLY SKIP\r\nPING\r\nECHO a\r\n", "+PONG\r\n$1\r\na\r\n");
    check("PING\r\nQUIT\r\nSET a 1\r\n*broken\r\n", "+PONG\r\n+OK\r\n");
    check("CLIENT REPLY OFF\r\nQUIT\r\nPING\r\n", "");
    check("HELLO 3 SETNAME\r\nGET a\r\n", "-ERR Syntax error in HELLO option 'SETNAME'\r\n$-1\r\n");
    check("PING\r\nPOST / HTTP/1.1\r\nPING\r\n", "+PONG\r\n");
}

#[test]
fn broken_input_is_answered_after_what_came_before_and_ends_the_connection() {
    let server = Server::one();
    let check = |input: &[u8], text: &str| {
        let mut peer = server.connect();
        let before = encode(&[b"PING"]).repeat(50);
        peer.send([before.as_slice(), input, b"PING\r\n"].concat());
        peer.expect("+PONG\r\n".repeat(50));
        peer.expect(format!("-ERR Protocol error: {text}\r\n"));
        peer.expect_end();
        assert!(server.logged(&format!("Protocol error ({text}) from client: id=")));
    };
    check(b"*-10\r\n*3x\r\n", "invalid multibulk length");
    check(b"*20000000000\r\n", "invalid multibulk length");
    check(b"*2\r\n$3\r\nGET\r\nxyz\r\n", "expected '$', got 'x'");
    check(b"*2\r\n$-3\r\nGET\r\n", "invalid bulk length");
    check(b"*2\r\n$600000000\r\nGET\r\n", "invalid bulk length");
    check(b"GET \"key\r\n", "unbalanced quotes in request");
    check(&[b'x'; 70_000], "too big inline request");
    let half = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$40000\r\n".as_slice();
    let long = [half, &[b'v'; 40_000], b"\r\n*1\r\nwrong\r\n"].concat();
    let mut peer = server.connect();
    peer.send(&long);
    peer.expect("+OK\r\n-ERR Protocol error: expected '$', got 'w'\r\n");
    peer.expect_end();
}

#[test]
fn a_peer_that_stops_sending_still_gets_its_replies() {
    let server = Server::one();
    for peer in [server.connect(), server.connect_unix()] {
        let mut peer = peer;
        let value = pattern(500_000, 1);
        let get = encode(&[b"GET", b"key"]);
        peer.send(encode(&[b"SET", b"key", &value]));
        peer.send(get.repeat(40));
        peer.finish();
        let replies = [b"+OK\r\n".as_slice(), &bulk(&value).repeat(40)].concat();
        peer.expect(&replies);
        peer.expect_end();
    }
    server.wait_for_clients(0);
    assert!(server.logged("Client closed connection id="));
}

#[test]
fn the_last_replies_leave_before_the_end() {
    let server = Server::one();
    let mut peer = server.connect();
    peer.call(&[b"SET", b"key", &pattern(100_000, 3)], "+OK\r\n");
    peer.send(encode(&[b"GET", b"key"]));
    let client = server.newest();
    server.wait_until("the reply", || client.total_output.load(Ordering::Relaxed) > 100_000);
    server.inboxes[0].post(Message::Stop);
    peer.expect(bulk(&pattern(100_000, 3)));
    peer.expect_end();
}

#[test]
fn what_was_sent_stays_out_of_the_log_if_that_is_asked_for() {
    let server = Server::start(1, |config| config.hide_user_data_from_log = true);
    let mut peer = server.connect();
    peer.send(b"*2\r\n$3\r\nGET\r\nsecret\r\n");
    peer.expect("-ERR Protocol error: expected '$', got 's'\r\n");
    peer.expect_end();
    assert!(server.logged("Query buffer during protocol error: '*redacted*'"));
    assert!(!server.logged("secret"));
}

#[test]
fn writes_are_those_that_took_place() {
    let server = Server::one();
    let mut peer = server.connect();
    peer.call(&[b"PING"], "+PONG\r\n");
    peer.send(encode(&[b"CLIENT", b"REPLY", b"OFF"]));
    let client = server.newest();
    for number in 1..=10 {
        peer.send(encode(&[b"SET", b"key", b"value"]));
        let commands = || client.total_commands.load(Ordering::Relaxed);
        server.wait_until("the request to run", || commands() == number + 2);
    }
    peer.call(&[b"CLIENT", b"REPLY", b"ON"], "+OK\r\n");
    assert_eq!(server.engine.sum(|stats| stats.writes.value()), 2);
}
