//! INCREX: a counter with bounds and a time of expiry, whole or in fractions.

use std::cmp::Ordering;

use base::longdouble::LongDouble;
use store::Text;
use store::text::{Expiry, Incoming, TextRef};

use super::instant::Lifetime;
use super::string::{delete_expired, name_set, row};
use crate::args::Argv;
use crate::command::{CmdResult, Command};
use crate::ctx::Ctx;
use crate::error::CmdError;
use crate::keys::Event;
use crate::keyspec::{KeySpec, flag as key};
use crate::notify::class;

pub static TABLE: &[Command] = &[row("increx", -2, increx)
    .write()
    .deny_oom()
    .fast()
    .keys(&[KeySpec::one(1, key::RW | key::ACCESS | key::UPDATE)])
    .since("8.8.0")
    .syntax(
        "key [BYFLOAT float=double | BYINT integer] [SATURATE] [LBOUND lowerbound=string] \
         [UBOUND upperbound=string] [EX seconds | PX milliseconds | EXAT unix-time-seconds | \
         PXAT unix-time-milliseconds | PERSIST] [ENX]",
    )
    .docs("Adds to a key's number within bounds, and may change when the key expires.", "O(1)")];

const BAD_BOUNDS: CmdError = CmdError::fixed("ERR LBOUND can't be greater than UBOUND");

/// What it is told. Numbers are places of arguments: what kind they are of is known at the end only.
#[derive(Default)]
struct Request {
    is_float: bool,
    increment: Option<usize>,
    lower: Option<usize>,
    upper: Option<usize>,
    /// A result out of bounds becomes the bound; else nothing happens.
    saturate: bool,
    lifetime: Option<Lifetime>,
    /// The time of expiry is only for a key that has none.
    if_none: bool,
}

impl Request {
    fn parse(args: &Argv<'_>) -> Result<Request, CmdError> {
        let mut request = Request::default();
        let mut index = 2;
        while index < args.len() {
            index = request.take_option(args, index)?;
        }
        match request.lifetime {
            Some(Lifetime::Persist) if request.if_none => Err(CmdError::SYNTAX),
            None if request.if_none => Err(CmdError::fixed("ERR ENX flag requires an expiration")),
            _ => Ok(request),
        }
    }

    /// Takes in the option at `index`; the place behind it. None may come twice.
    fn take_option(&mut self, args: &Argv<'_>, index: usize) -> Result<usize, CmdError> {
        let number = match () {
            () if args.is(index, "byint") => &mut self.increment,
            () if args.is(index, "byfloat") => {
                self.is_float = true;
                &mut self.increment
            }
            () if args.is(index, "lbound") => &mut self.lower,
            () if args.is(index, "ubound") => &mut self.upper,
            () if args.is(index, "saturate") => return once(&mut self.saturate, index),
            () if args.is(index, "enx") => return once(&mut self.if_none, index),
            () => return self.take_lifetime(args, index),
        };
        match number.replace(args.operand(index)?) {
            None => Ok(index + 2),
            Some(_) => Err(CmdError::SYNTAX),
        }
    }

    fn take_lifetime(&mut self, args: &Argv<'_>, index: usize) -> Result<usize, CmdError> {
        let mut lifetime = Lifetime::Default;
        let next = lifetime.take_option(args, index, args.len())?;
        let is_allowed = lifetime != Lifetime::Keep && self.lifetime.replace(lifetime).is_none();
        if is_allowed { Ok(next) } else { Err(CmdError::SYNTAX) }
    }

    fn expiry(&self, ctx: &Ctx) -> Result<Expiry, CmdError> {
        match self.lifetime {
            Some(Lifetime::Persist) => Ok(Expiry::Drop),
            Some(lifetime) => lifetime.expiry(&ctx.args, ctx.now(), ctx.name()),
            None => Ok(Expiry::Keep),
        }
    }
}

fn once(option: &mut bool, index: usize) -> Result<usize, CmdError> {
    if std::mem::replace(option, true) { Err(CmdError::SYNTAX) } else { Ok(index + 1) }
}

/// A number as a client gives it, `what` in errors; `default` if it gives none.
fn integer(args: &Argv<'_>, place: Option<usize>, what: &str, default: i64) -> Result<i64, CmdError> {
    let bad = |_| CmdError::new(format!("ERR {what} is not an integer or out of range"));
    place.map_or(Ok(default), |index| args.integer(index).map_err(bad))
}

fn float(
    args: &Argv<'_>,
    place: Option<usize>,
    what: &str,
    default: LongDouble,
) -> Result<LongDouble, CmdError> {
    let Some(index) = place else { return Ok(default) };
    let number = LongDouble::parse(args.at(index));
    number.ok_or_else(|| CmdError::new(format!("ERR {what} is not a valid float")))
}

