//! Lists: elements in order, pushed and popped at either end. Who waits for an element is the business of
//! `list_blocking`.

use std::ops::{ControlFlow, Range};

use base::num::parse_i64;
use ds::list::{Direction, End, ListRef};
use ds::listpack::{Element, Needle};
use resp::reply::Reply;
use store::list::ListMut;
use store::{Key, List};

use crate::args::Argv;
use crate::command::{CmdResult, Command, Group, Run, command};
use crate::ctx::Ctx;
use crate::elements::reply_element;
use crate::error::CmdError;
use crate::keys::{Event, Keys};
use crate::keyspec::{KeySpec, flag as key};
use crate::long_reply::{is_long, share_of};
use crate::notify::class;

pub(super) const fn row(name: &'static str, arity: i32, run: Run) -> Command {
    command(name, arity, Group::List, run)
}

pub static TABLE: &[Command] = &[
    row("lindex", 3, lindex).read().keys(&[KeySpec::one(1, key::RO | key::ACCESS)]).syntax("key index").docs(
        "Returns the element at an index; the last one is at -1.",
        "O(N) where N is the number of elements to traverse to get to the element at index. This makes \
             asking for the first or the last element of the list O(1).",
    ),
    row("linsert", 5, linsert)
        .write()
        .deny_oom()
        .keys(&[KeySpec::one(1, key::RW | key::INSERT)])
        .since("2.2.0")
        .syntax("key <BEFORE | AFTER> pivot element")
        .docs(
            "Inserts an element next to the first one that equals the pivot.",
            "O(N) where N is the number of elements to traverse before seeing the value pivot. This means \
             that inserting somewhere on the left end on the list (head) can be considered O(1) and \
             inserting somewhere on the right end (tail) is O(N).",
        ),
    row("llen", 2, llen)
        .read()
        .fast()
        .keys(&[KeySpec::one(1, key::RO)])
        .syntax("key")
        .docs("Returns how many elements a list has.", "O(1)"),
    row("lmove", 5, lmove)
        .write()
        .deny_oom()
        .keys(&[SOURCE, DESTINATION])
        .since("6.2.0")
        .syntax("source destination <LEFT | RIGHT> <LEFT | RIGHT>")
        .docs("Moves an element from an end of a list to an end of another and returns it.", "O(1)"),
    row("lmovem", -5, lmovem)
        .write()
        .deny_oom()
        .keys(&[SOURCE, DESTINATION])
        .since("8.10.0")
        .syntax(
            "source destination <LEFT | RIGHT> <LEFT | RIGHT> [<COUNT count | EXACTLY exactly=integer> \
             <OBO | BULK>]",
        )
        .docs(
            "Moves elements from an end of a list to an end of another and returns them.",
            "O(N) where N is the number of elements moved.",
        ),
    row("lmpop", -4, lmpop)
        .write()
        .keys(&[KeySpec::counted(1, key::RW | key::ACCESS | key::DELETE)])
        .since("7.0.0")
        .syntax("numkeys key [key ...] <LEFT | RIGHT> [COUNT count]")
        .docs(
            "Removes elements from an end of the first list that there is, and returns them with its key.",
            "O(N+M) where N is the number of provided keys and M is the number of elements returned.",
        ),
    row("lpop", -2, lpop)
        .write()
        .fast()
        .keys(&[KeySpec::one(1, key::RW | key::ACCESS | key::DELETE)])
        .history(&[("6.2.0", "Added the `count` argument.")])
        .syntax("key [count]")
        .docs("Removes the first elements of a list and returns them.", POPPED),
    row("lpos", -3, lpos)
        .read()
        .keys(&[KeySpec::one(1, key::RO | key::ACCESS)])
        .since("6.0.6")
        .syntax("key element [RANK rank] [COUNT num-matches] [MAXLEN len]")
        .docs(
            "Returns the indexes of elements that equal a given one.",
            "O(N) where N is the number of elements in the list, for the average case. When searching for \
             elements near the head or the tail of the list, or when the MAXLEN option is provided, the \
             command may run in constant time.",
        ),
    row("lpush", -3, lpush)
        .write()
        .deny_oom()
        .fast()
        .keys(&[KeySpec::one(1, key::RW | key::INSERT)])
        .history(&[("2.4.0", "Accepts multiple `element` arguments.")])
        .syntax("key element [element ...]")
        .docs("Adds elements before the first one; makes the list if the key does not exist.", PUSHED),
    row("lpushx", -3, lpushx)
        .write()
        .deny_oom()
        .fast()
        .keys(&[KeySpec::one(1, key::RW | key::INSERT)])
        .since("2.2.0")
        .history(&[("4.0.0", "Accepts multiple `element` arguments.")])
        .syntax("key element [element ...]")
        .docs("Adds elements before the first one of a list that exists.", PUSHED),
    row("lrange", 4, lrange)
        .read()
        .keys(&[KeySpec::one(1, key::RO | key::ACCESS)])
        .syntax("key start stop")
        .docs(
            "Returns the elements from one index to another.",
            "O(S+N) where S is the distance of start offset from HEAD for small lists, from nearest end \
             (HEAD or TAIL) for large lists; and N is the number of elements in the specified range.",
        ),
    row("lrem", 4, lrem)
        .write()
        .keys(&[KeySpec::one(1, key::RW | key::DELETE)])
        .syntax("key count element")
        .docs(
            "Removes elements that equal a given one: the first, the last, or all of them.",
            "O(N+M) where N is the length of the list and M is the number of elements removed.",
        ),
    row("lset", 4, lset)
        .write()
        .deny_oom()
        .keys(&[KeySpec::one(1, key::RW | key::UPDATE)])
        .syntax("key index element")
        .docs(
            "Replaces the element at an index.",
            "O(N) where N is the length of the list. Setting either the first or the last element of the \
             list is O(1).",
        ),
    row("ltrim", 4, ltrim)
        .write()
        .keys(&[KeySpec::one(1, key::RW | key::DELETE)])
        .syntax("key start stop")
        .docs(
            "Removes the elements outside a range of indexes.",
            "O(N) where N is the number of elements to be removed by the operation.",
        ),
    row("rpop", -2, rpop)
        .write()
        .fast()
        .keys(&[KeySpec::one(1, key::RW | key::ACCESS | key::DELETE)])
        .history(&[("6.2.0", "Added the `count` argument.")])
        .syntax("key [count]")
        .docs("Removes the last elements of a list and returns them.", POPPED),
    row("rpoplpush", 3, rpoplpush)
        .write()
        .deny_oom()
        .keys(&[SOURCE, DESTINATION])
        .since("1.2.0")
        .deprecated("6.2.0", "`LMOVE` with the `RIGHT` and `LEFT` arguments")
        .syntax("source destination")
        .docs("Moves the last element of a list before the first of another and returns it.", "O(1)"),
    row("rpush", -3, rpush)
        .write()
        .deny_oom()
        .fast()
        .keys(&[KeySpec::one(1, key::RW | key::INSERT)])
        .history(&[("2.4.0", "Accepts multiple `element` arguments.")])
        .syntax("key element [element ...]")
        .docs("Adds elements behind the last one; makes the list if the key does not exist.", PUSHED),
    row("rpushx", -3, rpushx)
        .write()
        .deny_oom()
        .fast()
        .keys(&[KeySpec::one(1, key::RW | key::INSERT)])
        .since("2.2.0")
        .history(&[("4.0.0", "Accepts multiple `element` arguments.")])
        .syntax("key element [element ...]")
        .docs("Adds elements behind the last one of a list that exists.", PUSHED),
];

