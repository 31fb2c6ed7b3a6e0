//! COMMAND: the command table, told to clients. Everything it answers follows from the rows; it knows no
//! other command by name, except those whose key flags depend on their arguments.

use base::glob::{Case, matches};
use resp::reply::Reply;

use crate::acl_categories::{self, category};
use crate::args::Argv;
use crate::command::{CmdResult, Command, Group, command, flag};
use crate::ctx::Ctx;
use crate::docs::syntax::{self, Argument};
use crate::error::CmdError;
use crate::keyspec::{Begin, Find, KeySpec, flag as key};
use crate::registry::{REGISTRY, Registered};

pub static TABLE: &[Command] = &[row("command", -1, command_)
    .since("2.8.13")
    .tips(ANY_ORDER)
    .docs("Describes every command.", "O(N) where N is the total number of Redis commands")
    .subcommands(COMMAND)];

static COMMAND: &[Command] = &[
    row("count", 2, count).since("2.8.13").docs("Counts the commands.", "O(1)"),
    row("docs", -2, docs)
        .since("7.0.0")
        .tips(ANY_ORDER)
        .syntax("[command-name [command-name ...]]")
        .docs("Returns the documentation of all or some commands.", LOOK_UP),
    row("getkeys", -3, getkeys)
        .since("2.8.13")
        .syntax("command [arg [arg ...]]")
        .docs("Picks the keys out of a request.", OF_ARGUMENTS),
    row("getkeysandflags", -3, getkeysandflags)
        .since("7.0.0")
        .syntax("command [arg [arg ...]]")
        .docs("Picks the keys out of a request and says what it does to them.", OF_ARGUMENTS),
    row("help", 2, help).since("5.0.0").docs("Explains the subcommands.", "O(1)"),
    row("info", -2, info)
        .since("2.8.13")
        .tips(ANY_ORDER)
        .history(&[("7.0.0", "Allowed to be called with no argument to get info on all commands.")])
        .syntax("[command-name [command-name ...]]")
        .docs("Describes all or some commands.", LOOK_UP),
    row("list", -2, list)
        .since("7.0.0")
        .tips(ANY_ORDER)
        .syntax("[FILTERBY <MODULE module-name | ACLCAT category | PATTERN pattern>]")
        .docs(
            "Names all commands, or those that pass a filter.",
            "O(N) where N is the total number of Redis commands",
        ),
];

const fn row(name: &'static str, arity: i32, run: crate::command::Run) -> Command {
    command(name, arity, Group::Server, run)
        .flags(flag::LOADING | flag::STALE)
        .categories(category::CONNECTION)
}

const ANY_ORDER: &[&str] = &["nondeterministic_output_order"];
const LOOK_UP: &str = "O(N) where N is the number of commands to look up";
const OF_ARGUMENTS: &str = "O(N) where N is the number of arguments to the command";

fn command_(ctx: &mut Ctx) -> CmdResult {
    describe_all(ctx.reply);
    Ok(())
}

fn count(ctx: &mut Ctx) -> CmdResult {
    ctx.reply.integer(REGISTRY.top.len() as i64);
    Ok(())
}

fn info(ctx: &mut Ctx) -> CmdResult {
    if ctx.args.len() == 2 {
        describe_all(ctx.reply);
        return Ok(());
    }
    ctx.reply.array(ctx.args.len() - 2);
    for name in ctx.args.from(2) {
        match REGISTRY.find_full(name) {
            Some(command) => describe(ctx.reply, command),
            None => ctx.reply.null(),
        }
    }
    Ok(())
}

fn docs(ctx: &mut Ctx) -> CmdResult {
    if ctx.args.len() == 2 {
        let all: Vec<_> = top_level().collect();
        document_all(ctx.reply, &all);
    } else {
        let named: Vec<_> = ctx.args.from(2).filter_map(|name| REGISTRY.find_full(name)).collect();
        document_all(ctx.reply, &named);
    }
    Ok(())
}

/// Which commands LIST names.
enum Filter<'a> {
    All,
    /// Of a module: there are none.
    None,
    Category(u32),
    Pattern(&'a [u8]),
}