fn increx(ctx: &mut Ctx) -> CmdResult {
    let request = Request::parse(&ctx.args)?;
    if request.is_float { add_float(ctx, &request) } else { add_integer(ctx, &request) }
}

fn add_integer(ctx: &mut Ctx, request: &Request) -> CmdResult {
    let by = integer(&ctx.args, request.increment, "Increment", 1)?;
    let lower = integer(&ctx.args, request.lower, "LBOUND", i64::MIN)?;
    let upper = integer(&ctx.args, request.upper, "UBOUND", i64::MAX)?;
    if lower > upper {
        return Err(BAD_BOUNDS);
    }
    let (key, expiry) = (ctx.key(1), request.expiry(ctx)?);
    let text = ctx.keys.peek_as::<Text>(key)?;
    let old = text.map_or(Ok(0), |text| text.integer().ok_or(CmdError::NOT_INTEGER))?;
    let sum = i128::from(old) + i128::from(by);
    let new = sum.clamp(lower.into(), upper.into());
    let done = new == sum || request.saturate;
    // Between two numbers of 64 bits it is one itself.
    let new = if done { new as i64 } else { old };
    let applied = new.checked_sub(old).ok_or(CmdError::fixed("ERR applied increment would overflow"))?;
    if done {
        let mut digits = itoa::Buffer::new();
        let event = (class::STRING, "incrby");
        put(ctx, digits.format(new).as_bytes(), event, expiry, request.if_none);
    }
    ctx.reply.array(2);
    ctx.reply.integer(new);
    ctx.reply.integer(applied);
    Ok(())
}

fn add_float(ctx: &mut Ctx, request: &Request) -> CmdResult {
    let by = float(&ctx.args, request.increment, "Increment", LongDouble::from_i64(1))?;
    if !by.is_finite() {
        return Err(CmdError::fixed("ERR BYFLOAT increment cannot be Infinity"));
    }
    let lower = float(&ctx.args, request.lower, "LBOUND", LongDouble::MIN)?;
    let upper = float(&ctx.args, request.upper, "UBOUND", LongDouble::MAX)?;
    if upper.is_less_than(lower) {
        return Err(BAD_BOUNDS);
    }
    let (key, expiry) = (ctx.key(1), request.expiry(ctx)?);
    let old = match ctx.keys.peek_as::<Text>(key)? {
        Some(TextRef::Int(value)) => LongDouble::from_i64(value),
        Some(text) => LongDouble::parse(&text.bytes()).ok_or(CmdError::NOT_FLOAT)?,
        None => LongDouble::from_i64(0),
    };
    if !old.is_finite() {
        return Err(CmdError::fixed("ERR value cannot be Infinity"));
    }
    let sum = old.add(by);
    let (new, done) = match bounded(sum, lower, upper) {
        Ordering::Equal => (sum, true),
        _ if !request.saturate => (old, false),
        Ordering::Less => (lower, true),
        Ordering::Greater => (upper, true),
    };
    let applied = new.subtract(old);
    if !applied.is_finite() {
        return Err(CmdError::fixed("ERR applied increment would be Infinity"));
    }
    let text = new.print_human();
    if done {
        put(ctx, text.as_bytes(), (class::STRING, "incrbyfloat"), expiry, request.if_none);
    }
    ctx.reply.array(2);
    ctx.reply.double_text(&text);
    ctx.reply.double_text(applied.print_human());
    Ok(())
}

/// On which side of the bounds a sum lies.
fn bounded(sum: LongDouble, lower: LongDouble, upper: LongDouble) -> Ordering {
    match sum {
        sum if sum.is_less_than(lower) => Ordering::Less,
        sum if upper.is_less_than(sum) => Ordering::Greater,
        _ => Ordering::Equal,
    }
}

/// Sets the key's number, announces it, and names as its effect what it has come to.
fn put(ctx: &mut Ctx, number: &[u8], event: Event, expiry: Expiry, if_none: bool) {
    let key = ctx.key(1);
    let expires = ctx.keys.peek(key).map(|entry| entry.expires_at().is_some());
    let expiry = if if_none && expires == Some(true) { Expiry::Keep } else { expiry };
    if matches!(expiry, Expiry::At(at) if at <= ctx.now().0) && !ctx.keys.keeps_expired() {
        if expires.is_some() {
            delete_expired(ctx, key);
        }
        return;
    }
    ctx.keys.set_text(key, Incoming::Slice(number), expiry);
    ctx.keys.changed(key, event);
    name_set(ctx, key, number, expiry);
    match expiry {
        Expiry::At(_) => ctx.keys.event(key, (class::GENERIC, "expire")),
        Expiry::Drop if expires == Some(true) => ctx.keys.event(key, (class::GENERIC, "persist")),
        Expiry::Drop | Expiry::Keep => {}
    }
}
