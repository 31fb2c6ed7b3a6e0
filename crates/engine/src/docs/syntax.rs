//! The arguments of a command as a tree, read from the syntax text of its row. Knows the notation only; a
//! syntax that breaks it is a fault of the row, which the table's test finds.
//!
//! ```text
//! word        an argument            WORD      said as it stands
//! [x]         may be left out        <a | b>   one of them
//! x [x ...]   once or more           [x ...]   any number of times
//! ```
//!
//! A capital word belongs to the argument behind it, or to the whole run of plain arguments: `LIMIT offset
//! count`. What a name cannot tell stands behind `=`: its type and, after a dot, its key spec (`max=string`,
//! `pattern=pattern.1`). `shown` leaves that out.

use super::names;
use crate::command::Command;

/// One argument, or several that stand together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Argument {
    pub name: String,
    pub kind: Kind,
    /// The word before it; its only text if it is a pure token.
    pub token: Option<String>,
    /// Which of the command's key specs finds it.
    pub key_spec: Option<usize>,
    pub optional: bool,
    pub multiple: bool,
    /// The token is said again each time.
    pub multiple_token: bool,
    /// The parts of a block, the choices of a oneof.
    pub arguments: Vec<Argument>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    String,
    Integer,
    Double,
    Key,
    Pattern,
    UnixTime,
    PureToken,
    OneOf,
    Block,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::String => "string",
            Kind::Integer => "integer",
            Kind::Double => "double",
            Kind::Key => "key",
            Kind::Pattern => "pattern",
            Kind::UnixTime => "unix-time",
            Kind::PureToken => "pure-token",
            Kind::OneOf => "oneof",
            Kind::Block => "block",
        }
    }

    /// Whether it holds further arguments and has no text of its own.
    pub fn is_group(self) -> bool {
        matches!(self, Kind::OneOf | Kind::Block)
    }

    fn named(name: &str) -> Option<Kind> {
        let all = [Kind::String, Kind::Integer, Kind::Double, Kind::Key, Kind::Pattern, Kind::UnixTime];
        all.into_iter().find(|kind| kind.name() == name)
    }
}

/// The arguments of a row.
pub fn arguments(row: &Command) -> Vec<Argument> {
    let words = split(row.syntax);
    let mut found = match &alternatives(&mut words.iter().copied())[..] {
        [only] => sequence(only, Place::Outside),
        several => vec![one_of(several)],
    };
    number_keys(&mut found, row.keys.len(), &mut 0);
    found
}

/// A syntax as people read it: without what stands behind `=`.
pub fn shown(syntax: &str) -> String {
    syntax.split(' ').map(plain).collect::<Vec<_>>().join(" ")
}

/// Brackets match, and nothing stands empty.
pub fn is_well_formed(syntax: &str) -> bool {
    let words = split(syntax);
    let mut open = Vec::new();
    let mut before = "[";
    for &word in &words {
        let is_empty = matches!(word, "]" | ">" | "|") && matches!(before, "[" | "<" | "|");
        let is_balanced = match word {
            "[" | "<" => {
                open.push(word);
                true
            }
            "]" => open.pop() == Some("["),
            ">" => open.pop() == Some("<"),
            _ => true,
        };
        if is_empty || !is_balanced {
            return false;
        }
        before = word;
    }
    open.is_empty() && before != "|"
}

fn plain(word: &str) -> String {
    match split_type(word) {
        Some((name, kind)) => format!("{name}{}", kind.trim_start_matches(|part: char| is_type_part(part))),
        None => word.to_string(),
    }
}

/// `max=string` in its two parts; a lone `=` is a token.
fn split_type(word: &str) -> Option<(&str, &str)> {
    word.split_once('=').filter(|(name, kind)| !name.is_empty() && kind.starts_with(is_type_part))
}

fn is_type_part(part: char) -> bool {
    part.is_ascii_alphanumeric() || part == '-' || part == '.'
}

/// Words, with every bracket and bar as a word of its own.
fn split(syntax: &str) -> Vec<&str> {
    let mut words = Vec::new();
    for part in syntax.split_whitespace() {
        let mut rest = part;
        while let Some(at) = rest.find(['[', ']', '<', '>', '|']) {
            words.extend([&rest[..at], &rest[at..at + 1]].into_iter().filter(|word| !word.is_empty()));
            rest = &rest[at + 1..];
        }
        words.extend((!rest.is_empty()).then_some(rest));
    }
    words
}

