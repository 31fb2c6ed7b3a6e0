//! SORT: the elements of a list, a set or a sorted set in the order of their values or of keys named after
//! them. It reads those keys as any client would; what it stores is a list.

use std::cmp::Ordering;
use std::ops::Range;

use base::num::parse_f64;
use ds::list::{End, ListRef, PackedList};
use ds::listpack::Element;
use rdb::{ListObject, Object};
use resp::reply::Reply;
use store::{Entry, EntryRef, Hash, Key, Kind, List, Plan, Set, SortedSet, Text, Type};

use crate::acl_categories::category;
use crate::args::Argv;
use crate::command::{CmdResult, Command, Group, PlanInput, PlanRule, Run, command};
use crate::ctx::Ctx;
use crate::error::CmdError;
use crate::keys::{Event, Keys};
use crate::keyspec::{KeySpec, flag as key};
use crate::notify::class;

const fn row(name: &'static str, run: Run) -> Command {
    command(name, -2, Group::Generic, run)
        .categories(
            category::NOT_OF_GROUP
                | category::LIST
                | category::SET
                | category::SORTED_SET
                | category::DANGEROUS,
        )
        .plan(PlanRule::Custom(plan))
}

pub static TABLE: &[Command] = &[
    row("sort", sort)
        .write()
        .deny_oom()
        .keys(&[KeySpec::one(1, key::RO | key::ACCESS), KEYS_OF_PATTERNS, KEY_TO_STORE])
        .syntax(
            "key [BY pattern=pattern.1] [LIMIT offset count] [GET pattern=pattern.1 [GET pattern=pattern.1 ...]] \
             [ASC | DESC] [ALPHA] [STORE destination=key.2]",
        )
        .docs("Returns or stores the sorted elements of a list, a set or a sorted set.", COMPLEXITY),
    row("sort_ro", sort_ro)
        .read()
        .keys(&[KeySpec::one(1, key::RO | key::ACCESS), KEYS_OF_PATTERNS])
        .since("7.0.0")
        .syntax(
            "key [BY pattern=pattern.1] [LIMIT offset count] [GET pattern=pattern.1 [GET pattern=pattern.1 ...]] \
             [ASC | DESC] [ALPHA]",
        )
        .docs("Returns the sorted elements of a list, a set or a sorted set.", COMPLEXITY),
];

const COMPLEXITY: &str = "O(N+M*log(M)) where N is the number of elements in the list or set to sort, and M the \
                          number of returned elements. When the elements are not sorted, complexity is O(N).";

const KEYS_OF_PATTERNS: KeySpec = KeySpec {
    notes: "The keys that BY and GET read have names made of the elements",
    ..KeySpec::unknown(key::RO | key::ACCESS)
};

const KEY_TO_STORE: KeySpec = KeySpec {
    notes: "STORE may stand anywhere among the options",
    ..KeySpec::located(stored_key, key::OW | key::UPDATE)
};

const SORTSTORE: Event = (class::LIST, "sortstore");
const DEL: Event = (class::GENERIC, "del");

fn sort(ctx: &mut Ctx) -> CmdResult {
    let options = Options::parse(&ctx.args, Storing::Allowed)?;
    run(ctx, &options)
}

fn sort_ro(ctx: &mut Ctx) -> CmdResult {
    let options = Options::parse(&ctx.args, Storing::Refused)?;
    run(ctx, &options)
}

/// Keys that patterns name can be in any shard.
fn plan(input: &PlanInput<'_>) -> Plan {
    let shard_of = |index: usize| input.engine.store.shard_of(base::hash::hash(input.argv.at(index)));
    match Options::parse(input.argv, Storing::Allowed) {
        Ok(options) if options.reads_other_keys() => Plan::All,
        Ok(options) => Plan::of([Some(1), options.store].into_iter().flatten().map(shard_of)),
        Err(_) => Plan::None,
    }
}

/// The key behind the last STORE. Words that are no options are passed over, as Redis does: nothing is stored
/// then, but COMMAND GETKEYS answers.
fn stored_key(argv: &Argv<'_>) -> Option<usize> {
    let (mut index, mut found) = (2, None);
    while index < argv.len() {
        let operands = match () {
            () if argv.is(index, "limit") => 2,
            () if argv.is(index, "get") || argv.is(index, "by") => 1,
            () if argv.is(index, "store") && index + 1 < argv.len() => {
                found = Some(index + 1);
                1
            }
            () => 0,
        };
        index += 1 + operands;
    }
    found
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Storing {
    Allowed,
    Refused,
}

struct Options<'a> {
    by: By<'a>,
    gets: Vec<Pattern<'a>>,
    descending: bool,
    alpha: bool,
    offset: i64,
    /// Negative: all.
    count: i64,
    /// Which argument is the key to store the result at.
    store: Option<usize>,
}

