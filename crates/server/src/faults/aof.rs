//! The append-only file with a disk of which any step fails: what is in the folder loads and holds all that
//! was answered, clients hear of what cannot be kept, and all is well again when the disk is.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use engine::clients::ClientId;
use testkit::client::encode;
use testkit::{Client, Value};

use super::power::{Picture, Power};
use super::{Fault, FaultyDisk, Met, PATIENCE, Running, SOCKET, Step, error, ok, with_each_fault};
use crate::aof::{Found, load};
use crate::host::Process;

const RECORDS: usize = 40;

/// With an append-only file that is on.
fn started(name: &str) -> Running {
    let mut running = Running::start(name);
    running.fill(RECORDS, 200_000);
    ok(running.client.run("CONFIG SET appendonly yes"));
    wait_for_rewrite(&running);
    assert!(running.process.aof.status().last_rewrite_ok);
    check_good(&mut running);
    running
}

fn wait_for_rewrite(running: &Running) {
    let begin = Instant::now();
    while running.process.aof.is_rewriting() {
        assert!(begin.elapsed() < PATIENCE, "the rewrite does not end");
        thread::yield_now();
    }
}

fn tick(running: &Running) {
    let process = &running.process;
    process.aof.tick(process, &process.engine().config());
}

/// The files hold what memory does.
fn check_files(running: &mut Running) {
    let digest = running.client.run("DEBUG DIGEST");
    ok(running.client.run("DEBUG LOADAOF"));
    assert_eq!(running.client.run("DEBUG DIGEST"), digest);
}

fn check_good(running: &mut Running) {
    ok(running.client.run("SET check good"));
    check_files(running);
    assert_eq!(running.info("aof_last_write_status"), "ok");
    assert_eq!(running.info("aof_enabled"), "1");
}

/// Runs the timer until a write is taken again.
fn heal(running: &mut Running) {
    let begin = Instant::now();
    while running.client.run("SET healed 1") != Value::Simple(b"OK".to_vec()) {
        assert!(begin.elapsed() < PATIENCE, "writes are refused for ever");
        tick(running);
        wait_for_rewrite(running);
        thread::yield_now();
    }
    wait_for_rewrite(running);
    check_good(running);
}

#[test]
fn a_rewrite_that_fails_at_any_step_loses_nothing() {
    check_failing_rewrites("yes");
}

#[test]
fn a_rewrite_into_commands_that_fails_at_any_step_loses_nothing() {
    check_failing_rewrites("no");
}

fn check_failing_rewrites(preamble: &str) {
    let mut running = started("rewrite");
    ok(running.client.run(&format!("CONFIG SET aof-use-rdb-preamble {preamble}")));
    let all = with_each_fault(|fault| {
        ok(running.client.run("SET before rewrite"));
        let failed = running.process.aof.status().failed_in_a_row;
        running.disk.plan(&[fault]);
        running.client.run("BGREWRITEAOF");
        wait_for_rewrite(&running);
        let met = running.disk.met().first().copied();
        let status = running.process.aof.status();
        if status.last_rewrite_ok {
            assert_eq!(status.failed_in_a_row, 0);
        } else {
            let met = met.expect("something failed");
            assert!(met.harmful, "{met:?}");
            assert_eq!(status.failed_in_a_row, failed + 1, "{met:?}");
        }
        check_files(&mut running);
        // Whatever became of the rewrite, a fault of the increment itself ends with the next good one.
        heal(&mut running);
        met
    });
    let done = |step| all.iter().any(|met| met.step == step);
    for step in [Step::Create, Step::Write, Step::Sync, Step::SyncFolder, Step::Rename, Step::Remove] {
        assert!(done(step), "{step:?} never failed");
    }
    ok(running.client.run("CONFIG SET appendonly no"));
}

#[test]
fn a_rewrite_on_a_disk_that_hangs_holds_up_nobody() {
    let mut running = started("hang");
    running.client.set_timeout(Some(HANGS));
    let mut hung = 0;
    for index in 0.. {
        running.disk.hang_at(index);
        running.client.run("BGREWRITEAOF");
        let mut rewriting = Some(true);
        while rewriting == Some(true) && !running.disk.is_hanging() {
            rewriting = is_rewriting(&mut running.client);
        }
        let (is_hanging, mut answered) = (running.disk.is_hanging(), rewriting.is_some());
        for request in [&["SET", "written", "meanwhile"][..], &["INFO", "persistence"]] {
            answered = answered && running.client.try_call(request).is_ok();
        }
        running.disk.go_on();
        assert!(answered, "step {index} holds up the worker");
        wait_for_rewrite(&running);
        if !is_hanging {
            break;
        }
        hung += 1;
    }
    assert!(hung > 10, "only {hung} steps");
    running.client.set_timeout(Some(PATIENCE));
    check_good(&mut running);
    ok(running.client.run("CONFIG SET appendonly no"));
}

