//! Looking for points in an area: GEOSEARCH, and GEORADIUS and its kin, which it has replaced.

use ds::geo::{Area, Point};
use ds::sorted_set::{Direction, Interval, ScoreBound, ScoredMember, SortedSetRef};
use resp::reply::Reply;
use store::{Key, SortedSet, sorted_set};

use super::geo::{point, reply_distance, reply_point, row, unit};
use super::sorted_set_range::store_result;
use crate::args::Argv;
use crate::command::{CmdResult, Command};
use crate::ctx::Ctx;
use crate::elements::reply_element;
use crate::error::CmdError;
use crate::keys::Event;
use crate::keyspec::{KeySpec, flag as key};
use crate::notify::class;

const SOURCE: KeySpec = KeySpec::one(1, key::RO | key::ACCESS);

const STORE_KEYS: &[KeySpec] = &[SOURCE, stored("STORE", 6, last_place), stored("STOREDIST", 6, |_| None)];
const STORE_KEYS_OF_MEMBER: &[KeySpec] =
    &[SOURCE, stored("STORE", 5, last_place), stored("STOREDIST", 5, |_| None)];

/// Of several places to store at only the last counts, whatever it is called: one search finds it.
const fn stored(word: &'static str, from: i32, locate: fn(&Argv<'_>) -> Option<usize>) -> KeySpec {
    KeySpec { locate: Some(locate), ..KeySpec::keyword(word, from, key::OW | key::UPDATE) }
}

pub static TABLE: &[Command] = &[
    row("georadius", -6, georadius)
        .write()
        .deny_oom()
        .keys(STORE_KEYS)
        .since("3.2.0")
        .history(RADIUS_HISTORY)
        .deprecated("6.2.0", "`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` argument")
        .syntax(
            "key longitude=double latitude=double radius=double <M | KM | FT | MI> [WITHCOORD] [WITHDIST] \
             [WITHHASH] [COUNT count [ANY]] [ASC | DESC] [STORE key=key.1 | STOREDIST key=key.2]",
        )
        .docs("Returns or stores the points that are not too far from a place.", RADIUS_COST),
    row("georadius_ro", -6, georadius_ro)
        .read()
        .keys(&[SOURCE])
        .since("3.2.10")
        .history(RADIUS_HISTORY)
        .deprecated("6.2.0", "`GEOSEARCH` with the `BYRADIUS` argument")
        .syntax(
            "key longitude=double latitude=double radius=double <M | KM | FT | MI> [WITHCOORD] [WITHDIST] \
             [WITHHASH] [COUNT count [ANY]] [ASC | DESC]",
        )
        .docs("Returns the points that are not too far from a place.", RADIUS_COST),
    row("georadiusbymember", -5, georadiusbymember)
        .write()
        .deny_oom()
        .keys(STORE_KEYS_OF_MEMBER)
        .since("3.2.0")
        .history(RADIUS_HISTORY)
        .deprecated(
            "6.2.0",
            "`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` and `FROMMEMBER` arguments",
        )
        .syntax(
            "key member radius=double <M | KM | FT | MI> [WITHCOORD] [WITHDIST] [WITHHASH] \
             [COUNT count [ANY]] [ASC | DESC] [STORE key=key.1 | STOREDIST key=key.2]",
        )
        .docs("Returns or stores the points that are not too far from one of them.", RADIUS_COST),
    row("georadiusbymember_ro", -5, georadiusbymember_ro)
        .read()
        .keys(&[SOURCE])
        .since("3.2.10")
        .history(RADIUS_HISTORY)
        .deprecated("6.2.0", "`GEOSEARCH` with the `BYRADIUS` and `FROMMEMBER` arguments")
        .syntax(
            "key member radius=double <M | KM | FT | MI> [WITHCOORD] [WITHDIST] [WITHHASH] \
             [COUNT count [ANY]] [ASC | DESC]",
        )
        .docs("Returns the points that are not too far from one of them.", RADIUS_COST),
    row("geosearch", -7, geosearch)
        .read()
        .keys(&[SOURCE])
        .since("6.2.0")
        .history(SEARCH_HISTORY)
        .syntax(
            "key [FROMMEMBER member | FROMLONLAT longitude=double latitude=double] \
             <BYRADIUS radius=double <M | KM | FT | MI> | BYBOX width=double height=double <M | KM | FT | MI> | \
             BYPOLYGON num-vertices=integer longitude=double latitude=double \
             [longitude=double latitude=double ...]> [ASC | DESC] [COUNT count [ANY]] [WITHCOORD] [WITHDIST] \
             [WITHHASH]",
        )
        .docs("Returns the points in a circle, a rectangle or a polygon.", SEARCH_COST),
    row("geosearchstore", -8, geosearchstore)
        .write()
        .deny_oom()
        .keys(&[KeySpec::one(1, key::OW | key::UPDATE), KeySpec::one(2, key::RO | key::ACCESS)])
        .since("6.2.0")
        .history(SEARCH_HISTORY)
        .syntax(
            "destination=key.0 source=key.1 [FROMMEMBER member | FROMLONLAT longitude=double latitude=double] \
             <BYRADIUS radius=double <M | KM | FT | MI> | BYBOX width=double height=double <M | KM | FT | MI> | \
             BYPOLYGON num-vertices=integer longitude=double latitude=double \
             [longitude=double latitude=double ...]> [ASC | DESC] [COUNT count [ANY]] [STOREDIST]",
        )
        .docs("Stores the points in a circle, a rectangle or a polygon.", SEARCH_COST),
];