pub(super) const SOURCE: KeySpec = KeySpec::one(1, key::RW | key::ACCESS | key::DELETE);
pub(super) const DESTINATION: KeySpec = KeySpec::one(2, key::RW | key::INSERT);

const PUSHED: &str = "O(1) for each element added, so O(N) to add N elements when the command is called with \
                      multiple arguments.";
const POPPED: &str = "O(N) where N is the number of elements returned";

const LINSERT: Event = (class::LIST, "linsert");
const LREM: Event = (class::LIST, "lrem");
const LSET: Event = (class::LIST, "lset");
const LTRIM: Event = (class::LIST, "ltrim");
const DEL: Event = (class::GENERIC, "del");

const fn pushed(end: End) -> Event {
    match end {
        End::Front => (class::LIST, "lpush"),
        End::Back => (class::LIST, "rpush"),
    }
}

const fn popped(end: End) -> Event {
    match end {
        End::Front => (class::LIST, "lpop"),
        End::Back => (class::LIST, "rpop"),
    }
}

fn lpush(ctx: &mut Ctx) -> CmdResult {
    push(ctx, End::Front)
}

fn rpush(ctx: &mut Ctx) -> CmdResult {
    push(ctx, End::Back)
}

fn push(ctx: &mut Ctx, end: End) -> CmdResult {
    let key = ctx.key(1);
    let mut list = ctx.keys.write_or_create::<List>(key)?;
    let len = list.push_all(end, ctx.args.from(2));
    announce_pushed(ctx, key, end, len);
    Ok(())
}