/// The thread of a rewrite that was ended may hang on a disk: for clients there is none any more, and the
/// next one begins.
#[test]
fn a_rewrite_that_was_ended_is_in_nobodys_way() {
    let mut running = started("ended");
    let others: [&[&str]; 3] =
        [&["BGREWRITEAOF"], &["CONFIG SET appendonly yes"], &["BGREWRITEAOF", "CONFIG SET appendonly yes"]];
    for requests in others {
        hang_in_rewrite(&mut running);
        ok(running.client.run("CONFIG SET appendonly no"));
        assert_eq!(is_rewriting(&mut running.client), Some(false));
        for request in requests {
            assert!(!matches!(running.client.run(request), Value::Error(_)), "{request}");
            assert_eq!(is_rewriting(&mut running.client), Some(true), "{request}");
        }
        assert!(running.disk.is_hanging(), "nobody has waited for it");
        let refused = error(running.client.run("BGREWRITEAOF"));
        assert_eq!(refused, "ERR Background append only file rewriting already in progress");
        running.disk.go_on();
        wait_for_rewrite(&running);
        assert!(running.process.aof.status().last_rewrite_ok);
        ok(running.client.run("CONFIG SET appendonly yes"));
        wait_for_rewrite(&running);
        check_good(&mut running);
    }
    // What was to come next is ended as well.
    hang_in_rewrite(&mut running);
    for onoff in ["no", "yes", "no"] {
        ok(running.client.run(&format!("CONFIG SET appendonly {onoff}")));
    }
    running.disk.go_on();
    assert_eq!(is_rewriting(&mut running.client), Some(false));
    assert_eq!(running.info("aof_rewrite_scheduled"), "0");
}

/// Begins a rewrite, and the disk hangs while its base is written.
fn hang_in_rewrite(running: &mut Running) {
    for index in 0.. {
        assert!(begin_hanging(running, index), "no base is written");
        if running.process.aof.base_status().is_some_and(|base| base.keys_total > 0) {
            return;
        }
        running.disk.go_on();
        wait_for_rewrite(running);
    }
}

/// Begins a rewrite that hangs at this step of its own; false if it has none such, and has ended.
fn begin_hanging(running: &mut Running, index: usize) -> bool {
    running.disk.hang_in_rewrite_at(index);
    running.client.run("BGREWRITEAOF");
    while running.process.aof.is_rewriting() && !running.disk.is_hanging() {
        thread::yield_now();
    }
    running.disk.is_hanging()
}

/// What is read of the snapshot, and the commands that are made of it.
#[test]
fn a_rewrite_into_commands_counts_what_it_holds() {
    const READ: usize = 64 << 10;
    const VALUE: usize = 200_000;
    let mut running = Running::start("counts");
    running.fill(RECORDS, VALUE);
    ok(running.client.run("CONFIG SET aof-use-rdb-preamble no"));
    let mut held: Vec<usize> = Vec::new();
    for index in 0.. {
        if !begin_hanging(&mut running, index) {
            break;
        }
        held.push(running.info("mem_aof_buffer").parse().expect("a number"));
        running.disk.go_on();
        wait_for_rewrite(&running);
    }
    assert!(held.iter().any(|bytes| (READ..VALUE).contains(bytes)), "what is read: {held:?}");
    assert!(held.iter().any(|&bytes| bytes >= READ + VALUE), "what is to be written: {held:?}");
    assert_eq!(running.info("mem_aof_buffer"), "0");
}

/// So long a disk hangs if somebody waits for it.
const HANGS: Duration = Duration::from_secs(20);

/// What INFO says, if it says anything.
fn is_rewriting(client: &mut Client) -> Option<bool> {
    let text = client.try_call(&["INFO", "persistence"]).ok()?.as_text()?;
    Some(text.contains("aof_rewrite_in_progress:1"))
}

#[test]
fn always_holds_from_the_moment_it_is_asked_for() {
    let mut running = Running::start("policy");
    let stale = running.process.engine().config();
    ok(running.client.run("CONFIG SET appendonly yes appendfsync always"));
    wait_for_rewrite(&running);
    let log = &Arc::clone(running.process.engine()).log;
    for _ in 0..5 {
        // The timer has seen the configuration some time ago.
        running.process.aof.tick(&running.process, &stale);
        ok(running.client.run("SET key value"));
        assert!(log.durable() >= log.offset(), "it was answered too early");
        ok(running.client.run("CONFIG SET appendfsync everysec"));
        ok(running.client.run("CONFIG SET appendfsync always"));
    }
    ok(running.client.run("CONFIG SET appendonly no"));
}

