//! "Can't save in background: fork: Cannot allocate memory", with half of the memory free: an instance filled
//! with 1 MB values cannot be saved. Onefold is filled to nine tenths of what it may have, all of it is
//! overwritten while it is saved, and the save succeeds. Three bounds, each where this process may set it:
//! address space (RLIMIT_AS), which says nothing of a fork; a memory control group, under each way in which
//! the kernel promises memory (`vm.overcommit_memory`), if that may be changed; and no further process
//! (RLIMIT_NPROC), which refuses the fork itself, as the kernel does where memory is not overcommitted.

use std::fs;
use std::path::Path;
use std::process::Command;

use base::hash::digest;
use base::random::Rng;
use testkit::{Client, Group, Server, Value, onefold, redis, unprivileged};

use super::{begin_save, field, ok, wait_for};

const VALUE_LEN: usize = 1 << 20;

/// Random values of 1 MB under random keys.
struct Values {
    rng: Rng,
    /// Each key with the digest of what is under it.
    keys: Vec<(String, [u8; 16])>,
}

impl Values {
    fn new() -> Values {
        Values { rng: Rng::from_seed(1), keys: Vec::new() }
    }

    fn value(&mut self) -> Vec<u8> {
        (0..VALUE_LEN / 8).flat_map(|_| self.rng.next_u64().to_le_bytes()).collect()
    }

    fn add(&mut self, client: &mut Client) {
        let (key, value) = (format!("{:016x}", self.rng.next_u64()), self.value());
        ok(client.call(&[b"SET", key.as_bytes(), &value]));
        self.keys.push((key, digest(&value)));
    }

    /// Adds values until `used` says that nine tenths of `limit` are used. Others are written anew meanwhile:
    /// what the allocator keeps of them is in use already when the save begins.
    fn fill(&mut self, client: &mut Client, limit: u64, used: impl Fn() -> u64) {
        while used() < limit / 10 * 9 {
            self.add(client);
            let (index, value) = (self.rng.below(self.keys.len() as u64) as usize, self.value());
            let (key, expected) = &mut self.keys[index];
            ok(client.call(&[b"SET", key.as_bytes(), &value]));
            *expected = digest(&value);
        }
        assert!(self.keys.len() as u64 * VALUE_LEN as u64 > limit / 3, "{} values", self.keys.len());
    }

    /// Writes every key anew, at full speed; false if the server is gone.
    fn overwrite(&mut self, client: &mut Client) -> bool {
        let value = self.value();
        let keys = &self.keys;
        keys.iter().all(|(key, _)| client.try_call(&[b"SET", key.as_bytes(), &value]).is_ok())
    }

    fn check(&self, client: &mut Client) {
        for (key, expected) in &self.keys {
            let found = client.call(&["GET", key]);
            assert!(matches!(found, Value::Bulk(Some(value)) if digest(&value) == *expected), "{key}");
        }
    }
}

/// Saves, while every key is overwritten if `overwritten`. The dump is the state before that.
fn check_save(server: &mut Server, values: &mut Values, overwritten: bool) {
    let mut client = server.client();
    begin_save(&mut client);
    assert!(!overwritten || values.overwrite(&mut client), "the server is gone");
    client.set_timeout(None);
    wait_for(&mut client, "rdb_bgsave_in_progress", "0");
    assert_eq!(field(&mut client, "rdb_last_bgsave_status").as_deref(), Some("ok"));
    for line in ["Background saving started by pid", "DB saved on disk", "terminated with success"] {
        assert!(server.log().contains(line), "the log has no {line:?}");
    }
    server.kill_hard();
    server.start_again();
    let mut client = server.client();
    wait_for(&mut client, "loading", "0");
    values.check(&mut client);
}

/// The same with redis-server: whether it has saved, and what it said in the end.
fn saves(server: &Server, values: &mut Values) -> (bool, String) {
    let mut client = server.client();
    let began = matches!(client.run("BGSAVE"), Value::Simple(_));
    let mut lives = true;
    while lives && began && field(&mut client, "rdb_bgsave_in_progress").as_deref() == Some("1") {
        lives = values.overwrite(&mut client) && client.try_call(&["PING"]).is_ok();
    }
    let good = lives && began && field(&mut client, "rdb_last_bgsave_status").as_deref() == Some("ok");
    let log = server.log();
    (good, log.lines().rev().take(3).collect::<Vec<_>>().join("\n"))
}

#[test]
fn a_save_succeeds_at_nine_tenths_of_the_address_space() {
    let _turn = super::turn();
    const SPACE: u64 = 256 << 20;
    let limit = format!("ulimit -v {}", SPACE / 1024);
    let mut server = Server::start_after(onefold(), &["--save", ""], &limit);
    let (mut values, mut client) = (Values::new(), server.client());
    values.fill(&mut client, SPACE, || server.status_bytes("VmSize"));
    check_save(&mut server, &mut values, false);
}

const LIMIT: u64 = 512 << 20;

