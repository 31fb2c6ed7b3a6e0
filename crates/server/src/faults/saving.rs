//! Saving by command, by save point, at a flush and at the end, with a disk of which any step fails.

use std::sync::Arc;

use base::limits;
use base::time::UnixMs;
use store::Plan;
use store::snapshot::Snapshot;
use testkit::{Client, Value};

use super::{Fault, Met, PATIENCE, Running, SOCKET, Step, count_keys, error, ok, with_each_fault};

/// A few buffers of records, and two pages more than a value needs to be saved in pieces.
const RECORDS: usize = 150;
const LARGE: usize = (1 << 20) + 8192;

fn started(name: &str) -> Running {
    let mut running = Running::start(name);
    running.fill(RECORDS, LARGE);
    running.check_good();
    running
}

/// After a write that is to be saved: the dump without it, and what INFO tells of changes.
fn changed(running: &mut Running) -> (Vec<u8>, String) {
    ok(running.client.run("SET changed 1"));
    (running.disk.dump(), running.info("rdb_changes_since_last_save"))
}

/// The file of the failed save has the dump's name already: only that the name is on the disk is not sure.
fn is_in_place(met: &Met) -> bool {
    matches!(met.step, Step::OpenFolder | Step::SyncFolder)
}

/// After a save that failed: the old dump is there, or the new one whole; nothing is left behind.
fn check_files(running: &Running, met: &Met, old: &[u8], keys: i64) {
    let dump = running.disk.dump();
    match is_in_place(met) {
        true => assert_eq!(count_keys(&dump), keys, "{met:?}"),
        false => assert!(dump == old, "{met:?} changes the old dump"),
    }
    assert_eq!(running.disk.names(), ["dump.rdb"], "{met:?}");
}

#[test]
fn a_background_save_that_fails_stops_writes_until_the_next() {
    let mut running = started("bgsave");
    with_each_fault(|fault| {
        let (old, changes) = changed(&mut running);
        let saved_at = running.client.run("LASTSAVE");
        let before = running.process.now();
        running.disk.plan(&[fault]);
        running.save_in_background();
        let met = running.disk.met().first().copied();
        match met.filter(|met| met.harmful) {
            None => assert_eq!(running.info("rdb_last_bgsave_status"), "ok", "{met:?}"),
            Some(met) => {
                check_files(&running, &met, &old, RECORDS as i64 + 3);
                assert_eq!(running.info("rdb_last_bgsave_status"), "err", "{met:?}");
                assert_eq!(running.info("rdb_changes_since_last_save"), changes);
                assert_eq!(running.client.run("LASTSAVE"), saved_at);
                check_refused(&mut running);
                check_retry(&mut running, before);
            }
        }
        met
    });
    running.check_good();
}

/// Nothing is written while saves fail, reads are served, and nothing of the failed save stays in memory.
fn check_refused(running: &mut Running) {
    assert!(error(running.client.run("SET a 1")).starts_with("MISCONF Redis is configured to save RDB"));
    assert!(matches!(running.client.run("GET changed"), Value::Bulk(Some(_))));
    for field in ["rdb_bgsave_in_progress", "mem_snapshot_buffer", "current_cow_size"] {
        assert_eq!(running.info(field), "0", "{field}");
    }
    ok(running.client.run("CONFIG SET stop-writes-on-bgsave-error no"));
    ok(running.client.run("SET changed 2"));
    ok(running.client.run("CONFIG SET stop-writes-on-bgsave-error yes"));
    assert!(error(running.client.run("DEL a")).starts_with("MISCONF "));
}

/// The save points try again more than 5 seconds after the last try, which was not before `before`.
fn check_retry(running: &mut Running, before: UnixMs) {
    let (saver, config) = (&running.process.saver, running.process.engine().config());
    let saves = saver.status().saves;
    saver.tick(&running.process, &config, UnixMs(before.0 + 5000));
    assert_eq!(saver.status().saves, saves, "it is too early");
    saver.tick(&running.process, &config, UnixMs(running.process.now().0 + 5001));
    assert_eq!(saver.status().saves, saves + 1);
    running.wait_for_end();
    assert_eq!(running.info("rdb_last_bgsave_status"), "ok");
    assert_eq!(running.info("rdb_changes_since_last_save"), "0");
    ok(running.client.run("SET changed 3"));
}

/// However long the thread for it takes to begin.
#[test]
fn a_save_that_has_begun_tells_how_much_there_is_to_save() {
    let mut running = started("told");
    let cuts = running.process.saver.status().cuts;
    let pause = running.process.saver.pause_thread();
    running.client.run("BGSAVE");
    let keys = running.client.run("DBSIZE");
    let total = running.info("current_save_keys_total").parse().map(Value::Integer);
    assert_eq!(total, Ok(keys));
    for (field, value) in [("rdb_bgsave_in_progress", "1"), ("current_save_keys_processed", "0")] {
        assert_eq!(running.info(field), value, "{field}");
    }
    drop(pause);
    running.wait_for_end();
    assert_eq!(running.process.saver.status().cuts, cuts + 1);
    assert_eq!(running.info("current_save_keys_total"), "0");
}

