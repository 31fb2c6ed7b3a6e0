//! SCAN: through a whole database in small steps, in the order of hashes, so that a cursor is one number
//! whatever happens to the shards in between.

use base::bytes::eq_ignore_case;
use base::glob::{Case, matches};
use base::num::parse_u64_lenient;
use ds::table::ScanPosition;
use resp::reply::{Protocol, Reply};
use store::expire::is_expired;
use store::{EntryRef, Key, Plan, ShardId};

use crate::args::Argv;
use crate::command::{CmdResult, Command, Group, PlanInput, PlanRule, command, flag};
use crate::ctx::Ctx;
use crate::error::CmdError;

pub static TABLE: &[Command] = &[command("scan", -2, Group::Generic, scan)
    .read()
    .flags(flag::TOUCHES_ARBITRARY_KEYS)
    .plan(PlanRule::Custom(plan))
    .since("2.8.0")
    .syntax("cursor [MATCH pattern] [COUNT count] [TYPE type]")
    .tips(&["nondeterministic_output", "request_policy:special"])
    .history(&[("6.0.0", "Added the `TYPE` subcommand.")])
    .docs(
        "Walks through the keys of the database, a few at each call.",
        "O(1) for every call. O(N) for a complete iteration, including enough command calls for the \
         cursor to return back to 0. N is the number of elements inside the collection.",
    )];

/// How SCAN and its kin are told to look.
pub struct ScanOptions<'a> {
    /// `None`: everything matches.
    pub pattern: Option<&'a [u8]>,
    /// Elements to look at, at least 1.
    pub count: usize,
    /// A type's name, known or not; no key is of an unknown one.
    pub kind: Option<&'a [u8]>,
}

impl<'a> ScanOptions<'a> {
    fn parse(args: &Argv<'a>) -> Result<ScanOptions<'a>, CmdError> {
        let mut options = ScanOptions { pattern: None, count: COUNT_DEFAULT, kind: None };
        let mut index = 2;
        while index < args.len() {
            let operand = args.operand(index)?;
            if args.is(index, "count") {
                options.count = parse_count(args.integer(operand)?)?;
            } else if args.is(index, "match") {
                options.pattern = Some(args.at(operand)).filter(|pattern| *pattern != b"*");
            } else if args.is(index, "type") {
                options.kind = Some(args.at(operand));
            } else {
                return Err(CmdError::SYNTAX);
            }
            index += 2;
        }
        Ok(options)
    }

    /// Those of HSCAN and its kin, from argument 3 on. `is_flag` takes the words that only one of them knows.
    pub fn of_elements(
        args: &Argv<'a>,
        mut is_flag: impl FnMut(usize) -> bool,
    ) -> Result<ScanOptions<'a>, CmdError> {
        let mut options = ScanOptions { pattern: None, count: COUNT_DEFAULT, kind: None };
        let mut index = 3;
        while index < args.len() {
            if is_flag(index) {
                index += 1;
                continue;
            }
            let operand = args.operand(index)?;
            if args.is(index, "count") {
                options.count = parse_count(args.integer(operand)?)?;
            } else if args.is(index, "match") {
                options.pattern = Some(args.at(operand)).filter(|pattern| *pattern != b"*");
            } else {
                return Err(CmdError::SYNTAX);
            }
            index += 2;
        }
        Ok(options)
    }

    pub fn matches(&self, name: &[u8]) -> bool {
        self.pattern.is_none_or(|pattern| matches(pattern, name, Case::Sensitive))
    }

    fn admits(&self, entry: EntryRef<'_>) -> bool {
        self.kind.is_none_or(|kind| eq_ignore_case(kind, entry.kind().name().as_bytes()))
    }
}

/// The COUNT operand.
fn parse_count(count: i64) -> Result<usize, CmdError> {
    usize::try_from(count).ok().filter(|&count| count > 0).ok_or(CmdError::SYNTAX)
}

/// A cursor as clients send it back: any number will do. Redis lets C's strtoul read it, for which nothing is
/// 0, and a number with a minus is counted from the end.
pub fn parse_cursor(text: &[u8]) -> Result<u64, CmdError> {
    let (digits, negative) = match text {
        [] => return Ok(0),
        [b'-', digits @ ..] => (digits, true),
        [b'+', digits @ ..] => (digits, false),
        digits => (digits, false),
    };
    let begins_with_digit = digits.first().is_some_and(u8::is_ascii_digit);
    let number = if begins_with_digit { parse_u64_lenient(digits) } else { None };
    let number = number.ok_or(CmdError::fixed("ERR invalid cursor"))?;
    Ok(if negative { number.wrapping_neg() } else { number })
}