impl<'a> Filter<'a> {
    fn parse(args: &Argv<'a>) -> Result<Filter<'a>, CmdError> {
        match args.len() {
            2 => return Ok(Filter::All),
            5 if args.is(2, "filterby") => {}
            _ => return Err(CmdError::SYNTAX),
        }
        match args {
            args if args.is(3, "module") => Ok(Filter::None),
            args if args.is(3, "aclcat") => {
                Ok(acl_categories::by_name(args.at(4)).map_or(Filter::None, Filter::Category))
            }
            args if args.is(3, "pattern") => Ok(Filter::Pattern(args.at(4))),
            _ => Err(CmdError::SYNTAX),
        }
    }

    fn passes(&self, command: &Registered) -> bool {
        match self {
            Filter::All => true,
            Filter::None => false,
            Filter::Category(category) => acl_categories::of(command.row) & category != 0,
            Filter::Pattern(pattern) => matches(pattern, command.full_name.as_bytes(), Case::Insensitive),
        }
    }
}

fn list(ctx: &mut Ctx) -> CmdResult {
    let filter = Filter::parse(&ctx.args)?;
    let named: Vec<_> = REGISTRY.all.iter().filter(|command| filter.passes(command)).collect();
    ctx.reply.array(named.len());
    named.iter().for_each(|command| ctx.reply.bulk(command.full_name.as_bytes()));
    Ok(())
}

fn getkeys(ctx: &mut Ctx) -> CmdResult {
    let request = ctx.args.skip(2);
    let keys = keys_of(&request)?;
    ctx.reply.array(keys.len());
    keys.iter().for_each(|&(index, _)| ctx.reply.bulk(request.at(index)));
    Ok(())
}

fn getkeysandflags(ctx: &mut Ctx) -> CmdResult {
    let request = ctx.args.skip(2);
    let keys = keys_of(&request)?;
    ctx.reply.array(keys.len());
    for (index, flags) in keys {
        ctx.reply.array(2);
        ctx.reply.bulk(request.at(index));
        write_key_flags(ctx.reply, flags);
    }
    Ok(())
}

/// Where a request's keys stand, each with the flags of its spec.
fn keys_of(request: &Argv<'_>) -> Result<Vec<(usize, u16)>, CmdError> {
    let command = find_of(request).ok_or(CmdError::fixed("ERR Invalid command specified"))?;
    let row = command.row;
    let mut specs = row.keys.iter().filter(|spec| spec.flags & key::NOT_KEY == 0).peekable();
    if specs.peek().is_none() {
        return Err(CmdError::fixed("ERR The command has no key arguments"));
    }
    if !row.takes(request.len()) {
        return Err(CmdError::fixed("ERR Invalid number of arguments specified for command"));
    }
    let mut found = Vec::new();
    let fits = specs.all(|spec| {
        let flags = flags_of(command, spec, request);
        spec.visit(request, &mut |index| found.push((index, flags)))
    });
    match fits {
        true if !found.is_empty() => Ok(found),
        _ if row.has(flag::NO_MANDATORY_KEYS) => Ok(Vec::new()),
        _ => Err(CmdError::fixed("ERR Invalid arguments specified for command")),
    }
}

/// The command of a request that stands among arguments.
fn find_of(request: &Argv<'_>) -> Option<&'static Registered> {
    let found = REGISTRY.find(request.at(0))?;
    if found.children.is_empty() || request.len() == 1 {
        return Some(found);
    }
    REGISTRY.find_child(found, request.at(1))
}

/// A spec's flags, as far as they depend on the arguments: SET and DELEX read only if they are told to, and
/// BITFIELD may do nothing else.
fn flags_of(command: &Registered, spec: &KeySpec, request: &Argv<'_>) -> u16 {
    match command.full_name.as_str() {
        "set" if reads_before_setting(request) => key::RW | key::ACCESS | key::UPDATE,
        "set" => key::OW | key::UPDATE,
        "delex" if request.len() > 2 => key::RW | key::ACCESS | key::DELETE,
        "delex" => key::RM | key::DELETE,
        "bitfield" if only_gets_fields(request) => key::RO | key::ACCESS,
        "bitfield" => key::RW | key::ACCESS | key::UPDATE,
        _ => spec.flags,
    }
}

fn reads_before_setting(request: &Argv<'_>) -> bool {
    let is_reading =
        |index| ["get", "ifeq", "ifne", "ifdeq", "ifdne"].iter().any(|word| request.is(index, word));
    (3..request.len()).any(is_reading)
}

/// What BITFIELD would not understand counts as a change.
fn only_gets_fields(request: &Argv<'_>) -> bool {
    let mut index = 2;
    while index < request.len() {
        index += match request.len() - index {
            3.. if request.is(index, "get") => 3,
            2.. if request.is(index, "overflow") => 2,
            _ => return false,
        };
    }
    true
}

fn top_level() -> impl Iterator<Item = &'static Registered> {
    REGISTRY.top.iter().map(|&id| &REGISTRY.all[usize::from(id)])
}

fn children(command: &Registered) -> impl Iterator<Item = &'static Registered> {
    command.children.iter().map(|&id| &REGISTRY.all[usize::from(id)])
}