/// A file that is written out while it grows; the steps of it that a small one does not have.
#[test]
fn a_large_file_that_cannot_be_written_out_is_no_dump() {
    let mut running = Running::start("large");
    running.fill(3000, 9 << 20);
    running.check_good();
    for (step, number, harmful) in [
        (Step::BeginWriteOut, libc::EIO, true),
        (Step::FinishWriteOut, libc::EIO, true),
        (Step::FinishWriteOut, libc::ENOSPC, true),
        (Step::BeginWriteOut, libc::ENOSYS, false),
        (Step::FinishWriteOut, libc::EINVAL, false),
        (Step::DropCache, libc::EIO, false),
    ] {
        let old = running.disk.dump();
        running.disk.plan(&[Fault::First(step, number)]);
        running.save_in_background();
        assert_eq!(running.disk.met().len(), 1, "{step:?} is never done");
        let expected = if harmful { "err" } else { "ok" };
        assert_eq!(running.info("rdb_last_bgsave_status"), expected, "{step:?} {number}");
        assert!(!harmful || running.disk.dump() == old);
        ok(running.client.run("CONFIG SET stop-writes-on-bgsave-error no"));
        running.check_good();
    }
}

/// The client hears of it, so nothing else is refused.
#[test]
fn a_save_that_somebody_waits_for_fails_alone() {
    let mut running = started("save");
    with_each_fault(|fault| {
        let (old, changes) = changed(&mut running);
        running.disk.plan(&[fault]);
        let reply = running.client.run("SAVE");
        let met = running.disk.met().first().copied();
        match met.filter(|met| met.harmful) {
            None => ok(reply),
            Some(met) => {
                assert_eq!(error(reply), "ERR");
                check_files(&running, &met, &old, RECORDS as i64 + 3);
                assert_eq!(running.info("rdb_last_bgsave_status"), "ok");
                assert_eq!(running.info("rdb_changes_since_last_save"), changes);
                ok(running.client.run("SET changed 2"));
            }
        }
        met
    });
    running.check_good();
}

/// A good SAVE ends what a failed BGSAVE began.
#[test]
fn a_save_that_somebody_waits_for_mends_a_failed_one() {
    let mut running = started("mended");
    running.disk.plan(&[Fault::First(Step::Sync, libc::EIO)]);
    running.save_in_background();
    assert!(error(running.client.run("SET a 1")).starts_with("MISCONF "));
    ok(running.client.run("SAVE"));
    assert_eq!(running.info("rdb_last_bgsave_status"), "ok");
    ok(running.client.run("SET a 1"));
}

/// FLUSHALL is answered all the same; the changes are still to be saved, and the next save does it.
#[test]
fn a_flush_whose_save_fails_is_answered() {
    let mut running = Running::start("flush");
    with_each_fault(|fault| {
        running.fill(10, 10);
        running.save_in_background();
        let old = running.disk.dump();
        running.disk.plan(&[fault]);
        ok(running.client.run("FLUSHALL"));
        let met = running.disk.met().first().copied();
        let harmful = met.filter(|met| met.harmful);
        assert_eq!(running.client.run("DBSIZE"), Value::Integer(0));
        assert_eq!(running.info("rdb_last_bgsave_status"), "ok");
        assert_eq!(running.info("rdb_changes_since_last_save") == "0", harmful.is_none());
        match harmful {
            Some(met) => check_files(&running, &met, &old, 0),
            None => assert_eq!(count_keys(&running.disk.dump()), 0),
        }
        met
    });
    running.check_good();
}

/// The end does not come before the data are safe; what came before goes on.
#[test]
fn the_end_is_put_off_while_the_data_cannot_be_saved() {
    let mut running = started("end");
    ok(running.client.run("SET changed 1"));
    let old = running.disk.dump();
    for step in [Step::Create, Step::Write, Step::Sync, Step::Rename, Step::SyncFolder, Step::OpenFolder] {
        for line in ["SHUTDOWN", "SHUTDOWN SAVE", "SHUTDOWN SAVE NOW"] {
            running.disk.plan(&[Fault::First(step, libc::EIO)]);
            let text = error(running.client.run(line));
            assert_eq!(text, "ERR Errors trying to SHUTDOWN. Check logs.");
            let met = running.disk.met();
            check_files(&running, &met[0], &old, RECORDS as i64 + 3);
            ok(running.client.run("SET changed 2"));
        }
    }
    running.check_good();
}

