//! CONFIG: the configuration read, changed and written back, and the statistics set to zero. What a directive
//! is and may be is said by `directives`; what a change does outside of the engine is the host's.

use std::sync::atomic::Ordering;

use base::limits;

use crate::admit::is_local;
use crate::command::{CmdResult, Command, Group, command, container, flag};
use crate::config::Config;
use crate::config_rewrite::rewrite;
use crate::ctx::Ctx;
use crate::directives::{self, Directive, Refusal, Setter};
use crate::engine::{Engine, Rates};
use crate::error::CmdError;
use crate::host::Level;
use crate::stats::Counter;

pub static TABLE: &[Command] = &[container("config", Group::Server, SUBCOMMANDS)
    .since("2.0.0")
    .docs("Reads and changes the configuration.", "Depends on subcommand.")];

const ANY_TIME: u32 = flag::LOADING | flag::STALE;

static SUBCOMMANDS: &[Command] = &[
    command("get", -3, Group::Server, get)
        .admin()
        .flags(ANY_TIME)
        .since("2.0.0")
        .syntax("parameter [parameter ...]")
        .history(&[("7.0.0", "Added the ability to pass multiple pattern parameters in one call")])
        .docs(
            "Returns the directives that patterns match, with their values.",
            "O(N) when N is the number of configuration parameters provided",
        ),
    command("set", -4, Group::Server, set)
        .admin()
        .flags(ANY_TIME)
        .since("2.0.0")
        .syntax("parameter value [parameter value ...]")
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .history(&[("7.0.0", "Added the ability to set multiple parameters in one call.")])
        .docs(
            "Changes directives while the server runs, all or none.",
            "O(N) when N is the number of configuration parameters provided",
        ),
    command("resetstat", 2, Group::Server, resetstat)
        .admin()
        .flags(ANY_TIME)
        .since("2.0.0")
        .docs("Sets the statistics of INFO to zero.", "O(1)"),
    command("rewrite", 2, Group::Server, rewrite_file)
        .admin()
        .flags(ANY_TIME)
        .since("2.8.0")
        .docs("Writes the configuration as it is now into the configuration file.", "O(1)"),
    command("help", 2, Group::Server, help)
        .flags(ANY_TIME)
        .since("5.0.0")
        .docs("Explains the subcommands.", "O(1)"),
];

fn get(ctx: &mut Ctx) -> CmdResult {
    let patterns: Vec<&[u8]> = ctx.args.from(2).collect();
    let found = directives::matching(&ctx.engine.config(), &patterns);
    ctx.reply.map(found.len());
    for (name, value) in &found {
        ctx.reply.bulk(name);
        ctx.reply.bulk(value);
    }
    Ok(())
}

fn set(ctx: &mut Ctx) -> CmdResult {
    if !ctx.args.len().is_multiple_of(2) {
        return Err(CmdError::SYNTAX);
    }
    let pairs: Vec<(&[u8], &[u8])> =
        (2..ctx.args.len()).step_by(2).map(|at| (ctx.args.at(at), ctx.args.at(at + 1))).collect();
    let setter = Setter { local: is_local(&ctx.session.client), loading: ctx.engine.is_loading() };
    change(ctx.engine, &pairs, setter).map_err(|refusal| match refusal {
        Refusal::Loading => CmdError::new("LOADING Redis is loading the dataset in memory"),
        Refusal::Text(text) => CmdError::new(format!("ERR {text}")),
    })?;
    let (config, told) = (ctx.engine.config(), &mut ctx.keys.effects.invalidated);
    ctx.engine.tracking.trim(&config, limits::TRACKING_TRIM_KEYS, &mut ctx.worker.rng, told);
    ctx.reply.ok();
    Ok(())
}

/// Sets all directives or none.
fn change(engine: &Engine, pairs: &[(&[u8], &[u8])], setter: Setter) -> Result<(), Refusal> {
    let _one_at_a_time = engine.config_change.lock();
    let old = engine.config();
    let (new, changed) = directives::set_many(&old, pairs, setter)?;
    apply(engine, &old, &new, &changed)?;
    for warning in changed.iter().filter_map(|row| row.warning(&new)) {
        engine.host.log(Level::Warning, &warning);
    }
    engine.set_config(new);
    Ok(())
}