const RADIUS_COST: &str = "O(N+log(M)) where N is the number of elements inside the bounding box of the \
                           circular area delimited by center and radius and M is the number of items inside \
                           the index.";
const SEARCH_COST: &str = "O(N+log(M)) where N is the number of elements in the grid-aligned bounding box area \
                           around the shape provided as the filter and M is the number of items inside the \
                           shape";
const RADIUS_HISTORY: &[(&str, &str)] =
    &[("6.2.0", "Added the `ANY` option for `COUNT`."), ("7.0.0", "Added support for uppercase unit names.")];
const SEARCH_HISTORY: &[(&str, &str)] = &[
    ("7.0.0", "Added support for uppercase unit names."),
    ("9.0.0", "Added support for the BYPOLYGON option."),
];

/// The last key behind STORE or STOREDIST.
fn last_place(argv: &Argv<'_>) -> Option<usize> {
    let (mut at, mut last) = (5, None);
    while at + 1 < argv.len() {
        if argv.is(at, "store") || argv.is(at, "storedist") {
            at += 1;
            last = Some(at);
        }
        at += 1;
    }
    last
}

fn georadius(ctx: &mut Ctx) -> CmdResult {
    run(ctx, Form::Radius(Center::Place))
}

fn georadius_ro(ctx: &mut Ctx) -> CmdResult {
    run(ctx, Form::RadiusRead(Center::Place))
}

fn georadiusbymember(ctx: &mut Ctx) -> CmdResult {
    run(ctx, Form::Radius(Center::Member))
}

fn georadiusbymember_ro(ctx: &mut Ctx) -> CmdResult {
    run(ctx, Form::RadiusRead(Center::Member))
}

fn geosearch(ctx: &mut Ctx) -> CmdResult {
    run(ctx, Form::Search)
}

fn geosearchstore(ctx: &mut Ctx) -> CmdResult {
    run(ctx, Form::SearchStore)
}

/// How a command gives the area, and whether it can store.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Radius(Center),
    RadiusRead(Center),
    Search,
    SearchStore,
}

/// What the middle of an area is given by.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Center {
    Place,
    Member,
}

