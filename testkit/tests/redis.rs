//! The client and the server of this kit, tried with the installed Redis.

use testkit::{Client, Server, Value, redis};

fn start(arguments: &[&str]) -> Option<Server> {
    let Some(program) = redis() else {
        eprintln!("SKIPPED: redis-server is not installed");
        return None;
    };
    Some(Server::start(program, arguments))
}

#[test]
fn calls_pipelines_and_raw_bytes() {
    let Some(server) = start(&["--save", ""]) else { return };
    let mut client = server.client();
    assert_eq!(client.call(&["SET", "k", "v"]), Value::Simple(b"OK".to_vec()));
    assert_eq!(client.run("GET k"), Value::from("v"));
    let requests: Vec<Vec<&str>> = (0..100).map(|_| vec!["INCR", "n"]).collect();
    let replies = client.pipeline(&requests);
    assert_eq!(replies, (1..=100).map(Value::from).collect::<Vec<_>>());
    client.send_raw(b"PING\r\n");
    assert_eq!(client.read_raw(7), b"+PONG\r\n");
    assert!(matches!(client.run("HELLO 3"), Value::Map(_)));
    assert_eq!(client.run("GET missing"), Value::Null);
    client.send_raw(b"*1\r\nfoo\r\n");
    assert_eq!(client.read_to_end(), b"-ERR Protocol error: expected '$', got 'f'\r\n");
}

#[test]
fn restarts_and_kills() {
    let Some(mut server) = start(&["--save", "3600 1", "--unixsocket", "{dir}/socket"]) else { return };
    server.client().run("SET k kept");
    server.restart();
    assert_eq!(Client::connect_unix(server.dir().join("socket")).run("GET k"), Value::from("kept"));
    server.client().run("SET k lost");
    server.kill_hard();
    assert!(Client::try_connect(("127.0.0.1", server.port())).is_err());
    server.start_again();
    assert_eq!(server.client().run("GET k"), Value::from("kept"));
    assert!(server.log().contains("eady to accept connections"));
    let directory = server.dir().to_path_buf();
    drop(server);
    assert!(!directory.exists());
}