fn describe_all(reply: &mut Reply) {
    reply.array(REGISTRY.top.len());
    top_level().for_each(|command| describe(reply, command));
}

/// One element of COMMAND INFO.
fn describe(reply: &mut Reply, command: &Registered) {
    let row = command.row;
    let range = Range::of(row.keys);
    reply.array(10);
    reply.bulk(command.full_name.as_bytes());
    reply.integer(row.arity.into());
    write_flags(reply, row.flags | if range.is_partial { flag::MOVABLE_KEYS } else { 0 });
    reply.integer(range.first);
    reply.integer(range.last);
    reply.integer(range.step);
    write_categories(reply, acl_categories::of(row));
    reply.set(row.tips.len());
    row.tips.iter().for_each(|tip| reply.bulk(tip.as_bytes()));
    reply.set(row.keys.len());
    row.keys.iter().for_each(|spec| write_spec(reply, spec));
    match command.children.len() {
        0 => reply.set(0),
        count => reply.array(count),
    }
    children(command).for_each(|child| describe(reply, child));
}

fn write_flags(reply: &mut Reply, flags: u32) {
    let names = flag::NAMES.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| *name);
    write_words(reply, "", names.collect());
}

fn write_key_flags(reply: &mut Reply, flags: u16) {
    let names = key::NAMES.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| *name);
    write_words(reply, "", names.collect());
}

fn write_categories(reply: &mut Reply, categories: u32) {
    let names = category::NAMES.iter().filter(|(bit, _)| categories & bit != 0).map(|(_, name)| *name);
    write_words(reply, "@", names.collect());
}

fn write_words(reply: &mut Reply, prefix: &str, words: Vec<&str>) {
    reply.set(words.len());
    words.iter().for_each(|word| reply.simple(&format!("{prefix}{word}")));
}

fn write_spec(reply: &mut Reply, spec: &KeySpec) {
    reply.map(if spec.notes.is_empty() { 3 } else { 4 });
    if !spec.notes.is_empty() {
        write_text(reply, "notes", spec.notes);
    }
    reply.bulk(b"flags");
    write_key_flags(reply, spec.flags);
    reply.bulk(b"begin_search");
    match spec.begin {
        Begin::Index(index) => write_search(reply, "index", &[("index", index as i64)]),
        Begin::Keyword { word, from } => {
            open_search(reply, "keyword", 2);
            write_text(reply, "keyword", word);
            write_number(reply, "startfrom", from.into());
        }
        Begin::Unknown => write_search(reply, "unknown", &[]),
    }
    reply.bulk(b"find_keys");
    match spec.find {
        Find::Range { last, step, limit } => {
            let parts = [("lastkey", last.into()), ("keystep", step as i64), ("limit", limit as i64)];
            write_search(reply, "range", &parts);
        }
        Find::Count { number, first, step } => {
            let parts = [("keynumidx", number as i64), ("firstkey", first as i64), ("keystep", step as i64)];
            write_search(reply, "keynum", &parts);
        }
        Find::Unknown => write_search(reply, "unknown", &[]),
    }
}