/// Puts changes into effect outside of the engine; undoes those made so far when one fails.
fn apply(engine: &Engine, old: &Config, new: &Config, changed: &[&'static Directive]) -> Result<(), Refusal> {
    for (index, row) in changed.iter().enumerate() {
        let Err(reason) = engine.host.apply(row.name, new) else { continue };
        engine.host.log(
            Level::Warning,
            &format!(
                "Failed applying new configuration. Possibly related to new {} setting. Restoring previous \
                 settings.",
                row.name
            ),
        );
        for done in &changed[..=index] {
            if let Err(reason) = engine.host.apply(done.name, old) {
                engine
                    .host
                    .log(Level::Warning, &format!("Failed restoring the {} setting: {reason}", done.name));
            }
        }
        return Err(directives::failed(row.name.as_bytes(), &reason));
    }
    Ok(())
}

fn resetstat(ctx: &mut Ctx) -> CmdResult {
    reset_statistics(ctx.engine);
    ctx.reply.ok();
    Ok(())
}

fn reset_statistics(engine: &Engine) {
    engine.stats.iter().for_each(|stats| stats.reset());
    engine.errors.reset();
    let cycle = &engine.cycle;
    [
        &cycle.expired_keys,
        &cycle.expired_fields,
        &cycle.expired_stale_permille,
        &cycle.expire_time_cap_reached,
        &cycle.expire_ns,
    ]
    .into_iter()
    .for_each(Counter::reset);
    *cycle.rates.lock() = Rates::default();
    engine.rejected_connections.store(0, Ordering::Relaxed);
    engine.defrag.reset();
    engine.evicted_keys.store(0, Ordering::Relaxed);
    engine.freed_late_before.store(engine.host.reclaim_counts().freed, Ordering::Relaxed);
    engine.connections_received.store(0, Ordering::Relaxed);
    engine.scripts.evicted.store(0, Ordering::Relaxed);
    engine.memory.reset_exceeded(engine.host.monotonic_ns());
    engine.host.reset_counts();
}

fn rewrite_file(ctx: &mut Ctx) -> CmdResult {
    let old = config_file(ctx.engine)?;
    write_file(ctx, &old)
}

/// DEBUG CONFIG-REWRITE-FORCE-ALL: as if the file named every directive, so that every one is written.
pub(super) fn rewrite_file_in_full(ctx: &mut Ctx) -> CmdResult {
    let mut old = config_file(ctx.engine)?;
    directives::DIRECTIVES.iter().for_each(|row| old.extend_from_slice(format!("\n{}", row.name).as_bytes()));
    write_file(ctx, &old)
}

fn config_file(engine: &Engine) -> Result<Vec<u8>, CmdError> {
    engine
        .host
        .read_config_file()
        .map_err(|_| CmdError::new("ERR The server is running without a config file"))
}

/// Brings `old` in line with the configuration and writes it as the file.
fn write_file(ctx: &mut Ctx, old: &[u8]) -> CmdResult {
    let host = &ctx.engine.host;
    let new = rewrite(old, &ctx.engine.config());
    if let Err(reason) = host.write_config_file(&new) {
        host.log(Level::Warning, &format!("CONFIG REWRITE failed: {reason}"));
        return Err(CmdError::new(format!("ERR Rewriting config file: {reason}")));
    }
    host.log(Level::Notice, "CONFIG REWRITE executed with success.");
    ctx.reply.ok();
    Ok(())
}

fn help(ctx: &mut Ctx) -> CmdResult {
    ctx.help(
        "CONFIG",
        &[
            "GET <pattern> [<pattern> ...]",
            "    Return the directives that match the patterns, and their values.",
            "SET <directive> <value> [<directive> <value> ...]",
            "    Change directives, all of them or none.",
            "RESETSTAT",
            "    Set the statistics that INFO reports to zero.",
            "REWRITE",
            "    Write the configuration into the configuration file.",
        ],
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::config::DebugAccess;
    use crate::testing::{TestEngine, check_script, show};

    #[test]
    fn directives_are_read_and_set() {
        check_script(
            &mut TestEngine::new(),
            &[
                ("CONFIG GET maxmemory", "[\"maxmemory\" \"0\"]"),
                ("CONFIG SET maxmemory 100mb slowlog-max-len 5", "+OK"),
                (
                    "CONFIG GET maxmemory SLOWLOG-MAX-LEN nothing",
                    "[\"maxmemory\" \"104857600\" \"SLOWLOG-MAX-LEN\" \"5\"]",
                ),
                ("CONFIG GET maxmemor?", "[\"maxmemory\" \"104857600\"]"),
                ("CONFIG SET maxmemory", "-ERR wrong number of arguments for 'config|set' command"),
                ("CONFIG SET maxmemory 1 port", "-ERR syntax error"),
                (
                    "CONFIG SET nothing 1",
                    "-ERR Unknown option or number of arguments for CONFIG SET - 'nothing'",
                ),
                (
                    "CONFIG SET slowlog-max-len 6 slowlog-max-len 7",
                    "-ERR CONFIG SET failed (possibly related to argument 'slowlog-max-len') - duplicate \
                     parameter",
                ),
                (
                    "CONFIG SET slowlog-max-len 6 maxmemory x",
                    "-ERR CONFIG SET failed (possibly related to argument 'maxmemory') - argument must be a \
                     memory value",
                ),
                ("CONFIG GET slowlog-max-len", "[\"slowlog-max-len\" \"5\"]"),
                (
                    "CONFIG SET databases 5",
                    "-ERR CONFIG SET failed (possibly related to argument 'databases') - can't set \
                     immutable config",
                ),
                ("CONFIG NOTHING", "-ERR unknown subcommand 'NOTHING'. Try CONFIG HELP."),
                ("CONFIG RESETSTAT", "+OK"),
            ],
        );
    }

    #[test]
    fn changes_take_effect_outside_and_are_undone() {
        let mut test = TestEngine::new();
        test.run("CONFIG SET port 7000 maxmemory 5 timeout 0");
        let calls = |test: &TestEngine| std::mem::take(&mut *test.host.calls.lock());
        assert_eq!(calls(&test), ["apply port", "apply maxmemory"], "what did not change is not applied");
        test.configure(|config| config.enable_protected_configs = DebugAccess::Yes);
        for (name, dir) in
            [("/data", "/data"), ("/data", "/data"), ("./new/", "/data/new"), (".", "/data/new")]
        {
            check_script(&mut test, &[(&format!("CONFIG SET dir {name}"), "+OK")]);
            assert_eq!(calls(&test), ["apply dir"], "the folder of that name may be another one by now");
            check_script(&mut test, &[("CONFIG GET dir", &format!("[\"dir\" \"{dir}\"]"))]);
        }
        test.host.refused.lock().push("apply maxmemory");
        let reply = test.run("CONFIG SET port 7001 maxmemory 6 hz 20");
        let expected = "-ERR CONFIG SET failed (possibly related to argument 'maxmemory') - refused";
        assert_eq!(show(&reply), expected);
        assert_eq!(calls(&test), ["apply port", "apply maxmemory", "apply port", "apply maxmemory"]);
        check_script(&mut test, &[("CONFIG GET port hz", "[\"port\" \"7000\" \"hz\" \"10\"]")]);
    }

    /// Redis forgets all of these too.
    #[test]
    fn statistics_are_forgotten() {
        let mut test = TestEngine::new();
        let stats = &test.engine.stats[0];
        let of_snapshots = [&stats.snapshot_delays, &stats.snapshot_delay_us];
        let others = [&stats.ticks, &stats.tick_ns, &stats.page_delays, &stats.page_delay_us];
        of_snapshots.into_iter().chain(others).for_each(|counter| counter.add(5000));
        test.engine.scripts.evicted.store(5, std::sync::atomic::Ordering::Relaxed);
        let check = |test: &mut TestEngine, is_expected: fn(&str) -> bool| {
            let text = test.run("INFO everything");
            let text = String::from_utf8_lossy(text.as_bytes().expect("INFO is text")).into_owned();
            for name in [
                "eventloop_cycles",
                "eventloop_duration_sum",
                "snapshot_delayed_writes",
                "snapshot_delay_usec",
                "maxmemory_delayed_requests",
                "maxmemory_delay_usec",
                "evicted_scripts",
            ] {
                let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
                assert!(is_expected(value.expect("INFO has it")), "{name} is {value:?}");
            }
        };
        check(&mut test, |value| value != "0");
        test.run("CONFIG RESETSTAT");
        check(&mut test, |value| value == "0");
        assert_eq!(*test.host.calls.lock(), ["reset counts"]);
    }

    #[test]
    fn the_file_is_rewritten() {
        let mut test = TestEngine::new();
        check_script(&mut test, &[("CONFIG REWRITE", "-ERR The server is running without a config file")]);
        *test.host.config_file.lock() = Some(b"# mine\nport 6379\n".to_vec());
        check_script(&mut test, &[("CONFIG SET port 7000 maxmemory 1mb", "+OK"), ("CONFIG REWRITE", "+OK")]);
        let text = test.host.config_file.lock().clone().expect("there is one");
        let text = String::from_utf8(text).expect("it is UTF-8");
        assert!(text.starts_with("# mine\nport 7000\n") && text.contains("\nmaxmemory 1mb"), "{text}");
        assert!(!text.contains("\nhz 10\n"), "defaults are left out: {text}");
        test.configure(|config| config.enable_debug_command = DebugAccess::Yes);
        check_script(&mut test, &[("DEBUG CONFIG-REWRITE-FORCE-ALL", "+OK")]);
        let text = test.host.config_file.lock().clone().expect("there is one");
        let text = String::from_utf8(text).expect("it is UTF-8");
        assert!(text.starts_with("# mine\nport 7000\n") && text.contains("\nhz 10\n"), "{text}");
    }
}