/// What decides the order.
enum By<'a> {
    Element,
    /// Elements keep the order they have.
    Nothing,
    Key(KeyPattern<'a>),
}

/// What is returned for an element.
enum Pattern<'a> {
    Element,
    /// A name without a place for the element: no value.
    Nothing,
    Key(KeyPattern<'a>),
}

/// A key named after an element, or a field of a hash there.
struct KeyPattern<'a> {
    prefix: &'a [u8],
    suffix: &'a [u8],
    field: Option<&'a [u8]>,
}

impl<'a> Options<'a> {
    fn parse(args: &Argv<'a>, storing: Storing) -> Result<Options<'a>, CmdError> {
        let mut options = Options {
            by: By::Element,
            gets: Vec::new(),
            descending: false,
            alpha: false,
            offset: 0,
            count: -1,
            store: None,
        };
        let mut at = 2;
        while at < args.len() {
            at += options.parse_one(args, at, storing)?;
        }
        Ok(options)
    }

    /// Reads one option; how many arguments it has.
    fn parse_one(&mut self, args: &Argv<'a>, at: usize, storing: Storing) -> Result<usize, CmdError> {
        let left = args.len() - at - 1;
        match () {
            () if args.is(at, "asc") => self.descending = false,
            () if args.is(at, "desc") => self.descending = true,
            () if args.is(at, "alpha") => self.alpha = true,
            () if args.is(at, "limit") && left >= 2 => {
                (self.offset, self.count) = (args.integer(at + 1)?, args.integer(at + 2)?);
                return Ok(3);
            }
            () if args.is(at, "store") && left >= 1 && storing == Storing::Allowed => {
                self.store = Some(at + 1);
                return Ok(2);
            }
            () if args.is(at, "by") && left >= 1 => {
                self.by = KeyPattern::parse(args.at(at + 1)).map_or(By::Nothing, By::Key);
                return Ok(2);
            }
            () if args.is(at, "get") && left >= 1 => {
                self.gets.push(Pattern::parse(args.at(at + 1)));
                return Ok(2);
            }
            () => return Err(CmdError::SYNTAX),
        }
        Ok(1)
    }

    fn key_patterns(&self) -> impl Iterator<Item = &KeyPattern<'a>> {
        let by = match &self.by {
            By::Key(pattern) => Some(pattern),
            By::Element | By::Nothing => None,
        };
        by.into_iter().chain(self.gets.iter().filter_map(Pattern::key))
    }

    fn reads_other_keys(&self) -> bool {
        self.key_patterns().next().is_some()
    }

    fn reads_fields(&self) -> bool {
        self.key_patterns().any(|pattern| pattern.field.is_some())
    }

    /// The part of so many sorted elements that is asked for.
    fn range(&self, len: usize) -> Range<usize> {
        let start = usize::try_from(self.offset).unwrap_or(0).min(len);
        let count = usize::try_from(self.count).unwrap_or(len);
        start..start.saturating_add(count).min(len)
    }
}

impl<'a> Pattern<'a> {
    fn parse(text: &'a [u8]) -> Pattern<'a> {
        if text == b"#" {
            return Pattern::Element;
        }
        KeyPattern::parse(text).map_or(Pattern::Nothing, Pattern::Key)
    }

    fn key(&self) -> Option<&KeyPattern<'a>> {
        match self {
            Pattern::Key(pattern) => Some(pattern),
            Pattern::Element | Pattern::Nothing => None,
        }
    }

    /// Shows what there is for an element; false if there is nothing.
    fn show(&self, keys: &mut Keys<'_, '_>, element: &[u8], show: impl FnOnce(&[u8])) -> bool {
        match self {
            Pattern::Element => {
                show(element);
                true
            }
            Pattern::Nothing => false,
            Pattern::Key(pattern) => pattern.show(keys, element, show).is_some(),
        }
    }
}