/// From the cursor's shard on as many as are needed to see COUNT keys.
fn plan(input: &PlanInput<'_>) -> Plan {
    let (Ok(cursor), Ok(options)) = (parse_cursor(input.argv.at(1)), ScanOptions::parse(input.argv)) else {
        return Plan::None;
    };
    let (store, running) = (&input.engine.store, &input.engine.scripts.running);
    let (shard, _) = ScanPosition::from_cursor(cursor, store.shard_bits());
    store.scan_plan(input.session.db, ShardId(shard as u16), options.count, &|| running.is_busy())
}

fn scan(ctx: &mut Ctx) -> CmdResult {
    let cursor = parse_cursor(ctx.args.at(1))?;
    let args = ctx.args;
    let options = ScanOptions::parse(&args)?;
    let mut page = Page::new(&options, ctx.keys.expiry_now());
    let next = walk(ctx, cursor, &mut page);
    for key in &page.expired {
        // Looking removes it.
        ctx.keys.exists(Key::new(key));
    }
    ctx.reply.array(2);
    // Cursors are below 2^63.
    ctx.reply.bulk_i64(next as i64);
    ctx.reply.array(page.found);
    ctx.reply.raw(&page.names.buf);
    Ok(())
}

/// Visits COUNT keys, or as many as the shards that are held have left; the next cursor.
fn walk(ctx: &mut Ctx, cursor: u64, page: &mut Page<'_>) -> u64 {
    let (db, bits) = (ctx.keys.db, ctx.engine.store.shard_bits());
    let guard = ctx.keys.guard();
    let (mut shard, mut position) = ScanPosition::from_cursor(cursor, bits);
    while (shard as usize) < guard.store().shard_count() {
        let id = ShardId(shard as u16);
        // The plan was made from a count that may have changed since.
        if page.seen >= page.options.count || !guard.holds(id) {
            return position.to_cursor(shard, bits);
        }
        let wanted = page.options.count - page.seen;
        let table = guard.shard(id).db(db).table();
        if let Some(next) = table.scan_from(position, wanted, &mut |entry| page.look(entry)) {
            return next.to_cursor(shard, bits);
        }
        (shard, position) = (shard + 1, ScanPosition::default());
    }
    0
}

/// What one step found.
struct Page<'a> {
    options: &'a ScanOptions<'a>,
    now: base::time::UnixMs,
    seen: usize,
    found: usize,
    /// The names found, as the elements of the reply.
    names: Reply,
    /// Keys whose time has passed, to be removed after the walk.
    expired: Vec<Box<[u8]>>,
}

impl<'a> Page<'a> {
    fn new(options: &'a ScanOptions<'a>, now: base::time::UnixMs) -> Page<'a> {
        let names = Reply::new(Protocol::Resp2);
        Page { options, now, seen: 0, found: 0, names, expired: Vec::new() }
    }

    /// In Redis' order: a key that the pattern excludes is not even checked for expiry.
    fn look(&mut self, entry: EntryRef<'_>) {
        self.seen += 1;
        let name = entry.key();
        if !self.options.matches(name) {
            return;
        }
        if is_expired(entry, self.now) {
            self.expired.push(name.into());
        } else if self.options.admits(entry) {
            self.found += 1;
            self.names.bulk(name);
        }
    }
}

const COUNT_DEFAULT: usize = 10;

#[cfg(test)]
mod tests {
    use crate::testing::{TestEngine, check_script};
    use base::random::Rng;
    use std::collections::{BTreeMap, BTreeSet};

    /// One step: the next cursor and the keys.
    fn step(test: &mut TestEngine, cursor: &str, options: &str) -> (String, Vec<String>) {
        let reply = test.run(&format!("SCAN {cursor} {options}"));
        let parts = reply.as_items().expect("two parts");
        let keys = parts[1].as_items().expect("an array of keys");
        let text = |value: &resp::decode::Value| value.as_text().expect("a text");
        (text(&parts[0]), keys.iter().map(text).collect())
    }

    fn scan_all(test: &mut TestEngine, options: &str) -> Vec<String> {
        let mut found = Vec::new();
        let mut cursor = "0".to_owned();
        loop {
            let (next, keys) = step(test, &cursor, options);
            found.extend(keys);
            if next == "0" {
                return found;
            }
            cursor = next;
        }
    }

