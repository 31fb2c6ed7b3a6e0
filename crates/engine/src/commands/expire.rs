//! Times of expiry of keys: set, ask, remove. What expires fields of a hash stands with the hashes.

use crate::command::{CmdResult, Command, Group, command};
use crate::ctx::Ctx;
use crate::error::CmdError;
use crate::keyspec::KeySpec;
use crate::keyspec::flag::{ACCESS, RO, RW, UPDATE};
use crate::notify::class;

pub static TABLE: &[Command] = &[
    expiring("expire", expire)
        .syntax("key seconds [NX | XX | GT | LT]")
        .docs("Sets the time to live of a key in seconds.", "O(1)"),
    expiring("pexpire", pexpire)
        .since("2.6.0")
        .syntax("key milliseconds [NX | XX | GT | LT]")
        .docs("Sets the time to live of a key in milliseconds.", "O(1)"),
    expiring("expireat", expireat)
        .since("1.2.0")
        .syntax("key unix-time-seconds [NX | XX | GT | LT]")
        .docs("Sets the second at which a key expires.", "O(1)"),
    expiring("pexpireat", pexpireat)
        .since("2.6.0")
        .syntax("key unix-time-milliseconds [NX | XX | GT | LT]")
        .docs("Sets the millisecond at which a key expires.", "O(1)"),
    asking("ttl", ttl)
        .tips(&["nondeterministic_output"])
        .history(&[("2.8.0", "Added the -2 reply.")])
        .docs("Tells the time to live of a key in seconds.", "O(1)"),
    asking("pttl", pttl)
        .since("2.6.0")
        .tips(&["nondeterministic_output"])
        .history(&[("2.8.0", "Added the -2 reply.")])
        .docs("Tells the time to live of a key in milliseconds.", "O(1)"),
    asking("expiretime", expiretime).since("7.0.0").docs("Tells the second at which a key expires.", "O(1)"),
    asking("pexpiretime", pexpiretime)
        .since("7.0.0")
        .docs("Tells the millisecond at which a key expires.", "O(1)"),
    command("persist", 2, Group::Generic, persist)
        .write()
        .fast()
        .since("2.2.0")
        .keys(&[KeySpec::one(1, RW | UPDATE)])
        .syntax("key")
        .docs("Removes the time of expiry of a key.", "O(1)"),
];

const SET_KEY: &[KeySpec] = &[KeySpec::one(1, RW | UPDATE)];
const ASK_KEY: &[KeySpec] = &[KeySpec::one(1, RO | ACCESS)];

const fn expiring(name: &'static str, run: fn(&mut Ctx) -> CmdResult) -> Command {
    command(name, -3, Group::Generic, run)
        .write()
        .fast()
        .keys(SET_KEY)
        .history(&[("7.0.0", "Added options: `NX`, `XX`, `GT` and `LT`.")])
}

const fn asking(name: &'static str, run: fn(&mut Ctx) -> CmdResult) -> Command {
    command(name, 2, Group::Generic, run).read().fast().keys(ASK_KEY).syntax("key")
}

fn expire(ctx: &mut Ctx) -> CmdResult {
    let now = ctx.now().0;
    set_expiry(ctx, now, Unit::Seconds)
}

fn pexpire(ctx: &mut Ctx) -> CmdResult {
    let now = ctx.now().0;
    set_expiry(ctx, now, Unit::Milliseconds)
}

fn expireat(ctx: &mut Ctx) -> CmdResult {
    set_expiry(ctx, 0, Unit::Seconds)
}

fn pexpireat(ctx: &mut Ctx) -> CmdResult {
    set_expiry(ctx, 0, Unit::Milliseconds)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Seconds,
    Milliseconds,
}

/// The four that set a time; theirs counts from `base`, Unix milliseconds.
fn set_expiry(ctx: &mut Ctx, base: i64, unit: Unit) -> CmdResult {
    let condition = Condition::parse(ctx)?;
    let at = instant(ctx.args.integer(2)?, base, unit).ok_or_else(|| CmdError::expire_time(ctx.name()))?;
    let key = ctx.key(1);
    let Some(entry) = ctx.keys.found(key) else {
        ctx.reply.integer(0);
        return Ok(());
    };
    let allowed = condition.allows(entry.expires_at(), at);
    if allowed {
        apply(ctx, at);
    }
    ctx.reply.integer(i64::from(allowed));
    Ok(())
}

/// Unix milliseconds; `None` if they do not fit.
fn instant(amount: i64, base: i64, unit: Unit) -> Option<i64> {
    let amount = if unit == Unit::Seconds { amount.checked_mul(1000)? } else { amount };
    amount.checked_add(base)
}