impl<'a> KeyPattern<'a> {
    /// None if the text has no `*`. An arrow behind it with a name after it makes a field.
    fn parse(text: &'a [u8]) -> Option<KeyPattern<'a>> {
        let star = text.iter().position(|&byte| byte == b'*')?;
        let (prefix, suffix) = (&text[..star], &text[star + 1..]);
        let arrow = suffix.windows(2).position(|pair| pair == b"->").filter(|at| at + 2 < suffix.len());
        let (suffix, field) = match arrow {
            Some(at) => (&suffix[..at], Some(&suffix[at + 2..])),
            None => (suffix, None),
        };
        Some(KeyPattern { prefix, suffix, field })
    }

    /// Shows the value there is for an element: a string, or a field of a hash.
    fn show<R>(&self, keys: &mut Keys<'_, '_>, element: &[u8], show: impl FnOnce(&[u8]) -> R) -> Option<R> {
        let name = [self.prefix, element, self.suffix].concat();
        let now = keys.field_now();
        let entry = keys.entry(Key::new(&name))?;
        match (self.field, entry.kind()) {
            (None, Type::String) => Some(show(&Text::view(entry).bytes())),
            (Some(field), Type::Hash) => Some(show(&Hash::view(entry).get(field, now)?.to_vec())),
            _ => None,
        }
    }
}

fn run(ctx: &mut Ctx, options: &Options<'_>) -> CmdResult {
    let key = ctx.key(1);
    let mut elements = match ctx.keys.entry(key) {
        Some(entry) => Elements::load(entry)?,
        None => Elements::default(),
    };
    // What is stored, or steers a script, must be the same wherever the command runs again.
    let repeatable = options.store.is_some() || ctx.session.in_script;
    elements.sort(&mut ctx.keys, options, repeatable)?;
    let range = options.range(elements.spans.len());
    match options.store {
        Some(at) => store(ctx, options, &elements, range, at),
        None => reply(ctx.reply, &mut ctx.keys, options, &elements, range),
    }
    Ok(())
}

/// Where an element's bytes, or those it is sorted by, stand.
#[derive(Clone, Copy)]
struct Span {
    start: usize,
    len: usize,
}

/// All elements, their bytes in one block.
#[derive(Default)]
struct Elements {
    bytes: Vec<u8>,
    spans: Vec<Span>,
    /// They come in an order of their own, not as they lie in memory.
    ordered: bool,
}

impl Elements {
    fn load(entry: EntryRef<'_>) -> Result<Elements, CmdError> {
        let mut elements = Elements { ordered: entry.kind() != Type::Set, ..Elements::default() };
        match entry.kind() {
            Type::List => List::view(entry).for_each(|element| elements.push(element)),
            Type::Set => Set::view(entry).iter().for_each(|member| elements.push(member)),
            Type::SortedSet => SortedSet::view(entry).iter().for_each(|item| elements.push(item.member)),
            _ => return Err(CmdError::WRONG_TYPE),
        }
        Ok(elements)
    }

    fn push(&mut self, element: Element<'_>) {
        let start = self.bytes.len();
        element.write_to(&mut self.bytes);
        self.spans.push(Span { start, len: self.bytes.len() - start });
    }

    fn at(&self, span: Span) -> &[u8] {
        &self.bytes[span.start..span.start + span.len]
    }

    fn sort(&mut self, keys: &mut Keys<'_, '_>, options: &Options<'_>, repeatable: bool) -> CmdResult {
        match &options.by {
            By::Nothing if self.ordered && options.descending => self.spans.reverse(),
            By::Nothing if !self.ordered && repeatable => self.sort_by_bytes(options.descending),
            By::Nothing => {}
            By::Element if options.alpha => self.sort_by_bytes(options.descending),
            By::Key(pattern) if options.alpha => self.sort_by_texts(keys, pattern, options.descending),
            By::Element => {
                let scores = self.spans.iter().map(|&span| score(self.at(span))).collect();
                return self.sort_by_scores(scores, options.descending);
            }
            By::Key(pattern) => {
                let score_of = |&span: &Span| pattern.show(keys, self.at(span), score).unwrap_or(Some(0.0));
                let scores = self.spans.iter().map(score_of).collect();
                return self.sort_by_scores(scores, options.descending);
            }
        }
        Ok(())
    }

    fn sort_by_bytes(&mut self, descending: bool) {
        let bytes = |span: &Span| &self.bytes[span.start..span.start + span.len];
        self.spans.sort_by(|a, b| directed(bytes(a).cmp(bytes(b)), descending));
    }

