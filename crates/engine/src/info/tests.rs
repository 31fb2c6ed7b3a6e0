//! Tests of INFO: every row is documented and prints one line, and the numbers are those of the engine.

use super::*;
use crate::testing::TestEngine;

fn info(test: &mut TestEngine, line: &str) -> String {
    test.run(line).as_text().expect("INFO is text")
}

fn all_fields() -> impl Iterator<Item = &'static Field> {
    SECTIONS.iter().flat_map(|section| section.fields)
}

#[test]
fn every_row_is_documented_once() {
    let mut names: Vec<_> = all_fields().map(|field| field.name).collect();
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count, "a name stands in one row");
    for field in all_fields() {
        assert!(field.doc.ends_with('.') && !field.doc.contains('|'), "{}: {}", field.name, field.doc);
    }
    let page = reference_page();
    assert!(all_fields().all(|field| page.contains(&format!("| `{}` |", field.name))));
}

#[test]
fn every_value_is_one_line() {
    let mut test = TestEngine::new();
    for line in info(&mut test, "INFO everything").split("\r\n").filter(|line| !line.is_empty()) {
        assert!(line.starts_with("# ") || line.contains(':'), "{line:?}");
        assert!(!line.contains('\n'), "{line:?}");
    }
}

/// It costs more than all fields together, and whoever asks for another section every second should not pay.
#[test]
fn only_the_section_of_memory_asks_the_allocator() {
    let test = TestEngine::new();
    for section in SECTIONS {
        let (config, now) = (test.engine.config(), base::time::UnixMs(0));
        let input = InfoInput::new(&test.engine, &config, now, Vec::new());
        render(&input, std::iter::once(section));
        assert_eq!(input.has_asked_allocator(), section.title == "Memory", "{}", section.title);
        assert_eq!(input.has_asked_allocator(), section.counts_memory, "{}", section.title);
    }
}

#[test]
fn sections_are_chosen_by_name() {
    let mut test = TestEngine::new();
    let check = |test: &mut TestEngine, line: &str, expected: &[&str]| {
        let text = info(test, line);
        let titles: Vec<_> = text.split("\r\n").filter_map(|line| line.strip_prefix("# ")).collect();
        assert_eq!(titles, expected, "{line}");
    };
    let all: Vec<_> = SECTIONS.iter().map(|section| section.title).collect();
    let default: Vec<_> =
        all.iter().copied().filter(|title| !["Commandstats", "Latencystats"].contains(title)).collect();
    check(&mut test, "INFO", &default);
    check(&mut test, "INFO default", &default);
    check(&mut test, "INFO all", &all);
    check(&mut test, "INFO EVERYTHING cpu", &all);
    check(&mut test, "INFO keyspace CPU", &["CPU", "Keyspace"]);
    check(&mut test, "INFO nothing", &[]);
    check(
        &mut test,
        "INFO default commandstats",
        &[&default[..8], &["Commandstats"], &default[8..]].concat(),
    );
}

#[test]
fn counts_come_from_the_engine() {
    let mut test = TestEngine::new();
    test.run("CONFIG SET maxmemory 1gb");
    test.run("NOSUCHCOMMAND");
    test.advance_ms(90_000);
    let text = info(&mut test, "INFO everything");
    for line in [
        "redis_version:7.2.4",
        "uptime_in_seconds:90",
        "connected_clients:1",
        "maxmemory_human:1.00G",
        "total_commands_processed:1",
        "total_error_replies:1",
        "cmdstat_config|set:calls=1,usec=0,usec_per_call=0.00,rejected_calls=0,failed_calls=0",
        "errorstat_ERR:count=1",
        "latest_fork_usec:0",
        "cluster_enabled:0",
    ] {
        assert!(text.contains(&format!("{line}\r\n")), "{line} in {text}");
    }
    assert!(text.contains("latency_percentiles_usec_config|set:p50=0.000,p99=0.000,p99.9=0.000"), "{text}");
    assert!(!text.contains("loading_"), "{text}");
    test.engine.loading.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(info(&mut test, "INFO persistence").contains("loading_loaded_perc:0.00\r\n"));
}

#[test]
fn databases_are_listed_with_their_keys() {
    let mut test = TestEngine::new();
    test.configure(|config| config.enable_debug_command = crate::config::DebugAccess::Yes);
    assert_eq!(info(&mut test, "INFO keyspace"), "# Keyspace\r\n");
    test.run("DEBUG POPULATE 10");
    assert_eq!(
        info(&mut test, "INFO keyspace"),
        "# Keyspace\r\ndb0:keys=10,expires=0,avg_ttl=0,subexpiry=0,keys_with_volatile_items=0\r\n"
    );
}

#[test]
fn with_many_clients_the_timer_runs_more_often() {
    let mut test = TestEngine::new();
    test.run("CONFIG SET hz 1");
    for _ in 0..600 {
        test.connect();
    }
    let text = info(&mut test, "INFO server");
    assert!(text.contains("\r\nhz:4\r\nconfigured_hz:1\r\n"), "{text}");
    test.run("CONFIG SET dynamic-hz no");
    assert!(info(&mut test, "INFO server").contains("\r\nhz:1\r\n"));
}
