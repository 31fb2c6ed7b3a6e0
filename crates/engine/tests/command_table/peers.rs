//! The rows beside the answers of running servers: Redis 7.0 for what it has, Valkey 9.1 for the rest and for
//! what later versions changed.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

use engine::registry::REGISTRY;
use engine::testing::{TestEngine, show};
use resp::reply::Protocol;
use testkit::{Server, Value};

use crate::differences::{DOCS, Difference, INFO};

/// What one server says of each command: `get`, `config|get` to its fields.
type Answers = BTreeMap<String, BTreeMap<&'static str, String>>;

#[test]
fn command_info_is_that_of_redis() {
    let ours = information(&ours("INFO"));
    let Some(redis) = redis() else { return };
    let theirs = [Some(redis), valkey()].map(|path| path.map(|path| information(&ask(path, "INFO"))));
    compare(&ours, &theirs, INFO);
}

#[test]
fn command_docs_are_those_of_redis() {
    let ours = documentation(&ours("DOCS"));
    let Some(redis) = redis() else { return };
    let theirs = [Some(redis), valkey()].map(|path| path.map(|path| documentation(&ask(path, "DOCS"))));
    compare(&ours, &theirs, DOCS);
}

/// Every field must be as Redis 7.0 has it, or as Valkey has it where Redis 7.0 lacks the command, or listed;
/// what is listed must differ.
fn compare(ours: &Answers, theirs: &[Option<Answers>; 2], listed: &[Difference]) {
    let mut faults = String::new();
    for (name, fields) in ours {
        let peers: Vec<_> = theirs.iter().flatten().filter_map(|answers| answers.get(name)).collect();
        let Some(first) = peers.first() else { continue };
        for (&field, our) in fields {
            let their = &first[field];
            let is_same = match field {
                "arguments" => peers.iter().any(|peer| peer[field] == *our),
                "history" => their.lines().all(|line| our.lines().any(|own| own == line)),
                _ => their == our,
            };
            let is_listed = listed.iter().any(|(command, what, _)| command == name && *what == field);
            if is_same == is_listed {
                writeln!(faults, "{name} {field}:\n   ours {our}\n  their {their}").expect("memory");
            }
        }
    }
    assert!(faults.is_empty(), "departures that are not listed, or listed and gone:\n{faults}");
}

pub fn redis() -> Option<PathBuf> {
    let path = testkit::redis();
    if path.is_none() {
        eprintln!("SKIPPED: redis-server is not installed, nothing was compared");
    }
    path
}

pub fn valkey() -> Option<PathBuf> {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/onefold-peers");
    let peers = std::env::var_os("PEERS_HOME").map_or_else(home, PathBuf::from);
    let path = peers.join("valkey/valkey-server");
    if !path.exists() {
        eprintln!("SKIPPED: Valkey is not installed, nothing was compared with it");
    }
    path.exists().then_some(path)
}

fn ask(program: PathBuf, subcommand: &str) -> Value {
    let server = Server::start(program, &["--save", ""]);
    let mut client = server.client();
    client.run("HELLO 3");
    client.call(&["COMMAND", subcommand])
}

fn ours(subcommand: &str) -> Value {
    let mut test = TestEngine::new();
    test.set_protocol(0, Protocol::Resp3);
    let reply = test.run_words(&["COMMAND", subcommand]);
    assert!(!REGISTRY.all.is_empty() && !reply.is_error());
    reply
}

fn information(reply: &Value) -> Answers {
    let mut answers = Answers::new();
    let mut left: Vec<&Value> = items(reply).iter().collect();
    while let Some(command) = left.pop() {
        let parts = items(command);
        let texts = |index: usize| sorted(items(&parts[index]).iter().map(show).collect());
        let fields = [
            ("arity", show(&parts[1])),
            ("flags", texts(2)),
            ("range", format!("{} {} {}", show(&parts[3]), show(&parts[4]), show(&parts[5]))),
            ("categories", texts(6)),
            ("tips", texts(7)),
            ("key specs", items(&parts[8]).iter().map(show_sorted).collect::<Vec<_>>().join(" ")),
        ];
        answers.insert(text(&parts[0]), fields.into());
        left.extend(items(&parts[9]));
    }
    answers
}

