//! What connections cost the process, and what happens when it has no descriptor left for another one.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use testkit::{Client, Server};

fn start(arguments: &[&str]) -> Server {
    Server::start(
        env!("CARGO_BIN_EXE_onefold-server"),
        &[&["--save", "", "--unixsocket", "s.sock"], arguments].concat(),
    )
}

fn info(client: &mut Client, field: &str) -> usize {
    let text = client.run("INFO everything").as_text().expect("INFO is text");
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.and_then(|number| number.trim().parse().ok()).unwrap_or_else(|| panic!("no {field} in INFO"))
}

fn wait_until(what: &str, mut look: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !look() {
        assert!(begin.elapsed() < Duration::from_secs(30), "waited in vain for {what}");
        std::thread::yield_now();
    }
}

/// Ten thousand connections, or as many as this process may open, each with these bytes sent.
fn check_memory(bytes: &[u8], most: usize) {
    let server = start(&["--maxclients", "10100"]);
    let mut control = server.client();
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(1024) as usize;
    let count = (descriptors - 100).min(10_000);
    let before = info(&mut control, "used_memory");
    let read_before = info(&mut control, "total_net_input_bytes");
    let path = server.dir().join("s.sock");
    let mut clients: Vec<Client> = (0..count).map(|_| Client::connect_unix(&path)).collect();
    clients.iter_mut().for_each(|client| client.send_raw(bytes));
    wait_until("all bytes to be read", || {
        info(&mut control, "connected_clients") == count + 1
            && info(&mut control, "total_net_input_bytes") - read_before >= bytes.len() * count
    });
    let each = info(&mut control, "used_memory").saturating_sub(before) / count;
    println!("{count} connections, {each} bytes each");
    assert!(each <= most, "{each} bytes for each connection");
    drop(clients);
    wait_until("all to leave", || info(&mut control, "connected_clients") == 1);
}

#[test]
fn a_connection_costs_what_has_arrived_of_its_request() {
    check_memory(b"PING\r\n", 2 * 1024);
    check_memory(b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$500000000\r\nbeginning", 4 * 1024);
    check_memory(b"*1000000\r\n$100\r\nx", 3 * 1024);
}

/// Those who come while the one worker is held up are let in by and by, with requests in between.
#[test]
fn many_newcomers_take_several_turns() {
    let server = start(&["--io-threads", "1", "--enable-debug-command", "yes"]);
    let (mut control, mut sleeper) = (server.client(), server.client());
    let before = info(&mut control, "eventloop_cycles");
    sleeper.send(&["DEBUG", "SLEEP", "1"]);
    let path = server.dir().join("s.sock");
    let clients: Vec<Client> = (0..700).map(|_| Client::connect_unix(&path)).collect();
    wait_until("all to be let in", || info(&mut control, "connected_clients") == clients.len() + 2);
    let cycles = info(&mut control, "eventloop_cycles") - before;
    assert!(cycles >= clients.len() / 64, "{cycles} rounds");
}

#[test]
fn there_is_room_for_descriptors_before_they_come() {
    let server = start(&["--maxclients", "5000"]);
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("the server runs");
    let size = status.lines().find_map(|line| line.strip_prefix("FDSize:")?.trim().parse::<usize>().ok());
    let possible = getrlimit(Resource::Nofile).maximum.map_or(5000, |most| most.min(5000)) as usize;
    assert!(size.is_some_and(|size| size >= possible), "room for {size:?} of {possible}");
}

#[test]
fn without_descriptors_the_server_waits_and_goes_on() {
    let server = start(&[]);
    let mut control = server.client();
    let pid = i32::try_from(server.pid()).ok().and_then(Pid::from_raw).expect("a process id");
    let open = std::fs::read_dir(format!("/proc/{}/fd", server.pid())).expect("Linux").count() as u64;
    let old = prlimit(Some(pid), Resource::Nofile, Rlimit { current: Some(open + 5), maximum: Some(20_000) })
        .expect("its own child's limit");
    let mut clients: Vec<Client> = (0..30).map(|_| server.client()).collect();
    wait_until("the shortage", || server.log().contains("Accepting client connection: accept: "));
    let warnings = server.log().matches("Accepting client connection").count();
    // One, and another for each second that this test may have lost meanwhile.
    assert!(warnings <= 3, "{warnings} warnings in a moment");
    let served = info(&mut control, "connected_clients");
    assert!((2..10).contains(&served), "{served} are served");
    prlimit(Some(pid), Resource::Nofile, old).expect("its own child's limit");
    clients.iter_mut().for_each(|client| assert_eq!(client.run("PING").as_text().as_deref(), Some("PONG")));
}