fn write_search(reply: &mut Reply, kind: &str, parts: &[(&str, i64)]) {
    open_search(reply, kind, parts.len());
    parts.iter().for_each(|(name, value)| write_number(reply, name, *value));
}

/// A search is its type and a map of so many parts, which follow.
fn open_search(reply: &mut Reply, kind: &str, parts: usize) {
    reply.map(2);
    write_text(reply, "type", kind);
    reply.bulk(b"spec");
    reply.map(parts);
}

fn write_text(reply: &mut Reply, name: &str, text: &str) {
    reply.bulk(name.as_bytes());
    reply.bulk(text.as_bytes());
}

fn write_number(reply: &mut Reply, name: &str, number: i64) {
    reply.bulk(name.as_bytes());
    reply.integer(number);
}

/// Keys as clients knew them before there were key specs: first, last and step. Some still look no further.
#[derive(Default)]
struct Range {
    first: i64,
    /// Negative: from the end.
    last: i64,
    step: i64,
    /// There are keys that it does not name.
    is_partial: bool,
}

impl Range {
    /// A lone range as it is; of several specs those that follow one another without a gap.
    fn of(specs: &[KeySpec]) -> Range {
        let mut range = Range::default();
        for spec in specs {
            range.is_partial |= spec.flags & key::INCOMPLETE != 0;
            let (Begin::Index(first), Find::Range { last, step, .. }) = (spec.begin, spec.find) else {
                range.is_partial = true;
                continue;
            };
            let (first, step) = (first as i64, step as i64);
            let follows = specs.len() == 1 || (step == 1 && (range.last == 0 || range.last == first - 1));
            if !follows {
                range.is_partial = true;
                continue;
            }
            if range.first == 0 {
                (range.first, range.step) = (first, step);
            }
            range.last = if last < 0 { last.into() } else { first + i64::from(last) };
        }
        range
    }
}

/// The map of COMMAND DOCS.
fn document_all(reply: &mut Reply, commands: &[&Registered]) {
    reply.map(commands.len());
    for command in commands {
        reply.bulk(command.full_name.as_bytes());
        document(reply, command);
    }
}

fn document(reply: &mut Reply, command: &Registered) {
    let row = command.row;
    let arguments = syntax::arguments(row);
    let mark = reply.defer();
    let mut pairs = write_texts(reply, row);
    if !row.history.is_empty() {
        reply.bulk(b"history");
        write_history(reply, row.history);
        pairs += 1;
    }
    if !arguments.is_empty() {
        reply.bulk(b"arguments");
        write_arguments(reply, &arguments);
        pairs += 1;
    }
    if !command.children.is_empty() {
        reply.bulk(b"subcommands");
        document_all(reply, &children(command).collect::<Vec<_>>());
        pairs += 1;
    }
    reply.close_map(mark, pairs);
}

/// Writes what is single words and sentences; returns how many.
fn write_texts(reply: &mut Reply, row: &Command) -> usize {
    let texts = [("summary", row.summary), ("since", row.since), ("group", row.group.name())];
    texts.iter().for_each(|(name, text)| write_text(reply, name, text));
    let mut pairs = texts.len();
    if !row.complexity.is_empty() {
        write_text(reply, "complexity", row.complexity);
        pairs += 1;
    }
    let flags = doc_flags(row);
    if !flags.is_empty() {
        reply.bulk(b"doc_flags");
        write_words(reply, "", flags);
        pairs += 1;
    }
    if let Some((since, instead)) = row.deprecated {
        write_text(reply, "deprecated_since", since);
        write_text(reply, "replaced_by", instead);
        pairs += 2;
    }
    pairs
}

