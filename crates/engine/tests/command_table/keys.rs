//! COMMAND GETKEYS beside the answers of running servers: requests made from each row's own syntax, with as
//! little in them as it allows, and with all of it.

use std::fmt::Write;

use engine::docs::syntax::{Argument, Kind, arguments};
use engine::keyspec::flag as key;
use engine::registry::{REGISTRY, Registered};
use engine::testing::{TestEngine, show};
use testkit::{Client, Server};

use crate::peers::{redis, valkey};

#[test]
fn keys_are_found_where_redis_finds_them() {
    let mut test = TestEngine::new();
    let programs = [redis(), valkey()].into_iter().flatten();
    let servers: Vec<Server> = programs.map(|program| Server::start(program, &["--save", ""])).collect();
    let mut clients: Vec<Client> = servers.iter().map(Server::client).collect();
    let mut faults = String::new();
    for command in REGISTRY.all.iter().filter(|command| !command.row.keys.is_empty()) {
        let mut found_any = false;
        for request in requests(command) {
            let words = ["COMMAND", "GETKEYS"].into_iter().chain(request.iter().map(String::as_str));
            let words: Vec<&str> = words.collect();
            let ours = show(&test.run_words(&words));
            found_any |= ours.starts_with('[');
            let theirs: Vec<String> = clients.iter_mut().map(|client| show(&client.call(&words))).collect();
            let known: Vec<&String> = theirs.iter().filter(|reply| !reply.contains(UNKNOWN)).collect();
            if !known.is_empty() && !known.contains(&&ours) {
                writeln!(faults, "{}:\n   ours {ours}\n  their {known:?}", request.join(" "))
                    .expect("memory");
            }
        }
        let has_keys = command.row.keys.iter().any(|spec| spec.flags & key::NOT_KEY == 0);
        assert!(found_any || !has_keys, "no request of {} has keys", command.full_name);
    }
    assert!(faults.is_empty(), "{faults}");
}

const UNKNOWN: &str = "Invalid command specified";

/// Without what may be left out, and with everything once for each alternative of a choice.
fn requests(command: &Registered) -> Vec<Vec<String>> {
    let choices = arguments(command.row).iter().map(choice_count).max().unwrap_or(1);
    let mut all = vec![request(command, &mut Words { full: false, choice: 0, words: Vec::new(), names: 0 })];
    for choice in 0..choices {
        all.push(request(command, &mut Words { full: true, choice, words: Vec::new(), names: 0 }));
    }
    all
}

fn request(command: &Registered, words: &mut Words) -> Vec<String> {
    words.words = command.full_name.split('|').map(str::to_owned).collect();
    arguments(command.row).iter().for_each(|argument| words.add(argument));
    std::mem::take(&mut words.words)
}

fn choice_count(argument: &Argument) -> usize {
    let own = if argument.kind == Kind::OneOf { argument.arguments.len() } else { 1 };
    argument.arguments.iter().map(choice_count).max().unwrap_or(1).max(own)
}

/// The words of a request in the making.
struct Words {
    /// With all that may be left out.
    full: bool,
    /// Which alternative is taken.
    choice: usize,
    words: Vec<String>,
    /// Words made up so far.
    names: usize,
}

impl Words {
    fn add(&mut self, argument: &Argument) {
        if argument.optional && !self.full {
            return;
        }
        for time in 0..if argument.multiple { 2 } else { 1 } {
            if time == 0 || argument.multiple_token {
                self.words.extend(argument.token.as_ref().map(ToString::to_string));
            }
            self.add_one(argument);
        }
    }

    fn add_one(&mut self, argument: &Argument) {
        match argument.kind {
            Kind::PureToken => {}
            Kind::Block => argument.arguments.iter().for_each(|part| self.add(part)),
            Kind::OneOf => self.add(&argument.arguments[self.choice % argument.arguments.len()]),
            // Whatever may be repeated comes twice.
            Kind::Integer | Kind::Double | Kind::UnixTime => self.words.push("2".into()),
            _ => {
                self.names += 1;
                self.words.push(format!("word{}", self.names));
            }
        }
    }
}