    /// Equal scores leave the order to the elements. Fails if some element has none.
    fn sort_by_scores(&mut self, scores: Vec<Option<f64>>, descending: bool) -> CmdResult {
        let scores: Option<Vec<f64>> = scores.into_iter().collect();
        let scores = scores.ok_or(CmdError::fixed(NO_SCORE))?;
        let mut pairs: Vec<(f64, Span)> = scores.into_iter().zip(self.spans.iter().copied()).collect();
        pairs.sort_by(|a, b| {
            let by_score = a.0.partial_cmp(&b.0).unwrap_or(Ordering::Equal);
            directed(by_score.then_with(|| self.at(a.1).cmp(self.at(b.1))), descending)
        });
        self.spans = pairs.into_iter().map(|(_, span)| span).collect();
        Ok(())
    }

    /// Elements without a text come first and keep their order.
    fn sort_by_texts(&mut self, keys: &mut Keys<'_, '_>, pattern: &KeyPattern<'_>, descending: bool) {
        let mut texts = Vec::new();
        let mut text_of = |&span: &Span| {
            let start = texts.len();
            let found = pattern.show(keys, self.at(span), |text| texts.extend_from_slice(text));
            (found.map(|()| Span { start, len: texts.len() - start }), span)
        };
        let mut pairs: Vec<(Option<Span>, Span)> = self.spans.iter().map(&mut text_of).collect();
        let text = |span: Option<Span>| span.map(|span| &texts[span.start..span.start + span.len]);
        pairs.sort_by(|a, b| directed(text(a.0).cmp(&text(b.0)), descending));
        self.spans = pairs.into_iter().map(|(_, span)| span).collect();
    }
}

fn directed(order: Ordering, descending: bool) -> Ordering {
    if descending { order.reverse() } else { order }
}

/// A number as C's strtod takes it: up to a zero byte, blanks before it are fine, and no text at all is 0.
fn score(text: &[u8]) -> Option<f64> {
    let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
    let text = &text[..end];
    let is_blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == VERTICAL_TAB;
    let start = text.iter().position(|byte| !is_blank(byte)).unwrap_or(end);
    if text.is_empty() { Some(0.0) } else { parse_f64(&text[start..]) }
}

const VERTICAL_TAB: u8 = 0x0b;

fn reply(
    reply: &mut Reply,
    keys: &mut Keys<'_, '_>,
    options: &Options<'_>,
    elements: &Elements,
    range: Range<usize>,
) {
    reply.array(range.len() * options.gets.len().max(1));
    for_each_value(keys, options, elements, range, |value| match value {
        Some(value) => reply.bulk(value),
        None => reply.null(),
    });
}

/// Visits what is wanted of each element; None where there is nothing.
fn for_each_value(
    keys: &mut Keys<'_, '_>,
    options: &Options<'_>,
    elements: &Elements,
    range: Range<usize>,
    mut visit: impl FnMut(Option<&[u8]>),
) {
    for &span in &elements.spans[range] {
        let element = elements.at(span);
        if options.gets.is_empty() {
            visit(Some(element));
        }
        for get in &options.gets {
            if !get.show(keys, element, |value| visit(Some(value))) {
                visit(None);
            }
        }
    }
}

/// Stores the result as a list; an empty one deletes the key.
fn store(ctx: &mut Ctx, options: &Options<'_>, elements: &Elements, range: Range<usize>, at: usize) {
    let mut list = PackedList::new(ctx.config.thresholds.list_limits());
    for_each_value(&mut ctx.keys, options, elements, range, |value| {
        list.push(End::Back, value.unwrap_or_default());
    });
    let (key, len) = (ctx.key(at), list.len());
    if options.reads_fields() {
        name_effects(&mut ctx.keys, key, &list);
    }
    if len > 0 {
        let object = Object::List(ListObject::new(list));
        let entry = Entry::from_object(key.bytes, object, None, ctx.keys.access.fresh);
        ctx.keys.put(key, entry);
        ctx.keys.changed_by(key, SORTSTORE, len as u64);
    } else if ctx.keys.delete(key) {
        ctx.keys.changed(key, DEL);
    }
    ctx.reply.integer(len as i64);
}

/// What a field holds depends on the time, so the effect is what was stored.
fn name_effects(keys: &mut Keys<'_, '_>, key: Key<'_>, list: &PackedList) {
    keys.effect(&[b"DEL", key.bytes]);
    if list.is_empty() || !keys.is_logged() {
        return;
    }
    let mut stored = Vec::with_capacity(list.len());
    ListRef::Nodes(list).for_each(|element| stored.push(element.to_vec()));
    let mut words: Vec<&[u8]> = vec![b"RPUSH", key.bytes];
    words.extend(stored.iter().map(Vec::as_slice));
    keys.effect(&words);
}

const NO_SCORE: &str = "ERR One or more scores can't be converted into double";