#[test]
fn what_comes_while_the_disk_works_is_synced_together() {
    let mut running = started("group");
    ok(running.client.run("CONFIG SET appendfsync always"));
    let socket = running.disk.path(SOCKET);
    let mut clients: Vec<_> = (0..TOGETHER).map(|_| Client::connect_unix(&socket)).collect();
    clients.iter_mut().for_each(|client| ok(client.run("SET before together")));
    assert!(running.process.aof.flush(&running.process));
    // Behind the write, the sync.
    running.disk.hang_at(1);
    running.client.send(&["SET", "first", "1"]);
    let begin = Instant::now();
    while !running.disk.is_hanging() {
        assert!(begin.elapsed() < PATIENCE, "nothing is synced");
        thread::yield_now();
    }
    clients.iter_mut().for_each(|client| client.send(&["INCR", "counter"]));
    running.disk.go_on();
    clients.iter_mut().for_each(|client| assert!(matches!(client.read_value(), Value::Integer(_))));
    ok(running.client.read_value());
    let steps = running.disk.plan.lock().steps;
    assert!(steps <= 2 * SYNCS_TOGETHER, "{steps} writes and syncs");
    ok(running.client.run("CONFIG SET appendonly no"));
}

/// Each on a worker of its own: while the first one's sync is on its way the others run their requests. The
/// next sync is for them, and nobody else is waited for.
#[test]
fn one_sync_is_for_what_several_workers_have_run_meanwhile() {
    let mut running = Running::with_workers("workers", WORKERS);
    ok(running.client.run("CONFIG SET appendonly yes appendfsync always"));
    wait_for_rewrite(&running);
    let mut clients = one_on_each_worker(&running);
    ok(running.client.run("SET before all"));
    assert!(running.process.aof.flush(&running.process));
    let log = &Arc::clone(running.process.engine()).log;
    let request = ["SET", "key", "value"];
    let behind = |count: usize| log.offset().0 + (encode(&request).len() * count) as u64;
    let wait_for = |is_so: &dyn Fn() -> bool| {
        let begin = Instant::now();
        while !is_so() {
            assert!(begin.elapsed() < PATIENCE, "nothing happens");
            thread::yield_now();
        }
    };
    // Behind the write, the sync.
    let (first, all) = (behind(1), behind(WORKERS));
    running.disk.hang_at(1);
    clients[0].send(&request);
    wait_for(&|| running.disk.is_hanging());
    clients[1..].iter_mut().for_each(|client| client.send(&request));
    wait_for(&|| log.offset().0 == all);
    // The same of what the others have run.
    running.disk.hang_at(1);
    ok(clients[0].read_value());
    assert_eq!(log.durable().0, first);
    wait_for(&|| running.disk.is_hanging());
    for client in &mut clients[1..] {
        client.set_timeout(Some(MOMENT));
        assert!(client.try_read_value().is_err(), "it was answered too early");
        client.set_timeout(Some(PATIENCE));
    }
    assert_eq!(log.durable().0, first);
    running.disk.go_on();
    clients[1..].iter_mut().for_each(|client| ok(client.read_value()));
    assert_eq!(log.durable().0, all);
    assert_eq!(running.disk.plan.lock().steps, 0, "it was written or synced once more");
    ok(running.client.run("CONFIG SET appendonly no"));
}

const WORKERS: usize = 4;
/// Whoever should have nothing to read is given so long to have it all the same.
const MOMENT: Duration = Duration::from_millis(1);

/// New connections go where there are fewest.
fn one_on_each_worker(running: &Running) -> Vec<Client> {
    let engine = running.process.engine();
    let mut clients: Vec<_> = (0..2 * WORKERS)
        .map(|_| {
            let mut client = Client::connect_unix(running.disk.path(SOCKET));
            client.set_timeout(Some(PATIENCE));
            let Value::Integer(id) = client.run("CLIENT ID") else { panic!("CLIENT ID is a number") };
            (engine.clients.find(ClientId(id as u64)).expect("it is connected").worker.0, client)
        })
        .collect();
    clients.sort_by_key(|(worker, _)| *worker);
    clients.dedup_by_key(|(worker, _)| *worker);
    assert_eq!(clients.len(), WORKERS, "a worker has nobody");
    clients.into_iter().map(|(_, client)| client).collect()
}

const TOGETHER: usize = 40;
/// One is enough; another may come from the thread that looks after what nobody waits for.
const SYNCS_TOGETHER: usize = 4;

