//! Unions, intersections and differences of sorted sets. Plain sets may stand among them; each of their
//! members has the score 1.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use base::num::parse_i64;
use ds::listpack::Element;
use ds::set::SetRef;
use ds::sorted_set::{ScoredMember, SortedSetRef};
use smallvec::SmallVec;
use store::{Entry, EntryRef, Key, Kind, Set, SortedSet, Type, sorted_set};

use super::sorted_set::{PairsReply, row};
use super::sorted_set_range::store_result;
use crate::args::Argv;
use crate::command::{CmdResult, Command};
use crate::ctx::Ctx;
use crate::error::CmdError;
use crate::keyspec::{KeySpec, flag as key};
use crate::notify::class;

const READ_KEYS: &[KeySpec] = &[KeySpec::counted(1, key::RO | key::ACCESS)];
const STORE_KEYS: &[KeySpec] =
    &[KeySpec::one(1, key::OW | key::UPDATE), KeySpec::counted(2, key::RO | key::ACCESS)];

pub static TABLE: &[Command] = &[
    row("zdiff", -3, zdiff)
        .read()
        .keys(READ_KEYS)
        .since("6.2.0")
        .syntax("numkeys key [key ...] [WITHSCORES]")
        .docs("Returns the members of the first sorted set that no other one has.", DIFFERENCE_COST),
    row("zdiffstore", -4, zdiffstore)
        .write()
        .deny_oom()
        .keys(STORE_KEYS)
        .since("6.2.0")
        .syntax("destination=key.0 numkeys key=key.1 [key=key.1 ...]")
        .docs("Stores the members of the first sorted set that no other one has.", DIFFERENCE_COST),
    row("zinter", -3, zinter)
        .read()
        .keys(READ_KEYS)
        .since("6.2.0")
        .history(&[("8.8.0", "Added the `COUNT` aggregate.")])
        .syntax(
            "numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX | COUNT>] \
             [WITHSCORES]",
        )
        .docs("Returns the members that all sorted sets have in common.", INTERSECTION_COST),
    row("zintercard", -3, zintercard)
        .read()
        .keys(READ_KEYS)
        .since("7.0.0")
        .syntax("numkeys key [key ...] [LIMIT limit]")
        .docs(
            "Counts the members that all sorted sets have in common.",
            "O(N*K) worst case with N being the smallest input sorted set, K being the number of input \
             sorted sets.",
        ),
    row("zinterstore", -4, zinterstore)
        .write()
        .deny_oom()
        .keys(STORE_KEYS)
        .since("2.0.0")
        .history(&[("8.8.0", "Added the `COUNT` aggregate.")])
        .syntax(
            "destination=key.0 numkeys key=key.1 [key=key.1 ...] [WEIGHTS weight [weight ...]] \
             [AGGREGATE <SUM | MIN | MAX | COUNT>]",
        )
        .docs("Stores the members that all sorted sets have in common.", INTERSECTION_COST),
    row("zunion", -3, zunion)
        .read()
        .keys(READ_KEYS)
        .since("6.2.0")
        .history(&[("8.8.0", "Added the `COUNT` aggregate.")])
        .syntax(
            "numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX | COUNT>] \
             [WITHSCORES]",
        )
        .docs(
            "Returns the members of all sorted sets.",
            "O(N)+O(M*log(M)) with N being the sum of the sizes of the input sorted sets, and M being the \
             number of elements in the resulting sorted set.",
        ),
    row("zunionstore", -4, zunionstore)
        .write()
        .deny_oom()
        .keys(STORE_KEYS)
        .since("2.0.0")
        .history(&[("8.8.0", "Added the `COUNT` aggregate.")])
        .syntax(
            "destination=key.0 numkeys key=key.1 [key=key.1 ...] [WEIGHTS weight [weight ...]] \
             [AGGREGATE <SUM | MIN | MAX | COUNT>]",
        )
        .docs(
            "Stores the members of all sorted sets.",
            "O(N)+O(M log(M)) with N being the sum of the sizes of the input sorted sets, and M being the \
             number of elements in the resulting sorted set.",
        ),
];

const DIFFERENCE_COST: &str = "O(L + (N-K)log(N)) worst case where L is the total number of elements in all \
                               the sets, N is the size of the first set, and K is the size of the result \
                               set.";
