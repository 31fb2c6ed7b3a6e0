//! One failed save stops every write. Where a save truly fails, both servers refuse writes with the same
//! words, keep the old dump, and take writes again after a good save or a change of the setting; Onefold's
//! saves have no fork that could fail.

use std::fs;
use std::path::Path;

use testkit::{Server, Value, onefold, redis};

use super::{begin_save, error, field, ok, wait_for};

#[test]
fn writes_stop_and_go_on_as_with_redis() {
    let _turn = super::turn();
    let ours = story(&onefold());
    match redis() {
        Some(program) => assert_eq!(ours, story(&program)),
        None => eprintln!("SKIPPED: redis-server is not installed"),
    }
}

/// What clients are told while the dump's folder is gone, and after it has been mended.
fn story(program: &Path) -> Vec<String> {
    let mut told = Vec::new();
    let settings = ["--save", "1 1", "--enable-protected-configs", "yes"];
    let server = Server::start(program, &settings);
    let mut client = server.client();
    ok(client.run("SET a 1"));
    begin_save(&mut client);
    wait_for(&mut client, "rdb_bgsave_in_progress", "0");
    let dump = fs::read(server.dir().join("dump.rdb")).expect("it was saved");
    // A save into a folder that is no more; the save points ask for one.
    let gone = server.dir().join("gone");
    fs::create_dir(&gone).expect("nothing has that name");
    ok(client.call(&["CONFIG", "SET", "dir", gone.to_str().expect("a name in text")]));
    fs::remove_dir(&gone).expect("it is empty");
    ok(client.run("SET a 2"));
    wait_for(&mut client, "rdb_last_bgsave_status", "err");
    told.push(error(client.run("SET a 3")));
    told.push(format!("{:?}", client.run("GET a")));
    assert!(server.log().contains("No such file or directory"), "{}", server.log());
    ok(client.run("CONFIG SET stop-writes-on-bgsave-error no"));
    told.push(format!("{:?}", client.run("SET a 4")));
    ok(client.run("CONFIG SET stop-writes-on-bgsave-error yes"));
    told.push(error(client.run("SET a 5")));
    assert_eq!(fs::read(server.dir().join("dump.rdb")).expect("it is still there"), dump);
    // Another folder mends it without a restart: the next try of the save points succeeds.
    ok(client.call(&["CONFIG", "SET", "dir", server.dir().to_str().expect("a name in text")]));
    wait_for(&mut client, "rdb_last_bgsave_status", "ok");
    told.push(format!("{:?}", client.run("SET a 6")));
    told.push(format!("{:?}", field(&mut client, "rdb_last_bgsave_status")));
    assert_eq!(client.run("GET a"), Value::from("6"));
    told
}