fn lpushx(ctx: &mut Ctx) -> CmdResult {
    push_if_there(ctx, End::Front)
}

fn rpushx(ctx: &mut Ctx) -> CmdResult {
    push_if_there(ctx, End::Back)
}

fn push_if_there(ctx: &mut Ctx, end: End) -> CmdResult {
    let key = ctx.key(1);
    let Some(mut list) = ctx.keys.write::<List>(key)? else {
        ctx.reply.integer(0);
        return Ok(());
    };
    let len = list.push_all(end, ctx.args.from(2));
    announce_pushed(ctx, key, end, len);
    Ok(())
}

fn announce_pushed(ctx: &mut Ctx, key: Key<'_>, end: End, len: usize) {
    ctx.keys.changed_by(key, pushed(end), ctx.args.len() as u64 - 2);
    ctx.reply.integer(len as i64);
}

fn lpop(ctx: &mut Ctx) -> CmdResult {
    pop(ctx, End::Front)
}

fn rpop(ctx: &mut Ctx) -> CmdResult {
    pop(ctx, End::Back)
}

fn pop(ctx: &mut Ctx, end: End) -> CmdResult {
    if ctx.args.len() > 3 {
        return Err(CmdError::arity(ctx.name()));
    }
    let counted = ctx.args.len() == 3;
    let count = if counted { at_least(&ctx.args, 2, 0, NOT_POSITIVE)? } else { 1 };
    let key = ctx.key(1);
    let Some(mut list) = ctx.keys.write::<List>(key)? else {
        if counted {
            ctx.reply.null_array();
        } else {
            ctx.reply.null();
        }
        return Ok(());
    };
    let count = count.min(list.len());
    if counted {
        ctx.reply.array(count);
    }
    if count > 0 {
        take(&mut list, end, count, |element| reply_element(ctx.reply, element));
        let emptied = list.is_empty();
        announce_popped(&mut ctx.keys, key, end, count, emptied);
    }
    Ok(())
}

/// Shows `count` elements, which are there, from that end inwards, and removes them.
fn take(list: &mut ListMut<'_>, end: End, count: usize, mut show: impl FnMut(Element<'_>)) {
    let len = list.len();
    let mut visit = |element: Element<'_>| {
        show(element);
        ControlFlow::Continue(())
    };
    let _ = match end {
        End::Front => list.view().walk(0, count, Direction::Forward, &mut visit),
        End::Back => list.view().walk(len - 1, count, Direction::Backward, &mut visit),
    };
    list.remove(if end == End::Front { 0 } else { len - count }, count);
}

/// Elements were removed; a list that lost its last one goes.
fn announce_popped(keys: &mut Keys<'_, '_>, key: Key<'_>, end: End, count: usize, emptied: bool) {
    keys.changed_by(key, popped(end), count as u64);
    if emptied {
        remove_emptied(keys, key);
    }
}

fn remove_emptied(keys: &mut Keys<'_, '_>, key: Key<'_>) {
    keys.delete(key);
    keys.event(key, DEL);
}

fn lmpop(ctx: &mut Ctx) -> CmdResult {
    let request = PopRequest::parse(&ctx.args, 1)?;
    if !request.try_serve(ctx)? {
        ctx.reply.null_array();
    }
    Ok(())
}

/// What LMPOP asks for, and what waits for an element.
pub(super) struct PopRequest {
    /// Where the keys stand among the arguments.
    pub keys: Range<usize>,
    pub end: End,
    /// None: one, which is not in an array.
    pub count: Option<usize>,
}

