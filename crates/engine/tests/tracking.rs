//! Client-side caching through the pipeline: which clients are told of which changes, in which form, in which
//! order with their own replies, and what the table of keys may hold.

use std::sync::atomic::Ordering;

use base::limits;
use base::quoting::split_args;
use engine::config::DebugAccess;
use engine::host::Event;
use engine::testing::{TestEngine, check_script, show};
use resp::decode::{DecodeLimits, Value, decode};
use resp::reply::Protocol;

/// Clients of a test: one that caches, one that writes, one that others redirect to.
const CACHE: usize = 0;
const WRITER: usize = 1;
const TARGET: usize = 2;

/// Three clients, of which the first speaks RESP3. They are called 0, 1, 2; their ids are 1, 2, 3.
fn clients() -> TestEngine {
    let mut test = TestEngine::with_config(|config| config.enable_debug_command = DebugAccess::Yes);
    test.connect();
    test.connect();
    test.set_protocol(CACHE, Protocol::Resp3);
    test
}

/// `(client, line, what it is answered, what others are sent)`
type Step<'a> = (usize, &'a str, &'a str, &'a str);

fn check(test: &mut TestEngine, script: &[Step<'_>]) {
    for (client, line, reply, sent) in script {
        let words = split_args(line.as_bytes()).expect("a test's quotes are balanced");
        let bytes = test.run_raw(*client, &words);
        assert_eq!(show_all(&bytes), *reply, "the reply to client {client}: {line}");
        assert_eq!(posts(test).join(" "), *sent, "sent because of client {client}: {line}");
    }
}

/// Runs the script with the first client caching as `options` say.
fn check_cached(options: &str, script: &[Step<'_>]) -> TestEngine {
    let mut test = clients();
    check(&mut test, &[(CACHE, &format!("CLIENT TRACKING ON {options}"), "+OK", "")]);
    check(&mut test, script);
    test
}

fn show_all(mut bytes: &[u8]) -> String {
    let mut replies = Vec::new();
    while let Some((value, len)) = decode(bytes, &DecodeLimits::default()).expect("replies are well formed") {
        replies.push(show(&value).replace("\"invalidate\"", "invalid"));
        bytes = &bytes[len..];
    }
    assert!(bytes.is_empty(), "half a reply");
    replies.join(" ")
}

/// What arrives of the posts since the last call, as a worker would deliver them: `client message`.
fn posts(test: &mut TestEngine) -> Vec<String> {
    test.take_posts().iter().filter_map(|event| delivered(test, event)).collect()
}

fn delivered(test: &TestEngine, event: &Event) -> Option<String> {
    let place = |id| test.sessions.iter().position(|session| session.client.id == id);
    match event {
        Event::Invalidate { client, origin, keys, .. } => {
            let place = place(*client).filter(|_| test.engine.clients.find(*client).is_some());
            let Some(place) = place else {
                test.engine.invalidation_was_lost(*client, *origin);
                return Some("lost".to_owned());
            };
            let head = test.sessions[place].invalidation_head(client != origin, keys.is_empty())?;
            Some(format!("{place} {}", show_all(&[head, keys.as_slice()].concat())))
        }
        Event::Push { client, message } => Some(format!("{} {}", place(*client)?, show_all(message))),
        other => panic!("not expected: {other:?}"),
    }
}

#[test]
fn who_has_read_a_key_is_told_once() {
    check_cached(
        "",
        &[
            (WRITER, "MSET a 1 b 1 c 1", "+OK", ""),
            (CACHE, "GET a", "\"1\"", ""),
            (CACHE, "GET a", "\"1\"", ""),
            (WRITER, "INCR b", "2", ""),
            (WRITER, "INCR a", "2", "0 >[invalid [\"a\"]]"),
            (WRITER, "INCR a", "3", ""),
            (CACHE, "MGET a b none", "[\"3\" \"2\" nil]", ""),
            (WRITER, "DEL a b", "2", "0 >[invalid [\"a\"]] 0 >[invalid [\"b\"]]"),
            (WRITER, "SET none 1", "+OK", "0 >[invalid [\"none\"]]"),
            // Whatever the database.
            (CACHE, "GET c", "\"1\"", ""),
            (WRITER, "SELECT 5", "+OK", ""),
            (WRITER, "SET c 1", "+OK", "0 >[invalid [\"c\"]]"),
            (WRITER, "SELECT 0", "+OK", ""),
            // A read that failed may be cached like any other; a write is none.
            (WRITER, "HSET h f v", "1", ""),
            (CACHE, "GET h", "-WRONGTYPE Operation against a key holding the wrong kind of value", ""),
            (WRITER, "HDEL h f", "1", "0 >[invalid [\"h\"]]"),
            (CACHE, "SET w 1", "+OK", ""),
            (WRITER, "SET w 2", "+OK", ""),
            // Both names of a key that is renamed.
            (CACHE, "MGET w x", "[\"2\" nil]", ""),
            (WRITER, "RENAME w x", "+OK", "0 >[invalid [\"w\"]] 0 >[invalid [\"x\"]]"),
            (CACHE, "TYPE x", "+string", ""),
            (WRITER, "MOVE x 3", "1", "0 >[invalid [\"x\"]]"),
            // What does not change a key is no change.
            (CACHE, "GET c", "\"1\"", ""),
            (WRITER, "DEL nothing", "0", ""),
            (WRITER, "SETNX c 2", "0", ""),
            (WRITER, "SWAPDB 0 1", "+OK", ""),
        ],
    );
}

#[test]
fn every_client_that_has_read_a_key_is_told() {
    let mut test = clients();
    let all: Vec<usize> = (0..100).map(|_| test.connect()).collect();
    for &client in &all {
        test.set_protocol(client, Protocol::Resp3);
        check(&mut test, &[(client, "CLIENT TRACKING ON", "+OK", ""), (client, "GET k", "nil", "")]);
    }
    assert_eq!((test.engine.tracking.key_count(), test.engine.tracking.item_count()), (1, 100));
    test.run_as(WRITER, "SET k 1");
    let mut told = posts(&mut test);
    let mut expected: Vec<String> = all.iter().map(|client| format!("{client} >[invalid [\"k\"]]")).collect();
    told.sort();
    expected.sort();
    assert_eq!(told, expected);
    assert_eq!(test.engine.tracking.memory(), 0);
}

#[test]
fn own_changes_are_told_after_the_reply() {
    let script = [
        (CACHE, "MGET a b", "[nil nil]", ""),
        (CACHE, "SET a 1", "+OK >[invalid [\"a\"]]", ""),
        (CACHE, "MULTI", "+OK", ""),
        (CACHE, "SET b 1", "+QUEUED", ""),
        (CACHE, "GET b", "+QUEUED", ""),
        (CACHE, "INCR b", "+QUEUED", ""),
        (CACHE, "GET b", "+QUEUED", ""),
        (CACHE, "EXEC", "[+OK \"1\" 2 \"2\"] >[invalid [\"b\"]] >[invalid [\"b\"]]", ""),
        (WRITER, "SET b 5", "+OK", "0 >[invalid [\"b\"]]"),
        // Who wants no replies wants messages.
        (CACHE, "GET b", "\"5\"", ""),
        (CACHE, "CLIENT REPLY OFF", "", ""),
        (CACHE, "SET b 6", ">[invalid [\"b\"]]", ""),
    ];
    check_cached("", &script);
    let quiet = [
        (CACHE, "MGET a b", "[nil nil]", ""),
        (CACHE, "SET a 1", "+OK", ""),
        (WRITER, "SET b 1", "+OK", "0 >[invalid [\"b\"]]"),
        (CACHE, "GET a", "\"1\"", ""),
        (CACHE, "EXPIRE a -1", "1", ""),
    ];
    check_cached("NOLOOP", &quiet);
}

#[test]
fn expired_keys_are_told_of() {
    let mut test = check_cached(
        "NOLOOP",
        &[
            (CACHE, "MSET x 1", "+OK", ""),
            (CACHE, "SET y 1 PX 5", "+OK", ""),
            (CACHE, "SET z 1 PX 5", "+OK", ""),
            (CACHE, "MGET x y z", "[\"1\" \"1\" \"1\"]", ""),
        ],
    );
    test.advance_ms(6);
    // That a key has expired is nobody's own change.
    check(&mut test, &[(CACHE, "MGET x y", "[\"1\" nil] >[invalid [\"y\"]]", "")]);
    test.expire_cycle();
    assert_eq!(posts(&mut test), ["0 >[invalid [\"z\"]]"]);
}

#[test]
fn a_client_without_resp3_hears_nothing_itself() {
    let mut test = check_cached("", &[(CACHE, "GET a", "nil", "")]);
    test.set_protocol(CACHE, Protocol::Resp2);
    check(&mut test, &[(WRITER, "SET a 1", "+OK", ""), (CACHE, "GET a", "\"1\"", "")]);
    test.set_protocol(CACHE, Protocol::Resp3);
    check(&mut test, &[(WRITER, "SET a 1", "+OK", "0 >[invalid [\"a\"]]")]);
}

#[test]
fn messages_can_be_redirected() {
    let mut test = check_cached(
        "REDIRECT 3",
        &[
            (CACHE, "CLIENT GETREDIR", "3", ""),
            (CACHE, "GET a", "nil", ""),
            // A RESP2 client can take messages only if it has subscribed to anything.
            (WRITER, "SET a 1", "+OK", ""),
            (TARGET, "SUBSCRIBE __redis__:invalidate", "[\"subscribe\" \"__redis__:invalidate\" 1]", ""),
            (CACHE, "GET a", "\"1\"", ""),
            (WRITER, "SET a 1", "+OK", "2 [\"message\" \"__redis__:invalidate\" [\"a\"]]"),
            (CACHE, "GET a", "\"1\"", ""),
            (CACHE, "SET a 1", "+OK", "2 [\"message\" \"__redis__:invalidate\" [\"a\"]]"),
            (WRITER, "FLUSHALL", "+OK", "2 [\"message\" \"__redis__:invalidate\" nil]"),
            (TARGET, "UNSUBSCRIBE", "[\"unsubscribe\" \"__redis__:invalidate\" 0]", ""),
        ],
    );
    test.set_protocol(TARGET, Protocol::Resp3);
    test.set_protocol(CACHE, Protocol::Resp2);
    check(
        &mut test,
        &[
            (CACHE, "GET a", "nil", ""),
            (WRITER, "SET a 1", "+OK", "2 >[invalid [\"a\"]]"),
            (CACHE, "GET a", "\"1\"", ""),
            // The target's own changes: after its reply.
            (TARGET, "SET a 1", "+OK >[invalid [\"a\"]]", ""),
            (CACHE, "CLIENT TRACKING ON", "+OK", ""),
            (CACHE, "CLIENT GETREDIR", "0", ""),
        ],
    );
}

#[test]
fn a_redirection_that_leads_nowhere_is_told_of() {
    let broken = "0 >[\"tracking-redir-broken\" 3]";
    let info = "{\"flags\":<\"on\" \"broken_redirect\"> \"redirect\":3 \"prefixes\":[]}";
    let mut test = check_cached("REDIRECT 3", &[(CACHE, "MGET a b", "[nil nil]", "")]);
    let mut target = test.sessions.remove(TARGET);
    test.engine.disconnect(&mut target);
    let script = [
        (WRITER, "SET a 1", "+OK", broken),
        (CACHE, "CLIENT TRACKINGINFO", info, ""),
        (WRITER, "SET b 1", "+OK", broken),
    ];
    check(&mut test, &script);
    assert!(has_letters(&mut test, "tR"));
    check(&mut test, &[(CACHE, "CLIENT TRACKING ON", "+OK", "")]);
    assert!(has_letters(&mut test, "t"));
    check(&mut test, &[(CACHE, "GET a", "\"1\"", ""), (WRITER, "SET a 1", "+OK", "0 >[invalid [\"a\"]]")]);
}

#[test]
fn a_message_that_finds_its_target_gone_breaks_the_redirection() {
    let mut test = check_cached("REDIRECT 3", &[(CACHE, "GET a", "nil", "")]);
    test.set_protocol(TARGET, Protocol::Resp3);
    test.run_as(WRITER, "SET a 1");
    let mut target = test.sessions.remove(TARGET);
    test.engine.disconnect(&mut target);
    assert_eq!(posts(&mut test), ["lost"]);
    assert_eq!(posts(&mut test), ["0 >[\"tracking-redir-broken\" 3]"]);
    // Another redirection is not concerned.
    check(&mut test, &[(CACHE, "CLIENT TRACKING ON REDIRECT 2", "+OK", "")]);
    test.engine.invalidation_was_lost(target.client.id, test.sessions[CACHE].client.id);
    assert!(posts(&mut test).is_empty() && has_letters(&mut test, "t"));
}

fn has_letters(test: &mut TestEngine, letters: &str) -> bool {
    let line = show(&test.run_as(CACHE, "CLIENT INFO"));
    line.contains(&format!(" flags={letters} "))
}

#[test]
fn clients_choose_what_they_cache() {
    let read = (CACHE, "GET k", "nil", "");
    let told = "0 >[invalid [\"k\"]]";
    let append = |sent| (WRITER, "HSET k f v", "1", sent);
    let remove = |sent| (WRITER, "HDEL k f", "1", sent);
    let yes = (CACHE, "CLIENT CACHING YES", "+OK", "");
    let no = (CACHE, "CLIENT CACHING NO", "+OK", "");
    let ping = (CACHE, "PING", "+PONG", "");
    // For the next request only, but other requests about clients may come between.
    check_cached("OPTIN", &[read, append(""), remove("")]);
    check_cached("OPTIN", &[yes, read, append(told), remove("")]);
    check_cached("OPTIN", &[yes, ping, read, append("")]);
    check_cached("OPTIN", &[yes, (CACHE, "CLIENT GETREDIR", "0", ""), read, append(told)]);
    check_cached("OPTIN", &[yes, (CACHE, "NONSENSE", NONSENSE, ""), read, append("")]);
    check_cached("OPTOUT", &[read, append(told), remove("")]);
    check_cached("OPTOUT", &[no, read, append(""), remove("")]);
    check_cached("OPTOUT", &[no, ping, read, append(told)]);
    // For a whole transaction, or from its place in one on.
    let (multi, queued) = ((CACHE, "MULTI", "+OK", ""), (CACHE, "GET k", "+QUEUED", ""));
    let exec = |reply| (CACHE, "EXEC", reply, "");
    check_cached("OPTIN", &[yes, multi, queued, queued, exec("[nil nil]"), append(told)]);
    check_cached("OPTIN", &[yes, multi, exec("[]"), read, append("")]);
    check_cached("OPTOUT", &[no, multi, queued, queued, exec("[nil nil]"), append("")]);
    check_cached("OPTIN", &[yes, multi, (CACHE, "DISCARD", "+OK", ""), read, append("")]);
    let within = (CACHE, "CLIENT CACHING YES", "+QUEUED", "");
    check_cached("OPTIN", &[multi, within, queued, exec("[+OK nil]"), append(told)]);
    check_cached("OPTIN", &[multi, queued, within, exec("[nil +OK]"), append("")]);
}

const NONSENSE: &str = "-ERR unknown command 'NONSENSE', with args beginning with: ";

#[test]
fn prefixes_are_broadcast() {
    check_cached(
        "BCAST PREFIX a: PREFIX b:",
        &[
            (WRITER, "SET a:1 x", "+OK", "0 >[invalid [\"a:1\"]]"),
            (WRITER, "SET c:1 x", "+OK", ""),
            (CACHE, "GET c:1", "\"x\"", ""),
            (WRITER, "SET c:1 y", "+OK", ""),
            // Together, in order, each key once.
            (
                WRITER,
                "MSET a:2 x b:2 x a:1 x c 1",
                "+OK",
                "0 >[invalid [\"a:1\" \"a:2\"]] 0 >[invalid [\"b:2\"]]",
            ),
            (WRITER, "MULTI", "+OK", ""),
            (WRITER, "APPEND a:1 x", "+QUEUED", ""),
            (WRITER, "APPEND a:1 x", "+QUEUED", ""),
            (WRITER, "DEL a:2", "+QUEUED", ""),
            (WRITER, "EXEC", "[2 3 1]", "0 >[invalid [\"a:1\" \"a:2\"]]"),
            (CACHE, "SET a:1 x", "+OK", "0 >[invalid [\"a:1\"]]"),
            // More prefixes come to those before.
            (CACHE, "CLIENT TRACKING ON BCAST PREFIX c", "+OK", ""),
            (WRITER, "MSET a: 1 c 1", "+OK", "0 >[invalid [\"a:\"]] 0 >[invalid [\"c\"]]"),
            (CACHE, "CLIENT TRACKING OFF", "+OK", ""),
            (WRITER, "MSET a: 1 c 1", "+OK", ""),
        ],
    );
}

#[test]
fn broadcasts_know_who_changed_a_key_last() {
    let mut test = check_cached(
        "BCAST NOLOOP",
        &[
            (WRITER, "SET k 1", "+OK", "0 >[invalid [\"k\"]]"),
            (CACHE, "SET k 1", "+OK", ""),
            (CACHE, "SET gone 1 PX 5", "+OK", ""),
            (CACHE, "MULTI", "+OK", ""),
            (CACHE, "SET k 2", "+QUEUED", ""),
            (CACHE, "GET gone", "+QUEUED", ""),
        ],
    );
    test.advance_ms(6);
    check(&mut test, &[(CACHE, "EXEC", "[+OK nil]", "0 >[invalid [\"gone\"]]")]);
    let other = test.connect();
    test.set_protocol(other, Protocol::Resp3);
    let both = "0 >[invalid [\"k\"]] 3 >[invalid [\"k\"]]";
    check(
        &mut test,
        &[
            (other, "CLIENT TRACKING ON BCAST", "+OK", ""),
            (CACHE, "SET k 3", "+OK", "3 >[invalid [\"k\"]]"),
            (WRITER, "SET k 3", "+OK", both),
        ],
    );
    assert_eq!(test.engine.tracking.prefix_count(), 1);
}

#[test]
fn keys_read_before_broadcasting_do_not_count_twice() {
    check_cached(
        "",
        &[
            (CACHE, "GET k", "nil", ""),
            (CACHE, "CLIENT TRACKING OFF", "+OK", ""),
            (CACHE, "CLIENT TRACKING ON BCAST", "+OK", ""),
            (WRITER, "SET k 1", "+OK", "0 >[invalid [\"k\"]]"),
        ],
    );
}

#[test]
fn many_changes_are_broadcast_before_the_batch_ends() {
    let mut test = check_cached("BCAST", &[]);
    let name = "x".repeat(limits::TRACKING_BROADCAST_LEN);
    for (len, waits) in [(limits::TRACKING_BROADCAST_LEN / 2, true), (limits::TRACKING_BROADCAST_LEN, false)]
    {
        let argv = [b"SET", &name.as_bytes()[..len], b"1"].map(|word: &[u8]| word.to_vec());
        let mut owned = engine::args::OwnedArgv::default();
        argv.iter().for_each(|word| owned.push(word));
        let (view, mut reply) = (owned.view(), resp::reply::Reply::default());
        let session = &mut test.sessions[WRITER];
        let prepared = test.engine.prepare(&view);
        test.engine.run(&mut test.seat, session, &prepared, &view, &mut reply);
        assert_eq!(test.take_posts().is_empty(), waits, "{len}");
    }
}

#[test]
fn flushes_void_everything() {
    let everything = "0 >[invalid nil]";
    for flush in ["FLUSHALL", "FLUSHDB", "FLUSHALL ASYNC", "DEBUG RELOAD"] {
        let test = check_cached(
            "NOLOOP",
            &[
                (WRITER, "MSET a 1 b 1", "+OK", ""),
                (CACHE, "MGET a b", "[\"1\" \"1\"]", ""),
                (WRITER, flush, "+OK", everything),
                (WRITER, "SET a 2", "+OK", ""),
                (CACHE, flush, "+OK >[invalid nil]", ""),
                (CACHE, "MULTI", "+OK", ""),
                (CACHE, "FLUSHDB", "+QUEUED", ""),
                (CACHE, "PING", "+QUEUED", ""),
                (CACHE, "EXEC", "[+OK +PONG] >[invalid nil]", ""),
            ],
        );
        assert_eq!((test.engine.tracking.key_count(), test.engine.tracking.memory()), (0, 0), "{flush}");
    }
    check_cached("BCAST PREFIX x", &[(WRITER, "FLUSHALL", "+OK", everything)]);
    check_cached("", &[(WRITER, "SELECT 3", "+OK", ""), (WRITER, "FLUSHDB", "+OK", everything)]);
}

#[test]
fn options_must_go_together() {
    let switch_bcast = "-ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then \
                        re-enabling it with a different mode.";
    let switch_choice = "-ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then \
                         re-enabling it with a different mode.";
    let no_caching = "-ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT \
                      mode enabled";
    let script = [
        ("CLIENT TRACKING", "-ERR wrong number of arguments for 'client|tracking' command"),
        ("CLIENT TRACKING maybe", "-ERR syntax error"),
        ("CLIENT TRACKING on x", "-ERR syntax error"),
        ("CLIENT TRACKING on REDIRECT", "-ERR syntax error"),
        ("CLIENT TRACKING on BCAST PREFIX", "-ERR syntax error"),
        ("CLIENT TRACKING on REDIRECT x", "-ERR value is not an integer or out of range"),
        ("CLIENT TRACKING on REDIRECT 0", "-ERR The client ID you want redirect to does not exist"),
        ("CLIENT TRACKING on REDIRECT -1", "-ERR The client ID you want redirect to does not exist"),
        ("CLIENT TRACKING off REDIRECT 9", "-ERR The client ID you want redirect to does not exist"),
        (
            "CLIENT TRACKING on REDIRECT 1 REDIRECT x",
            "-ERR A client can only redirect to a single other client",
        ),
        ("CLIENT TRACKING on PREFIX a", "-ERR PREFIX option requires BCAST mode to be enabled"),
        ("CLIENT TRACKING on OPTIN BCAST", "-ERR OPTIN and OPTOUT are not compatible with BCAST"),
        ("CLIENT TRACKING on OPTIN OPTOUT", "-ERR You can't specify both OPTIN mode and OPTOUT mode"),
        (
            "CLIENT TRACKING on BCAST PREFIX foobar PREFIX foo",
            "-ERR Prefix 'foobar' overlaps with another provided prefix 'foo'. Prefixes for a single client must not \
             overlap.",
        ),
        ("CLIENT CACHING yes", no_caching),
        ("CLIENT CACHING x", no_caching),
        ("CLIENT TRACKINGINFO", "[\"flags\" [\"off\"] \"redirect\" -1 \"prefixes\" []]"),
        ("CLIENT TRACKING off PREFIX a OPTIN", "+OK"),
        ("CLIENT TRACKING on optin", "+OK"),
        (
            "CLIENT CACHING no",
            "-ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.",
        ),
        ("CLIENT CACHING x", "-ERR syntax error"),
        ("CLIENT CACHING yes", "+OK"),
        (
            "CLIENT TRACKINGINFO",
            "[\"flags\" [\"on\" \"optin\" \"caching-yes\"] \"redirect\" 0 \"prefixes\" []]",
        ),
        ("CLIENT TRACKING on optout", switch_choice),
        ("CLIENT TRACKING on bcast", switch_bcast),
        ("CLIENT TRACKING on noloop REDIRECT 1", "+OK"),
        ("CLIENT TRACKINGINFO", "[\"flags\" [\"on\" \"noloop\"] \"redirect\" 1 \"prefixes\" []]"),
        ("CLIENT TRACKING on optout", "+OK"),
        (
            "CLIENT CACHING yes",
            "-ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.",
        ),
        ("CLIENT CACHING no", "+OK"),
        (
            "CLIENT TRACKINGINFO",
            "[\"flags\" [\"on\" \"optout\" \"caching-no\"] \"redirect\" 0 \"prefixes\" []]",
        ),
        ("CLIENT TRACKING off", "+OK"),
        ("CLIENT TRACKING on BCAST PREFIX foo PREFIX bar", "+OK"),
        ("CLIENT TRACKING on", switch_bcast),
        (
            "CLIENT TRACKING on BCAST PREFIX barb",
            "-ERR Prefix 'barb' overlaps with an existing prefix 'bar'. Prefixes for a single client must not \
             overlap.",
        ),
        (
            "CLIENT TRACKINGINFO",
            "[\"flags\" [\"on\" \"bcast\"] \"redirect\" 0 \"prefixes\" [\"bar\" \"foo\"]]",
        ),
        ("CLIENT TRACKING off", "+OK"),
        ("CLIENT TRACKING on BCAST", "+OK"),
        ("CLIENT TRACKINGINFO", "[\"flags\" [\"on\" \"bcast\"] \"redirect\" 0 \"prefixes\" [\"\"]]"),
        (
            "CLIENT CACHING yes",
            "-ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.",
        ),
    ];
    check_script(&mut TestEngine::new(), &script);
}

/// A field of INFO.
fn info(test: &mut TestEngine, field: &str) -> String {
    let text = test.run_as(WRITER, "INFO everything").as_text().expect("a text");
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.expect("a field of INFO").to_owned()
}

fn check_info(test: &mut TestEngine, clients: usize, keys: usize, items: usize, prefixes: usize) {
    let expected = [
        ("tracking_clients", clients),
        ("tracking_total_keys", keys),
        ("tracking_total_items", items),
        ("tracking_total_prefixes", prefixes),
    ];
    for (field, count) in expected {
        assert_eq!(info(test, field), count.to_string(), "{field}");
    }
}

#[test]
fn what_is_tracked_is_shown_and_forgotten() {
    let mut test = clients();
    let other = test.connect();
    check_info(&mut test, 0, 0, 0, 0);
    assert!(has_letters(&mut test, "N"));
    check(
        &mut test,
        &[
            (CACHE, "CLIENT TRACKING ON", "+OK", ""),
            (other, "CLIENT TRACKING ON", "+OK", ""),
            (TARGET, "CLIENT TRACKING ON BCAST PREFIX a PREFIX b REDIRECT 1", "+OK", ""),
            (CACHE, "MGET a b c", "[nil nil nil]", ""),
            (other, "GET a", "nil", ""),
            (TARGET, "GET a", "nil", ""),
        ],
    );
    check_info(&mut test, 3, 3, 4, 2);
    let line = show(&test.run_as(TARGET, "CLIENT INFO"));
    assert!(line.contains(" flags=tB ") && line.contains(" redir=1 "), "{line}");
    let found = show(&test.run_as(WRITER, "CLIENT LIST FLAGS B"));
    assert_eq!(found.matches("id=").count(), 1, "{found}");
    assert!(has_letters(&mut test, "t"));
    let memory =
        |test: &TestEngine| test.sessions[TARGET].client.tracking.prefix_bytes.load(Ordering::Relaxed);
    assert!(memory(&test) > 0);
    // Keys that were read stay until they change.
    check(
        &mut test,
        &[
            (TARGET, "RESET", "+RESET", ""),
            (other, "CLIENT TRACKING OFF", "+OK", ""),
            (other, "CLIENT TRACKING OFF", "+OK", ""),
        ],
    );
    assert_eq!(memory(&test), 0);
    check_info(&mut test, 1, 3, 4, 0);
    let mut gone = test.sessions.remove(CACHE);
    test.engine.disconnect(&mut gone);
    check_info(&mut test, 0, 3, 4, 0);
    check(&mut test, &[(0, "MSET a 1 b 1 c 1", "+OK", "")]);
    check_info(&mut test, 0, 0, 0, 0);
    assert!(!test.engine.tracking.any());
}

#[test]
fn beyond_its_limit_the_table_forgets_keys() {
    let mut test = check_cached(
        "NOLOOP",
        &[(WRITER, "CONFIG SET tracking-table-max-keys 2", "+OK", ""), (CACHE, "MGET a b", "[nil nil]", "")],
    );
    let words = split_args(b"GET c").expect("words");
    let answer = show_all(&test.run_raw(CACHE, &words));
    let forgotten = ["a", "b", "c"].map(|key| format!("nil >[invalid [\"{key}\"]]"));
    assert!(forgotten.contains(&answer), "{answer}");
    assert_eq!(test.engine.tracking.key_count(), 2);
    test.run_as(WRITER, "CONFIG SET tracking-table-max-keys 1");
    assert_eq!((posts(&mut test).len(), test.engine.tracking.key_count()), (1, 1));
    // 0 is no limit.
    test.run_as(WRITER, "CONFIG SET tracking-table-max-keys 0");
    let count = 3 * limits::TRACKING_TRIM_KEYS;
    for number in 0..count {
        assert_eq!(show(&test.run(&format!("GET key:{number}"))), "nil");
    }
    test.run_as(WRITER, "CONFIG SET tracking-table-max-keys 5");
    assert_eq!(posts(&mut test).len(), limits::TRACKING_TRIM_KEYS, "so much in one go");
    test.trim_cycle();
    assert_eq!(posts(&mut test).len(), count + 1 - limits::TRACKING_TRIM_KEYS - 5);
    assert_eq!(test.engine.tracking.key_count(), 5);
}

#[test]
fn a_request_of_many_keys_makes_room_for_them() {
    let mut test = check_cached("", &[(WRITER, "CONFIG SET tracking-table-max-keys 10", "+OK", "")]);
    let names = (0..2 * limits::TRACKING_TRIM_KEYS).map(|number| format!("key:{number}"));
    let words: Vec<String> = ["MGET".to_owned()].into_iter().chain(names).collect();
    test.run_raw(CACHE, &words);
    assert_eq!(test.engine.tracking.key_count(), 10);
}

#[test]
fn long_names_are_not_remembered() {
    let mut test = check_cached("", &[]);
    for (len, keys) in [(limits::TRACKING_NAME_LEN, 1), (limits::TRACKING_NAME_LEN + 1, 1)] {
        let name = "n".repeat(len);
        let answer = show_all(&test.run_raw(CACHE, &["GET", &name]));
        let told = len > limits::TRACKING_NAME_LEN;
        assert_eq!(answer.starts_with("nil >[invalid"), told, "{len}");
        assert_eq!(test.engine.tracking.key_count(), keys, "{len}");
    }
}

#[test]
fn names_in_the_table_are_bounded_in_bytes() {
    let mut test = check_cached("", &[]);
    let count = limits::TRACKING_TABLE_LEN / limits::TRACKING_NAME_LEN;
    let mut name = "n".repeat(limits::TRACKING_NAME_LEN - 10).into_bytes();
    let mut told = 0;
    for number in 0..count + 50 {
        name.splice(..10, format!("{number:010}").into_bytes());
        told += usize::from(test.run_raw(CACHE, &[b"GET".as_slice(), &name]).len() > name.len());
        assert!(test.engine.tracking.memory() <= limits::TRACKING_TABLE_LEN);
    }
    assert!((50..count / 2).contains(&told), "{told}");
}

#[test]
fn memory_stats_counts_the_tables_memory() {
    let mut test = check_cached("", &[]);
    for number in 0..1000 {
        test.run(&format!("GET key:{number}"));
    }
    let memory = test.engine.tracking.memory();
    assert!((24_000..60_000).contains(&memory), "{memory}");
    let Value::Array(Some(stats)) = test.run_as(WRITER, "MEMORY STATS") else { panic!("no list") };
    let row = stats.chunks(2).find(|row| row[0].as_text().as_deref() == Some("tracking.keys"));
    assert_eq!(row.expect("a row")[1], Value::Integer(memory as i64));
}