/// The kernel ends whoever takes more than the group may have. Only redis-server is written to meanwhile: so
/// near to the limit a save may stand still for the disk, and Onefold delays a writer for a bounded time, in
/// which values of 1 MB can take what is left.
fn check_control_group() {
    let start = |program: &Path| {
        let group = Group::create().filter(|group| group.limit_memory(LIMIT))?;
        let server = Server::start_after(program, &["--save", "", "--rdbcompression", "no"], &group.enter());
        let (mut values, mut client) = (Values::new(), server.client());
        values.fill(&mut client, LIMIT, || group.usage().expect("the group is there"));
        Some((group, server, values))
    };
    let Some((group, mut server, mut values)) = start(&onefold()) else {
        eprintln!("SKIPPED: no memory control group can be made here");
        return;
    };
    let before = group.usage();
    let ((), peak) = group.peak_during(|| check_save(&mut server, &mut values, false));
    println!("memory control group: {before:?} bytes before, {peak} at most");
    drop((server, group));
    let Some(program) = redis() else {
        eprintln!("SKIPPED: redis-server is not installed");
        return;
    };
    let (_group, server, mut values) = start(&program).expect("there was a group before");
    let (good, last) = saves(&server, &mut values);
    println!("memory control group: {last}");
    assert!(!good, "a fork copies what is written");
}

#[test]
fn a_save_succeeds_at_nine_tenths_of_a_control_group() {
    let _turn = super::turn();
    check_control_group();
}

#[test]
fn a_save_succeeds_however_the_kernel_promises_memory() {
    let _turn = super::turn();
    if std::env::var_os(MAY_SET).is_none() {
        eprintln!("SKIPPED: vm.overcommit_memory is everybody's; {MAY_SET}=1 lets it be changed for a while");
        return;
    }
    let before = Overcommit::now();
    for mode in ["0", "1", "2"] {
        println!("vm.overcommit_memory {mode}");
        before.set(mode);
        check_control_group();
    }
}

const MAY_SET: &str = "SET_OVERCOMMIT";

/// What the kernel promises to all processes together. Dropped, it is as before.
struct Overcommit {
    mode: String,
    /// Of the machine's memory, in percent; no part of it if `kbytes` are said instead.
    ratio: String,
    kbytes: String,
}

impl Overcommit {
    fn now() -> Overcommit {
        let read = |name| fs::read_to_string(knob(name)).expect("Linux has it").trim().to_string();
        let [mode, ratio, kbytes] = ["overcommit_memory", "overcommit_ratio", "overcommit_kbytes"].map(read);
        Overcommit { mode, ratio, kbytes }
    }

    /// If nothing is promised that is not there (2), then little more than one such server takes.
    fn set(&self, mode: &str) {
        if mode == "2" {
            let meminfo = fs::read_to_string("/proc/meminfo").expect("Linux has it");
            let committed = meminfo.lines().find_map(|line| line.strip_prefix("Committed_AS:"));
            let words = committed.and_then(|line| line.split_whitespace().next());
            let committed: u64 = words.and_then(|kb| kb.parse().ok()).expect("a number of kB");
            let kbytes = committed + (LIMIT + LIMIT / 2) / 1024;
            fs::write(knob("overcommit_kbytes"), kbytes.to_string()).expect("this process may");
        }
        fs::write(knob("overcommit_memory"), mode).expect("this process may");
    }
}

impl Drop for Overcommit {
    fn drop(&mut self) {
        fs::write(knob("overcommit_memory"), &self.mode).ok();
        let (name, value) = match self.kbytes.as_str() {
            "0" => ("overcommit_ratio", &self.ratio),
            _ => ("overcommit_kbytes", &self.kbytes),
        };
        fs::write(knob(name), value).ok();
    }
}

fn knob(name: &str) -> String {
    format!("/proc/sys/vm/{name}")
}

/// From now on the server can start nothing; `None` where this process may not say so.
fn forbid_processes(server: &Server) -> Option<()> {
    let words = unprivileged(Path::new("/usr/bin/prlimit"))?;
    let line = [words, &["prlimit", "--nproc=1:1", "--pid"]].concat();
    let status = Command::new(line[0]).args(&line[1..]).arg(server.pid().to_string()).status();
    status.is_ok_and(|status| status.success()).then_some(())
}

/// Whoever may not start a process does not fork.
#[test]
fn a_save_succeeds_where_no_process_may_be_added() {
    let _turn = super::turn();
    const SMALL: u64 = 64 << 20;
    let start = |program: &Path| {
        let privileges = unprivileged(program)?.join(" ");
        let commands = format!("mkdir -m 777 {{dir}}/data && exec {privileges} \"$0\" \"$@\"");
        let arguments = ["--save", "", "--dir", "{dir}/data"];
        let server = Server::start_under(program, &arguments, &["/bin/sh", "-c", &commands]);
        let (mut values, mut client) = (Values::new(), server.client());
        values.fill(&mut client, SMALL, || server.status_bytes("VmRSS"));
        forbid_processes(&server)?;
        Some((server, values))
    };
    let Some((server, mut values)) = start(&onefold()) else {
        eprintln!("SKIPPED: the server cannot be started without privileges here");
        return;
    };
    let (good, last) = saves(&server, &mut values);
    assert!(good, "{last}");
    let Some((server, mut values)) = redis().and_then(|program| start(&program)) else {
        eprintln!("SKIPPED: redis-server is not installed");
        return;
    };
    let (good, last) = saves(&server, &mut values);
    assert!(!good && last.contains("Can't save in background: fork: "), "{last}");
}