impl PopRequest {
    /// From the number of keys on, which stands at `at`.
    pub fn parse(args: &Argv<'_>, at: usize) -> Result<PopRequest, CmdError> {
        let key_count = at_least(args, at, 1, "ERR numkeys should be greater than 0")?;
        let keys = at + 1..(at + 1).saturating_add(key_count);
        if keys.end >= args.len() {
            return Err(CmdError::SYNTAX);
        }
        let end = end_at(args, keys.end)?;
        let (mut count, mut at) = (None, keys.end + 1);
        while at < args.len() {
            if count.is_some() || !args.is(at, "count") {
                return Err(CmdError::SYNTAX);
            }
            count = Some(at_least(args, args.operand(at)?, 1, NO_COUNT)?);
            at += 2;
        }
        Ok(PopRequest { keys, end, count: Some(count.unwrap_or(1)) })
    }

    /// Pops from the first list that there is; false if there is none. One who has waited passes over keys
    /// that have become something else meanwhile.
    pub fn try_serve(&self, ctx: &mut Ctx) -> Result<bool, CmdError> {
        for index in self.keys.clone() {
            let key = ctx.key(index);
            if !ctx.holds(key) {
                continue;
            }
            let mut list = match ctx.keys.write::<List>(key) {
                Ok(Some(list)) => list,
                Ok(None) => continue,
                Err(_) if ctx.session.serving => continue,
                Err(error) => return Err(error),
            };
            let count = self.count.unwrap_or(1).min(list.len());
            ctx.reply.array(2);
            ctx.reply.bulk(key.bytes);
            if self.count.is_some() {
                ctx.reply.array(count);
            }
            take(&mut list, self.end, count, |element| reply_element(ctx.reply, element));
            let emptied = list.is_empty();
            announce_popped(&mut ctx.keys, key, self.end, count, emptied);
            self.name_effect(&mut ctx.keys, key, count);
            return Ok(true);
        }
        Ok(false)
    }

    fn name_effect(&self, keys: &mut Keys<'_, '_>, key: Key<'_>, count: usize) {
        let name: &[u8] = if self.end == End::Front { b"LPOP" } else { b"RPOP" };
        match self.count {
            None => keys.effect(&[name, key.bytes]),
            Some(_) => keys.effect(&[name, key.bytes, itoa::Buffer::new().format(count).as_bytes()]),
        }
    }
}

fn lmove(ctx: &mut Ctx) -> CmdResult {
    let (from, to) = (end_at(&ctx.args, 3)?, end_at(&ctx.args, 4)?);
    reply_moved_one(ctx, from, to)
}

fn rpoplpush(ctx: &mut Ctx) -> CmdResult {
    reply_moved_one(ctx, End::Back, End::Front)
}

fn reply_moved_one(ctx: &mut Ctx, from: End, to: End) -> CmdResult {
    if !MoveRequest::of_one(from, to).try_serve(ctx)? {
        ctx.reply.null();
    }
    Ok(())
}

fn lmovem(ctx: &mut Ctx) -> CmdResult {
    let request = MoveRequest::parse(&ctx.args, 5)?;
    if !request.try_serve(ctx)? {
        match request.count {
            MoveCount::Exactly(_) => ctx.reply.null_array(),
            MoveCount::UpTo(_) => ctx.reply.array(0),
        }
    }
    Ok(())
}