#[test]
fn what_cannot_be_written_is_refused_and_written_when_the_disk_is_back() {
    let mut running = started("write");
    for number in [libc::ENOSPC, libc::EIO, libc::EDQUOT, libc::EROFS] {
        running.disk.plan(&[Fault::First(Step::Write, number)]);
        ok(running.client.run("SET last accepted"));
        let reason = crate::log::reason(&std::io::Error::from_raw_os_error(number));
        let refused = wait_for_refusal(&mut running);
        assert_eq!(refused, format!("MISCONF Errors writing to the AOF file: {reason}"));
        assert_eq!(running.info("aof_last_write_status"), "err");
        assert!(error(running.client.run("PING")).starts_with("MISCONF "));
        assert_eq!(running.client.run("GET last"), Value::Bulk(Some(b"accepted".to_vec())));
        assert_eq!(running.disk.met().len(), 1);
        heal(&mut running);
    }
    ok(running.client.run("CONFIG SET appendonly no"));
}

/// A disk that is read-only from some moment on: the rewrite that needs new files fails, and says so; what is
/// open is refused when it is written to.
#[test]
fn a_disk_that_becomes_read_only_refuses_rewrites_and_writes_until_it_is_back() {
    let mut running = started("read-only");
    running.disk.plan(&[Fault::First(Step::Create, libc::EROFS)]);
    let started = Value::Simple(b"Background append only file rewriting started".to_vec());
    assert_eq!(running.client.run("BGREWRITEAOF"), started);
    wait_for_rewrite(&running);
    assert_eq!(running.disk.met().len(), 1);
    assert_eq!(running.info("aof_last_bgrewrite_status"), "err");
    assert_eq!(running.info("aof_rewrites_consecutive_failures"), "1");
    // The old increment goes on.
    check_good(&mut running);
    running.disk.plan(&[Fault::First(Step::Write, libc::EROFS)]);
    assert_eq!(
        wait_for_refusal(&mut running),
        "MISCONF Errors writing to the AOF file: Read-only file system"
    );
    assert_eq!(running.info("aof_last_write_status"), "err");
    running.disk.met();
    heal(&mut running);
    assert_eq!(running.client.run("BGREWRITEAOF"), started);
    wait_for_rewrite(&running);
    assert_eq!(running.info("aof_last_bgrewrite_status"), "ok");
    assert_eq!(running.info("aof_rewrites_consecutive_failures"), "0");
    check_files(&mut running);
    ok(running.client.run("CONFIG SET appendonly no"));
}

/// What is written to a file without a name goes with the process: once that is seen writes are refused, and
/// a rewrite makes folder and files anew from what is in memory.
#[test]
fn a_folder_that_is_removed_is_missed_and_made_again() {
    for policy in ["everysec", "always", "no"] {
        let mut running = started("removed");
        let folder = running.disk.path("appendonlydir");
        ok(running.client.run(&format!("CONFIG SET appendfsync {policy}")));
        ok(running.client.run("SET short 1 PX 1"));
        fs::remove_dir_all(&folder).expect("it is there");
        // Nothing can be called so.
        fs::write(&folder, "").expect("there is nothing of that name");
        let was_taken = !running.client.run("SET last 1").is_error();
        running.process.aof.flush(&running.process);
        let refused = error(running.client.run("SET a 1"));
        assert_eq!(refused, "MISCONF Errors writing to the AOF file: No such file or directory", "{policy}");
        assert_eq!(running.info("aof_last_write_status"), "err");
        let started = Value::Simple(b"Background append only file rewriting started".to_vec());
        assert_eq!(running.client.run("BGREWRITEAOF"), started);
        wait_for_rewrite(&running);
        assert_eq!(running.info("aof_last_bgrewrite_status"), "err");
        assert!(error(running.client.run("SET a 1")).starts_with("MISCONF "));
        // That it expires goes to the log, and its reply waits for no disk.
        while running.client.run("GET short") != Value::Bulk(None) {}
        fs::remove_file(&folder).expect("it is there");
        heal(&mut running);
        assert_eq!(running.client.run("EXISTS last"), Value::Integer(i64::from(was_taken)));
        ok(running.client.run("CONFIG SET appendonly no"));
    }
}

/// Who asks for a rewrite before anything is missed gets whole files.
#[test]
fn a_rewrite_makes_a_folder_again_that_was_removed() {
    let mut running = started("made-again");
    fs::remove_dir_all(running.disk.path("appendonlydir")).expect("it is there");
    running.client.run("BGREWRITEAOF");
    wait_for_rewrite(&running);
    assert_eq!(running.info("aof_last_bgrewrite_status"), "ok");
    check_good(&mut running);
    ok(running.client.run("CONFIG SET appendonly no"));
}

