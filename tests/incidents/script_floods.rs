//! 17 GB resident for 200 MB of data: each request came with a script of its own, and all of them stayed,
//! outside of `used_memory` and beyond `maxmemory`. Here scripts and Lua's heaps have limits in bytes, within
//! `used_memory`; who is likeliest to be missed goes last.

use testkit::{Client, Server, Value, onefold, redis};

use super::{error, number};

const SCRIPTS: usize = 30_000;
/// So many of the last are surely there.
const LAST: usize = 1_000;
const CACHE_LIMIT: u64 = 2 << 20;
const LUA_LIMIT: u64 = 16 << 20;
/// What the process may have grown by: both limits, twice, and what threads and buffers take.
const RESIDENT: u64 = 64 << 20;

const SETTINGS: &[&str] = &["--save", "", "--maxmemory", "64mb"];

#[test]
fn scripts_stay_within_their_limits() {
    let _turn = super::turn();
    let limits = [("--script-cache-limit", CACHE_LIMIT), ("--lua-memory-limit", LUA_LIMIT)];
    let limits: Vec<String> =
        limits.iter().flat_map(|(name, limit)| [name.to_string(), limit.to_string()]).collect();
    let limits: Vec<&str> = limits.iter().map(String::as_str).collect();
    let server = Server::start(onefold(), &[SETTINGS, &limits].concat());
    let mut client = server.client();
    let wanted = sha_of(client.call(&["SCRIPT", "LOAD", "return 'wanted'"]));
    let (resident, dataset) = (server.status_bytes("VmRSS"), number(&mut client, "used_memory_dataset"));
    for command in [Flood::Eval, Flood::Load] {
        flood(&mut client, command);
        check_bounds(&mut client);
        assert_eq!(missing_of_the_last(&mut client, command), 0, "{command:?}");
        if command == Flood::Eval {
            assert_eq!(client.call(&["EVALSHA", &wanted, "0"]), Value::Bulk(Some(b"wanted".to_vec())));
        }
    }
    assert!(number(&mut client, "evicted_scripts") as usize > SCRIPTS);
    let old = error(client.call(&["EVALSHA", &wanted, "0"]));
    assert!(old.starts_with("NOSCRIPT"), "{old}");
    eat_memory(&mut client);
    check_bounds(&mut client);
    let grown = server.status_bytes("VmRSS").saturating_sub(resident);
    assert!(grown <= RESIDENT, "{grown} bytes more than before");
    let more_data = number(&mut client, "used_memory_dataset").saturating_sub(dataset);
    assert!(more_data < 1 << 20, "{more_data} bytes of scripts are taken for data");
}

#[test]
fn redis_keeps_every_script() {
    let _turn = super::turn();
    let Some(program) = redis() else {
        eprintln!("SKIPPED: redis-server is not installed");
        return;
    };
    let server = Server::start(program, SETTINGS);
    let mut client = server.client();
    let before = number(&mut client, "used_memory_lua");
    flood(&mut client, Flood::Eval);
    assert_eq!(number(&mut client, "number_of_cached_scripts") as usize, SCRIPTS);
    let heap = number(&mut client, "used_memory_lua") - before;
    let kept = heap + number(&mut client, "used_memory_scripts");
    assert!(kept > 4 * CACHE_LIMIT, "{kept} bytes for scripts that nobody will call again");
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Flood {
    Eval,
    Load,
}

impl Flood {
    fn text(self, number: usize) -> String {
        format!("return {number} -- a script of its own for each request, by {self:?}")
    }

    fn request(self, number: usize) -> Vec<String> {
        match self {
            Flood::Eval => vec!["EVAL".into(), self.text(number), "0".into()],
            Flood::Load => vec!["SCRIPT".into(), "LOAD".into(), self.text(number)],
        }
    }
}

fn flood(client: &mut Client, flood: Flood) {
    for first in (0..SCRIPTS).step_by(500) {
        let requests: Vec<_> = (first..first + 500).map(|number| flood.request(number)).collect();
        for reply in client.pipeline(&requests) {
            assert!(!matches!(reply, Value::Error(_)), "{flood:?}: {reply:?}");
        }
    }
}

fn missing_of_the_last(client: &mut Client, flood: Flood) -> usize {
    let numbers = SCRIPTS - LAST..SCRIPTS;
    let name = |number| {
        vec!["EVAL".to_owned(), "return redis.sha1hex(ARGV[1])".into(), "0".into(), flood.text(number)]
    };
    let shas = client.pipeline(&numbers.clone().map(name).collect::<Vec<_>>());
    let requests: Vec<_> =
        shas.into_iter().map(|sha| vec!["EVALSHA".to_owned(), sha_of(sha), "0".into()]).collect();
    let replies = client.pipeline(&requests);
    replies.iter().zip(numbers).filter(|(reply, number)| **reply != Value::from(*number as i64)).count()
}

fn check_bounds(client: &mut Client) {
    let (cached, heap) = (number(client, "used_memory_scripts_eval"), number(client, "used_memory_lua"));
    assert!(cached <= CACHE_LIMIT && heap <= LUA_LIMIT, "{cached} bytes of scripts, {heap} of Lua's heaps");
    assert!(number(client, "used_memory") > cached + heap, "both count as used");
}

/// A script that takes all it can get fails alone, and gives all of it back.
fn eat_memory(client: &mut Client) {
    let reply = client.call(&["EVAL", "local t = {} while true do t[#t + 1] = tostring(#t) end", "0"]);
    let text = error(reply);
    assert!(text.contains("not enough memory"), "{text}");
    let left = number(client, "used_memory_lua");
    assert!(left < LUA_LIMIT / 2, "{left} bytes are still in use");
    assert_eq!(client.call(&["EVAL", "return 'well'", "0"]), Value::Bulk(Some(b"well".to_vec())));
}

fn sha_of(reply: Value) -> String {
    match reply {
        Value::Bulk(Some(sha)) => String::from_utf8_lossy(&sha).into_owned(),
        other => panic!("SCRIPT LOAD answers {other:?}"),
    }
}
