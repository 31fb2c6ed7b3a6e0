//! Scripts of requests with their replies: run on an engine, and on the Redis that is installed, which must
//! answer the same. It never fails a test where there is none.

use base::num::parse_f64;
use base::quoting::split_args;
use engine::testing::checks::{Script, check_scripts};
use engine::testing::show;
use testkit::{Client, Server};

/// Runs each script on a fresh engine and, emptied before each, on Redis; what the effects leave behind when
/// they are replayed must be the same keyspace.
pub fn check_as_redis(scripts: &[Script]) {
    check_scripts(scripts);
    let Some(program) = testkit::redis() else {
        eprintln!("SKIPPED: there is no Redis to compare with");
        return;
    };
    let server = Server::start(program, &["--save", ""]);
    let mut client = server.client();
    scripts.iter().for_each(|script| check_there(&mut client, script));
}

fn check_there(client: &mut Client, script: Script) {
    client.call(&["FLUSHALL"]);
    for (line, expected) in script {
        let words = split_args(line.as_bytes()).expect("a test's quotes are balanced");
        let found = show(&client.call(&words));
        assert_eq!(numbers(&found), numbers(expected), "Redis' reply to: {line}");
    }
}

/// Fractions in one form: Redis 7.0 shows all their digits, later versions as few as are the same number.
fn numbers(text: &str) -> String {
    let parts = text.split_inclusive('"').map(|part| {
        let number = part.strip_suffix('"').and_then(|part| parse_f64(part.as_bytes()));
        number.map_or(part.to_owned(), |number| format!("{number:e}\""))
    });
    parts.collect()
}
