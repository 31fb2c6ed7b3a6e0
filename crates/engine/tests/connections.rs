//! Connection, client and pub/sub commands through the pipeline: replies, what reaches other clients, what is
//! left when a connection ends.

use base::quoting::split_args;
use engine::command_log::Kind;
use engine::host::Event;
use engine::pipeline::Outcome;
use engine::testing::{TestEngine, check_script, show};
use resp::decode::{DecodeLimits, decode};

/// Runs lines as `(client, line, replies)`, where one line may have many replies.
fn check(test: &mut TestEngine, script: &[(usize, &str, &str)]) {
    for (client, line, expected) in script {
        let words = split_args(line.as_bytes()).expect("a test's quotes are balanced");
        let bytes = test.run_raw(*client, &words);
        assert_eq!(show_all(&bytes), *expected, "client {client}: {line}");
    }
}

fn show_all(mut bytes: &[u8]) -> String {
    let mut replies = Vec::new();
    while let Some((value, len)) = decode(bytes, &DecodeLimits::default()).expect("replies are well formed") {
        replies.push(show(&value));
        bytes = &bytes[len..];
    }
    assert!(bytes.is_empty(), "half a reply");
    replies.join(" ")
}

/// What was posted since the last call: `client message`, with messages that the client does not want any
/// more left out.
fn posts(test: &mut TestEngine) -> Vec<String> {
    let events = test.take_posts();
    let wanted = events.iter().filter(|event| is_wanted(test, event));
    wanted.map(describe).collect()
}

fn is_wanted(test: &TestEngine, event: &Event) -> bool {
    let Event::Push { client, message } = event else { return true };
    test.sessions.iter().any(|session| session.client.id == *client && session.wants(message))
}

fn describe(event: &Event) -> String {
    match event {
        Event::Push { client, message } => format!("{} {}", client.0, show_all(message)),
        Event::Invalidate { client, keys, .. } => format!("{} invalid {}", client.0, show_all(keys)),
        Event::Line { client, line } => format!("{} {}", client.0, String::from_utf8_lossy(line).trim_end()),
        Event::Kill { client } => format!("{} killed", client.0),
        Event::Overwhelmed { client } => format!("{} overwhelmed", client.0),
        Event::Resume => "resume".to_owned(),
        Event::Unblocked { client, reply, .. } => format!("{} {}", client.0, show_all(reply)),
        Event::FileReached => "file reached".to_owned(),
        Event::Ready { key } => format!("ready {}", String::from_utf8_lossy(&key.name)),
    }
}

fn with_password() -> TestEngine {
    let mut test = TestEngine::with_config(|config| config.requirepass = b"secret".to_vec());
    test.sessions[0].authenticated = false;
    test
}

#[test]
fn simple_commands_answer() {
    let script = [
        ("PING", "+PONG"),
        ("PING 'a b'", "\"a b\""),
        ("PING a b", "-ERR wrong number of arguments for 'ping' command"),
        ("ECHO x", "\"x\""),
        ("SELECT 3", "+OK"),
        ("SELECT 16", "-ERR DB index is out of range"),
        ("SELECT x", "-ERR value is not an integer or out of range"),
        ("AUTH a b c", "-ERR syntax error"),
        (
            "AUTH a",
            "-ERR AUTH <password> called without any password configured for the default user. Are you sure your \
             configuration is correct?",
        ),
        ("AUTH default anything", "+OK"),
        ("AUTH other anything", "-WRONGPASS invalid username-password pair or user is disabled."),
        ("CLIENT ID", "1"),
        ("CLIENT GETNAME", "nil"),
        ("CLIENT SETNAME 'a b'", "-ERR Client names cannot contain spaces, newlines or special characters."),
        ("CLIENT SETNAME ab", "+OK"),
        ("CLIENT GETNAME", "\"ab\""),
        ("CLIENT SETINFO lib-name x", "+OK"),
        (
            "CLIENT SETINFO lib-ver 'x y'",
            "-ERR lib-ver cannot contain spaces, newlines or special characters.",
        ),
        ("CLIENT SETINFO lib x", "-ERR Unrecognized option 'lib'"),
        ("CLIENT GETREDIR", "-1"),
        ("CLIENT UNBLOCK 1 x", "-ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"),
        ("CLIENT UNBLOCK 1 error", "0"),
        ("CLIENT TRACKINGINFO", "[\"flags\" [\"off\"] \"redirect\" -1 \"prefixes\" []]"),
        ("CLIENT TRACKING off", "+OK"),
        ("CLIENT FOO", "-ERR unknown subcommand 'FOO'. Try CLIENT HELP."),
        ("CLIENT NO-TOUCH yes", "-ERR syntax error"),
        ("CLIENT PAUSE x", "-ERR timeout is not an integer or out of range"),
        ("CLIENT PAUSE -1", "-ERR timeout is negative"),
        ("CLIENT PAUSE 9223372036854775807", "-ERR timeout is out of range"),
        ("CLIENT PAUSE 1 none", "-ERR CLIENT PAUSE mode must be WRITE or ALL"),
        (
            "CLIENT PAUSE 1 all x",
            "-ERR unknown subcommand or wrong number of arguments for 'PAUSE'. Try CLIENT HELP.",
        ),
        ("QUIT", "+OK"),
    ];
    let mut test = TestEngine::new();
    check_script(&mut test, &script);
    assert_eq!(test.outcome, Outcome::Close);
}