/// The error of the first write that is refused.
fn wait_for_refusal(running: &mut Running) -> String {
    let begin = Instant::now();
    loop {
        match running.client.run("SET a 1") {
            Value::Error(text) => return String::from_utf8_lossy(&text).into_owned(),
            _ => assert!(begin.elapsed() < PATIENCE, "nothing is ever refused"),
        }
    }
}

#[test]
fn after_a_failed_sync_only_a_rewrite_brings_trust_back() {
    let mut running = started("sync");
    for number in [libc::EIO, libc::ENOSPC] {
        running.disk.plan(&[Fault::First(Step::Sync, number)]);
        let refused = wait_for_refusal(&mut running);
        let reason = crate::log::reason(&std::io::Error::from_raw_os_error(number));
        assert_eq!(refused, format!("MISCONF Errors writing to the AOF file: {reason}"));
        let rewrites = running.process.aof.status().rewrites;
        assert_eq!(running.disk.met().len(), 1);
        for _ in 0..3 {
            assert!(!running.process.aof.flush(&running.process), "what was lost is not on the disk");
        }
        heal(&mut running);
        assert!(running.process.aof.flush(&running.process));
        assert!(running.process.aof.status().rewrites > rewrites, "syncs that succeed later prove nothing");
    }
    ok(running.client.run("CONFIG SET appendonly no"));
}

#[test]
fn few_bytes_at_a_time_are_all_there_is_in_the_end() {
    let mut running = started("few-bytes");
    running.disk.plan(&[]);
    running.disk.plan.lock().at_once = 3;
    for number in 0..50 {
        ok(running.client.run(&format!("SET short {number}")));
    }
    check_files(&mut running);
    running.disk.met();
    ok(running.client.run("CONFIG SET appendonly no"));
}

#[test]
fn turning_it_on_fails_as_a_whole_or_is_tried_again() {
    let mut running = Running::start("turn-on");
    running.fill(RECORDS, 200_000);
    with_each_fault(|fault| {
        ok(running.client.run("SET before on"));
        running.disk.plan(&[fault]);
        let reply = running.client.run("CONFIG SET appendonly yes");
        wait_for_rewrite(&running);
        let met = running.disk.met().first().copied();
        if let Value::Error(text) = reply {
            let text = String::from_utf8_lossy(&text).into_owned();
            assert!(text.ends_with("Unable to turn on AOF. Check server logs."), "{text}");
            assert_eq!(running.info("aof_enabled"), "0");
            ok(running.client.run("CONFIG SET appendonly yes"));
        }
        while running.process.aof.is_without_base() {
            tick(&running);
            wait_for_rewrite(&running);
        }
        heal(&mut running);
        ok(running.client.run("CONFIG SET appendonly no"));
        fs::remove_dir_all(running.disk.path("appendonlydir")).expect("it is there");
        met
    });
}

/// What is done before the answer: to make the folder, and to see to it that it stays.
const FOLDER_STEPS: usize = 3;

#[test]
fn turning_it_on_with_a_disk_that_hangs_holds_up_nobody() {
    let mut running = Running::start("turn-on-hang");
    running.fill(RECORDS, 200_000);
    running.client.set_timeout(Some(HANGS));
    ok(running.client.run("CONFIG SET appendonly yes"));
    wait_for_rewrite(&running);
    ok(running.client.run("CONFIG SET appendonly no"));
    let mut hung = 0;
    for index in FOLDER_STEPS.. {
        running.disk.hang_at(index);
        let mut answered = running.client.try_call(&["CONFIG", "SET", "appendonly", "yes"]).is_ok();
        while running.process.aof.is_rewriting() && !running.disk.is_hanging() {
            thread::yield_now();
        }
        let is_hanging = running.disk.is_hanging();
        for request in [&["SET", "written", "meanwhile"][..], &["INFO", "persistence"]] {
            answered = answered && running.client.try_call(request).is_ok();
        }
        running.disk.go_on();
        assert!(answered, "step {index} holds up the worker");
        wait_for_rewrite(&running);
        check_good(&mut running);
        ok(running.client.run("CONFIG SET appendonly no"));
        if !is_hanging {
            break;
        }
        hung += 1;
    }
    assert!(hung > 10, "only {hung} steps");
}

