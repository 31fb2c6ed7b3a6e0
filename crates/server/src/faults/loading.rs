//! Loading from a disk that fails while it is read, or from a file that ends while it is: refused with the
//! place and the reason, the file as it was. Recovery keeps the damaged file under another name too, or loads
//! nothing.

use std::fs;

use engine::config::BeyondMemory;
use engine::host::AtDuplicate;

use super::{Fault, Running, Step, error, ok, with_each_fault};
use crate::host::unix_now;
use crate::load::{self, AtDamage, Dump, Loaded, Progress};

const RECORDS: usize = 150;
const LARGE: usize = 1 << 20;
const KEYS: u64 = RECORDS as u64 + 1;

/// With a dump that has been saved, and no save points.
fn started(name: &str) -> Running {
    let mut running = Running::start(name);
    running.fill(RECORDS, LARGE);
    ok(running.client.call(&["CONFIG", "SET", "save", ""]));
    ok(running.client.run("SAVE"));
    running
}

/// Loads the dump into the emptied keyspace, and tells how many keys came.
fn load(running: &mut Running, at_damage: AtDamage) -> Result<u64, String> {
    ok(running.client.run("FLUSHALL"));
    let (disk, path, beyond) = (running.disk, "dump.rdb".as_ref(), BeyondMemory::Load);
    let dump = Dump { disk, path, at_damage, at_duplicate: AtDuplicate::Refuse, beyond };
    let progress = Progress::default();
    let loaded = load::load(running.process.engine(), dump, &progress, unix_now(), &mut || {})?;
    assert_eq!(loaded, Loaded::Yes);
    Ok(progress.status().keys_loaded)
}

/// Files beside the dump that are kept of damaged ones; each has all of it. They are removed.
fn set_aside(running: &Running, damaged: &[u8]) -> usize {
    let mut names = running.disk.names();
    names.retain(|name| name.starts_with("dump.rdb.damaged-"));
    for name in &names {
        let path = running.disk.path(name);
        assert!(fs::read(&path).expect("it is there") == damaged, "a part of the file is kept");
        fs::remove_file(path).expect("it is there");
    }
    assert_eq!(running.disk.names(), ["dump.rdb"]);
    names.len()
}

#[test]
fn what_cannot_be_read_is_refused_with_place_and_reason() {
    let mut running = started("read");
    let dump = running.disk.dump();
    for at_damage in [AtDamage::Refuse, AtDamage::Recover] {
        let met = with_each_fault(|fault| {
            running.disk.plan(&[fault]);
            let loaded = load(&mut running, at_damage);
            let met = running.disk.met().first().copied();
            match met.filter(|met| met.harmful) {
                None => assert_eq!(loaded, Ok(KEYS)),
                Some(met) => {
                    let text = loaded.expect_err("a step failed");
                    let reason = crate::log::reason(&std::io::Error::from_raw_os_error(met.error));
                    assert!(text.contains(&reason), "{met:?}: {text}");
                    assert!(met.step == Step::Open || text.contains(" at offset "), "{text}");
                }
            }
            assert!(running.disk.dump() == dump);
            assert_eq!(set_aside(&running, &dump), 0, "a file that cannot be read is none that is damaged");
            met
        });
        assert!(met.iter().filter(|met| met.step == Step::Read).count() > 10, "{met:?}");
    }
}

#[test]
fn few_bytes_at_a_time_are_all_there_is_in_the_end() {
    let mut running = started("few");
    for at_once in [1000, 65_535] {
        running.disk.plan(&[]);
        running.disk.plan.lock().at_once = at_once;
        assert_eq!(load(&mut running, AtDamage::Refuse), Ok(KEYS));
    }
    running.disk.met();
}

/// Somebody cuts the file while it is read, or its last part cannot be had.
#[test]
fn a_file_that_ends_while_it_is_read_is_refused() {
    let mut running = started("ends");
    let dump = running.disk.dump();
    for end in [0, 5, 9, 1000, dump.len() / 2, dump.len() - 9, dump.len() - 1] {
        let cut = |running: &Running| {
            running.disk.plan(&[]);
            running.disk.plan.lock().ends_at = Some(end);
        };
        cut(&running);
        let text = load(&mut running, AtDamage::Refuse).expect_err("the file is not whole");
        assert!(text.contains("the data ends too early at offset "), "{text}");
        assert!(running.disk.dump() == dump);
        assert_eq!(set_aside(&running, &dump), 0);
        // Of a file without a header nothing can be recovered.
        cut(&running);
        let recovered = load(&mut running, AtDamage::Recover);
        assert_eq!(recovered.is_ok(), end >= 9, "{recovered:?}");
        assert_eq!(set_aside(&running, &dump), usize::from(end >= 9));
        running.disk.met();
        assert_eq!(load(&mut running, AtDamage::Refuse), Ok(KEYS));
    }
}

/// What is damaged is kept whole under a second name, or nothing is loaded: the next save would be the end
/// of it.
#[test]
fn recovery_fails_rather_than_lose_the_damaged_file() {
    let mut running = started("aside");
    let mut dump = running.disk.dump();
    dump.last_mut().map(|byte| *byte ^= 1).expect("it has bytes");
    fs::write(running.disk.path("dump.rdb"), &dump).expect("it can be written");
    for no_links in [None, Some((Step::Link, libc::EPERM))] {
        let met = with_each_fault(|fault| {
            running.disk.plan(&[fault]);
            running.disk.plan.lock().never = no_links;
            let loaded = load(&mut running, AtDamage::Recover);
            let met = running.disk.met().first().copied();
            let harmful = met.is_some_and(|met| met.harmful);
            assert_eq!(loaded.is_err(), harmful, "{met:?}: {loaded:?}");
            assert!(running.disk.dump() == dump);
            let kept = set_aside(&running, &dump);
            assert!(kept == 1 || harmful, "{met:?}");
            met
        });
        let done = |step| met.iter().any(|met| met.step == step);
        assert_eq!(done(Step::CreateNew) && done(Step::Write), no_links.is_some());
        assert!(done(Step::SyncFolder) && done(Step::OpenFolder));
    }
}

#[test]
fn a_reload_that_fails_can_be_done_again() {
    let mut running = started("reload");
    let digest = running.client.run("DEBUG DIGEST");
    for fault in
        [Fault::First(Step::Open, libc::EMFILE), Fault::First(Step::Read, libc::EIO), Fault::At(9, 0)]
    {
        running.disk.plan(&[fault]);
        let text = error(running.client.run("DEBUG RELOAD NOSAVE"));
        assert_eq!(text, "ERR Error trying to load the RDB dump");
        assert_eq!(running.disk.met().len(), 1);
        assert_eq!(running.info("rdb_changes_since_last_save"), "0");
        assert_eq!(running.info("loading"), "0");
        ok(running.client.run("DEBUG RELOAD NOSAVE"));
        assert_eq!(running.client.run("DEBUG DIGEST"), digest);
    }
}

/// Redis says the same of a file that is not there.
#[test]
fn a_reload_needs_a_file() {
    let mut running = started("absent");
    ok(running.client.run("CONFIG SET dbfilename absent.rdb"));
    assert_eq!(error(running.client.run("DEBUG RELOAD NOSAVE")), "ERR Error trying to load the RDB dump");
    assert_eq!(running.client.run("DBSIZE"), testkit::Value::Integer(0));
    ok(running.client.run("CONFIG SET dbfilename dump.rdb"));
    ok(running.client.run("DEBUG RELOAD NOSAVE"));
    assert_eq!(running.client.run("DBSIZE"), testkit::Value::Integer(KEYS as i64));
}