#[test]
fn hello_agrees_on_a_protocol_and_names_the_client() {
    let greeting = |proto| {
        format!(
            "\"server\":\"redis\" \"version\":\"7.2.4\" \"proto\":{proto} \"id\":1 \"mode\":\"standalone\" \
             \"role\":\"master\" \"modules\":[]"
        )
    };
    let mut test = TestEngine::new();
    check_script(
        &mut test,
        &[
            ("HELLO 1", "-NOPROTO unsupported protocol version"),
            ("HELLO x", "-ERR Protocol version is not an integer or out of range"),
            ("HELLO 3 x", "-ERR Syntax error in HELLO option 'x'"),
            ("HELLO 3 SETNAME", "-ERR Syntax error in HELLO option 'SETNAME'"),
            (
                "HELLO 3 SETNAME 'a b'",
                "-ERR Client names cannot contain spaces, newlines or special characters.",
            ),
            ("HELLO 3 SETNAME me", &format!("{{{}}}", greeting(3))),
            ("HELLO", &format!("{{{}}}", greeting(3))),
            ("CLIENT GETNAME", "\"me\""),
            ("HELLO 2", &format!("[{}]", greeting(2).replace("\":", "\" "))),
        ],
    );
}

#[test]
fn a_password_is_asked_for() {
    let mut test = with_password();
    let hello = "-NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH \
                 <user> <pass> option can be used to authenticate the client and select the RESP protocol version at \
                 the same time";
    check_script(
        &mut test,
        &[
            ("PING", "-NOAUTH Authentication required."),
            ("GET", "-NOAUTH Authentication required."),
            ("NOSUCH", "-NOAUTH Authentication required."),
            ("CONFIG NOSUCH", "-NOAUTH Authentication required."),
            ("DEBUG HELP", "-NOAUTH Authentication required."),
            ("AUTH", "-ERR wrong number of arguments for 'auth' command"),
            ("HELLO 3", hello),
            ("AUTH wrong", "-WRONGPASS invalid username-password pair or user is disabled."),
            ("AUTH secre", "-WRONGPASS invalid username-password pair or user is disabled."),
            ("AUTH secret1", "-WRONGPASS invalid username-password pair or user is disabled."),
            ("AUTH ''", "-WRONGPASS invalid username-password pair or user is disabled."),
            ("HELLO 2 AUTH default wrong", "-WRONGPASS invalid username-password pair or user is disabled."),
            ("PING", "-NOAUTH Authentication required."),
            ("AUTH secret", "+OK"),
            ("PING", "+PONG"),
            ("RESET", "+RESET"),
            ("PING", "-NOAUTH Authentication required."),
            ("AUTH default secret", "+OK"),
            ("PING", "+PONG"),
        ],
    );
}