#[test]
fn who_turns_it_off_with_a_disk_that_hangs_waits_alone_and_for_all_there_is() {
    let mut running = started("turn-off-hang");
    running.client.set_timeout(Some(HANGS));
    // The write of what comes last, and the sync.
    for index in 0..2 {
        ok(running.client.run("CONFIG SET appendonly yes"));
        wait_for_rewrite(&running);
        assert!(running.process.aof.flush(&running.process));
        running.disk.hang_at(index);
        ok(running.client.run(&format!("SET last written:{index}")));
        let (process, mut config) = (Arc::clone(&running.process), running.process.engine().config());
        Arc::make_mut(&mut config).appendonly = false;
        let asked = thread::spawn(move || process.aof.configure(&process, &config));
        let begin = Instant::now();
        while running.process.aof.status().enabled || !running.disk.is_hanging() {
            assert!(begin.elapsed() < PATIENCE, "step {index} is not reached");
            thread::yield_now();
        }
        let mut answered = true;
        for request in [&["SET", "written", "meanwhile"][..], &["INFO", "persistence"]] {
            answered = answered && running.client.try_call(request).is_ok();
        }
        let is_waiting = !asked.is_finished();
        running.disk.go_on();
        assert_eq!(asked.join().expect("no panic"), Ok(()));
        assert!(answered, "step {index} holds up the worker");
        assert!(is_waiting, "step {index}: it is said to be off, and the disk lacks something");
        let last = format!("written:{index}");
        assert!(increments(&running).contains(&last), "{last} is not in the file");
        ok(running.client.run("CONFIG SET appendonly no"));
    }
}

/// All increments, one behind the other.
fn increments(running: &Running) -> String {
    let entries = fs::read_dir(running.disk.path("appendonlydir")).expect("it is there").flatten();
    let paths =
        entries.map(|entry| entry.path()).filter(|path| path.to_string_lossy().ends_with(".incr.aof"));
    paths.map(|path| fs::read_to_string(path).expect("it is text")).collect()
}

#[test]
fn who_waits_for_room_in_the_file_holds_up_nobody_else() {
    let mut running = started("room");
    let limit = running.process.engine().config().log_buffer_limit() as usize;
    let mut other = Client::connect_unix(running.disk.path(SOCKET));
    other.set_timeout(Some(HANGS));
    running.disk.hang_at(0);
    let value = "v".repeat(limit / 4);
    let mut lists = 0;
    // One more for what the writer has taken, and one that waits.
    while delays(&mut other) == Some(0) && lists < 8 {
        lists += 1;
        running.client.send(&["RPUSH", "list", &value]);
        let mut taken = Some(0);
        while taken.is_some_and(|taken| taken < lists) && delays(&mut other) == Some(0) {
            taken = other.try_call(&["LLEN", "list"]).ok().map(|len| match len {
                Value::Integer(len) => len,
                other => panic!("{other:?}"),
            });
        }
    }
    let seen = (delays(&mut other), other.try_call(&["LLEN", "list"]).ok());
    running.disk.go_on();
    assert_eq!(seen, (Some(1), Some(Value::Integer(lists - 1))));
    (1..=lists).for_each(|len| assert_eq!(running.client.read_value(), Value::Integer(len)));
    check_good(&mut running);
    ok(running.client.run("CONFIG SET appendonly no"));
}

/// With `everysec` the disk may lack what is two seconds old, and no more: from then on who writes waits,
/// before it has changed anything, and others go on.
#[test]
fn who_writes_waits_while_the_disk_lacks_what_is_two_seconds_old() {
    let mut running = started("two-seconds");
    let mut other = Client::connect_unix(running.disk.path(SOCKET));
    other.set_timeout(Some(HANGS));
    assert!(running.process.aof.flush(&running.process));
    // Behind the write, the sync.
    running.disk.hang_at(1);
    ok(running.client.run("SET key first"));
    let process = Arc::clone(&running.process);
    let flushed = thread::spawn(move || process.aof.flush(&process));
    let begin = Instant::now();
    while !running.disk.is_hanging() {
        assert!(begin.elapsed() < PATIENCE, "nothing is synced");
        thread::yield_now();
    }
    let set_age = |running: &Running, since: Instant| {
        running.process.aof.set_undurable_since(since);
        tick(running);
    };
    let now = Instant::now();
    set_age(&running, now + PATIENCE);
    for number in 0..10 {
        ok(running.client.run(&format!("SET key {number}")));
    }
    assert_eq!(delays(&mut other), Some(0));
    set_age(&running, now - Duration::from_secs(2));
    running.client.send(&["SET", "key", "late"]);
    while delays(&mut other) == Some(0) {
        assert!(begin.elapsed() < PATIENCE, "nobody has to wait");
    }
    let seen = (delays(&mut other), other.try_call(&["GET", "key"]).ok());
    running.disk.go_on();
    assert_eq!(seen, (Some(1), Some(Value::Bulk(Some(b"9".to_vec())))));
    ok(running.client.read_value());
    assert!(flushed.join().expect("no panic"));
    ok(running.client.run("SET key last"));
    assert_eq!(delays(&mut other), Some(1), "the disk has all, and somebody waits");
    check_good(&mut running);
    ok(running.client.run("CONFIG SET appendonly no"));
}

