//! LCS: the longest common subsequence of two strings, and where it lies in both. It holds one bit for each
//! pair of bytes, and refuses where Redis does, which holds 32.

use resp::reply::Reply;
use store::Text;

use crate::command::CmdResult;
use crate::ctx::Ctx;
use crate::error::CmdError;

#[derive(Default)]
struct Options {
    len: bool,
    index: bool,
    with_match_len: bool,
    min_match_len: usize,
}

/// A run of equal bytes: where it begins in each string, and its length.
struct Match {
    a: usize,
    b: usize,
    len: usize,
}

pub(super) fn lcs(ctx: &mut Ctx) -> CmdResult {
    let (a, b) = (string(ctx, 1)?, string(ctx, 2)?);
    let options = options(ctx)?;
    check_size(a.len(), b.len(), ctx.config.proto_max_bulk_len)?;
    let table = Table::of(&a, &b, options.index || !options.len);
    if options.index {
        reply_matches(ctx.reply, &options, &table.matches(&a, &b), table.len);
    } else if options.len {
        ctx.reply.integer(table.len as i64);
    } else {
        let mut common = Vec::with_capacity(table.len);
        for run in table.matches(&a, &b).iter().rev() {
            common.extend_from_slice(&a[run.a..run.a + run.len]);
        }
        ctx.reply.bulk(&common);
    }
    Ok(())
}

fn string(ctx: &mut Ctx, index: usize) -> Result<Vec<u8>, CmdError> {
    let key = ctx.key(index);
    match ctx.keys.read::<Text>(key) {
        Ok(text) => Ok(text.map_or(Vec::new(), |text| text.bytes().into_owned())),
        Err(_) => Err(CmdError::new("ERR The specified keys must contain string values")),
    }
}

fn options(ctx: &Ctx) -> Result<Options, CmdError> {
    let (args, mut options, mut index) = (&ctx.args, Options::default(), 3);
    while index < args.len() {
        match () {
            () if args.is(index, "idx") => options.index = true,
            () if args.is(index, "len") => options.len = true,
            () if args.is(index, "withmatchlen") => options.with_match_len = true,
            () if args.is(index, "minmatchlen") && index < args.last() => {
                index += 1;
                options.min_match_len = args.integer(index)?.max(0) as usize;
            }
            () => return Err(CmdError::SYNTAX),
        }
        index += 1;
    }
    if options.len && options.index {
        return Err(CmdError::new("ERR If you want both the length and indexes, please just use IDX."));
    }
    Ok(options)
}

/// Redis' table has four bytes for each pair of bytes, and a row and a column more.
fn check_size(a: usize, b: usize, limit: u64) -> CmdResult {
    if a.max(b) as u64 >= u64::from(u32::MAX) - 1 {
        return Err(CmdError::new("ERR String too long for LCS"));
    }
    if (a as u128 + 1) * (b as u128 + 1) * 4 > u128::from(limit) {
        return Err(CmdError::new(
            "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len",
        ));
    }
    Ok(())
}

/// For each pair of prefixes, where the way back to the beginning goes on if their last bytes differ.
struct Table {
    /// A bit for each pair, set if leaving out the last byte of `a` keeps more than leaving out that of `b`.
    shorten_a: Vec<u64>,
    width: usize,
    /// Bytes of the longest common subsequence.
    len: usize,
}

impl Table {
    /// `with_way` false: only the length is wanted.
    fn of(a: &[u8], b: &[u8], with_way: bool) -> Table {
        let words = if with_way { (a.len() * b.len()).div_ceil(64) } else { 0 };
        let mut table = Table { shorten_a: vec![0; words], width: b.len(), len: 0 };
        let mut above = vec![0u32; b.len() + 1];
        for (row, byte) in a.iter().enumerate() {
            table.add_row(row, *byte, b, &mut above);
        }
        table.len = above[b.len()] as usize;
        table
    }

    /// `lengths` holds the row before, and then this one: index 0 stands for no byte of `b`.
    fn add_row(&mut self, row: usize, byte: u8, b: &[u8], lengths: &mut [u32]) {
        let (mut diagonal, mut left) = (0, 0);
        for (column, other) in b.iter().enumerate() {
            let above = lengths[column + 1];
            let length = if byte == *other { diagonal + 1 } else { above.max(left) };
            if above > left && !self.shorten_a.is_empty() {
                let bit = row * self.width + column;
                self.shorten_a[bit / 64] |= 1 << (bit % 64);
            }
            lengths[column + 1] = length;
            (diagonal, left) = (above, length);
        }
    }

    fn shortens_a(&self, row: usize, column: usize) -> bool {
        let bit = row * self.width + column;
        self.shorten_a[bit / 64] >> (bit % 64) & 1 == 1
    }

    /// The runs of equal bytes that make up the subsequence, from the last to the first.
    fn matches(&self, a: &[u8], b: &[u8]) -> Vec<Match> {
        let (mut i, mut j) = (a.len(), b.len());
        let mut runs: Vec<Match> = Vec::new();
        let mut open = false;
        while i > 0 && j > 0 {
            if a[i - 1] != b[j - 1] {
                open = false;
                if self.shortens_a(i - 1, j - 1) {
                    i -= 1
                } else {
                    j -= 1
                }
                continue;
            }
            (i, j) = (i - 1, j - 1);
            match runs.last_mut() {
                Some(run) if open => *run = Match { a: i, b: j, len: run.len + 1 },
                _ => runs.push(Match { a: i, b: j, len: 1 }),
            }
            open = true;
        }
        runs
    }
}

fn reply_matches(reply: &mut Reply, options: &Options, runs: &[Match], len: usize) {
    let wanted = || runs.iter().filter(|run| run.len >= options.min_match_len);
    reply.map(2);
    reply.bulk(b"matches");
    reply.array(wanted().count());
    for run in wanted() {
        reply.array(2 + usize::from(options.with_match_len));
        for start in [run.a, run.b] {
            reply.array(2);
            reply.integer(start as i64);
            reply.integer((start + run.len - 1) as i64);
        }
        if options.with_match_len {
            reply.integer(run.len as i64);
        }
    }
    reply.bulk(b"len");
    reply.integer(len as i64);
}