/// Sets the time, or deletes a key whose time is over at once. While effects are replayed it stays, expired:
/// its deletion is an effect of its own.
fn apply(ctx: &mut Ctx, at: i64) {
    let key = ctx.key(1);
    let over = at <= ctx.now().0 && !ctx.keys.keeps_expired();
    if over {
        ctx.keys.delete(key);
        ctx.keys.count_expired_key();
        ctx.keys.effect(&[ctx.config.expiry_verb(), key.bytes]);
        ctx.keys.changed(key, (class::GENERIC, "del"));
    } else {
        let at = at.max(0);
        ctx.keys.set_expires_at(key, Some(at));
        ctx.keys.effect(&[b"PEXPIREAT", key.bytes, itoa::Buffer::new().format(at).as_bytes()]);
        ctx.keys.changed(key, (class::GENERIC, "expire"));
    }
}

/// NX, XX, GT, LT: on what a new time depends.
#[derive(Default)]
struct Condition {
    none_yet: bool,
    one_already: bool,
    later: bool,
    earlier: bool,
}

impl Condition {
    fn parse(ctx: &Ctx) -> Result<Condition, CmdError> {
        let mut condition = Condition::default();
        for index in 3..ctx.args.len() {
            *condition.flag(ctx, index)? = true;
        }
        let others = condition.one_already || condition.later || condition.earlier;
        if condition.none_yet && others {
            return Err(CmdError::new("ERR NX and XX, GT or LT options at the same time are not compatible"));
        }
        if condition.later && condition.earlier {
            return Err(CmdError::new("ERR GT and LT options at the same time are not compatible"));
        }
        Ok(condition)
    }

    fn flag(&mut self, ctx: &Ctx, index: usize) -> Result<&mut bool, CmdError> {
        let flags = [
            ("nx", &mut self.none_yet),
            ("xx", &mut self.one_already),
            ("gt", &mut self.later),
            ("lt", &mut self.earlier),
        ];
        let found = flags.into_iter().find(|(word, _)| ctx.args.is(index, word));
        found.map(|(_, flag)| flag).ok_or_else(|| unsupported(ctx.args.at(index)))
    }

    /// A key without a time counts as one that expires after every other.
    fn allows(&self, current: Option<i64>, new: i64) -> bool {
        let refused = self.none_yet && current.is_some()
            || self.one_already && current.is_none()
            || self.later && current.is_none_or(|current| new <= current)
            || self.earlier && current.is_some_and(|current| new >= current);
        !refused
    }
}

fn unsupported(option: &[u8]) -> CmdError {
    CmdError::new(format!("ERR Unsupported option {}", String::from_utf8_lossy(option)))
}

fn ttl(ctx: &mut Ctx) -> CmdResult {
    let now = ctx.now().0;
    tell_expiry(ctx, now, Unit::Seconds)
}

fn pttl(ctx: &mut Ctx) -> CmdResult {
    let now = ctx.now().0;
    tell_expiry(ctx, now, Unit::Milliseconds)
}

fn expiretime(ctx: &mut Ctx) -> CmdResult {
    tell_expiry(ctx, 0, Unit::Seconds)
}

fn pexpiretime(ctx: &mut Ctx) -> CmdResult {
    tell_expiry(ctx, 0, Unit::Milliseconds)
}

/// Answers -2 for no key, -1 for no time.
fn tell_expiry(ctx: &mut Ctx, base: i64, unit: Unit) -> CmdResult {
    ctx.keys.no_touch = true;
    let key = ctx.key(1);
    let answer = match ctx.keys.entry(key).map(|entry| entry.expires_at()) {
        None => -2,
        Some(None) => -1,
        Some(Some(at)) => in_unit(at.saturating_sub(base).max(0), unit),
    };
    ctx.reply.integer(answer);
    Ok(())
}

/// Seconds are rounded to the nearest.
fn in_unit(ms: i64, unit: Unit) -> i64 {
    match unit {
        Unit::Seconds => ms / 1000 + i64::from(ms % 1000 >= 500),
        Unit::Milliseconds => ms,
    }
}