fn documentation(reply: &Value) -> Answers {
    let mut answers = Answers::new();
    let mut left: Vec<&(Value, Value)> = pairs(reply).iter().collect();
    while let Some((name, fields)) = left.pop() {
        let field = |name| find(fields, name);
        let shown = |name| field(name).map_or(String::new(), show);
        let history = field("history").map_or(&[][..], items).iter().map(show).collect::<Vec<_>>();
        let texts = [
            ("since", shown("since")),
            ("group", shown("group")),
            ("complexity", shown("complexity")),
            ("doc_flags", shown("doc_flags")),
            ("deprecated_since", shown("deprecated_since")),
            ("replaced_by", shown("replaced_by")),
            ("history", history.join("\n")),
            ("arguments", field("arguments").map_or(String::new(), outline)),
        ];
        answers.insert(text(name), texts.into());
        left.extend(field("subcommands").map_or(&[][..], pairs));
    }
    answers
}

/// Arguments on a line: `token=name:type(parts)@spec`, `?` optional, `+` multiple, `++` with its token.
/// Without the names of groups, which nobody sees, and without a group around a single argument.
fn outline(arguments: &Value) -> String {
    items(arguments).iter().map(outline_one).collect::<Vec<_>>().join(" ")
}

fn outline_one(argument: &Value) -> String {
    let field = |name| find(argument, name).map_or(String::new(), text);
    let flags = find(argument, "flags").map_or(&[][..], items).iter().map(text).collect::<Vec<_>>();
    let mark = |flag: &str, mark: &str| {
        if flags.iter().any(|f| f == flag) { mark.to_string() } else { String::new() }
    };
    let marks = mark("optional", "?") + &mark("multiple", "+") + &mark("multiple_token", "+");
    let token =
        find(argument, "token").map_or(String::new(), |token| format!("{}=", text(token).to_uppercase()));
    // Valkey gives a spec to counts of fields too.
    let has_spec = matches!(field("type").as_str(), "key" | "pattern");
    let spec = find(argument, "key_spec_index").filter(|_| has_spec);
    let spec = spec.map_or(String::new(), |spec| format!("@{}", show(spec)));
    let parts = find(argument, "arguments").map_or(&[][..], items);
    let body = match (field("type").as_str(), parts) {
        ("block", [only]) if marks.is_empty() || flags_free(only) => outline_one(only),
        ("block" | "oneof", _) => {
            format!("{}({})", field("type"), parts.iter().map(outline_one).collect::<Vec<_>>().join(" "))
        }
        (kind, _) => format!("{}:{kind}", field("name").to_lowercase().replace('_', "-")),
    };
    format!("{token}{body}{spec}{marks}")
}

fn flags_free(argument: &Value) -> bool {
    find(argument, "flags").is_none()
}

/// A map's pairs and a set's members in the order of their texts.
fn show_sorted(value: &Value) -> String {
    match value {
        Value::Map(pairs) => sorted(
            pairs.iter().map(|(name, value)| format!("{}={}", show(name), show_sorted(value))).collect(),
        ),
        Value::Set(items) => sorted(items.iter().map(show).collect()),
        other => show(other),
    }
}

fn sorted(mut texts: Vec<String>) -> String {
    texts.sort();
    format!("<{}>", texts.join(" "))
}

fn items(value: &Value) -> &[Value] {
    match value {
        Value::Set(items) => items,
        other => other.as_items().expect("an array or a set"),
    }
}

fn pairs(value: &Value) -> &[(Value, Value)] {
    match value {
        Value::Map(pairs) => pairs,
        other => panic!("a map, not {other:?}"),
    }
}

fn find<'a>(map: &'a Value, name: &str) -> Option<&'a Value> {
    pairs(map).iter().find(|(key, _)| text(key) == name).map(|(_, value)| value)
}

fn text(value: &Value) -> String {
    value.as_text().expect("text")
}
