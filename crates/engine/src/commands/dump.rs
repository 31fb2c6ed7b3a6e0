//! DUMP and RESTORE: a value as bytes that another server understands, and back.

use base::bytes::escape;
use rdb::{Object, ReadOptions, RestoreError, WriteOptions};
use store::snapshot::value_ref;
use store::{Entry, Key};

use crate::acl_categories::category;
use crate::command::{CmdResult, Command, Group, command};
use crate::config::SanitizePayload;
use crate::ctx::Ctx;
use crate::error::CmdError;
use crate::host::Level;
use crate::keyspec::KeySpec;
use crate::keyspec::flag::{ACCESS, OW, RO, UPDATE};
use crate::notify::class;
use crate::session::Origin;

pub static TABLE: &[Command] = &[
    command("dump", 2, Group::Generic, dump)
        .read()
        .since("2.6.0")
        .keys(&[KeySpec::one(1, RO | ACCESS)])
        .syntax("key")
        .tips(&["nondeterministic_output"])
        .docs(
            "Answers the value of a key in a form that RESTORE takes.",
            "O(1) to access the key and additional O(N*M) to serialize it, where N is the number of \
             Redis objects composing the value and M their average size. For small string values the \
             time complexity is thus O(1)+O(1*M) where M is small, so simply O(1).",
        ),
    command("restore", -4, Group::Generic, restore)
        .categories(category::DANGEROUS)
        .write()
        .deny_oom()
        .since("2.6.0")
        .keys(&[KeySpec::one(1, OW | UPDATE)])
        .syntax("key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]")
        .history(&[
            ("3.0.0", "Added the `REPLACE` modifier."),
            ("5.0.0", "Added the `ABSTTL` modifier."),
            ("5.0.0", "Added the `IDLETIME` and `FREQ` options."),
        ])
        .docs(
            "Creates a key from what DUMP answered.",
            "O(1) to create the new key and additional O(N*M) to reconstruct the serialized value, where \
             N is the number of Redis objects composing the value and M their average size. For small \
             string values the time complexity is thus O(1)+O(1*M) where M is small, so simply O(1). \
             However for sorted set values the complexity is O(N*M*log(N)) because inserting values into \
             sorted sets is O(log(N)).",
        ),
];

fn dump(ctx: &mut Ctx) -> CmdResult {
    let options = WriteOptions { compress: ctx.config.rdbcompression };
    let key = ctx.key(1);
    match ctx.keys.entry(key) {
        Some(entry) => {
            let payload = rdb::dump(value_ref(entry), rdb::format::VERSION_PLAIN, &options);
            ctx.reply.bulk(&payload);
        }
        None => ctx.reply.null(),
    }
    Ok(())
}

fn restore(ctx: &mut Ctx) -> CmdResult {
    let options = RestoreOptions::parse(ctx)?;
    let key = ctx.key(1);
    if !options.replace && ctx.keys.found(key).is_some() {
        return Err(BUSY_KEY);
    }
    let expires_at = expiry(ctx, &options)?;
    let object = read_payload(ctx)?;
    let deleted = options.replace && ctx.keys.delete(key);
    let over = expires_at.is_some_and(|at| at <= ctx.now().0) && !ctx.keys.keeps_expired();
    if !over {
        put(ctx, key, object, expires_at, &options);
    } else if deleted {
        ctx.keys.effect(&[b"DEL", key.bytes]);
        ctx.keys.changed(key, (class::GENERIC, "del"));
    }
    ctx.reply.ok();
    Ok(())
}

fn put(ctx: &mut Ctx, key: Key<'_>, object: Object, expires_at: Option<i64>, options: &RestoreOptions) {
    let clock = options.clock(ctx);
    ctx.keys.put(key, Entry::from_object(key.bytes, object, expires_at, clock));
    if let Some(at) = expires_at.filter(|_| !options.absolute) {
        name_absolute(ctx, at);
    }
    ctx.keys.changed(key, (class::GENERIC, "restore"));
}

/// The effect of a RESTORE with a relative time: the same with the instant.
fn name_absolute(ctx: &mut Ctx, at: i64) {
    let mut digits = itoa::Buffer::new();
    let mut words: Vec<&[u8]> = ctx.args.iter().collect();
    words[2] = digits.format(at).as_bytes();
    words.push(b"ABSTTL");
    ctx.keys.effect(&words);
}

/// The TTL argument as Unix milliseconds; 0 is none.
fn expiry(ctx: &Ctx, options: &RestoreOptions) -> Result<Option<i64>, CmdError> {
    match ctx.args.integer(2)? {
        0 => Ok(None),
        ttl if ttl < 0 => Err(CmdError::new("ERR Invalid TTL value, must be >= 0")),
        ttl if options.absolute => Ok(Some(ttl)),
        ttl => Ok(Some(ctx.now().saturating_add(ttl).0)),
    }
}