/// The notation as it is nested, before it is known what belongs together.
#[derive(PartialEq, Eq, Debug)]
enum Node<'a> {
    Word(&'a str),
    Choice(Vec<Vec<Node<'a>>>),
    Optional(Vec<Vec<Node<'a>>>),
}

/// Reads until the bracket that closes, or the end. Rows nest a few levels, and nobody else writes syntaxes.
fn alternatives<'a>(words: &mut impl Iterator<Item = &'a str>) -> Vec<Vec<Node<'a>>> {
    let mut lists = vec![Vec::new()];
    while let Some(word) = words.next() {
        let list = lists.last_mut().expect("it begins with one");
        match word {
            "]" | ">" => break,
            "|" => lists.push(Vec::new()),
            "[" => list.push(Node::Optional(alternatives(words))),
            "<" => list.push(Node::Choice(alternatives(words))),
            _ => list.push(Node::Word(word)),
        }
    }
    lists
}

/// Where a sequence stands: what is in brackets may belong to its first word as a whole.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Outside,
    Bracketed,
}

fn sequence(nodes: &[Node<'_>], place: Place) -> Vec<Argument> {
    let mut found = Vec::new();
    let mut rest = nodes;
    while !rest.is_empty() {
        let place = if found.is_empty() { place } else { Place::Outside };
        let (argument, used) = next(rest, place);
        found.push(argument);
        rest = &rest[used..];
    }
    found
}

/// The first argument of a sequence, and how many nodes it is made of.
fn next(nodes: &[Node<'_>], place: Place) -> (Argument, usize) {
    if let Some(count) = repeated(nodes) {
        let mut argument = group(sequence(&nodes[..count], Place::Outside));
        argument.multiple = true;
        argument.multiple_token = is_token(&nodes[0]);
        return (argument, count + 1);
    }
    match &nodes[0] {
        Node::Word(word) if is_token_text(word) => token(word, &nodes[1..], place),
        Node::Word(word) => (leaf(word), 1),
        Node::Choice(lists) => (choose(lists), 1),
        Node::Optional(lists) => (Argument { optional: true, ..choose(lists) }, 1),
    }
}

/// How many nodes from the first on are said again in the brackets behind them: 2 in `a b [a b ...]`.
fn repeated(nodes: &[Node<'_>]) -> Option<usize> {
    let again = |count: usize| match &nodes[count] {
        Node::Optional(lists) => match &lists[..] {
            [list] => list.split_last().is_some_and(|(last, body)| *last == MORE && *body == nodes[..count]),
            _ => false,
        },
        _ => false,
    };
    (1..nodes.len()).find(|&count| again(count))
}

fn choose(lists: &[Vec<Node<'_>>]) -> Argument {
    match lists {
        [list] if list.last() == Some(&MORE) => {
            let body = &list[..list.len() - 1];
            Argument { multiple: true, ..group(sequence(body, Place::Bracketed)) }
        }
        [list] => group(sequence(list, Place::Bracketed)),
        several => one_of(several),
    }
}

fn one_of(lists: &[Vec<Node<'_>>]) -> Argument {
    let choices: Vec<Argument> = lists.iter().map(|list| group(sequence(list, Place::Bracketed))).collect();
    let name = names::choice(&choices);
    Argument { arguments: choices, ..argument(name, Kind::OneOf) }
}

/// A word that is said as it stands, with the arguments that belong to it.
fn token(word: &str, behind: &[Node<'_>], place: Place) -> (Argument, usize) {
    let (mut operands, mut used) = operands(behind);
    if operands.len() > 1 && place == Place::Bracketed {
        operands.extend(sequence(&behind[used..], Place::Outside));
        used = behind.len();
    }
    let argument = match operands.len() {
        0 => argument(names::token(word), Kind::PureToken),
        _ => group(operands),
    };
    (Argument { token: Some(word.to_string()), ..argument }, used + 1)
}

/// The choice behind a token, or the plain arguments up to whatever is something else.
fn operands(nodes: &[Node<'_>]) -> (Vec<Argument>, usize) {
    if let Some(Node::Choice(lists)) = nodes.first() {
        return (vec![choose(lists)], 1);
    }
    let mut found = Vec::new();
    let mut used = 0;
    while nodes.get(used).is_some_and(|node| matches!(node, Node::Word(_)) && !is_token(node)) {
        let (argument, count) = next(&nodes[used..], Place::Outside);
        found.push(argument);
        used += count;
    }
    (found, used)
}

/// Arguments as one: itself, or a block of them.
fn group(mut arguments: Vec<Argument>) -> Argument {
    if arguments.len() == 1 {
        return arguments.remove(0);
    }
    let names: Vec<&str> = arguments.iter().map(|argument| argument.name.as_str()).collect();
    Argument { name: names.join("_"), arguments, ..argument(String::new(), Kind::Block) }
}

fn leaf(word: &str) -> Argument {
    let Some((name, kind)) = split_type(word) else {
        return argument(word.to_string(), names::kind(word));
    };
    let (kind, spec) = kind.split_once('.').unwrap_or((kind, ""));
    let kind = Kind::named(kind).unwrap_or(Kind::String);
    Argument { key_spec: spec.parse().ok(), ..argument(name.to_string(), kind) }
}

fn argument(name: String, kind: Kind) -> Argument {
    Argument {
        name,
        kind,
        token: None,
        key_spec: None,
        optional: false,
        multiple: false,
        multiple_token: false,
        arguments: Vec::new(),
    }
}

/// Keys belong to the row's key specs in their order; the last spec has all that are left.
fn number_keys(arguments: &mut [Argument], specs: usize, next: &mut usize) {
    for argument in arguments {
        if argument.kind == Kind::Key && argument.key_spec.is_none() && specs > 0 {
            argument.key_spec = Some((*next).min(specs - 1));
            *next += 1;
        }
        number_keys(&mut argument.arguments, specs, next);
    }
}

fn is_token(node: &Node<'_>) -> bool {
    matches!(node, Node::Word(word) if is_token_text(word))
}

/// Capitals, or a sign such as `*`; arguments are in small letters.
fn is_token_text(word: &str) -> bool {
    *word != *"..." && !word.contains(|letter: char| letter.is_ascii_lowercase())
}

const MORE: Node<'static> = Node::Word("...");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Group, command};

    /// A tree on a line: `token=name:type(parts)@spec`, `?` optional, `+` multiple, `++` with its token.
    fn outline(arguments: &[Argument]) -> String {
        arguments.iter().map(outline_one).collect::<Vec<_>>().join(" ")
    }

    fn outline_one(argument: &Argument) -> String {
        let token = argument.token.as_ref().map_or(String::new(), |token| format!("{token}="));
        let kind = argument.kind.name();
        let parts = match argument.arguments.len() {
            0 => format!("{}:{kind}", argument.name),
            _ => format!("{kind}({})", outline(&argument.arguments)),
        };
        let spec = argument.key_spec.map_or(String::new(), |spec| format!("@{spec}"));
        let more = ["", "+", "++"][usize::from(argument.multiple) + usize::from(argument.multiple_token)];
        format!("{token}{parts}{spec}{}{more}", if argument.optional { "?" } else { "" })
    }

    fn check(syntax: &'static str, expected: &str) {
        assert!(is_well_formed(syntax), "{syntax}");
        let row = command("test", 1, Group::String, |_| Ok(())).syntax(syntax).keys(&KEYS);
        assert_eq!(outline(&arguments(&row)), expected, "{syntax}");
    }

    const KEYS: [crate::keyspec::KeySpec; 2] =
        [crate::keyspec::KeySpec::one(1, 0), crate::keyspec::KeySpec::one(2, 0)];

    #[test]
    fn plain_arguments() {
        check("", "");
        check("key value", "key:key@0 value:string");
        check("key newkey", "key:key@0 newkey:key@1");
        check("key [key ...]", "key:key@0+");
        check("[key [key ...]]", "key:key@0?+");
        check("[section ...]", "section:string?+");
        check("key value [key value ...]", "block(key:key@0 value:string)+");
        check("a max=string pattern=pattern.1", "a:string max:string pattern:pattern@1");
    }

    #[test]
    fn tokens() {
        check("[NX | XX] [GET]", "oneof(NX=nx:pure-token XX=xx:pure-token)? GET=get:pure-token?");
        check("[EX seconds | PERSIST]", "oneof(EX=seconds:integer PERSIST=persist:pure-token)?");
        check("ON | OFF", "oneof(ON=on:pure-token OFF=off:pure-token)");
        check("[LIMIT offset count]", "LIMIT=block(offset:integer count:integer)?");
        check("[COUNT count [ANY]]", "block(COUNT=count:integer ANY=any:pure-token?)?");
        check("[TO host port [FORCE]]", "TO=block(host:string port:integer FORCE=force:pure-token?)?");
        check("[TYPE <A | B>]", "TYPE=oneof(A=a:pure-token B=b:pure-token)?");
        check("[PREFIX prefix [PREFIX prefix ...]]", "PREFIX=prefix:string?++");
        check("[KEYS key [key ...]]", "KEYS=key:key@0?+");
        check("FIELDS numfields field [field ...]", "FIELDS=block(numfields:integer field:string+)");
        check(
            "[p [AUTH username password] [SETNAME clientname]]",
            "block(p:string AUTH=block(username:string password:string)? SETNAME=clientname:string?)?",
        );
        check(
            "key [<MAXLEN | MINID> [= | ~] threshold] <* | id>",
            "key:key@0 block(oneof(MAXLEN=maxlen:pure-token MINID=minid:pure-token) \
             oneof(==equal:pure-token ~=approximately:pure-token)? threshold:string)? \
             oneof(*=auto_id:pure-token id:string)",
        );
    }

    #[test]
    fn faults_and_shown_text() {
        for syntax in ["[a", "a]", "<a]", "[]", "[a |]", "| a", "a |"] {
            assert!(!is_well_formed(syntax), "{syntax}");
        }
        assert_eq!(shown("a max=string [BY pattern=pattern.1] [= | ~]"), "a max [BY pattern] [= | ~]");
    }
}