const INTERSECTION_COST: &str = "O(N*K)+O(M*log(M)) worst case with N being the smallest input sorted set, K \
                                 being the number of input sorted sets and M being the number of elements in \
                                 the resulting sorted set.";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Union,
    Intersection,
    Difference,
}

/// What becomes of a request's result.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Reply,
    Store,
    Count,
}

/// How the scores that a member has in several sets make one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Aggregate {
    Sum,
    Min,
    Max,
    /// The sum of the weights.
    Count,
}

fn zunion(ctx: &mut Ctx) -> CmdResult {
    reply_members(ctx, Operation::Union)
}

fn zinter(ctx: &mut Ctx) -> CmdResult {
    reply_members(ctx, Operation::Intersection)
}

fn zdiff(ctx: &mut Ctx) -> CmdResult {
    reply_members(ctx, Operation::Difference)
}

fn reply_members(ctx: &mut Ctx, operation: Operation) -> CmdResult {
    let keys = keys(ctx, 1)?;
    let entries = ctx.keys.entries(&keys, SET_TYPES)?;
    let options = Options::parse(&ctx.args, 2 + keys.len(), keys.len(), operation, Purpose::Reply)?;
    let sources = sources(&entries, &options.weights);
    let mut items = collect(operation, sources, options.aggregate);
    items.sort_unstable_by(in_order);
    let mut reply = PairsReply { reply: ctx.reply, with_scores: options.with_scores };
    reply.begin(items.len());
    items.into_iter().for_each(|item| reply.pair(item));
    Ok(())
}

fn zunionstore(ctx: &mut Ctx) -> CmdResult {
    store_members(ctx, Operation::Union, "zunionstore")
}

fn zinterstore(ctx: &mut Ctx) -> CmdResult {
    store_members(ctx, Operation::Intersection, "zinterstore")
}

fn zdiffstore(ctx: &mut Ctx) -> CmdResult {
    store_members(ctx, Operation::Difference, "zdiffstore")
}

fn store_members(ctx: &mut Ctx, operation: Operation, event: &'static str) -> CmdResult {
    let destination = ctx.key(1);
    let entry = stored(ctx, destination, operation)?;
    store_result(ctx, destination, entry, (class::SORTED_SET, event), 1);
    Ok(())
}

fn stored(ctx: &mut Ctx, destination: Key<'_>, operation: Operation) -> Result<Option<Entry>, CmdError> {
    let (keys, clock) = (keys(ctx, 2)?, ctx.keys.access.fresh);
    let entries = ctx.keys.entries(&keys, SET_TYPES)?;
    let options = Options::parse(&ctx.args, 3 + keys.len(), keys.len(), operation, Purpose::Store)?;
    let mut items = collect(operation, sources(&entries, &options.weights), options.aggregate);
    // A table grows fastest in order.
    items.sort_unstable_by(in_order);
    let made = sorted_set::entry(destination.bytes, items, ctx.config.thresholds, clock);
    // Fails only for a payload that was restored unchecked.
    made.map_err(|error| CmdError::new(format!("ERR {error}")))
}

fn zintercard(ctx: &mut Ctx) -> CmdResult {
    let keys = keys(ctx, 1)?;
    let entries = ctx.keys.entries(&keys, SET_TYPES)?;
    let at = 2 + keys.len();
    let options = Options::parse(&ctx.args, at, keys.len(), Operation::Intersection, Purpose::Count)?;
    let mut sources = sources(&entries, &options.weights);
    sources.sort_by_key(Source::len);
    let count = match sources.split_first() {
        Some((smallest, others)) => {
            let in_all = |item: &ScoredMember<'_>| others.iter().all(|set| set.score(item.member).is_some());
            let found = smallest.items().filter(in_all);
            found.take(options.limit).count()
        }
        None => 0,
    };
    ctx.reply.integer(count as i64);
    Ok(())
}

/// The keys behind a count of them.
fn keys<'a>(ctx: &Ctx<'a, '_>, at: usize) -> Result<SmallVec<[Key<'a>; 8]>, CmdError> {
    let count = ctx.args.integer(at)?;
    if count < 1 {
        let name = ctx.name();
        return Err(CmdError::new(format!("ERR at least 1 input key is needed for '{name}' command")));
    }
    let left = ctx.args.len() - at - 1;
    let count = usize::try_from(count).ok().filter(|&count| count <= left).ok_or(CmdError::SYNTAX)?;
    Ok((at + 1..=at + count).map(|index| ctx.key(index)).collect())
}

