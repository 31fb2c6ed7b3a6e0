//! What must hold for a row by itself.

use std::collections::BTreeSet;

use engine::Command;
use engine::docs::syntax::{Argument, Kind, arguments, is_well_formed};
use engine::keyspec::{Begin, Find, KeySpec, flag as key};
use engine::registry::{REGISTRY, Registered};

use crate::differences::{NO_COMPLEXITY, ODD_ARITY};

#[test]
fn every_row_is_documented() {
    for command in &REGISTRY.all {
        let (name, row) = (&command.full_name, command.row);
        assert!(row.summary.ends_with('.') && row.summary.is_ascii(), "{name}: the summary is a sentence");
        assert!(is_version(row.since), "{name}: since {:?}", row.since);
        assert!(
            row.history.iter().all(|(version, change)| is_version(version) && !change.is_empty()),
            "{name}"
        );
        let may_lack = row.is_container() || NO_COMPLEXITY.contains(&name.as_str());
        assert!(may_lack || !row.complexity.is_empty(), "{name}: no complexity");
    }
}

#[test]
fn names_are_unique() {
    let names: BTreeSet<&str> = REGISTRY.all.iter().map(|command| command.full_name.as_str()).collect();
    assert_eq!(names.len(), REGISTRY.all.len());
    for command in &REGISTRY.all {
        let name = command.row.name;
        assert!(!name.is_empty() && !name.contains(|c: char| c.is_ascii_uppercase() || c == '|'), "{name}");
        assert!(REGISTRY.find_full(command.full_name.as_bytes()).is_some_and(|found| found.id == command.id));
    }
}

#[test]
fn arity_fits_syntax() {
    let mut faults = Vec::new();
    for command in REGISTRY.all.iter().filter(|command| !command.row.is_container()) {
        let name = &command.full_name;
        assert!(is_well_formed(command.row.syntax), "{name}: {}", command.row.syntax);
        let (least, most) = word_counts(command);
        let arity = command.row.arity;
        let fits = match arity {
            0.. => least == arity as usize && most == Some(least),
            _ => least == arity.unsigned_abs() as usize && most != Some(least),
        };
        let is_odd = ODD_ARITY.iter().any(|(odd, _)| odd == name);
        if fits == is_odd {
            faults.push(format!("{name} {}: arity {arity}, words {least}..{most:?}", command.row.syntax));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The words of a request by its syntax: at least, at most.
fn word_counts(command: &Registered) -> (usize, Option<usize>) {
    let names = 1 + usize::from(command.parent.is_some());
    let (least, most) = sum(&arguments(command.row));
    (least + names, most.map(|most| most + names))
}

fn sum(arguments: &[Argument]) -> (usize, Option<usize>) {
    arguments.iter().map(count).fold((0, Some(0)), |(least, most), (more, at_most)| {
        (least + more, most.zip(at_most).map(|(most, at_most)| most + at_most))
    })
}

fn count(argument: &Argument) -> (usize, Option<usize>) {
    let choices = argument.arguments.iter().map(count);
    let (least, most) = match argument.kind {
        Kind::PureToken => (0, Some(0)),
        Kind::Block => sum(&argument.arguments),
        Kind::OneOf => {
            let most = choices.clone().map(|(_, most)| most).collect::<Option<Vec<_>>>();
            let least = choices.map(|(least, _)| least).min().unwrap_or(0);
            (least, most.and_then(|most| most.into_iter().max()))
        }
        _ => (1, Some(1)),
    };
    let token = usize::from(argument.token.is_some());
    let least = if argument.optional { 0 } else { least + token };
    (least, most.filter(|_| !argument.multiple).map(|most| most + token))
}

#[test]
fn key_specs_are_sound() {
    for command in &REGISTRY.all {
        for spec in command.row.keys {
            check_spec(&command.full_name, command.row, spec);
        }
        let is_container = command.row.is_container();
        assert!(!is_container || command.row.keys.is_empty(), "{}: keys of a container", command.full_name);
    }
}

fn check_spec(name: &str, row: &Command, spec: &KeySpec) {
    let kinds = [key::RO, key::RW, key::OW, key::RM].iter().filter(|&&kind| spec.flags & kind != 0).count();
    let is_key = spec.flags & key::NOT_KEY == 0;
    assert_eq!(kinds, usize::from(is_key), "{name}: one of RO, RW, OW, RM for a key");
    match spec.begin {
        Begin::Index(index) => assert!((1..10).contains(&index), "{name}: keys begin at {index}"),
        Begin::Keyword { word, from } => assert!(!word.is_empty() && from != 0, "{name}: keyword {word:?}"),
        Begin::Unknown => {
            let is_told = spec.flags & key::INCOMPLETE != 0 || spec.locate.is_some();
            assert!(is_told, "{name}: unknown and not incomplete");
        }
    }
    match spec.find {
        Find::Range { last, step, limit } => {
            assert!(step >= 1 && (limit == 0 || last == -1), "{name}: range {last} {step} {limit}");
        }
        Find::Count { number, first, step } => assert!(step >= 1 && first > number, "{name}"),
        Find::Unknown => {}
    }
    if let (Begin::Index(index), Find::Range { last: 0.., .. }) = (spec.begin, spec.find) {
        let is_there =
            index < row.arity.unsigned_abs() as usize || row.has(engine::command::flag::NO_MANDATORY_KEYS);
        assert!(is_there || !is_key, "{name}: the arity leaves out the key at {index}");
    }
}

fn is_version(text: &str) -> bool {
    let parts: Vec<&str> = text.split('.').collect();
    parts.len() == 3
        && parts.iter().all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
}
