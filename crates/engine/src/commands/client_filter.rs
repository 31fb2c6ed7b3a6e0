//! The filters of CLIENT LIST and CLIENT KILL: which connections they mean.

use std::collections::BTreeSet;
use std::mem::discriminant;
use std::sync::atomic::Ordering;

use base::time::UnixMs;

use crate::clients::{Client, flag};
use crate::ctx::Ctx;
use crate::error::CmdError;

/// Conditions that must all hold.
#[derive(Default)]
pub struct Filter {
    conditions: Vec<Condition>,
    /// SKIPME, if given.
    pub skip_me: Option<bool>,
}

struct Condition {
    test: Test,
    /// What the test must yield: NOT-filters ask for false.
    wanted: bool,
}

enum Test {
    Ids(BTreeSet<u64>),
    Type(ClientType),
    Address(Vec<u8>),
    LocalAddress(Vec<u8>),
    Ip(Vec<u8>),
    User(Vec<u8>),
    Name(Vec<u8>),
    Library(Vec<u8>),
    LibraryVersion(Vec<u8>),
    Db(u16),
    /// Letters of CLIENT LIST.
    Flags(Vec<u8>),
    /// Letters of capabilities, as CLIENT LIST shows them.
    Capabilities(Vec<u8>),
    AgeSeconds(i64),
    IdleSeconds(i64),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ClientType {
    Normal,
    Replica,
    Primary,
    Pubsub,
}

impl Filter {
    /// The clients that came from an address.
    pub fn address(address: &[u8]) -> Filter {
        let test = Test::Address(address.to_vec());
        Filter { conditions: vec![Condition { test, wanted: true }], skip_me: None }
    }

    /// Reads the filters behind the subcommand.
    pub fn parse(ctx: &Ctx, purpose: Purpose) -> Result<Filter, CmdError> {
        let mut filter = Filter::default();
        let mut index = 2;
        while index < ctx.args.len() {
            let value = ctx.args.operand(index)?;
            let word = ctx.args.at(index).to_ascii_lowercase();
            let (word, wanted) = match word.strip_prefix(b"not-") {
                Some(rest) => (rest, false),
                None => (&word[..], true),
            };
            index = value + 1;
            match word {
                b"skipme" if wanted => filter.skip_me = Some(parse_skip_me(ctx, value)?),
                b"id" => {
                    let ids;
                    (ids, index) = parse_ids(ctx, value, purpose)?;
                    filter.add(Test::Ids(ids), wanted);
                }
                _ => filter.add(parse_test(ctx, word, value, wanted)?, wanted),
            }
        }
        Ok(filter)
    }

    /// A filter given twice: the later one counts; ids add up.
    fn add(&mut self, test: Test, wanted: bool) {
        let is_same =
            |old: &&mut Condition| old.wanted == wanted && discriminant(&old.test) == discriminant(&test);
        match (self.conditions.iter_mut().find(is_same), test) {
            (Some(Condition { test: Test::Ids(old), .. }), Test::Ids(new)) => old.extend(new),
            (Some(old), test) => old.test = test,
            (None, test) => self.conditions.push(Condition { test, wanted }),
        }
    }

    pub fn matches(&self, client: &Client, now: UnixMs) -> bool {
        let is_there = !client.killed.load(Ordering::Relaxed);
        is_there
            && self.conditions.iter().all(|condition| condition.test.holds(client, now) == condition.wanted)
    }
}

fn parse_skip_me(ctx: &Ctx, value: usize) -> Result<bool, CmdError> {
    match (ctx.args.is(value, "yes"), ctx.args.is(value, "no")) {
        (true, _) => Ok(true),
        (_, true) => Ok(false),
        _ => Err(CmdError::SYNTAX),
    }
}

/// What the clients are wanted for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    List,
    Kill,
}

impl Purpose {
    /// The answer to an id that cannot be one.
    fn bad_id(self) -> CmdError {
        CmdError::new(match self {
            Purpose::List => "ERR Invalid client ID",
            Purpose::Kill => "ERR client-id should be greater than 0",
        })
    }
}

/// One id or more: up to the next word that is no number, whose index is returned too.
fn parse_ids(ctx: &Ctx, first: usize, purpose: Purpose) -> Result<(BTreeSet<u64>, usize), CmdError> {
    let mut ids = BTreeSet::new();
    for index in first..ctx.args.len() {
        match ctx.args.integer(index) {
            Ok(id @ 1..) => ids.insert(id as u64),
            // There is no such client to be listed.
            Ok(_) if purpose == Purpose::List => true,
            Ok(_) => return Err(purpose.bad_id()),
            Err(_) if index == first => return Err(purpose.bad_id()),
            Err(_) => return Ok((ids, index)),
        };
    }
    Ok((ids, ctx.args.len()))
}

fn parse_test(ctx: &Ctx, word: &[u8], value: usize, wanted: bool) -> Result<Test, CmdError> {
    let text = ctx.args.at(value);
    Ok(match word {
        b"type" => Test::Type(parse_type(ctx, value)?),
        b"addr" => Test::Address(text.to_vec()),
        b"laddr" => Test::LocalAddress(text.to_vec()),
        b"ip" => Test::Ip(text.to_vec()),
        b"user" => Test::User(parse_user(ctx, value)?),
        b"name" => Test::Name(text.to_vec()),
        b"lib-name" => Test::Library(text.to_vec()),
        b"lib-ver" => Test::LibraryVersion(text.to_vec()),
        b"db" => Test::Db(parse_db(ctx, value, wanted)?),
        b"flags" => Test::Flags(parse_letters(ctx, value, wanted, ("flags", "FLAGS"), FLAG_LETTERS)?),
        b"capa" => Test::Capabilities(parse_letters(ctx, value, wanted, ("capa", "CAPA"), b"r")?),
        b"maxage" if wanted => Test::AgeSeconds(parse_seconds(ctx, value, "maxage")?),
        b"idle" if wanted => Test::IdleSeconds(parse_seconds(ctx, value, "idle")?),
        _ => return Err(CmdError::SYNTAX),
    })
}