struct Options {
    /// One for each set.
    weights: SmallVec<[f64; 8]>,
    aggregate: Aggregate,
    with_scores: bool,
    /// Counting ends here.
    limit: usize,
}

impl Options {
    fn parse(
        args: &Argv<'_>,
        mut at: usize,
        set_count: usize,
        operation: Operation,
        purpose: Purpose,
    ) -> Result<Options, CmdError> {
        let weights = SmallVec::from_elem(1.0, set_count);
        let mut options =
            Options { weights, aggregate: Aggregate::Sum, with_scores: false, limit: usize::MAX };
        let weighs = operation != Operation::Difference && purpose != Purpose::Count;
        while at < args.len() {
            let left = args.len() - at;
            at += match () {
                () if weighs && left > set_count && args.is(at, "weights") => {
                    options.read_weights(args, at + 1)?;
                    1 + set_count
                }
                () if weighs && left >= 2 && args.is(at, "aggregate") => {
                    options.aggregate = Aggregate::parse(args, at + 1).ok_or(CmdError::SYNTAX)?;
                    2
                }
                () if purpose == Purpose::Reply && args.is(at, "withscores") => {
                    options.with_scores = true;
                    1
                }
                () if purpose == Purpose::Count && left >= 2 && args.is(at, "limit") => {
                    options.read_limit(args, at + 1)?;
                    2
                }
                () => return Err(CmdError::SYNTAX),
            };
        }
        Ok(options)
    }

    fn read_weights(&mut self, args: &Argv<'_>, at: usize) -> CmdResult {
        for (index, weight) in self.weights.iter_mut().enumerate() {
            let given = args.float(at + index);
            *weight = given.map_err(|_| CmdError::fixed("ERR weight value is not a float"))?;
        }
        Ok(())
    }

    fn read_limit(&mut self, args: &Argv<'_>, at: usize) -> CmdResult {
        let limit = args.integer(at).ok().and_then(|limit| usize::try_from(limit).ok());
        self.limit = match limit.ok_or(CmdError::fixed("ERR LIMIT can't be negative"))? {
            0 => usize::MAX,
            limit => limit,
        };
        Ok(())
    }
}

impl Aggregate {
    fn parse(args: &Argv<'_>, at: usize) -> Option<Aggregate> {
        let known = [
            ("sum", Aggregate::Sum),
            ("min", Aggregate::Min),
            ("max", Aggregate::Max),
            ("count", Aggregate::Count),
        ];
        known.into_iter().find(|(word, _)| args.is(at, word)).map(|(_, aggregate)| aggregate)
    }

    /// What a set adds to a member's score.
    fn weighted(self, score: f64, weight: f64) -> f64 {
        if self == Aggregate::Count { weight } else { score * weight }
    }

    /// Where infinities cancel out, a sum is 0.
    fn add(self, sum: f64, score: f64) -> f64 {
        match self {
            Aggregate::Sum | Aggregate::Count => number(sum + score),
            Aggregate::Min => {
                if score < sum {
                    score
                } else {
                    sum
                }
            }
            Aggregate::Max => {
                if score > sum {
                    score
                } else {
                    sum
                }
            }
        }
    }
}

fn number(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

/// One of the sets of a request.
#[derive(Clone, Copy)]
struct Source<'a> {
    set: AnySet<'a>,
    weight: f64,
}

#[derive(Clone, Copy)]
enum AnySet<'a> {
    Missing,
    Scored(SortedSetRef<'a>),
    Plain(SetRef<'a>),
}

fn sources<'a>(entries: &[Option<EntryRef<'a>>], weights: &[f64]) -> SmallVec<[Source<'a>; 8]> {
    let set = |entry: &Option<EntryRef<'a>>| match *entry {
        None => AnySet::Missing,
        Some(entry) if entry.kind() == Type::Set => AnySet::Plain(Set::view(entry)),
        Some(entry) => AnySet::Scored(SortedSet::view(entry)),
    };
    entries.iter().zip(weights).map(|(entry, &weight)| Source { set: set(entry), weight }).collect()
}

impl<'a> Source<'a> {
    fn len(&self) -> usize {
        match self.set {
            AnySet::Missing => 0,
            AnySet::Scored(set) => set.len(),
            AnySet::Plain(set) => set.len(),
        }
    }