#[test]
fn messages_reach_those_who_listen() {
    let mut test = TestEngine::new();
    let listener = test.connect();
    check(
        &mut test,
        &[
            (
                listener,
                "SUBSCRIBE a b a",
                "[\"subscribe\" \"a\" 1] [\"subscribe\" \"b\" 2] [\"subscribe\" \"a\" 2]",
            ),
            (listener, "PSUBSCRIBE a*", "[\"psubscribe\" \"a*\" 3]"),
            (listener, "SSUBSCRIBE s", "[\"ssubscribe\" \"s\" 1]"),
            (0, "PUBLISH a 1", "2"),
            (0, "PUBLISH c 1", "0"),
            (0, "SPUBLISH s 2", "1"),
            (0, "SPUBLISH a 2", "0"),
            (0, "PUBSUB NUMSUB a s", "[\"a\" 1 \"s\" 0]"),
            (0, "PUBSUB SHARDNUMSUB s", "[\"s\" 1]"),
            (0, "PUBSUB NUMPAT", "1"),
            (0, "PUBSUB CHANNELS a*", "[\"a\"]"),
            (0, "PUBSUB SHARDCHANNELS", "[\"s\"]"),
            (
                0,
                "PUBSUB CHANNELS a b",
                "-ERR unknown subcommand or wrong number of arguments for 'CHANNELS'. Try PUBSUB HELP.",
            ),
            (listener, "PING", "[\"pong\" \"\"]"),
            (listener, "PING x", "[\"pong\" \"x\"]"),
            (
                listener,
                "GET a",
                "-ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in \
                 this context",
            ),
        ],
    );
    let expected = [
        "2 >[\"message\" \"a\" \"1\"]",
        "2 >[\"pmessage\" \"a*\" \"a\" \"1\"]",
        "2 >[\"smessage\" \"s\" \"2\"]",
    ];
    assert_eq!(posts(&mut test), expected);
}

#[test]
fn unsubscribing_answers_once_for_each_name() {
    let mut test = TestEngine::new();
    check(
        &mut test,
        &[
            (0, "UNSUBSCRIBE", "[\"unsubscribe\" nil 0]"),
            (0, "PUNSUBSCRIBE x", "[\"punsubscribe\" \"x\" 0]"),
            (0, "SUNSUBSCRIBE", "[\"sunsubscribe\" nil 0]"),
            (0, "SUBSCRIBE a b c", "[\"subscribe\" \"a\" 1] [\"subscribe\" \"b\" 2] [\"subscribe\" \"c\" 3]"),
            (0, "PSUBSCRIBE p", "[\"psubscribe\" \"p\" 4]"),
            (0, "UNSUBSCRIBE b x", "[\"unsubscribe\" \"b\" 3] [\"unsubscribe\" \"x\" 3]"),
            (0, "UNSUBSCRIBE", "[\"unsubscribe\" \"a\" 2] [\"unsubscribe\" \"c\" 1]"),
            (0, "PUNSUBSCRIBE", "[\"punsubscribe\" \"p\" 0]"),
            (0, "GET a", "nil"),
        ],
    );
    assert_eq!(test.sessions[0].subscription_bytes, 0);
    assert!(!test.engine.pubsub.any());
}

/// In RESP2 a message after the last UNSUBSCRIBE would be taken for the reply to the next command.
#[test]
fn a_message_on_its_way_does_not_arrive_after_unsubscribe() {
    let mut test = TestEngine::new();
    let listener = test.connect();
    check(
        &mut test,
        &[
            (listener, "SUBSCRIBE a b", "[\"subscribe\" \"a\" 1] [\"subscribe\" \"b\" 2]"),
            (0, "PUBLISH a late", "1"),
            (0, "PUBLISH b kept", "1"),
            (listener, "UNSUBSCRIBE a", "[\"unsubscribe\" \"a\" 1]"),
        ],
    );
    assert_eq!(posts(&mut test), ["2 >[\"message\" \"b\" \"kept\"]"]);
}

#[test]
fn replies_can_be_switched_off_but_confirmations_still_come() {
    let mut test = TestEngine::new();
    check(
        &mut test,
        &[
            (0, "CLIENT REPLY x", "-ERR syntax error"),
            (0, "CLIENT REPLY SKIP", ""),
            (0, "PING", ""),
            (0, "PING", "+PONG"),
            (0, "CLIENT REPLY OFF", ""),
            (0, "PING", ""),
            (0, "CLIENT REPLY SKIP", ""),
            (0, "PING", ""),
            (0, "PING", ""),
            (0, "SUBSCRIBE a", ""),
            (0, "UNSUBSCRIBE a", ""),
            (0, "UNSUBSCRIBE", ""),
            (0, "CLIENT REPLY ON", "+OK"),
        ],
    );
    assert_eq!(
        posts(&mut test),
        ["1 >[\"subscribe\" \"a\" 1]", "1 >[\"unsubscribe\" \"a\" 0]", "1 >[\"unsubscribe\" nil 0]"]
    );
}

