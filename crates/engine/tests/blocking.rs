//! Many clients that wait for one key: they are served in the order in which they came, each once.

use engine::host::Event;
use engine::pipeline::Outcome;
use engine::testing::{TestEngine, show};

const CLIENTS: usize = 10_000;

/// So many clients, each of which waits with this request.
fn waiting(request: &str) -> (TestEngine, Vec<usize>) {
    let mut test = TestEngine::new();
    let words: Vec<&str> = request.split(' ').collect();
    let sessions: Vec<usize> = (0..CLIENTS).map(|_| test.connect()).collect();
    for &session in &sessions {
        assert_eq!(test.run_raw(session, &words), b"");
        assert_eq!(test.outcome, Outcome::Blocked);
    }
    (test, sessions)
}

fn push(test: &mut TestEngine, key: &str, numbers: std::ops::Range<usize>) {
    let words: Vec<String> = ["RPUSH", key]
        .map(str::to_owned)
        .into_iter()
        .chain(numbers.map(|number| number.to_string()))
        .collect();
    assert!(!test.run_words(&words).is_error());
}

#[test]
fn one_push_serves_all_in_the_order_of_arrival() {
    let (mut test, sessions) = waiting("BLPOP list 0");
    push(&mut test, "list", 0..CLIENTS + 2);
    let served = test.take_served();
    assert_eq!(served.len(), CLIENTS);
    for (number, (session, reply)) in served.iter().enumerate() {
        assert_eq!((*session, show(reply)), (sessions[number], format!("[\"list\" \"{number}\"]")));
    }
    assert_eq!(show(&test.run("LLEN list")), "2");
    test.check_invariants();
}

#[test]
fn each_push_serves_the_next() {
    let (mut test, sessions) = waiting("BLMOVE list moved LEFT RIGHT 0");
    for (number, &session) in sessions.iter().enumerate() {
        push(&mut test, "list", number..number + 1);
        let served = test.take_served();
        let served: Vec<_> = served.iter().map(|(session, reply)| (*session, show(reply))).collect();
        assert_eq!(served, [(session, format!("\"{number}\""))]);
    }
    assert_eq!(show(&test.run("EXISTS list")), "0");
    assert_eq!(show(&test.run("LLEN moved")), CLIENTS.to_string());
    test.check_invariants();
}

#[test]
fn who_leaves_is_passed_over() {
    let (mut test, sessions) = waiting("BLPOP list 0");
    for &session in sessions.iter().step_by(2) {
        test.engine.disconnect(&mut test.sessions[session]);
    }
    push(&mut test, "list", 0..CLIENTS / 2);
    let served = test.take_served();
    let expected: Vec<usize> = sessions.iter().copied().skip(1).step_by(2).collect();
    assert_eq!(served.iter().map(|(session, _)| *session).collect::<Vec<_>>(), expected);
    assert_eq!(show(&test.run("EXISTS list")), "0");
}

/// To take over what others have not confirmed is a write: it waits for the end of a pause, however old that
/// is. What the look finds to have expired is told to those who hold copies.
#[test]
fn who_claims_waits_for_the_end_of_a_pause() {
    let mut test = TestEngine::new();
    let (other, watcher) = (test.connect(), test.connect());
    for line in ["XADD x 1-1 f v", "XGROUP CREATE x g 0", "XREADGROUP GROUP g one STREAMS x >"] {
        test.run(line);
    }
    let wait = |test: &mut TestEngine, idle: &str| {
        test.run_as(other, &format!("XREADGROUP GROUP g two BLOCK 0 CLAIM {idle} STREAMS x >"));
        test.sessions[other].blocked.clone().expect("it is not old enough")
    };
    let ticket = wait(&mut test, "100");
    test.run("CLIENT PAUSE 1000 WRITE");
    test.advance_ms(200);
    test.engine.serve_again(&mut test.seat, &ticket);
    assert!(test.take_served().is_empty());
    test.run("CLIENT UNPAUSE");
    test.engine.serve_again(&mut test.seat, &ticket);
    assert_eq!(test.take_served().len(), 1);

    test.run("PEXPIRE x 100");
    test.run_as(watcher, "HELLO 3");
    test.run_as(watcher, "CLIENT TRACKING ON");
    test.run_as(watcher, "XLEN x");
    let ticket = wait(&mut test, "100000");
    test.advance_ms(200);
    test.run("PING");
    test.host.posts.lock().clear();
    test.engine.serve_again(&mut test.seat, &ticket);
    let told = |event: &Event| matches!(event, Event::Invalidate { .. });
    assert_eq!(test.host.posts.lock().iter().filter(|event| told(event)).count(), 1);
    assert_eq!(test.take_served().len(), 1);
}