    fn score(&self, member: Element<'_>) -> Option<f64> {
        match self.set {
            AnySet::Missing => None,
            AnySet::Plain(set) => set.contains_element(member).then_some(1.0),
            AnySet::Scored(set) => match member {
                Element::Bytes(bytes) => set.score(bytes),
                Element::Int(value) => set.score(itoa::Buffer::new().format(value).as_bytes()),
            },
        }
    }

    fn items(&self) -> impl Iterator<Item = ScoredMember<'a>> + use<'a> {
        let (scored, plain) = match self.set {
            AnySet::Missing => (None, None),
            AnySet::Scored(set) => (Some(set.iter()), None),
            AnySet::Plain(set) => (None, Some(set.iter())),
        };
        let plain = plain.into_iter().flatten().map(|member| ScoredMember { member, score: 1.0 });
        scored.into_iter().flatten().chain(plain)
    }
}

/// The members of the result, in no particular order. Sets are gone through from the smallest to the largest,
/// as in Redis: sums of doubles depend on it.
fn collect<'a>(
    operation: Operation,
    mut sources: SmallVec<[Source<'a>; 8]>,
    aggregate: Aggregate,
) -> Vec<ScoredMember<'a>> {
    if operation != Operation::Difference {
        sources.sort_by_key(Source::len);
    }
    let Some((first, others)) = sources.split_first() else { return Vec::new() };
    match operation {
        Operation::Union => union(&sources, aggregate),
        Operation::Intersection => {
            first.items().filter_map(|item| in_all(item, first, others, aggregate)).collect()
        }
        Operation::Difference => difference(first, others),
    }
}

/// A member of the first set with its score in the intersection, if all others have it.
fn in_all<'a>(
    item: ScoredMember<'a>,
    first: &Source<'_>,
    others: &[Source<'_>],
    aggregate: Aggregate,
) -> Option<ScoredMember<'a>> {
    let begin = number(aggregate.weighted(item.score, first.weight));
    let score = others.iter().try_fold(begin, |sum, other| {
        let score = aggregate.weighted(other.score(item.member)?, other.weight);
        Some(aggregate.add(sum, score))
    })?;
    Some(ScoredMember { score, ..item })
}

fn union<'a>(sources: &[Source<'a>], aggregate: Aggregate) -> Vec<ScoredMember<'a>> {
    let largest = sources.last().map_or(0, Source::len);
    let mut scores: HashMap<Element<'a>, f64> = HashMap::with_capacity(largest);
    for source in sources {
        for item in source.items() {
            let score = number(aggregate.weighted(item.score, source.weight));
            let sum = scores.entry(canonical(item.member));
            sum.and_modify(|sum| *sum = aggregate.add(*sum, score)).or_insert(score);
        }
    }
    scores.into_iter().map(|(member, score)| ScoredMember { member, score }).collect()
}

fn difference<'a>(first: &Source<'a>, others: &[Source<'_>]) -> Vec<ScoredMember<'a>> {
    let striking: usize = others.iter().map(Source::len).sum();
    if first.len().saturating_mul(others.len()) / 2 <= first.len().saturating_add(striking) {
        let in_none = |item: &ScoredMember<'_>| !others.iter().any(|set| set.score(item.member).is_some());
        return first.items().filter(in_none).collect();
    }
    let mut struck = HashSet::with_capacity(striking);
    for other in others {
        struck.extend(other.items().map(|item| canonical(item.member)));
    }
    first.items().filter(|item| !struck.contains(&canonical(item.member))).collect()
}

/// The one form of an element that is equal to others of the same text.
fn canonical(element: Element<'_>) -> Element<'_> {
    match element {
        Element::Bytes(bytes) => parse_i64(bytes).map_or(element, Element::Int),
        Element::Int(_) => element,
    }
}

/// The order of sorted sets.
fn in_order(one: &ScoredMember<'_>, other: &ScoredMember<'_>) -> Ordering {
    // No score is a NaN.
    let by_score = one.score.partial_cmp(&other.score).unwrap_or(Ordering::Equal);
    by_score.then_with(|| match (one.member, other.member) {
        (Element::Bytes(one), Element::Bytes(other)) => one.cmp(other),
        (one, other) => one.to_vec().cmp(&other.to_vec()),
    })
}

const SET_TYPES: &[Type] = &[Type::SortedSet, Type::Set];
