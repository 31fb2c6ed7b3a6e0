//! What other clients of a worker are answered while a script of its own runs: who wants no data need not
//! wait for it, and everybody gets replies in the order of requests.

use engine::config::EvictionPolicy;
use engine::memory::Look;

use super::*;

/// It runs until the test advances the clock.
const SCRIPT: &str = "redis.log(redis.LOG_WARNING, 'it runs') redis.call('SET', 'k', 'new') \
                      local begin = os.clock() while os.clock() - begin < 60 do end return 'over'";
const LIBRARY: &str = "#!lua name=lib\nredis.register_function('f', function() ";

/// A server of one worker on which no script ever runs for too long.
fn start(change: impl Fn(&mut Config)) -> Server {
    Server::start(1, |config| {
        config.busy_reply_threshold_ms = 0;
        change(config);
    })
}

fn connect<const COUNT: usize>(server: &Server) -> [Peer; COUNT] {
    std::array::from_fn(|_| {
        let mut peer = server.connect();
        peer.call(&[b"PING"], "+PONG\r\n");
        peer
    })
}

impl Peer {
    /// Nothing has come that was not read.
    fn expect_nothing(&mut self) {
        let Stream::Tcp(stream) = &self.stream else { panic!("it is connected by TCP") };
        stream.set_nonblocking(true).expect("an option");
        let peeked = stream.peek(&mut [0]);
        stream.set_nonblocking(false).expect("an option");
        assert_eq!(peeked.map_err(|error| error.kind()), Err(io::ErrorKind::WouldBlock));
    }
}

/// `requests` run the script, and have some replies before that; others come when it has begun.
fn check(requests: &[&[&[u8]]], before: &str, replies: &str) {
    let server = start(|_| {});
    let [mut caller, mut mixed, mut writer, mut half, mut queue, mut other] = connect(&server);
    other.call(&[b"SET", b"k", b"old"], "+OK\r\n");
    let library = [LIBRARY, SCRIPT, " end)"].concat();
    other.call(&[b"FUNCTION", b"LOAD", library.as_bytes()], "$3\r\nlib\r\n");
    queue.call(&[b"MULTI"], "+OK\r\n");
    let behind: [&[&[u8]]; 2] = [&[b"PING"], &[b"GET", b"k"]];
    caller.send(requests.iter().chain(&behind).map(|request| encode(request)).collect::<Vec<_>>().concat());
    server.wait_until("the script to begin", || server.logged("it runs"));
    caller.expect(before);

    let requests: [&[&[u8]]; 3] = [&[b"PING", b"1"], &[b"GET", b"k"], &[b"PING", b"2"]];
    mixed.send(requests.map(encode).concat());
    let requests: [&[&[u8]]; 2] = [&[b"SET", b"k", b"newer"], &[b"PING"]];
    writer.send(requests.map(encode).concat());
    queue.send(encode(&[b"PING"]));
    half.send("*1\r\n$4\r\nPI");
    mixed.expect("$1\r\n1\r\n");
    half.send("NG\r\n");
    half.expect("+PONG\r\n");
    for _ in 0..10 {
        other.send("PING\r\necho text\r\n");
        other.expect("+PONG\r\n$4\r\ntext\r\n");
        writer.send(encode(&[b"PING"]));
    }
    let mut late = server.connect();
    late.call(&[b"SELECT", b"1"], "+OK\r\n");
    late.call(&[b"PING"], "+PONG\r\n");
    let waiting = [&mut caller, &mut mixed, &mut writer, &mut queue];
    waiting.into_iter().for_each(Peer::expect_nothing);

    server.advance(61);
    caller.expect(replies);
    caller.expect("+PONG\r\n");
    mixed.expect("$3\r\nnew\r\n$1\r\n2\r\n");
    writer.expect(["+OK\r\n", &"+PONG\r\n".repeat(11)].concat());
    queue.expect("+QUEUED\r\n");
    queue.call(&[b"EXEC"], "*1\r\n+PONG\r\n");
}

#[test]
fn who_wants_no_data_is_answered_while_a_script_runs() {
    let script = SCRIPT.as_bytes();
    check(&[&[b"EVAL", script, b"0"]], "", "$4\r\nover\r\n");
    check(&[&[b"GET", b"k"], &[b"EVAL", script, b"1", b"k"]], "$3\r\nold\r\n", "$4\r\nover\r\n");
    check(&[&[b"FCALL", b"f", b"0"]], "", "$4\r\nover\r\n");
    check(
        &[&[b"MULTI"], &[b"EVAL", script, b"0"], &[b"GET", b"k"], &[b"EXEC"]],
        "+OK\r\n",
        "+QUEUED\r\n+QUEUED\r\n*2\r\n$4\r\nover\r\n$3\r\nnew\r\n",
    );
}

/// Who is served beside a script makes no room: that would wait for the script's shards.
#[test]
fn nobody_makes_room_beside_a_script() {
    let server = start(|config| {
        config.maxmemory_policy = EvictionPolicy::AllkeysLru;
        config.maxmemory_eviction_tenacity = 100;
    });
    let [mut caller, mut other] = connect(&server);
    caller.send(encode(&[b"EVAL", SCRIPT.as_bytes(), b"0"]));
    server.wait_until("the script to begin", || server.logged("it runs"));
    server.engine.memory.refresh(Look { allocated: 2, resident: 2, limit: 1, ..Look::default() }, 0);
    (0..10).for_each(|_| other.call(&[b"PING"], "+PONG\r\n"));
    server.engine.memory.refresh(Look::default(), 0);
    server.advance(61);
    caller.expect("$4\r\nover\r\n");
}

/// Those who want data or are gone wait for the script's end, however many they are.
#[test]
fn many_who_wait_for_a_script_keep_nobody_waiting() {
    let server = start(|_| {});
    let [mut caller, mut other] = connect(&server);
    let mut waiting: [Peer; 100] = connect(&server);
    let gone: [Peer; 20] = connect(&server);
    caller.send(encode(&[b"EVAL", SCRIPT.as_bytes(), b"0"]));
    server.wait_until("the script to begin", || server.logged("it runs"));
    drop(gone);
    for (index, peer) in waiting.iter_mut().enumerate() {
        peer.send(encode(&[b"RPUSH", b"list", index.to_string().as_bytes()]));
    }
    (0..10).for_each(|_| other.call(&[b"PING"], "+PONG\r\n"));
    assert_eq!(server.engine.clients.len(), 122);
    waiting.iter_mut().for_each(Peer::expect_nothing);
    server.advance(61);
    caller.expect("$4\r\nover\r\n");
    waiting.iter_mut().for_each(|peer| peer.send(encode(&[b"PING"])));
    for peer in &mut waiting {
        let mut first = [0];
        assert!(matches!(peer.read(&mut first), Ok(1)) && first == *b":");
    }
    other.call(&[b"LLEN", b"list"], ":100\r\n");
    server.wait_for_clients(102);
}