/// How many requests had to wait for the file, if INFO says anything.
fn delays(client: &mut Client) -> Option<u64> {
    let text = client.try_call(&["INFO", "persistence"]).ok()?.as_text()?;
    text.lines().find_map(|line| line.strip_prefix("aof_delayed_fsync:")?.trim().parse().ok())
}

#[test]
fn a_start_that_fails_at_any_step_can_be_done_again() {
    with_each_fault(|fault| {
        let mut running = Running::start("begin");
        running.fill(RECORDS, 200_000);
        running.disk.plan(&[fault]);
        let begun = running.process.aof.begin(&running.process);
        let met = running.disk.met().first().copied();
        match begun {
            Ok(()) => {}
            Err(why) => {
                let met = met.filter(|met| met.harmful).unwrap_or_else(|| panic!("{why}"));
                assert!(!running.process.engine().log.is_active(), "{met:?}");
                running.process.aof.begin(&running.process).expect("the disk is well again");
            }
        }
        check_good(&mut running);
        met
    });
}

/// The client's transactions, until it is told to end: each one is counted that has to be there from then on.
fn write_on(process: &Process, disk: &FaultyDisk, mut client: Client, stop: &AtomicBool, policy: &str) {
    for number in 1.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let text = number.to_string();
        client.run("MULTI");
        client.call(&["INCR", "counter"]);
        client.call(&["RPUSH", "list", &text]);
        assert!(matches!(client.run("EXEC"), Value::Array(Some(_))));
        // With a laxer policy, what came before a sync.
        if policy == "always" || number % SYNC_EVERY == 0 && process.aof.flush(process) {
            disk.watch_power(|power| power.acknowledged = number);
        }
    }
}

const SYNC_EVERY: u64 = 20;

#[test]
fn a_loss_of_power_at_any_step_loses_nothing_that_was_answered() {
    check_loss_of_power("always", 5);
}

#[test]
fn a_loss_of_power_at_any_step_loses_nothing_that_was_synced() {
    check_loss_of_power("everysec", 3);
    check_loss_of_power("no", 3);
}

fn check_loss_of_power(policy: &str, rewrites: usize) {
    let mut running = Running::start("power");
    running.fill(5, 70_000);
    ok(running.client.run(&format!("CONFIG SET appendonly yes appendfsync {policy}")));
    wait_for_rewrite(&running);
    let disk = running.disk;
    let folder = disk.path("appendonlydir");
    *disk.power.lock() = Some(Power::watch(&folder));
    let stop = AtomicBool::new(false);
    let process = Arc::clone(&running.process);
    thread::scope(|scope| {
        let client = Client::connect_unix(disk.path(SOCKET));
        scope.spawn(|| write_on(&process, disk, client, &stop, policy));
        for number in 0..rewrites {
            let preamble = if number % 2 == 0 { "no" } else { "yes" };
            ok(running.client.run(&format!("CONFIG SET aof-use-rdb-preamble {preamble}")));
            running.client.run("BGREWRITEAOF");
            wait_for_rewrite(&running);
        }
        stop.store(true, Ordering::Relaxed);
    });
    let power = disk.power.lock().take().expect("it was set");
    assert!(power.pictures.len() > 40 * rewrites, "{} pictures", power.pictures.len());
    ok(running.client.run("CONFIG SET appendonly no"));
    for Picture { files, acknowledged } in power.pictures {
        ok(running.client.run("FLUSHALL"));
        fs::remove_dir_all(&folder).expect("it is there");
        fs::create_dir(&folder).expect("it was removed");
        for (name, bytes) in &files {
            fs::write(folder.join(name), bytes).expect("the folder is there");
        }
        let loaded = load(&running.process, &mut || {});
        let shown: Vec<_> = files.iter().map(|(name, bytes)| (name, bytes.len())).collect();
        assert_eq!(loaded, Ok(Found::Yes), "{policy}: {shown:?}");
        let count = |value: Value| value.as_text().and_then(|text| text.parse().ok()).unwrap_or(0);
        let counted: u64 = count(running.client.run("GET counter"));
        assert!(counted >= acknowledged, "{policy}: {counted} of {acknowledged} are there: {shown:?}");
        assert_eq!(running.client.run("LLEN list"), Value::Integer(counted as i64), "{policy}: {shown:?}");
    }
}