fn read_payload(ctx: &Ctx) -> Result<Object, CmdError> {
    let deep_sanitize = match ctx.config.sanitize_dump_payload {
        SanitizePayload::No => false,
        SanitizePayload::Yes => true,
        SanitizePayload::Clients => ctx.session.origin == Origin::Client,
    };
    let verify_checksum = !ctx.engine.debug.skip_checksums.load(std::sync::atomic::Ordering::Relaxed);
    let options = ReadOptions {
        thresholds: ctx.config.thresholds,
        verify_checksum,
        deep_sanitize,
        version_check: ctx.config.rdb_version_check,
        ..ReadOptions::default()
    };
    rdb::restore(ctx.args.at(3), &options).map_err(|error| match error {
        RestoreError::VersionOrChecksum => CmdError::new("ERR DUMP payload version or checksum are wrong"),
        RestoreError::BadData(error) => {
            let key = ctx.config.for_log(escape(ctx.args.at(1)));
            let why = format!("RESTORE of {key}: integrity check failed: {error}");
            ctx.engine.host.log(Level::Verbose, &why);
            CmdError::new("ERR Bad data format")
        }
    })
}

#[derive(Default)]
struct RestoreOptions {
    replace: bool,
    absolute: bool,
    idle_s: Option<i64>,
    frequency: Option<u8>,
}

impl RestoreOptions {
    fn parse(ctx: &Ctx) -> Result<RestoreOptions, CmdError> {
        let args = &ctx.args;
        let mut options = RestoreOptions::default();
        let mut index = 4;
        while index < args.len() {
            if args.is(index, "replace") {
                options.replace = true;
            } else if args.is(index, "absttl") {
                options.absolute = true;
            } else if args.is(index, "idletime") && options.frequency.is_none() {
                index = args.operand(index)?;
                options.idle_s = Some(idle_time(args.integer(index)?)?);
            } else if args.is(index, "freq") && options.idle_s.is_none() {
                index = args.operand(index)?;
                options.frequency = Some(frequency(args.integer(index)?)?);
            } else {
                return Err(CmdError::SYNTAX);
            }
            index += 1;
        }
        Ok(options)
    }

    /// The access clock of the new key.
    fn clock(&self, ctx: &Ctx) -> u32 {
        ctx.keys.access.clock_told(self.idle_s.map(|seconds| seconds as u64), self.frequency)
    }
}

fn idle_time(seconds: i64) -> Result<i64, CmdError> {
    if seconds < 0 { Err(CmdError::new("ERR Invalid IDLETIME value, must be >= 0")) } else { Ok(seconds) }
}

fn frequency(value: i64) -> Result<u8, CmdError> {
    u8::try_from(value).map_err(|_| CmdError::new("ERR Invalid FREQ value, must be >= 0 and <= 255"))
}

const BUSY_KEY: CmdError = CmdError::fixed("BUSYKEY Target key name already exists.");

#[cfg(test)]
mod tests {
    use crate::config::EvictionPolicy;
    use crate::testing::{START, TestEngine, check_script, show};

    fn payload_of(test: &mut TestEngine, key: &str) -> Vec<u8> {
        test.run(&format!("DUMP {key}")).as_bytes().expect("a payload").to_vec()
    }

    /// `RESTORE k <before> payload <after>`, shown.
    fn restore(test: &mut TestEngine, ttl: &str, payload: &[u8], options: &str) -> String {
        let mut words: Vec<&[u8]> = vec![b"RESTORE", b"k", ttl.as_bytes(), payload];
        words.extend(options.split_whitespace().map(str::as_bytes));
        show(&test.run_words(&words))
    }

    #[test]
    fn values_survive() {
        let check = |write: &str| {
            let mut test = TestEngine::new();
            test.run(write);
            let before = test.digest();
            let payload = payload_of(&mut test, "k");
            test.run("DEL k");
            assert_eq!(restore(&mut test, "0", &payload, ""), "+OK");
            assert_eq!(test.digest(), before, "{write}");
        };
        check("SET k 12");
        check("SET k abc");
        check(&format!("SET k {}", "x".repeat(40_000)));
        check("HSET k f v g 5");
        check(&format!("HSET k f {}", "x".repeat(65)));
    }