#[test]
fn resp3_clients_may_say_everything_while_they_listen() {
    let mut test = TestEngine::new();
    test.set_protocol(0, resp::reply::Protocol::Resp3);
    check(
        &mut test,
        &[(0, "SUBSCRIBE a", ">[\"subscribe\" \"a\" 1]"), (0, "GET k", "nil"), (0, "PING", "+PONG")],
    );
}

#[test]
fn list_filters_clients() {
    let cases: &[(&str, &[u64])] = &[
        ("", &[1, 2, 3]),
        ("TYPE normal", &[1, 2]),
        ("TYPE pubsub", &[3]),
        ("NOT-TYPE pubsub", &[1, 2]),
        ("TYPE replica", &[]),
        ("ID 3 1 99", &[1, 3]),
        ("NOT-ID 3 1", &[2]),
        ("ID 1 ID 2", &[1, 2]),
        ("ADDR 127.0.0.1:50001", &[2]),
        ("LADDR 127.0.0.1:6379", &[1, 2, 3]),
        ("IP 127.0.0.1 SKIPME yes", &[2, 3]),
        ("NAME two", &[2]),
        ("NOT-NAME two", &[1, 3]),
        ("DB 5", &[2]),
        ("FLAGS P", &[3]),
        ("FLAGS N", &[1, 2]),
        ("USER default MAXAGE 10", &[1, 2]),
        ("MAXAGE 1000", &[]),
        ("CAPA r", &[]),
    ];
    let mut test = three_clients();
    for (filter, expected) in cases {
        let list = test.run(&format!("CLIENT LIST {filter}"));
        assert_eq!(ids(&show(&list)), *expected, "{filter}");
    }
}

/// The second is named and in database 5, the third is younger and listens.
fn three_clients() -> TestEngine {
    let mut test = TestEngine::new();
    test.connect();
    check(&mut test, &[(1, "CLIENT SETNAME two", "+OK"), (1, "SELECT 5", "+OK")]);
    test.advance_ms(60_000);
    test.connect();
    check(&mut test, &[(2, "SUBSCRIBE a", "[\"subscribe\" \"a\" 1]")]);
    test
}

fn ids(list: &str) -> Vec<u64> {
    let lines = list.trim_matches('"').split("\\n").filter(|line| !line.is_empty());
    lines
        .map(|line| line["id=".len()..line.find(' ').expect("more fields")].parse().expect("an id"))
        .collect()
}

#[test]
fn bad_filters_are_refused() {
    let script = [
        ("CLIENT LIST x", "-ERR syntax error"),
        ("CLIENT LIST type", "-ERR syntax error"),
        ("CLIENT LIST type x", "-ERR Unknown client type 'x'"),
        ("CLIENT LIST id x", "-ERR Invalid client ID"),
        ("CLIENT LIST not-maxage 1", "-ERR syntax error"),
        ("CLIENT LIST flags q", "-ERR Unknown flags found in the provided filter: q"),
        ("CLIENT LIST not-flags q", "-ERR Unknown flags found in the NOT-FLAGS filter: q"),
        ("CLIENT LIST db 16", "-ERR DB number should be between 0 and 15"),
        ("CLIENT KILL id x", "-ERR client-id should be greater than 0"),
        ("CLIENT KILL id 0", "-ERR client-id should be greater than 0"),
        ("CLIENT KILL user x", "-ERR No such user 'x'"),
        ("CLIENT KILL skipme x", "-ERR syntax error"),
        ("CLIENT KILL maxage 0", "-ERR maxage should be greater than 0"),
        ("CLIENT KILL 1.1.1.1:1", "-ERR No such client"),
    ];
    check_script(&mut TestEngine::new(), &script);
}

#[test]
fn a_line_of_client_list_has_every_field_in_order() {
    let mut test = TestEngine::new();
    check_script(
        &mut test,
        &[("CLIENT SETNAME me", "+OK"), ("CLIENT SETINFO lib-ver 1.2", "+OK"), ("WATCH k", "+OK")],
    );
    test.advance_ms(5_000);
    let info = show(&test.run("CLIENT INFO"));
    let expected = "\"id=1 addr=127.0.0.1:50000 laddr=127.0.0.1:6379 fd=8 name=me age=5 idle=5 flags=N capa= db=0 sub=0 \
                    psub=0 ssub=0 multi=-1 watch=1 qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 \
                    omem=0 tot-mem=";
    assert!(info.starts_with(expected), "{info}");
    let end = " events=r cmd=client|info user=default redir=-1 resp=2 lib-name= lib-ver=1.2 tot-net-in=0 \
               tot-net-out=0 tot-cmds=3\\n\"";
    assert!(info.ends_with(end), "{info}");
}