fn parse_type(ctx: &Ctx, value: usize) -> Result<ClientType, CmdError> {
    let known = TYPES.iter().find(|(name, _)| ctx.args.is(value, name));
    known
        .map(|(_, kind)| *kind)
        .ok_or_else(|| CmdError::new(format!("ERR Unknown client type '{}'", ctx.text(value))))
}

fn parse_user(ctx: &Ctx, value: usize) -> Result<Vec<u8>, CmdError> {
    match ctx.args.at(value) {
        b"default" => Ok(b"default".to_vec()),
        _ => Err(CmdError::new(format!("ERR No such user '{}'", ctx.text(value)))),
    }
}

fn parse_db(ctx: &Ctx, value: usize, wanted: bool) -> Result<u16, CmdError> {
    let name = if wanted { "DB" } else { "NOT-DB" };
    let last = ctx.engine.store.databases() - 1;
    let number = ctx.args.integer(value);
    let number =
        number.map_err(|_| CmdError::new(format!("ERR {name} is not an integer or out of range")))?;
    match u16::try_from(number) {
        Ok(db) if db <= last => Ok(db),
        _ => Err(CmdError::new(format!("ERR {name} number should be between 0 and {last}"))),
    }
}

/// Letters that are all among the known ones. `names` are the filter's, in small letters and in capitals.
fn parse_letters(
    ctx: &Ctx,
    value: usize,
    wanted: bool,
    names: (&str, &str),
    known: &[u8],
) -> Result<Vec<u8>, CmdError> {
    let letters = ctx.args.at(value);
    if letters.iter().all(|letter| known.contains(letter)) {
        return Ok(letters.to_vec());
    }
    let place = if wanted { "provided".to_owned() } else { format!("NOT-{}", names.1) };
    Err(CmdError::new(format!("ERR Unknown {} found in the {place} filter: {}", names.0, ctx.text(value))))
}

fn parse_seconds(ctx: &Ctx, value: usize, name: &str) -> Result<i64, CmdError> {
    match ctx.args.integer(value) {
        Ok(seconds @ 1..) => Ok(seconds),
        Ok(_) => Err(CmdError::new(format!("ERR {name} should be greater than 0"))),
        Err(_) => Err(CmdError::new(format!("ERR {name} is not an integer or out of range"))),
    }
}

impl Test {
    fn holds(&self, client: &Client, now: UnixMs) -> bool {
        match self {
            Test::Ids(ids) => ids.contains(&client.id.0),
            Test::Type(kind) => type_of(client) == *kind,
            Test::Address(address) => client.peer.as_bytes() == address,
            Test::LocalAddress(address) => client.local.as_bytes() == address,
            Test::Ip(ip) => !client.unix && host_of(&client.peer).as_bytes() == ip,
            Test::User(user) => client.names.lock().user.as_bytes() == user,
            Test::Name(name) => is_given(&client.names.lock().name, name),
            Test::Library(name) => is_given(&client.names.lock().library, name),
            Test::LibraryVersion(version) => is_given(&client.names.lock().library_version, version),
            Test::Db(db) => client.db.load(Ordering::Relaxed) == *db,
            Test::Flags(letters) => letters.iter().all(|letter| has_letter(client.all_flags(), *letter)),
            Test::Capabilities(letters) => {
                letters.is_empty() || client.takes_redirects.load(Ordering::Relaxed)
            }
            Test::AgeSeconds(seconds) => now.since(client.created) / 1000 >= *seconds,
            Test::IdleSeconds(seconds) => {
                now.since(UnixMs(client.last_interaction_ms.load(Ordering::Relaxed))) / 1000 >= *seconds
            }
        }
    }
}

/// A client that has not given the text has none, not an empty one.
fn is_given(text: &str, wanted: &[u8]) -> bool {
    !text.is_empty() && text.as_bytes() == wanted
}

fn type_of(client: &Client) -> ClientType {
    match () {
        () if client.has_flag(flag::REPLICA) => ClientType::Replica,
        () if client.has_flag(flag::SUBSCRIBED) => ClientType::Pubsub,
        () => ClientType::Normal,
    }
}

/// `127.0.0.1:1234` and `[::1]:1234` without the port.
fn host_of(peer: &str) -> &str {
    let host = peer.rsplit_once(':').map_or(peer, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

fn has_letter(flags: u32, letter: u8) -> bool {
    if letter == b'N' {
        return flags == 0;
    }
    flag::LETTERS.iter().any(|(flag, known)| *known as u8 == letter && flags & flag != 0)
}

const TYPES: [(&str, ClientType); 6] = [
    ("normal", ClientType::Normal),
    ("slave", ClientType::Replica),
    ("replica", ClientType::Replica),
    ("pubsub", ClientType::Pubsub),
    ("master", ClientType::Primary),
    ("primary", ClientType::Primary),
];

/// Every letter that CLIENT LIST of Valkey 9 knows.
const FLAG_LETTERS: &[u8] = b"OSMPxbtRBdcuAUreTIiEN";
