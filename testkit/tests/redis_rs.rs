//! redis-rs as an application uses it, against a server of ours.

use std::collections::HashMap;

use redis::{Commands, Connection, pipe};
use testkit::server::{Server, onefold};

fn connect(server: &Server, protocol: &str) -> Connection {
    let address = format!("redis://127.0.0.1:{}/?protocol={protocol}", server.port());
    let client = redis::Client::open(address).expect("the address is well-formed");
    client.get_connection().expect("the server listens")
}

fn strings_hashes_and_keys(con: &mut Connection) -> redis::RedisResult<()> {
    redis::cmd("FLUSHALL").exec(con)?;
    let _: () = con.set_ex("name", "value", 100)?;
    assert_eq!(con.get::<_, String>("name")?, "value");
    assert_eq!(con.incr::<_, _, i64>("count", 5)?, 5);
    let _: () = con.hset_multiple("h", &[("f", "v"), ("g", "w")])?;
    let all: HashMap<String, String> = con.hgetall("h")?;
    assert_eq!(all.len(), 2);
    assert_eq!(con.exists::<_, usize>(&["name", "count", "none"])?, 2);
    for index in 0..500 {
        let _: () = con.set(format!("scan:{index}"), index)?;
    }
    let seen = con
        .scan_match::<_, String>("scan:*")?
        .filter_map(Result::ok)
        .collect::<std::collections::HashSet<_>>();
    assert_eq!(seen.len(), 500);
    Ok(())
}

fn transactions(con: &mut Connection) -> redis::RedisResult<()> {
    let (old, new): (i64, i64) = pipe().atomic().set("t", 1).ignore().get("t").incr("t", 41).query(con)?;
    assert_eq!((old, new), (1, 42));
    let error = con.hget::<_, _, String>("t", "f").expect_err("a string is no hash");
    assert!(error.to_string().contains("WRONGTYPE"), "{error}");
    Ok(())
}

fn check(protocol: &str) {
    let server = Server::start(onefold(), &["--save", ""]);
    let mut con = connect(&server, protocol);
    strings_hashes_and_keys(&mut con).expect("every command is answered");
    transactions(&mut con).expect("every command is answered");
}

#[test]
fn an_application_runs_over_resp2() {
    check("resp2");
}

#[test]
fn an_application_runs_over_resp3() {
    check("resp3");
}