#[test]
fn flags_follow_the_state() {
    let mut test = TestEngine::new();
    let other = test.connect();
    check(
        &mut test,
        &[
            (0, "CLIENT NO-EVICT on", "+OK"),
            (0, "CLIENT NO-TOUCH on", "+OK"),
            (0, "WATCH k", "+OK"),
            (0, "MULTI", "+OK"),
            (other, "SET k 1", "+OK"),
        ],
    );
    let list = show(&test.run_as(other, "CLIENT LIST ID 1"));
    assert!(list.contains(" flags=xdeT ") && list.contains(" multi=0 "), "{list}");
    check(&mut test, &[(0, "RESET", "+RESET")]);
    let list = show(&test.run_as(other, "CLIENT LIST ID 1"));
    assert!(list.contains(" flags=N ") && list.contains(" multi=-1 watch=0 "), "{list}");
}

/// Redis takes any number for an id in CLIENT LIST, and only one above 0 in CLIENT KILL.
#[test]
fn an_id_that_nobody_can_have_is_listed_as_nobody() {
    let mut test = TestEngine::new();
    check_script(
        &mut test,
        &[
            ("CLIENT LIST ID 0", "\"\""),
            ("CLIENT LIST ID 2000 -1", "\"\""),
            ("CLIENT LIST ID x", "-ERR Invalid client ID"),
            ("CLIENT KILL ID 0", "-ERR client-id should be greater than 0"),
            ("CLIENT KILL ID x", "-ERR client-id should be greater than 0"),
        ],
    );
    assert_eq!(ids(&show(&test.run("CLIENT LIST ID 0 1"))), [1]);
}

#[test]
fn killed_clients_are_not_seen_again() {
    let mut test = three_clients();
    check(
        &mut test,
        &[
            (0, "CLIENT KILL TYPE pubsub", "1"),
            (0, "CLIENT KILL TYPE pubsub", "0"),
            (0, "CLIENT KILL 127.0.0.1:50001", "+OK"),
            (0, "CLIENT KILL ID 1", "0"),
        ],
    );
    assert_eq!(posts(&mut test), ["3 killed", "2 killed"]);
    assert_eq!(test.outcome, Outcome::Done);
    assert_eq!(ids(&show(&test.run("CLIENT LIST"))), [1]);
    check(&mut test, &[(0, "CLIENT KILL ID 1 SKIPME no", "1")]);
    assert_eq!((test.outcome, posts(&mut test).len()), (Outcome::Close, 0), "first the reply, then the end");
}

#[test]
fn a_pause_holds_writes_until_it_ends() {
    let mut test = TestEngine::new();
    let mut check_outcome = |line: &str, expected| {
        test.run(line);
        assert_eq!(test.outcome, expected, "{line}");
    };
    check_outcome("CLIENT PAUSE 1000 WRITE", Outcome::Done);
    check_outcome("GET a", Outcome::Done);
    check_outcome("SET a 1", Outcome::Paused);
    check_outcome("PUBLISH a 1", Outcome::Paused);
    check_outcome("CLIENT PAUSE 0", Outcome::Done);
    check_outcome("GET a", Outcome::Done);
    check_outcome("CLIENT PAUSE 1000", Outcome::Done);
    check_outcome("GET a", Outcome::Paused);
    check_outcome("CLIENT UNPAUSE", Outcome::Done);
    check_outcome("SET a 1", Outcome::Done);
    assert_eq!(posts(&mut test), ["resume"]);
}

#[test]
fn monitors_see_commands_in_order_without_passwords() {
    let mut test = TestEngine::new();
    let monitor = test.connect();
    check(
        &mut test,
        &[
            (monitor, "MONITOR", "+OK"),
            (monitor, "MONITOR", ""),
            (0, "SELECT 2", "+OK"),
            (0, "AUTH default secret", "+OK"),
            (0, "MULTI", "+OK"),
            (0, "SET 'a b' \"\\x01\"", "+QUEUED"),
            (0, "EXEC", "[+OK]"),
            (0, "CLIENT KILL ID 99", "0"),
        ],
    );
    test.run("HELLO 2 SETNAME auth AUTH default secret");
    let lines: Vec<String> =
        posts(&mut test).iter().map(|line| line[line.find('[').unwrap_or(0)..].to_owned()).collect();
    let expected = [
        "\"SELECT\" \"2\"",
        "\"AUTH\" \"(redacted)\" \"(redacted)\"",
        "\"MULTI\"",
        "\"SET\" \"a b\" \"\\x01\"",
        "\"EXEC\"",
        "\"HELLO\" \"2\" \"SETNAME\" \"auth\" \"AUTH\" \"(redacted)\" \"(redacted)\"",
    ];
    assert_eq!(lines, expected.map(|line| format!("[2 127.0.0.1:50000] {line}")));
    check(&mut test, &[(monitor, "RESET", "+RESET"), (0, "PING", "+PONG")]);
    assert_eq!(posts(&mut test), Vec::<String>::new());
}