fn doc_flags(row: &Command) -> Vec<&'static str> {
    let deprecated = row.deprecated.map(|_| "deprecated");
    // SCRIPT DEBUG only bears the name of one.
    let is_system = row.group != Group::Scripting && SYSTEM_COMMANDS.contains(&row.name);
    let system = is_system.then_some("syscmd");
    deprecated.into_iter().chain(system).collect()
}

fn write_history(reply: &mut Reply, history: &[(&str, &str)]) {
    reply.set(history.len());
    for (version, change) in history {
        reply.array(2);
        reply.bulk(version.as_bytes());
        reply.bulk(change.as_bytes());
    }
}

fn write_arguments(reply: &mut Reply, arguments: &[Argument]) {
    reply.array(arguments.len());
    arguments.iter().for_each(|argument| write_argument(reply, argument));
}

fn write_argument(reply: &mut Reply, argument: &Argument) {
    let mark = reply.defer();
    let texts = [
        ("name", Some(argument.name.as_str())),
        ("type", Some(argument.kind.name())),
        ("display_text", Some(argument.name.as_str()).filter(|_| !argument.kind.is_group())),
    ];
    let mut pairs = 0;
    for (name, text) in texts {
        pairs += write_some(reply, name, text);
    }
    if let Some(spec) = argument.key_spec {
        write_number(reply, "key_spec_index", spec as i64);
        pairs += 1;
    }
    pairs += write_some(reply, "token", argument.token.as_deref());
    let flags = argument_flags(argument);
    if !flags.is_empty() {
        reply.bulk(b"flags");
        write_words(reply, "", flags);
        pairs += 1;
    }
    if argument.kind.is_group() {
        reply.bulk(b"arguments");
        write_arguments(reply, &argument.arguments);
        pairs += 1;
    }
    reply.close_map(mark, pairs);
}

fn write_some(reply: &mut Reply, name: &str, text: Option<&str>) -> usize {
    text.map_or(0, |text| {
        write_text(reply, name, text);
        1
    })
}

fn argument_flags(argument: &Argument) -> Vec<&'static str> {
    let flags = [
        (argument.optional, "optional"),
        (argument.multiple, "multiple"),
        (argument.multiple_token, "multiple_token"),
    ];
    flags.iter().filter(|(is_set, _)| *is_set).map(|(_, name)| *name).collect()
}

fn help(ctx: &mut Ctx) -> CmdResult {
    ctx.help("COMMAND", HELP);
    Ok(())
}

/// For the server's own use rather than for people.
const SYSTEM_COMMANDS: [&str; 5] = ["debug", "pfdebug", "pfselftest", "replconf", "restore-asking"];

const HELP: &[&str] = &[
    "(no subcommand)",
    "    Describe every command.",
    "COUNT",
    "    Count the commands.",
    "DOCS [<command-name> ...]",
    "    Return the documentation of the named commands (default: all).",
    "GETKEYS <full-command>",
    "    Name the keys of a request.",
    "GETKEYSANDFLAGS <full-command>",
    "    Name the keys of a request, each with what is done to it.",
    "INFO [<command-name> ...]",
    "    Describe the named commands (default: all).",
    "LIST [FILTERBY MODULE <name>|ACLCAT <category>|PATTERN <pattern>]",
    "    Name all commands, or those that pass the filter.",
];

#[cfg(test)]
mod tests {
    use crate::testing::{TestEngine, check_script, show};
    use resp::reply::Protocol;

    fn check(script: &[(&str, &str)]) {
        check_script(&mut TestEngine::new(), script);
    }