/// What LMOVE and LMOVEM ask for. The keys are the first two arguments.
pub(super) struct MoveRequest {
    from: End,
    to: End,
    count: MoveCount,
    order: MoveOrder,
    reply: MoveReply,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum MoveCount {
    UpTo(usize),
    Exactly(usize),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum MoveReply {
    /// The element by itself.
    Element,
    /// The elements as they lie in the destination.
    Elements,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum MoveOrder {
    /// Each is pushed by itself, the first removed one first.
    OneByOne,
    /// They stay in the order they have.
    Kept,
}

impl MoveRequest {
    pub fn of_one(from: End, to: End) -> MoveRequest {
        let (count, order) = (MoveCount::UpTo(1), MoveOrder::OneByOne);
        MoveRequest { from, to, count, order, reply: MoveReply::Element }
    }

    /// The ends, and from `at` on how many and in what order.
    pub fn parse(args: &Argv<'_>, at: usize) -> Result<MoveRequest, CmdError> {
        let (from, to) = (end_at(args, 3)?, end_at(args, 4)?);
        let one = MoveRequest { reply: MoveReply::Elements, ..MoveRequest::of_one(from, to) };
        if at == args.len() {
            return Ok(one);
        }
        if at + 3 != args.len() {
            return Err(CmdError::SYNTAX);
        }
        let number = || at_least(args, at + 1, 1, NO_COUNT);
        let count = match () {
            () if args.is(at, "count") => MoveCount::UpTo(number()?),
            () if args.is(at, "exactly") => MoveCount::Exactly(number()?),
            () => return Err(CmdError::SYNTAX),
        };
        let order = match () {
            () if args.is(at + 2, "obo") => MoveOrder::OneByOne,
            () if args.is(at + 2, "bulk") => MoveOrder::Kept,
            () => return Err(CmdError::SYNTAX),
        };
        Ok(MoveRequest { count, order, ..one })
    }

    /// Moves the elements and replies with them; false, and nothing happens, if there are not enough.
    pub fn try_serve(&self, ctx: &mut Ctx) -> Result<bool, CmdError> {
        let (source, destination) = (ctx.key(1), ctx.key(2));
        let len = match ctx.keys.peek_as::<List>(source) {
            Ok(list) => list.map_or(0, ListRef::len),
            // One who has waited goes on until there is a list again.
            Err(_) if ctx.session.serving => 0,
            Err(error) => return Err(error),
        };
        if len == 0 {
            return Ok(false);
        }
        ctx.keys.peek_as::<List>(destination)?;
        let count = match self.count {
            MoveCount::UpTo(count) => count.min(len),
            MoveCount::Exactly(count) if count <= len => count,
            MoveCount::Exactly(_) => return Ok(false),
        };
        let mut moved = Vec::with_capacity(count);
        if let Some(mut list) = ctx.keys.write::<List>(source)? {
            take(&mut list, self.from, count, |element| moved.push(element.to_vec()));
        }
        if self.order == MoveOrder::Kept && self.from == self.to {
            moved.reverse();
        }
        // The source stays for now, even without elements: it may be the destination.
        ctx.keys.write_or_create::<List>(destination)?.push_all(self.to, moved.iter().map(Vec::as_slice));
        ctx.keys.changed_by(destination, pushed(self.to), 0);
        let emptied = ctx.keys.peek_as::<List>(source)?.is_some_and(ListRef::is_empty);
        announce_popped(&mut ctx.keys, source, self.from, count, emptied);
        self.write_reply(ctx.reply, &moved);
        Ok(true)
    }

    /// Elements in the order in which they were pushed.
    fn write_reply(&self, reply: &mut Reply, moved: &[Vec<u8>]) {
        if self.reply == MoveReply::Elements {
            reply.array(moved.len());
        }
        match self.to {
            End::Front => moved.iter().rev().for_each(|element| reply.bulk(element)),
            End::Back => moved.iter().for_each(|element| reply.bulk(element)),
        }
    }
}

fn llen(ctx: &mut Ctx) -> CmdResult {
    let key = ctx.key(1);
    let len = ctx.keys.read::<List>(key)?.map_or(0, ListRef::len);
    ctx.reply.integer(len as i64);
    Ok(())
}

fn lindex(ctx: &mut Ctx) -> CmdResult {
    let key = ctx.key(1);
    let Some(list) = ctx.keys.read::<List>(key)? else {
        ctx.reply.null();
        return Ok(());
    };
    let index = from_front(ctx.args.integer(2)?, list.len());
    let shown = index.and_then(|index| list.get(index, |element| reply_element(ctx.reply, element)));
    if shown.is_none() {
        ctx.reply.null();
    }
    Ok(())
}

fn lrange(ctx: &mut Ctx) -> CmdResult {
    let (start, stop) = (ctx.args.integer(2)?, ctx.args.integer(3)?);
    let key = ctx.key(1);
    let Some(list) = ctx.keys.read::<List>(key)? else {
        ctx.reply.array(0);
        return Ok(());
    };
    let range = range(start, stop, list.len());
    let reply = &mut *ctx.reply;
    reply.array(range.len());
    if let ListRef::Nodes(nodes) = list
        && is_long(ctx.session, share_of(nodes, range.len()))
    {
        let len = share_of(nodes, range.len());
        let reading = nodes.read(range.start, range.len());
        ctx.reply_list(reading, len);
        return Ok(());
    }
    let _ = list.walk(range.start, range.len(), Direction::Forward, &mut |element| {
        reply_element(reply, element);
        ControlFlow::Continue(())
    });
    Ok(())
}

fn ltrim(ctx: &mut Ctx) -> CmdResult {
    let (start, stop) = (ctx.args.integer(2)?, ctx.args.integer(3)?);
    let key = ctx.key(1);
    if let Some(mut list) = ctx.keys.write::<List>(key)? {
        let len = list.len();
        let kept = range(start, stop, len);
        if kept.end < len {
            list.remove(kept.end, len - kept.end);
        }
        if kept.start > 0 {
            list.remove(0, kept.start);
        }
        // For those who watch the key it has changed even if nothing was removed.
        ctx.keys.changed_by(key, LTRIM, (len - kept.len()) as u64);
        if kept.is_empty() {
            remove_emptied(&mut ctx.keys, key);
        }
    }
    ctx.reply.ok();
    Ok(())
}

fn lset(ctx: &mut Ctx) -> CmdResult {
    let key = ctx.key(1);
    let Some(mut list) = ctx.keys.write::<List>(key)? else { return Err(CmdError::NO_SUCH_KEY) };
    let index = from_front(ctx.args.integer(2)?, list.len()).filter(|&index| index < list.len());
    list.replace(index.ok_or(CmdError::INDEX_OUT_OF_RANGE)?, ctx.args.at(3));
    ctx.keys.changed(key, LSET);
    ctx.reply.ok();
    Ok(())
}

fn linsert(ctx: &mut Ctx) -> CmdResult {
    let behind = match () {
        () if ctx.args.is(2, "after") => 1,
        () if ctx.args.is(2, "before") => 0,
        () => return Err(CmdError::SYNTAX),
    };
    let key = ctx.key(1);
    let Some(mut list) = ctx.keys.write::<List>(key)? else {
        ctx.reply.integer(0);
        return Ok(());
    };
    let Some(index) = list.view().find(&Needle::new(ctx.args.at(3))) else {
        ctx.reply.integer(-1);
        return Ok(());
    };
    list.insert(index + behind, ctx.args.at(4));
    let len = list.len();
    ctx.keys.changed(key, LINSERT);
    ctx.reply.integer(len as i64);
    Ok(())
}

fn lrem(ctx: &mut Ctx) -> CmdResult {
    let count = count_from_either_end(&ctx.args, 2)?;
    let key = ctx.key(1);
    let Some(mut list) = ctx.keys.write::<List>(key)? else {
        ctx.reply.integer(0);
        return Ok(());
    };
    let max = if count == 0 { usize::MAX } else { count.unsigned_abs() as usize };
    let removed = list.remove_matching(&Needle::new(ctx.args.at(3)), max, direction_of(count));
    let emptied = list.is_empty();
    if removed > 0 {
        ctx.keys.changed_by(key, LREM, removed as u64);
    }
    if emptied {
        remove_emptied(&mut ctx.keys, key);
    }
    ctx.reply.integer(removed as i64);
    Ok(())
}

fn lpos(ctx: &mut Ctx) -> CmdResult {
    let options = PosOptions::parse(&ctx.args)?;
    let key = ctx.key(1);
    let needle = Needle::new(ctx.args.at(2));
    let list = ctx.keys.read::<List>(key)?;
    let reply = &mut *ctx.reply;
    let Some(wanted) = options.count else {
        let mut found = None;
        options.search(list, &needle, 1, |index| found = Some(index));
        match found {
            Some(index) => reply.integer(index as i64),
            None => reply.null(),
        }
        return Ok(());
    };
    let mark = reply.defer_array();
    let mut count = 0;
    options.search(list, &needle, wanted, |index| {
        reply.integer(index as i64);
        count += 1;
    });
    reply.close_array(mark, count);
    Ok(())
}

/// The options of LPOS.
struct PosOptions {
    /// Which match is the first one that counts; negative: from the end. Never 0.
    rank: i64,
    /// Matches wanted, as an array; None: one, by itself.
    count: Option<usize>,
    /// Elements to compare.
    max_len: usize,
}

impl PosOptions {
    fn parse(args: &Argv<'_>) -> Result<PosOptions, CmdError> {
        let mut options = PosOptions { rank: 1, count: None, max_len: usize::MAX };
        for at in (3..args.len()).step_by(2) {
            let value = args.operand(at)?;
            if args.is(at, "rank") {
                options.rank = count_from_either_end(args, value)?;
                if options.rank == 0 {
                    return Err(CmdError::fixed(RANK_IS_ZERO));
                }
            } else if args.is(at, "count") {
                options.count = Some(or_all(at_least(args, value, 0, "ERR COUNT can't be negative")?));
            } else if args.is(at, "maxlen") {
                options.max_len = or_all(at_least(args, value, 0, "ERR MAXLEN can't be negative")?);
            } else {
                return Err(CmdError::SYNTAX);
            }
        }
        Ok(options)
    }

    /// Tells of up to `wanted` matches by their indexes from the front.
    fn search(
        &self,
        list: Option<ListRef<'_>>,
        needle: &Needle<'_>,
        wanted: usize,
        mut found: impl FnMut(usize),
    ) {
        let Some(list) = list.filter(|list| !list.is_empty()) else { return };
        let direction = direction_of(self.rank);
        let mut index = if direction == Direction::Forward { 0 } else { list.len() - 1 };
        let (mut left_out, mut left) = (self.rank.unsigned_abs() - 1, wanted);
        let _ = list.walk(index, self.max_len, direction, &mut |element| {
            if needle.matches(element) {
                if left_out > 0 {
                    left_out -= 1;
                } else {
                    found(index);
                    left -= 1;
                }
            }
            index = if direction == Direction::Forward { index + 1 } else { index.wrapping_sub(1) };
            if left > 0 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
    }
}

/// 0 stands for all.
fn or_all(count: usize) -> usize {
    if count == 0 { usize::MAX } else { count }
}

/// A number below 0 counts from the end.
fn direction_of(count: i64) -> Direction {
    if count < 0 { Direction::Backward } else { Direction::Forward }
}

/// An index that counts from the end if negative; None if it is before the front.
fn from_front(index: i64, len: usize) -> Option<usize> {
    usize::try_from(if index < 0 { index + len as i64 } else { index }).ok()
}

/// The elements from `start` to `stop`, both of which count from the end if negative.
fn range(start: i64, stop: i64, len: usize) -> Range<usize> {
    let start = from_front(start, len).unwrap_or(0);
    let end = from_front(stop, len).map_or(0, |stop| stop.saturating_add(1).min(len));
    if start < end { start..end } else { 0..0 }
}

/// LEFT or RIGHT.
pub(super) fn end_at(args: &Argv<'_>, index: usize) -> Result<End, CmdError> {
    match () {
        () if args.is(index, "left") => Ok(End::Front),
        () if args.is(index, "right") => Ok(End::Back),
        () => Err(CmdError::SYNTAX),
    }
}

/// A number from `least` on, or an error of this text.
fn at_least(args: &Argv<'_>, index: usize, least: i64, error: &'static str) -> Result<usize, CmdError> {
    let number = parse_i64(args.at(index)).filter(|&number| number >= least);
    number.and_then(|number| usize::try_from(number).ok()).ok_or(CmdError::fixed(error))
}

/// A number whose sign says from which end to count.
fn count_from_either_end(args: &Argv<'_>, index: usize) -> Result<i64, CmdError> {
    match args.integer(index)? {
        i64::MIN => Err(CmdError::fixed(BEYOND_RANGE)),
        count => Ok(count),
    }
}

const NOT_POSITIVE: &str = "ERR value is out of range, must be positive";
const NO_COUNT: &str = "ERR count should be greater than 0";
const BEYOND_RANGE: &str =
    "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807";
const RANK_IS_ZERO: &str = "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or \
                            use negative to start from the end of the list";