/// Lengths in meters.
enum Shape {
    Circle(f64),
    Rectangle(f64, f64),
    Polygon(Vec<Point>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    AsFound,
    NearestFirst,
    FarthestFirst,
}

struct Request {
    center: Option<Center>,
    /// Anywhere, if there is no set to find the member in.
    point: Point,
    shape: Option<Shape>,
    /// Meters of the unit for distances.
    unit: f64,
    order: Order,
    count: Option<usize>,
    /// The first points found will do.
    any: bool,
    with_point: bool,
    with_distance: bool,
    with_score: bool,
    /// The place of the key among the arguments.
    store: Option<usize>,
    store_distance: bool,
}

impl Request {
    fn parse(args: &Argv<'_>, form: Form, set: Option<SortedSetRef<'_>>) -> Result<Request, CmdError> {
        let mut request = Request {
            center: None,
            point: Point { longitude: 0.0, latitude: 0.0 },
            shape: None,
            unit: 1.0,
            order: Order::AsFound,
            count: None,
            any: false,
            with_point: false,
            with_distance: false,
            with_score: false,
            store: (form == Form::SearchStore).then_some(1),
            store_distance: false,
        };
        let mut at = match form {
            Form::Search => 2,
            Form::SearchStore => 3,
            Form::Radius(center) | Form::RadiusRead(center) => request.read_circle(args, center, set)?,
        };
        while at < args.len() {
            at += request.read_option(args, at, form, set)?;
        }
        request.check(args, form)?;
        Ok(request)
    }

    /// Reads the middle and the radius of a command that has them in front; where its options begin.
    fn read_circle(
        &mut self,
        args: &Argv<'_>,
        center: Center,
        set: Option<SortedSetRef<'_>>,
    ) -> Result<usize, CmdError> {
        match (center, set) {
            (Center::Place, _) => self.point = point(args, 2)?,
            (Center::Member, Some(set)) => self.point = member_point(set, args.at(2))?,
            // The reply to an absent set is all the same, and Redis does not look at the radius.
            (Center::Member, None) => return Ok(5),
        }
        let at = if center == Center::Place { 4 } else { 3 };
        self.read_radius(args, at)?;
        Ok(at + 2)
    }

    fn read_radius(&mut self, args: &Argv<'_>, at: usize) -> CmdResult {
        let radius = length(args, at, "ERR need numeric radius")?;
        if radius < 0.0 {
            return Err(CmdError::fixed("ERR radius cannot be negative"));
        }
        self.unit = unit(args, at + 1)?;
        self.shape = Some(Shape::Circle(radius * self.unit));
        Ok(())
    }

    /// Reads one option; how many arguments it has.
    fn read_option(
        &mut self,
        args: &Argv<'_>,
        at: usize,
        form: Form,
        set: Option<SortedSetRef<'_>>,
    ) -> Result<usize, CmdError> {
        let left = args.len() - at - 1;
        match () {
            () if args.is(at, "withdist") => self.with_distance = true,
            () if args.is(at, "withhash") => self.with_score = true,
            () if args.is(at, "withcoord") => self.with_point = true,
            () if args.is(at, "any") => self.any = true,
            () if args.is(at, "asc") => self.order = Order::NearestFirst,
            () if args.is(at, "desc") => self.order = Order::FarthestFirst,
            () if left >= 1 && args.is(at, "count") => {
                let count = usize::try_from(args.integer(at + 1)?).ok().filter(|&count| count > 0);
                self.count = Some(count.ok_or(CmdError::fixed("ERR COUNT must be > 0"))?);
                return Ok(2);
            }
            () if form == Form::SearchStore && args.is(at, "storedist") => self.store_distance = true,
            () if matches!(form, Form::Search | Form::SearchStore) => return self.read_area(args, at, set),
            () if matches!(form, Form::Radius(_))
                && left >= 1
                && (args.is(at, "store") || args.is(at, "storedist")) =>
            {
                (self.store, self.store_distance) = (Some(at + 1), args.is(at, "storedist"));
                return Ok(2);
            }
            () => return Err(CmdError::SYNTAX),
        }
        Ok(1)
    }