    #[test]
    fn keys_of_requests() {
        check(&[
            ("COMMAND GETKEYS get a", "[\"a\"]"),
            ("COMMAND GETKEYS MSET a 1 b 2", "[\"a\" \"b\"]"),
            ("COMMAND GETKEYS mset a 1 b 2 c", "[\"a\" \"b\" \"c\"]"),
            ("COMMAND GETKEYS config get", "-ERR The command has no key arguments"),
            ("COMMAND GETKEYS ping", "-ERR The command has no key arguments"),
            ("COMMAND GETKEYS spublish a b", "-ERR The command has no key arguments"),
            ("COMMAND GETKEYS config nope x", "-ERR Invalid command specified"),
            ("COMMAND GETKEYS nope x", "-ERR Invalid command specified"),
            ("COMMAND GETKEYS get", "-ERR Invalid number of arguments specified for command"),
            ("COMMAND GETKEYS", "-ERR wrong number of arguments for 'command|getkeys' command"),
            ("COMMAND GETKEYSANDFLAGS set k v", "[[\"k\" [+OW +update]]]"),
            ("COMMAND GETKEYSANDFLAGS set k v get", "[[\"k\" [+RW +access +update]]]"),
            ("COMMAND GETKEYSANDFLAGS rename a b", "[[\"a\" [+RW +access +delete]] [\"b\" [+OW +update]]]"),
        ]);
    }

    #[test]
    fn lists() {
        check(&[
            (
                "COMMAND LIST FILTERBY PATTERN 'CLIENT|TRACK*'",
                "[\"client|tracking\" \"client|trackinginfo\"]",
            ),
            ("COMMAND LIST FILTERBY aclcat transaction", TRANSACTION),
            ("COMMAND LIST FILTERBY ACLCAT nope", "[]"),
            ("COMMAND LIST FILTERBY MODULE nope", "[]"),
            ("COMMAND LIST FILTERBY", "-ERR syntax error"),
            ("COMMAND LIST FILTERBY module", "-ERR syntax error"),
            ("COMMAND LIST FILTERBY foo bar", "-ERR syntax error"),
            ("COMMAND foo", "-ERR unknown subcommand 'foo'. Try COMMAND HELP."),
            ("COMMAND COUNT x", "-ERR wrong number of arguments for 'command|count' command"),
        ]);
    }

    #[test]
    fn shapes() {
        check(&[
            ("COMMAND INFO nope 'get|x'", "[nil nil]"),
            ("COMMAND INFO GET", GET),
            ("COMMAND DOCS nope", "[]"),
            ("COMMAND DOCS mget", MGET_DOCS),
        ]);
        let mut test = TestEngine::new();
        test.set_protocol(0, Protocol::Resp3);
        assert_eq!(show(&test.run("COMMAND INFO mget")), MGET_RESP3);
        assert_eq!(show(&test.run("COMMAND DOCS nope")), "{}");
        let reply = test.run("COMMAND");
        let all = reply.as_items().expect("an array").len();
        assert_eq!(show(&test.run("COMMAND COUNT")), all.to_string());
        assert_eq!(test.run("COMMAND INFO"), reply);
    }

    const TRANSACTION: &str = "[\"multi\" \"exec\" \"discard\" \"watch\" \"unwatch\"]";
    const GET: &str = "[[\"get\" 2 [+readonly +fast] 1 1 1 [+@read +@string +@fast] [] [[\"flags\" \
         [+RO +access] \"begin_search\" [\"type\" \"index\" \"spec\" [\"index\" 1]] \"find_keys\" \
         [\"type\" \"range\" \"spec\" [\"lastkey\" 0 \"keystep\" 1 \"limit\" 0]]]] []]]";
    const MGET_RESP3: &str = "[[\"mget\" -2 <+readonly +fast> 1 -1 1 <+@read +@string +@fast> \
         <\"request_policy:multi_shard\"> <{\"flags\":<+RO +access> \"begin_search\":{\"type\":\"index\" \
         \"spec\":{\"index\":1}} \"find_keys\":{\"type\":\"range\" \"spec\":{\"lastkey\":-1 \"keystep\":1 \
         \"limit\":0}}}> <>]]";
    const MGET_DOCS: &str = "[\"mget\" [\"summary\" \"Returns the strings of several keys.\" \"since\" \
         \"1.0.0\" \"group\" \"string\" \"complexity\" \"O(N) where N is the number of keys to retrieve.\" \
         \"arguments\" [[\"name\" \"key\" \"type\" \"key\" \"display_text\" \"key\" \"key_spec_index\" \
         0 \"flags\" [+multiple]]]]]";
}
