//! Checks that the tests of several families share: scripts of requests with their replies, requests that
//! wait, scans and draws. Each runs on an engine of its own or on the one it is given, and panics where
//! something is not as it should be.

use std::collections::BTreeSet;

use resp::decode::Value;

use super::{TestEngine, show};
use crate::pipeline::Outcome;

/// Requests and the replies to them, as `show` writes them.
pub type Script = &'static [(&'static str, &'static str)];

/// Runs each script on a fresh engine, with what replaying its effects leads to.
pub fn check_scripts(scripts: &[Script]) {
    scripts.iter().for_each(|script| check_here(script));
}

fn check_here(script: Script) {
    let mut test = TestEngine::new();
    test.collect_effects();
    super::check_script(&mut test, script);
    test.check_invariants();
    check_replay(&mut test);
}

/// Replaying the effects leads to the same keyspace.
pub fn check_replay(test: &mut TestEngine) {
    let effects = test.take_effects();
    assert_eq!(test.replay(&effects).digest(), test.digest(), "{}", String::from_utf8_lossy(&effects));
}

/// The first line waits; the others are run by somebody else, and then the reply has come. What is logged
/// replays to the same.
pub fn check_wait(waiting: &str, others: &[&str], expected: &str, effects: &[&str]) {
    check_wait_after(&[], waiting, others, expected, effects);
}

/// As `check_wait`, after these lines.
pub fn check_wait_after(before: &[&str], waiting: &str, others: &[&str], expected: &str, effects: &[&str]) {
    let mut test = TestEngine::new();
    test.collect_effects();
    let other = test.connect();
    for line in before {
        assert!(!test.run_as(other, line).is_error(), "{line}");
    }
    assert_eq!(test.run_raw(0, &waiting.split(' ').collect::<Vec<_>>()), b"", "{waiting} waits");
    assert_eq!(test.outcome, Outcome::Blocked);
    for line in others {
        assert_eq!(test.take_served(), [], "{waiting}, before {line}");
        assert!(!test.run_as(other, line).is_error(), "{line}");
    }
    let served = test.take_served();
    let replies: Vec<_> = served.iter().map(|(session, reply)| (*session, show(reply))).collect();
    assert_eq!(replies, [(0, expected.to_owned())], "{waiting}, {others:?}");
    let log = test.take_effects();
    assert_eq!(test.replay(&log).digest(), test.digest(), "{waiting}");
    let lines = String::from_utf8_lossy(&log).into_owned();
    for effect in effects {
        let words = effect.split(' ').map(|word| format!("${}\r\n{word}\r\n", word.len()));
        assert!(lines.contains(&words.collect::<String>()), "{waiting}: {effect} is not in {lines:?}");
    }
    test.check_invariants();
}

/// `rdb_changes_since_last_save`.
pub fn changes(test: &mut TestEngine) -> u64 {
    let info = test.run("INFO persistence");
    let text = info.as_text().unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("rdb_changes_since_last_save:"));
    line.and_then(|number| number.trim().parse().ok()).expect("INFO has the number")
}

/// The items of an array of strings.
pub fn texts(value: &Value) -> Vec<String> {
    let items = value.as_items().expect("an array");
    items.iter().map(|item| item.as_text().expect("strings")).collect()
}

/// All that a scan of a key shows: HSCAN, SSCAN, ZSCAN, with the options given.
pub fn scan_all(test: &mut TestEngine, scan: &str, key: &str, options: &[&str]) -> BTreeSet<String> {
    let (mut seen, mut cursor) = (BTreeSet::new(), "0".to_owned());
    loop {
        let reply = test.run_words(&[&[scan, key, &cursor, "COUNT", "100"], options].concat());
        let parts = reply.as_items().expect("an array");
        seen.extend(texts(&parts[1]));
        cursor = parts[0].as_text().expect("a cursor");
        if cursor == "0" {
            return seen;
        }
    }
}

/// Draws from a key that holds `names`, 5,000 of them: without a repetition, and with some.
pub fn check_draws(test: &mut TestEngine, draw: &str, key: &str, names: &BTreeSet<String>) {
    assert_eq!(names.len(), 5_000);
    for count in [1, 10, 1_700, 4_999, 5_000, 6_000] {
        let drawn = texts(&test.run_words(&[draw, key, &count.to_string()]));
        assert_eq!(drawn.len(), count.min(5_000), "{count}");
        let distinct: BTreeSet<String> = drawn.into_iter().collect();
        assert_eq!(distinct.len(), count.min(5_000), "{count}");
        assert!(distinct.is_subset(names));
    }
    let repeated = texts(&test.run_words(&[draw, key, "-10000"]));
    assert_eq!(repeated.len(), 10_000);
    let distinct = repeated.into_iter().collect::<BTreeSet<_>>().len();
    assert!(distinct > 3_500, "draws are spread over all: {distinct}");
}
