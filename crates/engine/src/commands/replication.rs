//! REPLCONF, SYNC and PSYNC, as far as they are served: a client that wants a dump and nothing behind it gets
//! one (`redis-cli --rdb`). Nobody is told of changes yet, and who asks for them hears so.

use base::quoting::split_args;

use crate::clients::flag as client_flag;
use crate::command::{CmdResult, Command, Group, command, flag};
use crate::ctx::Ctx;
use crate::error::CmdError;
use crate::host::{DumpContents, Level};
use crate::session::Replica;

const SYNC_FLAGS: u32 = flag::NO_ASYNC_LOADING | flag::NO_MULTI;

pub static TABLE: &[Command] = &[
    command("sync", 1, Group::Server, sync)
        .admin()
        .flags(SYNC_FLAGS)
        .docs("Sends a dump of the data set, if `REPLCONF rdb-only 1` came before.", ""),
    command("psync", -3, Group::Server, psync)
        .admin()
        .flags(SYNC_FLAGS)
        .since("2.8.0")
        .syntax("replicationid offset")
        .docs(
            "Sends a dump of the data set as `SYNC` does, behind the place in the history of changes that it \
             belongs to.",
            "",
        ),
    command("replconf", -1, Group::Server, replconf)
        .admin()
        .flags(flag::LOADING | flag::STALE | flag::ALLOW_BUSY)
        .since("3.0.0")
        .docs("Says what a client takes that will ask for a dump of the data set.", "O(1)"),
];

const ONLY_DUMPS: CmdError = CmdError::fixed(
    "ERR Replication is not served yet: only a client that wants a dump alone (REPLCONF rdb-only 1) gets one",
);
const NEEDS_EOF: CmdError = CmdError::fixed("ERR Filtered replica requires EOF capability");
const NOT_0_OR_1: CmdError = CmdError::fixed("ERR value is out of range, value must between 0 and 1");
/// Bytes of an address, at most.
const ADDRESS_LEN: usize = 255;

fn sync(ctx: &mut Ctx) -> CmdResult {
    begin(ctx)?;
    Ok(())
}

fn psync(ctx: &mut Ctx) -> CmdResult {
    ctx.args.integer(2)?;
    if begin(ctx)? == Begun::Yes {
        let (id, offset) = (ctx.engine.log.replication_id(), ctx.engine.log.offset());
        let id = String::from_utf8_lossy(&id);
        ctx.reply.simple(&format!("FULLRESYNC {id} {}", offset.0));
    }
    Ok(())
}

#[derive(PartialEq, Eq)]
enum Begun {
    Yes,
    /// As in Redis, who follows with MONITOR is not answered.
    Ignored,
}

/// From here on the client is sent nothing else: it has ended whatever else it wanted to hear.
fn begin(ctx: &mut Ctx) -> Result<Begun, CmdError> {
    if ctx.session.monitor {
        return Ok(Begun::Ignored);
    }
    let replica = ctx.session.replica;
    if !replica.only_dump {
        return Err(ONLY_DUMPS);
    }
    if replica.contents != DumpContents::Everything && !replica.takes_eof {
        return Err(NEEDS_EOF);
    }
    let client = &ctx.session.client;
    let line = format!("Replica {} asks for synchronization", client.peer);
    ctx.engine.host.begin_dump(client, replica.contents).map_err(CmdError::new)?;
    ctx.engine.host.log(Level::Notice, &line);
    client.set_flag(client_flag::REPLICA, true);
    ctx.engine.clear_connection(ctx.session);
    ctx.session.replica.awaits_dump = true;
    Ok(Begun::Yes)
}

fn replconf(ctx: &mut Ctx) -> CmdResult {
    if ctx.args.len().is_multiple_of(2) {
        return Err(CmdError::SYNTAX);
    }
    for option in (1..ctx.args.len()).step_by(2) {
        let is = |word| ctx.args.is(option, word);
        let value = ctx.args.at(option + 1);
        let replica = &mut ctx.session.replica;
        match () {
            // What replicas say while they follow, which nobody does.
            _ if is("ack") || is("getack") => return Ok(()),
            _ if is("listening-port") => drop(ctx.args.integer(option + 1)?),
            _ if is("ip-address") => check_address(value)?,
            _ if is("capa") => replica.takes_eof |= ctx.args.is(option + 1, "eof"),
            _ if is("rdb-only") => {
                replica.only_dump = match ctx.args.integer(option + 1)? {
                    0 => false,
                    1 => true,
                    _ => return Err(NOT_0_OR_1),
                }
            }
            _ if is("rdb-filter-only") => filter(replica, value)?,
            _ => {
                let name = String::from_utf8_lossy(ctx.args.at(option));
                return Err(CmdError::new(format!("ERR Unrecognized REPLCONF option: {name}")));
            }
        }
    }
    ctx.reply.ok();
    Ok(())
}