#[test]
fn slow_commands_are_logged_without_passwords() {
    let mut test = TestEngine::with_config(|config| config.slowlog_log_slower_than_us = 0);
    test.run("AUTH secret");
    test.run("CONFIG SET requirepass secret maxmemory 0");
    let log = test.engine.command_logs.of(Kind::Slow).lock();
    let count = |word: &[u8]| {
        log.entries.iter().flat_map(|entry| &entry.arguments).filter(|other| *other == word).count()
    };
    assert_eq!(count(b"secret"), 0);
    assert!(count(b"(redacted)") >= 1);
}

#[test]
fn reset_takes_everything_back() {
    let mut test = TestEngine::new();
    test.run("HELLO 3 SETNAME me");
    check(
        &mut test,
        &[
            (0, "SELECT 3", "+OK"),
            (0, "SUBSCRIBE a", ">[\"subscribe\" \"a\" 1]"),
            (0, "PSUBSCRIBE p", ">[\"psubscribe\" \"p\" 2]"),
            (0, "SSUBSCRIBE s", ">[\"ssubscribe\" \"s\" 1]"),
            (0, "WATCH k", "+OK"),
            (0, "MULTI", "+OK"),
            (0, "CLIENT REPLY OFF", "+QUEUED"),
            (0, "RESET", "+RESET"),
            (0, "GET k", "nil"),
            (0, "EXEC", "-ERR EXEC without MULTI"),
            (0, "CLIENT GETNAME", "nil"),
        ],
    );
    let info = show(&test.run("CLIENT INFO"));
    assert!(
        info.contains(" db=0 sub=0 psub=0 ssub=0 multi=-1 watch=0 ") && info.contains(" resp=2 "),
        "{info}"
    );
}

#[test]
fn a_connection_that_ends_leaves_nothing_behind() {
    let mut test = TestEngine::new();
    let other = test.connect();
    for line in ["SUBSCRIBE a b", "PSUBSCRIBE p", "SSUBSCRIBE s"] {
        test.run_raw(other, &split_args(line.as_bytes()).expect("balanced"));
    }
    test.set_protocol(other, resp::reply::Protocol::Resp3);
    check(&mut test, &[(other, "MONITOR", "+OK"), (other, "WATCH k", "+OK"), (other, "MULTI", "+OK")]);
    test.engine.disconnect(&mut test.sessions[other]);
    assert!(!test.engine.pubsub.any() && !test.engine.monitors.any());
    assert_eq!((test.engine.watches.key_count(), test.engine.clients.len()), (0, 1));
    check(&mut test, &[(0, "PUBLISH a 1", "0"), (0, "PUBSUB CHANNELS", "[]"), (0, "PUBSUB NUMPAT", "0")]);
}

#[test]
fn a_pause_hides_what_expires_and_keeps_it() {
    let mut test = TestEngine::new();
    test.run("SET a 1 PX 10");
    test.run("SET b 1 PX 10");
    test.run("CLIENT PAUSE 1000 WRITE");
    test.advance_ms(20);
    let hidden = [
        (0, "GET a", "nil"),
        (0, "MGET a b", "[nil nil]"),
        (0, "EXISTS a b", "0"),
        (0, "SCAN 0", "[\"0\" []]"),
        (0, "DBSIZE", "2"),
        (0, "CLIENT UNPAUSE", "+OK"),
        (0, "GET a", "nil"),
        (0, "DBSIZE", "1"),
    ];
    check(&mut test, &hidden);
}

/// Only what these names mean on their own is allowed.
#[test]
fn a_subscriber_may_not_reset_logs() {
    let mut test = TestEngine::new();
    test.run("SUBSCRIBE news");
    for line in ["SLOWLOG RESET", "LATENCY RESET"] {
        let reply = show(&test.run(line));
        assert!(reply.starts_with("-ERR Can't execute '"), "{line}: {reply}");
    }
}
