//! Ten thousand connections whose requests wait for one key: served in the order in which they came, in time,
//! and for nothing while they wait.

use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit};
use testkit::{Client, Server, Value};

/// Connections that come at once: they are spread over threads, and any of them may be the first.
const GROUP: usize = 100;

/// A server and so many connections, each of which has sent this request and waits.
struct Crowd {
    server: Server,
    control: Client,
    clients: Vec<Client>,
}

impl Crowd {
    fn gather(request: &[&str]) -> Crowd {
        let arguments = ["--save", "", "--unixsocket", "s.sock", "--maxclients", "10100"];
        let server = Server::start(env!("CARGO_BIN_EXE_onefold-server"), &arguments);
        let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(1024) as usize;
        let count = (descriptors - 100).min(10_000) / GROUP * GROUP;
        let path = server.dir().join("s.sock");
        let mut crowd = Crowd { control: server.client(), clients: Vec::with_capacity(count), server };
        while crowd.clients.len() < count {
            for _ in 0..GROUP {
                let mut client = Client::connect_unix(&path);
                client.send(request);
                crowd.clients.push(client);
            }
            crowd.wait_for_blocked(crowd.clients.len());
        }
        crowd
    }

    fn wait_for_blocked(&mut self, count: usize) {
        let begin = Instant::now();
        let line = format!("blocked_clients:{count}\r\n");
        while !self.control.run("INFO clients").as_text().is_some_and(|text| text.contains(&line)) {
            assert!(begin.elapsed() < Duration::from_secs(60), "never {count} blocked clients");
        }
    }

    /// Hundredths of a second that the server's threads have run.
    fn cpu_time(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.server.pid())).expect("Linux");
        let (_, fields) = stat.rsplit_once(") ").expect("a name in parentheses");
        // The 14th and 15th field of all: in user and in kernel mode.
        fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number")).sum()
    }
}

#[test]
fn who_waits_costs_nothing_and_is_served_in_the_order_of_arrival() {
    let mut crowd = Crowd::gather(&["BLPOP", "list", "600"]);
    let before = crowd.cpu_time();
    // A second passes.
    assert!(crowd.control.run("BLPOP none 1").is_null());
    let spent = crowd.cpu_time() - before;
    // The timers of an idle server take one or two.
    assert!(spent <= 20, "{spent} hundredths of a second of CPU time in a second of waiting");
    let numbers: Vec<String> = (0..crowd.clients.len()).map(|number| number.to_string()).collect();
    let words: Vec<&str> = ["RPUSH", "list"].into_iter().chain(numbers.iter().map(String::as_str)).collect();
    assert_eq!(crowd.control.call(&words), Value::Integer(numbers.len() as i64));
    for (group, clients) in crowd.clients.chunks_mut(GROUP).enumerate() {
        let mut served: Vec<usize> = clients.iter_mut().map(take_number).collect();
        served.sort_unstable();
        assert_eq!(served, (group * GROUP..(group + 1) * GROUP).collect::<Vec<_>>());
    }
    crowd.wait_for_blocked(0);
    assert_eq!(crowd.control.run("EXISTS list"), Value::Integer(0));
}

/// The number in the reply to BLPOP.
fn take_number(client: &mut Client) -> usize {
    let reply = client.read_value();
    let items: Vec<_> = reply.as_items().expect("a pair").iter().filter_map(Value::as_text).collect();
    assert_eq!(items[0], "list");
    items[1].parse().expect("a number")
}

/// The reply leaves though nothing else happens on the connection.
#[test]
fn a_wait_ends_in_time() {
    let server = Server::start(env!("CARGO_BIN_EXE_onefold-server"), &["--save", ""]);
    let mut client = server.client();
    let begin = Instant::now();
    assert!(client.call(&["BLPOP", "list", "0.2"]).is_null());
    // Not before its time; whole milliseconds are counted.
    assert!(begin.elapsed() >= Duration::from_millis(199), "after {:?}", begin.elapsed());
}