    #[test]
    fn the_log_names_a_key_unless_that_is_hidden() {
        let list = [1, 0, 10, 0];
        let payload = [&list[..], &base::crc::crc64(0, &list).to_le_bytes()].concat();
        for (hide, shown) in [("no", "RESTORE of \"k\": "), ("yes", "RESTORE of *redacted*: ")] {
            let mut test = TestEngine::new();
            test.run(&format!("CONFIG SET hide-user-data-from-log {hide}"));
            assert_eq!(restore(&mut test, "0", &payload, ""), "-ERR Bad data format");
            let lines = test.host.lines.lock();
            assert!(lines.iter().any(|(_, line)| line.starts_with(shown)), "{lines:?}");
        }
    }

    #[test]
    fn texts_in_redis_order() {
        let mut test = TestEngine::new();
        test.run("SET source v");
        let good = payload_of(&mut test, "source");
        let list = [&[1, 0, 10, 0][..], &[0; 8]].concat();
        let mut check = |ttl: &str, payload: &[u8], options: &str, expected: &str| {
            assert_eq!(restore(&mut test, ttl, payload, options), expected, "{ttl} {options}");
        };
        check("-1", b"x", "FOO", "-ERR syntax error");
        check("0", b"x", "IDLETIME", "-ERR syntax error");
        check("0", b"x", "IDLETIME x", "-ERR value is not an integer or out of range");
        check("0", b"x", "IDLETIME -1", "-ERR Invalid IDLETIME value, must be >= 0");
        check("0", b"x", "FREQ 256", "-ERR Invalid FREQ value, must be >= 0 and <= 255");
        check("0", b"x", "FREQ 1 IDLETIME 1", "-ERR syntax error");
        check("x", b"x", "", "-ERR value is not an integer or out of range");
        check("-1", b"x", "", "-ERR Invalid TTL value, must be >= 0");
        check("0", b"x", "", "-ERR DUMP payload version or checksum are wrong");
        check("0", &list, "", "-ERR DUMP payload version or checksum are wrong");
        check("0", &good, "", "+OK");
        check("-1", b"x", "", "-BUSYKEY Target key name already exists.");
        check("-1", b"x", "REPLACE", "-ERR Invalid TTL value, must be >= 0");
        check("0", &good, "replace absttl", "+OK");
        test.engine.debug.skip_checksums.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(restore(&mut test, "0", &list, "REPLACE"), "-ERR Bad data format");
        check_script(&mut test, &[("GET k", "\"v\""), ("DUMP none", "nil")]);
    }

    #[test]
    fn effects_and_events() {
        let check = |ttl: &str, options: &str, effect: &str, events: &[&str]| {
            let mut test = TestEngine::new();
            check_script(&mut test, &[("SET k v", "+OK"), ("SET source v", "+OK")]);
            let payload = payload_of(&mut test, "source");
            test.collect_events("");
            test.collect_effects();
            assert_eq!(restore(&mut test, ttl, &payload, options), "+OK");
            let shown = String::from_utf8_lossy(&payload).into_owned();
            let expected = effect.replace('$', &shown);
            assert_eq!(test.take_effect_lines(), [expected], "{ttl} {options}");
            assert_eq!(test.take_events(), events, "{ttl} {options}");
        };
        let absolute = format!("RESTORE k {} $ REPLACE ABSTTL", START.0 + 100);
        check("100", "REPLACE", &absolute, &["restore k"]);
        check("0", "REPLACE", "RESTORE k 0 $ REPLACE", &["restore k"]);
        check("1900000000000", "ABSTTL REPLACE", "RESTORE k 1900000000000 $ ABSTTL REPLACE", &["restore k"]);
        check("1", "ABSTTL REPLACE", "DEL k", &["del k"]);
    }

    #[test]
    fn an_expired_restore_over_nothing_does_nothing() {
        let mut test = TestEngine::new();
        test.run("SET source v");
        let payload = payload_of(&mut test, "source");
        test.collect_effects();
        assert_eq!(restore(&mut test, "1", &payload, "ABSTTL"), "+OK");
        assert!(test.take_effect_lines().is_empty());
        check_script(&mut test, &[("EXISTS k", "0")]);
    }

    #[test]
    fn idle_time_and_frequency_are_set() {
        let mut test = TestEngine::new();
        test.run("SET source v");
        let payload = payload_of(&mut test, "source");
        restore(&mut test, "0", &payload, "IDLETIME 1000");
        check_script(&mut test, &[("OBJECT IDLETIME k", "1000")]);
        test.configure(|config| config.maxmemory_policy = EvictionPolicy::AllkeysLfu);
        restore(&mut test, "0", &payload, "FREQ 100 REPLACE");
        check_script(&mut test, &[("OBJECT FREQ k", "100")]);
        test.advance_ms(180_000);
        check_script(&mut test, &[("OBJECT FREQ k", "97")]);
    }
}
