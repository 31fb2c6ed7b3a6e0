//! Many clients that wait for one key: they are served in the order in which they came, each once.

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