fn check_address(address: &[u8]) -> CmdResult {
    if address.len() <= ADDRESS_LEN {
        return Ok(());
    }
    let len = address.len();
    Err(CmdError::new(format!(
        "ERR REPLCONF ip-address provided by replica instance is too long: {len} bytes"
    )))
}

/// The parts of a dump that a client wants; the rest it does not.
fn filter(replica: &mut Replica, parts: &[u8]) -> CmdResult {
    let parts = split_args(parts).map_err(|_| CmdError::fixed("ERR Missing rdb-filter-only values"))?;
    replica.contents = DumpContents::Nothing;
    for part in parts {
        if !part.eq_ignore_ascii_case(b"functions") {
            let name = String::from_utf8_lossy(&part);
            return Err(CmdError::new(format!("ERR Unsupported rdb-filter-only option: {name}")));
        }
        replica.contents = DumpContents::Functions;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{TestEngine, check_script};

    #[test]
    fn what_a_replica_says_is_checked() {
        let long = "a".repeat(256);
        check_script(
            &mut TestEngine::new(),
            &[
                ("REPLCONF", "+OK"),
                ("REPLCONF capa", "-ERR syntax error"),
                ("REPLCONF capa eof capa psync2 capa other", "+OK"),
                ("REPLCONF listening-port 7000 ip-address 1.2.3.4", "+OK"),
                ("REPLCONF listening-port x", "-ERR value is not an integer or out of range"),
                ("REPLCONF rdb-only 1", "+OK"),
                ("REPLCONF rdb-only 2", "-ERR value is out of range, value must between 0 and 1"),
                ("REPLCONF rdb-only x", "-ERR value is not an integer or out of range"),
                ("REPLCONF rdb-filter-only functions", "+OK"),
                ("REPLCONF rdb-filter-only \"\"", "+OK"),
                ("REPLCONF rdb-filter-only data", "-ERR Unsupported rdb-filter-only option: data"),
                ("REPLCONF rdb-filter-only \"'a\"", "-ERR Missing rdb-filter-only values"),
                ("REPLCONF version 1", "-ERR Unrecognized REPLCONF option: version"),
                ("PSYNC ? x", "-ERR value is not an integer or out of range"),
                (
                    &format!("REPLCONF ip-address {long}"),
                    "-ERR REPLCONF ip-address provided by replica instance is too long: 256 bytes",
                ),
            ],
        );
    }

    #[test]
    fn who_wants_a_dump_alone_gets_one() {
        let check = |lines: &[&str], wanted: Result<&str, &CmdError>| {
            let mut test = TestEngine::new();
            let (last, before) = lines.split_last().expect("a request");
            before.iter().for_each(|line| drop(test.run(line)));
            let words: Vec<&str> = last.split(' ').collect();
            let reply = test.run_raw(0, &words);
            let call = wanted.map_or(vec![], |contents| vec![format!("dump {contents} for 1")]);
            assert_eq!(*test.host.calls.lock(), call, "{lines:?}");
            assert_eq!(test.sessions[0].replica.awaits_dump, wanted.is_ok(), "{lines:?}");
            let text = String::from_utf8_lossy(&reply).into_owned();
            match wanted {
                Ok(_) if words[0] == "SYNC" => assert_eq!(text, ""),
                Ok(_) => assert!(text.starts_with("+FULLRESYNC ") && text.ends_with(" 0\r\n"), "{text}"),
                Err(error) => {
                    assert_eq!(text, format!("-{}\r\n", String::from_utf8_lossy(error.text())));
                }
            }
        };
        let (only, eof) = ("REPLCONF rdb-only 1", "REPLCONF capa eof");
        check(&[only, "SYNC"], Ok("Everything"));
        check(&[only, "PSYNC ? -1"], Ok("Everything"));
        check(&[only, eof, "REPLCONF rdb-filter-only functions", "SYNC"], Ok("Functions"));
        check(&[only, eof, "REPLCONF rdb-filter-only \"\"", "SYNC"], Ok("Nothing"));
        check(&[only, "REPLCONF rdb-filter-only functions", "SYNC"], Err(&NEEDS_EOF));
        check(&["SYNC"], Err(&ONLY_DUMPS));
        check(&[only, "REPLCONF rdb-only 0", "PSYNC ? -1"], Err(&ONLY_DUMPS));
        check(
            &[only, "MULTI", "SYNC"],
            Err(&CmdError::fixed("ERR Command not allowed inside a transaction")),
        );
    }

    #[test]
    fn who_gets_a_dump_hears_nothing_else() {
        let mut test = TestEngine::new();
        check_script(&mut test, &[("REPLCONF rdb-only 1", "+OK"), ("CLIENT TRACKING on BCAST", "+OK")]);
        test.run_raw(0, &["SYNC"]);
        let session = &test.sessions[0];
        assert!(session.client.has_flag(client_flag::REPLICA) && !session.client.tracking.is_on());
    }
}