#[test]
fn a_reload_whose_save_fails_changes_nothing() {
    let mut running = started("reload-save");
    let digest = running.client.run("DEBUG DIGEST");
    for step in [Step::Create, Step::Write, Step::Sync, Step::Rename, Step::SyncFolder] {
        running.disk.plan(&[Fault::First(step, libc::EIO)]);
        assert_eq!(error(running.client.run("DEBUG RELOAD")), "ERR");
        assert_eq!(running.disk.met().len(), 1);
        assert_eq!(running.client.run("DEBUG DIGEST"), digest);
    }
    ok(running.client.run("DEBUG RELOAD"));
    assert_eq!(running.client.run("DEBUG DIGEST"), digest);
}

/// Even the temporary file stays: the next save writes over it.
#[test]
fn what_cannot_be_removed_does_not_disturb() {
    let mut running = started("remove");
    let old = running.disk.dump();
    running.disk.plan(&[Fault::First(Step::Sync, libc::EIO), Fault::First(Step::Remove, libc::EIO)]);
    running.save_in_background();
    assert_eq!(running.disk.met().len(), 2);
    assert_eq!(running.info("rdb_last_bgsave_status"), "err");
    assert!(running.disk.dump() == old);
    assert_eq!(running.disk.names().len(), 2, "the temporary file stays");
    running.save_in_background();
    running.check_good();
}

/// Others take as many snapshots as may run: a save is refused or put off, and nothing has failed.
#[test]
fn a_save_waits_its_turn_among_snapshots() {
    let mut running = started("many");
    let process = Arc::clone(&running.process);
    let store = &process.engine().store;
    let begin = |_| Snapshot::begin(&mut store.lock(&Plan::All)).expect("fewer run than may");
    ok(running.client.run("SET changed 1"));
    let others: Vec<_> = (0..limits::SNAPSHOTS_MOST).map(begin).collect();
    for request in ["BGSAVE", "SAVE"] {
        let refused = error(running.client.run(request));
        assert_eq!(refused, "ERR Too many snapshots are being taken, try again later", "{request}");
    }
    ok(running.client.run("MULTI"));
    running.client.run("BGSAVE");
    running.client.run("EXEC");
    running.wait_for_end();
    let status = process.saver.status();
    assert!(status.scheduled && status.last_ok);
    assert_eq!(running.info("rdb_changes_since_last_save"), "1");
    process.saver.tick(&process, &process.engine().config(), process.now());
    assert_eq!(process.saver.status().saves, status.saves, "they still run");
    others.into_iter().for_each(|other| other.cancel(store, &drop));
    process.saver.tick(&process, &process.engine().config(), process.now());
    running.wait_for_end();
    assert_eq!(running.info("rdb_changes_since_last_save"), "0");
    running.check_good();
}

/// The client hears why it gets no dump, or sees the end of its connection; saves and writes go on.
#[test]
fn a_dump_for_a_client_fails_alone() {
    let mut running = started("sync");
    let met = with_each_fault(|fault| {
        let mut client = Client::connect_unix(running.disk.path(SOCKET));
        client.set_timeout(Some(PATIENCE));
        ok(client.run("REPLCONF rdb-only 1"));
        let old = running.disk.dump();
        running.disk.plan(&[fault]);
        client.send(&["SYNC"]);
        let sent = client.read_to_end();
        let met = running.disk.met().first().copied();
        let text = String::from_utf8_lossy(&sent[..sent.len().min(100)]).into_owned();
        match met.filter(|met| met.harmful) {
            None => assert_eq!(count_keys(dump_in(&sent)), RECORDS as i64 + 2, "{met:?}"),
            Some(Met { step: Step::Read, .. }) => assert!(text.starts_with('$'), "{text}"),
            Some(Met { step: Step::Create, .. }) => {
                assert!(text.starts_with("-ERR Failed opening"), "{text}")
            }
            Some(met) => assert!(text.starts_with("-ERR Write error saving DB"), "{met:?}: {text}"),
        }
        assert_eq!(running.info("rdb_last_bgsave_status"), "ok");
        assert_eq!(running.info("mem_snapshot_buffer"), "0");
        assert!(running.disk.dump() == old && running.disk.names() == ["dump.rdb"]);
        ok(running.client.run("SET key:0 changed"));
        met
    });
    for step in [Step::Create, Step::Write, Step::Read, Step::DropCache] {
        assert!(met.iter().any(|met| met.step == step), "{step:?} is never done");
    }
    running.check_good();
}

/// What follows the line with its length.
fn dump_in(sent: &[u8]) -> &[u8] {
    let line = sent.iter().position(|byte| *byte == b'\n').expect("a line");
    &sent[line + 1..]
}