    /// Reads an option that says where and in what shape to look; how many arguments it has.
    fn read_area(
        &mut self,
        args: &Argv<'_>,
        at: usize,
        set: Option<SortedSetRef<'_>>,
    ) -> Result<usize, CmdError> {
        let left = args.len() - at - 1;
        let is_polygon = matches!(self.shape, Some(Shape::Polygon(_)));
        let is_circle = matches!(self.shape, Some(Shape::Circle(_)));
        let is_rectangle = matches!(self.shape, Some(Shape::Rectangle(..)));
        match () {
            () if left >= 1
                && self.center != Some(Center::Place)
                && !is_polygon
                && args.is(at, "frommember") =>
            {
                self.center = Some(Center::Member);
                if let Some(set) = set {
                    self.point = member_point(set, args.at(at + 1))?;
                }
                Ok(2)
            }
            () if left >= 2
                && self.center != Some(Center::Member)
                && !is_polygon
                && args.is(at, "fromlonlat") =>
            {
                self.center = Some(Center::Place);
                self.point = point(args, at + 1)?;
                Ok(3)
            }
            () if left >= 2 && !is_rectangle && !is_polygon && args.is(at, "byradius") => {
                self.read_radius(args, at + 1)?;
                Ok(3)
            }
            () if left >= 3 && !is_circle && !is_polygon && args.is(at, "bybox") => {
                self.read_rectangle(args, at + 1)?;
                Ok(4)
            }
            () if left >= 2
                && !is_circle
                && !is_rectangle
                && self.center.is_none()
                && args.is(at, "bypolygon") =>
            {
                self.read_polygon(args, at + 1)
            }
            () => Err(CmdError::SYNTAX),
        }
    }

    fn read_rectangle(&mut self, args: &Argv<'_>, at: usize) -> CmdResult {
        let width = length(args, at, "ERR need numeric width")?;
        let height = length(args, at + 1, "ERR need numeric height")?;
        if width < 0.0 || height < 0.0 {
            return Err(CmdError::fixed("ERR height or width cannot be negative"));
        }
        self.unit = unit(args, at + 2)?;
        self.shape = Some(Shape::Rectangle(width * self.unit, height * self.unit));
        Ok(())
    }

    /// Reads a number of corners at `at`, and them; how many arguments the option has.
    fn read_polygon(&mut self, args: &Argv<'_>, at: usize) -> Result<usize, CmdError> {
        let count = args.integer(at).ok().and_then(|count| i32::try_from(count).ok());
        let count = count.ok_or(CmdError::fixed("ERR invalid number of vertices"))?;
        let given = (args.len() - at - 1) / 2;
        let count = usize::try_from(count).ok().filter(|count| (3..=given).contains(count));
        let count = count.ok_or(CmdError::fixed("ERR GEOSEARCH BYPOLYGON must have at least 3 vertices"))?;
        let corners = (0..count).map(|index| point(args, at + 1 + 2 * index));
        self.unit = 1.0;
        self.shape = Some(Shape::Polygon(corners.collect::<Result<_, _>>()?));
        Ok(2 + 2 * count)
    }

    fn check(&self, args: &Argv<'_>, form: Form) -> CmdResult {
        let wants_parts = self.with_distance || self.with_score || self.with_point;
        if self.store.is_some() && wants_parts {
            return Err(CmdError::fixed(match form {
                Form::SearchStore => SEARCH_STORE_PARTS,
                _ => RADIUS_STORE_PARTS,
            }));
        }
        if matches!(form, Form::Search | Form::SearchStore) {
            let is_polygon = matches!(self.shape, Some(Shape::Polygon(_)));
            if self.center.is_none() && !is_polygon {
                return Err(lacks("exactly one of FROMMEMBER or FROMLONLAT", args));
            }
            if self.shape.is_none() {
                return Err(lacks("exactly one of BYRADIUS and BYBOX", args));
            }
        }
        if self.any && self.count.is_none() {
            return Err(CmdError::fixed("ERR the ANY argument requires COUNT argument"));
        }
        Ok(())
    }

    /// Where to look. None only if the request could do without, as there is no set.
    fn area(&mut self) -> Option<Area> {
        Some(match self.shape.take()? {
            Shape::Circle(radius) => Area::circle(self.point, radius),
            Shape::Rectangle(width, height) => Area::rectangle(self.point, width, height),
            Shape::Polygon(corners) => Area::polygon(corners),
        })
    }
}

/// The client's own word for the command is repeated.
fn lacks(what: &str, args: &Argv<'_>) -> CmdError {
    CmdError::of_bytes([format!("ERR {what} can be specified for ").as_bytes(), args.at(0)].concat())
}

fn length(args: &Argv<'_>, at: usize, error: &'static str) -> Result<f64, CmdError> {
    args.float(at).map_err(|_| CmdError::fixed(error))
}

fn member_point(set: SortedSetRef<'_>, member: &[u8]) -> Result<Point, CmdError> {
    let score = set.score(member);
    let missing = || CmdError::of_bytes([b"ERR member ", member, b" does not exist"].concat());
    score.map(Point::of_score).ok_or_else(missing)
}

struct Found<'a> {
    item: ScoredMember<'a>,
    point: Point,
    /// Meters from the middle of the area.
    distance: f64,
}

