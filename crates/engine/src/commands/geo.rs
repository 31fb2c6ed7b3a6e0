//! Points on the earth as members of a sorted set, whose scores say where they are: adding them, and what is
//! asked of single ones. Looking for points in an area is told by `geo_search`.

use ds::geo::Point;
use ds::sorted_set::SortedSetRef;
use resp::reply::Reply;
use smallvec::SmallVec;
use store::SortedSet;

use super::sorted_set::{AddOptions, add_members};
use crate::args::Argv;
use crate::command::{CmdResult, Command, Group, Run, command};
use crate::ctx::Ctx;
use crate::error::CmdError;
use crate::keyspec::{KeySpec, flag as key};

pub(super) const fn row(name: &'static str, arity: i32, run: Run) -> Command {
    command(name, arity, Group::Geo, run)
}

pub static TABLE: &[Command] = &[
    row("geoadd", -5, geoadd)
        .write()
        .deny_oom()
        .keys(&[KeySpec::one(1, key::RW | key::UPDATE)])
        .since("3.2.0")
        .history(&[("6.2.0", "Added the `CH`, `NX` and `XX` options.")])
        .syntax(
            "key [NX | XX] [CH] longitude=double latitude=double member [longitude=double latitude=double \
             member ...]",
        )
        .docs(
            "Adds points to a sorted set or moves them; makes the set if the key does not exist.",
            "O(log(N)) for each item added, where N is the number of elements in the sorted set.",
        ),
    row("geodist", -4, geodist)
        .read()
        .keys(&[KeySpec::one(1, key::RO | key::ACCESS)])
        .since("3.2.0")
        .syntax("key member1 member2 [M | KM | FT | MI]")
        .docs("Returns how far two points of a sorted set are from each other.", "O(log(N))"),
    row("geohash", -2, geohash)
        .read()
        .keys(&[KeySpec::one(1, key::RO | key::ACCESS)])
        .since("3.2.0")
        .syntax("key member [member ...]")
        .docs(
            "Returns the geohashes of points, as geohash.org writes them.",
            "O(log(N)) for each member requested, where N is the number of elements in the sorted set.",
        ),
    row("geopos", -2, geopos)
        .read()
        .keys(&[KeySpec::one(1, key::RO | key::ACCESS)])
        .since("3.2.0")
        .syntax("key member [member ...]")
        .docs(
            "Returns the longitude and latitude of points.",
            "O(N) where N is the number of members requested.",
        ),
];

fn geoadd(ctx: &mut Ctx) -> CmdResult {
    let args = ctx.args;
    let options = AddOptions::of_points(&args)?;
    let points = (options.first..args.len()).step_by(3).map(|index| Ok(point(&args, index)?.score()));
    let scores: SmallVec<[f64; 8]> = points.collect::<Result<_, CmdError>>()?;
    if scores.is_empty() {
        return Err(CmdError::SYNTAX);
    }
    add_members(ctx, options, &scores, 3)
}

/// The point whose longitude stands at `at`, with its latitude behind it.
pub(super) fn point(args: &Argv<'_>, at: usize) -> Result<Point, CmdError> {
    let point = Point { longitude: args.float(at)?, latitude: args.float(at + 1)? };
    if !point.is_valid() {
        return Err(CmdError::new(format!(
            "ERR invalid longitude,latitude pair {:.6},{:.6}",
            point.longitude, point.latitude
        )));
    }
    Ok(point)
}

/// The meters of a unit.
pub(super) fn unit(args: &Argv<'_>, at: usize) -> Result<f64, CmdError> {
    let known = UNITS.iter().find(|(word, _)| args.is(at, word));
    known.map(|&(_, meters)| meters).ok_or(CmdError::fixed(NO_UNIT))
}

const UNITS: [(&str, f64); 4] = [("m", 1.0), ("km", 1000.0), ("ft", 0.3048), ("mi", 1609.34)];

fn geodist(ctx: &mut Ctx) -> CmdResult {
    if ctx.args.len() > 5 {
        return Err(CmdError::SYNTAX);
    }
    let unit = if ctx.args.len() == 5 { unit(&ctx.args, 4)? } else { 1.0 };
    let key = ctx.key(1);
    let set = ctx.keys.read::<SortedSet>(key)?;
    match point_of(set, ctx.args.at(2)).zip(point_of(set, ctx.args.at(3))) {
        Some((from, to)) => reply_distance(ctx.reply, from.distance(to) / unit),
        None => ctx.reply.null(),
    }
    Ok(())
}

fn point_of(set: Option<SortedSetRef<'_>>, member: &[u8]) -> Option<Point> {
    set?.score(member).map(Point::of_score)
}

/// Four places, rounded to even: finer than the points are.
pub(super) fn reply_distance(reply: &mut Reply, distance: f64) {
    let units = (distance * 10_000.0).round_ties_even() as u64;
    reply.bulk(format!("{}.{:04}", units / 10_000, units % 10_000).as_bytes());
}

fn geohash(ctx: &mut Ctx) -> CmdResult {
    let key = ctx.key(1);
    let set = ctx.keys.read::<SortedSet>(key)?;
    ctx.reply.array(ctx.args.len() - 2);
    for member in ctx.args.from(2) {
        match point_of(set, member) {
            Some(point) => ctx.reply.bulk(&point.geohash()),
            None => ctx.reply.null(),
        }
    }
    Ok(())
}

fn geopos(ctx: &mut Ctx) -> CmdResult {
    let key = ctx.key(1);
    let set = ctx.keys.read::<SortedSet>(key)?;
    ctx.reply.array(ctx.args.len() - 2);
    for member in ctx.args.from(2) {
        match point_of(set, member) {
            Some(point) => reply_point(ctx.reply, point),
            None => ctx.reply.null_array(),
        }
    }
    Ok(())
}

pub(super) fn reply_point(reply: &mut Reply, point: Point) {
    reply.array(2);
    for degrees in [point.longitude, point.latitude] {
        let text = format!("{degrees:.17}");
        let text = text.trim_end_matches('0').trim_end_matches('.');
        reply.double_text(if text == "-0" { "0" } else { text });
    }
}

const NO_UNIT: &str = "ERR unsupported unit provided. please use M, KM, FT, MI";