    #[test]
    fn texts() {
        check_script(
            &mut TestEngine::new(),
            &[
                ("SCAN x", "-ERR invalid cursor"),
                ("SCAN ''", "[\"0\" []]"),
                ("SCAN -1", "[\"0\" []]"),
                ("SCAN -0", "[\"0\" []]"),
                ("SCAN -", "-ERR invalid cursor"),
                ("SCAN +", "-ERR invalid cursor"),
                ("SCAN -+5", "-ERR invalid cursor"),
                ("SCAN ' 5'", "-ERR invalid cursor"),
                ("SCAN 18446744073709551616", "-ERR invalid cursor"),
                ("SCAN x FOO", "-ERR invalid cursor"),
                ("SCAN 0 COUNT 0", "-ERR syntax error"),
                ("SCAN 0 COUNT x", "-ERR value is not an integer or out of range"),
                ("SCAN 0 MATCH", "-ERR syntax error"),
                ("SCAN 0 FOO bar", "-ERR syntax error"),
                ("SCAN 0", "[\"0\" []]"),
                ("SCAN +00", "[\"0\" []]"),
                ("SCAN 18446744073709551615 COUNT 9223372036854775807", "[\"0\" []]"),
            ],
        );
    }

    #[test]
    fn every_key_comes_once_when_nothing_changes() {
        let mut test = TestEngine::new();
        for number in 0..5000 {
            test.run(&format!("SET key:{number} v"));
        }
        for options in ["", "COUNT 1", "COUNT 7", "COUNT 1000", "COUNT 100000"] {
            let found = scan_all(&mut test, options);
            assert_eq!(found.len(), 5000, "{options}");
            assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), 5000, "{options}");
        }
        let (_, keys) = step(&mut test, "0", "COUNT 2000");
        assert!((1800..=2300).contains(&keys.len()), "a step crosses shards: {}", keys.len());
    }

    #[test]
    fn filters() {
        let mut test = TestEngine::new();
        check_script(&mut test, &[("SET a1 v", "+OK"), ("HSET a2 f v", "1"), ("SET b v PX 5", "+OK")]);
        let mut check = |options: &str, expected: &[&str]| {
            let mut found = scan_all(&mut test, options);
            found.sort();
            assert_eq!(found, expected, "{options}");
        };
        check("MATCH *", &["a1", "a2", "b"]);
        check("MATCH a* COUNT 100", &["a1", "a2"]);
        check("TYPE string", &["a1", "b"]);
        check("type HASH match a*", &["a2"]);
        check("TYPE no-such-type", &[]);
        test.advance_ms(5);
        assert_eq!(scan_all(&mut test, "MATCH a*").len(), 2);
        check_script(&mut test, &[("DBSIZE", "3")]);
        assert_eq!(scan_all(&mut test, "TYPE hash"), ["a2"]);
        check_script(&mut test, &[("DBSIZE", "2")]);
    }

    #[test]
    fn what_is_there_throughout_is_found_whatever_else_happens() {
        for seed in 0..20 {
            let mut rng = Rng::from_seed(seed);
            let mut test = TestEngine::new();
            let kept: BTreeSet<String> =
                (0..rng.below(3000)).map(|number| format!("kept:{number}")).collect();
            kept.iter().for_each(|key| {
                test.run(&format!("SET {key} v"));
            });
            let mut others = BTreeMap::new();
            let mut found = BTreeSet::new();
            let mut cursor = "0".to_owned();
            // Grows by splits in the first steps, then shrinks by merges.
            for round in 0.. {
                let (next, keys) = step(&mut test, &cursor, &format!("COUNT {}", 1 + rng.below(200)));
                found.extend(keys);
                if next == "0" {
                    break;
                }
                cursor = next;
                change(&mut test, &mut rng, &mut others, round < 20);
            }
            assert!(kept.is_subset(&found), "seed {seed}");
        }
    }

    fn change(test: &mut TestEngine, rng: &mut Rng, others: &mut BTreeMap<u64, ()>, growing: bool) {
        for _ in 0..rng.below(500) {
            let number = rng.below(20_000);
            if growing {
                test.run(&format!("SET other:{number} v"));
                others.insert(number, ());
            } else if let Some((&number, ())) = others.range(number..).next() {
                test.run(&format!("DEL other:{number}"));
                others.remove(&number);
            }
        }
    }

    #[test]
    fn a_scan_in_a_transaction_keeps_to_the_shards_it_locked() {
        let mut test = TestEngine::new();
        for number in 0..300 {
            test.run(&format!("SET key:{number} v"));
        }
        check_script(
            &mut test,
            &[
                ("MULTI", "+OK"),
                ("SCAN 0 COUNT 5", "+QUEUED"),
                ("FLUSHDB", "+QUEUED"),
                ("SCAN 0 COUNT 5", "+QUEUED"),
                ("SCAN x", "+QUEUED"),
            ],
        );
        let replies = test.run("EXEC");
        let replies = replies.as_items().expect("four replies");
        assert!(
            replies[0].as_items().is_some_and(|parts| parts[0].as_text().is_some_and(|next| next != "0"))
        );
        assert_eq!(crate::testing::show(&replies[2]), "[\"0\" []]");
    }
}
