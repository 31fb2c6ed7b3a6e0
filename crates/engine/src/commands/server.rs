//! INFO, TIME, ROLE and LOLWUT: what the server says of itself.

use store::Plan;

use crate::acl_categories::category;
use crate::command::{CmdResult, Command, Group, PlanInput, PlanRule, command, flag};
use crate::ctx::Ctx;
use crate::info::{InfoInput, keyspace_totals, render, selected};
use crate::{ONEFOLD_VERSION, REDIS_VERSION};

pub static TABLE: &[Command] = &[
    command("info", -1, Group::Server, info)
        .categories(category::DANGEROUS)
        .flags(flag::LOADING | flag::STALE)
        .categories(category::DANGEROUS)
        .plan(PlanRule::Custom(info_plan))
        .syntax("[section [section ...]]")
        .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"])
        .history(&[("7.0.0", "Added support for taking multiple section arguments.")])
        .docs("Reports the server's state and statistics.", "O(1)"),
    command("time", 1, Group::Server, time)
        .flags(flag::LOADING | flag::STALE)
        .fast()
        .since("2.6.0")
        .tips(&["nondeterministic_output"])
        .docs("Returns the server's time, in seconds and microseconds.", "O(1)"),
    command("role", 1, Group::Server, role)
        .categories(category::ADMIN | category::DANGEROUS)
        .flags(flag::NO_SCRIPT | flag::LOADING | flag::STALE)
        .fast()
        .categories(category::ADMIN | category::DANGEROUS)
        .since("2.8.12")
        .docs("Tells whether the server is a primary or a replica, and of what.", "O(1)"),
    command("lolwut", -1, Group::Server, lolwut)
        .read()
        .fast()
        .since("5.0.0")
        .syntax("[VERSION version]")
        .docs("Draws something, and prints the version.", ""),
];

/// Keys are counted under all locks; most sections need none.
fn info_plan(input: &PlanInput<'_>) -> Plan {
    if selected(input.argv).any(|section| section.counts_keys) { Plan::All } else { Plan::None }
}

fn info(ctx: &mut Ctx) -> CmdResult {
    let now = ctx.now();
    let guard = ctx.keys.guard();
    let keyspace = match guard.holds_all() {
        true => keyspace_totals(guard, now, &mut ctx.worker.rng),
        false => Vec::new(),
    };
    let input = InfoInput::new(ctx.engine, ctx.config, now, keyspace);
    ctx.reply.verbatim("txt", render(&input, selected(&ctx.args)).as_bytes());
    Ok(())
}

fn time(ctx: &mut Ctx) -> CmdResult {
    let clock_us = || ctx.engine.host.unix_us();
    let us = match ctx.session.in_script {
        true => *ctx.session.script_time_us.get_or_insert_with(clock_us),
        false => clock_us(),
    };
    ctx.reply.array(2);
    ctx.reply.bulk_i64(us.div_euclid(1_000_000));
    ctx.reply.bulk_i64(us.rem_euclid(1_000_000));
    Ok(())
}

fn role(ctx: &mut Ctx) -> CmdResult {
    ctx.reply.array(3);
    ctx.reply.bulk(b"master");
    ctx.reply.integer(ctx.engine.log.offset().0 as i64);
    ctx.reply.array(0);
    Ok(())
}

fn lolwut(ctx: &mut Ctx) -> CmdResult {
    if ctx.args.len() >= 3 && ctx.args.is(1, "version") {
        ctx.args.integer(2)?;
    }
    let folds = (FOLDS_MIN + ctx.worker.rng.below(FOLDS_MAX - FOLDS_MIN + 1)) as u32;
    let mut text = draw(&folded_strip(folds));
    text.push_str(&format!("\nA strip of paper, folded {folds} times, opened to right angles.\n"));
    text.push_str(&format!("Onefold ver. {ONEFOLD_VERSION}\nRedis ver. {REDIS_VERSION}\n"));
    ctx.reply.verbatim("txt", text.as_bytes());
    Ok(())
}

const FOLDS_MIN: u64 = 5;
/// More would not fit a terminal.
const FOLDS_MAX: u64 = 9;

/// The corners that the strip goes through. Fold `n` turns left or right by the bit above the lowest one set
/// in `n`: the dragon curve.
fn folded_strip(folds: u32) -> Vec<(i32, i32)> {
    let (mut at, mut step) = ((0, 0), (1, 0));
    let mut corners = vec![at];
    for fold in 1..=1u32 << folds {
        at = (at.0 + step.0, at.1 + step.1);
        corners.push(at);
        let lowest = fold & fold.wrapping_neg();
        let left = fold & (lowest << 1) != 0;
        step = if left { (step.1, -step.0) } else { (-step.1, step.0) };
    }
    corners
}

/// Edges between corners as lines of `_` and `|`, two columns for a step to the side.
fn draw(corners: &[(i32, i32)]) -> String {
    let left = corners.iter().map(|corner| corner.0).min().unwrap_or(0);
    let top = corners.iter().map(|corner| corner.1).min().unwrap_or(0);
    let width = corners.iter().map(|corner| corner.0 - left).max().unwrap_or(0) as usize * 2 + 1;
    let height = corners.iter().map(|corner| corner.1 - top).max().unwrap_or(0) as usize + 1;
    let mut rows = vec![vec![' '; width]; height];
    for edge in corners.windows(2) {
        let (x, y) = (edge[0].0.min(edge[1].0) - left, edge[0].1.max(edge[1].1) - top);
        let across = edge[0].1 == edge[1].1;
        let (column, mark) = if across { (x * 2 + 1, '_') } else { (x * 2, '|') };
        rows[y as usize][column as usize] = mark;
    }
    rows.iter().map(|row| row.iter().collect::<String>().trim_end().to_owned() + "\n").collect()
}

#[cfg(test)]
mod tests {
    use resp::decode::Value;

    use crate::testing::{TestEngine, check_script};

    #[test]
    fn the_server_answers_for_itself() {
        check_script(
            &mut TestEngine::new(),
            &[
                ("TIME", "[\"1700000000\" \"0\"]"),
                ("ROLE", "[\"master\" 0 []]"),
                ("LOLWUT VERSION x", "-ERR value is not an integer or out of range"),
            ],
        );
    }

    #[test]
    fn lolwut_fits_a_terminal_and_ends_with_the_version() {
        let mut test = TestEngine::new();
        for line in ["LOLWUT", "LOLWUT VERSION 5", "LOLWUT 1 2 3"] {
            let Value::Bulk(Some(text)) = test.run(line) else { panic!("a text") };
            let text = String::from_utf8(text).expect("in ASCII");
            assert!(text.ends_with("Redis ver. 7.2.4\n"), "{text}");
            assert!(text.lines().all(|line| line.len() < 80) && text.lines().count() > 5, "{text}");
        }
    }
}