fn persist(ctx: &mut Ctx) -> CmdResult {
    let key = ctx.key(1);
    let expiring = ctx.keys.found(key).is_some_and(|entry| entry.expires_at().is_some());
    if expiring {
        ctx.keys.set_expires_at(key, None);
        ctx.keys.changed(key, (class::GENERIC, "persist"));
    }
    ctx.reply.integer(i64::from(expiring));
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::{START, TestEngine, check_script};

    #[test]
    fn the_log_says_unlink_where_that_is_configured() {
        let mut test = TestEngine::new();
        test.collect_effects();
        for (value, verb) in [("no", "DEL"), ("yes", "UNLINK")] {
            test.run(&format!("CONFIG SET lazyfree-lazy-expire {value}"));
            for line in ["MSET looked 1 met 2 now 3 got 4 counted 5", "PEXPIRE looked 50", "PEXPIRE met 50"] {
                test.run(line);
            }
            test.advance_ms(51);
            test.take_effects();
            for line in ["GET met", "PEXPIRE now -1", "GETEX got PXAT 1", "INCREX counted PXAT 1"] {
                test.run(line);
            }
            test.expire_cycle();
            let expected = ["met", "now", "got", "counted", "looked"].map(|key| format!("{verb} {key}"));
            assert_eq!(test.take_effect_lines(), expected);
        }
    }

    #[test]
    fn texts_and_conditions() {
        let mut test = TestEngine::new();
        let invalid = |name| format!("-ERR invalid expire time in '{name}' command");
        let (expire, pexpire, expireat) = (invalid("expire"), invalid("pexpire"), invalid("expireat"));
        check_script(
            &mut test,
            &[
                ("EXPIRE k 1", "0"),
                ("SET k v", "+OK"),
                ("TTL k", "-1"),
                ("PERSIST k", "0"),
                ("EXPIRE k 1.5", "-ERR value is not an integer or out of range"),
                ("EXPIRE k 1 FOO", "-ERR Unsupported option FOO"),
                ("EXPIRE k x FOO", "-ERR Unsupported option FOO"),
                ("EXPIRE k 1 NX XX", "-ERR NX and XX, GT or LT options at the same time are not compatible"),
                ("EXPIRE k 1 LT NX", "-ERR NX and XX, GT or LT options at the same time are not compatible"),
                ("EXPIRE k 1 GT LT", "-ERR GT and LT options at the same time are not compatible"),
                ("EXPIRE none 9223372036854775807", &expire),
                ("EXPIRE k -9223372036854775807", &expire),
                ("PEXPIRE k 9223372036854775807", &pexpire),
                ("EXPIREAT k 9223372036854776", &expireat),
                ("EXPIRE k 10 XX", "0"),
                ("EXPIRE k 10 GT", "0"),
                ("EXPIRE k 10 LT", "1"),
                ("TTL k", "10"),
                ("EXPIRE k 20 NX", "0"),
                ("EXPIRE k 10 GT", "0"),
                ("EXPIRE k 10 LT", "0"),
                ("EXPIRE k 20 gt xx", "1"),
                ("PTTL k", "20000"),
                ("PEXPIRE k 1499", "1"),
                ("TTL k", "1"),
                ("PEXPIRE k 1500", "1"),
                ("TTL k", "2"),
                ("PEXPIRETIME k", &(START.0 + 1500).to_string()),
                ("EXPIRETIME k", &((START.0 + 1500 + 500) / 1000).to_string()),
                ("PERSIST k", "1"),
                ("TTL k", "-1"),
                ("PEXPIREAT k 9223372036854775807", "1"),
                ("PEXPIRETIME k", "9223372036854775807"),
                ("EXPIRETIME k", "9223372036854776"),
                ("EXPIRE k -1", "1"),
                ("EXISTS k", "0"),
                ("TTL k", "-2"),
            ],
        );
    }

    #[test]
    fn effects_and_events() {
        let check = |line: &str, effects: &[&str], event: &[&str]| {
            let mut test = TestEngine::new();
            check_script(&mut test, &[("SET k v", "+OK"), ("SET t v PX 100", "+OK")]);
            test.collect_events("");
            test.collect_effects();
            test.run(line);
            assert_eq!(test.take_effect_lines(), effects, "{line}");
            assert_eq!(test.take_events(), event, "{line}");
        };
        let at = |ms: i64| format!("PEXPIREAT k {}", START.0 + ms);
        check("EXPIRE k 10", &[&at(10_000)], &["expire k"]);
        check("PEXPIRE k 10 NX", &[&at(10)], &["expire k"]);
        check("EXPIREAT k 2000000000", &["PEXPIREAT k 2000000000000"], &["expire k"]);
        check("PEXPIREAT k 2000000000000", &["PEXPIREAT k 2000000000000"], &["expire k"]);
        check("EXPIRE k 0", &["DEL k"], &["del k"]);
        check("PEXPIREAT k 1", &["DEL k"], &["del k"]);
        check("EXPIRE k 10 XX", &[], &[]);
        check("EXPIRE none 10", &[], &[]);
        check("PERSIST k", &[], &[]);
        check("PERSIST t", &["PERSIST t"], &["persist t"]);
    }

    #[test]
    fn a_key_is_gone_at_its_time_and_its_deletion_is_logged() {
        let mut test = TestEngine::new();
        test.collect_events("");
        test.collect_effects();
        check_script(&mut test, &[("SET k v", "+OK"), ("PEXPIRE k 5", "1")]);
        test.take_effects();
        test.take_events();
        test.advance_ms(4);
        check_script(&mut test, &[("PTTL k", "1"), ("EXISTS k", "1")]);
        test.advance_ms(1);
        check_script(&mut test, &[("PTTL k", "-2"), ("EXPIRE k 10", "0"), ("DBSIZE", "0")]);
        assert_eq!(test.take_effect_lines(), ["DEL k"]);
        assert_eq!(test.take_events(), ["expired k"]);
    }

    #[test]
    fn a_replayed_time_in_the_past_does_not_delete() {
        let mut test = TestEngine::new();
        test.collect_effects();
        check_script(&mut test, &[("SET k v", "+OK"), ("PEXPIRE k 5", "1")]);
        test.advance_ms(10);
        let effects = test.take_effects();
        let replica = test.replay(&effects);
        assert_eq!(replica.digest(), test.digest());
        assert_eq!(replica.engine.store.len(store::DbIndex(0)), 1);
    }
}