fn find<'a>(set: SortedSetRef<'a>, area: &Area, limit: usize) -> Vec<Found<'a>> {
    let mut found = Vec::new();
    for scores in area.scores() {
        let interval =
            Interval::Scores(ScoreBound::Inclusive(scores.start), ScoreBound::Exclusive(scores.end));
        for item in set.items(set.ranks(interval), Direction::Ascending) {
            let point = Point::of_score(item.score);
            if let Some(distance) = area.distance_inside(point) {
                found.push(Found { item, point, distance });
            }
            if found.len() >= limit {
                return found;
            }
        }
    }
    found
}

/// The points that a request asks for.
fn search<'a>(set: Option<SortedSetRef<'a>>, request: &mut Request) -> Vec<Found<'a>> {
    let Some((set, area)) = set.zip(request.area()) else { return Vec::new() };
    let (count, any) = (request.count.unwrap_or(usize::MAX), request.any);
    let mut found = find(set, &area, if any { count } else { usize::MAX });
    let by_distance = |a: &Found<'_>, b: &Found<'_>| a.distance.total_cmp(&b.distance);
    match request.order {
        // So many of all can only mean the nearest.
        Order::AsFound if request.count.is_none() || any => {}
        Order::AsFound | Order::NearestFirst => found.sort_by(by_distance),
        Order::FarthestFirst => found.sort_by(|a, b| by_distance(b, a)),
    }
    found.truncate(count);
    found
}

fn run(ctx: &mut Ctx, form: Form) -> CmdResult {
    let (args, clock) = (ctx.args, ctx.keys.access.fresh);
    let source = ctx.key(if form == Form::SearchStore { 2 } else { 1 });
    let set = ctx.keys.read::<SortedSet>(source)?;
    let mut request = Request::parse(&args, form, set)?;
    let found = search(set, &mut request);
    let Some(index) = request.store else {
        reply(ctx.reply, &request, &found);
        return Ok(());
    };
    let destination = Key::new(args.at(index));
    let score = |point: &Found<'_>| match request.store_distance {
        true => point.distance / request.unit,
        false => point.item.score,
    };
    let items = found.iter().map(|point| ScoredMember { score: score(point), ..point.item });
    let made = sorted_set::entry(destination.bytes, items, ctx.config.thresholds, clock);
    let entry = made.map_err(|error| CmdError::new(format!("ERR {error}")))?;
    let changes = found.len() as u64;
    store_result(ctx, destination, entry, event(form), changes);
    Ok(())
}

fn event(form: Form) -> Event {
    (class::SORTED_SET, if form == Form::SearchStore { "geosearchstore" } else { "georadiusstore" })
}

fn reply(reply: &mut Reply, request: &Request, found: &[Found<'_>]) {
    let parts = [request.with_distance, request.with_score, request.with_point];
    let part_count = parts.iter().filter(|&&wanted| wanted).count();
    reply.array(found.len());
    for Found { item, point, distance } in found {
        if part_count > 0 {
            reply.array(1 + part_count);
        }
        reply_element(reply, item.member);
        if request.with_distance {
            reply_distance(reply, distance / request.unit);
        }
        if request.with_score {
            reply.integer(item.score as i64);
        }
        if request.with_point {
            reply_point(reply, *point);
        }
    }
}

const SEARCH_STORE_PARTS: &str =
    "ERR GEOSEARCHSTORE is not compatible with WITHDIST, WITHHASH and WITHCOORD options";
const RADIUS_STORE_PARTS: &str =
    "ERR STORE option in GEORADIUS is not compatible with WITHDIST, WITHHASH and WITHCOORD options";