/// A base and two increments, each read in several pieces; before each piece INFO says how far it is.
#[test]
fn the_progress_of_loading_is_true_and_grows() {
    let mut running = started("progress");
    let value = "v".repeat(500_000);
    let write = |running: &mut Running, name: &str| {
        for number in 0..8 {
            ok(running.client.call(&["SET", &format!("{name}:{number}"), &value]));
        }
    };
    write(&mut running, "first");
    // The base cannot be made while a folder has the name of the file on its way.
    let blocked = running.disk.path("appendonlydir/temp-rewriteaof.base");
    fs::create_dir(&blocked).expect("nothing is called so");
    running.client.run("BGREWRITEAOF");
    wait_for_rewrite(&running);
    fs::remove_dir(blocked).expect("it is empty");
    write(&mut running, "second");
    ok(running.client.run("CONFIG SET appendonly no"));
    let sizes = sizes_of_parts(&running);
    assert_eq!(sizes.len(), 3, "a base and two increments");
    let total: u64 = sizes.iter().sum();
    let mut seen = Vec::new();
    for index in 0.. {
        ok(running.client.run("FLUSHALL"));
        running.disk.hang_at(index);
        running.process.engine().loading.store(true, Ordering::Relaxed);
        running.process.load.begin(running.process.now(), 0);
        let process = Arc::clone(&running.process);
        let loader = thread::spawn(move || load(&process, &mut || {}));
        while !running.disk.is_hanging() && !loader.is_finished() {
            thread::yield_now();
        }
        let is_hanging = running.disk.is_hanging();
        seen.push(progress(&mut running, total));
        running.disk.go_on();
        assert_eq!(loader.join().expect("no panic"), Ok(Found::Yes));
        running.process.engine().loading.store(false, Ordering::Relaxed);
        if !is_hanging {
            break;
        }
    }
    assert!(seen.is_sorted(), "{seen:?}");
    assert_eq!(seen.last(), Some(&total));
    // In the middle of each part, and where it ends.
    let mut begin = 0;
    for size in sizes {
        let within = seen.iter().filter(|loaded| (begin + 1..begin + size).contains(loaded)).count();
        assert!(within > 0, "{seen:?} of {begin} and {size}");
        begin += size;
        assert!(seen.contains(&begin), "{begin} is not among {seen:?}");
    }
}

/// Bytes of the parts, in the order in which they are loaded.
fn sizes_of_parts(running: &Running) -> Vec<u64> {
    let folder = running.disk.path("appendonlydir");
    let manifest = fs::read_to_string(folder.join("appendonly.aof.manifest")).expect("it is there");
    let names = manifest.lines().filter_map(|line| line.split(' ').nth(1));
    names.map(|name| fs::metadata(folder.join(name)).expect("it is there").len()).collect()
}

/// Bytes that are loaded; what else INFO says of it agrees.
fn progress(running: &mut Running, total: u64) -> u64 {
    assert_eq!(running.info("loading"), "1");
    let loaded: u64 = running.info("loading_loaded_bytes").parse().expect("a number");
    let said_total: u64 = running.info("loading_total_bytes").parse().expect("a number");
    // Before the first step it is not known.
    assert!(said_total == total || loaded == 0, "{said_total} of {total}");
    let percent = format!("{:.2}", loaded as f64 * 100.0 / total as f64);
    assert_eq!(running.info("loading_loaded_perc"), percent);
    let eta: i64 = running.info("loading_eta_seconds").parse().expect("a number");
    assert!(eta >= 0 && (loaded < total || eta == 0), "{eta} s");
    loaded
}

#[test]
fn what_cannot_be_read_is_refused_and_left_as_it_is() {
    let mut running = started("load");
    ok(running.client.run("SET behind base"));
    assert!(running.process.aof.flush(&running.process));
    let files = |running: &Running| -> Vec<(String, Vec<u8>)> {
        let entries = fs::read_dir(running.disk.path("appendonlydir")).expect("it is there").flatten();
        let mut files: Vec<_> = entries
            .map(|entry| {
                let bytes = fs::read(entry.path()).expect("it is there");
                (entry.file_name().to_string_lossy().into_owned(), bytes)
            })
            .collect();
        files.sort();
        files
    };
    let (before, digest) = (files(&running), running.client.run("DEBUG DIGEST"));
    let all = with_each_fault(|fault| {
        running.disk.plan(&[fault]);
        let reply = running.client.run("DEBUG LOADAOF");
        let met = running.disk.met().first().copied();
        let harmful = met.is_some_and(|met| met.harmful);
        assert_eq!(matches!(reply, Value::Error(_)), harmful, "{met:?}: {reply:?}");
        assert!(files(&running) == before, "{met:?} changes a file");
        ok(running.client.run("DEBUG LOADAOF"));
        assert_eq!(running.client.run("DEBUG DIGEST"), digest);
        met
    });
    assert!(all.iter().any(|met: &Met| met.step == Step::Read));
    ok(running.client.run("CONFIG SET appendonly no"));
}
